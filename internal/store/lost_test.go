package store

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// What an object store has lost, or gives back shorter or changed, is said to be damaged; the check names it, a page with other
// messages is read all the same, and the bytes can be given once more.
func TestLostObjects(t *testing.T) {
	exercisePlaces(t, []string{"sqlite+s3", "sqlite+file", "postgres+s3"}, func(t *testing.T, p *place) {
		ctx := t.Context()
		b := newBox(t, p)
		b.folders("INBOX")
		letters := []letter{
			{id: "a", day: 1, body: "lost"}, {id: "b", day: 2, body: "short"}, {id: "c", day: 3, body: "changed"}, {id: "d", day: 4, body: "sound"},
		}
		var ids []mail.MessageID
		for i, l := range letters {
			r := ref("INBOX", mail.UID(i+1))
			ids = append(ids, b.do(Batch{New: []NewMessage{b.held(r, l)}}).IDs[r])
		}
		damage := func(i int) {
			t.Helper()
			m, err := b.RawBlob(ctx, ids[i])
			if err != nil {
				t.Fatal(err)
			}
			objects, blobs := b.s.objects, b.db.blobs
			for _, blob := range []int64{m.ID, m.ID + 1} { // what is shown of it is next to it
				name := blobs.object(blob)
				switch i {
				case 0:
					err = objects.remove(ctx, []string{name})
				case 1:
					err = objects.put(ctx, name, strings.NewReader("x"), 1)
				case 2:
					err = objects.put(ctx, name, strings.NewReader(strings.Repeat("x", 2000)), 2000)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 3 {
			damage(i)
		}
		problems, err := b.Check(ctx)
		if err != nil || len(problems) != 6 {
			t.Errorf("check: %v, %v", problems, err)
		}
		seq := b.seq()
		for i, l := range letters {
			raw, err := b.RawBlob(ctx, ids[i])
			if err != nil {
				t.Fatal(err)
			}
			r, err := b.OpenBlob(ctx, raw.ID)
			if err == nil {
				_, err = io.ReadAll(r)
			}
			if errors.Is(err, vault.ErrDamaged) != (i < 3) {
				t.Errorf("%s: %v", l.body, err)
			}
			if sound, err := b.Sound(ctx, ids[i]); err != nil || sound != (i == 3) {
				t.Errorf("%s: sound: %v, %v", l.body, sound, err)
			}
		}
		shown, err := b.Display(ctx, ids...)
		if err != nil || len(shown) != 4 || shown[ids[3]].Body != "sound" {
			t.Errorf("%v, %v", shown, err)
		}
		for i := range 3 {
			if d := shown[ids[i]]; !d.Damaged || d.Body != "" {
				t.Errorf("%s: %+v", letters[i].body, d)
			}
		}
		b.do(Batch{Restored: []Body{b.body(ref("INBOX", 1), letters[3])}}) // other bytes are not the message's
		if sound, err := b.Sound(ctx, ids[0]); err != nil || sound {
			t.Errorf("other bytes were taken: %v", err)
		}
		for i, l := range letters {
			old, err := b.RawBlob(ctx, ids[i])
			if err != nil {
				t.Fatal(err)
			}
			b.do(Batch{Restored: []Body{b.body(ref("INBOX", mail.UID(i+1)), l)}})
			if _, err := b.OpenBlob(ctx, old.ID); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("%s: what was damaged is still stored: %v", l.body, err)
			}
		}
		if shown, err = b.Display(ctx, ids...); err != nil || !slices.EqualFunc(ids, letters, func(id mail.MessageID, l letter) bool { return shown[id].Body == l.body }) {
			t.Errorf("restored: %v, %v", shown, err)
		}
		var want []string // whoever was shown one without its body
		for _, id := range ids {
			want = append(want, "message.updated "+string(id)+" fINBOX")
		}
		b.wantLog(seq, want...)
	})
}

// A body of which the database has lost all is damaged too, not empty and not unknown.
func TestLostRows(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		b := newBox(t, p)
		b.folders("INBOX")
		l, r := letter{id: "a", body: "lost"}, ref("INBOX", 1)
		id := b.do(Batch{New: []NewMessage{b.held(r, l)}}).IDs[r]
		b.execBlobs("DELETE FROM blobs WHERE {a}1=1")
		if shown, err := b.Display(ctx, id); err != nil || !shown[id].Damaged {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		if _, err := b.OpenRaw(ctx, id); !errors.Is(err, vault.ErrDamaged) {
			t.Errorf("opened: %v", err)
		}
		b.do(Batch{Restored: []Body{b.body(r, l)}})
		if shown, err := b.Display(ctx, id); err != nil || shown[id].Body != l.body {
			t.Errorf("restored: %+v, %v", shown, err)
		}
		raw, err := b.OpenRaw(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if got, err := io.ReadAll(raw); err != nil || string(got) != string(l.raw()) {
			t.Errorf("restored: %q, %v", got, err)
		}
		if _, err := b.OpenRaw(ctx, "mUnknown"); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("an unknown one: %v", err)
		}
		bare := b.at(ref("INBOX", 2), letter{id: "b"})
		if none, err := b.OpenRaw(ctx, b.do(Batch{New: []NewMessage{bare}}).IDs[bare.PlacementRef]); none != nil || err != nil {
			t.Errorf("one without its bytes: %v, %v", none, err)
		}
		if _, err := b.CollectGarbage(ctx); err != nil { // the chunks without a blob
			t.Fatal(err)
		}
	})
}
