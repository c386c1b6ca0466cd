package model

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
)

// application makes the requests of an application, one after the other, in the background. A request that the server did not
// live to answer it makes again: none of them does more the second time.
type application struct {
	t        *testing.T
	requests chan request
	open     sync.WaitGroup

	mu         sync.Mutex
	server     *binary.Server // nil while there is none
	changed    chan struct{}  // closed when the server is another one
	operations []operation    // that were not done when they were answered
}

type request struct {
	what, method, path string
	body               any
	gone               bool     // done if the object does not exist
	again              *request // to be made instead if the fate of this one is unknown; nil: the same
}

type operation struct{ what, path string }

func newApplication(t *testing.T) *application {
	a := &application{t: t, requests: make(chan request, 10_000), changed: make(chan struct{})}
	var done sync.WaitGroup
	done.Go(func() {
		for r := range a.requests {
			a.make(r)
			a.open.Done()
		}
	})
	t.Cleanup(func() {
		close(a.requests)
		done.Wait()
	})
	return a
}

// use tells where the server is now; nil is nowhere.
func (a *application) use(s *binary.Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server = s
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *application) ask(r request) {
	a.open.Add(1)
	a.requests <- r
}

func (a *application) make(r request) {
	ctx := a.t.Context()
	for ctx.Err() == nil {
		a.mu.Lock()
		s, changed := a.server, a.changed
		a.mu.Unlock()
		var answer struct {
			Data struct{ ID, Object, State string }
		}
		err := context.Canceled
		if s != nil {
			err = s.Do(ctx, r.method, r.path, r.body, &answer)
		}
		var refused *binary.Error
		switch {
		case err == nil && answer.Data.Object == "operation":
			grant, _, _ := strings.Cut(r.path, "/messages/")
			a.mu.Lock()
			a.operations = append(a.operations, operation{r.what, grant + "/operations/" + answer.Data.ID})
			a.mu.Unlock()
			return
		case err == nil:
			return
		case errors.As(err, &refused):
			if !r.gone || refused.Status != http.StatusNotFound {
				a.t.Errorf("%s: %v", r.what, err)
			}
			return
		}
		if r.again != nil {
			r = *r.again
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// settle waits until all that was asked for is done.
func (a *application) settle(s *binary.Server) error {
	answered := make(chan struct{})
	go func() {
		a.open.Wait()
		close(answered)
	}()
	limit := time.After(*patience)
	select {
	case <-answered:
	case <-limit:
		return errors.New("requests are not answered")
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		a.mu.Lock()
		open := slices.Clone(a.operations)
		a.mu.Unlock()
		if len(open) == 0 {
			return nil
		}
		var got struct {
			Data struct{ State, Reason string }
		}
		if err := s.Get(a.t.Context(), open[0].path, &got); err != nil {
			return fmt.Errorf("%s: %w", open[0].what, err)
		}
		switch got.Data.State {
		case "pending":
			select {
			case <-tick.C:
			case <-limit:
				return fmt.Errorf("%s: it is still pending: %s", open[0].what, got.Data.Reason)
			}
			continue
		case "failed":
			a.t.Errorf("%s: it failed: %s", open[0].what, got.Data.Reason)
		}
		a.mu.Lock()
		a.operations = a.operations[1:]
		a.mu.Unlock()
	}
}
