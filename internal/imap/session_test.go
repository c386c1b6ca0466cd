package imap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// pipeServer accepts one connection after another and hands each to play.
func pipeServer(t testing.TB, play func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			play(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func open(t testing.TB, o Options) *Session {
	t.Helper()
	o.Security, o.tag = Plain, "P"
	s, err := Dial(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.CloseNow() })
	return s
}

// threeMessages is a session in which a client fetches three messages, as the server sends it.
func threeMessages() (transcript string, bodies []string) {
	bodies = []string{"first\r\nbody\r\n", strings.Repeat("second ", 9), "third) * 9 FETCH {3}\r\nP1 OK fake\r\n"}
	var b strings.Builder
	b.WriteString("* OK [CAPABILITY IMAP4rev1] hi\r\n")
	for i, body := range bodies {
		fmt.Fprintf(&b, "* %d FETCH (UID %d FLAGS (\\Seen) BODY[HEADER] {6}\r\nA: b\r\n BODY[] {%d}\r\n%s INTERNALDATE \"01-Feb-2024 10:00:00 +0000\")\r\n", i+1, 10+i, len(body), body)
	}
	b.WriteString("P1 OK done\r\n")
	return b.String(), bodies
}

func cutOnce(t *testing.T, addr string, n, whole int, sink bool, bodies []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := Dial(ctx, Options{Addr: addr, Security: Plain, tag: "P"})
	if err != nil {
		if ClassOf(err) != Network {
			t.Errorf("cut at %d: dial: %v", n, err)
		}
		return
	}
	defer s.CloseNow()
	o := FetchOptions{Flags: true, FullHeader: true, Body: true}
	if sink {
		o.Sink = func(Literal) (io.Writer, error) { return &bytes.Buffer{}, nil }
	}
	rows := 0
	err = s.Fetch(ctx, Range(10, 12), o, func(r *Row) error {
		body := r.Body.Bytes
		if sink {
			body = r.Body.W.(*bytes.Buffer).Bytes()
		}
		if r.Err != nil || !r.Body.Has || string(body) != bodies[r.UID-10] || string(r.Header) != "A: b\r\n" || !r.HasInternalDate {
			t.Errorf("cut at %d: row %+v, body %q", n, r, body)
		}
		rows++
		return nil
	})
	switch {
	case n == whole:
		if err != nil || rows != 3 {
			t.Errorf("whole: %d rows, %v", rows, err)
		}
	case ClassOf(err) != Network || s.Err() == nil:
		t.Errorf("cut at %d: %v (%v), dead: %v", n, err, ClassOf(err), s.Err())
	case rows == 3 && n < whole-len("P1 OK done\r\n"):
		t.Errorf("cut at %d: %d rows", n, rows)
	}
}

// All bytes come, one at a time.
func TestByteByByte(t *testing.T) {
	t.Parallel()
	text, bodies := threeMessages()
	addr := pipeServer(t, func(c net.Conn) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, c)
	})
	cutOnce(t, addr, len(text), len(text), true, bodies)
}

func greetThen(more string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n"+more)
		_, _ = io.Copy(io.Discard, c)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	addr := pipeServer(t, greetThen("* 1 FETCH (UID 1 BODY[] {100}\r\nonly this"))
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		s := open(t, Options{Addr: addr, Idle: 50 * time.Millisecond})
		err := s.Fetch(context.Background(), UIDs(1), FetchOptions{Body: true}, func(*Row) error { t.Error("row"); return nil })
		if ClassOf(err) != Network || !errors.Is(err, s.Err()) {
			t.Errorf("%v, dead: %v", err, s.Err())
		}
	})
	addr2 := pipeServer(t, greetThen(""))
	t.Run("cancel", func(t *testing.T) {
		t.Parallel()
		s := open(t, Options{Addr: addr2})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		err := s.Noop(ctx)
		if ClassOf(err) != Canceled || !errors.Is(err, context.DeadlineExceeded) || s.Err() == nil {
			t.Errorf("%v, dead: %v", err, s.Err())
		}
	})
	addr3 := pipeServer(t, greetThen(""))
	t.Run("canceled before", func(t *testing.T) {
		t.Parallel()
		s := open(t, Options{Addr: addr3})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Noop(ctx); ClassOf(err) != Canceled || s.Err() != nil {
			t.Errorf("%v, dead: %v: nothing was sent", err, s.Err())
		}
	})
	addr4 := pipeServer(t, greetThen(""))
	t.Run("close now", func(t *testing.T) {
		t.Parallel()
		s := open(t, Options{Addr: addr4})
		done := make(chan error, 1)
		go func() { done <- s.Noop(context.Background()) }()
		if err := s.CloseNow(); err != nil {
			t.Error(err)
		}
		if err := <-done; ClassOf(err) != Canceled {
			t.Error(err)
		}
	})
	addr5 := pipeServer(t, func(net.Conn) {})
	t.Run("greeting", func(t *testing.T) {
		t.Parallel()
		if _, err := Dial(context.Background(), Options{Addr: addr5, Security: Plain}); ClassOf(err) != Network {
			t.Error(err)
		}
	})
}

