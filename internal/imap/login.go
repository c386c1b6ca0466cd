package imap

import (
	"context"
	"errors"
	"strings"
)

var (
	errInsecure      = errors.New("refusing to send a password without TLS")
	errLoginDisabled = errors.New("server offers no login by password")
)

// Login authenticates with SASL PLAIN (RFC 4616; in one round trip where SASL-IR, RFC 4959, is offered), with the command LOGIN
// where the server has no PLAIN, and with SCRAM-SHA-256 or SASL's LOGIN where it has neither. The capabilities are those of the
// logged-in state afterwards. Other mechanisms go through Authenticate.
//
// It fails with AuthFailed when the server refuses the credentials, and with TransientAccount when it refuses for now.
// The password appears in no error and no trace.
func (s *Session) Login(ctx context.Context, user, password string) error {
	caps := s.Caps()
	mech := caps.Has("AUTH=PLAIN")
	// Exchange understands `user\shared` with LOGIN only (imapsync FAQ, imapflow).
	if strings.Contains(user, `\`) && !caps.Has("LOGINDISABLED") {
		mech = false
	}
	m := SASLPlain(user, password)
	if !mech && caps.Has("LOGINDISABLED") {
		switch {
		case caps.Has("AUTH=SCRAM-SHA-256"):
			mech, m = true, SCRAMSHA256(user, password)
		case caps.Has("AUTH=LOGIN"):
			mech, m = true, SASLLogin(user, password)
		}
	}
	if mech {
		return s.Authenticate(ctx, m)
	}
	if err := s.enter(ctx, "LOGIN"); err != nil {
		return err
	}
	defer s.leave()
	if !s.secure() {
		return &Error{Class: Permanent, Cmd: "LOGIN", Err: errInsecure}
	}
	if caps.Has("LOGINDISABLED") {
		return &Error{Class: Permanent, Cmd: "LOGIN", Err: errLoginDisabled}
	}
	s.hide(password, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(password))
	defer func() { s.secrets = nil }()
	before := s.capsAt
	_, err := s.exchange("LOGIN", func(l *line) {
		l.hide = true
		l.text(" ")
		l.str(user)
		l.text(" ")
		l.str(password)
	}, nil)
	if err != nil {
		return err
	}
	return s.loggedIn(before)
}
