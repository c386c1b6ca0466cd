package sdk

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/posthorn/posthorn/test/realsrv"
)

// post is an SMTP server that puts what it takes into the recipients' INBOX at a Dovecot.
type post struct {
	t  *testing.T
	d  *realsrv.Dovecot
	mu sync.Mutex // testing.TB calls of one delivery at a time
}

// startPost starts the server and returns where it listens.
func startPost(t *testing.T, d *realsrv.Dovecot) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(&post{t: t, d: d})
	s.Domain, s.AllowInsecureAuth, s.MaxMessageBytes = "localhost", true, 64<<20
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr)
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &letter{p: p}, nil }

// letter is one SMTP session.
type letter struct {
	p    *post
	auth bool
	to   []string
}

func (l *letter) AuthMechanisms() []string { return []string{sasl.Plain} }

func (l *letter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != l.p.d.Password {
			return smtp.ErrAuthFailed
		}
		l.auth = true
		return nil
	}), nil
}

func (l *letter) Mail(string, *smtp.MailOptions) error {
	if !l.auth {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (l *letter) Rcpt(to string, _ *smtp.RcptOptions) error {
	if !strings.HasSuffix(to, "@example.test") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user here"}
	}
	l.to = append(l.to, strings.ToLower(to))
	return nil
}

func (l *letter) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.p.t.Context().Err() != nil {
		return errors.New("the test is over")
	}
	for _, to := range l.to {
		l.p.d.Append(l.p.t, to, "INBOX", raw, nil, time.Now())
	}
	return nil
}

func (l *letter) Reset()        { l.to = nil }
func (l *letter) Logout() error { return nil }
