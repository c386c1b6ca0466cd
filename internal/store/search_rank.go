package store

import (
	"cmp"
	"container/heap"
	"context"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/query"
)

const (
	// mostRanked is how many messages are put in the order of relevance.
	mostRanked = 500
	// fewFiltered is up to how many messages that pass the filters each is taken, rather than each that the index names.
	fewFiltered = 20_000
	// mostFiltered bounds the memory of that, should there be more than was thought.
	mostFiltered = 1 << 20
)

// rankedRows returns the rows that pass filters and query from the one at offset q.Before on, the most relevant first, and
// among equals the newest; and the offset of the next page. At most mostRanked have an order.
//
// The index knows in how many messages each text is, and in which of them outside of the body. By that, the likeliest are
// looked at first; their texts then decide. A page that ends because time is over has a next one, unless it brought nothing.
func (m *Mailbox) rankedRows(ctx context.Context, t *tx, q MessageQuery, limit int) (rows []int64, next int64, err error) {
	offset, all := int(min(q.Before, mostRanked)), true
	q.Before = 0
	if q.Search == nil {
		return nil, 0, mail.E(mail.Invalid, "list messages", "only what a search finds has an order of relevance", nil)
	}
	narrow(&q)
	f := &messageFilter{ctx: ctx, t: t, m: m, q: q}
	if any, err := f.collect(); err != nil || !any {
		return nil, 0, err
	}
	err = m.openSearch(ctx, t, q.Search, func(s *search) error {
		filtered, err := f.estimate()
		if err != nil {
			return err
		}
		s.rest = s.q // to count the words, texts are needed anyhow
		r := &ranking{search: s}
		if err := r.weigh(); err != nil {
			return err
		}
		var conds []condition
		hits, err := s.hits.count(f.low, f.high, math.MaxInt64)
		if err != nil {
			return err
		}
		if filtered <= fewFiltered && filtered < hits {
			if r.only, err = f.page(f.high, mostFiltered); err != nil || len(r.only) == 0 {
				return err
			}
		} else {
			conds = f.onMessages()
		}
		rows, all, err = r.rank(f.low, f.high, conds)
		return err
	})
	rows = rows[min(offset, len(rows)):]
	if len(rows) > limit {
		rows, next = rows[:limit], int64(offset+limit)
	} else if !all && len(rows) > 0 {
		next = int64(offset + len(rows))
	}
	return rows, next, err
}

// onMessages are all conditions of the filter, for rows that come from elsewhere.
func (f *messageFilter) onMessages() []condition {
	conds := slices.Concat(f.conds, f.folderCond(), addressConds(f.addrs), tagConds(f.tags))
	if f.thread != 0 {
		conds = append(conds, condition{"m.thread_id = ?", []any{f.thread}})
	}
	return conds
}

// ranking is a search whose results are put in the order of relevance.
type ranking struct {
	*search
	only   []int64 // the rows that pass the filters; nil: any that the index names
	total  int64   // messages in the index
	having []int64 // messages that may have each of the asks
	asks   []askHits
}

// askHits are where an ask may be: anywhere, and outside of the body.
type askHits struct {
	all, head *hits
	rarity    float64
}

// scored is a message and its relevance. Among equals the newer one comes first.
type scored struct {
	score float64
	row   int64
}

func (a scored) compare(b scored) int {
	return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.row, b.row))
}

// likeliest is a heap with the least likely on top.
type likeliest []scored

func (h likeliest) Len() int           { return len(h) }
func (h likeliest) Less(i, j int) bool { return h[i].compare(h[j]) < 0 }
func (h likeliest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *likeliest) Push(x any)        { *h = append(*h, x.(scored)) }
func (h *likeliest) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// weigh finds where each ask may be, and how rare it is.
func (r *ranking) weigh() error {
	for i := range r.hits.segs {
		r.total += int64(len(r.hits.segs[i].h.rows))
	}
	for _, a := range r.q.Asks() {
		var h askHits
		var err error
		if h.all, err = r.m.db.search.evaluate(r.ctx, r.it, a.All); err != nil {
			return err
		}
		if h.head, err = r.m.db.search.evaluate(r.ctx, r.it, a.Head); err != nil {
			return err
		}
		n, err := h.all.count(0, 1<<62, math.MaxInt64)
		if err != nil {
			return err
		}
		if _, err := h.head.count(0, 1<<62, math.MaxInt64); err != nil {
			return err
		}
		h.rarity = query.Rarity(r.total, n)
		r.having = append(r.having, n)
		r.asks = append(r.asks, h)
	}
	return nil
}

// rank returns the matching rows in [low, high), the most relevant first, and whether there was time to look at all that may match.
func (r *ranking) rank(low, high int64, conds []condition) (rows []int64, all bool, err error) {
	all = true
	var counts []query.Counts
	last := scored{score: math.Inf(1)}
	for len(rows) < mostRanked {
		page := r.below(last, low, high)
		if len(page) == 0 {
			break
		}
		last = page[len(page)-1]
		list := make([]int64, len(page))
		for i, l := range page {
			list[i] = l.row
		}
		found, err := r.look(list, conds, func(d *query.Doc) { counts = append(counts, r.q.Count(d)) })
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, found...)
		if err := r.ctx.Err(); err != nil {
			return nil, false, err
		}
		if time.Now().After(r.until) {
			all = len(page) < mostRanked
			break
		}
	}
	list := make([]scored, len(rows))
	for i, score := range query.Rank(counts, r.total, r.having) {
		list[i] = scored{score, rows[i]}
	}
	slices.SortFunc(list, func(a, b scored) int { return b.compare(a) })
	for i, l := range list {
		rows[i] = l.row
	}
	if len(rows) >= mostRanked {
		return rows[:mostRanked], true, nil
	}
	return rows, all, nil
}

// below returns the likeliest messages after last, judged by the index alone, the likeliest first.
func (r *ranking) below(last scored, low, high int64) []scored {
	var top likeliest
	consider := func(seg, at int) {
		l := scored{row: r.hits.segs[seg].h.rows[at]}
		for i := range r.asks {
			switch a := &r.asks[i]; {
			case a.head.segs[seg].set.has(at):
				l.score += 3 * a.rarity
			case a.all.segs[seg].set.has(at):
				l.score += a.rarity
			}
		}
		if l.compare(last) >= 0 {
			return
		}
		if len(top) < mostRanked {
			heap.Push(&top, l)
		} else if top[0].compare(l) < 0 {
			top[0] = l
			heap.Fix(&top, 0)
		}
	}
	// The newest first: among many equals, those after the first mostRanked are no more than looked at.
	for i := range r.hits.segs {
		s := &r.hits.segs[i]
		if r.only != nil {
			for _, row := range r.only {
				if at, ok := s.h.find(row); ok && s.set.has(at) {
					consider(i, at)
				}
			}
			continue
		}
		from, _ := s.h.find(low)
		to, _ := s.h.find(high)
		for k, w := range slices.Backward(s.set) {
			for w != 0 {
				bit := bits.Len64(w) - 1
				w &^= 1 << bit
				if at := k<<6 + bit; from <= at && at < to {
					consider(i, at)
				}
			}
		}
	}
	slices.SortFunc(top, func(a, b scored) int { return b.compare(a) })
	return top
}
