package syncer

import (
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

// wish is what some operations together want of one message: the last word on each matter counts.
type wish struct {
	set, clear mail.Flags
	folder     mail.FolderID // "": where it is
	remove     bool
	again      bool  // it may have been tried before, and nobody heard the answer
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
	keep        imap.UIDSet                 // copies for whose sake others are removed
	of          map[mail.UID]mail.MessageID // whom all these but flags are meant for
	surplus     map[mail.UID]mail.MessageID // copies to be removed when one to keep is proven
	unmatched   imap.UIDSet                 // those of them that are not there, or are another message: nothing was done with these
	unkept      mail.Flags                  // which the server says to forget with the session
	err         error
}

func newVisit() *visit {
	return &visit{add: map[mail.Flags]*imap.UIDSet{}, remove: map[mail.Flags]*imap.UIDSet{}, move: map[mail.FolderID]*imap.UIDSet{},
		label: map[mail.FolderID]*imap.UIDSet{}, unlabel: map[mail.FolderID]*imap.UIDSet{}, of: map[mail.UID]mail.MessageID{}, surplus: map[mail.UID]mail.MessageID{}}
}

// leaveAlone takes messages out of what is to be done, but for flags.
func (v *visit) leaveAlone(uids imap.UIDSet) {
	v.unmatched = uids
	v.expunge, v.discard, v.keep = v.expunge.Without(uids), v.discard.Without(uids), v.keep.Without(uids)
	for _, m := range []map[mail.FolderID]*imap.UIDSet{v.move, v.label, v.unlabel} {
		for id, set := range m {
			if *set = set.Without(uids); set.Empty() {
				delete(m, id)
			}
		}
	}
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
			w.again = w.again || op.Attempts > 0 || op.CreatedAt.Before(a.since)
			w.set, w.clear = w.set&^op.Clear|op.Set, w.clear&^op.Set|op.Clear
			switch op.Kind {
			case mail.OpUpdate:
				if op.Folder != "" {
					w.folder = op.Folder
				}
			case mail.OpTrash:
				w.folder = trash // never further: carried out twice, it would have removed them for good
			case mail.OpRemove, mail.OpPurge:
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
	unseen map[mail.FolderID]bool // folders of which we keep no copy
	bins   map[mail.FolderID]bool // Gmail: where alone what is expunged is gone; nil: anywhere
	closed map[mail.FolderID]bool // folders that could not be opened when it was looked what had become of it
}

func (a *account) groundOf(s *session, folders []mail.Folder) ground {
	g := ground{labels: &a.labels, views: map[mail.FolderID]bool{}, unseen: map[mail.FolderID]bool{}}
	if s.Caps().Has("X-GM-EXT-1") {
		g.bins = map[mail.FolderID]bool{}
	}
	for _, f := range folders {
		g.views[f.ID] = !a.labels.on() && (f.Role == mail.RoleAll || f.Role == mail.RoleFlagged)
		g.unseen[f.ID] = !a.policy().Wants(f)
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

// lasting tells which of a message's copies may be the one that stays: other programs are about to remove what they have marked as
// deleted. If all are marked, they are all alike.
func lasting(places []mail.Placement) func(mail.Placement) bool {
	marked := func(p mail.Placement) bool { return p.Flags&mail.FlagDeleted != 0 }
	all := !slices.ContainsFunc(places, func(p mail.Placement) bool { return !marked(p) })
	return func(p mail.Placement) bool { return all || !marked(p) }
}

// compared tells whether all copies are known to have the same bytes.
func compared(places []mail.Placement) bool {
	return len(places) < 2 || !slices.ContainsFunc(places, func(p mail.Placement) bool { return !p.Held })
}

// plan turns wishes into visits. A message that shall lie in one folder and has several copies keeps one.
func (g *ground) plan(wishes map[mail.MessageID]*wish, order []mail.MessageID, places map[mail.MessageID][]mail.Placement) map[mail.FolderID]*visit {
	visits := map[mail.FolderID]*visit{}
	for _, id := range order {
		at, w := places[id], wishes[id]
		for _, p := range at {
			if visits[p.Folder] == nil {
				visits[p.Folder] = newVisit()
			}
			v := visits[p.Folder]
			for _, f := range []mail.Flags{mail.FlagSeen, mail.FlagFlagged} {
				if w.set&f != 0 && p.Flags&f == 0 {
					put(v.add, f, p.UID)
				}
				if w.clear&f != 0 && p.Flags&f != 0 {
					put(v.remove, f, p.UID)
				}
			}
		}
		switch {
		case w.remove:
			g.planRemoval(visits, id, at)
		case w.folder == "":
		case g.labels.on():
			for _, p := range at {
				g.labels.plan(visits[p.Folder], id, p, w)
			}
		case g.views[w.folder] && len(at) > 1:
			w.refused = mail.E(mail.Refused, "", "that folder shows what lies in others; nothing can be moved there", nil)
		default:
			g.planMove(visits, id, at, w.folder)
		}
	}
	return visits
}

func (g *ground) planRemoval(visits map[mail.FolderID]*visit, id mail.MessageID, at []mail.Placement) {
	if !compared(at) {
		return // there may be two messages
	}
	for _, p := range at {
		v := visits[p.Folder]
		if v.of[p.UID] = id; g.bins != nil && !g.bins[p.Folder] {
			v.discard.Add(uint32(p.UID))
		} else {
			v.expunge.Add(uint32(p.UID))
		}
	}
}

func (g *ground) planMove(visits map[mail.FolderID]*visit, id mail.MessageID, at []mail.Placement, to mail.FolderID) {
	lasts := lasting(at)
	there, comes := slices.ContainsFunc(at, func(p mail.Placement) bool { return p.Folder == to && lasts(p) }), false
	for _, p := range at {
		v := visits[p.Folder]
		switch {
		case p.Folder == to:
			if len(at) > 1 && lasts(p) {
				v.of[p.UID] = id
				v.keep.Add(uint32(p.UID))
			}
		case g.shown(p, to, at):
		case there && compared(at):
			v.surplus[p.UID] = id
		case there || g.unseen[to] || !compared(at) || lasts(p) && !comes: // else it stays until another one has come
			put(v.move, to, p.UID)
			v.of[p.UID] = id
			comes = true
		}
	}
}

func put[K comparable](m map[K]*imap.UIDSet, k K, uid mail.UID) {
	if m[k] == nil {
		m[k] = &imap.UIDSet{}
	}
	m[k].Add(uint32(uid))
}
