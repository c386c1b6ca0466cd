package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/docs"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

func TestWire(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann+tag@example.test")
	m.deliver(letter{raw: plain("a", "x@example.test", "s", strings.Repeat("long ", 200)), at: 1700001000})
	id := string(m.acct.ID)

	for _, p := range []string{
		"/v3/grants/" + id, "//v3/grants/" + id, "/v3//grants/" + id + "/", "/v3/grants/grant:" + id, "/v3/grants/" + strings.ToUpper(id),
		"/v3/grants/ann+tag@example.test", "/v3/grants/email:ann+tag@example.test", "/v3/grants/ann%2Btag%40example.test", "/v3/grants/email%3AANN%2Btag%40example.test",
	} {
		var g v3.Grant
		if a := m.get(p, &g); g.ID != m.acct.ID || a.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %+v", p, g)
		}
	}
	for p, status := range map[string]int{
		"/v3/grants/me": 400, "/v3/grants/me/folders": 400, "/v3/grants/external:x": 404, "/v3/grants/" + uuid(): 404, "/v3/grants/nobody@example.test": 404, "/v3/grants/x": 404, "/v3/grants/%00": 404,
		"/v3/grants/" + uuid() + "/messages": 404, "/v3/nothing": 404, "/": 404, "/v3/grants/../grants": 404, "/v3/grants/" + id + "/messages/%2F..%2F": 404, "/v3/grants/" + id + "/nothing": 404,
	} {
		if a := m.do("GET", p); a.Code != status || a.json.Error.Type == "" {
			t.Errorf("%s: %d %+v, want %d", p, a.Code, a.json.Error, status)
		}
	}
	a := m.do("PATCH", m.base+"/messages")
	m.fails(a, 405, v3.TypeInvalid, "PATCH")
	if allow := a.Header().Get("Allow"); allow != "GET, HEAD" {
		t.Errorf("Allow: %s", allow)
	}
	if a := m.do("POST", "/v3/grants/"+id); a.Header().Get("Allow") != "GET, HEAD, PUT, PATCH, DELETE" {
		t.Errorf("Allow: %s", a.Header().Get("Allow"))
	}

	for _, h := range []string{"", "Bearer wrong", "Basic x", "Bearer " + auth.NewKey()} {
		a := m.do("GET", m.base, "Authorization", h)
		m.fails(a, 401, v3.TypeUnauthorized, "API key")
		if a.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("WWW-Authenticate: %q", a.Header().Get("WWW-Authenticate"))
		}
	}
	if a := m.do("GET", m.base, "X-Request-Id", "mine-1.2"); a.json.RequestID != "mine-1.2" {
		t.Errorf("request id %q", a.json.RequestID)
	}
	for _, bad := range []string{"a b", "x\"y", strings.Repeat("x", 200)} {
		if a := m.do("GET", m.base, "X-Request-Id", bad); a.json.RequestID == bad || a.json.RequestID == "" {
			t.Errorf("request id %q", a.json.RequestID)
		}
	}
	for accept, want := range map[string]string{"gzip": "gzip", "gzip, deflate": "gzip", "deflate, GZIP;q=0.5": "gzip", "gzip;q=0": "", "br": "", "*": "gzip"} {
		if a := m.do("GET", m.base+"/messages", "Accept-Encoding", accept); a.Header().Get("Content-Encoding") != want || len(a.json.Data) < 1000 {
			t.Errorf("Accept-Encoding %s: %q", accept, a.Header().Get("Content-Encoding"))
		}
	}
	if a := m.do("GET", m.base+"/messages?subject=nothing", "Accept-Encoding", "gzip"); a.Header().Get("Content-Encoding") != "" || string(a.json.Data) != "[]" {
		t.Errorf("a small answer: %q %s", a.Header().Get("Content-Encoding"), a.json.Data)
	}
	m.fails(m.send("POST", "/v3/connect/custom", "{"), 400, v3.TypeInvalid, "parsing request body")
	m.fails(m.send("POST", "/v3/connect/custom", `{"settings":{}}`), 400, v3.TypeInvalid, "settings is required")
	m.fails(m.do("POST", "/v3/connect/custom"), 400, v3.TypeInvalid, "JSON object")
	m.fails(m.send("POST", "/v3/connect/custom", `{"state":"`+strings.Repeat("x", maxBody)+`"}`), 413, v3.TypeInvalid, "larger than")
	m.fails(m.do("GET", m.base+"/messages?subject="+strings.Repeat("x", maxQuery)), 400, v3.TypeInvalid, "query is too long")

	spec := m.do("GET", "/openapi.yaml", "Authorization", "")
	if spec.Code != 200 || spec.Body.String() != string(docs.OpenAPI) {
		t.Errorf("the description: %d", spec.Code)
	}
}

