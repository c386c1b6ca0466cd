package notify

import (
	"context"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// tidy forgets what is older than the retention: first the feeds' rows, then the changes that nobody has still to be told.
// It works beside the deliveries, one account after the other.
func (n *Notifier) tidy(ctx context.Context) {
	if !n.tidying.TryLock() { // the one before is not done yet
		return
	}
	defer n.tidying.Unlock()
	before := n.o.Now().Add(-n.o.Keep)
	warn := func(err error) {
		if err != nil && ctx.Err() == nil {
			n.o.Log.Warn("old events cannot be removed", "op", "tidy", "err", err)
		}
	}
	accts, err := n.o.Store.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		warn(err)
		return
	}
	apps := map[mail.AppID]bool{}
	for _, a := range accts {
		if apps[a.App] {
			continue
		}
		apps[a.App] = true
		// What is in no feed yet would leave a hole in one that is read seldom.
		if used, err := n.o.Store.FeedUsed(ctx, a.App); err != nil {
			warn(err)
		} else if used {
			warn(n.grow(ctx, a.App))
		}
	}
	warn(n.o.Store.PruneFeed(ctx, before))
	warn(n.o.Store.PruneDeliveries(ctx, before))
	for _, a := range accts {
		if ctx.Err() != nil {
			return
		}
		if dropped, err := n.o.Store.Prune(ctx, a, before); err != nil && !mail.IsKind(err, mail.NotFound) {
			warn(err)
		} else if dropped > 0 {
			n.o.Log.Debug("old events are forgotten", "op", "tidy", "account", a.ID, "changes", dropped)
		}
	}
}
