package notify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// Replays tell a webhook once more what happened. Each webhook that has some has one goroutine for them, which makes one
// request at a time: they are beside its lanes, never in them. How far a replay is lies in the store, so that a restart, or
// an endpoint that is away, only delays it.

const (
	// ReplayHeader names the replay that a delivery is part of.
	ReplayHeader = "Posthorn-Replay"
	// replayTurn is how many notifications of a replay are delivered before that is recorded: a crash repeats at most so many.
	replayTurn = 20
)

// Replay starts a replay: Webhook, Account, Object and Start are r's.
func (n *Notifier) Replay(ctx context.Context, app mail.AppID, r store.Replay) (store.Replay, error) {
	if r.Account == "" {
		if err := n.grow(ctx, app); err != nil {
			return r, err
		}
		_, last, err := n.o.Store.FeedEnds(ctx, app)
		if err != nil {
			return r, err
		}
		r.Goal = store.Place{Pos: last}
	} else {
		mb, err := n.o.Store.Mailbox(ctx, r.Account)
		if err != nil {
			return r, err
		}
		if r.Goal.Seq, err = mb.Seq(ctx); err != nil {
			return r, err
		}
	}
	probe := Reading{App: app, Account: r.Account, From: r.Start, Limit: 1, Types: []string{}} // of a place that can be read
	if _, err := n.Page(ctx, probe); err != nil {
		return r, err
	}
	return n.o.Store.CreateReplay(ctx, r)
}

// startReplays gives a goroutine to each webhook that has replays and none at work.
func (n *Notifier) startReplays(ctx context.Context) error {
	list, err := n.o.Store.RunningReplays(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range list {
		wake, there := n.replaying[r.Webhook]
		if !there {
			wake = make(chan struct{}, 1)
			n.replaying[r.Webhook] = wake
			n.wg.Go(func() { n.replayAll(ctx, r.Webhook, wake) })
			continue
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// replayAll works off a webhook's replays, oldest first, and returns when none is left that can go on. It is woken when
// webhooks or replays change.
func (n *Notifier) replayAll(ctx context.Context, webhook string, wake <-chan struct{}) {
	for ctx.Err() == nil {
		at, err := n.replayNext(ctx, webhook)
		if err != nil && ctx.Err() == nil {
			n.o.Log.Warn("a replay waits for the store", "op", "replay", "webhook", webhook, "err", err)
			at = n.o.Now().Add(10 * time.Second)
		}
		if at.IsZero() {
			n.mu.Lock()
			select {
			case <-wake:
				n.mu.Unlock()
				continue
			default:
			}
			delete(n.replaying, webhook)
			n.mu.Unlock()
			return
		}
		fires, stop := n.o.Timer(at.Sub(n.o.Now()))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-fires:
		}
		stop()
	}
}

// replayNext makes a turn of a webhook's oldest replay that may go on now, and returns when to come back: zero for not
// before something changes.
func (n *Notifier) replayNext(ctx context.Context, webhook string) (again time.Time, err error) {
	w, err := n.o.Store.Webhook(ctx, "", webhook)
	if mail.IsKind(err, mail.NotFound) || err == nil && !w.Status.Delivers() {
		return time.Time{}, nil // gone, or it waits until it is activated
	}
	if err != nil {
		return again, err
	}
	list, err := n.o.Store.RunningReplays(ctx)
	if err != nil {
		return again, err
	}
	now := n.o.Now()
	for _, r := range list {
		switch {
		case r.Webhook != webhook:
		case comes(r.NextAt, now):
			if again.IsZero() || r.NextAt.Before(again) {
				again = r.NextAt
			}
		default:
			if err := n.replaySafely(ctx, w, r); err != nil {
				return again, err
			}
			return n.o.Now(), nil
		}
	}
	return again, nil
}

func (n *Notifier) replaySafely(ctx context.Context, w store.Webhook, r store.Replay) (err error) {
	defer func() {
		if p := recover(); p != nil {
			n.o.Panic()
			n.o.Log.Error("panic in a replay", "op", "replay", "webhook", w.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			r.State, r.Reason = store.ReplayFailed, "internal error"
			_, err = n.o.Store.RecordReplay(ctx, r, nil)
		}
	}()
	return n.replayTurn(ctx, w, r)
}

// replayTurn delivers a few notifications of a replay, one after the other, and records that.
func (n *Notifier) replayTurn(ctx context.Context, w store.Webhook, r store.Replay) error {
	page, err := n.Page(ctx, Reading{App: w.App, Account: r.Account, From: r.Place, Types: w.Triggers, Object: r.Object, History: r.Object != "", Limit: replayTurn, Goal: &r.Goal})
	switch {
	case mail.IsKind(err, mail.Expired):
		r.State, r.Reason = store.ReplayFailed, "what follows is no longer kept"
		_, err = n.o.Store.RecordReplay(ctx, r, nil)
		return err
	case mail.IsKind(err, mail.NotFound):
		r.State, r.Reason = store.ReplayCancelled, "the grant was deleted"
		_, err = n.o.Store.RecordReplay(ctx, r, nil)
		return err
	case err != nil:
		return err
	}
	var attempts []store.Delivery
	for _, t := range page.Told {
		now := n.o.Now()
		t.Note.Attempt = r.Attempts + 1
		payload, err := encode(t.Note)
		if err != nil {
			return err
		}
		l := letterOf(w, t.Note.ID, payload, now)
		l.replay = r.ID
		out := n.client.post(ctx, l)
		if ctx.Err() != nil {
			return nil // what was delivered is delivered again
		}
		attempts = append(attempts, store.Delivery{Account: t.Account, Seq: t.Seq, Notification: l.id, Type: t.Note.Type, Attempt: r.Attempts + 1, Status: out.status, Took: out.took, Error: out.err})
		if out.err != "" {
			n.replayFailed(&r, out)
			_, err := n.o.Store.RecordReplay(ctx, r, attempts)
			return err
		}
		r.Place, r.Attempts, r.NextAt = t.Next, 0, time.Time{}
		r.Sent++
	}
	r.Place = page.Next
	if page.Done {
		r.State, r.Place = store.ReplayDone, r.Goal
	} else if !page.Held.IsZero() {
		r.NextAt = page.Held
	}
	_, err = n.o.Store.RecordReplay(ctx, r, attempts)
	return err
}

// replayFailed decides what follows from a failed attempt.
func (n *Notifier) replayFailed(r *store.Replay, out outcome) {
	r.Attempts++
	wait, more := nextAttempt(r.Attempts, out.wait, rand.Float64())
	r.NextAt = n.o.Now().Add(wait)
	if out.status == http.StatusGone || !more {
		r.State, r.Reason = store.ReplayFailed, out.err
	}
}
