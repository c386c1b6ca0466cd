package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// draft is what an operation on a message of Drafts is told of it.
func (r *rig) draft(kind mail.OpKind, uid uint32) mail.Operation {
	r.t.Helper()
	id := r.placed("Drafts", uid)
	at, err := r.a.mbox.PlacementsOf(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	op := mail.Operation{Kind: kind, Messages: []mail.MessageID{id}, Draft: &mail.DraftWork{Old: id}}
	for _, p := range at[id] {
		op.Draft.Replaces = append(op.Draft.Replaces, mail.Copy{Folder: p.Folder, UIDValidity: p.UIDValidity, UID: p.UID})
	}
	if kind == mail.OpDraftSave {
		op.Draft.Revision = "rev2"
		refs, err := r.a.mbox.PutBlobs(r.t.Context(), []store.BlobData{{Kind: store.BlobRaw, Data: letter(9, mime.RevisionField+": rev2")}})
		if err != nil {
			r.t.Fatal(err)
		}
		op.Blob, op.Size = refs[0].ID, refs[0].Size
	}
	return op
}

// TestDraftsWhereUIDValidityMeansNothing: a draft is saved, and removed, where UIDVALIDITY is another in each session, or there is none.
func TestDraftsWhereUIDValidityMeansNothing(t *testing.T) {
	t.Parallel()
	for name, shown := range map[string]func(persona.Command, uint32) string{
		"flapping": persona.Flapping,
		"absent":   func(persona.Command, uint32) string { return "" },
		"zero":     func(persona.Command, uint32) string { return "0" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Basic + " UIDPLUS", UIDValidity: shown})
			r.fill("INBOX", 1, 3)
			r.p.Deliver("Drafts", letter(9), `\Draft`)
			r.begin()
			for range flipsToFlap + 1 {
				r.login()
				r.look(false)
			}
			r.login()
			op := r.ask(r.draft(mail.OpDraftSave, 1))
			if left := r.p.UIDs("Drafts"); op.State != mail.OpDone || len(left) != 1 || left[0] != 2 {
				t.Fatalf("saved: %s %s, and there are %v", op.State, op.Reason, left)
			}
			r.look(false)
			r.agrees()
			r.login()
			op = r.ask(r.draft(mail.OpDraftDelete, 2))
			if left := r.p.UIDs("Drafts"); op.State != mail.OpDone || len(left) > 0 {
				t.Errorf("removed: %s %s, and there are %v", op.State, op.Reason, left)
			}
			r.look(false)
			r.agrees()
		})
	}
}

// TestADraftOfAFolderThatIsNumberedAnew: a draft is to be removed, and its folder has another UIDVALIDITY by then. It is not said to be
// removed while it is there.
func TestADraftOfAFolderThatIsNumberedAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Deliver("Drafts", letter(9), `\Draft`)
	r.begin()
	asked := r.draft(mail.OpDraftDelete, 1)
	r.p.Renew("Drafts", 5000, 30)
	op := r.ask(asked)
	for range 5 {
		r.wait(time.Minute)
		r.look(false)
		op = r.serve(op)
	}
	if left := r.p.UIDs("Drafts"); op.State == mail.OpPending || op.State == mail.OpDone && len(left) > 0 {
		t.Errorf("%s %s, and there are %v", op.State, op.Reason, left)
	}
	r.agrees()
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message.deleted") {
			t.Error(c)
		}
	}
}

// TestADraftOfAFolderThatIsReadAnew: it is to be removed while nobody knows under which UID it lies.
func TestADraftOfAFolderThatIsReadAnew(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]bool{"asked before": true, "asked meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Deliver("Drafts", letter(9), `\Draft`)
			r.begin()
			op := r.draft(mail.OpDraftDelete, 1)
			if !asked {
				op.Draft.Replaces = nil
			}
			r.p.Renew("Drafts", 5000, 30)
			r.p.Turn(func(k *persona.Knobs) {
				k.Answer = func(c persona.Command) string {
					if c.Name == "UID FETCH" && c.Folder == "Drafts" {
						return "NO [SERVERBUG] not now"
					}
					return ""
				}
			})
			if err := r.tryLook(false); err != nil {
				t.Log(err)
			}
			r.login()
			if op = r.ask(op); op.State == mail.OpDone {
				t.Error("it is said to be removed")
			}
			r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
			for range 5 {
				r.wait(10 * time.Minute)
				r.login()
				r.look(false)
				op = r.serve(op)
			}
			if left := r.p.UIDs("Drafts"); op.State == mail.OpPending || (op.State == mail.OpDone) != (len(left) == 0) {
				t.Errorf("%s %s, and there are %v", op.State, op.Reason, left)
			}
			r.agrees()
		})
	}
}
