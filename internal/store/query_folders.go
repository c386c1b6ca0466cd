package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Folders returns the folders that exist at the server, by name.
func (m *Mailbox) Folders(ctx context.Context) ([]mail.Folder, error) {
	return m.foldersWhere(ctx, "deleted_at IS NULL ORDER BY name, public")
}

// Folder returns one folder, NotFound if there is none or it is gone.
func (m *Mailbox) Folder(ctx context.Context, id mail.FolderID) (mail.Folder, error) {
	list, err := m.foldersWhere(ctx, "deleted_at IS NULL AND public = ?", clean(string(id)))
	if err != nil {
		return mail.Folder{}, err
	}
	if len(list) == 0 {
		return mail.Folder{}, mail.E(mail.NotFound, "read a folder", "this folder does not exist", nil)
	}
	return list[0], nil
}

func (m *Mailbox) foldersWhere(ctx context.Context, where string, args ...any) ([]mail.Folder, error) {
	var list []mail.Folder
	err := m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, "SELECT "+folderColumns+" FROM folders WHERE {a}"+where, args, func(r *sql.Rows) error {
			_, f, _, err := scanFolder(r)
			list = append(list, f)
			return err
		})
	})
	return list, err
}

const mailPlacementColumns = `p.folder_id, p.uidvalidity, p.uid, m.public, p.flags, p.keywords, p.modseq, p.held, p.next_try`

func (m *Mailbox) placements(ctx context.Context, t *tx, q string, args ...any) ([]mail.Placement, error) {
	var list []mail.Placement
	var folders, nums []int64 // of each, and each once in a row
	now := m.now().UnixMilli()
	err := each(ctx, t, q, args, func(r *sql.Rows) error {
		var p mail.Placement
		var folder int64
		var public sql.RawBytes
		var keywords sql.NullString
		var modseq int64
		var nextTry sql.NullInt64
		if err := r.Scan(&folder, &p.UIDValidity, &p.UID, &public, &p.Flags, &keywords, &modseq, &p.Held, &nextTry); err != nil {
			return err
		}
		p.ModSeq, p.Message, p.Aside = mail.ModSeq(modseq), publicID(public).id(), !p.Held && nextTry.Int64 > now
		var err error
		p.Keywords, err = parseList[string](keywords)
		if n := len(folders); n == 0 || folders[n-1] != folder {
			nums = append(nums, folder)
		}
		list, folders = append(list, p), append(folders, folder)
		return err
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	names, err := m.names.all(ctx, t, sortedSet(nums)...)
	if err != nil {
		return nil, err
	}
	for i, folder := range folders {
		list[i].Folder = names[folder]
	}
	for i := 0; i < len(list); {
		n := oneWay(list[i:], folders[i:])
		if err := m.readLabels(ctx, t, folders[i], list[i:i+n]); err != nil {
			return nil, err
		}
		i += n
	}
	return list, nil
}

// oneWay returns how many placements, from the first, are of one folder's generation with UIDs that go up, or down: their labels
// are read by one query.
func oneWay(list []mail.Placement, folders []int64) int {
	n := 1
	for n < len(list) && folders[n] == folders[0] && list[n].UIDValidity == list[0].UIDValidity &&
		cmp.Compare(list[n].UID, list[n-1].UID) == cmp.Compare(list[1].UID, list[0].UID) {
		n++
	}
	return n
}

// Placements returns what we hold of a folder's generation, ascending by UID, without what has vanished: our side of a
// comparison with the server.
func (m *Mailbox) Placements(ctx context.Context, folder mail.FolderID, v mail.UIDValidity) ([]mail.Placement, error) {
	var list []mail.Placement
	err := m.db.read(ctx, func(t *tx) (err error) {
		list, err = m.placements(ctx, t, "SELECT "+mailPlacementColumns+` FROM placements p JOIN messages m ON {a:m}m.id = p.message_id
			WHERE {a:p}p.folder_id = (SELECT id FROM folders WHERE {a}public = ?) AND p.uidvalidity = ? AND p.base = 0 AND p.vanished_at IS NULL ORDER BY p.uid`,
			clean(string(folder)), int64(v))
		return err
	})
	return list, err
}

// PlacementsAt is Placements for the UIDs of some ranges, both ends included.
func (m *Mailbox) PlacementsAt(ctx context.Context, folder mail.FolderID, v mail.UIDValidity, ranges [][2]mail.UID) ([]mail.Placement, error) {
	var list []mail.Placement
	err := m.db.read(ctx, func(t *tx) error {
		for _, r := range ranges {
			part, err := m.placements(ctx, t, "SELECT "+mailPlacementColumns+` FROM placements p JOIN messages m ON {a:m}m.id = p.message_id
				WHERE {a:p}p.folder_id = (SELECT id FROM folders WHERE {a}public = ?) AND p.uidvalidity = ? AND p.uid BETWEEN ? AND ?
				AND p.base = 0 AND p.vanished_at IS NULL ORDER BY p.uid`, clean(string(folder)), int64(v), int64(r[0]), int64(r[1]))
			if err != nil {
				return err
			}
			list = append(list, part...)
		}
		return nil
	})
	return list, err
}

// NewestPlacements is Placements for the n highest UIDs.
func (m *Mailbox) NewestPlacements(ctx context.Context, folder mail.FolderID, v mail.UIDValidity, n int) ([]mail.Placement, error) {
	var list []mail.Placement
	err := m.db.read(ctx, func(t *tx) (err error) {
		list, err = m.placements(ctx, t, "SELECT "+mailPlacementColumns+` FROM placements p JOIN messages m ON {a:m}m.id = p.message_id
			WHERE {a:p}p.folder_id = (SELECT id FROM folders WHERE {a}public = ?) AND p.uidvalidity = ? AND p.base = 0 AND p.vanished_at IS NULL
			ORDER BY p.uid DESC LIMIT ?`, clean(string(folder)), int64(v), n)
		return err
	})
	slices.Reverse(list)
	return list, err
}

// OutOfView returns what is stored of earlier generations of a folder's UIDs and has not vanished, see Batch.
func (m *Mailbox) OutOfView(ctx context.Context, folder mail.FolderID) ([]PlacementRef, error) {
	var list []PlacementRef
	err := m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, `SELECT uidvalidity, uid FROM placements WHERE {a}vanished_at = ?
			AND folder_id = (SELECT id FROM folders WHERE {a}public = ?) AND base = 0`, []any{outOfView, clean(string(folder))}, func(r *sql.Rows) error {
			p := PlacementRef{Folder: folder}
			err := r.Scan(&p.UIDValidity, &p.UID)
			list = append(list, p)
			return err
		})
	})
	return list, err
}

