package sender

import (
	"context"
	"sync"
)

// slots bound how many conversations there are at once, and how many of them with one server: one that is slow, or says nothing, must
// not keep all.
type slots struct {
	all  chan struct{}
	each int

	mu      sync.Mutex
	servers map[string]*serverSlots
}

type serverSlots struct {
	taken chan struct{}
	users int // who have one or wait for one; slots.mu
}

func newSlots(n int) *slots {
	return &slots{all: make(chan struct{}, n), each: max(1, n/4), servers: map[string]*serverSlots{}}
}

// take waits for its turn, and returns what gives the slot back; nil if ctx is done before.
func (s *slots) take(ctx context.Context, server string) (release func()) {
	s.mu.Lock()
	one := s.servers[server]
	if one == nil {
		one = &serverSlots{taken: make(chan struct{}, s.each)}
		s.servers[server] = one
	}
	one.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(s.servers, server)
		}
	}
	select {
	case one.taken <- struct{}{}: // first: who waits for a server must not keep others waiting
	case <-ctx.Done():
		leave()
		return nil
	}
	select {
	case s.all <- struct{}{}:
	case <-ctx.Done():
		<-one.taken
		leave()
		return nil
	}
	return func() {
		<-s.all
		<-one.taken
		leave()
	}
}
