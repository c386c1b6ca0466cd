package syncer

import (
	"cmp"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
)

// slowPause is how long an account rests whose server asked for that without saying how long, where we do not know its provider.
const slowPause = 5 * time.Minute

// askedToSlow notes that the server wants less of us, said with a success (Gmail: OK [THROTTLED]). Any connection's goroutine
// may call it.
func (a *account) askedToSlow(u imap.Unilateral) {
	a.slow.Store(&imap.Error{Class: imap.TransientAccount, Status: u.Status, Code: u.Code, Text: u.Text,
		BackOff: cmp.Or(a.e.o.Profile(a.acct).Limits.Cooldown, slowPause)})
	signal(a.news)
}

// slowDown ends a round, between two steps of it, when the server asked for that.
func (a *account) slowDown() error {
	if e := a.slow.Swap(nil); e != nil {
		return e
	}
	return nil
}
