package e2e

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

var chaos = flag.Duration("chaos", 0, "how long TestChaos lasts, on 20 mailboxes; 0 is a few seconds on 3")

var soak = flag.Int("soak", 1, "how often the tests that depend on chance are repeated")

// program is the built posthorn, the same for all tests.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(binary.Main(m, &program))
}

// within bounds a step of a story; the bound is generous, for slow machines.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// serve starts the program with its data in a directory of the test.
func serve(t *testing.T, o binary.Options) *binary.Server {
	t.Helper()
	o.Path = program
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "data")
	}
	return binary.Serve(t, o)
}

// stores runs a story on both databases.
func stores(t *testing.T, story func(t *testing.T, empty func() binary.Options)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		story(t, func() binary.Options { return binary.Options{} })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		story(t, func() binary.Options {
			return binary.Options{Env: []string{"POSTHORN_DATABASE_URL=" + realsrv.StartPostgres(t).URL(t)}}
		})
	})
}

// connect connects a mailbox of d and waits until it is live.
func connect(t *testing.T, s *binary.Server, d *realsrv.Dovecot, user string) binary.Grant {
	t.Helper()
	g, err := s.Connect(within(t, 30*time.Second), binary.IMAP(d.Addr, user, d.Password))
	if err != nil {
		t.Fatal(err)
	}
	if g.ID == "" || g.Email == "" || g.Sync.State == "" {
		t.Errorf("connect answered %+v", g)
	}
	g, err = s.Await(within(t, 3*time.Minute), g.ID, binary.Live)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
