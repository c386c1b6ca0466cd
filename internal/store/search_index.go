package store

import (
	"container/list"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// searchVersion is of the terms and blocks that this program makes; indexes of another one are made again.
const searchVersion = 6

// Block numbers within a unit: the head of a segment, its terms from 1 on, and texts.
const (
	unitBits  = 20
	textsFrom = 1 << 19
)

// searchIndex is the search index of one account: a reader of the change log with a cursor of its own.
type searchIndex struct {
	id    mail.AccountID
	src   source
	texts *texts
	box   *vault.Box
	cache *blockCache

	turn chan struct{} // holds one token while somebody writes

	mu      sync.Mutex
	changed chan struct{} // closed at the next commit
}

// searchState is the row of search_state.
type searchState struct {
	version  int64 // 0: nothing yet
	cursor   int64
	below    int64
	docs     int64
	nextUnit int64
}

// segment is a row of search_segments.
type segment struct {
	id, docs, dead int64
	list           []byte // sealed
}

// read runs fn on one snapshot of the index. t is a transaction on the mailbox, if there is one: on PostgreSQL it serves both.
func (x *searchIndex) read(ctx context.Context, t *tx, fn func(*tx) error) error {
	if t != nil && t.texts.d == postgres {
		return fn(t)
	}
	return transact(ctx, x.src, x.texts, string(x.id), false, fn)
}

// write runs fn in a transaction of its own. The caller holds the turn.
func (x *searchIndex) write(ctx context.Context, fn func(*tx) error) error {
	err := transact(ctx, x.src, x.texts, string(x.id), true, func(t *tx) error {
		if t.texts.d == postgres { // against an erasure under way: it takes this row first and leaves none
			var one int
			err := t.row(ctx, "SELECT 1 FROM state WHERE {a}1=1 FOR KEY SHARE").Scan(&one)
			if errors.Is(err, sql.ErrNoRows) {
				return noAccount(nil)
			}
			if err != nil {
				return err
			}
		}
		return fn(t)
	})
	if err == nil {
		x.mu.Lock()
		if x.changed != nil {
			close(x.changed)
			x.changed = nil
		}
		x.mu.Unlock()
	}
	return err
}

// next returns a channel that is closed at the next commit.
func (x *searchIndex) next() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.changed == nil {
		x.changed = make(chan struct{})
	}
	return x.changed
}

const readSearchState = "SELECT version, cursor, below, docs, next_unit FROM search_state WHERE {a}1=1"

func scanSearchState(r *sql.Row) (s searchState, err error) {
	err = r.Scan(&s.version, &s.cursor, &s.below, &s.docs, &s.nextUnit)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return s, err
}

func (x *searchIndex) state(ctx context.Context, t *tx) (searchState, error) {
	return scanSearchState(t.row(ctx, readSearchState))
}

// own is state in a writing transaction, until whose end no other server writes.
func (x *searchIndex) own(ctx context.Context, t *tx) (searchState, error) {
	if t.texts.d == postgres {
		return scanSearchState(t.row(ctx, readSearchState+" FOR UPDATE"))
	}
	return x.state(ctx, t)
}

// errSearchWritten is that another server has written the index since its state was read.
var errSearchWritten = mail.E(mail.Unavailable, "index", "somebody else writes this index", nil)

// readAs is read on an index that is as it was: the blocks of segments that were read then may else be gone.
func (x *searchIndex) readAs(ctx context.Context, was searchState, fn func(*tx) error) error {
	return x.read(ctx, nil, func(t *tx) error {
		if now, err := x.state(ctx, t); err != nil {
			return err
		} else if now != was {
			return errSearchWritten
		}
		return fn(t)
	})
}

// writeAs is write on an index that is as it was.
func (x *searchIndex) writeAs(ctx context.Context, was searchState, fn func(*tx) error) error {
	return x.write(ctx, func(t *tx) error {
		if now, err := x.own(ctx, t); err != nil {
			return err
		} else if now != was {
			return errSearchWritten
		}
		return fn(t)
	})
}

func (x *searchIndex) putState(ctx context.Context, t *tx, s searchState) error {
	args := []any{s.version, s.cursor, s.below, s.docs, s.nextUnit}
	n, err := t.exec(ctx, "UPDATE search_state SET version=?, cursor=?, below=?, docs=?, next_unit=? WHERE {a}1=1", args...)
	if err == nil && n == 0 {
		_, err = t.exec(ctx, "INSERT INTO search_state({ai}version, cursor, below, docs, next_unit) VALUES({av}?, ?, ?, ?, ?)", args...)
	}
	return err
}

