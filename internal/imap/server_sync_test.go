package imap

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

// filled logs in to a mailbox with n messages.
func filled(t testing.TB, d *realsrv.IMAP, user string, n int, unilateral func(Unilateral)) *Session {
	t.Helper()
	s := login(t, d, user, unilateral)
	ms := make([]AppendMessage, n)
	for i := range ms {
		ms[i] = text(message(i + 1))
	}
	must[Appended](t)(s.AppendAll(context.Background(), "INBOX", ms))
	return s
}

func TestServerQResync(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{}, resyncsWithServer)
}

func resyncsWithServer(t *testing.T, d server) {
	ctx := context.Background()
	var gone []string
	s := filled(t, d.IMAP, "resync", 20, func(u Unilateral) {
		if u.Kind == KindVanished {
			gone = append(gone, u.UIDs.String())
		}
	})
	if on := must[[]string](t)(s.Enable(ctx, "QRESYNC")); !slices.Contains(on, "QRESYNC") || !s.Enabled("QRESYNC") {
		t.Fatalf("enabled %q", on)
	}
	before := must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{CondStore: true}))
	if before.QResync || before.HighestModSeq == 0 {
		t.Errorf("plain select %+v", before)
	}
	// Another session changes things.
	o := login(t, d.IMAP, "resync", nil)
	must[*Selected](t)(o.Select(ctx, "INBOX", SelectOptions{}))
	must[Stored](t)(o.Store(ctx, UIDs(3, 4, 5, 18), StoreAdd, []string{`\Deleted`}, StoreOptions{}))
	must[UIDSet](t)(o.Expunge(ctx, Range(1, Star)))
	must[Stored](t)(o.Store(ctx, UIDs(7, 9), StoreAdd, []string{`\Flagged`}, StoreOptions{}))

	// VANISHED on whatever comes next, cut to what we know.
	s.KnownUIDs(UIDRange{4, 20})
	check(t, s.Noop(ctx))
	if !slices.Equal(gone, []string{"4:5,18"}) {
		t.Errorf("vanished %q", gone)
	}
	// A conditional store leaves alone what has changed, with a set that takes many commands.
	s.o.Limits.Command = 100
	st := must[Stored](t)(s.Store(ctx, UIDs(1, 7, 9, 11), StoreAdd, []string{"$Mine"}, StoreOptions{UnchangedSince: before.HighestModSeq}))
	if st.Modified.String() != "7,9" || st.Done.String() != "1,11" {
		t.Errorf("conditional store: %+v", st)
	}
	s.o.Limits.Command = 8000

	for name, q := range map[string]QResync{
		"known":     {Known: Range(1, 20)},
		"not known": {},
		"few known": {Known: UIDs(4, 18, 19)},
	} {
		q.UIDValidity, q.ModSeq = before.UIDValidity, before.HighestModSeq
		var rows []uint32
		q.Each = func(r *Row) error { rows = append(rows, r.UID); return nil }
		got := must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{QResync: &q}))
		want := map[string]string{"known": "3:5,18", "not known": "3:5,18", "few known": "4,18"}[name]
		if !got.QResync || got.Vanished.String() != want || got.Exists != 16 {
			t.Errorf("%s: %+v", name, got)
		}
		slices.Sort(rows)
		if name != "few known" && !slices.Equal(rows, []uint32{1, 7, 9, 11}) {
			t.Errorf("%s: rows %v", name, rows)
		}
	}
	// A known set too long for the command.
	var odd UIDSet
	for u := uint32(1); u < 400; u += 2 {
		odd.Add(u)
	}
	s.o.Limits.Command = 200
	got := must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{QResync: &QResync{UIDValidity: before.UIDValidity, ModSeq: before.HighestModSeq, Known: odd}}))
	if !got.QResync || got.Vanished.And(Range(1, 20)).String() != "3,5" {
		t.Errorf("long known set: %+v", got)
	}
	s.o.Limits.Command = 8000
	// Another UIDVALIDITY: nothing that is said may count.
	got = must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{QResync: &QResync{UIDValidity: 1, ModSeq: 1, Known: Range(1, 20)}}))
	if got.QResync || !got.Vanished.Empty() {
		t.Errorf("other UIDVALIDITY: %+v", got)
	}
	// UID FETCH with VANISHED.
	gone = nil
	rows := 0
	check(t, s.Fetch(ctx, Range(1, 20), FetchOptions{Flags: true, ChangedSince: before.HighestModSeq, Vanished: true}, func(*Row) error { rows++; return nil }))
	if rows != 4 || !slices.Equal(gone, []string{"3:5,18"}) {
		t.Errorf("fetch: %d rows, vanished %q", rows, gone)
	}
	// Expunges of our own come as VANISHED, too.
	gone = nil
	must[Stored](t)(s.Store(ctx, UIDs(20), StoreAdd, []string{`\Deleted`}, StoreOptions{}))
	must[UIDSet](t)(s.Expunge(ctx, UIDs(20)))
	must[string](t)(s.Create(ctx, "Trash2"))
	must[Copied](t)(s.Move(ctx, UIDs(19), "Trash2"))
	if !slices.Equal(gone, []string{"20", "19"}) {
		t.Errorf("vanished %q", gone)
	}
}

