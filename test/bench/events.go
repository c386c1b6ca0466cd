package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// receiver is a webhook endpoint that notes when what arrived.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	at   map[string]time.Time // of subjects
	n    int
	last time.Time
	news chan struct{}
}

// newReceiver makes an endpoint; bad answers in its place, if it is not nil.
func newReceiver(bad http.HandlerFunc) *receiver {
	r := &receiver{at: map[string]time.Time{}, news: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if c := req.URL.Query().Get("challenge"); c != "" {
			io.WriteString(w, c)
			return
		}
		if bad != nil {
			_, _ = io.Copy(io.Discard, req.Body) // only then the end of the connection ends the request's context
			bad(w, req)
			return
		}
		var n struct {
			Data struct{ Object struct{ Subject string } }
		}
		if json.NewDecoder(req.Body).Decode(&n) != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.n++
		r.last = time.Now()
		r.at[n.Data.Object.Subject] = r.last
		select {
		case r.news <- struct{}{}:
		default:
		}
	}))
	return r
}

func (r *receiver) end() {
	r.CloseClientConnections() // those that hang too
	r.Close()
}

// await waits until ok, which is asked with the lock held.
func (r *receiver) await(ctx context.Context, ok func() bool) error {
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-r.news:
		case <-ctx.Done():
			return fmt.Errorf("%w after %d notifications", ctx.Err(), r.n)
		}
	}
}

func subscribe(ctx context.Context, s *binary.Server, url, trigger string) error {
	return s.Do(ctx, http.MethodPost, "/v3/webhooks", map[string]any{"trigger_types": []string{trigger}, "webhook_url": url}, nil)
}

func unsubscribe(ctx context.Context, s *binary.Server, list []*receiver) error {
	return eachHook(ctx, s, list, func(id string) error { return s.Do(ctx, http.MethodDelete, "/v3/webhooks/"+id, nil, nil) })
}

// eachHook does something with the webhooks of these endpoints.
func eachHook(ctx context.Context, s *binary.Server, list []*receiver, do func(id string) error) error {
	var hooks struct {
		Data []struct {
			ID  string
			URL string `json:"webhook_url"`
		}
	}
	if err := s.Get(ctx, "/v3/webhooks?limit=200", &hooks); err != nil {
		return err
	}
	for _, h := range hooks.Data {
		if slices.ContainsFunc(list, func(r *receiver) bool { return r.URL == h.URL }) {
			if err := do(h.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// badly are the ways in which endpoints behave that must not disturb others; the last one is closed and gone.
var badly = []http.HandlerFunc{
	func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		for _, x := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
			if _, err := c.Write([]byte{x}); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	},
	func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	},
	func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		chunk := make([]byte, 64<<10)
		for range 1 << 30 / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	},
	func(http.ResponseWriter, *http.Request) {},
}

// events measures how soon mail that another client delivers is told, and how many events a second go out.
func events(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	d, err := newMailbox(o, realsrv.DovecotOptions{}, nil)
	if err != nil {
		return err
	}
	defer d.Stop()
	s, end, err := serve(ctx, o)
	if err != nil {
		return err
	}
	defer end()
	if _, err := connect(ctx, s, d.Addr, binary.Live); err != nil {
		return err
	}
	c, err := imap.Dial(ctx, imap.Options{Addr: d.Addr, Security: imap.Plain})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := c.Login(ctx, user, password); err != nil {
		return err
	}

	// A plain client that listens beside: nobody can know of a message sooner than the server tells.
	told, unwatch, err := listener(d.Addr, false)
	if err != nil {
		return err
	}
	defer unwatch()

	fmt.Printf("%d messages in the mailbox; %s\n\n| what | p50 | p99 | events/s |\n|---|---|---|---|\n", o.n, time.Now().Format(time.DateOnly))
	arrivals := newReceiver(nil)
	defer arrivals.end()
	if err := subscribe(ctx, s, arrivals.URL, "message.created"); err != nil {
		return err
	}
	var bad []*receiver
	for _, what := range []string{"APPEND to webhook", "beside endpoints that hang, drip, redirect, answer 1 GB, are gone", "without these again"} {
		if strings.HasPrefix(what, "beside") {
			for _, how := range badly {
				r := newReceiver(how)
				defer r.end()
				if err := subscribe(ctx, s, r.URL, "message.created"); err != nil {
					return err
				}
				bad = append(bad, r)
			}
			bad[len(bad)-1].end()
		} else if err := unsubscribe(ctx, s, bad); err != nil {
			return err
		}
		var took, server, ours []time.Duration
		for i := range o.requests {
			drain(told)
			subject := fmt.Sprintf("%s %d", what, i)
			raw := fmt.Appendf(nil, "From: a@example.com\r\nMessage-ID: <%d.%s@example.com>\r\nSubject: %s\r\n\r\nbody\r\n", i, strings.ReplaceAll(what, " ", "."), subject)
			start := time.Now()
			if _, err := c.Append(ctx, "INBOX", imap.AppendMessage{Size: int64(len(raw)), Body: strings.NewReader(string(raw))}); err != nil {
				return err
			}
			if err := arrivals.await(ctx, func() bool { return !arrivals.at[subject].IsZero() }); err != nil {
				return err
			}
			arrivals.mu.Lock()
			at := arrivals.at[subject]
			arrivals.mu.Unlock()
			took = append(took, at.Sub(start))
			select {
			case notice := <-told:
				server, ours = append(server, notice.Sub(start)), append(ours, at.Sub(notice))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for _, row := range []struct {
			what string
			took []time.Duration
		}{{what, took}, {"of it until the server tells another client", server}, {"and from there", ours}} {
			slices.Sort(row.took)
			n := len(row.took)
			fmt.Printf("| %s | %.1f ms | %.1f ms | |\n", row.what, row.took[n/2].Seconds()*1e3, row.took[min(n-1, n*99/100)].Seconds()*1e3)
		}
	}

	// A keyword on every message of INBOX makes as many events at once.
	sel, err := c.Select(ctx, "INBOX", imap.SelectOptions{})
	if err != nil {
		return err
	}
	var all []*receiver
	for i, n := range []int{1, 50} {
		for len(all) < n {
			r := newReceiver(nil)
			defer r.end()
			if err := subscribe(ctx, s, r.URL, "message.updated"); err != nil {
				return err
			}
			all = append(all, r)
		}
		for _, r := range all {
			r.mu.Lock()
			r.n = 0
			r.mu.Unlock()
		}
		start := time.Now()
		if _, err := c.Store(ctx, imap.Range(1, imap.Star), imap.StoreAdd, []string{fmt.Sprint("Bench", i)}, imap.StoreOptions{}); err != nil {
			return err
		}
		last := start
		for _, r := range all {
			if err := r.await(ctx, func() bool { return r.n >= int(sel.Exists) }); err != nil {
				return err
			}
			if r.last.After(last) {
				last = r.last
			}
		}
		fmt.Printf("| %d flags set by another client, to %d endpoints | | | %.0f |\n", sel.Exists, n, float64(int(sel.Exists)*n)/last.Sub(start).Seconds())
	}
	return nil
}
