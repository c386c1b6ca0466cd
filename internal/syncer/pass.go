package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// apply writes a batch in the account's term.
func (a *account) apply(ctx context.Context, b store.Batch) error {
	b.Term = a.term
	if a.acting && b.Origin == mail.OriginLive {
		b.Origin = mail.OriginAPI
	}
	b.Memory = a.ladder.remember(a.e.o.Now())
	a.e.at(before, b)
	res, err := a.mbox.Apply(ctx, b)
	a.e.at(after, b)
	if err == nil {
		if b.Memory != nil {
			a.ladder.stored = string(b.Memory)
		}
		a.moved.Add(int64(min(len(b.New), res.Changes) + len(b.Bodies))) // headers that were here already are no progress
	}
	return err
}

// initial tells whether the initial sync is still to be completed.
func (a *account) initial() bool { return !a.synced }

// backfillOrigin is the origin of what was at the server before we looked: the initial sync found it, unless that is
// over and a folder is new to us.
func (a *account) backfillOrigin() mail.Origin {
	if a.initial() {
		return mail.OriginInitial
	}
	return mail.OriginLive
}

// backfillOriginIn is backfillOrigin of the messages of a folder.
func (a *account) backfillOriginIn(f mail.Folder) mail.Origin {
	if was := a.widened(); was != nil && !was.Wants(f) {
		return mail.OriginInitial
	}
	return a.backfillOrigin()
}

// bodyOrigin is backfillOrigin of bytes.
func (a *account) bodyOrigin() mail.Origin {
	if a.widened() != nil {
		return mail.OriginInitial
	}
	return a.backfillOrigin()
}

// errSecondLook ends a round so that the next one looks at a suspicious loss in another session.
var errSecondLook = errors.New("a suspicious loss is looked at in another session")

// work brings everything up to date on s and keeps it so.
func (a *account) work(ctx context.Context, s *session) error {
	a.session++
	a.since, a.found = a.e.o.Now(), time.Now()
	began, moved := a.e.o.Now(), a.moved.Load()
	defer func() { a.prove(began, moved) }() // a connection that breaks may have brought much
	defer a.closeHelper()
	defer a.closeLister()
	defer a.closeWriter()
	if err := a.serveOperations(ctx, s); err != nil { // those from before
		return err
	}
	seen, err := a.mbox.Synced(ctx)
	if err != nil {
		return err
	}
	a.synced = seen
	counts, err := a.mbox.Counts(ctx)
	if err != nil {
		return err
	}
	a.status.done(a.held(counts))
	if a.initial() {
		if a.ladder.kept.Policy == nil {
			a.follows()
		}
		a.enter(ctx, store.Batch{Origin: mail.OriginInitial}, mail.StateInitial, "", "")
	}
	for {
		if !a.opsNext.IsZero() && !a.e.o.Now().Before(a.opsNext) {
			if err := a.serveOperations(ctx, s); err != nil {
				return err
			}
		}
		full := a.e.o.Now().Sub(a.lastAudit) >= a.e.o.Audit
		if err := a.stopOverBudget(); err != nil {
			return err
		}
		started := time.Now()
		if err := a.pass(ctx, s, full); err != nil {
			return err
		}
		if full {
			if n, err := a.mbox.CollectGarbage(ctx); err != nil {
				return fmt.Errorf("remove unused bytes: %w", err)
			} else if n > 0 {
				a.log.Info("removed unused bytes", "op", "garbage", "blobs", n)
			}
		}
		cost := time.Since(started)
		a.prove(began, moved)
		if _, due := a.doubts(); due {
			return errSecondLook
		}
		unheld, err := a.bodies(ctx, s, bodySlice)
		if err != nil {
			return err
		}
		if unheld {
			continue // new mail first, then the next slice of old bodies
		}
		again, err := a.lastTry(ctx)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		a.closeHelper()
		slow := a.slowDown()
		if slow == nil || a.initial() {
			if err := a.caughtUp(ctx); err != nil {
				return err
			}
		}
		if slow != nil {
			return slow
		}
		if err := a.idle(ctx, s, a.pause(cost)); err != nil {
			return err
		}
	}
}

// bodySlice is how long bodies are fetched before the folders are looked at again.
const bodySlice = 10 * time.Second

