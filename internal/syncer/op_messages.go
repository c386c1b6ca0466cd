package syncer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// wish is what some operations together want of one message: the last word on each matter counts.
type wish struct {
	set, clear mail.Flags
	folder     mail.FolderID // "": where it is
	remove     bool
	refused    error // why that cannot be had
}

// visit is what is to be done in one folder, by UID.
type visit struct {
	add, remove map[mail.Flags]*imap.UIDSet // one flag each
	move        map[mail.FolderID]*imap.UIDSet
	label       map[mail.FolderID]*imap.UIDSet // Gmail
	unlabel     map[mail.FolderID]*imap.UIDSet
	expunge     imap.UIDSet
	discard     imap.UIDSet                 // by way of the trash: Gmail keeps what is expunged elsewhere
	of          map[mail.UID]mail.MessageID // whom the destructive ones are meant for, and copies for whose sake others are removed
	surplus     map[mail.UID]mail.MessageID // copies to be removed when those that stay are proven
	unkept      mail.Flags                  // which the server says to forget with the session
	err         error
}

// changeMessages carries out operations on messages together: what they want in one folder shares commands.
func (a *account) changeMessages(ctx context.Context, s *session, ops []mail.Operation) error {
	wishes, order, err := a.wishes(ctx, s, ops)
	if err != nil {
		for _, op := range ops {
			if err := a.postpone(ctx, op, err); err != nil {
				return err
			}
		}
		return nil
	}
	places, err := a.mbox.PlacementsOf(ctx, order...)
	if err != nil {
		return err
	}
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return err
	}
	ground := a.groundOf(s, folders)
	visits := ground.plan(wishes, order, places)
	removing, astray := false, false
	var touched []mail.FolderID // those that messages leave before those where they arrive
	for _, f := range byRank(folders) {
		v := visits[f.ID]
		if v == nil {
			continue
		}
		if s.Err() == nil {
			v.err = a.visit(ctx, s, f, v, folders)
		} else {
			v.err = s.Err()
		}
		touched = append(touched, f.ID)
		astray = astray || errors.Is(v.err, errAstray)
		removing = removing || !v.expunge.Empty() || !v.discard.Empty() || len(v.surplus) > 0
	}
	a.removeSurplus(ctx, s, visits, folders)
	for _, f := range folders {
		if arrives(visits, f.ID) && !slices.Contains(touched, f.ID) {
			touched = append(touched, f.ID)
		}
	}
	look := func() error {
		if astray {
			if _, err := a.listFolders(ctx, s); err != nil {
				return err
			}
		}
		for _, id := range touched {
			f, err := a.mbox.Folder(ctx, id)
			if err == nil {
				_, err = a.syncFolder(ctx, s, f, false)
			}
			if err != nil && !mail.IsKind(err, mail.NotFound) { // a folder that is known to be gone by now needs no look
				return err
			}
		}
		if removing {
			return a.pass(ctx, s, false)
		}
		return nil
	}
	var lookErr error
	if s.Err() == nil {
		lookErr = look()
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

// removeSurplus removes the copies of messages that have another one where they shall lie, if all those were just proven to be there.
func (a *account) removeSurplus(ctx context.Context, s *session, visits map[mail.FolderID]*visit, folders []mail.Folder) {
	for _, v := range visits {
		if v.err != nil {
			return
		}
	}
	for _, f := range byRank(folders) {
		v := visits[f.ID]
		if v == nil || len(v.surplus) == 0 {
			continue
		}
		rest := &visit{of: v.surplus}
		for uid := range v.surplus {
			rest.expunge.Add(uint32(uid))
		}
		if v.err = a.visit(ctx, s, f, rest, folders); v.err != nil {
			return
		}
	}
}

// arrived tells whether a message has come to where it shall lie that was not there before, and has other copies, which are to go now.
func (a *account) arrived(ctx context.Context, wishes map[mail.MessageID]*wish, before map[mail.MessageID][]mail.Placement) (bool, error) {
	var several []mail.MessageID
	for id, w := range wishes {
		lies := func(p mail.Placement) bool { return p.Folder == w.folder }
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
		if len(now[id]) > 1 && slices.ContainsFunc(now[id], func(p mail.Placement) bool { return p.Folder == wishes[id].folder }) {
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

// wishes adds up what the operations want. The trash is made if a message is to go there and there is none.
func (a *account) wishes(ctx context.Context, s *session, ops []mail.Operation) (map[mail.MessageID]*wish, []mail.MessageID, error) {
	out := map[mail.MessageID]*wish{}
	var order []mail.MessageID
	var trash mail.FolderID
	for _, op := range ops {
		if op.Kind == mail.OpTrash && trash == "" {
			f, err := a.folderFor(ctx, s, mail.RoleTrash, "Trash")
			if err != nil {
				return nil, nil, err
			}
			trash = f.ID
		}
		for _, id := range op.Messages {
			w := out[id]
			if w == nil {
				w = &wish{}
				out[id] = w
				order = append(order, id)
			}
			w.set, w.clear = w.set&^op.Clear|op.Set, w.clear&^op.Set|op.Clear
			switch op.Kind {
			case mail.OpUpdate:
				if op.Folder != "" {
					w.folder = op.Folder
				}
			case mail.OpTrash:
				w.folder = trash // never further: carried out twice, it would have removed them for good
			case mail.OpRemove:
				w.remove = true
			}
		}
	}
	return out, order, nil
}

// ground is what decides how messages come to lie in folders.
type ground struct {
	labels *labelling
	views  map[mail.FolderID]bool // folders that show what lies in others (RFC 6154 2, \All and \Flagged)
	bins   map[mail.FolderID]bool // Gmail: where alone what is expunged is gone; nil: anywhere
}

func (a *account) groundOf(s *session, folders []mail.Folder) ground {
	g := ground{labels: &a.labels, views: map[mail.FolderID]bool{}}
	if s.Caps().Has("X-GM-EXT-1") {
		g.bins = map[mail.FolderID]bool{}
	}
	for _, f := range folders {
		if f.Role == mail.RoleAll || f.Role == mail.RoleFlagged {
			g.views[f.ID] = true
		}
		if g.bins != nil && (f.Role == mail.RoleTrash || f.Role == mail.RoleJunk) {
			g.bins[f.ID] = true
		}
	}
	return g
}

// shown tells whether a copy is only how a view shows one that lies elsewhere, or the very copy that lies in the folder named: some
// servers list a folder under two names. Two folders can have the same UIDVALIDITY, and the same message the same UID in both: then
// a copy too many stays.
func (g *ground) shown(p mail.Placement, to mail.FolderID, places []mail.Placement) bool {
	if slices.ContainsFunc(places, func(q mail.Placement) bool {
		return q.Folder == to && p.Folder != to && q.UIDValidity == p.UIDValidity && q.UID == p.UID
	}) {
		return true
	}
	return g.views[p.Folder] && slices.ContainsFunc(places, func(q mail.Placement) bool { return !g.views[q.Folder] })
}

// plan turns wishes into visits. A message that shall lie in one folder and has several copies keeps one.
func (g *ground) plan(wishes map[mail.MessageID]*wish, order []mail.MessageID, places map[mail.MessageID][]mail.Placement) map[mail.FolderID]*visit {
	visits := map[mail.FolderID]*visit{}
	at := func(p mail.Placement) *visit {
		v := visits[p.Folder]
		if v == nil {
			v = &visit{add: map[mail.Flags]*imap.UIDSet{}, remove: map[mail.Flags]*imap.UIDSet{}, move: map[mail.FolderID]*imap.UIDSet{},
				label: map[mail.FolderID]*imap.UIDSet{}, unlabel: map[mail.FolderID]*imap.UIDSet{}, of: map[mail.UID]mail.MessageID{}, surplus: map[mail.UID]mail.MessageID{}}
			visits[p.Folder] = v
		}
		return v
	}
	for _, id := range order {
		w := wishes[id]
		there := w.folder != "" && slices.ContainsFunc(places[id], func(p mail.Placement) bool { return p.Folder == w.folder })
		comes := false
		for _, p := range places[id] {
			v := at(p)
			for _, f := range []mail.Flags{mail.FlagSeen, mail.FlagFlagged} {
				if w.set&f != 0 && p.Flags&f == 0 {
					put(v.add, f, p.UID)
				}
				if w.clear&f != 0 && p.Flags&f != 0 {
					put(v.remove, f, p.UID)
				}
			}
			switch {
			case w.remove && g.bins != nil && !g.bins[p.Folder]:
				v.discard.Add(uint32(p.UID))
				v.of[p.UID] = id
			case w.folder != "" && !w.remove && g.labels.on():
				g.labels.plan(v, id, p, w)
			case !w.remove && p.Folder != w.folder && g.shown(p, w.folder, places[id]):
			case w.remove:
				v.expunge.Add(uint32(p.UID))
				v.of[p.UID] = id
			case w.folder == "":
			case p.Folder == w.folder:
				if len(places[id]) > 1 {
					v.of[p.UID] = id
				}
			case there:
				v.surplus[p.UID] = id
			case !comes: // the others stay until it has come
				put(v.move, w.folder, p.UID)
				v.of[p.UID] = id
				comes = true
			}
		}
	}
	return visits
}

func put[K comparable](m map[K]*imap.UIDSet, k K, uid mail.UID) {
	if m[k] == nil {
		m[k] = &imap.UIDSet{}
	}
	m[k].Add(uint32(uid))
}

// visit does in one folder what is to be done there.
func (a *account) visit(ctx context.Context, s *session, f mail.Folder, v *visit, folders []mail.Folder) error {
	if f.RawName == "" {
		return errAstray
	}
	s.selected = ""
	sel, err := s.Select(ctx, f.RawName, imap.SelectOptions{CondStore: s.Caps().Has("CONDSTORE")})
	if err != nil {
		return orAstray(err)
	}
	s.selected = f.RawName
	if same, err := a.sameGeneration(ctx, s, f, sel); err != nil {
		return err
	} else if !same {
		return mail.E(mail.Unavailable, "operate", "the folder's messages were renumbered; they are being compared anew", nil)
	}
	if err := a.verify(ctx, s, f, v); err != nil {
		return err
	}
	for _, flag := range []mail.Flags{mail.FlagSeen, mail.FlagFlagged} {
		keeps := func(f string) bool { return strings.EqualFold(f, flag.Names()[0]) }
		if len(sel.PermanentFlags) > 0 && !slices.ContainsFunc(sel.PermanentFlags, keeps) {
			v.unkept |= flag // tried all the same: not every server says what it does
		}
	}
	for flag, uids := range v.add {
		if _, err := s.Store(ctx, *uids, imap.StoreAdd, flag.Names(), imap.StoreOptions{}); err != nil {
			return err
		}
	}
	for flag, uids := range v.remove {
		if _, err := s.Store(ctx, *uids, imap.StoreRemove, flag.Names(), imap.StoreOptions{}); err != nil {
			return err
		}
	}
	for to, uids := range v.label {
		if _, err := s.Store(ctx, *uids, imap.StoreAdd, []string{a.labels.labels[to]}, imap.StoreOptions{Labels: true}); err != nil {
			return err
		}
	}
	for from, uids := range v.unlabel {
		if _, err := s.Store(ctx, *uids, imap.StoreRemove, []string{a.labels.labels[from]}, imap.StoreOptions{Labels: true}); err != nil {
			return err
		}
	}
	for to, uids := range v.move {
		at := slices.IndexFunc(folders, func(x mail.Folder) bool { return x.ID == to })
		if at < 0 {
			return mail.E(mail.NotFound, "", "the folder to move to does not exist any more", nil)
		}
		if folders[at].RawName == "" {
			return errAstray
		}
		if s.Caps().Has("MOVE") {
			if _, err := s.Move(ctx, *uids, folders[at].RawName); err != nil {
				return orAstray(err)
			}
		} else {
			if _, err := s.Copy(ctx, *uids, folders[at].RawName); err != nil {
				return orAstray(err)
			}
			v.expunge.AddSet(*uids)
		}
		a.expectLoss(f.ID, *uids)
	}
	if !v.expunge.Empty() {
		a.expectLoss(f.ID, v.expunge)
		if err := a.expunge(ctx, s, v.expunge); err != nil {
			return err
		}
	}
	if v.discard.Empty() {
		return nil
	}
	return a.discard(ctx, s, f, v.discard, folders)
}

// errAstray is that the server has no folder of the name that we have for it.
var errAstray = mail.E(mail.Unavailable, "operate", "a folder was renamed or deleted; the folders are being compared anew", nil)

// orAstray makes of the refusal of a folder's name errAstray. Whether the folder exists no more, the list of folders must tell.
func orAstray(err error) error {
	var e *imap.Error
	if errors.As(err, &e) && e.Status == "NO" && (missing(err) || e.Code == "TRYCREATE") {
		return errAstray
	}
	return err
}

// discard removes messages of the open folder for good where that can only be done in the trash: they are moved there, and
// found again by Gmail's number for them. If it is interrupted they are in the trash, which Gmail empties by itself.
func (a *account) discard(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, folders []mail.Folder) error {
	at := slices.IndexFunc(folders, func(x mail.Folder) bool { return x.Role == mail.RoleTrash && x.Selectable })
	if at < 0 {
		return mail.E(mail.Refused, "", errHidden, nil)
	}
	var ids []uint64
	err := s.Fetch(ctx, uids, imap.FetchOptions{Gmail: true}, func(r *imap.Row) error {
		if uids.Contains(r.UID) && r.GmailMsgID != 0 {
			ids = append(ids, r.GmailMsgID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.expectLoss(f.ID, uids)
	if _, err := s.Move(ctx, uids, folders[at].RawName); err != nil {
		return err
	}
	s.selected = ""
	if _, err := s.Select(ctx, folders[at].RawName, imap.SelectOptions{CondStore: s.Caps().Has("CONDSTORE")}); err != nil {
		return err
	}
	s.selected = folders[at].RawName
	var found, gone imap.UIDSet
	for _, id := range ids {
		uids, err := s.Search(ctx, "X-GM-MSGID "+strconv.FormatUint(id, 10))
		if err != nil {
			return err
		}
		found.AddSet(uids)
	}
	if found.Empty() {
		return nil
	}
	if err := s.Fetch(ctx, found, imap.FetchOptions{Gmail: true}, func(r *imap.Row) error {
		if slices.Contains(ids, r.GmailMsgID) {
			gone.Add(r.UID)
		}
		return nil
	}); err != nil || gone.Empty() {
		return err
	}
	a.expectLoss(folders[at].ID, gone)
	return a.expunge(ctx, s, gone)
}

const errHidden = "Gmail does not show its trash to mail programs; have it shown in IMAP in the settings of Gmail"

// expunge removes messages of the open folder for good, and no others.
func (a *account) expunge(ctx context.Context, s *session, uids imap.UIDSet) error {
	if _, err := s.Store(ctx, uids, imap.StoreAdd, mail.FlagDeleted.Names(), imap.StoreOptions{}); err != nil {
		return err
	}
	if s.Caps().Has("UIDPLUS") {
		_, err := s.Expunge(ctx, uids)
		return err
	}
	// Plain EXPUNGE takes everything that is marked, by whomever. Searches may lie.
	others := false
	if err := s.Fetch(ctx, imap.Range(1, imap.Star), imap.FetchOptions{Flags: true}, func(r *imap.Row) error {
		flags, _ := mail.ParseFlags(r.Flags)
		others = others || !uids.Contains(r.UID) && flags&mail.FlagDeleted != 0
		return nil
	}); err != nil {
		return err
	}
	if others {
		return mail.E(mail.Refused, "", "the mail server can only remove all messages that are marked as deleted at once, and another program has marked more of them; they stay marked", nil)
	}
	return s.ExpungeAll(ctx)
}

// verify proves that the UIDs which messages are to leave still name those messages, in this very session.
func (a *account) verify(ctx context.Context, s *session, f mail.Folder, v *visit) error {
	if len(v.of) == 0 {
		return nil
	}
	var uids, doubtful imap.UIDSet
	for uid := range v.of {
		uids.Add(uint32(uid))
	}
	proven := imap.UIDSet{}
	prints := map[mail.UID][][16]byte{}
	err := s.Fetch(ctx, uids, imap.FetchOptions{Header: mime.HeaderFieldsForSync()}, func(r *imap.Row) error {
		if !r.HasHeader {
			return nil
		}
		head := mime.ParseHeader(r.Header)
		fp, strong := mime.Fingerprint(head)
		could := [][16]byte{fp}
		if strong {
			could = append(could, mime.DraftFingerprint(head.MessageID)) // if it was a draft when it was first seen
		}
		for _, fp := range could {
			if strong && mail.MessageID(a.key.MessageID(fp)) == v.of[mail.UID(r.UID)] {
				proven.Add(r.UID)
				return nil
			}
		}
		doubtful.Add(r.UID)
		prints[mail.UID(r.UID)] = could
		return nil
	})
	if err != nil {
		return err
	}
	if !doubtful.Empty() { // identified by all of their bytes
		err := a.fetchBodies(ctx, s, f, doubtful, func(batch []fetched) error {
			for _, b := range batch {
				var digest [32]byte
				if b.raw.blob != nil {
					b.raw.sum.Sum(digest[:0])
					b.raw.blob.Abort()
				} else {
					digest = sha256.Sum256(b.raw.buf.Bytes())
				}
				for _, fp := range prints[b.ref.UID] {
					if mail.MessageID(a.key.MessageID(mime.WithDigest(fp, digest))) == v.of[b.ref.UID] {
						proven.Add(uint32(b.ref.UID))
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for uid := range uids.All {
		if !proven.Contains(uid) {
			return mail.E(mail.Conflict, "", fmt.Sprintf("a message of the folder %q is not the one it was, or is gone; nothing was removed", f.Name), nil)
		}
	}
	return nil
}

// expectLoss notes that messages leave a folder because we asked for it: that is nothing to be suspicious of.
func (a *account) expectLoss(f mail.FolderID, uids imap.UIDSet) {
	s := a.expected[f]
	s.AddSet(uids)
	a.expected[f] = s
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

// doubts is how often a message that is not where our copy has it is looked for again: meanwhile the copy was compared. So
// often too is a flag set which the server takes and then does not show.
const doubts = 4

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
			case lacking == nothing:
			case wishes[id].refused != nil:
				missing = wishes[id].refused
			case lacking == itsObject:
				missing = mail.E(mail.NotFound, "", "the message does not exist any more", nil)
			default:
				open = mail.E(mail.Unavailable, "operate", "the server said OK, but the change does not show", nil)
				wanted := wishes[id].set | wishes[id].clear
				for _, p := range places[id] {
					v := visits[p.Folder]
					if lacking == itsFlags && (op.Attempts >= doubts || v != nil && v.unkept&wanted != 0) {
						open = errFlagsNotKept
					}
					if v != nil && v.err != nil {
						open = v.err
						break
					}
				}
				if lookErr != nil {
					open = lookErr
				}
				if mail.IsKind(open, mail.Conflict) && op.Attempts < doubts { // it was elsewhere, or another session was just moving it
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
	out := nothing
	for _, p := range at {
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
