package store

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"slices"
	"strings"
)

const (
	// mergeWidth is how many segments of about one size become one.
	mergeWidth = 8
	// mergeBehind is how many there have to be while the index lacks much of what it will have: an initial sync takes folder after
	// folder, each from its newest message down, and who waits can put those together that are of one time.
	mergeBehind = 8 * mergeWidth
)

// chooseMerge returns the segments to make one of: neighbours in time out of enough of one size, or one of which much is dead. nil: all
// is well. newest returns the newest row of a segment.
//
// A page of the newest mail has to ask every segment that reaches up to there. When neighbours become one, that stays few.
func chooseMerge(segs []segment, enough int, newest func(*segment) (int64, error)) ([]segment, error) {
	levels := map[int][]segment{}
	for _, s := range segs {
		if s.dead*4 > s.docs {
			return []segment{s}, nil
		}
		if s.docs <= maxSegment/mergeWidth {
			levels[bits.Len64(uint64(s.docs))/3] = append(levels[bits.Len64(uint64(s.docs))/3], s)
		}
	}
	for _, l := range sortedKeys(levels) {
		list := levels[l]
		if len(list) < enough {
			continue
		}
		rows := map[int64]int64{}
		for i := range list {
			row, err := newest(&list[i])
			if err != nil {
				return nil, err
			}
			rows[list[i].id] = row
		}
		slices.SortFunc(list, func(a, b segment) int { return cmp.Compare(rows[b.id], rows[a.id]) })
		n, total := 0, int64(0)
		for n < min(len(list), 2*mergeWidth) && total+list[n].docs <= maxSegment {
			total += list[n].docs
			n++
		}
		return list[:n], nil
	}
	return nil, nil
}

// Merge makes one segment of several if that is due, and tells whether there may be more to do. It may take seconds; Index and searches go
// on meanwhile. A damaged index is dropped, and made anew by Index.
func (m *Mailbox) Merge(ctx context.Context) (more bool, err error) {
	more, err = m.merge(ctx, func() {})
	if err != nil && ctx.Err() == nil && (errors.Is(err, errSearchDamaged) || isDamaged(err)) {
		m.log.Warn("the search index is damaged and made again", "op", "merge", "account", m.id, "err", err)
		return true, m.DropIndex(ctx)
	}
	return more, err
}

// merge is Merge; merged is called between reading and writing.
func (m *Mailbox) merge(ctx context.Context, merged func()) (more bool, err error) {
	x := m.db.search
	list, unit, err := m.beginMerge(ctx)
	if err != nil || list == nil {
		return false, err
	}
	sink := &blockSink{x: x, unit: unit}
	var h *segHead
	var sources []*mergeSource
	err = x.read(ctx, nil, func(t *tx) (err error) {
		if list, err = x.still(ctx, t, list); err == nil && list != nil {
			h, sources, err = x.mergeSegments(ctx, t, list, sink)
		}
		return err
	})
	if err != nil || list == nil {
		return true, err
	}
	merged()
	if err := x.take(ctx); err != nil {
		return false, err
	}
	defer x.give()
	return true, x.write(ctx, func(t *tx) error {
		next, err := x.own(ctx, t)
		if err != nil {
			return err
		}
		now, err := x.still(ctx, t, list)
		if err != nil || now == nil {
			return err
		}
		live := newBitset(len(h.rows))
		live.all(len(h.rows))
		for i := range now {
			there, err := x.live(&now[i])
			if err != nil {
				return err
			}
			for d, to := range sources[i].to {
				if to >= 0 && !there.has(d) { // buried since it was read
					live.clear(uint32(to))
				}
			}
			if err := x.removeUnit(ctx, t, now[i].id); err != nil {
				return err
			}
		}
		if n := live.count(); n > 0 {
			if err := x.putSegment(ctx, t, unit, h, sink); err != nil {
				return err
			}
			if n < len(h.rows) {
				if err := x.putDead(ctx, t, &segment{id: unit, docs: int64(len(h.rows))}, live); err != nil {
					return err
				}
			}
		}
		next.nextUnit++ // whoever has read segments before has to read them anew
		return x.putState(ctx, t, next)
	})
}

// beginMerge returns which segments are to become one, nil for none, and the number of that one.
func (m *Mailbox) beginMerge(ctx context.Context) (list []segment, unit int64, err error) {
	x := m.db.search
	var seq int64
	var synced bool
	if err := m.db.read(ctx, func(t *tx) error {
		return t.row(ctx, "SELECT seq, sync_done FROM state WHERE {a}1=1").Scan(&seq, &synced)
	}); err != nil {
		return nil, 0, err
	}
	choose := func(t *tx) error {
		s, err := x.state(ctx, t)
		if err != nil {
			return err
		}
		enough := mergeWidth
		if !synced || s.below != 0 || seq-s.cursor > indexBatch {
			enough = mergeBehind
		}
		segs, err := x.segments(ctx, t)
		if err != nil {
			return err
		}
		list, err = chooseMerge(segs, enough, func(s *segment) (int64, error) {
			h, err := x.head(ctx, t, s)
			if err != nil {
				return 0, err
			}
			return h.last(), nil
		})
		return err
	}
	if err := x.read(ctx, nil, choose); err != nil || list == nil {
		return nil, 0, err
	}
	if err := x.take(ctx); err != nil {
		return nil, 0, err
	}
	defer x.give()
	err = x.write(ctx, func(t *tx) error {
		s, err := x.own(ctx, t)
		if err == nil {
			err = choose(t)
		}
		if err != nil || list == nil {
			return err
		}
		unit = s.nextUnit
		s.nextUnit++
		return x.putState(ctx, t, s)
	})
	return list, unit, err
}

