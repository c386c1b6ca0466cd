package store

import (
	"database/sql"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
)

// folderRow is a folder in a writing transaction.
type folderRow struct {
	mail.Folder
	num    int64
	stored bool
	gone   bool // at the server
	dirty  bool
	leaves bool // becomes gone in this transaction
}

const folderColumns = `id, public, raw_name, name, delimiter, role, attrs, parent, selectable, uidvalidity, uidnext, highestmodseq,
	headers_done, backfill_below, total, unread, seq, deleted_at`

func scanFolder(r *sql.Rows) (num int64, f mail.Folder, gone bool, err error) {
	var raw []byte
	var attrs sql.NullString
	var deleted sql.NullInt64
	var modseq int64
	err = r.Scan(&num, &f.ID, &raw, &f.Name, &f.Delimiter, &f.Role, &attrs, &f.Parent, &f.Selectable, &f.UIDValidity, &f.UIDNext, &modseq,
		&f.HeadersDone, &f.BackfillBelow, &f.Total, &f.Unread, &f.Seq, &deleted)
	if err != nil {
		return 0, f, false, err
	}
	f.RawName, f.HighestModSeq = string(raw), mail.ModSeq(modseq)
	f.Attrs, err = parseList[string](attrs)
	return num, f, deleted.Valid, err
}