func TestServerCompress(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{Compress: true}, compressesWithServer)
}

func compressesWithServer(t *testing.T, d server) {
	ctx := context.Background()
	heard := make(chan Unilateral, 100)
	s := filled(t, d.IMAP, "press", 50, func(u Unilateral) {
		if u.Kind == KindExists || u.Kind == KindExpunge {
			heard <- u
		}
	})
	check(t, s.Compress(ctx))
	if err := s.Compress(ctx); ClassOf(err) != Permanent || s.Err() != nil || !s.Compressed() {
		t.Errorf("compressed twice: %v", err)
	}
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	if got := bodies(t, s); len(got) != 50 || string(got[50].Body.Bytes) != message(50) {
		t.Errorf("%d messages", len(got))
	}
	big := message(51) + strings.Repeat("line of sixteen\r\n", 200_000)
	must[Appended](t)(s.Append(ctx, "INBOX", text(big)))
	var buf bytes.Buffer
	check(t, s.Fetch(ctx, UIDs(51), FetchOptions{Body: true, Sink: func(Literal) (io.Writer, error) { return &buf, nil }}, func(r *Row) error { return r.Err }))
	if buf.String() != big {
		t.Errorf("%d bytes of %d", buf.Len(), len(big))
	}
	// IDLE through it.
	for len(heard) > 0 {
		<-heard
	}
	ictx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Idle(ictx) }()
	o := login(t, d.IMAP, "press", nil)
	must[Appended](t)(o.Append(ctx, "INBOX", text(message(52))))
	if u := <-heard; u.Kind != KindExists || u.Num != 52 {
		t.Errorf("heard %+v", u)
	}
	stop()
	check(t, <-done)
	check(t, s.Logout(ctx))
}

func TestServerInflateLimit(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{Compress: true}, inflatesFromServer)
}

func inflatesFromServer(t *testing.T, d server) {
	ctx := context.Background()
	s := login(t, d.IMAP, "bomb", nil)
	big := message(1) + strings.Repeat(strings.Repeat("a", 998)+"\r\n", 5_000)
	must[Appended](t)(s.Append(ctx, "INBOX", text(big)))
	fair := login(t, d.IMAP, "bomb", nil)
	fair.o.Limits.Inflate = 7_000_000
	check(t, fair.Compress(ctx))
	must[*Selected](t)(fair.Select(ctx, "INBOX", SelectOptions{}))
	for range 3 { // each command has the whole limit
		check(t, fair.Fetch(ctx, UIDs(1), FetchOptions{Body: true}, func(*Row) error { return nil }))
	}
	s.o.Limits.Inflate = 100_000
	check(t, s.Compress(ctx))
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	err := s.Fetch(ctx, UIDs(1), FetchOptions{Body: true}, func(*Row) error { return nil })
	if ClassOf(err) != Protocol || s.Err() == nil {
		t.Errorf("5 MB out of a few kB: %v", err)
	}
}

