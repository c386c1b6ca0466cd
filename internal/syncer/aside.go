package syncer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// What fails must not stop the rest. A batch of headers that the server refuses, or at which connections break, is cut into
// smaller ones until the message is found that is to blame; it is set aside, and tried again ever more rarely. So is a folder
// that cannot be opened. If the process dies while it syncs, the next one writes down what it begins; what was under way when
// it died again is then done message by message, and a message that was under way when it died is set aside.

const (
	// maxStrikes is how often a message may be the one at which the connection died before it is set aside.
	maxStrikes = 3
	// maxDeaths is how often the process may die while a message alone is under way. Two deaths came before: one that nobody
	// had written down, and one of the batch that it was in.
	maxDeaths = 1
	// cut is into how many pieces a batch that fails is cut.
	cut = 8
)

const (
	reasonDied     = "the server process died each time while the message was read"
	reasonPanicked = "an internal error stopped the sync each time while the message was read"
)

// retryAside is when what is set aside is tried again, by the number of attempts. What was only refused may be had in a minute;
// what breaks connections or kills the process is left alone for longer.
func retryAside(attempts int, harmless bool) time.Duration {
	waits := []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	if !harmless {
		waits = waits[2:]
	}
	return waits[min(max(attempts-1, 0), len(waits)-1)]
}

// place is the messages from first to last of a folder's generation; all 0: the folder itself.
type place struct {
	folder      mail.FolderID
	uidvalidity mail.UIDValidity
	first, last mail.UID
}

func placeOf(u store.Unit) place { return place{u.Folder, u.UIDValidity, u.First, u.Last} }

func (p place) one() bool { return p.first == p.last }

// units is what the store keeps of units, and the strikes of this process. Workers share it.
type units struct {
	mu      sync.Mutex
	kept    map[place]store.Unit
	writing bool           // the process has died: units are written down before they are begun
	strikes map[place]int  // how often in a row a connection broke there
	last    map[place]bool // set aside, and tried once more now that all else is done
}

// beginRun reads what the last run left, and sets aside the messages at which the process died too often.
func (a *account) beginRun(ctx context.Context) error {
	died, err := a.mbox.BeginRun(ctx)
	if err != nil {
		return fmt.Errorf("begin the run: %w", err)
	}
	list, err := a.mbox.Units(ctx)
	if err != nil {
		return fmt.Errorf("read what is set aside: %w", err)
	}
	a.units.writing = died
	if !died { // after a death everything is compared once
		a.lastAudit = a.status.get().AuditedAt
	}
	for _, u := range list {
		a.units.kept[placeOf(u)] = u
		if u.UIDValidity == 0 && u.Reason != "" {
			a.parked[u.Folder] = parking{backoff: backoff{failures: u.Attempts}, until: u.NextTry, seen: u.Since}
			a.proofs.trouble(u.Folder, u.Reason, u.NextTry)
		}
		if placeOf(u).one() && u.Deaths >= maxDeaths {
			if err := a.setUnitAside(ctx, placeOf(u), reasonDied, false); err != nil {
				return err
			}
		}
	}
	if died {
		a.log.Warn("the last run did not end but died; what is begun is written down", "op", "begin", "units", len(list))
	}
	return a.countAside(ctx)
}

// countAside notes how much is set aside, for those who ask.
func (a *account) countAside(ctx context.Context) error {
	n, err := a.mbox.CountTroubles(ctx)
	if err == nil {
		a.aside.Store(n)
	}
	return err
}

// survived is called when all is done that could be done: whatever was under way when the process died is not to blame.
func (a *account) survived(ctx context.Context) error {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	clear(a.units.strikes)
	if !a.units.writing {
		return nil
	}
	for p, u := range a.units.kept {
		if u.Reason == "" {
			if err := a.mbox.DropUnit(ctx, u); err != nil {
				return err
			}
			delete(a.units.kept, p)
		}
	}
	a.units.writing = false
	return nil
}

// lastTry lets the messages that were under way when the process died be tried once more, each alone, now that all else is
// done: the process may have died of something else. It tells whether there are such. One that it dies of again waits.
func (a *account) lastTry(ctx context.Context) (bool, error) {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	var due []store.Trouble
	for p, u := range a.units.kept {
		if (u.Reason == reasonDied || u.Reason == reasonPanicked) && u.Attempts == 1 && !a.units.last[p] {
			a.units.last[p] = true
			due = append(due, store.Trouble{PlacementRef: store.PlacementRef{Folder: p.folder, UIDValidity: p.uidvalidity, UID: p.first}, Reason: u.Reason, NextTry: a.e.o.Now()})
		}
	}
	if len(due) == 0 {
		return false, nil
	}
	a.units.writing = true
	return true, a.apply(ctx, store.Batch{Origin: mail.OriginLive, Quarantine: due})
}

