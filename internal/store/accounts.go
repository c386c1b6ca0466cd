package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/vault"
)

const keyVersion = 1 // of an account's data key; there is one so far

// Names of an account's secrets.
const (
	secretIMAP = "imap_password"
	secretSMTP = "smtp_password"
)

func keyOwner(id mail.AccountID) string                 { return fmt.Sprintf("account|%s|%d", id, keyVersion) }
func secretPlace(id mail.AccountID, name string) string { return "secret|" + string(id) + "|" + name }

// CreateAccount stores a new account with its secrets, a data key of its own and an empty mailbox. The caller chooses
// a.ID, a UUID. Conflict: the id exists, or the application has an account with this address and provider.
func (s *Store) CreateAccount(ctx context.Context, a mail.Account, c mail.Credentials) error {
	const op = "create the account"
	if !isUUID(string(a.ID)) {
		return mail.E(mail.Invalid, op, "an account id must be a UUID in lower case", nil)
	}
	now := s.now()
	if a.CreatedAt.IsZero() {
		a.CreatedAt = now
	}
	if a.UpdatedAt.IsZero() {
		a.UpdatedAt = now
	}
	if a.Sync.State == "" {
		a.Sync.State, a.Sync.Since = mail.StateConnecting, now
	}
	taken := mail.E(mail.Conflict, op, "this mailbox is connected already", nil)
	if _, err := s.AccountByEmail(ctx, a.App, a.Email); err == nil {
		var n int
		if err := s.control.read(ctx, func(t *tx) error {
			return t.row(ctx, "SELECT count(*) FROM accounts WHERE app_id=? AND email_key=? AND provider=?", string(a.App), emailKey(a.Email), clean(a.Provider)).Scan(&n)
		}); err != nil {
			return err
		}
		if n > 0 {
			return taken
		}
	} else if !mail.IsKind(err, mail.NotFound) {
		return err
	}

	key := vault.NewKey()
	idKey := mime.MailboxKey(loginIdentity(a))
	var files []*sqliteFile
	if s.pg == nil { // the mailbox first: files without an account are swept away, an account without files is a fault
		var err error
		if files, err = s.makeMailboxFiles(ctx, a.ID, key, idKey); mail.IsKind(err, mail.Conflict) {
			return err // somebody else's directory
		} else if err != nil {
			return errors.Join(err, s.removeFiles(context.WithoutCancel(ctx), a.ID, files))
		}
	}
	err := s.control.write(ctx, func(t *tx) error {
		settings, err := json.Marshal(a.Settings)
		if err != nil {
			return err
		}
		err = t.insertMany(ctx, "accounts", []string{"id", "app_id", "email", "email_key", "name", "provider", "settings", "scope", "state",
			"sync_state", "sync_since", "sync_reason", "sync_action", "fresh_at", "seen_at", "audited_at", "moved", "sync_done", "sync_total", "created_at", "updated_at"},
			[][]any{{string(a.ID), string(a.App), clean(a.Email), emailKey(a.Email), clean(a.Name), clean(a.Provider), clean(string(settings)), jsonList(cleanList(a.Scope)), clean(a.State),
				string(a.Sync.State), millis(a.Sync.Since), clean(a.Sync.Reason), clean(a.Sync.Action), millis(a.Sync.FreshAt), millis(a.Sync.SeenAt), millis(a.Sync.AuditedAt), jsonList(a.Sync.Moved), a.Sync.Done, a.Sync.Total,
				a.CreatedAt.UnixMilli(), a.UpdatedAt.UnixMilli()}}, "")
		if isUnique(err) {
			return taken
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "INSERT INTO account_keys(account_id, version, kek_id, wrapped, created_at) VALUES(?, ?, ?, ?, ?)",
			string(a.ID), keyVersion, s.o.Keys.ID().String(), s.o.Keys.Wrap(keyOwner(a.ID), key), now.UnixMilli()); err != nil {
			return err
		}
		if s.pg != nil {
			if _, err := t.exec(ctx, "INSERT INTO state(account_id, id_key) VALUES(?, ?)", string(a.ID), idKey[:]); err != nil {
				return err
			}
			if _, err := t.exec(ctx, "INSERT INTO blob_state(account_id, next_blob) VALUES(?, 1)", string(a.ID)); err != nil {
				return err
			}
		}
		if err := noteGrant(ctx, t, a.App, a.ID, GrantCreated, clean(a.Provider), now); err != nil {
			return err
		}
		return putSecrets(ctx, t, a.ID, key, c, now)
	})
	if err != nil && s.pg == nil {
		return errors.Join(err, s.removeFiles(context.WithoutCancel(ctx), a.ID, files))
	}
	if err == nil {
		s.mu.Lock()
		delete(s.erased, a.ID)
		s.mu.Unlock()
		s.hint("")
	}
	for _, f := range files { // later openings happen through the mailbox's own handle
		if cerr := f.retire(context.WithoutCancel(ctx)); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}
	return err
}

