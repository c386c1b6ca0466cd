package binary

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

// Held is a message as the API shows it.
type Held struct {
	Message
	Sum   [32]byte // of its bytes
	Names []string // of its folders, sorted
}

// Everything reads all messages by the API, with the digests of their bytes.
func Everything(t testing.TB, s *Server, grant string) []Held {
	t.Helper()
	all, faults := Read(t, s, grant)
	for _, f := range faults {
		t.Error(f)
	}
	return all
}

// Read is [Everything], with what does not fit together in the answers. While mail changes, two lists may differ.
func Read(t testing.TB, s *Server, grant string) (all []Held, faults []string) {
	t.Helper()
	fault := func(format string, v ...any) { faults = append(faults, fmt.Sprintf(format, v...)) }
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
	seen := map[string]bool{}
	for _, m := range list {
		if seen[m.ID] {
			fault("%s is listed twice", m.ID)
		}
		seen[m.ID] = true
		h := Held{Message: m}
		var ok bool
		if h.Sum, ok = sums[m.ID]; !ok {
			fault("%s is not in the raw list", m.ID)
		}
		for _, f := range m.Folders {
			if names[f] == "" {
				fault("%s is in the unknown folder %s", m.ID, f)
			}
			h.Names = append(h.Names, names[f])
		}
		slices.Sort(h.Names)
		all = append(all, h)
	}
	if len(raws) != len(list) {
		fault("%d messages, %d raw ones", len(list), len(raws))
	}
	return all, faults
}

// Equal fails the test when the API does not show what the server holds.
func Equal(t testing.TB, s *Server, grant string, d *realsrv.Dovecot, user string) {
	t.Helper()
	for i, f := range Differences(t, s, grant, d, user) {
		if i == 20 {
			t.Error("and so on")
			break
		}
		t.Error(f)
	}
}

// Converge waits until the API shows what the server holds.
func Converge(t testing.TB, s *Server, grant string, d *realsrv.Dovecot, user string, bound time.Duration) {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		faults := Differences(t, s, grant, d, user)
		if len(faults) == 0 {
			t.Logf("equal after %v", time.Since(start).Round(time.Millisecond))
			return
		}
		if time.Since(start) > bound {
			t.Fatalf("not equal within %v, %d differences: %s", bound, len(faults), strings.Join(faults[:min(len(faults), 10)], "; "))
		}
		<-tick.C
	}
}

// Differences compares what the API shows with what the server holds: the same folders, the same bytes in the same folders
// with the same flags, every message once.
func Differences(t testing.TB, s *Server, grant string, d *realsrv.Dovecot, user string) (faults []string) {
	t.Helper()
	fault := func(format string, v ...any) { faults = append(faults, fmt.Sprintf(format, v...)) }
	session := d.Login(t, user)
	defer session.Close()
	var there []string
	for _, f := range session.Folders() {
		if !slices.ContainsFunc(f.Attrs, func(a string) bool { return strings.EqualFold(a, `\NonExistent`) || strings.EqualFold(a, `\Noselect`) }) {
			there = append(there, f.Name)
		}
	}
	folders, err := s.Folders(within(t, time.Minute), grant)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range there {
		if !slices.ContainsFunc(folders, func(f Folder) bool { return f.Name == name }) {
			fault("folder %q is missing", name)
		}
	}

	type place struct {
		folder string
		sum    [32]byte
	}
	want := map[place]int{}
	copies := map[[32]byte][]realsrv.Remote{}
	count := map[string][2]int{} // of a folder: messages, unread
	twins := map[string]bool{}   // folders that hold the same bytes twice
	for _, r := range session.Everything(false) {
		p := place{r.Folder, r.SHA256}
		want[p]++
		twins[r.Folder] = twins[r.Folder] || want[p] > 1
		copies[r.SHA256] = append(copies[r.SHA256], r)
		c := count[r.Folder]
		c[0]++
		if !slices.Contains(r.Flags, `\Seen`) {
			c[1]++
		}
		count[r.Folder] = c
	}
	for _, f := range folders {
		if !slices.Contains(there, f.Name) {
			if f.TotalCount > 0 || !slices.Contains(f.Attributes, `\Noselect`) && !slices.Contains(f.Attributes, `\NonExistent`) {
				fault("folder %q (%v) is not at the server", f.Name, f.Attributes)
			}
		} else if c := count[f.Name]; !twins[f.Name] && (f.TotalCount != c[0] || f.UnreadCount != c[1]) {
			fault("folder %q shows %d messages, %d unread; the server has %d, %d", f.Name, f.TotalCount, f.UnreadCount, c[0], c[1])
		}
	}

	local, odd := Read(t, s, grant)
	faults = append(faults, odd...)
	got := map[[32]byte]string{}
	for _, m := range local {
		if other, ok := got[m.Sum]; ok {
			fault("%s and %s have the same bytes", other, m.ID)
		}
		got[m.Sum] = m.ID
		remote := copies[m.Sum]
		if len(remote) == 0 {
			fault("%s (%v) is not at the server", m.ID, m.Names)
			continue
		}
		for _, f := range m.Names {
			if want[place{f, m.Sum}] == 0 {
				fault("%s is in %q here but not at the server", m.ID, f)
			}
			delete(want, place{f, m.Sum})
		}
		if len(remote) == 1 {
			if seen := slices.Contains(remote[0].Flags, `\Seen`); seen == m.Unread {
				fault("%s: unread is %v, the server has %v", m.ID, m.Unread, remote[0].Flags)
			}
			if flagged := slices.Contains(remote[0].Flags, `\Flagged`); flagged != m.Starred {
				fault("%s: starred is %v, the server has %v", m.ID, m.Starred, remote[0].Flags)
			}
		}
	}
	for p, n := range want {
		fault("%d message(s) %x in %q are missing here", n, p.sum[:4], p.folder)
	}
	return faults
}