// begin notes that work on messages begins, if the process has died before; end must be called when it has ended, well or not.
func (a *account) begin(ctx context.Context, f mail.Folder, uids imap.UIDSet) (end func(), err error) {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	if !a.units.writing || uids.Empty() {
		return func() {}, nil
	}
	p := span(f, uids)
	u, known := a.units.kept[p]
	if !known {
		u = store.Unit{Folder: p.folder, UIDValidity: p.uidvalidity, First: p.first, Last: p.last, Since: a.e.o.Now()}
	}
	u.UnderWay = true
	if err := a.mbox.PutUnit(ctx, u); err != nil {
		return nil, fmt.Errorf("write down what is begun: %w", err)
	}
	a.units.kept[p] = u
	return func() {
		a.units.mu.Lock()
		defer a.units.mu.Unlock()
		u, ok := a.units.kept[p]
		if !ok || !u.UnderWay {
			return
		}
		if u.UnderWay = false; u.Reason != "" {
			a.units.kept[p] = u
			if err := a.mbox.PutUnit(context.WithoutCancel(ctx), u); err != nil {
				a.log.Warn("a unit that has ended is still written down", "op", "unit", "folder", p.folder, "err", err)
			}
			return
		}
		delete(a.units.kept, p)
		if err := a.mbox.DropUnit(context.WithoutCancel(ctx), u); err != nil {
			a.log.Warn("a unit that has ended is still written down", "op", "unit", "folder", p.folder, "err", err)
		}
	}, nil
}

func span(f mail.Folder, uids imap.UIDSet) place {
	r := uids.Ranges()
	return place{f.ID, f.UIDValidity, mail.UID(r[0].Start), mail.UID(r[len(r)-1].Stop)}
}

// suspect tells whether a message was under way when the process died, or connections broke.
func (a *account) suspect(f mail.Folder, uid uint32) bool {
	in := func(p place) bool {
		return p.folder == f.ID && p.uidvalidity == f.UIDValidity && uint32(p.first) <= uid && uid <= uint32(p.last)
	}
	for p, u := range a.units.kept {
		if (u.Deaths > 0 && u.Reason == "" || a.units.last[p]) && in(p) {
			return true
		}
	}
	return false
}

// apart cuts a unit of bodies so that every suspect message is alone.
func (a *account) apart(u unit) []unit {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	if !a.units.writing {
		return []unit{u}
	}
	rest := unit{folder: u.folder, of: u.of}
	var out []unit
	for uid := range u.uids.All {
		if a.suspect(u.folder, uid) {
			out = append(out, unit{folder: u.folder, uids: imap.UIDs(uid), of: u.of})
		} else {
			rest.uids.Add(uid)
		}
	}
	if !rest.uids.Empty() {
		out = append(out, rest)
	}
	return out
}

// asideOf returns the messages of a folder that are set aside and not due.
func (a *account) asideOf(f mail.Folder) imap.UIDSet {
	now := a.e.o.Now()
	return a.asideIf(f, func(p place, u store.Unit) bool { return now.Before(u.NextTry) && !a.units.last[p] })
}

// asideAll returns those that are set aside, also such as are due.
func (a *account) asideAll(f mail.Folder) imap.UIDSet {
	return a.asideIf(f, func(place, store.Unit) bool { return true })
}

func (a *account) asideIf(f mail.Folder, is func(place, store.Unit) bool) (uids imap.UIDSet) {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	for p, u := range a.units.kept {
		if p.folder == f.ID && p.uidvalidity == f.UIDValidity && u.Reason != "" && p.uidvalidity != 0 && is(p, u) {
			uids.AddRange(uint32(p.first), uint32(p.last))
		}
	}
	return uids
}

// asideGone forgets the messages of a folder that were set aside and are not among those that are there.
func (a *account) asideGone(ctx context.Context, f mail.Folder, there imap.UIDSet) error {
	for uid := range a.asideAll(f).Without(there).All {
		if err := a.unblame(ctx, place{f.ID, f.UIDValidity, mail.UID(uid), mail.UID(uid)}); err != nil {
			return err
		}
	}
	return nil
}

