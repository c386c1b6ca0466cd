package notify

import (
	"sync"

	"github.com/posthorn/posthorn/internal/store"
)

// maxUnrecorded bounds how many deliveries of a lane are made before they are recorded: so many a crash repeats at most.
const maxUnrecorded = 32

// ledger records what a lane delivers while the lane goes on with the next: what costs is the commit, and those that come in
// the meantime share the next one. They are recorded in order.
type ledger struct {
	record func(store.WebhookCursor, []store.Delivery) error

	mu       sync.Mutex
	changed  sync.Cond // L is mu
	cur      store.WebhookCursor
	waiting  []store.Delivery
	moved    bool // cur is not recorded
	open     int  // deliveries that are not recorded
	flushing bool
	err      error
}

func newLedger(record func(store.WebhookCursor, []store.Delivery) error) *ledger {
	l := &ledger{record: record}
	l.changed.L = &l.mu
	return l
}

// add records a cursor, and the deliveries that moved it, soon. The error is of something that was added before.
func (l *ledger) add(cur store.WebhookCursor, delivered ...store.Delivery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.open >= maxUnrecorded && l.err == nil {
		l.changed.Wait()
	}
	if l.err != nil {
		return l.err
	}
	l.cur, l.moved = cur, true
	l.waiting = append(l.waiting, delivered...)
	l.open += len(delivered)
	if !l.flushing {
		l.flushing = true
		go l.flush()
	}
	return nil
}

// flush records until nothing waits.
func (l *ledger) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.moved && l.err == nil {
		cur, list := l.cur, l.waiting
		l.waiting, l.moved = nil, false
		l.mu.Unlock()
		err := l.record(cur, list)
		l.mu.Lock()
		l.err = err
		l.open -= len(list)
		l.changed.Broadcast()
	}
	l.flushing = false
	l.changed.Broadcast()
}

// wait returns when all that was added is recorded, or cannot be.
func (l *ledger) wait() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.flushing {
		l.changed.Wait()
	}
	return l.err
}
