package syncer

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/test/persona"
)

// TestLadder holds every step of the ladder against a golden transcript: what was said, which rows are others than before,
// and which changes that made.
func TestLadder(t *testing.T) {
	t.Parallel()
	condstore := persona.Without(persona.All, "QRESYNC", "UIDONLY")
	for name, sc := range map[string]struct {
		knobs persona.Knobs
		play  func(*rig)
	}{
		"qresync":   {persona.Knobs{}, ordinary},
		"condstore": {persona.Knobs{Caps: condstore}, ordinary},
		"basic":     {persona.Knobs{Caps: persona.Basic}, ordinary},
		"uidonly": {persona.Knobs{Limited: 4, Caps: strings.Replace(persona.Yahoo().Caps, "MESSAGELIMIT=1000", "MESSAGELIMIT=3", 1)}, func(r *rig) {
			r.fill("INBOX", 1, 8)
			r.step("eight messages, of which four are shown to those who do not know UIDONLY, and three a command", true)
			r.fill("INBOX", 9, 9)
			r.p.Expunge("INBOX", 2)
			r.step("one comes, one goes", false)
		}},
		"a VANISHED that lies": {persona.Knobs{}, func(r *rig) {
			r.fill("INBOX", 1, 5)
			r.begin()
			r.p.Turn(func(k *persona.Knobs) { k.Vanished = persona.AllButOne })
			r.p.Flag("INBOX", 2, `\Seen`)
			r.step("all but one are said to be gone", false)
			r.p.Flag("INBOX", 3, `\Seen`)
			r.step("QRESYNC is not asked any more", false)
		}},
		"a VANISHED without end": {persona.Knobs{Vanished: func(persona.Command, []uint32) string { return "4:4294967295" }}, func(r *rig) {
			r.fill("INBOX", 1, 5)
			r.begin()
			r.p.Expunge("INBOX", 4, 5)
			r.step("only what is known can be gone", false)
		}},
		"CONDSTORE is lost and comes back": {persona.Knobs{CapsOf: func(session int) string {
			if session == 2 {
				return persona.Basic
			}
			return condstore
		}}, func(r *rig) {
			r.fill("INBOX", 1, 3)
			r.begin()
			r.login()
			r.p.Flag("INBOX", 1, `\Seen`)
			r.step("a session without CONDSTORE", false)
			r.login()
			r.p.Flag("INBOX", 2, `\Seen`)
			r.step("one with it uses no cursor from before", false)
			r.p.Flag("INBOX", 3, `\Seen`)
			r.step("then it does", false)
			r.step("and asks once more, as MODSEQ may run ahead of what is shown", false)
			r.step("and no more", false)
		}},
		"MODSEQ goes down": {persona.Knobs{Caps: condstore}, func(r *rig) {
			r.fill("INBOX", 1, 5)
			r.begin()
			r.p.Turn(func(k *persona.Knobs) { k.HighestModSeq = func(persona.Command, uint64) string { return "2" } })
			r.step("everything is compared, nothing is told", false)
			r.p.Turn(func(k *persona.Knobs) { k.HighestModSeq = func(persona.Command, uint64) string { return "NOMODSEQ" } })
			r.p.Flag("INBOX", 1, `\Seen`)
			r.step("no MODSEQ at all", false)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sc.knobs)
			sc.play(r)
			r.golden(strings.ReplaceAll(name, " ", "-"))
		})
	}
}

// ordinary is what happens in every mailbox.
func ordinary(r *rig) {
	r.fill("INBOX", 1, 4)
	r.step("four messages", true)
	r.step("nothing", false)
	r.fill("INBOX", 5, 5)
	r.step("a fifth", false)
	r.p.Flag("INBOX", 2, `\Seen`, "$Label1")
	r.step("flags", false)
	r.p.Expunge("INBOX", 3)
	r.step("one is expunged", false)
	r.step("it may have moved: it is looked for", false)
	r.wait(3 * time.Minute)
	r.step("it is nowhere", false)
	r.p.Move("INBOX", 4, "Trash")
	r.step("one is moved", false)
	r.step("a complete comparison", true)
}

// TestWindow checks the step for servers without CONDSTORE on a folder that is larger than the window.
func TestWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Basic})
	r.fill("INBOX", 1, flagWindow+200)
	r.begin()
	fetched := func() (out []string) {
		for _, l := range r.said() {
			if strings.HasPrefix(l, "C: UID FETCH") && strings.Contains(l, "FLAGS") && !strings.Contains(l, "HEADER") {
				out = append(out, l)
			}
		}
		return out
	}
	r.look(false) // the first window: all flags are due
	fetched()
	r.fill("INBOX", 2000, 2000)
	r.p.Flag("INBOX", flagWindow, `\Flagged`)
	r.look(false)
	if got := fetched(); !slices.Equal(got, []string{"C: UID FETCH 201:* (UID FLAGS)"}) {
		t.Errorf("new mail and a new flag: %q", got)
	}
	if got := r.changes(); !slices.Contains(got, fmt.Sprintf(`message.updated m%d in INBOX [\Flagged]`, flagWindow)) || len(got) != 2 {
		t.Errorf("changes %q", got)
	}
	r.p.Flag("INBOX", 5, `\Flagged`) // below the window, and no count tells
	r.look(false)
	if got := r.changes(); len(got) != 0 {
		t.Errorf("changes %q", got)
	}
	r.wait(flagsBusy)
	r.look(false)
	if got := r.changes(); !slices.Equal(got, []string{`message.updated m5 in INBOX [\Flagged]`}) {
		t.Errorf("changes %q", got)
	}
	r.p.Flag("INBOX", 6, `\Seen`) // below the window; STATUS counts one unread less
	r.look(false)
	if got := r.changes(); !slices.Equal(got, []string{`message.updated m6 in INBOX [\Seen]`}) {
		t.Errorf("changes %q", got)
	}
	r.p.Expunge("INBOX", 7)
	r.look(false)
	r.wait(3 * time.Minute)
	r.look(false)
	if got := r.changes(); !slices.Equal(got, []string{"message.deleted m7"}) {
		t.Errorf("changes %q", got)
	}
	r.p.Expunge("INBOX", 800) // in the window, and one turns up below it: the counts agree
	r.p.DeliverAt("INBOX", 7, letter(3000))
	r.fill("INBOX", 2001, 2001)
	r.look(false)
	r.wait(3 * time.Minute)
	r.look(false)
	got := r.changes()
	slices.Sort(got)
	if want := []string{"message.created m2001 in INBOX", "message.created m3000 in INBOX", "message.deleted m800"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
}

