package e2e

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
	"github.com/posthorn/posthorn/test/seed"
)

// fill writes a seeded mailbox of n messages for user.
func fill(t *testing.T, d *realsrv.Dovecot, user string, n int) {
	t.Helper()
	dir := d.MaildirPath(user)
	if _, err := seed.Maildir(dir, 7, n); err != nil {
		t.Fatal(err)
	}
	if err := d.Chown(dir); err != nil {
		t.Fatal(err)
	}
}

func TestEveryByteArrives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    realsrv.DovecotOptions
	}{
		{"as it is", realsrv.DovecotOptions{}},
		{"no QRESYNC", realsrv.DovecotOptions{CapsDrop: []string{"QRESYNC"}, Separator: "."}},
		{"nothing but IMAP4rev1", realsrv.DovecotOptions{NoSpecial: true, CapsDrop: strings.Fields("SASL-IR ENABLE IDLE NAMESPACE UIDPLUS " +
			"LIST-EXTENDED CONDSTORE QRESYNC ESEARCH SEARCHRES LIST-STATUS MOVE STATUS=SIZE LITERAL+ NOTIFY SPECIAL-USE CHILDREN UNSELECT ID")}},
		{"two connections, prefix", realsrv.DovecotOptions{MaxUserIP: 2, Prefix: "INBOX.", Separator: "."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, c.o)
			fill(t, d, "mira@example.com", 300)
			s := serve(t, binary.Options{})
			g := connect(t, s, d, "mira@example.com")
			if g.Email != "mira@example.com" || g.GrantStatus != "valid" {
				t.Errorf("grant %+v", g)
			}
			binary.Equal(t, s, g.ID, d, "mira@example.com")
			if err := s.Stop(within(t, 30*time.Second)); err != nil {
				t.Errorf("stop: %v", err)
			}
			binary.Check(t, s)
		})
	}
}