// asideLately tells whether messages of a folder are set aside that may be some which have vanished elsewhere.
func (a *account) asideLately(f mail.Folder) bool {
	aside := a.asideOf(f)
	if aside.Empty() {
		return false
	}
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	for p, u := range a.units.kept {
		if p.folder == f.ID && p.uidvalidity == f.UIDValidity && aside.Contains(uint32(p.first)) && a.e.o.Now().Sub(u.Since) < longestUnread {
			return true
		}
	}
	return false
}

// asideSince tells whether messages of a folder are set aside, and have been at most since then.
func (a *account) asideSince(f mail.Folder, at time.Time) bool {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	for p, u := range a.units.kept {
		if p.folder == f.ID && p.uidvalidity != 0 && u.Reason != "" && !u.Since.Before(at) {
			return true
		}
	}
	return false
}

// setUnitAside writes that a message, or a folder, is tried again only later.
func (a *account) setUnitAside(ctx context.Context, p place, reason string, harmless bool) error {
	now := a.e.o.Now()
	u := a.units.kept[p]
	u.Folder, u.UIDValidity, u.First, u.Last = p.folder, p.uidvalidity, p.first, p.last
	if u.Since.IsZero() {
		u.Since = now
	}
	u.Attempts++
	u.UnderWay, u.Deaths, u.Reason, u.NextTry = false, 0, reason, now.Add(retryAside(u.Attempts, harmless))
	if err := a.mbox.PutUnit(ctx, u); err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	a.units.kept[p] = u
	delete(a.units.strikes, p)
	if u.Attempts > 1 {
		delete(a.units.last, p)
	}
	a.log.Warn("set aside", "op", "aside", "folder", p.folder, "uid", p.first, "reason", reason, "next_try", u.NextTry)
	if p.uidvalidity == 0 {
		a.proofs.trouble(p.folder, reason, u.NextTry)
		return nil
	}
	ref := store.PlacementRef{Folder: p.folder, UIDValidity: p.uidvalidity, UID: p.first}
	_, err := a.mbox.Apply(ctx, store.Batch{Term: a.term, Origin: mail.OriginLive, Quarantine: []store.Trouble{{PlacementRef: ref, Reason: reason, NextTry: u.NextTry}}})
	return err
}

// leaveAside is setUnitAside of what only the server does not give.
func (a *account) leaveAside(ctx context.Context, p place, reason string) error {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	return a.setUnitAside(ctx, p, reason, true)
}

// unblame forgets that a place was set aside: it works.
func (a *account) unblame(ctx context.Context, p place) error {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	u, known := a.units.kept[p]
	if !known || u.Reason == "" {
		return nil
	}
	if err := a.mbox.DropUnit(ctx, u); err != nil {
		return err
	}
	delete(a.units.kept, p)
	delete(a.units.last, p)
	return nil
}

// unblameAll is unblame of every message of a unit of bodies.
func (a *account) unblameAll(ctx context.Context, u unit) error {
	for uid := range u.uids.All {
		if err := a.unblame(ctx, place{u.folder.ID, u.folder.UIDValidity, mail.UID(uid), mail.UID(uid)}); err != nil {
			return err
		}
	}
	return nil
}

// storeHeaders is storeChunk of messages among which some may be such that the server refuses, or that break connections:
// these are found and set aside, the others stored. b is applied with the last of them, which are the oldest.
func (a *account) storeHeaders(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, b store.Batch, whole bool) error {
	aside := a.asideOf(f)
	var list []uint32
	for uid := range uids.All {
		if !aside.Contains(uid) {
			list = append(list, uid)
		}
	}
	groups := a.groups(f, list)
	for i, g := range groups {
		batch := store.Batch{Origin: b.Origin}
		if i == len(groups)-1 {
			batch = b
		}
		if err := a.storeGroup(ctx, s, f, g, batch, whole); err != nil {
			return err
		}
	}
	if len(groups) == 0 {
		return a.apply(ctx, b)
	}
	return nil
}

// groups cuts a list of UIDs, ascending, into batches from the newest to the oldest: suspects of a death are alone, and those at
// which connections broke are in smaller batches than before.
func (a *account) groups(f mail.Folder, list []uint32) [][]uint32 {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	size := max(len(list), 1)
	for p, n := range a.units.strikes {
		if n > 1 && p.folder == f.ID && p.uidvalidity == f.UIDValidity {
			within := 0
			for _, uid := range list {
				if uint32(p.first) <= uid && uid <= uint32(p.last) {
					within++
				}
			}
			if within > 0 {
				size = min(size, max(within/cut, 1))
			}
		}
	}
	var out [][]uint32
	for len(list) > 0 {
		n := 1
		for n < min(size, len(list)) && !(a.units.writing && (a.suspect(f, list[len(list)-1]) || a.suspect(f, list[len(list)-n-1]))) {
			n++
		}
		out = append(out, list[len(list)-n:])
		list = list[:len(list)-n]
	}
	return out
}

