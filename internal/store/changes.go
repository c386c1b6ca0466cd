package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Seq returns the number of the account's last change, 0 before the first.
func (m *Mailbox) Seq(ctx context.Context) (mail.Seq, error) {
	var seq mail.Seq
	err := m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT seq FROM state WHERE {a}1=1").Scan(&seq)
	})
	return seq, err
}

// maxChanges bounds one page of Changes.
const maxChanges = 10000

// Changes returns the changes after a Seq, in order, at most limit. Expired: some of them are no longer kept, so whoever
// asks has to read everything anew.
func (m *Mailbox) Changes(ctx context.Context, after mail.Seq, limit int) ([]mail.Change, error) {
	var list []mail.Change
	err := m.db.read(ctx, func(t *tx) error {
		var oldest mail.Seq
		if err := t.row(ctx, "SELECT min_seq FROM state WHERE {a}1=1").Scan(&oldest); err != nil {
			return err
		}
		if after+1 < oldest {
			return mail.E(mail.Expired, "read changes", fmt.Sprintf("changes before %d are no longer kept", oldest), nil)
		}
		return changesAfter(ctx, t, after, min(max(limit, 1), maxChanges), func(c mail.Change) error {
			list = append(list, c)
			return nil
		})
	})
	return list, err
}

func changesAfter(ctx context.Context, t *tx, after mail.Seq, limit int, fn func(mail.Change) error) error {
	return each(ctx, t, "SELECT seq, at, kind, origin, object, data FROM changes WHERE {a}seq > ? ORDER BY seq LIMIT ?", []any{int64(after), limit},
		func(r *sql.Rows) error {
			var c mail.Change
			var at int64
			var data sql.RawBytes
			if err := r.Scan(&c.Seq, &at, &c.Kind, &c.Origin, &c.Object, &data); err != nil {
				return err
			}
			c.At = time.UnixMilli(at).UTC()
			if err := json.Unmarshal(data, &c.Data); err != nil {
				return fmt.Errorf("change %d: %w", c.Seq, err)
			}
			return fn(c)
		})
}
