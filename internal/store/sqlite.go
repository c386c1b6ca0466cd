package store

import (
	"container/list"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/posthorn/posthorn/internal/mail"
)

const (
	maxOpenFiles  = 256              // SQLite files kept open when nobody uses them
	idleFileAfter = 60 * time.Second // an unused file is closed after this
	maxReaders    = 3                // reading connections of one file
)

// sqliteFile is one SQLite database file, opened when it is used and closed when it is not.
type sqliteFile struct {
	pool   *filePool
	path   string
	key    []byte // 32 bytes for the encrypting VFS; nil for the plain one
	schema schema
	fresh  func(ctx context.Context, c *sql.Conn) error // fills a new file, in the transaction that makes its tables; nil: the file must exist
	guard  func(ctx context.Context, c *sql.Conn) error // looks at the file after each opening; may be nil

	writing chan struct{} // holds one token while somebody writes
	reading chan struct{} // one token per reader

	mu      sync.Mutex
	db      *sql.DB // nil: closed
	writer  *dbConn
	readers []*dbConn
	refs    int
	gone    bool          // erased or store closed: never opened again
	elem    *list.Element // in pool.idle
	idleAt  time.Time
}

func (p *filePool) file(path string, key []byte, sc schema) *sqliteFile {
	return &sqliteFile{pool: p, path: path, key: key, schema: sc, writing: make(chan struct{}, 1), reading: make(chan struct{}, maxReaders)}
}

func (f *sqliteFile) begin(write bool) string {
	if write {
		return "BEGIN IMMEDIATE"
	}
	return "BEGIN"
}

func (f *sqliteFile) acquire(ctx context.Context, write bool) (*dbConn, func(bool), error) {
	if write && f.pool.readOnly {
		return nil, nil, mail.E(mail.Refused, "store", "the store is open for reading only", nil)
	}
	turn := f.reading
	if write {
		turn = f.writing
	}
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	c, err := f.take(ctx, write)
	if err != nil {
		<-turn
		return nil, nil, err
	}
	return c, func(broken bool) {
		if write && logFailed(c) {
			f.abandon(c)
		} else {
			f.put(c, write, broken)
		}
		<-turn
	}, nil
}

func (f *sqliteFile) take(ctx context.Context, write bool) (*dbConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pool.isClosed() {
		return nil, stopping()
	}
	if f.gone {
		return nil, noAccount(errClosed)
	}
	if f.db == nil {
		if err := f.open(ctx); err != nil {
			return nil, err
		}
	}
	var c *dbConn
	if n := len(f.readers); write {
		c, f.writer = f.writer, nil
	} else if n > 0 {
		c, f.readers = f.readers[n-1], f.readers[:n-1]
	}
	if c == nil {
		sc, err := f.db.Conn(context.WithoutCancel(ctx)) // the driver keeps the context for closing
		if err != nil {
			f.pool.unused(f)
			return nil, err
		}
		c = &dbConn{Conn: sc, stmts: map[string]*sql.Stmt{}}
		if !write {
			if _, err := sc.ExecContext(ctx, "PRAGMA query_only=1; PRAGMA cache_size=-"+strconv.Itoa(min(f.schema.cacheKiB/2, 2048))); err != nil {
				c.close(true)
				f.pool.unused(f)
				return nil, err
			}
		}
	}
	f.refs++
	f.pool.used(f)
	return c, nil
}

func (f *sqliteFile) put(c *dbConn, write, broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs--
	switch {
	case broken || f.gone:
		c.close(broken)
	case write:
		c.trim()
		f.writer = c
	default:
		c.trim()
		f.readers = append(f.readers, c)
	}
	if f.refs == 0 {
		if f.gone {
			f.close()
		} else {
			f.pool.unused(f)
		}
	}
}

