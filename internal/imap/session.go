package imap

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Session is one connection to one account. It belongs to one goroutine at a time; only CloseNow, Err and Caps may
// be called by others while a command runs.
type Session struct {
	o    Options
	raw  net.Conn // TCP, closed to abort
	conn net.Conn // what is read and written: raw, or TLS over it
	f    *framer
	p    parser

	wbuf    []byte
	tags    int
	pending []*command // sent, not answered

	ctx       context.Context // of the running command
	cmd       string          // its name, for errors
	busy      atomic.Bool
	logout    bool      // BYE is expected
	idling    bool      // no progress deadline
	deadline  time.Time // the read deadline last set
	moved     int       // bytes read since then, or minProgress for a whole response
	cont      bool      // a continuation request has arrived
	junk      int
	responses int    // to the running command
	answer    int    // bytes of the untagged ones, FETCH not counted
	status    status // of the response being handled
	stop      func() bool
	flags     map[string][]string // flag lists seen, by how they are written
	flagTexts int                 // bytes of their texts
	enabled   map[string]bool     // by ENABLE, as the server confirmed it
	utf8      bool                // UTF8=ACCEPT is enabled
	encrypted bool
	zip       *deflateConn // nil: not compressed
	challenge []byte       // text of the last continuation request
	row       Row
	selected  selected
	notify    bool // NOTIFY is on
	plainList bool // extended LIST was refused or answered with nothing
	esearch   esearchTrust
	secrets   []string // while a login runs: never to be seen in errors and traces

	mu     sync.Mutex
	err    error
	caps   Caps
	capsAt int // grows with each list of capabilities received
	closed atomic.Bool
}

// selected is what the session knows of the open mailbox.
type selected struct {
	open     bool
	raw      string
	readOnly bool
	exists   uint32
	known    UIDRange // what VANISHED may speak of; zero: anything
}

// command is one line sent and not yet answered.
type command struct {
	name, tag string
	size      int
	done      bool
	st        status
}

// A handler gets each untagged response first: its kind in upper case, the number before it if there was one, and
// the parser behind the kind. It reports whether the response was for it. An error means that the response made no
// sense and is skipped, unless it is a sinkError or a protoError.
type handler func(kind string, num uint32, p *parser) (bool, error)

var (
	errBusy   = errors.New("session is in use by another command")
	errClosed = errors.New("session closed")
)

// Err returns why the session is dead, nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Caps returns what the server can do. The list may grow at Login.
func (s *Session) Caps() Caps {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caps
}

func (s *Session) setCaps(c Caps) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caps = c
	s.capsAt++
}

// CloseNow closes the connection without a word. A running command fails with class Canceled. It may be called from
// any goroutine and more than once.
func (s *Session) CloseNow() error {
	s.closed.Store(true)
	s.mu.Lock()
	if s.err == nil {
		s.err = &Error{Class: Canceled, Err: errClosed}
	}
	s.mu.Unlock()
	return s.raw.Close()
}

// fail kills the session, once, and returns why it is dead.
func (s *Session) fail(err error) error {
	var e *Error
	var pe protoError
	var se sinkError
	ctx := s.ctx
	switch {
	case errors.As(err, &se):
		e = &Error{Class: Canceled, Cmd: s.cmd, Err: se.error}
	case s.closed.Load():
		e = &Error{Class: Canceled, Cmd: s.cmd, Err: errClosed}
	case errors.As(err, &e):
	case ctx != nil && ctx.Err() != nil && !s.idling:
		e = &Error{Class: Canceled, Cmd: s.cmd, Err: context.Cause(ctx)}
	case errors.As(err, &pe):
		e = &Error{Class: Protocol, Cmd: s.cmd, Err: pe.error}
	default:
		e = &Error{Class: Network, Cmd: s.cmd, Err: err}
	}
	s.mu.Lock()
	if s.err == nil {
		s.err = e
	}
	s.mu.Unlock()
	_ = s.raw.Close() // the session is dead; there is nothing to lose
	return e
}

// enter begins a command: one at a time, only on a living session, ended by ctx.
func (s *Session) enter(ctx context.Context, cmd string) error {
	if !s.busy.CompareAndSwap(false, true) {
		return &Error{Class: Permanent, Cmd: cmd, Err: errBusy}
	}
	if err := s.Err(); err != nil {
		s.busy.Store(false)
		return err
	}
	if ctx.Err() != nil {
		s.busy.Store(false)
		return &Error{Class: Canceled, Cmd: cmd, Err: context.Cause(ctx)}
	}
	s.ctx, s.cmd = ctx, cmd
	s.recount()
	s.stop = context.AfterFunc(ctx, func() { _ = s.raw.Close() })
	return nil
}

// recount begins to count what the server sends from nothing.
func (s *Session) recount() {
	s.responses, s.answer = 0, 0
	s.zip.newCommand()
}

