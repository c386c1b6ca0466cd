package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/internal/vault"
)

const (
	indexBatch   = 1000     // messages, or changes, of one step
	indexBytes   = 12 << 20 // of text of one step, about
	textsInBlock = 16 << 10 // bytes; a longer text has a block of its own
	smallRaw     = 256 << 10
)

// SearchProgress says how far the search index of an account is.
type SearchProgress struct {
	Indexed int64 // messages that search looks at
	Total   int64 // messages that there are
	Behind  bool  // there is more to take into the index now; without it, what is missing waits for its bytes
}

// SearchProgress reads how far the search index is.
func (m *Mailbox) SearchProgress(ctx context.Context) (p SearchProgress, err error) {
	err = m.db.read(ctx, func(t *tx) error {
		p, _, err = m.searchProgress(ctx, t)
		return err
	})
	return p, err
}

func (m *Mailbox) searchProgress(ctx context.Context, t *tx) (p SearchProgress, s searchState, err error) {
	var seq int64
	if err := t.row(ctx, "SELECT seq, messages FROM state WHERE {a}1=1").Scan(&seq, &p.Total); err != nil {
		return p, s, err
	}
	err = m.db.search.read(ctx, t, func(t *tx) (err error) {
		s, err = m.db.search.state(ctx, t)
		return err
	})
	if mail.IsKind(err, mail.NotFound) { // open for reading only, and nothing was indexed yet
		err = nil
	}
	p.Indexed = s.docs
	p.Behind = p.Total > 0 && (s.version != searchVersion || s.cursor < seq || s.below != 0 && s.docs < p.Total)
	return p, s, err
}

