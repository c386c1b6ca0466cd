package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// tap forwards connections to an IMAP server and notes what goes by.
type tap struct {
	net.Listener
	sent chan struct{} // a command was sent

	mu       sync.Mutex
	conns    int
	commands []string
	turns    int               // how often a client spoke after the server had: round trips
	bytes    int64             // from servers
	last     time.Time         // when bytes last went either way
	login    time.Time         // when the first login was answered
	unasked  func(line string) // called with what servers say to clients that idle; nil: nobody listens
}

// newTap listens before the server at addr.
func newTap(addr string) (*tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{Listener: l, sent: make(chan struct{}, 1)}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			t.mu.Lock()
			t.conns++
			t.mu.Unlock()
			c := &tapped{tap: t, last: "greeting"}
			go c.copy(out, in, c.fromClient)
			go c.copy(in, out, c.fromServer)
		}
	}()
	return t, nil
}

// tapped is one connection. The lock of the tap guards it.
type tapped struct {
	*tap
	last     string // command
	answered bool   // the server has spoken since
	rest     []byte // the beginning of a line that an idling client is being told
}

func (c *tapped) copy(to, from net.Conn, see func([]byte)) {
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			see(b[:n])
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				from.Close()
			}
			return
		}
	}
}

func (c *tapped) fromClient(b []byte) {
	c.mu.Lock()
	c.tap.last = time.Now()
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) == 1 && strings.EqualFold(f[0], "DONE") {
			c.last = "DONE"
		}
		if len(f) < 2 {
			continue
		}
		c.last = strings.ToUpper(f[1])
		if c.last == "UID" && len(f) > 2 {
			c.last += " " + strings.ToUpper(f[2])
		}
		c.commands = append(c.commands, c.last)
	}
	if c.answered {
		c.turns++
		c.answered = false
	}
	c.mu.Unlock()
	select {
	case c.sent <- struct{}{}:
	default:
	}
}

func (c *tapped) fromServer(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tap.last = time.Now()
	c.bytes += int64(len(b))
	c.answered = true
	switch {
	case c.login.IsZero() && (c.last == "LOGIN" || c.last == "AUTHENTICATE") && bytes.Contains(b, []byte(" OK ")):
		c.login = time.Now()
	case c.last == "IDLE" && c.unasked != nil:
		c.rest = append(c.rest, b...)
		for {
			line, rest, ok := bytes.Cut(c.rest, []byte("\r\n"))
			if !ok {
				break
			}
			c.unasked(string(line))
			c.rest = rest
		}
	default:
		c.rest = nil
	}
}

// listen has f called with every line that a server says to an idling client, as it passes.
func (t *tap) listen(f func(line string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unasked = f
}

// take returns the commands and round trips since the last call.
func (t *tap) take() (n, turns int, commands string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.sent:
	default:
	}
	n, turns, commands = len(t.commands), t.turns, summary(t.commands)
	t.commands, t.turns = nil, 0
	return n, turns, commands
}

// summary joins commands, and counts those that follow each other.
func summary(commands []string) string {
	var out []string
	for i := 0; i < len(commands); {
		n := 1
		for i+n < len(commands) && commands[i+n] == commands[i] {
			n++
		}
		out = append(out, commands[i])
		if n > 1 {
			out[len(out)-1] = fmt.Sprintf("%d %s", n, commands[i])
		}
		i += n
	}
	return strings.Join(out, ", ")
}

// connected is how many connections there were, received how many bytes servers have sent, loggedIn when the first login was answered.
func (t *tap) connected() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns
}

func (t *tap) received() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

func (t *tap) loggedIn() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.login
}

// next waits for a command.
func (t *tap) next(ctx context.Context) error {
	select {
	case <-t.sent:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quiet waits until nothing was said for two seconds.
func (t *tap) quiet(ctx context.Context) error {
	for {
		t.mu.Lock()
		left := 2*time.Second - time.Since(t.last)
		t.mu.Unlock()
		if left <= 0 {
			return nil
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
