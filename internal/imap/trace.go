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
	if l.nameEnd > 0 && string(l.b[:l.nameEnd]) == "UID SEARCH" { // criteria may quote mail
		if i := bytes.IndexByte(b, '"'); i >= 0 {
			b = append(b[:i:i], "(hidden)"...)
		}
	}
	s.trace("C: ", b)
}

// private returns where what a mail says may begin in a FETCH: at the first string, or behind the name of an item that tells
// of content, whose texts sloppy servers write without quotes. -1: nowhere.
func private(b []byte) int {
	b = upperASCII(bytes.Clone(b))
	at := bytes.IndexByte(b, '"')
	for _, item := range [...]string{"ENVELOPE", "BODYSTRUCTURE", "BODY[", "BODY ", "BINARY[", "RFC822.HEADER", "RFC822.TEXT", "RFC822 ", "PREVIEW", "SNIPPET"} {
		if i := bytes.Index(b, []byte(item)); i >= 0 && (at < 0 || i+len(item) < at) {
			at = i + len(item)
		}
	}
	return at
}

// traceIn writes what was received: of FETCH only the start and no strings, of literals nothing.
func (s *Session) traceIn(f frame) {
	if s.o.Trace == nil {
		return
	}
	b, _, more := bytes.Cut(f.b, []byte("\n"))
	if b[0] == '+' && len(s.secrets) > 0 {
		b, more = []byte("+ (hidden)"), false // salt and proof are enough to guess passwords with
	}
	if _, rest, ok := untaggedNumber(b); ok && (hasPrefixFold(rest, "FETCH") || hasPrefixFold(rest, "UIDFETCH")) {
		if i := private(rest); i >= 0 {
			b, more = b[:len(b)-len(rest)+i], true
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
