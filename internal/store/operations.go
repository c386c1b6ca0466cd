package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"crypto/rand"

	"github.com/posthorn/posthorn/internal/mail"
)

// keepOperations is how long an operation can be asked for after its end.
const keepOperations = 72 * time.Hour

// AddOperation stores an operation as pending and returns it with its id. Its Blob is kept until it ends. One on a draft
// takes the place of the pending ones on the same draft: these end, and it knows their revisions.
func (m *Mailbox) AddOperation(ctx context.Context, op mail.Operation) (mail.Operation, error) {
	var id [15]byte
	rand.Read(id[:]) // never fails
	op.ID = "o" + base64.RawURLEncoding.EncodeToString(id[:])
	op.State = mail.OpPending
	op.CreatedAt = m.now().Truncate(time.Millisecond)
	op.NextTry = op.CreatedAt
	op.Name = clean(op.Name)
	var freed []int64
	err := m.db.write(ctx, func(t *tx) (err error) {
		now := op.CreatedAt.UnixMilli()
		if _, err := t.exec(ctx, "DELETE FROM operations WHERE {a}state <> 'pending' AND next_try < ?", now-keepOperations.Milliseconds()); err != nil {
			return err
		}
		if op.Draft != nil {
			if freed, err = m.takeOver(ctx, t, &op); err != nil {
				return err
			}
		}
		data, err := json.Marshal(op)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, "INSERT INTO operations({ai}public, state, raw_blob, created_at, next_try, data) VALUES({av}?, ?, ?, ?, ?, ?)",
			op.ID, string(op.State), number(op.Blob), now, now, string(data))
		return err
	})
	if err == nil {
		m.free(ctx, freed)
	}
	return op, err
}

// takeOver ends the pending operations on the draft of op and returns the blobs they held.
func (m *Mailbox) takeOver(ctx context.Context, t *tx, op *mail.Operation) (freed []int64, err error) {
	draft := *op.Draft
	op.Draft = &draft
	old, err := pendingOnDraft(ctx, t, op.Messages)
	if err != nil {
		return nil, err
	}
	for _, o := range old {
		draft.Bases = append(append(draft.Bases, o.Draft.Bases...), o.Draft.Revision)
		for _, c := range o.Draft.Replaces {
			if !slices.Contains(draft.Replaces, c) {
				draft.Replaces = append(draft.Replaces, c)
			}
		}
		if o.Blob != 0 {
			freed = append(freed, o.Blob)
		}
		o.State, o.Why, o.Reason = mail.OpFailed, mail.Conflict, "a later change of the draft has taken its place"
		data, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		if _, err := t.exec(ctx, "UPDATE operations SET state = ?, raw_blob = NULL, next_try = ?, data = ? WHERE {a}public = ?", string(o.State), op.CreatedAt.UnixMilli(), string(data), o.ID); err != nil {
			return nil, err
		}
	}
	draft.Bases = slices.DeleteFunc(draft.Bases, func(r string) bool { return r == "" })
	return freed, nil
}

func pendingOnDraft(ctx context.Context, t *tx, draft []mail.MessageID) (list []mail.Operation, err error) {
	err = each(ctx, t, "SELECT "+operationColumns+" FROM operations WHERE {a}state = 'pending' ORDER BY id", nil, func(r *sql.Rows) error {
		o, err := scanOperation(r.Scan)
		if err == nil && o.Draft != nil && slices.Equal(o.Messages, draft) {
			list = append(list, o)
		}
		return err
	})
	return list, err
}

// PendingDraft returns the pending operation on a draft; NotFound if there is none.
func (m *Mailbox) PendingDraft(ctx context.Context, draft mail.MessageID) (op mail.Operation, err error) {
	var list []mail.Operation
	err = m.db.read(ctx, func(t *tx) error {
		list, err = pendingOnDraft(ctx, t, []mail.MessageID{draft})
		return err
	})
	if err == nil && len(list) == 0 {
		err = mail.E(mail.NotFound, "read an operation", "nothing on this draft is pending", nil)
	}
	if err != nil {
		return op, err
	}
	return list[len(list)-1], nil
}

