package syncer

import (
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestWhoseFlagsAreNotToldIsNotExpunged: where only EXPUNGE of everything marked can remove a message, another program has marked one, and
// the server leaves that one, or its flags, out of its answer. It stays; when the server tells its flags of all and none is marked the
// other one is removed.
func TestWhoseFlagsAreNotToldIsNotExpunged(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(*persona.Knobs){
		"left out": func(k *persona.Knobs) {
			k.Hide = func(c persona.Command, uid uint32) bool {
				return uid == 2 && strings.Contains(c.Args, "1:* (UID FLAGS)")
			}
		},
		"without flags": func(k *persona.Knobs) {
			k.Say = func(_ persona.Command, line string) string {
				if strings.HasPrefix(line, "* 2 FETCH (UID 2 FLAGS") {
					return "* 2 FETCH (UID 2)"
				}
				return line
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Basic})
			r.fill("INBOX", 1, 3)
			r.begin()
			r.p.Turn(lie)
			r.p.Flag("INBOX", 2, `\Deleted`)
			op := r.ask(mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{r.ids()["m1"]}})
			if left := r.p.UIDs("INBOX"); !slices.Contains(left, 2) {
				t.Errorf("%s %s, and there are %v", op.State, op.Reason, left)
			}
			r.p.Turn(func(k *persona.Knobs) { k.Hide, k.Say = nil, nil })
			r.p.Flag("INBOX", 2)
			r.wait(backoffMost)
			op = r.serve(op)
			if left := r.p.UIDs("INBOX"); op.State != mail.OpDone || !slices.Equal(left, []uint32{2, 3}) {
				t.Errorf("%s %s, and there are %v", op.State, op.Reason, left)
			}
		})
	}
}
