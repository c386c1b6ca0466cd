package syncer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// At Gmail folders are labels: a message lies once, in All Mail, Spam or Trash, and shows in every folder whose label it
// has. So these three are synchronised, each message is fetched once, and its X-GM-LABELS make it show in the others
// (developers.google.com/gmail/imap/imap-extensions). The store keeps a label as a placement with a base: see store.Labels.
//
// A change of labels raises the MODSEQ of the message in All Mail, so that it comes like one of flags. What Gmail does not
// tell by it (a label that is renamed or removed) is found by the counts: STATUS says how many messages a label has.
//
// Labels are not used when All Mail is hidden from IMAP, when the settings leave folders out, or when folders show
// messages that All Mail does not (Gmail can be set to show the newest thousand of a folder): then each folder is
// synchronised by itself, as elsewhere.

// labelling says which folders are labels. The zero value: none is.
type labelling struct {
	all    mail.FolderID            // where messages lie that are neither in Spam nor in Trash
	named  map[string]mail.FolderID // by label, as X-GM-LABELS tells it
	labels map[mail.FolderID]string // the other way
	fixed  map[mail.FolderID]bool   // labels that a message keeps when it is moved: Gmail gives them, or they are no places
	blind  bool                     // the server does not tell labels in this session
}

func (l *labelling) on() bool { return l.all != "" }

// isLabel tells whether a folder is a label.
func (l *labelling) isLabel(id mail.FolderID) bool { return l.on() && l.labels[id] != "" }

// read tells whether the labels of what lies in a folder are to be asked for.
func (l *labelling) read(id mail.FolderID) bool { return l.on() && id == l.all && !l.blind }

// home is where the messages lie that show in a folder.
func (l *labelling) home(id mail.FolderID) mail.FolderID {
	if l.isLabel(id) {
		return l.all
	}
	return id
}

// labellingOf finds out which folders are labels. Without a folder for all mail none is.
func labellingOf(folders []mail.Folder) labelling {
	l := labelling{named: map[string]mail.FolderID{}, labels: map[mail.FolderID]string{}, fixed: map[mail.FolderID]bool{}}
	for _, f := range folders {
		if !f.Selectable {
			continue
		}
		special := ""
		for _, at := range f.Attrs {
			switch strings.ToLower(at) {
			case `\all`:
				l.all = f.ID
				special = at
			case `\trash`, `\junk`:
				special = at
			case `\sent`, `\flagged`, `\important`:
				special = at
				l.fixed[f.ID] = true
			case `\drafts`:
				special = at
				l.fixed[f.ID] = true
			}
		}
		label := f.Name
		switch special = strings.ToLower(special); special {
		case `\all`, `\trash`, `\junk`:
			continue
		case `\drafts`:
			label = `\Draft`
		case `\flagged`:
			label = `\Starred`
		case `\sent`:
			label = `\Sent`
		case `\important`:
			label = `\Important`
		default:
			if f.Role == mail.RoleInbox {
				label = `\Inbox`
			}
		}
		l.named[strings.ToLower(label)] = f.ID
		l.labels[f.ID] = label
	}
	if l.all == "" {
		return labelling{}
	}
	return l
}

// find returns the folder of a label. Gmail's labels differ by more than case.
func (l *labelling) find(label string) (mail.FolderID, bool) {
	label = strings.ToLower(label)
	switch label {
	case `\drafts`:
		label = `\draft`
	case `\flagged`:
		label = `\starred`
	}
	id, ok := l.named[label]
	return id, ok
}

// labelsOf are the folders in which a message of All Mail shows. A label without a folder is one that is hidden from IMAP,
// or newer than our list of folders: the first time that it is met, the folders are listed again.
func (a *account) labelsOf(r *imap.Row, folder mail.FolderID) store.Labels {
	if !a.labels.read(folder) || !r.HasGmailLabels {
		return store.Labels{}
	}
	out := store.Labels{Known: true}
	for _, name := range r.GmailLabels {
		if id, ok := a.labels.find(name); ok {
			out.Folders = append(out.Folders, id)
		} else if !a.strangers[name] {
			if a.strangers == nil || len(a.strangers) >= maxStrangers {
				a.strangers = map[string]bool{}
			}
			a.strangers[name], a.strange = true, true
		}
	}
	slices.Sort(out.Folders)
	out.Folders = slices.Compact(out.Folders)
	return out
}

// maxStrangers bounds how many labels without a folder are remembered.
const maxStrangers = 10_000

// home is labelling.home for a whole folder.
func (a *account) home(ctx context.Context, f mail.Folder) (mail.Folder, error) {
	if id := a.labels.home(f.ID); id != f.ID {
		return a.mbox.Folder(ctx, id)
	}
	return f, nil
}

