package imap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// brokenReader gives n bytes and then fails.
type brokenReader struct {
	n   int
	err error
}

func (r *brokenReader) Read(b []byte) (int, error) {
	if r.n == 0 {
		return 0, r.err
	}
	n := min(r.n, len(b))
	r.n -= n
	for i := range n {
		b[i] = 'x'
	}
	return n, nil
}

// A reader that fails ends the session before the server has the whole message.
func TestAppendReaderFails(t *testing.T) {
	t.Parallel()
	whole := make(chan bool, 1)
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n")
		r := bufio.NewReader(c)
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "+ go\r\n")
		n, _ := io.Copy(io.Discard, r)
		whole <- n >= 200_000
	})
	s := open(t, Options{Addr: addr})
	errDisk := errors.New("disk gone")
	_, err := s.Append(context.Background(), "INBOX", AppendMessage{Body: &brokenReader{199_000, errDisk}, Size: 200_000})
	if ClassOf(err) != Canceled || !errors.Is(err, errDisk) || s.Err() == nil {
		t.Errorf("%v, dead: %v", err, s.Err())
	}
	if <-whole {
		t.Error("the server has the whole message")
	}
}

// A server that refuses in the middle and stops reading is heard.
func TestAppendLastWords(t *testing.T) {
	t.Parallel()
	for answer, class := range map[string]ErrClass{
		"P1 NO [TOOBIG] too much\r\n":        Permanent,
		"P1 NO [OVERQUOTA] full\r\n":         Permanent,
		"* BYE [UNAVAILABLE] going down\r\n": TransientAccount,
	} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{})
			addr := pipeServer(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
				_, _ = bufio.NewReaderSize(c, 16).ReadString('\n')
				_, _ = io.WriteString(c, "+ go\r\n"+answer)
				<-done
			})
			s := open(t, Options{Addr: addr, Idle: 100 * time.Millisecond})
			_, err := s.Append(context.Background(), "INBOX", AppendMessage{Body: &brokenReader{64 << 20, io.EOF}, Size: 64 << 20})
			close(done)
			if ClassOf(err) != class || s.Err() == nil {
				t.Errorf("%v, dead: %v", err, s.Err())
			}
		})
	}
}

// The context ends a message that is being sent.
func TestAppendCanceled(t *testing.T) {
	t.Parallel()
	started, done := make(chan struct{}), make(chan struct{})
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		_, _ = bufio.NewReaderSize(c, 16).ReadString('\n')
		_, _ = io.WriteString(c, "+ go\r\n")
		close(started)
		<-done
	})
	s := open(t, Options{Addr: addr})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-started; cancel() }()
	_, err := s.Append(ctx, "INBOX", AppendMessage{Body: &brokenReader{1 << 30, io.EOF}, Size: 1 << 30})
	close(done)
	if ClassOf(err) != Canceled || s.Err() == nil {
		t.Errorf("%v, dead: %v", err, s.Err())
	}
}

// What is refused without a word to the server.
func TestAppendRefused(t *testing.T) {
	t.Parallel()
	heard := 0
	s := open(t, Options{Addr: obedient(t, "APPENDLIMIT=1000", func(string) { heard++ })})
	for name, m := range map[string]AppendMessage{
		"no body":       {Size: 5},
		"empty":         {Body: strings.NewReader(""), Size: 0},
		"negative":      {Body: strings.NewReader("x"), Size: -1},
		"too short":     {Body: strings.NewReader("x"), Size: 10},
		"limit":         {Body: strings.NewReader(strings.Repeat("x", 1001)), Size: 1001},
		"with its CRLF": {Body: strings.NewReader(strings.Repeat("x", 999)), Size: 999},
		"flag":          {Body: strings.NewReader("x"), Size: 1, Flags: []string{"a b"}},
		"NULs":          {Body: strings.NewReader("x"), Size: 1, Binary: true},
	} {
		if _, err := s.Append(context.Background(), "INBOX", m); ClassOf(err) != Permanent || s.Err() != nil || heard > 0 {
			t.Errorf("%s: %v, dead: %v, %d lines", name, err, s.Err(), heard)
		}
	}
	if _, err := s.Append(context.Background(), "a\r\nb", text("x\r\n")); ClassOf(err) != Permanent || heard > 0 {
		t.Errorf("name with CRLF: %v", err)
	}
	if _, err := s.AppendAll(context.Background(), "INBOX", nil); ClassOf(err) != Permanent || heard > 0 {
		t.Errorf("nothing: %v", err)
	}
}

// Listen asks from time to time, and a connection that stays silent then is found dead.
func TestListenLiveness(t *testing.T) {
	t.Parallel()
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		r := bufio.NewReader(c)
		for i := 1; i <= 2; i++ {
			if l, err := r.ReadString('\n'); err != nil || l != fmt.Sprintf("P%d NOOP\r\n", i) {
				t.Errorf("heard %q, %v", l, err)
				return
			}
			_, _ = fmt.Fprintf(c, "* %d EXISTS\r\nP%d OK\r\n", i, i)
		}
		_, _ = io.Copy(io.Discard, r)
	})
	seen := uint32(0)
	s := open(t, Options{Addr: addr, Idle: 100 * time.Millisecond, IdleRenew: 10 * time.Millisecond, OnUnilateral: func(u Unilateral) { seen = u.Num }})
	began := time.Now()
	err := s.Listen(context.Background())
	if took := time.Since(began); ClassOf(err) != Network || s.Err() == nil || seen != 2 || took > 5*time.Second { // on a slow machine
		t.Errorf("%v, dead: %v, seen %d, after %v", err, s.Err(), seen, took)
	}
}

// A token is in no error and no trace, whatever the server repeats of it.
func TestNoTokenLeaks(t *testing.T) {
	t.Parallel()
	const token = "ya29.very-secret-token"
	for _, m := range []Mechanism{XOAuth2("me", token), OAuthBearer("me", token, ""), SCRAMSHA256("me", token), SASLPlain("me", token), SASLLogin("me", token)} {
		var trace strings.Builder
		addr := pipeServer(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256] hi\r\n")
			r := bufio.NewReader(c)
			_, _ = r.ReadString('\n')
			_, _ = io.WriteString(c, "* NO you said "+token+"\r\n+ eyJzdGF0dXMiOiJ5YTI5LnZlcnktc2VjcmV0LXRva2VuIn0=\r\nP1 NO [AUTHENTICATIONFAILED] not "+token+"\r\n")
			_, _ = io.Copy(io.Discard, r)
		})
		s := open(t, Options{Addr: addr, Trace: &trace})
		err := s.Authenticate(context.Background(), m)
		if ClassOf(err) != AuthFailed && m.Name() != "SCRAM-SHA-256" { // to which the challenge makes no sense
			t.Fatal(err)
		}
		first, _ := m.Start()
		all := trace.String() + err.Error()
		if strings.Contains(all, token) || len(first) > 20 && strings.Contains(all, saslText(first)[:16]) || strings.Contains(all, "eyJz") {
			t.Errorf("%s leaked: %s", m.Name(), all)
		}
		s.o.Security = TLS // as if TLS had been lost
		if err := s.Authenticate(context.Background(), m); s.Err() == nil && !errors.Is(err, errInsecure) {
			t.Errorf("without TLS: %v", err)
		}
	}
}
