package syncer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// step is one step of the ladder: by what a folder is compared with what is stored of it. The higher, the fewer bytes.
type step int

const (
	byWindow  step = iota + 1 // UIDs, counts and the flags of the newest messages; all flags now and then
	byModSeq                  // CONDSTORE: what CHANGEDSINCE names, and counts
	byQResync                 // QRESYNC: SELECT itself tells what has changed and what is gone
)

func (s step) String() string { return [...]string{"", "window", "modseq", "qresync"}[s] }

// ladder is what an account's looks at its folders remember. What is not in kept is gone with the process.
type ladder struct {
	kept   kept       // what is known again after a restart
	mu     sync.Mutex // of kept.Flips: the workers of bodies ask for them
	stored string     // of kept, as it was stored last

	last    map[mail.FolderID]step      // by which the folder was compared last
	flagsAt map[mail.FolderID]time.Time // when all flags were compared last, without CONDSTORE
	changed map[mail.FolderID]time.Time // when a look last found something, without CONDSTORE
}

func newLadder() *ladder {
	l := &ladder{last: map[mail.FolderID]step{}, flagsAt: map[mail.FolderID]time.Time{}, changed: map[mail.FolderID]time.Time{}}
	l.kept.make()
	return l
}

// switchOn enables what the looks need, in a session that has just logged in.
func (a *account) switchOn(ctx context.Context, s *session) error {
	caps := s.Caps()
	if !caps.Has("ENABLE") {
		return nil
	}
	var want []string
	if caps.Has("QRESYNC") && !a.e.o.Profile(a.acct).Limits.NoQResync && !a.ladder.kept.NoResync {
		want = append(want, "QRESYNC")
	}
	// Where commands have a limit of messages folders have one too, unless UIDs are all that is spoken of (Yahoo).
	if _, limited := caps.MessageLimit(); caps.Has("UIDONLY") && (limited || caps.Has("XYMHIGHESTMODSEQ")) {
		want = append(want, "UIDONLY")
	}
	if _, err := s.Enable(ctx, want...); err != nil && s.Err() != nil {
		return err
	}
	return nil
}

// stepOf is the highest step that the session bears.
func (a *account) stepOf(s *session) step {
	switch {
	case s.Enabled("QRESYNC") && !a.ladder.kept.NoResync:
		return byQResync
	case s.Caps().Has("CONDSTORE"):
		return byModSeq
	}
	return byWindow
}

// folderLook is one comparison of a folder with what is stored of it.
type folderLook struct {
	a      *account
	s      *session
	folder mail.Folder
	step   step
	full   bool // every UID and flag
	sel    *imap.Selected

	known  []mail.Placement // all that is stored of the folder, when all is compared; else nil
	rows   []remoteFlags    // what the server told and is not just as in known, each UID once
	at     map[mail.UID]int // where each is in rows; nil as long as nothing was told twice
	seen   imap.UIDSet      // of rows
	untold imap.UIDSet      // those of them without flags
	gone   imap.UIDSet      // what it says is gone
	all    bool             // every flag was compared
	agreed bool             // what we hold, without gone and with what is new, is as much as the folder has
}

// lookAt decides how a folder is to be compared. A session that can do more than the last one reuses none of the cursors
// from before: who knows what the server did meanwhile.
func (a *account) lookAt(s *session, f mail.Folder, full bool) *folderLook {
	l := &folderLook{a: a, s: s, folder: f, step: a.stepOf(s), full: full || a.labelsDue && f.ID == a.labels.all || a.unlimitedSeems(f.ID)}
	last, known := a.ladder.last[f.ID]
	if !known && a.ladder.kept.Window {
		last = byWindow
	}
	if last == byWindow && l.step > byWindow || f.HighestModSeq == 0 {
		l.full = l.full || l.step > byWindow
	}
	return l
}

// resync is what SELECT is to be asked for; nil: nothing. It names no known UIDs: a look that broke may have stored rows above UIDNEXT
// as the cursor has it, and the server would keep the flags of what it is not asked about to itself (RFC 7162 3.2.5.2).
func (l *folderLook) resync() *imap.QResync {
	f := l.folder
	if l.step != byQResync || l.full || !f.HeadersDone || f.UIDNext <= 1 {
		return nil
	}
	return &imap.QResync{UIDValidity: uint32(f.UIDValidity), ModSeq: uint64(f.HighestModSeq), Each: l.take}
}

