package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// ErrClass says what the caller may do about an error.
type ErrClass int

const (
	// Unclassified is the class of nil and of errors that are not from here.
	Unclassified ErrClass = iota
	// Transient: this operation failed, another one or a later try may work; the session lives unless Err says otherwise.
	Transient
	// TransientAccount: the server wants the account left alone for a while; see Error.BackOff.
	TransientAccount
	// AuthFailed: the server refuses the credentials; the user has to act.
	AuthFailed
	// Permanent: the same request will fail again.
	Permanent
	// Protocol: the server said something that cannot be understood safely; the session is dead.
	Protocol
	// Network: the connection failed, went silent or was ended by the server (BYE); the session is dead.
	Network
	// Canceled: the caller ended it by context, sink or CloseNow; the session is dead.
	Canceled
)

var classNames = [...]string{"unclassified", "transient", "account", "auth", "permanent", "protocol", "network", "canceled"}

func (c ErrClass) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return "ErrClass(" + strconv.Itoa(int(c)) + ")"
	}
	return classNames[c]
}

// Error is what every call of this package fails with.
type Error struct {
	Class   ErrClass
	Status  string        // "NO", "BAD", "BYE" (or "OK" with a code that means partial); empty when the server did not speak
	Code    string        // response code atom, e.g. "AUTHENTICATIONFAILED"; empty: none
	Text    string        // the server's words, shortened
	Cmd     string        // the command's name
	BackOff time.Duration // how long the server asked us to wait; 0: it did not say
	Err     error         // the cause when it is not the server's answer
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("imap")
	if e.Cmd != "" {
		b.WriteString(" " + e.Cmd)
	}
	if e.Status != "" {
		b.WriteString(": " + e.Status)
		if e.Code != "" {
			b.WriteString(" [" + e.Code + "]")
		}
		if e.Text != "" {
			b.WriteString(" " + strconv.Quote(e.Text))
		}
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of err: that of the Error in its chain, else Canceled for context errors, Network for
// errors of the net package, and Unclassified for nil and everything else.
func ClassOf(err error) ErrClass {
	var e *Error
	var ne net.Error
	switch {
	case err == nil:
		return Unclassified
	case errors.As(err, &e):
		return e.Class
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	case errors.As(err, &ne), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded):
		return Network
	}
	return Unclassified
}

// maxErrText bounds the server's words kept in an Error.
const maxErrText = 512

// statusError turns a NO, BAD or BYE into an Error with class and back-off.
func statusError(cmd, status, code, text string) *Error {
	e := &Error{Status: status, Code: code, Text: cleanText(text), Cmd: cmd}
	e.Class, e.BackOff = classify(cmd, status, code, e.Text)
	return e
}

// cleanText makes a server's words safe for a log line and a terminal: no controls, nothing that turns or hides text.
func cleanText(s string) string {
	if len(s) > maxErrText {
		s = s[:maxErrText]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// accountWords mean "leave this account alone for a while", whatever the status or code.
var accountWords = [...]string{
	"too many simultaneous connections", // Gmail
	"too many connections",
	"maximum number of connections", // Dovecot mail_max_userip_connections
	"too many login",
	"throttled", // Exchange Online
	"suggested backoff time",
	"rate limit", // Yahoo
	"bandwidth limit",
	"try again later",
	"try again in",
	"server unavailable",                  // Exchange Online, outside of the protocol
	"authenticated but not connected",     // Exchange Online: accepted login, refuses the rest
	"session expired, please login again", // Gmail, download limit
	"temporar",
	"server busy",
}

// loginWords, in answer to a login, mean that the server could not check the credentials.
var loginWords = [...]string{"internal error", "system error", "server error", "unable to connect", "backend"}

// fullWords, in answer to a write, mean that there is no room for it (GroupWise and others without OVERQUOTA).
var fullWords = [...]string{"storage limit", "over quota", "quota exceeded", "exceeded the quota", "mailbox is full", "mailbox full"}

// refusedWords, with NO, mean that the request itself is wrong.
var refusedWords = [...]string{"doesn't exist", "does not exist", "unknown mailbox", "no such mailbox", "mailbox already exists",
	"nonexistent namespace", "invalid mailbox name", "name is reserved", "permission denied"}

// userWords mean that the user has to act, when the answer is to a login.
var userWords = [...]string{
	"web browser", "application-specific password", "invalid credentials", "authentication failed", "password",
}

func classify(cmd, status, code, text string) (ErrClass, time.Duration) {
	login := cmd == "LOGIN" || cmd == "AUTHENTICATE"
	low := strings.ToLower(text)
	wait := backOff(low)
	switch code {
	case "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED":
		return AuthFailed, wait
	case "THROTTLED":
		return TransientAccount, wait
	case "LIMIT":
		// Yahoo's is about how often. In answer to a write it is what RFC 5530 says: too large, too many; unless it says so.
		if !writes(cmd) || strings.Contains(low, "rate") {
			return TransientAccount, wait
		}
		return Permanent, wait
	case "MESSAGELIMIT":
		return Transient, wait
	}
	if wait > 0 {
		return TransientAccount, wait
	}
	for _, w := range accountWords {
		if strings.Contains(low, w) {
			return TransientAccount, 0
		}
	}
	if login {
		for _, w := range loginWords {
			if strings.Contains(low, w) {
				return TransientAccount, 0
			}
		}
	}
	switch code {
	case "UNAVAILABLE", "INUSE", "SERVERBUG": // a subsystem is down; on FETCH often one bad message (Yahoo, Dovecot)
		if login || status == "BYE" {
			return TransientAccount, 0
		}
		return Transient, 0
	case "OVERQUOTA":
		if strings.Contains(low, "bandwidth") || login {
			return TransientAccount, 0
		}
		return Permanent, 0
	case "EXPUNGEISSUED", "CORRUPTION":
		return Transient, 0
	case "NONEXISTENT", "NOPERM", "CANNOT", "ALREADYEXISTS", "TRYCREATE", "BADCHARSET", "CLIENTBUG", "PARSE",
		"PRIVACYREQUIRED", "CONTACTADMIN", "TOOBIG", "UNKNOWN-CTE", "BADEVENT":
		return Permanent, 0
	}
	if login && status == "NO" {
		return AuthFailed, 0
	}
	if login {
		for _, w := range userWords {
			if strings.Contains(low, w) {
				return AuthFailed, 0
			}
		}
	}
	if status == "NO" {
		for _, w := range fullWords {
			if writes(cmd) && strings.Contains(low, w) {
				return Permanent, 0
			}
		}
		for _, w := range refusedWords {
			if strings.Contains(low, w) {
				return Permanent, 0
			}
		}
	}
	switch status {
	case "BYE":
		// Later in a session it is an ordinary end: inactivity, a restart, IDLE for too long (Yandex).
		if login || cmd == "DIAL" {
			return TransientAccount, 0
		}
		return Network, 0
	case "BAD":
		return Permanent, 0
	}
	return Transient, 0
}

// writes reports whether a command puts something into a mailbox or makes one.
func writes(cmd string) bool {
	switch cmd {
	case "APPEND", "REPLACE", "STORE", "COPY", "MOVE", "CREATE", "RENAME":
		return true
	}
	return false
}

// backOff reads how long a server asks to be left alone: Exchange's "Suggested Backoff Time: 299961 milliseconds", and "try
// again in 5 minutes" as others say; 0 when it does not say.
func backOff(low string) time.Duration {
	for _, key := range [...]string{"suggested backoff time:", "try again in", "retry after"} {
		_, rest, ok := strings.Cut(low, key)
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		digits := strings.TrimRight(f[0], ".,;")
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n <= 0 {
			continue
		}
		unit := time.Second
		if key == "suggested backoff time:" {
			unit = time.Millisecond
		}
		if len(f) > 1 {
			switch word := f[1]; {
			case strings.HasPrefix(word, "milli"), strings.HasPrefix(word, "ms"):
				unit = time.Millisecond
			case strings.HasPrefix(word, "sec"):
				unit = time.Second
			case strings.HasPrefix(word, "min"):
				unit = time.Minute
			case strings.HasPrefix(word, "hour"):
				unit = time.Hour
			}
		}
		return time.Duration(min(n, int64(24*time.Hour/unit))) * unit
	}
	return 0
}
