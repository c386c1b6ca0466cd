package imap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"strings"
)

// A Mechanism is one way to prove who we are (SASL, RFC 4422). It serves one Authenticate.
type Mechanism interface {
	// Name is as registered, in upper case.
	Name() string
	// Start returns what the client says first; nil: the server speaks first.
	Start() ([]byte, error)
	// Next answers a challenge, or returns ErrNoAnswer to ignore it. Another error ends the session.
	Next(challenge []byte) ([]byte, error)
	// Done is asked whether the server may say OK now. An error ends the session.
	Done() error
	// Refused is asked why the server said no; nil: it gave no reason of its own.
	Refused() error
	// Secret must not be seen in errors and traces.
	Secret() string
}

// ErrNoAnswer is what a Mechanism says to a challenge that it ignores.
var ErrNoAnswer = errors.New("no answer to this challenge")

var (
	errNoMechanism = errors.New("server does not offer this authentication mechanism")
	errChallenges  = errors.New("too many challenges")
	errSASLName    = errors.New("name or secret contains NUL or is empty")
)

// Authenticate proves who we are with a mechanism (AUTHENTICATE, RFC 3501 6.2.2; in one round trip fewer where SASL-IR,
// RFC 4959, is offered). It fails with Permanent, having sent nothing, where the mechanism is not offered, and else as
// Login does. What the mechanism knows of a refusal, such as an *OAuthError, is in the chain of the error.
func (s *Session) Authenticate(ctx context.Context, m Mechanism) error {
	if err := s.enter(ctx, "AUTHENTICATE"); err != nil {
		return err
	}
	defer s.leave()
	if !s.secure() {
		return &Error{Class: Permanent, Cmd: "AUTHENTICATE", Err: errInsecure}
	}
	if !s.Caps().Has("AUTH=" + m.Name()) {
		return &Error{Class: Permanent, Cmd: "AUTHENTICATE", Err: errNoMechanism}
	}
	s.hide(m.Secret())
	defer func() { s.secrets = nil }()
	before := s.capsAt
	if err := s.authenticate(m); err != nil {
		return err
	}
	return s.loggedIn(before)
}

// maxChallenges bounds the conversation.
const maxChallenges = 16

// authenticate is the conversation: first what the client says unasked, then an answer to each challenge.
func (s *Session) authenticate(m Mechanism) error {
	first, err := m.Start()
	if err != nil {
		return &Error{Class: Permanent, Cmd: "AUTHENTICATE", Err: err}
	}
	l := s.newLine("AUTHENTICATE")
	l.hide = true
	l.text(" ")
	l.atom(m.Name())
	if first != nil && s.Caps().Has("SASL-IR") {
		text := saslText(first)
		s.hide(text)
		l.text(" " + text)
		first = nil
	}
	s.cont = false
	c, err := s.send("AUTHENTICATE", l, nil)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		for !s.cont && !c.done {
			if err := s.step(nil); err != nil {
				return err
			}
		}
		if c.done {
			break
		}
		if n == maxChallenges {
			return s.fail(protoError{errChallenges})
		}
		s.cont = false
		answer := first
		if first = nil; answer == nil {
			challenge, err := base64.StdEncoding.DecodeString(string(s.challenge))
			if err != nil {
				challenge = s.challenge // words for people, perhaps; the mechanism knows what to make of it
			}
			answer, err = m.Next(challenge)
			switch {
			case errors.Is(err, ErrNoAnswer):
				continue
			case err != nil:
				return s.fail(protoError{err})
			}
		}
		text := base64.StdEncoding.EncodeToString(answer)
		s.hide(text)
		s.wbuf = append(append(s.wbuf[:0], text...), '\r', '\n')
		if s.o.Trace != nil {
			s.trace("C: ", []byte("(hidden)"))
		}
		if err := s.write(s.wbuf); err != nil {
			return err
		}
	}
	if err := c.result(); err != nil {
		return refusal(err, m.Refused())
	}
	if err := m.Done(); err != nil {
		return s.fail(protoError{err})
	}
	return nil
}

// saslText writes an initial response; empty is not the same as none (RFC 4959 3).
func saslText(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}

// refusal joins the server's answer and what the mechanism was told before.
func refusal(err, why error) error {
	var e *Error
	if why == nil || !errors.As(err, &e) {
		return err
	}
	e.Err = why
	var o *OAuthError
	if errors.As(why, &o) {
		switch {
		case o.temporary():
			e.Class = TransientAccount
		case e.Class != TransientAccount:
			e.Class = AuthFailed
		}
	}
	return e
}

// loggedIn refreshes the capabilities unless the server sent them along, counted from before.
func (s *Session) loggedIn(before int) error {
	// iCloud gives a short list with the OK and the whole one when asked (Mailspring-Sync, 2024).
	if s.capsAt == before || s.Caps().Has("XAPPLEPUSHSERVICE") {
		return s.capability()
	}
	return nil
}