// leave ends what enter began.
func (s *Session) leave() {
	if !s.stop() && s.Err() == nil {
		_ = s.fail(context.Cause(s.ctx)) // the connection is closed already
	}
	s.ctx = nil
	s.busy.Store(false)
}

// minProgress is how many bytes of a response that is not whole yet count as progress. A byte now and then does not.
const minProgress = 1 << 10

// Read implements io.Reader for the framer, with the progress deadline.
func (s *Session) Read(b []byte) (int, error) {
	if !s.idling && (s.moved >= minProgress || s.deadline.IsZero()) {
		s.moved = 0
		// Setting it costs a little; often enough is enough.
		if now := time.Now(); s.deadline.Sub(now) < s.o.Idle-s.o.Idle/32 {
			s.deadline = now.Add(s.o.Idle)
			if err := s.conn.SetReadDeadline(s.deadline); err != nil {
				return 0, err
			}
		}
	}
	n, err := s.conn.Read(b)
	s.moved += n
	return n, err
}

func (s *Session) write(b []byte) error {
	if err := s.put(b); err != nil {
		return s.fail(err)
	}
	return nil
}

// put is write for those who have a use for what the server said before the connection broke.
func (s *Session) put(b []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.o.Idle)); err != nil {
		return err
	}
	// What was read long ago says nothing about the answer that is now awaited.
	s.deadline = time.Time{}
	_, err := s.conn.Write(b)
	return err
}

// newCommand names a command that is going to be sent.
func (s *Session) newCommand(name string) *command {
	s.tags++
	return &command{name: name, tag: s.o.tag + strconv.Itoa(s.tags)}
}

// send writes one command. Synchronising literals wait for the server's go-ahead, for which nothing else may be in
// flight; a server that refuses instead has then answered the command.
func (s *Session) send(name string, l *line, h handler) (*command, error) {
	if l.err == nil && l.limit > 0 && len(l.b)+tagRoom > l.limit {
		l.err = errCommand
	}
	if l.err != nil {
		return nil, &Error{Class: Permanent, Cmd: name, Err: l.err}
	}
	name = strings.TrimPrefix(name, "UID ")
	c := s.newCommand(name)
	if len(l.cuts) > 0 {
		if err := s.drain(h); err != nil {
			return nil, err
		}
		// A go-ahead that nobody asked for must not count as the one for this literal: a server that then refuses would take
		// the message for commands.
		for s.f.unread() {
			if err := s.step(h); err != nil {
				return nil, err
			}
		}
	}
	s.wbuf = append(s.wbuf[:0], c.tag...)
	s.wbuf = append(s.wbuf, ' ')
	s.pending = append(s.pending, c)
	from := 0
	for i := range l.cuts {
		at := &l.cuts[i]
		s.wbuf = append(s.wbuf, l.b[from:at.at]...)
		s.traceOut(l, from)
		from = at.at
		s.cont = false
		if err := s.write(s.wbuf); err != nil {
			return nil, err
		}
		s.wbuf = s.wbuf[:0]
		for at.wait && !s.cont && !c.done {
			if err := s.step(h); err != nil {
				return nil, err
			}
		}
		if c.done {
			return c, nil
		}
		if at.body != nil {
			if err := s.upload(at, c, h); err != nil {
				return nil, err
			}
			if c.done {
				return c, nil
			}
		}
	}
	s.wbuf = append(s.wbuf, l.b[from:]...)
	s.wbuf = append(s.wbuf, '\r', '\n')
	s.traceOut(l, from)
	c.size = len(s.wbuf)
	return c, s.write(s.wbuf)
}

// wait reads until c is answered.
func (s *Session) wait(c *command, h handler) error {
	for !c.done {
		if err := s.step(h); err != nil {
			return err
		}
	}
	return c.result()
}

// drain reads until everything in flight is answered.
func (s *Session) drain(h handler) error {
	for len(s.pending) > 0 {
		if err := s.step(h); err != nil {
			return err
		}
	}
	return nil
}

// result is nil when the server said OK.
func (c *command) result() error {
	if c.st.status == "OK" {
		return nil
	}
	return statusError(c.name, c.st.status, c.st.code, c.st.text)
}

// run is the life of a simple command. build adds what follows the name.
func (s *Session) run(ctx context.Context, name string, build func(*line), h handler) (status, error) {
	if err := s.enter(ctx, name); err != nil {
		return status{}, err
	}
	defer s.leave()
	return s.exchange(name, build, h)
}

// exchange is run for a session that has been entered.
func (s *Session) exchange(name string, build func(*line), h handler) (status, error) {
	l := s.newLine(name)
	if build != nil {
		build(l)
	}
	c, err := s.send(name, l, h)
	if err != nil {
		return status{}, err
	}
	err = s.wait(c, h)
	return c.st, err
}

// step reads and handles one response.
func (s *Session) step(h handler) error {
	f, err := s.f.next()
	if err != nil {
		return s.fail(err)
	}
	s.moved = minProgress
	s.traceIn(f)
	return s.handle(f, h)
}