func (x *searchIndex) segments(ctx context.Context, t *tx) ([]segment, error) {
	var out []segment
	err := each(ctx, t, "SELECT id, docs, dead, dead_list FROM search_segments WHERE {a}1=1 ORDER BY id", nil, func(r *sql.Rows) error {
		var s segment
		err := r.Scan(&s.id, &s.docs, &s.dead, &s.list)
		out = append(out, s)
		return err
	})
	return out, err
}

func (x *searchIndex) place(block int64) string {
	return fmt.Sprintf("search|%s|%d", x.id, block)
}

func (x *searchIndex) deadPlace(unit, dead int64) string {
	return fmt.Sprintf("search dead|%s|%d|%d", x.id, unit, dead)
}

// live returns the messages of a segment that are not dead.
func (x *searchIndex) live(s *segment) (bitset, error) {
	b := newBitset(int(s.docs))
	b.all(int(s.docs))
	if s.dead == 0 {
		return b, nil
	}
	plain, err := x.box.Open(x.deadPlace(s.id, s.dead), s.list)
	if err != nil {
		return nil, x.damaged(s.id<<unitBits, err)
	}
	ok := eachPosting(plain, false, func(d uint32, _ byte) {
		if int64(d) < s.docs {
			b.clear(d)
		}
	})
	if !ok {
		return nil, x.damaged(s.id<<unitBits, vault.ErrDamaged)
	}
	return b, nil
}

// putDead writes which messages of a segment are not live.
func (x *searchIndex) putDead(ctx context.Context, t *tx, s *segment, live bitset) error {
	var plain []byte
	last := uint32(0)
	s.dead = 0
	for d := range uint32(s.docs) {
		if !live.has(int(d)) {
			plain = binary.AppendUvarint(plain, uint64(d-last))
			last = d
			s.dead++
		}
	}
	s.list = x.box.Seal(x.deadPlace(s.id, s.dead), plain)
	_, err := t.exec(ctx, "UPDATE search_segments SET dead=?, dead_list=? WHERE {a}id=?", s.dead, s.list, s.id)
	return err
}

// errSearchDamaged marks what is wrong with blocks of the index.
var errSearchDamaged = errors.New("the search index is damaged")

func (x *searchIndex) damaged(block int64, err error) error {
	return &mail.Error{Op: "search", Kind: mail.Internal, Account: x.id, Msg: "the search index of this account is damaged; it is being made again", Err: fmt.Errorf("%w: block %d: %w", errSearchDamaged, block, err)}
}

