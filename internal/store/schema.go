package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/mail"
)

//go:embed schema migrations
var schemaFiles embed.FS

// schema is the tables of one kind of database: schema/<name>.sql is the newest truth, migrations/<name>/NNNN-*.sql
// bring older ones to it. The version is the highest NNNN, 1 without any.
type schema struct {
	name         string
	secureDelete string // SQLite: overwrite what is deleted
	incremental  bool   // SQLite: give room back in steps
	derived      bool   // SQLite: can be made again, so the last commits may be lost in a power cut
	cacheKiB     int    // SQLite: page cache of the writer; readers have half of it, at most 2 MiB
	logPages     int    // SQLite: pages in the write-ahead log before they go into the file; 0: 1000
	files        fs.FS
}

func controlSchema() schema {
	return schema{name: "sqlite-control", secureDelete: "ON", cacheKiB: 4096, files: schemaFiles}
}
func mailSchema() schema {
	return schema{name: "sqlite-mail", secureDelete: "FAST", cacheKiB: 16384, logPages: 3000, files: schemaFiles}
}
func blobSchema() schema {
	return schema{name: "sqlite-blobs", secureDelete: "FAST", incremental: true, cacheKiB: 1024, files: schemaFiles}
}
func searchSchema() schema {
	return schema{name: "sqlite-search", secureDelete: "FAST", incremental: true, derived: true, cacheKiB: 1024, files: schemaFiles}
}
func postgresSchema() schema { return schema{name: "postgres", files: schemaFiles} }

type migration struct {
	version int
	file    string
}

func (s schema) migrations() ([]migration, error) {
	names, err := fs.Glob(s.files, "migrations/"+s.name+"/*.sql")
	if err != nil {
		return nil, err
	}
	var ms []migration
	for _, n := range names {
		num, _, _ := strings.Cut(path.Base(n), "-")
		v, err := strconv.Atoi(num)
		if err != nil || v < 2 {
			return nil, fmt.Errorf("migration %s: the name does not begin with a version above 1", n)
		}
		ms = append(ms, migration{v, n})
	}
	slices.SortFunc(ms, func(a, b migration) int { return a.version - b.version })
	for i, m := range ms {
		if m.version != i+2 {
			return nil, fmt.Errorf("migration %s: version %d is missing or there twice", m.file, i+2)
		}
	}
	return ms, nil
}

// steps returns the files to run on a database of version have (0: empty) and the version they lead to.
func (s schema) steps(have int, readOnly bool) ([]string, int, error) {
	ms, err := s.migrations()
	if err != nil {
		return nil, 0, err
	}
	want := len(ms) + 1
	switch {
	case have > want:
		return nil, 0, mail.E(mail.Refused, "open the store",
			fmt.Sprintf("its data was written by a newer Posthorn (%s schema %d, this one knows %d): use that one", s.name, have, want), nil)
	case have == want:
		return nil, want, nil
	case readOnly:
		return nil, 0, mail.E(mail.Refused, "open the store", fmt.Sprintf("its data is of an older Posthorn (%s schema %d): start the server once to bring it up to %d", s.name, have, want), nil)
	case have == 0:
		return []string{"schema/" + s.name + ".sql"}, want, nil
	}
	var files []string
	for _, m := range ms[have-1:] {
		files = append(files, m.file)
	}
	return files, want, nil
}

// prepareSQLite brings the database on c to the newest schema in one transaction. fresh fills an empty one.
func (s schema) prepareSQLite(ctx context.Context, c *sql.Conn, readOnly bool, fresh func(context.Context, *sql.Conn) error) (err error) {
	var have int
	if err := c.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have == 0 && readOnly && s.derived { // it was being made when the server ended
		return mail.E(mail.NotFound, "open the store", "the "+s.name+" database has no tables yet", nil)
	}
	if _, _, err := s.steps(have, readOnly); err != nil {
		return err
	}
	if files, _, _ := s.steps(have, readOnly); len(files) == 0 {
		return nil
	}
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, rerr := c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, rerr)
		}
	}()
	if err := c.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil { // again, now that nobody else can write
		return err
	}
	files, want, err := s.steps(have, readOnly)
	if err != nil {
		return err
	}
	if have == 0 && fresh == nil {
		return mail.E(mail.Internal, "open the store", "a database file has no tables", nil)
	}
	for _, name := range files {
		text, err := fs.ReadFile(s.files, name)
		if err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if have == 0 {
		if err := fresh(ctx, c); err != nil {
			return err
		}
	}
	if _, err := c.ExecContext(ctx, "PRAGMA user_version="+strconv.Itoa(want)); err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "COMMIT")
	return err
}

// preparePostgres brings the schema on c's search path to the newest version, in one transaction.
func (s schema) preparePostgres(ctx context.Context, c *sql.Conn, readOnly bool) (err error) {
	var have int
	var exists bool
	if err := c.QueryRowContext(ctx, "SELECT to_regclass('meta') IS NOT NULL").Scan(&exists); err != nil {
		return err
	}
	if exists {
		var v string
		if err := c.QueryRowContext(ctx, "SELECT value FROM meta WHERE key='schema_version'").Scan(&v); err != nil {
			return err
		}
		if have, err = strconv.Atoi(v); err != nil {
			return err
		}
	}
	files, want, err := s.steps(have, readOnly)
	if err != nil || len(files) == 0 {
		return err
	}
	t, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	for _, name := range files {
		text, err := fs.ReadFile(s.files, name)
		if err != nil {
			return err
		}
		for _, st := range strings.Split(string(text), ";\n") {
			if strings.TrimSpace(st) == "" {
				continue
			}
			if _, err := t.ExecContext(ctx, st); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if _, err := t.ExecContext(ctx, "INSERT INTO meta(key, value) VALUES('schema_version', $1) ON CONFLICT(key) DO UPDATE SET value=excluded.value", strconv.Itoa(want)); err != nil {
		return err
	}
	return t.Commit()
}
