package auth

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
	"github.com/posthorn/posthorn/internal/vault"
	"github.com/posthorn/posthorn/test/realsrv"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bundle struct {
	*Auth
	store *store.Store
	app   mail.AppID
}

func setup(t *testing.T, change func(*Options)) bundle {
	t.Helper()
	master := make([]byte, 32)
	rand.Read(master)
	keys, err := vault.NewKeyring(master)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	app, err := s.DefaultApp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Store: s, Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	if change != nil {
		change(&o)
	}
	return bundle{New(o), s, app.ID}
}

func (b bundle) accounts(t *testing.T) []mail.Account {
	t.Helper()
	list, err := b.store.Accounts(t.Context(), store.AccountQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func request(port int, sec mail.Security) v3.Connect {
	return v3.Connect{
		Provider: "imap", Email: "ann@example.test", IMAPPassword: mail.NewSecret("pass"),
		IMAP: mail.Endpoint{Host: "127.0.0.1", Port: port, Security: sec, Username: "ann@example.test"},
	}
}

// serve runs talk on every connection to a listener of its own, until the test ends.
func serve(t *testing.T, talk func(net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				talk(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// script answers line by line: the greeting first, then for each line of the client the answer to its command, "%s" in
// it being the tag. A command that has no answer gets none, and silence follows.
func script(greeting string, answers map[string]string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, greeting)
		r := bufio.NewScanner(c)
		for r.Scan() {
			tag, rest, _ := strings.Cut(r.Text(), " ")
			cmd, _, _ := strings.Cut(rest, " ")
			if a, ok := answers[strings.ToUpper(cmd)]; ok {
				io.WriteString(c, strings.ReplaceAll(a, "%s", tag))
			}
		}
	}
}

func silence(c net.Conn) { io.Copy(io.Discard, c) }

const greeting = "* OK [CAPABILITY IMAP4rev1] ready\r\n"

func certificate(t *testing.T, host string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func overTLS(cert tls.Certificate, talk func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) { talk(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})) }
}

// TestConnectRefusals: whatever a server does, Connect ends in time, says what was wrong and keeps nothing.
func TestConnectRefusals(t *testing.T) {
	t.Parallel()
	closed := func(t *testing.T) int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	in := map[string]string{"CAPABILITY": "* CAPABILITY IMAP4rev1\r\n%s OK\r\n", "LOGIN": "%s OK in\r\n", "LOGOUT": "* BYE\r\n%s OK\r\n"}
	with := func(more map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range []map[string]string{in, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	good, goodPool := certificate(t, "127.0.0.1", time.Now().Add(time.Hour))
	other, otherPool := certificate(t, "other.example", time.Now().Add(time.Hour))
	old, oldPool := certificate(t, "127.0.0.1", time.Now().Add(-time.Hour))
	for _, c := range []struct {
		name  string
		sec   mail.Security
		port  func(*testing.T) int
		talk  func(net.Conn)
		roots *x509.CertPool
		kind  mail.Kind
		says  string
	}{
		{name: "nothing listens", sec: "tls", port: closed, kind: mail.Unreachable, says: "nothing listens"},
		{name: "accepts and is silent", sec: "tls", talk: silence, kind: mail.Unreachable, says: "did not answer in time"},
		{name: "silent in plaintext", sec: "none", talk: silence, kind: mail.Unreachable, says: "did not answer in time; if it is a TLS port"},
		{name: "hangs up", sec: "none", talk: func(net.Conn) {}, kind: mail.Unreachable, says: "closed the connection"},
		{name: "slow drip", sec: "none", talk: func(c net.Conn) {
			for range time.Tick(20 * time.Millisecond) { // progress, for a deadline that each byte renews
				if _, err := io.WriteString(c, "*"); err != nil {
					return
				}
			}
		}, kind: mail.Unreachable, says: "did not answer in time"},
		{name: "speaks HTTP", sec: "none", talk: func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, kind: mail.Unreachable, says: "does not speak IMAP"},
		{name: "garbage", sec: "none", talk: func(c net.Conn) { c.Write([]byte(strings.Repeat("\xff\x00junk\r\n", 1000))) }, kind: mail.Unreachable},
		{name: "plaintext server, TLS asked", sec: "tls", talk: script(greeting, in), kind: mail.Unreachable, says: "answers in plaintext: set imap_security to starttls"},
		{name: "plaintext server, nothing asked", sec: "", talk: script(greeting, in), kind: mail.Unreachable, says: "STARTTLS"},
		{name: "no STARTTLS", sec: "starttls", talk: script(greeting, in), kind: mail.Unreachable, says: "does not offer STARTTLS"},
		{name: "preauth", sec: "none", talk: script("* PREAUTH hello\r\n", in)},
		{name: "unknown authority", sec: "tls", talk: overTLS(good, script(greeting, in)), roots: otherPool, kind: mail.Unreachable, says: "not signed by an authority"},
		{name: "certificate of another host", sec: "tls", talk: overTLS(other, script(greeting, in)), roots: otherPool, kind: mail.Unreachable, says: "for another host name"},
		{name: "expired certificate", sec: "tls", talk: overTLS(old, script(greeting, in)), roots: oldPool, kind: mail.Unreachable, says: "expired"},
		{name: "wrong password", sec: "tls", talk: overTLS(good, script(greeting, with(map[string]string{"LOGIN": "%s NO [AUTHENTICATIONFAILED] canary\r\n"}))), roots: goodPool, kind: mail.Reauth, says: "user name or password is wrong"},
		{name: "login never answers", sec: "none", talk: script(greeting, with(map[string]string{"LOGIN": ""})), kind: mail.Unreachable, says: "did not answer in time"},
		{name: "login accepted, mailbox refused", sec: "none", talk: script(greeting, with(map[string]string{"EXAMINE": "%s BAD User is authenticated but not connected.\r\n"})), kind: mail.Limited, says: "the login was accepted but the mailbox was not opened"},
		{name: "no INBOX", sec: "none", talk: script(greeting, with(map[string]string{"EXAMINE": "%s NO [NONEXISTENT] canary\r\n"})), kind: mail.Refused, says: "EXAMINE"},
		{name: "too many connections", sec: "none", talk: script(greeting, with(map[string]string{"LOGIN": "%s NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded\r\n"})), kind: mail.Limited, says: "slow down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(o *Options) {
				o.Timeout = 5 * time.Second
				o.TLS = &tls.Config{RootCAs: c.roots}
			})
			port := 0
			if c.port != nil {
				port = c.port(t)
			} else {
				port = serve(t, c.talk)
			}
			start := time.Now()
			_, _, err := b.Connect(t.Context(), b.app, request(port, c.sec))
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			var e *mail.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if c.kind != 0 && e.Kind != c.kind || !strings.Contains(e.Msg, c.says) || !strings.HasPrefix(e.Msg, "IMAP: ") {
				t.Errorf("%v %q, want %v %q\ncause: %v", e.Kind, e.Msg, c.kind, c.says, e.Err)
			}
			if strings.Contains(e.Msg, "canary") {
				t.Errorf("the server's words are in %q", e.Msg)
			}
			if list := b.accounts(t); len(list) != 0 {
				t.Errorf("an account was left behind: %+v", list)
			}
		})
	}
}