// makeMailboxFiles makes the account's directory and its two databases.
func (s *Store) makeMailboxFiles(ctx context.Context, id mail.AccountID, key *vault.Key, idKey mime.IDKey) ([]*sqliteFile, error) {
	dir := s.accountDir(id)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, storeError(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, mail.E(mail.Conflict, "create the account", "this account exists", nil)
		}
		return nil, storeError(err)
	}
	db := s.newMailDB(id, key)
	m, b := db.src.(*sqliteFile), db.blobs.src.(*sqliteFile)
	m.fresh = func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "INSERT INTO state(one, owner, id_key) VALUES(1, ?, ?)", string(id), idKey[:])
		return err
	}
	b.fresh = func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "INSERT INTO blob_state(one, owner, next_blob) VALUES(1, ?, 1)", string(id))
		return err
	}
	files := []*sqliteFile{m, b}
	for _, f := range files {
		_, release, err := f.acquire(ctx, true)
		if err != nil {
			return files, storeError(err)
		}
		release(false)
	}
	return files, storeError(syncDirs(dir, s.o.Dir))
}

// removeFiles closes files for good and removes the account's directory.
func (s *Store) removeFiles(ctx context.Context, id mail.AccountID, files []*sqliteFile) error {
	for _, f := range files {
		if err := f.retire(ctx); err != nil {
			return err
		}
		clear(f.key)
	}
	dir := s.accountDir(id)
	if err := os.RemoveAll(dir); err != nil {
		return storeError(err)
	}
	os.Remove(filepath.Dir(dir)) // only when empty
	return nil
}

// guardOwner refuses a file that belongs to another account.
func guardOwner(id mail.AccountID, table string) func(context.Context, *sql.Conn) error {
	return func(ctx context.Context, c *sql.Conn) error {
		var owner string
		if err := c.QueryRowContext(ctx, "SELECT owner FROM "+table).Scan(&owner); err != nil {
			return err
		}
		if owner != string(id) {
			return mail.E(mail.Internal, "open the mailbox", "the files of this account belong to another one", nil)
		}
		return nil
	}
}

