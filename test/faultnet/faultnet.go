// Package faultnet breaks connections as rules say: a TCP proxy that cuts, stalls, garbles, delays and throttles.
//
// A rule is a line of text, so that a test shows what happens where it checks what comes of it:
//
//	cut server after 1200               close both sides once the server has sent so many bytes
//	cut client after "UID FETCH"        ... once the client has sent this text
//	stall server after 2 "BODY[]"       let nothing through from the second such text on, and close nothing
//	garble server after 40              invert the next byte
//	delay server 5ms                    hold back every read for so long
//	throttle client 20000               let through so many bytes a second
//	conn 2: cut server after 0          only the second connection, counted from 1
//
// A server is who is dialed, a client who dials. What stands before the place that a rule names goes through; bytes count
// from the start of the connection. Lines that are empty or begin with # say nothing.
package faultnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy listens on loopback and passes connections on to one server.
type Proxy struct {
	Addr string

	to    string
	l     net.Listener
	rules []rule
	wg    sync.WaitGroup
	done  chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	n     int
	sent  map[string]int64 // bytes passed on, by the side that sent them
}

// Start starts a proxy before the server at to. It ends with the test, and all its connections with it.
func Start(tb testing.TB, to, rules string) *Proxy {
	tb.Helper()
	p, err := New(to, rules)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// New is Start for programs that are not tests. The caller closes the proxy.
func New(to, rules string) (*Proxy, error) {
	parsed, err := parse(rules)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, l: l, rules: parsed, done: make(chan struct{}), conns: map[net.Conn]struct{}{}, sent: map[string]int64{}}
	p.wg.Go(p.serve)
	return p, nil
}

// Close ends everything and waits for it. It may be called twice.
func (p *Proxy) Close() {
	p.mu.Lock()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	_ = p.l.Close()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// Turn is Set for tests.
func (p *Proxy) Turn(tb testing.TB, rules string) {
	tb.Helper()
	if err := p.Set(rules); err != nil {
		tb.Fatal(err)
	}
}

// Set ends all connections. Other rules hold for those that follow, which are counted from 1 again.
func (p *Proxy) Set(rules string) error {
	parsed, err := parse(rules)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.n = parsed, 0
	for c := range p.conns {
		_ = c.Close()
	}
	return nil
}

// Passed is how many bytes one side has sent, on all connections.
func (p *Proxy) Passed(side string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent[side]
}

// counted is a connection of which Passed tells.
func (p *Proxy) counted(side string, c net.Conn) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		n, err := c.Read(b)
		p.mu.Lock()
		p.sent[side] += int64(n)
		p.mu.Unlock()
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func (p *Proxy) serve() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.n++
		n := p.n
		p.mu.Unlock()
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.hold(client, server) {
			return
		}
		both := func() { p.drop(client, server) }
		p.wg.Go(func() { p.pass(server, p.counted("client", client), p.rulesFor("client", n), both) })
		p.wg.Go(func() { p.pass(client, p.counted("server", server), p.rulesFor("server", n), both) })
	}
}

// hold keeps connections for Close, unless that has been called.
func (p *Proxy) hold(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	select {
	case <-p.done:
		for _, c := range conns {
			_ = c.Close()
		}
		return false
	default:
		return true
	}
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *Proxy) rulesFor(side string, n int) []rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []rule
	for _, r := range p.rules {
		if r.side == side && (r.conn == 0 || r.conn == n) {
			out = append(out, r)
		}
	}
	return out
}

// pass carries what from says to to, one read after the other. closed ends both directions.
func (p *Proxy) pass(to net.Conn, from io.Reader, rules []rule, closed func()) {
	defer closed()
	buf := make([]byte, 16<<10)
	var sent int64
	for {
		n, err := from.Read(buf)
		b := buf[:n]
		for i := range rules {
			r := &rules[i]
			at := r.hit(b, sent)
			switch r.action {
			case "delay":
				if n > 0 && !p.wait(r.pause) {
					return
				}
			case "throttle":
				if !p.wait(time.Duration(n) * time.Second / time.Duration(r.rate)) {
					return
				}
			case "garble":
				if at >= 0 && at < len(b) {
					b[at] ^= 0xff
					r.spent = true
				}
			case "cut":
				if at >= 0 {
					_, _ = to.Write(b[:at])
					return
				}
			case "stall":
				if at >= 0 {
					_, _ = to.Write(b[:at])
					for err == nil { // the sender notices nothing
						_, err = from.Read(buf)
					}
					<-p.done
					return
				}
			}
		}
		if _, werr := to.Write(b); err != nil || werr != nil {
			return
		}
		sent += int64(n)
	}
}

