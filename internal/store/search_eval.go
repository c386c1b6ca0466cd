package store

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/internal/vault"
)

// hits are the messages of an index that may be what is searched for, in its segments, those with the newest messages first. A segment
// is asked when it is needed: a page of the newest seldom needs all.
type hits struct {
	ctx  context.Context
	t    *tx
	x    *searchIndex
	c    query.Candidates
	segs []segHits
	all  bool // no term narrows the search
}

type segHits struct {
	*segment
	h   *segHead
	set bitset // nil until the segment is asked
}

// evaluate begins to find the candidates of a query. The hits can be asked for while the transaction lasts.
func (x *searchIndex) evaluate(ctx context.Context, t *tx, c query.Candidates) (*hits, error) {
	segs, err := x.segments(ctx, t)
	if err != nil {
		return nil, err
	}
	out := &hits{ctx: ctx, t: t, x: x, c: c, all: c.Op == query.TermAll}
	for i := range segs {
		h, err := x.head(ctx, t, &segs[i])
		if err != nil {
			return nil, err
		}
		out.segs = append(out.segs, segHits{segment: &segs[i], h: h})
	}
	slices.SortStableFunc(out.segs, func(a, b segHits) int { return cmp.Compare(b.h.last(), a.h.last()) })
	return out, nil
}

// in returns the hits in one of the segments.
func (x *hits) in(i int) (bitset, error) {
	s := &x.segs[i]
	if s.set != nil {
		return s.set, nil
	}
	live, err := x.x.live(s.segment)
	if err != nil {
		return nil, err
	}
	e := evaluation{ctx: x.ctx, t: x.t, x: x.x, s: s.segment, h: s.h}
	set, err := e.eval(&x.c)
	if err != nil {
		return nil, err
	}
	if set != nil {
		live.and(set)
	}
	s.set = live
	return live, nil
}

// find returns the block with the text of a message that is among the hits.
func (x *hits) find(row int64) (text int64, ok bool, err error) {
	for i := range x.segs {
		at, there := x.segs[i].h.find(row)
		if !there {
			continue
		}
		set, err := x.in(i)
		if err != nil {
			return 0, false, err
		}
		if set.has(at) {
			return x.segs[i].h.texts[at], true, nil
		}
	}
	return 0, false, nil
}

// more tells whether there are more than n hits with rows in [low, high).
func (x *hits) more(low, high, n int64) (bool, error) {
	found, err := x.count(low, high, n)
	return found > n, err
}

// count returns how many hits there are with rows in [low, high), or when there are more than most, some number above that.
func (x *hits) count(low, high, most int64) (n int64, err error) {
	for i := 0; i < len(x.segs) && n <= most; i++ {
		from, _ := x.segs[i].h.find(low)
		to, _ := x.segs[i].h.find(high)
		if from == to {
			continue
		}
		set, err := x.in(i)
		if err != nil {
			return 0, err
		}
		n += int64(set.countIn(from, to))
	}
	return n, nil
}

// walker goes through hits, the newest first.
type walker struct {
	x   *hits
	at  []int // in each segment: the next hit, or, while it is not asked, the message that may be one; -1: at its end
	low int64
}

func (x *hits) walk(low, high int64) *walker {
	w := &walker{x: x, low: low}
	for i := range x.segs {
		to, _ := x.segs[i].h.find(high)
		w.at = append(w.at, to-1)
	}
	return w
}

// next returns the next n rows, fewer at the end.
func (w *walker) next(n int) (rows []int64, err error) {
	for len(rows) < n {
		best, row := -1, w.low-1
		for i, at := range w.at {
			if at >= 0 && w.x.segs[i].h.rows[at] > row {
				best, row = i, w.x.segs[i].h.rows[at]
			}
		}
		if best < 0 {
			break
		}
		set, err := w.x.in(best)
		if err != nil {
			return nil, err
		}
		if set.has(w.at[best]) {
			rows = append(rows, row)
		}
		w.at[best] = set.below(w.at[best])
	}
	return rows, nil
}

func (b bitset) countIn(from, to int) int {
	n := 0
	for k := from >> 6; k < len(b) && k<<6 < to; k++ {
		w := b[k]
		if k == from>>6 {
			w &= ^uint64(0) << (from & 63)
		}
		if to-k<<6 < 64 {
			w &= 1<<(to&63) - 1
		}
		n += bits.OnesCount64(w)
	}
	return n
}

