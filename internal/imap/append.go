package imap

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// AppendMessage is a message to be put into a mailbox.
type AppendMessage struct {
	Flags []string
	Date  time.Time // becomes the INTERNALDATE; zero: the server's now
	// Body gives exactly Size bytes. They must end in CRLF: Yahoo takes what follows other ends for an argument. If Body is
	// an io.Seeker this is looked after, by adding the line end to the message; else it is up to the caller.
	Body io.Reader
	Size int64
	// UTF8 says that the header is in UTF-8 (RFC 6532). Where UTF8=ACCEPT was enabled it is announced as such (RFC 6855 4).
	UTF8 bool
	// Binary says that there are NULs in it, which only servers with BINARY take (RFC 3516 4.4).
	Binary bool
}

// Appended is what the server said about the messages it took (APPENDUID, RFC 4315 3). Many say nothing, some say it wrong.
type Appended struct {
	UIDValidity uint32 // 0: not told
	UIDs        []uint32
}

var (
	errNoAppend   = errors.New("nothing to append")
	errBodyShort  = errors.New("message is shorter than its announced size")
	errBodyLong   = errors.New("message is longer than its announced size")
	errNoBinary   = errors.New("server does not offer BINARY")
	errMultiple   = errors.New("server does not offer MULTIAPPEND")
	errAppendSize = errors.New("message is larger than the server takes")
)

// freeLiteral is up to what size a literal goes without asking where LITERAL+ is offered. The server can refuse larger
// messages before they are sent.
const freeLiteral = 64 << 10

// Append puts a message into a mailbox (RFC 3501 6.3.11) and streams it from its reader. The server may refuse it before
// the first byte; that is an ordinary refusal. A reader that fails, or gives more or less than announced, ends the session:
// the server then never sees the end of the command and stores nothing.
//
// It fails with Permanent, having sent nothing, when the message is larger than the server's APPENDLIMIT (RFC 7889).
func (s *Session) Append(ctx context.Context, raw string, m AppendMessage) (Appended, error) {
	return s.append(ctx, "APPEND", UIDSet{}, raw, []AppendMessage{m})
}

// AppendAll puts several messages into a mailbox, all of them or none (MULTIAPPEND, RFC 3502). It fails with Permanent,
// having sent nothing, where that is not offered and there is more than one.
func (s *Session) AppendAll(ctx context.Context, raw string, ms []AppendMessage) (Appended, error) {
	if len(ms) > 1 && !s.Caps().Has("MULTIAPPEND") {
		return Appended{}, &Error{Class: Permanent, Cmd: "APPEND", Err: errMultiple}
	}
	return s.append(ctx, "APPEND", UIDSet{}, raw, ms)
}

func (s *Session) append(ctx context.Context, name string, replaced UIDSet, raw string, ms []AppendMessage) (Appended, error) {
	var out Appended
	if len(ms) == 0 {
		return out, &Error{Class: Permanent, Cmd: name, Err: errNoAppend}
	}
	l := s.newLine(name)
	if !replaced.Empty() {
		l.b = append(l.b[:0], "UID "...)
		l.b = append(l.b, name...)
		l.b = append(l.b, ' ')
		l.b = replaced.append(l.b)
		l.nameEnd = len(l.b)
	}
	l.text(" ")
	l.str(raw)
	for i := range ms {
		if err := s.message(l, &ms[i]); err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Cmd = name
				return out, e
			}
			return out, &Error{Class: Permanent, Cmd: name, Err: err}
		}
	}
	if err := s.enter(ctx, name); err != nil {
		return out, err
	}
	defer s.leave()
	h := func(kind string, _ uint32, _ *parser) (bool, error) {
		// REPLACE tells it before the expunge (RFC 8508 3.4).
		if kind == "OK" && s.status.code == "APPENDUID" {
			out.take(s.status, len(ms))
			return true, nil
		}
		return false, nil
	}
	c, err := s.send(name, l, h)
	if err == nil {
		err = s.wait(c, h)
		out.take(c.st, len(ms))
	}
	if len(out.UIDs) != len(ms) {
		out = Appended{}
	}
	return out, err
}

