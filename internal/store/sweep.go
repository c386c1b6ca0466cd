package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// sweepBatch bounds how many placements one transaction of Sweep removes.
const sweepBatch = 500

// Sweep removes the placements that vanished before the given time: message.updated for messages that lie elsewhere
// too, message.deleted for those whose last placement it was. It works in transactions of bounded size, so what it did
// before an error stays done. It fails as Apply does when term is outdated.
// The bytes of deleted messages go with them.
func (m *Mailbox) Sweep(ctx context.Context, term mail.Term, before time.Time) (Result, error) {
	var res Result
	for {
		n := 0
		var freed []int64
		err := m.db.write(ctx, func(t *tx) error {
			a, err := m.begin(ctx, t, term, mail.OriginLive)
			if err != nil {
				return err
			}
			// What has vanished at a time that is to come did so while the clock was wrong.
			if _, err := t.exec(ctx, "UPDATE placements SET vanished_at = ? WHERE {a}vanished_at > ?", a.now.UnixMicro(), a.now.UnixMicro()); err != nil {
				return err
			}
			var rows []int64
			err = each(ctx, t, "SELECT message_id FROM placements WHERE {a}vanished_at > 0 AND vanished_at < ? ORDER BY vanished_at LIMIT ?",
				[]any{before.UnixMicro(), sweepBatch}, func(r *sql.Rows) error {
					var id int64
					err := r.Scan(&id)
					rows = append(rows, id)
					return err
				})
			if n = len(rows); err != nil || n == 0 {
				res.Seq = mail.Seq(a.st.seq)
				return err
			}
			if err := a.loadMessages("id", sortedSet(rows)); err != nil {
				return err
			}
			for _, p := range a.plOrder {
				if p.vanishedAt > 0 && p.vanishedAt < before.UnixMicro() {
					a.remove(p)
					continue
				}
				for _, l := range p.labels { // of folders that are gone
					if l.vanishedAt > 0 && l.vanishedAt < before.UnixMicro() {
						l.removed, p.dirty = true, true
					}
				}
			}
			if err := a.settle(); err != nil {
				return err
			}
			if err := a.write(); err != nil {
				return err
			}
			res.Seq = mail.Seq(a.st.seq)
			res.Changes += len(a.changes)
			freed = a.freed
			return nil
		})
		if err == nil {
			m.told(res)
			m.free(ctx, freed)
		}
		if err != nil || n < sweepBatch {
			return res, err
		}
	}
}