func TestSink(t *testing.T) {
	t.Parallel()
	text, bodies := threeMessages()
	_, text, _ = strings.Cut(text, "\r\n")
	errFull := errors.New("disk full")
	for _, tc := range []struct {
		name string
		sink func(Literal) (io.Writer, error)
		each error
		dead bool
	}{
		{"skipped", func(Literal) (io.Writer, error) { return nil, nil }, nil, false},
		{"refused", func(Literal) (io.Writer, error) { return nil, errFull }, nil, true},
		{"write fails", func(Literal) (io.Writer, error) { return failing{errFull}, nil }, nil, true},
		{"row fails", nil, errFull, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{Addr: pipeServer(t, greetThen(text))})
			rows := 0
			err := s.Fetch(context.Background(), Range(10, 12), FetchOptions{Body: true, Sink: tc.sink}, func(r *Row) error {
				if rows++; tc.each == nil && (r.Body.Has || r.Body.Size != int64(len(bodies[r.UID-10]))) {
					t.Errorf("body %+v", r.Body)
				}
				return tc.each
			})
			if tc.dead && (!errors.Is(err, errFull) || ClassOf(err) != Canceled || s.Err() == nil) || !tc.dead && (err != nil || rows != 3) {
				t.Errorf("%d rows, %v, dead: %v", rows, err, s.Err())
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// IDLE is renewed, and a connection that stays silent then is found dead.
func TestIdleLiveness(t *testing.T) {
	t.Parallel()
	rounds := make(chan string, 10)
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n")
		buf := make([]byte, 100)
		for i := 1; i <= 2; i++ {
			for _, answer := range []string{"* FLAGS (\\Seen)\r\n+ idling\r\n", fmt.Sprintf("P%d OK done\r\n", i)} {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				rounds <- string(buf[:n])
				_, _ = io.WriteString(c, answer)
			}
		}
		_, _ = io.Copy(io.Discard, c)
	})
	s := open(t, Options{Addr: addr, Idle: 100 * time.Millisecond, IdleRenew: 10 * time.Millisecond})
	began := time.Now()
	err := s.Idle(context.Background())
	if ClassOf(err) != Network || s.Err() == nil {
		t.Errorf("%v, dead: %v", err, s.Err())
	}
	if took := time.Since(began); took > 5*time.Second { // on a slow machine
		t.Errorf("that took %v", took)
	}
	close(rounds)
	var got strings.Builder
	for r := range rounds {
		got.WriteString(r)
	}
	if want := "P1 IDLE\r\nDONE\r\nP2 IDLE\r\nDONE\r\n"; got.String() != want {
		t.Errorf("server heard %q, want %q", got.String(), want)
	}
}

func TestOneCommandAtATime(t *testing.T) {
	t.Parallel()
	var s *Session
	var inner error
	s = open(t, Options{Addr: pipeServer(t, greetThen("* 1 EXISTS\r\nP1 OK\r\n")), OnUnilateral: func(u Unilateral) {
		if u.Kind == KindExists {
			inner = s.Noop(context.Background())
		}
	}})
	if err := s.Noop(context.Background()); err != nil || ClassOf(inner) != Permanent {
		t.Errorf("%v; from inside %v", err, inner)
	}
}

func TestNoSecretLeaks(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-very-secret"
	for _, caps := range []string{"AUTH=PLAIN SASL-IR", "AUTH=PLAIN", ""} {
		var trace bytes.Buffer
		addr := pipeServer(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 "+caps+"] hi\r\n+ go\r\n* NO you said "+secret+
				"\r\nP1 NO [AUTHENTICATIONFAILED] not "+secret+"\r\n* 1 FETCH (ENVELOPE (\"x\" \"a private subject\"))\r\nP2 OK\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
		var heard []string
		s := open(t, Options{Addr: addr, Trace: &trace, OnUnilateral: func(u Unilateral) { heard = append(heard, u.Text) }})
		err := s.Login(context.Background(), "me", secret)
		if ClassOf(err) != AuthFailed {
			t.Fatal(err)
		}
		if err := s.Noop(context.Background()); err != nil {
			t.Fatal(err)
		}
		all := trace.String() + err.Error() + strings.Join(heard, "\n")
		for _, bad := range []string{secret, "aHVudGVy", "AG1lA", "private"} {
			if strings.Contains(all, bad) {
				t.Errorf("%q: %q leaked: %s", caps, bad, all)
			}
		}
		if !strings.Contains(trace.String(), "NOOP") {
			t.Errorf("trace is empty: %q", trace.String())
		}
	}
}

// What mail says is nobody's business, whichever response or command it stands in.
func TestTraceKeepsMailPrivate(t *testing.T) {
	t.Parallel()
	var trace strings.Builder
	addr := pipeServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		for n, answer := range []string{
			"* 1 FETCH (UID 7 ENVELOPE (NIL \"private\" NIL))\r\n* 7 UIDFETCH (ENVELOPE (NIL \"private\" NIL) BODYSTRUCTURE (\"private\"))\r\n* 8 UIDFETCH (ENVELOPE (NIL private NIL))\r\n* 9 fetch (BODY[HEADER] {7}\r\nprivate)\r\n" +
				"* 9 uidfetch (envelope (nil private nil))\r\n* 9 FETCH (RFC822.SIZE 7 rfc822.header private)\r\n* 9 FETCH (binary[1] private)\r\n",
			"* SEARCH 7\r\n",
		} {
			_, _ = r.ReadString('\n')
			_, _ = fmt.Fprintf(c, "%sP%d OK done\r\n", answer, n+1)
		}
	})
	s := open(t, Options{Addr: addr, Security: Plain, Trace: &trace})
	check(t, s.Fetch(context.Background(), Range(1, 9), FetchOptions{Envelope: true}, func(*Row) error { return nil }))
	_, err := s.Search(context.Background(), `HEADER Message-ID "private"`)
	check(t, err)
	if got := trace.String(); strings.Contains(got, "private") || !strings.Contains(got, "UIDFETCH (ENVELOPE") || !strings.Contains(got, "UID SEARCH HEADER") {
		t.Errorf("trace:\n%s", got)
	}
}

