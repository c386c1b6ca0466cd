package syncer

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/persona"
)

// meanwhile is an Answer that does something once, before the first command that begins so is carried out.
func meanwhile(command string, do func()) func(persona.Command) string {
	once := sync.OnceFunc(do)
	return func(c persona.Command) string {
		if strings.HasPrefix(c.Name+" "+c.Args, command) {
			once()
		}
		return ""
	}
}

func TestGoneBetweenListAndFetch(t *testing.T) {
	t.Parallel()
	for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		for _, command := range []string{"UID FETCH 4:5", "UID FETCH 5", "UID FETCH 1:*", "EXAMINE", "UID SEARCH"} {
			t.Run(command+", "+which, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Caps: caps})
				r.fill("INBOX", 1, 3)
				r.begin()
				r.fill("INBOX", 4, 5)
				r.p.Turn(func(k *persona.Knobs) { k.Answer = meanwhile(command, func() { r.p.Expunge("INBOX", 4) }) })
				r.look(false)
				r.look(false)
				r.agrees()
				r.wait(5 * time.Minute)
				r.look(true)
				r.look(false)
				r.agrees()
				for _, c := range r.changes() {
					if strings.HasPrefix(c, "message.deleted") && c != "message.deleted m4" {
						t.Errorf("told: %s", c)
					}
				}
			})
		}
	}
}

func TestDeletedWhileLookedAt(t *testing.T) {
	t.Parallel()
	for name, anew := range map[string]bool{"deleted": false, "made anew": true} {
		for _, command := range []string{"EXAMINE \"Work\"", "UID FETCH", "UID SEARCH"} {
			t.Run(name+" before "+command, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "QRESYNC")})
				r.p.Create("Work")
				r.fill("INBOX", 1, 3)
				r.begin()
				r.fill("Work", 4, 8)
				r.p.Turn(func(k *persona.Knobs) {
					k.Answer = meanwhile(command, func() {
						r.p.Delete("Work")
						if anew {
							r.p.Create("Work")
							r.fill("Work", 20, 21)
						}
					})
				})
				for range 4 { // a refusal ends the round; what is gone is believed in another session
					r.login()
					if err := r.a.pass(t.Context(), r.s, false); err != nil {
						t.Log(err)
					}
					r.wait(10 * time.Minute)
				}
				r.look(true)
				r.agrees()
			})
		}
	}
}
