package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/internal/mail"
)

const (
	// lockWait is how long a starting server waits for its predecessor's connection to be noticed as dead.
	lockWait = "2s"
	// lockLook is how often a connection that holds the lock is asked whether it is alive; less than pgSilence.
	lockLook = time.Minute
	// lockPause is the time between two attempts to take the lock again.
	lockPause = time.Second
)

// pgLock is the lock that one server has on the schema. PostgreSQL holds it as long as the connection lives on which it was
// taken. When that has ended nobody writes until the lock was taken again on another one; if another server was quicker,
// nobody ever does.
type pgLock struct {
	db    *sql.DB // keeps no idle connections: each is a new one
	log   *slog.Logger
	taken func(error)   // another server has it
	look  time.Duration // lockLook
	wait  time.Duration // for an answer, and for all of an attempt
	after func(time.Duration) <-chan time.Time

	mark int64 // of this server: a second lock beside the first, and a row in meta
	conn *sql.Conn
	stop context.CancelFunc // nil: it is not watched
	done chan struct{}      // closed when it is no longer watched

	mu      sync.Mutex
	known   chan struct{} // closed, but from a loss to the end of the first attempt
	missing error         // why nobody may write; nil: the lock is held
}

func newPGLock(db *sql.DB, o Options) *pgLock {
	db.SetMaxIdleConns(-1)
	l := &pgLock{
		db: db, log: o.Log, taken: o.Lost, look: lockLook, wait: pgConnWait, after: time.After,
		mark: rand.Int64(), done: make(chan struct{}), known: make(chan struct{}),
	}
	close(l.known)
	if l.taken == nil {
		l.taken = func(error) {}
	}
	if o.tuneLock != nil {
		o.tuneLock(l)
	}
	return l
}

// take takes the lock on a new connection. Conflict: another server has it.
func (l *pgLock) take(ctx context.Context) (err error) {
	c, err := l.db.Conn(ctx)
	if err != nil {
		return storeError(err)
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if _, err := c.ExecContext(ctx, "SELECT pg_advisory_lock($1::bigint)", l.mark); err != nil {
		return storeError(err)
	}
	if err := lockPostgres(ctx, c); err != nil {
		return err
	}
	l.conn = c
	return nil
}

// lockPostgres takes the lock that one server has on the schema; it is held as long as the connection lives.
func lockPostgres(ctx context.Context, c *sql.Conn) error {
	var before string
	if err := c.QueryRowContext(ctx, "SHOW lock_timeout").Scan(&before); err != nil {
		return storeError(err)
	}
	if _, err := c.ExecContext(ctx, "SET lock_timeout='"+lockWait+"'"); err != nil {
		return storeError(err)
	}
	_, err := c.ExecContext(ctx, "SELECT pg_advisory_lock(hashtextextended('posthorn:' || current_schema(), 0))")
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "55P03" { // lock_not_available
		return mail.E(mail.Conflict, "open the store", "another Posthorn server has this database open", nil)
	}
	if err == nil {
		_, err = c.ExecContext(ctx, "SET lock_timeout='"+before+"'")
	}
	return storeError(err)
}

// watch begins to watch over the lock, which was taken.
func (l *pgLock) watch(ctx context.Context) error {
	if _, err := l.conn.ExecContext(ctx, "INSERT INTO meta(key, value) VALUES('server', $1) ON CONFLICT(key) DO UPDATE SET value=excluded.value", strconv.FormatInt(l.mark, 10)); err != nil {
		return storeError(err)
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	go l.keep(ctx)
	return nil
}

// keep takes the lock again whenever its connection has ended, until ctx is done or another server has it.
func (l *pgLock) keep(ctx context.Context) {
	defer close(l.done)
	for {
		why := l.ended(ctx)
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		l.known = make(chan struct{})
		l.mu.Unlock()
		l.log.Error("the lock on the database was lost, nothing is written until it was taken again", "op", "lock", "err", why)
		l.conn.Close()
		l.conn = nil
		if err := l.retake(ctx); err != nil {
			if ctx.Err() == nil {
				l.taken(mail.E(mail.Conflict, "keep the store", takenAway, err))
			}
			return
		}
		l.log.Info("the lock on the database was taken again", "op", "lock")
	}
}

const takenAway = "another Posthorn server has taken this database"

// ended returns when the lock's connection has ended, and why.
func (l *pgLock) ended(ctx context.Context) error {
	for {
		var why error
		err := l.conn.Raw(func(c any) error {
			waiting, cancel := context.WithTimeout(ctx, l.look)
			defer cancel()
			pc := c.(*stdlib.Conn).Conn()
			_, why = pc.WaitForNotification(waiting) // none comes; the end of the connection is seen at once
			if pc.IsClosed() {
				return driver.ErrBadConn
			}
			return nil
		})
		if err != nil || ctx.Err() != nil {
			return why
		}
		asking, cancel := context.WithTimeout(ctx, l.wait)
		err = l.conn.PingContext(asking)
		cancel()
		if err != nil {
			return err
		}
	}
}

// retake takes the lock again, however long that takes. It fails when another server has it, or ctx is done.
func (l *pgLock) retake(ctx context.Context) error {
	for pause := time.Duration(0); ; pause = lockPause {
		select {
		case <-l.after(pause):
		case <-ctx.Done():
			l.answer(stopping())
			return ctx.Err()
		}
		trying, cancel := context.WithTimeout(ctx, l.wait)
		err := l.takeAgain(trying)
		cancel()
		switch {
		case err == nil:
			l.answer(nil)
			return nil
		case mail.IsKind(err, mail.Conflict):
			l.answer(mail.E(mail.Fenced, "store", takenAway, err))
			return err
		}
		l.answer(lockAway(err))
	}
}

func lockAway(cause error) error {
	return mail.E(mail.Unavailable, "store", "the lock on the database was lost and is being taken again", cause)
}

// answer tells those who want to write how an attempt ended.
func (l *pgLock) answer(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missing = err
	select {
	case <-l.known:
	default:
		close(l.known)
	}
}

// takeAgain is take for a server that had the lock. Conflict: another server has it, or had it meanwhile.
func (l *pgLock) takeAgain(ctx context.Context) error {
	// To PostgreSQL our connection may be alive still.
	if _, err := l.db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype='advisory' AND objsubid=1 AND (classid::bigint << 32) | objid::bigint = $1", l.mark); err != nil {
		return storeError(err)
	}
	if err := l.take(ctx); err != nil {
		return err
	}
	var mark string
	err := l.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key='server'").Scan(&mark)
	if err == nil && mark != strconv.FormatInt(l.mark, 10) {
		err = mail.E(mail.Conflict, "take the lock again", "another Posthorn server had this database open meanwhile", nil)
	}
	if err != nil {
		l.conn.Close()
		l.conn = nil
	}
	return storeError(err)
}

// await returns nil while the lock is held. Fenced: it never will be again. Unavailable: it is being taken again; only the
// first attempt is waited for.
func (l *pgLock) await(ctx context.Context) error {
	l.mu.Lock()
	known := l.known
	l.mu.Unlock()
	select {
	case <-known:
	case <-ctx.Done():
		if context.Cause(ctx) != errNoConnection {
			return ctx.Err()
		}
		return lockAway(nil)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing
}

// close gives the lock back.
func (l *pgLock) close() error {
	if l.stop != nil {
		l.stop()
		<-l.done
	}
	var err error
	if l.conn != nil {
		if err = l.conn.Close(); errors.Is(err, sql.ErrConnDone) { // it was being asked whether it is alive
			err = nil
		}
	}
	return errors.Join(err, l.db.Close())
}
