package submit

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// talk is one scripted conversation: lines that begin with "S: " are sent, those with "C: " are expected as prefixes, "cut"
// closes, "hang" says nothing more, "tls" begins encryption, "message" reads up to the end mark and keeps it.
type talk struct {
	t    *testing.T
	conf *tls.Config

	mu   sync.Mutex
	said []string
	body string
}

func serve(t *testing.T, script string) (*talk, mail.Endpoint, *x509.CertPool) {
	t.Helper()
	cert, pool := certificate(t)
	s := &talk{t: t, conf: &tls.Config{Certificates: []tls.Certificate{cert}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		s.play(c, script)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return s, mail.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: mail.SecurityNone}, pool
}

func (s *talk) play(c net.Conn, script string) {
	r := bufio.NewReader(c)
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case line == "cut":
			return
		case line == "hang":
			io.Copy(io.Discard, r)
			return
		case line == "tls":
			tc := tls.Server(c, s.conf)
			c, r = tc, bufio.NewReader(tc)
		case line == "message":
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil || l == ".\r\n" {
					break
				}
				b.WriteString(l)
			}
			s.mu.Lock()
			s.body = b.String()
			s.mu.Unlock()
		case strings.HasPrefix(line, "S: "):
			io.WriteString(c, strings.ReplaceAll(line[3:], `\n`, "\r\n")+"\r\n")
		default:
			want := strings.TrimSpace(strings.TrimPrefix(line, "C:"))
			got, err := r.ReadString('\n')
			s.mu.Lock()
			s.said = append(s.said, strings.TrimSpace(got))
			s.mu.Unlock()
			if err != nil {
				return
			}
			if !strings.HasPrefix(strings.ToUpper(got), strings.ToUpper(want)) {
				s.t.Errorf("the client said %q, want %q", got, want)
				return
			}
		}
	}
	io.Copy(io.Discard, r) // until the client closes
}

func (s *talk) heard(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.said, func(l string) bool { return strings.Contains(l, what) })
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
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

