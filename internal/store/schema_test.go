package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/realsrv"
)

// withOld returns sc as a Posthorn of version 1 had it, from testdata/v1.
func withOld(t *testing.T, sc schema, old string) schema {
	sc.files = fstest.MapFS{"schema/" + sc.name + ".sql": {Data: []byte(old)}}
	return sc
}

// The first schema and all migrations give what schema/ gives. Until the first release there is no old data: a change of
// schema/ is then copied to testdata/v1; after it, it needs a migration.
func TestMigrations(t *testing.T) {
	t.Parallel()
	for _, sc := range []schema{controlSchema(), mailSchema(), blobSchema(), searchSchema()} {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			old := readFile(t, filepath.Join("testdata", "v1", sc.name+".sql"))
			fresh, _ := sqliteShape(t, filepath.Join(t.TempDir(), "new.db"), sc)
			path := filepath.Join(t.TempDir(), "old.db")
			sqliteShape(t, path, withOld(t, sc, old))
			if migrated, _ := sqliteShape(t, path, sc); !slices.Equal(migrated, fresh) {
				t.Errorf("migrated:\n%s\nnew:\n%s", strings.Join(migrated, "\n"), strings.Join(fresh, "\n"))
			}
		})
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		sc := postgresSchema()
		old := readFile(t, filepath.Join("testdata", "v1", "postgres.sql"))
		fresh := postgresShape(t, realsrv.StartPostgres(t).URL(t), sc)
		migrated := postgresShape(t, realsrv.StartPostgres(t).URL(t), withOld(t, sc, old), sc)
		if !slices.Equal(migrated, fresh) || len(fresh) < 50 {
			t.Errorf("migrated:\n%s\nnew:\n%s", strings.Join(migrated, "\n"), strings.Join(fresh, "\n"))
		}
	})
}

// The mechanism itself, with migrations that do not exist yet.
func TestMigrate(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"schema/x.sql":               {Data: []byte("CREATE TABLE t(a INTEGER, b INTEGER, c INTEGER) STRICT;")},
		"migrations/x/0002-b.sql":    {Data: []byte("ALTER TABLE t ADD COLUMN b INTEGER; UPDATE t SET b=a+1;")},
		"migrations/x/0003-c.sql":    {Data: []byte("ALTER TABLE t ADD COLUMN c INTEGER;")},
		"migrations/other/0002-.sql": {Data: []byte("nonsense")},
	}
	now := schema{name: "x", secureDelete: "OFF", files: files}
	v1 := schema{name: "x", secureDelete: "OFF", files: fstest.MapFS{"schema/x.sql": {Data: []byte("CREATE TABLE t(a INTEGER) STRICT; INSERT INTO t VALUES(7);")}}}
	path := filepath.Join(t.TempDir(), "x.db")
	if _, v := sqliteShape(t, path, v1); v != 1 {
		t.Fatalf("version %d", v)
	}
	ro := newFilePool(true, time.Now)
	f := ro.file(path, nil, now)
	f.fresh = nothingFresh
	if _, _, err := f.acquire(t.Context(), false); !mail.IsKind(err, mail.Refused) || !strings.Contains(err.Error(), "older Posthorn") {
		t.Errorf("looking at an older schema: %v", err)
	}
	ro.close()
	shape, v := sqliteShape(t, path, now)
	if v != 3 || !strings.Contains(strings.Join(shape, " "), "c INTEGER") {
		t.Errorf("version %d: %v", v, shape)
	}
	broken := schema{name: "x", secureDelete: "OFF", files: fstest.MapFS{"migrations/x/0003-c.sql": {}}}
	if _, err := broken.migrations(); err == nil {
		t.Error("a missing migration was not noticed")
	}
	broken.files = fstest.MapFS{"migrations/x/one.sql": {}}
	if _, err := broken.migrations(); err == nil {
		t.Error("a migration without a number was not noticed")
	}
	// A migration that fails changes nothing.
	files["migrations/x/0004-d.sql"] = &fstest.MapFile{Data: []byte("ALTER TABLE t ADD COLUMN d INTEGER; nonsense;")}
	pool := newFilePool(false, time.Now)
	f = pool.file(path, nil, now)
	if _, _, err := f.acquire(t.Context(), true); err == nil {
		t.Error("a broken migration succeeded")
	}
	pool.close()
	delete(files, "migrations/x/0004-d.sql")
	if again, v := sqliteShape(t, path, now); v != 3 || !slices.Equal(again, shape) {
		t.Errorf("after a broken migration: version %d: %v", v, again)
	}
}