func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	ids := m.deliver(letter{raw: plain("a", "x@example.test", "s", "b"), at: 1700001000})
	other := uuid() // a key of another application
	key := auth.NewKey()
	if err := m.store.PutAPIKey(t.Context(), mail.AppID(other), "other", auth.Hash(key)); err != nil {
		t.Skipf("the store takes no key of an application that it does not know: %v", err)
	}
	for _, p := range []string{"", "/messages", "/folders", "/threads", "/messages/" + string(ids[0]), "/folders/" + string(m.inbox), "/attachments/p1?message_id=" + string(ids[0])} {
		m.fails(m.do("GET", m.base+p, "Authorization", "Bearer "+key), 404, v3.TypeNotFound, "")
		m.fails(m.do("GET", "/v3/grants/ann@example.test"+p, "Authorization", "Bearer "+key), 404, v3.TypeNotFound, "")
	}
	m.fails(m.do("DELETE", m.base, "Authorization", "Bearer "+key), 404, v3.TypeNotFound, "")
	if a := m.get("/v3/grants", nil, "Authorization", "Bearer "+key); string(a.json.Data) != "[]" {
		t.Errorf("grants of another application: %s", a.json.Data)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ann, bob := b.account("ann@example.test"), b.account("bob@example.test")
	b.engine.status[bob.acct.ID] = mail.SyncStatus{State: mail.StateLive, Since: time.Unix(1700000100, 0), FreshAt: time.Unix(1700000200, 0)}
	var list []v3.Grant
	a := b.get("/v3/grants?limit=1", &list)
	if len(list) != 1 || !strings.Contains(a.Body.String(), `"limit":1,"offset":0`) {
		t.Errorf("%s", a.Body)
	}
	for query, want := range map[string]int{"": 2, "email=ANN@example.test": 1, "email=nobody@example.test": 0, "provider=imap": 2, "provider=icloud": 0, "grant_status=valid": 2, "grant_status=invalid": 0, "offset=100000&limit=1": 0, "offset=1": 1, "ip=1.2.3.4": 0, "workspace_id=x": 0, "account_ids=x": 0} {
		b.get("/v3/grants?"+query, &list)
		if len(list) != want || list == nil {
			t.Errorf("%s: %d grants, want %d", query, len(list), want)
		}
	}
	var g v3.Grant
	a = b.get(ann.base, &g)
	if g.GrantStatus != "valid" || g.Sync.State != mail.StateInitial || *g.Sync.Progress != (v3.Progress{Done: 1, Total: 2}) || g.Settings.IMAPPort != 143 || strings.Contains(a.Body.String(), "hunter2") {
		t.Errorf("%s", a.Body)
	}
	b.get(bob.base, &g)
	if g.Sync.State != mail.StateLive || g.Sync.FreshAt != 1700000200 {
		t.Errorf("the engine's status is newer: %+v", g.Sync)
	}
	a = b.send("PATCH", ann.base, `{"scope":["x"]}`)
	if a.Code != 200 || !strings.Contains(string(a.json.Data), `"scope":["x"]`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.fails(b.send("PATCH", ann.base, `{"settings":{"imap_username":"ann@example.test"}}`), 400, v3.TypeInvalid, "imap_password")
	b.fails(b.send("PUT", ann.base, `{"settings":{"imap_username":"bob@example.test","imap_password":"x","imap_host":"127.0.0.1"}}`), 400, v3.TypeInvalid, "another address")

	a = b.send("DELETE", ann.base, "{}")
	if a.Code != 200 || a.json.Data != nil || a.json.RequestID == "" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.fails(b.do("GET", ann.base), 404, v3.TypeNotFound, "")
	b.fails(b.do("GET", ann.base+"/messages"), 404, v3.TypeNotFound, "")
	b.fails(b.do("DELETE", ann.base), 404, v3.TypeNotFound, "")
	if want := []string{"stop " + string(ann.acct.ID)}; !slices.Equal(b.engine.told, want) {
		t.Errorf("the engine was told %v, want %v", b.engine.told, want)
	}
	var app v3.Application
	b.get("/v3/applications", &app)
	if app.ApplicationID != b.app || app.Region != "us" || app.Environment != "production" || app.Branding.Name == "" {
		t.Errorf("%+v", app)
	}
}

// imapServer takes every login with the password "right".
func imapServer(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
				for r := bufio.NewScanner(c); r.Scan(); {
					tag, cmd, _ := strings.Cut(r.Text(), " ")
					switch {
					case strings.HasPrefix(cmd, "CAPABILITY"):
						fmt.Fprintf(c, "* CAPABILITY IMAP4rev1\r\n%s OK\r\n", tag)
					case strings.HasPrefix(cmd, "LOGIN") && !strings.Contains(cmd, "right"):
						fmt.Fprintf(c, "%s NO [AUTHENTICATIONFAILED] no\r\n", tag)
					case strings.HasPrefix(cmd, "EXAMINE"):
						fmt.Fprintf(c, "* 0 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n%s OK done\r\n", tag)
					default:
						fmt.Fprintf(c, "%s OK\r\n", tag)
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestConnect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := func(password string) string {
		return fmt.Sprintf(`{"provider":"imap","state":"st","settings":{"imap_username":"Ann@example.test","imap_password":%q,"imap_host":"127.0.0.1","imap_port":%d,"imap_tls":false}}`, password, imapServer(t))
	}
	a := b.send("POST", "/v3/connect/custom", body("wrong"))
	b.fails(a, 401, v3.TypeUnauthorized, "password is wrong")
	if a.Header().Get("WWW-Authenticate") != "" {
		t.Error("a refused mailbox login is not about the API key")
	}
	a = b.send("POST", "/v3/connect/custom", body("right"))
	if a.Code != http.StatusCreated || !strings.Contains(string(a.json.Data), `"email":"ann@example.test"`) || !strings.Contains(string(a.json.Data), `"state":"connecting"`) || strings.Contains(a.Body.String(), "right") {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	var g, again v3.Grant
	b.get("/v3/grants/ann@example.test", &g)
	a = b.send("POST", "/v3/connect/custom", body("right"))
	b.get("/v3/grants/ann@example.test", &again)
	if a.Code != http.StatusCreated || again.ID != g.ID {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a = b.send("PATCH", "/v3/grants/"+string(g.ID), body("right")); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	id := string(g.ID)
	if want := []string{"start " + id, "stop " + id, "start " + id, "stop " + id, "start " + id}; !slices.Equal(b.engine.told, want) {
		t.Errorf("the engine was told %v", b.engine.told)
	}
	b.fails(b.send("POST", "/v3/connect/custom", strings.Replace(body("right"), "127.0.0.1", "10.1.2.3", 1)), 400, v3.TypeInvalid, "POSTHORN_EGRESS_ALLOW")
	b.fails(b.send("POST", "/v3/connect/custom", `{"provider":"imap","settings":{"imap_username":"a@b.example","imap_password":"x","imap_host":"127.0.0.1","imap_port":1}}`), 400, v3.TypeInvalid, "nothing listens")
}

func TestDetect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for query, want := range map[string]string{
		"email=a%40gmail.com":                             `"detected":true,"provider":"imap"`,
		"email=a%40gmail.com&all_provider_types=True":     `"detected":true,"provider":"google"`,
		"email=a%40icloud.com":                            `"detected":true,"provider":"icloud"`,
		"email=a%40unknown.example":                       `{"email_address":"a@unknown.example","detected":false}`,
		"email=Ann%2Bx%40me.com&all_provider_types=false": `"email_address":"Ann+x@me.com"`,
	} {
		if a := b.do("POST", "/v3/providers/detect?"+query); a.Code != 200 || !strings.Contains(string(a.json.Data), want) {
			t.Errorf("%s: %d %s", query, a.Code, a.Body)
		}
	}
	b.fails(b.do("POST", "/v3/providers/detect"), 400, v3.TypeInvalid, "email")
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.seen = nil // the routes here are in no description
	var routes []string
	var served []Served
	b.api.Events = Events{Panic: func(r string) { routes = append(routes, r) }, Request: func(s Served) { served = append(served, s) }}
	b.api.mux.HandleFunc("GET /v3/panic/{id}", func(w http.ResponseWriter, _ *http.Request) { panic("canary") })
	a := b.do("GET", "/v3/panic/ann@example.test")
	b.fails(a, 500, v3.TypeUnexpected, "unexpected")
	if strings.Contains(a.Body.String(), "canary") || len(routes) != 1 || routes[0] != "GET /v3/panic/{id}" || len(served) != 1 || served[0].Status != 500 {
		t.Errorf("%s %v %v", a.Body, routes, served)
	}
	// Half an answer is broken off rather than ended.
	b.api.mux.HandleFunc("GET /v3/half", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{"); panic("canary") })
	srv := httptest.NewServer(b.api)
	defer srv.Close()
	srv.Config.ErrorLog = nil
	res, err := srv.Client().Get(srv.URL + "/v3/half")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("half an answer looked like a whole one")
	}
}

// TestASyncThatIsSlowToEnd is followed by another: a grant that is there is synchronised.
func TestASyncThatIsSlowToEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := fmt.Sprintf(`{"provider":"imap","state":"st","settings":{"imap_username":"ann@example.test","imap_password":"right","imap_host":"127.0.0.1","imap_port":%d,"imap_tls":false}}`, imapServer(t))
	if a := b.send("POST", "/v3/connect/custom", body); a.Code != http.StatusCreated {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	var g v3.Grant
	b.get("/v3/grants/ann@example.test", &g)
	b.engine.slow = context.DeadlineExceeded
	id, path := string(g.ID), "/v3/grants/"+string(g.ID)
	if a := b.send("PATCH", path, body); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := b.send("DELETE", path, ""); a.Code < 500 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.get(path, &g)
	if want := []string{"start " + id, "stop " + id, "start " + id, "stop " + id, "start " + id}; !slices.Equal(b.engine.told, want) {
		t.Errorf("the engine was told %v", b.engine.told)
	}
	b.engine.slow = nil
	if a := b.send("DELETE", path, ""); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}
