package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestNoOtherFolder: two folders exchange their names, and before that is seen one is to be deleted, or renamed. It is the folder that
// the application means, whatever its name is by now.
func TestNoOtherFolder(t *testing.T) {
	t.Parallel()
	for _, op := range []mail.Operation{{Kind: mail.OpFolderDelete}, {Kind: mail.OpFolderRename, Name: "Other"}} {
		t.Run(string(op.Kind), func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
			s := d.Login(t, "ann")
			defer s.Close()
			for n, name := range []string{"One", "Two"} {
				s.CreateFolder(name)
				for i := range 3 {
					s.Append(name, letter(10*n+i), nil, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
				}
			}
			r := rigAt(t, d.Host, d.Port, d.Password, "ann")
			r.look(true)
			op := op
			op.Folder = r.folderIDs()["One"]
			s.Do("RENAME One Three")
			s.Do("RENAME Two One")
			s.Do("RENAME Three Two")
			if _, err := r.a.mbox.AddOperation(t.Context(), op); err != nil {
				t.Fatal(err)
			}
			if err := r.a.serveOperations(t.Context(), r.s); err != nil {
				t.Fatal(err)
			}
			r.a.closeWriter()
			there := map[string]int{}
			for _, m := range d.Everything(t, "ann") {
				there[m.Folder]++
			}
			if there["One"] != 3 || there["Two"] != 0 || op.Name != "" && there[op.Name] != 3 {
				t.Errorf("at the server are %v", there)
			}
			r.look(true)
			if id := r.folderIDs()["One"]; id == "" || id == op.Folder {
				t.Errorf("One is %q", id)
			}
		})
	}
}

// TestMovedIntoAFolderThatCannotBeOpened: what may lie there is not taken for deleted, for a day.
func TestMovedIntoAFolderThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	closed := false
	r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		if closed && (c.Name == "EXAMINE" || c.Name == "SELECT") && strings.Contains(c.Args, "Work") {
			return "NO not now"
		}
		return ""
	}})
	r.p.Create("Work")
	r.fill("INBOX", 1, 5)
	r.begin()
	closed = true
	r.p.Move("INBOX", 2, "Work")
	for range 5 {
		r.wait(time.Hour)
		r.login()
		r.look(false)
	}
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message") {
			t.Error(c)
		}
	}
	closed = false
	r.wait(6 * time.Hour)
	r.login()
	r.look(true)
	r.agrees()
	for _, c := range r.changes() {
		if strings.Contains(c, "deleted") || strings.Contains(c, "created") {
			t.Error(c)
		}
	}
}

// TestMovedIntoAFolderThatIsNotListed: what may lie in a folder that a list leaves out for a while is not taken for deleted.
func TestMovedIntoAFolderThatIsNotListed(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(persona.Command, string) string{
		"left out": func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") && strings.Contains(line, `"Work"`) || strings.HasPrefix(line, `* STATUS "Work"`) {
				return ""
			}
			return line
		},
		"unreadable": func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") && strings.Contains(line, `"Work"`) {
				return `* LIST (\HasNoChildren "/ Work`
			}
			return line
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Create("Work")
			r.fill("INBOX", 1, 5)
			r.begin()
			r.p.Turn(func(k *persona.Knobs) { k.Say = say })
			r.p.Move("INBOX", 2, "Work")
			for range 5 {
				r.wait(5 * time.Minute)
				r.login()
				r.look(false)
			}
			for _, c := range r.changes() {
				if strings.HasPrefix(c, "message") {
					t.Error(c)
				}
			}
			r.p.Turn(func(k *persona.Knobs) { k.Say = nil })
			r.wait(5 * time.Minute)
			r.login()
			r.look(false)
			r.agrees()
			for _, c := range r.changes() {
				if strings.Contains(c, "deleted") || strings.Contains(c, "created") {
					t.Error(c)
				}
			}
		})
	}
}

// TestRemovedWhileItIsMoved: a message that is to be removed for good is just being moved by another program, which takes it away before
// it adds it elsewhere. It is removed there; and if it turns up nowhere, it counts as removed when it counts as deleted.
func TestRemovedWhileItIsMoved(t *testing.T) {
	t.Parallel()
	for _, comes := range []bool{true, false} {
		t.Run(map[bool]string{true: "it comes", false: "it does not"}[comes], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Basic})
			r.p.Create("Work")
			r.fill("INBOX", 1, 3)
			r.begin()
			asked := mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{r.placed("INBOX", 2)}}
			r.p.Expunge("INBOX", 2)
			op := r.ask(asked)
			if op.State != mail.OpPending {
				t.Fatalf("%s while nobody knows where the message is: %s", op.State, op.Reason)
			}
			if comes {
				r.p.Deliver("Work", letter(2))
			}
			for range 5 {
				r.wait(time.Minute)
				r.look(false)
				op = r.serve(op)
			}
			if left := r.p.UIDs("Work"); op.State != mail.OpDone || len(left) > 0 {
				t.Errorf("%s, left are %v; %s", op.State, left, op.Reason)
			}
			r.look(true)
			if state := r.state(); len(state) != 2 {
				t.Errorf("%v", state)
			}
		})
	}
}
