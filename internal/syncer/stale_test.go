package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestNotFreshWhile: an account is not told to be as the server has it while something is missing here, or may be wrong, although every
// folder agrees; and it is again when that has passed.
func TestNotFreshWhile(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		begins, ends func(r *rig)
		state        mail.State
		reason       string
	}{
		"what has vanished may still turn up": {
			begins: func(r *rig) { r.p.Expunge("INBOX", 2); r.look(false) },
			ends:   func(*rig) {},
			state:  mail.StateLive,
		},
		"bytes are missing": {
			begins: func(r *rig) {
				r.p.Turn(func(k *persona.Knobs) {
					k.Hide = func(c persona.Command, uid uint32) bool { return uid == 4 && strings.Contains(c.Args, "BODY.PEEK[]") }
				})
				r.fill("INBOX", 4, 4)
				r.look(false)
			},
			ends:  func(r *rig) { r.p.Turn(func(k *persona.Knobs) { k.Hide = nil }) },
			state: mail.StateLive,
		},
		"a folder is not listed": {
			begins: func(r *rig) {
				r.p.Turn(func(k *persona.Knobs) {
					k.Say = func(_ persona.Command, line string) string {
						if strings.HasPrefix(line, "* LIST") && strings.Contains(line, `"Work"`) || strings.HasPrefix(line, `* STATUS "Work"`) {
							return ""
						}
						return line
					}
				})
			},
			ends:   func(r *rig) { r.p.Turn(func(k *persona.Knobs) { k.Say = nil }) },
			state:  mail.StateDegraded,
			reason: "no longer shows mail that it did",
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Create("Work")
			r.fill("Work", 11, 13)
			r.fill("INBOX", 1, 3)
			r.begin()
			r.a.e.o.Grace = 10 * time.Minute
			r.wait(time.Minute)
			before := r.a.status.get().FreshAt
			c.begins(r)
			r.wait(time.Second)
			r.look(false)
			r.settle()
			r.isIn(c.state, c.reason)
			if at := r.a.status.get().FreshAt; at.After(before) {
				t.Errorf("fresh at %v, which was after %v", at, before)
			}
			c.ends(r)
			r.wait(time.Hour)
			r.login()
			r.look(false)
			r.look(false) // with the bytes that the look before has brought
			r.settle()
			r.isIn(mail.StateLive, "")
			if at := r.a.status.get().FreshAt; at.Before(before.Add(time.Hour)) {
				t.Errorf("fresh at %v, and not since", at)
			}
		})
	}
}

// TestNoGapAtTheFirstLook: while the mailbox is read for the first time, however long ago that was begun, and where nobody knows when it
// was looked at last, no gap is told.
func TestNoGapAtTheFirstLook(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 3)
	r.login()
	for range 2 {
		if err := r.a.pass(t.Context(), r.s, false); err != nil {
			t.Fatal(err)
		}
		r.wait(2 * gapAfter)
	}
	if r.a.status.get().SeenAt.IsZero() || r.a.synced {
		t.Error("the first look is over, or was none")
	}
	r.look(true)
	r.restart(false)
	r.a.status.seen(time.Time{})
	r.look(false)
	if told := r.changes(); slices.ContainsFunc(told, func(c string) bool { return strings.HasPrefix(c, "sync.gap") }) {
		t.Errorf("told %q", told)
	}
}
