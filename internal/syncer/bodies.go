package syncer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

// unit is a piece of work for one connection: messages of one folder whose bytes are wanted.
type unit struct {
	folder mail.Folder
	uids   imap.UIDSet
	of     map[mail.UID]mail.MessageID
}

func unitOf(f mail.Folder, wanted ...mail.Placement) unit {
	u := unit{folder: f, of: make(map[mail.UID]mail.MessageID, len(wanted))}
	for _, p := range wanted {
		u.uids.Add(uint32(p.UID))
		u.of[p.UID] = p.Message
	}
	return u
}

const (
	unitMessages = 400
	// bodiesAtOnce is how many bodies are stored in one transaction when they come faster than they are stored, and bodiesLinger how
	// long the first waits for the others: a commit costs the same for one as for a hundred.
	bodiesAtOnce = 1000
	bodiesLinger = 250 * time.Millisecond
	// secondConnection is from how many missing bodies on a further connection is worth its login.
	secondConnection = 1000
	// helperRest is how long no second connection is opened after one that broke.
	helperRest = time.Minute
)

// bodies fetches what is listed but not held, newest first, for the time of one slice. It tells whether another slice may
// bring more: false when all is held, or when the server gave nothing.
func (a *account) bodies(ctx context.Context, s *session, slice time.Duration) (more bool, err error) {
	if a.policy().HeadersOnly || a.overBudget(backfillShare) > 0 {
		return false, nil
	}
	units, total, err := a.unheldUnits(ctx)
	if err != nil || len(units) == 0 {
		return false, err
	}
	sessions := []*session{s}
	if total >= secondConnection && a.helper == nil && !a.e.o.Now().Before(a.noHelper) {
		if a.helper, err = a.tryOpen(ctx, nil); err != nil {
			a.log.Debug("no second connection", "op", "bodies", "err", err)
		}
	}
	if a.helper != nil {
		a.helper.selected = "" // as pass leaves the first one: since the last slice another folder may have the name of the open one
		sessions = append(sessions, a.helper)
	}
	until := time.Now().Add(slice)
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	todo := make(chan unit)
	ready := make(chan []store.Body)
	broken := make(chan struct{}) // closed when the first connection is
	var brokenBy error
	var helperBroke atomic.Bool
	var refusedMu sync.Mutex
	refused := map[mail.FolderID]refusal{}
	var wg sync.WaitGroup
	for i, s := range sessions {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					stop(a.panicked("fetch bodies", v))
				}
			}()
			for u := range todo {
				err := a.holdUnit(work, s, u, ready)
				var no *refusedError
				switch {
				case err == nil:
					continue
				case errors.As(err, &no) && s.Err() == nil && work.Err() == nil:
					refusedMu.Lock()
					refused[u.folder.ID] = refusal{u.folder, no.err}
					refusedMu.Unlock()
					continue
				case s.Err() == nil || work.Err() != nil:
					stop(err)
				case i > 0: // the first one fetches what is still missing
					a.log.Debug("the second connection broke", "op", "bodies", "err", err)
					helperBroke.Store(true)
				default:
					brokenBy = err
					close(broken)
					// The other one ends what it has begun, as that would have to be fetched again.
					time.AfterFunc(a.e.o.Silence/2, func() { stop(err) })
				}
				return
			}
		})
	}
	go func() { // hands out units until the slice is over
		defer close(todo)
		for _, u := range units {
			if time.Now().After(until) {
				return
			}
			select {
			case todo <- u:
			case <-broken:
				return
			case <-work.Done():
				return
			}
		}
	}()
	go func() { wg.Wait(); close(ready) }()
	var applyErr error
	progress := 0
	for {
		b, ok := gather(ready, bodiesAtOnce, bodiesLinger)
		if !ok {
			break
		}
		if applyErr != nil {
			continue // drain, so that the workers can end
		}
		if applyErr = a.apply(ctx, store.Batch{Origin: a.bodyOrigin(), Bodies: b}); applyErr != nil {
			stop(applyErr)
			continue
		}
		a.status.advance(len(b))
		progress += len(b)
		if applyErr = a.interject(ctx); applyErr != nil {
			stop(applyErr)
		}
	}
	if applyErr != nil {
		return true, fmt.Errorf("store bodies: %w", applyErr)
	}
	if helperBroke.Load() {
		a.closeHelper()
		a.noHelper = a.e.o.Now().Add(helperRest)
	}
	if err := cmp.Or(brokenBy, context.Cause(work)); err != nil {
		return true, fmt.Errorf("fetch bodies: %w", err)
	}
	for _, r := range refused {
		if err := a.cannotOpen(ctx, s, r.folder, r.err); err != nil {
			return true, err
		}
	}
	return progress > 0 || helperBroke.Load(), nil
}

