package model

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// letter is a message, of which there may be several copies. Its bytes never change.
type letter struct {
	raw     []byte
	sum     [32]byte
	subject *subject
	draft   bool

	busy   bool // an application changes it, since the mailbox was last settled
	spread bool // it has copies of which Posthorn may not know
}

// subject is what has one public id: a message, or a draft in all its versions.
type subject struct {
	n         int
	id        string // once it was seen
	header    string // by which others may look the same
	ambiguous *int   // how many messages have this header
}

// copied is a copy of a letter in a folder.
type copied struct {
	*letter
	flags []string // sorted
}

func (c *copied) String() string { return fmt.Sprintf("%d", c.subject.n) }

func (c *copied) set(flag string, on bool) {
	c.flags = slices.DeleteFunc(slices.Clone(c.flags), func(f string) bool { return f == flag })
	if on {
		c.flags = append(c.flags, flag)
		slices.Sort(c.flags)
	}
}

// folder is a folder, whatever it is called.
type folder struct {
	name   string
	copies []*copied

	// Since the mailbox was last settled:
	busy       bool // an application moves something here or away
	target     bool // here, or a request relies on its copies
	left       bool // something has left it
	renamed    bool
	renumbered bool

	seen  seen // when it was last settled
	flips int  // how often it may have shown another UIDVALIDITY
}

// known tells whether Posthorn can still tell that it is the folder it was.
func (f *folder) known() bool {
	return !f.renamed || !f.left && !f.renumbered && f.seen.messages > 0
}

// bears tells whether a folder that an application names stays known when something more is done to it.
func (f *folder) bears(does func(*folder)) bool {
	now := *f
	does(&now)
	return !f.target || now.known()
}

func leave(f *folder)    { f.left = true }
func renumber(f *folder) { f.renumbered = true }
func rename(f *folder)   { f.renamed = true }

// seen is what was known of a folder when the mailbox was last settled.
type seen struct {
	id       string
	validity uint32
	messages int
}

func (f *folder) String() string { return fmt.Sprintf("%q", f.name) }

// special folders keep their names and are never deleted.
func (f *folder) special() bool {
	return slices.Contains([]string{"INBOX", "Drafts", "Sent", "Trash"}, f.name)
}

func (f *folder) remove(c *copied) {
	f.copies = slices.DeleteFunc(f.copies, func(o *copied) bool { return o == c })
	f.left = true
}

// mailbox is what the mailbox should hold.
type mailbox struct {
	r       *rand.Rand
	folders []*folder
	headers map[string]*int
	flips   map[string]int // as those of a folder, by name
	letters int            // that there ever were
	names   int            // of folders that were made up
}

func newMailbox(r *rand.Rand) *mailbox {
	b := &mailbox{r: r, headers: map[string]*int{}, flips: map[string]int{}}
	for _, name := range []string{"INBOX", "Drafts", "Sent", "Trash", "Archive", "Kunden/Süd", "Work"} {
		b.folders = append(b.folders, &folder{name: name})
	}
	return b
}

func (b *mailbox) folder(name string) *folder {
	for _, f := range b.folders {
		if f.name == name {
			return f
		}
	}
	return nil
}

func pick[T any](r *rand.Rand, list []T) (x T, ok bool) {
	if len(list) == 0 {
		return x, false
	}
	return list[r.IntN(len(list))], true
}

// some picks a few of a list.
func some[T any](r *rand.Rand, list []T, most int) []T {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(len(list), 1+r.IntN(most))]
}

func (b *mailbox) any() *folder {
	f, _ := pick(b.r, b.folders)
	return f
}

// from is where, for copies that are to leave the folder.
func (b *mailbox) from(ok func(*copied) bool) (*folder, []*copied) {
	if f, list := b.where(ok); f != nil && f.bears(leave) {
		return f, list
	}
	return nil, nil
}

// where returns a folder with copies that ok accepts, and these.
func (b *mailbox) where(ok func(*copied) bool) (*folder, []*copied) {
	type choice struct {
		f    *folder
		list []*copied
	}
	var all []choice
	for _, f := range b.folders {
		var list []*copied
		for _, c := range f.copies {
			if ok(c) {
				list = append(list, c)
			}
		}
		if len(list) > 0 {
			all = append(all, choice{f, list})
		}
	}
	x, _ := pick(b.r, all)
	return x.f, x.list
}

// free are copies that other programs may touch.
func free(c *copied) bool { return !c.busy }

// mail are those that are no drafts.
func mail(c *copied) bool { return !c.busy && !c.draft }

func (b *mailbox) size() (n int) {
	for _, f := range b.folders {
		n += len(f.copies)
	}
	return n
}

