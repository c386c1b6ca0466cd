package store

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// messageRow is a message in a writing transaction.
//
// Identity: the public id of a message is made from its fingerprint, so that it is the same whenever and wherever the
// message is found. A copy with the same fingerprint is taken for the same message; its placement is not held until its
// bytes were compared, unless it takes over from a vanished placement with the same size and date, and no split message
// with the fingerprint is known. When the bytes turn out to differ, the placement goes to the message whose id is made from fingerprint and digest: a split message. With a
// weak fingerprint ids are always made that way.
//
// Of several messages with one fingerprint, the first whose bytes were seen has the plain id. No two messages share both
// fingerprint and digest.
//
// A draft is otherwise: all its versions have one fingerprint. The newest copy whose bytes were seen has the plain id, and
// when a newer one comes the message becomes that; an older version that still lies at the server is split off.
type messageRow struct {
	row    int64 // 0 until giveRows
	public publicID
	fp     [16]byte
	split  bool
	draft  bool
	digest []byte // nil: no bytes yet
	threading
	content bool   // content or header facts are to be written
	facts   *facts // of new messages and those that get content
	was     messageLooks
	messageLooks
	foldersWere []int64 // sorted
	folders     []int64
	threadNum   int64 // as stored
	rejoins     bool  // stored, and its thread is taken apart and put together anew
	thread      *threadRow
	placements  []*placementRow
	addressed   string // JSON: its addresses as stored, when facts were read
	seq         int64
	stored      bool
	gone        bool
}

// messageLooks is what can change about a message and is kept in its row.
type messageLooks struct {
	flags    mail.Flags
	keywords []string
	body     mail.BodyState
	trouble  string
	hasAtt   bool
}

// facts are the columns that are written once or twice in a message's life.
type facts struct {
	received, sent      time.Time
	headerID, inReplyTo string
	refs                []string
	subject             string
	addresses           addresses // use people
	unread              string    // JSON: the addresses as stored, while nobody has asked for them
	size                int64

	raw, display int64
	displayHTML  bool
	snippet      string
	parts        []mail.Part
	partial      bool
}

const messageRowColumns = "id, public, fingerprint, split, digest, thread_id, thread_keys, thread_subject, flags, keywords, body_state, trouble, has_att, seq, draft"

func scanMessageRow(r *sql.Rows) (*messageRow, error) {
	m := &messageRow{stored: true}
	var public, fp sql.RawBytes
	var keywords, trouble sql.NullString
	err := r.Scan(&m.row, &public, &fp, &m.split, &m.digest, &m.threadNum, &m.keys, &m.topic, &m.flags, &keywords, &m.body, &trouble, &m.hasAtt, &m.seq, &m.draft)
	if err != nil {
		return nil, err
	}
	copy(m.public[:], public)
	copy(m.fp[:], fp)
	m.trouble = trouble.String
	m.keywords, err = parseList[string](keywords)
	m.was = m.messageLooks
	return m, err
}

// void tells whether the message neither was stored nor will be.
func (m *messageRow) void() bool { return !m.stored && len(m.placements) == 0 }

func (m *messageRow) looksDifferent() bool {
	return m.content || m.moved() || m.flags != m.was.flags || m.body != m.was.body || m.trouble != m.was.trouble || m.hasAtt != m.was.hasAtt ||
		!slices.Equal(m.keywords, m.was.keywords) || !slices.Equal(m.folders, m.foldersWere)
}

func (m *messageRow) folderSet() []int64 {
	if len(m.placements) == 1 && len(m.placements[0].labels) == 0 {
		return []int64{m.placements[0].folder}
	}
	list := make([]int64, 0, len(m.placements))
	for _, p := range m.placements {
		list = append(list, p.folder)
		for _, l := range p.labels {
			if !l.removed {
				list = append(list, l.folder)
			}
		}
	}
	return sortedSet(list)
}

// settle makes the message what its placements say.
func (m *messageRow) settle() {
	if len(m.placements) == 0 {
		m.gone = true
		m.folders = nil
		return
	}
	m.folders = m.folderSet()
	all := mail.FlagSeen
	m.flags, m.keywords, m.trouble = 0, nil, ""
	for i, p := range m.placements {
		m.flags |= p.flags
		all &= p.flags
		if i == 0 {
			m.keywords = p.keywords
		} else if !slices.Equal(m.keywords, p.keywords) {
			m.keywords = sortedSet(append(slices.Clone(m.keywords), p.keywords...))
		}
		if p.trouble != "" && (m.trouble == "" || p.trouble < m.trouble) {
			m.trouble = p.trouble
		}
	}
	m.flags = m.flags&^mail.FlagSeen | all
	switch {
	case m.digest != nil:
		m.body, m.trouble = mail.BodyHeld, ""
	case m.trouble != "":
		m.body = mail.BodyQuarantined
	default:
		m.body = mail.BodyNone
	}
}