// OutOfViewIn returns the folders in which a message has copies that are out of view, see Batch.
func (m *Mailbox) OutOfViewIn(ctx context.Context, id mail.MessageID) ([]mail.FolderID, error) {
	var list []mail.FolderID
	public, ok := parseMessageID(id)
	if !ok {
		return nil, nil
	}
	err := m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, `SELECT DISTINCT f.public FROM placements p JOIN folders f ON {a:f}f.id = p.folder_id
			WHERE {a:p}p.message_id = (SELECT id FROM messages WHERE {a}public = ?) AND p.vanished_at < 0 AND p.base = 0`, []any{public[:]}, func(r *sql.Rows) error {
			var f mail.FolderID
			err := r.Scan(&f)
			list = append(list, f)
			return err
		})
	})
	return list, err
}

// PlacementsOf returns where messages lie at the server, without what has vanished: what a write has to name.
func (m *Mailbox) PlacementsOf(ctx context.Context, ids ...mail.MessageID) (map[mail.MessageID][]mail.Placement, error) {
	out := map[mail.MessageID][]mail.Placement{}
	err := m.db.read(ctx, func(t *tx) error {
		for _, id := range ids {
			public, ok := parseMessageID(id)
			if !ok || out[id] != nil {
				continue
			}
			list, err := m.placements(ctx, t, "SELECT "+mailPlacementColumns+` FROM messages m JOIN placements p ON {a:p}p.message_id = m.id
				WHERE {a:m}m.public = ? AND p.base = 0 AND p.vanished_at IS NULL ORDER BY p.folder_id, p.uidvalidity, p.uid`, public[:])
			if err != nil {
				return err
			}
			if list != nil {
				out[id] = list
			}
		}
		return nil
	})
	return out, err
}