// still returns segments as they are now; nil if one of them is gone.
func (x *searchIndex) still(ctx context.Context, t *tx, list []segment) ([]segment, error) {
	now, err := x.segments(ctx, t)
	if err != nil {
		return nil, err
	}
	out := make([]segment, 0, len(list))
	for _, s := range list {
		i := slices.IndexFunc(now, func(n segment) bool { return n.id == s.id })
		if i < 0 {
			return nil, nil
		}
		out = append(out, now[i])
	}
	return out, nil
}

// mergeSource walks the terms of one segment in order.
type mergeSource struct {
	s     *segment
	h     *segHead
	to    []int32 // place in the new segment, -1: dead
	k     int     // block of terms
	i     int     // term in it
	terms *termBlock
	lists listBlock
	key   string
}

// mergeSegments makes one segment of a list; sources tell where each of their messages has its place in it.
func (x *searchIndex) mergeSegments(ctx context.Context, t *tx, list []segment, sink *blockSink) (*segHead, []*mergeSource, error) {
	type doc struct {
		row      int64
		src, doc int
	}
	var docs []doc
	sources := make([]*mergeSource, len(list))
	for i := range list {
		src := &mergeSource{s: &list[i]}
		var err error
		if src.h, err = x.head(ctx, t, src.s); err != nil {
			return nil, nil, err
		}
		live, err := x.live(src.s)
		if err != nil {
			return nil, nil, err
		}
		src.to = make([]int32, len(src.h.rows))
		for d, row := range src.h.rows {
			if src.to[d] = -1; live.has(d) {
				docs = append(docs, doc{row, i, d})
			}
		}
		sources[i] = src
	}
	slices.SortFunc(docs, func(a, b doc) int { return cmp.Compare(a.row, b.row) })
	h := &segHead{}
	for n, d := range docs {
		src := sources[d.src]
		src.to[d.doc] = int32(n)
		h.rows, h.texts, h.sums = append(h.rows, d.row), append(h.texts, src.h.texts[d.doc]), append(h.sums, src.h.sums[d.doc])
	}
	for i, src := range sources {
		if err := src.load(ctx, x, t); err != nil {
			return nil, nil, err
		}
		sources[i] = src
	}
	w := &segWriter{emit: sink.put}
	type hit struct {
		doc  uint32
		mask byte
	}
	var hits []hit
	var out []uint32
	var masks []byte
	for {
		key := ""
		for _, src := range sources {
			if src.terms != nil && (key == "" || src.key < key) {
				key = src.key
			}
		}
		if key == "" {
			break
		}
		hits, out, masks = hits[:0], out[:0], masks[:0]
		for _, src := range sources {
			if src.terms == nil || src.key != key {
				continue
			}
			from, to := src.terms.list(src.i)
			ok := int(to) <= len(src.lists) && eachPosting(src.lists[from:to], key[0] == groupFields, func(d uint32, mask byte) {
				if int(d) < len(src.to) && src.to[d] >= 0 {
					hits = append(hits, hit{uint32(src.to[d]), mask})
				}
			})
			if !ok {
				return nil, nil, x.damaged(src.s.id<<unitBits|int64(2*src.k+2), errSearchDamaged)
			}
			src.i++
			if err := src.load(ctx, x, t); err != nil {
				return nil, nil, err
			}
		}
		if len(hits) == 0 {
			continue
		}
		slices.SortFunc(hits, func(a, b hit) int { return cmp.Compare(a.doc, b.doc) })
		for _, p := range hits {
			out, masks = append(out, p.doc), append(masks, p.mask)
		}
		if err := w.add(strings.Clone(key), out, masks); err != nil {
			return nil, nil, err
		}
	}
	err := w.flush()
	h.firsts = w.firsts
	return h, sources, err
}

// load makes key the term at i, which may be in the next block; terms is nil after the last one. Its blocks do not go through
// the cache: they are about to go.
func (s *mergeSource) load(ctx context.Context, x *searchIndex, t *tx) error {
	if s.terms != nil && s.i >= len(s.terms.lists) {
		s.terms, s.i = nil, 0
		s.k++
	}
	if s.terms == nil {
		if s.k >= len(s.h.firsts) {
			return nil
		}
		base := s.s.id<<unitBits | int64(2*s.k)
		b, err := x.block(ctx, t, base+1)
		if err != nil {
			return err
		}
		if s.terms, err = decodeTerms(b); err != nil {
			return x.damaged(base+1, err)
		}
		if s.lists, err = x.block(ctx, t, base+2); err != nil {
			return err
		}
		if len(s.terms.lists) == 0 {
			return x.damaged(base+1, errSearchDamaged)
		}
	}
	s.key = s.h.firsts[s.k][:1] + s.terms.term(s.i)
	return nil
}
