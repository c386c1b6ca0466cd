package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

func TestAppsAndKeys(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		app, err := s.DefaultApp(ctx)
		if err != nil || app.Name != "default" || !isUUID(string(app.ID)) {
			t.Fatalf("%+v, %v", app, err)
		}
		hash := sha256.Sum256([]byte("ph_key"))
		for range 2 { // the second time changes nothing
			if err := s.PutAPIKey(ctx, app.ID, "bootstrap", hash); err != nil {
				t.Fatal(err)
			}
		}
		k, err := s.APIKey(ctx, hash)
		if err != nil || k.App != app.ID || k.Name != "bootstrap" || k.CreatedAt.IsZero() {
			t.Fatalf("%+v, %v", k, err)
		}
		if err := s.PutAPIKey(ctx, mail.AppID(newUUID()), "stolen", hash); !mail.IsKind(err, mail.Conflict) {
			t.Errorf("the key of another application: %v", err)
		}
		if _, err := s.APIKey(ctx, sha256.Sum256(nil)); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("an unknown key: %v", err)
		}
		shut(t, s)
		if again, err := p.open(t).DefaultApp(ctx); err != nil || again.ID != app.ID {
			t.Errorf("the default application after a restart: %+v, %v", again, err)
		}
	})
}

func TestAccounts(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		app, err := s.DefaultApp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		a := testAccount(app.ID, "Ada@Example.com")
		secrets := mail.Credentials{IMAPPassword: mail.NewSecret("pass\x00wörd"), SMTPPassword: mail.NewSecret("other")}
		if err := s.CreateAccount(ctx, a, secrets); err != nil {
			t.Fatal(err)
		}
		got, err := s.Account(ctx, app.ID, a.ID)
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("got  %+v\nwant %+v\n%v", got, a, err)
		}
		if c, err := s.Credentials(ctx, a.ID); err != nil || c != secrets {
			t.Errorf("credentials came back different: %v", err)
		}
		if got, err := s.AccountByEmail(ctx, app.ID, "ADA@example.COM"); err != nil || got.ID != a.ID {
			t.Errorf("by address: %v", err)
		}
		if _, err := s.Account(ctx, mail.AppID(newUUID()), a.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("another application's account: %v", err)
		}
		for _, id := range []mail.AccountID{"", "x", "../../../../../../../../../../etc/passwd", mail.AccountID(newUUID()), mail.AccountID(strings.ToUpper(string(a.ID)))} {
			if _, err := s.Account(ctx, "", id); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("account %q: %v", id, err)
			}
			if _, err := s.Mailbox(ctx, id); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("mailbox of %q: %v", id, err)
			}
			if err := s.DeleteAccount(ctx, id); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("delete %q: %v", id, err)
			}
			if err := s.SetSync(ctx, id, a.Sync); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("status of %q: %v", id, err)
			}
		}

		twin := testAccount(app.ID, "ada@example.com")
		if err := s.CreateAccount(ctx, twin, secrets); !mail.IsKind(err, mail.Conflict) {
			t.Errorf("the same address twice: %v", err)
		}
		if _, err := s.Mailbox(ctx, twin.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a refused account left a mailbox: %v", err)
		}
		twin.ID, twin.Email = a.ID, "bob@example.com"
		if err := s.CreateAccount(ctx, twin, secrets); !mail.IsKind(err, mail.Conflict) {
			t.Errorf("the same id twice: %v", err)
		}
		twin.ID, twin.Email, twin.Provider = mail.AccountID(newUUID()), "ada@example.com", "icloud"
		if err := s.CreateAccount(ctx, twin, mail.Credentials{}); err != nil {
			t.Errorf("the same address at another provider: %v", err)
		}

		a.Name, a.Settings.IMAP.Host, a.Scope, a.UpdatedAt = "Ada Lovelace", "mail.example.com", nil, a.UpdatedAt.Add(time.Hour)
		if err := s.UpdateAccount(ctx, a, nil); err != nil {
			t.Fatal(err)
		}
		a.Sync = mail.SyncStatus{State: mail.StateReauth, Since: time.UnixMilli(1700000005000).UTC(), Reason: "the server said no", Action: "log in again", FreshAt: time.UnixMilli(1700000004000).UTC(), Done: 5, Total: 9,
			SeenAt: time.UnixMilli(1700000004500).UTC(), AuditedAt: time.UnixMilli(1700000003000).UTC(), Moved: []int64{1, 2, 3}}
		if err := s.SetSync(ctx, a.ID, a.Sync); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Account(ctx, "", a.ID); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("after an update: got %+v\nwant %+v\n%v", got, a, err)
		}
		if c, _ := s.Credentials(ctx, a.ID); c != secrets {
			t.Error("an update without secrets changed them")
		}
		if err := s.UpdateAccount(ctx, a, &mail.Credentials{IMAPPassword: mail.NewSecret("new")}); err != nil {
			t.Fatal(err)
		}
		if c, _ := s.Credentials(ctx, a.ID); c.IMAPPassword.Reveal() != "new" || !c.SMTPPassword.IsZero() {
			t.Error("new secrets did not replace the old ones")
		}
		shut(t, s)
		if c, err := p.open(t).Credentials(ctx, a.ID); err != nil || c.IMAPPassword.Reveal() != "new" {
			t.Errorf("secrets after a restart: %v", err)
		}
	})
}