// plain returns the id made from a fingerprint. It costs two microseconds, and several steps ask for it.
func (a *applier) plain(fp [16]byte) publicID {
	p, ok := a.plainIDs[fp]
	if !ok {
		p = a.m.publicID(fp)
		a.plainIDs[fp] = p
	}
	return p
}

// exact returns the id made from a fingerprint and the digest of the bytes.
func (a *applier) exact(fp [16]byte, digest [32]byte) publicID {
	return a.plain(mime.WithDigest(fp, digest))
}

func (m *Mailbox) withDigest(fp [16]byte, digest [32]byte) publicID {
	return m.publicID(mime.WithDigest(fp, digest))
}

// vanishedCopy is what a moved copy has in common with where it was.
type vanishedCopy struct {
	fp                 [16]byte
	size, internaldate int64
}

// addNew stores copies seen for the first time.
func (a *applier) addNew(list []NewMessage) error {
	if len(list) == 0 {
		return nil
	}
	moved := map[vanishedCopy][]*placementRow{}
	for _, p := range a.plOrder {
		if p.vanishedAt != 0 {
			k := vanishedCopy{p.msg.fp, p.size, p.internaldate}
			moved[k] = append(moved[k], p)
		}
	}
	from := map[*placementRow]*messageRow{} // their messages now; below they may be removed from them
	for _, l := range moved {
		for _, p := range l {
			from[p] = p.msg
		}
	}
	for i := range list {
		n := &list[i]
		key := placementKey{a.folders[n.Folder].num, n.UIDValidity, n.UID}
		p := a.placements[key]
		if p != nil && !p.removed {
			if p.vanishedAt == 0 {
				if n.Content != nil && !p.held {
					if err := a.addContent(p, n.Content); err != nil {
						return err
					}
				}
				continue
			}
			if a.sameMessage(p.msg, n) { // it had not vanished after all
				p.vanishedAt, p.dirty = 0, true
				p.setFlags(n.Flags, n.Keywords, n.ModSeq)
				a.setLabels(p, n.Labels)
				a.replaceVanished(p.msg, p)
				if n.Content != nil && !p.held {
					if err := a.addContent(p, n.Content); err != nil {
						return err
					}
				}
				continue
			}
			a.remove(p)
		}
		if p == nil {
			p = &placementRow{placementKey: key}
			a.placements[key] = p
			a.plOrder = append(a.plOrder, p)
		}
		p.removed, p.dirty, p.held, p.vanishedAt, p.trouble, p.nextTry = false, true, false, 0, "", 0
		p.size, p.internaldate, p.modseq = n.Size, n.InternalDate.UnixMilli(), 0
		p.setFlags(n.Flags, n.Keywords, n.ModSeq)
		a.setLabels(p, n.Labels)

		if c := n.Content; c != nil {
			if base := a.byPublic[a.plain(n.FP)]; n.Draft && base != nil {
				if err := a.revise(base, p, c.Digest); err != nil {
					return err
				}
			}
			m := a.byContent(n.FP, n.Strong, c.Digest, func() (*facts, threading) { return headFacts(n), threadingOf(&n.Threading) })
			m.draft = n.Draft
			a.place(m, p)
			a.fill(m, p, c)
			continue
		}
		m, held := a.sourceOf(p.folder, moved[vanishedCopy{n.FP, n.Size, p.internaldate}], from)
		if m == nil {
			public := a.plain(n.FP)
			if m = a.byPublic[public]; m == nil {
				m = a.create(public, n.FP, false, headFacts(n), threadingOf(&n.Threading))
				m.draft = n.Draft
			}
		}
		p.held = held && m.digest != nil && !a.splits[n.FP] && !n.Draft // two versions may share size and date
		a.place(m, p)
	}
	return nil
}

// sameMessage tells whether n, found where a placement of m vanished, is that message.
func (a *applier) sameMessage(m *messageRow, n *NewMessage) bool {
	return m.fp == n.FP && (n.Content == nil || m.digest == nil || bytes.Equal(m.digest, n.Content.Digest[:]))
}

