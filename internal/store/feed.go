package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Place is how far somebody has read an account's log or an application's feed.
type Place struct {
	Pos       int64    `json:"p,omitempty"` // in a feed: the rows before it are done; 0 in an account's log
	Seq       mail.Seq `json:"s,omitempty"` // the changes up to it are done, in a feed those of the row Pos; there 0: the whole row
	NotBefore int64    `json:"t,omitempty"` // changes before this time (Unix milliseconds) are left out
	Mark      int64    `json:"m,omitempty"` // time of the change or row that it stands on, by which another history is known; 0: not known
}

// FeedRow says which changes of an account's log, or of the application's own (then Account is its id), come next in the
// application's feed.
type FeedRow struct {
	Pos      int64
	At       time.Time
	Account  mail.AccountID
	From, To mail.Seq
}

// Grown says how far an account's log goes.
type Grown struct {
	Account  mail.AccountID
	Kept, To mail.Seq // the oldest and the newest change
}

// GrowFeed appends to an application's feed what came to the logs of these accounts, and to its own. Repeating it changes
// nothing. Accounts of others and those that do not exist are ignored.
func (s *Store) GrowFeed(ctx context.Context, app mail.AppID, grown []Grown) error {
	if own, err := s.grantLog(ctx, app); err != nil {
		return err
	} else if own.To > 0 {
		grown = append([]Grown{own}, grown...)
	}
	var fresh []Grown
	err := s.control.look(ctx, func(t *tx) error {
		for _, g := range grown {
			known, err := inFeed(ctx, t, g.Account)
			if err != nil {
				return err
			}
			if known < g.To {
				fresh = append(fresh, g)
			}
		}
		return nil
	})
	if err != nil || len(fresh) == 0 {
		return err
	}
	return s.control.write(ctx, func(t *tx) error {
		var pos, least int64
		err := t.row(ctx, "UPDATE apps SET feed_pos = feed_pos WHERE id=? RETURNING feed_pos, feed_min", string(app)).Scan(&pos, &least) // its lock: positions become visible in order
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var last sql.NullInt64
		if err := t.row(ctx, "SELECT max(at) FROM feed WHERE app_id=?", string(app)).Scan(&last); err != nil {
			return err
		}
		at := max(s.now().UnixMilli(), last.Int64)
		var rows [][]any
		for _, g := range fresh {
			var there int
			if err := t.row(ctx, "SELECT (SELECT count(*) FROM accounts WHERE id=? AND app_id=?) + (SELECT count(*) FROM apps WHERE id=?)",
				string(g.Account), string(app), string(g.Account)).Scan(&there); err != nil {
				return err
			}
			known, err := inFeed(ctx, t, g.Account)
			if err != nil {
				return err
			}
			if there == 0 || known >= g.To {
				continue
			}
			from := known + 1
			pos++
			if known > 0 && from < g.Kept { // nobody read the feed for so long: who comes back has missed something
				pos++
				least = pos
			}
			rows = append(rows, []any{string(app), pos, at, string(g.Account), int64(max(from, g.Kept)), int64(g.To)})
			if _, err := t.exec(ctx, "INSERT INTO feed_logs(account_id, app_id, seq) VALUES(?, ?, ?) ON CONFLICT(account_id) DO UPDATE SET seq=excluded.seq",
				string(g.Account), string(app), int64(g.To)); err != nil {
				return err
			}
		}
		if err := t.insertMany(ctx, "feed", []string{"app_id", "pos", "at", "account_id", "from_seq", "to_seq"}, rows, ""); err != nil {
			return err
		}
		_, err = t.exec(ctx, "UPDATE apps SET feed_pos=?, feed_min=? WHERE id=?", pos, least, string(app))
		return err
	})
}

func inFeed(ctx context.Context, t *tx, account mail.AccountID) (mail.Seq, error) {
	var seq mail.Seq
	err := t.row(ctx, "SELECT seq FROM feed_logs WHERE account_id=?", string(account)).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return seq, err
}

// grantLog tells how far an application's own log goes.
func (s *Store) grantLog(ctx context.Context, app mail.AppID) (Grown, error) {
	g := Grown{Account: mail.AccountID(app)}
	err := s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT event_seq, coalesce((SELECT min(seq) FROM grant_events e WHERE e.app_id=apps.id), event_seq + 1) FROM apps WHERE id=?", string(app)).Scan(&g.To, &g.Kept)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return g, nil
	}
	return g, err
}

// FeedUsed tells whether an application ever read its feed.
func (s *Store) FeedUsed(ctx context.Context, app mail.AppID) (bool, error) {
	_, last, err := s.FeedEnds(ctx, app)
	return last > 0, err
}