// Unheld returns placements of a folder whose bytes are still to be fetched or compared, newest first, without those in
// quarantine whose next try is not due. Of several copies of a message without bytes it returns only the oldest: the first
// bytes that are seen make the plain id, whose they are must not depend on which come faster, and newer mail must not take it.
func (m *Mailbox) Unheld(ctx context.Context, folder mail.FolderID, limit int) ([]mail.Placement, error) {
	var list []mail.Placement
	err := m.db.read(ctx, func(t *tx) (err error) {
		now := m.now().UnixMilli()
		list, err = m.placements(ctx, t, "SELECT "+mailPlacementColumns+` FROM placements p JOIN messages m ON {a:m}m.id = p.message_id
			WHERE {a:p}p.folder_id = (SELECT id FROM folders WHERE {a}public = ?) AND p.held = 0 AND p.vanished_at IS NULL
			AND (p.next_try IS NULL OR p.next_try <= ?)
			AND (m.digest IS NOT NULL OR NOT EXISTS (SELECT 1 FROM placements q WHERE {a:q}q.message_id = p.message_id AND q.folder_id = p.folder_id AND q.uid < p.uid
				AND q.held = 0 AND q.vanished_at IS NULL AND (q.next_try IS NULL OR q.next_try <= ?)))
			ORDER BY p.uid DESC LIMIT ?`,
			clean(string(folder)), now, now, limit)
		return err
	})
	return list, err
}

// Counts returns totals over the account.
func (m *Mailbox) Counts(ctx context.Context) (Counts, error) {
	var c Counts
	err := m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT messages, held, placements, unheld, vanished FROM state WHERE {a}1=1").
			Scan(&c.Messages, &c.Held, &c.Placements, &c.Unheld, &c.Vanished)
	})
	return c, err
}

// Troubles returns at most limit of the placements in quarantine, the one that is tried next first.
func (m *Mailbox) Troubles(ctx context.Context, limit int) ([]Trouble, error) {
	var list []Trouble
	err := m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, `SELECT f.public, p.uidvalidity, p.uid, p.trouble, p.next_try, m.public
			FROM placements p JOIN folders f ON {a:f}f.id = p.folder_id JOIN messages m ON {a:m}m.id = p.message_id
			WHERE {a:p}p.trouble IS NOT NULL ORDER BY p.next_try, f.public, p.uid LIMIT ?`, []any{limit}, func(r *sql.Rows) error {
			var q Trouble
			var next sql.NullInt64
			var public sql.RawBytes
			if err := r.Scan(&q.Folder, &q.UIDValidity, &q.UID, &q.Reason, &next, &public); err != nil {
				return err
			}
			q.NextTry, q.Message = time.UnixMilli(next.Int64).UTC(), publicID(public).id()
			list = append(list, q)
			return nil
		})
	})
	return list, err
}

// CountTroubles returns how many placements are in quarantine, and how many units are set aside. A message that is both counts once.
func (m *Mailbox) CountTroubles(ctx context.Context) (n int64, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, `SELECT (SELECT COUNT(*) FROM placements WHERE {a}trouble IS NOT NULL) + (SELECT COUNT(*) FROM units u WHERE {a:u}u.reason <> ''
			AND NOT EXISTS (SELECT 1 FROM folders f JOIN placements p ON {a:p}p.folder_id = f.id
				WHERE {a:f}f.public = u.folder AND p.uidvalidity = u.uidvalidity AND p.uid = u.first_uid AND p.trouble IS NOT NULL))`).Scan(&n)
	})
	return n, err
}

// Synced tells whether the initial sync was completed once.
func (m *Mailbox) Synced(ctx context.Context) (bool, error) {
	var done bool
	err := m.db.read(ctx, func(t *tx) error { return t.row(ctx, "SELECT sync_done FROM state WHERE {a}1=1").Scan(&done) })
	return done, err
}
