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

// Kept returns the number of the oldest change that is kept; 1 as long as none was dropped.
func (m *Mailbox) Kept(ctx context.Context) (mail.Seq, error) {
	var seq mail.Seq
	err := m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT min_seq FROM state WHERE {a}1=1").Scan(&seq)
	})
	return seq, err
}

// SeqBefore returns the number of the last change that is older than a time: what happened since follows it.
func (m *Mailbox) SeqBefore(ctx context.Context, at time.Time) (mail.Seq, error) {
	var seq mail.Seq
	err := m.db.read(ctx, func(t *tx) error {
		var low, high int64 // the one looked for is at or above low and below high
		if err := t.row(ctx, "SELECT min_seq - 1, seq + 1 FROM state WHERE {a}1=1").Scan(&low, &high); err != nil {
			return err
		}
		for low+1 < high {
			mid := low + (high-low)/2
			var when int64
			if err := t.row(ctx, "SELECT at FROM changes WHERE {a}seq = ?", mid).Scan(&when); err != nil {
				return err
			}
			if when < at.UnixMilli() {
				low = mid
			} else {
				high = mid
			}
		}
		seq = mail.Seq(low)
		return nil
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