// sourceOf returns the one message that all these placements belong to, which have vanished or were out of view in the folder, nil if
// there is not exactly one, and whether the bytes of any were those of the message.
func (a *applier) sourceOf(folder int64, list []*placementRow, from map[*placementRow]*messageRow) (m *messageRow, held bool) {
	for _, p := range list {
		if p.vanishedAt == outOfView && p.folder != folder {
			continue
		}
		if m != nil && m != from[p] {
			return nil, false
		}
		m, held = from[p], held || p.held
	}
	return m, held
}

// byContent returns the message with this fingerprint and these bytes, which may be new, or one with the fingerprint that
// has no bytes yet.
func (a *applier) byContent(fp [16]byte, strong bool, digest [32]byte, source func() (*facts, threading)) *messageRow {
	exact := a.exact(fp, digest)
	if strong {
		public := a.plain(fp)
		base := a.byPublic[public]
		switch {
		case base != nil && bytes.Equal(base.digest, digest[:]):
			return base
		case a.byPublic[exact] != nil:
			return a.byPublic[exact]
		case base == nil:
			f, t := source()
			return a.create(public, fp, false, f, t)
		case base.digest == nil:
			return base
		}
	}
	if m := a.byPublic[exact]; m != nil {
		return m
	}
	f, t := source()
	return a.create(exact, fp, strong, f, t)
}

func (a *applier) create(public publicID, fp [16]byte, split bool, f *facts, t threading) *messageRow {
	m := &messageRow{public: public, fp: fp, split: split, facts: f, threading: t}
	if split {
		a.splits[fp] = true
	}
	a.byPublic[public] = m
	a.order = append(a.order, m)
	return m
}

// addBodies stores bytes that were fetched for known placements.
func (a *applier) addBodies(list []Body) error {
	var rows []int64
	for i := range list {
		if p := a.find(list[i].PlacementRef); p != nil && !p.removed && !p.held && p.msg.stored {
			rows = append(rows, p.msg.row)
		}
	}
	if err := a.loadFacts(sortedSet(rows)); err != nil {
		return err
	}
	for i := range list {
		b := &list[i]
		p := a.find(b.PlacementRef)
		if p == nil || p.removed || p.held {
			continue
		}
		if b.Message != "" && b.Message != p.msg.public.id() {
			a.drop(&facts{raw: b.Raw.ID, display: b.Display.ID})
			continue
		}
		if err := a.addContent(p, &b.Content); err != nil {
			return err
		}
	}
	return nil
}

// restore gives messages the bytes again that they had, in the place of stored ones that are lost or damaged.
func (a *applier) restore(list []Body) error {
	for i := range list {
		b := &list[i]
		p := a.find(b.PlacementRef)
		if p == nil || p.removed || !p.held || !bytes.Equal(p.msg.digest, b.Digest[:]) {
			a.drop(&facts{raw: b.Raw.ID, display: b.Display.ID})
			continue
		}
		m := p.msg
		if err := a.loadFacts([]int64{m.row}); err != nil {
			return err
		}
		a.drop(m.facts)
		m.digest, b.Bounced = nil, "" // what a report says was told
		a.fill(m, p, &b.Content)
	}
	return nil
}

// addContent gives a placement the bytes found there: its message gets them, or has them, or the placement is one of
// another message.
func (a *applier) addContent(p *placementRow, c *Content) error {
	old := p.msg
	if old.draft && !old.split {
		if err := a.revise(old, p, c.Digest); err != nil {
			return err
		}
	}
	m := a.byContent(old.fp, true, c.Digest, func() (*facts, threading) {
		f := *old.facts
		f.received, f.size = time.UnixMilli(p.internaldate), p.size
		f.raw, f.display, f.displayHTML, f.snippet, f.parts, f.partial = 0, 0, false, "", nil, false
		return &f, threading{keys: old.keys, topic: old.topic, anchor: old.anchor}
	})
	m.draft = old.draft
	if m != old {
		a.detach(p)
		a.place(m, p)
	}
	a.fill(m, p, c)
	return nil
}

