package realsrv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Postgres is a private PostgreSQL server. It is not durable and very forgetful: fsync is off.
type Postgres struct {
	Addr string
	Dir  string

	password string
	proc     *proc
}

// shared is the one server of this test binary: starting one takes a second, and a database each separates the tests.
var shared struct {
	sync.Mutex
	pg  *Postgres
	err error
}

// StartPostgres returns the PostgreSQL server of this test binary and starts it on the first call. It ends with the binary.
func StartPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.pg == nil && shared.err == nil {
		shared.pg, shared.err = NewPostgres()
	}
	if errors.Is(shared.err, errMissing) {
		missing(tb, "PostgreSQL (package postgresql)", shared.err)
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.pg
}

// NewPostgres starts another server, which the caller stops.
func NewPostgres() (*Postgres, error) {
	places := []string{"/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"}
	initdb, err := program("initdb", places...)
	if err != nil {
		return nil, err
	}
	server, err := program("postgres", places...)
	if err != nil {
		return nil, err
	}
	dir, err := openDir("posthorn-postgres-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{Dir: dir, password: rand.Text()}
	if err := p.init(initdb, server); err != nil {
		p.Stop()
		os.RemoveAll(dir)
		return nil, err
	}
	return p, nil
}

func (p *Postgres) init(initdb, server string) error {
	// PostgreSQL refuses to run as root.
	var cred *syscall.Credential
	if os.Getuid() == 0 {
		_, uid, gid, err := lookup("postgres", "nobody")
		if err != nil {
			return err
		}
		if err := os.Chown(p.Dir, uid, gid); err != nil {
			return err
		}
		cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	pwfile := filepath.Join(p.Dir, "password")
	if err := os.WriteFile(pwfile, []byte(p.password+"\n"), 0o644); err != nil {
		return err
	}
	data := filepath.Join(p.Dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "test", "--pwfile", pwfile, "--auth", "scram-sha-256",
		"--no-sync", "--locale", "C", "--encoding", "UTF8")
	cmd.Dir = p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(out))
	}
	if err := os.Remove(pwfile); err != nil {
		return err
	}
	log := filepath.Join(p.Dir, "postgres.log")
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		return err
	}
	if cred != nil {
		if err := os.Chown(log, int(cred.Uid), int(cred.Gid)); err != nil {
			return err
		}
	}
	var err error
	for range 5 {
		var ports []int
		if ports, err = FreePorts(1); err != nil {
			return err
		}
		p.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
		if err = os.Truncate(log, 0); err != nil {
			return err
		}
		p.proc, err = startProc(p.Dir, "QUIT", log, cred, server, "-D", data, "-p", strconv.Itoa(ports[0]),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
			"-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=300",
			"-c", "log_min_messages=fatal", "-c", "log_min_error_statement=panic")
		if err != nil {
			return err
		}
		err = await("PostgreSQL", log, func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, p.url("postgres"))
			if err != nil {
				return err
			}
			return conn.Close(ctx)
		})
		if err == nil || !strings.Contains(err.Error(), "in use") {
			return err
		}
		p.proc.stop(true)
		p.proc = nil
	}
	return err
}

func (p *Postgres) url(database string) string {
	return fmt.Sprintf("postgres://test:%s@%s/%s?sslmode=disable", p.password, p.Addr, database)
}

// URL returns the address of a new, empty database of its own. It is dropped at the end of the test.
// Advisory locks are per database, so tests cannot meet in them either.
func (p *Postgres) URL(tb testing.TB) string {
	tb.Helper()
	name := "t" + strings.ToLower(rand.Text())
	p.exec(tb, "CREATE DATABASE "+name)
	tb.Cleanup(func() { p.exec(tb, "DROP DATABASE "+name+" WITH (FORCE)") })
	return p.url(name)
}

func (p *Postgres) exec(tb testing.TB, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// Stop ends the server and removes its files. It may be called twice.
func (p *Postgres) Stop() error {
	if p.proc == nil {
		return nil
	}
	err := p.proc.stop(false)
	p.proc = nil
	return err
}
