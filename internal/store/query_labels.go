package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
)

// readLabels fills in the labels of copies in one folder's generation. Those of NewestPlacements come in descending order.
func (m *Mailbox) readLabels(ctx context.Context, t *tx, folder int64, list []mail.Placement) error {
	type label struct {
		uid mail.UID
		num int64
	}
	low, high := list[0].UID, list[len(list)-1].UID
	var labels []label
	nums := map[int64]bool{}
	err := each(ctx, t, "SELECT uid, folder_id FROM placements WHERE {a}base = ? AND base <> 0 AND uidvalidity = ? AND uid BETWEEN ? AND ? AND vanished_at IS NULL",
		[]any{folder, int64(list[0].UIDValidity), int64(min(low, high)), int64(max(low, high))}, func(r *sql.Rows) error {
			var l label
			err := r.Scan(&l.uid, &l.num)
			labels = append(labels, l)
			nums[l.num] = true
			return err
		})
	if err != nil || len(labels) == 0 {
		return err
	}
	names, err := m.names.all(ctx, t, sortedKeys(nums)...)
	if err != nil {
		return err
	}
	at := make(map[mail.UID]int, len(list))
	for i := range list {
		at[list[i].UID] = i
	}
	for _, l := range labels {
		if i, ok := at[l.uid]; ok {
			list[i].Labels = append(list[i].Labels, names[l.num])
		}
	}
	for i := range list {
		slices.Sort(list[i].Labels)
	}
	return nil
}

// Labelled returns the UIDs, ascending, of the copies in base that show in a folder by its label.
func (m *Mailbox) Labelled(ctx context.Context, folder, base mail.FolderID) (uids []mail.UID, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, `SELECT p.uid FROM placements p WHERE {a:p}p.folder_id = (SELECT id FROM folders WHERE {a}public = ?)
			AND p.base = (SELECT id FROM folders WHERE {a}public = ?) AND p.vanished_at IS NULL ORDER BY p.uid`,
			[]any{clean(string(folder)), clean(string(base))}, func(r *sql.Rows) error {
				var uid mail.UID
				err := r.Scan(&uid)
				uids = append(uids, uid)
				return err
			})
	})
	return uids, err
}

// OnlyIn returns how many copies in a folder are of messages without a copy in any of some others.
func (m *Mailbox) OnlyIn(ctx context.Context, folder mail.FolderID, others []mail.FolderID) (n int64, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		args := []any{clean(string(folder))}
		for _, id := range others {
			args = append(args, clean(string(id)))
		}
		return t.row(ctx, `SELECT COUNT(*) FROM placements p WHERE {a:p}p.folder_id = (SELECT id FROM folders WHERE {a}public = ?) AND p.base = 0 AND p.vanished_at IS NULL
			AND NOT EXISTS(SELECT 1 FROM placements q JOIN folders f ON {a:f}f.id = q.folder_id WHERE {a:q}q.message_id = p.message_id AND q.base = 0
				AND q.vanished_at IS NULL AND f.public IN (`+placeholders(len(others))+`))`, args...).Scan(&n)
	})
	return n, err
}
