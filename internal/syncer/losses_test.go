package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// vanished counts the messages that were believed to be gone and are not swept yet.
func (r *rig) vanished() int64 {
	r.t.Helper()
	c, err := r.a.mbox.Counts(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return c.Vanished
}

// lookAfter is a look in another session after a while.
func (r *rig) lookAfter(d time.Duration) {
	r.t.Helper()
	r.wait(d)
	r.login()
	r.look(false)
}

// TestALossIsBelievedWhenItLasts: what is suspiciously much, and a folder of which only the name is left, must be missing in two sessions
// a minute apart, and all the time between them.
func TestALossIsBelievedWhenItLasts(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(k *persona.Knobs){
		"messages": func(k *persona.Knobs) { k.Limited = 3 },
		"a folder": func(k *persona.Knobs) {
			k.Answer = func(c persona.Command) string {
				if c.Folder == "Work" && (c.Name == "STATUS" || c.Name == "EXAMINE" || c.Name == "SELECT") {
					return "NO [NONEXISTENT] no such folder"
				}
				return ""
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Basic})
			r.p.Create("Work")
			r.fill("Work", 1, 60)
			r.begin()
			r.p.Turn(lose)
			r.lookAfter(time.Hour)
			r.lookAfter(time.Second)
			if n := r.vanished(); n != 0 {
				t.Errorf("%d are gone, after a second", n)
			}
			r.p.Turn(func(k *persona.Knobs) { k.Limited, k.Answer = 0, nil })
			r.wait(time.Hour)
			r.login()
			r.look(true)
			r.agrees()
			r.p.Turn(lose)
			r.lookAfter(time.Hour)
			if n := r.vanished(); n != 0 {
				t.Errorf("%d are gone, missing for the first time since they were back", n)
			}
			r.a.e.o.Grace = 24 * time.Hour
			r.lookAfter(3 * time.Minute)
			if n := r.vanished(); n == 0 {
				t.Error("it is never believed")
			}
		})
	}
}

// TestAFolderThatAnsweredIsNotAway: the day that a folder must be away, where the server says no without a reason, begins anew when it
// was there in between, although no list has it.
func TestAFolderThatAnsweredIsNotAway(t *testing.T) {
	t.Parallel()
	away, answers := false, false
	r := newRig(t, persona.Knobs{Caps: persona.Basic, Answer: func(c persona.Command) string {
		if away && !answers && c.Folder == "Work" {
			return "NO Internal error occurred."
		}
		return ""
	}, Say: func(_ persona.Command, line string) string {
		if away && strings.HasPrefix(line, "* LIST") && strings.Contains(line, `"Work"`) {
			return ""
		}
		return line
	}})
	r.p.Create("Work")
	r.fill("Work", 1, 3)
	r.begin()
	deleted := func() bool {
		return slices.ContainsFunc(r.changes(), func(c string) bool { return strings.Contains(c, "deleted") })
	}
	away = true
	r.lookAfter(time.Minute)
	answers = true
	r.lookAfter(20 * time.Hour)
	answers = false
	r.lookAfter(5 * time.Hour)
	if deleted() {
		t.Error("deleted, five hours after it was there")
	}
	r.lookAfter(25 * time.Hour)
	r.lookAfter(time.Hour)
	if !deleted() {
		t.Error("it is never believed")
	}
}

// TestAnotherFolderWithTheUIDVALIDITY: a folder that has the UIDVALIDITY of one that is gone is not that one under another name if it
// has other messages, few of them, or none and another UIDNEXT.
func TestAnotherFolderWithTheUIDVALIDITY(t *testing.T) {
	t.Parallel()
	for name, sc := range map[string]struct {
		lost string
		fill func(*rig)
	}{
		"other messages":      {"A", func(r *rig) { r.fill("Z", 101, 110) }},
		"few of the messages": {"A", func(r *rig) { r.fill("Z", 1, 2) }},
		"no messages":         {"Empty", func(r *rig) { r.p.Expunge("Z", r.p.Deliver("Z", letter(1))) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "OBJECTID")})
			r.p.Create("A")
			r.p.Create("Empty")
			r.p.Renew("A", 88, 0)
			r.p.Renew("Empty", 88, 0)
			r.fill("A", 1, 10)
			r.begin()
			was := r.folderIDs()[sc.lost]
			r.p.Delete(sc.lost)
			r.p.Create("Z")
			r.p.Renew("Z", 88, 0)
			sc.fill(r)
			r.lookAfter(time.Minute)
			if is := r.folderIDs()["Z"]; is == was || is == mail.FolderID("") {
				t.Errorf("Z is %q, and %s was %q", is, sc.lost, was)
			}
			for range 2 {
				r.lookAfter(3 * time.Minute)
			}
			r.agrees()
		})
	}
}
