package indexer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mailbox is one account of a store, to which messages can be delivered.
type mailbox struct {
	*store.Mailbox
	t    *testing.T
	acct mail.AccountID
	term mail.Term
	n    int

	unsynced bool // its initial sync goes on
}

func setup(t *testing.T, accounts int) (*store.Store, []*mailbox) {
	t.Helper()
	master := make([]byte, 32)
	rand.Read(master)
	keys, err := vault.NewKeyring(master)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		problems, err := s.Check(context.Background())
		if err != nil || len(problems) > 0 {
			t.Errorf("check: %v, %v", problems, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	app, err := s.DefaultApp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []*mailbox
	for i := range accounts {
		a := mail.Account{ID: mail.AccountID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)), App: app.ID, Email: fmt.Sprintf("ada%d@example.test", i), Provider: "imap"}
		if err := s.CreateAccount(t.Context(), a, mail.Credentials{IMAPPassword: mail.NewSecret("x")}); err != nil {
			t.Fatal(err)
		}
		mb, err := s.Mailbox(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		m := &mailbox{Mailbox: mb, t: t, acct: a.ID}
		if m.term, err = mb.NextTerm(t.Context()); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return s, out
}

func (m *mailbox) deliver(word string) {
	m.t.Helper()
	m.n++
	raw := fmt.Appendf(nil, "Message-ID: <%d@example.test>\r\nFrom: bob@example.test\r\nSubject: s%d\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\n\r\n%s\r\n", m.n, m.n, word)
	refs, err := m.PutBlobs(m.t.Context(), []store.BlobData{{Kind: store.BlobRaw, Data: raw}})
	if err != nil {
		m.t.Fatal(err)
	}
	head := mime.ParseHeader(raw)
	n := store.NewMessage{PlacementRef: store.PlacementRef{Folder: "fINBOX", UIDValidity: 1, UID: mail.UID(m.n)}, InternalDate: head.Date, Size: int64(len(raw)), Head: head,
		Content: &store.Content{Digest: sha256.Sum256(raw), Raw: refs[0], Size: int64(len(raw)), Head: head}}
	n.FP, n.Strong = mime.Fingerprint(head)
	n.Threading = m.IDKey().ThreadKeys(head, n.FP)
	b := store.Batch{Term: m.term, New: []store.NewMessage{n}, Done: !m.unsynced}
	if m.n == 1 {
		b.Folders = []mail.Folder{{ID: "fINBOX", RawName: "INBOX", Name: "INBOX", Selectable: true, UIDValidity: 1}}
	}
	if _, err := m.Apply(m.t.Context(), b); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mailbox) finds(word string, want int) {
	m.t.Helper()
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	if p, err := m.AwaitIndex(m.t.Context(), timeout.C); err != nil || p.Behind {
		m.t.Fatalf("the index does not catch up: %+v, %v", p, err)
	}
	q, err := query.Parse(word, time.Now())
	if err != nil {
		m.t.Fatal(err)
	}
	list, _, err := m.Messages(m.t.Context(), store.MessageQuery{Search: q})
	if err != nil || len(list) != want {
		m.t.Errorf("%s: %d messages (%v), want %d", word, len(list), err, want)
	}
}

// never is a clock on which no time passes.
func never(time.Duration) <-chan time.Time { return nil }

func TestFollows(t *testing.T) {
	t.Parallel()
	s, boxes := setup(t, 3)
	boxes[0].deliver("before the start")
	x := New(Options{Store: s, After: never})
	x.Start(t.Context())
	defer x.Stop()
	boxes[0].finds("start", 1) // by the first look
	for i := range 5 {
		for _, m := range boxes {
			m.deliver(fmt.Sprint("word", i))
		}
	}
	for _, m := range boxes { // by hints
		m.finds("word4", 1)
		m.finds("word*", 5)
	}
	if err := boxes[1].DropIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	boxes[1].deliver("again") // whatever was there is found again, too
	boxes[1].finds("word*", 5)
}

// While an initial sync goes on, the index leaves it most of the time; with its end the rest ends too.
func TestRests(t *testing.T) {
	t.Parallel()
	s, boxes := setup(t, 1)
	m := boxes[0]
	m.unsynced = true
	rests := make(chan chan time.Time)
	x := New(Options{Store: s, After: func(d time.Duration) <-chan time.Time {
		if d >= lookEvery {
			return nil
		}
		if d < time.Second {
			t.Errorf("a rest of %v", d)
		}
		c := make(chan time.Time)
		rests <- c
		return c
	}})
	m.deliver("first")
	x.Start(t.Context())
	defer x.Stop()
	(<-rests) <- time.Time{} // after the index was begun
	over := <-rests          // after the message
	m.deliver("second")
	m.deliver("third")
	if p, err := m.SearchProgress(t.Context()); err != nil || p.Indexed != 1 || !p.Behind {
		t.Errorf("in the rest: %+v, %v", p, err)
	}
	over <- time.Time{}
	<-rests
	m.finds("third", 1)
	m.unsynced = false
	m.deliver("fourth") // and the sync is done: nobody waits for the rest to end
	m.finds("fourth", 1)
}

func TestStartStop(t *testing.T) {
	t.Parallel()
	s, boxes := setup(t, 1)
	x := New(Options{Store: s, After: never})
	x.Stop()
	for i := range 20 {
		x.Start(t.Context())
		x.Start(t.Context())
		if i%3 == 0 {
			boxes[0].deliver("x")
		}
		x.Stop()
		x.Stop()
	}
	x.Start(t.Context())
	boxes[0].finds("x", 7)
	x.Stop()
}

// A run that is stopped midway leaves an index that the next one goes on with.
func TestReindex(t *testing.T) {
	t.Parallel()
	s, boxes := setup(t, 1)
	m := boxes[0]
	m.deliver("one")
	m.deliver("two")
	steps := 0
	count := func(store.SearchProgress) { steps++ }
	if p, err := Reindex(t.Context(), s, m.acct, false, count); err != nil || p != (store.SearchProgress{Indexed: 2, Total: 2}) || steps == 0 {
		t.Fatalf("%+v, %v, %d steps", p, err, steps)
	}
	m.finds("one", 1)

	ctx, cancel := context.WithCancel(t.Context())
	var last store.SearchProgress
	_, err := Reindex(ctx, s, m.acct, false, func(p store.SearchProgress) {
		if last = p; p.Behind {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !last.Behind {
		t.Fatalf("stopped at %+v: %v", last, err)
	}
	if p, err := Reindex(t.Context(), s, m.acct, true, count); err != nil || p != (store.SearchProgress{Indexed: 2, Total: 2}) {
		t.Fatalf("%+v, %v", p, err)
	}
	m.finds("two", 1)
	steps = 0
	if _, err := Reindex(t.Context(), s, m.acct, true, count); err != nil || steps != 1 {
		t.Fatalf("nothing was left to do: %d steps, %v", steps, err)
	}
	if _, err := Reindex(t.Context(), s, "none", false, count); !mail.IsKind(err, mail.NotFound) {
		t.Errorf("no such account: %v", err)
	}
}