func TestAccountQueries(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		app, _ := s.DefaultApp(ctx)
		start := time.UnixMilli(1700000000000).UTC()
		for i, email := range []string{"a@x.org", "b@x.org", "c@x.org", "d@x.org"} {
			a := testAccount(app.ID, email)
			a.CreatedAt, a.UpdatedAt = start.Add(time.Duration(i)*time.Hour), start.Add(time.Duration(-i)*time.Hour)
			if i == 2 {
				a.Provider, a.Sync.State = "yahoo", mail.StateReauth
			}
			if err := s.CreateAccount(ctx, a, mail.Credentials{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			name string
			q    AccountQuery
			want string
		}{
			{"all, oldest first", AccountQuery{}, "abcd"},
			{"newest first", AccountQuery{Desc: true}, "dcba"},
			{"by last authentication", AccountQuery{SortBy: "updated_at"}, "dcba"},
			{"a page", AccountQuery{App: app.ID, Limit: 2, Offset: 1}, "bc"},
			{"by address", AccountQuery{Email: "B@X.org"}, "b"},
			{"by provider", AccountQuery{Provider: "yahoo"}, "c"},
			{"who must log in", AccountQuery{Status: "invalid"}, "c"},
			{"who need not", AccountQuery{Status: "valid"}, "abd"},
			{"by state", AccountQuery{Status: "connecting", Desc: true}, "dba"},
			{"by time", AccountQuery{Since: start.Add(time.Hour), Before: start.Add(3 * time.Hour)}, "bc"},
			{"another application", AccountQuery{App: mail.AppID(newUUID())}, ""},
			{"no application", AccountQuery{App: "nonsense"}, ""},
			{"SQL in an address", AccountQuery{Email: "' OR 1=1 --"}, ""},
			{"an order nobody has", AccountQuery{SortBy: "email; DROP TABLE accounts"}, "abcd"},
		} {
			list, err := s.Accounts(ctx, c.q)
			got := ""
			for _, a := range list {
				got += a.Email[:1]
			}
			if err != nil || got != c.want {
				t.Errorf("%s: %q, want %q (%v)", c.name, got, c.want, err)
			}
		}
	})
}