func dial(t *testing.T, e mail.Endpoint, pool *x509.CertPool) (*Conn, error) {
	t.Helper()
	c, err := Dial(t.Context(), Options{Endpoint: e, TLS: &tls.Config{RootCAs: pool}, Dial: (&net.Dialer{}).DialContext, Command: 2 * time.Second, Accept: 300 * time.Millisecond})
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

const greet = "S: 220 hi\nC: EHLO\n"

func message() Message {
	body := "From: ann@example.test\r\nSubject: x\r\n\r\n.dot\r\nend\r\n"
	return Message{From: "ann@example.test", To: []string{"bob@example.test", "eve@example.test"}, Size: int64(len(body)), Body: strings.NewReader(body), Commit: func([]string) error { return nil }}
}

func TestSend(t *testing.T) {
	t.Parallel()
	const two = "C: MAIL FROM:<ann@example.test>\nS: 250 ok\nC: RCPT TO:<bob@example.test>\nS: 250 ok\nC: RCPT TO:<eve@example.test>\nS: 250 ok\n"
	for _, c := range []struct {
		name, script string
		change       func(*Message)
		code         int   // of the refusal of the message, 0: none
		answers      []int // codes for the recipients, 0: taken
		ended        bool
		lost         bool // an error that is no refusal
		body         string
		commits      int
	}{
		{name: "taken", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\nS: 250 yes\n", answers: []int{0, 0}, ended: true, commits: 1,
			body: "From: ann@example.test\r\nSubject: x\r\n\r\n..dot\r\nend\r\n"},
		{name: "one recipient refused", script: greet + "S: 250 hi\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 550 5.1.1 no\nC: RCPT\nS: 251 forwarded\nC: DATA\nS: 354 go\nmessage\nS: 250 yes\n", answers: []int{550, 0}, ended: true, commits: 1},
		{name: "one later", script: greet + "S: 250 hi\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RCPT\nS: 450 4.2.0 later\nC: DATA\nS: 354 go\nmessage\nS: 250 yes\n", answers: []int{0, 450}, ended: true, commits: 1},
		{name: "no recipient taken: nothing is sent", script: greet + "S: 250 hi\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 550 no\nC: RCPT\nS: 450 later\nC: RSET\nS: 250 ok\n", answers: []int{550, 450}},
		{name: "sender refused", script: greet + "S: 250 hi\nC: MAIL\nS: 553 5.1.8 not you\n", code: 553},
		{name: "recipients ended by 421", script: greet + "S: 250 hi\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RCPT\nS: 421 4.3.2 going\ncut\n", code: 421},
		{name: "DATA refused", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 451 later\nC: RSET\nS: 250 ok\n", code: 451, answers: []int{0, 0}},
		{name: "refused after the end", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\nS: 554 5.7.1 spam\n", code: 554, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "later after the end", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\nS: 451 4.3.0 later\n", code: 451, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "cut before DATA", script: greet + "S: 250 hi\n" + two + "cut\n", lost: true, answers: []int{0, 0}},
		{name: "cut within the message", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nC: From\ncut\n", lost: true, answers: []int{0, 0},
			change: func(m *Message) {
				m.Body = io.MultiReader(strings.NewReader("From: x\r\n\r\n"), endless{})
				m.Size = 10
			}},
		{name: "cut after the end", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\ncut\n", lost: true, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "silence after the end", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\nhang\n", lost: true, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "not committed: no end mark", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\n", lost: true, answers: []int{0, 0},
			change: func(m *Message) { m.Commit = func([]string) error { return errors.New("canceled") } }},
		{name: "no room by SIZE: not even MAIL", script: greet + "S: 250-hi\\n250 SIZE 20\n", code: 552},
		{name: "SIZE 0 is no limit", script: greet + "S: 250-hi\\n250 SIZE 0\n" + two + "C: DATA\nS: 354 go\nmessage\nS: 250 yes\n", answers: []int{0, 0}, ended: true, commits: 1},
		{name: "no eight-bit content", script: greet + "S: 250 hi\n", code: 554, change: func(m *Message) { m.EightBit = true }},
		{name: "eight-bit content", script: greet + "S: 250-hi\\n250 8BITMIME\nC: MAIL FROM:<ann@example.test> BODY=8BITMIME\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nmessage\nS: 250 yes\n",
			change: func(m *Message) { m.EightBit = true }, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "an address beyond ASCII, not offered", script: greet + "S: 250 hi\n", code: 553, change: func(m *Message) { m.To[0] = "bäb@example.test" }},
		{name: "an address beyond ASCII", script: greet + "S: 250-hi\\n250 SMTPUTF8\nC: MAIL FROM:<ann@example.test> SMTPUTF8\nS: 250 ok\nC: RCPT TO:<bäb@example.test>\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nmessage\nS: 250 yes\n",
			change: func(m *Message) { m.To[0] = "bäb@example.test" }, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "a host beyond ASCII needs nothing", script: greet + "S: 250 hi\nC: MAIL FROM:<ann@example.test>\nS: 250 ok\nC: RCPT TO:<bob@xn--bcher-kva.example>\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nmessage\nS: 250 yes\n",
			change: func(m *Message) { m.To[0] = "bob@bücher.example" }, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "taken in another word", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\nS: 252 queued\n", answers: []int{0, 0}, ended: true, commits: 1},
		{name: "no answer to the end: another go-ahead", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\nS: 354 go\n", lost: true, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "no answer to the end: wait", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 354 go\nmessage\nS: 150 wait\n", lost: true, answers: []int{0, 0}, ended: true, commits: 1},
		{name: "DATA answered with another yes", script: greet + "S: 250 hi\n" + two + "C: DATA\nS: 250 ok\n", lost: true, answers: []int{0, 0}},
		{name: "RCPT answered with a go-ahead", script: greet + "S: 250 hi\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 354 go\n", lost: true},
		{name: "MAIL answered with a greeting", script: greet + "S: 250 hi\nC: MAIL\nS: 220 hi again\n", lost: true},
		{name: "a line end in an address", script: greet + "S: 250 hi\n", code: 553, change: func(m *Message) { m.From = "a@b\r\nRCPT TO:<x@y>" }},
		{name: "more than an address", script: greet + "S: 250 hi\nC: MAIL\nS: 250 ok\nC: RCPT TO:<eve@example.test>\nS: 250 ok\nC: DATA\nS: 354 go\nmessage\nS: 250 yes\n",
			change: func(m *Message) { m.To[0] = "a@b> NOTIFY=NEVER ORCPT=<c@d" }, answers: []int{553, 0}, ended: true, commits: 1},
		{name: "a quoted address", script: greet + "S: 250 hi\nC: MAIL\nS: 250 ok\nC: RCPT TO:<\"a b>c\"@example.test>\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nmessage\nS: 250 yes\n",
			change: func(m *Message) { m.To[0] = `"a b>c"@example.test` }, answers: []int{0, 0}, ended: true, commits: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, e, pool := serve(t, c.script)
			conn, err := dial(t, e, pool)
			if err != nil {
				t.Fatal(err)
			}
			m := message()
			if c.change != nil {
				c.change(&m)
			}
			commits, commit := 0, m.Commit
			m.Commit = func(taken []string) error {
				err := commit(taken)
				if err == nil {
					commits++
				}
				return err
			}
			r, err := conn.Send(m)
			var said *smtp.SMTPError
			if errors.As(err, &said) != (c.code != 0) || said != nil && said.Code != c.code || (err != nil && said == nil) != c.lost {
				t.Errorf("error %v, want code %d, lost %v", err, c.code, c.lost)
			}
			if r.Ended != c.ended || commits != c.commits {
				t.Errorf("ended %v, committed %d", r.Ended, commits)
			}
			var codes []int
			for _, a := range r.Answers {
				code := 0
				if a != nil {
					code = a.Code
				}
				codes = append(codes, code)
			}
			if !slices.Equal(codes, c.answers) {
				t.Errorf("answers %v, want %v", codes, c.answers)
			}
			conn.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			if c.body != "" && s.body != c.body {
				t.Errorf("the server got %q", s.body)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, "line\r\n"), nil }

func TestStartTLS(t *testing.T) {
	t.Parallel()
	const offer = greet + "S: 250-hi\\n250 STARTTLS\nC: STARTTLS\n"
	for _, c := range []struct {
		name, script string
		is           error
		fine         bool
	}{
		{name: "fine", script: offer + "S: 220 go\ntls\nC: EHLO\nS: 250-hi\\n250 AUTH PLAIN\nC: AUTH PLAIN\nS: 235 in\n", fine: true},
		{name: "a reply of several lines", script: offer + "S: 220-wait\\n220 go\ntls\nC: EHLO\nS: 250-hi\\n250 AUTH PLAIN\nC: AUTH PLAIN\nS: 235 in\n", fine: true},
		{name: "more after the go-ahead", script: offer + "S: 220 go\\n250-hi\\n250 AUTH PLAIN\ntls\nC: EHLO\nS: 250 x\n", is: ErrInjected},
		{name: "half a line more", script: offer + "S: 220 go\\n250\nhang\n", is: ErrInjected},
		{name: "not offered", script: greet + "S: 250-hi\\n250 AUTH PLAIN\n", is: ErrNoStartTLS},
		{name: "refused", script: offer + "S: 454 no\n"},
		{name: "plaintext instead of TLS", script: offer + "S: 220 go\nC: \x16\x03\nS: 250 ha\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, e, pool := serve(t, c.script)
			e.Security = mail.SecuritySTARTTLS
			conn, err := dial(t, e, pool)
			if c.fine {
				if err != nil {
					t.Fatal(err)
				}
				if err := conn.Login("ann", mail.NewSecret("canary"), false); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v, want %v", err, c.is)
			}
			if s.heard("AUTH") {
				t.Error("credentials were sent")
			}
		})
	}
}

func TestTLSFromTheStart(t *testing.T) {
	t.Parallel()
	_, e, pool := serve(t, "tls\n"+greet+"S: 250-hi\\n250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 UGFzc3dvcmQ6\nC: Y2FuYXJ5\nS: 235 in\n")
	e.Security = mail.SecurityTLS
	c, err := dial(t, e, pool)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Login("ann", mail.NewSecret("canary"), false); err != nil {
		t.Error(err)
	}
	_, e, _ = serve(t, "tls\n"+greet)
	e.Security = mail.SecurityTLS
	if _, err := dial(t, e, x509.NewCertPool()); err == nil {
		t.Error("a certificate of nobody was accepted")
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		token        bool
		code         int
		is           error
	}{
		{name: "PLAIN", script: "S: 250-hi\\n250 AUTH LOGIN PLAIN\nC: AUTH PLAIN AGFubgBjYW5hcnk=\nS: 235 in\n"},
		{name: "refused", script: "S: 250-hi\\n250 AUTH PLAIN\nC: AUTH PLAIN\nS: 535 5.7.8 no\nC: *\nS: 501 ok\n", code: 535},
		{name: "XOAUTH2", script: "S: 250-hi\\n250 AUTH PLAIN XOAUTH2\nC: AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgY2FuYXJ5AQE=\nS: 235 in\n", token: true},
		{name: "XOAUTH2 refused", script: "S: 250-hi\\n250 AUTH XOAUTH2\nC: AUTH XOAUTH2\nS: 334 e30=\nC: \nS: 535 5.7.8 no\nC: *\nS: 501 ok\n", token: true, code: 535},
		{name: "a token and no XOAUTH2", script: "S: 250-hi\\n250 AUTH PLAIN\n", token: true, is: ErrNoLogin},
		{name: "nothing offered", script: "S: 250 hi\n", is: ErrNoLogin},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, e, pool := serve(t, greet+c.script)
			conn, err := dial(t, e, pool)
			if err != nil {
				t.Fatal(err)
			}
			err = conn.Login("ann", mail.NewSecret("canary"), c.token)
			var said *smtp.SMTPError
			if errors.As(err, &said) != (c.code != 0) || said != nil && said.Code != c.code || c.is != nil && !errors.Is(err, c.is) || err != nil && c.code == 0 && c.is == nil {
				t.Errorf("error %v, want %d %v", err, c.code, c.is)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Error("the password is in the error")
			}
		})
	}
}

func TestTheContextEndsIt(t *testing.T) {
	t.Parallel()
	_, e, _ := serve(t, "hang\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, Options{Endpoint: e, Dial: (&net.Dialer{}).DialContext})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
