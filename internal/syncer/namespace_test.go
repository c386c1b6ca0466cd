package syncer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestFoldersBelowAPrefix: where a user's own folders lie below INBOX, new ones are made there, however they were named.
func TestFoldersBelowAPrefix(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]realsrv.DovecotOptions{
		"Dovecot":                      {Prefix: "INBOX.", Separator: "."},
		"Dovecot that does not say so": {Prefix: "INBOX.", Separator: ".", CapsDrop: []string{"NAMESPACE", "SPECIAL-USE"}},
		"Dovecot with slashes":         {Prefix: "INBOX/", Separator: "/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, o)
			s := d.Login(t, "ann")
			s.CreateFolder("INBOX" + o.Separator + "Kept")
			s.Append("INBOX", message(1), nil, day)
			belowAPrefix(t, setup(t, &d.IMAP, "ann"), o.Separator)
		})
	}
	t.Run("Cyrus", func(t *testing.T) {
		t.Parallel()
		c := realsrv.StartCyrus(t, realsrv.CyrusOptions{Prefixed: true})
		s := c.Login(t, "ann")
		s.Append("INBOX", message(1), nil, day)
		belowAPrefix(t, setup(t, &c.IMAP, "ann"), ".")
	})
	for name, answer := range map[string]string{"persona": "", "persona that refuses to say": "NO what for?", "persona that hangs up": persona.Cut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := persona.Courier()
			k.Answer = func(c persona.Command) string {
				if c.Name == "NAMESPACE" {
					return answer
				}
				return ""
			}
			p := persona.Start(t, k)
			p.Delete("INBOX.Trash")
			p.Deliver("INBOX", message(1))
			belowAPrefix(t, setupPersona(t, p, nil), ".")
			if n := p.Count("NAMESPACE"); n != 1 {
				t.Errorf("asked for the namespaces %d times", n)
			}
		})
	}
}

func belowAPrefix(t *testing.T, b *bench, delim string) {
	name := func(levels ...string) string { return "INBOX" + delim + strings.Join(levels, delim) }
	b.live()
	top := b.do(mail.Operation{Kind: mail.OpFolderCreate, Name: "Projekte"}).Folder
	if f := b.folder(name("Projekte")); f.ID != top || f.Parent != b.folder("INBOX").ID {
		t.Errorf("%+v", f)
	}
	for _, again := range []string{"Projekte", name("Projekte"), "inbox/Projekte"} {
		b.fails(mail.Operation{Kind: mail.OpFolderCreate, Name: again}, mail.Conflict)
	}
	inner := b.do(mail.Operation{Kind: mail.OpFolderCreate, Name: "Projekte/Zürich"}).Folder
	if f := b.folder(name("Projekte", "Zürich")); f.ID != inner || f.Parent != top {
		t.Errorf("%+v", f)
	}
	b.do(mail.Operation{Kind: mail.OpFolderCreate, Name: name("Projekte", "Bern")})
	b.do(mail.Operation{Kind: mail.OpFolderRename, Folder: top, Name: "Pläne"})
	if f := b.folder(name("Pläne", "Zürich")); f.ID != inner || f.Parent != top {
		t.Errorf("%+v", f)
	}
	b.do(mail.Operation{Kind: mail.OpFolderRename, Folder: inner, Name: "Zürich"})
	if f := b.folder(name("Zürich")); f.ID != inner {
		t.Errorf("%+v", f)
	}
	b.do(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{b.messageAt("INBOX", 1)}})
	if f := b.folder(name("Trash")); f.Role != mail.RoleTrash || f.Total != 1 {
		t.Errorf("%+v", f)
	}
	b.equal()
}

// TestAFolderThatIsRefused: a server that does not make a folder is not asked for a day.
func TestAFolderThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer string
		within time.Duration
	}{
		{"NO Invalid mailbox name", 0},
		{"NO [CANNOT] not such a name", 0},
		{"NO Cannot create this folder", 12 * time.Hour},
	} {
		t.Run(c.answer, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, persona.Knobs{Answer: func(cmd persona.Command) string {
				if cmd.Name == "CREATE" {
					return c.answer
				}
				return ""
			}})
			b := setupClocked(t, p, nil)
			b.live()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			op, err := b.engine.Do(ctx, b.id, mail.Operation{Kind: mail.OpFolderCreate, Name: "Projects"})
			if err != nil {
				t.Fatal(err)
			}
			b.until("the end of the operation", func() bool {
				if op, err = b.mbox.Operation(t.Context(), op.ID); err != nil {
					t.Fatal(err)
				}
				if op.State == mail.OpPending && c.within > 0 {
					b.ahead.Add(int64(10 * time.Second))
					b.engine.Start(b.id)
				}
				return op.State != mail.OpPending
			})
			if op.State != mail.OpFailed || op.Why != mail.Refused || time.Duration(b.ahead.Load()) > c.within {
				t.Errorf("after %v: %+v", time.Duration(b.ahead.Load()), op)
			}
		})
	}
}
