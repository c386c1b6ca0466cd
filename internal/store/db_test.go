package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		q                string
		scoped           bool
		sqlite, postgres string
	}{
		{"control", "SELECT a FROM t WHERE b=? AND c='?{a}' AND d=?", false,
			"SELECT a FROM t WHERE b=? AND c='?{a}' AND d=?", "SELECT a FROM t WHERE b=$1 AND c='?{a}' AND d=$2"},
		{"where", "UPDATE t SET x=? WHERE {a}id=?", true,
			"UPDATE t SET x=? WHERE id=?", "UPDATE t SET x=$2 WHERE account_id=$1 AND id=$3"},
		{"join", "SELECT 1 FROM t JOIN u ON {a:u}u.id=t.u WHERE {a:t}t.id=?", true,
			"SELECT 1 FROM t JOIN u ON u.id=t.u WHERE t.id=?", "SELECT 1 FROM t JOIN u ON u.account_id=$1 AND u.id=t.u WHERE t.account_id=$1 AND t.id=$2"},
		{"insert", "INSERT INTO t({ai}id) VALUES({av}?) ON CONFLICT({ai}id) DO NOTHING", true,
			"INSERT INTO t(id) VALUES(?) ON CONFLICT(id) DO NOTHING", "INSERT INTO t(account_id, id) VALUES($1, $2) ON CONFLICT(account_id, id) DO NOTHING"},
	} {
		if got := expand(sqlite, c.q, c.scoped); got != c.sqlite {
			t.Errorf("%s, SQLite: %s", c.name, got)
		}
		if got := expand(postgres, c.q, c.scoped); got != c.postgres {
			t.Errorf("%s, PostgreSQL: %s", c.name, got)
		}
	}
	for _, c := range []struct {
		q      string
		scoped bool
	}{{"DELETE FROM messages WHERE id=?", true}, {"SELECT {a}", false}, {"SELECT {b}", true}, {"SELECT {a", true}, {"SELECT '{a}", true}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("expanded %q", c.q)
				}
			}()
			expand(sqlite, c.q, c.scoped)
		}()
	}
}