func TestConnectEgress(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Guard = provider.Guard{} })
	port := serve(t, script(greeting, nil))
	for _, host := range []string{"127.0.0.1", "localhost"} {
		for _, sec := range []mail.Security{"tls", "none"} {
			req := request(port, sec)
			req.IMAP.Host = host
			if _, _, err := b.Connect(t.Context(), b.app, req); mail.KindOf(err) != mail.Invalid || !strings.Contains(err.Error(), "POSTHORN_EGRESS_ALLOW") {
				t.Errorf("%s %s: %v", host, sec, err)
			}
		}
	}
}

type noMX struct{}

func (noMX) LookupMX(context.Context, string) ([]*net.MX, error) {
	return nil, &net.DNSError{IsNotFound: true}
}

func TestConnectWithoutHost(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Resolver = noMX{} })
	for user, says := range map[string]string{"ann@outlook.com": "OAuth", "ann@proton.me": "Bridge", "ann": "imap_host (and smtp_host for sending) is required", "ann@posthorn.invalid": "no server was found"} {
		req := request(0, "")
		req.IMAP.Host, req.IMAP.Username, req.Email = "", user, v3.Address(user)
		if _, _, err := b.Connect(t.Context(), b.app, req); mail.KindOf(err) != mail.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", user, err)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Resolver = noMX{} })
	show := func(p plan) string {
		var out []string
		for _, list := range [][]mail.Endpoint{p.imap, p.smtp} {
			for _, e := range list {
				out = append(out, provider.HostPort(e)+"/"+string(e.Security)+"/"+e.Username)
			}
		}
		if p.assumedSMTP != nil {
			out = append(out, "assumed "+provider.HostPort(*p.assumedSMTP)+"/"+p.assumedSMTP.Username)
		}
		return strings.Join(out, " ") + " as " + strings.Join(p.users, ",")
	}
	req := func(provider, user string, imap mail.Endpoint, smtp *mail.Endpoint) v3.Connect {
		imap.Username = user
		return v3.Connect{Provider: provider, Email: v3.Address(user), IMAP: imap, SMTP: smtp}
	}
	for _, c := range []struct {
		name string
		req  v3.Connect
		want string
	}{
		{"a provider we know", req("imap", "a@gmail.com", mail.Endpoint{}, nil), "imap.gmail.com:993/tls/ assumed smtp.gmail.com:465/a@gmail.com as a@gmail.com"},
		{"iCloud takes the local part", req("icloud", "a@own.example", mail.Endpoint{}, nil), "imap.mail.me.com:993/tls/ assumed smtp.mail.me.com:587/a@own.example as a,a@own.example"},
		{"guesses", req("imap", "a@x.example", mail.Endpoint{}, nil), "imap.x.example:993/tls/ mail.x.example:993/tls/ imap.x.example:143/starttls/ mail.x.example:143/starttls/ as a@x.example"},
		{"a port over guesses", req("imap", "a@x.example", mail.Endpoint{Port: 143}, nil), "imap.x.example:143/starttls/ mail.x.example:143/starttls/ as a@x.example"},
		{"hosts given", req("imap", "a@x.example", mail.Endpoint{Host: "h", Port: 993}, &mail.Endpoint{Host: "s", Port: 465}), "h:993/tls/a@x.example s:465/tls/a@x.example as a@x.example"},
		{"SMTP user given", req("imap", "a@x.example", mail.Endpoint{Host: "h", Port: 993}, &mail.Endpoint{Host: "s", Port: 587, Username: "u"}), "h:993/tls/a@x.example s:587/starttls/u as a@x.example"},
		{"SMTP host found", req("imap", "a@gmail.com", mail.Endpoint{}, &mail.Endpoint{Username: "u"}), "imap.gmail.com:993/tls/ smtp.gmail.com:465/tls/u as a@gmail.com"},
	} {
		p, err := b.plan(t.Context(), c.req)
		if got := show(p); err != nil || got != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.name, got, err, c.want)
		}
	}
}