// PutOperation stores how far an operation has come, in the term of whoever carried it out. It fails with Fenced as
// Apply does. An operation that has ended stays as it ended.
func (m *Mailbox) PutOperation(ctx context.Context, term mail.Term, op mail.Operation) error {
	op.Reason = clean(op.Reason)
	data, err := json.Marshal(op)
	if err != nil {
		return err
	}
	when, blob := op.NextTry, op.Blob
	if op.State != mail.OpPending {
		when, blob = m.now(), 0
	}
	var n int64
	err = m.db.write(ctx, func(t *tx) error {
		if _, err := m.begin(ctx, t, term, mail.OriginAPI); err != nil {
			return err
		}
		n, err = t.exec(ctx, "UPDATE operations SET state = ?, raw_blob = ?, next_try = ?, data = ? WHERE {a}public = ? AND state = 'pending'", string(op.State), number(blob), when.UnixMilli(), string(data), op.ID)
		return err
	})
	if err == nil && n == 1 && blob != op.Blob {
		m.free(ctx, []int64{op.Blob})
	}
	return err
}

const operationColumns = "public, state, raw_blob, created_at, next_try, data"

func scanOperation(scan func(...any) error) (mail.Operation, error) {
	var op mail.Operation
	var id, state, data string
	var blob sql.NullInt64
	var created, next int64
	if err := scan(&id, &state, &blob, &created, &next, &data); err != nil {
		return op, err
	}
	if err := json.Unmarshal([]byte(data), &op); err != nil {
		return op, fmt.Errorf("operation %s: %w", id, err)
	}
	op.Blob = blob.Int64
	op.ID, op.State, op.CreatedAt, op.NextTry = id, mail.OpState(state), time.UnixMilli(created).UTC(), time.UnixMilli(next).UTC()
	return op, nil
}

// Operation returns an operation; NotFound if there is none of that id, or none any more.
func (m *Mailbox) Operation(ctx context.Context, id string) (op mail.Operation, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		op, err = scanOperation(t.row(ctx, "SELECT "+operationColumns+" FROM operations WHERE {a}public = ?", clean(id)).Scan)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return op, mail.E(mail.NotFound, "read an operation", "no such operation", nil)
	}
	return op, err
}

// PendingOperations returns the pending operations that are due, the oldest first, and when the next of the others is. None
// overtakes an older one that waits and is about the same message or folder: what was asked for last has the last word.
func (m *Mailbox) PendingOperations(ctx context.Context, limit int) (due []mail.Operation, next time.Time, err error) {
	now := m.now().UnixMilli()
	err = m.db.read(ctx, func(t *tx) error {
		var at sql.NullInt64
		if err := t.row(ctx, "SELECT min(next_try) FROM operations WHERE {a}state = 'pending' AND next_try > ?", now).Scan(&at); err != nil {
			return err
		}
		next = fromMillis(at)
		q, args := "SELECT "+operationColumns+" FROM operations WHERE {a}state = 'pending' AND next_try <= ? ORDER BY id LIMIT ?", []any{now, limit}
		if at.Valid {
			q, args = "SELECT "+operationColumns+" FROM operations WHERE {a}state = 'pending' ORDER BY id", nil
		}
		waits := map[string]bool{} // what those are about that wait
		return each(ctx, t, q, args, func(r *sql.Rows) error {
			op, err := scanOperation(r.Scan)
			if err != nil || len(due) >= limit {
				return err
			}
			behind, before := subjects(op)
			if wait := op.NextTry.UnixMilli() - now; wait > 0 && wait <= farthest.Milliseconds() || slices.ContainsFunc(behind, func(s string) bool { return waits[s] }) {
				for _, s := range before {
					waits[s] = true
				}
				return nil
			}
			due = append(due, op)
			return nil
		})
	})
	return due, next, err
}

// subjects are the messages and the folder behind whose operations one waits, and those that wait behind it. Messages may come to a
// folder in any order, but not before it is made, nor after it is deleted.
func subjects(op mail.Operation) (behind, before []string) {
	for _, id := range op.Messages {
		behind = append(behind, string(id))
	}
	before = slices.Clone(behind)
	if op.Folder == "" {
		return behind, before
	}
	const arrives = " "
	if len(op.Messages) > 0 {
		return append(behind, string(op.Folder)), append(before, string(op.Folder)+arrives)
	}
	return append(behind, string(op.Folder), string(op.Folder)+arrives), append(before, string(op.Folder))
}