// forget drops what SELECT told: it was of another generation, or from before the backfill.
func (l *folderLook) forget() {
	l.rows, l.at, l.seen, l.untold, l.gone = nil, nil, imap.UIDSet{}, imap.UIDSet{}, imap.UIDSet{}
}

// labels tells whether the labels of the messages are compared too.
func (l *folderLook) labels() bool { return l.a.labels.read(l.folder.ID) }

// take notes what the server says of a message. Of what it says twice the last word counts: the first may be what it remembered
// before it looked at its files (Dovecot), and its MODSEQ no lower. A message without a UID is asked for by the set of UIDs.
func (l *folderLook) take(r *imap.Row) error {
	if r.UID == 0 {
		return nil
	}
	twice := l.seen.Contains(r.UID)
	l.seen.Add(r.UID)
	switch {
	case !r.HasFlags && !twice:
		l.untold.Add(r.UID)
	case r.HasFlags && l.untold.Contains(r.UID):
		l.untold = l.untold.Without(imap.UIDs(r.UID))
	}
	flags, keywords := mail.ParseFlags(r.Flags)
	row := remoteFlags{UID: mail.UID(r.UID), Flags: flags, Keywords: keywords, ModSeq: mail.ModSeq(r.ModSeq), Unknown: !r.HasFlags, Labels: l.a.labelsOf(r, l.folder.ID)}
	if twice && l.at == nil {
		l.at = map[mail.UID]int{}
		for i, r := range l.rows {
			l.at[r.UID] = i
		}
	}
	if i, told := l.at[row.UID]; told {
		if row.Unknown {
			return nil
		}
		if !row.Labels.Known {
			row.Labels = l.rows[i].Labels
		}
		l.rows[i] = row
		return nil
	}
	if p, known := find(l.known, row.UID); !known || row.differs(p) {
		if l.at != nil {
			l.at[row.UID] = len(l.rows)
		}
		l.rows = append(l.rows, row)
	}
	return nil
}

// compare finds what differs and applies it.
func (l *folderLook) compare(ctx context.Context) (folderResult, error) {
	a, f, sel := l.a, l.folder, l.sel
	modseq := l.step > byWindow && !sel.NoModSeq && sel.HighestModSeq > 0
	if !modseq {
		l.step = byWindow
	}
	remote := remoteFolder{UIDValidity: f.UIDValidity, UIDNext: mail.UID(sel.UIDNext)}
	var local []mail.Placement
	var err error
	switch {
	case sel.HasExists && sel.Exists == 0:
		remote.Complete, l.all = true, true
		local, err = a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	case l.full || modseq && f.HighestModSeq > mail.ModSeq(sel.HighestModSeq): // MODSEQs that go down begin anew
		local, err = l.everything(ctx, &remote)
	case modseq:
		local, err = l.since(ctx, &remote)
	default:
		local, err = l.window(ctx, &remote)
	}
	if err == nil {
		err = l.askAgain(ctx)
	}
	if err != nil {
		return folderResult{}, err
	}
	remote.Flags = l.rows
	st := diff(remote, f.ID, local)
	left := a.left(f)
	switch {
	case remote.Complete:
		if err := a.asideGone(ctx, f, remote.UIDs); err != nil {
			return folderResult{}, err
		}
		left.there(remote.UIDs, local)
		earlier, err := a.mbox.OutOfView(ctx, f.ID)
		if err != nil {
			return folderResult{}, err
		}
		st.Vanished = l.goneOf(remote.UIDs, st.Vanished, earlier)
	case l.agreed:
		left.old = left.old.Without(l.gone)
	}
	st.Fetch = st.Fetch.Without(left.old)
	if !remote.Complete && l.agreed {
		for _, p := range local { // the counts have agreed that these are gone
			if l.gone.Contains(uint32(p.UID)) {
				st.Vanished = append(st.Vanished, store.PlacementRef{Folder: f.ID, UIDValidity: f.UIDValidity, UID: p.UID})
			}
		}
	}
	told := l.untold.Without(st.Fetch).Empty() && !l.seen.Open() && !remote.UIDs.Open() // the highest UID there can be is never fetched
	r, err := l.apply(ctx, st, modseq, (modseq || l.all) && (remote.Complete || l.agreed) && told)
	if err == nil && l.all && l.labels() {
		a.labelsDue = false
	}
	return r, err
}

// askAgain asks once more for the flags of messages of which the server told none.
func (l *folderLook) askAgain(ctx context.Context) error {
	if l.untold.Empty() {
		return nil
	}
	err := l.s.Fetch(ctx, l.untold.Clone(), imap.FetchOptions{Flags: true, ModSeq: l.step > byWindow}, l.take)
	if err != nil && l.s.Err() != nil {
		return fmt.Errorf("ask again for flags: %w", err)
	}
	return nil
}

