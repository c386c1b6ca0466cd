package syncer

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAStormOfFlags changes the flags of a whole large folder at once, and then empties it: what is found is stored in pieces
// that are bounded, and a process that dies between two goes on where it was, without telling anything twice.
func TestAStormOfFlags(t *testing.T) {
	t.Parallel()
	n := 100_000
	if testing.Short() {
		n = 2*applyAtOnce + 500
	}
	for name, caps := range map[string]string{"CONDSTORE": persona.Without(persona.All, "QRESYNC", "UIDONLY"), "basic": persona.Basic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := n
			if name == "basic" {
				n = min(n, 2*applyAtOnce+500)
			}
			r := newRig(t, persona.Knobs{Caps: caps})
			r.a.acct.Settings.Sync = headersOnly()
			r.fill("INBOX", 1, n)
			r.begin()
			for uid := range n {
				r.p.Flag("INBOX", uint32(uid+1), `\Seen`, "$Storm")
			}
			stop := errors.New("the process dies here")
			pieces := 0
			r.a.e.reached = func(point string) {
				if point == string(before)+"flags" {
					if pieces++; pieces == 2 {
						panic(stop)
					}
				}
			}
			func() {
				defer func() {
					if v := recover(); v != stop {
						panic(v)
					}
				}()
				r.look(false)
			}()
			r.a.acct.Settings.Sync = headersOnly()
			r.look(false)
			if least := (n-1)/applyAtOnce + 1; pieces < least {
				t.Errorf("%d flags were stored in %d pieces", n, pieces)
			}
			told := 0
			for _, c := range r.changes() {
				if !strings.HasPrefix(c, "message.updated ") || !strings.HasSuffix(c, `[\Seen $Storm]`) {
					t.Fatalf("told %s", c)
				}
				told++
			}
			if told != n {
				t.Errorf("%d changes were told of %d messages", told, n)
			}
			folders, err := r.a.mbox.Folders(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range folders {
				if f.Unread != 0 {
					t.Errorf("%s has %d unread", f.Name, f.Unread)
				}
			}
		})
	}
}

func batchOfNothing() store.Batch { return store.Batch{Origin: mail.OriginLive} }
