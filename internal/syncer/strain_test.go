package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAnEndForTheAccountIsNoStrike: the server ends the connection each time that a new message is fetched, and says that too much was
// fetched. The message is not to blame.
func TestAnEndForTheAccountIsNoStrike(t *testing.T) {
	t.Parallel()
	for _, bye := range []string{"BYE [THROTTLED] too much", "BYE Session expired, please login again."} {
		for _, item := range []string{"HEADER", "BODY.PEEK[]"} {
			t.Run(bye+" "+item, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{})
				r.fill("INBOX", 1, 5)
				r.begin()
				r.p.Turn(func(k *persona.Knobs) {
					k.Answer = func(c persona.Command) string {
						if c.Name == "UID FETCH" && strings.Contains(c.Args, item) {
							return bye
						}
						return ""
					}
				})
				r.p.Deliver("INBOX", letter(6))
				for range maxStrikes + 1 {
					r.wait(20 * time.Minute)
					r.login()
					if err := r.tryLook(false); err == nil {
						t.Error("a look found everything")
					}
				}
				r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
				r.login()
				r.look(false)
				r.agrees()
				if n, err := r.a.mbox.CountTroubles(t.Context()); n > 0 || err != nil {
					t.Errorf("%d are set aside, %v", n, err)
				}
			})
		}
	}
}

// TestHeadersCountAgainstTheDay: the headers of a large mailbox alone are more than may be moved in a day.
func TestHeadersCountAgainstTheDay(t *testing.T) {
	t.Parallel()
	const limit = 1_000_000
	var r *rig
	r = newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		if c.Name == "UID FETCH" {
			r.wait(2 * time.Minute)
		}
		return ""
	}})
	r.a.e.o.Limits.BytesPerDay = limit
	r.restart(false)
	r.fill("INBOX", 1, 8000)
	r.login()
	err := r.a.pass(t.Context(), r.s, false)
	if !mail.IsKind(err, mail.Limited) {
		t.Errorf("the look ends with %v", err)
	}
	if u := r.a.e.Usage()["other"]; u.Received > 2*limit { // what was begun is read to its end
		t.Errorf("%d bytes were received of %d", u.Received, limit)
	}
	r.restart(true)
	if r.a.stopOverBudget() == nil {
		t.Error("after the death of the process nothing is known of what was moved")
	}
	for day := 1; err != nil && day < 10; day++ {
		r.wait(25 * time.Hour)
		r.login()
		err = r.a.pass(t.Context(), r.s, false)
	}
	if n := len(r.stored()); n != 8000 || err != nil {
		t.Errorf("%d are here, %v", n, err)
	}
}

// TestWhatIsSetAsideIsCountedOnce: however often it was tried, and after a restart.
func TestWhatIsSetAsideIsCountedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Hide: func(c persona.Command, uid uint32) bool {
		return uid == 2 && strings.Contains(c.Args, "HEADER") || uid == 4 && strings.Contains(c.Args, "BODY.PEEK[]")
	}})
	r.fill("INBOX", 1, 5)
	r.begin()
	for range 3 {
		r.wait(2 * time.Hour)
		r.look(false)
	}
	if n := r.a.aside.Load(); n != 2 {
		t.Errorf("%d are set aside, want 2", n)
	}
	r.restart(false)
	if n := r.a.aside.Load(); n != 2 {
		t.Errorf("after a restart %d are set aside, want 2", n)
	}
	r.setAside(r.folder("INBOX"), r.folder("INBOX").UIDValidity, 4) // of a message that is here without its bytes
	if err := r.a.countAside(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.a.aside.Load(); n != 2 || len(r.troubles()) != 3 {
		t.Errorf("for another reason too, %d are set aside, want 2", n)
	}
}

// TestAMachineThatSleeps: when it was looked last is kept by the time of day; the clock by which Go measures stands still meanwhile.
func TestAMachineThatSleeps(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.a.e.o.Now = time.Now
	r.look(true)
	for name, at := range map[string]time.Time{"looked": r.a.status.get().SeenAt, "audited": r.a.lastAudit} {
		if at.IsZero() || strings.Contains(at.String(), " m=") {
			t.Errorf("%s: %s", name, at)
		}
	}
}
