package syncer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// ids returns the public ids by name.
func (r *rig) ids() map[string]mail.MessageID {
	r.state()
	out := map[string]mail.MessageID{}
	for id, name := range r.names {
		out[name] = id
	}
	return out
}

// agrees fails if the rows are not what the server holds. UIDVALIDITY may be another where it means nothing.
func (r *rig) agrees() {
	r.t.Helper()
	for _, d := range r.differences() {
		r.t.Error(d)
	}
}

// differences tells where the rows are not what the server holds.
func (r *rig) differences() (out []string) {
	r.t.Helper()
	here, truth := map[string]string{}, r.p.Everything()
	for k, v := range r.state() {
		f := strings.Split(k, " ") // a name may have blanks
		name := strings.Join(f[:len(f)-2], " ")
		for _, m := range truth {
			if strings.EqualFold(name, m.Folder) { // however it is listed today
				name = m.Folder
				break
			}
		}
		here[name+" "+f[len(f)-1]] = v
	}
	there := map[string]int{}
	for _, m := range truth {
		k := fmt.Sprintf("%s %d", m.Folder, m.UID)
		there[k]++
		v, ok := here[k]
		if flags := strings.Split(v, " ")[1:]; !ok || strings.HasSuffix(v, "(no body)") || !slices.Equal(slices.Sorted(slices.Values(flags)), m.Flags) {
			out = append(out, fmt.Sprintf("at the server %s with %q, here %q", k, m.Flags, v))
		}
	}
	for k := range here {
		if there[k] == 0 {
			out = append(out, "only here: "+k)
		}
	}
	return out
}

// wants fails if the log does not have just these changes more.
func (r *rig) wants(changes ...string) {
	r.t.Helper()
	if got := r.changes(); !slices.Equal(got, changes) {
		r.t.Errorf("changes %q, want %q", got, changes)
	}
}

// bodiesFetched counts the messages whose bytes were asked for since the last count.
func (r *rig) bodiesFetched() (n int) {
	log := r.p.Log()
	for _, l := range log[r.heard:] {
		if strings.Contains(l, "FETCH (") && strings.Contains(l, " BODY[] ") {
			n++
		}
	}
	r.heard = len(log)
	return n
}

func TestAnotherUIDValidity(t *testing.T) {
	t.Parallel()
	n := 10_000
	if testing.Short() {
		n = 2500
	}
	for name, renew := range map[string]func(r *rig){
		"higher":                  func(r *rig) { r.p.Renew("INBOX", 5000, 0) },
		"higher, with other UIDs": func(r *rig) { r.p.Renew("INBOX", 5000, 700) },
		"lower":                   func(r *rig) { r.p.Renew("INBOX", 3, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := n
			if name != "higher" {
				n = 300
			}
			r := newRig(t, persona.Knobs{})
			r.fill("INBOX", 1, n)
			r.begin()
			r.bodiesFetched()
			before := r.ids()
			renew(r)
			r.fill("INBOX", n+1, n+1)
			r.look(false)
			r.agrees()
			if got := r.bodiesFetched(); got != 1 {
				t.Errorf("%d bodies fetched, want the one that is new", got)
			}
			r.wants("folder.reset INBOX", fmt.Sprintf("message.created m%d in INBOX", n+1), fmt.Sprintf("message.updated m%d in INBOX", n+1))
			after := r.ids()
			delete(after, fmt.Sprintf("m%d", n+1))
			if !maps.Equal(before, after) {
				t.Error("ids are others")
			}
			r.wait(10 * time.Minute)
			r.look(true)
			r.wants()
		})
	}
}

