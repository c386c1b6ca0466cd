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

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, d *realsrv.IMAP, sec Security, heard func(Unilateral)) *Session {
	t.Helper()
	o := Options{Addr: d.Addr, Security: sec, TLS: d.TLSConfig(t), OnUnilateral: heard}
	if sec == TLS {
		o.Addr = d.TLSAddr
	}
	s, err := Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.CloseNow() })
	return s
}

func TestServerRead(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{}, readsServer)
}

func readsServer(t *testing.T, d server) {
	var want []string
	for i := range 30 {
		msg := fmt.Sprintf("From: a@example.org\r\nSubject: number %d\r\n\r\n%s", i, strings.Repeat("line\r\n", i*i*10))
		want = append(want, msg)
	}
	w := d.Login(t, "anna")
	w.CreateFolder("Prüfung/Größe")
	if d.dovecot != nil {
		w.CreateFolder("Sent")
	}
	// Until a folder has been opened once Dovecot's UIDVALIDITY may read as 0 while others open it.
	for _, f := range w.Folders() {
		w.Try("EXAMINE " + realsrv.Quote(f.Raw))
	}
	for _, m := range want {
		w.Append("INBOX", []byte(m), nil, time.Time{})
	}

	for _, sec := range []Security{TLS, StartTLS, Plain} {
		t.Run(fmt.Sprint("security ", int(sec)), func(t *testing.T) {
			t.Parallel()
			s := dial(t, d.IMAP, sec, nil)
			ctx := within(t)
			if err := s.Login(ctx, "anna", "wrong"); ClassOf(err) != AuthFailed || s.Err() != nil {
				t.Fatalf("wrong password: %v, dead: %v", err, s.Err())
			}
			if err := s.Login(ctx, "anna", d.Password); err != nil {
				t.Fatal(err)
			}
			if !s.Caps().Has("CONDSTORE") || !s.Caps().Has("LIST-STATUS") {
				t.Fatalf("capabilities after login: %v", s.Caps().Names())
			}
			if id, err := s.ID(ctx, map[string]string{"name": "posthorn"}); err != nil || !strings.HasPrefix(id["name"], d.vendor) {
				t.Errorf("id %v, %v", id, err)
			}
			if ns, err := s.Namespace(ctx); err != nil || len(ns.Personal) != 1 || ns.Personal[0].Delimiter != "/" {
				t.Errorf("namespace %v, %v", ns, err)
			}
			if on, err := s.Enable(ctx, "CONDSTORE"); err != nil || !slices.Contains(on, "CONDSTORE") {
				t.Errorf("enable %v, %v", on, err)
			}
			checkFolders(t, ctx, s)
			checkBodies(t, ctx, s, want)
			if err := s.Logout(ctx); err != nil {
				t.Error(err)
			}
			if err := s.Noop(ctx); ClassOf(err) != Canceled {
				t.Errorf("after logout: %v", err)
			}
		})
	}
}

func checkFolders(t *testing.T, ctx context.Context, s *Session) {
	t.Helper()
	items := []StatusItem{StatusMessages, StatusUIDNext, StatusUIDValidity, StatusHighestModSeq, StatusSize}
	list, err := s.List(ctx, ListOptions{SpecialUse: true, Status: items})
	if err != nil {
		t.Fatal(err)
	}
	var raws []string
	names := map[string]Mailbox{}
	for _, m := range list {
		names[m.Name] = m
		if m.Err != nil {
			t.Error(m.Err)
		}
		if m.Status != nil {
			raws = append(raws, m.Raw)
		}
	}
	deep := names["Prüfung/Größe"]
	if deep.Raw != EncodeName("Prüfung/Größe") || deep.Status == nil || deep.Delimiter != "/" {
		t.Errorf("nested folder: %+v in %v", deep, names)
	}
	if !slices.ContainsFunc(names["Sent"].Attrs, func(a string) bool { return strings.EqualFold(a, `\Sent`) }) { // Cyrus writes \sent
		t.Errorf("Sent: %+v", names["Sent"])
	}
	got, bad, err := s.Statuses(ctx, append(raws, "No such"), items...)
	if err != nil || len(bad) != 1 || ClassOf(bad["No such"]) != Permanent || len(got) != len(raws) {
		t.Fatalf("statuses %v, %v, %v", got, bad, err)
	}
	for _, m := range list {
		if m.Status != nil && *m.Status != got[m.Raw] {
			t.Errorf("%s: LIST says %+v, STATUS %+v", m.Name, *m.Status, got[m.Raw])
		}
	}
	if sel, err := s.Select(ctx, deep.Raw, SelectOptions{}); err != nil || sel.Exists != 0 || !sel.HasUIDValidity {
		t.Errorf("select %+v, %v", sel, err)
	}
	if err := s.Unselect(ctx); err != nil {
		t.Error(err)
	}
}

