package syncer_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/internal/vault"
	"github.com/posthorn/posthorn/test/persona"
)

// clocked is an engine beside a persona, with a clock that a test can move on.
type clocked struct {
	*bench
	p     *persona.Server
	ahead atomic.Int64 // nanoseconds

	bytesPerDay int64
}

func setupClocked(t *testing.T, p *persona.Server, tweak func(*clocked)) *clocked {
	t.Helper()
	return setupLimited(t, p, 0, tweak)
}

func setupLimited(t *testing.T, p *persona.Server, bytesPerDay int64, tweak func(*clocked)) *clocked {
	t.Helper()
	c := &clocked{bytesPerDay: bytesPerDay, bench: &bench{t: t, user: "ann", id: "6b8e0f52-7c1d-4f0e-9a51-0d6a3f1c2b11", news: make(chan struct{}, 1), truth: truthOf(p)}, p: p}
	now := func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
	keys, err := vault.NewKeyring(make([]byte, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	if c.store, err = store.Open(t.Context(), store.Options{Dir: t.TempDir(), Keys: keys, Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.store.Close(); err != nil {
			t.Error(err)
		}
	})
	app, err := c.store.DefaultApp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = c.store.CreateAccount(t.Context(), mail.Account{ID: c.id, App: app.ID, Email: "ann@example.com", Provider: "imap",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: p.Host, Port: p.Port, Security: mail.SecurityNone, Username: "ann"}},
	}, mail.Credentials{IMAPPassword: mail.NewSecret(persona.Password)})
	if err != nil {
		t.Fatal(err)
	}
	if c.mbox, err = c.store.Mailbox(t.Context(), c.id); err != nil {
		t.Fatal(err)
	}
	o := syncer.Options{
		Store: c.store, Now: now, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
		Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Poll:  20 * time.Millisecond, Confirm: time.Millisecond,
		Events: syncer.Events{Pass: func(mail.AccountID, bool) { c.signal() }, Heard: func(mail.AccountID) { c.signal() }, State: func(mail.AccountID, mail.SyncStatus) { c.signal() }},
	}
	o.Limits.BytesPerDay = c.bytesPerDay
	c.engine = syncer.New(o)
	t.Cleanup(c.engine.Close)
	if tweak != nil {
		tweak(c)
	}
	if err := c.engine.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *clocked) messages(want int64) { c.t.Helper(); c.has(want, mail.StateLive) }

func (c *clocked) has(want int64, state mail.State) {
	c.t.Helper()
	c.until("all messages but those set aside to be here", func() bool {
		n, err := c.mbox.Counts(c.t.Context())
		s, _ := c.engine.Status(c.id)
		return err == nil && n.Placements == want && n.Unheld == 0 && s.State == state
	})
}

func (c *clocked) aside() (out []store.Unit) {
	c.t.Helper()
	list, err := c.mbox.Units(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, u := range list {
		if u.Reason != "" {
			out = append(out, u)
		}
	}
	return out
}

func names(c persona.Command, uid uint32) bool {
	set, _, _ := strings.Cut(c.Args, " ")
	uids, err := imap.ParseUIDSet(set)
	return err == nil && c.Name == "UID FETCH" && uids.Contains(uid)
}

// TestHeadersThatFailAreFoundAndSetAside: whether the server refuses a message's header or breaks the connection, all others
// arrive, and it does when the server has mended it.
func TestHeadersThatFailAreFoundAndSetAside(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"refused": "NO [SERVERBUG] internal error", "broken": persona.Cut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, persona.Knobs{})
			p.Create("Work")
			for i := range 90 {
				p.Deliver("INBOX", message(i))
			}
			p.Deliver("Work", message(500))
			var c *clocked
			p.Turn(func(k *persona.Knobs) {
				k.Answer = func(cmd persona.Command) string {
					if cmd.Folder == "INBOX" && names(cmd, 37) && strings.Contains(cmd.Args, "HEADER.FIELDS") {
						if answer == persona.Cut {
							c.engine.Start(c.id) // no need to wait for the backoff
						}
						return answer
					}
					return ""
				}
			})
			c = setupClocked(t, p, func(x *clocked) { c = x })
			c.messages(90) // 89 of INBOX, one of Work
			list := c.aside()
			if len(list) != 1 || list[0].First != 37 || list[0].Last != 37 || list[0].Attempts != 1 || !list[0].NextTry.After(time.Now()) {
				t.Fatalf("%+v", list)
			}
			if s, _ := c.engine.Status(c.id); !s.FreshAt.IsZero() {
				t.Error("a mailbox of which a message is missing was called equal to the server's")
			}
			p.Turn(func(k *persona.Knobs) { k.Answer = nil })
			if answer == persona.Cut {
				p.Deliver("INBOX", message(600))
				c.messages(91)
				if n := len(c.aside()); n != 1 {
					t.Errorf("%d set aside an hour before the next try is due", n)
				}
				p.Expunge("INBOX", 91)
			}
			c.ahead.Store(int64(2 * time.Hour))
			c.messages(91)
			c.until("nothing to be set aside any more", func() bool { return len(c.aside()) == 0 })
		})
	}
}