func TestDovecotNotify(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	ctx := context.Background()
	heard := make(chan string, 1000)
	s := filled(t, &d.IMAP, "notify", 3, func(u Unilateral) {
		switch u.Kind {
		case KindMailboxStatus:
			heard <- fmt.Sprintf("status %s %d", u.Mailbox.Name, u.Mailbox.Status.Messages)
		case KindMailbox:
			heard <- fmt.Sprintf("mailbox %s was %s", u.Mailbox.Name, u.Mailbox.OldName)
		case KindExists:
			heard <- fmt.Sprintf("exists %d", u.Num)
		case KindFetch:
			heard <- fmt.Sprintf("fetch %d %d", u.Row.UID, len(u.Row.Flags))
		case KindExpunge:
			heard <- fmt.Sprintf("expunge %d", u.Num)
		}
	})
	await := func(want string) {
		t.Helper()
		for got := range heard {
			if strings.HasPrefix(got, want) {
				return
			}
		}
	}
	must[string](t)(s.Create(ctx, "Work"))
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	check(t, s.Notify(ctx, true,
		NotifyGroup{Filter: NotifySelectedDelayed, Events: []NotifyEvent{NotifyNew, NotifyExpunge, NotifyFlags}, Fetch: &FetchOptions{Flags: true}},
		NotifyGroup{Filter: NotifyPersonal, Events: []NotifyEvent{NotifyNew, NotifyExpunge, NotifyMailboxName}}))
	await("status Work 0")
	o := login(t, &d.IMAP, "notify", nil)
	for i, listen := range []func(context.Context) error{s.Idle, s.Listen} {
		lctx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- listen(lctx) }()
		must[Appended](t)(o.Append(ctx, "Work", text(message(1))))
		await("status Work")
		if i == 0 { // outside of IDLE Dovecot keeps the open mailbox to itself
			must[Appended](t)(o.Append(ctx, "INBOX", text(message(4))))
			await("fetch")
		}
		stop()
		check(t, <-done)
	}
	check(t, o.Rename(ctx, "Work", "Play"))
	lctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Listen(lctx) }()
	await("mailbox")
	stop()
	check(t, <-done)
	if err := s.Notify(ctx, false, NotifyGroup{Filter: "NONSENSE"}); ClassOf(err) != Permanent {
		t.Errorf("nonsense: %v", err)
	}
	if err := s.Notify(ctx, false, NotifyGroup{Filter: NotifyInboxes, Events: []NotifyEvent{"AnnotationChange"}}); err == nil || s.Err() != nil {
		t.Errorf("event nobody has: %v, dead: %v", err, s.Err())
	}
	check(t, s.Notify(ctx, false, NotifyGroup{Filter: NotifyInboxes, Events: []NotifyEvent{NotifyNew, NotifyExpunge}},
		NotifyGroup{Filter: NotifySubtree, Mailboxes: []string{"Play"}}))
	check(t, s.Notify(ctx, false))
	check(t, s.Logout(ctx))
}

func TestServerSections(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{}, takesSections)
}

