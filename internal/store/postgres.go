package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

const (
	maxPGConns = 24 // connections of one server to its database

	// pgLockWait is how long a statement waits for a lock, pgConnWait a transaction for a connection.
	pgLockWait = 10 * time.Second
	pgConnWait = 10 * time.Second
	// pgSilence is how long the database may say nothing to a statement.
	pgSilence = 5 * time.Minute
)

// pgPool is the pool of connections to PostgreSQL.
type pgPool struct {
	db       *sql.DB
	wait     time.Duration // for a connection
	silence  atomic.Int64  // a time.Duration; 0: without end, while tables are made and migrated
	readOnly bool
	lock     *pgLock // nil: for reading only
	closed   atomic.Bool
}

func (p *pgPool) begin(write bool) string {
	if write {
		return "BEGIN"
	}
	return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
}

func (p *pgPool) acquire(ctx context.Context, write bool) (*dbConn, func(bool), error) {
	if write && p.readOnly {
		return nil, nil, mail.E(mail.Refused, "store", "the store is open for reading only", nil)
	}
	waiting, cancel := context.WithTimeoutCause(ctx, p.wait, errNoConnection)
	defer cancel()
	if write {
		if err := p.lock.await(waiting); err != nil {
			return nil, nil, err
		}
	}
	sc, err := p.db.Conn(waiting)
	if err != nil && context.Cause(waiting) == errNoConnection {
		err = errNoConnection
	}
	if err == nil && write { // it may have been lost meanwhile
		if err = p.lock.await(waiting); err != nil {
			sc.Close()
		}
	}
	if p.closed.Load() {
		if err == nil {
			sc.Close()
		}
		return nil, nil, stopping()
	}
	if err != nil {
		return nil, nil, err
	}
	c := &dbConn{Conn: sc}
	return c, func(broken bool) { c.close(broken) }, nil
}

var errNoConnection = errors.New("no connection to the database within its time")

// pgSocket is a connection that is closed when it waits for the database too long.
type pgSocket struct {
	net.Conn
	p *pgPool
}

// Read implements net.Conn.
func (s pgSocket) Read(b []byte) (int, error) {
	if d := s.p.silence.Load(); d > 0 {
		defer time.AfterFunc(time.Duration(d), func() { s.Close() }).Stop()
	}
	return s.Conn.Read(b)
}

func (p *pgPool) close() error {
	p.closed.Store(true)
	var errs []error
	if p.lock != nil {
		errs = append(errs, p.lock.close())
	}
	return errors.Join(append(errs, p.db.Close())...)
}

func (s *Store) openPostgres(ctx context.Context) error {
	s.texts = newTexts(postgres)
	cfg, err := pgx.ParseConfig(s.o.DatabaseURL)
	if err != nil {
		return mail.E(mail.Invalid, "open the store", "the database URL cannot be read", nil) // the cause repeats the password
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "posthorn"
	}
	s.pg = &pgPool{wait: pgConnWait, readOnly: s.o.ReadOnly}
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return pgSocket{c, s.pg}, nil
	}
	session := stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		if cfg.RuntimeParams["lock_timeout"] != "" {
			return nil
		}
		_, err := c.Exec(ctx, "SET lock_timeout="+strconv.FormatInt(pgLockWait.Milliseconds(), 10)) // a pooler refuses it as a parameter
		return err
	})
	db := stdlib.OpenDB(*cfg, session)
	db.SetMaxOpenConns(maxPGConns - 1) // and the lock's
	db.SetMaxIdleConns(maxPGConns - 1)
	db.SetConnMaxIdleTime(idleFileAfter)
	s.pg.db = db
	if s.o.ReadOnly {
		c, err := db.Conn(ctx)
		if err != nil {
			return storeError(err)
		}
		defer c.Close()
		if err := postgresSchema().preparePostgres(ctx, c, true); err != nil {
			return storeError(err)
		}
	} else {
		s.pg.lock = newPGLock(stdlib.OpenDB(*cfg, session), s.o)
		if err := s.pg.lock.take(ctx); err != nil {
			return err
		}
		if err := postgresSchema().preparePostgres(ctx, s.pg.lock.conn, false); err != nil {
			return storeError(err)
		}
		if err := s.pg.lock.watch(ctx); err != nil {
			return err
		}
	}
	s.pg.silence.Store(int64(pgSilence))
	s.control = &controlDB{src: s.pg, texts: s.texts}
	return s.openPostgresRing(ctx)
}

// openPostgresRing checks that the master key is the one of this database. The control key it finds is not used: here
// the database's disk is the operator's to encrypt, and only bodies and secrets are sealed.
func (s *Store) openPostgresRing(ctx context.Context) error {
	ring, err := s.readPostgresRing(ctx)
	if errors.Is(err, sql.ErrNoRows) && !s.o.ReadOnly {
		ring, _ = s.o.Keys.NewRing()
		return s.writePostgresRing(ctx, ring)
	}
	if err != nil {
		return err
	}
	_, err = s.o.Keys.OpenRing(ring)
	return err
}

func (s *Store) readPostgresRing(ctx context.Context) (ring vault.Ring, err error) {
	var text string
	err = s.control.read(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT value FROM meta WHERE key='keyring'").Scan(&text)
	})
	if err == nil {
		err = json.Unmarshal([]byte(text), &ring)
	}
	return ring, err
}

func (s *Store) writePostgresRing(ctx context.Context, ring vault.Ring) error {
	b, err := json.Marshal(ring)
	if err != nil {
		return err
	}
	return s.control.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "INSERT INTO meta(key, value) VALUES('keyring', ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value", string(b))
		return err
	})
}