// TestAFolderThatBreaksConnectionsIsSetAside: the others are synchronised, and it is tried again.
func TestAFolderThatBreaksConnectionsIsSetAside(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	p.Create("Bad")
	p.Create("Work") // comes after it
	p.Deliver("Bad", message(1))
	p.Deliver("Work", message(2))
	var c *clocked
	p.Turn(func(k *persona.Knobs) {
		k.Answer = func(cmd persona.Command) string {
			if cmd.Name == "EXAMINE" && cmd.Folder == "Bad" {
				c.engine.Start(c.id)
				return persona.Cut
			}
			return ""
		}
	})
	c = setupClocked(t, p, func(x *clocked) { c = x })
	c.has(1, mail.StateDegraded) // there is mail in it that is not here
	list := c.aside()
	if len(list) != 1 || list[0].UIDValidity != 0 || list[0].Reason == "" {
		t.Fatalf("%+v", list)
	}
	if proof := c.engine.Proofs(c.id)[list[0].Folder]; proof.Trouble == "" || proof.NextTry.IsZero() {
		t.Errorf("%+v", proof)
	}
	p.Turn(func(k *persona.Knobs) { k.Answer = nil })
	c.ahead.Store(int64(2 * time.Hour))
	c.messages(2)
	c.until("nothing to be set aside any more", func() bool { return len(c.aside()) == 0 })
}

// TestAPanicOfTheParserCostsOneMessage: it is kept as it is, and the others are read.
func TestAPanicOfTheParserCostsOneMessage(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	for i := range 9 {
		p.Deliver("INBOX", message(i))
	}
	c := setupClocked(t, p, func(c *clocked) {
		c.engine.SetParse(func(r io.Reader, o mime.Options) (*mime.Message, error) {
			raw, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			if bytes.Contains(raw, []byte("Subject: Message 5\r\n")) {
				panic("no such message")
			}
			return mime.Parse(bytes.NewReader(raw), o)
		})
	})
	c.messages(9)
	m, err := c.mbox.Message(t.Context(), c.messageAt("INBOX", 6))
	if err != nil || m.Body != mail.BodyHeld || !m.Partial || m.Subject != "Message 5" {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestPanicsAreSurvived: whichever goroutine panics, the account goes on from where it was; a message that was there each time
// is set aside for a while.
func TestPanicsAreSurvived(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	for i := range 90 {
		p.Deliver("INBOX", message(i))
	}
	var left atomic.Int64
	left.Store(5)
	c := setupClocked(t, p, func(c *clocked) {
		c.engine.SetReached(func(point string) {
			if (point == "before blobs" || point == "after headers") && left.Add(-1) >= 0 {
				c.engine.Start(c.id) // no need to wait for the backoff
				panic("at " + point)
			}
		})
	})
	c.until("the account to be live after five panics", func() bool {
		s, _ := c.engine.Status(c.id)
		return left.Load() < 0 && s.State == mail.StateLive
	})
	if n := len(c.aside()); n > 1 {
		t.Errorf("%d set aside", n)
	}
	c.ahead.Store(int64(2 * time.Hour))
	c.messages(90)
	c.until("nothing to be set aside any more", func() bool { return len(c.aside()) == 0 })
}
