package imap

import (
	"context"
	"errors"
)

var errIdleEnded = errors.New("server ended IDLE by itself")

// Idle listens (RFC 2177) until ctx is done and returns nil then, with the session ready for the next command. What
// happens meanwhile goes to Options.OnUnilateral. Every Options.IdleRenew it ends IDLE and begins again, which keeps
// the connection open on its way and proves that it lives: no answer within Options.Idle kills the session.
//
// A server that refuses or ends IDLE gives an error with its words; the session lives on then.
func (s *Session) Idle(ctx context.Context) error {
	// The command must survive the end of ctx, so it runs under one of its own.
	if err := s.enter(context.WithoutCancel(ctx), "IDLE"); err != nil {
		return err
	}
	defer s.leave()
	for ctx.Err() == nil {
		if err := s.idleOnce(ctx); err != nil {
			return err
		}
	}
	return nil
}

// idleOnce is one IDLE of at most Options.IdleRenew.
func (s *Session) idleOnce(ctx context.Context) error {
	s.recount()
	s.cont = false
	c, err := s.send("IDLE", s.newLine("IDLE"), nil)
	if err != nil {
		return err
	}
	// Some servers say other things before the go-ahead (Courier), so it is waited for.
	for !s.cont && !c.done {
		if err := s.step(nil); err != nil {
			return err
		}
	}
	if c.done {
		if err := c.result(); err != nil {
			return err
		}
		return &Error{Class: Transient, Cmd: "IDLE", Err: errIdleEnded}
	}
	s.f.shrink()
	asked, err := s.listen(ctx, c, "DONE\r\n")
	switch {
	case err != nil:
		return err
	case c.st.status != "OK":
		return c.result()
	case !asked:
		return &Error{Class: Transient, Cmd: "IDLE", Err: errIdleEnded}
	}
	return nil
}
