package syncer

import (
	"context"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// folderResult tells what syncFolder found.
type folderResult struct {
	vanished int  // messages marked as vanished
	proven   bool // every UID and flag of the folder was compared, or CONDSTORE vouches for it
}

// firstPage is how many messages of a new folder are fetched before anything else, with their bodies in INBOX, so that
// the newest page can be read at once.
const firstPage = 50

// wholeMessages is up to how many new messages are stored together with their bodies.
const wholeMessages = 100

// syncFolder opens a folder and brings its rows up to date. In a full pass every UID and flag is compared, else only
// what CONDSTORE names if the server has it.
func (a *account) syncFolder(ctx context.Context, s *session, f mail.Folder, full bool) (folderResult, error) {
	if now := a.e.o.Now(); now.Before(a.parked[f.ID].until) {
		return folderResult{}, nil
	}
	sel, err := s.examine(ctx, f)
	if err != nil {
		return folderResult{}, a.cannotOpen(ctx, s, f, err)
	}
	if err := a.opened(ctx, f.ID); err != nil {
		return folderResult{}, err
	}
	if v := mail.UIDValidity(sel.UIDValidity); v != f.UIDValidity {
		if v == 0 {
			v = 1 // a server without UIDVALIDITY; 0 means unknown to us
		}
		if v != f.UIDValidity {
			f.UIDValidity = v
			if err := a.apply(ctx, store.Batch{Origin: mail.OriginLive, Folders: []mail.Folder{f}}); err != nil {
				return folderResult{}, fmt.Errorf("store the new UIDVALIDITY: %w", err)
			}
			if f, err = a.mbox.Folder(ctx, f.ID); err != nil {
				return folderResult{}, err
			}
		}
	}
	if !f.HeadersDone {
		if err := a.backfill(ctx, s, &f, sel); err != nil {
			return folderResult{}, err
		}
	}
	return a.compare(ctx, s, f, sel, full)
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
		c.UIDNext, c.BackfillBelow, c.HighestModSeq = max(next, 1), max(next, 1), mail.ModSeq(sel.HighestModSeq)
		f.UIDNext, f.BackfillBelow, f.HighestModSeq = c.UIDNext, c.BackfillBelow, c.HighestModSeq
	}
	below, _ := slices.BinarySearch(list, uint32(f.BackfillBelow))
	list = list[:below]
	size := firstPage
	if f.BackfillBelow != f.UIDNext {
		size = headerChunk
	}
	for len(list) > 0 {
		chunk := list[max(0, len(list)-size):]
		list = list[:len(list)-len(chunk)]
		c.BackfillBelow = mail.UID(chunk[0])
		c.HeadersDone = len(list) == 0
		if err := a.storeHeaders(ctx, s, *f, imap.UIDs(chunk...), store.Batch{Origin: a.backfillOrigin(), Cursors: []store.Cursor{c}}, false); err != nil {
			return err
		}
		if size == firstPage && f.Role == mail.RoleInbox {
			if err := a.firstBodies(ctx, s, *f); err != nil {
				return err
			}
		}
		size = headerChunk
		if err := a.interject(ctx); err != nil {
			return err
		}
	}
	if !c.HeadersDone { // nothing was left to fetch
		c.HeadersDone = true
		if err := a.apply(ctx, store.Batch{Origin: a.backfillOrigin(), Cursors: []store.Cursor{c}}); err != nil {
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
	uids, err := s.Search(ctx, "ALL")
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

// compare brings the rows of a folder up to date that were all stored once.
func (a *account) compare(ctx context.Context, s *session, f mail.Folder, sel *imap.Selected, full bool) (folderResult, error) {
	local, err := a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	if err != nil {
		return folderResult{}, err
	}
	remote := remoteFolder{UIDValidity: f.UIDValidity, UIDNext: mail.UID(sel.UIDNext)}
	condstore := s.Caps().Has("CONDSTORE") && !sel.NoModSeq && sel.HighestModSeq > 0
	all := full || !condstore || f.HighestModSeq == 0
	if sel.HasExists && sel.Exists == 0 {
		remote.Complete = true
	} else if err := a.lookAtFlags(ctx, s, f, sel, condstore, all, local, &remote); err != nil {
		return folderResult{}, err
	}
	st := diff(remote, f.ID, local)
	result := folderResult{proven: all && remote.Complete || condstore}
	unasked := 0
	for _, v := range st.Vanished {
		if !a.expected[f.ID].Contains(uint32(v.UID)) {
			unasked++
		}
	}
	delete(a.expected, f.ID)
	if suspicious(unasked, len(local)) && !a.believe(f.ID) {
		st.Vanished, result.proven = nil, false
	} else if !suspicious(unasked, len(local)) {
		delete(a.losses, f.ID)
	}
	result.vanished = len(st.Vanished)

	c := store.Cursor{Folder: f.ID, UIDValidity: f.UIDValidity, UIDNext: max(f.UIDNext, mail.UID(sel.UIDNext))}
	if condstore {
		c.HighestModSeq = mail.ModSeq(sel.HighestModSeq)
	}
	for uid := range st.Fetch.All {
		c.UIDNext = max(c.UIDNext, mail.UID(uid)+1)
	}
	changes := store.Batch{Origin: mail.OriginLive, Flags: st.Flags, Vanished: st.Vanished}
	if st.Fetch.Empty() {
		changes.Cursors = []store.Cursor{c}
		return result, a.apply(ctx, changes)
	}
	if len(changes.Flags)+len(changes.Vanished) > 0 {
		if err := a.apply(ctx, changes); err != nil {
			return result, err
		}
	}
	// What arrives while we look is announced with its body, unless it is too much at once.
	whole := st.Fetch.Len() <= wholeMessages
	chunks := slices.Collect(slices.Chunk(slices.Collect(st.Fetch.All), headerChunk))
	for i, chunk := range slices.Backward(chunks) {
		b := store.Batch{Origin: mail.OriginLive}
		if i == 0 {
			b.Cursors = []store.Cursor{c} // the oldest comes last: the cursor moves when all are stored
		}
		if err := a.storeHeaders(ctx, s, f, imap.UIDs(chunk...), b, whole); err != nil {
			return result, err
		}
	}
	return result, nil
}

// lookAtFlags fills remote with flags, and with the UIDs where they cannot be trusted to be the ones we hold.
func (a *account) lookAtFlags(ctx context.Context, s *session, f mail.Folder, sel *imap.Selected, condstore, all bool, local []mail.Placement, remote *remoteFolder) error {
	o := imap.FetchOptions{Flags: true, ModSeq: condstore}
	if !all {
		o.ChangedSince = uint64(f.HighestModSeq)
	}
	fresh := 0
	seen := imap.UIDSet{}
	err := s.Fetch(ctx, imap.Range(1, imap.Star), o, func(r *imap.Row) error {
		if r.UID == 0 || seen.Contains(r.UID) {
			return nil
		}
		seen.Add(r.UID)
		if _, known := find(local, mail.UID(r.UID)); !known {
			fresh++
		} else if !r.HasFlags {
			return nil
		}
		flags, keywords := mail.ParseFlags(r.Flags)
		remote.Flags = append(remote.Flags, remoteFlags{UID: mail.UID(r.UID), Flags: flags, Keywords: keywords, ModSeq: mail.ModSeq(r.ModSeq)})
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case all && seen.Len() == int(sel.Exists):
		remote.UIDs, remote.Complete = seen, true
	case all || len(local)+fresh != int(sel.Exists):
		// Something is gone, or the server did not tell all: ask for the UIDs themselves.
		uids, err := a.allUIDs(ctx, s, sel)
		if err != nil {
			return err
		}
		uids.AddSet(seen)
		remote.UIDs, remote.Complete = uids, uids.Len() >= int(sel.Exists)
	}
	return nil
}

// suspicious tells whether so much of a folder went at once that a second session must confirm it.
func suspicious(gone, of int) bool { return gone > max(20, of/20) }