func takesSections(t *testing.T, d server) {
	ctx := context.Background()
	s := login(t, d.IMAP, "pieces", nil)
	msg := "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nfirst part\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		"AAECAwQA\r\n--b--\r\n"
	must[Appended](t)(s.Append(ctx, "INBOX", text(msg)))
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	for _, streamed := range []bool{false, true} {
		o := FetchOptions{Body: true, Offset: 10, Length: 20, Sections: []Section{{Path: "1"}, {Path: "2.MIME"}, {Path: "2", Binary: true},
			{Path: "TEXT", Offset: 3, Length: 5}}}
		var asked []string
		if streamed {
			o.Sink = func(l Literal) (io.Writer, error) {
				asked = append(asked, fmt.Sprintf("%s %d %v", l.Section, l.Offset, l.Binary))
				return &bytes.Buffer{}, nil
			}
		}
		n := 0
		check(t, s.Fetch(ctx, UIDs(1), o, func(r *Row) error {
			n++
			content := func(b Body) string {
				if streamed {
					return b.W.(*bytes.Buffer).String()
				}
				return string(b.Bytes)
			}
			if r.Err != nil || !r.Body.Has || r.Body.Offset != 10 || content(r.Body) != msg[10:30] {
				t.Errorf("piece %+v", r.Body)
			}
			got := map[string]string{}
			for _, x := range r.Sections {
				got[fmt.Sprint(x.Path, " ", x.Offset, " ", x.Binary)] = content(x.Body)
			}
			for path, want := range map[string]string{
				"1 0 false": "first part", "2 0 true": "\x00\x01\x02\x03\x04\x00", "TEXT 3 false": "\r\nCon",
				"2.MIME 0 false": "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n",
			} {
				if got[path] != want {
					t.Errorf("streamed=%v: section %s is %q, want %q", streamed, path, got[path], want)
				}
			}
			return nil
		}))
		if n != 1 || streamed && len(asked) != 5 {
			t.Errorf("%d rows, sink asked %q", n, asked)
		}
	}
	// A huge message in pieces, put together again.
	big := message(2) + strings.Repeat("line of sixteen\r\n", 30_000)
	must[Appended](t)(s.Append(ctx, "INBOX", text(big)))
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	var all bytes.Buffer
	for last := int64(-1); last != 0; {
		check(t, s.Fetch(ctx, UIDs(2), FetchOptions{Body: true, Offset: int64(all.Len()), Length: 100_000}, func(r *Row) error {
			if r.Body.Offset != int64(all.Len()) {
				t.Errorf("offset %d, want %d", r.Body.Offset, all.Len())
			}
			last = r.Body.Size
			all.Write(r.Body.Bytes)
			return r.Err
		}))
	}
	if all.String() != big {
		t.Errorf("%d bytes of %d", all.Len(), len(big))
	}
	for _, bad := range []Section{{Path: "x"}, {Path: "1]"}, {Path: "0"}, {Path: "TEXT", Binary: true}, {Offset: 5}, {Offset: -1, Length: 3}, {Path: "MIME"}} {
		if err := s.Fetch(ctx, UIDs(1), FetchOptions{Sections: []Section{bad}}, nil); ClassOf(err) != Permanent {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestDovecotSearchSave(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	ctx := context.Background()
	s := filled(t, &d.IMAP, "saver", 10, nil)
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	must[Stored](t)(s.Store(ctx, UIDs(2, 4, 8), StoreAdd, []string{`\Flagged`}, StoreOptions{}))
	check(t, s.SearchSave(ctx, "FLAGGED"))
	var got []uint32
	check(t, s.FetchSaved(ctx, FetchOptions{Flags: true, Size: true}, func(r *Row) error { got = append(got, r.UID); return r.Err }))
	if !slices.Equal(got, []uint32{2, 4, 8}) {
		t.Errorf("saved %v", got)
	}
	if set := must[UIDSet](t)(s.Search(ctx, "UNFLAGGED")); set.String() != "1,3,5:7,9:10" {
		t.Errorf("search %s", set)
	}
	if err := s.SearchSave(ctx, "NONSENSE"); err == nil || s.Err() != nil {
		t.Errorf("nonsense: %v", err)
	}
}

func TestServerQuota(t *testing.T) {
	t.Parallel()
	big := message(1) + strings.Repeat("line of sixteen\r\n", 100_000)
	limited := func(t *testing.T, d *realsrv.IMAP, want ...Quota) {
		ctx := context.Background()
		s := filled(t, d, "limited", 3, nil)
		got := must[[]Quota](t)(s.Quotas(ctx, "INBOX"))
		for _, w := range want {
			if !slices.ContainsFunc(got, func(q Quota) bool {
				return q.Root == w.Root && q.Resource == w.Resource && q.Limit == w.Limit && q.Usage >= w.Usage
			}) {
				t.Errorf("quotas %+v, want %+v", got, w)
			}
		}
		// A refusal that comes while or before the message is sent, with the session alive after it.
		if _, err := s.Append(ctx, "INBOX", text(big)); ClassOf(err) != Permanent || s.Err() != nil {
			t.Errorf("too big: %v, dead: %v", err, s.Err())
		}
		check(t, s.Noop(ctx))
	}
	t.Run("dovecot", func(t *testing.T) {
		t.Parallel()
		d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Extra: "mail_plugins = $mail_plugins quota\nprotocol imap {\n  mail_plugins = $mail_plugins imap_quota\n}\n" +
			"plugin {\n  quota = maildir:User quota\n  quota_rule = *:storage=1G:messages=1000\n  quota_max_mail_size = 1M\n}\n"})
		limited(t, &d.IMAP, Quota{"User quota", "MESSAGE", 3, 1000}, Quota{"User quota", "STORAGE", 0, 1 << 20})
	})
	t.Run("cyrus", func(t *testing.T) {
		t.Parallel()
		c := realsrv.StartCyrus(t, realsrv.CyrusOptions{Quota: 1000})
		limited(t, &c.IMAP, Quota{"INBOX", "STORAGE", 0, 1000})
	})
}

// What only Cyrus has: ids that outlive moves (RFC 8474), and uses of new folders (RFC 6154 3).
func TestCyrusObjects(t *testing.T) {
	t.Parallel()
	c := realsrv.StartCyrus(t, realsrv.CyrusOptions{})
	ctx := context.Background()
	s := login(t, &c.IMAP, "ann", nil)
	first := "Message-ID: <1@example.org>\r\nSubject: thread\r\n\r\none\r\n"
	reply := "Message-ID: <2@example.org>\r\nIn-Reply-To: <1@example.org>\r\nReferences: <1@example.org>\r\nSubject: Re: thread\r\n\r\ntwo\r\n"
	must[Appended](t)(s.AppendAll(ctx, "INBOX", []AppendMessage{text(first), text(reply), text(message(3))}))
	ids := func() (out []Row) {
		check(t, s.Fetch(ctx, Range(1, Star), FetchOptions{ObjectID: true}, func(r *Row) error {
			out = append(out, *r.Clone())
			return r.Err
		}))
		return out
	}
	in := must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	st := must[StatusData](t)(s.Status(ctx, "INBOX", StatusMailboxID, StatusMessages, StatusSize, StatusHighestModSeq))
	if limit, ok := s.Caps().AppendLimit(); !ok || limit <= 0 { // asked for the limit of a mailbox it says BAD
		t.Errorf("limit of a message: %d", limit)
	}
	if in.MailboxID == "" || st.MailboxID != in.MailboxID || st.Has&(HasSize|HasHighestModSeq) != HasSize|HasHighestModSeq {
		t.Errorf("selected %+v, status %+v", in, st)
	}
	before := ids()
	if len(before) != 3 || before[0].EmailID == "" || before[0].EmailID == before[1].EmailID || before[0].ThreadID == "" ||
		before[0].ThreadID != before[1].ThreadID || before[0].ThreadID == before[2].ThreadID {
		t.Fatalf("ids %+v", before)
	}
	must[string](t)(s.Create(ctx, "Keep", `\Important`))
	if list := must[[]Mailbox](t)(s.List(ctx, ListOptions{Pattern: "Keep", SpecialUse: true})); len(list) != 1 || !strings.Contains(strings.ToLower(fmt.Sprint(list[0].Attrs)), `\important`) {
		t.Errorf("made for a use: %+v", list)
	}
	id := must[string](t)(s.Create(ctx, "Elsewhere"))
	must[Copied](t)(s.Move(ctx, UIDs(before[1].UID), "Elsewhere"))
	check(t, s.Rename(ctx, "Elsewhere", "There"))
	if got := must[*Selected](t)(s.Select(ctx, "There", SelectOptions{})); got.MailboxID != id {
		t.Errorf("folder %s is %s now", id, got.MailboxID)
	}
	if got := ids(); len(got) != 1 || got[0].EmailID != before[1].EmailID || got[0].ThreadID != before[1].ThreadID {
		t.Errorf("after the move %+v, before %+v", got, before[1])
	}
	// Bytes that no text may hold (RFC 3516 4.4).
	raw := "Subject: binary\r\nContent-Transfer-Encoding: binary\r\nContent-Type: application/octet-stream\r\nMIME-Version: 1.0\r\n\r\na\xff\xfe\r\n"
	m := text(raw)
	m.Binary = true
	must[Appended](t)(s.Append(ctx, "There", m))
	check(t, s.Logout(ctx))
}

func TestServerSASL(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{Password: "pencil", Extra: "auth_mechanisms = plain login scram-sha-256 scram-sha-1\n"}, authenticates)
}

