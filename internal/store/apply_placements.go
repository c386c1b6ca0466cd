package store

import (
	"bytes"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"github.com/posthorn/posthorn/internal/mail"
)

// placementKey is the key of a placement's row.
type placementKey struct {
	folder      int64
	uidvalidity mail.UIDValidity
	uid         mail.UID
}

// placementRow is a placement in a writing transaction.
type placementRow struct {
	placementKey
	msg          *messageRow
	flags        mail.Flags
	keywords     []string
	modseq       int64
	held         bool
	size         int64
	internaldate int64 // ms
	vanishedAt   int64 // µs; 0 is at the server; or outOfView
	trouble      string
	nextTry      int64 // ms

	labels  []*labelRow
	stored  bool
	of      int64 // the message's row, as stored
	dirty   bool
	removed bool
	was     placementCounts // as stored
}

// outOfView stands, where it is told when a placement vanished, for one of an earlier generation of UIDs that was not found again so far and
// is not known to be gone: it is in the folder as last seen, and has no UID by which the server could be asked for it.
const outOfView = -1

// placementCounts is what a placement adds to the counts of its folder and the account.
type placementCounts struct{ live, unread, unheld, vanished, out int64 }

func (p *placementRow) counts() placementCounts {
	switch {
	case p.removed:
		return placementCounts{}
	case p.vanishedAt == outOfView:
		return placementCounts{live: 1, unread: bit(p.flags&mail.FlagSeen == 0), out: 1}
	case p.vanishedAt != 0:
		return placementCounts{vanished: 1}
	}
	return placementCounts{live: 1, unread: bit(p.flags&mail.FlagSeen == 0), unheld: bit(!p.held)}
}

const placementColumns = `folder_id, uidvalidity, uid, base, message_id, flags, keywords, modseq, held, size, internaldate, vanished_at, trouble, next_try`

// scanPlacement reads a row of placements. One with a base is a label of the copy in that folder, see takeLabel.
func scanPlacement(r *sql.Rows) (p *placementRow, base, message int64, err error) {
	p = &placementRow{stored: true}
	var keywords, trouble sql.NullString
	var vanished, next sql.NullInt64
	err = r.Scan(&p.folder, &p.uidvalidity, &p.uid, &base, &message, &p.flags, &keywords, &p.modseq, &p.held, &p.size, &p.internaldate, &vanished, &trouble, &next)
	if err != nil {
		return nil, 0, 0, err
	}
	p.of, p.vanishedAt, p.trouble, p.nextTry = message, vanished.Int64, trouble.String, next.Int64
	p.keywords, err = parseList[string](keywords)
	p.was = p.counts()
	return p, base, message, err
}

// find returns the placement with that name, nil if there is none.
func (a *applier) find(ref PlacementRef) *placementRow {
	f := a.folders[ref.Folder]
	if f == nil {
		return nil
	}
	return a.placements[placementKey{f.num, ref.UIDValidity, ref.UID}]
}

// load reads the placements that the batch names, their messages, the messages that new ones may be copies of, and
// all placements of these messages.
func (a *applier) load(b Batch) error {
	type group struct {
		folder int64
		v      mail.UIDValidity
	}
	uids := map[group][]int64{}
	want := func(ref PlacementRef) {
		if f := a.folders[ref.Folder]; f != nil && f.stored {
			g := group{f.num, ref.UIDValidity}
			uids[g] = append(uids[g], int64(ref.UID))
		}
	}
	for i := range b.Vanished {
		want(b.Vanished[i])
	}
	for i := range b.Removed {
		want(b.Removed[i])
	}
	for i := range b.Flags {
		want(b.Flags[i].PlacementRef)
	}
	for i := range b.New {
		want(b.New[i].PlacementRef)
	}
	for i := range b.Bodies {
		want(b.Bodies[i].PlacementRef)
	}
	for i := range b.Restored {
		want(b.Restored[i].PlacementRef)
	}
	for i := range b.Quarantine {
		want(b.Quarantine[i].PlacementRef)
	}
	var rows []int64
	for g, list := range uids {
		err := queryIn(a.ctx, a.t, "SELECT message_id FROM placements WHERE {a}folder_id = ? AND uidvalidity = ? AND uid IN (??)",
			[]any{g.folder, int64(g.v)}, sortedSet(list), func(r *sql.Rows) error {
				var id int64
				err := r.Scan(&id)
				rows = append(rows, id)
				return err
			})
		if err != nil {
			return err
		}
	}
	if err := a.loadMessages("id", sortedSet(rows)); err != nil {
		return err
	}

	publics := map[publicID]bool{}
	var strong [][]byte
	for i := range b.New {
		n := &b.New[i]
		if n.Strong {
			publics[a.plain(n.FP)] = true
			strong = append(strong, n.FP[:])
		} else if n.Content == nil {
			return mail.E(mail.Invalid, "store placements", "a message that its header does not identify needs its content", nil)
		}
		if n.Content != nil {
			publics[a.exact(n.FP, n.Content.Digest)] = true
		}
	}
	made := map[PlacementRef]*NewMessage{}
	for i := range b.New {
		made[b.New[i].PlacementRef] = &b.New[i]
	}
	var heads []int64
	for i := range b.Bodies { // the message with these bytes, should they not be those of the message they are thought to be
		c := &b.Bodies[i]
		if p := a.find(c.PlacementRef); p != nil && !p.held {
			publics[a.plain(p.msg.fp)] = true
			publics[a.exact(p.msg.fp, c.Digest)] = true
			if p.msg.draft {
				strong = append(strong, p.msg.fp[:])
			}
		}
		if n := made[c.PlacementRef]; n != nil {
			publics[a.exact(n.FP, c.Digest)] = true
		}
	}
	if err := a.loadMessages("public", a.unread(publics)); err != nil {
		return err
	}
	if err := a.loadMessages("fingerprint", strong); err != nil {
		return err
	}
	for i := range b.New {
		n := &b.New[i]
		if n.Content == nil {
			continue
		}
		if m := a.byPublic[a.plain(n.FP)]; m != nil {
			heads = append(heads, m.row)
		}
		if p := a.find(n.PlacementRef); p != nil {
			heads = append(heads, p.msg.row)
		}
	}
	return a.loadFacts(sortedSet(heads))
}

