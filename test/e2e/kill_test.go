package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestKillDuringSync kills the server again and again while it synchronises for the first time.
func TestKillDuringSync(t *testing.T) {
	t.Parallel()
	messages, kills := 3000, 6
	if testing.Short() {
		messages, kills = 600, 2
	}
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	fill(t, d, "mira@example.com", messages)
	for range *soak {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		s := serve(t, binary.Options{})
		g, err := s.Connect(within(t, 30*time.Second), binary.IMAP(d.Addr, "mira@example.com", d.Password))
		if err != nil {
			t.Fatal(err)
		}
		unfinished := 0
		for range kills {
			select {
			case <-time.After(time.Duration(r.IntN(500)) * time.Millisecond):
			case <-t.Context().Done():
				t.Fatal(t.Context().Err())
			}
			if now, err := s.Grant(t.Context(), g.ID); err == nil && !binary.Live(now) {
				unfinished++
			}
			s.Kill()
			check(t, s)
			s = serve(t, s.Options)
		}
		t.Logf("%d of %d kills hit an unfinished sync", unfinished, kills)
		if unfinished == 0 {
			t.Error("the sync was too quick to be killed: use more messages")
		}
		if _, err := s.Await(within(t, 3*time.Minute), g.ID, binary.Live); err != nil {
			t.Fatal(err)
		}
		equal(t, s, g.ID, d, "mira@example.com")
		s.Kill()
		check(t, s)
	}
}

// TestKillDuringConnect kills the server around the moment in which a mailbox is connected: afterwards it is connected and
// syncs, or it is not there at all.
func TestKillDuringConnect(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	fill(t, d, "mira", 20)
	for range 3 * *soak {
		s := serve(t, binary.Options{})
		answered := make(chan error, 1)
		go func() {
			_, err := s.Connect(t.Context(), binary.IMAP(d.Addr, "mira", d.Password))
			answered <- err
		}()
		select {
		case <-time.After(rand.N(60 * time.Millisecond)):
		case <-t.Context().Done():
		}
		s.Kill()
		promised := <-answered == nil
		s = serve(t, s.Options) // which removes what an unfinished connect left
		check(t, s)
		grants, err := s.Grants(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if promised && len(grants) != 1 || len(grants) > 1 {
			t.Fatalf("answered: %v, grants: %+v", promised, grants)
		}
		for _, g := range grants {
			if _, err := s.Await(within(t, time.Minute), g.ID, binary.Live); err != nil {
				t.Fatal(err)
			}
			equal(t, s, g.ID, d, "mira")
		}
		s.Kill()
	}
}
