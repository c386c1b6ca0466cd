package syncer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAHeaderThatIsLeftOut: a message is counted and found, and not in the answer to a FETCH of headers. It is set aside, and comes when
// the server tells of it; one that was removed before its header came is no trouble.
func TestAHeaderThatIsLeftOut(t *testing.T) {
	t.Parallel()
	for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			hides := func(c persona.Command, uid uint32) bool {
				return (uid == 3 || uid == 8) && strings.Contains(c.Args, "HEADER")
			}
			r := newRig(t, persona.Knobs{Caps: caps, Hide: hides})
			r.fill("INBOX", 1, 9)
			for range 3 {
				r.wait(25 * time.Hour)
				r.login()
				r.look(true)
				if got := r.a.proofs.of(r.folderIDs()["INBOX"]); !got.IsZero() {
					t.Error("the folder is said to be in sync")
				}
			}
			asides := func(want int64) {
				t.Helper()
				if n, err := r.a.mbox.CountTroubles(t.Context()); n != want || err != nil {
					t.Errorf("%d are set aside, %v", n, err)
				}
			}
			asides(2)
			r.p.Turn(func(k *persona.Knobs) { k.Hide = nil })
			r.wait(25 * time.Hour)
			r.login()
			r.look(true)
			r.agrees()
			asides(0)
			if got := r.a.proofs.of(r.folderIDs()["INBOX"]); got.IsZero() {
				t.Error("the folder is not said to be in sync")
			}

			removed := false
			r.p.Turn(func(k *persona.Knobs) {
				k.Answer = func(c persona.Command) string {
					if c.Name == "UID FETCH" && strings.Contains(c.Args, "HEADER") && !removed {
						removed = true
						r.p.Expunge("INBOX", 11)
					}
					return ""
				}
			})
			r.fill("INBOX", 10, 12)
			r.look(false)
			r.look(false)
			r.agrees()
			asides(0)
		})
	}
}

// TestATargetWhoseHeaderIsSetAside: another program moves a message into a folder where the server refuses its header for now, which is
// no deletion; that the header is refused for good holds back no other deletion for long.
func TestATargetWhoseHeaderIsSetAside(t *testing.T) {
	t.Parallel()
	bad := false
	r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		if bad && c.Folder == "Work" && c.Name == "UID FETCH" && strings.Contains(c.Args, "HEADER") {
			return "NO [SERVERBUG] internal error"
		}
		return ""
	}})
	r.p.Create("Work")
	r.fill("INBOX", 1, 5)
	r.begin()
	looks := func(after time.Duration) []string {
		for range 5 {
			r.login()
			r.look(false)
			r.wait(after)
		}
		return r.deleted()
	}
	bad = true
	r.p.Move("INBOX", 2, "Work")
	if gone := looks(3 * time.Minute); gone != nil {
		t.Errorf("told as deleted: %q", gone)
	}
	bad = false
	if gone := looks(time.Hour); gone != nil {
		t.Errorf("told as deleted: %q", gone)
	}
	r.agrees()
	bad = true
	r.p.Deliver("Work", letter(20))
	looks(7 * time.Hour)
	r.p.Expunge("INBOX", 4)
	if gone := looks(3 * time.Minute); len(gone) != 1 || gone[0] != "m4" {
		t.Errorf("told as deleted: %q", gone)
	}
}

// TestCountsThatAgreeAlthoughAMessageIsSetAside: a message that the server refused is not here, and another one is expunged: the counts
// are equal, and prove nothing.
func TestCountsThatAgreeAlthoughAMessageIsSetAside(t *testing.T) {
	t.Parallel()
	for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		for _, due := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, due %t", which, due), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Caps: caps})
				r.fill("INBOX", 1, 5)
				r.begin()
				r.fill("INBOX", 6, 9)
				r.p.Turn(func(k *persona.Knobs) {
					k.Answer = func(c persona.Command) string {
						set, _, _ := strings.Cut(c.Args, " ")
						if uids, err := imap.ParseUIDSet(set); err == nil && c.Name == "UID FETCH" && strings.Contains(c.Args, "HEADER") && uids.Contains(7) {
							return "NO not now"
						}
						return ""
					}
				})
				for range 3 { // what a look has seen is asked for once more where MODSEQ may run ahead
					r.look(false)
				}
				r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
				if due {
					r.wait(3 * time.Minute)
				}
				r.p.Expunge("INBOX", 2)
				r.look(false)
				if due {
					r.agrees()
				}
				r.wait(3 * time.Minute)
				r.look(false)
				r.agrees()
				r.p.Expunge("INBOX", 7)
				r.look(false)
				r.agrees()
				if n, err := r.a.mbox.CountTroubles(t.Context()); n != 0 || err != nil {
					t.Errorf("%d are set aside, %v", n, err)
				}
			})
		}
	}
}
