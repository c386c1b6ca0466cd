package imap

import "context"

// Expunge removes for good those messages of the set that are marked \Deleted (UID EXPUNGE, RFC 4315 2.1), and no others.
// It fails with Permanent, having sent nothing, where UIDPLUS is not offered. What is gone goes to Options.OnUnilateral.
// The UIDs returned are those the server said OK for.
func (s *Session) Expunge(ctx context.Context, set UIDSet) (UIDSet, error) {
	var done UIDSet
	if set.Empty() {
		return done, &Error{Class: Permanent, Cmd: "EXPUNGE", Err: errEmptySet}
	}
	if !s.Caps().Has("UIDPLUS") && !s.Caps().Has("IMAP4REV2") {
		return done, &Error{Class: Permanent, Cmd: "EXPUNGE", Err: errNoUIDPlus}
	}
	err := s.perPart(ctx, "EXPUNGE", set, s.newLine(""), nil, func(part UIDSet, st status) {
		if st.status == "OK" {
			done.AddSet(part)
		}
	})
	return done, err
}

// ExpungeAll removes for good everything in the mailbox that is marked \Deleted, by whomever (EXPUNGE, RFC 3501 6.4.3).
func (s *Session) ExpungeAll(ctx context.Context) error {
	_, err := s.run(ctx, "EXPUNGE", nil, nil)
	return err
}