// caughtUp is called when all that can be held is held.
func (a *account) caughtUp(ctx context.Context) error {
	if over, err := a.enterOverBudget(ctx); over || err != nil {
		return err
	}
	limited, err := a.limited(ctx)
	if err != nil {
		return err
	}
	closed, err := a.unopened(ctx)
	if err != nil {
		return err
	}
	b := store.Batch{Origin: mail.OriginLive}
	if a.initial() {
		b.Origin, b.Done = mail.OriginInitial, true
		a.log.Info("initial sync complete", "op", "initial", "messages", a.status.get().Done)
	}
	a.follows()
	switch doubt, _ := a.doubts(); {
	case doubt:
		a.enter(ctx, b, mail.StateDegraded, "The server no longer shows mail that it did; it is kept until another session confirms that it is gone.", "Nothing: it is being checked.")
	case a.flapsAnywhere():
		a.enter(ctx, b, mail.StateDegraded, "The server numbers the messages of a folder anew again and again (UIDVALIDITY); they are told apart by what they are, which takes longer.",
			"Nothing: mail is still kept up to date. The provider could mend it.")
	case a.garbled:
		a.enter(ctx, b, mail.StateDegraded, "A line of the server's list of folders cannot be read; that folder is not looked at.", "Nothing if it passes; the list is read again. Else the provider can mend it, or renaming the folder.")
	case closed != "":
		a.enter(ctx, b, mail.StateDegraded, closed, "Nothing if it passes; the folder is tried again. Else the provider can mend it, or sync_folders can leave the folder out.")
	case limited != "":
		a.enter(ctx, b, mail.StateDegraded, limited, liftLimit)
	default:
		action := ""
		if a.unlabelled != "" {
			action = showAll
		}
		a.enter(ctx, b, mail.StateLive, a.unlabelled, action)
	}
	if err := a.survived(ctx); err != nil {
		return err
	}
	if a.synced, err = a.mbox.Synced(ctx); err != nil {
		return err
	}
	return a.saveStatus(ctx)
}

// pass looks at all folders and brings the rows of those that differ up to date: messages, flags, removals. Bodies are
// left to the caller. A full pass compares every UID and every flag; the others trust STATUS. One that a session did not live to
// end is taken up by the next, which does not compare again what was found equal.
func (a *account) pass(ctx context.Context, s *session, full bool) error {
	began := a.e.o.Now()
	if err := a.followLate(ctx); err != nil {
		return err
	}
	looks, err := a.listFolders(ctx, s)
	if err != nil {
		return err
	}
	a.status.total(a.wantedTotal(looks))
	defer a.closeLister()
	if err := a.adoptEmpty(ctx, looks); err != nil {
		return err
	}
	if full && (a.auditing.IsZero() || a.auditing.After(began)) { // After: the clock was wrong
		a.auditing = began
	}
	proven, lost, oldest, sweepable := true, 0, began, began
	lastSeen := func(f mail.FolderID) time.Time { return later(a.proofs.of(f), began.Add(-longestUnread)) }
	for _, f := range a.unlisted { // what has vanished elsewhere may lie there
		sweepable = earlier(sweepable, lastSeen(f))
	}
	for _, l := range looks {
		audited := a.proofs.audited(l.ID)
		full := full && (audited.Before(a.auditing) || audited.After(began))
		if !full && l.counted() && !a.due(s, l) {
			delete(a.losses, l.ID)
			proven = proven && l.same()
			if l.same() {
				a.proofs.proven(l.ID, began, false)
			}
			if a.asideLately(l.Folder) {
				sweepable = earlier(sweepable, lastSeen(l.ID))
			}
			continue
		}
		if l.HeadersDone && l.Status != nil && l.Status.Has&imap.HasMessages != 0 && l.Status.Messages == 0 && l.counted() && !a.unlimitedSeems(l.ID) {
			a.proofs.proven(l.ID, began, true)
			continue
		}
		r, err := a.syncFolder(ctx, s, l.Folder, full)
		if err != nil {
			return fmt.Errorf("sync %q: %w", l.Name, err)
		}
		a.polled(r.found, r.found && l.Role == mail.RoleInbox && !a.notice.waits())
		now, err := a.mbox.Folder(ctx, l.ID) // its generation may be another than it was
		if err != nil {
			return err
		}
		if p, parked := a.parked[l.ID]; parked && r.skipped {
			p.full = l.Status != nil && l.Status.Messages > 0
			a.parked[l.ID] = p
		}
		if r.skipped && !l.counted() || a.asideLately(now) { // what has vanished since it was seen whole may lie there
			sweepable = earlier(sweepable, lastSeen(l.ID))
		}
		r.proven = r.proven && a.asideOf(now).Empty()
		proven = proven && r.proven
		lost += r.vanished
		if r.proven {
			a.proofs.proven(l.ID, began, full)
		}
		more, err := a.recount(ctx, s, l, full)
		if err != nil {
			return fmt.Errorf("sync %q: %w", l.Name, err)
		}
		lost += more
	}
	if a.labels.on() {
		gone, err := a.checkLabels(ctx, s)
		if err != nil {
			return err
		}
		lost += gone
		a.proveLabels(began, full)
	}
	if err := s.deselect(ctx); err != nil {
		return fmt.Errorf("leave the folder: %w", err)
	}
	if err := a.sweep(ctx, sweepable); err != nil {
		return err
	}
	counts, err := a.mbox.Counts(ctx)
	if err != nil {
		return err
	}
	a.status.done(a.held(counts))
	a.status.total(a.wantedTotal(looks)) // what the policy leaves out is known now
	a.waiting = counts.Vanished > 0
	if full {
		if err := a.forgetUnits(ctx); err != nil {
			return err
		}
		a.lastAudit = a.auditing.Round(0) // by the time of day: while a machine sleeps no other clock runs
		a.status.audited(a.auditing)
		a.auditing = time.Time{}
		a.saved = time.Time{} // so that a restart knows
	}
	if err := a.countAside(ctx); err != nil {
		return err
	}
	if err := a.seen(ctx, began); err != nil {
		return err
	}
	if doubt, _ := a.doubts(); !doubt && !a.garbled && a.held(counts) == counts.Placements && counts.Vanished == 0 && a.labelsAgree() {
		if !proven { // without CONDSTORE folders are compared one by one, when they are due: all that happened before the oldest is here
			for _, l := range looks {
				oldest = earlier(oldest, a.proofs.of(l.ID))
			}
		}
		a.status.fresh(oldest)
	}
	a.e.o.Events.Pass(a.id, full)
	again := a.strange // a label of which the list of folders knew nothing
	a.strange = false
	if lost > 0 || again {
		// Whatever left a folder during this pass may have gone to one that was looked at before: look again now.
		return a.pass(ctx, s, false)
	}
	return nil
}

