package store

import (
	"context"
	"sync"
)

// joint puts small writes of the control store that come at the same time into one transaction, since what costs is the
// commit. Of those who wait one is the leader: it writes for all that are there, then hands over.
type joint struct {
	mu    sync.Mutex
	queue []*joined
	busy  bool // somebody leads
}

type joined struct {
	write func(context.Context, *tx) error
	done  chan error
	lead  chan struct{}
}

// maxJoint bounds how many writes are put into one transaction.
const maxJoint = 200

// do runs a write and returns when it is committed. It must be one that can be repeated after a rollback.
func (j *joint) do(ctx context.Context, db *controlDB, write func(context.Context, *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	me := &joined{write: write, done: make(chan error, 1), lead: make(chan struct{}, 1)}
	j.mu.Lock()
	j.queue = append(j.queue, me)
	follow := j.busy
	j.busy = true
	j.mu.Unlock()
	if follow {
		select {
		case err := <-me.done:
			return err
		case <-me.lead:
		}
	}
	j.mu.Lock()
	n := min(len(j.queue), maxJoint)
	batch := j.queue[:n:n]
	j.queue = j.queue[n:]
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if len(j.queue) > 0 {
			j.queue[0].lead <- struct{}{}
		} else {
			j.busy, j.queue = false, nil
		}
	}()
	ctx = context.WithoutCancel(ctx) // the others' writes must not end with ours
	err := db.write(ctx, func(t *tx) error {
		for _, x := range batch {
			if err := x.write(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && n > 1 { // one of them may be the cause: each on its own
		for _, x := range batch {
			x.done <- db.write(ctx, func(t *tx) error { return x.write(ctx, t) })
		}
		return <-me.done
	}
	for _, x := range batch {
		x.done <- err
	}
	return <-me.done
}