func TestErase(t *testing.T) {
	exercisePlaces(t, []string{"sqlite", "postgres", "sqlite+file", "postgres+s3"}, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		s.eraseAtOnce = 1
		a, m := addAccount(t, s, "gone@example.com")
		b, other := addAccount(t, s, "stays@example.com")
		for _, m := range []*Mailbox{m, other} {
			if _, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, bytesOf("x", 300<<10)}, {BlobDisplay, []byte("small")}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.DeleteAccount(ctx, a.ID); err != nil {
			t.Fatal(err)
		}
		if m.db.blobs.key.Derive("x") != new(vault.Key).Derive("x") {
			t.Error("the account's key is still in memory")
		}
		if s.pg == nil { // its log has the wrapped key, in pages from before
			if log, err := os.Stat(s.control.src.(*sqliteFile).path + "-wal"); err != nil || log.Size() != 0 {
				t.Errorf("the log of the control store: %+v, %v", log, err)
			}
		}
		if _, err := s.Account(ctx, "", a.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("account after erasure: %v", err)
		}
		if _, err := s.Credentials(ctx, a.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("credentials after erasure: %v", err)
		}
		if _, err := s.Mailbox(ctx, a.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("mailbox after erasure: %v", err)
		}
		if _, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("late")}}); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a late body: %v", err)
		}
		if err := m.db.write(ctx, func(*tx) error { return nil }); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a late write: %v", err)
		}
		if err := s.DeleteAccount(ctx, a.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("erasure twice: %v", err)
		}
		if n := traces(t, s, a.ID); n != 0 {
			t.Errorf("%d traces are left", n)
		}
		if n := traces(t, s, b.ID); n == 0 {
			t.Error("the other account has no traces: this test looks in the wrong place")
		}
		if _, err := other.OpenBlob(ctx, 1); err != nil {
			t.Errorf("the other account's body: %v", err)
		}
		if again := testAccount(a.App, a.Email); s.CreateAccount(ctx, again, mail.Credentials{}) != nil {
			t.Error("the address cannot be connected again")
		}
	})
}

