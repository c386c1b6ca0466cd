package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/persona"
)

// TestEmptyBytesAreMissing: a server that cannot read a message sends nothing in its place, as a string without an octet. That is not the
// message, which is had when the server can read it again; a message that really is empty is what it is.
func TestEmptyBytesAreMissing(t *testing.T) {
	t.Parallel()
	for name, backfill := range map[string]bool{"new mail": false, "old mail": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := true
			r := newRig(t, persona.Knobs{Bytes: func(c persona.Command, uid uint32, raw []byte) []byte {
				if broken && uid == 3 && strings.Contains(c.Args, "BODY.PEEK[]") {
					return []byte{}
				}
				return raw
			}})
			if !backfill {
				r.begin()
			}
			r.fill("INBOX", 1, 3)
			r.p.Deliver("INBOX", []byte{})
			r.fill("INBOX", 5, 5)
			r.look(false)
			broken = false
			if at := r.state()["INBOX 1001 3"]; !strings.Contains(at, "no body") {
				t.Errorf("%q: nothing is taken for its bytes", at)
			}
			if at, here := r.state()["INBOX 1001 4"]; !here || strings.Contains(at, "no body") {
				t.Errorf("%q: the empty message is missing", at)
			}
			r.wait(time.Hour)
			r.look(false)
			r.agrees()
			r.sameBytes()
		})
	}
}
