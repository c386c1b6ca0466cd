package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/persona"
)

// TestAWatchThatIsRefusedIsRare: a server offers IDLE and refuses it. That costs a login an hour, as each is one more that may lead to a ban;
// a connection that only broke is renewed soon.
func TestAWatchThatIsRefusedIsRare(t *testing.T) {
	t.Parallel()
	for answer, logins := range map[string][2]int{
		"NO not here":     {1, 2},
		"BAD what is it?": {1, 2},
		persona.Cut:       {8, 20},
	} {
		t.Run(strings.Trim(answer, "\x00"), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
				if c.Name == "IDLE" {
					return answer
				}
				return ""
			}})
			r.begin()
			before := r.p.Count("AUTHENTICATE")
			for range 59 {
				r.a.keepWatch(t.Context())
				r.a.watch.Wait()
				r.wait(time.Minute)
				r.a.ledger.clear() // as a look does that finds all well
			}
			if n := r.p.Count("AUTHENTICATE") - before; n < logins[0] || n > logins[1] {
				t.Errorf("%d logins in an hour", n)
			}
		})
	}
}
