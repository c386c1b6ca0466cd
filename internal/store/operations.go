package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"crypto/rand"

	"github.com/posthorn/posthorn/internal/mail"
)

// keepOperations is how long an operation can be asked for after its end.
const keepOperations = 72 * time.Hour

// AddOperation stores an operation as pending and returns it with its id.
func (m *Mailbox) AddOperation(ctx context.Context, op mail.Operation) (mail.Operation, error) {
	var id [15]byte
	rand.Read(id[:]) // never fails
	op.ID = "o" + base64.RawURLEncoding.EncodeToString(id[:])
	op.State = mail.OpPending
	op.CreatedAt = m.now().Truncate(time.Millisecond)
	op.NextTry = op.CreatedAt
	op.Name = clean(op.Name)
	data, err := json.Marshal(op)
	if err != nil {
		return op, err
	}
	err = m.db.write(ctx, func(t *tx) error {
		now := op.CreatedAt.UnixMilli()
		if _, err := t.exec(ctx, "DELETE FROM operations WHERE {a}state <> 'pending' AND next_try < ?", now-keepOperations.Milliseconds()); err != nil {
			return err
		}
		_, err := t.exec(ctx, "INSERT INTO operations({ai}public, state, created_at, next_try, data) VALUES({av}?, ?, ?, ?, ?)", op.ID, string(op.State), now, now, string(data))
		return err
	})
	return op, err
}

// PutOperation stores how far an operation has come, in the term of whoever carried it out. It fails with Fenced as
// Apply does. An operation that has ended stays as it ended.
func (m *Mailbox) PutOperation(ctx context.Context, term mail.Term, op mail.Operation) error {
	op.Reason = clean(op.Reason)
	data, err := json.Marshal(op)
	if err != nil {
		return err
	}
	when := op.NextTry
	if op.State != mail.OpPending {
		when = m.now()
	}
	return m.db.write(ctx, func(t *tx) error {
		if _, err := m.begin(ctx, t, term, mail.OriginAPI); err != nil {
			return err
		}
		_, err := t.exec(ctx, "UPDATE operations SET state = ?, next_try = ?, data = ? WHERE {a}public = ? AND state = 'pending'", string(op.State), when.UnixMilli(), string(data), op.ID)
		return err
	})
}

const operationColumns = "public, state, created_at, next_try, data"

func scanOperation(scan func(...any) error) (mail.Operation, error) {
	var op mail.Operation
	var id, state, data string
	var created, next int64
	if err := scan(&id, &state, &created, &next, &data); err != nil {
		return op, err
	}
	if err := json.Unmarshal([]byte(data), &op); err != nil {
		return op, fmt.Errorf("operation %s: %w", id, err)
	}
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

// PendingOperations returns the pending operations that are due, the oldest first, and when the next of the others is.
func (m *Mailbox) PendingOperations(ctx context.Context, limit int) (due []mail.Operation, next time.Time, err error) {
	now := m.now().UnixMilli()
	err = m.db.read(ctx, func(t *tx) error {
		if err := each(ctx, t, "SELECT "+operationColumns+" FROM operations WHERE {a}state = 'pending' AND next_try <= ? ORDER BY id LIMIT ?", []any{now, limit}, func(r *sql.Rows) error {
			op, err := scanOperation(r.Scan)
			due = append(due, op)
			return err
		}); err != nil {
			return err
		}
		var at sql.NullInt64
		err := t.row(ctx, "SELECT min(next_try) FROM operations WHERE {a}state = 'pending' AND next_try > ?", now).Scan(&at)
		next = fromMillis(at)
		return err
	})
	return due, next, err
}
