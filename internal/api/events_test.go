package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/notify"
	"github.com/posthorn/posthorn/internal/store"
)

// eventful is a bundle whose notifier is the real one.
func eventful(t *testing.T) *mailbox {
	t.Helper()
	b := setup(t)
	n := notify.New(notify.Options{Store: b.store})
	n.Start(t.Context())
	t.Cleanup(n.Stop)
	b.api.Notify = n
	return b.account("ann@example.test")
}

type eventPage struct {
	Data []struct {
		ID, Type, Source string
		Data             struct{ Object map[string]any }
	}
	NextCursor string `json:"next_cursor"`
	HasMore    bool   `json:"has_more"`
}

func (b *bundle) page(path string) (p eventPage) {
	b.t.Helper()
	a := b.get(path, nil)
	if err := json.Unmarshal(a.Body.Bytes(), &p); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func TestEvents(t *testing.T) {
	t.Parallel()
	m := eventful(t)
	m.deliver(letter{raw: plain("1", "bo@example.test", "one", "x"), at: 1700000000}, letter{raw: plain("2", "bo@example.test", "two", "x"), at: 1700000001})
	p := m.page(m.base + "/events?limit=2")
	if len(p.Data) != 2 || p.Data[0].Type != "folder.created" || p.Data[1].Type != "message.created" || p.Data[1].Source != "/imap/emails/historic" || !p.HasMore {
		t.Fatalf("%+v", p)
	}
	p = m.page(m.base + "/events?cursor=" + p.NextCursor)
	if len(p.Data) != 1 || p.Data[0].Data.Object["subject"] != "two" || p.HasMore {
		t.Errorf("%+v", p)
	}
	end := m.page(m.base + "/events?cursor=latest")
	if end.NextCursor == "" || len(end.Data) != 0 {
		t.Errorf("%+v", end)
	}
	if q := m.page(m.base + "/events?history=false"); len(q.Data) != 0 {
		t.Errorf("%+v", q)
	}
	if q := m.page(m.base + "/events?types=message.created&since=1"); len(q.Data) != 2 {
		t.Errorf("%+v", q)
	}
	all := m.page("/v3/events")
	if len(all.Data) != 4 || all.Data[0].Type != "grant.created" {
		t.Errorf("%+v", all)
	}
	// Waiting: what happens meanwhile is told at once.
	got := make(chan eventPage)
	go func() { got <- m.page("/v3/events?wait=30&cursor=" + all.NextCursor) }()
	m.apply(store.Batch{Origin: mail.OriginLive, Done: true})
	select {
	case p := <-got:
		if len(p.Data) != 1 || p.Data[0].Type != "grant.imap_sync_completed" {
			t.Errorf("%+v", p)
		}
	case <-time.After(20 * time.Second):
		t.Error("not told while waiting")
	}
	for _, c := range []struct{ query, says string }{
		{"cursor=nonsense", "cursor is not"}, {"cursor=" + all.NextCursor, "cursor is not"}, {"limit=0", "limit"}, {"limit=1001", "limit"}, {"wait=61", "wait"}, {"wait=x", "wait"},
		{"types=message.borrowed", "no trigger of this name"}, {"since=-1", "since"}, {"since=5&cursor=latest", "exclude each other"}, {"history=perhaps", "history"},
	} {
		m.fails(m.do("GET", m.base+"/events?"+c.query), 400, "invalid_request_error", c.says)
	}
	m.fails(m.do("GET", "/v3/grants/"+uuid()+"/events"), 404, "not_found_error", "does not exist")
}

// TestEventsPastRetention: whoever comes too late learns that, and how to go on.
func TestEventsPastRetention(t *testing.T) {
	t.Parallel()
	m := eventful(t)
	m.deliver(letter{raw: plain("1", "bo@example.test", "one", "x"), at: 1700000000})
	old := m.page(m.base + "/events?limit=1")
	m.deliver(letter{raw: plain("2", "bo@example.test", "two", "x"), at: 1700000000})
	if _, err := m.store.Prune(t.Context(), m.acct, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	m.fails(m.do("GET", m.base+"/events?cursor="+old.NextCursor), 410, "cursor_expired_error", "cursor=latest")
	m.fails(m.do("GET", m.base+"/events?cursor="+old.NextCursor, "Accept", "text/event-stream"), 410, "cursor_expired_error", "cursor=latest")
	if p := m.page(m.base + "/events?cursor=earliest"); len(p.Data) != 1 {
		t.Errorf("%+v", p)
	}
}

// stream is a client of server-sent events.
type stream struct {
	t    *testing.T
	res  *http.Response
	r    *bufio.Reader
	id   string // of the last event
	kind string
	data string
}

func (m *mailbox) stream(ctx context.Context, url string, headers ...string) *stream {
	m.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+m.key)
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		m.t.Fatalf("%d %s", res.StatusCode, res.Header)
	}
	return &stream{t: m.t.(*testing.T), res: res, r: bufio.NewReader(res.Body)}
}

