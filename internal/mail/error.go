package mail

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what the caller of a failed operation may do about it.
type Kind int

// The kinds of errors.
const (
	Internal     Kind = iota // report a bug
	Invalid                  // fix the request
	NotFound                 // the object does not exist
	Conflict                 // read again, then decide
	Unauthorized             // the caller's key is missing or wrong
	Reauth                   // ask the user to log in again
	Unreachable              // host, port, certificate or network: fix the settings or wait
	Limited                  // wait (After), the other side asked for it
	Refused                  // the other side said no, and will again
	Unavailable              // try again later
	Fenced                   // another node acts for the account now
	Expired                  // the cursor is older than what is kept
)

var kindWords = []string{"internal", "invalid", "not found", "conflict", "unauthorized", "re-authentication needed", "unreachable",
	"limited", "refused", "unavailable", "fenced", "expired"}

// String returns the kind in words.
func (k Kind) String() string { return kindWords[k] }

// Error is the one error type that crosses package borders.
type Error struct {
	Op      string        // what was being done, in words a log reader knows: "connect to imap.example.com:993"
	Kind    Kind          // what the caller may do
	Account AccountID     // "" if none
	After   time.Duration // Limited and Unavailable: not before this long; 0 unknown
	Msg     string        // for people: what is wrong and what to do; safe to show to the API's caller
	Err     error         // cause; may hold a provider's text, for logs only
}

// Error joins what is known, cause last.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	if e.Msg != "" {
		b.WriteString(e.Msg)
	} else {
		b.WriteString(e.Kind.String())
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// E makes an Error with a message for people.
func E(kind Kind, op, msg string, cause error) *Error {
	return &Error{Op: op, Kind: kind, Msg: msg, Err: cause}
}

// KindOf returns the kind of the outermost Error in err's chain, Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// IsKind tells whether err is an Error of kind k.
func IsKind(err error, k Kind) bool { return err != nil && KindOf(err) == k }
