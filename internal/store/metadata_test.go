package store

import (
	"maps"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestMetadata: it lives and dies with its message, is found by its pairs, and the log tells it.
func TestMetadata(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Archive")
		res := b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), letter{id: "a"}), b.held(ref("INBOX", 2), letter{id: "b"})}})
		one, two := res.IDs[ref("INBOX", 1)], res.IDs[ref("INBOX", 2)]
		set := func(id mail.MessageID, md map[string]string) {
			t.Helper()
			if err := b.SetMetadata(t.Context(), id, md); err != nil {
				t.Fatal(err)
			}
		}
		found := func(md map[string]string) int {
			t.Helper()
			list, _, err := b.Messages(t.Context(), MessageQuery{Metadata: md})
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		before := b.seq()
		set(one, map[string]string{"key1": "x", "key2": "y", "free": "z\x00"})
		set(two, map[string]string{"key1": "x"})
		set(two, map[string]string{"key1": "x"})
		if got := b.get(one).Metadata; !maps.Equal(got, map[string]string{"key1": "x", "key2": "y", "free": "z"}) {
			t.Errorf("%v", got)
		}
		if b.seq() != before+2 || b.get(one).Seq != before+1 {
			t.Errorf("seq %d after %d, the message says %d", b.seq(), before, b.get(one).Seq)
		}
		for _, c := range []struct {
			md   map[string]string
			want int
		}{
			{map[string]string{"key1": "x"}, 2}, {map[string]string{"key1": "x", "key2": "y"}, 1}, {map[string]string{"key2": "x"}, 0}, {map[string]string{"key1": "X"}, 0},
		} {
			if n := found(c.md); n != c.want {
				t.Errorf("%v: %d messages, want %d", c.md, n, c.want)
			}
		}
		if _, _, err := b.Messages(t.Context(), MessageQuery{Metadata: map[string]string{"free": "z"}}); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("a name without an index: %v", err)
		}
		if err := b.SetMetadata(t.Context(), "mAAAAAAAAAAAAAAAAAAAAAA", nil); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("of no message: %v", err)
		}
		b.ok()

		// A move keeps it, a removal takes it away.
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1), ref("INBOX", 2)}, New: []NewMessage{b.held(ref("Archive", 1), letter{id: "a"})}})
		b.sweep(time.Now().Add(time.Hour))
		if got := b.get(one).Metadata; got["free"] != "z" || found(map[string]string{"key1": "x"}) != 1 {
			t.Errorf("%v", got)
		}
		b.ok()
		for _, corrupt := range []string{
			"DELETE FROM message_metadata WHERE {a}1=1", `UPDATE messages SET metadata = '{"key1":"other"}' WHERE {a}metadata IS NOT NULL`,
		} {
			undo := mail.E(mail.Refused, "test", "undo", nil)
			_ = b.db.write(t.Context(), func(x *tx) error {
				if _, err := x.exec(t.Context(), corrupt); err != nil {
					t.Error(err)
				}
				ch := &checker{ctx: t.Context(), m: b.Mailbox}
				if err := ch.run(x); err != nil || len(ch.problems) == 0 {
					t.Errorf("%s: not noticed, %v", corrupt, err)
				}
				return undo
			})
		}
		set(one, nil)
		if b.get(one).Metadata != nil || found(map[string]string{"key1": "x"}) != 0 {
			t.Error("not removed")
		}
		b.ok()
	})
}
