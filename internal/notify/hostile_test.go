package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// sink is an endpoint that keeps what it took, per grant in the order of the first arrival.
type sink struct {
	srv  *httptest.Server
	mu   sync.Mutex
	bad  http.HandlerFunc // nil: takes everything
	took map[string][]string
	seen map[string]bool
	hits int
	more chan struct{}
}

func newSink(t testing.TB, bad http.HandlerFunc, tls bool) *sink {
	s := &sink{bad: bad, took: map[string][]string{}, seen: map[string]bool{}, more: make(chan struct{}, 1)}
	s.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.hits++
		bad := s.bad
		s.mu.Unlock()
		if bad != nil {
			io.Copy(io.Discard, r.Body)
			bad(w, r)
			return
		}
		var n struct {
			ID   string
			Data struct {
				Object struct {
					GrantID string `json:"grant_id"`
					Subject string
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if o := n.Data.Object; !s.seen[n.ID] {
			s.seen[n.ID] = true
			s.took[o.GrantID] = append(s.took[o.GrantID], o.Subject)
		}
		select {
		case s.more <- struct{}{}:
		default:
		}
	}))
	s.srv.Config.ErrorLog = nil
	if tls {
		s.srv.StartTLS()
	} else {
		s.srv.Start()
	}
	t.Cleanup(func() {
		s.srv.CloseClientConnections()
		s.srv.Close()
	})
	return s
}

// idle tells whether no lane is at work.
func (b *bench) idle() bool {
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	for _, q := range b.n.queues {
		if q.workers > 0 {
			return false
		}
	}
	return true
}

func (s *sink) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = nil
}

// await waits until so many notifications were taken.
func (s *sink) await(t testing.TB, name string, n int) {
	t.Helper()
	for end := time.After(patience); ; {
		s.mu.Lock()
		got := len(s.seen)
		s.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-s.more:
		case <-end:
			t.Fatalf("%s: %d of %d", name, got, n)
		}
	}
}

// TestHostileEndpoints: endpoints that hang, drip, redirect, talk without end, hang up, cannot be trusted, or are gone, for three
// days: nobody else waits for them, and when they come back they get everything, each grant's in order.
func TestHostileEndpoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.n.client.answer = 5 * time.Second // also good ones may take a while on a busy machine
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	wait := func(r *http.Request, d time.Duration) bool {
		select {
		case <-end:
		case <-r.Context().Done():
		case <-time.After(d):
			return true
		}
		return false
	}
	good := []*sink{newSink(t, nil, false), newSink(t, nil, false)}
	elsewhere := newSink(t, nil, false)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + gone.Addr().String()
	gone.Close()
	hostile := map[string]*sink{
		"hangs": newSink(t, func(_ http.ResponseWriter, r *http.Request) { wait(r, time.Hour) }, false),
		"redirects": newSink(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.srv.URL, http.StatusTemporaryRedirect)
		}, false),
		"hangs up": newSink(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false),
		"drips": newSink(t, func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			for _, x := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
				if _, err := c.Write([]byte{x}); err != nil || !wait(r, 500*time.Millisecond) {
					return
				}
			}
		}, false),
		"talks": newSink(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			chunk := make([]byte, 64<<10)
			for range 1 << 30 / len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, false),
		"untrusted": newSink(t, nil, true),
		"gone":      newSink(t, nil, false),
	}
	hooks := map[string]string{}
	for name, s := range hostile {
		url := s.srv.URL
		if name == "gone" {
			url = nobody
		}
		hooks[name] = b.hook(url, "message.created").ID
	}
	for _, s := range good {
		b.hook(s.srv.URL, "message.created")
	}
	accounts := []*account{b.account, b.addAccount("bo@example.test"), b.addAccount("cy@example.test")}
	b.start()
	n := 0
	deliver := func(rounds int) {
		for range rounds {
			for _, a := range accounts {
				a.deliver(mail.OriginLive, fmt.Sprintf("%05d", n), "x", false)
				n++
			}
		}
	}
	deliver(20)
	for i, s := range good {
		s.await(t, fmt.Sprint("good ", i), n)
	}
	for _, d := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 5 * time.Hour, 18 * time.Hour, 24 * time.Hour, 24 * time.Hour} {
		b.clock.add(d)
		deliver(1)
		for i, s := range good {
			s.await(t, fmt.Sprint("good ", i), n)
		}
		for _, id := range hooks { // each has been tried again
			b.attempts(id, 1)
		}
	}
	for name, s := range hostile {
		w := b.webhook(hooks[name])
		if !w.Status.Delivers() {
			t.Errorf("%s: %s %s", name, w.Status, w.Reason)
		}
		s.heal()
		if name == "untrusted" || name == "gone" {
			w.URL = newSink(t, nil, false).srv.URL
			if name == "gone" {
				w.URL = s.srv.URL
			} else {
				fresh := newSink(t, nil, false)
				hostile[name], w.URL = fresh, fresh.srv.URL
			}
			if _, err := b.store.UpdateWebhook(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name := range hostile {
		for end := time.Now().Add(patience); ; {
			s := hostile[name]
			s.mu.Lock()
			done := len(s.seen) >= n
			s.mu.Unlock()
			if done {
				break
			}
			if time.Now().After(end) {
				s.await(t, name, n)
			}
			if b.idle() { // what failed last waits; a request under way must not take days
				b.clock.add(time.Hour)
			}
			select {
			case <-s.more:
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	for name, s := range hostile {
		total := 0
		for grant, list := range s.took {
			total += len(list)
			if !slices.IsSorted(list) {
				t.Errorf("%s: %s is out of order: %q", name, grant, list)
			}
		}
		if total != n {
			t.Errorf("%s: %d of %d", name, total, n)
		}
	}
	if elsewhere.hits > 0 {
		t.Errorf("%d redirects were followed", elsewhere.hits)
	}
}

// TestNewsDoNotWakeWhatWaits: an endpoint that is away costs nothing until its next attempt, however much happens; a change of
// the webhook wakes it at once.
func TestNewsDoNotWakeWhatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	good, bad := newSink(t, nil, false), newSink(t, status(500), false)
	b.hook(good.srv.URL, "message.created")
	away := b.hook(bad.srv.URL, "message.created")
	b.start()
	b.deliver(mail.OriginLive, "00000", "x", false)
	good.await(t, "good", 1)
	b.attempts(away.ID, 1)
	turns := func() int {
		b.n.mu.Lock()
		defer b.n.mu.Unlock()
		return b.n.queues[away.ID].turns
	}
	asleep := func() bool {
		b.n.mu.Lock()
		defer b.n.mu.Unlock()
		_, waits := b.n.queues[away.ID].waits[b.id]
		return waits
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !asleep(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the lane does not wait")
		}
	}
	const more = 30
	before := turns()
	for i := range more {
		b.deliver(mail.OriginLive, fmt.Sprintf("%05d", i+1), "x", false)
		good.await(t, "good", i+2)
	}
	if n := turns() - before; n > 0 {
		t.Errorf("it took %d turns for %d events", n, more)
	}
	if list := b.attempts(away.ID, 1); !asleep() || len(list) != 1 {
		t.Errorf("the lane was woken; %d attempts", len(list))
	}
	fixed := newSink(t, nil, false)
	w := b.webhook(away.ID)
	w.URL = fixed.srv.URL
	if _, err := b.store.UpdateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	fixed.await(t, "fixed", more+1) // the clock stands still: it is not its time that woke it
}