func TestNewerSchemaRefused(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		ctx := t.Context()
		_, m := addAccount(t, s, "a@example.com")
		if s.pg != nil {
			if _, err := s.pg.db.ExecContext(ctx, "UPDATE meta SET value='99' WHERE key='schema_version'"); err != nil {
				t.Fatal(err)
			}
		} else {
			for _, src := range []source{s.control.src, m.db.src} {
				c, release, err := src.acquire(ctx, true)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.ExecContext(ctx, "PRAGMA user_version=99"); err != nil {
					t.Fatal(err)
				}
				release(false)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, p.o); !mail.IsKind(err, mail.Refused) || !strings.Contains(err.Error(), "newer Posthorn") {
			t.Errorf("opened data of a newer Posthorn: %v", err)
		}
	})
}

// Both databases have the same tables with the same columns.
func TestSchemasAgree(t *testing.T) {
	t.Parallel()
	columns := func(name string) map[string][]string {
		out := map[string][]string{}
		text, err := fs.ReadFile(schemaFiles, "schema/"+name+".sql")
		if err != nil {
			t.Fatal(err)
		}
		table := ""
		for _, line := range strings.Split(string(text), "\n") {
			if rest, ok := strings.CutPrefix(line, "CREATE TABLE "); ok {
				table, _, _ = strings.Cut(rest, "(")
			} else if strings.HasPrefix(line, ")") {
				table = ""
			} else if f := strings.Fields(line); table != "" && len(f) > 1 && f[0] == strings.ToLower(f[0]) && f[0] != "--" {
				if f[0] != "account_id" && f[0] != "one" && f[0] != "owner" {
					out[table] = append(out[table], f[0])
				}
			}
		}
		return out
	}
	pg, total := columns("postgres"), 0
	for _, name := range []string{"sqlite-control", "sqlite-mail", "sqlite-blobs", "sqlite-search"} {
		for table, cols := range columns(name) {
			total++
			if !slices.Equal(cols, pg[table]) {
				t.Errorf("table %s: SQLite has %v, PostgreSQL %v", table, cols, pg[table])
			}
		}
	}
	if len(pg) != total+1 { // and meta
		t.Errorf("PostgreSQL has %d tables, SQLite %d", len(pg), total)
	}
	var mails []string
	for _, name := range []string{"sqlite-mail", "sqlite-blobs", "sqlite-search"} {
		for table := range columns(name) {
			mails = append(mails, table)
		}
	}
	erased := slices.Clone(accountTables)
	slices.Sort(mails)
	slices.Sort(erased)
	if !slices.Equal(mails, erased) {
		t.Errorf("an erasure empties %v, but there are %v", erased, mails)
	}
}

func readFile(t *testing.T, name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sqliteShape opens a database as version sc and returns its tables and indexes in their shortest form, and its version.
func sqliteShape(t *testing.T, path string, sc schema) (shape []string, version int) {
	t.Helper()
	pool := newFilePool(false, time.Now)
	defer pool.close()
	f := pool.file(path, nil, sc)
	f.fresh = nothingFresh
	c, release, err := f.acquire(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer release(false)
	shape = stringsOf(t, c.Conn, `SELECT m.type || ' ' || m.name || ' ' || coalesce((SELECT group_concat(name || ' ' || type || ' ' || "notnull" || ' ' || coalesce(dflt_value, '') || ' ' || pk, ', ') FROM pragma_table_info(m.name)), m.sql)
		FROM sqlite_master m WHERE m.type='table' OR m.sql IS NOT NULL ORDER BY 1`)
	if err := c.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	return shape, version
}

func postgresShape(t *testing.T, url string, versions ...schema) []string {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, sc := range versions {
		if err := sc.preparePostgres(t.Context(), c, false); err != nil {
			t.Fatal(err)
		}
	}
	return append(stringsOf(t, c, `SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') FROM information_schema.columns WHERE table_schema='public' ORDER BY 1`),
		stringsOf(t, c, `SELECT indexdef FROM pg_indexes WHERE schemaname='public' ORDER BY 1`)...)
}

func stringsOf(t *testing.T, c *sql.Conn, q string) []string {
	t.Helper()
	rows, err := c.QueryContext(context.Background(), q)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", q, err))
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