// traces counts rows, files and objects that name an account.
func traces(t *testing.T, s *Store, id mail.AccountID) int {
	n := 0
	if s.pg != nil {
		err := s.control.read(context.Background(), func(x *tx) error {
			for _, table := range append([]string{"account_keys", "account_secrets"}, accountTables...) {
				var rows int
				if err := x.row(context.Background(), "SELECT count(*) FROM "+table+" WHERE account_id=?", string(id)).Scan(&rows); err != nil {
					return err
				}
				n += rows
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if o, ok := s.objects.(*s3Objects); ok {
		for range o.c.ListObjects(context.Background(), o.bucket, minioPrefix(o.prefix+string(id)+"/")) {
			n++
		}
	}
	dirs := []string{s.o.Dir}
	if o, ok := s.objects.(fileObjects); ok {
		dirs = append(dirs, o.dir)
	}
	for _, d := range dirs {
		if d == "" {
			continue
		}
		err := filepath.WalkDir(d, func(path string, e fs.DirEntry, err error) error {
			if err == nil && strings.Contains(path, string(id)) {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// What a crash leaves of an account that was being made or erased goes at the next start.
func TestStrays(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		a, m := addAccount(t, s, "half@example.com")
		if _, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		if err := s.control.write(ctx, func(x *tx) error {
			for _, q := range []string{"DELETE FROM accounts", "DELETE FROM account_keys", "DELETE FROM account_secrets"} {
				if _, err := x.exec(ctx, q); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if problems, err := s.Check(ctx); err != nil || len(problems) != 1 || problems[0].Account != a.ID {
			t.Errorf("check finds %v, %v", problems, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if n := traces(t, p.open(t), a.ID); n != 0 {
			t.Errorf("%d traces are left", n)
		}
	})
}

func TestSecondServer(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		if second, err := Open(t.Context(), p.o); !mail.IsKind(err, mail.Conflict) {
			t.Fatalf("a second server: %v, %v", second, err)
		}
		addAccount(t, s, "a@example.com")
		looking := p.o
		looking.ReadOnly = true
		r, err := Open(t.Context(), looking)
		if err != nil {
			t.Fatalf("look beside a running server: %v", err)
		}
		if problems, err := r.Check(t.Context()); err != nil || len(problems) > 0 {
			t.Errorf("check beside a running server: %v, %v", problems, err)
		}
		if list, err := r.Accounts(t.Context(), AccountQuery{}); err != nil || len(list) != 1 {
			t.Errorf("%d accounts, %v", len(list), err)
		}
		if err := r.PutAPIKey(t.Context(), list0(t, r), "x", [32]byte{}); !mail.IsKind(err, mail.Refused) {
			t.Errorf("a write while looking: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		addAccount(t, s, "b@example.com")
		shut(t, s)
		p.open(t)
	})
}

func list0(t *testing.T, s *Store) mail.AppID {
	app, err := s.DefaultApp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return app.ID
}

func TestWrongMasterKey(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		addAccount(t, s, "a@example.com")
		shut(t, s)
		wrong := p.o
		wrong.Keys = newKeys(t)
		_, err := Open(t.Context(), wrong)
		if !errors.Is(err, vault.ErrWrongMaster) || !strings.Contains(err.Error(), "the master key does not fit this data directory") {
			t.Fatalf("opened with another master key: %v", err)
		}
		p.open(t)
	})
}

func TestRewrapKeys(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		raw1, raw2 := vault.NewKey().Derive("x"), vault.NewKey().Derive("x")
		keys := func(master []byte, older ...[]byte) *vault.Keyring {
			r, err := vault.NewKeyring(master, older...)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		p.o.Keys = keys(raw1[:])
		s := p.open(t)
		b := addBox(t, s, "a@example.com")
		b.folders("INBOX")
		b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), letter{id: "a", subject: "hello", body: "a quayside"})}})
		b.index()
		refs, err := b.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("a body")}})
		if err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		p.o.Keys = keys(raw2[:], raw1[:])
		s = p.open(t)
		if n, err := s.RewrapKeys(ctx); err != nil || n != 2 {
			t.Fatalf("%d keys changed, %v", n, err)
		}
		if n, err := s.RewrapKeys(ctx); err != nil || n != 0 {
			t.Fatalf("the second time %d keys changed, %v", n, err)
		}
		shut(t, s)
		p.o.Keys = keys(raw2[:])
		s = p.open(t)
		if c, err := s.Credentials(ctx, b.id); err != nil || c.IMAPPassword.Reveal() != "imap of a@example.com" {
			t.Errorf("secrets after rotation: %v", err)
		}
		if b.Mailbox, err = s.Mailbox(ctx, b.id); err != nil {
			t.Fatal(err)
		}
		if got := readBlob(t, b.Mailbox, refs[0].ID); string(got) != "a body" {
			t.Errorf("body after rotation: %q", got)
		}
		b.wantFound("hello quayside", 1)
	})
}

// Nothing that a user wrote or gave us stands readable in any file; and no file is readable by others.
func TestNoPlainText(t *testing.T) {
	exercisePlaces(t, []string{"sqlite", "sqlite+file"}, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		a := testAccount(list0(t, s), "canary-address@example.com")
		a.Name, a.Settings.IMAP.Host = "canary-name", "canary-host.example.com"
		if err := s.CreateAccount(ctx, a, mail.Credentials{IMAPPassword: mail.NewSecret("canary-password")}); err != nil {
			t.Fatal(err)
		}
		m, err := s.Mailbox(ctx, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("canary-body")}}); err != nil {
			t.Fatal(err)
		}
		w, _ := m.NewBlob(ctx, BlobRaw)
		w.Write(bytes.Repeat([]byte("canary-stream "), 60000))
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := m.db.write(ctx, func(x *tx) error {
			_, err := x.exec(ctx, "INSERT INTO changes({ai}seq, at, kind, origin, object, data) VALUES({av}1, 0, 30, 0, '', ?)", `{"why":"canary-change"}`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		scan := func(when string) {
			files := 0
			err := filepath.WalkDir(filepath.Dir(p.o.Dir), func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				fi, err := e.Info()
				if err != nil {
					return err
				}
				if rel, _ := filepath.Rel(p.o.Dir, path); !strings.HasPrefix(rel, "..") && fi.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s: %s may be read by others: %v", when, rel, fi.Mode())
				}
				if e.IsDir() {
					return nil
				}
				files++
				b, err := os.ReadFile(path)
				if i := bytes.Index(b, []byte("canary")); i >= 0 {
					t.Errorf("%s: %s has plain text: %q", when, filepath.Base(path), b[i:min(len(b), i+20)])
				}
				return err
			})
			if err != nil || files < 5 {
				t.Errorf("%s: scanned %d files, %v", when, files, err)
			}
		}
		scan("open")
		if err := s.Close(); err != nil { // not shut: the row above is no change that Check would accept
			t.Fatal(err)
		}
		scan("closed")
	})
}
