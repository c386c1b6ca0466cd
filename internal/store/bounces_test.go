package store

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestBounces: a report is told once, of the message in Sent that it names, whichever of them is found first.
func TestBounces(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Sent")
		told := func() (out []mail.Change) {
			t.Helper()
			list, err := b.Changes(context.Background(), 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				if c.Kind == mail.MessageBounced {
					out = append(out, c)
				}
			}
			return out
		}
		deliver := func(origin mail.Origin, r PlacementRef, l letter, bounced string) mail.MessageID {
			t.Helper()
			n := b.held(r, l)
			n.Content.Bounced = bounced
			return b.do(Batch{Origin: origin, New: []NewMessage{n}}).IDs[r]
		}
		sent := deliver(mail.OriginLive, ref("Sent", 1), letter{id: "sent", subject: "offer", day: 1}, "")
		deliver(mail.OriginLive, ref("INBOX", 1), letter{id: "received", subject: "other", day: 1}, "")
		report := deliver(mail.OriginLive, ref("INBOX", 2), letter{id: "r1", subject: "undelivered", day: 2}, "sent@example.com")
		if l := told(); len(l) != 1 || l[0].Object != string(sent) || l[0].Data.From != string(report) {
			t.Fatalf("%+v", l)
		}
		deliver(mail.OriginLive, ref("INBOX", 3), letter{id: "r1", subject: "undelivered", day: 2}, "sent@example.com")
		deliver(mail.OriginLive, ref("INBOX", 4), letter{id: "r2", subject: "undelivered", day: 2}, "received@example.com")
		deliver(mail.OriginLive, ref("INBOX", 5), letter{id: "r3", subject: "undelivered", day: 60}, "sent@example.com") // long ago
		deliver(mail.OriginInitial, ref("INBOX", 6), letter{id: "r4", subject: "undelivered", day: 2}, "sent@example.com")
		deliver(mail.OriginLive, ref("INBOX", 7), letter{id: "r5", subject: "undelivered", day: 2}, "later@example.com")
		if l := told(); len(l) != 1 {
			t.Fatalf("%+v", l)
		}
		later := deliver(mail.OriginLive, ref("Sent", 2), letter{id: "later", subject: "filed late", day: 2}, "")
		if l := told(); len(l) != 2 || l[1].Object != string(later) {
			t.Fatalf("%+v", l)
		}
		// A Message-ID that no message of ours can have, longer than what an index of PostgreSQL takes.
		long := make([]byte, 9000)
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range long {
			long[i] = byte('!' + rng.IntN(90))
		}
		deliver(mail.OriginLive, ref("INBOX", 9), letter{id: "r9", subject: "undelivered", day: 2}, string(long)+"@example.com")
		// Both in one batch.
		n := b.held(ref("INBOX", 8), letter{id: "r6", subject: "undelivered", day: 3})
		n.Content.Bounced = "both@example.com"
		res := b.do(Batch{Origin: mail.OriginLive, New: []NewMessage{n, b.held(ref("Sent", 3), letter{id: "both", subject: "both", day: 3})}})
		if l := told(); len(l) != 3 || l[2].Object != string(res.IDs[ref("Sent", 3)]) {
			t.Fatalf("%+v", l)
		}
	})
}
