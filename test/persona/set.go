package persona

import "sync"

// set is a set that many goroutines share.
type set[T comparable] struct {
	mu sync.Mutex
	m  map[T]bool
}

func newSet[T comparable]() *set[T] { return &set[T]{m: map[T]bool{}} }

func (s *set[T]) add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[v] = true
}

func (s *set[T]) has(v T) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[v]
}
