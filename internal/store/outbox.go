package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"crypto/rand"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

const (
	// keepSends is how long a send is kept after its end: as long as what is told of it may be on its way.
	keepSends = 30 * 24 * time.Hour
	// keepSendKeys is how long the key of a send means that send.
	keepSendKeys = time.Hour
	// maxOpenSends bounds what one account can have waiting.
	maxOpenSends = 10000
)

// Enqueue stores a send, which is from then on sure to be tried, and tells it as send_accepted. State must be queued, or
// scheduled with SendAt. created is false if there is a send with this Key that is less than an hour old: that one is
// returned, and s.Blob is not used. It fails with Limited if ten thousand sends are waiting, and with Conflict if s.Draft is
// being sent already. With any other error it may be stored all the same.
func (m *Mailbox) Enqueue(ctx context.Context, s mail.Send) (out mail.Send, created bool, err error) {
	var id [15]byte
	rand.Read(id[:]) // never fails
	s.ID, s.Version = "s"+base64.RawURLEncoding.EncodeToString(id[:]), 1
	s.CreatedAt = m.now().Truncate(time.Millisecond)
	s.NextTry = s.CreatedAt
	if s.State == mail.SendScheduled {
		s.NextTry = s.SendAt
	}
	s.Key, s.Reason = clean(s.Key), clean(s.Reason)
	data, err := json.Marshal(s)
	if err != nil {
		return s, false, err
	}
	var old []int64
	var res Result
	unanswered := false
	add := func(t *tx) error {
		if unanswered { // the account is ours to write to: what was committed is there by now
			var n int
			if err := t.row(ctx, "SELECT COUNT(*) FROM outbox WHERE {a}public = ?", s.ID).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				return errStored
			}
		}
		out, created, old, res = s, false, nil, Result{}
		now := s.CreatedAt.UnixMilli()
		if _, err := t.exec(ctx, "DELETE FROM outbox WHERE {a}ended_at < ?", now-keepSends.Milliseconds()); err != nil {
			return err
		}
		if s.Key != "" {
			if _, err := t.exec(ctx, "UPDATE outbox SET key = NULL WHERE {a}key = ? AND created_at <= ?", s.Key, now-keepSendKeys.Milliseconds()); err != nil {
				return err
			}
			have, err := scanSend(t.row(ctx, "SELECT "+sendColumns+" FROM outbox WHERE {a}key = ?", s.Key).Scan)
			if err == nil {
				if s.Blob != 0 {
					old = append(old, s.Blob)
				}
				out = have
				return nil
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		var open int
		if err := t.row(ctx, "SELECT COUNT(*) FROM outbox WHERE {a}ended_at IS NULL").Scan(&open); err != nil {
			return err
		}
		if open >= maxOpenSends {
			return &mail.Error{Op: "send", Kind: mail.Limited, After: time.Minute, Msg: "too many messages of this mailbox are waiting to be sent"}
		}
		if _, err := t.exec(ctx, "INSERT INTO outbox({ai}public, key, draft, state, version, raw_blob, created_at, next_try, data) VALUES({av}?, ?, ?, ?, ?, ?, ?, ?, ?)",
			s.ID, text(s.Key), text(string(s.Draft)), string(s.State), s.Version, number(s.Blob), now, s.NextTry.UnixMilli(), clean(string(data))); isUnique(err) {
			return mail.E(mail.Conflict, "send", "this draft is being sent already", err)
		} else if err != nil {
			return err
		}
		if s.Tracking != nil {
			if err := track(ctx, t, s.Summary, *s.Tracking); err != nil {
				return err
			}
		}
		out, created = s, true
		res, err = m.tellSend(ctx, t, s, mail.SendAccepted)
		return err
	}
	err = m.db.write(ctx, add)
	if unanswered = errors.Is(err, errUnanswered); unanswered {
		err = m.db.write(ctx, add)
	}
	switch {
	case err == nil, errors.Is(err, errStored):
	case unanswered && !mail.IsKind(err, mail.Limited) && !mail.IsKind(err, mail.Conflict):
		return s, false, mail.E(mail.Unavailable, "send", "the database has not confirmed that the message is accepted: it may be sent or not; "+
			"the same request with the same Idempotency-Key does not send it twice", err)
	default:
		return s, false, err
	}
	m.told(res)
	m.free(ctx, old)
	return out, created, nil
}

var errStored = errors.New("it was stored before")

// tellSend writes a change about a send, in the transaction that made it true.
func (m *Mailbox) tellSend(ctx context.Context, t *tx, s mail.Send, kind mail.ChangeKind) (Result, error) {
	return m.tell(ctx, t, kind, s.ID, mail.ChangeData{Send: s.State, Reason: s.Reason})
}

// tell writes a change that nothing of the mail server led to, in the transaction that made it true.
func (m *Mailbox) tell(ctx context.Context, t *tx, kind mail.ChangeKind, object string, data mail.ChangeData) (Result, error) {
	st, err := readState(ctx, t)
	if err != nil {
		return Result{}, err
	}
	a, err := m.begin(ctx, t, st.term, mail.OriginAPI)
	if err != nil {
		return Result{}, err
	}
	a.tell(kind, object, data, nil)
	if err := a.writeChanges(); err != nil {
		return Result{}, err
	}
	return Result{Seq: mail.Seq(a.st.seq), Changes: len(a.changes)}, a.writeState()
}

// PutSend stores how far a send has come and tells it as kind; 0 tells nothing. It fails with Conflict if s is not as it
// was stored last: somebody else has written it since, or it has ended. The end of a send releases its bytes.
func (m *Mailbox) PutSend(ctx context.Context, s mail.Send, kind mail.ChangeKind) (mail.Send, error) {
	s.Reason = clean(s.Reason)
	was, freed := s.Version, int64(0)
	s.Version++
	var ended any
	if s.State.Ended() {
		s.EndedAt = m.now().Truncate(time.Millisecond)
		s.NextTry, freed, s.Blob = s.EndedAt, s.Blob, 0
		ended = s.EndedAt.UnixMilli()
	}
	data, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	var res Result
	err = m.db.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE outbox SET state = ?, version = ?, raw_blob = ?, next_try = ?, ended_at = ?, data = ? WHERE {a}public = ? AND version = ? AND ended_at IS NULL",
			string(s.State), s.Version, number(s.Blob), s.NextTry.UnixMilli(), ended, clean(string(data)), s.ID, was)
		if err != nil {
			return err
		}
		if n != 1 {
			return mail.E(mail.Conflict, "store a send", "the send has changed meanwhile", nil)
		}
		if kind != 0 {
			res, err = m.tellSend(ctx, t, s, kind)
		}
		return err
	})
	if err != nil {
		return s, err
	}
	m.told(res)
	if freed != 0 {
		m.free(ctx, []int64{freed})
	}
	return s, nil
}

