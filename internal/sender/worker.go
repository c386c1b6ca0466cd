package sender

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// life is how long a send is tried before it fails.
	life = 24 * time.Hour
	// eager is how soon after a failed attempt a new message may be the reason for another.
	eager = 10 * time.Second
	// atOnce is how many sends are delivered, or settled, together.
	atOnce = 100
	// longest is how long a worker sleeps at most, whatever its clock says.
	longest = 5 * time.Minute
)

// worker sends one account's messages, one after the other, in the order in which they were accepted. It ends when nothing
// waits any more.
type worker struct {
	s      *Sender
	id     mail.AccountID
	wake   chan struct{}
	done   chan struct{}
	ctx    context.Context // ends with Sender.soft, or when the account is forgotten: nothing new is begun
	cancel context.CancelFunc

	waiters map[string][]chan struct{} // of Submit, by send; Sender.mu

	// Below only run's goroutine.
	mb       *store.Mailbox
	failures int       // of the server, since it last worked
	notUntil time.Time // the server is not tried before, unless there is something new
	tried    time.Time
	current  string // send under way, for the case of a panic

	settling chan map[string]bool // receives when a settler has ended, and of which sends it was stored; nil: none runs
	setbacks map[string]setback   // by send
}

func newWorker(s *Sender, id mail.AccountID) *worker {
	w := &worker{s: s, id: id, wake: make(chan struct{}, 1), done: make(chan struct{}), waiters: map[string][]chan struct{}{}, setbacks: map[string]setback{}}
	w.ctx, w.cancel = context.WithCancel(s.soft)
	return w
}

func (w *worker) run() {
	defer close(w.done)
	defer w.cancel()
	defer w.forget()
	woken := false
	for w.ctx.Err() == nil {
		asked := w.asked()
		next, err := w.round(woken)
		if w.ctx.Err() != nil {
			return
		}
		if err != nil {
			w.s.o.Log.Warn("sending was interrupted", "account", w.id, "op", "send", "err", err)
			if mail.IsKind(err, mail.NotFound) && w.mb == nil {
				return // the account is gone
			}
			next = w.s.o.Now().Add(pause(3, 0))
		}
		w.release(asked...)
		if next.IsZero() && w.settling == nil && w.retire() {
			return
		}
		woken = w.sleep(next)
	}
}

// sleep waits until next or a reason to look earlier, and tells whether it was woken.
func (w *worker) sleep(next time.Time) bool {
	d := longest
	if !next.IsZero() {
		d = min(max(next.Sub(w.s.o.Now()), 0), longest)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.wake:
		return true
	case stored := <-w.settling:
		w.settled(stored)
	case <-w.ctx.Done():
	}
	return false
}

// retire removes the worker from the books unless somebody called meanwhile.
func (w *worker) retire() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if len(w.wake) > 0 || len(w.waiters) > 0 {
		return false
	}
	delete(w.s.workers, w.id)
	return true
}

// forget leaves the books when the worker ends otherwise, and lets nobody wait for it.
func (w *worker) forget() {
	if w.settling != nil {
		<-w.settling
	}
	w.s.mu.Lock()
	if w.s.workers[w.id] == w {
		delete(w.s.workers, w.id)
	}
	w.s.mu.Unlock()
	w.release(w.asked()...)
}

// asked returns the sends that somebody waits for: all of them were stored before.
func (w *worker) asked() []string {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return slices.Collect(maps.Keys(w.waiters))
}

// release tells those who wait for sends that there is news of them, or that they have to wait longer than a request does.
func (w *worker) release(sends ...string) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, id := range sends {
		for _, c := range w.waiters[id] {
			close(c)
		}
		delete(w.waiters, id)
	}
}

// round does what is due and returns when the next thing is; zero: nothing waits.
func (w *worker) round(woken bool) (next time.Time, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.s.o.Events.Panic()
			w.s.o.Log.Error("panic while sending", "account", w.id, "op", "send", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = mail.E(mail.Internal, "send", "", nil)
			w.setAside(w.current)
		}
	}()
	if w.mb == nil {
		if w.mb, err = w.s.o.Store.Mailbox(w.ctx, w.id); err != nil {
			w.mb = nil
			return time.Time{}, err
		}
	}
	for {
		deliver, settle, later, err := w.mb.DueSends(w.ctx, atOnce)
		if err != nil {
			return time.Time{}, err
		}
		next = later
		settle, later = w.timely(settle)
		if next = earliest(next, later); len(settle) > 0 {
			w.settle(settle)
		}
		if len(deliver) == 0 {
			return next, nil
		}
		now := w.s.o.Now()
		if now.Before(w.notUntil) && (!woken || now.Sub(w.tried) < eager) {
			return earliest(next, w.notUntil), nil
		}
		woken = false
		if err := w.deliver(deliver); err != nil || w.ctx.Err() != nil {
			return time.Time{}, err
		}
	}
}

func earliest(x, y time.Time) time.Time {
	if x.IsZero() || !y.IsZero() && y.Before(x) {
		return y
	}
	return x
}

// setAside lets a send that made us stumble wait, so that it does not stop the others.
func (w *worker) setAside(id string) {
	if id == "" || w.mb == nil {
		return
	}
	s, err := w.mb.Send(w.ctx, id)
	if err != nil || s.State.Ended() {
		return
	}
	s.Attempts++
	s.NextTry = w.s.o.Now().Add(pause(s.Attempts+5, 0))
	if _, err := w.mb.PutSend(w.ctx, s, 0); err != nil {
		w.s.o.Log.Error("a send could not be set aside", "account", w.id, "op", "send", "send", id, "err", err)
	}
}

// pause returns how long to wait after so many failures, at least what the server asked for: 15 s, doubling up to half an
// hour.
func pause(failures int, asked time.Duration) time.Duration {
	return max(min(15*time.Second<<min(max(failures-1, 0), 7), 30*time.Minute), asked)
}
