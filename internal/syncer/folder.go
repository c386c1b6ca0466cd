package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// folderResult tells what syncFolder found.
type folderResult struct {
	found    bool // something was other than stored
	vanished int  // messages marked as vanished
	renamed  bool // it has another name than it was asked for by, or none, and was not looked at; all folders were listed
	skipped  bool // it could not be opened
	proven   bool // every UID and flag of the folder was compared, or CONDSTORE and the counts vouch for them
}

// firstPage is how many messages of a new folder are fetched before anything else, with their bodies in INBOX, so that
// the newest page can be read at once.
const firstPage = 50

// wholeMessages is up to how many new messages are stored together with their bodies.
const wholeMessages = 100

// syncFolder opens a folder and brings its rows up to date. In a full pass every UID and flag is compared, else as much as
// the session's step of the ladder needs.
func (a *account) syncFolder(ctx context.Context, s *session, f mail.Folder, full bool) (folderResult, error) {
	r, err := a.syncFolderNow(ctx, s, f, full)
	var moved *movedError
	if !errors.As(err, &moved) {
		return r, err
	}
	a.lookedFirst = true
	defer func() { a.lookedFirst = false }()
	for _, id := range moved.from {
		from, err := a.mbox.Folder(ctx, id)
		if err != nil {
			return folderResult{}, err
		}
		if _, err := a.syncFolderNow(ctx, s, from, false); err != nil {
			return folderResult{}, fmt.Errorf("sync %q: %w", from.Name, err)
		}
	}
	return a.syncFolderNow(ctx, s, f, full)
}

// syncFolderNow is syncFolder, which fails with a movedError when other folders are to be looked at before.
func (a *account) syncFolderNow(ctx context.Context, s *session, f mail.Folder, full bool) (folderResult, error) {
	if now := a.e.o.Now(); now.Before(a.parked[a.labels.home(f.ID)].until) {
		return folderResult{skipped: true}, nil
	}
	f, err := a.mbox.Folder(ctx, a.labels.home(f.ID)) // operations may have changed it since it was listed
	if err != nil {
		return folderResult{}, err
	}
	if f.RawName == "" { // another folder has its name
		return folderResult{renamed: true}, nil
	}
	l := a.lookAt(s, f, full)
	s.began = a.e.o.Now()
	sel, err := s.open(ctx, f, l.resync())
	if err != nil {
		return folderResult{skipped: true}, a.cannotOpen(ctx, s, f, err)
	}
	r, err := a.lookInto(ctx, s, f, l, sel)
	if s.Err() == nil && unreadable(err) {
		return folderResult{skipped: true}, a.cannotOpen(ctx, s, f, err)
	}
	if err == nil && !r.skipped {
		err = a.opened(ctx, f)
	}
	return r, err
}

// lookInto is syncFolderNow of a folder that was opened.
func (a *account) lookInto(ctx context.Context, s *session, f mail.Folder, l *folderLook, sel *imap.Selected) (folderResult, error) {
	if a.numberedAnew(s, f, sel) { // or another folder has its name by now
		if _, err := a.listFolders(ctx, s); err != nil {
			return folderResult{}, err
		}
		now, err := a.mbox.Folder(ctx, f.ID)
		if err != nil {
			return folderResult{}, err
		}
		if now.RawName != f.RawName {
			return folderResult{found: true, renamed: true}, nil
		}
		if sel, err = s.open(ctx, f, l.resync()); err != nil {
			return folderResult{skipped: true}, a.cannotOpen(ctx, s, f, err)
		}
	}
	var err error
	if l.folder, err = a.generation(ctx, s, f, sel); err != nil {
		return folderResult{}, err
	}
	if !l.folder.HeadersDone {
		l.forget()
		if err := a.backfill(ctx, s, &l.folder, sel); err != nil {
			return folderResult{}, err
		}
		l.full = l.full && l.folder.HighestModSeq == 0 // MODSEQ tells what has changed meanwhile
	}
	l.sel = sel
	return l.compare(ctx)
}

