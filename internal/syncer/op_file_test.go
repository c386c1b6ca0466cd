package syncer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// TestSentUnderAnotherMessageID: Exchange gives a message that is sent another Message-ID and keeps ours in a field of its own. That
// copy is found, and no second one is put beside it.
func TestSentUnderAnotherMessageID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, original string
		search         string // the server's answer to a search for that field; "": the truth
		everything     bool   // searches find every message
		found          bool
	}{
		{"kept", "send.1@example.com", "", false, true},
		{"that of another", "send.11@example.com", "", false, false},
		{"kept, and the server cannot search for it", "send.1@example.com", "NO not supported", false, false},
		{"kept, at a server that finds everything", "send.1@example.com", "", true, true},
		{"that of another, at a server that finds everything", "send.11@example.com", "", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			p := persona.Start(t, persona.Knobs{Answer: func(cmd persona.Command) string {
				if strings.Contains(cmd.Args, "X-MICROSOFT") {
					return c.search
				}
				return ""
			}, Found: func(_ persona.Command, _ uint32, hit bool) bool { return hit || c.everything }})
			p.Deliver("Sent", fmt.Appendf(nil, "Message-ID: <AS8P2@eurprd05.prod.outlook.com>\r\nX-Microsoft-Original-Message-ID: <%s>\r\nSubject: sent\r\n\r\nbody\r\n", c.original))
			b := &bench{t: t, user: "ann", truth: truthOf(p)}
			b.place.Now = func() time.Time { return time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC) } // when the persona's mail comes
			b.open(mail.Endpoint{Host: p.Host, Port: p.Port}, persona.Password)
			b.live()
			raw := []byte("Message-ID: <send.1@example.com>\r\nSubject: sent\r\n\r\nbody\r\n")
			refs, err := b.mbox.PutBlobs(ctx, []store.BlobData{{Kind: store.BlobOther, Data: raw}})
			if err != nil {
				t.Fatal(err)
			}
			send, _, err := b.mbox.Enqueue(ctx, mail.Send{State: mail.SendQueued, Blob: refs[0].ID, Size: refs[0].Size, SentAt: time.Now(),
				Summary: mail.Message{ID: "unknown", HeaderMessageID: "send.1@example.com"}})
			if err != nil {
				t.Fatal(err)
			}
			if c.found {
				b.do(mail.Operation{Kind: mail.OpLook, Send: send.ID})
			} else {
				b.fails(mail.Operation{Kind: mail.OpLook, Send: send.ID}, mail.NotFound)
			}
			b.do(mail.Operation{Kind: mail.OpFile, Send: send.ID})
			if n := len(p.UIDs("Sent")); n != 1 != !c.found {
				t.Errorf("Sent holds %d messages", n)
			}
		})
	}
}
