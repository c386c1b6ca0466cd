package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestAFolderOfWhichOnlyTheNameIsLeft: a folder that has others below it is deleted. Its messages go, its name stays in the list, in some
// layouts without \Noselect. All of it is known in the end, as if it were gone, and the account is live and proven.
func TestAFolderOfWhichOnlyTheNameIsLeft(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"fs", "maildir++"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Layout: layout})
			s := d.Login(t, "ann")
			at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			for _, name := range []string{"Work", "Work/Sub", "Other/Sub"} { // there never was an Other
				d.CreateFolder(t, "ann", name)
			}
			for i := range 5 {
				s.Append("Work", letter(i), nil, at)
			}
			s.Append("INBOX", letter(11), nil, at)
			r := rigAt(t, d.Host, d.Port, d.Password, "ann")
			r.look(true)
			r.isIn(mail.StateLive, "")
			r.changes()

			s.Do("SELECT Work")
			s.Do("UID MOVE 1 INBOX")
			s.Do("CLOSE")
			s.Do("DELETE Work")
			r.look(false)
			r.settle()
			r.isIn(mail.StateDegraded, "no longer shows mail that it did")
			for range 2 {
				r.wait(3 * time.Minute)
				r.login()
				r.look(false)
			}
			got := r.changes()
			slices.Sort(got)
			want := []string{"message.deleted m1", "message.deleted m2", "message.deleted m3", "message.deleted m4", "message.updated m0 in INBOX",
				"message.updated m0 in Work and INBOX"} // until it is believed
			got = slices.DeleteFunc(got, func(c string) bool { return !strings.HasPrefix(c, "message") })
			if !slices.Equal(got, want) {
				t.Errorf("%q", got)
			}
			began := r.now()
			r.look(false)
			r.settle()
			r.isIn(mail.StateLive, "")
			if st := r.a.status.get(); st.FreshAt.Before(began) {
				t.Errorf("fresh at %v", st.FreshAt)
			}
			v, err := r.a.e.Verify(t.Context(), r.a.id, VerifyOptions{})
			if err != nil || len(v.Differences) > 0 {
				t.Errorf("%v, %v", v.Differences, err)
			}

			s.Do("CREATE Work")
			s.Append("Work", letter(12), nil, at)
			r.look(false)
			r.look(false)
			if got := r.changes(); !slices.Contains(got, "message.created m12 in Work") {
				t.Errorf("%q", got)
			}
		})
	}
}

// settle enters the state that follows from the last look.
func (r *rig) settle() {
	r.t.Helper()
	if err := r.a.caughtUp(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// TestListsOfNamesOnly: the server lists all folders as if none could be opened. They are looked at all the same, as far as they
// are there, and nothing is deleted of which the server does not say that there is no such folder.
func TestListsOfNamesOnly(t *testing.T) {
	t.Parallel()
	for no, gone := range map[string]bool{"": false, "NO Internal error": false, "NO [NONEXISTENT] no": true} {
		t.Run(no, func(t *testing.T) {
			t.Parallel()
			lies := false
			r := newRig(t, persona.Knobs{Say: func(_ persona.Command, line string) string {
				if lies && strings.HasPrefix(line, "* LIST") {
					return strings.Replace(line, "(", `(\Noselect `, 1)
				}
				if lies && no != "" && strings.HasPrefix(line, "* STATUS") && strings.Contains(line, "Work") {
					return ""
				}
				return line
			}, Answer: func(c persona.Command) string {
				if lies && strings.Contains(c.Args, "Work") {
					return no
				}
				return ""
			}})
			r.p.Create("Work")
			r.fill("Work", 1, 3)
			r.begin()
			lies = true
			r.fill("INBOX", 4, 4)
			r.fill("Work", 5, 5)
			began := r.now()
			for range 4 {
				r.login()
				r.look(false)
				r.wait(5 * time.Minute)
			}
			got := r.changes()
			if !slices.Contains(got, "message.created m4 in INBOX") {
				t.Errorf("%q", got)
			}
			deleted := slices.ContainsFunc(got, func(c string) bool { return strings.Contains(c, "deleted") })
			if deleted != gone || slices.Contains(got, "message.created m5 in Work") != (no == "") {
				t.Errorf("%q", got)
			}
			if fresh := r.a.status.get().FreshAt.After(began); fresh != (no == "" || gone) {
				t.Errorf("fresh %t", fresh)
			}
			r.settle()
			if no == "NO Internal error" {
				r.isIn(mail.StateDegraded, `does not open the folder "Work"`)
			} else {
				r.isIn(mail.StateLive, "")
			}
			lies = false
			r.wait(2 * time.Hour)
			r.login()
			r.look(false)
			r.look(false)
			r.agrees()
		})
	}
}

// TestAListWithALineThatCannotBeRead: who knows which folder that is; the account does not say that all is well.
func TestAListWithALineThatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Work")
	r.begin()
	r.p.Turn(func(k *persona.Knobs) {
		k.Say = func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") && strings.Contains(line, `"Work"`) {
				return `* LIST (\HasNoChildren "/ Work`
			}
			return line
		}
	})
	r.fill("Work", 1, 1)
	began := r.now()
	r.look(false)
	r.settle()
	r.isIn(mail.StateDegraded, "list of folders cannot be read")
	if r.a.status.get().FreshAt.After(began) {
		t.Error("it is fresh")
	}
	r.p.Turn(func(k *persona.Knobs) { k.Say = nil })
	r.look(false)
	r.settle()
	r.isIn(mail.StateLive, "")
	r.wants("grant.updated degraded A line of the server's list of folders cannot be read; that folder is not looked at.", "message.created m1 in Work", "grant.updated live")
}