// backfill stores the rows of all messages that the folder has now, newest first, from where it was left.
func (a *account) backfill(ctx context.Context, s *session, f *mail.Folder, sel *imap.Selected) error {
	uids, err := a.allUIDs(ctx, s, sel)
	if err != nil {
		return err
	}
	list := slices.Collect(uids.All)
	c := store.Cursor{Folder: f.ID, UIDValidity: f.UIDValidity}
	if f.BackfillBelow == 0 {
		next := mail.UID(sel.UIDNext)
		if n := len(list); n > 0 {
			next = max(next, mail.UID(list[n-1])+1)
		}
		c.UIDNext, c.BackfillBelow = max(next, 1), max(next, 1)
		stored, err := a.mbox.NewestPlacements(ctx, f.ID, f.UIDValidity, 1)
		if err != nil {
			return err
		}
		if len(stored) == 0 { // else it does not tell what has changed on rows from a backfill that ended before its cursor was stored
			c.HighestModSeq = mail.ModSeq(sel.HighestModSeq)
		}
		f.UIDNext, f.BackfillBelow, f.HighestModSeq = c.UIDNext, c.BackfillBelow, c.HighestModSeq
	}
	below, _ := slices.BinarySearch(list, uint32(f.BackfillBelow))
	list = list[:below]
	size := firstPage
	if f.BackfillBelow != f.UIDNext {
		size = headerChunk
	}
	defer a.dropAhead()
	for len(list) > 0 {
		chunk, left := list[max(0, len(list)-size):], len(list)
		if size == firstPage {
			left = 0 // at once, on the connection that is there
		}
		list = list[:len(list)-len(chunk)]
		c.BackfillBelow = mail.UID(chunk[0])
		c.HeadersDone = len(list) == 0
		a.next = imap.UIDSet{}
		if size == headerChunk {
			a.next = imap.UIDs(list[max(0, len(list)-headerChunk):]...)
		}
		if err := a.listHeaders(ctx, s, *f, imap.UIDs(chunk...), left, store.Batch{Origin: a.backfillOriginIn(*f), Cursors: []store.Cursor{c}}); err != nil {
			return err
		}
		if size == firstPage && (f.Role == mail.RoleInbox || f.ID == a.labels.all) {
			if err := a.firstBodies(ctx, s, *f); err != nil {
				return err
			}
		}
		size = headerChunk
		if err := a.interject(ctx); err != nil {
			return err
		}
		if err := a.stopOverBudget(); err != nil {
			return err
		}
	}
	if !c.HeadersDone { // nothing was left to fetch
		c.HeadersDone = true
		if err := a.apply(ctx, store.Batch{Origin: a.backfillOriginIn(*f), Cursors: []store.Cursor{c}}); err != nil {
			return err
		}
	}
	f.HeadersDone = true
	*f, err = a.mbox.Folder(ctx, f.ID)
	return err
}

// allUIDs asks for every UID of the open folder. Servers that refuse or fumble SEARCH are asked by FETCH.
func (a *account) allUIDs(ctx context.Context, s *session, sel *imap.Selected) (imap.UIDSet, error) {
	if sel.HasExists && sel.Exists == 0 {
		return imap.UIDSet{}, nil
	}
	uids, err := s.all(ctx)
	if err == nil && uids.Len() >= int(sel.Exists) {
		return uids, nil
	}
	if s.Err() != nil {
		return imap.UIDSet{}, err
	}
	uids = imap.UIDSet{}
	err = s.Fetch(ctx, imap.Range(1, imap.Star), imap.FetchOptions{}, func(r *imap.Row) error {
		uids.Add(r.UID)
		return nil
	})
	return uids, err
}

// suspicious tells whether so much of a folder went at once that a second session must confirm it.
func suspicious(gone, of int) bool { return gone > max(20, of/20) }