// places returns the folders of a letter, one for each copy, and the copies.
func (b *mailbox) places(l *letter) (folders []*folder, copies []*copied) {
	for _, f := range b.folders {
		for _, c := range f.copies {
			if c.letter == l {
				folders, copies = append(folders, f), append(copies, c)
			}
		}
	}
	return folders, copies
}

// all returns every letter there is, once, in order.
func (b *mailbox) all() (list []*letter) {
	for _, f := range b.folders {
		for _, c := range f.copies {
			if !slices.Contains(list, c.letter) {
				list = append(list, c.letter)
			}
		}
	}
	return list
}

// write makes a letter with these header fields. Each has a number by which it is found at the server; Posthorn does not look at it.
func (b *mailbox) write(header string) *letter {
	b.letters++
	if b.headers[header] == nil {
		b.headers[header] = new(int)
	}
	*b.headers[header]++
	text := strings.Repeat(fmt.Sprintf("line of letter %d\r\n", b.letters), 1+b.r.IntN(30))
	raw := fmt.Appendf(nil, "%sX-Model: %d\r\n\r\n%s", header, b.letters, text)
	return &letter{raw: raw, sum: sha256.Sum256(raw), subject: &subject{n: b.letters, header: header, ambiguous: b.headers[header]}}
}

// header makes header fields, of a new message or an answer.
func (b *mailbox) header(messageID bool) string {
	n := b.letters + 1
	var h strings.Builder
	fmt.Fprintf(&h, "From: Mira <mira@example.com>\r\nTo: Otto <otto%d@example.net>\r\nSubject: letter %d\r\nDate: Mon, 02 Nov 2026 10:%02d:%02d +0000\r\n", n%7, n%40, n/60%60, n%60)
	if messageID {
		fmt.Fprintf(&h, "Message-ID: <letter%d@example.com>\r\n", n)
		if n > 1 && b.r.IntN(3) == 0 {
			fmt.Fprintf(&h, "In-Reply-To: <letter%d@example.com>\r\n", 1+b.r.IntN(n-1))
		}
	}
	return h.String()
}

// edit makes the next version of a draft.
func (b *mailbox) edit(old *letter) *letter {
	l := b.write(strings.Replace(old.subject.header, "Subject: ", "Subject: edited ", 1))
	l.subject, l.draft = old.subject, true
	return l
}

// steady tells whether a folder may show another UIDVALIDITY, and counts that it does: where it does so for the third time within an
// hour it means nothing any more. Whether Posthorn takes a folder for the one that had its name depends on what it sees.
func (b *mailbox) steady(list ...*folder) bool {
	for _, f := range list {
		if f.flips >= 2 || b.flips[f.name] >= 2 {
			return false
		}
	}
	for _, f := range list {
		f.flips++
		b.flips[f.name]++
	}
	return true
}

// under tells whether a folder is another or lies in it.
func under(f *folder, name string) bool { return f.name == name || strings.HasPrefix(f.name, name+"/") }

func (b *mailbox) taken(name string) bool {
	return slices.ContainsFunc(b.folders, func(f *folder) bool { return under(f, name) })
}

// newName returns a name that no folder has, sometimes one that a folder had before.
func (b *mailbox) newName() string {
	known := []string{"Archive", "Work", "Work/2025", "Kunden", "Kunden/Süd", "Kunden/Nord", "受信", "A & B", "Lists"}
	if name, _ := pick(b.r, known); !b.taken(name) && b.steady(&folder{name: name}) {
		return name
	}
	b.names++
	return fmt.Sprintf("Folder %d", b.names)
}

// rename gives a folder and those in it other names.
func (b *mailbox) rename(from, to string) {
	for _, f := range b.folders {
		if under(f, from) {
			f.renamed = true
			f.name = to + strings.TrimPrefix(f.name, from)
		}
	}
}

// plain are folders that may be renamed.
func (b *mailbox) plain() (list []*folder) {
	for _, f := range b.folders {
		if !f.special() && !slices.ContainsFunc(b.folders, func(o *folder) bool { return under(o, f.name) && !o.bears(rename) }) {
			list = append(list, f)
		}
	}
	return list
}

// leaves are folders that may be deleted: nothing lies in them, and no application uses them.
func (b *mailbox) leaves() (list []*folder) {
	for _, f := range b.plain() {
		parent := slices.ContainsFunc(b.folders, func(o *folder) bool { return o != f && under(o, f.name) })
		if !parent && !f.busy && !slices.ContainsFunc(f.copies, func(c *copied) bool { return c.busy }) {
			list = append(list, f)
		}
	}
	return list
}
