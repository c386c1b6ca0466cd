package syncer_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestVerifyFindsEveryDifference plants one difference of each kind and looks for exactly these.
func TestVerifyFindsEveryDifference(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	const user = "ann"
	s := d.Login(t, user)
	for _, f := range []string{"Gone", "Renumbered"} {
		d.CreateFolder(t, user, f)
		s.Append(f, message(900+len(f)), nil, day)
	}
	b := setup(t, &d.IMAP, user)
	b.fill(8)
	b.live()
	b.equal()

	verify := func(o syncer.VerifyOptions) syncer.Verified {
		t.Helper()
		v, err := b.engine.Verify(t.Context(), b.id, o)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := verify(syncer.VerifyOptions{Bytes: true})
	if len(v.Differences) > 0 || v.Messages != 10 || v.Bytes == 0 {
		t.Fatalf("of equal mailboxes: %+v", v)
	}

	b.engine.Close() // from here on nobody brings the store up to date
	s.Do("SELECT INBOX")
	s.Do(`UID STORE 2 +FLAGS (\Flagged $Later)`)
	s.Do(`UID STORE 3 +FLAGS (\Deleted)`)
	s.Do("EXPUNGE")
	s.Append("INBOX", message(500), nil, day)
	s.Do("UNSELECT")
	s.Do("DELETE Gone")
	d.CreateFolder(t, user, "New")
	d.Doveadm(t, "mailbox", "update", "-u", user, "--uid-validity", "4711", "Renumbered")
	alter(t, d.MaildirPath(user), "Body 4.", "Body X.") // UID 5

	v = verify(syncer.VerifyOptions{Bytes: true, Wait: time.Millisecond})
	var got []string
	for _, difference := range v.Differences {
		got = append(got, difference.String())
	}
	slices.Sort(got)
	want := []string{
		`"Gone": the folder is here and not at the server`,
		`"INBOX" UID 2: flags are [$Later \Flagged] at the server and [] here`,
		`"INBOX" UID 3: the message is here and not at the server`,
		`"INBOX" UID 5: the bytes differ: SHA-256 `,
		`"INBOX" UID 9: the message is at the server and not here`,
		`"New": the folder is at the server and not here`,
		`"Renumbered": UIDVALIDITY is 4711 at the server and `,
	}
	if len(got) != len(want) {
		t.Fatalf("found %d of %d differences:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("found %q, want %q", got[i], want[i])
		}
	}
	if v := verify(syncer.VerifyOptions{}); slices.ContainsFunc(v.Differences, func(d syncer.Difference) bool { return strings.Contains(d.What, "bytes") }) || v.Bytes > 0 {
		t.Errorf("bytes were compared although nobody asked for it: %+v", v)
	}

	b.start() // and it is all put right, but for bytes that changed under a UID, which no IMAP server may do (RFC 9051 2.3.1.1)
	b.until("the differences to be gone", func() bool { v = verify(syncer.VerifyOptions{}); return len(v.Differences) == 0 })
}

// alter changes the one file below dir that holds old.
func alter(t *testing.T, dir, old, new string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(raw, []byte(old)) || strings.HasPrefix(e.Name(), "dovecot") {
			return err
		}
		found++
		return os.WriteFile(path, bytes.ReplaceAll(raw, []byte(old), []byte(new)), 0o600)
	})
	if err != nil || found != 1 {
		t.Fatal(fmt.Errorf("%q in %d files: %w", old, found, err))
	}
}
