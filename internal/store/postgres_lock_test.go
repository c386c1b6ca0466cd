package store

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/faultnet"
)

// lockBench is a store whose lock is tried for again when the test says so.
type lockBench struct {
	*place
	s    *Store
	m    *Mailbox
	loss chan struct{}  // the loss was seen, or a try has failed
	try  chan time.Time // next
	lost chan error     // what Lost was called with
}

func newLockBench(t *testing.T) *lockBench {
	b := &lockBench{place: newPlace(t, "postgres"), loss: make(chan struct{}, 100), try: make(chan time.Time, 100), lost: make(chan error, 100)}
	o := b.o
	b.o.Lost = func(err error) { b.lost <- err }
	b.o.tuneLock = func(l *pgLock) {
		l.after = func(time.Duration) <-chan time.Time {
			b.loss <- struct{}{}
			return b.try
		}
	}
	b.s = b.open(t)
	b.o = o
	_, b.m = addAccount(t, b.s, "a@example.com")
	return b
}

// cut ends the lock's connection, and returns when that was seen.
func (b *lockBench) cut(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	c, err := pgx.Connect(ctx, b.o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	var ended int
	if err := c.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM (SELECT DISTINCT pid FROM pg_locks
		WHERE locktype='advisory' AND database=(SELECT oid FROM pg_database WHERE datname=current_database())) held`).Scan(&ended); err != nil || ended != 1 {
		t.Fatalf("%d connections hold locks: %v", ended, err)
	}
	<-b.loss
}

func refused(t *testing.T, o Options) {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err == nil {
		s.Close()
	}
	if !mail.IsKind(err, mail.Conflict) {
		t.Errorf("a second server: %v", err)
	}
}

// A server whose lock is lost does not write until it has the lock again, and then nobody else gets it.
func TestLockIsTakenAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := newLockBench(t)
	for range 2 {
		b.cut(t)
		b.s.pg.wait = 50 * time.Millisecond
		if _, err := b.m.NextTerm(ctx); !mail.IsKind(err, mail.Unavailable) {
			t.Errorf("a write without the lock: %v", err)
		}
		b.s.pg.wait = pgConnWait
		if _, err := b.m.Folders(ctx); err != nil {
			t.Errorf("a read without the lock: %v", err)
		}
		b.try <- time.Now()
		if _, err := b.m.NextTerm(ctx); err != nil {
			t.Errorf("a write with the lock: %v", err)
		}
	}
	refused(t, b.o)
	if len(b.lost) > 0 {
		t.Error(<-b.lost)
	}
}

// An attempt that fails is followed by others. Meanwhile writes are refused at once.
func TestLockIsTriedForAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := newLockBench(t)
	admin, err := pgx.Connect(ctx, b.o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(ctx))
	exec := func(q string) {
		t.Helper()
		if _, err := admin.Exec(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	b.cut(t)
	exec("ALTER TABLE meta RENAME TO away")
	b.try <- time.Now()
	<-b.loss
	b.s.pg.wait = time.Hour
	if _, err := b.m.NextTerm(ctx); !mail.IsKind(err, mail.Unavailable) {
		t.Errorf("a write without the lock: %v", err)
	}
	exec("ALTER TABLE away RENAME TO meta")
	b.try <- time.Now()
	for {
		_, err := b.m.NextTerm(ctx)
		if err == nil {
			break
		}
		if !mail.IsKind(err, mail.Unavailable) {
			t.Fatal(err)
		}
	}
	if len(b.lost) > 0 {
		t.Error(<-b.lost)
	}
}

// A server does not go on when another one was quicker, also if that is gone again.
func TestLockIsTakenAway(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		ctx := t.Context()
		b := newLockBench(t)
		b.cut(t)
		other, err := Open(ctx, b.o)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if gone {
			other.Close()
		}
		b.try <- time.Now()
		if err := <-b.lost; !mail.IsKind(err, mail.Conflict) {
			t.Errorf("gone %v: lost: %v", gone, err)
		}
		if _, err := b.m.NextTerm(ctx); !mail.IsKind(err, mail.Fenced) {
			t.Errorf("gone %v: a write: %v", gone, err)
		}
		if _, err := b.m.Folders(ctx); err != nil {
			t.Errorf("gone %v: a read: %v", gone, err)
		}
		if !gone {
			addAccount(t, other, "b@example.com")
		}
		if err := b.s.Close(); err != nil {
			t.Error(err)
		}
		if len(b.lost) > 0 {
			t.Errorf("gone %v: lost twice: %v", gone, <-b.lost)
		}
	}
}

// A server that is closed while it has no lock ends.
func TestCloseWithoutLock(t *testing.T) {
	t.Parallel()
	b := newLockBench(t)
	b.cut(t)
	wrote := make(chan error)
	go func() {
		_, err := b.m.NextTerm(context.Background())
		wrote <- err
	}()
	if err := b.s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-wrote; !mail.IsKind(err, mail.Unavailable) {
		t.Errorf("a write: %v", err)
	}
	if len(b.lost) > 0 {
		t.Error(<-b.lost)
	}
}

// A connection that answers no more is found, and is not taken for another server although PostgreSQL believes that it is alive.
func TestLockOnASilentConnection(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := newPlace(t, "postgres")
	u, err := url.Parse(p.o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	direct := p.o
	u.Host = faultnet.Start(t, u.Host, `conn 1: stall client after "-- ping"`).Addr
	p.o.DatabaseURL = u.String()
	loss, lost := make(chan struct{}, 100), make(chan error, 100)
	p.o.Lost = func(err error) { lost <- err }
	p.o.tuneLock = func(l *pgLock) {
		l.look, l.wait = 10*time.Millisecond, 5*time.Second
		l.after = func(time.Duration) <-chan time.Time {
			loss <- struct{}{}
			return time.After(0)
		}
	}
	s := p.open(t)
	_, m := addAccount(t, s, "a@example.com")
	select {
	case <-loss:
	case <-time.After(time.Minute):
		t.Fatal("a silent connection was not found")
	}
	if _, err := m.NextTerm(ctx); err != nil {
		t.Errorf("a write: %v", err)
	}
	refused(t, direct)
	if len(lost) > 0 {
		t.Error(<-lost)
	}
}
