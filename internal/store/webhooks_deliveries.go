package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// WebhookCursor says how far a webhook was told of an account, or of what happens to the application itself: then
// Account is the application's id.
type WebhookCursor struct {
	Webhook  string
	Account  mail.AccountID
	Seq      mail.Seq  // the last change that is done with
	Attempts int       // failed ones for the change after it
	FirstAt  time.Time // the first of them
	NextAt   time.Time // not again before
}

// Delivery is one attempt to tell a webhook of a change.
type Delivery struct {
	Webhook      string
	At           int64 // Unix nanoseconds, no two of one webhook are equal: of Instant, or 0 for when it is recorded
	Account      mail.AccountID
	Seq          mail.Seq
	Notification string
	Type         string
	Attempt      int
	Status       int // of the HTTP answer; 0: none
	Took         time.Duration
	Error        string // in words; "": delivered
}

// WebhookCursor returns how far a webhook is; NotFound if it was never told anything of the account.
func (s *Store) WebhookCursor(ctx context.Context, webhook string, account mail.AccountID) (WebhookCursor, error) {
	c := WebhookCursor{Webhook: webhook, Account: account}
	var first, next sql.NullInt64
	err := s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT seq, attempts, first_at, next_at FROM webhook_cursors WHERE webhook_id=? AND account_id=?", webhook, string(account)).
			Scan(&c.Seq, &c.Attempts, &first, &next)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return c, mail.E(mail.NotFound, "read the webhook's cursor", "", nil)
	}
	c.FirstAt, c.NextAt = fromMillis(first), fromMillis(next)
	return c, err
}

// RecordDelivery stores a cursor of w, and with it the attempts that moved it; one that arrived ends the webhook's failing.
// Nothing is stored for a webhook or account that was deleted, and no cursor if w was paused and activated since it was
// read: then it begins anew.
func (s *Store) RecordDelivery(ctx context.Context, w Webhook, c WebhookCursor, attempts ...Delivery) error {
	return s.records.do(ctx, s.control, func(ctx context.Context, t *tx) error { return s.recordDelivery(ctx, t, w, c, attempts) })
}

func (s *Store) recordDelivery(ctx context.Context, t *tx, w Webhook, c WebhookCursor, attempts []Delivery) error {
	var since int64
	err := t.row(ctx, "SELECT since FROM webhooks WHERE id=? AND (EXISTS(SELECT 1 FROM accounts a WHERE a.id=?) OR EXISTS(SELECT 1 FROM apps p WHERE p.id=?))",
		c.Webhook, string(c.Account), string(c.Account)).Scan(&since)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if since == w.Since.UnixMilli() {
		if _, err := t.exec(ctx, `INSERT INTO webhook_cursors(webhook_id, account_id, seq, attempts, first_at, next_at) VALUES(?, ?, ?, ?, ?, ?)
			ON CONFLICT(webhook_id, account_id) DO UPDATE SET seq=excluded.seq, attempts=excluded.attempts, first_at=excluded.first_at, next_at=excluded.next_at`,
			c.Webhook, string(c.Account), int64(c.Seq), c.Attempts, millis(c.FirstAt), millis(c.NextAt)); err != nil {
			return err
		}
	}
	for i := range attempts {
		attempts[i].Account = c.Account
	}
	return s.insertDeliveries(ctx, t, c.Webhook, attempts)
}

func (s *Store) insertDeliveries(ctx context.Context, t *tx, webhook string, attempts []Delivery) error {
	if slices.ContainsFunc(attempts, func(d Delivery) bool { return d.Error == "" }) {
		if err := s.recovered(ctx, t, webhook); err != nil {
			return err
		}
	}
	var rows [][]any
	for _, d := range attempts {
		if d.At == 0 {
			d.At = s.Instant()
		}
		rows = append(rows, []any{webhook, d.At, string(d.Account), int64(d.Seq), d.Notification, d.Type, d.Attempt, d.Status, d.Took.Milliseconds(), clean(d.Error)})
	}
	return t.insertMany(ctx, "webhook_deliveries", []string{"webhook_id", "at", "account_id", "seq", "notification", "type", "attempt", "status", "ms", "error"}, rows, "")
}

