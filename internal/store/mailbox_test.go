package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// box is a mailbox under test with the right to write to it.
type box struct {
	t testing.TB
	*Mailbox
	s    *Store
	term mail.Term
}

func newBox(t testing.TB, p *place) *box {
	t.Helper()
	s := p.open(t)
	return addBox(t, s, "ada@example.com")
}

func addBox(t testing.TB, s *Store, email string) *box {
	t.Helper()
	_, m := addAccount(t, s, email)
	b := &box{t: t, Mailbox: m, s: s}
	var err error
	if b.term, err = m.NextTerm(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

// do applies a batch that must succeed.
func (b *box) do(batch Batch) Result {
	b.t.Helper()
	batch.Term = b.term
	r, err := b.Apply(context.Background(), batch)
	if err != nil {
		b.t.Fatalf("Apply: %v", err)
	}
	return r
}

func (b *box) folders(names ...string) {
	b.t.Helper()
	var list []mail.Folder
	for _, n := range names {
		list = append(list, folder(n, 1))
	}
	b.do(Batch{Folders: list})
}

func folder(name string, v mail.UIDValidity) mail.Folder {
	f := mail.Folder{ID: fid(name), RawName: name, Name: name, Delimiter: "/", Selectable: true, UIDValidity: v}
	if name == "Sent" {
		f.Role = mail.RoleSent
	}
	return f
}

func fid(name string) mail.FolderID { return mail.FolderID("f" + name) }

func ref(name string, uid mail.UID) PlacementRef { return refIn(name, 1, uid) }

func refIn(name string, v mail.UIDValidity, uid mail.UID) PlacementRef {
	return PlacementRef{Folder: fid(name), UIDValidity: v, UID: uid}
}

// letter is a message as a test describes it.
type letter struct {
	id       string // of the Message-ID; "" has none
	subject  string
	from, to string
	cc       string
	reply    string   // id of the parent
	refs     []string // ids
	day      int      // of INTERNALDATE and Date
	sec      int
	body     string
}

func (l letter) raw() []byte {
	var s strings.Builder
	field := func(name, v string) {
		if v != "" {
			fmt.Fprintf(&s, "%s: %s\r\n", name, v)
		}
	}
	field("Received", fmt.Sprintf("from a by b; %d", l.day))
	if l.from == "" {
		l.from = "Bob <bob@example.com>"
	}
	field("From", l.from)
	field("To", l.to)
	field("Cc", l.cc)
	field("Date", l.date().Format(time.RFC1123Z))
	field("Subject", l.subject)
	if l.id != "" {
		field("Message-ID", "<"+l.id+"@example.com>")
	}
	if l.reply != "" {
		field("In-Reply-To", "<"+l.reply+"@example.com>")
	}
	var refs []string
	for _, r := range l.refs {
		refs = append(refs, "<"+r+"@example.com>")
	}
	field("References", strings.Join(refs, " "))
	return []byte(s.String() + "\r\n" + l.body)
}

func (l letter) head() *mime.Message {
	return mime.ParseHeader([]byte(strings.ReplaceAll(string(l.raw()), "\r\n", "\n")))
}

func (l letter) date() time.Time {
	return time.Date(2026, 1, 1, 12, 0, l.sec, 0, time.UTC).AddDate(0, 0, l.day)
}

// at makes a copy of the letter that was found at the server.
func (b *box) at(r PlacementRef, l letter, flags ...mail.Flags) NewMessage {
	raw := l.raw()
	head := l.head()
	n := NewMessage{PlacementRef: r, InternalDate: l.date(), Size: int64(len(raw)), Head: head}
	n.FP, n.Strong = mime.Fingerprint(head)
	n.Threading = b.IDKey().ThreadKeys(head, n.FP)
	for _, f := range flags {
		n.Flags |= f
	}
	if !n.Strong {
		c := b.content(l)
		n.Content = &c
	}
	return n
}

// content stores the letter's bytes as blobs.
func (b *box) content(l letter) Content {
	b.t.Helper()
	raw := l.raw()
	items := []BlobData{{Kind: BlobRaw, Data: raw}}
	if l.body != "" {
		items = append(items, BlobData{Kind: BlobDisplay, Data: []byte(l.body)})
	}
	refs, err := b.PutBlobs(context.Background(), items)
	if err != nil {
		b.t.Fatal(err)
	}
	c := Content{Digest: sha256.Sum256(raw), Raw: refs[0], Size: int64(len(raw)), Snippet: l.body, Head: l.head()}
	if l.body != "" {
		c.Display = refs[1]
	}
	if strings.Contains(l.body, "attached") {
		c.Attachments = []mail.Part{{ID: "2", ContentType: "text/plain", Filename: "notes.txt", Size: 5}}
		c.Listed = true
	}
	return c
}

func (b *box) body(r PlacementRef, l letter) Body {
	return Body{PlacementRef: r, Content: b.content(l)}
}

// held is at with the bytes.
func (b *box) held(r PlacementRef, l letter, flags ...mail.Flags) NewMessage {
	n := b.at(r, l, flags...)
	c := b.content(l)
	n.Content = &c
	return n
}

func (b *box) get(id mail.MessageID) mail.Message {
	b.t.Helper()
	m, err := b.Message(context.Background(), id)
	if err != nil {
		b.t.Fatalf("message %s: %v", id, err)
	}
	return m
}

// log returns the changes after seq in short: kind and object, with what the data says.
func (b *box) log(after mail.Seq) []string {
	b.t.Helper()
	list, err := b.Changes(context.Background(), after, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		s := fmt.Sprintf("%v %s", c.Kind, c.Object)
		for _, f := range c.Data.Folders {
			s += " " + string(f)
		}
		out = append(out, strings.TrimSpace(s))
	}
	return out
}

func (b *box) wantLog(after mail.Seq, want ...string) {
	b.t.Helper()
	if got := b.log(after); !slices.Equal(got, want) {
		b.t.Errorf("changes after %d:\n got %q\nwant %q", after, got, want)
	}
}

func (b *box) seq() mail.Seq {
	b.t.Helper()
	s, err := b.Seq(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// ok checks the mailbox now.
func (b *box) ok() {
	b.t.Helper()
	problems, err := b.Check(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range problems {
		b.t.Errorf("Check: %s", p.What)
	}
}

func (b *box) sweep(before time.Time) Result {
	b.t.Helper()
	r, err := b.Sweep(context.Background(), b.term, before)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

var farFuture = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)

func (b *box) folder(name string) mail.Folder {
	b.t.Helper()
	f, err := b.Folder(context.Background(), fid(name))
	if err != nil {
		b.t.Fatalf("folder %s: %v", name, err)
	}
	return f
}

func wantKind(t testing.TB, err error, k mail.Kind) {
	t.Helper()
	if !mail.IsKind(err, k) {
		t.Errorf("error is %v, want kind %v", err, k)
	}
}
