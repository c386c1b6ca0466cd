package imap

import (
	"context"
	"errors"
	"time"
)

var errUnasked = errors.New("server answered a command before it was sent")

// Listen waits for what the server says unasked, without any command: how NOTIFY may be listened to (RFC 5465 3.1). Where
// IDLE is offered Idle hears more: Dovecot 2.3 then tells of the open mailbox, too. It returns
// nil when ctx is done, with the session ready for the next command; what happens meanwhile goes to Options.OnUnilateral.
// Every Options.IdleRenew a NOOP proves that the connection lives: no answer within Options.Idle kills the session.
func (s *Session) Listen(ctx context.Context) error {
	if err := s.enter(context.WithoutCancel(ctx), "NOOP"); err != nil {
		return err
	}
	defer s.leave()
	s.f.shrink()
	for ctx.Err() == nil {
		s.recount()
		c := s.newCommand("NOOP")
		s.pending = append(s.pending, c)
		asked, err := s.listen(ctx, c, c.tag+" NOOP\r\n")
		switch {
		case err != nil:
			return err
		case !asked:
			return s.fail(protoError{errUnasked})
		}
		if err := c.result(); err != nil {
			return err
		}
	}
	return nil
}

// listen reads until c is answered. When ctx is done, and after Options.IdleRenew, it writes end, which makes the server
// answer. asked tells whether it came to that.
func (s *Session) listen(ctx context.Context, c *command, end string) (asked bool, err error) {
	s.idling = true
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		s.idling = false
		return false, s.fail(err)
	}
	wctx, cancel := context.WithTimeout(ctx, s.o.IdleRenew)
	ended := make(chan error, 1)
	stop := context.AfterFunc(wctx, func() {
		// From here on an answer is due. The deadline comes first, so that a dead connection can't hold us.
		err := s.conn.SetDeadline(time.Now().Add(s.o.Idle))
		if err == nil {
			_, err = s.conn.Write([]byte(end))
		}
		ended <- err
	})
	for !c.done && err == nil {
		err = s.step(nil)
	}
	asked = !stop()
	cancel()
	if asked {
		if werr := <-ended; werr != nil && err == nil {
			err = s.fail(werr)
		}
	}
	s.idling = false
	s.deadline = time.Time{}
	return asked, err
}