func TestFlappingUIDValidity(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Basic, UIDValidity: persona.Flapping})
	r.fill("INBOX", 1, 30)
	r.p.Deliver("Sent", letter(31))
	r.begin()
	r.bodiesFetched()
	before := r.ids()
	resets := 0
	for i := range 6 {
		r.login()
		r.p.Flag("INBOX", uint32(i+1), `\Seen`)
		r.fill("INBOX", 40+i, 40+i)
		r.look(false)
		r.agrees()
		for _, c := range r.changes() {
			switch {
			case strings.HasPrefix(c, "folder.reset"):
				resets++
			case strings.HasPrefix(c, "message.deleted"):
				t.Errorf("session %d: %s", i, c)
			}
		}
		if got := r.bodiesFetched(); got != 1 {
			t.Errorf("session %d: %d bodies fetched, want the new one", i, got)
		}
	}
	if resets != 10 { // five folders, until the third flip
		t.Errorf("%d resets", resets)
	}
	for name, id := range before {
		if got := r.ids()[name]; got != id {
			t.Errorf("%s was %s and is %s", name, id, got)
		}
	}
	if err := r.a.caughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := r.a.status.get(); st.State != mail.StateDegraded || st.Reason == "" || st.Action == "" {
		t.Errorf("the account says %+v", st)
	}
	if quick, slow := r.a.e.o.Poll, r.a.pause(0); slow < 10*quick {
		t.Errorf("polls after %v", slow)
	}
	// Under yet another number the folder is another one: that is told apart by what is in it.
	r.p.Renew("INBOX", 9, 500)
	r.login()
	r.look(false)
	r.agrees()
	if got := r.changes(); !slices.Contains(got, "folder.reset INBOX") || slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, "message.") }) {
		t.Errorf("changes %q", got)
	}
	// An hour without another number, and it counts again.
	r.p.Turn(func(k *persona.Knobs) { k.UIDValidity = func(persona.Command, uint32) string { return "77" } })
	r.wait(2 * time.Hour)
	r.login()
	r.look(false)
	r.agrees()
	if r.a.flapsAnywhere() {
		t.Error("it flaps for ever")
	}
}

func TestNoUIDValidity(t *testing.T) {
	t.Parallel()
	for name, shown := range map[string]string{"absent": "", "zero": "0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{UIDValidity: func(persona.Command, uint32) string { return shown }})
			r.fill("INBOX", 1, 5)
			r.begin()
			r.agrees()
			r.login()
			r.p.Flag("INBOX", 1, `\Seen`)
			r.fill("INBOX", 6, 6)
			r.look(false)
			r.agrees()
			r.wants(`message.updated m1 in INBOX [\Seen]`, "message.created m6 in INBOX")
			r.bodiesFetched()
			r.p.Renew("INBOX", 1, 101) // nothing says that it is another generation but the messages
			r.login()
			r.look(false)
			r.agrees()
			r.wants("folder.reset INBOX")
			if got := r.bodiesFetched(); got != 0 {
				t.Errorf("%d bodies fetched", got)
			}
		})
	}
}

func TestFolderMadeAnewUnderTheSameUIDValidity(t *testing.T) {
	t.Parallel()
	for name, sc := range map[string]struct {
		caps string
		n    int // messages in the new folder, of which the old had five
	}{
		"UIDNEXT is lower":                        {persona.Without(persona.All, "OBJECTID"), 2},
		"nothing is lower, without CONDSTORE":     {persona.Basic, 8},
		"nothing is lower, seen by the MODSEQ":    {persona.Without(persona.All, "OBJECTID", "QRESYNC"), 8},
		"nothing is lower, and the other is full": {persona.Basic, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: sc.caps})
			r.p.Create("Work")
			r.p.Renew("Work", 7, 0)
			r.fill("Work", 1, 5)
			r.begin()
			if strings.Contains(name, "MODSEQ") {
				r.p.Turn(func(k *persona.Knobs) { k.HighestModSeq = func(c persona.Command, v uint64) string { return "3" } })
			}
			r.p.Delete("Work")
			r.p.Create("Work")
			r.p.Renew("Work", 7, 0)
			for i := range sc.n {
				r.p.Deliver("Work", letter(100+i), []string{`\Seen`}...)
			}
			r.login()
			r.look(false)
			r.agrees()
			for k, v := range r.state() {
				if !strings.HasPrefix(v, "m10") {
					t.Errorf("%s: %s", k, v)
				}
			}
			got := r.changes()
			if !slices.Contains(got, "folder.reset Work") {
				t.Errorf("changes %q", got)
			}
			r.wait(3 * time.Minute)
			r.look(false)
			if got := r.changes(); len(got) != 5 {
				t.Errorf("what was in the old folder is gone: %q", got)
			}
		})
	}
}

