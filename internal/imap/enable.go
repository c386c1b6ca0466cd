package imap

import "context"

// Enable switches extensions on (RFC 5161) and returns those that the server says are on now. iCloud says nothing
// although it obeys, so an empty answer proves nothing.
func (s *Session) Enable(ctx context.Context, caps ...string) ([]string, error) {
	if len(caps) == 0 {
		return nil, nil
	}
	var out []string
	_, err := s.run(ctx, "ENABLE", func(l *line) {
		for _, c := range caps {
			l.text(" ")
			l.atom(c)
		}
	}, func(kind string, _ uint32, p *parser) (bool, error) {
		if kind != "ENABLED" {
			return false, nil
		}
		for p.space(); !p.done() && len(out) < maxCaps; p.space() {
			w := p.upper()
			if len(w) == 0 {
				return false, errSyntax
			}
			out = append(out, string(w))
		}
		return true, nil
	})
	return out, err
}
