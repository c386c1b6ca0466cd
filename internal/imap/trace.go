package imap

import (
	"bytes"
	"fmt"
)

// maxTrace bounds one line of the transcript.
const maxTrace = 400

// traceOut writes what is sent, without the arguments of logins.
func (s *Session) traceOut(l *line, from int) {
	if s.o.Trace == nil {
		return
	}
	b := s.wbuf
	if l.hide {
		b = []byte("(hidden)")
		if from == 0 {
			b = append(append([]byte(nil), s.wbuf[:bytes.IndexByte(s.wbuf, ' ')+1+l.nameEnd]...), " (hidden)"...)
		}
	}
	s.trace("C: ", b)
}

// traceIn writes what was received: of FETCH only the start and no strings, of literals nothing.
func (s *Session) traceIn(f frame) {
	if s.o.Trace == nil {
		return
	}
	b, _, more := bytes.Cut(f.b, []byte("\n"))
	if b[0] == '+' && s.secretText != "" {
		b, more = []byte("+ (hidden)"), false // salt and proof are enough to guess passwords with
	}
	if _, rest, ok := untaggedNumber(b); ok && hasPrefixFold(rest, "FETCH") {
		if i := bytes.IndexByte(b, '"'); i >= 0 {
			b, more = b[:i], true
		}
	}
	s.trace("S: ", b)
	if more && len(bytes.TrimSpace(f.b)) > len(b)+2 {
		s.trace("S: ", fmt.Appendf(nil, "... %d bytes", len(f.b)-len(b)))
	}
}

func (s *Session) trace(who string, b []byte) {
	b = bytes.TrimRight(b, "\r\n")
	if len(b) > maxTrace {
		b = b[:maxTrace]
	}
	// A trace that can't be written is not worth a connection.
	_, _ = fmt.Fprintf(s.o.Trace, "%s%s\n", who, cleanText(s.scrub(string(b))))
}
