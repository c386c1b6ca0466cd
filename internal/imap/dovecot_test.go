package imap_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/test/realsrv"
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, d *realsrv.Dovecot, sec imap.Security, heard func(imap.Unilateral)) *imap.Session {
	t.Helper()
	o := imap.Options{Addr: d.Addr, Security: sec, TLS: d.TLSConfig(t), OnUnilateral: heard}
	if sec == imap.TLS {
		o.Addr = d.TLSAddr
	}
	s, err := imap.Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.CloseNow() })
	return s
}

func TestDovecot(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	d.Doveadm(t, "mailbox", "create", "-u", "anna", "Prüfung/Größe", "Sent")
	// Until a folder has been opened once its UIDVALIDITY may read as 0 while others open it.
	d.Doveadm(t, "mailbox", "status", "-u", "anna", "uidvalidity", "*")
	var want []string
	for i := range 30 {
		msg := fmt.Sprintf("From: a@example.org\r\nSubject: number %d\r\n\r\n%s", i, strings.Repeat("line\r\n", i*i*10))
		want = append(want, msg)
	}
	w := d.Login(t, "anna")
	for _, m := range want {
		w.Append("INBOX", []byte(m), nil, time.Time{})
	}

	for _, sec := range []imap.Security{imap.TLS, imap.StartTLS, imap.Plain} {
		t.Run(fmt.Sprint("security ", int(sec)), func(t *testing.T) {
			t.Parallel()
			s := dial(t, d, sec, nil)
			ctx := within(t)
			if err := s.Login(ctx, "anna", "wrong"); imap.ClassOf(err) != imap.AuthFailed || s.Err() != nil {
				t.Fatalf("wrong password: %v, dead: %v", err, s.Err())
			}
			if err := s.Login(ctx, "anna", d.Password); err != nil {
				t.Fatal(err)
			}
			if !s.Caps().Has("CONDSTORE") || !s.Caps().Has("LIST-STATUS") {
				t.Fatalf("capabilities after login: %v", s.Caps().Names())
			}
			if id, err := s.ID(ctx, map[string]string{"name": "posthorn"}); err != nil || id["name"] != "Dovecot" {
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
			if err := s.Noop(ctx); imap.ClassOf(err) != imap.Canceled {
				t.Errorf("after logout: %v", err)
			}
		})
	}
}

func checkFolders(t *testing.T, ctx context.Context, s *imap.Session) {
	t.Helper()
	items := []imap.StatusItem{imap.StatusMessages, imap.StatusUIDNext, imap.StatusUIDValidity, imap.StatusHighestModSeq, imap.StatusSize}
	list, err := s.List(ctx, imap.ListOptions{SpecialUse: true, Status: items})
	if err != nil {
		t.Fatal(err)
	}
	var raws []string
	names := map[string]imap.Mailbox{}
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
	if deep.Raw != imap.EncodeName("Prüfung/Größe") || deep.Status == nil || deep.Delimiter != "/" {
		t.Errorf("nested folder: %+v in %v", deep, names)
	}
	if !slices.Contains(names["Sent"].Attrs, `\Sent`) {
		t.Errorf("Sent: %+v", names["Sent"])
	}
	got, bad, err := s.Statuses(ctx, append(raws, "No such"), items...)
	if err != nil || len(bad) != 1 || imap.ClassOf(bad["No such"]) != imap.Permanent || len(got) != len(raws) {
		t.Fatalf("statuses %v, %v, %v", got, bad, err)
	}
	for _, m := range list {
		if m.Status != nil && *m.Status != got[m.Raw] {
			t.Errorf("%s: LIST says %+v, STATUS %+v", m.Name, *m.Status, got[m.Raw])
		}
	}
	if sel, err := s.Select(ctx, deep.Raw, imap.SelectOptions{}); err != nil || sel.Exists != 0 || !sel.HasUIDValidity {
		t.Errorf("select %+v, %v", sel, err)
	}
	if err := s.Unselect(ctx); err != nil {
		t.Error(err)
	}
}

func checkBodies(t *testing.T, ctx context.Context, s *imap.Session, want []string) {
	t.Helper()
	sel, err := s.Select(ctx, "INBOX", imap.SelectOptions{ReadOnly: true, CondStore: true})
	if err != nil || sel.Exists != uint32(len(want)) || !sel.ReadOnly || sel.HighestModSeq == 0 || !sel.HasUIDNext {
		t.Fatalf("select %+v, %v", sel, err)
	}
	all, err := s.Search(ctx, "ALL")
	if err != nil || all.Len() != len(want) {
		t.Fatalf("search %v, %v", all, err)
	}
	// Both ways to take bodies, with every item at once.
	for _, sink := range []bool{false, true} {
		o := imap.FetchOptions{Flags: true, InternalDate: true, Size: true, ModSeq: true, Envelope: true, BodyStructure: true,
			Header: []string{"Subject"}, Body: true}
		if sink {
			o.Sink = func(l imap.Literal) (io.Writer, error) { return &bytes.Buffer{}, nil }
		}
		n := 0
		err := s.Fetch(ctx, all, o, func(r *imap.Row) error {
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
	err = s.Fetch(ctx, imap.Range(1, imap.Star), imap.FetchOptions{Flags: true, ChangedSince: sel.HighestModSeq}, func(*imap.Row) error { n++; return nil })
	if err != nil || n != 0 {
		t.Errorf("changed since: %d rows, %v", n, err)
	}
}

func TestDovecotIdle(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	w := d.Login(t, "idler")
	heard := make(chan imap.Unilateral, 100)
	s := dial(t, d, imap.TLS, func(u imap.Unilateral) {
		if u.Kind == imap.KindExists && u.Num > 0 {
			heard <- u
		}
	})
	ctx := within(t)
	if err := s.Login(ctx, "idler", d.Password); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Select(ctx, "INBOX", imap.SelectOptions{}); err != nil {
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
	for _, o := range []imap.Options{{Addr: d.TLSAddr, Security: imap.TLS}, {Addr: d.Addr, Security: imap.StartTLS}} {
		o.TLS = d.TLSConfig(t)
		o.TLS.ServerName = ""
		if s, err := imap.Dial(ctx, o); imap.ClassOf(err) != imap.Permanent {
			t.Errorf("dialed %v, %v", s, err)
		}
	}
	// TLS to a port that speaks plaintext first.
	if _, err := imap.Dial(ctx, imap.Options{Addr: d.Addr, TLS: d.TLSConfig(t)}); err == nil {
		t.Error("TLS with a plaintext port")
	}
	// One connection too many.
	one, two := dial(t, d, imap.Plain, nil), dial(t, d, imap.Plain, nil)
	if err := one.Login(ctx, "anna", d.Password); err != nil {
		t.Fatal(err)
	}
	if err := two.Login(ctx, "anna", d.Password); imap.ClassOf(err) != imap.TransientAccount {
		t.Errorf("second connection: %v", err)
	}
}
