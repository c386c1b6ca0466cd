package syncer

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// Providers that count what is downloaded in a day shut an account out when it is too much, for a day and for the user's own
// programs too. We stop before: old mail is fetched up to the one share of the limit, new mail up to the other.
const (
	backfillShare = 0.75
	wholeShare    = 0.9
)

// overBudget returns how long to wait until the account has moved less than a share of its provider's limit in 24 hours; 0: it
// has, or there is no limit.
func (a *account) overBudget(share float64) time.Duration {
	return a.day.over(a.e.o.Now(), int64(share*float64(a.budget())))
}

// budget is how many bytes the account may move in 24 hours; 0: any number.
func (a *account) budget() int64 {
	if n := a.e.o.Profile(a.acct).Limits.BytesPerDay; n > 0 {
		return n
	}
	return a.e.governor.limits.BytesPerDay
}

// enterOverBudget tells, where it is so, that old mail is not fetched for the time being.
func (a *account) enterOverBudget(ctx context.Context) (bool, error) {
	wait := a.overBudget(backfillShare)
	if wait <= 0 {
		return false, nil
	}
	if counts, err := a.mbox.Counts(ctx); err != nil || a.held(counts) == counts.Placements {
		return false, err
	}
	reason := fmt.Sprintf("The provider lets so much be downloaded in a day, and our share of it is used up. The rest is fetched from about %s on; new mail still comes.",
		a.e.o.Now().Add(wait).UTC().Round(time.Hour).Format("2006-01-02 15:04 MST"))
	a.enter(ctx, store.Batch{Origin: mail.OriginLive}, mail.StateThrottled, reason, "Nothing: it goes on by itself.")
	return true, nil
}

// stopOverBudget is the error that ends a round when new mail, too, must wait.
func (a *account) stopOverBudget() error {
	wait := a.overBudget(wholeShare)
	if wait <= 0 {
		return nil
	}
	return &mail.Error{Op: "sync", Kind: mail.Limited, Account: a.id, After: wait,
		Msg: "IMAP: nearly all that the provider lets be downloaded in a day is used up; the mailbox is looked at again when it is less"}
}
