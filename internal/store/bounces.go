package store

import (
	"database/sql"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// bounceReach is how long before a report its message may have been sent: servers give up after a few days.
const bounceReach = 30 * 24 * time.Hour

// maxBouncedID is the longest Message-ID that is looked for: that of a line (RFC 5322 2.1.1). An index of PostgreSQL does not take
// any length.
const maxBouncedID = 998

// report is a message of the batch that says that another one could not be delivered.
type report struct {
	msg      *messageRow
	headerID string
}

// tellBounces tells which sent messages could not be delivered. A report counts once, for a message in a folder for sent
// mail with the Message-ID that it returns; if there is none yet, since its copy is filed later, it waits for one.
func (a *applier) tellBounces() error {
	if len(a.reports) == 0 {
		if !slices.ContainsFunc(a.order, func(m *messageRow) bool { return !m.stored }) {
			return nil
		}
		var waits int
		if err := a.t.row(a.ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM bounces WHERE {a}told = 0 LIMIT 1) AS found").Scan(&waits); err != nil || waits == 0 {
			return err
		}
	}
	sent, err := a.sentFolders()
	if err != nil {
		return err
	}
	for _, r := range a.reports {
		if r.msg.void() {
			continue
		}
		told := bit(a.origin == mail.OriginInitial) // it was there before us
		n, err := a.t.exec(a.ctx, "INSERT INTO bounces({ai}report, header_id, at, told) VALUES({av}?, ?, ?, ?) ON CONFLICT({ai}report) DO NOTHING",
			r.msg.public[:], r.headerID, a.now.UnixMilli(), told)
		if err != nil {
			return err
		}
		if n == 0 || told == 1 {
			continue
		}
		original, err := a.sentMessage(sent, r)
		if err != nil {
			return err
		}
		if original != nil {
			if err := a.tellBounce(*original, r.msg.public); err != nil {
				return err
			}
		}
	}
	return a.tellWaiting(sent)
}

func (a *applier) tellBounce(original, by publicID) error {
	a.tell(mail.MessageBounced, string(original.id()), mail.ChangeData{From: string(by.id())}, nil)
	_, err := a.t.exec(a.ctx, "UPDATE bounces SET told = 1 WHERE {a}report = ?", by[:])
	return err
}

// sentFolders returns the rows of the folders for sent mail.
func (a *applier) sentFolders() (map[int64]bool, error) {
	out := map[int64]bool{}
	err := each(a.ctx, a.t, "SELECT id FROM folders WHERE {a}role = ? AND deleted_at IS NULL", []any{string(mail.RoleSent)}, func(r *sql.Rows) error {
		var n int64
		err := r.Scan(&n)
		out[n] = true
		return err
	})
	for num, f := range a.folderByNum { // those of this batch are not written yet
		if f.Role == mail.RoleSent && !f.gone {
			out[num] = true
		}
	}
	return out, err
}

func (m *messageRow) in(folders map[int64]bool) bool {
	for _, f := range m.folders {
		if folders[f] {
			return true
		}
	}
	return false
}

// sentMessage finds what a report is about: in this batch, or among what was sent in the weeks before.
func (a *applier) sentMessage(sent map[int64]bool, r report) (*publicID, error) {
	for _, m := range a.order {
		if !m.void() && !m.gone && m.facts != nil && m.facts.headerID == r.headerID && m != r.msg && m.in(sent) {
			return &m.public, nil
		}
	}
	var found *publicID
	since := rowAt(r.msg.facts.received.Add(-bounceReach))
	err := queryIn(a.ctx, a.t, "SELECT m.public FROM placements p JOIN messages m ON {a:m}m.id = p.message_id WHERE {a:p}p.message_id >= ? AND m.header_id = ? AND p.folder_id IN (??)",
		[]any{since, r.headerID}, sortedKeys(sent), func(rows *sql.Rows) error {
			var b sql.RawBytes
			if err := rows.Scan(&b); err != nil {
				return err
			}
			p := publicID(b)
			if found == nil || string(p[:]) < string(found[:]) {
				found = &p
			}
			return nil
		})
	return found, err
}

// tellWaiting looks whether reports were waiting for messages that were filed as sent now.
func (a *applier) tellWaiting(sent map[int64]bool) error {
	byID := map[string]*messageRow{}
	for _, m := range a.order {
		if !m.stored && !m.void() && !m.gone && m.facts.headerID != "" && m.in(sent) {
			byID[m.facts.headerID] = m
		}
	}
	if len(byID) == 0 {
		return nil
	}
	type waiting struct {
		by       publicID
		headerID string
	}
	var list []waiting
	err := queryIn(a.ctx, a.t, "SELECT report, header_id FROM bounces WHERE {a}told = 0 AND header_id IN (??)", nil, sortedKeys(byID), func(r *sql.Rows) error {
		var b sql.RawBytes
		var w waiting
		if err := r.Scan(&b, &w.headerID); err != nil {
			return err
		}
		copy(w.by[:], b)
		list = append(list, w)
		return nil
	})
	for _, w := range list {
		if err == nil {
			err = a.tellBounce(byID[w.headerID].public, w.by)
		}
	}
	return err
}
