package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

func fromMilli(n int64) time.Time { return time.UnixMilli(n).UTC() }

func nothingFresh(context.Context, *sql.Conn) error { return nil }

// Check verifies everything that can be verified without a mail server: the control store and every mailbox. The
// problems it returns are violated invariants; the error says that it could not look.
func (s *Store) Check(ctx context.Context) ([]Problem, error) {
	problems, accounts, err := s.checkControl(ctx)
	if err != nil {
		return nil, err
	}
	stray, err := s.strays(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range stray {
		problems = append(problems, Problem{Account: id, What: "a mailbox is left of an account that does not exist"})
	}
	for _, id := range accounts {
		m, err := s.Mailbox(ctx, id)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			problems = append(problems, Problem{Account: id, What: "the mailbox cannot be opened: " + err.Error()})
			continue
		}
		for _, src := range []source{m.db.src, m.db.blobs.src, m.db.search.src} {
			found, err := checkFile(ctx, src)
			if mail.IsKind(err, mail.NotFound) && src == m.db.search.src { // open for reading only, and nothing was indexed yet
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, what := range found {
				problems = append(problems, Problem{Account: id, What: what})
			}
		}
		found, err := m.Check(ctx)
		if err != nil {
			return nil, fmt.Errorf("check account %s: %w", id, err)
		}
		problems = append(problems, found...)
	}
	return problems, nil
}

func (s *Store) checkControl(ctx context.Context) ([]Problem, []mail.AccountID, error) {
	found, err := checkFile(ctx, s.control.src)
	if err != nil {
		return nil, nil, err
	}
	var problems []Problem
	for _, what := range found {
		problems = append(problems, Problem{What: what})
	}
	list, err := s.Accounts(ctx, AccountQuery{})
	if err != nil {
		return nil, nil, err
	}
	var ids []mail.AccountID
	for _, a := range list {
		if _, err := s.Credentials(ctx, a.ID); err != nil {
			problems = append(problems, Problem{Account: a.ID, What: "the account's key or a secret cannot be opened: " + err.Error()})
			continue
		}
		ids = append(ids, a.ID)
	}
	err = s.control.read(ctx, func(t *tx) error {
		for what, q := range map[string]string{
			"keys of an account that does not exist":          "SELECT count(*) FROM account_keys k WHERE NOT EXISTS(SELECT 1 FROM accounts a WHERE a.id=k.account_id)",
			"secrets of an account that does not exist":       "SELECT count(*) FROM account_secrets k WHERE NOT EXISTS(SELECT 1 FROM accounts a WHERE a.id=k.account_id)",
			"accounts of an application that does not exist":  "SELECT count(*) FROM accounts k WHERE NOT EXISTS(SELECT 1 FROM apps a WHERE a.id=k.app_id)",
			"tokens of an account that does not exist":        "SELECT count(*) FROM tokens k WHERE NOT EXISTS(SELECT 1 FROM accounts a WHERE a.id=k.account_id AND a.app_id=k.app_id)",
			"redirects of an application that does not exist": "SELECT count(*) FROM redirect_uris k WHERE NOT EXISTS(SELECT 1 FROM apps a WHERE a.id=k.app_id)",
			"webhooks of an application that does not exist":  "SELECT count(*) FROM webhooks k WHERE NOT EXISTS(SELECT 1 FROM apps a WHERE a.id=k.app_id)",
			"API keys of an application that does not exist":  "SELECT count(*) FROM api_keys k WHERE NOT EXISTS(SELECT 1 FROM apps a WHERE a.id=k.app_id)",
		} {
			var n int
			if err := t.row(ctx, q).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				problems = append(problems, Problem{What: fmt.Sprintf("%d %s", n, what)})
			}
		}
		more, err := checkFeed(ctx, t)
		problems = append(problems, more...)
		return err
	})
	return problems, ids, err
}

// checkFile lets SQLite check its own structures.
func checkFile(ctx context.Context, src source) ([]string, error) {
	f, ok := src.(*sqliteFile)
	if !ok {
		return nil, nil
	}
	c, release, err := f.acquire(ctx, false)
	if err != nil {
		return nil, storeError(err)
	}
	defer release(false)
	rows, err := c.QueryContext(ctx, "PRAGMA quick_check(20)")
	if err != nil {
		return nil, storeError(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, storeError(err)
		}
		if line != "ok" {
			out = append(out, filepath.Base(f.path)+": "+line)
		}
	}
	return out, storeError(rows.Err())
}

// truncateLog writes the log back into the file and empties it, so that what was deleted is in neither.
func (f *sqliteFile) truncateLog(ctx context.Context) error {
	c, release, err := f.acquire(ctx, true)
	if err != nil {
		return storeError(err)
	}
	defer release(false)
	var busy, log, done int
	if err := c.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done); err != nil {
		return storeError(err)
	}
	if busy != 0 { // a reader holds an old snapshot
		return errors.New("the database is being read")
	}
	return nil
}

// RewrapKeys wraps every account's and webhook's key and the control key anew with the master key in use, after a new one was put in
// front of the old one. It returns how many it changed; afterwards the old master key is no longer needed.
func (s *Store) RewrapKeys(ctx context.Context) (int, error) {
	changed := 0
	err := s.control.write(ctx, func(t *tx) error {
		rows, err := t.query(ctx, "SELECT account_id, wrapped FROM account_keys")
		if err != nil {
			return err
		}
		wrapped := map[mail.AccountID][]byte{}
		for rows.Next() {
			var id mail.AccountID
			var w []byte
			if err := rows.Scan(&id, &w); err != nil {
				rows.Close()
				return err
			}
			wrapped[id] = w
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for id, w := range wrapped {
			w, did, err := s.o.Keys.Rewrap(keyOwner(id), w)
			if err != nil {
				return fmt.Errorf("key of account %s: %w", id, err)
			}
			if !did {
				continue
			}
			if _, err := t.exec(ctx, "UPDATE account_keys SET wrapped=?, kek_id=? WHERE account_id=? AND version=?", w, s.o.Keys.ID().String(), string(id), keyVersion); err != nil {
				return err
			}
			changed++
		}
		n, err := s.rewrapWebhooks(ctx, t)
		changed += n
		return err
	})
	if err != nil {
		return 0, err
	}
	var ring vault.Ring
	if s.pg != nil {
		ring, err = s.readPostgresRing(ctx)
	} else {
		ring, err = vault.ReadRing(s.o.Dir)
	}
	if err != nil {
		return changed, err
	}
	ring, did, err := s.o.Keys.RewrapRing(ring)
	if err != nil || !did {
		return changed, err
	}
	if s.pg != nil {
		err = s.writePostgresRing(ctx, ring)
	} else {
		err = vault.WriteRing(s.o.Dir, ring)
	}
	return changed + 1, err
}
