package imap

import (
	"context"
	"errors"
)

var errNoSearchRes = errors.New("server does not offer SEARCHRES")

// SearchSave searches and leaves the result with the server, for FetchSaved (SEARCHRES, RFC 5182 2.1). The result holds
// until the next SearchSave or Select; a failed one leaves an empty result.
func (s *Session) SearchSave(ctx context.Context, criteria string) error {
	if !s.Caps().Has("SEARCHRES") {
		return &Error{Class: Permanent, Cmd: "SEARCH", Err: errNoSearchRes}
	}
	st, err := s.run(ctx, "UID SEARCH", func(l *line) {
		l.text(" RETURN (SAVE) ")
		l.checked(criteria)
		l.limit = s.o.Limits.Command
	}, func(kind string, _ uint32, _ *parser) (bool, error) {
		return kind == "ESEARCH" || kind == "SEARCH", nil
	})
	if err == nil && st.code == "MESSAGELIMIT" {
		return partial("SEARCH", st, Range(1, Star))
	}
	return err
}

// FetchSaved is Fetch for the messages that SearchSave found (RFC 5182 2.1).
func (s *Session) FetchSaved(ctx context.Context, o FetchOptions, each func(*Row) error) error {
	if !s.Caps().Has("SEARCHRES") {
		return &Error{Class: Permanent, Cmd: "FETCH", Err: errNoSearchRes}
	}
	return s.fetch(ctx, Range(1, Star), true, o, each)
}