// labelCount is how many messages of a label the server and we count.
type labelCount struct {
	there, here int
	compared    bool // and stays so although all labels were compared
}

// notLabelled are the reasons that people are told.
const (
	allHidden  = "Gmail's All Mail is hidden from IMAP, so that every label is synchronised as a folder by itself: messages with several labels are fetched several times."
	allPartial = "Gmail's All Mail does not show messages that other folders do, so that every label is synchronised as a folder by itself: messages with several labels are fetched several times."
	showAll    = "In the settings of Gmail, have All Mail shown in IMAP, and no limit on the number of messages in an IMAP folder."
)

// useLabels decides, for a list of folders that was just stored, whether labels are used, and brings about what that asks
// of the store. It tells whether folders are others than they were.
func (a *account) useLabels(ctx context.Context, s *session, stored []mail.Folder) (changed bool, err error) {
	can := s.Caps().Has("X-GM-EXT-1")
	p := a.policy()
	next := labellingOf(stored)
	if len(p.Folders)+len(p.Without) > 0 {
		next = labelling{}
	}
	a.unlabelled = ""
	m := &a.ladder.kept
	there := slices.ContainsFunc(stored, func(f mail.Folder) bool { return f.ID == m.Labelled })
	if m.Labelled != "" {
		switch {
		case !there: // it went with its labels
			m.Labelled = ""
		case next.all != m.Labelled, m.Partial, !can && a.believe(lostLabels):
			b := store.Batch{Origin: mail.OriginLive, Unlabelled: []mail.FolderID{m.Labelled}}
			was := m.Labelled
			m.Labelled = ""
			a.log.Info("folders are no longer labels", "op", "labels")
			if err := a.apply(ctx, b); err != nil {
				m.Labelled = was
				return false, fmt.Errorf("store that folders are no labels: %w", err)
			}
			changed = true
		default:
			if next.blind = !can; can {
				a.labelsDue = a.labelsDue || a.labels.blind
				delete(a.losses, lostLabels)
			}
			a.labels = next
			return false, nil
		}
	}
	a.labels = labelling{}
	if !can || len(p.Folders)+len(p.Without) > 0 {
		return changed, nil
	}
	if next.all == "" {
		a.unlabelled = allHidden
		return changed, nil
	}
	ready, err := a.canUseLabels(ctx, next, stored)
	if err != nil || !ready {
		return changed, err
	}
	b := store.Batch{Origin: mail.OriginLive}
	for _, f := range stored {
		if next.isLabel(f.ID) && (f.UIDNext != 0 || f.BackfillBelow != 0 || f.HeadersDone) {
			b.Renewed = append(b.Renewed, f.ID)
		}
	}
	was := *m
	m.Labelled, m.Partial = next.all, false
	if err := a.apply(ctx, b); err != nil {
		*m = was
		return false, fmt.Errorf("store that folders are labels: %w", err)
	}
	a.log.Info("folders are labels", "op", "labels", "labels", len(next.labels))
	a.labels, a.labelCounts, a.labelsHidden = next, nil, nil
	a.labelsDue = len(b.Renewed) > 0
	return true, nil
}

// lostLabels marks in account.losses that the server does not tell labels any more; folder ids never hold a blank.
const lostLabels = "labels "

// recallLabels makes folders labels again that were when the process before ended.
func (a *account) recallLabels(s *session, stored []mail.Folder) {
	if l := labellingOf(stored); !a.labels.on() && a.ladder.kept.Labelled != "" && l.all == a.ladder.kept.Labelled {
		a.labels = l
		a.labels.blind = !s.Caps().Has("X-GM-EXT-1")
	}
}

// canUseLabels tells whether nothing is lost when the folders that are labels are not looked at by themselves any more: each
// message that lies in one of them must lie in All Mail, Spam or Trash.
func (a *account) canUseLabels(ctx context.Context, next labelling, stored []mail.Folder) (bool, error) {
	var bases []mail.FolderID
	begun, done := false, true
	for _, f := range stored {
		switch {
		case !f.Selectable:
		case next.isLabel(f.ID):
			begun = begun || f.UIDNext != 0 || f.BackfillBelow != 0 || f.HeadersDone
			done = done && f.HeadersDone
		default:
			bases = append(bases, f.ID)
			if f.ID == next.all {
				done = done && f.HeadersDone
			}
		}
	}
	if a.ladder.kept.Partial {
		a.unlabelled = allPartial
	}
	if !begun {
		return !a.ladder.kept.Partial, nil
	}
	if !done {
		return false, nil
	}
	a.unlabelled = ""
	for _, f := range stored {
		if !next.isLabel(f.ID) || f.Total == 0 {
			continue
		}
		only, err := a.mbox.OnlyIn(ctx, f.ID, bases)
		if err != nil {
			return false, err
		}
		if only > 0 {
			a.unlabelled = allPartial
			return false, nil
		}
	}
	return true, nil
}

