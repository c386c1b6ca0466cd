package api

import (
	"sync"
	"time"
)

// limiter lets each name go on at a steady pace with bursts: the generic cell rate algorithm. What it knows of a name that
// was idle for long enough is nothing, so that its memory is bounded by the names that are busy.
type limiter struct {
	now   func() time.Time
	every time.Duration // between two requests, in the long run
	slack time.Duration // how far ahead of the pace a burst may get
	burst int

	mu   sync.Mutex
	next map[string]time.Time // when the name would be back at its pace
}

// maxNames bounds the memory of a limiter.
const maxNames = 50_000

// newLimiter makes a limiter; every 0 is none.
func newLimiter(now func() time.Time, every time.Duration, burst int) *limiter {
	return &limiter{now: now, every: every, burst: burst, slack: every * time.Duration(burst-1), next: map[string]time.Time{}}
}

// take counts one request of a name, and returns how long it has to wait: 0 for not at all.
func (l *limiter) take(name string) time.Duration {
	if l == nil || l.every <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	at := l.next[name]
	if at.Before(now) {
		at = now
	}
	if wait := at.Sub(now) - l.slack; wait > 0 {
		return wait
	}
	if len(l.next) >= maxNames {
		l.forget(now)
	}
	l.next[name] = at.Add(l.every)
	return 0
}

// forget drops the names that are back at their pace; if all are busy, any.
func (l *limiter) forget(now time.Time) {
	for name, at := range l.next {
		if !at.After(now) {
			delete(l.next, name)
		}
	}
	for name := range l.next {
		if len(l.next) < maxNames {
			return
		}
		delete(l.next, name)
	}
}

// left returns how many requests a name may make at once.
func (l *limiter) left(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	ahead := max(l.next[name].Sub(l.now()), 0)
	return max(l.burst-int((ahead+l.every-1)/l.every), 0)
}

// perSecond makes a limiter of n requests a second; n 0 is none.
func perSecond(now func() time.Time, n int) *limiter {
	if n <= 0 {
		return nil
	}
	return newLimiter(now, time.Second/time.Duration(n), 2*n)
}
