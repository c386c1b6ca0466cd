package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// endpoint receives webhooks and remembers them.
type endpoint struct {
	*httptest.Server
	mu      sync.Mutex
	order   []string // ids, each once, in the order in which they first came
	objects map[string]string
	types   map[string]string
	count   int
}

func receive(t *testing.T) *endpoint {
	e := &endpoint{objects: map[string]string{}, types: map[string]string{}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := r.URL.Query().Get("challenge"); c != "" {
			io.WriteString(w, c)
			return
		}
		var n binary.Event
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			return // cut off by a kill: not delivered
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.count++
		object := n.Type + " " + n.Data.Object.ID
		if was, again := e.objects[n.ID]; !again {
			e.order = append(e.order, n.ID)
			e.objects[n.ID], e.types[n.ID] = object, n.Type
		} else if was != object {
			t.Errorf("%s was %s and is %s", n.ID, was, object)
		}
	}))
	t.Cleanup(func() { e.CloseClientConnections(); e.Close() })
	return e
}

func (e *endpoint) ids(kind string) (out []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range e.order {
		if e.types[id] == kind {
			out = append(out, id)
		}
	}
	return out
}

// TestKillWhileDelivering kills the server again and again while events flow to a webhook: each arrives, under one id and in
// order, and what arrived is what the log has. Afterwards the events make the mailbox. With -soak it is 5,000 events and 50 kills.
func TestKillWhileDelivering(t *testing.T) {
	t.Parallel()
	stores(t, killWhileDelivering)
}

func killWhileDelivering(t *testing.T, empty func() binary.Options) {
	messages, kills := 600, 5
	switch {
	case testing.Short():
		messages, kills = 120, 2
	case *soak > 1:
		messages, kills = 5000, 50
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	fill(t, d, "mira", 50)
	s := serve(t, empty())
	g := connect(t, s, d, "mira")
	e := receive(t)
	_, start := binary.Feed(t, s, g.ID, "cursor=latest")
	if err := s.Do(t.Context(), "POST", "/v3/webhooks", map[string]any{"trigger_types": []string{"message.created", "message.deleted"}, "webhook_url": e.URL}, nil); err != nil {
		t.Fatal(err)
	}
	session := d.Login(t, "mira")
	n, midway := 0, 0
	for i := range kills {
		for ; n < (i+1)*messages/kills; n++ {
			session.Append("INBOX", fmt.Appendf(nil, "From: a@example.com\r\nMessage-ID: <event%d@example.com>\r\nSubject: event %d\r\n\r\nbody %d\r\n", n, n, n), nil, time.Time{})
		}
		select {
		case <-time.After(time.Duration(r.IntN(1500)) * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
		s.Kill()
		if got := len(e.ids("message.created")); got > 0 && got < n {
			midway++
		}
		s = serve(t, s.Options)
	}
	t.Logf("%d of %d kills hit undelivered events", midway, kills)
	await(t, "every event at the webhook", 5*time.Minute, func() bool { return len(e.ids("message.created")) >= n })
	await(t, "the end of the sync", 2*time.Minute, func() bool {
		now, err := s.Grant(t.Context(), g.ID)
		return err == nil && binary.Live(now)
	})
	all, _ := binary.Feed(t, s, g.ID, "history=false&types=message.created,message.deleted&cursor="+start)
	var log []string
	for _, x := range all {
		if x.Type == "message.created" {
			log = append(log, x.ID)
		}
	}
	got := e.ids("message.created")
	if !slices.Equal(got, log) {
		t.Errorf("%d events arrived, the log has %d, or their order differs", len(got), len(log))
	}
	if len(log) != n {
		t.Errorf("%d events of %d messages", len(log), n)
	}
	if gone := e.ids("message.deleted"); len(gone) > 0 {
		t.Errorf("%d messages were told as deleted", len(gone))
	}
	e.mu.Lock()
	t.Logf("%d requests delivered %d events", e.count, len(e.order))
	e.mu.Unlock()
	binary.Folds(t, s, g.ID)
	binary.Equal(t, s, g.ID, d, "mira")
	s.Kill()
	binary.Check(t, s)
}

// TestEventsMakeTheMailbox: whatever happens to mail, the events tell it.
func TestEventsMakeTheMailbox(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, empty func() binary.Options) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
		fill(t, d, "mira", 100)
		s := serve(t, empty())
		g := connect(t, s, d, "mira")
		session := d.Login(t, "mira")
		session.CreateFolder("New")
		folders := []string{"INBOX", "Archive", "New"}
		for i := range 60 {
			change(session, r, folders, i+1)
		}
		session.Close()
		binary.Converge(t, s, g.ID, d, "mira", 2*time.Minute)
		binary.Folds(t, s, g.ID)
	})
}