// smtpScript is a server that offers AUTH and answers it with reply.
func smtpScript(reply string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, "220 hello\r\n")
		r := bufio.NewScanner(c)
		for r.Scan() {
			switch cmd, _, _ := strings.Cut(r.Text(), " "); cmd {
			case "EHLO":
				io.WriteString(c, "250-hello\r\n250 AUTH PLAIN LOGIN\r\n")
			case "AUTH":
				io.WriteString(c, reply)
			case "QUIT":
				io.WriteString(c, "221 bye\r\n")
				return
			default:
				io.WriteString(c, "500 what\r\n")
			}
		}
	}
}

// working is an IMAP server on which everything succeeds.
func working(t *testing.T) int {
	return serve(t, script(greeting, map[string]string{
		"CAPABILITY": "* CAPABILITY IMAP4rev1\r\n%s OK\r\n", "LOGIN": "%s OK in\r\n", "LOGOUT": "* BYE\r\n%s OK\r\n",
		"EXAMINE": "* 0 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n%s OK [READ-ONLY] done\r\n",
	}))
}

func TestConnectSMTP(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Timeout = 6 * time.Second })
	imapPort := working(t)
	for _, c := range []struct {
		name string
		talk func(net.Conn)
		sec  mail.Security
		kind mail.Kind
		says string
	}{
		{"wrong password", smtpScript("535 5.7.8 canary\r\n"), "none", mail.Reauth, "SMTP: the login was refused"},
		{"switched off", smtpScript("535 5.7.139 canary\r\n"), "none", mail.Refused, "SMTP: sending with a password"},
		{"silent", silence, "none", mail.Unreachable, "SMTP: 127.0.0.1"},
		{"silent on TLS", silence, "tls", mail.Unreachable, "did not answer in time"},
		{"no TLS there", smtpScript(""), "tls", mail.Unreachable, "answers in plaintext: set smtp_security to starttls"},
		{"no STARTTLS there", smtpScript(""), "starttls", mail.Unreachable, "does not offer STARTTLS"},
		{"never answers the login", smtpScript(""), "none", mail.Unreachable, "did not answer in time"},
		{"speaks IMAP", script(greeting, nil), "none", 0, "SMTP: "},
	} {
		req := request(imapPort, "none")
		req.SMTP = &mail.Endpoint{Host: "127.0.0.1", Port: serve(t, c.talk), Security: c.sec}
		start := time.Now()
		_, _, err := b.Connect(t.Context(), b.app, req)
		var e *mail.Error
		if !errors.As(err, &e) || c.kind != 0 && e.Kind != c.kind || !strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "canary") {
			t.Errorf("%s: %v", c.name, err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("%s took %v", c.name, took)
		}
	}
	if list := b.accounts(t); len(list) != 0 {
		t.Errorf("accounts were left behind: %+v", list)
	}
	req := request(imapPort, "none")
	req.SMTP = &mail.Endpoint{Host: "127.0.0.1", Port: serve(t, smtpScript("235 welcome\r\n")), Security: "none"}
	acct, created, err := b.Connect(t.Context(), b.app, req)
	if err != nil || !created || acct.Settings.SMTP == nil || acct.Settings.SMTP.Username != "ann@example.test" {
		t.Errorf("%+v %v %v", acct, created, err)
	}
}

