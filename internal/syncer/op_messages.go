package syncer

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
)

// changeMessages carries out operations on messages together: what they want in one folder shares commands.
func (a *account) changeMessages(ctx context.Context, s *session, ops []mail.Operation) error {
	if err := a.spare(ctx, ops); err != nil {
		return err
	}
	wishes, order, err := a.wishes(ctx, s, ops)
	if err != nil {
		for _, op := range ops {
			if err := a.postpone(ctx, op, err); err != nil {
				return err
			}
		}
		return nil
	}
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return err
	}
	ground := a.groundOf(s, folders)
	places, lookErr := a.lookBefore(ctx, s, ground, wishes, order)
	if lookErr != nil {
		return a.judge(ctx, ops, ground, wishes, nil, nil, lookErr)
	}
	visits := ground.plan(wishes, order, places)
	touched := a.visitAll(ctx, s, ground, visits, folders)
	if s.Err() == nil {
		ground.closed, lookErr = a.lookAfter(ctx, s, visits, touched)
	}
	if lookErr == nil && s.Err() == nil {
		if again, err := a.arrived(ctx, wishes, places); err != nil {
			return err
		} else if again {
			return a.changeMessages(ctx, s, ops)
		}
	}
	return a.judge(ctx, ops, ground, wishes, visits, places, lookErr)
}

// visitAll carries out the visits, and returns which folders to look at then: those that messages leave before those where they arrive.
func (a *account) visitAll(ctx context.Context, s *session, g ground, visits map[mail.FolderID]*visit, folders []mail.Folder) (touched []mail.FolderID) {
	for _, f := range byRank(folders) {
		v := visits[f.ID]
		if v == nil {
			continue
		}
		if v.err = s.Err(); v.err == nil {
			v.err = a.visit(ctx, s, f, v, folders)
		}
		touched = append(touched, f.ID)
	}
	a.removeSurplus(ctx, s, visits, folders)
	for _, f := range folders {
		if !g.unseen[f.ID] && arrives(visits, f.ID) && !slices.Contains(touched, f.ID) {
			touched = append(touched, f.ID)
		}
	}
	return touched
}

// lookAfter brings our copy up to date with what the visits did. closed are those of the folders that were not opened.
func (a *account) lookAfter(ctx context.Context, s *session, visits map[mail.FolderID]*visit, touched []mail.FolderID) (closed map[mail.FolderID]bool, err error) {
	removing, astray := false, false
	for _, v := range visits {
		astray = astray || errors.Is(v.err, errAstray)
		removing = removing || !v.expunge.Empty() || !v.discard.Empty() || len(v.surplus) > 0
	}
	if astray {
		if _, err := a.listFolders(ctx, s); err != nil {
			return nil, err
		}
	}
	closed = map[mail.FolderID]bool{}
	for _, id := range touched {
		f, err := a.mbox.Folder(ctx, id)
		if err == nil {
			var r folderResult
			r, err = a.syncFolder(ctx, s, f, false)
			closed[id] = r.skipped
		}
		if err != nil && !mail.IsKind(err, mail.NotFound) { // a folder that is known to be gone by now needs no look
			return closed, err
		}
	}
	if removing {
		return closed, a.pass(ctx, s, false)
	}
	return closed, nil
}

