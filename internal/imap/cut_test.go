package imap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/realsrv"
)

// cutMessages are what the session of the cut tests fetches: short, with a NUL-free binary look, and one that a server
// sends in several pieces.
var cutMessages = []string{
	message(1),
	"Subject: looks like the protocol\r\n\r\n)\r\nP5 OK done\r\n* 3 FETCH (UID 3 BODY[] {4}\r\nabc\r\n",
	message(3) + strings.Repeat("line of sixteen\r\n", 20),
}

// session dials, reads the three messages and leaves. It returns the bodies handed out as whole, and the first error.
func session(o Options, user, password string, sink, zip bool) (map[uint32]string, error) {
	ctx := context.Background()
	got := map[uint32]string{}
	o.tag = "P" // as on the tape
	s, err := Dial(ctx, o)
	if err != nil {
		return got, err
	}
	defer s.CloseNow()
	if err := s.Login(ctx, user, password); err != nil {
		return got, err
	}
	if zip {
		if err := s.Compress(ctx); err != nil {
			return got, err
		}
	}
	if _, err := s.Select(ctx, "INBOX", SelectOptions{ReadOnly: true}); err != nil {
		return got, err
	}
	fo := FetchOptions{Flags: true, InternalDate: true, Size: true, Envelope: true, BodyStructure: true, Body: true}
	if sink {
		fo.Sink = func(Literal) (io.Writer, error) { return &bytes.Buffer{}, nil }
	}
	err = s.Fetch(ctx, Range(1, Star), fo, func(r *Row) error {
		switch {
		case r.Err != nil || !r.Body.Has:
			return fmt.Errorf("row of UID %d: %w", r.UID, r.Err)
		case sink:
			got[r.UID] = r.Body.W.(*bytes.Buffer).String()
		default:
			got[r.UID] = string(r.Body.Bytes)
		}
		return nil
	})
	if err != nil {
		return got, err
	}
	return got, s.Logout(ctx)
}

// whole tells what is wrong with the outcome of a session that was cut somewhere.
func whole(got map[uint32]string, err error, took, most time.Duration) error {
	for uid, body := range got {
		if uid < 1 || uid > 3 || body != cutMessages[uid-1] {
			return fmt.Errorf("UID %d handed out as %q", uid, body)
		}
	}
	switch {
	case err == nil && len(got) != 3:
		return fmt.Errorf("no error, and %d messages", len(got))
	case err != nil && ClassOf(err) != Network:
		return fmt.Errorf("a cut is %v: %w", ClassOf(err), err)
	case took > most:
		return fmt.Errorf("took %v, %v", took, err)
	}
	return nil
}

// tape is one session as it went over the wire: what came after how much had been sent.
type tape struct {
	net.Conn
	turns []turn
}

type turn struct {
	sent int
	came []byte
}

func (c *tape) Write(b []byte) (int, error) {
	if len(c.turns[len(c.turns)-1].came) > 0 {
		c.turns = append(c.turns, turn{})
	}
	c.turns[len(c.turns)-1].sent += len(b)
	return c.Conn.Write(b)
}

func (c *tape) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	last := &c.turns[len(c.turns)-1]
	last.came = append(last.came, b[:n]...)
	return n, err
}

// replay is a server that plays a tape to everybody who connects.
func replay(t *testing.T, turns []turn) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				for _, turn := range turns {
					if _, err := io.CopyN(io.Discard, c, int64(turn.sent)); err != nil {
						return
					}
					if _, err := c.Write(turn.came); err != nil {
						return
					}
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// TestCutEverywhere cuts a session at every byte of either side, and lets it go silent there: what is handed out as a whole
// message is one, and the end comes in time.
func TestCutEverywhere(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Compress: true})
	s := login(t, &d.IMAP, "ann", nil)
	for _, m := range cutMessages {
		must[Appended](t)(s.Append(context.Background(), "INBOX", text(m)))
	}
	rec := &tape{turns: []turn{{}}}
	o := Options{Addr: d.Addr, Security: Plain, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		rec.Conn = c
		return rec, err
	}}
	if got, err := session(o, "ann", d.Password, false, false); err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	total := map[string]int{}
	for _, turn := range rec.turns {
		total["client"] += turn.sent
		total["server"] += len(turn.came)
	}
	if total["server"] < 1000 || total["client"] < 100 {
		t.Fatalf("a session of %v", total)
	}
	taped := replay(t, rec.turns)
	for _, c := range []struct {
		name, action, addr string
		step               int
		zip                bool
		idle, most         time.Duration
	}{
		{"cut", "cut", taped, 1, false, 10 * time.Second, 5 * time.Second},
		{"silent", "stall", taped, 29, false, 100 * time.Millisecond, 3 * time.Second},
		{"cut at Dovecot", "cut", d.Addr, 97, false, 10 * time.Second, 5 * time.Second},
		{"cut while compressed", "cut", d.Addr, 31, true, 10 * time.Second, 5 * time.Second},
	} {
		for side, n := range total {
			t.Run(c.name+", "+side, func(t *testing.T) {
				t.Parallel()
				full := 0
				for at := 0; at <= n; at += c.step {
					p := faultnet.Start(t, c.addr, fmt.Sprintf("%s %s after %d", c.action, side, at))
					start := time.Now()
					got, err := session(Options{Addr: p.Addr, Security: Plain, Idle: c.idle}, "ann", d.Password, at%2 == 1, c.zip)
					if err := whole(got, err, time.Since(start), c.most); err != nil {
						t.Errorf("%s after %d bytes of the %s: %v", c.action, at, side, err)
					}
					if len(got) == 3 {
						full++
					}
					p.Close()
				}
				if full == n/c.step+1 && !c.zip {
					t.Error("no cut was felt")
				}
			})
		}
	}
}

// TestGarbledBytes inverts each byte that a server sends: a session may fail then, or skip, or not notice inside of a text;
// it does not hang, and nothing is handed out longer or shorter than the server announced.
func TestGarbledBytes(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := login(t, &d.IMAP, "ann", nil)
	must[Appended](t)(s.Append(context.Background(), "INBOX", text(cutMessages[0])))
	rec := &tape{turns: []turn{{}}}
	o := Options{Addr: d.Addr, Security: Plain, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		rec.Conn = c
		return rec, err
	}}
	if _, err := session(o, "ann", d.Password, false, false); err != nil {
		t.Fatal(err)
	}
	addr, n := replay(t, rec.turns), 0
	for _, turn := range rec.turns {
		n += len(turn.came)
	}
	for at := 0; at < n; at++ {
		p := faultnet.Start(t, addr, fmt.Sprintf("garble server after %d", at))
		start := time.Now()
		got, err := session(Options{Addr: p.Addr, Security: Plain, Idle: 50 * time.Millisecond}, "ann", d.Password, false, false)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("byte %d: took %v, %v", at, took, err)
		}
		if body := got[1]; body != "" && len(body) != len(cutMessages[0]) {
			t.Errorf("byte %d: %q", at, body)
		}
		p.Close()
	}
}
