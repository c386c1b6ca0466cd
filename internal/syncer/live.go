package syncer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

func byRank(folders []mail.Folder) []mail.Folder {
	out := slices.Clone(folders)
	slices.SortStableFunc(out, func(x, y mail.Folder) int { return rank(x.Role) - rank(y.Role) })
	return out
}

// idle waits until something may have happened: the server announced it, the poll is due, or the settings changed (errReload).
// News of single folders are dealt with here; it returns when all should be looked at.
func (a *account) idle(ctx context.Context, s *session, poll time.Duration) error {
	if a.duty() > 0 {
		return a.rest(ctx, s, poll)
	}
	if a.writer != nil && a.e.o.Now().Sub(a.writerUsed) > writerLife {
		a.closeWriter()
	}
	if s.Caps().Has("IDLE") {
		a.keepWatch(a.watching)
	}
	if !a.opsNext.IsZero() {
		poll = max(min(poll, a.opsNext.Sub(a.e.o.Now())), 0)
	}
	timer, due := time.NewTimer(poll), a.e.o.Now().Add(poll)
	defer timer.Stop()
	for {
		a.closeLister()
		stop := func() error { return nil }
		if poll >= lingerFrom {
			stop = a.linger(ctx, s)
		}
		what, cause := a.event(ctx, timer.C)
		if err := stop(); err != nil && cause == nil {
			return err
		}
		if cause != nil {
			return cause
		}
		switch what {
		case pollDue:
			return nil
		case operationsWait:
			if err := a.serveOperations(ctx, s); err != nil {
				return err
			}
			if !a.opsNext.IsZero() && a.opsNext.Before(due) { // one is to be tried again sooner
				due = a.opsNext
				timer.Reset(max(due.Sub(a.e.o.Now()), 0))
			}
		case newsCame:
			if err := a.slowDown(); err != nil {
				return err
			}
			everywhere, err := a.hear(ctx, s)
			if err != nil || everywhere {
				return err
			}
		}
	}
}

// event is what a wait ends with.
type event int

const (
	pollDue event = iota
	operationsWait
	newsCame
)

func (a *account) event(ctx context.Context, due <-chan time.Time) (event, error) {
	select {
	case <-a.ops:
		return operationsWait, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-a.again:
		return 0, errReload
	case <-due:
		return pollDue, nil
	case <-a.news:
		return newsCame, nil
	}
}

// hear looks into the folders of which the server has told something, INBOX first, and tells whether all are to be looked at:
// because the server says so, or because mail has left one and may have gone anywhere.
func (a *account) hear(ctx context.Context, s *session) (everywhere bool, err error) {
	told, everywhere := a.heard.take()
	if everywhere || len(told) == 0 {
		return everywhere, nil
	}
	a.untold = 0
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return false, err
	}
	for _, f := range byRank(folders) {
		st, ok := told[folderKey(f.RawName)]
		if !ok {
			continue
		}
		delete(told, folderKey(f.RawName))
		if !a.policy().Wants(f) {
			continue
		}
		role := f.Role
		if f, err = a.home(ctx, f); err != nil {
			return false, err
		}
		if st != nil && (look{Folder: f, Status: st}).same() {
			continue // that was us
		}
		r, err := a.syncFolder(ctx, s, f, false)
		if err != nil {
			return false, fmt.Errorf("sync %q: %w", f.Name, err)
		}
		if s.selected == f.RawName {
			if err := a.firstBodies(ctx, s, f); err != nil {
				return false, fmt.Errorf("fetch bodies of %q: %w", f.Name, err)
			}
		}
		if role == mail.RoleInbox {
			if took, told := a.notice.answered(a.e.o.Now()); told {
				a.e.o.Events.Told(a.id, took)
			}
		}
		everywhere = everywhere || r.vanished > 0 || r.renamed
	}
	a.e.o.Events.Heard(a.id)
	return everywhere || a.strange || len(told) > 0, nil // a folder that we do not know
}
