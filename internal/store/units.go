package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Unit is a piece of work of the sync: the messages from First to Last of a folder's generation, or, with UIDValidity and
// UIDs 0, the folder itself. It is kept while it is under way, if the process has died before, and while it is set aside.
type Unit struct {
	Folder      mail.FolderID
	UIDValidity mail.UIDValidity
	First, Last mail.UID

	UnderWay bool
	Deaths   int // of the process while it was under way
	Attempts int
	Since    time.Time
	NextTry  time.Time // of one that is set aside
	Reason   string    // why it is set aside, in words; "" if it is not
}

// longestWait is more than the sync ever puts anything off.
const longestWait = 25 * time.Hour

// BeginRun notes that a sync of the account has begun, and tells whether the one before did not end but died with its
// process. The units that were under way then have one death more. What is set aside, or waits, for longer than a day is tried
// now: the clock was wrong when that was noted.
func (m *Mailbox) BeginRun(ctx context.Context) (died bool, err error) {
	err = m.db.write(ctx, func(t *tx) error {
		now := m.now()
		for _, q := range []string{"UPDATE placements SET next_try = ? WHERE {a}trouble IS NOT NULL AND next_try > ?", "UPDATE units SET next_try = ? WHERE {a}next_try > ?",
			"UPDATE operations SET next_try = ? WHERE {a}state = 'pending' AND next_try > ?"} {
			if _, err := t.exec(ctx, q, now.UnixMilli(), now.Add(longestWait).UnixMilli()); err != nil {
				return err
			}
		}
		if err := t.row(ctx, "SELECT running FROM state WHERE {a}1=1").Scan(&died); err != nil {
			return err
		}
		if !died {
			_, err := t.exec(ctx, "UPDATE state SET running = 1 WHERE {a}1=1")
			return err
		}
		_, err := t.exec(ctx, "UPDATE units SET deaths = deaths + 1, under_way = 0 WHERE {a}under_way = 1")
		return err
	})
	return died, err
}

// EndRun notes that the sync that had this term has ended as it should. It fails with Fenced, and notes nothing, if another one has begun.
func (m *Mailbox) EndRun(ctx context.Context, term mail.Term) error {
	return m.db.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE state SET running = 0 WHERE {a}term = ?", int64(term))
		if err == nil && n == 0 {
			err = mail.E(mail.Fenced, "end the run", fmt.Sprintf("term %d was followed by another", term), nil)
		}
		return err
	})
}

// Memory returns what the sync stored to know it again, as Batch.Memory; nil if it did not.
func (m *Mailbox) Memory(ctx context.Context) ([]byte, error) {
	var memory sql.NullString
	err := m.db.read(ctx, func(t *tx) error { return t.row(ctx, "SELECT memory FROM state WHERE {a}1=1").Scan(&memory) })
	if err != nil || !memory.Valid {
		return nil, err
	}
	return []byte(memory.String), nil
}

// Units returns all units that are kept, those that are set aside by the time of their next try.
func (m *Mailbox) Units(ctx context.Context) ([]Unit, error) {
	var list []Unit
	err := m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, `SELECT folder, uidvalidity, first_uid, last_uid, under_way, deaths, attempts, since, next_try, reason FROM units WHERE {a}1=1
			ORDER BY next_try, folder, uidvalidity, first_uid, last_uid`, nil, func(r *sql.Rows) error {
			var u Unit
			var since int64
			var next sql.NullInt64
			if err := r.Scan(&u.Folder, &u.UIDValidity, &u.First, &u.Last, &u.UnderWay, &u.Deaths, &u.Attempts, &since, &next, &u.Reason); err != nil {
				return err
			}
			u.Since, u.NextTry = time.UnixMilli(since).UTC(), fromMillis(next)
			list = append(list, u)
			return nil
		})
	})
	return list, err
}

// PutUnit stores a unit, in place of one of the same messages.
func (m *Mailbox) PutUnit(ctx context.Context, u Unit) error {
	return m.db.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO units({ai}folder, uidvalidity, first_uid, last_uid, under_way, deaths, attempts, since, next_try, reason)
			VALUES({av}?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT({ai}folder, uidvalidity, first_uid, last_uid) DO UPDATE SET
			under_way=excluded.under_way, deaths=excluded.deaths, attempts=excluded.attempts, since=excluded.since, next_try=excluded.next_try, reason=excluded.reason`,
			clean(string(u.Folder)), int64(u.UIDValidity), int64(u.First), int64(u.Last), bit(u.UnderWay), u.Deaths, u.Attempts, u.Since.UnixMilli(), millis(u.NextTry), clean(u.Reason))
		return err
	})
}

// DropUnit forgets a unit: it is done.
func (m *Mailbox) DropUnit(ctx context.Context, u Unit) error {
	return m.db.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "DELETE FROM units WHERE {a}folder = ? AND uidvalidity = ? AND first_uid = ? AND last_uid = ?",
			clean(string(u.Folder)), int64(u.UIDValidity), int64(u.First), int64(u.Last))
		return err
	})
}