func checkBodies(t *testing.T, ctx context.Context, s *Session, want []string) {
	t.Helper()
	sel, err := s.Select(ctx, "INBOX", SelectOptions{ReadOnly: true, CondStore: true})
	if err != nil || sel.Exists != uint32(len(want)) || !sel.ReadOnly || sel.HighestModSeq == 0 || !sel.HasUIDNext {
		t.Fatalf("select %+v, %v", sel, err)
	}
	all, err := s.Search(ctx, "ALL")
	if err != nil || all.Len() != len(want) {
		t.Fatalf("search %v, %v", all, err)
	}
	// Both ways to take bodies, with every item at once.
	for _, sink := range []bool{false, true} {
		o := FetchOptions{Flags: true, InternalDate: true, Size: true, ModSeq: true, Envelope: true, BodyStructure: true,
			Header: []string{"Subject"}, Body: true}
		if sink {
			o.Sink = func(l Literal) (io.Writer, error) { return &bytes.Buffer{}, nil }
		}
		n := 0
		err := s.Fetch(ctx, all, o, func(r *Row) error {
			body := r.Body.Bytes
			if sink {
				body = r.Body.W.(*bytes.Buffer).Bytes()
			}
			subject := fmt.Sprintf("number %d", n)
			if r.Err != nil || !r.HasFlags || !r.HasInternalDate || !r.HasModSeq || r.Size != int64(len(want[n])) ||
				string(r.Header) != "Subject: "+subject+"\r\n\r\n" || r.Envelope.Subject != subject || r.BodyStructure.Subtype != "plain" {
				t.Errorf("row %+v", r)
			}
			if !r.Body.Has || string(body) != want[n] || r.Body.Size != int64(len(body)) {
				t.Errorf("body %d differs", n)
			}
			n++
			return nil
		})
		if err != nil || n != len(want) {
			t.Fatalf("%d rows, %v", n, err)
		}
	}
	// Nothing changed since the highest MODSEQ.
	n := 0
	err = s.Fetch(ctx, Range(1, Star), FetchOptions{Flags: true, ChangedSince: sel.HighestModSeq}, func(*Row) error { n++; return nil })
	if err != nil || n != 0 {
		t.Errorf("changed since: %d rows, %v", n, err)
	}
}

func TestServerIdle(t *testing.T) {
	t.Parallel()
	onServers(t, realsrv.DovecotOptions{}, idlesAtServer)
}

func idlesAtServer(t *testing.T, d server) {
	w := d.Login(t, "idler")
	heard := make(chan Unilateral, 100)
	s := dial(t, d.IMAP, TLS, func(u Unilateral) {
		if u.Kind == KindExists && u.Num > 0 {
			heard <- u
		}
	})
	ctx := within(t)
	if err := s.Login(ctx, "idler", d.Password); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Select(ctx, "INBOX", SelectOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		ictx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- s.Idle(ictx) }()
		w.Append("INBOX", []byte("Subject: wake up\r\n\r\n"), nil, time.Time{})
		select {
		case u := <-heard:
			if u.Num != uint32(i+1) {
				t.Errorf("EXISTS %d", u.Num)
			}
		case <-ctx.Done():
			t.Fatal("nothing heard")
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Noop(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDovecotRefusals(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{CertHosts: []string{"mail.example.com"}, MaxUserIP: 1})
	ctx := within(t)
	// A certificate for somebody else: not to be cured by trying again.
	for _, o := range []Options{{Addr: d.TLSAddr, Security: TLS}, {Addr: d.Addr, Security: StartTLS}} {
		o.TLS = d.TLSConfig(t)
		o.TLS.ServerName = ""
		if s, err := Dial(ctx, o); ClassOf(err) != Permanent {
			t.Errorf("dialed %v, %v", s, err)
		}
	}
	// TLS to a port that speaks plaintext first.
	if _, err := Dial(ctx, Options{Addr: d.Addr, TLS: d.TLSConfig(t)}); err == nil {
		t.Error("TLS with a plaintext port")
	}
	// One connection too many.
	one, two := dial(t, &d.IMAP, Plain, nil), dial(t, &d.IMAP, Plain, nil)
	if err := one.Login(ctx, "anna", d.Password); err != nil {
		t.Fatal(err)
	}
	if err := two.Login(ctx, "anna", d.Password); ClassOf(err) != TransientAccount {
		t.Errorf("second connection: %v", err)
	}
}