// sweep removes what vanished before a pass began that has found it nowhere, or before one that had to skip a folder, and long enough ago: what is moved is sometimes
// removed minutes before it is added.
func (a *account) sweep(ctx context.Context, before time.Time) error {
	before = earlier(before, a.e.o.Now().Add(-a.e.o.Grace))
	a.e.point("before sweep")
	_, err := a.mbox.Sweep(ctx, a.term, before)
	a.e.point("after sweep")
	if err != nil {
		return fmt.Errorf("remove what is gone: %w", err)
	}
	return nil
}

// longestUnread is how long a folder that is not listed or cannot be opened, or a message that is set aside, keeps what has vanished elsewhere from being
// taken for deleted.
const longestUnread = 24 * time.Hour

func earlier(x, y time.Time) time.Time {
	if y.Before(x) {
		return y
	}
	return x
}

// adoptEmpty stores the cursors of folders that are new to us and have no messages, without opening each of them: some
// mailboxes have thousands.
func (a *account) adoptEmpty(ctx context.Context, looks []look) error {
	const need = imap.HasMessages | imap.HasUIDNext | imap.HasUIDValidity
	b := store.Batch{Origin: a.backfillOrigin()}
	for i, l := range looks {
		if l.HeadersDone || l.UIDValidity != 0 || l.Status == nil || l.Status.Has&need != need || l.Status.Messages != 0 || l.Status.UIDValidity == 0 || l.Status.UIDNext == 0 {
			continue
		}
		f := l.Folder
		f.UIDValidity = mail.UIDValidity(l.Status.UIDValidity)
		c := store.Cursor{
			Folder: f.ID, UIDValidity: f.UIDValidity, UIDNext: mail.UID(l.Status.UIDNext), BackfillBelow: 1, HeadersDone: true,
			HighestModSeq: mail.ModSeq(l.Status.HighestModSeq),
		}
		b.Folders = append(b.Folders, f)
		b.Cursors = append(b.Cursors, c)
		looks[i].UIDValidity, looks[i].UIDNext, looks[i].HeadersDone, looks[i].HighestModSeq = f.UIDValidity, c.UIDNext, true, c.HighestModSeq
	}
	if len(b.Folders) == 0 {
		return nil
	}
	if err := a.apply(ctx, b); err != nil {
		return fmt.Errorf("store the empty folders: %w", err)
	}
	return nil
}
