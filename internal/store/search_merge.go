package store

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"strings"
)

// mergeWidth is how many segments of about one size become one.
const mergeWidth = 8

// chooseMerge returns the segments to make one of: enough of one size, or one of which much is dead. nil: all is well.
func chooseMerge(segs []segment) []segment {
	levels := map[int][]segment{}
	for _, s := range segs {
		if s.dead*4 > s.docs {
			return []segment{s}
		}
		levels[bits.Len64(uint64(s.docs))/3] = append(levels[bits.Len64(uint64(s.docs))/3], s)
	}
	for _, l := range sortedKeys(levels) {
		list := levels[l]
		slices.SortFunc(list, func(a, b segment) int { return cmp.Compare(a.docs, b.docs) })
		total := int64(0)
		for n := range list {
			if total += list[n].docs; total > maxSegment || n == 2*mergeWidth {
				list = list[:n]
				break
			}
		}
		if len(list) >= mergeWidth {
			return list
		}
	}
	return nil
}

// merge makes one segment of several, if that is due. Texts stay where they are. was and segs were read together.
func (m *Mailbox) merge(ctx context.Context, was searchState, segs []segment) (more bool, err error) {
	list := chooseMerge(segs)
	if list == nil {
		return false, nil
	}
	x := m.db.search
	sink := &blockSink{x: x, unit: was.nextUnit}
	var h *segHead
	if err := x.readAs(ctx, was, func(t *tx) error {
		h, err = x.mergeSegments(ctx, t, list, sink)
		return err
	}); err != nil {
		return false, err
	}
	return true, x.writeAs(ctx, was, func(t *tx) error {
		for i := range list {
			if err := x.removeUnit(ctx, t, list[i].id); err != nil {
				return err
			}
		}
		if len(h.rows) > 0 {
			if err := x.putSegment(ctx, t, sink.unit, h, sink); err != nil {
				return err
			}
		}
		next := was
		next.nextUnit++
		return x.putState(ctx, t, next)
	})
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

func (x *searchIndex) mergeSegments(ctx context.Context, t *tx, list []segment, sink *blockSink) (*segHead, error) {
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
			return nil, err
		}
		live, err := x.live(src.s)
		if err != nil {
			return nil, err
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
			return nil, err
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
				return nil, x.damaged(src.s.id<<unitBits|int64(2*src.k+2), errSearchDamaged)
			}
			src.i++
			if err := src.load(ctx, x, t); err != nil {
				return nil, err
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
			return nil, err
		}
	}
	err := w.flush()
	h.firsts = w.firsts
	return h, err
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