// apply writes what a look has found. A large loss waits for another session.
func (l *folderLook) apply(ctx context.Context, st steps, modseq, proven bool) (folderResult, error) {
	a, f, sel := l.a, l.folder, l.sel
	result := folderResult{proven: proven}
	leaving := a.leavingFrom(f)
	delete(a.leaving, f.ID)
	changes := store.Batch{Origin: mail.OriginLive, Flags: st.Flags}
	var moved []store.PlacementRef
	for _, v := range st.Vanished {
		switch {
		case v.UIDValidity != f.UIDValidity:
			changes.Vanished = append(changes.Vanished, v)
		case leaving.removed.Contains(uint32(v.UID)):
			changes.Removed = append(changes.Removed, v)
		case leaving.moved.Contains(uint32(v.UID)):
			moved = append(moved, v)
		default:
			changes.Vanished = append(changes.Vanished, v)
		}
	}
	switch {
	case !suspicious(len(changes.Vanished), f.Total):
		delete(a.losses, f.ID)
	case !a.believe(f.ID):
		l := a.losses[f.ID]
		l.uids = imap.UIDSet{}
		for _, v := range changes.Vanished {
			if v.UIDValidity == f.UIDValidity {
				l.uids.Add(uint32(v.UID))
			}
		}
		a.losses[f.ID] = l
		changes.Vanished, result.proven = nil, false
	}
	changes.Vanished = append(changes.Vanished, moved...)
	result.vanished = len(changes.Vanished) + len(changes.Removed)
	result.found = len(st.Flags)+result.vanished+st.Fetch.Len() > 0

	c := store.Cursor{Folder: f.ID, UIDValidity: f.UIDValidity, UIDNext: max(f.UIDNext, mail.UID(sel.UIDNext))}
	if modseq && result.proven {
		c.HighestModSeq = mail.ModSeq(sel.HighestModSeq)
	}
	for uid := range st.Fetch.All {
		c.UIDNext = max(c.UIDNext, mail.UID(uid)+1)
	}
	var err error
	if changes, err = a.inPieces(ctx, changes); err != nil {
		return result, err
	}
	a.ladder.last[f.ID] = l.step
	a.ladder.kept.Window = l.step == byWindow
	l.again(modseq)
	if l.step == byWindow && (result.found || !l.untold.Empty()) {
		a.ladder.changed[f.ID] = a.e.o.Now()
	}
	if st.Fetch.Empty() {
		changes.Cursors = []store.Cursor{c}
		return result, a.apply(ctx, changes)
	}
	if len(changes.Flags)+result.vanished > 0 {
		if err := a.apply(ctx, changes); err != nil {
			return result, err
		}
	}
	// What arrives while we look is announced with its body, unless it is too much at once.
	whole := st.Fetch.Len() <= wholeMessages
	list, history := slices.Collect(st.Fetch.All), uint32(a.historyBelow(f))
	at, _ := slices.BinarySearch(list, history)
	chunks := slices.AppendSeq(slices.Collect(slices.Chunk(list[:at], headerChunk)), slices.Chunk(list[at:], headerChunk))
	for i, chunk := range slices.Backward(chunks) {
		b := store.Batch{Origin: mail.OriginLive}
		if chunk[0] < history {
			b.Origin = mail.OriginInitial
		}
		if i == 0 {
			b.Cursors = []store.Cursor{c} // the oldest comes last: the cursor moves when all are stored
		}
		if err := a.storeHeaders(ctx, l.s, f, imap.UIDs(chunk...), b, whole); err != nil {
			return result, err
		}
	}
	return result, nil
}

// applyAtOnce is how many changed flags, or messages that are gone, are stored in one transaction. The cursor moves with the
// last, so that a death in between repeats what is not stored.
const applyAtOnce = 5000

// inPieces stores all but the last piece of a batch that is larger than a transaction should be, and returns that.
func (a *account) inPieces(ctx context.Context, b store.Batch) (store.Batch, error) {
	for len(b.Flags)+len(b.Vanished)+len(b.Removed) > applyAtOnce {
		piece := store.Batch{Origin: b.Origin}
		room := applyAtOnce
		piece.Flags, b.Flags = split(b.Flags, &room)
		piece.Vanished, b.Vanished = split(b.Vanished, &room)
		piece.Removed, b.Removed = split(b.Removed, &room)
		if err := a.apply(ctx, piece); err != nil {
			return b, err
		}
	}
	return b, nil
}