// AwaitIndex waits until the index has taken in what can be searched of what is stored now, or until done is closed, and
// tells how far it is. It does not wait for what will take long: more than one step of the index, or anything while an
// initial sync goes on, as the index rests then.
func (m *Mailbox) AwaitIndex(ctx context.Context, done <-chan time.Time) (SearchProgress, error) {
	var want int64
	for first := true; ; first = false {
		next := m.db.search.next()
		var p SearchProgress
		var s searchState
		synced := true
		err := m.db.read(ctx, func(t *tx) (err error) {
			p, s, err = m.searchProgress(ctx, t)
			if first {
				err = errors.Join(err, t.row(ctx, "SELECT seq, sync_done FROM state WHERE {a}1=1").Scan(&want, &synced))
			}
			return err
		})
		whole := s.version == searchVersion && s.below == 0
		if err != nil || !p.Behind || whole && s.cursor >= want {
			return p, err
		}
		missing := want - s.cursor
		if !whole {
			missing = p.Total - p.Indexed
		}
		if first && (!synced || missing > indexBatch) {
			return p, nil
		}
		select {
		case <-next:
		case <-done:
			return p, nil
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}

// DropIndex removes the search index. It is made again by whoever calls Index.
func (m *Mailbox) DropIndex(ctx context.Context) error {
	x := m.db.search
	if err := x.take(ctx); err != nil {
		return err
	}
	defer x.give()
	return m.dropIndex(ctx)
}

func (m *Mailbox) dropIndex(ctx context.Context) error {
	x := m.db.search
	defer x.cache.forget(x.id)
	err := x.write(ctx, func(t *tx) error { return x.clear(ctx, t) })
	if f, ok := x.src.(*sqliteFile); ok && (err != nil && ctx.Err() == nil) {
		return f.wipe(ctx) // damaged beyond that
	}
	return err
}

func (x *searchIndex) take(ctx context.Context) error {
	select {
	case x.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return storeError(ctx.Err())
	}
}

func (x *searchIndex) give() { <-x.turn }

// Index takes the next changes into the search index, a bounded amount of work, and tells whether there is more to do. A
// damaged index is dropped and begun anew.
func (m *Mailbox) Index(ctx context.Context) (more bool, err error) {
	x := m.db.search
	if err := x.take(ctx); err != nil {
		return false, err
	}
	defer x.give()
	more, err = m.index(ctx)
	if err != nil && ctx.Err() == nil && (errors.Is(err, errSearchDamaged) || isDamaged(err)) {
		m.log.Warn("the search index is damaged and made again", "op", "index", "account", m.id, "err", err)
		return true, m.dropIndex(ctx)
	}
	return more, err
}

// target is a message that may have to be taken into the index.
type target struct {
	row      int64
	seq      int64 // of the change that tells of it; 0 when it was there before
	gone     bool
	sum      uint32 // of its bytes; 0: they are not held
	settled  bool   // its bytes are held, or will not come soon
	raw      int64
	size     int64
	indexed  bool
	haveSum  uint32                                  // 0: its header only
	headOnly func() ([query.NumFields]string, int32) // the text without its bytes
}

func (m *Mailbox) index(ctx context.Context) (more bool, err error) {
	x := m.db.search
	var s searchState
	var segs []segment
	if err := x.read(ctx, nil, func(t *tx) error {
		if s, err = x.state(ctx, t); err == nil {
			segs, err = x.segments(ctx, t)
		}
		return err
	}); err != nil {
		return false, err
	}
	var list []target
	next := s
	var seq int64
	anew := false
	if err := m.db.read(ctx, func(t *tx) error {
		var oldest, stored int64
		if err := t.row(ctx, "SELECT seq, min_seq, messages FROM state WHERE {a}1=1").Scan(&seq, &oldest, &stored); err != nil {
			return err
		}
		if s.version != searchVersion || s.cursor > seq || s.cursor+1 < oldest {
			next = searchState{version: searchVersion, cursor: seq, nextUnit: max(s.nextUnit, 1)}
			if stored > 0 {
				next.below = 1 << 62
			}
			anew = true
			return nil
		}
		if list, next.cursor, err = m.changedTargets(ctx, t, s.cursor); err != nil || next.cursor > s.cursor || s.below == 0 {
			return err
		}
		list, next.below, err = m.olderTargets(ctx, t, s.below)
		return err
	}); err != nil {
		return false, err
	}
	if anew {
		x.cache.forget(x.id)
		return true, x.write(ctx, func(t *tx) error {
			if err := x.clear(ctx, t); err != nil {
				return err
			}
			return x.putState(ctx, t, next)
		})
	}
	if next == s {
		return false, nil
	}
	if err := m.markIndexed(ctx, s, segs, list); err != nil {
		return false, err
	}
	docs, dead, took, err := m.readDocs(ctx, list)
	if err != nil {
		return false, err
	}
	if took < len(list) { // enough for one step: go on from the message after the last
		if last := list[took-1]; last.seq > 0 {
			next.cursor = last.seq
		} else {
			next.below = last.row
		}
	}
	if err := m.commitIndex(ctx, s, next, segs, docs, dead); err != nil {
		return false, err
	}
	return true, nil
}

// changedTargets returns the messages that the next changes tell of, each at its last change, and the last change.
func (m *Mailbox) changedTargets(ctx context.Context, t *tx, after int64) ([]target, int64, error) {
	last := map[publicID]int64{}
	left := map[int64]int64{} // rows of messages that were deleted, and the last change that tells of it
	cursor := after
	err := changesAfter(ctx, t, mail.Seq(after), indexBatch, func(c mail.Change) error {
		cursor = int64(c.Seq)
		if c.Kind != mail.MessageCreated && c.Kind != mail.MessageUpdated && c.Kind != mail.MessageDeleted {
			return nil
		}
		if id, ok := parseMessageID(mail.MessageID(c.Object)); ok {
			last[id] = cursor
		}
		if c.Kind == mail.MessageDeleted && c.Data.Row != 0 {
			left[c.Data.Row] = cursor
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	publics := make([][]byte, 0, len(last))
	for id := range last {
		publics = append(publics, bytes.Clone(id[:]))
	}
	var list []target
	there := map[int64]bool{}
	err = queryIn(ctx, t, "SELECT public, "+targetColumns+" FROM messages WHERE {a}public IN (??)", nil, publics, func(r *sql.Rows) error {
		var public []byte
		g, err := scanTarget(r, &public)
		if err != nil {
			return err
		}
		if there[g.row] {
			return nil
		}
		there[g.row] = true
		g.seq = last[publicID(public)]
		list = append(list, g)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	for row, seq := range left { // also of a message that came again in another row
		if !there[row] {
			list = append(list, target{row: row, seq: seq, gone: true})
		}
	}
	// A row may have been given to another message since: then that one is told of later.
	var gone []int64
	for i := range list {
		if list[i].gone {
			gone = append(gone, list[i].row)
		}
	}
	taken := map[int64]bool{}
	if err := queryIn(ctx, t, "SELECT id FROM messages WHERE {a}id IN (??)", nil, gone, func(r *sql.Rows) error {
		var row int64
		err := r.Scan(&row)
		taken[row] = true
		return err
	}); err != nil {
		return nil, 0, err
	}
	list = slices.DeleteFunc(list, func(g target) bool { return g.gone && taken[g.row] })
	slices.SortFunc(list, func(a, b target) int { return cmp.Compare(a.seq, b.seq) })
	return list, cursor, nil
}

const targetColumns = "id, digest, body_state, raw_blob, size, subject, addresses, sent_at"

func scanTarget(r *sql.Rows, before ...any) (g target, err error) {
	var digest []byte
	var state mail.BodyState
	var raw, sent sql.NullInt64
	var subject string
	var addrs sql.NullString
	if err := r.Scan(append(before, &g.row, &digest, &state, &raw, &g.size, &subject, &addrs, &sent)...); err != nil {
		return g, err
	}
	g.raw = raw.Int64
	g.sum = digestSum(digest)
	g.settled = g.raw != 0 || state == mail.BodyQuarantined
	if g.raw == 0 {
		g.sum = 0
	}
	g.headOnly = func() ([query.NumFields]string, int32) {
		var a addresses
		if addrs.Valid {
			_ = json.Unmarshal([]byte(addrs.String), &a) // damaged ones are Check's to tell
		}
		return headDoc(subject, &a, fromMillis(sent))
	}
	return g, nil
}

// digestSum is what a segment keeps of a digest.
func digestSum(digest []byte) uint32 {
	if len(digest) < 4 {
		return 0
	}
	return max(binary.BigEndian.Uint32(digest), 1)
}

// olderTargets returns the newest messages below a row, and where to go on, 0 after the last.
func (m *Mailbox) olderTargets(ctx context.Context, t *tx, below int64) (list []target, next int64, err error) {
	err = each(ctx, t, "SELECT "+targetColumns+" FROM messages WHERE {a}id < ? ORDER BY id DESC LIMIT ?", []any{below, indexBatch}, func(r *sql.Rows) error {
		g, err := scanTarget(r)
		list = append(list, g)
		return err
	})
	if len(list) == indexBatch {
		next = list[len(list)-1].row
	}
	return list, next, err
}

// markIndexed finds out which of the messages are in the index.
func (m *Mailbox) markIndexed(ctx context.Context, was searchState, segs []segment, list []target) error {
	x := m.db.search
	if len(list) == 0 {
		return nil
	}
	return x.readAs(ctx, was, func(t *tx) error {
		for i := range segs {
			h, err := x.head(ctx, t, &segs[i])
			if err != nil {
				return err
			}
			live, err := x.live(&segs[i])
			if err != nil {
				return err
			}
			for k := range list {
				if at, ok := h.find(list[k].row); ok && live.has(at) {
					list[k].indexed, list[k].haveSum = true, h.sums[at]
				}
			}
		}
		return nil
	})
}

// readDocs reads the texts of the messages that have to be taken in, up to a bound, and the rows that have to go. took is
// how many of the list that covers.
func (m *Mailbox) readDocs(ctx context.Context, list []target) (docs []*searchDoc, dead []int64, took int, err error) {
	total := 0
	for rest := list; len(rest) > 0; {
		part := rest[:atOnce(rest)]
		rest = rest[len(part):]
		var small []int64
		for _, g := range part {
			if g.wanted() && g.raw != 0 && g.size <= smallRaw {
				small = append(small, g.raw)
			}
		}
		raws, _, err := m.db.blobs.readAll(ctx, small, smallRaw)
		if err != nil {
			return nil, nil, 0, err
		}
		read := make([]*searchDoc, len(part))
		if err := parallel(len(part), runtime.GOMAXPROCS(0), func(i int) (err error) {
			if part[i].wanted() {
				read[i], err = m.docOfTarget(ctx, &part[i], raws)
			}
			return err
		}); err != nil {
			return nil, nil, 0, err
		}
		for i := range part {
			g := &part[i]
			if g.indexed && (g.gone || g.haveSum != g.sum) {
				dead = append(dead, g.row)
			}
			if read[i] != nil {
				docs = append(docs, read[i])
				total += read[i].size()
			}
			took++
			if total >= indexBytes {
				return docs, dead, took, nil
			}
		}
	}
	return docs, dead, took, nil
}

// atOnce returns how many of the first messages are read together: memory has to hold them.
func atOnce(list []target) int {
	n, size := 0, int64(0)
	for n < len(list) && n < 64 && (n == 0 || size+list[n].size <= indexBytes/4) {
		size += list[n].size
		n++
	}
	return n
}

// docOfTarget reads the text of a message. raws are the bytes of small ones.
func (m *Mailbox) docOfTarget(ctx context.Context, g *target, raws map[int64][]byte) (*searchDoc, error) {
	d := &searchDoc{row: g.row, sum: g.sum}
	var err error
	switch raw, ok := raws[g.raw]; {
	case g.raw == 0:
		d.text, d.day = g.headOnly()
	case ok:
		d.text, d.day, err = m.textOf(bytes.NewReader(raw))
	default:
		d.text, d.day, err = m.docOfBlob(ctx, g.raw)
	}
	if errors.Is(err, errPanicked) { // nor does it stop others, and to read it again would be of no use
		d.text, d.day = g.headOnly()
		return d, nil
	}
	// One bad body stops nobody: the message can be found by its header until it has its bytes again. Of one that was deleted
	// meanwhile the log tells.
	if errors.Is(err, vault.ErrDamaged) || mail.IsKind(err, mail.NotFound) {
		d.sum, err = 0, nil
		d.text, d.day = g.headOnly()
	}
	return d, err
}

// wanted tells whether the message has to be read.
func (g *target) wanted() bool {
	return !g.gone && g.settled && (!g.indexed || g.haveSum != g.sum)
}

func (m *Mailbox) docOfBlob(ctx context.Context, id int64) (text [query.NumFields]string, day int32, err error) {
	r, err := m.OpenBlob(ctx, id)
	if err != nil {
		return text, 0, err
	}
	defer r.Close()
	return m.textOf(struct{ io.ReadSeeker }{r})
}

var errPanicked = errors.New("the parser panicked")

// textOf is docOf, that does not panic.
func (m *Mailbox) textOf(raw io.ReadSeeker) (text [query.NumFields]string, day int32, err error) {
	defer func() {
		if v := recover(); v != nil {
			if m.panicked != nil {
				m.panicked()
			}
			m.log.Error("panic while a message was read for the search index; it is found by its header only", "op", "index", "account", m.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return m.docOf(raw)
}

// commitIndex writes one step: the docs as a segment of their own, the dead out of theirs, and the state.
func (m *Mailbox) commitIndex(ctx context.Context, was, next searchState, segs []segment, docs []*searchDoc, dead []int64) error {
	x := m.db.search
	unit := next.nextUnit
	sink := &blockSink{x: x, unit: unit}
	var h *segHead
	if len(docs) > 0 {
		next.nextUnit++
		var err error
		if h, err = buildSegment(docs, sink); err != nil {
			return err
		}
	}
	return x.writeAs(ctx, was, func(t *tx) error {
		gone, err := x.bury(ctx, t, segs, dead)
		if err != nil {
			return err
		}
		next.docs += int64(len(docs)) - gone
		if h != nil {
			if err := x.putSegment(ctx, t, unit, h, sink); err != nil {
				return err
			}
		}
		return x.putState(ctx, t, next)
	})
}

// bury takes messages out of their segments, and their texts out of the blocks. It returns how many there were.
func (x *searchIndex) bury(ctx context.Context, t *tx, segs []segment, rows []int64) (int64, error) {
	var n int64
	if len(rows) == 0 {
		return 0, nil
	}
	out := map[int64][]int64{} // block of texts: rows
	for i := range segs {
		s := &segs[i]
		h, err := x.head(ctx, t, s)
		if err != nil {
			return 0, err
		}
		live, err := x.live(s)
		if err != nil {
			return 0, err
		}
		found := int64(0)
		for _, row := range rows {
			if at, ok := h.find(row); ok && live.has(at) {
				live.clear(uint32(at))
				out[h.texts[at]] = append(out[h.texts[at]], row)
				found++
			}
		}
		if found == 0 {
			continue
		}
		n += found
		if live.count() == 0 {
			err = x.removeUnit(ctx, t, s.id)
		} else {
			err = x.putDead(ctx, t, s, live)
		}
		if err != nil {
			return 0, err
		}
	}
	for _, block := range sortedKeys(out) {
		if err := x.cutTexts(ctx, t, block, out[block]); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// cutTexts removes the texts of messages from a block.
func (x *searchIndex) cutTexts(ctx context.Context, t *tx, block int64, rows []int64) error {
	plain, err := x.block(ctx, t, block)
	if err != nil {
		return err
	}
	var kept []byte
	r := bytesReader{b: plain}
	for len(r.b) > 0 {
		from := r.b
		row := int64(r.uint())
		r.take(r.uint())
		if !slices.Contains(rows, row) {
			kept = append(kept, from[:len(from)-len(r.b)]...)
		}
	}
	if len(kept) == 0 {
		_, err = t.exec(ctx, "DELETE FROM search_blocks WHERE {a}id=?", block)
	} else {
		_, err = t.exec(ctx, "UPDATE search_blocks SET data=? WHERE {a}id=?", x.box.Seal(x.place(block), kept), block)
	}
	return err
}

// posting is the list of one term while a segment is built.
type posting struct {
	docs  []uint32
	masks []byte
}

// buildSegment makes the blocks of a segment, and those of its texts.
func buildSegment(docs []*searchDoc, sink *blockSink) (*segHead, error) {
	slices.SortFunc(docs, func(a, b *searchDoc) int { return cmp.Compare(a.row, b.row) })
	h := &segHead{}
	terms := map[string]*posting{}
	var block, key []byte
	number := int64(textsFrom)
	flush := func() error {
		if len(block) == 0 {
			return nil
		}
		err := sink.put(number, block)
		block = block[:0]
		number++
		return err
	}
	for i, d := range docs {
		if len(block) > 0 && len(block)+d.size() > textsInBlock {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		h.rows, h.sums = append(h.rows, d.row), append(h.sums, d.sum)
		h.texts = append(h.texts, sink.unit<<unitBits|number)
		block = d.encode(block)
		for f := range query.Signed { // every field but Signed
			group := groupOf(f)
			query.Terms(query.Strip(d.text[f]), func(term string) {
				key = append(append(key[:0], group), term...)
				p := terms[string(key)]
				if p == nil {
					p = &posting{}
					terms[string(key)] = p
				}
				if n := len(p.docs); n == 0 || p.docs[n-1] != uint32(i) {
					p.docs = append(p.docs, uint32(i))
					if group == groupFields {
						p.masks = append(p.masks, 1<<f)
					}
				} else if group == groupFields {
					p.masks[n-1] |= 1 << f
				}
			})
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	w := &segWriter{emit: sink.put}
	for _, k := range sortedKeys(terms) {
		if err := w.add(k, terms[k].docs, terms[k].masks); err != nil {
			return nil, err
		}
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	h.firsts = w.firsts
	return h, nil
}
