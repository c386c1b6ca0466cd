package corpus

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

const login = "open@example.test"

// TestMailbox has a real server hold the corpus and connects it: every message shows once (a draft and mail of the same bytes are
// two), in its folders, with its very bytes. From an empty store, with the folders in another order and the headers not compressed,
// all ids are the same.
func TestMailbox(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Log("not run with -short: it reads 14,000 messages four times")
		return
	}
	dir := Dir(t)
	if dir == "" {
		return
	}
	program, err := binary.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first := realsrv.StartDovecot(t, realsrv.DovecotOptions{Compress: true})
	lay(t, first, dir)
	there := first.Everything(t, login)
	one := connected(t, program, first, there)

	// In Sent's and Drafts' place these folders come before the others.
	second := realsrv.StartDovecot(t, realsrv.DovecotOptions{NoSpecial: true, Extra: `
namespace inbox {
  mailbox Odd {
    special_use = \Sent
  }
  mailbox Lists {
    special_use = \Archive
  }
}
`})
	lay(t, second, dir)
	two := connected(t, program, second, there)
	for _, ids := range []struct {
		of       string
		one, two map[string]string
	}{{"folders", one.folders, two.folders}, {"messages", one.messages, two.messages}, {"threads", one.threads, two.threads}} {
		other := 0
		for what, id := range ids.one {
			if ids.two[what] != id {
				if other++; other <= 5 {
					t.Errorf("%s was %s and is %s", what, id, ids.two[what])
				}
			}
		}
		t.Logf("%s: %d, with other ids after another synchronisation: %d", ids.of, len(ids.one), other)
	}
}

// shown is what the API shows: ids by name of folder, and by digest of message.
type shown struct{ folders, messages, threads map[string]string }

// connected connects the corpus at d to a new server of ours, compares what it shows with what is there, and returns the ids.
func connected(t *testing.T, program string, d *realsrv.Dovecot, there []realsrv.Remote) shown {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s, err := binary.Start(ctx, binary.Options{Path: program, Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	began := time.Now()
	g, err := s.Connect(ctx, binary.IMAP(d.Addr, login, d.Password))
	if err == nil {
		g, err = s.Await(ctx, g.ID, binary.Live)
	}
	if err != nil {
		t.Fatal(err)
	}
	live := time.Since(began)
	out := shown{map[string]string{}, map[string]string{}, map[string]string{}}
	folders, err := s.Folders(ctx, g.ID)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, f := range folders {
		names[f.ID], out.folders[f.Name] = f.Name, f.ID
	}
	raws, err := s.Messages(ctx, g.ID, url.Values{"fields": {"raw_mime"}})
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{} // by id
	for _, m := range raws {
		raw, err := base64.RawURLEncoding.DecodeString(m.RawMIME)
		if err != nil {
			t.Fatalf("raw_mime of %s: %v", m.ID, err)
		}
		sums[m.ID] = fmt.Sprintf("%x", sha256.Sum256(raw))
	}
	list, err := s.Messages(ctx, g.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{} // the same bytes twice in one folder are one message in it
	for _, r := range there {
		want[fmt.Sprintf("%s %x", r.Folder, r.SHA256)] = true
	}
	flagged := map[string]int{} // bytes of drafts: 1, of mail: 2, of both: 3
	for _, r := range there {
		bit := 2
		if slices.Contains(r.Flags, `\Draft`) {
			bit = 1
		}
		flagged[fmt.Sprintf("%x", r.SHA256)] |= bit
	}
	missing := maps.Clone(want)
	twice, extra := 0, 0
	for _, m := range list {
		sum := sums[m.ID]
		for _, f := range m.Folders {
			place := names[f] + " " + sum
			if !want[place] {
				t.Errorf("not at the server: %s in %s", m.ID, place)
				extra++
			}
			delete(missing, place)
		}
		if other := out.messages[sum]; other != "" {
			if twice++; flagged[sum] != 3 {
				t.Errorf("%s and %s have the same bytes, %s", other, m.ID, sum)
			}
			sum += " again"
		}
		out.messages[sum], out.threads[sum] = m.ID, m.ThreadID
	}
	for place := range missing {
		t.Errorf("not shown: %s", place)
	}
	t.Logf("live after %v; %d messages at the server, %d in their folders by bytes; listed %d, twice (as draft and as mail) %d, missing %d, extra %d; peak memory %d MiB",
		live.Round(100*time.Millisecond), len(there), len(want), len(list), twice, len(missing), extra, s.PeakRSS()>>20)
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	if out, err := s.Check(ctx); err != nil {
		t.Errorf("posthorn check: %v\n%s", err, out)
	}
	return out
}

// lay writes the corpus as the mail of login, with the UIDs, flags and dates of its manifest.
func lay(t *testing.T, d *realsrv.Dovecot, dir string) {
	t.Helper()
	root := d.MaildirPath(login)
	path := func(folder string) string {
		if folder == "INBOX" {
			return root
		}
		return filepath.Join(root, "."+folder)
	}
	rows := manifest(t, dir)
	next := map[string]int{}
	uids := map[string]*strings.Builder{}
	for _, r := range rows {
		if uids[r.folder] == nil {
			uids[r.folder] = &strings.Builder{}
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(filepath.Join(path(r.folder), sub), 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
		fmt.Fprintf(uids[r.folder], "%d :%s\n", r.uid, r.base)
		next[r.folder] = r.uid + 1
	}
	for folder, list := range uids {
		guid := fmt.Sprintf("%x%032d", folder, 0)[:32]
		list := fmt.Sprintf("3 V1700000000 N%d G%s\n%s", next[folder], guid, list)
		if err := os.WriteFile(filepath.Join(path(folder), "dovecot-uidlist"), []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path(folder), "dovecot-keywords"), []byte("0 $Forwarded\n1 $Important\n2 todo\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := map[string]row{}
	for _, r := range rows {
		at[r.base] = r
	}
	for _, m := range Messages(t, dir) {
		r := at[strings.TrimSuffix(m.File, ".eml")]
		file := filepath.Join(path(m.Folder), "cur", r.base+":2,"+r.flags)
		if err := os.WriteFile(file, m.Raw, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, r.date, r.date); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Chown(root); err != nil {
		t.Fatal(err)
	}
}

// row is a line of the corpus' manifest.
type row struct {
	base, folder string
	uid          int
	flags        string // letters of a Maildir
	date         time.Time
}

// manifest reads where the messages lie, in order of their UIDs.
func manifest(t *testing.T, dir string) (rows []row) {
	t.Helper()
	unpack(t, filepath.Join(dir, "open.tar.zst"), func(name string, r io.Reader) {
		if path.Base(name) != "manifest.tsv" {
			return
		}
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<24)
		lines.Scan()
		columns := strings.Split(lines.Text(), "\t")
		for lines.Scan() {
			v := map[string]string{}
			for i, field := range strings.Split(lines.Text(), "\t") {
				v[columns[i]] = field
			}
			uid, err := strconv.Atoi(v["uid"])
			date, err2 := strconv.ParseInt(v["internaldate"], 10, 64)
			if err != nil || err2 != nil {
				t.Fatalf("manifest: %v %v", err, err2)
			}
			flags := []byte(v["maildir_flags"])
			slices.Sort(flags)
			rows = append(rows, row{strings.TrimSuffix(v["file"], ".eml"), v["folder"], uid, string(flags), time.Unix(date, 0)})
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	})
	slices.SortFunc(rows, func(a, b row) int { return a.uid - b.uid })
	return rows
}
