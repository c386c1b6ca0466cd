package syncer

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
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

// TestGoneOrOutOfView: what of a folder's missing messages counts as gone, and what is known of its view then.
func TestGoneOrOutOfView(t *testing.T) {
	t.Parallel()
	const v, full = 7, 100
	limited := &view{UIDValidity: v, Most: full, Below: 51, Out: 50} // 51 to 150 are shown
	for what, c := range map[string]struct {
		view    *view
		there   imap.UIDSet
		missing imap.UIDSet
		earlier int // messages of earlier generations
		leaves  leaving
		doubt   bool // a session before has seen that it seems not to be limited
		gone    string
		before  int   // of those, how many are gone
		then    *view // nil: nothing is out of view
		doubts  bool
	}{
		"no limit":                           {there: imap.Range(3, 12), missing: imap.Range(1, 2), earlier: 1, gone: "1:2", before: 1},
		"a round number is left":             {there: imap.Range(3, 102), missing: imap.Range(1, 2), then: &view{v, full, 3, 2}},
		"and more is missing in between":     {there: imap.Range(4, 104).Without(imap.UIDs(7)), missing: imap.UIDs(1, 2, 3, 7), gone: "7", then: &view{v, full, 4, 3}},
		"what we have removed":               {there: imap.Range(3, 102), missing: imap.Range(1, 2), leaves: leaving{uidValidity: v, removed: imap.UIDs(1), moved: imap.UIDs(2)}, gone: "1:2"},
		"removed in another generation":      {there: imap.Range(3, 102), missing: imap.Range(1, 2), leaves: leaving{uidValidity: v + 1, removed: imap.UIDs(1), moved: imap.UIDs(2)}, then: &view{v, full, 3, 2}},
		"it moves on":                        {view: limited, there: imap.Range(53, 152), missing: imap.Range(1, 52), then: &view{v, full, 53, 52}},
		"it moves on, not round":             {view: &view{v, 130, 51, 50}, there: imap.Range(53, 182), missing: imap.Range(1, 52), then: &view{v, 130, 53, 52}},
		"older ones are back":                {view: limited, there: imap.Range(41, 140), missing: imap.Range(1, 40), then: &view{v, full, 41, 40}},
		"more are shown than ever":           {view: limited, there: imap.Range(21, 150), missing: imap.Range(1, 20), then: &view{v, 130, 21, 20}},
		"older ones are back, yet fewer":     {view: limited, there: imap.Range(41, 130), missing: imap.Range(1, 40), then: &view{v, full, 41, 40}, doubts: true},
		"it grows":                           {view: limited, there: imap.Range(51, 160), missing: imap.Range(1, 50), then: limited, doubts: true},
		"fewer are shown":                    {view: limited, there: imap.Range(61, 150), missing: imap.Range(1, 60), gone: "51:60", then: &view{v, full, 51, 50}, doubts: true},
		"and again in another session":       {view: limited, there: imap.Range(61, 150), missing: imap.Range(1, 60), doubt: true, gone: "1:60"},
		"as many again":                      {view: limited, there: imap.Range(51, 150), missing: imap.Range(1, 50), doubt: true, then: limited},
		"all is shown":                       {view: limited, there: imap.Range(1, 150), gone: ""},
		"numbered anew, and as full":         {view: &view{v - 1, full, 51, 50}, there: imap.Range(1, 100), earlier: 60, then: &view{v, full, 1, 60}},
		"numbered anew, and full otherwise":  {view: &view{v - 1, 130, 51, 50}, there: imap.Range(1, 100), earlier: 60, then: &view{v, full, 1, 60}},
		"numbered anew, and not full":        {view: &view{v - 1, full, 51, 50}, there: imap.Range(1, 90), earlier: 60, then: &view{v, full, 0, 60}, doubts: true},
		"numbered anew, and older ones back": {view: &view{v - 1, full, 51, 50}, there: imap.Range(1, 130), earlier: 20, then: &view{v, 130, 1, 20}},
	} {
		clock := newClock()
		a := newAccount(New(Options{Now: clock.now, Log: slog.New(slog.DiscardHandler)}), "a", func() {})
		a.ladder.kept.make()
		f := mail.Folder{ID: "f", UIDValidity: v, UIDNext: 1000}
		if c.view != nil {
			a.ladder.kept.Views[f.ID] = *c.view
		}
		a.leaving[f.ID] = c.leaves
		if a.session = 1; c.doubt {
			a.believe(unlimited + f.ID)
			a.session++
			clock.at = clock.at.Add(a.e.o.Confirm)
		}
		refs := func(validity mail.UIDValidity, uids imap.UIDSet) (out []store.PlacementRef) {
			for uid := range uids.All {
				out = append(out, store.PlacementRef{Folder: f.ID, UIDValidity: validity, UID: mail.UID(uid)})
			}
			return out
		}
		var earlier imap.UIDSet
		if c.earlier > 0 {
			earlier = imap.Range(1, uint32(c.earlier))
		}
		var gone imap.UIDSet
		old := 0
		for _, r := range (&folderLook{a: a, folder: f}).goneOf(c.there, refs(v, c.missing), refs(v-1, earlier)) {
			if r.UIDValidity != v {
				old++
			} else {
				gone.Add(uint32(r.UID))
			}
		}
		if gone.String() != c.gone || old != c.before {
			t.Errorf("%s: gone are %q and %d of before, want %q and %d", what, gone, old, c.gone, c.before)
		}
		is, out := a.ladder.kept.Views[f.ID]
		if out != (c.then != nil) || out && is != *c.then {
			t.Errorf("%s: the view is %+v, %t; want %+v", what, is, out, c.then)
		}
		if a.unlimitedSeems(f.ID) != c.doubts {
			t.Errorf("%s: seems not to be limited: %t", what, !c.doubts)
		}
	}
}

// TestALossIsNotBelievedInOneSession: however long it lasts, nor in another one at once.
func TestALossIsNotBelievedInOneSession(t *testing.T) {
	t.Parallel()
	clock := newClock()
	a := newAccount(New(Options{Now: clock.now, Log: slog.New(slog.DiscardHandler)}), "a", func() {})
	believes := func(what string, want bool) {
		t.Helper()
		if got := a.believe("f"); got != want {
			t.Errorf("%s: believed: %t", what, got)
		}
	}
	believes("at first", false)
	clock.at = clock.at.Add(24 * time.Hour)
	believes("after a day", false)
	if any, due := a.doubts(); !any || !due {
		t.Error("another session is not asked")
	}
	delete(a.losses, "f")
	believes("again", false)
	if _, due := a.doubts(); due {
		t.Error("another session is asked at once")
	}
	a.session++
	believes("at once in another session", false)
	clock.at = clock.at.Add(a.e.o.Confirm)
	believes("in another session, a minute later", true)
	believes("and anew", false)
}
