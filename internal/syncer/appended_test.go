package syncer

import (
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAWrongAPPENDUIDNamesNoDraft: a server tells the UID of another message, or of the version before, as that of the new version. The
// draft is the message that it was, and of its versions the new one stays.
func TestAWrongAPPENDUIDNamesNoDraft(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]int{"of the version before": 0, "of another message": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Basic + " UIDPLUS", Say: persona.WrongAppendUID})
			r.fill("Drafts", 1, others)
			was := r.p.Deliver("Drafts", letter(9), `\Draft`)
			r.begin()
			op := r.draft(mail.OpDraftSave, was)
			want := op.Messages
			op = r.ask(op)
			if op.State != mail.OpDone || !slices.Equal(op.Messages, want) {
				t.Errorf("%s %s; it is %v, was %v", op.State, op.Reason, op.Messages, want)
			}
			if left := r.p.UIDs("Drafts"); len(left) != others+1 || slices.Contains(left, was) {
				t.Errorf("there are %v", left)
			}
			r.look(false)
			r.agrees()
		})
	}
}