// simple is a mechanism in which the client says one thing.
type simple struct {
	name, first, secret string
	ack                 string // answer to whatever the server says then
	oauth               *OAuthError
	isOAuth             bool
}

func (m *simple) Name() string   { return m.name }
func (m *simple) Secret() string { return m.secret }
func (m *simple) Done() error    { return nil }

func (m *simple) Start() ([]byte, error) { return []byte(m.first), nil }

func (m *simple) Refused() error {
	if m.oauth == nil {
		return nil
	}
	return m.oauth
}

func (m *simple) Next(challenge []byte) ([]byte, error) {
	if !m.isOAuth {
		return nil, ErrNoAnswer // some servers ask although they have been told
	}
	// Whatever it says, the conversation has to be ended in order, so that the session can be used again.
	m.oauth = &OAuthError{}
	if json.Unmarshal(challenge, m.oauth) != nil {
		m.oauth = &OAuthError{Status: cleanText(string(challenge))}
	}
	m.oauth.clean(m.secret)
	return []byte(m.ack), nil
}

// broken is a mechanism that can't begin.
type broken struct {
	simple
	err error
}

func (m *broken) Start() ([]byte, error) { return nil, m.err }

// SASLPlain is PLAIN (RFC 4616).
func SASLPlain(user, password string) Mechanism {
	m := simple{name: "PLAIN", first: "\x00" + user + "\x00" + password, secret: password}
	if user == "" || strings.Contains(user+password, "\x00") {
		return &broken{m, errSASLName}
	}
	return &m
}

// saslLogin is LOGIN: the server asks for the name, then for the password.
type saslLogin struct {
	user, password string
	asked          int
}

// SASLLogin is LOGIN (draft-murchison-sasl-login-00), for servers that offer nothing better.
func SASLLogin(user, password string) Mechanism { return &saslLogin{user: user, password: password} }

func (m *saslLogin) Name() string   { return "LOGIN" }
func (m *saslLogin) Secret() string { return m.password }
func (m *saslLogin) Done() error    { return nil }
func (m *saslLogin) Refused() error { return nil }

func (m *saslLogin) Start() ([]byte, error) {
	if m.user == "" || strings.Contains(m.user+m.password, "\x00") {
		return nil, errSASLName
	}
	return nil, nil
}

func (m *saslLogin) Next([]byte) ([]byte, error) {
	switch m.asked++; m.asked {
	case 1:
		return []byte(m.user), nil
	case 2:
		return []byte(m.password), nil
	}
	return nil, ErrNoAnswer
}

// OAuthError is what a server says of a token it refuses.
type OAuthError struct {
	Status  string `json:"status"` // "invalid_token" (RFC 7628), or "400", "401" (XOAUTH2)
	Schemes string `json:"schemes"`
	Scope   string `json:"scope"` // what a token would need
	Config  string `json:"openid-configuration"`
}

func (e *OAuthError) Error() string {
	text := "token refused: status " + strconv.Quote(e.Status)
	if e.Scope != "" {
		text += ", scope " + strconv.Quote(e.Scope)
	}
	return text
}

func (e *OAuthError) clean(secret string) {
	for _, f := range [...]*string{&e.Status, &e.Schemes, &e.Scope, &e.Config} {
		if len(secret) >= 16 { // shorter ones are no tokens, and may be part of any word
			*f = strings.ReplaceAll(*f, secret, "***")
		}
		*f = cleanText(*f)
	}
}

// temporary reports whether the token is not at fault: 5xx, and what RFC 6749 4.1.2.1 has for it.
func (e *OAuthError) temporary() bool {
	return len(e.Status) == 3 && e.Status[0] == '5' || e.Status == "temporarily_unavailable" || e.Status == "server_error"
}

// XOAuth2 is Google's and Microsoft's mechanism for access tokens (developers.google.com/gmail/imap/xoauth2-protocol).
func XOAuth2(user, token string) Mechanism {
	m := simple{name: "XOAUTH2", first: "user=" + user + "\x01auth=Bearer " + token + "\x01\x01", secret: token, isOAuth: true}
	if token == "" || strings.ContainsAny(user+token, "\x00\x01\r\n") {
		return &broken{m, errSASLName}
	}
	return &m
}

// OAuthBearer is the standard's mechanism for access tokens (RFC 7628 3.1). addr is the host:port the server is known
// by; it may be empty.
func OAuthBearer(user, token, addr string) Mechanism {
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
	first := "n,a=" + name + ",\x01"
	if host, port, err := net.SplitHostPort(addr); err == nil {
		first += "host=" + host + "\x01port=" + port + "\x01"
	}
	m := simple{name: "OAUTHBEARER", first: first + "auth=Bearer " + token + "\x01\x01", secret: token, ack: "\x01", isOAuth: true}
	if token == "" || strings.ContainsAny(user+token+addr, "\x00\x01\r\n") {
		return &broken{m, errSASLName}
	}
	return &m
}
