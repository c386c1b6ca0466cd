package sender_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
)

// TestBytesThatCannotBeRead: a send whose bytes are lost or damaged fails, and holds up no other; the server is never left with a part
// of it. What can be read later is sent then.
func TestBytesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(file string)
		back  func(file string) // nil: it does not come back
	}{
		{name: "lost", spoil: func(f string) { must(os.Remove(f)) }},
		{name: "damaged at its end", spoil: func(f string) {
			b, err := os.ReadFile(f)
			must(err)
			b[len(b)-1]++
			must(os.WriteFile(f, b, 0o600))
		}},
		{name: "not readable for a while", spoil: func(f string) {
			must(os.Rename(f, f+".away"))
			must(os.Mkdir(f, 0o700))
		}, back: func(f string) {
			must(os.Remove(f))
			must(os.Rename(f+".away", f))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := setupOn(t, store.Options{Dir: t.TempDir(), BlobURL: "file://" + dir}, nil)
			b.s.Stop(t.Context())
			bad, _, err := b.mb.Enqueue(t.Context(), b.spool(sender.Outgoing{Write: raw(1, "x@example.test", "\r\n", strings.Repeat("many lines\r\n", 50000))}))
			must(err)
			var file string
			must(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if d.Name() == strconv.FormatInt(bad.Blob, 10) && !d.IsDir() {
					file = p
				}
				return err
			}))
			c.spoil(file)
			b.start()
			if s := b.send(sender.Outgoing{Write: raw(2, "x@example.test")}); s.State != mail.SendSent && s.State != mail.SendFiled {
				t.Errorf("the other send is %s: %s", s.State, s.Reason)
			}
			b.until(mail.SendFiled)
			for n := range 2 {
				if s := b.waits(bad.ID, func(s mail.Send) bool { return s.Attempts > n }); s.State != mail.SendQueued || s.Reason == "" {
					t.Errorf("after %d attempts it is %s: %q", s.Attempts, s.State, s.Reason)
				}
				if n == 1 && c.back != nil {
					c.back(file)
				}
				b.pass(time.Hour)
			}
			want, messages, last := mail.SendFailed, 1, mail.SendNotDone
			if c.back != nil {
				want, messages, last = mail.SendFiled, 2, mail.SendSucceeded
			}
			b.until(want)
			if n := len(b.smtp.received()); n != messages {
				t.Errorf("the server took %d messages, want %d", n, messages)
			}
			if told := b.told(); told[len(told)-1] != last {
				t.Errorf("told %v", told)
			}
			if s := b.get(bad.ID); want == mail.SendFailed && !strings.Contains(s.Reason, "lost or damaged") {
				t.Errorf("it failed, as %q", s.Reason)
			}
		})
	}
}

// silent is a server that says nothing. It tells of each connection.
func silent(t *testing.T) (port int, dialled chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialled = make(chan struct{}, 100)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			dialled <- struct{}{}
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, dialled
}

// TestASilentServer: a server that says nothing does not keep the accounts of others from sending.
func TestASilentServer(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.s.Stop(t.Context())
	port, dialled := silent(t)
	b.startWith(func(o *sender.Options) { o.Parallel, o.Command = 8, time.Minute })
	for n := range 8 {
		acct := b.acct
		acct.ID = mail.AccountID(fmt.Sprintf("6b8e0f52-7c1d-4f0e-9a51-0d6a3f1c2c%02d", n))
		acct.Email = fmt.Sprintf("ann%d@example.test", n)
		e := *acct.Settings.SMTP
		e.Port = port
		acct.Settings.SMTP = &e
		if err := b.store.CreateAccount(t.Context(), acct, mail.Credentials{IMAPPassword: mail.NewSecret("canary")}); err != nil {
			t.Fatal(err)
		}
		mb, err := b.store.Mailbox(t.Context(), acct.ID)
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := b.s.Spool(t.Context(), mb, sender.Outgoing{Write: raw(n, "x@example.test")})
		if err == nil {
			_, _, err = mb.Enqueue(t.Context(), s)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.s.Wake(acct.ID)
	}
	<-dialled
	<-dialled
	if s := b.send(sender.Outgoing{Write: raw(9, "x@example.test")}); s.State != mail.SendSent && s.State != mail.SendFiled {
		t.Errorf("the send of an account whose server is well is %s after %d attempts: %q", s.State, s.Attempts, s.Reason)
	}
	if n := len(dialled); n > 0 {
		t.Errorf("%d conversations with one server", 2+n)
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	b.s.Stop(now)
}

// TestHandover: a conversation that comes to nothing ends; a server that is slow to accept a whole message is waited for.
func TestHandover(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	start := func(b *bench) {
		b.s.Stop(t.Context())
		b.startWith(func(o *sender.Options) { o.Handover, o.Command, o.Accept = limit, time.Minute, time.Minute })
	}
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		port, _ := silent(t)
		b := setup(t, func(a *mail.Account) { a.Settings.SMTP.Port = port })
		start(b)
		if s := b.send(sender.Outgoing{Write: raw(1, "x@example.test")}); s.State != mail.SendQueued || s.Attempts != 1 || !strings.Contains(s.Reason, "in time") {
			t.Errorf("it is %s after %d attempts: %q", s.State, s.Attempts, s.Reason)
		}
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		start(b)
		b.smtp.set(func() { b.smtp.came = func() { <-time.After(2 * limit) } })
		b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
		b.until(mail.SendFiled)
	})
}

// TestTurns: a conversation that goes on for long ends between two messages, and another one goes on.
func TestTurns(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.s.Stop(t.Context())
	for n := range 5 {
		if _, _, err := b.mb.Enqueue(t.Context(), b.spool(sender.Outgoing{Write: raw(n, "x@example.test")})); err != nil {
			t.Fatal(err)
		}
	}
	b.smtp.set(func() {
		b.smtp.came = func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.now = b.now.Add(3 * time.Minute)
		}
	})
	b.start()
	for range 5 {
		b.until(mail.SendFiled)
	}
	b.smtp.set(func() {
		if b.smtp.conns != 3 {
			t.Errorf("%d conversations for 5 messages of 3 minutes each", b.smtp.conns)
		}
	})
}
