package imap

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Window is a page of messages, counted from the oldest (1 to 100) or from the newest (-1 to -100); the zero value is
// none (PARTIAL, RFC 9394 3).
type Window struct{ From, To int }

func (w Window) none() bool { return w == Window{} }

func (w Window) valid() bool { return w.From > 0 && w.To > 0 || w.From < 0 && w.To < 0 }

func (w Window) String() string { return strconv.Itoa(w.From) + ":" + strconv.Itoa(w.To) }

// PartialError is the cause in the Error of a command that the server carried out for some of the messages only
// (MESSAGELIMIT, RFC 9738 3.1). What was reported or done is good. Servers begin with the highest UID.
type PartialError struct {
	Limit int    // messages per command; 0: not told
	Left  UIDSet // what has not been dealt with
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("server handled only part of the messages, %d at most; left are %.60s", e.Limit, e.Left)
}

// partial makes the error for an OK [MESSAGELIMIT limit lowest], of a command for set.
func partial(name string, st status, set UIDSet) *Error {
	limit, lowest := messageLimit(st)
	e := &PartialError{Limit: limit, Left: set}
	if lowest > 0 {
		e.Left = set.within(UIDRange{1, lowest - 1})
	}
	return &Error{Class: Transient, Status: st.status, Code: st.code, Text: cleanText(st.text), Cmd: name, Err: e}
}

// messageLimit reads the arguments of MESSAGELIMIT; lowest is the lowest UID that was dealt with, 0 when not told.
func messageLimit(st status) (limit int, lowest uint32) {
	f := strings.Fields(st.arg)
	if len(f) > 0 {
		if n, err := strconv.Atoi(f[0]); err == nil && n > 0 {
			limit = n
		}
	}
	if len(f) > 1 {
		if u, n := parseUID([]byte(f[1])); n == len(f[1]) && u != Star {
			lowest = u
		}
	}
	return limit, lowest
}

// MessageLimit returns how many messages one command may be about (MESSAGELIMIT=n, RFC 9738 3), if the server has a limit.
func (c Caps) MessageLimit() (int, bool) {
	n, ok := c.number("MESSAGELIMIT=")
	return int(min(n, math.MaxInt32)), ok && n > 0
}
