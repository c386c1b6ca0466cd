package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// App is an application: the owner of API keys and accounts.
type App struct {
	ID        mail.AppID
	Name      string
	CreatedAt time.Time
}

// APIKey is what is known of an API key. The key itself is nowhere, only its SHA-256.
type APIKey struct {
	ID        string
	App       mail.AppID
	Name      string
	CreatedAt time.Time
}

// makeDefaultApp makes the first application.
func (s *Store) makeDefaultApp(ctx context.Context) error {
	return s.control.write(ctx, func(t *tx) error {
		var n int
		if err := t.row(ctx, "SELECT count(*) FROM apps").Scan(&n); err != nil || n > 0 {
			return err
		}
		_, err := t.exec(ctx, "INSERT INTO apps(id, name, created_at) VALUES(?, 'default', ?)", newUUID(), s.now().UnixMilli())
		return err
	})
}

// DefaultApp returns the application that exists from the first start on.
func (s *Store) DefaultApp(ctx context.Context) (App, error) {
	var a App
	var at int64
	err := s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT id, name, created_at FROM apps ORDER BY created_at, id LIMIT 1").Scan(&a.ID, &a.Name, &at)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return App{}, mail.E(mail.NotFound, "store", "there is no application", nil)
	}
	a.CreatedAt = fromMilli(at)
	return a, err
}

// PutAPIKey stores the SHA-256 of an API key of an application. Storing the same one again changes nothing; Conflict if
// it belongs to another application.
func (s *Store) PutAPIKey(ctx context.Context, app mail.AppID, name string, hash [32]byte) error {
	return s.control.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "INSERT INTO api_keys(id, app_id, name, hash, created_at) VALUES(?, ?, ?, ?, ?) ON CONFLICT(hash) DO NOTHING",
			"key_"+randomHex(8), string(app), clean(name), hash[:], s.now().UnixMilli()); err != nil {
			return err
		}
		var owner mail.AppID
		if err := t.row(ctx, "SELECT app_id FROM api_keys WHERE hash=?", hash[:]).Scan(&owner); err != nil {
			return err
		}
		if owner != app {
			return mail.E(mail.Conflict, "store", "this API key belongs to another application", nil)
		}
		return nil
	})
}

// APIKey finds an API key by its SHA-256; NotFound if there is none.
func (s *Store) APIKey(ctx context.Context, hash [32]byte) (APIKey, error) {
	var k APIKey
	var at int64
	err := s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT id, app_id, name, created_at FROM api_keys WHERE hash=?", hash[:]).Scan(&k.ID, &k.App, &k.Name, &at)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return APIKey{}, mail.E(mail.NotFound, "store", "no such API key", nil)
	}
	k.CreatedAt = fromMilli(at)
	return k, err
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// newUUID returns a random UUID (RFC 9562 5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// isUUID tells whether s is a UUID as this package writes it: lower case, safe as part of a path.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case !('0' <= c && c <= '9' || 'a' <= c && c <= 'f'):
			return false
		}
	}
	return true
}

// CountAPIKeys returns how many API keys an application has.
func (s *Store) CountAPIKeys(ctx context.Context, app mail.AppID) (n int, err error) {
	err = s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT count(*) FROM api_keys WHERE app_id=?", string(app)).Scan(&n)
	})
	return n, err
}

// ReplaceAPIKey is PutAPIKey, after which the application has no other key of that name.
func (s *Store) ReplaceAPIKey(ctx context.Context, app mail.AppID, name string, hash [32]byte) error {
	if err := s.PutAPIKey(ctx, app, name, hash); err != nil {
		return err
	}
	return s.control.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "DELETE FROM api_keys WHERE app_id=? AND name=? AND hash<>?", string(app), clean(name), hash[:])
		return err
	})
}