func TestReconnectKeepsTheID(t *testing.T) {
	t.Parallel()
	now := time.Unix(1700000000, 0).UTC()
	b := setup(t, func(o *Options) { o.Now = func() time.Time { return now } })
	one, two := working(t), working(t)
	initial := request(one, "none")
	initial.Sync = &mail.SyncPolicy{Days: 30}
	first, created, err := b.Connect(t.Context(), b.app, initial)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(string(first.ID)) || first.Sync.State != mail.StateConnecting || !first.CreatedAt.Equal(now) {
		t.Errorf("%+v", first)
	}
	if err := b.store.SetSync(t.Context(), first.ID, mail.SyncStatus{State: mail.StateReauth, Since: now, SeenAt: now}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	req := request(two, "none")
	req.IMAPPassword = mail.NewSecret("new")
	second, created, err := b.Connect(t.Context(), b.app, req)
	if err != nil || created || second.ID != first.ID || second.Settings.IMAP.Port != two || !second.CreatedAt.Equal(first.CreatedAt) || !second.UpdatedAt.Equal(now) {
		t.Errorf("%+v %v %v", second, created, err)
	}
	stored, err := b.store.Account(t.Context(), b.app, first.ID)
	if err != nil || stored.Settings.IMAP.Port != two || stored.Sync.State != mail.StateConnecting || stored.Sync.SeenAt.IsZero() || stored.Settings.Sync == nil || stored.Settings.Sync.Days != 30 {
		t.Errorf("%+v %v", stored, err)
	}
	if c, err := b.store.Credentials(t.Context(), first.ID); err != nil || c.IMAPPassword.Reveal() != "new" {
		t.Errorf("the password was not replaced: %v", err)
	}
	// A refused login changes nothing.
	bad := request(serve(t, script(greeting, map[string]string{"CAPABILITY": "* CAPABILITY IMAP4rev1\r\n%s OK\r\n", "LOGIN": "%s NO no\r\n", "LOGOUT": "%s OK\r\n"})), "none")
	if _, err := b.Renew(t.Context(), stored, bad); mail.KindOf(err) != mail.Reauth {
		t.Error(err)
	}
	// Another address is another mailbox.
	bad = request(two, "none")
	bad.IMAP.Username, bad.Email = "bob@example.test", "bob@example.test"
	if _, err := b.Renew(t.Context(), stored, bad); mail.KindOf(err) != mail.Invalid {
		t.Error(err)
	}
	if after, err := b.store.Account(t.Context(), b.app, first.ID); err != nil || after.Settings.IMAP != stored.Settings.IMAP {
		t.Errorf("%+v %v", after, err)
	}
	// Many at once make one account.
	var wg sync.WaitGroup
	ids := make([]mail.AccountID, 8)
	for i := range ids {
		wg.Go(func() {
			req := request(one, "none")
			req.Email, req.IMAP.Username = "crowd@example.test", "crowd@example.test"
			acct, _, err := b.Connect(context.Background(), b.app, req)
			if err != nil {
				t.Error(err)
			}
			ids[i] = acct.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("two accounts for one address: %v", ids)
			break
		}
	}
	if n := len(b.accounts(t)); n != 2 {
		t.Errorf("%d accounts", n)
	}
}

func TestConnectDovecot(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, func(o *Options) { o.TLS = d.TLSConfig(t) })
	for _, c := range []struct {
		user string
		port int
		sec  mail.Security
		want mail.Security
	}{
		{"tls@example.test", d.TLSPort, mail.SecurityTLS, mail.SecurityTLS},
		{"starttls@example.test", d.Port, mail.SecuritySTARTTLS, mail.SecuritySTARTTLS},
		{"plain@example.test", d.Port, mail.SecurityNone, mail.SecurityNone},
		{"found-tls@example.test", d.TLSPort, "", mail.SecurityTLS},
		{"found-starttls@example.test", d.Port, "", mail.SecuritySTARTTLS},
	} {
		req := request(c.port, c.sec)
		req.Email, req.IMAP.Username, req.IMAPPassword = c.user, c.user, mail.NewSecret(d.Password)
		acct, created, err := b.Connect(t.Context(), b.app, req)
		if err != nil || !created || acct.Settings.IMAP.Security != c.want || acct.Settings.IMAP.Username != c.user {
			t.Errorf("%s: %+v %v %v", c.user, acct.Settings, created, err)
		}
		req.IMAPPassword = mail.NewSecret("wrong")
		if _, _, err := b.Connect(t.Context(), b.app, req); mail.KindOf(err) != mail.Reauth {
			t.Errorf("%s with a wrong password: %v", c.user, err)
		}
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	key := NewKey()
	if !regexp.MustCompile(`^ph_[0-9A-Za-z]{49}$`).MatchString(key) || key == NewKey() {
		t.Errorf("key %s", key)
	}
	if err := b.store.PutAPIKey(t.Context(), b.app, "test", Hash(key)); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"Bearer " + key, "bearer  " + key + " "} {
		if app, err := b.App(t.Context(), h); err != nil || app != b.app {
			t.Errorf("%q: %v %v", h, app, err)
		}
	}
	for _, h := range []string{"", "Bearer", "Bearer ", key, "Basic " + key, "Bearer " + key + "x", "Bearer " + strings.Repeat("x", 1000)} {
		if _, err := b.App(t.Context(), h); !mail.IsKind(err, mail.Unauthorized) || strings.Contains(err.Error(), key) {
			t.Errorf("%.20q: %v", h, err)
		}
	}
}

func TestFirstPrefersTheOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	dropped := 0
	slow := make(chan struct{})
	s, at, err := first(t.Context(), []mail.Endpoint{{Host: "fails"}, {Host: "slow"}, {Host: "fast"}}, func(ctx context.Context, e mail.Endpoint) (string, error) {
		switch e.Host {
		case "fails":
			return "", &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}
		case "fast":
			defer close(slow)
		case "slow":
			<-slow
		}
		return e.Host, nil
	}, func(string) { mu.Lock(); dropped++; mu.Unlock() })
	if s != "slow" || at.Host != "slow" || err != nil || dropped != 1 {
		t.Errorf("%q %v %v, %d dropped", s, at, err, dropped)
	}
	_, at, err = first(t.Context(), []mail.Endpoint{{Host: "a"}, {Host: "b"}}, func(_ context.Context, e mail.Endpoint) (string, error) {
		if e.Host == "a" {
			return "", &net.DNSError{IsNotFound: true}
		}
		return "", fmt.Errorf("certificate: %w", x509.HostnameError{Host: "b", Certificate: &x509.Certificate{}})
	}, func(string) {})
	if at.Host != "b" || err == nil {
		t.Errorf("the more telling error is of %v: %v", at, err)
	}
}

// TestPKCE: both forms of the S256 challenge are taken, that of RFC 7636 (its appendix B) and that of the Nylas SDKs.
func TestPKCE(t *testing.T) {
	t.Parallel()
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	for _, c := range []struct {
		method, challenge, verifier string
		ok                          bool
	}{
		{"s256", challenge, verifier, true},
		{"s256", challenge + "=", verifier, true},
		{"s256", "MTNkMzFlOTYxYTFhZDhlYzJmMTZiMTBjNGM5ODJlMDg3NmE4NzhhZDZkZjE0NDU2NmVlMTg5NGFjYjcwZjljMw", verifier, true}, // base64 of the digits of its SHA-256
		{"s256", challenge, verifier + "x", false},
		{"s256", verifier, verifier, false},
		{"s256", challenge, "", false},
		{"s256", "", "", false},
		{"plain", verifier, verifier, true},
		{"plain", verifier, challenge, false},
		{"plain", "", "", false},
	} {
		if got := verified(store.TokenData{Challenge: c.challenge, ChallengeMethod: c.method}, c.verifier); got != c.ok {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