func TestUIDNextLies(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(persona.Command, uint32) string{
		"too low":  func(_ persona.Command, v uint32) string { return fmt.Sprint(max(v, 3) - 2) },
		"too high": func(_ persona.Command, v uint32) string { return fmt.Sprint(v + 100) },
		"one":      func(persona.Command, uint32) string { return "1" },
		"zero":     func(persona.Command, uint32) string { return "0" },
		"absent":   func(persona.Command, uint32) string { return "" },
	} {
		for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
			t.Run(name+", "+which, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Caps: caps, UIDNext: lie})
				r.fill("INBOX", 1, 5)
				r.begin()
				r.agrees()
				r.fill("INBOX", 6, 7)
				r.p.Expunge("INBOX", 2)
				r.look(false)
				r.agrees()
				r.fill("INBOX", 8, 8)
				r.p.Expunge("INBOX", 1) // as many as before
				r.login()
				r.look(false)
				r.agrees()
				got := r.changes()
				if slices.ContainsFunc(got, func(c string) bool {
					return strings.HasPrefix(c, "folder.") || strings.HasPrefix(c, "message.deleted") && !strings.HasSuffix(c, "m2")
				}) {
					t.Errorf("changes %q", got)
				}
			})
		}
	}
}

func TestMailBelowTheHighestUID(t *testing.T) {
	t.Parallel()
	for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: caps})
			r.p.DeliverAt("INBOX", 10, letter(10))
			r.p.DeliverAt("INBOX", 20, letter(20))
			r.begin()
			r.p.DeliverAt("INBOX", 15, letter(15))
			r.look(false)
			r.agrees()
			r.wants("message.created m15 in INBOX")
		})
	}
}

func TestAFolderThatComesBackEmptyIsNotBelievedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 60)
	r.begin()
	r.p.Turn(func(k *persona.Knobs) { // another generation, of which three are shown
		k.UIDValidity = func(persona.Command, uint32) string { return "4711" }
		k.Limited = 3
	})
	r.look(false)
	r.wait(time.Hour)
	r.look(false)
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message.deleted") {
			t.Errorf("%s, in the session in which it was missed first", c)
		}
	}
	if any, due := r.a.doubts(); !any || !due {
		t.Error("no doubt, or no second look")
	}
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 0 })
	r.login()
	r.look(true)
	r.agrees()
	if any, _ := r.a.doubts(); any {
		t.Error("doubt, although all is back")
	}
	r.wants()
}

func TestMovesMinutesApart(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Work")
	r.fill("INBOX", 1, 6)
	r.begin()
	r.bodiesFetched()
	r.p.Expunge("INBOX", 1)
	r.look(false)
	r.wants()
	r.wait(90 * time.Second)
	r.look(false)
	r.wants()
	r.p.Deliver("Work", letter(1)) // received as the first in Work: one second, as in INBOX
	r.look(false)
	r.wants("message.updated m1 in Work")
	if n := r.bodiesFetched(); n != 0 {
		t.Errorf("%d bodies fetched", n)
	}
	r.p.Copy("INBOX", 2, "Work")
	r.look(false)
	r.wants("message.updated m2 in INBOX and Work")
	r.wait(5 * time.Minute)
	r.look(false)
	r.p.Expunge("INBOX", 2)
	r.look(false)
	r.wait(5 * time.Minute)
	r.look(false)
	r.wants("message.updated m2 in Work")
	r.p.Expunge("INBOX", 3)
	r.look(false)
	r.wait(time.Minute)
	r.look(false)
	r.wants()
	r.wait(2 * time.Minute)
	r.look(false)
	r.wants("message.deleted m3")
	r.agrees()
}
