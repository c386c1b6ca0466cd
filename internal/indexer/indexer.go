// Package indexer keeps the search index of every account up with its change log.
//
// It is told of commits, takes the accounts in turn, one bounded step each, and looks at all of them from time to time in
// case that a hint was lost. It never holds up the transactions that make mail visible: the index is a reader of the log, and
// leaves most of the processors to an initial sync. Nor does the merging of segments hold up the index: it has a line of its own.
package indexer

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// lookEvery is the time between two looks at all accounts.
	lookEvery = 15 * time.Minute
	// retryAfter is how long an account whose index cannot be written waits.
	retryAfter = time.Minute
	// restShare is how many times as long as a step took an account rests before the next, as long as its initial sync
	// has need of the processors; divided among them.
	restShare = 16
)

// Options are what an Indexer stands on. Store is needed.
type Options struct {
	Store *store.Store
	Log   *slog.Logger
	Panic func()                               // a step panicked; it is tried again
	After func(time.Duration) <-chan time.Time // time.After in all but tests
}

// Indexer brings search indexes up to date, and beside that merges their segments, which may take long.
type Indexer struct {
	o            Options
	index, merge *line

	mu      sync.Mutex
	cancel  context.CancelFunc // nil: not running
	unwatch func()
	wg      sync.WaitGroup
}

// line is accounts that wait for a kind of step, and the workers that take them.
type line struct {
	o    Options
	wg   *sync.WaitGroup
	what string
	do   func(context.Context, mail.AccountID, *store.Mailbox) (more bool, err error)

	mu      sync.Mutex
	queue   []mail.AccountID
	queued  map[mail.AccountID]bool // in queue
	busy    map[mail.AccountID]bool // a worker is at it; queued says that it has to come back
	waiting map[mail.AccountID]bool // until it is tried again
	resting map[mail.AccountID]bool // no step before its time, unless the initial sync is over
	wake    chan struct{}           // the queue is not empty
}

// New makes an Indexer; nothing happens before Start.
func New(o Options) *Indexer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Panic == nil {
		o.Panic = func() {}
	}
	if o.After == nil {
		o.After = time.After
	}
	x := &Indexer{o: o}
	x.index = &line{o: o, wg: &x.wg, what: "index", do: func(ctx context.Context, id mail.AccountID, mb *store.Mailbox) (bool, error) {
		more, err := mb.Index(ctx)
		if err == nil {
			x.merge.add(id)
		}
		return more, err
	}}
	x.merge = &line{o: o, wg: &x.wg, what: "merge", do: func(ctx context.Context, id mail.AccountID, mb *store.Mailbox) (bool, error) {
		more, err := mb.Merge(ctx)
		if more {
			x.index.add(id) // an index that was damaged has to be made anew
		}
		return more, err
	}}
	return x
}

// Start begins with what changed since the last time, and returns. It may be called twice.
func (x *Indexer) Start(ctx context.Context) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cancel != nil {
		return
	}
	ctx, x.cancel = context.WithCancel(context.WithoutCancel(ctx))
	x.merge.start(ctx, 1)
	x.index.start(ctx, max(1, runtime.GOMAXPROCS(0)/2)) // the rest is for those who wait for answers
	x.unwatch = x.o.Store.Watch(func(id mail.AccountID) {
		if id != "" {
			x.index.add(id)
		}
	})
	x.wg.Go(func() { x.look(ctx) })
}

// start begins with an empty queue.
func (x *line) start(ctx context.Context, workers int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.queue, x.queued, x.busy = nil, map[mail.AccountID]bool{}, map[mail.AccountID]bool{}
	x.waiting, x.resting = map[mail.AccountID]bool{}, map[mail.AccountID]bool{}
	x.wake = make(chan struct{}, workers)
	for range workers {
		x.wg.Go(func() { x.work(ctx) })
	}
}