// Without TLS no password leaves, whatever the server offers.
func TestNoPasswordWithoutTLS(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addr: pipeServer(t, greetThen(""))})
	s.o.Security = TLS // as if TLS had been lost
	if err := s.Login(context.Background(), "me", "secret"); !errors.Is(err, errInsecure) || s.tags != 0 {
		t.Errorf("%v after %d commands", err, s.tags)
	}
}

func TestLoginDisabled(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addr: pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n")
		_, _ = io.Copy(io.Discard, c)
	})})
	if err := s.Login(context.Background(), "me", "secret"); !errors.Is(err, errLoginDisabled) || s.tags != 0 {
		t.Errorf("%v after %d commands", err, s.tags)
	}
}

// Many commands in flight must not fill both directions: the server answers each at length before it reads the next.
func TestPipelineWindow(t *testing.T) {
	t.Parallel()
	raws := make([]string, 2000)
	for i := range raws {
		raws[i] = fmt.Sprintf("folder %d %s", i, strings.Repeat("x", 200))
	}
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		var b [1]byte
		line := []byte{}
		for {
			if _, err := c.Read(b[:]); err != nil {
				return
			}
			if line = append(line, b[0]); b[0] != '\n' {
				continue
			}
			tag, rest, _ := strings.Cut(string(line), " STATUS ")
			name, _, _ := strings.Cut(rest, " (")
			line = line[:0]
			if _, err := fmt.Fprintf(c, "* OK %s\r\n* STATUS %s (MESSAGES 1)\r\n%s OK\r\n", strings.Repeat("y", 3000), name, tag); err != nil {
				return
			}
		}
	})
	s := open(t, Options{Addr: addr, Idle: 5 * time.Second})
	got, bad, err := s.Statuses(context.Background(), raws, StatusMessages)
	if err != nil || len(bad) != 0 || len(got) != len(raws) {
		t.Errorf("%d got, %d bad, %v", len(got), len(bad), err)
	}
}

