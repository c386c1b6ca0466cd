package imap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

// login logs a user in on a private server.
func login(t testing.TB, d *realsrv.IMAP, user string, unilateral func(Unilateral)) *Session {
	t.Helper()
	d.AddUser(t, user)
	s, err := Dial(context.Background(), Options{Addr: d.TLSAddr, ServerName: "localhost", TLS: d.TLSConfig(t), OnUnilateral: unilateral})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.CloseNow() })
	if err := s.Login(context.Background(), user, d.Password); err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// message makes one with its CRLF at the end.
func message(i int) string {
	return fmt.Sprintf("From: a@example.org\r\nSubject: message %d\r\n\r\nbody %d\r\n", i, i)
}

func text(m string) AppendMessage {
	return AppendMessage{Body: strings.NewReader(m), Size: int64(len(m))}
}

// bodies fetches everything in the open mailbox.
func bodies(t testing.TB, s *Session) map[uint32]*Row {
	t.Helper()
	out := map[uint32]*Row{}
	check(t, s.Fetch(context.Background(), Range(1, Star), FetchOptions{Flags: true, InternalDate: true, Size: true, Body: true}, func(r *Row) error {
		out[r.UID] = r.Clone()
		return nil
	}))
	return out
}

func withoutRecent(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == `\Recent` })
}

func TestServerWrites(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{}, writesToServer)
}

