package syncer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Limits bound the connections to mail servers.
type Limits struct {
	PerAccount int // connections of one account, default 3
	PerHost    int // connections to one host name over all accounts, default 16384
	Total      int // connections of this process, default 32768

	HostLogins  int // logins a second at one host name, default 30: ten thousand accounts with two connections each are back in eleven minutes
	TotalLogins int // logins a second, default 100

	BytesPerDay int64 // what one account may move in 24 hours, where we know no limit of its provider; 0: any
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		n *int
		v int
	}{{&l.PerAccount, 3}, {&l.PerHost, 16384}, {&l.Total, 32768}, {&l.HostLogins, 30}, {&l.TotalLogins, 100}} {
		if *d.n <= 0 {
			*d.n = d.v
		}
	}
	return l
}

// governor is the only way to a connection: it keeps account, host and process inside their limits.
//
//   - Connections: so many an account, a host, and the process. Those that are only good to have leave a quarter of host and
//     process to those that accounts cannot do without. An account whose further connection was refused has to do with
//     those that it has, for an hour.
//   - Logins: they are spread over time, so that a restart is no stampede.
//   - A host that several accounts in a row could not reach is left alone by all of them for a while; then one of them tries.
type governor struct {
	limits Limits
	now    func() time.Time

	mu       sync.Mutex
	total    int
	accounts map[mail.AccountID]int
	shrunk   map[mail.AccountID]shrunk
	hosts    map[string]*host
	next     time.Time     // when the process may log in again
	freed    chan struct{} // closed and replaced at each release
}

// host is what is known of one host name.
type host struct {
	open int
	next time.Time // when somebody may log in there again

	// For a server, which is a name with a port; that above is for a name:
	failed map[mail.AccountID]bool // accounts that could not reach it since somebody last did
	rest   time.Duration           // how long it was left alone last
	until  time.Time               // it is left alone; afterwards one account may try
}

// shrunk is the pool of an account after a refusal.
type shrunk struct {
	to    int
	until time.Time
}

const (
	shrinkFor = time.Hour
	// breakAt is how many accounts must have failed to reach a host for it to be left alone.
	breakAt   = 3
	restFirst = 15 * time.Second
	restMost  = 5 * time.Minute
)

func newGovernor(l Limits, now func() time.Time) *governor {
	return &governor{limits: l.withDefaults(), now: now, accounts: map[mail.AccountID]int{}, shrunk: map[mail.AccountID]shrunk{},
		hosts: map[string]*host{}, freed: make(chan struct{})}
}

func (g *governor) host(name string) *host {
	h := g.hosts[name]
	if h == nil {
		h = &host{failed: map[mail.AccountID]bool{}}
		g.hosts[name] = h
	}
	return h
}

// tidy forgets a host of which there is nothing to know.
func (g *governor) tidy(name string) {
	if h := g.hosts[name]; h != nil && h.open == 0 && len(h.failed) == 0 && h.until.IsZero() && !h.next.After(g.now()) {
		delete(g.hosts, name)
	}
}

// try grants a connection if every limit has room. perAccount overrides the account's limit when positive. extra is one that
// the account can do without.
func (g *governor) try(id mail.AccountID, name string, perAccount int, extra bool) (release func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if perAccount <= 0 {
		perAccount = g.limits.PerAccount
	}
	if s, small := g.shrunk[id]; small {
		if g.now().Before(s.until) {
			perAccount = min(perAccount, s.to)
		} else {
			delete(g.shrunk, id)
		}
	}
	total, perHost := g.limits.Total, g.limits.PerHost
	if extra {
		total, perHost = total-total/4, perHost-perHost/4
	}
	h := g.host(name)
	if g.total >= total || h.open >= perHost || g.accounts[id] >= perAccount {
		g.tidy(name)
		return nil, false
	}
	g.total++
	h.open++
	g.accounts[id]++
	return sync.OnceFunc(func() { g.release(id, name) }), true
}

func (g *governor) release(id mail.AccountID, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	g.hosts[name].open--
	g.tidy(name)
	if g.accounts[id]--; g.accounts[id] == 0 {
		delete(g.accounts, id)
	}
	close(g.freed)
	g.freed = make(chan struct{})
}

