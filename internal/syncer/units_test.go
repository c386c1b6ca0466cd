package syncer

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// setAside sets messages, or a folder (0), aside.
func (r *rig) setAside(f mail.Folder, v mail.UIDValidity, uid mail.UID) {
	r.t.Helper()
	r.a.units.mu.Lock()
	defer r.a.units.mu.Unlock()
	if err := r.a.setUnitAside(r.t.Context(), place{f.ID, v, uid, uid}, "for the test", false); err != nil {
		r.t.Fatal(err)
	}
}

// TestUnitsOfAnotherGeneration: a UID names another message, or none, when UIDVALIDITY is another or the folder is. What is set aside under it is of
// no concern then, and is forgotten in the next audit, as is what was not tried for two days: its message is gone.
func TestUnitsOfAnotherGeneration(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 3)
	r.begin()
	f := r.folder("INBOX")
	const uid, newest = 2, mail.UID(90)
	old := f.UIDValidity + 1
	r.setAside(f, old, uid)
	r.a.units.kept[place{f.ID, old, 3, 3}] = store.Unit{Folder: f.ID, UIDValidity: old, First: 3, Last: 3, Deaths: 1}
	r.a.units.strikes[place{f.ID, old, 1, 3}] = 2
	if !r.a.asideOf(f).Empty() || !r.a.asideAll(f).Empty() || r.a.asideLately(f) {
		t.Errorf("set aside: %v, %v, lately %t", r.a.asideOf(f), r.a.asideAll(f), r.a.asideLately(f))
	}
	r.a.units.writing = true
	if r.a.suspect(f, 3) {
		t.Error("a message is suspect for the sake of another")
	}
	if got := r.a.groups(f, []uint32{1, 2, 3}); len(got) != 1 {
		t.Errorf("cut for the sake of others: %v", got)
	}
	r.a.units.writing = false
	delete(r.a.units.kept, place{f.ID, old, 3, 3})
	r.wait(2 * time.Hour) // it would be due
	r.look(false)
	if got := r.a.status.get().FreshAt; r.now().Sub(got) > time.Minute {
		t.Errorf("fresh at %v", got)
	}

	r.setAside(f, f.UIDValidity, newest)
	r.setAside(f, 0, 0)
	r.setAside(mail.Folder{ID: "gone"}, 1, 1)
	if got := r.a.asideOf(f); got.String() != "90" {
		t.Errorf("set aside: %v", got)
	}
	if err := r.a.forgetUnits(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept := func(want ...place) {
		t.Helper()
		list, err := r.a.mbox.Units(t.Context())
		if err != nil || len(list) != len(want) || len(r.a.units.kept) != len(want) {
			t.Errorf("stored %+v, %v, kept %v; want %v", list, err, r.a.units.kept, want)
		}
		for _, p := range want {
			if _, ok := r.a.units.kept[p]; !ok {
				t.Errorf("%v is forgotten", p)
			}
		}
	}
	here, folder := place{f.ID, f.UIDValidity, newest, newest}, place{folder: f.ID}
	kept(here, folder)
	r.wait(r.a.e.o.Audit)
	if err := r.a.forgetUnits(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept(here, folder)
	r.wait(2 * r.a.e.o.Audit)
	if err := r.a.forgetUnits(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept()
}

// TestWhatIsGoneIsNotAside: a message that is set aside and then deleted at the server is set aside no more, whatever else is.
func TestWhatIsGoneIsNotAside(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Hide: func(c persona.Command, uid uint32) bool { return uid < 3 && strings.Contains(c.Args, "HEADER") }})
	r.fill("INBOX", 1, 4)
	r.begin()
	f := r.folder("INBOX")
	if got := r.a.asideOf(f); got.String() != "1:2" {
		t.Fatalf("set aside: %v", got)
	}
	r.p.Expunge("INBOX", 1)
	r.look(true)
	if got := r.a.asideOf(f); got.String() != "2" {
		t.Errorf("set aside: %v", got)
	}
	if n := r.a.aside.Load(); n != 1 {
		t.Errorf("%d are told", n)
	}
}

// TestWhatIsBegunIsWrittenDown: after a death, before it is begun, and no longer than it is under way.
func TestWhatIsBegunIsWrittenDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 3)
	var mu sync.Mutex
	var during []store.Unit
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(c persona.Command) string {
			if c.Name == "UID FETCH" && strings.Contains(c.Args, "BODY.PEEK[") {
				list, err := r.a.mbox.Units(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				during = append(during, list...)
				mu.Unlock()
			}
			return ""
		}
	})
	r.look(true)
	mu.Lock()
	if len(during) > 0 {
		t.Errorf("written down although the process has not died: %+v", during)
	}
	mu.Unlock()
	r.restart(false)
	r.restart(true)
	r.fill("INBOX", 4, 5)
	r.login()
	if err := r.a.pass(t.Context(), r.s, false); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(during) == 0 {
		t.Error("nothing was written down")
	}
	for _, u := range during {
		if !u.UnderWay || u.First != 4 || u.Last != 5 {
			t.Errorf("%+v", u)
		}
	}
	if list, err := r.a.mbox.Units(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("left: %+v, %v", list, err)
	}
}

// TestAParkedFolderStaysSoAfterARestart: it is not tried before its time, and the account says why.
func TestAParkedFolderStaysSoAfterARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Work")
	r.fill("Work", 1, 3)
	r.begin()
	f := r.folder("Work")
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(c persona.Command) string {
			if c.Name == "EXAMINE" && c.Folder == "Work" {
				return "NO [SERVERBUG] internal error"
			}
			return ""
		}
	})
	for n := range maxStrikes {
		r.fill("Work", 4+n, 4+n)
		r.wait(time.Hour)
		r.look(false)
	}
	before, trouble := r.a.parked[f.ID], r.a.proofs.all()[f.ID].Trouble
	if before.until.IsZero() || trouble == "" {
		t.Fatalf("%+v, %q", before, trouble)
	}
	for _, died := range []bool{false, true} {
		r.restart(died)
		is := r.a.parked[f.ID]
		if d := is.until.Sub(before.until).Abs(); d > time.Second || is.backoff.failures == 0 || is.seen.Sub(before.seen).Abs() > time.Second || r.a.proofs.all()[f.ID].Trouble != trouble {
			t.Errorf("died %t: %+v, %q; want %+v, %q", died, is, r.a.proofs.all()[f.ID].Trouble, before, trouble)
		}
		tried := r.p.Count("EXAMINE Work")
		r.look(false)
		if r.p.Count("EXAMINE Work") != tried {
			t.Errorf("died %t: it is tried before its time", died)
		}
	}
}
