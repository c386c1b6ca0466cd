package syncer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/test/persona"
)

// shortSessions makes the persona cut what is being sent of a message when the connection is half a minute old, as Yahoo
// does. takes is how long a message is on its way.
func (r *rig) shortSessions(item string, takes func(uid string) time.Duration) {
	r.a.e.o.Profile = func(mail.Account) provider.Profile {
		return provider.Profile{Limits: provider.Limits{Session: 25 * time.Second}}
	}
	opened := map[int]time.Time{}
	r.p.Turn(func(k *persona.Knobs) {
		k.Say = func(c persona.Command, line string) string {
			r.mu.Lock()
			defer r.mu.Unlock()
			if opened[c.Session].IsZero() {
				opened[c.Session] = r.at
			}
			if !strings.Contains(line, item) {
				return line
			}
			uid := strings.Fields(line)[1] // of UIDFETCH
			began := r.at
			r.at = r.at.Add(takes(uid))
			if limit := opened[c.Session].Add(30 * time.Second); r.at.After(limit) {
				if r.at = limit; began.After(limit) {
					r.at = began
				}
				head, _, _ := strings.Cut(line, "}\r\n")
				return head + "}\r\nhalf of it" + persona.Cut
			}
			return line
		}
	})
}

// fetchAll looks and fetches as rounds do, until nothing is left or so many sessions were used.
func (r *rig) fetchAll(sessions int) (left int64) {
	r.t.Helper()
	for range sessions {
		r.login()
		err := r.a.pass(r.t.Context(), r.s, false)
		for more := true; more && err == nil; {
			more, err = r.a.bodies(r.t.Context(), r.s, time.Hour)
		}
		counts, cerr := r.a.mbox.Counts(r.t.Context())
		if cerr != nil {
			r.t.Fatal(cerr)
		}
		if left = counts.Unheld; left == 0 && err == nil {
			return 0
		}
		r.wait(time.Minute)
	}
	return left
}

func (r *rig) troubles() (names []string) {
	r.t.Helper()
	list, err := r.a.mbox.Troubles(r.t.Context(), 100)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, q := range list {
		names = append(names, r.name(q.Message))
	}
	units, err := r.a.mbox.Units(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, u := range units {
		if u.Reason != "" {
			names = append(names, u.Reason)
		}
	}
	return names
}

// TestAConnectionThatEndsInTimeIsNoStrike fetches messages from a provider that ends connections after half a minute: none of them
// is to blame.
func TestAConnectionThatEndsInTimeIsNoStrike(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"some in a session": 9 * time.Second, "two in a session": 14 * time.Second, "barely one": 29 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := persona.Yahoo()
			r := newRig(t, k)
			r.fill("INBOX", 1, 12)
			r.shortSessions("BODY[] {", func(string) time.Duration { return takes })
			if left := r.fetchAll(15); left != 0 {
				t.Errorf("%d messages are not here", left)
			}
			if list := r.troubles(); len(list) > 0 {
				t.Errorf("set aside: %q", list)
			}
			r.agrees()
		})
	}
}

// TestAMessageThatTakesLongerThanAConnectionLasts checks that one that can never be fetched does not keep the others back.
func TestAMessageThatTakesLongerThanAConnectionLasts(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Yahoo())
	r.fill("INBOX", 1, 8)
	r.shortSessions("BODY[] {", func(uid string) time.Duration {
		if uid == "5" {
			return time.Minute
		}
		return 6 * time.Second
	})
	r.fetchAll(12)
	if list := r.troubles(); len(list) != 1 || list[0] != "m5" {
		t.Errorf("set aside: %q", list)
	}
	if counts, err := r.a.mbox.Counts(t.Context()); err != nil || counts.Unheld != 1 {
		t.Errorf("counts %+v %v", counts, err)
	}
}

// TestHeadersOfAConnectionThatEndsInTime is the same for headers.
func TestHeadersOfAConnectionThatEndsInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Yahoo())
	r.fill("INBOX", 1, 3)
	r.begin()
	r.fill("INBOX", 4, 4)
	r.a.e.o.Profile = func(mail.Account) provider.Profile {
		return provider.Profile{Limits: provider.Limits{Session: 25 * time.Second}}
	}
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(c persona.Command) string {
			if c.Name == "UID FETCH" && strings.Contains(c.Args, "HEADER") {
				r.wait(4 * time.Second)
				return persona.Cut
			}
			return ""
		}
	})
	for range maxStrikes + 2 {
		r.login()
		r.wait(26 * time.Second)
		if err := r.a.pass(t.Context(), r.s, false); err == nil {
			t.Fatal("a cut is no error")
		}
	}
	if list := r.troubles(); len(list) > 0 {
		t.Errorf("set aside: %q", list)
	}
	r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
	r.login()
	r.look(false)
	r.agrees()
}

// TestAnAuditIsTakenUp: a complete comparison that no session lives to end is taken up by the next; folders that were found equal are not
// compared again.
func TestAnAuditIsTakenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Basic})
	for n := range 12 {
		name := fmt.Sprint("F", n)
		r.p.Create(name)
		r.fill(name, 10*n, 10*n+2)
	}
	r.begin()
	r.wait(48 * time.Hour)
	began := r.now()
	r.p.Turn(func(k *persona.Knobs) { k.Life = 40 })
	for try := 0; r.a.lastAudit.Before(began); try++ {
		r.login()
		if err := r.tryLook(true); err != nil && try == 8 {
			t.Fatal(err)
		}
	}
	compared := map[string]int{}
	for _, l := range r.p.Log()[r.heard:] {
		if _, name, ok := strings.Cut(l, " C: EXAMINE "); ok {
			compared[name]++
		}
	}
	if r.p.Acted()["Life"] == 0 || len(compared) < 12 {
		t.Errorf("compared were %v, and no session ended", compared)
	}
	for name, n := range compared {
		if n > 2 { // it can have been under way when the session ended
			t.Errorf("%s was opened %d times", name, n)
		}
	}
	if at := r.a.status.get().AuditedAt; at.Before(began) || at.After(began.Add(time.Second)) {
		t.Errorf("compared as of %s, which began at %s", at, began)
	}
}
