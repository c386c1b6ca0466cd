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

// want changes the account's policy.
func (r *rig) want(p *mail.SyncPolicy) {
	r.t.Helper()
	acct := r.a.acct
	acct.Settings.Sync = p
	if err := r.a.e.o.Store.UpdateAccount(r.t.Context(), acct, nil); err != nil {
		r.t.Fatal(err)
	}
	r.a.acct = acct
}

// TestOldMailStaysWhereverItIsMoved: mail that is here from before the first day of a narrower policy is not taken for deleted when it
// moves, or when its folder is numbered anew.
func TestOldMailStaysWhereverItIsMoved(t *testing.T) {
	t.Parallel()
	for caps, list := range map[string]string{"all": persona.All, "no MOVE": persona.Without(persona.All, "MOVE", "UIDPLUS"), "basic": persona.Basic} {
		for how, move := range map[string]func(*rig, map[string]mail.Placement) mail.Operation{
			"by an application": func(r *rig, at map[string]mail.Placement) mail.Operation {
				return r.ask(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{at["m2"].Message}, Folder: at["m12"].Folder})
			},
			"to the trash": func(r *rig, at map[string]mail.Placement) mail.Operation {
				return r.ask(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{at["m2"].Message}})
			},
			"by another program": func(r *rig, _ map[string]mail.Placement) mail.Operation {
				r.p.Move("INBOX", 2, "Old")
				return mail.Operation{State: mail.OpDone}
			},
			"to a folder that is looked at before": func(r *rig, _ map[string]mail.Placement) mail.Operation {
				r.p.Move("Old", 2, "INBOX")
				return mail.Operation{State: mail.OpDone}
			},
			"a new UIDVALIDITY": func(r *rig, _ map[string]mail.Placement) mail.Operation {
				r.p.Renew("INBOX", 77777, 1)
				return mail.Operation{State: mail.OpDone}
			},
		} {
			t.Run(caps+", "+how, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Caps: list})
				r.p.Create("Old")
				for i, f := range []string{"INBOX", "Old"} {
					r.fill(f, 10*i+1, 10*i+5)
					for uid := range uint32(4) {
						r.p.Received(f, uid+1, time.Date(2025, 1, 1+i, 0, 0, int(uid), 0, time.UTC))
					}
				}
				r.begin()
				r.want(&mail.SyncPolicy{Days: 60})
				r.restart(false)
				r.p.Deliver("Old", letter(99))
				r.p.Received("Old", 6, time.Date(2025, 1, 3, 0, 0, 0, 0, time.UTC)) // never here
				r.look(true)
				at := map[string]mail.Placement{}
				r.each(func(p mail.Placement) string {
					at[r.name(p.Message)] = p
					return ""
				})
				if len(at) != 10 {
					t.Fatalf("%d messages", len(at))
				}
				r.changes()
				if op := move(r, at); op.State != mail.OpDone {
					t.Errorf("%s: %s", op.State, op.Reason)
				}
				for range 3 {
					r.look(false)
					r.wait(30 * time.Minute)
				}
				for _, c := range r.changes() {
					if strings.HasPrefix(c, "message.deleted") {
						t.Error(c)
					}
				}
				if n := len(r.state()); n != 10 {
					t.Errorf("%d messages: %v", n, r.state())
				}
			})
		}
	}
}

// TestADraftThatWaitsWhileDraftsAreLeftOut is refused, and not told of as saved and deleted.
func TestADraftThatWaitsWhileDraftsAreLeftOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Deliver("Drafts", letter(1), `\Draft`)
	r.begin()
	refs, err := r.a.mbox.PutBlobs(t.Context(), []store.BlobData{{Kind: store.BlobRaw, Data: []byte("Message-ID: <draft@example.com>\r\n" + mime.RevisionField + ": rev1\r\n\r\nx\r\n")}})
	if err != nil {
		t.Fatal(err)
	}
	op, err := r.a.mbox.AddOperation(t.Context(), mail.Operation{Kind: mail.OpDraftSave, Blob: refs[0].ID, Size: refs[0].Size, Draft: &mail.DraftWork{Revision: "rev1"},
		Messages: []mail.MessageID{mail.MessageID(r.a.key.MessageID(mime.DraftFingerprint("draft@example.com")))}})
	if err != nil {
		t.Fatal(err)
	}
	r.want(&mail.SyncPolicy{Without: []string{"Drafts"}})
	r.restart(false)
	if op = r.serve(op); op.State != mail.OpFailed || !strings.Contains(op.Reason, "leave out") {
		t.Errorf("%s: %s", op.State, op.Reason)
	}
	if n := len(r.p.UIDs("Drafts")); n != 1 {
		t.Errorf("%d drafts at the server", n)
	}
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message.") {
			t.Error(c)
		}
	}
}