// acquire waits until try succeeds or ctx ends, and for openTimeout at most: an account that is not looked at must not be silent.
func (g *governor) acquire(ctx context.Context, id mail.AccountID, name string, perAccount int) (func(), error) {
	t := time.NewTimer(openTimeout)
	defer t.Stop()
	for {
		g.mu.Lock()
		freed := g.freed
		g.mu.Unlock()
		if release, ok := g.try(id, name, perAccount, false); ok {
			return release, nil
		}
		select {
		case <-freed:
		case <-t.C:
			return nil, mail.E(mail.Unavailable, "connect", "IMAP: all connections that Posthorn may have to "+name+", or in all, are in use by other mailboxes; it waits until one is free", nil)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// shrink makes an account do, for an hour, with the connections that it has: a further one was refused.
func (g *governor) shrink(id mail.AccountID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shrunk[id] = shrunk{to: max(g.accounts[id], 1), until: g.now().Add(shrinkFor)}
}

// turn takes a place in the row of logins at a host and returns how long to wait for it.
func (g *governor) turn(name string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, h := g.now(), g.host(name)
	at := now
	if h.next.After(at) {
		at = h.next
	}
	if g.next.After(at) {
		at = g.next
	}
	h.next = at.Add(time.Second / time.Duration(g.limits.HostLogins))
	g.next = later(g.next, now).Add(time.Second / time.Duration(g.limits.TotalLogins))
	return at.Sub(now)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// serverOf names what can be reached or not: another port, or another kind of security, may fare otherwise.
func serverOf(e mail.Endpoint) string {
	return fmt.Sprintf("%s:%d (%s)", e.Host, e.Port, e.Security)
}

// resting returns how long a server is still to be left alone, with an error for people; nil: it may be tried.
func (g *governor) resting(id mail.AccountID, server string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.hosts[server]
	if h == nil || h.until.IsZero() {
		return nil
	}
	now := g.now()
	if wait := h.until.Sub(now); wait > 0 {
		wait += time.Duration(rand.Float64() * float64(h.rest) / 4) // not all at once afterwards
		return &mail.Error{Op: "connect", Kind: mail.Unavailable, Account: id, After: wait,
			Msg: "IMAP: " + server + " could not be reached for several mailboxes; all wait a while before they try again"}
	}
	h.until = now.Add(openTimeout) // the others wait for how this one fares
	return nil
}

// reached notes whether an account could reach a server.
func (g *governor) reached(id mail.AccountID, server string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.host(server)
	if ok {
		clear(h.failed)
		h.rest, h.until = 0, time.Time{}
		g.tidy(server)
		return
	}
	if h.failed[id] = true; len(h.failed) < breakAt {
		return
	}
	h.rest = min(max(2*h.rest, restFirst), restMost)
	h.until = g.now().Add(h.rest)
}

// backoff grows with failures in a row and starts over after proven survival.
type backoff struct {
	failures int
}

const (
	backoffFirst = time.Second
	backoffMost  = 5 * time.Minute
	// loginsPerHour bounds the logins of an account that come to nothing, be it that they are refused or that the connection
	// is dropped soon: providers lock accounts.
	loginsPerHour = 12
	// reauthWait is how long a refused password is not tried again: only the user can help.
	reauthWait = 20 * time.Minute
	// longestHint bounds how long a server can make us wait by its own words.
	longestHint = 6 * time.Hour
)

// next returns how long to wait before the next attempt. jitter is in [0,1).
func (b *backoff) next(kind mail.Kind, after time.Duration, jitter float64) time.Duration {
	b.failures++
	wait := backoffMost
	if b.failures < 10 {
		wait = min(backoffFirst<<(b.failures-1), backoffMost)
	}
	switch kind {
	case mail.Reauth:
		wait = max(wait, reauthWait)
	case mail.Refused, mail.Invalid:
		wait = max(wait, time.Hour/loginsPerHour)
	}
	wait += time.Duration(jitter * float64(wait) / 4)
	return max(wait, min(after, longestHint))
}

// survived is called once a connection has proven good.
func (b *backoff) survived() { b.failures = 0 }

// ledger holds the last logins of an account that have come to nothing so far, at most loginsPerHour.
type ledger struct {
	mu    sync.Mutex
	times []time.Time
}

// login notes a login, or the attempt at one.
func (l *ledger) login(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) == loginsPerHour {
		l.times = l.times[1:]
	}
	l.times = append(l.times, now)
}

// rest returns how long no login may be tried, because so many came to nothing within an hour.
func (l *ledger) rest(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) < loginsPerHour {
		return 0
	}
	return max(l.times[0].Add(time.Hour).Sub(now), 0)
}

// recent returns the logins that still count.
func (l *ledger) recent(now time.Time) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.times), func(at time.Time) bool { return now.Sub(at) >= time.Hour })
}

// recall takes over the logins of the process before. Those that are to come are of a clock that was wrong.
func (l *ledger) recall(times []time.Time, now time.Time) {
	for _, at := range times {
		if !at.After(now) {
			l.login(at)
		}
	}
}

func (l *ledger) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = nil
}