const sendColumns = "public, key, state, version, raw_blob, created_at, next_try, ended_at, data"

func scanSend(scan func(...any) error) (mail.Send, error) {
	var s mail.Send
	var id, state, data string
	var key sql.NullString
	var blob, ended sql.NullInt64
	var version, created, next int64
	if err := scan(&id, &key, &state, &version, &blob, &created, &next, &ended, &data); err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(data), &s); err != nil {
		return s, fmt.Errorf("send %s: %w", id, err)
	}
	s.ID, s.Key, s.State, s.Version, s.Blob = id, key.String, mail.SendState(state), version, blob.Int64
	s.CreatedAt, s.NextTry, s.EndedAt = time.UnixMilli(created).UTC(), time.UnixMilli(next).UTC(), fromMillis(ended)
	return s, nil
}

// Send returns a send; NotFound if there is none of that id, or none any more.
func (m *Mailbox) Send(ctx context.Context, id string) (s mail.Send, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		s, err = scanSend(t.row(ctx, "SELECT "+sendColumns+" FROM outbox WHERE {a}public = ?", clean(id)).Scan)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return s, mail.E(mail.NotFound, "read a send", "there is no such send, or it ended long ago", nil)
	}
	return s, err
}

// Sends returns the sends that have not ended before a time, the newest first, at most limit.
func (m *Mailbox) Sends(ctx context.Context, since time.Time, limit int) (list []mail.Send, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, "SELECT "+sendColumns+" FROM outbox WHERE {a}(ended_at IS NULL OR ended_at >= ?) ORDER BY id DESC LIMIT ?",
			[]any{since.UnixMilli(), limit}, func(r *sql.Rows) error {
				s, err := scanSend(r.Scan)
				list = append(list, s)
				return err
			})
	})
	return list, err
}

