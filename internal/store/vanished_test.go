package store

import (
	"testing"
	"time"
)

// TestVanishedWhileTheClockWasAhead: what vanished then is among what has vanished, and is swept once the clock is right.
func TestVanishedWhileTheClockWasAhead(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
		p.o.Now = func() time.Time { return now }
		b := newBox(t, p)
		b.folders("INBOX")
		l := letter{id: "a", subject: "s"}
		n := b.at(ref("INBOX", 1), l)
		b.do(Batch{New: []NewMessage{n, b.at(ref("INBOX", 2), letter{id: "b"})}})
		right := now
		now = now.AddDate(20, 0, 0)
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1)}})
		now = right
		looks, err := b.Vanished(t.Context())
		if want := (Looks{n.Size, n.InternalDate.Unix()}); err != nil || len(looks) != 1 || !looks[want] {
			t.Errorf("vanished: %v %v, want %v", looks, err, want)
		}
		b.sweep(now)
		now = now.Add(time.Hour)
		b.sweep(now)
		if c, err := b.Counts(t.Context()); err != nil || c.Vanished != 0 || c.Placements != 1 {
			t.Errorf("%+v %v", c, err)
		}
	})
}