func putSecrets(ctx context.Context, t *tx, id mail.AccountID, key *vault.Key, c mail.Credentials, now time.Time) error {
	if _, err := t.exec(ctx, "DELETE FROM account_secrets WHERE account_id=?", string(id)); err != nil {
		return err
	}
	for _, x := range []struct {
		name   string
		secret mail.Secret
	}{{secretIMAP, c.IMAPPassword}, {secretSMTP, c.SMTPPassword}} {
		if x.secret.IsZero() {
			continue
		}
		if _, err := t.exec(ctx, "INSERT INTO account_secrets(account_id, name, sealed, updated_at) VALUES(?, ?, ?, ?)",
			string(id), x.name, key.SealString(secretPlace(id, x.name), x.secret.Reveal()), now.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// loginIdentity is what the mailbox's public ids are made from: who logs in where, not who connected it.
func loginIdentity(a mail.Account) string {
	login := strings.ToLower(strings.TrimSpace(a.Settings.IMAP.Username))
	if login == "" {
		login = strings.ToLower(a.Email)
	}
	if strings.Contains(login, "@") {
		return login
	}
	return login + "@" + strings.ToLower(a.Settings.IMAP.Host)
}

func emailKey(email string) string { return strings.ToLower(strings.TrimSpace(clean(email))) }

// accountKey returns the account's data key.
func (s *Store) accountKey(ctx context.Context, id mail.AccountID) (*vault.Key, error) {
	var key *vault.Key
	if !isUUID(string(id)) {
		return nil, noAccount(nil)
	}
	err := s.control.look(ctx, func(t *tx) (err error) {
		key, err = s.readKey(ctx, t, id)
		return err
	})
	return key, err
}

func (s *Store) readKey(ctx context.Context, t *tx, id mail.AccountID) (*vault.Key, error) {
	var wrapped []byte
	err := t.row(ctx, "SELECT wrapped FROM account_keys WHERE account_id=? AND version=?", string(id), keyVersion).Scan(&wrapped)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noAccount(nil)
	}
	if err != nil {
		return nil, err
	}
	key, err := s.o.Keys.Unwrap(keyOwner(id), wrapped)
	if errors.Is(err, vault.ErrWrongKey) {
		err = vault.ErrWrongMaster
	}
	if err != nil {
		return nil, &mail.Error{Op: "open the account's key", Kind: mail.Internal, Account: id, Msg: "the account's key cannot be opened: " + err.Error(), Err: err}
	}
	return key, nil
}

func noAccount(err error) error {
	return mail.E(mail.NotFound, "store", "this account does not exist", err)
}

// UpdateAccount stores new settings of an account: address, name, provider, settings, scope, state and UpdatedAt (now if
// zero); what the account says of its sync stays (SetSync). c nil keeps the secrets, else it replaces all of them.
func (s *Store) UpdateAccount(ctx context.Context, a mail.Account, c *mail.Credentials) error {
	if !isUUID(string(a.ID)) {
		return noAccount(nil)
	}
	if a.UpdatedAt.IsZero() {
		a.UpdatedAt = s.now()
	}
	return s.control.write(ctx, func(t *tx) error {
		settings, err := json.Marshal(a.Settings)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, "UPDATE accounts SET email=?, email_key=?, name=?, provider=?, settings=?, scope=?, state=?, updated_at=? WHERE id=?",
			clean(a.Email), emailKey(a.Email), clean(a.Name), clean(a.Provider), clean(string(settings)), jsonList(cleanList(a.Scope)), clean(a.State), a.UpdatedAt.UnixMilli(), string(a.ID))
		switch {
		case isUnique(err):
			return mail.E(mail.Conflict, "update the account", "another account has this address", nil)
		case err != nil:
			return err
		case n == 0:
			return noAccount(nil)
		case c == nil:
			return nil
		}
		key, err := s.readKey(ctx, t, a.ID)
		if err != nil {
			return err
		}
		return putSecrets(ctx, t, a.ID, key, *c, s.now())
	})
}

// SetSync stores what an account says of itself.
func (s *Store) SetSync(ctx context.Context, id mail.AccountID, st mail.SyncStatus) error {
	if !isUUID(string(id)) {
		return noAccount(nil)
	}
	return s.control.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE accounts SET sync_state=?, sync_since=?, sync_reason=?, sync_action=?, fresh_at=?, seen_at=?, audited_at=?, moved=?, sync_done=?, sync_total=? WHERE id=?",
			string(st.State), millis(st.Since), clean(st.Reason), clean(st.Action), millis(st.FreshAt), millis(st.SeenAt), millis(st.AuditedAt), jsonList(st.Moved), st.Done, st.Total, string(id))
		if err == nil && n == 0 {
			return noAccount(nil)
		}
		return err
	})
}

// AccountQuery selects accounts; what is set must all hold.
type AccountQuery struct {
	App           mail.AppID // "": any
	Email         string     // whatever the case
	Provider      string
	Status        string // "valid", "invalid" (must log in again), or a mail.State
	Since, Before time.Time
	Limit, Offset int    // Limit 0: all
	SortBy        string // "created_at" (default) or "updated_at"
	Desc          bool
}

