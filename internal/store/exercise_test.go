package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"
	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
	"github.com/posthorn/posthorn/test/realsrv"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(childJob); job != "" { // this process is the victim of a crash test
		os.Exit(child(job))
	}
	registerVFS(testVFS{vfs.Find("")})
	goleak.VerifyTestMain(m)
}

// place is where a test's store lies. Stores opened in it one after the other find the same data.
type place struct {
	name string
	o    Options
}

// exercise runs a test on both databases, in parallel, each in a place of its own. Every test of the store runs
// through it or through exercisePlaces.
func exercise(t *testing.T, fn func(t *testing.T, p *place)) {
	t.Helper()
	exercisePlaces(t, []string{"sqlite", "postgres"}, fn)
}

// exercisePlaces is exercise for chosen kinds of places: a database, or database+file or database+s3 for one with
// blobs in an object store.
func exercisePlaces(t *testing.T, kinds []string, fn func(t *testing.T, p *place)) {
	t.Helper()
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			fn(t, newPlace(t, kind))
		})
	}
}

func newPlace(t testing.TB, kind string) *place {
	p := &place{name: kind, o: Options{Keys: newKeys(t), Log: slog.New(slog.DiscardHandler)}}
	db, blobs := kind, ""
	for i, c := range kind {
		if c == '+' {
			db, blobs = kind[:i], kind[i+1:]
		}
	}
	switch db {
	case "sqlite":
		p.o.Dir = filepath.Join(t.TempDir(), "data")
	case "postgres":
		p.o.DatabaseURL = realsrv.StartPostgres(t).URL(t)
	default:
		t.Fatalf("no such database: %s", db)
	}
	switch blobs {
	case "":
	case "file":
		p.o.BlobURL = "file://" + filepath.ToSlash(filepath.Join(t.TempDir(), "blobs"))
	case "s3":
		p.o.BlobURL = startS3(t)
	default:
		t.Fatalf("no such object store: %s", blobs)
	}
	return p
}

func newKeys(t testing.TB) *vault.Keyring {
	raw := vault.NewKey().Derive("test")
	r, err := vault.NewKeyring(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// open opens the store. At the end of the test it is checked and closed, unless the test closed it.
func (p *place) open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), p.o)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

// shut checks and closes a store.
func shut(t testing.TB, s *Store) {
	t.Helper()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	problems, err := s.Check(context.Background())
	if err != nil {
		t.Errorf("check the store: %v", err)
	}
	for _, p := range problems {
		t.Errorf("store.Check: account %q: %s", p.Account, p.What)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close the store: %v", err)
	}
}

// addAccount makes an account and returns it with its mailbox.
func addAccount(t testing.TB, s *Store, email string) (mail.Account, *Mailbox) {
	t.Helper()
	ctx := context.Background()
	app, err := s.DefaultApp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	a := testAccount(app.ID, email)
	if err := s.CreateAccount(ctx, a, mail.Credentials{IMAPPassword: mail.NewSecret("imap of " + email)}); err != nil {
		t.Fatalf("create account: %v", err)
	}
	m, err := s.Mailbox(ctx, a.ID)
	if err != nil {
		t.Fatalf("open mailbox: %v", err)
	}
	return a, m
}

func testAccount(app mail.AppID, email string) mail.Account {
	return mail.Account{
		ID: mail.AccountID(newUUID()), App: app, Email: email, Name: "Ada", Provider: "imap",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: "imap.example.com", Port: 993, Security: mail.SecurityTLS, Username: email}},
		Scope:    []string{"mail"}, State: "opaque",
		Sync:      mail.SyncStatus{State: mail.StateConnecting, Since: time.UnixMilli(1700000000123).UTC()},
		CreatedAt: time.UnixMilli(1700000000000).UTC(), UpdatedAt: time.UnixMilli(1700000001000).UTC(),
	}
}

// bytesOf returns n bytes that are the same for the same seed, and compress about as mail does.
func bytesOf(seed string, n int) []byte {
	b := make([]byte, 0, n+64)
	for i := 0; len(b) < n; i++ {
		h := sha256.Sum256(fmt.Append(nil, seed, i))
		b = fmt.Appendf(b, "line %d %x the same words again and again\r\n", i, h[:12])
	}
	return b[:n]
}
