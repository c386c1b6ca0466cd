package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// keepAnswers is how long the key of a request means that request.
const keepAnswers = time.Hour

// Answer is what was answered to a request with a key of the caller's own, so that the same request again does nothing twice.
type Answer struct {
	Name    [32]byte       // of the key, among all applications and accounts
	App     mail.AppID     // who asked
	Account mail.AccountID // what it was about; "": the application. The answer is erased with it
	Request [32]byte       // tells two requests apart
	Status  int            // HTTP; 0: the request has not ended, or its end was lost
	Body    []byte
}

func answerOwner(a Answer) string { return fmt.Sprintf("answer|%x", a.Name) }

// BeginAnswer notes that a request has begun; begun is false if one with the same name has within the last hour, which is
// returned.
func (s *Store) BeginAnswer(ctx context.Context, a Answer) (_ Answer, begun bool, err error) {
	if !isUUID(string(a.App)) || a.Account != "" && !isUUID(string(a.Account)) {
		return a, false, noAccount(nil)
	}
	now := s.now()
	err = s.control.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "DELETE FROM answers WHERE created_at <= ?", now.Add(-keepAnswers).UnixMilli()); err != nil {
			return err
		}
		n, err := t.exec(ctx, "INSERT INTO answers(name, app_id, account_id, request, created_at) VALUES(?, ?, ?, ?, ?) ON CONFLICT(name) DO NOTHING",
			a.Name[:], string(a.App), text(string(a.Account)), a.Request[:], now.UnixMilli())
		if begun = n == 1; err != nil || begun {
			return err
		}
		var request, wrapped, sealed []byte
		var status sql.NullInt64
		if err := t.row(ctx, "SELECT request, status, wrapped, sealed FROM answers WHERE name=?", a.Name[:]).Scan(&request, &status, &wrapped, &sealed); err != nil {
			return err
		}
		copy(a.Request[:], request)
		if !status.Valid {
			return nil
		}
		key, err := s.o.Keys.Unwrap(answerOwner(a), wrapped)
		if errors.Is(err, vault.ErrWrongKey) {
			return nil // the master key was changed within the hour: what was answered is lost
		}
		if err != nil {
			return err
		}
		defer key.Destroy()
		a.Status = int(status.Int64)
		a.Body, err = key.Open(answerOwner(a), sealed)
		return err
	})
	return a, begun, err
}

// EndAnswer keeps what was answered. Status 0 forgets that there was a request: nothing came of it.
func (s *Store) EndAnswer(ctx context.Context, a Answer) error {
	if a.Status == 0 {
		return s.control.write(ctx, func(t *tx) error {
			_, err := t.exec(ctx, "DELETE FROM answers WHERE name=?", a.Name[:])
			return err
		})
	}
	key := vault.NewKey()
	defer key.Destroy()
	wrapped, sealed := s.o.Keys.Wrap(answerOwner(a), key), key.Seal(answerOwner(a), a.Body)
	return s.control.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "UPDATE answers SET status=?, wrapped=?, sealed=? WHERE name=?", a.Status, wrapped, sealed, a.Name[:])
		return err
	})
}