const accountColumns = `id, app_id, email, name, provider, settings, scope, state, sync_state, sync_since, sync_reason, sync_action, fresh_at, seen_at, audited_at, moved, sync_done, sync_total, created_at, updated_at`

// Accounts returns the accounts that q selects.
func (s *Store) Accounts(ctx context.Context, q AccountQuery) ([]mail.Account, error) {
	var where []string
	var args []any
	add := func(cond string, arg ...any) {
		where = append(where, cond)
		args = append(args, arg...)
	}
	if q.App != "" {
		if !isUUID(string(q.App)) {
			return nil, nil
		}
		add("app_id=?", string(q.App))
	}
	if q.Email != "" {
		add("email_key=?", emailKey(q.Email))
	}
	if q.Provider != "" {
		add("provider=?", clean(q.Provider))
	}
	switch q.Status {
	case "":
	case "valid":
		add("sync_state<>?", string(mail.StateReauth))
	case "invalid":
		add("sync_state=?", string(mail.StateReauth))
	default:
		add("sync_state=?", clean(q.Status))
	}
	if !q.Since.IsZero() {
		add("created_at>=?", q.Since.UnixMilli())
	}
	if !q.Before.IsZero() {
		add("created_at<?", q.Before.UnixMilli())
	}
	text := "SELECT " + accountColumns + " FROM accounts"
	if len(where) > 0 {
		text += " WHERE " + strings.Join(where, " AND ")
	}
	sortBy, dir := "created_at", ""
	if q.SortBy == "updated_at" {
		sortBy = "updated_at"
	}
	if q.Desc {
		dir = " DESC"
	}
	text += " ORDER BY " + sortBy + dir + ", id" + dir
	if q.Limit > 0 {
		text += " LIMIT ? OFFSET ?"
		args = append(args, q.Limit, max(0, q.Offset))
	}
	var out []mail.Account
	err := s.control.look(ctx, func(t *tx) error {
		rows, err := t.query(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			a, err := scanAccount(rows)
			if err != nil {
				return err
			}
			out = append(out, a)
		}
		return rows.Err()
	})
	return out, err
}

func scanAccount(r interface{ Scan(...any) error }) (mail.Account, error) {
	var a mail.Account
	var settings string
	var scope, moved sql.NullString
	var since, fresh, seen, audited, created, updated sql.NullInt64
	if err := r.Scan(&a.ID, &a.App, &a.Email, &a.Name, &a.Provider, &settings, &scope, &a.State, &a.Sync.State, &since, &a.Sync.Reason, &a.Sync.Action,
		&fresh, &seen, &audited, &moved, &a.Sync.Done, &a.Sync.Total, &created, &updated); err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(settings), &a.Settings); err != nil {
		return a, fmt.Errorf("settings of account %s: %w", a.ID, err)
	}
	a.Sync.Since, a.Sync.FreshAt, a.CreatedAt, a.UpdatedAt = fromMillis(since), fromMillis(fresh), fromMillis(created), fromMillis(updated)
	a.Sync.SeenAt, a.Sync.AuditedAt = fromMillis(seen), fromMillis(audited)
	var err error
	if a.Sync.Moved, err = parseList[int64](moved); err != nil {
		return a, err
	}
	a.Scope, err = parseList[string](scope)
	return a, err
}

