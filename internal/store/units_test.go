package store

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestUnits: what was under way when a sync did not end has one death more, and what is set aside stays as it was.
func TestUnits(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		ctx := context.Background()
		begin := func(want bool) {
			t.Helper()
			if died, err := b.BeginRun(ctx); err != nil || died != want {
				t.Fatalf("died: %v, %v", died, err)
			}
		}
		units := func(want ...Unit) {
			t.Helper()
			got, err := b.Units(ctx)
			if err != nil || len(got) != len(want) {
				t.Fatalf("%+v, %v", got, err)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("is   %+v\nwant %+v", got[i], want[i])
				}
			}
		}
		begin(false)
		if err := b.EndRun(ctx, b.term); err != nil {
			t.Fatal(err)
		}
		begin(false)
		next, err := b.NextTerm(ctx) // another has followed, and is under way when the one before comes to its end
		if err != nil {
			t.Fatal(err)
		}
		if err := b.EndRun(ctx, b.term); !mail.IsKind(err, mail.Fenced) {
			t.Errorf("the end of a run that was followed by another: %v", err)
		}
		begin(true)
		if err := b.EndRun(ctx, next); err != nil {
			t.Fatal(err)
		}
		begin(false)
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		working := Unit{Folder: "f1", UIDValidity: 7, First: 1, Last: 400, UnderWay: true, Since: at}
		done := Unit{Folder: "f1", UIDValidity: 7, First: 401, Last: 800, UnderWay: true, Since: at}
		aside := Unit{Folder: "f2", Attempts: 3, Since: at, NextTry: at.Add(time.Hour), Reason: "the server does not open it"}
		for _, u := range []Unit{working, done, aside} {
			if err := b.PutUnit(ctx, u); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.DropUnit(ctx, done); err != nil {
			t.Fatal(err)
		}
		begin(true)
		working.UnderWay, working.Deaths = false, 1
		list, err := b.Units(ctx)
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		if list[0].Folder == "f2" { // the databases differ about where no time comes
			units(aside, working)
		} else {
			units(working, aside)
		}
		begin(true)
		working.UnderWay = true
		if err := b.PutUnit(ctx, working); err != nil {
			t.Fatal(err)
		}
		begin(true)
		if err := b.DropUnit(ctx, aside); err != nil {
			t.Fatal(err)
		}
		working.UnderWay, working.Deaths = false, 2
		units(working)
	})
}

// TestGapIsTold: a gap is a change of the account.
func TestGapIsTold(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		b.do(Batch{Origin: mail.OriginLive, Gap: &Gap{Since: at, Until: at.Add(time.Hour), Reason: "nobody looked"}})
		list, err := b.Changes(context.Background(), 0, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		if c := list[0]; c.Kind != mail.SyncGap || c.Data.Reason != "nobody looked" || c.Data.Since != at.Unix() || c.Data.Until != at.Unix()+3600 {
			t.Errorf("%+v", c)
		}
	})
}