// abandon closes all connections, once their readers are done, and leaves the log as it lies: after a write or a sync of it that
// failed, what SQLite remembers of the log need not be what is there, and may not go into the file. Called by the writer.
func (f *sqliteFile) abandon(writer *dbConn) {
	for range cap(f.reading) {
		f.reading <- struct{}{}
	}
	defer func() {
		for range cap(f.reading) {
			<-f.reading
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs--
	f.writer = writer
	for _, c := range append(f.readers, writer) {
		_ = withSQLite(c, func(c *sqlite3.Conn) error {
			_, err := c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true)
			return err
		})
	}
	_ = f.close() // whose fault it was has been told
}

// logFailed tells whether a write or a sync of the log has failed on a connection, also one that SQLite makes nothing of.
func logFailed(c *dbConn) (failed bool) {
	defer func() {
		if recover() != nil { // of a connection whose memory is exhausted; it is given up by itself
			failed = false
		}
	}()
	_ = withLog(c, func(f *walFile) error {
		failed = f.failed
		return nil
	})
	return failed
}

func withLog(c *dbConn, fn func(*walFile) error) error {
	return withSQLite(c, func(c *sqlite3.Conn) error {
		file, err := c.FileControl("", sqlite3.FCNTL_JOURNAL_POINTER)
		if f, ok := file.(*walFile); ok && err == nil {
			err = fn(f)
		}
		return err
	})
}

func withSQLite(c *dbConn, fn func(*sqlite3.Conn) error) error {
	return c.Raw(func(dc any) error { return fn(dc.(driver.Conn).Raw()) })
}

// open opens the database, makes or migrates its tables and keeps the connection as the writer. Holds f.mu.
func (f *sqliteFile) open(ctx context.Context) (err error) {
	ro := f.pool.readOnly
	fi, err := os.Stat(f.path)
	fresh := err == nil && fi.Size() == 0 // its making was cut short
	if errors.Is(err, fs.ErrNotExist) {
		fresh = true
		if f.fresh == nil || ro {
			return mail.E(mail.NotFound, "open "+filepath.Base(f.path), "a database file is missing: "+f.path, err)
		}
		if err := makePrivate(f.path); err != nil {
			return err
		}
	}
	if err := makePrivate(f.path + "-shm"); err != nil { // before SQLite makes it readable for others
		return err
	}
	name := "file:" + escapePath(f.path) + "?mode=rw&modeof=" + url.QueryEscape(f.path) // the log gets the mode of the file
	if f.key != nil {
		name += "&vfs=" + sealedVFS
	} else {
		name += "&vfs=" + plainVFS
	}
	db, err := driver.Open(name, func(c *sqlite3.Conn) error {
		if f.key != nil {
			if err := c.Exec("PRAGMA hexkey='" + hex.EncodeToString(f.key) + "'"); err != nil {
				return err
			}
		}
		pragmas := `PRAGMA busy_timeout=5000; PRAGMA temp_store=memory; PRAGMA cache_size=-` + strconv.Itoa(f.schema.cacheKiB) + `; PRAGMA trusted_schema=0; PRAGMA mmap_size=0;`
		if ro {
			if _, err := c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
				return err
			}
			return c.Exec(pragmas + `PRAGMA query_only=1;`)
		}
		if f.schema.logPages > 0 {
			pragmas += `PRAGMA wal_autocheckpoint=` + strconv.Itoa(f.schema.logPages) + `;`
		}
		if f.schema.incremental && fresh { // on an old one it would be a write, each time
			pragmas += `PRAGMA auto_vacuum=INCREMENTAL;`
		}
		sync := "FULL"
		if f.schema.derived {
			sync = "NORMAL"
		}
		return c.Exec(pragmas + `PRAGMA journal_mode=WAL; PRAGMA synchronous=` + sync + `; PRAGMA journal_size_limit=16777216; PRAGMA secure_delete=` + f.schema.secureDelete + `;`)
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	db.SetMaxIdleConns(0) // connections live with us or not at all
	conn, err := db.Conn(context.WithoutCancel(ctx))
	if err != nil {
		return f.openError(err)
	}
	writer := &dbConn{Conn: conn, stmts: map[string]*sql.Stmt{}}
	if err := f.rewriteLog(ctx, writer); err != nil {
		conn.Close()
		return f.openError(err)
	}
	if err := f.schema.prepareSQLite(ctx, conn, ro, f.fresh); err != nil {
		conn.Close()
		return f.openError(err)
	}
	if f.guard != nil {
		if err := f.guard(ctx, conn); err != nil {
			conn.Close()
			return err
		}
	}
	if !f.pool.opened(f) {
		conn.Close()
		return stopping()
	}
	f.db, f.writer = db, writer
	return nil
}

// rewriteLog writes what is left of a log, which its last writer did not bring into the file, over itself. After a failed sync
// it may be whole in the system's cache and not on the disk, where no other sync would bring it; what is appended to it would be
// lost with it.
func (f *sqliteFile) rewriteLog(ctx context.Context, c *dbConn) error {
	if fi, err := os.Stat(f.path + "-wal"); f.pool.readOnly || err != nil || fi.Size() == 0 {
		return nil
	}
	// This opens the log, and keeps from it whoever has the file open as well: what they append would be overwritten.
	if _, err := c.ExecContext(ctx, f.begin(true)); err != nil {
		return err
	}
	err := withLog(c, (*walFile).rewrite)
	if err != nil {
		err = &fs.PathError{Op: "rewrite", Path: f.path + "-wal", Err: err}
	}
	_, end := c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	return errors.Join(err, end)
}

func (f *sqliteFile) openError(err error) error {
	if errors.Is(err, sqlite3.NOTADB) {
		return mail.E(mail.Internal, "open "+filepath.Base(f.path), "the key does not fit, or the file is damaged: "+f.path, err)
	}
	return err
}

// close closes all connections. Holds f.mu; nobody uses the file.
func (f *sqliteFile) close() error {
	if f.db == nil {
		return nil
	}
	var errs []error
	for _, c := range f.readers {
		errs = append(errs, c.close(false))
	}
	if f.writer != nil { // last: it writes the log back into the file
		errs = append(errs, f.writer.close(false))
	}
	errs = append(errs, f.db.Close())
	f.db, f.writer, f.readers = nil, nil, nil
	f.pool.shut(f)
	return errors.Join(errs...)
}

// retire closes the file for good, once its users are done.
func (f *sqliteFile) retire(ctx context.Context) error {
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
	return f.alone(ctx, f.close)
}

// wipe removes the file, once its users are done; the next one makes it anew.
func (f *sqliteFile) wipe(ctx context.Context) error {
	return f.alone(ctx, func() error {
		_ = f.close() // it is damaged
		var errs []error
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(f.path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return storeError(errors.Join(errs...))
	})
}

// alone runs fn when nobody uses the file, with f.mu held.
func (f *sqliteFile) alone(ctx context.Context, fn func() error) error {
	select {
	case f.writing <- struct{}{}: // first, as in abandon
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.writing }()
	for n := range cap(f.reading) {
		select {
		case f.reading <- struct{}{}:
		case <-ctx.Done():
			for range n {
				<-f.reading
			}
			return ctx.Err()
		}
	}
	defer func() {
		for range cap(f.reading) {
			<-f.reading
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	return fn()
}

func escapePath(p string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(p))
}

// makePrivate makes an empty file that only we may read, unless there is one.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// filePool bounds how many files are open: the ones nobody has used for a while are closed.
type filePool struct {
	readOnly bool
	now      func() time.Time
	stop     chan struct{}
	done     chan struct{}

	evicting sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[*sqliteFile]bool
	idle   *list.List // *sqliteFile nobody uses, longest unused first
}

func newFilePool(readOnly bool, now func() time.Time) *filePool {
	p := &filePool{readOnly: readOnly, now: now, stop: make(chan struct{}), done: make(chan struct{}), open: map[*sqliteFile]bool{}, idle: list.New()}
	go p.janitor()
	return p
}

func (p *filePool) janitor() {
	defer close(p.done)
	t := time.NewTicker(idleFileAfter / 4)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.evict(0, p.now().Add(-idleFileAfter))
		}
	}
}

// evict closes idle files: those idle since before cutoff, and the longest idle while more than limit are open (0: no limit).
func (p *filePool) evict(limit int, cutoff time.Time) {
	for {
		p.mu.Lock()
		e := p.idle.Front()
		if e == nil {
			p.mu.Unlock()
			return
		}
		f := e.Value.(*sqliteFile)
		if !(f.idleAt.Before(cutoff) || limit > 0 && len(p.open) > limit) {
			p.mu.Unlock()
			return
		}
		p.idle.Remove(e)
		f.elem = nil
		p.mu.Unlock()
		f.mu.Lock()
		if f.refs == 0 {
			f.close()
		}
		f.mu.Unlock()
	}
}

// The functions below are called with f.mu held; p.mu is always taken after it.

// opened counts a file as open; false says that it may not be, because the pool is closed.
func (p *filePool) opened(f *sqliteFile) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.open[f] = true
	if len(p.open) > maxOpenFiles && p.idle.Len() > 0 {
		p.evicting.Go(func() { p.evict(maxOpenFiles, time.Time{}) })
	}
	return true
}

func (p *filePool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *filePool) used(f *sqliteFile) {
	p.mu.Lock()
	if f.elem != nil {
		p.idle.Remove(f.elem)
		f.elem = nil
	}
	p.mu.Unlock()
}

func (p *filePool) unused(f *sqliteFile) {
	if f.refs > 0 || f.db == nil {
		return
	}
	p.mu.Lock()
	f.idleAt = p.now()
	if f.elem == nil {
		f.elem = p.idle.PushBack(f)
	}
	p.mu.Unlock()
}

func (p *filePool) shut(f *sqliteFile) {
	p.mu.Lock()
	if f.elem != nil {
		p.idle.Remove(f.elem)
		f.elem = nil
	}
	delete(p.open, f)
	p.mu.Unlock()
}

// close closes every file, waiting for whoever uses one.
func (p *filePool) close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	close(p.stop)
	<-p.done
	p.evicting.Wait()
	var errs []error
	for {
		p.mu.Lock()
		var f *sqliteFile
		for f = range p.open {
			break
		}
		p.mu.Unlock()
		if f == nil {
			return errors.Join(errs...)
		}
		if err := f.retire(context.Background()); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", filepath.Base(f.path), err))
		}
	}
}