// Account returns one account; NotFound if it does not exist or belongs to another application than app ("": any).
func (s *Store) Account(ctx context.Context, app mail.AppID, id mail.AccountID) (mail.Account, error) {
	if !isUUID(string(id)) {
		return mail.Account{}, noAccount(nil)
	}
	var a mail.Account
	err := s.control.look(ctx, func(t *tx) (err error) {
		a, err = scanAccount(t.row(ctx, "SELECT "+accountColumns+" FROM accounts WHERE id=?", string(id)))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && app != "" && a.App != app {
		return mail.Account{}, noAccount(nil)
	}
	return a, err
}

// AccountByEmail returns the application's account with this address, the oldest if several providers have one.
func (s *Store) AccountByEmail(ctx context.Context, app mail.AppID, email string) (mail.Account, error) {
	list, err := s.Accounts(ctx, AccountQuery{App: app, Email: email, Limit: 1})
	if err == nil && (len(list) == 0 || emailKey(email) == "") {
		return mail.Account{}, noAccount(nil)
	}
	if err != nil {
		return mail.Account{}, err
	}
	return list[0], nil
}

// Credentials returns the account's secrets.
func (s *Store) Credentials(ctx context.Context, id mail.AccountID) (mail.Credentials, error) {
	var c mail.Credentials
	if !isUUID(string(id)) {
		return c, noAccount(nil)
	}
	err := s.control.read(ctx, func(t *tx) error {
		key, err := s.readKey(ctx, t, id)
		if err != nil {
			return err
		}
		defer key.Destroy()
		rows, err := t.query(ctx, "SELECT name, sealed FROM account_secrets WHERE account_id=?", string(id))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var sealed []byte
			if err := rows.Scan(&name, &sealed); err != nil {
				return err
			}
			text, err := key.OpenString(secretPlace(id, name), sealed)
			if err != nil {
				return &mail.Error{Op: "open " + name, Kind: mail.Internal, Account: id, Msg: "a stored secret cannot be opened", Err: err}
			}
			switch name {
			case secretIMAP:
				c.IMAPPassword = mail.NewSecret(text)
			case secretSMTP:
				c.SMTPPassword = mail.NewSecret(text)
			}
		}
		return rows.Err()
	})
	return c, err
}

// DeleteAccount erases an account: first its key and secrets, after which nothing of it can be read by anyone, then its
// files, rows and objects. What a crash leaves of the second half goes at the next Open. The caller has stopped the
// account's sync.
func (s *Store) DeleteAccount(ctx context.Context, id mail.AccountID) error {
	if !isUUID(string(id)) {
		return noAccount(nil)
	}
	err := s.control.write(ctx, func(t *tx) error {
		for _, table := range []string{"account_keys", "account_secrets", "tokens", "answers", "webhook_cursors", "webhook_deliveries", "webhook_replays", "feed_logs", "feed"} {
			if _, err := t.exec(ctx, "DELETE FROM "+table+" WHERE account_id=?", string(id)); err != nil {
				return err
			}
		}
		var app mail.AppID
		var provider string
		err := t.row(ctx, "DELETE FROM accounts WHERE id=? RETURNING app_id, provider", string(id)).Scan(&app, &provider)
		if errors.Is(err, sql.ErrNoRows) {
			return noAccount(nil)
		}
		if err != nil {
			return err
		}
		return noteGrant(ctx, t, app, id, GrantDeleted, provider, s.now())
	})
	if err != nil {
		return err
	}
	s.hint("")
	s.cache.forget(id)
	ctx = context.WithoutCancel(ctx) // from here on there is no way back
	s.mu.Lock()
	m := s.mailboxes[id]
	delete(s.mailboxes, id)
	s.erased[id] = true
	s.mu.Unlock()
	if m != nil {
		m.db.blobs.key.Destroy()
	}
	if s.pg != nil {
		return s.erasePostgres(ctx, id)
	}
	if err := s.control.src.(*sqliteFile).truncateLog(ctx); err != nil {
		s.log.Warn("the log of the control store still has the wrapped key of an erased account; it goes with the next erasure or stop", "account", id, "err", err)
	}
	var files []*sqliteFile
	if m != nil {
		files = []*sqliteFile{m.db.src.(*sqliteFile), m.db.blobs.src.(*sqliteFile), m.db.search.src.(*sqliteFile)}
	}
	if err := s.removeFiles(ctx, id, files); err != nil {
		return err
	}
	return s.eraseObjects(ctx, id)
}

func (s *Store) eraseObjects(ctx context.Context, id mail.AccountID) error {
	if s.objects == nil {
		return nil
	}
	return storeError(s.objects.removeAll(ctx, string(id)+"/"))
}

// accountTables are the PostgreSQL tables with rows of one account, state last: its row says that there is more to erase.
var accountTables = []string{"search_blocks", "search_segments", "search_state", "outbox", "operations", "units", "bounces", "tracked", "chunks", "blobs", "blob_state", "changes", "thread_keys", "thread_folders", "threads", "placements", "message_addresses", "message_metadata", "messages", "folders", "state"}

// erasedBy are the columns by which the rows of an account in the large tables are erased in pieces: the database must not be silent
// for longer than pgSilence.
var erasedBy = map[string]string{"search_blocks": "id", "outbox": "id", "chunks": "id", "blobs": "id", "changes": "seq", "thread_keys": "key", "thread_folders": "thread_id",
	"threads": "id", "placements": "message_id", "message_addresses": "key", "message_metadata": "message_id", "messages": "id"}

// erasedAtOnce is how many rows are erased by one statement.
const erasedAtOnce = 20_000

// eraseRows erases an account's rows of a table.
func (s *Store) eraseRows(ctx context.Context, t *tx, table string, id mail.AccountID) error {
	if key := erasedBy[table]; key != "" {
		q := fmt.Sprintf("DELETE FROM %[1]s WHERE account_id=? AND %[2]s <= (SELECT %[2]s FROM %[1]s WHERE account_id=? ORDER BY %[2]s LIMIT 1 OFFSET ?)", table, key)
		for {
			n, err := t.exec(ctx, q, string(id), string(id), s.eraseAtOnce-1)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	_, err := t.exec(ctx, "DELETE FROM "+table+" WHERE account_id=?", string(id))
	return err
}

func (s *Store) erasePostgres(ctx context.Context, id mail.AccountID) error {
	if err := s.eraseObjects(ctx, id); err != nil {
		return err
	}
	return s.control.write(ctx, func(t *tx) error {
		for _, table := range []string{"state", "blob_state"} { // wait for writers that are still at it; after us they find no row
			var one int
			if err := t.row(ctx, "SELECT 1 FROM "+table+" WHERE account_id=? FOR UPDATE", string(id)).Scan(&one); err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		for _, table := range accountTables {
			if err := s.eraseRows(ctx, t, table, id); err != nil {
				return fmt.Errorf("erase %s: %w", table, err)
			}
		}
		return nil
	})
}

// sweepErased removes what a crash left of accounts that were erased or never came to be.
func (s *Store) sweepErased(ctx context.Context) error {
	ids, err := s.strays(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s.log.Info("removing what is left of an erased account", "account", id)
		if s.pg != nil {
			err = s.erasePostgres(ctx, id)
		} else if err = s.removeFiles(ctx, id, nil); err == nil {
			err = s.eraseObjects(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// strays returns the accounts that have a mailbox and nothing else.
func (s *Store) strays(ctx context.Context) ([]mail.AccountID, error) {
	var stray []mail.AccountID
	if s.pg != nil {
		err := s.control.read(ctx, func(t *tx) error {
			rows, err := t.query(ctx, "SELECT s.account_id FROM state s WHERE NOT EXISTS(SELECT 1 FROM accounts a WHERE a.id=s.account_id)")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id mail.AccountID
				if err := rows.Scan(&id); err != nil {
					return err
				}
				stray = append(stray, id)
			}
			return rows.Err()
		})
		return stray, err
	}
	dirs, err := filepath.Glob(filepath.Join(s.o.Dir, "acct", "??", "*"))
	if err != nil || len(dirs) == 0 {
		return nil, err
	}
	known := map[mail.AccountID]bool{}
	list, err := s.Accounts(ctx, AccountQuery{})
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		known[a.ID] = true
	}
	for _, d := range dirs {
		id := mail.AccountID(filepath.Base(d))
		if fi, err := os.Stat(d); err != nil || !fi.IsDir() || !isUUID(string(id)) {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		if !known[id] {
			stray = append(stray, id)
		}
	}
	return stray, nil
}