func TestEveryByteArrivesInPostgres(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	fill(t, d, "mira@example.com", 300)
	s := serve(t, binary.Options{Env: []string{"POSTHORN_DATABASE_URL=" + realsrv.StartPostgres(t).URL(t)}})
	g := connect(t, s, d, "mira@example.com")
	binary.Equal(t, s, g.ID, d, "mira@example.com")
	binary.Check(t, s)
	if err := s.Stop(within(t, 30*time.Second)); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestCopiesAreOneMessage(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	one := []byte("From: a@example.com\r\nMessage-ID: <one@example.com>\r\nSubject: one\r\n\r\nsame\r\n")
	other := []byte("From: a@example.com\r\nMessage-ID: <one@example.com>\r\nSubject: one\r\n\r\nother body, same header\r\n")
	for _, f := range []string{"INBOX", "Archive", "Archive"} {
		d.Append(t, "mira", f, one, nil, time.Time{})
	}
	d.Append(t, "mira", "INBOX", other, nil, time.Time{})
	s := serve(t, binary.Options{})
	g := connect(t, s, d, "mira")
	all := binary.Everything(t, s, g.ID)
	if len(all) != 2 {
		t.Fatalf("%d messages, want 2: %+v", len(all), all)
	}
	i := slices.IndexFunc(all, func(h binary.Held) bool { return h.Sum == sha256.Sum256(one) })
	if i < 0 || !slices.Equal(all[i].Names, []string{"Archive", "INBOX"}) {
		t.Errorf("%+v", all)
	}
	binary.Equal(t, s, g.ID, d, "mira")
}

func TestEmptyMailbox(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := serve(t, binary.Options{})
	g := connect(t, s, d, "nobody@example.com")
	if all := binary.Everything(t, s, g.ID); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	folders, err := s.Folders(t.Context(), g.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(folders, func(f binary.Folder) bool { return f.Name == "INBOX" && f.TotalCount == 0 }) {
		t.Errorf("%+v", folders)
	}
	binary.Check(t, s)
}

func TestThousandsOfFolders(t *testing.T) {
	t.Parallel()
	n := 2500
	if testing.Short() {
		n = 300
	}
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Layout: "fs"})
	dir := d.MaildirPath("mira")
	odd := []string{`He said "yes"`, `back\slash`, "ampersand & co", "50%", "star*", "späti", "日本語 フォルダ", "😀 smile", "(brackets)", "{curly}",
		"trailing dot.", "a.b.c", "Ω", "INBOX2", "inbox-like", "NIL", "'single'", "comma, colon:", "~home", "#hash", "tab-less", "dash—dash"}
	for _, sub := range []string{"cur", "new", "tmp"} { // INBOX
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		name := fmt.Sprintf("%s %d", odd[i%len(odd)], i)
		if i < len(odd) {
			name = odd[i]
		}
		path := filepath.Join(dir, realsrv.EncodeName(name))
		if i%10 == 3 { // some lie in others
			path = filepath.Join(dir, realsrv.EncodeName(odd[i%7]), realsrv.EncodeName(name))
		}
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(path, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 == 0 {
			raw := fmt.Sprintf("From: a@example.com\r\nSubject: in folder %d\r\nMessage-ID: <f%d@example.com>\r\n\r\nx\r\n", i, i)
			if err := os.WriteFile(filepath.Join(path, "cur", fmt.Sprintf("%d.M1.e2e:2,", i+1)), []byte(raw), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.Chown(dir); err != nil {
		t.Fatal(err)
	}
	s := serve(t, binary.Options{})
	g := connect(t, s, d, "mira")
	binary.Equal(t, s, g.ID, d, "mira")
	binary.Check(t, s)
}

func TestOddMessages(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	session := d.Login(t, "mira")
	for _, m := range []string{
		"no header, only text\r\nin two lines\r\n",
		"\r\nan empty header\r\n",
		"Subject: no end of line",
		"Subject: no body at all\r\n\r\n",
		"Subject: =?utf-8?Q?broken=?= =?x?y?z?=\r\nFrom: <\r\nDate: yesterday\r\n\r\n\x00\xff\xfe\r\n",
		"Content-Type: multipart/mixed; boundary=never\r\n\r\nno part here\r\n",
		"From: a@example.com\r\nSubject: twins\r\n\r\nnobody told them apart\r\n",
		"From: a@example.com\r\nSubject: twins\r\n\r\nsomebody did\r\n",
		strings.Repeat("X-Many: header lines\r\n", 3000) + "Subject: many\r\n\r\nbody\r\n",
		"Subject: " + strings.Repeat("long ", 20000) + "\r\n\r\nbody\r\n",
	} {
		session.Append("INBOX", []byte(m), nil, time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC))
	}
	s := serve(t, binary.Options{})
	g := connect(t, s, d, "mira")
	binary.Equal(t, s, g.ID, d, "mira")
	binary.Check(t, s)
}

func TestHugeMessage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("moves 50 MB")
	}
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	var b strings.Builder
	b.WriteString("From: a@example.com\r\nSubject: huge\r\nMessage-ID: <huge@example.com>\r\nContent-Type: application/octet-stream\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	r := rand.New(rand.NewPCG(1, 2))
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for b.Len() < 50<<20 {
		for range 76 {
			b.WriteByte(letters[r.IntN(64)])
		}
		b.WriteString("\r\n")
	}
	d.Append(t, "mira", "INBOX", []byte(b.String()), nil, time.Time{})
	d.Append(t, "mira", "INBOX", []byte("Subject: small\r\n\r\nbeside it\r\n"), nil, time.Time{})
	s := serve(t, binary.Options{})
	g := connect(t, s, d, "mira")
	if rss := s.PeakRSS(); rss > 512<<20 {
		t.Errorf("peak memory %d MiB", rss>>20)
	}
	binary.Equal(t, s, g.ID, d, "mira")
	binary.Check(t, s)
}

func TestRestartKeepsIDs(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	fill(t, d, "mira", 100)
	s := serve(t, binary.Options{})
	g := connect(t, s, d, "mira")
	before := binary.Everything(t, s, g.ID)
	if err := s.Stop(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	again := serve(t, s.Options)
	if _, err := again.Await(within(t, time.Minute), g.ID, binary.Live); err != nil {
		t.Fatal(err)
	}
	after := binary.Everything(t, again, g.ID)
	if len(before) != len(after) {
		t.Fatalf("%d messages before, %d after", len(before), len(after))
	}
	for i := range before {
		if before[i].ID != after[i].ID || before[i].ThreadID != after[i].ThreadID {
			t.Errorf("%s became %s", before[i].ID, after[i].ID)
		}
	}

	// A new store of the same mailbox gives the same ids.
	fresh := serve(t, binary.Options{})
	g2 := connect(t, fresh, d, "mira")
	ids := map[[32]byte]binary.Held{}
	for _, m := range binary.Everything(t, fresh, g2.ID) {
		ids[m.Sum] = m
	}
	for _, m := range before {
		if o := ids[m.Sum]; o.ID != m.ID || o.ThreadID != m.ThreadID {
			t.Errorf("%s/%s is %s/%s in a new store", m.ID, m.ThreadID, o.ID, o.ThreadID)
		}
	}
}
