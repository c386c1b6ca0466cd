package syncer

import (
	"errors"
	"strings"

	"github.com/posthorn/posthorn/internal/imap"
)

// What a server's NO to a command about a folder means.

// refused tells whether a server says no without a reason that has nothing to do with whether there is such a folder.
func refused(err error) bool {
	var e *imap.Error
	if !errors.As(err, &e) || e.Status != "NO" || e.Class == imap.TransientAccount {
		return false
	}
	return e.Code == "" || e.Code == "NONEXISTENT" || e.Code == "CANNOT"
}

// unreadable tells whether a server says no to all reading in a folder that it has opened.
func unreadable(err error) bool {
	var e *imap.Error
	return errors.As(err, &e) && !isOwn(err) && (e.Status == "NO" || e.Status == "BAD") && (e.Cmd == "FETCH" || e.Cmd == "SEARCH") && e.Class != imap.TransientAccount
}

// slowed tells whether a server says that the account has used too much, on which it may end the connection: whatever was being
// sent then is not to blame. Words that others say of one bad message, too, do not count.
func slowed(err error) bool {
	var e *imap.Error
	return errors.As(err, &e) && e.Class == imap.TransientAccount &&
		(e.BackOff > 0 || e.Code == "THROTTLED" || e.Code == "LIMIT" || strings.Contains(strings.ToLower(e.Text), "session expired")) // Gmail's limit of downloads
}

// exists tells whether the server says that it has such a folder.
func exists(err error) bool {
	var e *imap.Error
	return errors.As(err, &e) && !missing(err) && (e.Code == "ALREADYEXISTS" || strings.Contains(strings.ToLower(e.Text), "exist"))
}

// unexplained tells whether a server says no, and nothing that says why.
func unexplained(err error) bool {
	var e *imap.Error
	return errors.As(err, &e) && e.Status == "NO" && e.Code == "" && e.Class == imap.Permanent
}

// missing tells whether the server says that it has no such folder. Dovecot says so without a code.
func missing(err error) bool {
	var e *imap.Error
	if !errors.As(err, &e) || e.Code == "ALREADYEXISTS" {
		return false
	}
	text := strings.ToLower(e.Text)
	return e.Code == "NONEXISTENT" || strings.Contains(text, "t exist") || strings.Contains(text, "no such") || strings.Contains(text, "nonexist") ||
		strings.Contains(text, "unknown mailbox") || strings.Contains(text, "unknown folder")
}

// nonexistent tells whether a server says no because there is no such folder, and for no other reason.
func nonexistent(err error) bool { return refused(err) && missing(err) }