// Instant returns the time in Unix nanoseconds, never the same one twice.
func (s *Store) Instant() int64 {
	for {
		last := s.attempts.Load()
		at := max(s.now().UnixNano(), last+1)
		if s.attempts.CompareAndSwap(last, at) {
			return at
		}
	}
}

// Deliveries returns attempts of a webhook, newest first, those before the given time (0: from the newest).
func (s *Store) Deliveries(ctx context.Context, webhook string, before int64, limit int) ([]Delivery, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	var out []Delivery
	err := s.control.look(ctx, func(t *tx) error {
		return each(ctx, t, `SELECT at, account_id, seq, notification, type, attempt, status, ms, error FROM webhook_deliveries WHERE webhook_id=? AND at < ? ORDER BY at DESC LIMIT ?`,
			[]any{webhook, before, max(limit, 1)}, func(r *sql.Rows) error {
				d := Delivery{Webhook: webhook}
				var ms int64
				err := r.Scan(&d.At, &d.Account, &d.Seq, &d.Notification, &d.Type, &d.Attempt, &d.Status, &ms, &d.Error)
				d.Took = time.Duration(ms) * time.Millisecond
				out = append(out, d)
				return err
			})
	})
	return out, err
}

// PruneDeliveries forgets attempts, ended replays and grant events before a time; not the events that somebody has still to
// be told.
func (s *Store) PruneDeliveries(ctx context.Context, before time.Time) error {
	return s.control.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "DELETE FROM webhook_deliveries WHERE at < ?", before.UnixNano()); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "DELETE FROM webhook_replays WHERE state <> 'running' AND updated_at < ?", before.UnixMilli()); err != nil {
			return err
		}
		_, err := t.exec(ctx, `DELETE FROM grant_events WHERE at < ?
			AND NOT EXISTS(SELECT 1 FROM feed f WHERE f.account_id=grant_events.app_id AND f.from_seq <= grant_events.seq)
			AND NOT EXISTS(SELECT 1 FROM webhooks w WHERE w.app_id=grant_events.app_id AND w.status IN ('active', 'failing') AND w.since <= grant_events.at
				AND NOT EXISTS(SELECT 1 FROM webhook_cursors c WHERE c.webhook_id=w.id AND c.account_id=w.app_id AND c.seq >= grant_events.seq))`, before.UnixMilli())
		return err
	})
}

// The kinds of grant events.
const (
	GrantCreated = "created"
	GrantDeleted = "deleted"
)

// GrantEvent tells that an account came or went. They are numbered for each application from 1, without holes.
type GrantEvent struct {
	Seq      mail.Seq
	At       time.Time
	Kind     string
	Account  mail.AccountID
	Provider string
}

// noteGrant stores a grant event. The application's row is locked, so that numbers become visible in order.
func noteGrant(ctx context.Context, t *tx, app mail.AppID, account mail.AccountID, kind, provider string, now time.Time) error {
	var seq int64
	err := t.row(ctx, "UPDATE apps SET event_seq = event_seq + 1 WHERE id=? RETURNING event_seq", string(app)).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // no application, nobody to tell
	}
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO grant_events(app_id, seq, at, kind, account_id, provider) VALUES(?, ?, ?, ?, ?, ?)",
		string(app), seq, now.UnixMilli(), kind, string(account), provider)
	return err
}

// GrantEvents returns an application's grant events after a Seq, in order. What is no longer kept is missing.
func (s *Store) GrantEvents(ctx context.Context, app mail.AppID, after mail.Seq, limit int) ([]GrantEvent, error) {
	var out []GrantEvent
	err := s.control.look(ctx, func(t *tx) error {
		return each(ctx, t, "SELECT seq, at, kind, account_id, provider FROM grant_events WHERE app_id=? AND seq > ? ORDER BY seq LIMIT ?", []any{string(app), int64(after), max(limit, 1)},
			func(r *sql.Rows) error {
				var g GrantEvent
				var at int64
				err := r.Scan(&g.Seq, &at, &g.Kind, &g.Account, &g.Provider)
				g.At = fromMilli(at)
				out = append(out, g)
				return err
			})
	})
	return out, err
}
