package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// App is an application: the owner of API keys and accounts.
type App struct {
	ID        mail.AppID
	Name      string
	Details   AppDetails
	CreatedAt time.Time
	UpdatedAt time.Time
}

// AppDetails are what an application says of itself. The JSON objects are opaque here.
type AppDetails struct {
	Branding   json.RawMessage      `json:"branding,omitempty"`
	Hosted     json.RawMessage      `json:"hosted_authentication,omitempty"`
	Connectors map[string]Connector `json:"connectors,omitempty"` // by provider, those that were changed
}

// Connector is how mailboxes of one provider are connected.
type Connector struct {
	Name     string          `json:"name,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"`
	Scope    []string        `json:"scope,omitempty"`
	Off      bool            `json:"off,omitempty"` // none of the provider can be connected
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
		_, err := t.exec(ctx, "INSERT INTO apps(id, name, created_at, updated_at) VALUES(?, 'default', ?, ?)", newUUID(), s.now().UnixMilli(), s.now().UnixMilli())
		return err
	})
}

const appColumns = "id, name, details, created_at, updated_at"

func scanApp(r *sql.Row) (App, error) {
	var a App
	var details sql.NullString
	var created, updated int64
	err := r.Scan(&a.ID, &a.Name, &details, &created, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return App{}, mail.E(mail.NotFound, "store", "there is no such application", nil)
	}
	if err == nil && details.Valid {
		err = json.Unmarshal([]byte(details.String), &a.Details)
	}
	a.CreatedAt, a.UpdatedAt = fromMilli(created), fromMilli(updated)
	return a, err
}

// DefaultApp returns the application that exists from the first start on.
func (s *Store) DefaultApp(ctx context.Context) (a App, err error) {
	err = s.control.look(ctx, func(t *tx) error {
		a, err = scanApp(t.row(ctx, "SELECT "+appColumns+" FROM apps ORDER BY created_at, id LIMIT 1"))
		return err
	})
	return a, err
}

// App returns an application; NotFound if there is none of that id.
func (s *Store) App(ctx context.Context, id mail.AppID) (a App, err error) {
	if !isUUID(string(id)) {
		return App{}, mail.E(mail.NotFound, "store", "there is no such application", nil)
	}
	err = s.control.look(ctx, func(t *tx) error {
		a, err = scanApp(t.row(ctx, "SELECT "+appColumns+" FROM apps WHERE id=?", string(id)))
		return err
	})
	return a, err
}

// UpdateApp lets change do its work on what an application says of itself, and returns the application as it is then. No
// other change comes between.
func (s *Store) UpdateApp(ctx context.Context, id mail.AppID, change func(*AppDetails) error) (a App, err error) {
	err = s.control.write(ctx, func(t *tx) error {
		lock := ""
		if t.texts.d == postgres {
			lock = " FOR UPDATE"
		}
		if a, err = scanApp(t.row(ctx, "SELECT "+appColumns+" FROM apps WHERE id=?"+lock, string(id))); err != nil {
			return err
		}
		if err := change(&a.Details); err != nil {
			return err
		}
		data, err := json.Marshal(a.Details)
		if err != nil {
			return err
		}
		a.UpdatedAt = s.now().Truncate(time.Millisecond)
		_, err = t.exec(ctx, "UPDATE apps SET details=?, updated_at=? WHERE id=?", clean(string(data)), a.UpdatedAt.UnixMilli(), string(id))
		return err
	})
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
