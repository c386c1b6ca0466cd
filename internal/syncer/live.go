package syncer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

func byRank(folders []mail.Folder) []mail.Folder {
	out := slices.Clone(folders)
	slices.SortStableFunc(out, func(x, y mail.Folder) int { return rank(x.Role) - rank(y.Role) })
	return out
}

// idle waits until something may have happened: the server announced it for INBOX, the poll is due, or the settings
// changed (errReload). News of INBOX are dealt with here; it returns when all folders should be looked at.
func (a *account) idle(ctx context.Context, s *session, poll time.Duration) error {
	if a.writer != nil && a.e.o.Now().Sub(a.writerUsed) > writerLife {
		a.closeWriter()
	}
	if s.Caps().Has("IDLE") {
		a.keepWatch(a.watching)
	}
	if !a.opsNext.IsZero() {
		poll = max(min(poll, a.opsNext.Sub(a.e.o.Now())), 0)
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	for {
		select {
		case <-a.ops:
			if err := a.serveOperations(ctx, s); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.again:
			return errReload
		case <-timer.C:
			return nil
		case <-a.news:
			gone, err := a.syncInbox(ctx, s)
			if err != nil {
				return err
			}
			if took, told := a.notice.answered(a.e.o.Now()); told {
				a.e.o.Events.Told(a.id, took)
			}
			if gone {
				return nil // it may have moved: look everywhere
			}
		}
	}
}

// syncInbox brings INBOX up to date with its bodies, and tells whether mail left it.
func (a *account) syncInbox(ctx context.Context, s *session) (gone bool, err error) {
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return false, err
	}
	at := slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Role == mail.RoleInbox })
	if at < 0 {
		return true, nil
	}
	r, err := a.syncFolder(ctx, s, folders[at], false)
	if err != nil {
		return false, fmt.Errorf("sync INBOX: %w", err)
	}
	if err := a.firstBodies(ctx, s, folders[at]); err != nil {
		return false, fmt.Errorf("fetch bodies of INBOX: %w", err)
	}
	return r.vanished > 0, nil
}

// keepWatch makes sure that INBOX is watched on a connection of its own, if there is room for one. The watch lives until
// it breaks or the account's round ends; a later poll renews it, the later the more often it broke early.
func (a *account) keepWatch(ctx context.Context) {
	select {
	case lasted := <-a.watchEnded:
		a.watchEnded = nil
		if lasted > time.Minute {
			a.watchRetry.survived()
		}
		a.watchAfter = a.e.o.Now().Add(a.watchRetry.next(mail.Unreachable, 0, rand.Float64()))
	default:
	}
	if a.watchEnded != nil || a.e.o.Now().Before(a.watchAfter) {
		return
	}
	ended := make(chan time.Duration, 1)
	a.watchEnded = ended
	a.watch.Go(func() {
		began := time.Now()
		if err := a.watchInbox(ctx); err != nil && ctx.Err() == nil {
			a.log.Debug("IDLE ended", "op", "idle", "err", err)
		}
		ended <- time.Since(began)
	})
}

// watchInbox idles on INBOX and signals news until the connection ends.
func (a *account) watchInbox(ctx context.Context) error {
	s, err := a.tryOpen(ctx, func(u imap.Unilateral) {
		switch u.Kind {
		case imap.KindExists, imap.KindExpunge, imap.KindVanished, imap.KindFetch:
			a.notice.told(a.e.o.Now())
			signal(a.news)
		}
	})
	if err != nil || s == nil {
		return err
	}
	defer s.close()
	if _, err := s.examine(ctx, mail.Folder{RawName: "INBOX"}); err != nil {
		return err
	}
	signal(a.news) // whatever came between the last look and now
	return s.Idle(ctx)
}
