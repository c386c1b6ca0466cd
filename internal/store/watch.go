package store

import (
	"maps"
	"slices"
	"sync"

	"github.com/posthorn/posthorn/internal/mail"
)

// watchers are called after commits.
type watchers struct {
	mu   sync.Mutex
	next int
	fns  map[int]func(mail.AccountID)
}

// Watch calls fn after each commit that made changes of an account, with its id, and after accounts came or went or
// webhooks changed, with "". It is a hint: the rows are the truth, and whoever needs them all looks from time to time
// anyway. fn must return at once and may not call the store. stop ends it; a call under way may then still come.
func (s *Store) Watch(fn func(mail.AccountID)) (stop func()) {
	w := &s.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fns == nil {
		w.fns = map[int]func(mail.AccountID){}
	}
	n := w.next
	w.next++
	w.fns[n] = fn
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.fns, n)
	}
}

func (s *Store) hint(id mail.AccountID) {
	s.watchers.mu.Lock()
	fns := slices.Collect(maps.Values(s.watchers.fns))
	s.watchers.mu.Unlock()
	for _, fn := range fns {
		fn(id)
	}
}