// unread returns which of the ids were not read yet.
func (a *applier) unread(publics map[publicID]bool) [][]byte {
	var list [][]byte
	for p := range publics {
		if a.byPublic[p] == nil {
			list = append(list, p[:])
		}
	}
	slices.SortFunc(list, bytes.Compare)
	return list
}

// maxSplits bounds how many messages with one batch's fingerprints and different bytes are looked at when a copy may
// have moved: beyond it, the bytes of a moved copy are fetched again.
const maxSplits = 1000

// loadMessages reads messages by one of id, public and fingerprint (there: only the split ones), with all their
// placements.
func (a *applier) loadMessages(by string, list any) error {
	var fresh []int64
	scan := func(r *sql.Rows) error {
		m, err := scanMessageRow(r)
		if err != nil || a.messages[m.row] != nil {
			return err
		}
		a.messages[m.row], a.byPublic[m.public] = m, m
		a.order = append(a.order, m)
		if m.split {
			a.splits[m.fp] = true
		}
		fresh = append(fresh, m.row)
		return nil
	}
	var err error
	const cols = "SELECT " + messageRowColumns + " FROM messages WHERE "
	switch by {
	case "id":
		err = queryIn(a.ctx, a.t, cols+"{a}id IN (??)", nil, list.([]int64), scan)
	case "public":
		err = queryIn(a.ctx, a.t, cols+"{a}public IN (??)", nil, list.([][]byte), scan)
	case "fingerprint":
		err = queryIn(a.ctx, a.t, cols+"{a}split = 1 AND fingerprint IN (??) LIMIT "+strconv.Itoa(maxSplits), nil, list.([][]byte), scan)
	}
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	slices.Sort(fresh)
	labels := map[placementKey][]*labelRow{}
	err = queryIn(a.ctx, a.t, "SELECT "+placementColumns+" FROM placements WHERE {a}message_id IN (??)", nil, fresh, func(r *sql.Rows) error {
		p, base, message, err := scanPlacement(r)
		if err != nil {
			return err
		}
		if base != 0 {
			k := placementKey{base, p.uidvalidity, p.uid}
			labels[k] = append(labels[k], takeLabel(p, message))
			return nil
		}
		p.msg = a.messages[message]
		p.msg.placements = append(p.msg.placements, p)
		a.placements[p.placementKey] = p
		a.plOrder = append(a.plOrder, p)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read placements: %w", err)
	}
	for k, list := range labels {
		if p := a.placements[k]; p != nil {
			p.labels = list
		}
	}
	for _, id := range fresh {
		m := a.messages[id]
		m.foldersWere = m.folderSet()
	}
	return nil
}

// vanish marks placements as gone since a time in microseconds.
func (a *applier) vanish(list []PlacementRef, at int64) {
	for _, ref := range list {
		if p := a.find(ref); p != nil && !p.removed && p.vanishedAt <= 0 {
			p.vanishedAt, p.dirty = at, true
		}
	}
}

func (a *applier) updateFlags(list []FlagUpdate) {
	for i := range list {
		u := &list[i]
		if p := a.find(u.PlacementRef); p != nil && !p.removed && p.vanishedAt == 0 {
			p.setFlags(u.Flags, u.Keywords, u.ModSeq)
			a.setLabels(p, u.Labels)
		}
	}
}

func (p *placementRow) setFlags(f mail.Flags, keywords []string, modseq mail.ModSeq) {
	kw := keywordSet(keywords)
	if modseq == 0 {
		modseq = mail.ModSeq(p.modseq)
	}
	if p.flags != f || p.modseq != int64(modseq) || !slices.Equal(p.keywords, kw) {
		p.flags, p.keywords, p.modseq, p.dirty = f, kw, int64(modseq), true
	}
}

// keywordSet returns keywords cleaned, sorted and each once.
func keywordSet(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return sortedSet(cleanList(list))
}

func (a *applier) quarantine(list []Trouble) {
	for i := range list {
		q := &list[i]
		p := a.find(q.PlacementRef)
		if p == nil || p.removed || p.held {
			continue
		}
		p.trouble, p.nextTry, p.dirty = clean(q.Reason), q.NextTry.UnixMilli(), true
		if p.trouble == "" {
			p.trouble = "unknown"
		}
	}
}

// place makes p a placement of m. If it is at the server, it takes the place of the message's vanished ones, and of one that was out of
// view in that folder.
func (a *applier) place(m *messageRow, p *placementRow) {
	if p.vanishedAt == 0 {
		a.replaceVanished(m, p)
	}
	p.msg = m
	m.placements = append(m.placements, p)
}

func (a *applier) replaceVanished(m *messageRow, p *placementRow) {
	var shown *placementRow // of those that were out of view: it looks the same if any does
	for _, old := range m.placements {
		switch {
		case old == p:
		case old.vanishedAt == outOfView:
			if old.folder == p.folder && (shown == nil || old.looks() == p.looks() && shown.looks() != p.looks()) {
				shown = old
			}
		case old.vanishedAt != 0:
			a.remove(old)
			continue
		}
		for _, l := range old.labels {
			if l.vanishedAt > 0 && l.folder == p.folder {
				l.removed, old.dirty = true, true
			}
		}
	}
	if shown != nil {
		a.remove(shown)
	}
}

func (p *placementRow) looks() [2]int64 { return [2]int64{p.size, p.internaldate} }

// remove takes a placement away from its message for good.
func (a *applier) remove(p *placementRow) {
	p.removed, p.dirty = true, true
	a.detach(p)
}

func (a *applier) detach(p *placementRow) {
	m := p.msg
	kept := make([]*placementRow, 0, len(m.placements))
	for _, q := range m.placements {
		if q != p {
			kept = append(kept, q)
		}
	}
	m.placements = kept
}

// writePlacements stores placements, and what they make of the counts of folders and account.
func (a *applier) writePlacements() error {
	var fresh, stays, moves, removed [][]any
	for _, p := range a.plOrder {
		if !p.dirty {
			continue
		}
		was, is := p.was, p.counts()
		if was != is {
			f, err := a.folderOf(p.folder)
			if err != nil {
				return err
			}
			if is.live != was.live || is.unread != was.unread {
				f.Total += int(is.live - was.live)
				f.Unread += int(is.unread - was.unread)
				f.dirty = true
			}
			a.st.placements += is.live - was.live
			a.st.unheld += is.unheld - was.unheld
			a.st.vanished += is.vanished - was.vanished
		}
		key := []any{p.folder, int64(p.uidvalidity), int64(p.uid)}
		switch {
		case p.removed && p.stored:
			removed = append(removed, key)
		case p.removed:
		case p.stored && p.of == p.msg.row && was.vanished+was.out == 0 && is.vanished+is.out == 0: // that is, two indexes need not be written
			stays = append(stays, append(p.values()[2:], key...))
		case p.stored:
			moves = append(moves, append(p.values(), key...))
		default:
			fresh = append(fresh, append(append(key, 0), p.values()...))
		}
	}
	const own = "flags=?, keywords=?, modseq=?, held=?, size=?, internaldate=?, trouble=?, next_try=?"
	const key = " WHERE {a}folder_id=? AND uidvalidity=? AND uid=? AND base=0"
	for _, w := range []struct {
		q    string
		rows [][]any
	}{
		{"DELETE FROM placements" + key, removed},
		{"UPDATE placements SET " + own + key, stays},
		{"UPDATE placements SET message_id=?, vanished_at=?, " + own + key, moves},
	} {
		if len(w.rows) > 0 {
			if _, err := a.t.execMany(a.ctx, w.q, w.rows); err != nil {
				return fmt.Errorf("write placements: %w", err)
			}
		}
	}
	return a.t.insertMany(a.ctx, "placements", []string{"folder_id", "uidvalidity", "uid", "base", "message_id", "vanished_at", "flags", "keywords", "modseq", "held", "size",
		"internaldate", "trouble", "next_try"}, fresh, "")
}

func (p *placementRow) values() []any {
	return []any{p.msg.row, number(p.vanishedAt), int64(p.flags), jsonList(p.keywords), p.modseq, bit(p.held), p.size, p.internaldate, text(p.trouble), number(p.nextTry)}
}
