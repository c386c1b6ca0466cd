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
	// listerRest is how long none is opened after one that failed: a server that compresses wrongly does so each time.
	listerRest = time.Hour
)

// listHeaders is storeHeaders of a part of the headers that are left of a folder. Where there are many, they come over a connection of
// their own that compresses: headers shrink to a quarter, and with them what crosses the wire twice because the bodies bring them
// again. Bodies stay on connections that do not compress, where the server's compressor would be the limit. If that connection
// breaks, s goes on.
func (a *account) listHeaders(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, left int, b store.Batch) error {
	if l := a.listerFor(ctx, s, f, left); l != nil {
		err := a.storeHeaders(ctx, l, f, uids, b, false)
		if err == nil || l.Err() == nil || ctx.Err() != nil {
			return err
		}
		a.listerFailed("broke", err)
	}
	return a.storeHeaders(ctx, s, f, uids, b, false)
}

// listerFor is the lister with the folder open. It is nil where the server does not compress, there is no room, or it is not worth it.
func (a *account) listerFor(ctx context.Context, s *session, f mail.Folder, left int) *session {
	if h := a.ahead; h != nil && h.s == a.lister {
		if <-h.done; h.s.Err() != nil {
			a.listerFailed("broke", h.err)
		}
	}
	open := a.lister != nil && a.lister.Err() == nil
	switch {
	case left < listerWorth && !(open && a.lister.selected == f.RawName && left > 0):
		return nil
	case !s.Caps().Has("COMPRESS=DEFLATE") || a.duty() > 0 || a.e.o.Now().Before(a.noLister):
		return nil
	case !open:
		a.closeLister()
		l, err := a.tryOpen(ctx, nil)
		if err != nil {
			a.listerFailed("was not opened", err)
		}
		if l == nil {
			return nil
		}
		a.lister = l
		if err := l.Compress(ctx); err != nil {
			a.listerFailed("does not compress", err)
			return nil
		}
	}
	// Whatever else is done between two parts of a folder, an operation, say, may have opened another one here.
	if a.lister.selected != f.RawName {
		a.dropAhead()
	}
	same, err := a.openSame(ctx, a.lister, f)
	if a.lister.Err() != nil {
		a.listerFailed("broke", err)
		return nil
	}
	if err != nil || !same {
		a.log.Debug("headers come without compression", "op", "list", "folder", f.ID, "err", err)
		return nil
	}
	return a.lister
}

func (a *account) listerFailed(how string, err error) {
	a.log.Info("the connection for headers "+how+"; they come without compression", "op", "list", "err", err)
	a.noLister = a.e.o.Now().Add(listerRest)
	a.closeLister()
}

func (a *account) closeLister() {
	a.dropAhead()
	if a.lister != nil {
		a.lister.close()
		a.lister = nil
	}
}

// refusedError is that the server did not open a folder. If the session goes on, so do the others.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// openSame opens a folder unless it is open, and tells whether its UIDs are those of the stored rows. A name alone does not tell what
// is open: while a connection has a folder open, its name can become that of another.
func (a *account) openSame(ctx context.Context, s *session, f mail.Folder) (bool, error) {
	want := generation{f.ID, f.UIDValidity}
	if s.selected == f.RawName && s.as == want {
		return true, nil
	}
	sel, err := s.examine(ctx, f)
	if err != nil {
		return false, &refusedError{fmt.Errorf("open %q: %w", f.Name, err)}
	}
	same, err := a.sameGeneration(ctx, s, f, sel)
	if same {
		s.as = want // under whatever UIDVALIDITY it shows
	} else {
		s.selected = "" // ask again the next time
	}
	return same, err
}
