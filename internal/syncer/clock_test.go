package syncer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

func headersOnly() *mail.SyncPolicy { return &mail.SyncPolicy{HeadersOnly: true} }

// TestTheClockWasWrong restarts after the clock was far ahead, or stood at 1970: what was put off until a time that is far away
// does not stay away, no time is told that is to come, and the log goes on.
func TestTheClockWasWrong(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"years ahead": 20 * 365 * 24 * time.Hour, "an hour ahead": time.Hour, "an hour behind": -time.Hour, "in 1970": -56 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{UIDValidity: nil})
			right := r.now()
			r.wait(off)
			r.fill("INBOX", 1, 5)
			refuse := true
			r.p.Turn(func(k *persona.Knobs) {
				k.Hide = func(c persona.Command, uid uint32) bool {
					return refuse && uid == 3 && strings.Contains(c.Args, "BODY.PEEK[]")
				}
			})
			r.begin()
			if list := r.troubles(); len(list) != 1 {
				t.Fatalf("set aside: %q", list)
			}
			folders, err := r.a.mbox.Folders(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.a.units.mu.Lock()
			err = r.a.setUnitAside(t.Context(), span(folders[0], imap.UIDs(77)), "for the test", false)
			r.a.units.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			for range flipsToFlap {
				r.a.flip(folders[0].ID)
			}
			if err := r.a.apply(t.Context(), batchOfNothing()); err != nil {
				t.Fatal(err)
			}

			r.mu.Lock() // the clock is set
			r.at = right
			r.mu.Unlock()
			refuse = false
			r.restart(false)
			s := r.a.status.get()
			for what, at := range map[string]time.Time{"fresh": s.FreshAt, "seen": s.SeenAt, "audited": s.AuditedAt, "the last audit": r.a.lastAudit} {
				if at.After(r.now()) {
					t.Errorf("%s at %v, which is to come", what, at)
				}
			}
			r.wait(26 * time.Hour) // the longest that anything is left alone, and more
			if r.a.flapsAnywhere() {
				t.Error("a folder flaps for ever")
			}
			r.p.Flag("INBOX", 1, `\Flagged`)
			r.look(r.a.e.o.Now().Sub(r.a.lastAudit) >= r.a.e.o.Audit)
			r.agrees()
			for _, q := range r.troubles() {
				if q != "for the test" {
					t.Errorf("still set aside: %q", q)
				}
			}
			if list, err := r.a.mbox.Units(t.Context()); err != nil || len(list) > 0 && list[0].NextTry.After(r.now().Add(25*time.Hour)) {
				t.Errorf("units %+v %v", list, err)
			}
			if is := r.a.status.get(); !is.AuditedAt.After(right) || is.FreshAt.After(r.now()) {
				t.Errorf("audited %v, fresh %v", is.AuditedAt, is.FreshAt)
			}
			found := false
			for _, c := range r.changes() {
				found = found || c == `message.updated m1 in INBOX [\Flagged]`
			}
			if !found {
				t.Error("the change is not told")
			}
		})
	}
}

// TestADayOfAWrongClock: what was counted while the clock was a year ahead is forgotten a day after it is right again, and not in a year.
func TestADayOfAWrongClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 4, 1, 12, 30, 0, 0, time.UTC)
	var d day
	d.add(now.Add(365*24*time.Hour), 100)
	d.add(now, 100)
	if wait := d.over(now, 150); wait <= 0 || wait > 24*time.Hour {
		t.Errorf("wait %v for 200 bytes of a day", wait)
	}
	var again day
	again.load(d.save(now))
	for name, d := range map[string]*day{"running": &d, "restarted": &again} {
		if wait := d.over(now.Add(25*time.Hour), 150); wait != 0 {
			t.Errorf("%s: wait %v although nothing was moved in a day", name, wait)
		}
	}
}

// TestVanishedByAWrongClock: what vanished while the clock was years ahead is told as deleted, and holds up nothing.
func TestVanishedByAWrongClock(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 5)
	r.begin()
	right := r.now()
	r.wait(20 * 365 * 24 * time.Hour)
	r.p.Expunge("INBOX", 3)
	r.look(false)
	r.mu.Lock() // the clock is set
	r.at = right
	r.mu.Unlock()
	r.restart(false)
	for range 2 {
		r.wait(time.Hour)
		r.login()
		r.look(false)
	}
	if got := r.changes(); !strings.Contains(fmt.Sprint(got), "message.deleted") {
		t.Errorf("told %q", got)
	}
	if s := r.a.status.get(); s.FreshAt.Before(right.Add(time.Hour)) {
		t.Errorf("fresh at %v, it is %v", s.FreshAt, r.now())
	}
}

// TestAnAuditOfAWrongClock: a complete comparison that was begun while the clock was ahead is begun anew when it is right again, with all
// folders, and is told as of then.
func TestAnAuditOfAWrongClock(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 5)
	r.begin()
	r.a.auditing = r.now().Add(365 * 24 * time.Hour)
	r.a.proofs.proven(r.folder("INBOX").ID, r.a.auditing, true)
	r.wait(24 * time.Hour)
	began := r.now()
	r.look(true)
	if said := fmt.Sprint(r.said()); !strings.Contains(said, `EXAMINE "INBOX"`) {
		t.Errorf("INBOX was not compared: %s", said)
	}
	if at := r.a.status.get().AuditedAt; at.Before(began) || at.After(r.now()) {
		t.Errorf("audited at %v, which began at %v", at, began)
	}
}