// split cuts as much off a list as there is room for.
func split[T any](list []T, room *int) (piece, rest []T) {
	n := min(len(list), *room)
	*room -= n
	return list[:n], list[n:]
}

// again sees to it that a server whose MODSEQ may run ahead of what it shows (Gmail) is asked once more, in the next pass,
// from where it was asked now.
func (l *folderLook) again(modseq bool) {
	before := l.folder.HighestModSeq
	if modseq && !l.full && l.step == byModSeq && !l.s.Caps().Has("QRESYNC") && before < mail.ModSeq(l.sel.HighestModSeq) {
		l.a.ladder.kept.Overlap[l.folder.ID] = before
		return
	}
	delete(l.a.ladder.kept.Overlap, l.folder.ID)
}

// everything compares every UID and every flag.
func (l *folderLook) everything(ctx context.Context, remote *remoteFolder) ([]mail.Placement, error) {
	l.forget()
	a, f := l.a, l.folder
	var err error
	if l.known, err = a.mbox.Placements(ctx, f.ID, f.UIDValidity); err != nil {
		return nil, err
	}
	err = l.s.Fetch(ctx, imap.Range(1, imap.Star), imap.FetchOptions{Flags: true, ModSeq: l.step > byWindow, Gmail: l.labels()}, l.take)
	if err != nil {
		return nil, fmt.Errorf("compare all flags: %w", err)
	}
	l.all = true
	a.ladder.flagsAt[f.ID] = a.e.o.Now()
	if l.seen.Len() == int(l.sel.Exists) {
		remote.UIDs, remote.Complete = l.seen, true
		return l.known, nil
	}
	return l.byUIDs(ctx, remote)
}

// byUIDs asks for the UIDs themselves: something is gone, or the server did not tell all.
func (l *folderLook) byUIDs(ctx context.Context, remote *remoteFolder) ([]mail.Placement, error) {
	uids, err := l.a.allUIDs(ctx, l.s, l.sel)
	if err != nil {
		return nil, fmt.Errorf("compare the UIDs: %w", err)
	}
	uids.AddSet(l.seen)
	remote.UIDs, remote.Complete = uids, uids.Len() >= int(l.sel.Exists)
	if l.known != nil {
		return l.known, nil
	}
	return l.a.mbox.Placements(ctx, l.folder.ID, l.folder.UIDValidity)
}

// since asks for what has changed since the stored MODSEQ, unless SELECT has told. What is gone is believed when the counts
// agree: what we hold, without what is gone and with what is new, is as much as the folder has. Else the UIDs decide.
func (l *folderLook) since(ctx context.Context, remote *remoteFolder) ([]mail.Placement, error) {
	a, f, sel := l.a, l.folder, l.sel
	if sel.QResync {
		l.gone = sel.Vanished
	} else {
		l.forget()
		from := f.HighestModSeq
		if o, ok := a.ladder.kept.Overlap[f.ID]; ok {
			from = min(from, o)
		}
		err := l.s.Fetch(ctx, imap.Range(1, imap.Star), imap.FetchOptions{Flags: true, ModSeq: true, ChangedSince: uint64(from), Gmail: l.labels()}, l.take)
		if err != nil {
			return nil, fmt.Errorf("ask what has changed: %w", err)
		}
	}
	about := l.seen.Clone()
	about.AddSet(l.gone)
	local, err := l.stored(ctx, about)
	if err != nil {
		return nil, err
	}
	gone := 0
	for _, p := range local {
		if l.gone.Contains(uint32(p.UID)) {
			gone++
		}
	}
	fresh := l.fresh(local)
	l.agreed = f.Total-gone+fresh+a.left(f).old.Without(l.gone).Len() == int(sel.Exists) && l.countsTell(gone)
	if l.agreed {
		return local, nil
	}
	claimed := l.gone
	local, err = l.byUIDs(ctx, remote)
	if err != nil {
		return nil, err
	}
	if lies := claimed.And(remote.UIDs); remote.Complete && !lies.Empty() {
		a.log.Warn("the server named mail as gone that is there; QRESYNC is not used for this account any more", "op", "guard", "folder", f.ID, "uids", lies.Len())
		a.ladder.kept.NoResync = true
	}
	return local, nil
}

// countsTell tells whether counts that agree, with so many gone, prove anything: a message that is set aside, and is not here, makes up
// for one that is here and gone.
func (l *folderLook) countsTell(gone int) bool {
	return !l.mayBeOut(gone) && l.a.asideAll(l.folder).Empty()
}

