package store

import (
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestRenewedFolder checks that a folder made anew under the same UIDVALIDITY keeps what is still in it, under other UIDs and
// in several batches, and loses the rest when it is swept.
func TestRenewedFolder(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Other")
		var batch Batch
		for i := range 6 {
			batch.New = append(batch.New, b.held(ref("INBOX", mail.UID(i+1)), letter{id: string(rune('a' + i)), day: i, body: "x"}))
		}
		batch.Cursors = []Cursor{{Folder: fid("INBOX"), UIDValidity: 1, UIDNext: 7, HeadersDone: true, BackfillBelow: 1}}
		was := b.do(batch).IDs
		for range 2 { // the second time others are still waiting to be swept
			from := b.seq()
			b.do(Batch{Renewed: []mail.FolderID{fid("INBOX"), fid("unknown")}})
			b.wantLog(from, "folder.reset fINBOX")
			if f := b.folder("INBOX"); f.Total != 0 || f.UIDNext != 0 || f.HeadersDone || f.BackfillBelow != 0 || f.UIDValidity != 1 {
				t.Errorf("after the reset: %+v", f)
			}
			from = b.seq()
			for i := 4; i >= 0; i-- { // in the other direction, so that every UID names another message than before
				n := batch.New[i]
				n.PlacementRef, n.Content = ref("INBOX", mail.UID(5-i)), nil
				if got := b.do(Batch{New: []NewMessage{n}}).IDs[n.PlacementRef]; got != was[ref("INBOX", mail.UID(i+1))] {
					t.Errorf("message %d has another id", i)
				}
			}
			b.wantLog(from)
			b.ok()
		}
		from := b.seq()
		b.sweep(time.Now().Add(time.Hour))
		if got := b.log(from); len(got) != 1 {
			t.Errorf("the one that is gone: %q", got)
		}
		b.ok()
	})
}

// TestRemovedIsSweptWithoutGrace checks that what we took away ourselves waits for nothing.
func TestRemovedIsSweptWithoutGrace(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), letter{id: "a", body: "x"}), b.held(ref("INBOX", 2), letter{id: "b", body: "x"})}})
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1)}, Removed: []PlacementRef{ref("INBOX", 2)}})
		b.ok()
		b.sweep(time.Now().Add(-time.Hour))
		if c, _ := b.Counts(t.Context()); c.Messages != 1 || c.Vanished != 1 {
			t.Errorf("counts %+v", c)
		}
		b.ok()
	})
}

func TestSomePlacements(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Other")
		batch := Batch{New: []NewMessage{b.held(ref("Other", 3), letter{id: "z", body: "x"})}}
		for _, uid := range []mail.UID{2, 3, 5, 8, 13} {
			batch.New = append(batch.New, b.held(ref("INBOX", uid), letter{id: string(rune('a' + uid)), body: "x"}))
		}
		b.do(batch)
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 5)}})
		uids := func(list []mail.Placement, err error) (out []mail.UID) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range list {
				out = append(out, p.UID)
			}
			return out
		}
		if got := uids(b.PlacementsAt(t.Context(), fid("INBOX"), 1, [][2]mail.UID{{1, 2}, {4, 8}})); !slices.Equal(got, []mail.UID{2, 8}) {
			t.Errorf("at: %v", got)
		}
		if got := uids(b.NewestPlacements(t.Context(), fid("INBOX"), 1, 3)); !slices.Equal(got, []mail.UID{3, 8, 13}) {
			t.Errorf("newest: %v", got)
		}
	})
}
