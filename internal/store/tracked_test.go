package store

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestReplies: what answers a tracked message is told once, with how many there were, in the order of arrival.
func TestReplies(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		ctx := context.Background()
		b.folders("INBOX", "Archive")
		root := mail.Message{ID: mail.MessageID(publicID{7}.id()), HeaderMessageID: "root@example.com"}
		blobs, err := b.PutBlobs(ctx, []BlobData{{Kind: BlobOther, Data: []byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Enqueue(ctx, mail.Send{State: mail.SendQueued, Blob: blobs[0].ID, Size: 1, Summary: root, Tracking: &mail.Tracking{Replies: true, Label: "l\x00abel"}, NextTry: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Tracking(ctx, root.ID, "nonsense", publicID{8}.id()); err != nil || len(got) != 1 || got[root.ID].Label != "label" {
			t.Errorf("%+v %v", got, err)
		}
		told := func() (out []mail.Change) {
			t.Helper()
			list, err := b.Changes(ctx, 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				if c.Kind == mail.ThreadReplied {
					out = append(out, c)
				}
			}
			return out
		}
		deliver := func(origin mail.Origin, r PlacementRef, l letter) mail.MessageID {
			t.Helper()
			return b.do(Batch{Origin: origin, New: []NewMessage{b.held(r, l)}}).IDs[r]
		}
		deliver(mail.OriginInitial, ref("INBOX", 1), letter{id: "before", reply: "root", day: 1})
		one := deliver(mail.OriginLive, ref("INBOX", 2), letter{id: "one", reply: "root", day: 2})
		deliver(mail.OriginLive, ref("Archive", 1), letter{id: "one", reply: "root", day: 2}) // a copy
		deliver(mail.OriginLive, ref("INBOX", 3), letter{id: "other", reply: "elsewhere", day: 2})
		two := deliver(mail.OriginLive, ref("INBOX", 4), letter{id: "two", reply: "one", refs: []string{"root", "one"}, day: 3})
		l := told()
		if len(l) != 2 {
			t.Fatalf("%+v", l)
		}
		for i, want := range []mail.MessageID{one, two} {
			m, err := b.Message(ctx, want)
			if err != nil || l[i].Data.From != string(want) || l[i].Data.Root != root.ID || l[i].Data.Count != i+1 || l[i].Object != string(m.Thread) {
				t.Errorf("%+v, want %s in %s, %v", l[i], want, m.Thread, err)
			}
		}
	})
}
