package store

import (
	"database/sql"

	"github.com/posthorn/posthorn/internal/mail"
)

// Labels are the folders in which a copy shows beside the one that it lies in, where folders are labels (Gmail). The zero
// value says nothing of them. Folders that are not stored, or gone, are left out.
type Labels struct {
	Known   bool
	Folders []mail.FolderID
}

// labelRow is a label of a placement: a row in placements that names as its base the folder in which the copy lies. It
// has no life of its own. What it says of message, flags and presence is what its copy says; only that its folder is gone
// it knows by itself.
type labelRow struct {
	folder     int64
	vanishedAt int64 // µs; 0 is at the server; or outOfView, as its copy
	removed    bool

	stored bool
	was    labelState
}

// labelState is what the row of a label holds.
type labelState struct {
	message    int64
	flags      mail.Flags
	vanishedAt int64
}

func (l labelState) counts() placementCounts {
	if l.vanishedAt > 0 {
		return placementCounts{vanished: 1}
	}
	return placementCounts{live: 1, unread: bit(l.flags&mail.FlagSeen == 0)}
}

// takeLabel makes a label of a row that was read as a placement.
func takeLabel(p *placementRow, message int64) *labelRow {
	return &labelRow{folder: p.folder, vanishedAt: p.vanishedAt, stored: true, was: labelState{message, p.flags, p.vanishedAt}}
}

// setLabels makes the labels of p those that are told.
func (a *applier) setLabels(p *placementRow, told Labels) {
	if !told.Known {
		return
	}
	want := map[int64]bool{}
	for _, id := range told.Folders {
		if f := a.folders[id]; f != nil && !f.gone && f.num != p.folder {
			want[f.num] = true
		}
	}
	for _, l := range p.labels {
		removed := !want[l.folder]
		if l.removed != removed || !removed && l.vanishedAt != 0 {
			l.removed, p.dirty = removed, true
			l.vanishedAt = 0
		}
		delete(want, l.folder)
	}
	for _, num := range sortedKeys(want) {
		p.labels = append(p.labels, &labelRow{folder: num})
		p.dirty = true
	}
}

// writeLabels stores the labels of placements that have changed, and what they make of the counts of folders and account.
func (a *applier) writeLabels() error {
	var fresh, changed, removed [][]any
	for _, p := range a.plOrder {
		if !p.dirty {
			continue
		}
		for _, l := range p.labels {
			var was, is placementCounts
			if l.stored {
				was = l.was.counts()
			}
			gone := l.removed || p.removed
			s := labelState{message: p.msg.row, flags: p.flags, vanishedAt: l.vanishedAt}
			switch {
			case p.vanishedAt != 0 && s.vanishedAt <= 0:
				s.vanishedAt = p.vanishedAt
			case p.vanishedAt == 0 && s.vanishedAt != 0 && p.was.vanished+p.was.out != 0: // the copy is there after all
				s.vanishedAt = 0
			}
			if !gone {
				is = s.counts()
			}
			if was != is {
				f, err := a.folderOf(l.folder)
				if err != nil {
					return err
				}
				f.Total += int(is.live - was.live)
				f.Unread += int(is.unread - was.unread)
				f.dirty = f.dirty || is.live != was.live || is.unread != was.unread
				a.st.vanished += is.vanished - was.vanished
			}
			key := []any{l.folder, int64(p.uidvalidity), int64(p.uid), p.folder}
			vals := []any{s.message, int64(s.flags), number(s.vanishedAt)}
			switch {
			case gone && l.stored:
				removed = append(removed, key)
			case gone, l.stored && s == l.was:
			case l.stored:
				changed = append(changed, append(vals, key...))
			default:
				fresh = append(fresh, append(append(key, vals...), 0, 1, 0, 0))
			}
		}
	}
	if len(removed) > 0 {
		if _, err := a.t.execMany(a.ctx, "DELETE FROM placements WHERE {a}folder_id=? AND uidvalidity=? AND uid=? AND base=?", removed); err != nil {
			return err
		}
	}
	if len(changed) > 0 {
		_, err := a.t.execMany(a.ctx, "UPDATE placements SET message_id=?, flags=?, vanished_at=? WHERE {a}folder_id=? AND uidvalidity=? AND uid=? AND base=?", changed)
		if err != nil {
			return err
		}
	}
	return a.t.insertMany(a.ctx, "placements", []string{"folder_id", "uidvalidity", "uid", "base", "message_id", "flags", "vanished_at", "modseq", "held", "size",
		"internaldate"}, fresh, "")
}

// unlabel marks the labels of all copies in some folders as vanished: what they say is found out anew, folder by folder.
func (a *applier) unlabel(list []mail.FolderID) error {
	for _, id := range list {
		if row := a.folders[id]; row != nil && row.stored {
			if err := a.vanishLabels(row.num); err != nil {
				return err
			}
		}
	}
	return nil
}

// vanishLabels marks all labels of copies in a folder as vanished. It runs before any of them is read.
func (a *applier) vanishLabels(base int64) error {
	type part struct{ folder, total, unread int64 }
	var parts []part
	err := each(a.ctx, a.t, "SELECT folder_id, COUNT(*), SUM(CASE WHEN flags & 1 = 0 THEN 1 ELSE 0 END) FROM placements WHERE {a}base = ? AND base <> 0 AND (vanished_at IS NULL OR vanished_at < 0) GROUP BY folder_id",
		[]any{base}, func(r *sql.Rows) error {
			var p part
			err := r.Scan(&p.folder, &p.total, &p.unread)
			parts = append(parts, p)
			return err
		})
	if err != nil || len(parts) == 0 {
		return err
	}
	for _, p := range parts {
		f, err := a.folderOf(p.folder)
		if err != nil {
			return err
		}
		f.Total -= int(p.total)
		f.Unread -= int(p.unread)
		f.dirty = true
		a.st.vanished += p.total
	}
	_, err = a.t.exec(a.ctx, "UPDATE placements SET vanished_at = ? WHERE {a}base = ? AND base <> 0 AND (vanished_at IS NULL OR vanished_at < 0)", a.now.UnixMicro(), base)
	return err
}
