package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

var soak = flag.Int("soak", 1, "how often the tests that depend on chance are repeated")

// program is the built posthorn, the same for all tests.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "posthorn-e2e-")
	if err == nil {
		program, err = binary.Build(context.Background(), dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
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
	again := o.Log != "" // a server that was killed: its log goes on
	s, err := binary.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() && !again {
			t.Logf("the log of posthorn:\n%s", s.LogTail())
		}
	})
	return s
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

// check runs `posthorn check`, which must find nothing.
func check(t *testing.T, s *binary.Server) {
	t.Helper()
	out, err := s.Check(within(t, 2*time.Minute))
	if err != nil {
		t.Errorf("posthorn check: %v\n%s", err, out)
	}
}

// raw decodes raw_mime.
func raw(t *testing.T, m binary.Message) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(m.RawMIME)
	if err != nil {
		t.Fatalf("raw_mime of %s: %v", m.ID, err)
	}
	return b
}

// held is a message as the API shows it.
type held struct {
	binary.Message
	sum     [32]byte
	folders []string // names, sorted
}

// everything reads all messages by the API, with the digests of their bytes.
func everything(t *testing.T, s *binary.Server, grant string) []held {
	t.Helper()
	ctx := within(t, 3*time.Minute)
	folders, err := s.Folders(ctx, grant)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, f := range folders {
		names[f.ID] = f.Name
	}
	list, err := s.Messages(ctx, grant, nil)
	if err != nil {
		t.Fatal(err)
	}
	raws, err := s.Messages(ctx, grant, map[string][]string{"fields": {"raw_mime"}, "limit": {"50"}})
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][32]byte{}
	for _, m := range raws {
		sums[m.ID] = sha256.Sum256(raw(t, m))
	}
	var all []held
	seen := map[string]bool{}
	for _, m := range list {
		if seen[m.ID] {
			t.Errorf("%s is listed twice", m.ID)
		}
		seen[m.ID] = true
		h := held{Message: m}
		var ok bool
		if h.sum, ok = sums[m.ID]; !ok {
			t.Errorf("%s is not in the raw list", m.ID)
		}
		for _, f := range m.Folders {
			if names[f] == "" {
				t.Errorf("%s is in the unknown folder %s", m.ID, f)
			}
			h.folders = append(h.folders, names[f])
		}
		slices.Sort(h.folders)
		all = append(all, h)
	}
	if len(raws) != len(list) {
		t.Errorf("%d messages, %d raw ones", len(list), len(raws))
	}
	return all
}

// equal compares what the API shows with what the server holds: the same folders, the same bytes in the same folders with the
// same flags, every message once.
func equal(t *testing.T, s *binary.Server, grant string, d *realsrv.Dovecot, user string) {
	t.Helper()
	session := d.Login(t, user)
	defer session.Close()
	var wantFolders []string
	for _, f := range session.Folders() {
		if !slices.ContainsFunc(f.Attrs, func(a string) bool { return strings.EqualFold(a, `\NonExistent`) || strings.EqualFold(a, `\Noselect`) }) {
			wantFolders = append(wantFolders, f.Name)
		}
	}
	folders, err := s.Folders(within(t, time.Minute), grant)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range wantFolders {
		if !slices.ContainsFunc(folders, func(f binary.Folder) bool { return f.Name == name }) {
			t.Errorf("folder %q is missing", name)
		}
	}

	remote := session.Everything(false)
	local := everything(t, s, grant)
	type place struct {
		folder string
		sum    [32]byte
	}
	want := map[place]int{}
	copies := map[[32]byte][]realsrv.Remote{}
	for _, r := range remote {
		want[place{r.Folder, r.SHA256}]++
		copies[r.SHA256] = append(copies[r.SHA256], r)
	}
	got := map[[32]byte]string{}
	faults := 0
	fault := func(format string, v ...any) {
		t.Helper()
		if faults++; faults <= 20 {
			t.Errorf(format, v...)
		}
	}
	for _, m := range local {
		if other, ok := got[m.sum]; ok {
			fault("%s and %s have the same bytes", other, m.ID)
		}
		got[m.sum] = m.ID
		there := copies[m.sum]
		if len(there) == 0 {
			fault("%s (%v) is not at the server", m.ID, m.folders)
			continue
		}
		for _, f := range m.folders {
			if want[place{f, m.sum}] == 0 {
				fault("%s is in %q here but not at the server", m.ID, f)
			}
			delete(want, place{f, m.sum})
		}
		if len(there) == 1 {
			if seen := slices.Contains(there[0].Flags, `\Seen`); seen == m.Unread {
				fault("%s: unread is %v, the server has %v", m.ID, m.Unread, there[0].Flags)
			}
			if flagged := slices.Contains(there[0].Flags, `\Flagged`); flagged != m.Starred {
				fault("%s: starred is %v, the server has %v", m.ID, m.Starred, there[0].Flags)
			}
		}
	}
	for p, n := range want {
		fault("%d message(s) %x in %q are missing here", n, p.sum[:4], p.folder)
	}
	if len(got) != len(copies) {
		fault("%d different messages here, %d at the server", len(got), len(copies))
	}
}