func writesToServer(t *testing.T, d server) {
	ctx := context.Background()
	var gone UIDSet
	expunged := 0
	s := login(t, d.IMAP, "writer", func(u Unilateral) {
		switch u.Kind {
		case KindVanished:
			gone.AddSet(u.UIDs)
		case KindExpunge:
			expunged++
		}
	})
	shelf := `Regal "oben"`
	if d.dovecot == nil {
		shelf = "Regal 'oben' & unten" // Cyrus takes no quotes in names
	}
	// Folders.
	must[string](t)(s.Create(ctx, EncodeName("Bücher & Co")))
	check(t, s.Subscribe(ctx, EncodeName("Bücher & Co")))
	check(t, s.Rename(ctx, EncodeName("Bücher & Co"), EncodeName(shelf)))
	check(t, s.Unsubscribe(ctx, EncodeName("Bücher & Co")))
	if _, err := s.Create(ctx, EncodeName(shelf)); ClassOf(err) != Permanent || d.dovecot != nil && err.(*Error).Code != "ALREADYEXISTS" {
		t.Errorf("created twice: %v", err)
	}
	must[string](t)(s.Create(ctx, "gone"))
	check(t, s.Delete(ctx, "gone"))
	if err := s.Delete(ctx, "gone"); ClassOf(err) != Permanent {
		t.Errorf("deleted twice: %v", err)
	}
	var names []string
	for _, m := range must[[]Mailbox](t)(s.List(ctx, ListOptions{})) {
		names = append(names, m.Name)
	}
	if !slices.Contains(names, shelf) || slices.Contains(names, "gone") {
		t.Errorf("folders %q", names)
	}

	// Append: small, with flags and date, without its line end, large, not seekable, into nowhere.
	when := time.Date(2021, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
	m := text(message(1))
	m.Flags, m.Date = []string{`\Seen`, "$Work"}, when
	a := must[Appended](t)(s.Append(ctx, "INBOX", m))
	if len(a.UIDs) != 1 || a.UIDValidity == 0 {
		t.Errorf("appended %+v", a)
	}
	big := message(2) + strings.Repeat("line of sixteen\r\n", 100_000)
	for _, m := range []AppendMessage{text("From: b@example.org\r\n\r\nno end"), text(big), {Body: io.MultiReader(strings.NewReader(big)), Size: int64(len(big))}} {
		must[Appended](t)(s.Append(ctx, "INBOX", m))
	}
	if _, err := s.Append(ctx, "nowhere", text(big)); ClassOf(err) != Permanent || err.(*Error).Code != "TRYCREATE" || s.Err() != nil {
		t.Errorf("append into nowhere: %v", err)
	}
	if _, err := s.Append(ctx, "nowhere", text(message(9))); ClassOf(err) != Permanent || s.Err() != nil {
		t.Errorf("small append into nowhere: %v", err)
	}
	a = must[Appended](t)(s.AppendAll(ctx, "INBOX", []AppendMessage{text(message(5)), text(message(6)), text(big)}))
	if !slices.Equal(a.UIDs, []uint32{5, 6, 7}) {
		t.Errorf("multiappend %+v", a)
	}
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{CondStore: true}))
	got := bodies(t, s)
	want := []string{message(1), "From: b@example.org\r\n\r\nno end\r\n", big, big, message(5), message(6), big}
	if len(got) != len(want) {
		t.Fatalf("%d messages", len(got))
	}
	for i, w := range want {
		if r := got[uint32(i+1)]; !bytes.Equal(r.Body.Bytes, []byte(w)) {
			t.Errorf("message %d: %d bytes, want %d", i+1, len(r.Body.Bytes), len(w))
		}
	}
	if r := got[1]; !r.InternalDate.Equal(when) || !slices.Contains(r.Flags, "$Work") || !slices.Contains(r.Flags, `\Seen`) {
		t.Errorf("first %+v", r)
	}

	// Store, in many commands.
	s.o.Limits.Command = 90
	st := must[Stored](t)(s.Store(ctx, UIDs(1, 3, 5, 7, 99), StoreAdd, []string{`\Flagged`, "$Home"}, StoreOptions{}))
	if st.Done.String() != "1,3,5,7,99" || !st.Modified.Empty() {
		t.Errorf("stored %+v", st)
	}
	s.o.Limits.Command = 8000
	must[Stored](t)(s.Store(ctx, UIDs(3), StoreRemove, []string{`\Flagged`}, StoreOptions{}))
	must[Stored](t)(s.Store(ctx, UIDs(5), StoreReplace, nil, StoreOptions{}))
	got = bodies(t, s)
	if f := withoutRecent(got[1].Flags); len(f) != 4 {
		t.Errorf("flags of 1: %q", f)
	}
	if f := got[3].Flags; slices.Contains(f, `\Flagged`) || !slices.Contains(f, "$Home") {
		t.Errorf("flags of 3: %q", f)
	}
	if f := withoutRecent(got[5].Flags); len(f) != 0 {
		t.Errorf("flags of 5: %q", f)
	}
	st = must[Stored](t)(s.Store(ctx, Range(1, 7), StoreAdd, []string{`\Answered`}, StoreOptions{UnchangedSince: 1}))
	if st.Modified.Empty() || st.Done.String()+","+st.Modified.String() == "" {
		t.Errorf("conditional store %+v", st)
	}

	// Copy, move, expunge.
	cp := must[Copied](t)(s.Copy(ctx, UIDs(1, 2, 5, 99), EncodeName(shelf)))
	if to, ok := cp.Dest(5); !ok || to != 3 || cp.Done.String() != "1:2,5,99" {
		t.Errorf("copied %+v", cp)
	}
	if _, err := s.Copy(ctx, UIDs(1), "nowhere"); ClassOf(err) != Permanent {
		t.Errorf("copied to nowhere: %v", err)
	}
	cp = must[Copied](t)(s.Move(ctx, UIDs(6, 7), EncodeName(shelf)))
	if to, ok := cp.Dest(7); !ok || to != 5 {
		t.Errorf("moved %+v", cp)
	}
	if expunged != 2 {
		t.Errorf("%d expunges seen", expunged)
	}
	must[Stored](t)(s.Store(ctx, UIDs(1, 2), StoreAdd, []string{`\Deleted`}, StoreOptions{}))
	must[UIDSet](t)(s.Expunge(ctx, UIDs(2, 3)))
	if got = bodies(t, s); len(got) != 4 || got[2] != nil || got[1] == nil {
		t.Errorf("after UID EXPUNGE %d left", len(got))
	}
	check(t, s.Check(ctx))
	check(t, s.ExpungeAll(ctx))
	if got = bodies(t, s); len(got) != 3 || got[1] != nil {
		t.Errorf("after EXPUNGE %d left", len(got))
	}

	// Close removes what is marked, Unselect and a mailbox opened read-only do not.
	must[Stored](t)(s.Store(ctx, UIDs(3), StoreAdd, []string{`\Deleted`}, StoreOptions{}))
	check(t, s.Unselect(ctx))
	for i, want := range []uint32{3, 3, 2} {
		if in := must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{ReadOnly: i == 0})); in.Exists != want {
			t.Errorf("close %d: %d messages, want %d", i, in.Exists, want)
		}
		check(t, s.Close(ctx))
	}
	check(t, s.Logout(ctx))
}
