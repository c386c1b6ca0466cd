package syncer_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestVerifyTellsJustWhatHappened: what other programs do while nobody synchronises is told, each message once and nothing else, and
// when it is synchronised there is no difference.
func TestVerifyTellsJustWhatHappened(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	const user = "ann"
	s := d.Login(t, user)
	folders := []string{"INBOX", "Archive", "Kunden & Süd"}
	for _, f := range folders[1:] {
		d.CreateFolder(t, user, f)
	}
	quoted := func() string {
		return realsrv.Quote(realsrv.EncodeName(folders[r.IntN(len(folders))]))
	}
	b := setup(t, &d.IMAP, user)
	b.fill(12)
	b.live()
	b.equal()
	verify := func(wait time.Duration) (out []string) {
		t.Helper()
		v, err := b.engine.Verify(t.Context(), b.id, syncer.VerifyOptions{Bytes: true, Wait: wait})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range v.Differences {
			out = append(out, d.String())
		}
		return out
	}
	for round := range 4 {
		b.engine.Close()
		before := b.atServer()
		var did []string
		for i := range 1 + r.IntN(8) {
			s.Do("SELECT " + quoted())
			command := []string{`STORE 1,* +FLAGS (\Flagged later)`, `STORE * -FLAGS (\Flagged \Seen)`, "COPY * " + quoted(), "MOVE 1 " + quoted(), "EXPUNGE"}[r.IntN(5)]
			if did = append(did, command); command == "EXPUNGE" {
				s.Try(`STORE 2 +FLAGS (\Deleted)`)
			}
			s.Try(command) // in an empty folder it fails
			if r.IntN(3) == 0 {
				s.Append(folders[r.IntN(len(folders))], message(1000*round+100+i), nil, day)
			}
		}
		s.Do("UNSELECT")
		after := b.atServer()
		want := map[string]bool{}
		tell := func(key, what string) {
			f := strings.Fields(key)
			want[fmt.Sprintf("%q UID %s: %s", strings.Join(f[:len(f)-2], " "), f[len(f)-1], what)] = true
		}
		for key, is := range after {
			if was, known := before[key]; !known {
				tell(key, "the message is at the server and not here")
			} else if was != is {
				tell(key, "flags are")
			}
		}
		for key := range before {
			if _, still := after[key]; !still {
				tell(key, "the message is here and not at the server")
			}
		}
		got := map[string]bool{}
		for _, d := range verify(time.Millisecond) {
			what, _, flags := strings.Cut(d, "flags are")
			if flags {
				what += "flags are"
			}
			if got[what] {
				t.Errorf("told twice: %s", d)
			}
			got[what] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("round %d, %q: told\n%s\nwant\n%s", round, did, strings.Join(slices.Sorted(maps.Keys(got)), "\n"), strings.Join(slices.Sorted(maps.Keys(want)), "\n"))
		}
		b.start()
		// In one look: between two, a message that was missing may have come whose bytes have not.
		b.until("the differences to be gone", func() bool { return len(verify(0)) == 0 })
	}
}
