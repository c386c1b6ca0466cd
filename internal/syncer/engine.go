package syncer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

// Options say what an Engine works with. Store and Log must be set; zero values of the others mean the defaults.
type Options struct {
	Store  *store.Store
	Log    *slog.Logger
	Now    func() time.Time
	TLS    *tls.Config
	Guard  provider.Guard // where connections may go
	Limits Limits
	// Profile says what is known of an account's provider; default provider.For.
	Profile func(mail.Account) provider.Profile
	Trace   func(mail.AccountID) io.Writer // where the transcript of an account goes; nil, or returning nil: nowhere

	Poll    time.Duration // least time between two polls of all folders of a live account; default 10 s
	Audit   time.Duration // time between two complete comparisons of every folder; default 24 h
	Confirm time.Duration // how long a suspicious loss must last before it is believed; default 60 s
	// Silence is how long a server may say nothing to a command before its connection counts as dead, default 60 s; IdleRenew
	// how long one IDLE lasts, default 4 min, so that a dead one is found within 5.
	Silence, IdleRenew time.Duration

	Grace  time.Duration // how long what has left a folder is looked for elsewhere before it counts as deleted; default 2 min
	Events Events
}

// Events are called as things happen; nil ones are skipped. They run on the account's goroutine and must not block.
type Events struct {
	Pass  func(id mail.AccountID, full bool) // a pass over all folders is complete
	Heard func(id mail.AccountID)            // the folders that the server has told of were looked at
	State func(id mail.AccountID, s mail.SyncStatus)
	Panic func(id mail.AccountID, v any) // an account's goroutine panicked; it is restarted
	// Told is how long it took from the server's notice that something happened in INBOX until that was stored.
	Told func(id mail.AccountID, took time.Duration)
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Poll <= 0 {
		o.Poll = 10 * time.Second
	}
	if o.Audit <= 0 {
		o.Audit = 24 * time.Hour
	}
	if o.Confirm <= 0 {
		o.Confirm = time.Minute
	}
	if o.Profile == nil {
		o.Profile = provider.For
	}
	if o.Silence <= 0 {
		o.Silence = time.Minute
	}
	if o.IdleRenew <= 0 {
		o.IdleRenew = 4 * time.Minute
	}
	if o.Grace <= 0 {
		o.Grace = 2 * time.Minute
	}
	if o.Trace == nil {
		o.Trace = func(mail.AccountID) io.Writer { return nil }
	}
	if o.Events.Pass == nil {
		o.Events.Pass = func(mail.AccountID, bool) {}
	}
	if o.Events.Heard == nil {
		o.Events.Heard = func(mail.AccountID) {}
	}
	if o.Events.State == nil {
		o.Events.State = func(mail.AccountID, mail.SyncStatus) {}
	}
	if o.Events.Told == nil {
		o.Events.Told = func(mail.AccountID, time.Duration) {}
	}
	if o.Events.Panic == nil {
		o.Events.Panic = func(mail.AccountID, any) {}
	}
	return o
}

// Engine runs one goroutine for each account.
type Engine struct {
	o        Options
	governor *governor
	usage    usage
	parse    func(io.Reader, mime.Options) (*mime.Message, error) // mime.Parse; tests let it fail
	reached  func(point string)                                   // nil but in tests, which kill the process there

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	accounts map[mail.AccountID]*account
}

// New makes an Engine; nothing runs until Open.
func New(o Options) *Engine {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Engine{o: o, governor: newGovernor(o.Limits, o.Now), parse: mime.Parse, ctx: ctx, cancel: cancel, accounts: map[mail.AccountID]*account{}}
}

// rampStep spreads the first logins after a start, so that a restart is no stampede on the providers.
const rampStep = 20 * time.Millisecond

// Open starts every account of the store, spread over time.
func (e *Engine) Open(ctx context.Context) error {
	all, err := e.o.Store.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		return err
	}
	for i, acct := range all {
		if acct.Sync.State == mail.StatePaused {
			continue
		}
		var delay time.Duration
		if i > 0 {
			delay = time.Duration(rand.Int64N(int64(i)*int64(rampStep) + 1))
		}
		e.start(acct.ID, delay, false)
	}
	return nil
}

// Close stops every account and returns when nothing of them is left. It may be called twice.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	e.wg.Wait()
}

// Start begins to sync an account, or makes a running one read its settings again and go on at once, however many logins have come to
// nothing before.
func (e *Engine) Start(id mail.AccountID) { e.start(id, 0, true) }

func (e *Engine) start(id mail.AccountID, delay time.Duration, wished bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if a := e.accounts[id]; a != nil {
		a.reload()
		return
	}
	ctx, cancel := context.WithCancel(e.ctx)
	a := newAccount(e, id, cancel)
	a.wished = wished
	e.accounts[id] = a
	e.wg.Go(func() {
		defer close(a.stopped)
		defer cancel()
		if wait(ctx, delay, nil) == nil {
			a.run(ctx)
		}
	})
}

// Stop ends the sync of an account and returns when nothing of it runs any more. An account that does not run is no
// error.
func (e *Engine) Stop(ctx context.Context, id mail.AccountID) error {
	e.mu.Lock()
	a := e.accounts[id]
	delete(e.accounts, id)
	e.mu.Unlock()
	if a == nil {
		return nil
	}
	a.cancel()
	select {
	case <-a.stopped:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Status returns what a running account says of itself now; false if it does not run.
func (e *Engine) Status(id mail.AccountID) (mail.SyncStatus, bool) {
	e.mu.Lock()
	a := e.accounts[id]
	e.mu.Unlock()
	if a == nil {
		return mail.SyncStatus{}, false
	}
	s := a.status.get()
	return s, s.State != ""
}

var errWoken = errors.New("woken")

// wait returns nil after d, the cause when ctx ends, errWoken when wake is signalled before.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-wake:
		return errWoken
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
