package syncer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

// look is a stored folder beside what STATUS says of it; a nil Status says nothing, so that only SELECT can tell.
type look struct {
	mail.Folder
	Status *imap.StatusData
	aside  int // messages that are set aside: at the server and not here
	due    int // others, which are to be tried again
	hidden int // messages that the policy leaves out
	out    int // messages that are here and that the server does not show, see view
}

// same tells whether STATUS proves that the stored folder has every message and every flag of the server's.
func (l look) same() bool {
	const need = imap.HasMessages | imap.HasUIDNext | imap.HasUIDValidity | imap.HasHighestModSeq
	return l.counted() && l.aside == 0 && l.Status.Has&need == need && l.HighestModSeq > 0 && l.Status.HighestModSeq == uint64(l.HighestModSeq)
}

// counted tells whether STATUS agrees with the stored folder in all that it says. Without CONDSTORE a changed flag can
// hide behind equal counts.
func (l look) counted() bool {
	const need = imap.HasMessages | imap.HasUIDNext | imap.HasUIDValidity
	st := l.Status
	return l.HeadersDone && l.due == 0 && st != nil && st.Has&need == need &&
		st.UIDValidity == uint32(l.UIDValidity) && st.UIDNext == uint32(l.UIDNext) && int(st.Messages) == l.Total+l.aside+l.hidden-l.out &&
		(st.Has&imap.HasUnseen == 0 || l.aside+l.hidden+l.out > 0 || int(st.Unseen) == l.Unread) &&
		(st.Has&imap.HasHighestModSeq == 0 || l.HighestModSeq == 0 || st.HighestModSeq == uint64(l.HighestModSeq))
}

// listFolders asks the server for its folders and their STATUS, stores what changed of them, and returns those that hold
// messages, in the order in which they should be synced.
func (a *account) listFolders(ctx context.Context, s *session) ([]look, error) {
	if err := s.deselect(ctx); err != nil {
		return nil, fmt.Errorf("leave the folder: %w", err)
	}
	items := []imap.StatusItem{imap.StatusMessages, imap.StatusUIDNext, imap.StatusUIDValidity, imap.StatusUnseen}
	if s.Caps().Has("CONDSTORE") {
		items = append(items, imap.StatusHighestModSeq)
	}
	if s.Caps().Has("OBJECTID") {
		items = append(items, imap.StatusMailboxID)
	}
	listed, err := s.List(ctx, imap.ListOptions{Pattern: "*", Status: items, SpecialUse: true})
	if err != nil {
		return nil, fmt.Errorf("list the folders: %w", err)
	}
	if len(listed) == 0 {
		// Every mailbox has an INBOX: an empty list is a failure, not a fact (seen at Strato for LIST RETURN).
		if listed, err = s.List(ctx, imap.ListOptions{Pattern: "*"}); err != nil {
			return nil, fmt.Errorf("list the folders: %w", err)
		}
		if len(listed) == 0 {
			return nil, mail.E(mail.Unavailable, "list the folders", "the server lists no folder at all, not even INBOX", nil)
		}
	}
	stored, err := a.mbox.Folders(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the stored folders: %w", err)
	}
	refused, err := a.askStatus(ctx, s, listed, stored, items)
	if err != nil {
		return nil, err
	}
	a.garbled = slices.ContainsFunc(listed, func(m imap.Mailbox) bool { return m.Err != nil })
	a.recallLabels(s, stored)
	renamed, err := a.renames(ctx, s, listed, stored)
	if err != nil {
		return nil, err
	}
	changed, gone := diffFolders(a.key.FolderID, listed, stored, renamed)
	before := stored
	if gone, err = a.believeFolderLoss(ctx, s, gone, stored); err != nil {
		return nil, err
	}
	if len(changed)+len(gone) > 0 {
		if err := a.apply(ctx, store.Batch{Origin: a.backfillOrigin(), Folders: changed, GoneFolders: gone}); err != nil {
			return nil, fmt.Errorf("store the folders: %w", err)
		}
		if stored, err = a.mbox.Folders(ctx); err != nil {
			return nil, fmt.Errorf("read the stored folders: %w", err)
		}
	}
	if again, err := a.useLabels(ctx, s, stored); err != nil {
		return nil, err
	} else if again {
		if stored, err = a.mbox.Folders(ctx); err != nil {
			return nil, fmt.Errorf("read the stored folders: %w", err)
		}
	}
	status := make(map[string]*imap.StatusData, len(listed))
	for i := range listed {
		status[listed[i].Raw] = listed[i].Status
	}
	var out []look
	a.unlisted = nil
	a.labelTotals, a.newLabels = map[mail.FolderID]int{}, map[mail.FolderID]bool{}
	for _, f := range stored {
		st, there := status[f.RawName]
		if a.labels.isLabel(f.ID) {
			if st != nil && st.Has&imap.HasMessages != 0 {
				a.labelTotals[f.ID] = int(st.Messages)
			}
			if st != nil && st.Has&imap.HasUIDValidity != 0 {
				a.numbered(f.ID, st.UIDValidity)
			}
			a.newLabels[f.ID] = !slices.ContainsFunc(before, func(g mail.Folder) bool { return g.ID == f.ID })
			continue
		}
		if f.ID == a.labels.all && !there { // it is there as long as the contrary is not believed
			_, lost := a.losses[lostFolder+f.ID]
			there = !lost
		}
		if !there && a.policy().Wants(f) {
			a.unlisted = append(a.unlisted, f.ID)
		}
		if there && openable(f) {
			if !a.policy().Wants(f) {
				if err := a.takeOut(ctx, f); err != nil {
					return nil, err
				}
				continue
			}
			if only, err := a.nameOnly(ctx, f, refused[f.RawName]); err != nil {
				return nil, err
			} else if only {
				continue
			}
			v, _ := a.viewOf(f)
			aside := a.asideOf(f).Len()
			out = append(out, look{Folder: f, Status: st, aside: aside, due: a.asideAll(f).Len() - aside, hidden: a.left(f).old.Len(), out: v.Out})
		}
	}
	slices.SortStableFunc(out, func(x, y look) int { return rank(x.Role) - rank(y.Role) })
	return out, nil
}

