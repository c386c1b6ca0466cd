package imap

import (
	"context"
	"errors"
	"slices"
	"strings"
)

var errRev2 = errors.New("IMAP4rev2 is not to be enabled")

// Enable switches extensions on (RFC 5161) and returns those that the server says are on now. iCloud says nothing
// although it obeys, so an empty answer proves nothing; what is not confirmed is not used here either.
//
// IMAP4rev2 (RFC 9051) is refused with Permanent: providers that offer it get it wrong (empty ESEARCH at STRATO and
// Exchange Online, 2026), and it brings nothing that the extensions do not.
func (s *Session) Enable(ctx context.Context, caps ...string) ([]string, error) {
	if len(caps) == 0 {
		return nil, nil
	}
	if slices.ContainsFunc(caps, func(c string) bool { return strings.EqualFold(c, "IMAP4rev2") }) {
		return nil, &Error{Class: Permanent, Cmd: "ENABLE", Err: errRev2}
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
	if err == nil {
		s.confirm(out)
	}
	return out, err
}

// confirm remembers what is on.
func (s *Session) confirm(caps []string) {
	if s.enabled == nil {
		s.enabled = map[string]bool{}
	}
	for _, c := range caps {
		s.enabled[c] = true
	}
	s.utf8 = s.enabled["UTF8=ACCEPT"]
}

// Enabled reports whether the server confirmed that name, in upper case, is on.
func (s *Session) Enabled(name string) bool { return s.enabled[name] }