// revise makes room in a draft for the bytes of p, if p is its newest copy: the version that it had goes with the older
// copies that are at the server, as a message of its own, or is dropped.
func (a *applier) revise(m *messageRow, p *placementRow, digest [32]byte) error {
	if m.digest == nil || bytes.Equal(m.digest, digest[:]) || a.byPublic[a.exact(m.fp, digest)] != nil {
		return nil
	}
	var older []*placementRow
	for _, q := range m.placements {
		switch {
		case q == p || q.vanishedAt > 0 || !q.held:
		case q.vanishedAt == outOfView && q.folder == p.folder: // what p took the place of, or it is found again as it is
		case p.newer(q):
			older = append(older, q)
		default:
			return nil // p is an older version itself
		}
	}
	if m.stored {
		if err := a.loadFacts([]int64{m.row}); err != nil {
			return err
		}
	}
	f := *m.facts
	if len(older) > 0 {
		if m.stored {
			if err := a.loadBody(m.row, &f); err != nil {
				return err
			}
		}
		public := a.exact(m.fp, [32]byte(m.digest))
		split := a.byPublic[public]
		if split == nil {
			f.received = time.UnixMilli(older[0].internaldate)
			split = a.create(public, m.fp, true, &f, m.threading)
			split.draft, split.digest, split.hasAtt, split.content = true, m.digest, m.hasAtt, true
		} else {
			a.drop(&f)
		}
		for _, q := range older {
			a.detach(q)
			a.place(split, q)
			q.dirty = true
		}
	} else {
		a.drop(&f)
	}
	for _, q := range m.placements { // vanished copies of the version that is gone
		if q != p && q.held {
			q.held, q.dirty = false, true
		}
	}
	m.digest, m.facts.raw, m.facts.display = nil, 0, 0
	return nil
}

// drop has the bytes removed after the commit.
func (a *applier) drop(f *facts) {
	for _, blob := range []int64{f.raw, f.display} {
		if blob != 0 {
			a.freed = append(a.freed, blob)
		}
	}
}

// newer tells which of two copies came later.
func (p *placementRow) newer(q *placementRow) bool {
	if p.folder == q.folder && p.uidvalidity == q.uidvalidity {
		return p.uid > q.uid
	}
	if p.internaldate != q.internaldate {
		return p.internaldate > q.internaldate
	}
	return p.folder > q.folder
}

// loadBody reads what loadFacts leaves out: what was found in the bytes.
func (a *applier) loadBody(row int64, f *facts) error {
	var parts sql.NullString
	err := a.t.row(a.ctx, "SELECT snippet, parts, display_html, partial FROM messages WHERE {a}id = ?", row).Scan(&f.snippet, &parts, &f.displayHTML, &f.partial)
	if err != nil {
		return err
	}
	f.parts, err = parseList[mail.Part](parts)
	return err
}

// fill marks the placement as held, and gives the message the content if it had none.
func (a *applier) fill(m *messageRow, p *placementRow, c *Content) {
	p.held, p.trouble, p.nextTry, p.dirty = true, "", 0, true
	if m.digest != nil {
		return
	}
	m.digest, m.content, m.hasAtt = c.Digest[:], true, c.Listed
	if id := clean(c.Bounced); id != "" && len(id) <= maxBouncedID {
		a.reports = append(a.reports, report{m, id})
	}
	f := m.facts
	f.size, f.raw, f.display, f.displayHTML = c.Size, c.Raw.ID, c.Display.ID, c.DisplayHTML
	f.snippet, f.partial = clean(c.Snippet), c.Partial
	f.parts = make([]mail.Part, len(c.Attachments))
	for i, at := range c.Attachments {
		at.ID, at.ContentType, at.Charset, at.Filename = clean(at.ID), clean(at.ContentType), clean(at.Charset), clean(at.Filename)
		at.ContentID, at.Disposition = clean(at.ContentID), clean(at.Disposition)
		f.parts[i] = at
	}
	if c.Head != nil {
		f.setHead(c.Head)
	}
}

func headFacts(n *NewMessage) *facts {
	f := &facts{received: n.InternalDate, size: n.Size}
	if n.Head != nil {
		f.setHead(n.Head)
	}
	return f
}

func (f *facts) setHead(h *mime.Message) {
	f.sent, f.headerID, f.refs, f.subject = h.Date, clean(h.MessageID), cleanList(h.References), clean(h.Subject)
	f.inReplyTo = ""
	if len(h.InReplyTo) > 0 {
		f.inReplyTo = clean(h.InReplyTo[0])
	}
	f.addresses = addresses{addressList(h.From), addressList(h.To), addressList(h.Cc), addressList(h.Bcc), addressList(h.ReplyTo), addressList(h.Sender)}
	f.unread = ""
}

