package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// ReplayState says how far a replay has come.
type ReplayState string

// The states of a replay.
const (
	ReplayRunning   ReplayState = "running"
	ReplayDone      ReplayState = "done"
	ReplayCancelled ReplayState = "cancelled"
	ReplayFailed    ReplayState = "failed" // the endpoint did not take it
)

// Replay tells a webhook once more what it may have been told before.
type Replay struct {
	ID      string
	Webhook string
	Account mail.AccountID // whose log; "": the application's feed
	Object  string         // only changes of this one; "": all
	State   ReplayState
	Reason  string // of the state
	Start   Place
	Place   Place // up to where it is done
	Goal    Place // where it ends: the change, or the row of the feed
	Sent    int64

	Attempts int       // failed ones of the next notification
	NextAt   time.Time // not again before

	CreatedAt, UpdatedAt time.Time
}

// maxReplays bounds the replays of one webhook that are under way.
const maxReplays = 10

func noReplay() error { return mail.E(mail.NotFound, "find replay", "there is no such replay", nil) }

func placeJSON(p Place) string {
	b, _ := json.Marshal(p) // numbers only
	return string(b)
}

// CreateReplay stores a new replay: Webhook, Account, Object, Start and Goal are r's. Conflict: the webhook has too many.
func (s *Store) CreateReplay(ctx context.Context, r Replay) (Replay, error) {
	now := s.now().UTC().Truncate(time.Millisecond)
	r.ID, r.State, r.Place, r.CreatedAt, r.UpdatedAt = "rp_"+randomHex(12), ReplayRunning, r.Start, now, now
	err := s.control.write(ctx, func(t *tx) error {
		var n int
		if err := t.row(ctx, "SELECT count(*) FROM webhook_replays WHERE webhook_id=? AND state='running'", r.Webhook).Scan(&n); err != nil {
			return err
		}
		if n >= maxReplays {
			return mail.E(mail.Conflict, "replay", fmt.Sprintf("a webhook has at most %d replays at once: wait for one, or cancel it", maxReplays), nil)
		}
		if err := t.row(ctx, "SELECT count(*) FROM webhooks WHERE id=?", r.Webhook).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return noWebhook()
		}
		return t.insertMany(ctx, "webhook_replays", []string{"id", "webhook_id", "account_id", "object", "state", "reason", "start", "place", "goal", "sent", "attempts", "created_at", "updated_at"},
			[][]any{{r.ID, r.Webhook, string(r.Account), clean(r.Object), string(r.State), "", placeJSON(r.Start), placeJSON(r.Place), placeJSON(r.Goal), 0, 0, now.UnixMilli(), now.UnixMilli()}}, "")
	})
	if err == nil {
		s.hint("")
	}
	return r, err
}

const replayColumns = "id, webhook_id, account_id, object, state, reason, start, place, goal, sent, attempts, next_at, created_at, updated_at"

func scanReplay(r interface{ Scan(...any) error }) (x Replay, err error) {
	var start, place, goal string
	var next, created, updated sql.NullInt64
	if err := r.Scan(&x.ID, &x.Webhook, &x.Account, &x.Object, &x.State, &x.Reason, &start, &place, &goal, &x.Sent, &x.Attempts, &next, &created, &updated); err != nil {
		return x, err
	}
	x.NextAt, x.CreatedAt, x.UpdatedAt = fromMillis(next), fromMillis(created), fromMillis(updated)
	return x, errors.Join(json.Unmarshal([]byte(start), &x.Start), json.Unmarshal([]byte(place), &x.Place), json.Unmarshal([]byte(goal), &x.Goal))
}

// Replay returns a replay of a webhook; NotFound if there is none.
func (s *Store) Replay(ctx context.Context, webhook, id string) (r Replay, err error) {
	err = s.control.look(ctx, func(t *tx) error {
		r, err = scanReplay(t.row(ctx, "SELECT "+replayColumns+" FROM webhook_replays WHERE id=? AND webhook_id=?", clean(id), webhook))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return r, noReplay()
	}
	return r, err
}

// Replays returns a webhook's replays, newest first, at most 100.
func (s *Store) Replays(ctx context.Context, webhook string) ([]Replay, error) {
	return s.listReplays(ctx, "webhook_id=? ORDER BY created_at DESC, id LIMIT 100", webhook)
}

// RunningReplays returns all replays that are under way, oldest first.
func (s *Store) RunningReplays(ctx context.Context) ([]Replay, error) {
	return s.listReplays(ctx, "state='running' ORDER BY created_at, id")
}

func (s *Store) replaysOf(ctx context.Context, account mail.AccountID) ([]Replay, error) {
	return s.listReplays(ctx, "state='running' AND account_id=?", string(account))
}

func (s *Store) listReplays(ctx context.Context, where string, args ...any) (out []Replay, err error) {
	err = s.control.look(ctx, func(t *tx) error {
		return each(ctx, t, "SELECT "+replayColumns+" FROM webhook_replays WHERE "+where, args, func(r *sql.Rows) error {
			x, err := scanReplay(r)
			out = append(out, x)
			return err
		})
	})
	return out, err
}

// RecordReplay stores how far a replay has come, with the attempts that led there. It returns false, and stores only the
// attempts, if the replay was cancelled or deleted meanwhile.
func (s *Store) RecordReplay(ctx context.Context, r Replay, attempts []Delivery) (running bool, err error) {
	err = s.control.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE webhook_replays SET state=?, reason=?, place=?, sent=?, attempts=?, next_at=?, updated_at=? WHERE id=? AND state='running'",
			string(r.State), clean(r.Reason), placeJSON(r.Place), r.Sent, r.Attempts, millis(r.NextAt), s.now().UnixMilli(), r.ID)
		if err != nil {
			return err
		}
		running = n > 0
		if err := t.row(ctx, "SELECT count(*) FROM webhooks WHERE id=?", r.Webhook).Scan(&n); err != nil || n == 0 {
			return err
		}
		return s.insertDeliveries(ctx, t, r.Webhook, attempts)
	})
	return running, err
}

// CancelReplay ends a replay that is under way; one that has ended stays as it is.
func (s *Store) CancelReplay(ctx context.Context, webhook, id string) (Replay, error) {
	err := s.control.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "UPDATE webhook_replays SET state='cancelled', updated_at=? WHERE id=? AND webhook_id=? AND state='running'", s.now().UnixMilli(), clean(id), webhook)
		return err
	})
	if err != nil {
		return Replay{}, err
	}
	s.hint("")
	return s.Replay(ctx, webhook, id)
}
