package store

import (
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// What is said of a copy that has vanished, or of one whose bytes are here, comes too late and changes nothing.
func TestTooLate(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		now := time.UnixMilli(1700000000000)
		p.o.Now = func() time.Time { return now }
		b := newBox(t, p)
		b.folders("INBOX")
		b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), letter{id: "a", day: 1}), b.held(ref("INBOX", 2), letter{id: "b", day: 2})}})
		from := b.seq()
		b.do(Batch{Quarantine: []Trouble{{PlacementRef: ref("INBOX", 1), Reason: "refused", NextTry: farFuture}}})
		if n, err := b.CountTroubles(t.Context()); err != nil || n != 0 {
			t.Errorf("%d messages are set aside although their bytes are here: %v", n, err)
		}
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 2)}})
		b.do(Batch{Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 2), Flags: mail.FlagSeen}}})
		b.wantLog(from)
		now = now.Add(time.Hour)
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 2)}})
		if r := b.sweep(now.Add(-time.Minute)); r.Changes != 1 {
			t.Errorf("what vanishes twice waits anew: %d changes", r.Changes)
		}
	})
}

// A copy that looks like the one of a message which has vanished may be one of another message with the same header: its bytes tell.
func TestATwinOfWhatHasVanished(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Other", "Third")
		one, two := letter{id: "a", day: 1, body: "one"}, letter{id: "a", day: 1, body: "two"} // of one size and date
		b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), one)}})
		twin := b.do(Batch{New: []NewMessage{b.held(ref("Other", 1), two)}}).IDs[ref("Other", 1)]
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1)}, New: []NewMessage{b.at(ref("Third", 1), two)}})
		if list, err := b.Unheld(t.Context(), fid("Third"), 9); err != nil || len(list) != 1 {
			t.Errorf("its bytes are not asked for: %v %v", list, err)
		}
		b.do(Batch{Bodies: []Body{b.body(ref("Third", 1), two)}})
		if m := b.get(twin); !slices.Equal(m.Folders, []mail.FolderID{"fOther", "fThird"}) {
			t.Errorf("it lies in %v", m.Folders)
		}
	})
}

// An older version of a draft that is not gone after all has not the bytes of the newer one.
func TestAnOldVersionThatComesBack(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("Drafts")
		v1, v2 := letter{id: "d", subject: "first", body: "one", day: 1}, letter{id: "d", subject: "second", body: "two", day: 2}
		old, bare := b.draft(ref("Drafts", 1), v1), b.draft(ref("Drafts", 2), v2)
		bare.Content = nil
		id := b.do(Batch{New: []NewMessage{old}}).IDs[old.PlacementRef]
		b.do(Batch{New: []NewMessage{bare}})
		b.do(Batch{Vanished: []PlacementRef{old.PlacementRef}})
		b.do(Batch{Bodies: []Body{b.body(bare.PlacementRef, v2)}})
		seen := b.draft(old.PlacementRef, v1)
		seen.Content = nil
		b.do(Batch{New: []NewMessage{seen}})
		b.do(Batch{Bodies: []Body{b.body(old.PlacementRef, v1)}})
		if m := b.get(id); m.Subject != "second" {
			t.Errorf("the draft is %q", m.Subject)
		}
		list, err := b.Placements(t.Context(), fid("Drafts"), 1)
		if err != nil || len(list) != 2 || list[0].Message == id || list[1].Message != id {
			t.Errorf("the old version is taken for the new one: %+v %v", list, err)
		}
		b.ok()
	})
}
