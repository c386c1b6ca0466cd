package notify

import (
	"container/heap"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// perWebhook is how many deliveries of one webhook are under way at once, each of another lane.
	perWebhook = 8
	// poll is the time between two looks at all logs, in case that a hint was lost; they never take more than a
	// twentieth of the time.
	poll = 5 * time.Second
	// Keep is how long events, attempts and ended replays are kept, if nothing else is asked for.
	Keep = 30 * 24 * time.Hour
	// tidyEvery is how often older ones are forgotten.
	tidyEvery = 6 * time.Hour
)

// Options are what a Notifier stands on. Store is needed.
type Options struct {
	Store *store.Store
	Guard provider.Guard // which endpoints may be reached; its Ports are ignored
	TLS   *tls.Config    // roots
	Log   *slog.Logger
	Panic func() // a delivery panicked; it is tried again
	Poll  time.Duration
	Keep  time.Duration // how long events are kept; 0: Keep

	Now   func() time.Time
	Timer func(time.Duration) (fires <-chan time.Time, stop func())
}

// Notifier delivers notifications to webhooks.
type Notifier struct {
	o       Options
	client  *client
	feeds   feeds
	views   views
	tidying sync.Mutex

	mu        sync.Mutex
	cancel    context.CancelFunc // nil: not running
	wg        sync.WaitGroup
	unwatch   func()
	wake      chan struct{}               // something is in hinted or due
	hinted    map[mail.AccountID]struct{} // "": the control store
	queues    map[string]*queue           // of the webhooks that deliver
	due       timers
	dueAt     map[lane]time.Time       // of the entries of due that count
	replaying map[string]chan struct{} // webhooks whose replays are at work, and what wakes them
}

// lane is one webhook's reading of one log: an account's, or the application's (then account is its id).
type lane struct {
	webhook string
	account mail.AccountID
}

// queue is one webhook's lanes that have something to do, and those who do it.
type queue struct {
	webhook store.Webhook // without secrets; as it was when last listed
	ready   []mail.AccountID
	state   map[mail.AccountID]laneState
	workers int
	off     bool                     // does not deliver now; kept while a worker is left
	shown   map[mail.AccountID]ahead // the last change of an object that was shown ahead of its turn
	// waits are the lanes that make their next attempt at a certain time: news do not wake them, so that an endpoint that is away
	// costs nothing while it is. A change of the webhook does.
	waits   map[mail.AccountID]struct{}
	changes int // of the webhook that were seen
	turns   int // of lanes, so far
}

type laneState int

const (
	laneIdle laneState = iota
	laneReady
	laneRunning
	laneAgain // running, and there is more to do
)

// New makes a Notifier; nothing happens before Start.
func New(o Options) *Notifier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if o.Panic == nil {
		o.Panic = func() {}
	}
	if o.Keep == 0 {
		o.Keep = Keep
	}
	if o.Poll == 0 {
		o.Poll = poll
	}
	if o.Timer == nil {
		o.Timer = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTimer(d)
			return t.C, func() { t.Stop() }
		}
	}
	return &Notifier{o: o, client: newClient(o.Guard, o.TLS)}
}

// Start begins to deliver, beginning with what was left undelivered, and returns.
func (n *Notifier) Start(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cancel != nil {
		return
	}
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n.wake = make(chan struct{}, 1)
	n.hinted, n.queues, n.due, n.dueAt = map[mail.AccountID]struct{}{}, map[string]*queue{}, nil, map[lane]time.Time{}
	n.replaying = map[string]chan struct{}{}
	n.unwatch = n.o.Store.Watch(n.hint)
	n.wg.Go(func() { n.dispatch(ctx) })
}

// Stop ends all deliveries, those under way too, and returns when nothing is left of them.
func (n *Notifier) Stop() {
	n.mu.Lock()
	cancel, unwatch := n.cancel, n.unwatch
	n.cancel, n.unwatch = nil, nil
	n.mu.Unlock()
	if cancel != nil {
		unwatch()
		cancel()
	}
	n.wg.Wait()
	n.views.drop("")
	n.client.close()
}

func (n *Notifier) hint(id mail.AccountID) {
	n.views.drop(id)
	n.feeds.hint(id)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hinted[id] = struct{}{}
	n.nudge()
}

