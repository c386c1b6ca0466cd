package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// WebhookStatus says whether a webhook is told anything.
type WebhookStatus string

// The states of a webhook.
const (
	WebhookActive  WebhookStatus = "active"
	WebhookPaused  WebhookStatus = "pause"   // by its owner: nothing is delivered, and what happens meanwhile never will be
	WebhookFailing WebhookStatus = "failing" // active, without a good answer for some time
	WebhookFailed  WebhookStatus = "failed"  // given up; activated again it goes on where it stopped
)

// Delivers tells whether a webhook of this status is told of changes.
func (s WebhookStatus) Delivers() bool { return s == WebhookActive || s == WebhookFailing }

// Webhook is one subscription of an application.
type Webhook struct {
	ID          string
	App         mail.AppID
	URL         string
	Description string
	Triggers    []string
	Emails      []string
	Compressed  bool

	Status       WebhookStatus
	Reason       string // of the status, in words
	StatusAt     time.Time
	Since        time.Time // what happened before is not delivered
	FailingSince time.Time // first failed delivery after the last good one; zero: none

	Secret    mail.Secret
	OldSecret mail.Secret // signs too until OldUntil
	OldUntil  time.Time

	CreatedAt, UpdatedAt time.Time
}

// maxWebhooks bounds the webhooks of one application.
const maxWebhooks = 100

