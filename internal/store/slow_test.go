package store

import (
	"context"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/ncruces/go-sqlite3"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/faultnet"
)

// A database that is locked, silent or out of connections is said to be unavailable within its time, to each of many callers, and
// used again as soon as it can be.
func TestPostgresIsSlow(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "postgres")
	u, err := url.Parse(p.o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	direct := p.o.DatabaseURL
	proxy := faultnet.Start(t, u.Host, "")
	u.Host = proxy.Addr
	q := u.Query()
	q.Set("lock_timeout", "300")
	u.RawQuery = q.Encode()
	p.o.DatabaseURL = u.String()
	b := newBox(t, p)
	b.folders("INBOX")
	b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), letter{id: "a", day: 1, body: "x"})}})
	all := func(what string) {
		t.Helper()
		var wg sync.WaitGroup
		ctx := t.Context()
		for range 60 {
			wg.Go(func() {
				if _, err := b.Folders(ctx); !mail.IsKind(err, mail.Unavailable) {
					t.Errorf("%s: a read: %v", what, err)
				}
			})
		}
		if _, err := b.Apply(ctx, Batch{Term: b.term, Folders: []mail.Folder{folder("Late", 1)}}); !mail.IsKind(err, mail.Unavailable) {
			t.Errorf("%s: a write: %v", what, err)
		}
		wg.Wait()
	}
	back := func(what string) {
		t.Helper()
		for range maxPGConns + 1 { // each connection that is dead is found once
			if _, err := b.Folders(t.Context()); err == nil {
				break
			}
		}
		if list, err := b.Folders(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("after %s: %d folders, %v", what, len(list), err)
		}
	}

	other, err := pgx.Connect(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(t.Context()))
	exec := func(q string) {
		t.Helper()
		if _, err := other.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	exec("BEGIN")
	exec("LOCK TABLE folders IN ACCESS EXCLUSIVE MODE")
	all("a locked table")
	exec("ROLLBACK")
	back("a locked table")
	exec("BEGIN")
	exec("SELECT 1 FROM state FOR UPDATE")
	if _, err := b.Apply(t.Context(), Batch{Term: b.term, Folders: []mail.Folder{folder("Late", 1)}}); !mail.IsKind(err, mail.Unavailable) {
		t.Errorf("a locked row: %v", err)
	}
	exec("ROLLBACK")
	back("a locked row")

	b.s.pg.wait = 300 * time.Millisecond
	b.s.pg.silence.Store(int64(300 * time.Millisecond))
	proxy.Turn(t, "stall server after 0")
	all("a silent server")
	b.s.pg.silence.Store(int64(pgSilence))
	b.s.pg.wait = pgConnWait
	proxy.Turn(t, "")
	back("a silent server")
}

// A database file that another process has locked is said to be busy; it can be read meanwhile.
func TestSQLiteIsLocked(t *testing.T) {
	t.Parallel()
	b := newBox(t, newPlace(t, "sqlite"))
	b.folders("INBOX")
	file := b.db.blobs.src.(*sqliteFile).path
	other, err := sqlite3.Open("file:" + filepath.ToSlash(file) + "?mode=rw")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutBlobs(t.Context(), []BlobData{{BlobRaw, []byte("x")}}); !mail.IsKind(err, mail.Unavailable) {
		t.Errorf("a write: %v", err)
	}
	if _, err := b.OpenBlob(t.Context(), 1); !mail.IsKind(err, mail.NotFound) {
		t.Errorf("a read: %v", err)
	}
	if err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutBlobs(t.Context(), []BlobData{{BlobRaw, []byte("x")}}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
