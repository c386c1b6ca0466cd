package persona

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// model is the mailbox. Server.mu guards it.
type model struct {
	folders  []*folder
	modseq   uint64
	validity uint32
	ids      uint64
	gmail    bool
	prefix   string
	delim    string
}

type folder struct {
	name     string // as on the wire
	attrs    string // `\Sent`, `\Noselect`
	id       string // MAILBOXID
	validity uint32
	next     uint32
	msgs     []*placed // ascending UID
	gone     []expunged
}

// placed is a message in a folder. Under Gmail several of them share one message.
type placed struct {
	uid    uint32
	modseq uint64
	silent uint64 // MODSEQ of a change that is not told unasked: of labels
	msg    *message
}

type message struct {
	raw   []byte
	flags []string
	date  time.Time
	id    uint64
}

// thread is the same for messages that name the same first reference, whatever their subjects.
func (m *message) thread() uint64 {
	root := ""
	if parsed, err := mail.ReadMessage(bytes.NewReader(m.raw)); err == nil {
		ids := strings.Fields(parsed.Header.Get("References") + " " + parsed.Header.Get("Message-ID"))
		if len(ids) > 0 {
			root = ids[0]
		}
	}
	if root == "" {
		return m.id
	}
	h := fnv.New64a()
	h.Write([]byte(root))
	return h.Sum64()
}

type expunged struct {
	uid    uint32
	modseq uint64
}

func newModel(k Knobs) model {
	m := model{modseq: 1, validity: 1000, ids: 1 << 40, gmail: k.Gmail, prefix: k.Prefix, delim: "/"}
	if k.Prefix != "" {
		m.delim = k.Prefix[len(k.Prefix)-1:]
	}
	for _, f := range [][2]string{{"INBOX", ""}, {"Sent", `\Sent`}, {"Drafts", `\Drafts`}, {"Trash", `\Trash`}, {"Junk", `\Junk`}} {
		switch {
		case f[0] == "INBOX":
			m.create(f[0], f[1])
		case !k.Gmail:
			m.create(k.Prefix+f[0], f[1])
		}
	}
	if k.Gmail {
		for _, f := range [][2]string{{"[Gmail]", `\Noselect`}, {allMail, `\All`}, {"[Gmail]/Sent Mail", `\Sent`}, {"[Gmail]/Drafts", `\Drafts`},
			{"[Gmail]/Spam", `\Junk`}, {"[Gmail]/Starred", `\Flagged`}, {important, `\Important`}, {"[Gmail]/Trash", `\Trash`}} {
			m.create(f[0], f[1])
		}
	}
	return m
}

const (
	allMail   = "[Gmail]/All Mail"
	starred   = "[Gmail]/Starred"
	important = "[Gmail]/Important"
)

func (m *model) create(name, attrs string) *folder {
	m.validity++
	m.ids++
	f := &folder{name: name, attrs: attrs, id: fmt.Sprintf("F%x", m.ids), validity: m.validity, next: 1}
	m.folders = append(m.folders, f)
	return f
}

func (m *model) find(name string) *folder {
	for _, f := range m.folders {
		if f.name == name || strings.EqualFold(name, "INBOX") && strings.EqualFold(f.name, "INBOX") {
			return f
		}
	}
	return nil
}

func (m *model) bump() uint64 {
	m.modseq++
	return m.modseq
}

func (m *model) put(f *folder, msg *message) uint32 {
	at := &placed{uid: f.next, modseq: m.bump(), msg: msg}
	f.next++
	f.msgs = append(f.msgs, at)
	return at.uid
}

func (f *folder) find(uid uint32) (*placed, int) {
	i, ok := slices.BinarySearchFunc(f.msgs, uid, func(p *placed, u uint32) int { return cmp.Compare(p.uid, u) })
	if !ok {
		return nil, i
	}
	return f.msgs[i], i
}

func (f *folder) highest() uint64 {
	h := uint64(1)
	for _, p := range f.msgs {
		h = max(h, p.modseq)
	}
	for _, e := range f.gone {
		h = max(h, e.modseq)
	}
	return h
}

func (m *model) remove(f *folder, uid uint32) bool {
	p, i := f.find(uid)
	if p == nil {
		return false
	}
	f.msgs = slices.Delete(f.msgs, i, i+1)
	f.gone = append(f.gone, expunged{uid, m.bump()})
	return true
}

// everywhere calls do for every place of a message.
func (m *model) everywhere(msg *message, do func(*folder, *placed)) {
	for _, f := range m.folders {
		for _, p := range slices.Clone(f.msgs) {
			if p.msg == msg {
				do(f, p)
			}
		}
	}
}

// Gmail's places that are not labels: a message is in exactly one of them.
func gmailBin(name string) bool {
	return name == allMail || name == "[Gmail]/Spam" || name == "[Gmail]/Trash"
}

// label is how X-GM-LABELS spells a folder.
func label(name string) string {
	switch name {
	case "INBOX":
		return `"\\Inbox"`
	case "[Gmail]/Sent Mail":
		return `"\\Sent"`
	case "[Gmail]/Drafts":
		return `"\\Draft"`
	case starred:
		return `"\\Starred"`
	case important:
		return `"\\Important"`
	}
	return quote(name)
}

