package syncer

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/test/persona"
)

// TestFlagsChangeAfterALookThatBroke: the connection breaks again and again at one of several new messages, so that the others are
// stored without it. Their flags that change until a look lives to its end are seen by the next, whatever the folder's cursors say.
func TestFlagsChangeAfterALookThatBroke(t *testing.T) {
	t.Parallel()
	for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		for begin, held := range map[string]int{"the first look": 0, "new mail": 9} {
			t.Run(which+", "+begin, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Caps: caps})
				if held > 0 {
					r.fill("INBOX", 1, held)
					r.login()
					r.look(true)
					r.agrees()
				}
				r.fill("INBOX", held+1, held+30)
				bad := uint32(held + 3)
				r.p.Turn(func(k *persona.Knobs) {
					k.Answer = func(c persona.Command) string {
						set, _, _ := strings.Cut(c.Args, " ")
						if uids, err := imap.ParseUIDSet(set); err == nil && c.Name == "UID FETCH" && strings.Contains(c.Args, "HEADER") && uids.Contains(bad) {
							return persona.Cut
						}
						return ""
					}
				})
				for range 3 {
					r.login()
					if err := r.tryLook(false); err == nil {
						t.Fatal("the connection did not break")
					}
				}
				if n := len(r.state()); n == held {
					t.Fatal("nothing was stored before the connection broke")
				}
				r.p.Flag("INBOX", uint32(held+30), `\Seen`, "late")
				r.p.Turn(func(k *persona.Knobs) {
					k.Answer = func(c persona.Command) string { // nor does the comparison come to an end
						if c.Name == "UID FETCH" && strings.HasPrefix(c.Args, "1:* (UID FLAGS") {
							return persona.Cut
						}
						return ""
					}
				})
				if begin == "the first look" {
					r.login()
					if err := r.tryLook(false); err == nil {
						t.Fatal("the connection did not break")
					}
				}
				r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
				r.login()
				r.look(false)
				r.agrees()
			})
		}
	}
}
