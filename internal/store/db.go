package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/internal/mail"
)

// dialect is the database that a statement is written for.
type dialect int

const (
	sqlite dialect = iota
	postgres
)

// One text serves both databases. Placeholders are `?`. In statements on one account's tables these markers stand
// where PostgreSQL needs the account, which the layer passes itself:
//
//	{a}        WHERE {a}id = ?              ->  WHERE account_id=$1 AND id = $2
//	{a:m}      JOIN messages m ON {a:m}...  ->  JOIN messages m ON m.account_id=$1 AND ...
//	{ai} {av}  INSERT INTO t({ai}id) VALUES({av}?)  ->  INSERT INTO t(account_id, id) VALUES($1, $2)
//	{ai}       ON CONFLICT({ai}id)          ->  ON CONFLICT(account_id, id)
//
// On SQLite they are empty: there an account has a file of its own. A statement on an account's tables without any
// marker is refused on both, because on PostgreSQL it would touch every account.

// texts caches the expanded form of statements.
type texts struct {
	d  dialect
	mu sync.RWMutex
	m  map[textKey]string
}

type textKey struct {
	q      string
	scoped bool
}

// maxTexts bounds the cache: queries put together from filters have many forms.
const maxTexts = 4096

func newTexts(d dialect) *texts { return &texts{d: d, m: map[textKey]string{}} }

func (x *texts) get(q string, scoped bool) string {
	k := textKey{q, scoped}
	x.mu.RLock()
	s, ok := x.m[k]
	x.mu.RUnlock()
	if ok {
		return s
	}
	s = expand(x.d, q, scoped)
	x.mu.Lock()
	if len(x.m) >= maxTexts {
		clear(x.m)
	}
	x.m[k] = s
	x.mu.Unlock()
	return s
}

// expand replaces markers and placeholders outside of string literals. It panics on a statement that mixes up accounts:
// that is a bug in this package, and the transaction turns it into an error.
func expand(d dialect, q string, scoped bool) string {
	var b strings.Builder
	b.Grow(len(q) + 64)
	n, marked := 0, false
	if scoped {
		n = 1
	}
	for i := 0; i < len(q); i++ {
		c := q[i]
		switch {
		case c == '\'':
			j := strings.IndexByte(q[i+1:], '\'')
			if j < 0 {
				panic("store: open string in statement: " + q)
			}
			b.WriteString(q[i : i+j+2])
			i += j + 1
		case c == '?' && d == postgres:
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		case c == '{':
			j := strings.IndexByte(q[i:], '}')
			if j < 0 {
				panic("store: open marker in statement: " + q)
			}
			marker := q[i+1 : i+j]
			i += j
			marked = true
			alias, isAlias := strings.CutPrefix(marker, "a:")
			if marker != "a" && marker != "ai" && marker != "av" && !isAlias {
				panic("store: unknown marker in statement: " + q)
			}
			if d == sqlite {
				continue
			}
			switch {
			case isAlias:
				b.WriteString(alias + ".account_id=$1 AND ")
			case marker == "a":
				b.WriteString("account_id=$1 AND ")
			case marker == "ai":
				b.WriteString("account_id, ")
			case marker == "av":
				b.WriteString("$1, ")
			}
		default:
			b.WriteByte(c)
		}
	}
	if marked != scoped {
		panic("store: account markers missing or out of place in statement: " + q)
	}
	return b.String()
}

// tx is one transaction. Rows of a query must be closed before the same text is run again in the transaction, and
// before it ends.
type tx struct {
	c       *dbConn
	texts   *texts
	account string // "" for the control store
	looking bool   // for a single query, outside of a transaction
}

var errLooking = errors.New("a write outside of a transaction")

func (t *tx) args(args []any) []any {
	if t.account == "" || t.texts.d == sqlite {
		return args
	}
	return append([]any{t.account}, args...)
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, q string, args ...any) (int64, error) {
	if t.looking {
		return 0, errLooking
	}
	return t.c.exec(ctx, t.texts.get(q, t.account != ""), t.args(args))
}

// query runs a query.
func (t *tx) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	text := t.texts.get(q, t.account != "")
	st, err := t.c.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	if st != nil {
		return st.QueryContext(ctx, t.args(args)...)
	}
	return t.c.QueryContext(ctx, text, t.args(args)...)
}

// row runs a query of which the first row is wanted; Scan returns sql.ErrNoRows if there is none.
func (t *tx) row(ctx context.Context, q string, args ...any) *sql.Row {
	text := t.texts.get(q, t.account != "")
	if st, err := t.c.stmt(ctx, text); err == nil && st != nil {
		return st.QueryRowContext(ctx, t.args(args)...)
	}
	return t.c.QueryRowContext(ctx, text, t.args(args)...)
}