// farthest is how long nothing is put off but what is scheduled. A later time was written while the clock was wrong.
const farthest = 25 * time.Hour

// DueSends returns the sends that have not ended and are due, in the order in which they were accepted: those to deliver apart from those
// that the mail server has, or may have, at most limit of each. next is when the next of the others is due.
func (m *Mailbox) DueSends(ctx context.Context, limit int) (deliver, settle []mail.Send, next time.Time, err error) {
	now := m.now().UnixMilli()
	err = m.db.read(ctx, func(t *tx) error {
		list := func(due *[]mail.Send, where string, args ...any) error {
			// +id: else SQLite walks over all that are scheduled for later, in the order of their ids.
			q := "SELECT " + sendColumns + " FROM outbox WHERE {a}ended_at IS NULL AND " + where + " ORDER BY +id LIMIT ?"
			args = append(args, string(mail.SendSending), string(mail.SendSent), limit)
			return each(ctx, t, q, args, func(r *sql.Rows) error {
				s, err := scanSend(r.Scan)
				*due = append(*due, s)
				return err
			})
		}
		find := func(due *[]mail.Send, states string) error {
			err := list(due, "next_try <= ? AND state "+states, now)
			if err == nil && len(*due) == 0 {
				err = list(due, "next_try > ? AND state <> ? AND state "+states, now+farthest.Milliseconds(), string(mail.SendScheduled))
			}
			return err
		}
		if err := find(&deliver, "NOT IN (?, ?)"); err != nil {
			return err
		}
		if err := find(&settle, "IN (?, ?)"); err != nil {
			return err
		}
		var at sql.NullInt64
		err := t.row(ctx, "SELECT min(next_try) FROM outbox WHERE {a}ended_at IS NULL AND next_try > ?", now).Scan(&at)
		next = fromMillis(at)
		return err
	})
	return deliver, settle, next, err
}

// ThreadOf returns the thread that a message with these keys would be in if it were stored now.
func (m *Mailbox) ThreadOf(ctx context.Context, keys mime.Threading) (id mail.ThreadID, err error) {
	id = mail.ThreadID(keys.Mint.ID())
	err = m.db.read(ctx, func(t *tx) error {
		first := int64(math.MaxInt64)
		for _, k := range keys.Keys {
			var public []byte
			var began int64
			err := t.row(ctx, "SELECT t.public, t.first_id FROM thread_keys k JOIN threads t ON {a:t}t.id = k.thread_id WHERE {a:k}k.key = ?", k[:]).Scan(&public, &began)
			switch {
			case errors.Is(err, sql.ErrNoRows):
			case err != nil:
				return err
			case began < first: // of merged threads the one that began first goes on
				id, first = threadID(public), began
			}
		}
		return nil
	})
	return id, err
}

// HasHeaderID tells whether a folder holds a message with this Message-ID that the server received after a time. What is out of view
// (see Batch) counts: it was there, and is not known to be gone.
func (m *Mailbox) HasHeaderID(ctx context.Context, folder mail.FolderID, id string, after time.Time) (has bool, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, `SELECT EXISTS(SELECT 1 FROM messages m JOIN placements p ON {a:p}p.message_id = m.id JOIN folders f ON {a:f}f.id = p.folder_id
			WHERE {a:m}m.id >= ? AND m.header_id = ? AND f.public = ? AND (p.vanished_at IS NULL OR p.vanished_at < 0))`, rowAt(after), id, string(folder)).Scan(&has)
	})
	return has, err
}
