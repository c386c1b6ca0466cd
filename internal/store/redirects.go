package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// RedirectURI is where an application lets its users be sent after they have connected a mailbox.
type RedirectURI struct {
	ID        string
	App       mail.AppID
	URL       string
	Platform  string
	Settings  string // JSON, opaque; "" for none
	CreatedAt time.Time
}

const redirectColumns = "id, app_id, url, platform, settings, created_at"

func scanRedirect(r interface{ Scan(...any) error }) (RedirectURI, error) {
	var u RedirectURI
	var settings sql.NullString
	var at int64
	err := r.Scan(&u.ID, &u.App, &u.URL, &u.Platform, &settings, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return u, mail.E(mail.NotFound, "find redirect URI", "there is no such redirect URI", nil)
	}
	u.Settings, u.CreatedAt = settings.String, fromMilli(at)
	return u, err
}

// maxRedirects is how many redirect URIs an application may have.
const maxRedirects = 200

// AddRedirectURI registers a redirect URI. One that the application has already is returned as it is.
func (s *Store) AddRedirectURI(ctx context.Context, u RedirectURI) (RedirectURI, error) {
	u.ID, u.CreatedAt = newUUID(), s.now().Truncate(time.Millisecond)
	var out RedirectURI
	err := s.control.write(ctx, func(t *tx) error {
		var n int
		if err := t.row(ctx, "SELECT count(*) FROM redirect_uris WHERE app_id=?", string(u.App)).Scan(&n); err != nil {
			return err
		}
		if n >= maxRedirects {
			return mail.E(mail.Invalid, "add redirect URI", "the application has as many redirect URIs as it may; remove one first", nil)
		}
		if _, err := t.exec(ctx, "INSERT INTO redirect_uris(id, app_id, url, platform, settings, created_at) VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(app_id, url, platform) DO NOTHING",
			u.ID, string(u.App), clean(u.URL), clean(u.Platform), text(u.Settings), u.CreatedAt.UnixMilli()); err != nil {
			return err
		}
		var err error
		out, err = scanRedirect(t.row(ctx, "SELECT "+redirectColumns+" FROM redirect_uris WHERE app_id=? AND url=? AND platform=?", string(u.App), clean(u.URL), clean(u.Platform)))
		return err
	})
	return out, err
}

// RedirectURIs returns the redirect URIs of an application, oldest first.
func (s *Store) RedirectURIs(ctx context.Context, app mail.AppID) (list []RedirectURI, err error) {
	if !isUUID(string(app)) {
		return nil, nil
	}
	err = s.control.look(ctx, func(t *tx) error {
		rows, err := t.query(ctx, "SELECT "+redirectColumns+" FROM redirect_uris WHERE app_id=? ORDER BY created_at, id", string(app))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			u, err := scanRedirect(rows)
			if err != nil {
				return err
			}
			list = append(list, u)
		}
		return rows.Err()
	})
	return list, err
}

// RedirectURI returns one of an application's; NotFound if it has none of that id.
func (s *Store) RedirectURI(ctx context.Context, app mail.AppID, id string) (u RedirectURI, err error) {
	err = s.control.look(ctx, func(t *tx) error {
		u, err = scanRedirect(t.row(ctx, "SELECT "+redirectColumns+" FROM redirect_uris WHERE id=? AND app_id=?", clean(id), string(app)))
		return err
	})
	return u, err
}

// UpdateRedirectURI stores a redirect URI's URL, platform and settings. Conflict: the application has that one already.
func (s *Store) UpdateRedirectURI(ctx context.Context, u RedirectURI) error {
	return s.control.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE redirect_uris SET url=?, platform=?, settings=? WHERE id=? AND app_id=?", clean(u.URL), clean(u.Platform), text(u.Settings), clean(u.ID), string(u.App))
		switch {
		case isUnique(err):
			return mail.E(mail.Conflict, "update redirect URI", "the application has this redirect URI already", nil)
		case err == nil && n == 0:
			return mail.E(mail.NotFound, "update redirect URI", "there is no such redirect URI", nil)
		}
		return err
	})
}

// DeleteRedirectURI removes a redirect URI; NotFound if the application has none of that id.
func (s *Store) DeleteRedirectURI(ctx context.Context, app mail.AppID, id string) error {
	return s.control.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "DELETE FROM redirect_uris WHERE id=? AND app_id=?", clean(id), string(app))
		if err == nil && n == 0 {
			return mail.E(mail.NotFound, "delete redirect URI", "there is no such redirect URI", nil)
		}
		return err
	})
}
