package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestKillDuringSync kills the server again and again while it synchronises for the first time.
func TestKillDuringSync(t *testing.T) {
	t.Parallel()
	stores(t, killDuringSync)
}

func killDuringSync(t *testing.T, empty func() binary.Options) {
	messages, kills := 3000, 6
	if testing.Short() {
		messages, kills = 600, 2
	}
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Compress: true})
	fill(t, d, "mira@example.com", messages)
	for range *soak {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		s := serve(t, empty())
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
			binary.Check(t, s)
			s = serve(t, s.Options)
		}
		t.Logf("%d of %d kills hit an unfinished sync", unfinished, kills)
		if unfinished == 0 {
			t.Error("the sync was too quick to be killed: use more messages")
		}
		if _, err := s.Await(within(t, 3*time.Minute), g.ID, binary.Live); err != nil {
			t.Fatal(err)
		}
		binary.Equal(t, s, g.ID, d, "mira@example.com")
		// The search index was killed with it. It has caught up when all can be found, and posthorn check compares it with the mail.
		if _, err := s.Await(within(t, time.Minute), g.ID, func(g binary.Grant) bool { return g.Sync.Search.Total > 0 && g.Sync.Search.Done == g.Sync.Search.Total }); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		binary.Check(t, s)
	}
}

// TestKillWhileMailChanges kills the server again and again while other mail programs deliver, flag, copy, move and delete.
func TestKillWhileMailChanges(t *testing.T) {
	t.Parallel()
	stores(t, killWhileMailChanges)
}

func killWhileMailChanges(t *testing.T, empty func() binary.Options) {
	kills := 5
	if testing.Short() {
		kills = 2
	}
	for range *soak {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
		fill(t, d, "mira", 150)
		session := d.Login(t, "mira")
		folders := []string{"INBOX", "Archive", "Sent", "Kunden/Süd"}
		s := serve(t, empty())
		g := connect(t, s, d, "mira")
		ids := map[[32]byte]string{}
		for _, m := range binary.Everything(t, s, g.ID) {
			ids[m.Sum] = m.ID
		}
		step := 0
		for range kills {
			for range 10 + r.IntN(20) {
				step++
				change(session, r, folders, step)
			}
			select {
			case <-time.After(time.Duration(r.IntN(1500)) * time.Millisecond):
			case <-t.Context().Done():
				t.Fatal(t.Context().Err())
			}
			s.Kill()
			binary.Check(t, s)
			change(session, r, folders, -step) // while nobody looks
			s = serve(t, s.Options)
		}
		session.Close()
		binary.Converge(t, s, g.ID, d, "mira", 2*time.Minute)
		binary.Check(t, s)
		for _, m := range binary.Everything(t, s, g.ID) {
			if was := ids[m.Sum]; was != "" && was != m.ID {
				t.Errorf("%s became %s", was, m.ID)
			}
		}
		s.Kill()
	}
}

// change does one thing that another mail program might do.
func change(s *realsrv.Session, r *rand.Rand, folders []string, step int) {
	from := folders[r.IntN(len(folders))]
	s.Do("SELECT " + realsrv.Quote(realsrv.EncodeName(from)))
	_, status := s.Try("FETCH * UID")
	exists := strings.HasPrefix(status, "OK")
	to := realsrv.Quote(realsrv.EncodeName(folders[r.IntN(len(folders))]))
	switch op := r.IntN(7); {
	case op == 0 || op == 1 || !exists:
		s.Append(from, fmt.Appendf(nil, "From: a@example.com\r\nMessage-ID: <step%d@example.com>\r\nSubject: step %d\r\n\r\nstep %d\r\n", step, step, step), nil, time.Time{})
	case op == 2:
		s.Do(`STORE 1:3,* +FLAGS (\Seen)`)
	case op == 3:
		s.Do(`STORE * -FLAGS (\Seen \Flagged)`)
	case op == 4:
		s.Try("COPY * " + to)
	case op == 5:
		s.Try("MOVE * " + to)
	case op == 6:
		s.Do(`STORE 1,* +FLAGS (\Deleted)`)
		s.Do("EXPUNGE")
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
		binary.Check(t, s)
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
			binary.Equal(t, s, g.ID, d, "mira")
		}
		s.Kill()
	}
}