// execMany runs one statement once for each list of arguments; on PostgreSQL in one round trip. It returns how many
// rows each changed.
func (t *tx) execMany(ctx context.Context, q string, lists [][]any) ([]int64, error) {
	if t.looking {
		return nil, errLooking
	}
	text := t.texts.get(q, t.account != "")
	changed := make([]int64, len(lists))
	if t.texts.d == sqlite || len(lists) == 1 {
		for i, args := range lists {
			n, err := t.c.exec(ctx, text, t.args(args))
			if err != nil {
				return nil, err
			}
			changed[i] = n
		}
		return changed, nil
	}
	const most = 1000 // statements sent before the first answer is read
	for from := 0; from < len(lists); from += most {
		part := lists[from:min(from+most, len(lists))]
		err := t.c.Raw(func(c any) error {
			var b pgx.Batch
			for i, args := range part {
				b.Queue(text, t.args(args)...).Exec(func(ct pgCommandTag) error {
					changed[from+i] = ct.RowsAffected()
					return nil
				})
			}
			return c.(*stdlib.Conn).Conn().SendBatch(ctx, &b).Close()
		})
		if err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// insertMany inserts rows with as few statements as is sensible. cols does not name the account. suffix may be an
// ON CONFLICT clause (with {ai} in its column list).
func (t *tx) insertMany(ctx context.Context, table string, cols []string, rows [][]any, suffix string) error {
	if t.looking {
		return errLooking
	}
	scoped := t.account != ""
	steps := []int{64, 16, 4, 1} // few sizes, so that the prepared statements are reused
	if t.texts.d == postgres {
		steps = []int{512, 128, 32, 8, 1}
	}
	for len(rows) > 0 {
		n := 1
		for _, s := range steps {
			if s <= len(rows) && s*(len(cols)+1) < 30000 {
				n = s
				break
			}
		}
		args := make([]any, 0, n*len(cols))
		for _, r := range rows[:n] {
			if len(r) != len(cols) {
				return fmt.Errorf("insert into %s: %d values for %d columns", table, len(r), len(cols))
			}
			args = append(args, r...)
		}
		q := t.texts.get(insertText(table, cols, n, suffix, scoped), scoped)
		if _, err := t.c.exec(ctx, q, t.args(args)); err != nil {
			return fmt.Errorf("insert into %s: %w", table, err)
		}
		rows = rows[n:]
	}
	return nil
}

func insertText(table string, cols []string, n int, suffix string, scoped bool) string {
	ai, av := "", ""
	if scoped {
		ai, av = "{ai}", "{av}"
	}
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + "(" + ai + strings.Join(cols, ", ") + ") VALUES ")
	one := "(" + av + strings.Repeat("?, ", len(cols)-1) + "?)"
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(one)
	}
	if suffix != "" {
		b.WriteString(" " + suffix)
	}
	return b.String()
}

// dbConn is one connection with its prepared statements. On PostgreSQL the driver keeps them.
type dbConn struct {
	*sql.Conn
	stmts map[string]*sql.Stmt // nil on PostgreSQL
}

// maxStmts bounds the prepared statements of one SQLite connection.
const maxStmts = 200

// stmt returns the prepared statement of text, nil when it is to be run as it is.
func (c *dbConn) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if c.stmts == nil {
		return nil, nil
	}
	if st, ok := c.stmts[text]; ok {
		return st, nil
	}
	if len(c.stmts) >= maxStmts {
		return nil, nil
	}
	st, err := c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	c.stmts[text] = st
	return st, nil
}