// loadFolders reads the folders that the batch names.
func (a *applier) loadFolders(b Batch) error {
	want := map[mail.FolderID]bool{}
	for _, f := range b.Folders {
		if f.ID == "" {
			return mail.E(mail.Invalid, "store a folder", "a folder needs an id", nil)
		}
		want[f.ID] = true
	}
	lists := [][]mail.FolderID{b.GoneFolders, b.Renewed, b.Unlabelled}
	for i := range b.Flags {
		lists = append(lists, b.Flags[i].Labels.Folders)
	}
	for i := range b.New {
		lists = append(lists, b.New[i].Labels.Folders)
	}
	for _, list := range lists {
		for _, id := range list {
			want[id] = true
		}
	}
	for _, list := range [][]PlacementRef{b.Vanished, b.Removed} {
		for _, ref := range list {
			want[ref.Folder] = true
		}
	}
	for i := range b.Flags {
		want[b.Flags[i].Folder] = true
	}
	for i := range b.New {
		want[b.New[i].Folder] = true
	}
	for i := range b.Restored {
		want[b.Restored[i].Folder] = true
	}
	for i := range b.Bodies {
		want[b.Bodies[i].Folder] = true
	}
	for i := range b.Quarantine {
		want[b.Quarantine[i].Folder] = true
	}
	for i := range b.Cursors {
		want[b.Cursors[i].Folder] = true
	}
	ids := make([]string, 0, len(want))
	for id := range want {
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	return queryIn(a.ctx, a.t, "SELECT "+folderColumns+" FROM folders WHERE {a}public IN (??)", nil, ids, a.takeFolder)
}

func (a *applier) takeFolder(r *sql.Rows) error {
	num, f, gone, err := scanFolder(r)
	if err != nil || a.folderByNum[num] != nil {
		return err
	}
	row := &folderRow{Folder: f, num: num, stored: true, gone: gone}
	a.folders[f.ID], a.folderByNum[num] = row, row
	a.folderOrder = append(a.folderOrder, row)
	return nil
}

// folderOf returns the row of a folder by its number, reading it if need be.
func (a *applier) folderOf(num int64) (*folderRow, error) {
	if f := a.folderByNum[num]; f != nil {
		return f, nil
	}
	if err := each(a.ctx, a.t, "SELECT "+folderColumns+" FROM folders WHERE {a}id = ?", []any{num}, a.takeFolder); err != nil {
		return nil, err
	}
	f := a.folderByNum[num]
	if f == nil {
		return nil, fmt.Errorf("a placement lies in folder row %d, which does not exist", num)
	}
	return f, nil
}

// loadNames reads the public ids of the folders that the messages lie in.
func (a *applier) loadNames() error {
	var want []int64
	for _, m := range a.order {
		for _, f := range m.folders {
			if a.folderByNum[f] == nil {
				want = append(want, f)
			}
		}
	}
	if len(want) == 0 {
		return nil
	}
	var err error
	a.names, err = a.m.names.all(a.ctx, a.t, sortedSet(want)...)
	return err
}

func (a *applier) nameOf(num int64) mail.FolderID {
	if f := a.folderByNum[num]; f != nil {
		return f.ID
	}
	return a.names[num]
}

func (a *applier) upsertFolders(list []mail.Folder, out []mail.FolderID) error {
	for _, f := range list {
		f.Name, f.Delimiter, f.Role = clean(f.Name), clean(f.Delimiter), mail.Role(clean(string(f.Role)))
		f.Parent, f.Attrs = mail.FolderID(clean(string(f.Parent))), cleanList(f.Attrs)
		if clean(string(f.ID)) != string(f.ID) {
			return mail.E(mail.Invalid, "store a folder", "a folder id has characters that no id has", nil)
		}
		row := a.folders[f.ID]
		if row == nil {
			row = &folderRow{num: a.st.nextFolder, Folder: mail.Folder{ID: f.ID}}
			a.st.nextFolder++
			a.folders[f.ID], a.folderByNum[row.num] = row, row
			a.folderOrder = append(a.folderOrder, row)
		}
		kind := mail.ChangeKind(0)
		if row.differs(f) {
			kind = mail.FolderUpdated
		}
		if f.UIDValidity != 0 && f.UIDValidity != row.UIDValidity {
			if row.UIDValidity != 0 {
				if err := a.endGeneration(row, f.UIDValidity, slices.Contains(out, f.ID)); err != nil {
					return err
				}
				kind = mail.FolderReset
			}
			row.UIDValidity, row.UIDNext, row.HighestModSeq, row.HeadersDone, row.BackfillBelow = f.UIDValidity, 0, 0, false, 0
			row.dirty = true
		}
		if !row.stored || row.gone {
			kind = mail.FolderCreated
		}
		if kind == 0 {
			continue
		}
		row.RawName, row.Name, row.Delimiter, row.Role = f.RawName, f.Name, f.Delimiter, f.Role
		row.Attrs, row.Parent, row.Selectable = f.Attrs, f.Parent, f.Selectable
		row.gone, row.dirty = false, true
		a.tellFolder(row, kind)
	}
	return nil
}

// tellFolder notes a change of a folder; a batch that names a folder twice changes the note.
func (a *applier) tellFolder(row *folderRow, kind mail.ChangeKind) {
	for i := range a.changes {
		if c := &a.changes[i]; c.Object == string(row.ID) {
			if c.Kind == mail.FolderUpdated {
				c.Kind = kind
			}
			return
		}
	}
	a.tell(kind, string(row.ID), mail.ChangeData{}, func(s mail.Seq) { row.Seq = s })
}

func (row *folderRow) differs(f mail.Folder) bool {
	return row.RawName != f.RawName || row.Name != f.Name || row.Delimiter != f.Delimiter || row.Role != f.Role ||
		row.Parent != f.Parent || row.Selectable != f.Selectable || !slices.Equal(row.Attrs, f.Attrs)
}

// renewFolders begins another generation of UIDs under the same UIDVALIDITY.
func (a *applier) renewFolders(list, out []mail.FolderID) error {
	for _, id := range list {
		row := a.folders[id]
		if row == nil || row.gone || !row.stored {
			continue
		}
		if err := a.endGeneration(row, row.UIDValidity, slices.Contains(out, id)); err != nil {
			return err
		}
		row.UIDNext, row.HighestModSeq, row.HeadersDone, row.BackfillBelow, row.dirty = 0, 0, false, 0, true
		a.tellFolder(row, mail.FolderReset)
	}
	return nil
}

// endGeneration lets the placements of a folder vanish, or be out of view, and makes way for a generation of UIDs under v: what is stored
// under that number goes to another, under which the folder has none.
func (a *applier) endGeneration(row *folderRow, v mail.UIDValidity, out bool) error {
	if !row.stored {
		return nil
	}
	leave := a.vanishAll
	if out {
		leave = a.leaveView
	}
	if err := leave(row); err != nil {
		return err
	}
	var used []mail.UIDValidity
	err := each(a.ctx, a.t, "SELECT DISTINCT uidvalidity FROM placements WHERE {a}folder_id = ?", []any{row.num}, func(r *sql.Rows) error {
		var v mail.UIDValidity
		err := r.Scan(&v)
		used = append(used, v)
		return err
	})
	if err != nil || !slices.Contains(used, v) {
		return err
	}
	free := v - 1
	for free == 0 || free == v || slices.Contains(used, free) {
		free--
	}
	if _, err := a.t.exec(a.ctx, "UPDATE placements SET uidvalidity = ? WHERE {a}folder_id = ? AND uidvalidity = ? AND base = 0", int64(free), row.num, int64(v)); err != nil {
		return err
	}
	_, err = a.t.exec(a.ctx, "UPDATE placements SET uidvalidity = ? WHERE {a}base = ? AND base <> 0 AND uidvalidity = ?", int64(free), row.num, int64(v))
	return err
}

// leaveView marks all placements of a folder as out of view, in one statement, as vanishAll. It makes nothing of the folder's counts.
func (a *applier) leaveView(row *folderRow) error {
	var unheld int64
	if err := a.t.row(a.ctx, "SELECT COUNT(*) FROM placements WHERE {a}folder_id = ? AND held = 0 AND vanished_at IS NULL AND base = 0", row.num).Scan(&unheld); err != nil {
		return err
	}
	if _, err := a.t.exec(a.ctx, "UPDATE placements SET vanished_at = ? WHERE {a}folder_id = ? AND vanished_at IS NULL AND base = 0", outOfView, row.num); err != nil {
		return err
	}
	a.st.unheld -= unheld
	_, err := a.t.exec(a.ctx, "UPDATE placements SET vanished_at = ? WHERE {a}base = ? AND base <> 0 AND vanished_at IS NULL", outOfView, row.num)
	return err
}

// removeFolders marks folders as gone at the server. Their rows stay, because the log and vanished placements name them.
func (a *applier) removeFolders(list []mail.FolderID) error {
	for _, id := range list {
		row := a.folders[id]
		if row == nil || row.gone {
			continue
		}
		if err := a.vanishAll(row); err != nil {
			return err
		}
		row.gone, row.leaves, row.dirty = true, true, true
		row.UIDNext, row.HighestModSeq, row.HeadersDone, row.BackfillBelow = 0, 0, false, 0
	}
	return nil
}

func (a *applier) tellGoneFolders() {
	for _, row := range a.folderOrder {
		if row.leaves && row.gone {
			for i := range a.changes { // created or updated in the same batch: it is one change, and this one
				if a.changes[i].Object == string(row.ID) {
					a.changes[i].Kind = mail.FolderDeleted
					row.leaves = false
				}
			}
			if row.leaves {
				a.tell(mail.FolderDeleted, string(row.ID), mail.ChangeData{}, func(s mail.Seq) { row.Seq = s })
			}
		}
	}
}

// vanishAll marks all placements of a folder as vanished, in one statement: there may be very many, and nothing changes
// for their messages. It runs before any of them is read.
func (a *applier) vanishAll(row *folderRow) error {
	if !row.stored {
		return nil
	}
	var unheld int64
	if err := a.t.row(a.ctx, "SELECT COUNT(*) FROM placements WHERE {a}folder_id = ? AND held = 0 AND vanished_at IS NULL", row.num).Scan(&unheld); err != nil {
		return err
	}
	const set = "UPDATE placements SET vanished_at = ? WHERE {a}folder_id = ? AND (vanished_at IS NULL OR vanished_at < 0) AND base "
	n, err := a.t.exec(a.ctx, set+"= 0", a.now.UnixMicro(), row.num)
	if err != nil {
		return err
	}
	labels, err := a.t.exec(a.ctx, set+"<> 0", a.now.UnixMicro(), row.num)
	if err != nil {
		return err
	}
	if err := a.vanishLabels(row.num); err != nil {
		return err
	}
	a.st.placements -= n
	a.st.vanished += n + labels
	a.st.unheld -= unheld
	row.Total, row.Unread, row.dirty = 0, 0, true
	return nil
}

// checkGenerations refuses placements and cursors of folders that are not there, or of another generation of UIDs.
func (a *applier) checkGenerations(b Batch) error {
	check := func(id mail.FolderID, v mail.UIDValidity) error {
		row := a.folders[id]
		switch {
		case v == 0:
			return mail.E(mail.Invalid, "store placements", fmt.Sprintf("folder %s: UIDVALIDITY 0", id), nil)
		case row == nil || row.gone:
			return mail.E(mail.Conflict, "store placements", fmt.Sprintf("folder %s is not stored", id), nil)
		case row.UIDValidity == 0:
			row.UIDValidity, row.dirty = v, true
		case row.UIDValidity != v:
			return mail.E(mail.Conflict, "store placements", fmt.Sprintf("folder %s has UIDVALIDITY %d, not %d", id, row.UIDValidity, v), nil)
		}
		return nil
	}
	for i := range b.New {
		if b.New[i].UID == 0 {
			return mail.E(mail.Invalid, "store placements", "UID 0", nil)
		}
		if err := check(b.New[i].Folder, b.New[i].UIDValidity); err != nil {
			return err
		}
	}
	for _, c := range b.Cursors {
		if err := check(c.Folder, c.UIDValidity); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) moveCursors(list []Cursor) {
	for _, c := range list {
		row := a.folders[c.Folder]
		if c.UIDNext != 0 {
			row.UIDNext = c.UIDNext
		}
		if c.HighestModSeq != 0 {
			row.HighestModSeq = c.HighestModSeq
		}
		if c.BackfillBelow != 0 {
			row.BackfillBelow = c.BackfillBelow
		}
		row.HeadersDone = row.HeadersDone || c.HeadersDone
		row.dirty = true
	}
}

func (a *applier) writeFolders() error {
	var fresh, changed [][]any
	for _, f := range a.folderOrder {
		if !f.dirty {
			continue
		}
		var deleted any
		if f.gone {
			deleted = a.now.UnixMilli()
		}
		vals := []any{[]byte(f.RawName), f.Name, f.Delimiter, string(f.Role), jsonList(f.Attrs), string(f.Parent), bit(f.Selectable),
			int64(f.UIDValidity), int64(f.UIDNext), int64(f.HighestModSeq), bit(f.HeadersDone), int64(f.BackfillBelow),
			int64(f.Total), int64(f.Unread), int64(f.Seq), deleted}
		if f.stored {
			changed = append(changed, append(vals, f.num))
		} else {
			fresh = append(fresh, append([]any{f.num, string(f.ID)}, vals...))
		}
	}
	if len(changed) > 0 {
		_, err := a.t.execMany(a.ctx, `UPDATE folders SET raw_name=?, name=?, delimiter=?, role=?, attrs=?, parent=?, selectable=?, uidvalidity=?,
			uidnext=?, highestmodseq=?, headers_done=?, backfill_below=?, total=?, unread=?, seq=?, deleted_at=? WHERE {a}id=?`, changed)
		if err != nil {
			return err
		}
	}
	return a.t.insertMany(a.ctx, "folders", []string{"id", "public", "raw_name", "name", "delimiter", "role", "attrs", "parent", "selectable",
		"uidvalidity", "uidnext", "highestmodseq", "headers_done", "backfill_below", "total", "unread", "seq", "deleted_at"}, fresh, "")
}