// nudge wakes the dispatcher. The caller holds mu.
func (n *Notifier) nudge() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// dispatch decides which lanes have something to do.
func (n *Notifier) dispatch(ctx context.Context) {
	seen := map[mail.AccountID]mail.Seq{} // what the last look found; a lane was woken for all of it
	owner := map[mail.AccountID]mail.AppID{}
	var look, tidy time.Time // next
	for ctx.Err() == nil {
		fresh, err := n.relist(ctx, seen)
		if err != nil && ctx.Err() == nil {
			n.o.Log.Warn("the webhooks cannot be listed", "op", "notify", "err", err)
		}
		if err := n.startReplays(ctx); err != nil && ctx.Err() == nil {
			n.o.Log.Warn("the replays cannot be listed", "op", "notify", "err", err)
		}
		if now := n.o.Now(); fresh || !now.Before(look) {
			n.look(ctx, seen, owner)
			look = n.o.Now().Add(max(n.o.Poll, 20*n.o.Now().Sub(now)))
		}
		if now := n.o.Now(); !now.Before(tidy) {
			tidy = now.Add(tidyEvery)
			n.wg.Go(func() { n.tidy(ctx) })
		}
		for again := false; !again; {
			at := n.next(look)
			fires, stop := n.o.Timer(at.Sub(n.o.Now()))
			if n.o.Now().Before(at) { // else the time came while the timer was set
				select {
				case <-ctx.Done():
				case <-n.wake:
				case <-fires:
				}
			}
			stop()
			if ctx.Err() != nil {
				return
			}
			again = n.serve(ctx, owner) || !n.o.Now().Before(look)
		}
	}
}

// next is when the dispatcher has to look at something at the latest.
func (n *Notifier) next(look time.Time) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.due) > 0 && n.due[0].at.Before(look) {
		return n.due[0].at
	}
	return look
}

// serve wakes the lanes that hints and timers ask for. It tells whether the webhooks have to be listed again.
func (n *Notifier) serve(ctx context.Context, owner map[mail.AccountID]mail.AppID) (relist bool) {
	n.mu.Lock()
	hinted := n.hinted
	n.hinted = map[mail.AccountID]struct{}{}
	now := n.o.Now()
	for len(n.due) > 0 && !comes(n.due[0].at, now) {
		t := heap.Pop(&n.due).(timer)
		if n.dueAt[t.lane].Equal(t.at) {
			delete(n.dueAt, t.lane)
			if q := n.queues[t.lane.webhook]; q != nil {
				delete(q.waits, t.lane.account)
			}
			n.ready(ctx, t.lane)
		}
	}
	quiet := len(n.queues) == 0
	n.mu.Unlock()
	for id := range hinted {
		if id == "" {
			relist = true
		} else if !quiet {
			n.wakeAccount(ctx, id, owner)
		}
	}
	return relist
}