func TestEndlessInput(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"line":      strings.Repeat("* OK no end", 1<<18),
		"untagged":  strings.Repeat("* 1 EXISTS\r\n", 2000),
		"nesting":   "* 1 FETCH (UID 1 BODYSTRUCTURE " + strings.Repeat("(", 1<<19) + "\r\n* BYE\r\n",
		"envelope":  "* 1 FETCH (UID 1 ENVELOPE " + strings.Repeat("(", 1<<19) + "\r\n* BYE\r\n",
		"unknown":   "* 1 FETCH (UID 1 X-NEW " + strings.Repeat("(", 1<<19) + "\r\n* BYE\r\n",
		"literal":   "* 1 FETCH (UID 1 BODY[HEADER] {99999999999999999999999}\r\n",
		"literal63": "* 1 FETCH (UID 1 BODY[HEADER] {9223372036854775807}\r\n",
		"body":      "* 1 FETCH (UID 1 BODY[] {999999999999}\r\n",
		"literals":  "* 1 FETCH (" + strings.Repeat("X {1000000}\r\n"+strings.Repeat("z", 1000000)+" ", 40),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{Addr: pipeServer(t, greetThen(text)), Idle: 2 * time.Second, Limits: Limits{Responses: 1000}})
			err := s.Fetch(context.Background(), UIDs(1), FetchOptions{Body: true}, func(r *Row) error {
				if r.Err == nil {
					t.Errorf("row %+v", r)
				}
				return nil
			})
			// A response that is only nested too deep is skipped, and the session hears the BYE behind it.
			var e *Error
			if !errors.As(err, &e) || e.Class != Protocol && e.Status != "BYE" {
				t.Errorf("%v: %v", ClassOf(err), err)
			}
		})
	}
}

// TestIdleIsRefused: whenever the server says no to IDLE, or ends it, that is told in its words, and the session lives on.
func TestIdleIsRefused(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		says   []string // to IDLE, then to DONE
		status string
	}{
		"at once":       {[]string{"P1 NO not here\r\n"}, "NO"},
		"unknown":       {[]string{"P1 BAD what?\r\n"}, "BAD"},
		"after a while": {[]string{"+ idling\r\nP1 NO enough\r\n"}, "NO"},
		"ended":         {[]string{"+ idling\r\nP1 OK enough\r\n"}, ""},
		"at the end":    {[]string{"+ idling\r\n", "P1 NO something went wrong\r\n"}, "NO"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := open(t, Options{Addr: pipeServer(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n")
				buf := make([]byte, 100)
				for n, answer := range append(slices.Clone(c.says), "P2 OK done\r\n") {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					_, _ = io.WriteString(conn, answer)
					if n == 0 && len(c.says) > 1 {
						cancel()
					}
				}
				_, _ = io.Copy(io.Discard, conn)
			})})
			var e *Error
			if err := s.Idle(ctx); !errors.As(err, &e) || e.Status != c.status || s.Err() != nil {
				t.Errorf("%v, dead: %v", err, s.Err())
			}
			if err := s.Noop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