func (c *dbConn) exec(ctx context.Context, text string, args []any) (int64, error) {
	st, err := c.stmt(ctx, text)
	if err != nil {
		return 0, err
	}
	var res sql.Result
	if st != nil {
		res, err = st.ExecContext(ctx, args...)
	} else {
		res, err = c.ExecContext(ctx, text, args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// trim closes the prepared statements when there are many: queries put together from filters have many forms. Called
// between transactions.
func (c *dbConn) trim() {
	if len(c.stmts) < maxStmts {
		return
	}
	for _, st := range c.stmts {
		st.Close()
	}
	clear(c.stmts)
}

// close gives the connection back; broken says that nobody may use it again.
func (c *dbConn) close(broken bool) error {
	for _, st := range c.stmts {
		st.Close()
	}
	if broken {
		c.Raw(func(any) error { return driver.ErrBadConn })
	}
	return c.Conn.Close()
}

// source hands out connections: a SQLite file or a PostgreSQL pool.
type source interface {
	// acquire returns a connection and what gives it back.
	acquire(ctx context.Context, write bool) (*dbConn, func(broken bool), error)
	// begin returns the statement that starts a transaction.
	begin(write bool) string
}

// transact runs fn in a transaction on a connection of src.
func transact(ctx context.Context, src source, x *texts, account string, write bool, fn func(*tx) error) (err error) {
	c, release, err := src.acquire(ctx, write)
	if err != nil {
		return storeError(err)
	}
	broken := true
	defer func() {
		if p := recover(); p != nil { // also the SQLite driver's way to say that memory is exhausted
			err = mail.E(mail.Internal, "store", "", fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack()))
		}
		release(broken)
	}()
	if _, err := c.exec(ctx, src.begin(write), nil); err != nil {
		return storeError(err)
	}
	end := context.WithoutCancel(ctx)
	err = fn(&tx{c: c, texts: x, account: account})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_, rerr := c.exec(end, "ROLLBACK", nil)
		broken = rerr != nil
		return storeError(err)
	}
	if _, err := c.exec(end, "COMMIT", nil); err != nil {
		if _, rerr := c.exec(end, "ROLLBACK", nil); rerr == nil {
			broken = x.d == postgres
		}
		if pe := (*pgconn.PgError)(nil); x.d == postgres && !errors.As(err, &pe) {
			return errors.Join(errUnanswered, storeError(err))
		}
		return storeError(err)
	}
	broken = false
	return nil
}

// errUnanswered is in the chain when a connection broke at a COMMIT: it may have taken place or not.
var errUnanswered = errors.New("the answer to COMMIT was lost")

// look runs fn, which makes one query and no more, without a transaction: on PostgreSQL that is one round trip, not three.
func look(ctx context.Context, src source, x *texts, account string, fn func(*tx) error) (err error) {
	c, release, err := src.acquire(ctx, false)
	if err != nil {
		return storeError(err)
	}
	broken := true
	defer func() {
		if p := recover(); p != nil {
			err = mail.E(mail.Internal, "store", "", fmt.Errorf("panic in a query: %v\n%s", p, debug.Stack()))
		}
		release(broken)
	}()
	err = fn(&tx{c: c, texts: x, account: account, looking: true})
	broken = false // the pools notice themselves when a connection is dead
	return storeError(err)
}

// controlDB is the control store: write and read as for mailDB, without account markers.
type controlDB struct {
	src   source
	texts *texts
}

func (d *controlDB) write(ctx context.Context, fn func(*tx) error) error {
	return transact(ctx, d.src, d.texts, "", true, fn)
}

func (d *controlDB) read(ctx context.Context, fn func(*tx) error) error {
	return transact(ctx, d.src, d.texts, "", false, fn)
}

// look is read for a single query.
func (d *controlDB) look(ctx context.Context, fn func(*tx) error) error {
	return look(ctx, d.src, d.texts, "", fn)
}

// mailDB is one account's mailbox database. Transactions must not be nested.
type mailDB struct {
	id     mail.AccountID
	src    source
	texts  *texts
	blobs  *blobStore
	search *searchIndex
	turn   chan struct{} // holds one token: one writer of this process at a time
}

// write runs fn in a transaction of its own: all or nothing, one at a time for the account, over all servers.
func (d *mailDB) write(ctx context.Context, fn func(*tx) error) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return storeError(ctx.Err())
	}
	return transact(ctx, d.src, d.texts, string(d.id), true, func(t *tx) error {
		if t.texts.d == postgres { // the row lock makes commit order the order of Seq
			var one int
			err := t.row(ctx, "SELECT 1 FROM state WHERE {a}1=1 FOR UPDATE").Scan(&one)
			if errors.Is(err, sql.ErrNoRows) {
				return mail.E(mail.NotFound, "store", "this account does not exist", nil)
			}
			if err != nil {
				return err
			}
		}
		return fn(t)
	})
}

// read runs fn on one snapshot of the mailbox, beside any writer.
func (d *mailDB) read(ctx context.Context, fn func(*tx) error) error {
	return transact(ctx, d.src, d.texts, string(d.id), false, fn)
}

// retire closes the handle's files for good.
func (d *mailDB) retire(ctx context.Context) error {
	var errs []error
	for _, src := range []source{d.src, d.blobs.src, d.search.src} {
		if f, ok := src.(*sqliteFile); ok {
			errs = append(errs, f.retire(context.WithoutCancel(ctx)))
		}
	}
	return errors.Join(errs...)
}

func stopping() error {
	return mail.E(mail.Unavailable, "store", "the server is stopping", errClosed)
}

// errClosed is why a handle is refused after Close or DeleteAccount.
var errClosed = errors.New("store is closed")