// evaluation finds the candidates in one segment.
type evaluation struct {
	ctx context.Context
	t   *tx
	x   *searchIndex
	s   *segment
	h   *segHead
}

// eval returns the messages that fulfil c; nil is all.
func (e *evaluation) eval(c *query.Candidates) (bitset, error) {
	switch c.Op {
	case query.TermAll:
		return nil, nil
	case query.TermAnd:
		var out bitset
		for i := range c.Kids {
			b, err := e.eval(&c.Kids[i])
			switch {
			case err != nil:
				return nil, err
			case out == nil:
				out = b
			case b != nil:
				out.and(b)
			}
			if out != nil && out.count() == 0 {
				break
			}
		}
		return out, nil
	case query.TermOr:
		out := newBitset(len(e.h.rows))
		for i := range c.Kids {
			b, err := e.eval(&c.Kids[i])
			if err != nil || b == nil {
				return nil, err
			}
			out.or(b)
		}
		return out, nil
	case query.TermNot:
		out := newBitset(len(e.h.rows))
		out.all(len(e.h.rows))
		b, err := e.eval(&c.Kids[0])
		if err == nil {
			each64(out, b, func(p *uint64, v uint64) { *p &^= v })
		}
		return out, err
	}
	out := newBitset(len(e.h.rows))
	for _, g := range []struct {
		group  byte
		fields query.Fields
	}{{groupFields, fieldsMask}, {groupBody, 1 << query.Body}, {groupHeader, 1 << query.Header}} {
		if mask := c.Fields & g.fields; mask != 0 {
			if err := e.add(out, g.group, c, byte(mask)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// add marks the messages that have a term of a group.
func (e *evaluation) add(out bitset, group byte, c *query.Candidates, mask byte) error {
	firsts := e.h.firsts
	from, to := 0, len(firsts)
	key := string(group) + c.Text
	switch c.Op {
	case query.TermIs:
		from = sort.SearchStrings(firsts, key+"\x00") - 1 // the last block that begins at or before it
		if from < 0 || firsts[from][0] != group {
			return nil
		}
		to = from + 1
	case query.TermPrefix:
		from = max(sort.SearchStrings(firsts, key+"\x00")-1, 0)
		to = from + sort.Search(len(firsts)-from, func(i int) bool { return i > 0 && firsts[from+i] > key && !strings.HasPrefix(firsts[from+i], key) })
	}
	for k := from; k < to; k++ {
		if firsts[k][0] != group {
			continue
		}
		b, err := e.x.terms(e.ctx, e.t, e.s, k)
		if err != nil {
			return err
		}
		found := b.matching(c)
		if len(found) == 0 {
			continue
		}
		lists, err := e.x.lists(e.ctx, e.t, e.s, k)
		if err != nil {
			return err
		}
		for _, i := range found {
			from, to := b.list(i)
			ok := int(to) <= len(lists) && eachPosting(lists[from:to], group == groupFields, func(d uint32, m byte) {
				if int(d) < len(e.h.rows) && (group != groupFields || m&mask != 0) {
					out.set(d)
				}
			})
			if !ok {
				return e.x.damaged(e.s.id<<unitBits|int64(2*k+2), vault.ErrDamaged)
			}
		}
	}
	return nil
}

// matching returns the terms of the block that c asks for.
func (b *termBlock) matching(c *query.Candidates) (found []int) {
	n := len(b.lists)
	switch c.Op {
	case query.TermIs:
		if i := b.firstAt(c.Text); i < n && b.term(i) == c.Text {
			found = append(found, i)
		}
	case query.TermPrefix:
		for i := b.firstAt(c.Text); i < n && strings.HasPrefix(b.term(i), c.Text); i++ {
			found = append(found, i)
		}
	case query.TermSuffix, query.TermInfix:
		part := c.Text
		if c.Op == query.TermSuffix {
			part += "\x00"
		}
		for pos := 0; ; {
			at := strings.Index(b.terms[pos:], part)
			if at < 0 {
				break
			}
			at += pos
			i := sort.Search(n, func(i int) bool { return int(b.start[i+1]) > at })
			found = append(found, i)
			pos = int(b.start[i+1])
		}
	}
	return found
}