// spare makes of those that remove what lies in the trash such that move to the trash, if another program has taken a message out of it.
// That is stored first: what was moved there must not be removed because the operation is carried out twice.
func (a *account) spare(ctx context.Context, ops []mail.Operation) error {
	var trash map[mail.FolderID]bool
	for i, op := range ops {
		if op.Kind != mail.OpPurge {
			continue
		}
		if trash == nil {
			folders, err := a.mbox.Folders(ctx)
			if err != nil {
				return err
			}
			trash = map[mail.FolderID]bool{}
			for _, f := range folders {
				trash[f.ID] = f.Role == mail.RoleTrash
			}
		}
		places, err := a.mbox.PlacementsOf(ctx, op.Messages...)
		if err != nil {
			return err
		}
		for _, at := range places {
			if slices.ContainsFunc(at, func(p mail.Placement) bool { return !trash[p.Folder] }) {
				ops[i].Kind = mail.OpTrash
			}
		}
		if ops[i].Kind == mail.OpTrash {
			if err := a.mbox.PutOperation(ctx, a.term, ops[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookBefore brings our copy as far up to date as plans need it, and returns where the messages lie. One, or without MOVE a copy of it,
// may have come to where it shall lie before, without an answer. What is done with one copy is not done with another before they have
// been compared, except that flags are set with headers only, where nothing is compared.
func (a *account) lookBefore(ctx context.Context, s *session, g ground, wishes map[mail.MessageID]*wish, order []mail.MessageID) (map[mail.MessageID][]mail.Placement, error) {
	seen := map[mail.FolderID]bool{}
	for _, w := range wishes {
		if to := w.folder; to != "" && !w.remove && !seen[to] && !g.unseen[to] && (w.again || !s.Caps().Has("MOVE")) {
			seen[to] = true
			f, err := a.mbox.Folder(ctx, to)
			if err == nil {
				_, err = a.syncFolder(ctx, s, f, false)
			}
			if err != nil && !mail.IsKind(err, mail.NotFound) {
				return nil, err
			}
		}
	}
	places, err := a.mbox.PlacementsOf(ctx, order...)
	if err != nil {
		return nil, err
	}
	missing := map[mail.FolderID][]mail.Placement{}
	for _, id := range order {
		if w := wishes[id]; compared(places[id]) || w.folder == "" && !w.remove && a.policy().HeadersOnly {
			continue
		}
		for _, p := range places[id] {
			if !p.Held && !p.Aside {
				missing[p.Folder] = append(missing[p.Folder], p)
			}
		}
	}
	if len(missing) == 0 {
		return places, nil
	}
	for id, list := range missing {
		if err := a.holdIn(ctx, s, id, false, list...); err != nil && (s.Err() != nil || ctx.Err() != nil) {
			return nil, err
		} else if err != nil {
			a.log.Debug("copies could not be compared", "op", "operate", "folder", id, "err", err)
		}
	}
	return a.mbox.PlacementsOf(ctx, order...)
}

// removeSurplus removes the copies of messages that have another one where they shall lie, if that was just proven to be there.
func (a *account) removeSurplus(ctx context.Context, s *session, visits map[mail.FolderID]*visit, folders []mail.Folder) {
	kept := map[mail.MessageID]bool{}
	for _, v := range visits {
		if v.err == nil {
			for uid := range v.keep.All {
				kept[v.of[mail.UID(uid)]] = true
			}
		}
	}
	for _, f := range byRank(folders) {
		v := visits[f.ID]
		if v == nil || v.err != nil {
			continue
		}
		rest := newVisit()
		for uid, id := range v.surplus {
			if kept[id] {
				rest.expunge.Add(uint32(uid))
				rest.of[uid] = id
			}
		}
		if rest.expunge.Empty() {
			continue
		}
		v.err = a.visit(ctx, s, f, rest, folders)
		v.unmatched.AddSet(rest.unmatched)
	}
}

// arrived tells whether a message has come to where it shall lie that was not there before, and has other copies, which are to go now.
func (a *account) arrived(ctx context.Context, wishes map[mail.MessageID]*wish, before map[mail.MessageID][]mail.Placement) (bool, error) {
	var several []mail.MessageID
	for id, w := range wishes {
		lasts := lasting(before[id])
		lies := func(p mail.Placement) bool { return p.Folder == w.folder && lasts(p) }
		if w.folder != "" && !w.remove && len(before[id]) > 1 && !a.labels.on() && !slices.ContainsFunc(before[id], lies) {
			several = append(several, id)
		}
	}
	if len(several) == 0 {
		return false, nil
	}
	now, err := a.mbox.PlacementsOf(ctx, several...)
	if err != nil {
		return false, err
	}
	for _, id := range several {
		lasts := lasting(now[id])
		if len(now[id]) > 1 && slices.ContainsFunc(now[id], func(p mail.Placement) bool { return p.Folder == wishes[id].folder && lasts(p) }) {
			return true, nil
		}
	}
	return false, nil
}

func arrives(visits map[mail.FolderID]*visit, id mail.FolderID) bool {
	for _, v := range visits {
		if v.move[id] != nil {
			return true
		}
	}
	return false
}

// lack is what our copy does not show of a wish.
type lack int

const (
	nothing   lack = iota
	itsFlags       // it lies where it should
	itsPlace       // or more
	itsObject      // the message is gone
)

var errFlagsNotKept = mail.E(mail.Refused, "", "the mail server does not keep this flag", nil)

// maxMisses is how often a message that is not where our copy has it is looked for again: meanwhile the copy was compared. So
// often too is a flag set which the server takes and then does not show.
const maxMisses = 4

// judge ends the operations whose wishes our copy shows, after the server confirmed them, and postpones the others.
func (a *account) judge(ctx context.Context, ops []mail.Operation, g ground, wishes map[mail.MessageID]*wish, visits map[mail.FolderID]*visit, places map[mail.MessageID][]mail.Placement, lookErr error) error {
	for _, op := range ops {
		var missing, open error
		for _, id := range op.Messages {
			lacking, err := a.lacking(ctx, g, id, wishes[id])
			if err != nil {
				return err
			}
			switch {
			case lacking == nothing && (lookErr == nil || wishes[id].remove):
			case wishes[id].refused != nil:
				missing = wishes[id].refused
			case lacking == itsObject:
				missing = mail.E(mail.NotFound, "", "the message does not exist any more", nil)
			case g.unseen[wishes[id].folder] && len(places[id]) > 0 && carriedOut(visits, places[id]) == nil: // we do not look there
			default:
				open = cmp.Or(lookErr, carriedOut(visits, places[id]))
				wanted := wishes[id].set | wishes[id].clear
				if lookErr == nil && lacking == itsFlags && (op.Attempts >= maxMisses || forgotten(visits, places[id])&wanted != 0) {
					open = errFlagsNotKept
				}
				if open == nil {
					open = mail.E(mail.Unavailable, "operate", "the server said OK, but the change does not show", nil)
				}
				if mail.IsKind(open, mail.Conflict) && op.Attempts < maxMisses { // it was elsewhere, or another session was just moving it
					open = mail.E(mail.Unavailable, "operate", "", open)
				}
			}
		}
		var err error
		switch {
		case open != nil:
			err = a.postpone(ctx, op, open)
		case missing != nil:
			err = a.postpone(ctx, op, missing)
		default:
			err = a.end(ctx, op, 0, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// carriedOut returns why something was not done with one of a message's copies.
func carriedOut(visits map[mail.FolderID]*visit, places []mail.Placement) error {
	for _, p := range places {
		switch v := visits[p.Folder]; {
		case v == nil:
		case v.err != nil:
			return v.err
		case v.unmatched.Contains(uint32(p.UID)):
			return errNotThere
		}
	}
	return nil
}

// forgotten are flags that the server says it does not keep where the message lies.
func forgotten(visits map[mail.FolderID]*visit, places []mail.Placement) (flags mail.Flags) {
	for _, p := range places {
		if v := visits[p.Folder]; v != nil {
			flags |= v.unkept
		}
	}
	return flags
}

// lacking tells what of a wish our copy does not show.
func (a *account) lacking(ctx context.Context, g ground, id mail.MessageID, w *wish) (lack, error) {
	places, err := a.mbox.PlacementsOf(ctx, id)
	if err != nil {
		return nothing, err
	}
	at := places[id]
	if len(at) == 0 {
		_, err := a.mbox.Message(ctx, id)
		switch {
		case !mail.IsKind(err, mail.NotFound):
			return itsPlace, err // it left a folder and is not found in another one yet
		case w.remove:
			return nothing, nil
		}
		return itsObject, nil
	}
	if w.remove {
		return itsPlace, nil
	}
	if out, err := a.lookedFor(ctx, id); err != nil || out {
		return itsPlace, err
	}
	out := nothing
	for _, p := range at {
		if g.closed[p.Folder] || a.losses[p.Folder].uids.Contains(uint32(p.UID)) {
			return itsPlace, nil // as far as we could see
		}
		there := w.folder == "" || p.Folder == w.folder || g.shown(p, w.folder, at)
		if w.folder != "" && g.labels.on() {
			there = g.labels.fulfils(p, w.folder)
		}
		if !there {
			return itsPlace, nil
		}
		if p.Flags&w.set != w.set || p.Flags&w.clear != 0 {
			out = itsFlags
		}
	}
	return out, nil
}

// lookedFor tells whether a message has a copy in a folder that was numbered anew and not compared since.
func (a *account) lookedFor(ctx context.Context, id mail.MessageID) (bool, error) {
	folders, err := a.mbox.OutOfViewIn(ctx, id)
	if err != nil {
		return false, err
	}
	for _, in := range folders {
		f, err := a.mbox.Folder(ctx, in)
		if err != nil {
			return false, err
		}
		if v, limited := a.viewOf(f); !limited || v.Below == 0 {
			return true, nil
		}
	}
	return false, nil
}
