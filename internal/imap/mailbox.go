package imap

import (
	"context"
	"errors"
	"strings"
)

var errNoCreateUse = errors.New("server does not offer CREATE-SPECIAL-USE")

// Create makes a mailbox (RFC 3501 6.3.3). use are special uses, such as `\Archive`, which it is to have (RFC 6154 5.3);
// they need CREATE-SPECIAL-USE. The result is its MAILBOXID where the server tells one (RFC 8474 4.1).
//
// raw is spelled as the server does: for a new name, what NameFor returns. One that is there already is refused with
// code ALREADYEXISTS by those servers that use codes.
func (s *Session) Create(ctx context.Context, raw string, use ...string) (string, error) {
	if len(use) > 0 && !s.Caps().Has("CREATE-SPECIAL-USE") {
		return "", &Error{Class: Permanent, Cmd: "CREATE", Err: errNoCreateUse}
	}
	st, err := s.run(ctx, "CREATE", func(l *line) {
		l.text(" ")
		l.str(raw)
		if len(use) > 0 {
			l.text(" (USE ")
			l.flags(use)
			l.text(")")
		}
	}, nil)
	if st.code == "MAILBOXID" {
		return validID(strings.Trim(st.arg, "()")), err
	}
	return "", err
}

// Rename gives a mailbox, and those below it, another name (RFC 3501 6.3.5). UIDs stay.
func (s *Session) Rename(ctx context.Context, from, to string) error {
	return s.onMailbox(ctx, "RENAME", from, to)
}

// Delete removes a mailbox and the messages in it (RFC 3501 6.3.4).
func (s *Session) Delete(ctx context.Context, raw string) error {
	return s.onMailbox(ctx, "DELETE", raw)
}

// Subscribe marks a mailbox as subscribed (RFC 3501 6.3.6).
func (s *Session) Subscribe(ctx context.Context, raw string) error {
	return s.onMailbox(ctx, "SUBSCRIBE", raw)
}

// Unsubscribe takes that mark away (RFC 3501 6.3.7).
func (s *Session) Unsubscribe(ctx context.Context, raw string) error {
	return s.onMailbox(ctx, "UNSUBSCRIBE", raw)
}

// Check asks the server to bring the open mailbox in order (RFC 3501 6.4.1). Some say things then that they keep to
// themselves on NOOP.
func (s *Session) Check(ctx context.Context) error {
	_, err := s.run(ctx, "CHECK", nil, nil)
	return err
}

func (s *Session) onMailbox(ctx context.Context, name string, raws ...string) error {
	_, err := s.run(ctx, name, func(l *line) {
		for _, raw := range raws {
			l.text(" ")
			l.str(raw)
		}
	}, nil)
	return err
}

// NameFor spells a name the way this session's server wants it: in modified UTF-7, or in UTF-8 once UTF8=ACCEPT has been
// enabled. It is for new mailboxes; those that exist are named by what List said.
func (s *Session) NameFor(name string) string {
	if s.utf8 {
		return strings.ToValidUTF8(name, "\uFFFD")
	}
	return EncodeName(name)
}