// checkLabels compares how many messages the server counts in each label with ours, after All Mail was looked at. Where that
// differs twice in a row by as many, or the label is new, all labels are compared. If the server goes on counting more, All Mail does not
// show every message, and labels are not used.
func (a *account) checkLabels(ctx context.Context, s *session) (vanished int, err error) {
	all, err := a.mbox.Folder(ctx, a.labels.all)
	if err != nil || a.labels.blind || !all.HeadersDone {
		return 0, err
	}
	known, fresh := a.labelCounts != nil, a.newLabels
	counts := map[mail.FolderID]labelCount{}
	for id, there := range a.labelTotals {
		f, err := a.mbox.Folder(ctx, id)
		if err != nil {
			return 0, err
		}
		here := f.Total + a.labelsHidden[id]
		if there == here {
			continue
		}
		before := a.labelCounts[id]
		c := labelCount{there: there, here: here}
		switch alike := before.there-before.here == c.there-c.here; {
		case alike && before.compared:
			same := before.there == c.there
			if c.compared = true; same && c.there > c.here && !a.ladder.kept.Partial {
				a.log.Warn("a folder has messages that All Mail does not show", "op", "labels", "folder", id, "there", c.there, "here", c.here)
				a.ladder.kept.Partial = true
			}
		case alike, known && fresh[id]:
			a.labelsDue = true
		}
		counts[id] = c
	}
	a.labelCounts, a.newLabels = counts, nil
	if !a.labelsDue {
		return 0, nil
	}
	r, err := a.syncFolder(ctx, s, all, true)
	if err != nil {
		return 0, fmt.Errorf("compare the labels: %w", err)
	}
	if a.labelsDue {
		return r.vanished, nil // not everything could be compared
	}
	if err := a.countHidden(ctx, s, all); err != nil {
		return 0, fmt.Errorf("count the labels of what is not here: %w", err)
	}
	for id, c := range counts {
		f, err := a.mbox.Folder(ctx, id)
		if err != nil {
			return 0, err
		}
		here := f.Total + a.labelsHidden[id]
		if counts[id] = (labelCount{c.there, here, true}); c.there == here {
			delete(counts, id)
		}
	}
	return r.vanished, nil
}

// numbered notes the UIDVALIDITY of a label. Another one means that it was deleted and made anew, of which its messages do not tell.
func (a *account) numbered(id mail.FolderID, is uint32) {
	if a.labelNumbers == nil {
		a.labelNumbers = map[mail.FolderID]uint32{}
	}
	if was, known := a.labelNumbers[id]; known && was != is {
		a.labelsDue = true
	}
	a.labelNumbers[id] = is
}

// labelsAgree tells whether each label has as many messages as the server counts, or all labels were compared since it did not.
func (a *account) labelsAgree() bool {
	if !a.labels.on() {
		return true
	}
	for _, c := range a.labelCounts {
		if !c.compared {
			return false
		}
	}
	return !a.labelsDue
}

// countHidden counts the labels of the messages of All Mail that are not here because the policy leaves them out, or because they are set
// aside: the server counts them too.
func (a *account) countHidden(ctx context.Context, s *session, all mail.Folder) error {
	a.labelsHidden = map[mail.FolderID]int{}
	hidden := a.left(all).old.Clone()
	hidden.AddSet(a.asideOf(all))
	if hidden.Empty() {
		return nil
	}
	if same, err := a.openSame(ctx, s, all); err != nil || !same {
		return err
	}
	return s.Fetch(ctx, hidden, imap.FetchOptions{Gmail: true}, func(r *imap.Row) error {
		if hidden.Contains(r.UID) {
			for _, id := range a.labelsOf(r, all.ID).Folders {
				a.labelsHidden[id]++
			}
		}
		return nil
	})
}