// block reads one block.
func (x *searchIndex) block(ctx context.Context, t *tx, id int64) ([]byte, error) {
	var sealed []byte
	err := t.row(ctx, "SELECT data FROM search_blocks WHERE {a}id = ?", id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, x.damaged(id, vault.ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	plain, err := x.box.Open(x.place(id), sealed)
	if err != nil {
		return nil, x.damaged(id, err)
	}
	return plain, nil
}

// cached returns a decoded block. Blocks other than texts never change, and the texts of messages that left are not asked for.
func cached[T sized](ctx context.Context, x *searchIndex, t *tx, id int64, decode func([]byte) (T, error)) (T, error) {
	key := blockKey{x.id, id}
	if v, ok := x.cache.get(key); ok {
		if v, ok := v.(T); ok {
			return v, nil
		}
	}
	var none T
	plain, err := x.block(ctx, t, id)
	if err != nil {
		return none, err
	}
	v, err := decode(plain)
	if err != nil {
		return none, x.damaged(id, err)
	}
	x.cache.put(key, v)
	return v, nil
}

func (x *searchIndex) head(ctx context.Context, t *tx, s *segment) (*segHead, error) {
	h, err := cached(ctx, x, t, s.id<<unitBits, decodeHead)
	if err == nil && int64(len(h.rows)) != s.docs {
		err = x.damaged(s.id<<unitBits, vault.ErrDamaged)
	}
	return h, err
}

func (x *searchIndex) terms(ctx context.Context, t *tx, s *segment, k int) (*termBlock, error) {
	return cached(ctx, x, t, s.id<<unitBits|int64(2*k+1), decodeTerms)
}

type listBlock []byte

func (l listBlock) size() int64 { return int64(len(l)) }

func (x *searchIndex) lists(ctx context.Context, t *tx, s *segment, k int) (listBlock, error) {
	return cached(ctx, x, t, s.id<<unitBits|int64(2*k+2), func(b []byte) (listBlock, error) { return b, nil })
}

// textBlocks reads blocks of texts, all at once.
func (x *searchIndex) textBlocks(ctx context.Context, t *tx, ids []int64) (map[int64]*textBlock, error) {
	out := make(map[int64]*textBlock, len(ids))
	var missing []int64
	for _, id := range sortedSet(ids) {
		if v, ok := x.cache.get(blockKey{x.id, id}); ok {
			out[id] = v.(*textBlock)
		} else {
			missing = append(missing, id)
		}
	}
	err := queryIn(ctx, t, "SELECT id, data FROM search_blocks WHERE {a}id IN (??)", nil, missing, func(r *sql.Rows) error {
		var id int64
		var sealed sql.RawBytes
		if err := r.Scan(&id, &sealed); err != nil {
			return err
		}
		if out[id] != nil {
			return nil
		}
		plain, err := x.box.Open(x.place(id), sealed)
		if err != nil {
			return x.damaged(id, err)
		}
		b, err := decodeTexts(plain)
		if err != nil {
			return x.damaged(id, err)
		}
		x.cache.put(blockKey{x.id, id}, b)
		out[id] = b
		return nil
	})
	return out, err
}

// clear drops everything; the next Index begins anew.
func (x *searchIndex) clear(ctx context.Context, t *tx) error {
	s, err := x.own(ctx, t)
	if err != nil {
		return err
	}
	for _, q := range []string{"DELETE FROM search_blocks WHERE {a}1=1", "DELETE FROM search_segments WHERE {a}1=1"} {
		if _, err := t.exec(ctx, q); err != nil {
			return err
		}
	}
	return x.putState(ctx, t, searchState{nextUnit: max(s.nextUnit, 1)}) // numbers are never used again: blocks may be cached
}

// removeUnit removes the blocks of a segment, texts aside.
func (x *searchIndex) removeUnit(ctx context.Context, t *tx, unit int64) error {
	if _, err := t.exec(ctx, "DELETE FROM search_segments WHERE {a}id = ?", unit); err != nil {
		return err
	}
	_, err := t.exec(ctx, "DELETE FROM search_blocks WHERE {a}id >= ? AND id < ?", unit<<unitBits, unit<<unitBits|textsFrom)
	return err
}

// blockSink gathers sealed blocks of a unit for one transaction.
type blockSink struct {
	x    *searchIndex
	unit int64
	rows [][]any
}

func (s *blockSink) put(n int64, plain []byte) error {
	if len(plain) > vault.MaxBoxed {
		return mail.E(mail.Internal, "index", "", fmt.Errorf("block %d of a segment has %d bytes", n, len(plain)))
	}
	id := s.unit<<unitBits | n
	s.rows = append(s.rows, []any{id, s.x.box.Seal(s.x.place(id), plain)})
	return nil
}

func (s *blockSink) write(ctx context.Context, t *tx) error {
	for part := range slices.Chunk(s.rows, 16) {
		if err := t.insertMany(ctx, "search_blocks", []string{"id", "data"}, part, ""); err != nil {
			return err
		}
	}
	return nil
}

func (x *searchIndex) putSegment(ctx context.Context, t *tx, unit int64, h *segHead, sink *blockSink) error {
	if err := sink.put(0, h.encode()); err != nil {
		return err
	}
	if err := sink.write(ctx, t); err != nil {
		return err
	}
	_, err := t.exec(ctx, "INSERT INTO search_segments({ai}id, docs, dead) VALUES({av}?, ?, 0)", unit, len(h.rows))
	return err
}

// searchCacheBytes is how much of all indexes is kept in memory, about.
const searchCacheBytes = 64 << 20

type sized interface{ size() int64 }

type blockKey struct {
	account mail.AccountID
	block   int64
}

// blockCache keeps the blocks that were used last. Safe for concurrent use.
type blockCache struct {
	mu    sync.Mutex
	bytes int64
	m     map[blockKey]*list.Element
	order list.List // of cacheEntry, the last used first
}

type cacheEntry struct {
	key blockKey
	v   sized
}

func newBlockCache() *blockCache { return &blockCache{m: map[blockKey]*list.Element{}} }

func (c *blockCache) get(k blockKey) (sized, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[k]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(cacheEntry).v, true
}

func (c *blockCache) put(k blockKey, v sized) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.m[k]; ok {
		c.drop(e)
	}
	c.m[k] = c.order.PushFront(cacheEntry{k, v})
	for c.bytes += v.size(); c.bytes > searchCacheBytes && c.order.Len() > 1; {
		c.drop(c.order.Back())
	}
}

func (c *blockCache) drop(e *list.Element) {
	entry := c.order.Remove(e).(cacheEntry)
	delete(c.m, entry.key)
	c.bytes -= entry.v.size()
}

// forget removes what is kept of an account.
func (c *blockCache) forget(id mail.AccountID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.m {
		if k.account == id {
			c.drop(e)
		}
	}
}