func authenticates(t *testing.T, d server) {
	d.AddUser(t, "ann")
	ctx := context.Background()
	open := func() *Session {
		t.Helper()
		s, err := Dial(ctx, Options{Addr: d.TLSAddr, ServerName: "localhost", TLS: d.TLSConfig(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.CloseNow() })
		return s
	}
	for _, m := range []Mechanism{SCRAMSHA256("ann", "pencil"), SASLPlain("ann", "pencil"), SASLLogin("ann", "pencil")} {
		s := open()
		if err := s.Authenticate(ctx, OAuthBearer("ann", "token", "")); ClassOf(err) != Permanent {
			t.Errorf("not offered: %v", err)
		}
		check(t, s.Authenticate(ctx, m))
		must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
		check(t, s.Logout(ctx))
	}
	s := open()
	for _, m := range []Mechanism{SCRAMSHA256("ann", "pen"), SASLPlain("ann", "pen"), SASLLogin("ann", "pen")} {
		if err := s.Authenticate(ctx, m); ClassOf(err) != AuthFailed || s.Err() != nil {
			t.Errorf("%s with a wrong password: %v", m.Name(), err)
		}
	}
	// Without the initial response, and with SCRAM, then LOGIN as all there is.
	names := s.Caps()
	delete(names.m, "SASL-IR")
	delete(names.m, "AUTH=PLAIN")
	names.m["LOGINDISABLED"] = struct{}{}
	check(t, s.Login(ctx, "ann", "pencil"))
	s = open()
	names = s.Caps()
	delete(names.m, "AUTH=PLAIN")
	delete(names.m, "AUTH=SCRAM-SHA-256")
	names.m["LOGINDISABLED"] = struct{}{}
	check(t, s.Login(ctx, "ann", "pencil"))
	s = open()
	names = s.Caps()
	delete(names.m, "SASL-IR")
	check(t, s.Login(ctx, "ann", "pencil"))
}

// withTokens makes Dovecot take access tokens, which it checks by itself (RFC 7519); sign makes one.
func withTokens(t *testing.T) (extra string, sign func(until time.Time) string) {
	dir := t.TempDir()
	key := []byte("a key that only Dovecot and this test know")
	check(t, os.MkdirAll(filepath.Join(dir, "default/HS256"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "default/HS256/default"), []byte(base64.StdEncoding.EncodeToString(key)), 0o644))
	conf := filepath.Join(dir, "oauth.conf")
	check(t, os.WriteFile(conf, fmt.Appendf(nil, "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=%s/\n"+
		"username_attribute = email\nopenid_configuration_url = https://login.example.org/openid\nscope = mail\n", dir), 0o644))
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) { // it reads them as another user
		check(t, os.Chmod(p, 0o755))
	}
	extra = "auth_mechanisms = $auth_mechanisms xoauth2 oauthbearer\npassdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = " + conf + "\n}\n"
	return extra, func(until time.Time) string {
		enc := base64.RawURLEncoding.EncodeToString
		text := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
			enc(fmt.Appendf(nil, `{"sub":"ann","email":"ann","scope":"mail","iat":%d,"exp":%d}`, time.Now().Add(-time.Minute).Unix(), until.Unix()))
		return text + "." + enc(mac(key, text))
	}
}

func TestDovecotTokens(t *testing.T) {
	t.Parallel()
	extra, sign := withTokens(t)
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Extra: extra})
	good, old := sign(time.Now().Add(time.Hour)), sign(time.Now().Add(-time.Second))
	ctx := context.Background()
	for name, mech := range map[string]func(user, token string) Mechanism{
		"XOAUTH2":     XOAuth2,
		"OAUTHBEARER": func(user, token string) Mechanism { return OAuthBearer(user, token, d.TLSAddr) },
	} {
		s := must[*Session](t)(Dial(ctx, Options{Addr: d.TLSAddr, ServerName: "localhost", TLS: d.TLSConfig(t)}))
		err := s.Authenticate(ctx, mech("ann", old))
		var why *OAuthError
		if ClassOf(err) != AuthFailed || s.Err() != nil || !errors.As(err, &why) || why.Status == "" || strings.Contains(err.Error(), old) {
			t.Errorf("%s with an old token: %v, dead: %v", name, err, s.Err())
		}
		// The session can be used again.
		check(t, s.Authenticate(ctx, mech("ann", good)))
		must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
		check(t, s.Logout(ctx))
	}
}
