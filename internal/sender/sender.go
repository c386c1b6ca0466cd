// Package sender sends messages: what it accepts goes out, once, and the copy in Sent is there once.
package sender

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

// Operator carries out operations at the IMAP server; the syncer does.
type Operator interface {
	Do(ctx context.Context, id mail.AccountID, op mail.Operation) (mail.Operation, error)
}

// Options are what a Sender stands on. Store and Operator are needed.
type Options struct {
	Store    *store.Store
	Operator Operator
	Guard    provider.Guard // where connections may go
	TLS      *tls.Config    // roots
	Log      *slog.Logger
	Now      func() time.Time
	Parallel int           // conversations with SMTP servers at once, a quarter of them with one server; default 256
	Command  time.Duration // for the answer to a command; 0: as submit has it
	Handover time.Duration // for a message, and for the login before the first, but not for Accept; default 30 min
	Accept   time.Duration // for the answer to a whole message; 0: as submit has it
	Events   Events
}

// Events are called as things happen; nil ones are not.
type Events struct {
	Ended func(mail.SendState) // a send came to its end
	Panic func()               // a send made us stumble; it is tried again later
}

// Sender sends. It is safe for concurrent use.
type Sender struct {
	o     Options
	slots *slots

	soft, hard       context.Context // soft: begin nothing new; hard: end what is under way
	endSoft, endHard context.CancelFunc
	wg               sync.WaitGroup

	mu      sync.Mutex
	started bool
	closed  bool
	workers map[mail.AccountID]*worker
}

// New makes a Sender; nothing is sent before Start.
func New(o Options) *Sender {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = 256
	}
	if o.Handover <= 0 {
		o.Handover = 30 * time.Minute // 64 MiB at 300 kbit/s, or 1000 recipients at 1.8 s each
	}
	if o.Events.Ended == nil {
		o.Events.Ended = func(mail.SendState) {}
	}
	if o.Events.Panic == nil {
		o.Events.Panic = func() {}
	}
	s := &Sender{o: o, slots: newSlots(o.Parallel), workers: map[mail.AccountID]*worker{}}
	s.soft, s.endSoft = context.WithCancel(context.Background())
	s.hard, s.endHard = context.WithCancel(context.Background())
	return s
}

// Start begins to send what waits, and returns. It may be called twice.
func (s *Sender) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return nil
	}
	all, err := s.o.Store.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		return err
	}
	s.started = true
	s.wg.Go(func() {
		for _, acct := range all {
			if s.soft.Err() != nil {
				return
			}
			if open, err := s.waiting(s.soft, acct.ID); err != nil && s.soft.Err() == nil {
				s.o.Log.Warn("could not look for messages to send", "account", acct.ID, "op", "send", "err", err)
				s.Wake(acct.ID)
			} else if open {
				s.Wake(acct.ID)
			}
		}
	})
	return nil
}

func (s *Sender) waiting(ctx context.Context, id mail.AccountID) (bool, error) {
	mb, err := s.o.Store.Mailbox(ctx, id)
	if err != nil {
		return false, err
	}
	deliver, settle, next, err := mb.DueSends(ctx, 1)
	return len(deliver)+len(settle) > 0 || !next.IsZero(), err
}

// Stop begins nothing new, lets what is being sent come to its end until ctx is done, and returns when nothing is left.
// It may be called twice.
func (s *Sender) Stop(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.endSoft()
	stop := context.AfterFunc(ctx, s.endHard)
	s.wg.Wait()
	stop()
	s.endHard()
}

// Forget ends all work for an account and returns when nothing of it runs any more.
func (s *Sender) Forget(ctx context.Context, id mail.AccountID) error {
	s.mu.Lock()
	w := s.workers[id]
	s.mu.Unlock()
	if w == nil {
		return nil
	}
	w.cancel()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wake makes the account's sends be looked at.
func (s *Sender) Wake(id mail.AccountID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.worker(id); w != nil {
		signal(w.wake)
	}
}

// worker returns the account's worker, nil if nothing is sent at all. The caller holds mu.
func (s *Sender) worker(id mail.AccountID) *worker {
	if s.closed || !s.started {
		return nil
	}
	w := s.workers[id]
	if w == nil {
		w = newWorker(s, id)
		s.workers[id] = w
		s.wg.Go(w.run)
	}
	return w
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Submit accepts what Spool made: from then on it is sure to be tried. It returns when the message was sent, when it
// failed, when it has to wait for the server, or when ctx is done; State tells which. A scheduled one is returned at once.
// The error is about accepting it. again tells that the Idempotency-Key is that of an earlier send, which is returned.
func (s *Sender) Submit(ctx context.Context, id mail.AccountID, send mail.Send) (out mail.Send, again bool, err error) {
	acct, err := s.o.Store.Account(ctx, "", id)
	if err != nil {
		return send, false, err
	}
	mb, err := s.o.Store.Mailbox(ctx, id)
	if err != nil {
		return send, false, err
	}
	if acct.Settings.SMTP == nil {
		mb.DropBlobs(context.WithoutCancel(ctx), send.Blob)
		return send, false, NoSMTP()
	}
	out, created, err := mb.Enqueue(context.WithoutCancel(ctx), send)
	switch {
	case mail.IsKind(err, mail.Limited), mail.IsKind(err, mail.Conflict):
		mb.DropBlobs(context.WithoutCancel(ctx), send.Blob)
		return out, false, err
	case err != nil: // it may be stored all the same; if not, its bytes are garbage
		s.Wake(id)
		return out, false, err
	}
	if out.State != mail.SendQueued && out.State != mail.SendSending {
		s.Wake(id)
		return out, !created, nil
	}
	s.await(ctx, id, out.ID)
	if now, err := mb.Send(context.WithoutCancel(ctx), out.ID); err == nil {
		out = now
	}
	return out, !created, nil
}

// NoSMTP is the error of sending from an account that has no SMTP server.
func NoSMTP() *mail.Error {
	return mail.E(mail.Invalid, "send", "no SMTP server is known for this grant: connect it again with smtp_host", nil)
}

// await wakes the account's worker and waits until it is done with a send for now.
func (s *Sender) await(ctx context.Context, id mail.AccountID, send string) {
	tried := make(chan struct{})
	s.mu.Lock()
	if w := s.worker(id); w != nil {
		w.waiters[send] = append(w.waiters[send], tried)
		signal(w.wake)
	} else {
		close(tried)
	}
	s.mu.Unlock()
	select {
	case <-tried:
	case <-ctx.Done():
	}
}

// Cancel stops a scheduled send. It fails with NotFound if there is none, and with Invalid if it is too late.
func (s *Sender) Cancel(ctx context.Context, id mail.AccountID, send string) (mail.Send, error) {
	mb, err := s.o.Store.Mailbox(ctx, id)
	if err != nil {
		return mail.Send{}, err
	}
	late := mail.E(mail.Invalid, "cancel a send", "it is too late: the message is being sent, or was", nil)
	out, err := mb.Send(ctx, send)
	if err != nil {
		return out, err
	}
	switch {
	case out.State == mail.SendCanceled:
		return out, nil
	case out.State != mail.SendScheduled || !out.NextTry.After(s.o.Now()):
		return out, late
	}
	out.State = mail.SendCanceled
	out, err = mb.PutSend(ctx, out, mail.SendStopped)
	if mail.IsKind(err, mail.Conflict) {
		return out, late
	}
	if err == nil {
		s.o.Events.Ended(out.State)
	}
	return out, err
}
