package e2e

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// listener accepts connections and lets handle have them until the test ends.
func listener(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go handle(conn)
		}
	}()
	return l.Addr().String()
}

// TestConnectSaysWhatIsWrong: within 15 seconds, in words, and nothing is left behind.
func TestConnectSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	stranger := realsrv.StartDovecot(t, realsrv.DovecotOptions{CertHosts: []string{"mail.other.test"}})
	expired := realsrv.StartDovecot(t, realsrv.DovecotOptions{CertUntil: time.Now().Add(-time.Hour)})
	silent := listener(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	web := listener(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n"); conn.Close() })
	refused := realsrv.FreeAddr(t)

	s := serve(t, binary.Options{CA: d.CAFile})
	strange := serve(t, binary.Options{CA: stranger.CAFile})
	late := serve(t, binary.Options{CA: expired.CAFile})
	with := func(addr, security string, change ...string) map[string]any {
		m := binary.IMAP(addr, "mira@example.com", "pass")
		m["imap_security"] = security
		for i := 0; i+1 < len(change); i += 2 {
			m[change[i]] = change[i+1]
		}
		return m
	}
	for _, c := range []struct {
		name     string
		server   *binary.Server
		settings map[string]any
		words    []string // one of them must be in the message
	}{
		{"wrong password", s, with(d.Addr, "none", "imap_password", "wrong-Secret7"), []string{"password", "login", "log in", "credentials"}},
		{"wrong password over TLS", s, with(d.TLSAddr, "tls", "imap_password", "wrong-Secret7"), []string{"password", "login", "log in", "credentials"}},
		{"refused", s, with(refused, "none"), []string{"refused", "reach", "listens"}},
		{"unknown host", s, with(d.Addr, "tls", "imap_host", "no-such-host.invalid"), []string{"host", "found", "resolve", "name"}},
		{"private address not allowed", s, with(d.Addr, "tls", "imap_host", "10.255.255.1"), []string{"allow", "private", "egress"}},
		{"plaintext to a public address", s, with(d.Addr, "none", "imap_host", "192.0.2.1"), []string{"allow", "none", "encrypt", "plain", "security"}},
		{"never answers", s, with(silent, "none"), []string{"answer", "time", "respond", "reach"}},
		{"never answers TLS", s, with(silent, "tls"), []string{"answer", "time", "respond", "reach", "tls"}},
		{"another protocol", s, with(web, "none"), []string{"imap", "greeting", "protocol", "speak"}},
		{"TLS on the plaintext port", s, with(d.Addr, "tls"), []string{"tls"}},
		{"plaintext on the TLS port", s, with(d.TLSAddr, "none"), []string{"tls", "answer", "time", "greeting", "closed", "imap"}},
		{"unknown authority", s, with(stranger.TLSAddr, "tls"), []string{"certificate"}},
		{"certificate of another name", strange, with(stranger.TLSAddr, "tls"), []string{"certificate"}},
		{"expired certificate", late, with(expired.TLSAddr, "tls"), []string{"certificate"}},
		{"expired certificate, STARTTLS", late, with(expired.Addr, "starttls"), []string{"certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			g, err := c.server.Connect(within(t, time.Minute), c.settings)
			took := time.Since(start)
			var e *binary.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %+v, %v", g, err)
			}
			if took > 16*time.Second {
				t.Errorf("took %v", took)
			}
			if e.Status < 400 || e.Status == 500 || e.Type == "" {
				t.Errorf("answer %d %s", e.Status, e.Body)
			}
			found := false
			for _, w := range c.words {
				found = found || strings.Contains(strings.ToLower(e.Message), w)
			}
			if !found {
				t.Errorf("no word of %v in %q", c.words, e.Message)
			}
			if strings.Contains(e.Body, "Secret7") {
				t.Errorf("the password is in the answer: %s", e.Body)
			}
			t.Logf("%v: %d %s", took.Round(time.Millisecond), e.Status, e.Message)
		})
	}
}

// TestConnectLeavesNothing looks for grants after failures, and connects the same mailbox by all ways of protection.
func TestConnectLeavesNothing(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := serve(t, binary.Options{CA: d.CAFile})
	wrong := binary.IMAP(d.Addr, "mira@example.com", "wrong")
	if _, err := s.Connect(within(t, time.Minute), wrong); err == nil {
		t.Fatal("accepted")
	}
	if _, err := s.Connect(within(t, time.Minute), binary.IMAP(realsrv.FreeAddr(t), "mira@example.com", "pass")); err == nil {
		t.Fatal("accepted")
	}
	if grants, err := s.Grants(t.Context()); err != nil || len(grants) != 0 {
		t.Fatalf("grants %+v %v", grants, err)
	}
	binary.Check(t, s)

	id := ""
	for _, c := range []struct{ addr, security string }{{d.Addr, "none"}, {d.Addr, "starttls"}, {d.TLSAddr, "tls"}} {
		m := binary.IMAP(c.addr, "mira@example.com", d.Password)
		m["imap_security"] = c.security
		g, err := s.Connect(within(t, time.Minute), m)
		if err != nil {
			t.Fatalf("%s: %v", c.security, err)
		}
		if id != "" && g.ID != id {
			t.Errorf("%s: a second grant for the same mailbox", c.security)
		}
		id = g.ID
		if _, err := s.Await(within(t, time.Minute), id, binary.Live); err != nil {
			t.Errorf("%s: %v", c.security, err)
		}
	}
	// A wrong password for a connected mailbox changes nothing.
	if _, err := s.Connect(within(t, time.Minute), wrong); err == nil {
		t.Error("accepted")
	}
	if g, err := s.Grant(t.Context(), id); err != nil || g.GrantStatus != "valid" {
		t.Errorf("%+v %v", g, err)
	}
	if err := s.Do(t.Context(), "DELETE", "/v3/grants/"+id, nil, nil); err != nil {
		t.Fatal(err)
	}
	if grants, err := s.Grants(t.Context()); err != nil || len(grants) != 0 {
		t.Errorf("grants %+v %v", grants, err)
	}
	binary.Check(t, s)
}
