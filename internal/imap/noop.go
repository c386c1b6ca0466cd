package imap

import "context"

// Noop lets the server say what it has to say (RFC 3501 6.1.2).
func (s *Session) Noop(ctx context.Context) error {
	_, err := s.run(ctx, "NOOP", nil, nil)
	return err
}