func TestTransactions(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		_, m := addAccount(t, s, "a@example.com")
		_, other := addAccount(t, s, "b@example.com")
		put := func(x *tx, lo, hi int) error {
			var rows [][]any
			for i := lo; i < hi; i++ {
				rows = append(rows, []any{i << 16, fmt.Appendf(nil, "chunk %d", i)})
			}
			return x.insertMany(ctx, "chunks", []string{"id", "data"}, rows, "ON CONFLICT({ai}id) DO NOTHING")
		}
		count := func(m *Mailbox) (n int) {
			if err := m.db.blobs.read(ctx, func(x *tx) error {
				return x.row(ctx, "SELECT count(*) FROM chunks WHERE {a}1=1").Scan(&n)
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if err := m.db.blobs.write(ctx, func(x *tx) error { return put(x, 1, 1000) }); err != nil {
			t.Fatal(err)
		}
		if a, b := count(m), count(other); a != 999 || b != 0 {
			t.Fatalf("%d rows, %d in the other account", a, b)
		}
		boom := errors.New("boom")
		if err := m.db.blobs.write(ctx, func(x *tx) error {
			if err := put(x, 1000, 1010); err != nil {
				return err
			}
			return boom
		}); !errors.Is(err, boom) {
			t.Errorf("the error of a transaction: %v", err)
		}
		if err := m.db.blobs.write(ctx, func(x *tx) error {
			if err := put(x, 1000, 1010); err != nil {
				return err
			}
			panic("boom")
		}); !mail.IsKind(err, mail.Internal) {
			t.Errorf("a panic in a transaction: %v", err)
		}
		canceled, cancel := context.WithCancel(ctx)
		if err := m.db.blobs.write(canceled, func(x *tx) error {
			defer cancel()
			return put(x, 1000, 1010)
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled transaction: %v", err)
		}
		if err := m.db.blobs.write(canceled, func(x *tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled start: %v", err)
		}
		if err := m.db.blobs.write(ctx, func(x *tx) error {
			_, err := x.exec(ctx, "DELETE FROM chunks")
			return err
		}); !mail.IsKind(err, mail.Internal) {
			t.Errorf("a statement on all accounts: %v", err)
		}
		if n := count(m); n != 999 {
			t.Errorf("%d rows after transactions that failed", n)
		}

		if err := m.db.blobs.write(ctx, func(x *tx) error {
			changed, err := x.execMany(ctx, "DELETE FROM chunks WHERE {a}id=?", [][]any{{1 << 16}, {99999 << 16}, {2 << 16}})
			if err == nil && fmt.Sprint(changed) != "[1 0 1]" {
				t.Errorf("execMany changed %v", changed)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if n := count(m); n != 997 {
			t.Errorf("%d rows after execMany", n)
		}
		if err := m.db.blobs.write(ctx, func(x *tx) error {
			return x.insertMany(ctx, "chunks", []string{"id", "data"}, [][]any{{3 << 16, []byte("x")}}, "")
		}); !isUnique(err) {
			t.Errorf("a row twice: %v", err)
		}
		if err := m.db.blobs.read(ctx, func(x *tx) error {
			_, err := x.exec(ctx, "DELETE FROM chunks WHERE {a}1=1")
			return err
		}); err == nil {
			t.Error("a reader could write")
		}
		if n := count(m); n != 997 {
			t.Errorf("%d rows at the end", n)
		}
	})
}

// A reader sees one state of the mailbox, however long it looks, and does not hold up the writer.
func TestSnapshot(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		_, m := addAccount(t, p.open(t), "a@example.com")
		seq := func(x *tx) (n int) {
			if err := x.row(ctx, "SELECT seq FROM state WHERE {a}1=1").Scan(&n); err != nil {
				t.Error(err)
			}
			return n
		}
		bump := func(by int) error {
			return m.db.write(ctx, func(x *tx) error {
				_, err := x.exec(ctx, "UPDATE state SET seq=seq+? WHERE {a}1=1", by)
				return err
			})
		}
		if err := m.db.read(ctx, func(x *tx) error {
			before := seq(x)
			if err := bump(5); err != nil {
				return err
			}
			if after := seq(x); after != before {
				t.Errorf("the state changed under a reader from %d to %d", before, after)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 { // writers read, then write what they read plus one: none may be lost
			wg.Go(func() {
				for range 10 {
					if err := m.db.write(ctx, func(x *tx) error {
						n := seq(x)
						_, err := x.exec(ctx, "UPDATE state SET seq=? WHERE {a}1=1", n+1)
						return err
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := m.db.read(ctx, func(x *tx) error {
			if n := seq(x); n != 85 {
				t.Errorf("seq is %d, want 85", n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := bump(-85); err != nil { // so that Check agrees
			t.Fatal(err)
		}
	})
}

// Queries of many forms do not pile up prepared statements or texts.
func TestManyStatements(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		_, m := addAccount(t, s, "a@example.com")
		for round := range 3 {
			if err := m.db.read(ctx, func(x *tx) error {
				for i := range 2 * maxStmts {
					var n int
					if err := x.row(ctx, fmt.Sprintf("SELECT %d FROM state WHERE {a}1=1", i)).Scan(&n); err != nil || n != i {
						return fmt.Errorf("statement %d: %d, %w", i, n, err)
					}
				}
				if len(x.c.stmts) > maxStmts {
					t.Errorf("round %d: %d prepared statements", round, len(x.c.stmts))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range maxTexts + 10 {
			s.texts.get(fmt.Sprintf("SELECT %d", i), false)
		}
		if n := len(s.texts.m); n > maxTexts {
			t.Errorf("%d texts are kept", n)
		}
	})
}

func TestIdleFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "sqlite")
	now := time.UnixMilli(1700000000000)
	var mu sync.Mutex
	p.o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s := p.open(t)
	var boxes []*Mailbox
	for i := range 5 {
		_, m := addAccount(t, s, fmt.Sprintf("a%d@example.com", i))
		if _, err := m.PutBlobs(t.Context(), []BlobData{{BlobRaw, []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		boxes = append(boxes, m)
	}
	open := func() int { s.files.mu.Lock(); defer s.files.mu.Unlock(); return len(s.files.open) }
	if n := open(); n != 11 {
		t.Fatalf("%d files are open, want control.db and two for each account", n)
	}
	s.files.evict(7, time.Time{})
	if n := open(); n != 7 {
		t.Errorf("%d files are open, at most 7 are allowed", n)
	}
	mu.Lock()
	now = now.Add(2 * idleFileAfter)
	mu.Unlock()
	held := make(chan struct{})
	done := make(chan struct{})
	go func() { // a file in use is not closed
		defer close(done)
		err := boxes[0].db.read(t.Context(), func(x *tx) error {
			held <- struct{}{}
			<-held
			return x.row(t.Context(), "SELECT 1 FROM state WHERE {a}1=1").Scan(new(int))
		})
		if err != nil {
			t.Error(err)
		}
	}()
	<-held
	s.files.evict(0, now.Add(-idleFileAfter))
	if n := open(); n != 1 {
		t.Errorf("%d files are open, want the one in use", n)
	}
	held <- struct{}{}
	<-done
	for _, m := range boxes { // all of them open again
		if string(readBlob(t, m, 1)) != "x" {
			t.Error("a body came back different")
		}
	}
}

// A full disk is said to be one, and nothing that was stored is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "sqlite")
	s := p.open(t)
	_, m := addAccount(t, s, "a@example.com")
	ctx := t.Context()
	refs, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("before")}})
	if err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		f := m.db.blobs.src.(*sqliteFile)
		c, release, err := f.acquire(ctx, true)
		if err != nil {
			t.Fatal(err)
		}
		defer release(false)
		if _, err := c.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count=%d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(20)
	_, err = m.PutBlobs(ctx, []BlobData{{BlobRaw, bytesOf("large", 1<<20)}})
	if !mail.IsKind(err, mail.Unavailable) || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("a full disk: %v", err)
	}
	w, _ := m.NewBlob(ctx, BlobRaw)
	_, werr := w.Write(bytesOf("large", 1<<20))
	_, cerr := w.Commit()
	if err := errors.Join(werr, cerr); !mail.IsKind(err, mail.Unavailable) {
		t.Errorf("a full disk while writing: %v", err)
	}
	if string(readBlob(t, m, refs[0].ID)) != "before" {
		t.Error("what was stored is lost")
	}
	limit(1 << 30)
	if _, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, bytesOf("large", 1<<20)}}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestClosed(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		a, m := addAccount(t, s, "a@example.com")
		shut(t, s)
		if err := s.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if _, err := s.Mailbox(t.Context(), a.ID); !mail.IsKind(err, mail.Unavailable) {
			t.Errorf("a mailbox after closing: %v", err)
		}
		if err := m.db.write(t.Context(), func(*tx) error { return nil }); err == nil || mail.IsKind(err, mail.NotFound) {
			t.Errorf("a write after closing: %v", err) // not found would mean that the account is gone
		}
		if _, err := m.PutBlobs(t.Context(), []BlobData{{BlobRaw, []byte("late")}}); err == nil || mail.IsKind(err, mail.NotFound) {
			t.Errorf("a body after closing: %v", err)
		}
		if _, err := s.DefaultApp(t.Context()); err == nil || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("a read after closing: %v", err)
		}
	})
}