// labelled is the folder of a label, nil if there is none.
func (m *model) labelled(text string) *folder {
	for _, f := range m.folders {
		if strings.EqualFold(text, f.name) || strings.EqualFold(text, strings.ReplaceAll(strings.Trim(label(f.name), `"`), `\\`, `\`)) {
			return f
		}
	}
	return nil
}

// add puts a message into a folder, under Gmail as a label.
func (m *model) add(f *folder, msg *message) uint32 {
	if m.gmail && !gmailBin(f.name) {
		in := false
		m.everywhere(msg, func(g *folder, p *placed) {
			switch {
			case g.name == allMail:
				in = true
			case gmailBin(g.name): // a label takes it out of Spam and Trash
				m.remove(g, p.uid)
			}
		})
		if !in {
			m.put(m.find(allMail), msg)
		}
		defer m.relabelled(msg)
	}
	uid := m.put(f, msg)
	if m.gmail && (has(msg.flags, `\Flagged`) || f.name == starred) {
		m.setFlags(msg, edited(msg.flags, []string{`\Flagged`}, '+'))
	}
	return uid
}

// relabelled notes that the labels of a message are others.
func (m *model) relabelled(msg *message) {
	m.everywhere(msg, func(g *folder, p *placed) {
		if gmailBin(g.name) {
			p.modseq = m.bump()
			p.silent = p.modseq
		}
	})
}

// change tells everybody who idles.
func (p *Server) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Silently runs changes of which no MODSEQ tells.
func (p *Server) Silently(do func()) {
	p.mu.Lock()
	was := p.modseqs()
	p.mu.Unlock()
	do()
	p.mu.Lock()
	defer p.mu.Unlock()
	for m := range p.modseqs() {
		if old, known := was[m]; known {
			m.modseq = old
		} else {
			m.modseq = 1
		}
	}
}

func (m *model) modseqs() map[*placed]uint64 {
	out := map[*placed]uint64{}
	for _, f := range m.folders {
		for _, p := range f.msgs {
			out[p] = p.modseq
		}
	}
	return out
}

func (p *Server) must(name string) *folder {
	f := p.find(name)
	if f == nil {
		panic("persona: no folder " + name)
	}
	return f
}

// Create makes a folder. attrs are LIST attributes.
func (p *Server) Create(name string, attrs ...string) {
	p.change(func() { p.create(name, strings.Join(attrs, " ")) })
}

// Delete removes a folder with its messages.
func (p *Server) Delete(name string) {
	p.change(func() {
		f := p.must(name)
		p.folders = slices.DeleteFunc(p.folders, func(g *folder) bool { return f == g })
	})
}

// Rename renames one folder; its MAILBOXID, UIDVALIDITY and UIDs stay. Under Gmail those below it go with it, and no MODSEQ
// tells of it.
func (p *Server) Rename(from, to string) {
	p.change(func() {
		p.must(from).name = to
		for _, f := range p.folders {
			if rest, below := strings.CutPrefix(f.name, from+"/"); below && p.gmail {
				f.name = to + "/" + rest
			}
		}
	})
}

// Deliver puts a message into a folder and returns its UID. It was received on 1 March 2026, a second later for each UID.
func (p *Server) Deliver(folder string, raw []byte, flags ...string) (uid uint32) {
	p.change(func() {
		f := p.must(folder)
		p.ids++
		uid = p.add(f, &message{raw: bytes.Clone(raw), flags: slices.Clone(flags), id: p.ids,
			date: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(f.next) * time.Second)})
	})
	return uid
}

// DeliverAt is Deliver with a UID of one's own choice, which may be lower than others.
func (p *Server) DeliverAt(folder string, uid uint32, raw []byte, flags ...string) {
	p.change(func() {
		f := p.must(folder)
		_, i := f.find(uid)
		p.ids++
		f.msgs = slices.Insert(f.msgs, i, &placed{uid: uid, modseq: p.bump(), msg: &message{raw: bytes.Clone(raw), flags: slices.Clone(flags),
			id: p.ids, date: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(uid) * time.Second)}})
		f.next = max(f.next, uid+1)
	})
}

// Received makes a message have been received at another time. No MODSEQ tells of it.
func (p *Server) Received(folder string, uid uint32, at time.Time) {
	p.change(func() {
		if m, _ := p.must(folder).find(uid); m != nil {
			m.msg.date = at.UTC()
		}
	})
}

// Flag replaces the flags of a message.
func (p *Server) Flag(folder string, uid uint32, flags ...string) {
	p.change(func() {
		switch m, _ := p.must(folder).find(uid); {
		case m == nil:
		case p.gmail:
			p.setFlags(m.msg, flags)
		default: // no other folder has it
			m.msg.flags, m.modseq = slices.Clone(flags), p.bump()
		}
	})
}

func (m *model) setFlags(msg *message, flags []string) {
	msg.flags = slices.Clone(flags)
	m.everywhere(msg, func(_ *folder, p *placed) { p.modseq = m.bump() })
	if !m.gmail {
		return
	}
	shelf, all, at := m.find(starred), false, uint32(0)
	m.everywhere(msg, func(f *folder, p *placed) {
		all = all || f.name == allMail
		if f == shelf {
			at = p.uid
		}
	})
	switch star := has(flags, `\Flagged`); {
	case shelf == nil:
	case star && all && at == 0:
		m.put(shelf, msg)
	case !star && at != 0:
		m.remove(shelf, at)
	}
}

// Expunge removes messages from a folder; under Gmail that takes the label away.
func (p *Server) Expunge(folder string, uids ...uint32) {
	p.change(func() {
		for _, uid := range uids {
			p.take(p.must(folder), uid)
		}
	})
}

// take removes a message from a folder; under Gmail the copy in All Mail is told that a label is gone, and one that is
// removed from All Mail loses them all.
func (m *model) take(f *folder, uid uint32) bool {
	p, _ := f.find(uid)
	if p == nil {
		return false
	}
	m.remove(f, uid)
	if m.gmail {
		m.everywhere(p.msg, func(g *folder, q *placed) {
			switch {
			case gmailBin(f.name):
				m.remove(g, q.uid)
			case f.name == starred:
				m.setFlags(p.msg, edited(p.msg.flags, []string{`\Flagged`}, '-'))
			}
		})
		m.relabelled(p.msg)
	}
	return true
}

// Copy puts a copy of a message into another folder, under Gmail the label on it, and returns the new UID.
func (p *Server) Copy(folder string, uid uint32, to string) (n uint32) {
	p.change(func() {
		if m, _ := p.must(folder).find(uid); m != nil {
			n = p.copyTo(m, p.must(to))
		}
	})
	return n
}

func (m *model) copyTo(p *placed, to *folder) uint32 {
	msg := p.msg
	if !m.gmail {
		m.ids++
		msg = &message{raw: p.msg.raw, flags: slices.Clone(p.msg.flags), date: p.msg.date, id: m.ids}
	}
	for _, q := range to.msgs {
		if q.msg == msg {
			return q.uid
		}
	}
	if m.gmail && gmailBin(to.name) { // Spam and Trash take a message out of everything else
		m.everywhere(msg, func(g *folder, q *placed) { m.remove(g, q.uid) })
	}
	return m.add(to, msg)
}

// Move is Copy and Expunge in one.
func (p *Server) Move(folder string, uid uint32, to string) (n uint32) {
	p.change(func() { n = p.move(p.must(folder), uid, p.must(to)) })
	return n
}

func (m *model) move(from *folder, uid uint32, to *folder) uint32 {
	p, _ := from.find(uid)
	if p == nil || from == to && m.gmail {
		return 0
	}
	n := m.copyTo(p, to) // into the folder where it is too: then it has another UID
	if q, _ := from.find(uid); q == p {
		if m.gmail && gmailBin(from.name) && !gmailBin(to.name) && from.name == allMail {
			return n // nothing is ever moved out of All Mail
		}
		m.remove(from, uid)
		if m.gmail {
			m.relabelled(p.msg)
		}
	}
	return n
}

// Renew gives a folder another UIDVALIDITY, and its messages new UIDs from first on; first 0 leaves them as they are.
func (p *Server) Renew(folder string, validity, first uint32) {
	p.change(func() {
		f := p.must(folder)
		f.validity, f.gone = validity, nil
		if first == 0 {
			return
		}
		f.next = first
		for _, m := range f.msgs {
			m.uid, m.modseq = f.next, p.bump()
			f.next++
		}
	})
}

// Placed is one message as it lies in a folder.
type Placed struct {
	Folder           string
	UIDValidity, UID uint32
	Flags            []string // sorted
	Labels           []string // under Gmail the other folders in which it shows, if this is All Mail and that is not hidden; sorted
	SHA256           [32]byte
	Hidden           bool // the folder is
}

// Everything returns the true state of the mailbox, whatever the knobs make clients see.
func (p *Server) Everything() []Placed {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Placed
	for _, f := range p.folders {
		for _, m := range f.msgs {
			at := Placed{Folder: f.name, UIDValidity: f.validity, UID: m.uid, Flags: slices.Sorted(slices.Values(m.msg.flags)), SHA256: sha256.Sum256(m.msg.raw), Hidden: f.name == p.knobs.Hidden}
			if p.gmail && p.knobs.Hidden != allMail && f.name == allMail {
				at.Labels = []string{}
				p.everywhere(m.msg, func(g *folder, _ *placed) {
					if g != f {
						at.Labels = append(at.Labels, g.name)
					}
				})
				slices.Sort(at.Labels)
			}
			out = append(out, at)
			if p.knobs.Alias != "" && f.name != "INBOX" {
				at.Folder = p.knobs.Alias + f.name
				out = append(out, at)
			}
		}
	}
	return out
}

// UIDs returns the UIDs of a folder.
func (p *Server) UIDs(folder string) (out []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.must(folder).msgs {
		out = append(out, m.uid)
	}
	return out
}