// refusal is a folder that the server does not open.
type refusal struct {
	folder mail.Folder
	err    error
}

// gather returns the next list, and what follows it within linger, until there are enough; false when ready is closed.
func gather(ready <-chan []store.Body, enough int, linger time.Duration) (list []store.Body, ok bool) {
	list, ok = <-ready
	if !ok || len(list) >= enough {
		return list, ok
	}
	t := time.NewTimer(linger)
	defer t.Stop()
	for len(list) < enough {
		select {
		case more, ok := <-ready:
			if !ok {
				return list, true
			}
			list = append(list, more...)
		case <-t.C:
			return list, true
		}
	}
	return list, true
}

// closeHelper gives back the second connection of the body backfill.
func (a *account) closeHelper() {
	if a.helper != nil {
		a.helper.close()
		a.helper = nil
	}
}

// unheldUnits returns the next messages whose bytes are wanted, folder by folder in order of rank. A message without bytes is asked
// for in one folder only: two connections would race for which bytes it gets, should its copies differ.
func (a *account) unheldUnits(ctx context.Context) ([]unit, int, error) {
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return nil, 0, err
	}
	var units []unit
	total := 0
	asked := map[mail.MessageID]bool{}
	for _, f := range byRank(folders) {
		if f.Total == 0 || f.RawName == "" || a.e.o.Now().Before(a.parked[f.ID].until) {
			continue
		}
		missing, err := a.mbox.Unheld(ctx, f.ID, 20*unitMessages)
		if err != nil {
			return nil, 0, err
		}
		missing = slices.DeleteFunc(missing, func(p mail.Placement) bool { return asked[p.Message] })
		for _, p := range missing {
			asked[p.Message] = true
		}
		total += len(missing)
		for len(missing) > 0 {
			n := min(unitMessages, len(missing))
			units = append(units, a.apart(unitOf(f, missing[:n]...))...)
			missing = missing[n:]
		}
		if total >= 40*unitMessages {
			break
		}
	}
	return units, total, nil
}