// message writes one message of an APPEND (RFC 3501 9, append; RFC 3516 4.4; RFC 6855 4).
func (s *Session) message(l *line, m *AppendMessage) error {
	if len(m.Flags) > 0 {
		l.text(" ")
		l.flags(m.Flags)
	}
	if !m.Date.IsZero() {
		l.text(" " + internalDate(m.Date))
	}
	if m.Body == nil || m.Size <= 0 { // an empty message cancels the APPEND (RFC 3502 6.3.11)
		return errNoAppend
	}
	tail, err := lineEnd(m)
	if err != nil {
		return err
	}
	size := m.Size + int64(len(tail))
	if limit, ok := s.Caps().AppendLimit(); ok && size > limit {
		return &Error{Class: Permanent, Code: "TOOBIG", Err: errAppendSize}
	}
	l.text(" ")
	utf8 := m.UTF8 && s.utf8
	switch {
	case utf8:
		l.text("UTF8 (~")
	case m.Binary && !s.Caps().Has("BINARY"):
		return errNoBinary
	case m.Binary:
		l.text("~")
	}
	free := l.plus && size <= freeLiteral || l.minus && size <= 4096
	l.text("{" + strconv.FormatInt(size, 10))
	if free {
		l.text("+")
	}
	l.text("}\r\n")
	l.cuts = append(l.cuts, cut{at: len(l.b), wait: !free, body: m.Body, size: m.Size, tail: tail})
	if utf8 {
		l.text(")")
	}
	return nil
}

// lineEnd returns what is missing of the CRLF at the end of a message whose end can be looked at.
func lineEnd(m *AppendMessage) (string, error) {
	sk, ok := m.Body.(io.Seeker)
	if !ok {
		return "", nil
	}
	at, err := sk.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", nil // a pipe that is an *os.File
	}
	var end [2]byte
	b := end[:min(m.Size, 2)]
	if _, err = sk.Seek(at+m.Size-int64(len(b)), io.SeekStart); err != nil {
		return "", err
	}
	if _, err = io.ReadFull(m.Body, b); err != nil {
		return "", errBodyShort
	}
	if _, err = sk.Seek(at, io.SeekStart); err != nil {
		return "", err
	}
	switch {
	case string(b) == "\r\n":
		return "", nil
	case b[len(b)-1] == '\r':
		return "\n", nil
	}
	return "\r\n", nil
}

// internalDate writes a date-time (RFC 3501 9).
func internalDate(t time.Time) string { return t.Format(`"_2-Jan-2006 15:04:05 -0700"`) }

// upload streams a message. c may be answered when it returns without an error: then the server has refused and is gone.
func (s *Session) upload(at *cut, c *command, h handler) error {
	buf := make([]byte, min(at.size+int64(len(at.tail)), 64<<10))
	left := at.size
	for left > 0 {
		n, err := io.ReadFull(at.body, buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return s.fail(&Error{Class: Permanent, Cmd: s.cmd, Err: errBodyShort})
		case err != nil:
			return s.fail(sinkError{err})
		}
		if left == 0 {
			// Before the last bytes go: the server must not take a message that was cut.
			if extra, _ := at.body.Read(make([]byte, 1)); extra > 0 {
				return s.fail(&Error{Class: Permanent, Cmd: s.cmd, Err: errBodyLong})
			}
		}
		if err := s.put(buf[:n]); err != nil {
			return s.lastWords(c, h, err)
		}
	}
	s.wbuf = append(s.wbuf[:0], at.tail...)
	return nil
}

// lastWords reads what the server said before the connection stopped taking bytes: often why.
func (s *Session) lastWords(c *command, h handler, cause error) error {
	for !c.done {
		if err := s.step(h); err != nil {
			if ClassOf(err) == Network && err.(*Error).Status == "" {
				break
			}
			return err
		}
	}
	if err := c.result(); c.done && err != nil {
		return s.fail(err)
	}
	return s.fail(cause)
}

// take reads APPENDUID from the answer to an APPEND of n messages. Its set is in the order of the messages.
func (a *Appended) take(st status, n int) {
	if st.code != "APPENDUID" {
		return
	}
	f := strings.Fields(st.arg)
	if len(f) != 2 {
		return
	}
	validity, digits := parseUID([]byte(f[0]))
	runs, ok := parseRuns([]byte(f[1]))
	if digits != len(f[0]) || validity == Star || !ok {
		return
	}
	a.UIDValidity, a.UIDs = validity, nil
	for _, r := range runs {
		if int(r.Stop-r.Start) >= n-len(a.UIDs) { // more than there are messages
			*a = Appended{}
			return
		}
		for u := r.Start; u <= r.Stop; u++ {
			a.UIDs = append(a.UIDs, u)
		}
	}
}

// AppendLimit returns the size of the largest message the server takes in any mailbox (APPENDLIMIT, RFC 7889), if it
// says so for all of them at once.
func (c Caps) AppendLimit() (int64, bool) { return c.number("APPENDLIMIT=") }
