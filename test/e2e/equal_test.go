package e2e

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// held is a message as the API shows it.
type held struct {
	binary.Message
	sum     [32]byte
	folders []string // names, sorted
}

// everything reads all messages by the API, with the digests of their bytes.
func everything(t *testing.T, s *binary.Server, grant string) []held {
	t.Helper()
	all, faults := read(t, s, grant)
	for _, f := range faults {
		t.Error(f)
	}
	return all
}

// read is everything, with what does not fit together in the answers. While mail changes, two lists may differ.
func read(t *testing.T, s *binary.Server, grant string) (all []held, faults []string) {
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
		h := held{Message: m}
		var ok bool
		if h.sum, ok = sums[m.ID]; !ok {
			fault("%s is not in the raw list", m.ID)
		}
		for _, f := range m.Folders {
			if names[f] == "" {
				fault("%s is in the unknown folder %s", m.ID, f)
			}
			h.folders = append(h.folders, names[f])
		}
		slices.Sort(h.folders)
		all = append(all, h)
	}
	if len(raws) != len(list) {
		fault("%d messages, %d raw ones", len(list), len(raws))
	}
	return all, faults
}

// equal fails the test when the API does not show what the server holds.
func equal(t *testing.T, s *binary.Server, grant string, d *realsrv.Dovecot, user string) {
	t.Helper()
	for i, f := range differences(t, s, grant, d, user) {
		if i == 20 {
			t.Error("and so on")
			break
		}
		t.Error(f)
	}
}

// converge waits until the API shows what the server holds.
func converge(t *testing.T, s *binary.Server, grant string, d *realsrv.Dovecot, user string, bound time.Duration) {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		faults := differences(t, s, grant, d, user)
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

// differences compares what the API shows with what the server holds: the same folders, the same bytes in the same folders
// with the same flags, every message once.
func differences(t *testing.T, s *binary.Server, grant string, d *realsrv.Dovecot, user string) (faults []string) {
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
		if !slices.ContainsFunc(folders, func(f binary.Folder) bool { return f.Name == name }) {
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

	local, odd := read(t, s, grant)
	faults = append(faults, odd...)
	got := map[[32]byte]string{}
	for _, m := range local {
		if other, ok := got[m.sum]; ok {
			fault("%s and %s have the same bytes", other, m.ID)
		}
		got[m.sum] = m.ID
		remote := copies[m.sum]
		if len(remote) == 0 {
			fault("%s (%v) is not at the server", m.ID, m.folders)
			continue
		}
		for _, f := range m.folders {
			if want[place{f, m.sum}] == 0 {
				fault("%s is in %q here but not at the server", m.ID, f)
			}
			delete(want, place{f, m.sum})
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