// wakeAccount wakes the lanes of an account.
func (n *Notifier) wakeAccount(ctx context.Context, id mail.AccountID, owner map[mail.AccountID]mail.AppID) {
	app, ok := owner[id]
	if !ok {
		acct, err := n.o.Store.Account(ctx, "", id)
		if err != nil {
			return // deleted; or the next look finds it
		}
		app = acct.App
		owner[id] = app
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, q := range n.queues {
		if q.webhook.App == app {
			n.ready(ctx, lane{q.webhook.ID, id})
		}
	}
}

// relist reads which webhooks there are. A new one, or one that was activated, may have to catch up with any account. The
// applications' own logs are small: their lanes are woken every time.
func (n *Notifier) relist(ctx context.Context, seen map[mail.AccountID]mail.Seq) (fresh bool, err error) {
	list, err := n.o.Store.Webhooks(ctx, "")
	if err != nil {
		return false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	there := map[string]bool{}
	for _, w := range list {
		if !w.Status.Delivers() {
			continue
		}
		there[w.ID] = true
		q := n.queues[w.ID]
		if q == nil {
			q = &queue{state: map[mail.AccountID]laneState{}, shown: map[mail.AccountID]ahead{}, waits: map[mail.AccountID]struct{}{}}
			n.queues[w.ID] = q
			fresh = true
		}
		fresh = fresh || q.off
		changed := q.off || !q.webhook.UpdatedAt.Equal(w.UpdatedAt) || !q.webhook.StatusAt.Equal(w.StatusAt) || q.webhook.URL != w.URL
		q.webhook, q.off = w, false
		n.ready(ctx, lane{w.ID, mail.AccountID(w.App)})
		if changed {
			waiting := q.waits
			q.waits = map[mail.AccountID]struct{}{}
			q.changes++
			for account := range waiting {
				n.ready(ctx, lane{w.ID, account})
			}
		}
	}
	for id, q := range n.queues {
		if there[id] {
			continue
		}
		for _, account := range q.ready {
			delete(q.state, account)
		}
		if q.off, q.ready = true, nil; q.workers == 0 {
			delete(n.queues, id)
		}
	}
	if fresh {
		clear(seen)
	}
	return fresh, nil
}

// look compares all logs with what it saw the last time.
func (n *Notifier) look(ctx context.Context, seen map[mail.AccountID]mail.Seq, owner map[mail.AccountID]mail.AppID) {
	n.mu.Lock()
	quiet := len(n.queues) == 0
	n.mu.Unlock()
	if quiet {
		return
	}
	accts, err := n.o.Store.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		return // a store in trouble has its own words in the log, and there is a next time
	}
	clear(owner)
	for _, a := range accts {
		owner[a.ID] = a.App
		mb, err := n.o.Store.Mailbox(ctx, a.ID)
		if err != nil {
			continue
		}
		seq, err := mb.Seq(ctx)
		if ctx.Err() != nil {
			return
		}
		if last, ok := seen[a.ID]; err == nil && (!ok || last != seq) {
			seen[a.ID] = seq
			n.wakeAccount(ctx, a.ID, owner)
		}
	}
	for id := range seen {
		if _, ok := owner[id]; !ok {
			delete(seen, id)
		}
	}
}

// ready puts a lane in its webhook's queue, unless it waits for a time. The caller holds mu.
func (n *Notifier) ready(ctx context.Context, l lane) {
	q := n.queues[l.webhook]
	if q == nil || q.off {
		return
	}
	switch q.state[l.account] {
	case laneReady, laneAgain:
		return
	case laneRunning:
		q.state[l.account] = laneAgain
		return
	}
	if _, waits := q.waits[l.account]; waits {
		return
	}
	q.state[l.account] = laneReady
	q.ready = append(q.ready, l.account)
	if q.workers < perWebhook && ctx.Err() == nil {
		q.workers++
		n.wg.Go(func() { n.work(ctx, q) })
	}
}

// work runs the lanes of a queue until none is ready.
func (n *Notifier) work(ctx context.Context, q *queue) {
	for {
		n.mu.Lock()
		id := q.webhook.ID
		if len(q.ready) == 0 || ctx.Err() != nil {
			q.workers--
			n.mu.Unlock()
			return
		}
		l := lane{id, q.ready[0]}
		q.ready = q.ready[1:]
		q.state[l.account] = laneRunning
		shown := q.shown[l.account]
		if shown == nil {
			shown = ahead{}
		}
		changes := q.changes
		q.turns++
		n.mu.Unlock()

		next := n.runSafely(ctx, l, shown)

		n.mu.Lock()
		again := q.state[l.account] == laneAgain
		delete(q.state, l.account)
		delete(q.shown, l.account)
		if len(shown) > 0 {
			q.shown[l.account] = shown
		}
		q.off = q.off || next.off
		switch {
		case next.retry && changes == q.changes:
			q.waits[l.account] = struct{}{}
			n.schedule(l, next.at)
		case again || next.now || next.retry:
			n.ready(ctx, l)
		case !next.at.IsZero():
			n.schedule(l, next.at)
		}
		n.mu.Unlock()
	}
}

// then says when a lane wants to run again: at once, at a time, or (both zero) when it is woken.
type then struct {
	now   bool
	at    time.Time
	retry bool // not before at, whatever happens to the account
	off   bool // the webhook does not deliver now: whoever activates it has to wake all lanes
}

func (n *Notifier) runSafely(ctx context.Context, l lane, shown ahead) (next then) {
	defer func() {
		if p := recover(); p != nil {
			n.o.Panic()
			n.o.Log.Error("panic in a delivery", "op", "notify", "webhook", l.webhook, "account", l.account, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			next = then{at: n.o.Now().Add(time.Minute), retry: true}
		}
	}()
	next, err := n.run(ctx, l, shown)
	if err != nil && ctx.Err() == nil {
		if mail.IsKind(err, mail.NotFound) { // webhook or account was deleted
			return then{}
		}
		n.o.Log.Warn("a webhook waits for the store", "op", "notify", "webhook", l.webhook, "account", l.account, "err", err)
		return then{at: n.o.Now().Add(10 * time.Second), retry: true}
	}
	return next
}

// schedule wakes a lane at a time, unless it is woken before that anyway. The caller holds mu.
func (n *Notifier) schedule(l lane, at time.Time) {
	if was, ok := n.dueAt[l]; ok && !was.After(at) {
		return
	}
	n.dueAt[l] = at
	heap.Push(&n.due, timer{at, l})
	n.nudge()
}

type timer struct {
	at   time.Time
	lane lane
}

// timers is a heap, earliest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	*t = old[:len(old)-1]
	return x
}