// storeGroup stores one batch, or finds out which of its messages cannot be.
func (a *account) storeGroup(ctx context.Context, s *session, f mail.Folder, list []uint32, b store.Batch, whole bool) error {
	uids := imap.UIDs(list...)
	p := span(f, uids)
	end, err := a.begin(ctx, f, uids)
	if err != nil {
		return err
	}
	s.began = a.e.o.Now()
	left, err := a.storeChunk(ctx, s, f, uids, b, whole)
	end()
	switch {
	case err == nil:
		a.units.mu.Lock()
		delete(a.units.strikes, p)
		a.units.mu.Unlock()
		for uid := range uids.All {
			at := place{f.ID, f.UIDValidity, mail.UID(uid), mail.UID(uid)}
			if left.Contains(uid) {
				err = a.leaveAside(ctx, at, "the server left the message's header out of its answer")
			} else {
				err = a.unblame(ctx, at)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case isOwn(err) || ctx.Err() != nil || imap.ClassOf(err) == imap.Canceled || imap.ClassOf(err) == imap.Unclassified:
		return err // ours, not the server's
	case s.Err() != nil:
		if a.ended(s) || slowed(err) {
			return err
		}
		return a.struck(ctx, p, err)
	case imap.ClassOf(err) == imap.TransientAccount:
		return err
	case p.one():
		if err := a.leaveAside(ctx, p, "the server refused to send the message's header"); err != nil {
			return err
		}
		return a.apply(ctx, b)
	}
	n := max(len(list)/cut, 1)
	for len(list) > 0 { // newest first
		piece := list[max(0, len(list)-n):]
		list = list[:len(list)-len(piece)]
		batch := store.Batch{Origin: b.Origin}
		if len(list) == 0 {
			batch = b
		}
		if err := a.storeGroup(ctx, s, f, piece, batch, whole); err != nil {
			return err
		}
	}
	return nil
}

// ended tells whether a connection broke because its time was over, and not at what was being sent: the provider ends
// connections, and this one was that old, and not new when the thing began. What does not fit into a whole connection is to
// blame after all.
func (a *account) ended(s *session) bool {
	limit := a.duty()
	return limit > 0 && a.e.o.Now().Sub(s.opened) >= limit*4/5 && s.began.Sub(s.opened) >= limit/4
}

// struck notes that a connection broke at a batch, and sets it aside when it is one message and that was too often.
func (a *account) struck(ctx context.Context, p place, cause error) error {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	a.units.strikes[p]++
	if p.one() && a.units.strikes[p] >= maxStrikes {
		if err := a.setUnitAside(ctx, p, "the connection broke each time at this message", false); err != nil {
			return err
		}
	}
	return cause
}

// cannotOpen deals with a folder that the server does not open: it never stops the others. It is tried again soon, and after
// the third time rarely. An error of the account is returned, and one of the session until it was the third.
func (a *account) cannotOpen(ctx context.Context, s *session, f mail.Folder, cause error) error {
	if ctx.Err() != nil || imap.ClassOf(cause) == imap.Canceled || imap.ClassOf(cause) == imap.TransientAccount && !s.balks(f, cause) {
		return cause
	}
	if s.Err() != nil && a.ended(s) {
		return cause
	}
	p, was := a.parked[f.ID]
	if !was { // the last pass has looked at it, or knew that it is as it was
		p.seen = a.status.get().SeenAt
	}
	pause := p.backoff.next(mail.Unavailable, 0, 0)
	p.until = a.e.o.Now().Add(pause)
	if s.Err() != nil && p.backoff.failures < maxStrikes {
		p.until = time.Time{} // most likely the connection broke for another reason
	}
	a.parked[f.ID] = p
	reason := "the server does not open the folder"
	if unreadable(cause) {
		reason = "the server does not let the folder be read"
	}
	if s.Err() != nil {
		reason = "the connection broke each time when the folder was opened"
	}
	if p.backoff.failures >= maxStrikes {
		at := place{folder: f.ID}
		a.units.mu.Lock()
		if _, aside := a.units.kept[at]; !aside {
			a.units.kept[at] = store.Unit{Since: p.seen}
		}
		err := a.setUnitAside(ctx, at, reason, unreadable(cause))
		p.until = a.units.kept[at].NextTry
		a.units.mu.Unlock()
		if err != nil {
			return err
		}
		a.parked[f.ID] = p
	} else {
		a.proofs.trouble(f.ID, reason, p.until)
	}
	a.log.Warn("folder cannot be opened", "op", "examine", "folder", f.ID, "retry_in", pause.String(), "err", cause)
	return s.deadOr(cause)
}

// balks tells whether a refusal that speaks of a while may be about one folder only: the first of its session. If the account is to be
// left alone, the next folder is refused too.
func (s *session) balks(f mail.Folder, cause error) bool {
	if s.Err() != nil || f.Role == mail.RoleInbox || slowed(cause) {
		return false
	}
	if s.balked == "" {
		s.balked = f.ID
	}
	return s.balked == f.ID
}

// unopened says, in words, which folder with mail the server does not open, however often it was tried; "": none. Some servers list
// parents that hold none and cannot be opened.
func (a *account) unopened(ctx context.Context) (string, error) {
	if len(a.parked) == 0 {
		return "", nil
	}
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range byRank(folders) {
		if p := a.parked[f.ID]; p.backoff.failures >= maxStrikes && (f.Role == mail.RoleInbox || f.Total > 0 || p.full) {
			return fmt.Sprintf("The server does not open the folder %q, or does not let it be read; the others are kept up to date.", f.Name), nil
		}
	}
	return "", nil
}

// deadOr returns cause if the session is dead, else nil.
func (s *session) deadOr(cause error) error {
	if s.Err() != nil {
		return cause
	}
	return nil
}

// opened is called when a folder was looked at and what was found is stored. If for long it could not be, that is told.
func (a *account) opened(ctx context.Context, f mail.Folder) error {
	p, was := a.parked[f.ID]
	if !was {
		return nil
	}
	now := a.e.o.Now()
	if since := later(p.seen, a.proofs.of(f.ID)); a.synced && !since.IsZero() && now.Sub(since) >= gapAfter {
		why := fmt.Sprintf("The folder %q could not be read for %s. All that is there now was compared; what came and went in between is not told.", f.Name, now.Sub(since).Round(time.Minute))
		if err := a.gap(ctx, since, now, why); err != nil {
			return err
		}
	}
	return a.unpark(ctx, f.ID)
}

// unpark forgets that a folder could not be opened.
func (a *account) unpark(ctx context.Context, f mail.FolderID) error {
	if _, was := a.parked[f]; !was {
		return nil
	}
	delete(a.parked, f)
	a.proofs.trouble(f, "", time.Time{})
	return a.unblame(ctx, place{folder: f})
}

var errPanicked = errors.New("panic")

// panicked notes a panic, and tells whoever asks what it means. It is called where one was recovered.
func (a *account) panicked(op string, v any) error {
	a.e.o.Events.Panic(a.id, v)
	a.log.Error("panic in sync", "op", op, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	return mail.E(mail.Internal, op, "an internal error stopped the sync; it is being restarted", errPanicked)
}

// blame makes a panic of this process count as a death of it: what was under way is done by itself the next time, and a message
// that was alone under way too often is set aside.
func (a *account) blame(ctx context.Context) error {
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	a.units.writing = true
	for p, u := range a.units.kept {
		if !u.UnderWay {
			continue
		}
		u.UnderWay = false
		u.Deaths++
		a.units.kept[p] = u
		if p.one() && u.Deaths >= maxDeaths {
			if err := a.setUnitAside(ctx, p, reasonPanicked, false); err != nil {
				return err
			}
		} else if err := a.mbox.PutUnit(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// forgetUnits drops what was set aside and is not there any more: its folder, its generation, or the message, which would else
// have been tried again since.
func (a *account) forgetUnits(ctx context.Context) error {
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return err
	}
	generation := map[mail.FolderID]mail.UIDValidity{}
	for _, f := range folders {
		generation[f.ID] = f.UIDValidity
	}
	a.strikesMu.Lock()
	clear(a.strikes)
	clear(a.refusals)
	a.strikesMu.Unlock()
	a.units.mu.Lock()
	defer a.units.mu.Unlock()
	for p, u := range a.units.kept {
		v, there := generation[p.folder]
		if u.Reason == "" || there && (p.uidvalidity == 0 || p.uidvalidity == v) && a.e.o.Now().Sub(u.NextTry) < 2*a.e.o.Audit {
			continue
		}
		if err := a.mbox.DropUnit(ctx, u); err != nil {
			return err
		}
		delete(a.units.kept, p)
	}
	return nil
}