// people returns the addresses. Most messages get the same ones again with their bytes, so that what is stored need not be read.
func (f *facts) people() (*addresses, error) {
	if f.unread != "" {
		a, err := parseAddresses(f.unread)
		if err != nil {
			return nil, err
		}
		f.addresses, f.unread = a, ""
	}
	return &f.addresses, nil
}

// peopleJSON returns the addresses as they are stored.
func (f *facts) peopleJSON() (string, error) {
	if f.unread != "" {
		return f.unread, nil
	}
	return f.addresses.json()
}

// loadFacts reads the header facts of stored messages.
func (a *applier) loadFacts(rows []int64) error {
	rows = slices.DeleteFunc(rows, func(id int64) bool { return a.messages[id] == nil || a.messages[id].facts != nil })
	return queryIn(a.ctx, a.t, "SELECT id, received_at, sent_at, header_id, in_reply_to, refs, subject, addresses, size, raw_blob, display_blob FROM messages WHERE {a}id IN (??)", nil, rows,
		func(r *sql.Rows) error {
			var id, received int64
			var sent sql.NullInt64
			var headerID, inReplyTo, refs, addrs sql.NullString
			var raw, display sql.NullInt64
			f := new(facts)
			if err := r.Scan(&id, &received, &sent, &headerID, &inReplyTo, &refs, &f.subject, &addrs, &f.size, &raw, &display); err != nil {
				return err
			}
			f.received, f.sent, f.headerID, f.inReplyTo = time.UnixMilli(received).UTC(), fromMillis(sent), headerID.String, inReplyTo.String
			f.unread = addrs.String
			var err error
			if f.refs, err = parseList[string](refs); err != nil {
				return err
			}
			f.raw, f.display = raw.Int64, display.Int64
			m := a.messages[id]
			m.facts, m.addressed = f, f.unread
			return nil
		})
}

// giveRows gives new messages their date-ordered row ids. The low bits come from the public id, so that messages of one
// second are in the same order after a wipe; the few that meet a taken number get the next free one.
func (a *applier) giveRows() error {
	var ask []*messageRow
	taken := map[int64]bool{}
	next := func(m *messageRow, low int64) {
		base := rowAt(m.facts.received)
		for {
			low &= 1<<rowBits - 1
			if m.row = base | low; !taken[m.row] {
				taken[m.row] = true
				return
			}
			low++
		}
	}
	for _, m := range a.order {
		if !m.stored && !m.void() {
			next(m, int64(binary.BigEndian.Uint32(m.public[:4])))
			ask = append(ask, m)
		}
	}
	for len(ask) > 0 {
		rows := make([]int64, len(ask))
		for i, m := range ask {
			rows[i] = m.row
		}
		used := map[int64]bool{}
		err := queryIn(a.ctx, a.t, "SELECT id FROM messages WHERE {a}id IN (??)", nil, sortedSet(rows), func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			taken[id], used[id] = true, true
			return err
		})
		if err != nil {
			return err
		}
		var again []*messageRow
		for _, m := range ask {
			if used[m.row] {
				next(m, m.row+1)
				again = append(again, m)
			}
		}
		ask = again
	}
	return nil
}

