package syncer_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestTheStoreIsAway takes the store of bytes, or the database, away from a running account: nothing is taken for stored, the
// account says so where it still can, and goes on by itself when it is back.
func TestTheStoreIsAway(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, place store.Options, away, back func(), says bool) {
		p := persona.Start(t, persona.Knobs{})
		for i := range 5 {
			p.Deliver("INBOX", message(i))
		}
		b := &bench{t: t, user: "ann", truth: truthOf(p), place: place}
		b.open(mail.Endpoint{Host: p.Host, Port: p.Port}, persona.Password)
		b.live()
		b.equal()
		away()
		for i := range 5 {
			p.Deliver("INBOX", message(100+i))
		}
		p.Flag("INBOX", 1, `\Flagged`)
		p.Expunge("INBOX", 2)
		b.until("the account to be no longer live, or another login", func() bool {
			s, _ := b.engine.Status(b.id)
			return s.State != mail.StateLive || !says && p.Logins() > 4
		})
		back()
		b.live()
		b.equal()
		deleted := 0
		changes, err := b.mbox.Changes(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Kind == mail.MessageDeleted {
				deleted++
			}
		}
		if deleted > 1 {
			t.Errorf("%d messages were told as deleted, want at most the one that was", deleted)
		}
	}
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "blobs")
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		run(t, store.Options{BlobURL: "file://" + filepath.ToSlash(dir)}, func() {
			must(os.Rename(dir, dir+".away"))
			must(os.WriteFile(dir, nil, 0o600)) // so that nobody makes it anew
		}, func() {
			must(os.Remove(dir))
			must(os.Rename(dir+".away", dir))
		}, true)
	})
	t.Run("database locked", func(t *testing.T) {
		t.Parallel()
		at := realsrv.StartPostgres(t).URL(t)
		ctx := t.Context()
		other, err := pgx.Connect(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close(context.WithoutCancel(ctx))
		exec := func(q string) {
			t.Helper()
			if _, err := other.Exec(ctx, q); err != nil {
				t.Fatal(err)
			}
		}
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("lock_timeout", "500")
		u.RawQuery = q.Encode()
		run(t, store.Options{DatabaseURL: u.String()}, func() {
			exec("BEGIN")
			exec("LOCK TABLE placements IN ACCESS EXCLUSIVE MODE")
		}, func() { exec("COMMIT") }, true)
	})
	t.Run("database", func(t *testing.T) {
		t.Parallel()
		u, err := url.Parse(realsrv.StartPostgres(t).URL(t))
		if err != nil {
			t.Fatal(err)
		}
		proxy := faultnet.Start(t, u.Host, "")
		u.Host = proxy.Addr
		run(t, store.Options{DatabaseURL: u.String()}, func() { proxy.Turn(t, "cut client after 0") }, func() { proxy.Turn(t, "") }, false)
	})
}
