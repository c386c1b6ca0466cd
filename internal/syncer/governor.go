package syncer

import (
	"context"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Limits bound the connections to mail servers.
type Limits struct {
	PerAccount int // connections of one account, default 3
	PerHost    int // connections to one host name over all accounts, default 64
	Total      int // connections of this process, default 4096
}

func (l Limits) withDefaults() Limits {
	if l.PerAccount <= 0 {
		l.PerAccount = 3
	}
	if l.PerHost <= 0 {
		l.PerHost = 64
	}
	if l.Total <= 0 {
		l.Total = 4096
	}
	return l
}

// governor is the only way to a connection: it keeps account, host and process inside their limits.
type governor struct {
	limits Limits

	mu       sync.Mutex
	total    int
	accounts map[mail.AccountID]int
	hosts    map[string]int
	freed    chan struct{} // closed and replaced at each release
}

func newGovernor(l Limits) *governor {
	return &governor{limits: l.withDefaults(), accounts: map[mail.AccountID]int{}, hosts: map[string]int{}, freed: make(chan struct{})}
}

// try grants a connection if every limit has room. perAccount overrides the account's limit when positive.
func (g *governor) try(id mail.AccountID, host string, perAccount int) (release func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if perAccount <= 0 {
		perAccount = g.limits.PerAccount
	}
	if g.total >= g.limits.Total || g.hosts[host] >= g.limits.PerHost || g.accounts[id] >= perAccount {
		return nil, false
	}
	g.total++
	g.hosts[host]++
	g.accounts[id]++
	return sync.OnceFunc(func() { g.release(id, host) }), true
}

func (g *governor) release(id mail.AccountID, host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.hosts[host]--; g.hosts[host] == 0 {
		delete(g.hosts, host)
	}
	if g.accounts[id]--; g.accounts[id] == 0 {
		delete(g.accounts, id)
	}
	close(g.freed)
	g.freed = make(chan struct{})
}

// acquire waits until try succeeds or ctx ends.
func (g *governor) acquire(ctx context.Context, id mail.AccountID, host string, perAccount int) (func(), error) {
	for {
		g.mu.Lock()
		freed := g.freed
		g.mu.Unlock()
		if release, ok := g.try(id, host, perAccount); ok {
			return release, nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// backoff grows with failures in a row and starts over after proven survival.
type backoff struct {
	failures int
}

const (
	backoffFirst = time.Second
	backoffMost  = 5 * time.Minute
	// loginsPerHour bounds the login attempts of an account that keeps failing to log in: providers lock accounts.
	loginsPerHour = 12
)

// next returns how long to wait before the next attempt. jitter is in [0,1).
func (b *backoff) next(kind mail.Kind, after time.Duration, jitter float64) time.Duration {
	b.failures++
	wait := backoffMost
	if b.failures < 10 {
		wait = min(backoffFirst<<(b.failures-1), backoffMost)
	}
	switch kind {
	case mail.Reauth, mail.Refused, mail.Invalid:
		wait = max(wait, time.Hour/loginsPerHour)
	}
	wait += time.Duration(jitter * float64(wait) / 4)
	return max(wait, after)
}

// survived is called once a connection has done a whole pass.
func (b *backoff) survived() { b.failures = 0 }