// FeedEnds returns the first position of an application's feed that is kept and the last one there is.
func (s *Store) FeedEnds(ctx context.Context, app mail.AppID) (first, last int64, err error) {
	err = s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT feed_min, feed_pos FROM apps WHERE id=?", string(app)).Scan(&first, &last)
	})
	return first, last, err
}

// FeedBefore returns the last position of an application's feed that has nothing from a time on.
func (s *Store) FeedBefore(ctx context.Context, app mail.AppID, at time.Time) (int64, error) {
	var pos int64
	err := s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT coalesce((SELECT min(pos) - 1 FROM feed WHERE app_id=? AND at >= ?), (SELECT feed_pos FROM apps WHERE id=?))",
			string(app), at.UnixMilli(), string(app)).Scan(&pos)
	})
	return pos, err
}

// Feed returns the rows of an application's feed that come after a place, beginning with the one that it stands in.
// Expired: something between is no longer kept, or the place is of a history that is not this one.
func (s *Store) Feed(ctx context.Context, app mail.AppID, after Place, limit int) ([]FeedRow, error) {
	var out []FeedRow
	err := s.control.read(ctx, func(t *tx) error {
		var first, last int64
		if err := t.row(ctx, "SELECT feed_min, feed_pos FROM apps WHERE id=?", string(app)).Scan(&first, &last); err != nil {
			return err
		}
		from := after.Pos + 1
		if after.Seq > 0 {
			from = after.Pos
		}
		if from < first || from > last+1 {
			return expired()
		}
		if after.Mark != 0 {
			var at int64
			err := t.row(ctx, "SELECT at FROM feed WHERE app_id=? AND pos=?", string(app), after.Pos).Scan(&at)
			if err == nil && at != after.Mark {
				return expired()
			}
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		return each(ctx, t, "SELECT pos, at, account_id, from_seq, to_seq FROM feed WHERE app_id=? AND pos >= ? ORDER BY pos LIMIT ?", []any{string(app), from, max(limit, 1)},
			func(r *sql.Rows) error {
				var f FeedRow
				var at int64
				err := r.Scan(&f.Pos, &at, &f.Account, &f.From, &f.To)
				f.At = fromMilli(at)
				out = append(out, f)
				return err
			})
	})
	return out, err
}

func expired() error {
	return mail.E(mail.Expired, "read events", "what follows this cursor is no longer kept: take a new one with cursor=latest, list everything again, then go on from it", nil)
}

// ChangesFrom is Changes after a place in the account's log. It is Expired too if the place is of a history that is not
// this one, as after a backup was restored.
func (m *Mailbox) ChangesFrom(ctx context.Context, after Place, limit int) ([]mail.Change, error) {
	var list []mail.Change
	err := m.db.read(ctx, func(t *tx) error {
		var oldest, last mail.Seq
		if err := t.row(ctx, "SELECT min_seq, seq FROM state WHERE {a}1=1").Scan(&oldest, &last); err != nil {
			return err
		}
		if after.Seq+1 < oldest || after.Seq > last {
			return expired()
		}
		if after.Mark != 0 && after.Seq >= oldest {
			var at int64
			if err := t.row(ctx, "SELECT at FROM changes WHERE {a}seq = ?", int64(after.Seq)).Scan(&at); err != nil {
				return err
			}
			if at != after.Mark {
				return expired()
			}
		}
		return changesAfter(ctx, t, after.Seq, min(max(limit, 1), maxChanges), func(c mail.Change) error {
			list = append(list, c)
			return nil
		})
	})
	return list, err
}

// pruneBatch bounds how many changes one transaction of Prune drops.
const pruneBatch = 5000

// Prune drops the changes of an account before a time, and with them what is remembered of folders that were gone by then.
// Those that a webhook, a replay or the application's feed has still to tell stay, and the newest one stays.
func (s *Store) Prune(ctx context.Context, acct mail.Account, before time.Time) (dropped int64, err error) {
	m, err := s.Mailbox(ctx, acct.ID)
	if err != nil {
		return 0, err
	}
	last, err := m.SeqBefore(ctx, before)
	if err != nil {
		return 0, err
	}
	needed, err := s.needed(ctx, acct, m)
	if err != nil {
		return 0, err
	}
	last = min(last, needed-1)
	for {
		var n int64
		err := m.db.write(ctx, func(t *tx) error {
			var oldest, newest mail.Seq
			if err := t.row(ctx, "SELECT min_seq, seq FROM state WHERE {a}1=1").Scan(&oldest, &newest); err != nil {
				return err
			}
			to := min(last, newest-1, oldest+pruneBatch-1)
			if to < oldest {
				return nil
			}
			var err error
			if n, err = t.exec(ctx, "DELETE FROM changes WHERE {a}seq <= ?", int64(to)); err != nil {
				return err
			}
			for _, q := range []string{"DELETE FROM bounces WHERE {a}at < ?",
				`DELETE FROM folders WHERE {a}deleted_at < ? AND NOT EXISTS(SELECT 1 FROM placements p WHERE {a:p}p.folder_id = folders.id)
					AND NOT EXISTS(SELECT 1 FROM thread_folders f WHERE {a:f}f.folder_id = folders.id)`} {
				if _, err := t.exec(ctx, q, before.UnixMilli()); err != nil {
					return err
				}
			}
			_, err = t.exec(ctx, "UPDATE state SET min_seq = ? WHERE {a}1=1", int64(to+1))
			return err
		})
		if dropped += n; err != nil || n < pruneBatch {
			return dropped, err
		}
	}
}

// needed returns the first change of an account that somebody has still to be told, beyond the last if nobody has.
func (s *Store) needed(ctx context.Context, acct mail.Account, m *Mailbox) (mail.Seq, error) {
	seq, err := m.Seq(ctx)
	if err != nil {
		return 0, err
	}
	least := seq + 1
	hooks, err := s.Webhooks(ctx, acct.App)
	if err != nil {
		return 0, err
	}
	for _, w := range hooks {
		if !w.Status.Delivers() {
			continue
		}
		cur, err := s.WebhookCursor(ctx, w.ID, acct.ID)
		if mail.IsKind(err, mail.NotFound) {
			cur.Seq, err = m.SeqBefore(ctx, w.Since)
		}
		if err != nil {
			return 0, err
		}
		least = min(least, cur.Seq+1)
	}
	var inFeed sql.NullInt64
	if err := s.control.look(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT min(from_seq) FROM feed WHERE account_id=?", string(acct.ID)).Scan(&inFeed)
	}); err != nil {
		return 0, err
	}
	if inFeed.Valid {
		least = min(least, mail.Seq(inFeed.Int64))
	}
	replays, err := s.replaysOf(ctx, acct.ID)
	if err != nil {
		return 0, err
	}
	for _, r := range replays {
		least = min(least, r.Place.Seq+1)
	}
	return least, nil
}

