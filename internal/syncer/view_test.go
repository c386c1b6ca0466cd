package syncer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// everyStep runs a story on every step of the ladder, beside a server that shows so many messages of a folder.
func everyStep(t *testing.T, limited int, story func(*testing.T, *rig)) {
	t.Parallel()
	for which, caps := range map[string]string{"QRESYNC": persona.Without(persona.All, "UIDONLY"), "CONDSTORE": persona.Without(persona.All, "QRESYNC", "UIDONLY"), "basic": persona.Basic} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			story(t, newRig(t, persona.Knobs{Caps: caps, Limited: limited}))
		})
	}
}

// seek looks at the mailbox as an account that runs does: again in another session as long as there is doubt, then all of it.
func (r *rig) seek() {
	r.t.Helper()
	r.look(false)
	for range 3 {
		if doubt, _ := r.a.doubts(); !doubt {
			break
		}
		r.wait(2 * time.Minute)
		r.login()
		r.look(false)
	}
	r.wait(7 * time.Hour)
	r.look(true)
	r.wait(time.Hour) // what the last look has missed is removed
	r.look(false)
	if err := r.a.caughtUp(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) deleted() (names []string) {
	r.t.Helper()
	for _, c := range r.changes() {
		if name, ok := strings.CutPrefix(c, "message.deleted "); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *rig) isIn(state mail.State, reason string) {
	r.t.Helper()
	if s := r.a.status.get(); s.State != state || !strings.Contains(s.Reason, reason) || s.State == mail.StateDegraded && s.Action == "" {
		r.t.Errorf("the account is %s, %q, %q; want %s, %q", s.State, s.Reason, s.Action, state, reason)
	}
}

func numbered(first, last int) (names []string) {
	for i := first; i <= last; i++ {
		names = append(names, fmt.Sprint("m", i))
	}
	slices.Sort(names)
	return names
}

// TestMessagesOutOfViewAreKept: where a folder shows its newest messages only, those that arrivals push out of view are not
// deleted, and what is deleted is.
func TestMessagesOutOfViewAreKept(t *testing.T) {
	everyStep(t, 100, func(t *testing.T, r *rig) {
		r.fill("INBOX", 1, 98)
		r.begin()
		next := 98
		for _, come := range []int{3, 1, 2} { // the first fill the folder, and push out one
			r.fill("INBOX", next+1, next+come)
			next += come
			r.seek()
		}
		r.p.Drop() // a time without us
		r.fill("INBOX", next+1, next+70)
		next += 70
		r.login()
		r.seek()
		if gone := r.deleted(); gone != nil {
			t.Errorf("told as deleted: %q", gone)
		}
		if n := len(r.stored()); n != next {
			t.Errorf("%d of %d are here", n, next)
		}
		r.isIn(mail.StateDegraded, `newest 100 messages of "INBOX" only`)
		if s := r.a.status.get(); s.FreshAt.IsZero() || s.Total != s.Done {
			t.Errorf("fresh at %v, %d of %d", s.FreshAt, s.Done, s.Total)
		}

		r.p.Expunge("INBOX", 120, 150) // in view: two older ones are shown again
		r.seek()
		if gone := r.deleted(); !slices.Equal(gone, []string{"m120", "m150"}) {
			t.Errorf("told as deleted: %q", gone)
		}
		r.p.Expunge("INBOX", 5) // out of view
		r.seek()
		r.fill("INBOX", next+1, next+1)
		r.restart(false)
		r.seek()
		if gone := r.deleted(); gone != nil {
			t.Errorf("told as deleted: %q", gone)
		}
		if before := r.p.Count("UID SEARCH") + r.p.Count("UID FETCH"); true { // nothing new costs nothing
			r.look(false)
			if n := r.p.Count("UID SEARCH") + r.p.Count("UID FETCH") - before; n != 0 {
				t.Errorf("%d commands to find nothing", n)
			}
		}

		r.p.Turn(func(k *persona.Knobs) { k.Limited = 130 })
		r.seek()
		if gone := r.deleted(); gone != nil {
			t.Errorf("told as deleted when the limit was raised: %q", gone)
		}
		r.p.Turn(func(k *persona.Knobs) { k.Limited = 0 })
		r.seek()
		r.fill("INBOX", next+2, next+2)
		r.seek()
		if gone := r.deleted(); !slices.Equal(gone, []string{"m5"}) {
			t.Errorf("told as deleted when the limit was lifted: %q", gone)
		}
		r.agrees()
		r.isIn(mail.StateLive, "")
	})
}

// TestANewLimitDeletesNothing: the limit is set when the folder has more.
func TestANewLimitDeletesNothing(t *testing.T) {
	everyStep(t, 0, func(t *testing.T, r *rig) {
		r.fill("INBOX", 1, 250)
		r.begin()
		r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
		r.login()
		r.seek()
		r.fill("INBOX", 251, 251)
		r.seek()
		if gone := r.deleted(); gone != nil {
			t.Errorf("told as deleted: %q", gone)
		}
		r.isIn(mail.StateDegraded, "newest 100")
	})
}

// TestASmallNewLimit: the limit is set when the folder has only a little more.
func TestASmallNewLimit(t *testing.T) {
	everyStep(t, 0, func(t *testing.T, r *rig) {
		r.fill("INBOX", 1, 115)
		r.begin()
		r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
		r.login()
		r.seek()
		r.p.Expunge("INBOX", 60) // an older one is shown again
		r.fill("INBOX", 116, 117)
		r.seek()
		if gone := r.deleted(); !slices.Equal(gone, []string{"m60"}) {
			t.Errorf("told as deleted: %q", gone)
		}
		r.isIn(mail.StateDegraded, "newest 100")
	})
}

// TestAMoveOutOfARoundFolder: the oldest message of a folder of a hundred is moved as one arrives. When the folder shows less, there is no
// limit.
func TestAMoveOutOfARoundFolder(t *testing.T) {
	everyStep(t, 0, func(t *testing.T, r *rig) {
		r.p.Create("Work")
		r.fill("INBOX", 1, 100)
		r.begin()
		r.p.Move("INBOX", 1, "Work")
		r.fill("INBOX", 101, 101)
		r.login()
		r.seek()
		r.isIn(mail.StateDegraded, "newest 100")
		r.p.Expunge("INBOX", 50, 51, 52)
		r.seek()
		if gone := r.deleted(); !slices.Equal(gone, []string{"m50", "m51", "m52"}) {
			t.Errorf("told as deleted: %q", gone)
		}
		r.agrees()
		r.isIn(mail.StateLive, "")
	})
}

// TestTheOldestAreReallyDeleted: mail that a person or a rule removes at the old end of a folder is told as deleted, at the latest
// when what comes next shows that there is no limit, and another session agrees.
func TestTheOldestAreReallyDeleted(t *testing.T) {
	everyStep(t, 0, func(t *testing.T, r *rig) {
		wants := func(names ...string) {
			t.Helper()
			if gone := r.deleted(); !slices.Equal(gone, names) {
				t.Errorf("told as deleted: %q, want %q", gone, names)
			}
		}
		r.fill("INBOX", 1, 161)
		r.begin()
		expunge := func(first, last int) {
			var uids []uint32
			for i := first; i <= last; i++ {
				uids = append(uids, uint32(i))
			}
			r.p.Expunge("INBOX", uids...)
		}
		expunge(1, 5) // none came
		r.seek()
		wants(numbered(1, 5)...)
		expunge(6, 10) // fewer came
		r.fill("INBOX", 162, 163)
		r.seek()
		wants(numbered(6, 10)...)
		expunge(11, 12) // more came
		r.fill("INBOX", 164, 167)
		r.seek()
		wants(numbered(11, 12)...)

		expunge(13, 14) // as many came, but limits are round numbers
		r.fill("INBOX", 168, 169)
		r.seek()
		wants(numbered(13, 14)...)

		r.fill("INBOX", 170, 214) // there are 200
		r.seek()
		expunge(15, 16) // as many came: it may be a limit
		r.fill("INBOX", 215, 216)
		r.seek()
		wants()
		r.isIn(mail.StateDegraded, "newest 200")
		r.restart(false)
		r.fill("INBOX", 217, 217)
		r.seek()
		wants(numbered(15, 16)...)
		r.isIn(mail.StateLive, "")

		r.p.Expunge("INBOX", 100)
		r.seek()
		wants("m100")
		expunge(17, 60) // a rule that has waited
		r.look(false)
		wants() // not in this session
		r.seek()
		wants(numbered(17, 60)...)
		r.agrees()
		r.isIn(mail.StateLive, "")
	})
}