// Stop ends the work, what is under way too, and returns when nothing is left of it. It may be called twice.
func (x *Indexer) Stop() {
	x.mu.Lock()
	cancel, unwatch := x.cancel, x.unwatch
	x.cancel, x.unwatch = nil, nil
	x.mu.Unlock()
	if cancel != nil {
		unwatch()
		cancel()
	}
	x.wg.Wait()
}

// add puts an account into the queue.
func (x *line) add(id mail.AccountID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.queued[id] || x.waiting[id] {
		return
	}
	x.queued[id] = true
	if !x.busy[id] {
		x.queue = append(x.queue, id)
		x.nudge()
	}
}

// nudge wakes a worker. The caller holds mu.
func (x *line) nudge() {
	select {
	case x.wake <- struct{}{}:
	default: // all are awake
	}
}

// look queues every account.
func (x *Indexer) look(ctx context.Context) {
	for {
		accts, err := x.o.Store.Accounts(ctx, store.AccountQuery{})
		if err != nil && ctx.Err() == nil {
			x.o.Log.Warn("the accounts cannot be listed", "op", "index", "err", err)
		}
		for _, a := range accts {
			x.index.add(a.ID)
		}
		select {
		case <-x.o.After(lookEvery):
		case <-ctx.Done():
			return
		}
	}
}

// work takes accounts from the queue, one step each.
func (x *line) work(ctx context.Context) {
	for {
		x.mu.Lock()
		if len(x.queue) == 0 {
			x.mu.Unlock()
			select {
			case <-x.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		id := x.queue[0]
		x.queue = x.queue[1:]
		delete(x.queued, id)
		x.busy[id] = true
		if len(x.queue) > 0 {
			x.nudge()
		}
		x.mu.Unlock()

		more, err := x.step(ctx, id)

		x.mu.Lock()
		delete(x.busy, id)
		switch {
		case ctx.Err() != nil:
			x.mu.Unlock()
			return
		case err != nil:
			delete(x.queued, id)
			x.waiting[id] = true
			x.wg.Go(func() { x.later(ctx, id, retryAfter, x.waiting) })
		case more || x.queued[id]:
			x.queued[id] = true
			x.queue = append(x.queue, id)
		}
		x.mu.Unlock()
		if err != nil {
			x.o.Log.Warn("the search index cannot be brought up to date; trying again", "op", x.what, "account", id, "err", err)
		}
	}
}

// later takes the account off a list after a while, and queues it.
func (x *line) later(ctx context.Context, id mail.AccountID, after time.Duration, off map[mail.AccountID]bool) {
	select {
	case <-x.o.After(after):
	case <-ctx.Done():
		return
	}
	x.mu.Lock()
	delete(off, id)
	x.mu.Unlock()
	x.add(id)
}

// rests tells whether the account has a rest. A hint that comes meanwhile costs one query.
func (x *line) rests(id mail.AccountID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.resting[id]
}

// rest keeps the account from the next step for a while.
func (x *line) rest(ctx context.Context, id mail.AccountID, d time.Duration) {
	x.mu.Lock()
	x.resting[id] = true
	x.mu.Unlock()
	x.wg.Go(func() { x.later(ctx, id, d, x.resting) })
}

func (x *line) step(ctx context.Context, id mail.AccountID) (more bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			x.o.Panic()
			x.o.Log.Error("panic while indexing", "op", x.what, "account", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	mb, err := x.o.Store.Mailbox(ctx, id)
	if mail.IsKind(err, mail.NotFound) {
		return false, nil // deleted
	}
	if err != nil {
		return false, err
	}
	synced, err := mb.Synced(ctx)
	if mail.IsKind(err, mail.NotFound) {
		return false, nil
	}
	if err != nil || !synced && x.rests(id) {
		return false, err
	}
	began := time.Now()
	more, err = x.do(ctx, id, mb)
	if mail.IsKind(err, mail.NotFound) {
		return false, nil
	}
	if more && !synced {
		x.rest(ctx, id, max(time.Second, time.Since(began)*restShare/time.Duration(runtime.GOMAXPROCS(0))))
		more = false
	}
	return more, err
}