// PruneFeed drops the rows of all feeds before a time; the changes that they name may be dropped afterwards.
func (s *Store) PruneFeed(ctx context.Context, before time.Time) error {
	return s.control.write(ctx, func(t *tx) error {
		var apps []string
		last := map[string]int64{}
		if err := each(ctx, t, "SELECT app_id, max(pos) FROM feed WHERE at < ? GROUP BY app_id", []any{before.UnixMilli()}, func(r *sql.Rows) error {
			var app string
			var pos int64
			err := r.Scan(&app, &pos)
			apps = append(apps, app)
			last[app] = pos
			return err
		}); err != nil {
			return err
		}
		for _, app := range apps {
			if _, err := t.exec(ctx, "DELETE FROM feed WHERE app_id=? AND pos <= ?", app, last[app]); err != nil {
				return err
			}
			if _, err := t.exec(ctx, "UPDATE apps SET feed_min=? WHERE id=? AND feed_min <= ?", last[app]+1, app, last[app]); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkFeed looks for rows of the feeds that are out of order.
func checkFeed(ctx context.Context, t *tx) (problems []Problem, err error) {
	for what, q := range map[string]string{
		"rows of a feed outside of what it says it has":            "SELECT count(*) FROM feed f JOIN apps a ON a.id=f.app_id WHERE f.pos < a.feed_min OR f.pos > a.feed_pos",
		"rows of a feed of an application that does not exist":     "SELECT count(*) FROM feed f WHERE NOT EXISTS(SELECT 1 FROM apps a WHERE a.id=f.app_id)",
		"rows of a feed that name no changes":                      "SELECT count(*) FROM feed WHERE from_seq > to_seq OR from_seq < 1",
		"rows of a feed that go beyond what was put there":         "SELECT count(*) FROM feed f WHERE f.to_seq > coalesce((SELECT l.seq FROM feed_logs l WHERE l.account_id=f.account_id), 0)",
		"rows of a feed that tell a change twice":                  "SELECT count(*) FROM feed f JOIN feed g ON g.account_id=f.account_id AND g.from_seq > f.from_seq AND g.from_seq <= f.to_seq",
		"replays of a webhook that does not exist":                 "SELECT count(*) FROM webhook_replays r WHERE NOT EXISTS(SELECT 1 FROM webhooks w WHERE w.id=r.webhook_id)",
		"logs in a feed of an application that does not have them": "SELECT count(*) FROM feed_logs l WHERE NOT EXISTS(SELECT 1 FROM accounts a WHERE a.id=l.account_id AND a.app_id=l.app_id) AND l.account_id <> l.app_id",
	} {
		var n int
		if err := t.row(ctx, q).Scan(&n); err != nil {
			return nil, err
		}
		if n > 0 {
			problems = append(problems, Problem{What: fmt.Sprintf("%d %s", n, what)})
		}
	}
	return problems, nil
}
