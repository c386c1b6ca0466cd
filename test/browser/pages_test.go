package browser

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

func serve(t *testing.T) *binary.Server {
	t.Helper()
	dir := t.TempDir()
	program, err := binary.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := binary.Start(t.Context(), binary.Options{Path: program, Dir: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// TestPages connects a mailbox as its user does, with a typing error on the way, and reads the reference.
func TestPages(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	came := make(chan url.Values, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			came <- r.URL.Query()
		}
		fmt.Fprint(w, `<!doctype html><title>The application</title><link rel="icon" href="data:,">`)
	}))
	defer app.Close()
	var about struct {
		Data struct {
			ID string `json:"application_id"`
		}
	}
	if err := s.Get(ctx, "/v3/applications", &about); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(ctx, "PATCH", "/v3/applications", map[string]any{"branding": map[string]any{"name": "Example <CRM>"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(ctx, "POST", "/v3/applications/redirect-uris", map[string]any{"url": app.URL + "/callback"}, nil); err != nil {
		t.Fatal(err)
	}
	b := open(t)
	page := s.URL + "/v3/connect/auth?" + url.Values{"client_id": {about.Data.ID}, "redirect_uri": {app.URL + "/callback"}, "response_type": {"code"}, "state": {"s1"}}.Encode()
	b.visit(page)
	b.await("document.querySelector('h1').textContent + ' ' + document.activeElement.id", "Connect your mailbox to Example <CRM> email")
	b.look("email", s.URL)
	b.fill("email", "mira@gmail.com")
	b.loaded(b.enter)
	if got := b.eval("document.querySelector('.note').textContent"); !strings.Contains(got, "app password") {
		t.Errorf("the hint: %s", got)
	}
	b.look("hint", s.URL)
	b.visit(page)
	b.fill("email", "mira@example.com")
	b.loaded(b.enter)
	b.look("login", s.URL)

	host, port, _ := net.SplitHostPort(d.Addr)
	b.fill("imap_host", host)
	b.fill("imap_port", port)
	b.eval("document.getElementById('imap_security').value = 'none'; document.querySelector('[name=no_smtp]').click()")
	b.fill("password", "wrong-Secret7")
	b.excuse("status of 401")
	b.loaded(b.enter)
	if got := b.eval("document.getElementById('error').textContent + document.getElementById('imap_host').value + document.getElementById('password').value"); !strings.Contains(got, "password is wrong") || !strings.HasSuffix(got, host) {
		t.Errorf("after a wrong password: %s", got)
	}
	b.look("wrong", s.URL)
	b.fill("password", d.Password)
	b.loaded(b.enter)
	var code url.Values
	select {
	case code = <-came:
	case <-ctx.Done():
		t.Fatalf("nobody came back; the page says %s", b.eval("document.body.innerText"))
	}
	if code.Get("state") != "s1" || code.Get("code") == "" {
		t.Fatalf("came back with %v", code)
	}
	b.await("document.title", "The application")
	var token struct {
		GrantID string `json:"grant_id"`
		Email   string `json:"email"`
	}
	if err := s.Do(ctx, "POST", "/v3/connect/token", map[string]any{"grant_type": "authorization_code", "client_id": about.Data.ID, "client_secret": s.Key, "code": code.Get("code"), "redirect_uri": app.URL + "/callback"}, &token); err != nil || token.Email != "mira@example.com" {
		t.Fatalf("%+v %v", token, err)
	}
	if _, err := s.Await(ctx, token.GrantID, binary.Live); err != nil {
		t.Error(err)
	}

	b.forget()
	b.visit(s.URL + "/reference")
	b.look("reference", s.URL)
	if got := b.eval("[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.getElementById(a.getAttribute('href').slice(1))).length"); got != "0" {
		t.Errorf("the reference has %s links to nothing", got)
	}
	// The policy is in force, not only sent: what a page must not do does not happen.
	b.forget()
	b.visit(page)
	if got := b.eval("const s = document.createElement('script'); s.textContent = 'document.title = \"run\"'; document.body.append(s); document.title"); got == "run" {
		t.Error("a script ran")
	}
	b.until(func() (bool, string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return strings.Contains(strings.Join(b.said, ""), "Content Security Policy"), fmt.Sprintf("the browser did not refuse the script: %v", b.said)
	})
	if out, err := s.Check(ctx); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if b, _ := os.ReadFile(s.Log); strings.Contains(string(b), "Secret7") {
		t.Error("the password is in the log")
	}
}