// firstBodies fetches the bytes of the newest page of a folder, which is opened unless it is open.
func (a *account) firstBodies(ctx context.Context, s *session, f mail.Folder) error {
	if a.policy().HeadersOnly {
		return nil
	}
	missing, err := a.mbox.Unheld(ctx, f.ID, firstPage)
	if err != nil || len(missing) == 0 {
		return err
	}
	if same, err := a.openSame(ctx, s, f); err != nil || !same {
		return err
	}
	for _, u := range a.apart(unitOf(f, missing...)) {
		err := a.hold(ctx, s, u, func(b []store.Body) error {
			a.status.advance(len(b))
			return a.apply(ctx, store.Batch{Origin: a.bodyOrigin(), Bodies: b})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// holdUnit is hold for a worker: it opens the folder, and hands over what is ready.
func (a *account) holdUnit(ctx context.Context, s *session, u unit, ready chan<- []store.Body) error {
	if same, err := a.openSame(ctx, s, u.folder); err != nil || !same {
		return err // another generation: the next pass sees to it
	}
	return a.hold(ctx, s, u, func(b []store.Body) error {
		select {
		case ready <- b:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// hold fetches, understands and gives the bodies of a unit of the open folder. What the server refuses or leaves out is
// asked for one by one, and set aside if it stays away, so that one bad message never stops the others.
func (a *account) hold(ctx context.Context, s *session, u unit, give func([]store.Body) error) error {
	end, err := a.begin(ctx, u.folder, u.uids)
	if err != nil {
		return err
	}
	err = a.holdBegun(ctx, s, u, give)
	end() // not if it panics
	if err != nil {
		return err
	}
	return a.unblameAll(ctx, u)
}

// holdBegun is hold of a unit that was noted as begun.
func (a *account) holdBegun(ctx context.Context, s *session, u unit, give func([]store.Body) error) error {
	s.began = a.e.o.Now()
	var got, strange, trusted imap.UIDSet
	fetch := func(uids imap.UIDSet) error {
		return a.fetchBodies(ctx, s, u.folder, uids, func(batch []fetched) error {
			bodies, err := a.understand(ctx, batch)
			if err != nil {
				return err
			}
			ours := bodies[:0]
			for _, b := range bodies {
				b.Message = u.of[b.UID]
				if is, err := a.mayBe(ctx, b.Head, b.Message); err != nil {
					return err
				} else if !is && !trusted.Contains(uint32(b.UID)) {
					strange.Add(uint32(b.UID))
					continue
				}
				got.Add(uint32(b.UID))
				ours = append(ours, b)
			}
			if len(ours) == 0 {
				return nil
			}
			return give(ours)
		})
	}
	err := fetch(u.uids.Clone())
	if isOwn(err) {
		return err
	}
	if s.Err() != nil {
		return a.strike(ctx, s, u, got, err)
	}
	if err != nil && imap.ClassOf(err) == imap.Unclassified {
		return err // ours, not the server's
	}
	var left []uint32
	for uid := range u.uids.All {
		if !got.Contains(uid) {
			left = append(left, uid)
		}
	}
	if !strange.Empty() {
		a.log.Warn("the server sent the bytes of other messages; the folder is opened anew", "op", "bodies", "folder", u.folder.ID, "messages", strange.Len())
		s.selected = ""
		if same, err := a.openSame(ctx, s, u.folder); err != nil || !same {
			return err
		}
	}
	for _, uid := range left {
		var err error
		if strange.Contains(uid) {
			// Where the header by itself is that of the message, the server makes up other ones for the bytes.
			var is bool
			if is, err = a.shows(ctx, s, uid, u.of[mail.UID(uid)]); is {
				trusted.Add(uid)
			}
		}
		if err == nil {
			err = fetch(imap.UIDs(uid))
		}
		if isOwn(err) {
			return err
		}
		if s.Err() != nil {
			return a.strike(ctx, s, u, got, err)
		}
		if got.Contains(uid) {
			continue
		}
		reason := "the server left the message out of its answer"
		if err != nil {
			if imap.ClassOf(err) == imap.Unclassified || imap.ClassOf(err) == imap.TransientAccount {
				return err
			}
			reason = "the server refused to send the message"
		} else if strange.Contains(uid) {
			reason = "the server sent another message in its place"
		}
		if err := a.setAside(ctx, u, uid, reason, true); err != nil {
			return err
		}
	}
	return nil
}

// mayBe tells whether a message with this header may be the one that is wanted. Servers do not show the same header each time and
// everywhere, so that another Message-ID is what it takes to be another message.
func (a *account) mayBe(ctx context.Context, head *mime.Message, wanted mail.MessageID) (bool, error) {
	if wanted == "" || head == nil {
		return true, nil
	}
	fp, _ := mime.Fingerprint(head)
	if mail.MessageID(a.key.MessageID(fp)) == wanted {
		return true, nil
	}
	m, err := a.mbox.Message(ctx, wanted)
	if mail.IsKind(err, mail.NotFound) {
		return true, nil // the store knows whose the place is now
	}
	return m.HeaderMessageID == "" || m.HeaderMessageID == head.MessageID, err
}

// shows tells whether the header of a message of the open folder is that of the one that is wanted.
func (a *account) shows(ctx context.Context, s *session, uid uint32, wanted mail.MessageID) (is bool, err error) {
	var own error
	err = s.Fetch(ctx, imap.UIDs(uid), imap.FetchOptions{Header: mime.HeaderFieldsForSync()}, func(r *imap.Row) error {
		if r.UID == uid && r.HasHeader {
			head, _, _ := a.readHeader(bytes.Clone(r.Header))
			is, own = a.mayBe(ctx, head, wanted)
		}
		return nil
	})
	if own != nil {
		return false, &ownError{own}
	}
	return is, err
}

// strike notes at which message a connection died, and sets that message aside when it was so often.
func (a *account) strike(ctx context.Context, s *session, u unit, got imap.UIDSet, cause error) error {
	if ctx.Err() != nil || imap.ClassOf(cause) == imap.Canceled || a.ended(s) || slowed(cause) {
		return cause
	}
	for uid := range u.uids.All {
		if got.Contains(uid) {
			continue
		}
		ref := store.PlacementRef{Folder: u.folder.ID, UIDValidity: u.folder.UIDValidity, UID: mail.UID(uid)}
		a.strikesMu.Lock()
		a.strikes[ref]++
		out := a.strikes[ref] >= maxStrikes
		if out {
			delete(a.strikes, ref)
		}
		a.strikesMu.Unlock()
		if out {
			return errors.Join(cause, a.setAside(ctx, u, uid, "the connection broke each time at this message", false))
		}
		break
	}
	return cause
}

func (a *account) setAside(ctx context.Context, u unit, uid uint32, reason string, harmless bool) error {
	ref := store.PlacementRef{Folder: u.folder.ID, UIDValidity: u.folder.UIDValidity, UID: mail.UID(uid)}
	a.strikesMu.Lock()
	a.refusals[ref]++
	next := a.e.o.Now().Add(retryAside(a.refusals[ref], harmless))
	a.strikesMu.Unlock()
	a.log.Warn("message set aside", "op", "bodies", "folder", u.folder.ID, "uid", uid, "reason", reason)
	_, err := a.mbox.Apply(ctx, store.Batch{Term: a.term, Origin: mail.OriginLive, Quarantine: []store.Trouble{{PlacementRef: ref, Reason: reason, NextTry: next}}})
	return err
}
