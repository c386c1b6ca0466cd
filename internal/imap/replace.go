package imap

import (
	"context"
	"errors"
)

var errNoReplace = errors.New("server does not offer REPLACE")

// Replace puts a message into a mailbox and removes the message uid of the open one, in one step (UID REPLACE, RFC 8508
// 3.4): how a draft is saved again. It fails with Permanent, having sent nothing, where REPLACE is not offered.
func (s *Session) Replace(ctx context.Context, uid uint32, raw string, m AppendMessage) (Appended, error) {
	if uid == 0 || uid == Star {
		return Appended{}, &Error{Class: Permanent, Cmd: "REPLACE", Err: errEmptySet}
	}
	if !s.Caps().Has("REPLACE") {
		return Appended{}, &Error{Class: Permanent, Cmd: "REPLACE", Err: errNoReplace}
	}
	return s.append(ctx, "REPLACE", UIDs(uid), raw, []AppendMessage{m})
}
