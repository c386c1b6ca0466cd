package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAFolderWaitsForNoOther: while the deletion of a folder waits for its next try, others are done, and it is tried again soon.
func TestAFolderWaitsForNoOther(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]func(k *persona.Knobs, fails func(persona.Command) bool){
		"in use": func(k *persona.Knobs, fails func(persona.Command) bool) {
			k.Answer = func(c persona.Command) string {
				if fails(c) {
					return "NO [INUSE] Mailbox is being deleted"
				}
				return ""
			}
		},
		"broken": func(k *persona.Knobs, fails func(persona.Command) bool) {
			k.Answer = func(c persona.Command) string {
				if fails(c) {
					return persona.Cut
				}
				return ""
			}
		},
		"done, but the answer is lost": func(k *persona.Knobs, fails func(persona.Command) bool) {
			k.Say = func(c persona.Command, line string) string {
				if !strings.HasPrefix(line, "* ") && fails(c) {
					return persona.Cut
				}
				return line
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			for _, f := range []string{"First", "Second", "Third", "Fourth"} {
				r.p.Create(f)
			}
			r.fill("INBOX", 1, 3)
			r.begin()
			times := 0
			r.p.Turn(func(k *persona.Knobs) {
				fails(k, func(c persona.Command) bool {
					if c.Name != "DELETE" || !strings.Contains(c.Args, "First") || times >= 2 {
						return false
					}
					times++
					return true
				})
			})
			first := r.ask(mail.Operation{Kind: mail.OpFolderDelete, Folder: r.folderIDs()["First"]})
			if first.State != mail.OpPending || first.NextTry.After(r.now().Add(2*time.Second)) {
				t.Fatalf("%+v", first)
			}
			for _, op := range []mail.Operation{
				{Kind: mail.OpFolderDelete, Folder: r.folderIDs()["Second"]},
				{Kind: mail.OpFolderRename, Folder: r.folderIDs()["Third"], Name: "Other"},
				{Kind: mail.OpFolderCreate, Name: "Fourth/New"},
				r.move("m2", "Fourth"),
			} {
				if r.s.Err() != nil {
					r.login()
				}
				if op := r.ask(op); op.State != mail.OpDone {
					t.Errorf("%s waits behind another folder: %+v", op.Kind, op)
				}
			}
			for range 2 {
				r.wait(5 * time.Second)
				first = r.serve(first)
			}
			if first.State != mail.OpDone {
				t.Errorf("%+v", first)
			}
			r.look(true)
			r.agrees()
		})
	}
}
