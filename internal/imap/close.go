package imap

import "context"

// Unselect leaves the mailbox and expunges nothing (RFC 3691). Where the server has no UNSELECT the mailbox is opened
// read-only again and closed.
func (s *Session) Unselect(ctx context.Context) error {
	if s.Caps().Has("UNSELECT") {
		_, err := s.run(ctx, "UNSELECT", nil, nil)
		if err == nil {
			s.selected = selected{}
		}
		return err
	}
	if s.selected.open && !s.selected.readOnly {
		if _, err := s.Select(ctx, s.selected.raw, SelectOptions{ReadOnly: true}); err != nil {
			return err
		}
	}
	return s.Close(ctx)
}

// Close leaves the mailbox and, unless it was opened read-only, expunges what is marked \Deleted (RFC 3501 6.4.2).
func (s *Session) Close(ctx context.Context) error {
	_, err := s.run(ctx, "CLOSE", nil, nil)
	if err == nil {
		s.selected = selected{}
	}
	return err
}

// Logout says goodbye and closes the connection, also when the server does not answer. The session is dead after it.
// The error tells whether the server took leave in order.
func (s *Session) Logout(ctx context.Context) error {
	if err := s.enter(ctx, "LOGOUT"); err != nil {
		if s.Err() == nil {
			_ = s.CloseNow()
		}
		return err
	}
	s.logout = true
	_, err := s.exchange("LOGOUT", nil, nil)
	s.leave()
	if s.Err() == nil {
		_ = s.CloseNow()
	}
	return err
}
