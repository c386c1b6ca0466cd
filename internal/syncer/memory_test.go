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

// renewing is a UIDVALIDITY that is another whenever the folder is opened after turn was called.
func renewing() (knob func(persona.Command, uint32) string, turn func()) {
	v := uint32(5000)
	return func(persona.Command, uint32) string { return fmt.Sprint(v) }, func() { v++ }
}

// TestFlappingIsRemembered checks that a folder whose UIDVALIDITY means nothing is not read anew after a restart, that it is
// told when that begins, and that it is forgotten after an hour without.
func TestFlappingIsRemembered(t *testing.T) {
	t.Parallel()
	knob, turn := renewing()
	r := newRig(t, persona.Knobs{UIDValidity: knob})
	r.fill("INBOX", 1, 5)
	r.begin()
	for range flipsToFlap {
		turn()
		r.wait(time.Minute)
		r.login()
		r.look(false)
	}
	inbox, err := r.a.mbox.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := inbox[slices.IndexFunc(inbox, func(f mail.Folder) bool { return f.Role == mail.RoleInbox })].ID
	gaps, resets := 0, 0
	for _, c := range r.changes() {
		switch {
		case strings.HasPrefix(c, "sync.gap") && strings.Contains(c, "INBOX"):
			gaps++
		case c == "folder.reset INBOX":
			resets++
		}
	}
	if !r.a.flaps(id) || gaps != 1 || resets != flipsToFlap-1 {
		t.Errorf("flaps: %t; told %d gaps and %d resets", r.a.flaps(id), gaps, resets)
	}
	r.restart(false)
	if !r.a.flaps(id) || !r.a.flapsAnywhere() {
		t.Fatal("after a restart nobody knows that the folder flaps")
	}
	turn()
	r.fill("INBOX", 6, 6)
	r.look(false)
	r.agrees()
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "folder.reset") || strings.HasPrefix(c, "sync.gap") {
			t.Errorf("told %s", c)
		}
	}
	r.wait(flapTime + time.Minute)
	r.restart(true)
	if r.a.flaps(id) {
		t.Error("the folder flaps for ever")
	}
}

// TestOverlapIsRemembered checks that what is to be asked once more is asked after a restart too.
func TestOverlapIsRemembered(t *testing.T) {
	t.Parallel()
	for name, died := range map[string]bool{"restart": false, "death": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "QRESYNC", "UIDONLY")})
			r.fill("INBOX", 1, 5)
			r.begin()
			hidden := true
			r.p.Turn(func(k *persona.Knobs) {
				k.Hide = func(_ persona.Command, uid uint32) bool { return hidden && uid == 2 }
			})
			r.p.Flag("INBOX", 2, `\Flagged`)
			r.look(false) // MODSEQ is above the change that is not shown yet
			hidden = false
			r.wants()
			r.restart(died)
			r.a.lastAudit = r.now() // whatever a death asks for
			r.look(false)
			r.wants(`message.updated m2 in INBOX [\Flagged]`)
		})
	}
}

// TestALossWithANewGenerationIsRemembered checks that what a folder has lost with its UIDVALIDITY is not removed after a
// restart before another session has seen the same.
func TestALossWithANewGenerationIsRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 60)
	r.begin()
	shown := false
	r.p.Turn(func(k *persona.Knobs) { k.Hide = func(_ persona.Command, uid uint32) bool { return !shown && uid > 5 } })
	r.p.Turn(func(k *persona.Knobs) {
		k.Say = func(_ persona.Command, line string) string {
			if !shown && strings.Contains(line, " EXISTS") {
				return "* 5 EXISTS"
			}
			if !shown && strings.HasPrefix(line, "* ESEARCH") {
				return strings.Replace(line, "1:60", "1:5", 1)
			}
			return line
		}
	})
	r.p.Renew("INBOX", 7000, 0)
	r.look(false)
	r.restart(false)
	r.wait(10 * time.Minute)
	r.look(false)
	shown = true
	r.login()
	r.wait(time.Minute)
	r.look(true)
	r.agrees()
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message.deleted") {
			t.Errorf("told %s of mail that is there", c)
		}
	}
}

// TestARestartIsNoAudit counts what a restart asks: not all UIDs and flags of all folders, if that was compared within the day.
func TestARestartIsNoAudit(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string]string{"QRESYNC": persona.All, "basic": persona.Basic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: caps})
			r.fill("INBOX", 1, 5)
			r.fill("Sent", 6, 8)
			r.begin()
			due := func() bool { return r.a.e.o.Now().Sub(r.a.lastAudit) >= r.a.e.o.Audit }
			r.restart(false)
			if due() {
				t.Error("everything is compared after a restart")
			}
			r.wait(5 * time.Minute)
			r.look(false)
			for _, l := range r.said() {
				if strings.Contains(l, "UID FETCH") || strings.Contains(l, "EXAMINE") {
					t.Errorf("after a restart with nothing new: %s", l)
				}
			}
			r.p.Flag("INBOX", 1, `\Seen`)
			r.look(false)
			r.wants(`message.updated m1 in INBOX [\Seen]`)
			r.restart(true)
			if !due() {
				t.Error("nothing is compared after a death")
			}
			r.look(true)
			r.wait(r.a.e.o.Audit)
			if !due() {
				t.Error("nothing is compared after a day")
			}
		})
	}
}

// TestASessionThatCanDoMoreAfterARestart checks that CONDSTORE which comes back with a restart uses no cursor from before.
func TestASessionThatCanDoMoreAfterARestart(t *testing.T) {
	t.Parallel()
	more := persona.Without(persona.All, "QRESYNC", "UIDONLY")
	r := newRig(t, persona.Knobs{CapsOf: func(session int) string {
		if session == 2 {
			return persona.Basic
		}
		return more
	}})
	r.fill("INBOX", 1, 3)
	r.begin()
	r.login()
	r.p.Flag("INBOX", 1, `\Seen`)
	r.look(false)
	r.restart(false)
	r.p.Flag("INBOX", 2, `\Seen`)
	r.said()
	r.look(false)
	if said := r.said(); slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, "CHANGEDSINCE") }) {
		t.Errorf("a cursor from before was used: %q", said)
	}
	r.agrees()
}

// TestFreshWithoutCONDSTORE checks that an account is proven fresh by the comparisons of its folders, and not by audits only.
func TestFreshWithoutCONDSTORE(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Basic})
	r.fill("INBOX", 1, 5)
	r.fill("Sent", 6, 8)
	r.begin()
	audited := r.a.status.get().AuditedAt
	for range 3 {
		r.wait(flagsIdle)
		r.look(false)
	}
	s := r.a.status.get()
	if !s.AuditedAt.Equal(audited) || s.SeenAt.Sub(s.FreshAt) > flagsIdle || !s.FreshAt.After(audited) {
		t.Errorf("audited %v, seen %v, fresh %v", s.AuditedAt, s.SeenAt, s.FreshAt)
	}
	r.fill("INBOX", 9, 9) // found by its UID: flags of the others may be other than here
	r.wait(time.Minute)
	r.look(false)
	if is := r.a.status.get(); is.FreshAt.Before(s.FreshAt) || is.FreshAt.After(is.SeenAt) {
		t.Errorf("fresh %v, seen %v", is.FreshAt, is.SeenAt)
	}
	for id, p := range r.a.proofs.all() {
		if at := r.a.status.get().FreshAt; at.After(p.FreshAt) {
			t.Errorf("fresh %v, and folder %s was proven at %v", at, id, p.FreshAt)
		}
	}
}
