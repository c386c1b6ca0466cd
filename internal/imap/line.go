package imap

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A line is a command being written. Arguments can't break out of it: CR, LF and NUL are refused everywhere, and
// what cannot be quoted goes as a literal (RFC 3501 4.3, 9).
type line struct {
	b       []byte
	cuts    []cut
	err     error
	hide    bool // nothing behind the name may be traced
	plus    bool // LITERAL+
	minus   bool // LITERAL-
	nameEnd int
	limit   int  // bytes the command may have; 0: no limit of its own
	utf8    bool // quoted strings may be in UTF-8 (RFC 6855 3)
}

// A cut is a place behind `{n}` CRLF where sending pauses: for the server's go-ahead, for bytes from a reader, or both.
type cut struct {
	at   int
	wait bool      // for the go-ahead
	body io.Reader // its first size bytes, then tail, come before the rest of the line
	size int64
	tail string
}

var (
	errControl = errors.New("argument contains CR, LF or NUL")
	errLiteral = errors.New("argument announces a literal")
	errCommand = errors.New("command is longer than the server takes")
	errAtom    = errors.New("argument is not an atom")
)

func (s *Session) newLine(name string) *line {
	caps := s.Caps()
	return &line{b: append(make([]byte, 0, 128), name...), plus: caps.Has("LITERAL+"), minus: caps.Has("LITERAL-"), utf8: s.utf8, nameEnd: len(name)}
}

// text adds what we wrote ourselves.
func (l *line) text(t string) { l.b = append(l.b, t...) }

// checked adds text from outside that is already encoded and ends the command. It may not announce a literal, which
// the next command would be taken for.
func (l *line) checked(t string) {
	if strings.ContainsAny(t, "\r\n\x00") {
		l.err = errControl
		return
	}
	if _, literal := literalAt([]byte(t + "\n")); literal {
		l.err = errLiteral
		return
	}
	l.b = append(l.b, t...)
}

// atom adds an atom from outside.
func (l *line) atom(t string) {
	if !isAtom(t) {
		l.err = errAtom
	}
	l.b = append(l.b, t...)
}

func isAtom(t string) bool {
	for i := range len(t) {
		if c := t[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\`, c) >= 0 {
			return false
		}
	}
	return t != ""
}

// str adds a string: quoted where that is allowed, else as a literal.
func (l *line) str(t string) {
	if strings.ContainsAny(t, "\r\n\x00") {
		l.err = errControl
		return
	}
	literal := len(t) > 1000
	for i := 0; i < len(t) && !literal; i++ {
		literal = t[i] < 0x20 || t[i] == 0x7f || t[i] > 0x7f && !l.utf8
	}
	literal = literal || !utf8.ValidString(t)
	if literal {
		l.b = append(l.b, '{')
		l.b = strconv.AppendInt(l.b, int64(len(t)), 10)
		free := l.plus || l.minus && len(t) <= 4096 // RFC 7888
		if free {
			l.b = append(l.b, '+')
		}
		l.b = append(l.b, '}', '\r', '\n')
		if !free {
			l.cuts = append(l.cuts, cut{at: len(l.b), wait: true})
		}
		l.b = append(l.b, t...)
		return
	}
	l.b = append(l.b, '"')
	for i := range len(t) {
		if t[i] == '"' || t[i] == '\\' {
			l.b = append(l.b, '\\')
		}
		l.b = append(l.b, t[i])
	}
	l.b = append(l.b, '"')
}

// append adds another line, cuts and all.
func (l *line) append(o *line) {
	for _, c := range o.cuts {
		c.at += len(l.b)
		l.cuts = append(l.cuts, c)
	}
	l.b = append(l.b, o.b...)
	if l.err == nil {
		l.err = o.err
	}
}
