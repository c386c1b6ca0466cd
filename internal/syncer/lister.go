package syncer

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// listerWorth is from how many headers of a folder on a connection that compresses them is worth while.
	listerWorth = 500
	// listerRest is how long none is opened after one that broke: a server that compresses wrongly does so each time.
	listerRest = time.Hour
)

// listerFor opens the folder on a connection of its own that compresses: headers shrink to a quarter, and with them what crosses the
// wire twice because the bodies bring them again. Bodies stay on connections that do not, where the server's compressor would be
// the limit. It is nil where the server does not compress, there is no room, or it is not worth it.
func (a *account) listerFor(ctx context.Context, s *session, f mail.Folder, headers int) *session {
	if headers < listerWorth || !s.Caps().Has("COMPRESS=DEFLATE") || a.duty() > 0 || a.e.o.Now().Before(a.noLister) {
		return nil
	}
	if a.lister == nil {
		l, err := a.tryOpen(ctx, nil)
		if err != nil || l == nil {
			a.log.Debug("no connection for headers", "op", "list", "err", err)
			return nil
		}
		if err := l.Compress(ctx); err != nil {
			a.log.Info("the server does not compress although it says so", "op", "list", "err", err)
			l.close()
			a.noLister = a.e.o.Now().Add(listerRest)
			return nil
		}
		a.lister = l
	}
	if same, err := a.openSame(ctx, a.lister, f); err != nil || !same {
		a.log.Debug("headers come without compression", "op", "list", "folder", f.ID, "err", err)
		a.listerBroke()
		return nil
	}
	return a.lister
}

// listHeaders is storeHeaders by the lister, and by the account's own connection if that one breaks.
func (a *account) listHeaders(ctx context.Context, s, lister *session, f mail.Folder, uids imap.UIDSet, b store.Batch) error {
	if lister != nil && lister.Err() == nil {
		err := a.storeHeaders(ctx, lister, f, uids, b, false)
		if err == nil || lister.Err() == nil || ctx.Err() != nil {
			return err
		}
		a.log.Info("the connection for headers broke; they come without compression", "op", "list", "folder", f.ID, "err", err)
		a.listerBroke()
	}
	return a.storeHeaders(ctx, s, f, uids, b, false)
}

func (a *account) listerBroke() {
	if a.lister.Err() != nil {
		a.noLister = a.e.o.Now().Add(listerRest)
	}
	a.closeLister()
}

func (a *account) closeLister() {
	if a.lister != nil {
		a.lister.close()
		a.lister = nil
	}
}

// openSame opens a folder, and tells whether its UIDs are those of the stored rows.
func (a *account) openSame(ctx context.Context, s *session, f mail.Folder) (bool, error) {
	if s.selected == f.RawName {
		return true, nil
	}
	sel, err := s.examine(ctx, f)
	if err != nil {
		return false, fmt.Errorf("open %q: %w", f.Name, err)
	}
	return a.sameGeneration(ctx, s, f, sel)
}