// renamedLabels finds, among the stored labels that are not listed any more, those that are listed under other names now:
// Gmail does not tell of it otherwise. Most of the messages that had the label have another one instead. It adds to found, by
// folderKey.
func (a *account) renamedLabels(ctx context.Context, s *session, listed []imap.Mailbox, stored []mail.Folder, found map[string]mail.FolderID) error {
	if !a.labels.on() || a.labels.blind {
		return nil
	}
	names := map[string]bool{}
	for _, m := range listed {
		names[folderKey(m.Raw)] = true
	}
	var all mail.Folder
	var lost []mail.Folder
	for _, f := range stored {
		delete(names, folderKey(f.RawName))
		if f.ID == a.labels.all {
			all = f
		}
	}
	fresh := map[string]string{} // label in lower case to folderKey
	for _, m := range listed {
		if m.Err == nil && names[folderKey(m.Raw)] {
			fresh[strings.ToLower(m.Name)] = folderKey(m.Raw)
		}
	}
	for _, f := range stored {
		gone := !slices.ContainsFunc(listed, func(m imap.Mailbox) bool { return folderKey(m.Raw) == folderKey(f.RawName) })
		if gone && a.labels.isLabel(f.ID) {
			lost = append(lost, f)
		}
	}
	if len(fresh) == 0 || len(lost) == 0 || all.ID == "" {
		return nil
	}
	if _, err := s.examine(ctx, all); err != nil {
		return s.deadOr(err)
	}
	for _, f := range lost {
		uids, err := a.mbox.Labelled(ctx, f.ID, all.ID)
		if err != nil {
			return err
		}
		var ask imap.UIDSet
		for _, uid := range uids[max(0, len(uids)-doubtful):] {
			ask.Add(uint32(uid))
		}
		if ask.Empty() {
			continue
		}
		answered, has := 0, map[string]int{}
		err = s.Fetch(ctx, ask, imap.FetchOptions{Gmail: true}, func(r *imap.Row) error {
			if r.HasGmailLabels {
				answered++
				for _, l := range r.GmailLabels {
					has[strings.ToLower(l)]++
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for the label %q under another name: %w", f.Name, err)
		}
		if has[strings.ToLower(a.labels.labels[f.ID])] > 0 {
			continue // it is still there
		}
		best := ""
		for label := range fresh {
			if n := has[label]; n*10 >= answered*9 && n > 0 && (best == "" || n > has[best]) {
				best = label
			}
		}
		if best != "" {
			found[fresh[best]] = f.ID
			delete(fresh, best)
		}
	}
	return nil
}

// proveLabels notes that the labels are as proven as All Mail, if their messages are as many as the server counts.
func (a *account) proveLabels(began time.Time, full bool) {
	if a.labels.blind || !a.proofs.of(a.labels.all).Equal(began) {
		return
	}
	for id := range a.labelTotals {
		if _, differs := a.labelCounts[id]; !differs {
			a.proofs.proven(id, began, full)
		}
	}
}

// movedError says that messages which have come to a folder are known to lie in others.
type movedError struct{ from []mail.FolderID }

func (*movedError) Error() string {
	return "messages have moved: where they were is to be looked at first"
}

// movedHere fails with a movedError if messages that have come to a folder still lie in others, of those of which a message of
// Gmail lies in one only. They were not looked at yet, so that for a moment we would tell of a copy.
func (a *account) movedHere(ctx context.Context, f mail.Folder, known []mail.MessageID) error {
	if !a.labels.on() || a.lookedFirst || len(known) == 0 {
		return nil
	}
	places, err := a.mbox.PlacementsOf(ctx, known...)
	if err != nil {
		return err
	}
	moved := &movedError{}
	for _, id := range known {
		for _, p := range places[id] {
			if p.Folder != f.ID && !slices.Contains(moved.from, p.Folder) {
				moved.from = append(moved.from, p.Folder)
			}
		}
	}
	if len(moved.from) == 0 {
		return nil
	}
	return moved
}

// plan notes what makes a copy show in the folder wished for and in no other: those that Gmail gives by itself it keeps.
func (l *labelling) plan(v *visit, id mail.MessageID, p mail.Placement, w *wish) {
	to := w.folder
	if l.fulfils(p, to) {
		return
	}
	v.of[p.UID] = id
	has := slices.Contains(p.Labels, to)
	switch label := l.labels[to]; {
	case label == `\Sent`, label == `\Draft`:
		delete(v.of, p.UID)
		w.refused = mail.E(mail.Refused, "", "Gmail decides by itself which messages are sent ones and which are drafts", nil)
	case p.Folder != l.all, label == "" && to != l.all: // from or to Spam and Trash
		put(v.move, to, p.UID)
	case label != "" && !has:
		put(v.label, to, p.UID)
	}
	if p.Folder != l.all || l.fixed[to] || l.labels[to] == "" && to != l.all {
		return
	}
	for _, other := range p.Labels {
		if other != to && !l.fixed[other] {
			put(v.unlabel, other, p.UID)
		}
	}
}

// fulfils tells whether a copy lies where it is wished to.
func (l *labelling) fulfils(p mail.Placement, to mail.FolderID) bool {
	switch {
	case p.Folder != l.all:
		return p.Folder == to
	case l.fixed[to]:
		return slices.Contains(p.Labels, to)
	case to != l.all && !slices.Contains(p.Labels, to):
		return false
	}
	return !slices.ContainsFunc(p.Labels, func(other mail.FolderID) bool { return other != to && !l.fixed[other] })
}