// next reads up to the next event with data; false at the end of the stream.
func (s *stream) next() bool {
	s.t.Helper()
	s.kind, s.data = "", ""
	for {
		line, err := s.r.ReadString('\n')
		if err == io.EOF {
			return false
		}
		if err != nil {
			s.t.Fatal(err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			s.id = value
		case "event":
			s.kind = value
		case "data":
			s.data = value
		case "":
			if s.data != "" {
				return true
			}
		}
	}
}

func (s *stream) expect(want ...string) {
	s.t.Helper()
	for _, w := range want {
		if !s.next() {
			s.t.Fatalf("the stream ended before %s", w)
		}
		var n struct {
			Type string
			Data struct{ Object map[string]any }
		}
		if err := json.Unmarshal([]byte(s.data), &n); err != nil {
			s.t.Fatal(err)
		}
		if got := s.kind + " " + fmt.Sprint(n.Data.Object["subject"]); got != w || n.Type != s.kind {
			s.t.Fatalf("streamed %q, want %q", got, w)
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	m := eventful(t)
	srv := httptest.NewServer(m.api)
	t.Cleanup(srv.Close)
	url := srv.URL + m.base + "/events"
	m.deliver(letter{raw: plain("1", "bo@example.test", "one", "x\ny"), at: 1700000000}, letter{raw: plain("2", "bo@example.test", "two", "x"), at: 1700000001})
	ctx, cancel := context.WithCancel(t.Context())
	s := m.stream(ctx, url+"?cursor=earliest&types=message.created")
	s.expect("message.created one")
	first := s.id
	s.expect("message.created two")
	m.deliver(letter{raw: plain("3", "bo@example.test", "three", "x"), at: 1700000002})
	s.expect("message.created three")
	cancel()
	s = m.stream(t.Context(), url, "Last-Event-ID", first)
	s.expect("message.created two", "message.created three")
	s = m.stream(t.Context(), url) // from now on
	m.deliver(letter{raw: plain("4", "bo@example.test", "four", "x"), at: 1700000003})
	s.expect("message.created four")
	all := m.stream(t.Context(), srv.URL+"/v3/events?cursor=earliest&types=message.created")
	all.expect("message.created one", "message.created two", "message.created three", "message.created four")
	m.api.Close()
	m.api.Close()
	if s.next() || all.next() {
		t.Error("a stream goes on although the server stops")
	}
}

// awaitWaiting waits until so many requests wait for events.
func (b *bundle) awaitWaiting(n int) {
	b.t.Helper()
	waiting := func() int {
		b.api.waiters.mu.Lock()
		defer b.api.waiters.mu.Unlock()
		return b.api.waiters.n[b.app]
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); waiting() != n; {
		select {
		case <-tick.C:
		case <-end:
			b.t.Fatalf("%d wait, want %d", waiting(), n)
		}
	}
}

// TestSlowStream: who does not read is cut off, and nobody waits for it.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	m := eventful(t)
	m.api.waiters.write = 200 * time.Millisecond
	srv := httptest.NewServer(m.api)
	t.Cleanup(srv.Close)
	for i := range 60 {
		m.deliver(letter{raw: plain(fmt.Sprint(i), "bo@example.test", fmt.Sprint(i), strings.Repeat("long line\n", 20<<10)), at: 1700000000})
	}
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET %s/events?cursor=earliest HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\n\r\n", m.base, m.key)
	m.awaitWaiting(1)
	quick := m.stream(t.Context(), srv.URL+m.base+"/events?cursor=earliest&types=message.created")
	for i := range 60 {
		quick.expect(fmt.Sprint("message.created ", i))
	}
	m.awaitWaiting(1) // the quick one is left
	m.api.Close()
	m.awaitWaiting(0)
}

// TestWaitersAreBounded: an application that opens more streams than it needs is told so; others are not touched.
func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	m := eventful(t)
	var leave []func()
	for range maxWaiting {
		l, err := m.api.waiters.enter(m.app)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	a := m.do("GET", "/v3/events?wait=1&cursor=latest")
	m.fails(a, 429, "rate_limit_error", "wait for events")
	if a.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	m.fails(m.do("GET", "/v3/events", "Accept", "text/event-stream"), 429, "rate_limit_error", "wait for events")
	if _, err := m.api.waiters.enter("another"); err != nil {
		t.Error(err)
	}
	for _, l := range slices.Backward(leave) {
		l()
	}
	if len(m.page("/v3/events?wait=0").Data) == 0 {
		t.Error("nothing to read")
	}
	// When the server stops, who waits is answered.
	got := make(chan eventPage)
	go func() { got <- m.page("/v3/events?wait=60&cursor=latest") }()
	m.awaitWaiting(1)
	m.api.Close()
	if p := <-got; len(p.Data) != 0 || p.NextCursor == "" {
		t.Errorf("%+v", p)
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	m := eventful(t)
	w, err := m.store.CreateWebhook(t.Context(), store.Webhook{App: m.app, URL: "https://x.example/h", Triggers: []string{"message.created"}})
	if err != nil {
		t.Fatal(err)
	}
	m.deliver(letter{raw: plain("1", "bo@example.test", "one", "x"), at: 1700000000})
	path := "/v3/webhooks/" + w.ID + "/replay"
	var r struct {
		ID, State   string
		Done, Total int64
	}
	a := m.send("POST", path, `{"since":1,"grant_id":"`+string(m.acct.ID)+`"}`) // of what the initial sync found nothing is told
	if a.Code != 200 || json.Unmarshal(a.json.Data, &r) != nil || r.Total != 2 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	for end := time.Now().Add(20 * time.Second); r.State != "done"; {
		m.get(path+"s/"+r.ID, &r)
		if time.Now().After(end) {
			t.Fatalf("%+v", r)
		}
	}
	if r.Done != 2 {
		t.Errorf("%+v", r)
	}
	var list []struct{ ID string }
	if m.get(path+"s", &list); len(list) != 1 || list[0].ID != r.ID {
		t.Errorf("%+v", list)
	}
	if a := m.send("DELETE", path+"s/"+r.ID, ""); a.Code != 200 || !strings.Contains(a.Body.String(), `"done"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	p := m.page("/v3/events?limit=1")
	if a := m.send("POST", path, `{"cursor":"`+p.NextCursor+`"}`); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	for _, c := range []struct {
		body, says string
		status     int
		typ        string
	}{
		{`{}`, "exactly one", 400, "invalid_request_error"}, {`{"since":1,"cursor":"earliest"}`, "exactly one", 400, "invalid_request_error"}, {`{"object_id":"x"}`, "needs grant_id", 400, "invalid_request_error"},
		{`{"since":-4}`, "Unix seconds", 400, "invalid_request_error"}, {`{"cursor":"x"}`, "cursor", 400, "invalid_request_error"}, {`{"since":1,"grant_id":"` + uuid() + `"}`, "exist", 404, "not_found_error"},
	} {
		m.fails(m.send("POST", path, c.body), c.status, c.typ, c.says)
	}
	m.fails(m.send("POST", "/v3/webhooks/wh_none/replay", `{"since":1}`), 404, "not_found_error", "webhook")
	m.fails(m.send("POST", "/v3/webhooks/"+w.ID+"/reply", `{"since":1}`), 404, "not_found_error", "nothing")
	m.fails(m.do("GET", path+"s/rp_none"), 404, "not_found_error", "replay")
	w.Status = store.WebhookPaused
	if _, err := m.store.UpdateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	m.fails(m.send("POST", path, `{"since":1}`), 409, "conflict_error", "activate")
}