// writeMessages stores messages and the keys of their addresses.
func (a *applier) writeMessages() error {
	var goneFacts []int64
	for _, m := range a.order {
		if m.gone && m.stored {
			goneFacts = append(goneFacts, m.row)
		}
	}
	if err := a.loadFacts(goneFacts); err != nil {
		return err
	}
	var fresh, content, looks, marks, moved, gone, addKeys, dropKeys [][]any
	for _, m := range a.order {
		if m.void() {
			continue
		}
		a.count(m)
		switch {
		case m.gone:
			gone = append(gone, []any{m.row})
			a.drop(m.facts)
			keys, err := a.m.storedKeys(m.addressed)
			if err != nil {
				return err
			}
			for _, k := range keys {
				dropKeys = append(dropKeys, []any{k, m.row})
			}
			continue
		case !m.looksDifferent() && m.stored:
			continue
		}
		if m.moved() {
			moved = append(moved, []any{m.thread.num, m.row})
		}
		lookVals := []any{int64(m.flags), bit(m.hasAtt), jsonList(m.keywords), int64(m.body), text(m.trouble), m.seq}
		if m.stored && !m.content {
			looks = append(looks, append(lookVals, m.row))
			continue
		}
		f := m.facts
		addrs, err := f.peopleJSON()
		if err != nil {
			return err
		}
		var digest any
		if m.digest != nil {
			digest = m.digest
		}
		vals := append(lookVals, digest, millis(f.sent), text(f.headerID), text(f.inReplyTo), jsonList(f.refs), f.subject, strings.ToLower(f.subject), text(addrs), f.snippet, f.size,
			jsonList(f.parts), number(f.raw), number(f.display), bit(f.displayHTML), bit(f.partial))
		if m.stored {
			if m.flags != m.was.flags || m.hasAtt != m.was.hasAtt {
				marks = append(marks, append(slices.Clone(vals[:2]), m.row))
			}
			content = append(content, append(vals[2:], m.row))
		} else {
			fresh = append(fresh, append(vals, m.row, m.public[:], m.fp[:], bit(m.split), m.thread.num, m.keys, m.topic, f.received.UnixMilli(), bit(m.draft)))
		}
		if addrs == m.addressed {
			continue
		}
		people, err := f.people()
		if err != nil {
			return err
		}
		keys := a.m.addressKeys(people)
		were, err := a.m.storedKeys(m.addressed)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if _, had := slices.BinarySearch(were, k); !had {
				addKeys = append(addKeys, []any{k, m.row})
			}
		}
		for _, k := range were {
			if _, has := slices.BinarySearch(keys, k); !has {
				dropKeys = append(dropKeys, []any{k, m.row})
			}
		}
	}
	for _, w := range []struct {
		q    string
		rows [][]any
	}{
		{"DELETE FROM messages WHERE {a}id=?", gone},
		{"DELETE FROM message_metadata WHERE {a}message_id=?", gone},
		{"DELETE FROM message_addresses WHERE {a}key=? AND message_id=?", dropKeys},
		{"UPDATE messages SET thread_id=? WHERE {a}id=?", moved},
		{"UPDATE messages SET flags=?, has_att=?, keywords=?, body_state=?, trouble=?, seq=? WHERE {a}id=?", looks},
		{"UPDATE messages SET flags=?, has_att=? WHERE {a}id=?", marks}, // by themselves, as indexes that name them are written whatever they were
		{`UPDATE messages SET keywords=?, body_state=?, trouble=?, seq=?, digest=?, sent_at=?, header_id=?, in_reply_to=?, refs=?,
			subject=?, subject_key=?, addresses=?, snippet=?, size=?, parts=?, raw_blob=?, display_blob=?, display_html=?, partial=? WHERE {a}id=?`, content},
	} {
		if len(w.rows) > 0 {
			if _, err := a.t.execMany(a.ctx, w.q, w.rows); err != nil {
				return fmt.Errorf("write messages: %w", err)
			}
		}
	}
	slices.SortFunc(fresh, func(x, y []any) int { return compareRows(x[21], y[21]) })
	err := a.t.insertMany(a.ctx, "messages", []string{"flags", "has_att", "keywords", "body_state", "trouble", "seq", "digest", "sent_at", "header_id",
		"in_reply_to", "refs", "subject", "subject_key", "addresses", "snippet", "size", "parts", "raw_blob", "display_blob", "display_html", "partial",
		"id", "public", "fingerprint", "split", "thread_id", "thread_keys", "thread_subject", "received_at", "draft"}, fresh, "")
	if err != nil {
		return err
	}
	slices.SortFunc(addKeys, func(x, y []any) int { return compareRows(x[0], y[0]) })
	return a.t.insertMany(a.ctx, "message_addresses", []string{"key", "message_id"}, addKeys, "")
}

func compareRows(x, y any) int {
	switch a, b := x.(int64), y.(int64); {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// count adds what the message became, and takes off what it was, to the counts of the account.
func (a *applier) count(m *messageRow) {
	if m.stored {
		a.st.messages--
		a.st.unread -= bit(m.was.flags&mail.FlagSeen == 0)
		a.st.starred -= bit(m.was.flags&mail.FlagFlagged != 0)
		a.st.held -= bit(m.was.body == mail.BodyHeld)
	}
	if !m.gone {
		a.st.messages++
		a.st.unread += bit(m.flags&mail.FlagSeen == 0)
		a.st.starred += bit(m.flags&mail.FlagFlagged != 0)
		a.st.held += bit(m.body == mail.BodyHeld)
	}
}

// json returns what is stored of the addresses, "" without any.
func (a *addresses) json() (string, error) {
	if len(a.From)+len(a.To)+len(a.Cc)+len(a.Bcc)+len(a.ReplyTo)+len(a.Sender) == 0 {
		return "", nil
	}
	b, err := json.Marshal(a)
	return string(b), err
}