// TestTheProfileForbidsQResync: where a provider is known to get QRESYNC wrong (iCloud) it is never enabled, whatever is offered.
func TestTheProfileForbidsQResync(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]persona.Knobs{"iCloud": persona.ICloud(), "everything": {}} {
		for _, forbidden := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", forbidden: ", forbidden), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, k)
				r.a.e.o.Profile = func(mail.Account) provider.Profile {
					return provider.Profile{Limits: provider.Limits{NoQResync: forbidden}}
				}
				r.fill("INBOX", 1, 5)
				r.begin()
				r.fill("INBOX", 6, 6)
				r.p.Expunge("INBOX", 2)
				r.login()
				r.look(false)
				r.p.Flag("INBOX", 3, `\Seen`)
				r.login()
				r.look(false)
				r.wait(5 * time.Minute)
				r.look(true)
				r.agrees()
				if n := r.p.Count("ENABLE QRESYNC"); (n == 0) != forbidden {
					t.Errorf("QRESYNC was enabled %d times", n)
				}
				for _, l := range r.p.Log() {
					if forbidden && strings.Contains(l, "(QRESYNC ") {
						t.Errorf("used: %s", l)
					}
				}
				if step := r.a.stepOf(r.s); forbidden && step != byModSeq {
					t.Errorf("compared by %s", step)
				}
			})
		}
	}
	if p, ok := profileOf("icloud"); !ok || !p.Limits.NoQResync {
		t.Error("iCloud's profile does not say so")
	}
}

func profileOf(key string) (provider.Profile, bool) {
	for _, p := range provider.Profiles() {
		if p.Key == key {
			return p, true
		}
	}
	return provider.Profile{}, false
}

// TestTheLastWordOnFlagsCounts: an answer tells flags of a message that are no more, and then those that are (Dovecot, when it has not
// read its files yet).
func TestTheLastWordOnFlagsCounts(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			twice := 0
			late := ""
			r := newRig(t, persona.Knobs{Caps: caps, Say: func(c persona.Command, line string) string {
				switch {
				case strings.Contains(line, " FETCH (") && !strings.Contains(line, "{") && strings.Contains(line, `FLAGS (\Seen)`):
					twice++
					late += line + "\r\n"
					return strings.Replace(line, `FLAGS (\Seen)`, "FLAGS ()", 1)
				case !strings.HasPrefix(line, "*"):
					line, late = late+line, ""
				}
				return line
			}})
			r.fill("INBOX", 1, 5)
			r.begin()
			r.p.Flag("INBOX", 2, `\Seen`)
			r.p.Flag("INBOX", 4, `\Seen`)
			for range 2 {
				r.login()
				r.look(false)
			}
			for uid := 1; uid <= 5; uid++ {
				want := fmt.Sprint("m", uid)
				if uid%2 == 0 {
					want += ` \Seen`
				}
				if got := r.state()[fmt.Sprint("INBOX 1001 ", uid)]; got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
			if twice == 0 {
				t.Error("nothing was told twice")
			}
		})
	}
}

// TestFlagsOfMessagesThatAreNotShown: for a while the server counts messages that it does not show, and the flags of one change. The MODSEQ
// that is asked from does not move over them.
func TestFlagsOfMessagesThatAreNotShown(t *testing.T) {
	t.Parallel()
	notShown := regexp.MustCompile(` FETCH .*UID (3|10)[ )]`)
	for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC")} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: caps})
			r.fill("INBOX", 1, 9)
			r.begin()
			for range 2 { // what a look has seen is asked for once more where MODSEQ may run ahead
				r.look(false)
			}
			r.p.Turn(func(k *persona.Knobs) {
				k.Say = func(_ persona.Command, line string) string {
					if notShown.MatchString(line) {
						return ""
					}
					return strings.Replace(line, "ALL 1:10", "ALL 1:2,4:9", 1)
				}
			})
			r.p.Flag("INBOX", 3, `\Flagged`)
			r.fill("INBOX", 10, 10)
			for range 3 {
				r.look(false)
			}
			if got := len(r.stored()); got != 9 {
				t.Errorf("%d messages", got)
			}
			r.p.Turn(func(k *persona.Knobs) { k.Say = nil })
			r.wait(2 * time.Hour)
			r.look(false)
			r.look(false)
			r.agrees()
		})
	}
}
