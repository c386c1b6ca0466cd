package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAFolderThatCannotBeRead keeps no other from being synchronised, and the state tells of it.
func TestAFolderThatCannotBeRead(t *testing.T) {
	t.Parallel()
	reads := func(c persona.Command) bool { return c.Name == "UID FETCH" || c.Name == "UID SEARCH" }
	opens := func(c persona.Command) bool { return c.Name == "EXAMINE" }
	for _, c := range []struct {
		name   string
		of     func(persona.Command) bool
		answer string
	}{
		{"broken", reads, "NO [SERVERBUG] Internal error occurred"},
		{"nonsense", reads, "BAD command error 12"},
		{"temporary", opens, "NO [UNAVAILABLE] Mailbox is temporarily unavailable"},
		{"closed", opens, "NO System I/O error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			broken := true
			r.p.Turn(func(k *persona.Knobs) {
				k.Answer = func(x persona.Command) string {
					if broken && x.Folder == "Broken" && c.of(x) {
						return c.answer
					}
					return ""
				}
			})
			r.p.Create("Broken")
			r.p.Create("Other")
			for i, f := range []string{"INBOX", "Broken", "Other", "Trash"} {
				r.fill(f, 10*i+1, 10*i+2)
			}
			look := func() {
				r.wait(10 * time.Minute)
				if err := r.tryLogin(); err != nil {
					t.Fatal(err)
				}
				if err := r.tryLook(false); err != nil {
					t.Log(err)
					r.logout()
				}
			}
			for range 4 {
				look()
			}
			if n := len(r.state()); n != 6 {
				t.Errorf("%d of the 6 messages of other folders are here: %v", n, r.state())
			}
			if err := r.a.caughtUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := r.a.status.get(); s.State != mail.StateDegraded || !strings.Contains(s.Reason, `"Broken"`) || !s.FreshAt.IsZero() {
				t.Errorf("%s since %v, fresh at %v: %s", s.State, s.Since, s.FreshAt, s.Reason)
			}
			r.logout() // what was refused in one session
			broken = false
			r.wait(24 * time.Hour)
			look()
			look()
			r.agrees()
			if err := r.a.caughtUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := r.a.status.get(); s.State != mail.StateLive || s.FreshAt.IsZero() {
				t.Errorf("%s, fresh at %v: %s", s.State, s.FreshAt, s.Reason)
			}
		})
	}
}

// TestTheAccountIsLeftAlone where the server refuses one folder after the other for a while.
func TestTheAccountIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	for i, f := range []string{"A", "B", "C", "D"} {
		r.p.Create(f)
		r.fill(f, 10*i+1, 10*i+2)
	}
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(c persona.Command) string {
			if c.Name == "EXAMINE" {
				return "NO the account is temporarily locked"
			}
			return ""
		}
	})
	r.login()
	if err := r.tryLook(false); err == nil || r.p.Count("EXAMINE") != 2 {
		t.Errorf("%d were tried: %v", r.p.Count("EXAMINE"), err)
	}
}

// TestAFolderWhoseNameTheServerNormalises is made once, and the operation ends well.
func TestAFolderWhoseNameTheServerNormalises(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Turn(func(k *persona.Knobs) {
		made := false
		k.Answer = func(c persona.Command) string {
			switch {
			case c.Name != "CREATE":
				return ""
			case made:
				return "NO [ALREADYEXISTS] there is one"
			}
			made = true
			r.p.Create("Pos&AOk-") // é as one character
			return "OK done"
		}
	})
	r.begin()
	op := r.ask(mail.Operation{Kind: mail.OpFolderCreate, Name: "Pose\u0301"})
	f, err := r.a.mbox.Folder(t.Context(), op.Folder)
	if op.State != mail.OpDone || err != nil || f.Name != "Pos\u00e9" {
		t.Errorf("%s %s: %q %v", op.State, op.Reason, f.Name, err)
	}
}

// TestINBOXIsListedTwice, in two cases: it is one folder, for Verify too.
func TestINBOXIsListedTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Say: func(c persona.Command, line string) string {
		if strings.HasPrefix(line, "* LIST ") && strings.HasSuffix(line, `"INBOX"`) {
			return line + "\r\n" + strings.Replace(line, `"INBOX"`, `"Inbox"`, 1)
		}
		return line
	}})
	r.fill("INBOX", 1, 3)
	r.begin()
	if d := r.differs(); len(d) > 0 {
		t.Errorf("Verify finds %q", d)
	}
}

// TestASendIsLookedForWhereNothingCanBeRead: that is no reason to say that it is not there.
func TestASendIsLookedForWhereNothingCanBeRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		refused []string
		leftOut bool
	}{
		{"reading", []string{"UID SEARCH", "UID FETCH"}, false},
		{"opening, earlier", []string{"EXAMINE"}, false},
		{"searching in a folder that is left out", []string{"UID SEARCH"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.fill("Sent", 1, 3)
			if c.leftOut {
				r.want(&mail.SyncPolicy{Without: []string{"Sent"}})
			}
			r.begin()
			op, err := r.a.mbox.AddOperation(t.Context(), mail.Operation{Kind: mail.OpLook, Send: r.queue(letter(4), "m4@example.com")})
			if err != nil {
				t.Fatal(err)
			}
			r.p.Received("Sent", r.p.Deliver("Sent", letter(4)), r.now())
			r.p.Turn(func(k *persona.Knobs) {
				k.Answer = func(cmd persona.Command) string {
					if cmd.Folder == "Sent" && slices.Contains(c.refused, cmd.Name) {
						return "NO [SERVERBUG] internal error"
					}
					return ""
				}
				if !c.leftOut { // what is here tells
					k.Found = func(persona.Command, uint32, bool) bool { return false }
				}
			})
			if c.refused[0] == "EXAMINE" {
				r.look(false)
				r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
			}
			if op = r.serve(op); op.State != mail.OpPending {
				t.Errorf("%s: %s", op.State, op.Reason)
			}
			r.login()
			r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
			r.wait(2 * time.Hour)
			if op = r.serve(op); op.State != mail.OpDone {
				t.Errorf("%s: %s", op.State, op.Reason)
			}
		})
	}
}

// TestADeletedFolderOfWhichMuchWasMissing leaves no doubt behind.
func TestADeletedFolderOfWhichMuchWasMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Work")
	r.fill("Work", 1, 60)
	r.begin()
	for uid := range uint32(30) {
		r.p.Expunge("Work", uid+1)
	}
	r.look(false)
	r.p.Delete("Work")
	for range 6 {
		r.wait(10 * time.Minute)
		r.login()
		r.look(false)
	}
	if any, _ := r.a.doubts(); any || len(r.state()) > 0 {
		t.Errorf("%v, %d messages", r.a.losses, len(r.state()))
	}
}

// TestUIDVALIDITYZero is as good as none, for Verify too.
func TestUIDVALIDITYZero(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{UIDValidity: func(persona.Command, uint32) string { return "0" }})
	r.fill("INBOX", 1, 3)
	r.begin()
	r.look(false)
	if d := r.differs(); len(d) > 0 || len(r.state()) != 3 {
		t.Errorf("Verify finds %q, here are %v", d, r.state())
	}
}