// wait reports false when the proxy is closed meanwhile.
func (p *Proxy) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.done:
		return false
	}
}

// Random returns rules for the first connections: most of them break somewhere, and none is garbled.
func Random(r *rand.Rand, conns int) string {
	var rules strings.Builder
	for conn := 1; conn < conns; conn++ {
		at := 200 + r.IntN(40_000)
		switch r.IntN(8) {
		case 0, 1, 2:
			fmt.Fprintf(&rules, "conn %d: cut server after %d\n", conn, at)
		case 3:
			fmt.Fprintf(&rules, "conn %d: cut client after %d\n", conn, 50+r.IntN(2000))
		case 4:
			fmt.Fprintf(&rules, "conn %d: stall server after %d\n", conn, at)
		case 5:
			fmt.Fprintf(&rules, "conn %d: delay server %dms\n", conn, 1+r.IntN(50))
		}
	}
	return rules.String()
}

type rule struct {
	conn         int // 0: every
	action, side string
	pause        time.Duration
	rate         int64
	after        int64  // bytes, where text is empty
	text         []byte // or behind this
	times        int    // for the how manieth time

	spent bool
	seen  []byte // the end of what went by, for texts that come in pieces
}

// hit returns where in b the place of the rule is, -1 for nowhere. The place may be right behind the end of b.
func (r *rule) hit(b []byte, sent int64) int {
	if r.spent || r.action == "delay" || r.action == "throttle" {
		return -1
	}
	if r.text == nil {
		if at := r.after - sent; at >= 0 && at < int64(len(b)) || at == int64(len(b)) && r.action != "garble" {
			return int(at)
		}
		return -1
	}
	all := append(r.seen, b...)
	from := 0
	for {
		i := bytes.Index(all[from:], r.text)
		if i < 0 {
			break
		}
		from += i + len(r.text)
		if r.times--; r.times == 0 {
			at := from - len(r.seen)
			if r.action == "garble" && at == len(b) { // it is the first byte of the next read
				r.text, r.after = nil, sent+int64(len(b))
				return -1
			}
			return at
		}
	}
	keep := min(len(r.text)-1, len(all)-from)
	r.seen = bytes.Clone(all[len(all)-keep:])
	return -1
}

var errRule = errors.New("not a rule")

func parse(text string) ([]rule, error) {
	var out []rule
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		r, err := parseRule(line)
		if err != nil {
			return nil, fmt.Errorf("faultnet: %q: %w", line, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parseRule(line string) (r rule, err error) {
	if rest, ok := strings.CutPrefix(line, "conn "); ok {
		n, after, ok := strings.Cut(rest, ":")
		if r.conn, err = strconv.Atoi(n); !ok || err != nil || r.conn < 1 {
			return r, errRule
		}
		line = strings.TrimSpace(after)
	}
	f := strings.SplitN(line, " ", 3)
	if len(f) != 3 || f[1] != "server" && f[1] != "client" {
		return r, errRule
	}
	r.action, r.side = f[0], f[1]
	switch r.action {
	case "delay":
		r.pause, err = time.ParseDuration(f[2])
		return r, err
	case "throttle":
		if r.rate, err = strconv.ParseInt(f[2], 10, 64); err == nil && r.rate < 1 {
			err = errRule
		}
		return r, err
	case "cut", "stall", "garble":
	default:
		return r, errRule
	}
	where, ok := strings.CutPrefix(f[2], "after ")
	if !ok {
		return r, errRule
	}
	i := strings.IndexByte(where, '"')
	if i < 0 {
		r.after, err = strconv.ParseInt(where, 10, 64)
		return r, err
	}
	r.times = 1
	if i > 0 {
		if r.times, err = strconv.Atoi(strings.TrimSpace(where[:i])); err != nil || r.times < 1 {
			return r, errRule
		}
	}
	t, err := strconv.Unquote(where[i:])
	if err == nil && t == "" {
		err = errRule
	}
	r.text = []byte(t)
	return r, err
}
