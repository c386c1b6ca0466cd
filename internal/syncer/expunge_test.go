package syncer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestNoOtherIsRemoved: what the server's search says decides nothing about which messages are removed for good.
func TestNoOtherIsRemoved(t *testing.T) {
	t.Parallel()
	t.Run("marked by another program, and not found", func(t *testing.T) {
		t.Parallel()
		p := persona.Start(t, persona.Knobs{Caps: persona.Without(persona.Basic, "UIDPLUS"), Found: func(c persona.Command, _ uint32, hit bool) bool {
			return hit && !strings.Contains(c.Args, "DELETED")
		}})
		for n := 1; n <= 3; n++ {
			p.Deliver("INBOX", message(n))
		}
		b := setupPersona(t, p, nil)
		b.live()
		p.Flag("INBOX", 3, `\Deleted`)
		b.fails(mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{b.messageAt("INBOX", 1)}}, mail.Refused)
		if got := p.UIDs("INBOX"); !slices.Equal(got, []uint32{1, 2, 3}) {
			t.Errorf("left are %v", got)
		}
	})
	t.Run("Gmail finds everything", func(t *testing.T) {
		t.Parallel()
		p := gmail(t, func(k *persona.Knobs) {
			k.Found = func(c persona.Command, _ uint32, hit bool) bool { return hit || strings.Contains(c.Args, "X-GM-MSGID") }
		})
		p.Deliver(trash, message(30))
		b := setupPersona(t, p, nil)
		b.live()
		b.do(mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{b.messageAt(allMail, 1)}})
		if got := p.UIDs(trash); len(got) != 1 {
			t.Errorf("in the trash are %v", got)
		}
	})
}