func webhookOwner(id string) string       { return "webhook|" + id }
func webhookPlace(id, name string) string { return "webhook|" + id + "|" + name }
func noWebhook() error                    { return mail.E(mail.NotFound, "find webhook", "there is no such webhook", nil) }
func newWebhookSecret() mail.Secret {
	return mail.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(randomBytes(32)))
}
func webhookList(list []string) any        { return jsonList(cleanList(list)) }
func webhookTriggers(list []string) string { return webhookList(list).(string) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// CreateWebhook stores a new webhook: its URL, description, triggers (at least one), addresses and compression are w's,
// the rest is made here and returned, the secret included. Limited: the application has too many.
func (s *Store) CreateWebhook(ctx context.Context, w Webhook) (Webhook, error) {
	const op = "create the webhook"
	if len(w.Triggers) == 0 || !isUUID(string(w.App)) {
		return Webhook{}, mail.E(mail.Invalid, op, "a webhook needs an application and a trigger", nil)
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	w.ID, w.Status, w.Secret = "wh_"+randomHex(12), WebhookActive, newWebhookSecret()
	w.StatusAt, w.Since, w.CreatedAt, w.UpdatedAt = now, now, now, now
	key := vault.NewKey()
	defer key.Destroy()
	err := s.control.write(ctx, func(t *tx) error {
		var n int
		if err := t.row(ctx, "SELECT count(*) FROM webhooks WHERE app_id=?", string(w.App)).Scan(&n); err != nil {
			return err
		}
		if n >= maxWebhooks {
			return mail.E(mail.Conflict, op, fmt.Sprintf("an application has at most %d webhooks: delete one first", maxWebhooks), nil)
		}
		at := now.UnixMilli()
		return t.insertMany(ctx, "webhooks", []string{"id", "app_id", "url", "description", "triggers", "emails", "compressed", "status", "reason", "status_at", "since",
			"kek_id", "wrapped", "secret", "created_at", "updated_at"},
			[][]any{{w.ID, string(w.App), clean(w.URL), clean(w.Description), webhookTriggers(w.Triggers), webhookList(w.Emails), bit(w.Compressed), string(w.Status), "", at, at,
				s.o.Keys.ID().String(), s.o.Keys.Wrap(webhookOwner(w.ID), key), key.SealString(webhookPlace(w.ID, "secret"), w.Secret.Reveal()), at, at}}, "")
	})
	if err == nil {
		s.hooksChanged()
	}
	return w, err
}

// WebhooksVersion is another one after each change of a webhook: who knows one as of a version has to read it again only then.
// It is asked for before the webhook is read.
func (s *Store) WebhooksVersion() int64 { return s.hooks.Load() }

func (s *Store) hooksChanged() {
	s.hooks.Add(1)
	s.hint("")
}

// UpdateWebhook stores URL, description, triggers, addresses, compression and status of a webhook. Activated after a
// pause it begins with what happens from now on; after a failure it goes on where it stopped. With another URL what failed is
// tried there at once.
func (s *Store) UpdateWebhook(ctx context.Context, w Webhook) (Webhook, error) {
	if len(w.Triggers) == 0 {
		return Webhook{}, mail.E(mail.Invalid, "update the webhook", "a webhook needs a trigger", nil)
	}
	now := s.now().UnixMilli()
	err := s.control.write(ctx, func(t *tx) error {
		var was WebhookStatus
		var url string
		err := t.row(ctx, "SELECT status, url FROM webhooks WHERE id=? AND app_id=?", w.ID, string(w.App)).Scan(&was, &url)
		if errors.Is(err, sql.ErrNoRows) {
			return noWebhook()
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE webhooks SET url=?, description=?, triggers=?, emails=?, compressed=?, updated_at=? WHERE id=?",
			clean(w.URL), clean(w.Description), webhookTriggers(w.Triggers), webhookList(w.Emails), bit(w.Compressed), now, w.ID); err != nil {
			return err
		}
		if w.Status == WebhookFailing && url != clean(w.URL) {
			w.Status = WebhookActive
		}
		if w.Status == was {
			if url == clean(w.URL) {
				return nil
			}
			_, err = t.exec(ctx, "UPDATE webhook_cursors SET attempts=0, first_at=NULL, next_at=NULL WHERE webhook_id=?", w.ID)
			return err
		}
		if _, err := t.exec(ctx, "UPDATE webhooks SET status=?, reason='', status_at=?, failing_since=NULL WHERE id=?", string(w.Status), now, w.ID); err != nil || w.Status != WebhookActive {
			return err
		}
		if was == WebhookPaused {
			if _, err := t.exec(ctx, "UPDATE webhooks SET since=? WHERE id=?", now, w.ID); err != nil {
				return err
			}
			_, err = t.exec(ctx, "DELETE FROM webhook_cursors WHERE webhook_id=?", w.ID)
			return err
		}
		_, err = t.exec(ctx, "UPDATE webhook_cursors SET attempts=0, first_at=NULL, next_at=NULL WHERE webhook_id=?", w.ID)
		return err
	})
	if err != nil {
		return Webhook{}, err
	}
	s.hooksChanged()
	return s.Webhook(ctx, w.App, w.ID)
}

// DeliveryFailed records that a delivery failed at the time given. decide gets since when nothing was delivered and returns
// what the webhook's status is now, and why. A paused or given up webhook stays as it is.
func (s *Store) DeliveryFailed(ctx context.Context, id string, at time.Time, decide func(since time.Time) (WebhookStatus, string)) error {
	var status WebhookStatus
	err := s.control.write(ctx, func(t *tx) error {
		status = WebhookActive
		var failing sql.NullInt64
		err := t.row(ctx, "SELECT failing_since FROM webhooks WHERE id=? AND status IN ('active', 'failing')", id).Scan(&failing)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		since := fromMillis(failing)
		if since.IsZero() {
			since = at
		}
		var reason string
		status, reason = decide(since)
		_, err = t.exec(ctx, "UPDATE webhooks SET status_at=CASE WHEN status=? THEN status_at ELSE ? END, status=?, reason=?, failing_since=? WHERE id=?",
			string(status), s.now().UnixMilli(), string(status), clean(reason), millis(since), id)
		return err
	})
	if err == nil && !status.Delivers() {
		s.hooksChanged()
	}
	return err
}

// recovered clears what failed deliveries left on a webhook: one arrived.
func (s *Store) recovered(ctx context.Context, t *tx, id string) error {
	_, err := t.exec(ctx, `UPDATE webhooks SET status_at=CASE WHEN status='active' THEN status_at ELSE ? END, status='active', reason='', failing_since=NULL
		WHERE id=? AND status IN ('active', 'failing') AND failing_since IS NOT NULL`, s.now().UnixMilli(), id)
	return err
}

// RotateWebhookSecret gives a webhook a new secret. The old one signs beside it for as long as grace.
func (s *Store) RotateWebhookSecret(ctx context.Context, app mail.AppID, id string, grace time.Duration) (Webhook, error) {
	now := s.now()
	err := s.control.write(ctx, func(t *tx) error {
		w, key, err := s.readWebhook(ctx, t, app, id)
		if err != nil {
			return err
		}
		defer key.Destroy()
		_, err = t.exec(ctx, "UPDATE webhooks SET secret=?, old_secret=?, old_until=?, updated_at=? WHERE id=?",
			key.SealString(webhookPlace(id, "secret"), newWebhookSecret().Reveal()), key.SealString(webhookPlace(id, "old"), w.Secret.Reveal()),
			now.Add(grace).UnixMilli(), now.UnixMilli(), id)
		return err
	})
	if err != nil {
		return Webhook{}, err
	}
	s.hooks.Add(1)
	return s.Webhook(ctx, app, id)
}

// DeleteWebhook removes a webhook and the list of its deliveries.
func (s *Store) DeleteWebhook(ctx context.Context, app mail.AppID, id string) error {
	err := s.control.write(ctx, func(t *tx) error {
		if !isUUID(string(app)) {
			return noWebhook()
		}
		n, err := t.exec(ctx, "DELETE FROM webhooks WHERE id=? AND app_id=?", clean(id), string(app))
		if err == nil && n == 0 {
			return noWebhook()
		}
		for _, table := range []string{"webhook_cursors", "webhook_deliveries", "webhook_replays"} {
			if err == nil {
				_, err = t.exec(ctx, "DELETE FROM "+table+" WHERE webhook_id=?", clean(id))
			}
		}
		return err
	})
	if err == nil {
		s.hooksChanged()
	}
	return err
}

// Webhook returns one webhook with its secrets; NotFound if it does not exist or belongs to another application than app
// ("": any).
func (s *Store) Webhook(ctx context.Context, app mail.AppID, id string) (w Webhook, err error) {
	err = s.control.look(ctx, func(t *tx) error {
		var key *vault.Key
		if w, key, err = s.readWebhook(ctx, t, app, id); err == nil {
			key.Destroy()
		}
		return err
	})
	return w, err
}

// Webhooks returns the webhooks of an application ("": all), oldest first, without their secrets.
func (s *Store) Webhooks(ctx context.Context, app mail.AppID) ([]Webhook, error) {
	q, args := "SELECT "+webhookColumns+" FROM webhooks ORDER BY created_at, id", []any(nil)
	if app != "" {
		q, args = "SELECT "+webhookColumns+" FROM webhooks WHERE app_id=? ORDER BY created_at, id", []any{string(app)}
	}
	var out []Webhook
	err := s.control.look(ctx, func(t *tx) error {
		return each(ctx, t, q, args, func(r *sql.Rows) error {
			w, _, err := scanWebhook(r)
			out = append(out, w)
			return err
		})
	})
	return out, err
}

const webhookColumns = "id, app_id, url, description, triggers, emails, compressed, status, reason, status_at, since, failing_since, wrapped, secret, old_secret, old_until, created_at, updated_at"

// sealedSecrets are a webhook's secrets as they lie in its row.
type sealedSecrets struct{ wrapped, secret, old []byte }

func scanWebhook(r interface{ Scan(...any) error }) (w Webhook, k sealedSecrets, err error) {
	var triggers, emails sql.NullString
	var failing, oldUntil, statusAt, since, created, updated sql.NullInt64
	if err := r.Scan(&w.ID, &w.App, &w.URL, &w.Description, &triggers, &emails, &w.Compressed, &w.Status, &w.Reason, &statusAt, &since, &failing,
		&k.wrapped, &k.secret, &k.old, &oldUntil, &created, &updated); err != nil {
		return w, k, err
	}
	w.StatusAt, w.Since, w.FailingSince, w.OldUntil = fromMillis(statusAt), fromMillis(since), fromMillis(failing), fromMillis(oldUntil)
	w.CreatedAt, w.UpdatedAt = fromMillis(created), fromMillis(updated)
	if w.Triggers, err = parseList[string](triggers); err != nil {
		return w, k, err
	}
	w.Emails, err = parseList[string](emails)
	return w, k, err
}

func (s *Store) readWebhook(ctx context.Context, t *tx, app mail.AppID, id string) (Webhook, *vault.Key, error) {
	w, sealed, err := scanWebhook(t.row(ctx, "SELECT "+webhookColumns+" FROM webhooks WHERE id=?", clean(id)))
	if errors.Is(err, sql.ErrNoRows) || err == nil && app != "" && w.App != app {
		return Webhook{}, nil, noWebhook()
	}
	if err != nil {
		return Webhook{}, nil, err
	}
	key, err := s.o.Keys.Unwrap(webhookOwner(id), sealed.wrapped)
	if err != nil {
		return Webhook{}, nil, mail.E(mail.Internal, "open the webhook's key", "the webhook's key cannot be opened", err)
	}
	for _, x := range []struct {
		name   string
		sealed []byte
		to     *mail.Secret
	}{{"secret", sealed.secret, &w.Secret}, {"old", sealed.old, &w.OldSecret}} {
		if x.sealed == nil {
			continue
		}
		text, err := key.OpenString(webhookPlace(id, x.name), x.sealed)
		if err != nil {
			return Webhook{}, nil, mail.E(mail.Internal, "open the webhook's secret", "a stored secret cannot be opened", err)
		}
		*x.to = mail.NewSecret(text)
	}
	return w, key, nil
}

// rewrapWebhooks is RewrapKeys for the keys of the webhooks.
func (s *Store) rewrapWebhooks(ctx context.Context, t *tx) (int, error) {
	wrapped := map[string][]byte{}
	if err := each(ctx, t, "SELECT id, wrapped FROM webhooks", nil, func(r *sql.Rows) error {
		var id string
		var w []byte
		err := r.Scan(&id, &w)
		wrapped[id] = w
		return err
	}); err != nil {
		return 0, err
	}
	changed := 0
	for id, w := range wrapped {
		w, did, err := s.o.Keys.Rewrap(webhookOwner(id), w)
		if err != nil {
			return 0, fmt.Errorf("key of webhook %s: %w", id, err)
		}
		if !did {
			continue
		}
		if _, err := t.exec(ctx, "UPDATE webhooks SET wrapped=?, kek_id=? WHERE id=?", w, s.o.Keys.ID().String(), id); err != nil {
			return 0, err
		}
		changed++
	}
	return changed, nil
}
