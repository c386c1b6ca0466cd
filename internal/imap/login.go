package imap

import (
	"context"
	"encoding/base64"
	"errors"
)

var (
	errInsecure      = errors.New("refusing to send a password without TLS")
	errLoginDisabled = errors.New("server offers neither AUTH=PLAIN nor LOGIN")
)

// Login authenticates with SASL PLAIN (RFC 4616; in one round trip where SASL-IR, RFC 4959, is offered), or with
// LOGIN where the server has no PLAIN. The capabilities are those of the logged-in state afterwards.
//
// It fails with AuthFailed when the server refuses the credentials, and with TransientAccount when it refuses for now.
// The password appears in no error and no trace.
func (s *Session) Login(ctx context.Context, user, password string) error {
	caps := s.Caps()
	plain := caps.Has("AUTH=PLAIN")
	name := "LOGIN"
	if plain {
		name = "AUTHENTICATE"
	}
	if err := s.enter(ctx, name); err != nil {
		return err
	}
	defer s.leave()
	if !s.secure() {
		return &Error{Class: Permanent, Cmd: name, Err: errInsecure}
	}
	if !plain && caps.Has("LOGINDISABLED") {
		return &Error{Class: Permanent, Cmd: name, Err: errLoginDisabled}
	}
	s.secretText = password
	defer func() { s.secretText = "" }()
	before := s.capsAt
	var err error
	if plain {
		err = s.authPlain(user, password, caps.Has("SASL-IR"))
	} else {
		_, err = s.exchange("LOGIN", func(l *line) {
			l.hide = true
			l.text(" ")
			l.str(user)
			l.text(" ")
			l.str(password)
		}, nil)
	}
	if err != nil {
		return err
	}
	// iCloud gives a short list with the OK and the whole one when asked (Mailspring-Sync, 2024).
	if s.capsAt == before || s.Caps().Has("XAPPLEPUSHSERVICE") {
		return s.capability()
	}
	return nil
}

func (s *Session) authPlain(user, password string, initial bool) error {
	l := s.newLine("AUTHENTICATE")
	l.hide = true
	check := s.newLine("")
	check.checked(user)
	check.checked(password)
	if check.err != nil {
		return &Error{Class: Permanent, Cmd: "AUTHENTICATE", Err: check.err}
	}
	resp := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	l.text(" PLAIN")
	if initial {
		l.text(" " + resp)
	} else {
		// The response is a line of its own after the go-ahead, exactly as a literal would be.
		l.text("\r\n")
		l.cuts = append(l.cuts, cut{at: len(l.b), wait: true})
		l.text(resp)
	}
	c, err := s.send("AUTHENTICATE", l, nil)
	if err != nil {
		return err
	}
	return s.wait(c, nil)
}
