package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/persona"
)

// TestStrangeBytesOfNewMail: a server sends the bytes of another message in the place of one that has just arrived. They are not taken for
// its own, and its own are asked for.
func TestStrangeBytesOfNewMail(t *testing.T) {
	t.Parallel()
	wrong := true
	r := newRig(t, persona.Knobs{Bytes: func(c persona.Command, uid uint32, raw []byte) []byte {
		if wrong && uid == 3 && strings.Contains(c.Args, "BODY.PEEK[]") {
			wrong = false
			return letter(2)
		}
		return raw
	}})
	r.fill("INBOX", 1, 2)
	r.begin()
	r.fill("INBOX", 3, 3)
	r.wait(time.Minute)
	r.look(false)
	if wrong {
		t.Fatal("nothing was asked for")
	}
	r.agrees()
	r.sameBytes()
}