// stored returns the placements of the UIDs, ascending; all of the folder if that is simpler.
func (l *folderLook) stored(ctx context.Context, uids imap.UIDSet) ([]mail.Placement, error) {
	f := l.folder
	ranges := uids.Ranges()
	if len(ranges) > 200 {
		return l.a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	}
	at := make([][2]mail.UID, len(ranges))
	for i, r := range ranges {
		at[i] = [2]mail.UID{mail.UID(r.Start), mail.UID(r.Stop)}
	}
	return l.a.mbox.PlacementsAt(ctx, f.ID, f.UIDValidity, at)
}

// fresh counts the messages that the server told about and that we do not hold, without those that the policy leaves out. Those that
// arrived after the folder was opened are among them and not in EXISTS: then the UIDs decide.
func (l *folderLook) fresh(local []mail.Placement) (n int) {
	left := l.a.left(l.folder)
	for _, r := range l.rows {
		if _, known := find(local, r.UID); !known && !left.old.Contains(uint32(r.UID)) {
			n++
		}
	}
	return n
}

const (
	// flagWindow is how many of the newest messages have their flags compared at every look, where the server cannot tell
	// which have changed.
	flagWindow = 1000
	// flagsBusy and flagsIdle are how often all flags are compared there: in folders in which something was found within a
	// day, and in the others.
	flagsBusy = 15 * time.Minute
	flagsIdle = 6 * time.Hour
)

// window compares the newest messages, and all UIDs when the counts do not agree.
func (l *folderLook) window(ctx context.Context, remote *remoteFolder) ([]mail.Placement, error) {
	a, f, sel := l.a, l.folder, l.sel
	if int(sel.Exists) <= flagWindow || a.flagsDue(f.ID) {
		return l.everything(ctx, remote)
	}
	local, err := a.mbox.NewestPlacements(ctx, f.ID, f.UIDValidity, flagWindow)
	if err != nil {
		return nil, err
	}
	from := uint32(1)
	if len(local) > 0 {
		from = uint32(local[0].UID)
	}
	err = l.s.Fetch(ctx, imap.Range(from, imap.Star), imap.FetchOptions{Flags: true, Gmail: l.labels()}, func(r *imap.Row) error {
		if r.UID < from {
			return nil // n:* names the last message even where n is above it
		}
		return l.take(r)
	})
	if err != nil {
		return nil, fmt.Errorf("compare the newest flags: %w", err)
	}
	l.agreed = f.Total+l.fresh(local)+a.left(f).old.Len() == int(sel.Exists) && l.countsTell(0)
	if l.agreed && !slices.ContainsFunc(local, func(p mail.Placement) bool { return !l.seen.Contains(uint32(p.UID)) }) {
		return local, nil
	}
	l.agreed = false
	return l.byUIDs(ctx, remote)
}

// flagsDue tells whether it is time to compare all flags of a folder, where the server cannot tell which have changed.
func (a *account) flagsDue(f mail.FolderID) bool {
	now := a.e.o.Now()
	every := flagsIdle
	if now.Sub(a.ladder.changed[f]) < 24*time.Hour {
		every = flagsBusy
	}
	last, known := a.ladder.flagsAt[f]
	if !known {
		last = a.lastAudit // of the process before
	}
	return now.Sub(last) >= every
}

// recount compares all flags of a folder whose unread messages, after a look at the newest, are not as many as STATUS said.
func (a *account) recount(ctx context.Context, s *session, l look, full bool) (vanished int, err error) {
	if full || a.stepOf(s) != byWindow || l.Status == nil || l.Status.Has&imap.HasUnseen == 0 || int(l.Status.Messages) <= flagWindow {
		return 0, nil
	}
	f, err := a.mbox.Folder(ctx, l.ID)
	if err != nil || f.Unread == int(l.Status.Unseen) || f.Total != int(l.Status.Messages) {
		return 0, err
	}
	r, err := a.syncFolder(ctx, s, f, true)
	return r.vanished, err
}

// due tells whether a folder is to be visited although its STATUS agrees with what is stored.
func (a *account) due(s *session, l look) bool {
	if _, again := a.ladder.kept.Overlap[l.ID]; again || a.unlimitedSeems(l.ID) {
		return true
	}
	told := a.stepOf(s) > byWindow && a.ladder.last[l.ID] != byWindow
	if told && l.HighestModSeq == 0 && l.Status.HighestModSeq > 0 { // the look that was to compare it broke
		return true
	}
	return !told && a.flagsDue(l.ID)
}