// askStatus fills in the STATUS that LIST did not bring along. A folder whose STATUS fails keeps none; the errors are returned by name.
func (a *account) askStatus(ctx context.Context, s *session, listed []imap.Mailbox, stored []mail.Folder, items []imap.StatusItem) (map[string]error, error) {
	hold := map[string]bool{}
	for _, f := range stored {
		hold[f.RawName] = openable(f)
	}
	var missing []string
	for _, m := range listed {
		if m.Status == nil && m.Err == nil && (selectable(m.Attrs) || hold[m.Raw]) {
			missing = append(missing, m.Raw)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	got, refused, err := s.Statuses(ctx, missing, items...)
	if err != nil {
		return nil, fmt.Errorf("ask the folders' status: %w", err)
	}
	for i := range listed {
		if st, ok := got[listed[i].Raw]; ok && listed[i].Status == nil {
			listed[i].Status = &st
		}
	}
	return refused, nil
}

// rank orders the folders of the initial sync by how soon people look into them.
func rank(r mail.Role) int {
	order := []mail.Role{mail.RoleInbox, mail.RoleSent, mail.RoleDrafts, "", mail.RoleArchive, mail.RoleFlagged, mail.RoleAll, mail.RoleTrash, mail.RoleJunk}
	return slices.Index(order, r)
}

func selectable(attrs []string) bool {
	for _, at := range attrs {
		if strings.EqualFold(at, `\Noselect`) || strings.EqualFold(at, `\NonExistent`) {
			return false
		}
	}
	return true
}

// openable tells whether a folder is to be looked at: also one that the server lists as one that cannot be opened, if it has mail here.
func openable(f mail.Folder) bool {
	return f.Selectable || f.Total > 0 || f.Role == mail.RoleInbox
}

// nameOnly tells whether nothing is left of a folder but its name: it is listed, for the sake of those below it, say, and STATUS says that
// there is no such folder. If it had mail, another session must say so again.
func (a *account) nameOnly(ctx context.Context, f mail.Folder, refusal error) (bool, error) {
	if !nonexistent(refusal) || f.Role == mail.RoleInbox {
		delete(a.losses, emptied+f.ID)
		return false, nil
	}
	if f.Total > 0 {
		if !a.believe(emptied + f.ID) {
			return false, nil
		}
		if err := a.takeOut(ctx, f); err != nil {
			return false, err
		}
	}
	delete(a.losses, f.ID)
	delete(a.losses, unlimited+f.ID)
	return true, a.unpark(ctx, f.ID)
}

// emptied marks, in account.losses, folders of which only the name is left; folder ids never hold a blank.
const emptied = "name "

// key is what tells two folder names apart: the server's bytes, and INBOX in any case (RFC 9051 5.1).
func folderKey(raw string) string {
	if strings.EqualFold(raw, "INBOX") {
		return "INBOX"
	}
	return raw
}

// diffFolders compares a LIST answer with the stored folders. It returns the folders to write, new or changed, and the
// stored ones that the list no longer has. A list with an unreadable line misses nothing. A stored folder whose name has become that of
// another one is left without a name at the server. mint makes a folder's id from
// what is lasting about it: the server's MAILBOXID (RFC 8474), else its name. MAILBOXIDs count only if every folder with a
// STATUS has one, and each another: a server that is wrong about one (Cyrus 3.6) is right about none. renamed tells which stored
// folders are found under other names without them.
func diffFolders(mint func(seed string) string, listed []imap.Mailbox, stored []mail.Folder, renamed map[string]mail.FolderID) (changed []mail.Folder, gone []mail.FolderID) {
	byKey := make(map[string]mail.Folder, len(stored))
	byID := make(map[mail.FolderID]mail.Folder, len(stored))
	for _, f := range stored {
		byKey[folderKey(f.RawName)] = f
		byID[f.ID] = f
	}
	names := make([]provider.Listed, 0, len(listed))
	lines := make([]imap.Mailbox, 0, len(listed))
	complete := true
	seen := map[string]bool{}
	for _, m := range listed {
		if m.Err != nil {
			complete = false
			continue
		}
		if seen[folderKey(m.Raw)] {
			continue
		}
		seen[folderKey(m.Raw)] = true
		lines = append(lines, m)
		names = append(names, provider.Listed{Name: m.Name, Delimiter: m.Delimiter, Attrs: m.Attrs})
	}
	roles := provider.Roles(names)
	identified := mailboxIDs(lines)
	// Those that are known by more than their name are not to be taken by others that have it now.
	claimed := make(map[mail.FolderID]string, len(lines))
	for _, m := range lines {
		id, ok := renamed[folderKey(m.Raw)]
		if identified && m.Status != nil {
			id, ok = mail.FolderID(mint("mailboxid "+m.Status.MailboxID)), true
		}
		if ok {
			claimed[id] = folderKey(m.Raw)
		}
	}
	used := map[mail.FolderID]bool{}
	ids := make(map[string]mail.FolderID, len(lines))
	next := make([]mail.Folder, len(lines))
	for i, m := range lines {
		f, known := byKey[folderKey(m.Raw)]
		if by, taken := claimed[f.ID]; known && taken && by != folderKey(m.Raw) {
			f, known = mail.Folder{}, false
		}
		if identified && m.Status != nil {
			byMailboxID := mail.FolderID(mint("mailboxid " + m.Status.MailboxID))
			if old, ok := byID[byMailboxID]; ok {
				f, known = old, true // renamed
			} else if !known {
				f.ID = byMailboxID
			}
		} else if id, ok := renamed[folderKey(m.Raw)]; ok {
			f = byID[id]
		} else if !known {
			for again := ""; ; again += " again" {
				f.ID = mail.FolderID(mint("name" + again + " " + folderKey(m.Raw)))
				if _, taken := byID[f.ID]; !taken && !used[f.ID] {
					break
				}
			}
		}
		used[f.ID] = true
		f.RawName, f.Name, f.Delimiter, f.Role = m.Raw, m.Name, m.Delimiter, roles[i]
		f.Attrs = slices.Clone(m.Attrs)
		f.Selectable = selectable(m.Attrs)
		next[i] = f
		ids[folderKey(m.Raw)] = f.ID
	}
	for i, m := range lines {
		next[i].Parent = ""
		if m.Delimiter != "" {
			if at := strings.LastIndex(m.Raw, m.Delimiter); at > 0 {
				next[i].Parent = ids[folderKey(m.Raw[:at])]
			}
		}
		if old, known := byID[next[i].ID]; !known || !sameFolder(old, next[i]) {
			changed = append(changed, next[i])
		}
	}
	for _, f := range stored {
		if used[f.ID] {
			continue
		}
		if seen[folderKey(f.RawName)] { // it is another folder's now: nothing is to be looked up under it
			f.RawName = ""
			changed = append(changed, f)
		}
		if complete {
			gone = append(gone, f.ID)
		}
	}
	return changed, gone
}

// sameFolder tells whether LIST says the same of two folders. \Marked and child attributes come and go with the mail
// and say nothing about the folder.
func sameFolder(x, y mail.Folder) bool {
	lasting := func(f mail.Folder) []string {
		var out []string
		for _, at := range f.Attrs {
			switch strings.ToLower(at) {
			case `\marked`, `\unmarked`, `\haschildren`, `\hasnochildren`:
			default:
				out = append(out, at)
			}
		}
		slices.Sort(out)
		return out
	}
	return x.RawName == y.RawName && x.Name == y.Name && x.Delimiter == y.Delimiter && x.Role == y.Role &&
		x.Parent == y.Parent && x.Selectable == y.Selectable && slices.Equal(lasting(x), lasting(y))
}

// believeFolderLoss returns those of the missing folders that were missing before, in another session, long enough ago, and of
// which the server says now that they do not exist. One of which it says no more than no must be away for a day.
func (a *account) believeFolderLoss(ctx context.Context, s *session, gone []mail.FolderID, stored []mail.Folder) ([]mail.FolderID, error) {
	for id := range a.losses {
		of := id[strings.LastIndexByte(string(id), ' ')+1:]
		if of != "" && !slices.ContainsFunc(stored, func(f mail.Folder) bool { return f.ID == of }) { // there is nothing left that could be missing
			delete(a.losses, id)
			continue
		}
		if !strings.HasPrefix(string(id), lostFolder) {
			continue
		}
		if !slices.Contains(gone, mail.FolderID(strings.TrimPrefix(string(id), lostFolder))) {
			delete(a.losses, id)
		}
	}
	var sure []mail.FolderID
	for _, id := range gone {
		delete(a.losses, emptied+id) // not even that
		noted := a.losses[lostFolder+id]
		if !a.believe(lostFolder + id) {
			continue
		}
		at := slices.IndexFunc(stored, func(f mail.Folder) bool { return f.ID == id })
		if stored[at].Selectable && stored[at].RawName != "" {
			_, err := s.Status(ctx, stored[at].RawName, imap.StatusMessages)
			if s.Err() != nil {
				return nil, err
			}
			now := a.e.o.Now()
			if !nonexistent(err) && !(refused(err) && now.Sub(noted.since) >= longestUnread) {
				if err == nil {
					noted.since = now
				}
				a.log.Warn("a folder may be there that the server does not list", "op", "guard", "folder", id, "err", err)
				a.losses[lostFolder+id] = noted // it is asked for again, and no further session is begun for it
				continue
			}
		}
		sure = append(sure, id)
	}
	return sure, nil
}

// lostFolder marks the losses of whole folders in account.losses; folder ids never hold a blank.
const lostFolder = "folder "

// believe tells whether a suspicious loss has been seen before, in another session and at least Confirm ago; else it
// notes it. Call it only while the loss is seen.
func (a *account) believe(what mail.FolderID) bool {
	l, noted := a.losses[what]
	now := a.e.o.Now()
	if !noted {
		a.losses[what] = loss{since: now, session: a.session}
		a.log.Warn("the server no longer shows what it did; waiting for another session to confirm", "op", "guard", "folder", string(what))
		return false
	}
	if l.session == a.session || now.Sub(l.since) < a.e.o.Confirm {
		return false
	}
	delete(a.losses, what)
	return true
}

// doubts tells whether a loss waits for confirmation, and whether another session should be opened for it now.
func (a *account) doubts() (any, due bool) {
	now := a.e.o.Now()
	for _, l := range a.losses {
		any = true
		due = due || l.session == a.session && now.Sub(l.since) >= a.e.o.Confirm
	}
	return any, due
}

// mailboxIDs tells whether the MAILBOXIDs of a listing can be believed.
func mailboxIDs(lines []imap.Mailbox) bool {
	seen := map[string]bool{}
	for _, m := range lines {
		if m.Status == nil {
			continue
		}
		if m.Status.MailboxID == "" || seen[m.Status.MailboxID] {
			return false
		}
		seen[m.Status.MailboxID] = true
	}
	return len(seen) > 0
}
