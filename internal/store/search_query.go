package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/query"
)

const (
	// searchTime bounds how long one page looks for more; it then ends early, with a cursor.
	searchTime = 1500 * time.Millisecond
	// fewHits is up to how many candidates all are looked at to find their threads.
	fewHits = 2000
)

// search is the work of one page. The index only says which messages may match: each is then looked at, with its row and its
// text, and query.Match decides.
type search struct {
	ctx   context.Context
	m     *Mailbox
	t     *tx // on the mailbox
	it    *tx // on the index
	q     *query.Query
	rest  *query.Query // what of q the index does not decide
	hits  *hits
	until time.Time
}

func (m *Mailbox) openSearch(ctx context.Context, t *tx, q *query.Query, fn func(*search) error) error {
	x := m.db.search
	return x.read(ctx, t, func(it *tx) error {
		s := &search{ctx: ctx, m: m, t: t, it: it, q: q, rest: q.Undecided(), until: time.Now().Add(m.searchTime)}
		var err error
		if s.hits, err = x.evaluate(ctx, it, q.Candidates()); err != nil {
			return err
		}
		return fn(s)
	})
}

// narrow adds what the query asks of every message to the filters, so that their indexes serve it.
func narrow(q *MessageQuery) {
	c := q.Search.Conditions()
	invert := func(b *bool) *bool {
		if b == nil {
			return nil
		}
		v := !*b
		return &v
	}
	set := func(p **bool, v *bool) {
		if *p == nil {
			*p = v
		}
	}
	set(&q.Unread, invert(c.Seen))
	set(&q.Starred, c.Flagged)
	set(&q.Drafts, c.Draft)
	set(&q.HasAttachment, c.Attachment)
	if q.Folders == nil {
		q.Folders = c.Folders
	}
	if orderly(c.Since) && c.Since.After(q.After) {
		q.After = c.Since
	}
	if orderly(c.Before) && (q.BeforeDate.IsZero() || c.Before.Before(q.BeforeDate)) {
		q.BeforeDate = c.Before
	}
}

// orderly tells whether row ids are exact about a time.
func orderly(t time.Time) bool { return t.Unix() > minRowSecond && t.Unix() < maxRowSecond }

// searchRows returns the newest rows that pass filters and query, and the cursor of the next page.
func (m *Mailbox) searchRows(ctx context.Context, t *tx, q MessageQuery, limit int) (rows []int64, next int64, err error) {
	narrow(&q)
	f := &messageFilter{ctx: ctx, t: t, m: m, q: q}
	if any, err := f.collect(); err != nil || !any {
		return nil, 0, err
	}
	err = m.openSearch(ctx, t, q.Search, func(s *search) error {
		if s.hits.all { // the index says nothing: walk what the filters let through
			high := f.high
			return s.collect(limit, &rows, &next, nil, func(size int) ([]int64, int64, error) {
				page, err := f.page(high, size)
				if err != nil || len(page) < size {
					return page, 0, err
				}
				high = page[len(page)-1]
				return page, high, nil
			})
		}
		drive := false
		d, err := f.shortest()
		if err == nil && d != nil {
			drive, err = s.hits.more(f.low, f.high, d.count)
		}
		if err != nil {
			return err
		}
		if drive {
			high := f.high
			return s.collect(limit, &rows, &next, f.onMessages(), func(size int) ([]int64, int64, error) {
				size *= drivenAtOnce // cheap ones: the index of the filter has nothing but rows
				page, err := f.walk(d.sql, d.id, d.values, nil, f.low, high, size)
				if err != nil || len(page) == 0 {
					return nil, 0, err
				}
				last := page[len(page)-1]
				high = last
				if len(page) < size {
					last = 0
				}
				return page, last, nil
			})
		}
		w := s.hits.walk(f.low, f.high)
		return s.collect(limit, &rows, &next, f.onMessages(), func(size int) ([]int64, int64, error) {
			page, err := w.next(size)
			if err != nil || len(page) < size {
				return page, 0, err
			}
			return page, page[size-1], nil
		})
	})
	return rows, next, err
}

// drivenAtOnce is how many rows of a filter's index are looked up among the hits for one of a page.
const drivenAtOnce = 16

// collect looks at page after page until there is one match more than asked for, nothing is left, or the time is over. more
// returns about so many rows and the last one that it looked at, 0 at the end.
func (s *search) collect(limit int, rows *[]int64, next *int64, conds []condition, more func(size int) ([]int64, int64, error)) error {
	for size := 64; ; size = min(2*size, 1024) {
		page, last, err := more(size)
		if err != nil {
			return err
		}
		found, err := s.verify(page, conds)
		if err != nil {
			return err
		}
		*rows = append(*rows, found...)
		switch {
		case len(*rows) > limit:
			*rows = (*rows)[:limit]
			*next = (*rows)[limit-1]
			return nil
		case last == 0:
			return nil
		case time.Now().After(s.until):
			*next = last
			return nil
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
}

// filterWalk is a walk over the index of one filter, with nothing else to look at.
type filterWalk struct {
	sql, id string
	values  []int64
	count   int64 // rows, at most
}

// shortest returns the filter that lets through the fewest; nil: there is none whose number is known.
func (f *messageFilter) shortest() (*filterWalk, error) {
	switch {
	case f.thread != 0:
		return &filterWalk{"SELECT m.id FROM messages m WHERE {a:m}m.thread_id = ?", "m.id", []int64{f.thread}, 0}, nil
	case len(f.tags) > 0:
		return &filterWalk{"SELECT y.message_id FROM message_metadata y WHERE {a:y}y.key = ?", "y.message_id", f.tags[:1], 0}, nil
	}
	var best *filterWalk
	offer := func(d filterWalk) {
		if best == nil || d.count < best.count {
			best = &d
		}
	}
	if f.folders != nil {
		offer(filterWalk{"SELECT DISTINCT p.message_id FROM placements p WHERE {a:p}p.folder_id = ?", "p.message_id", f.folders, f.inFolders})
	}
	if len(f.addrs) > 0 && f.addrs[0].count <= rareAddress {
		offer(filterWalk{"SELECT x.message_id FROM message_addresses x WHERE {a:x}x.key = ?", "x.message_id", f.addrs[0].keys, f.addrs[0].count})
	}
	if f.indexed != "" {
		var n int64
		if err := f.t.row(f.ctx, "SELECT "+f.indexed+" FROM state WHERE {a}1=1").Scan(&n); err != nil {
			return nil, err
		}
		cond := fmt.Sprintf("m.flags & %d = 0", mail.FlagSeen)
		if f.indexed == "starred" {
			cond = fmt.Sprintf("m.flags & %d <> 0", mail.FlagFlagged)
		}
		offer(filterWalk{"SELECT m.id FROM messages m WHERE {a:m}? = 0 AND " + cond, "m.id", []int64{0}, n})
	}
	return best, nil
}

// estimate is about how many messages the filters let through, at most.
func (f *messageFilter) estimate() (int64, error) {
	var n int64
	if err := f.t.row(f.ctx, "SELECT messages FROM state WHERE {a}1=1").Scan(&n); err != nil {
		return 0, err
	}
	d, err := f.shortest()
	if err == nil && d != nil {
		n = min(n, d.count)
	}
	return n, err
}

// verify returns those of the rows that fulfil the conditions and match, in their order. Rows that are not among the hits
// do not match.
func (s *search) verify(rows []int64, conds []condition) ([]int64, error) {
	return s.look(rows, conds, func(*query.Doc) {})
}

// look is verify, and shows each that matches, in their order.
func (s *search) look(rows []int64, conds []condition, show func(*query.Doc)) ([]int64, error) {
	docs := make(map[int64]*query.Doc, len(rows))
	texts := map[int64][]int64{} // block: rows
	var there []int64
	needsText := s.rest.NeedsText()
	for _, row := range rows {
		text, ok := int64(0), s.hits.all && !needsText
		if !ok {
			var err error
			if text, ok, err = s.hits.find(row); err != nil {
				return nil, err
			}
		}
		if ok {
			there = append(there, row)
			docs[row] = &query.Doc{}
			texts[text] = append(texts[text], row)
		}
	}
	if len(there) == 0 {
		return nil, nil
	}
	if s.rest.NeedsRow() || len(conds) > 0 {
		if err := s.readRows(docs, &there, conds); err != nil {
			return nil, err
		}
	}
	if s.rest.NeedsPlaces() && len(there) > 0 {
		if err := s.readPlaces(docs, there); err != nil {
			return nil, err
		}
	}
	if needsText && len(there) > 0 {
		if err := s.readTexts(docs, texts); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(there, func(row int64) bool {
		if docs[row] == nil || !s.rest.Match(docs[row]) {
			return true
		}
		show(docs[row])
		return false
	}), nil
}

// readRows fills in what the messages' rows say, and takes out those that are gone or do not fulfil the conditions.
func (s *search) readRows(docs map[int64]*query.Doc, there *[]int64, conds []condition) error {
	q := "SELECT m.id, m.flags, m.keywords, m.received_at, m.size, m.has_att FROM messages m WHERE {a:m}"
	var args []any
	for _, c := range conds {
		q += c.sql + " AND "
		args = append(args, c.args...)
	}
	found := make(map[int64]bool, len(*there))
	err := queryIn(s.ctx, s.t, q+"m.id IN (??)", args, slices.Clone(*there), func(r *sql.Rows) error {
		var row, received int64
		var keywords sql.NullString
		var d query.Doc
		if err := r.Scan(&row, &d.Flags, &keywords, &received, &d.Size, &d.Attached); err != nil {
			return err
		}
		d.Received = floorSecond(received)
		var err error
		d.Keywords, err = parseList[string](keywords)
		found[row], *docs[row] = true, d
		return err
	})
	*there = slices.DeleteFunc(*there, func(row int64) bool {
		if !found[row] {
			docs[row] = nil
		}
		return !found[row]
	})
	return err
}

func floorSecond(millis int64) int64 {
	return time.UnixMilli(millis).Unix()
}

func (s *search) readPlaces(docs map[int64]*query.Doc, rows []int64) error {
	type place struct {
		row, folder int64
		uid         mail.UID
	}
	var places []place
	seen := map[int64]bool{}
	err := queryIn(s.ctx, s.t, "SELECT message_id, folder_id, uid FROM placements WHERE {a}message_id IN (??)", nil, slices.Clone(rows), func(r *sql.Rows) error {
		var p place
		err := r.Scan(&p.row, &p.folder, &p.uid)
		places = append(places, p)
		seen[p.folder] = true
		return err
	})
	if err != nil {
		return err
	}
	names, err := s.m.names.all(s.ctx, s.t, sortedKeys(seen)...)
	if err != nil {
		return err
	}
	for _, p := range places {
		if d := docs[p.row]; d != nil {
			d.Places = append(d.Places, query.Place{Folder: names[p.folder], UID: p.uid})
		}
	}
	return nil
}

func (s *search) readTexts(docs map[int64]*query.Doc, texts map[int64][]int64) error {
	var ids []int64
	for id, rows := range texts {
		if slices.ContainsFunc(rows, func(row int64) bool { return docs[row] != nil }) {
			ids = append(ids, id)
		}
	}
	for part := range slices.Chunk(sortedSet(ids), 64) { // bounds what is in memory
		blocks, err := s.m.db.search.textBlocks(s.ctx, s.it, slices.Clone(part))
		if err != nil {
			return err
		}
		for _, id := range part {
			for _, row := range texts[id] {
				if d := docs[row]; d != nil && (blocks[id] == nil || !blocks[id].fill(row, d)) {
					docs[row] = nil
				}
			}
		}
	}
	return nil
}

// searchThreads returns the threads that pass filters and query, and the cursor of the next page.
func (m *Mailbox) searchThreads(ctx context.Context, t *tx, q ThreadQuery, limit int) (nums []int64, next int64, err error) {
	c := q.Search.Conditions() // what holds for one message holds for its thread, in this sense
	yes := func(p **bool, v *bool, want bool) {
		if *p == nil && v != nil && *v == want {
			t := true
			*p = &t
		}
	}
	yes(&q.Unread, c.Seen, false)
	yes(&q.Starred, c.Flagged, true)
	yes(&q.HasAttachment, c.Attachment, true)
	if q.Folders == nil {
		q.Folders = c.Folders
	}
	if orderly(c.Since) && c.Since.After(q.After) {
		q.After = c.Since
	}
	err = m.openSearch(ctx, t, q.Search, func(s *search) error {
		many := s.hits.all
		if !many {
			var err error
			if many, err = s.hits.more(0, 1<<62, fewHits); err != nil {
				return err
			}
		}
		if !many {
			rows, err := s.hits.walk(0, 1<<62).next(fewHits)
			if err == nil {
				rows, err = s.verify(rows, nil)
			}
			if err != nil || len(rows) == 0 {
				return err
			}
			in := map[int64]bool{}
			if err := queryIn(ctx, t, "SELECT thread_id FROM messages WHERE {a}id IN (??)", nil, rows, func(r *sql.Rows) error {
				var num int64
				err := r.Scan(&num)
				in[num] = true
				return err
			}); err != nil || len(in) == 0 {
				return err
			}
			found, err := m.threadHits(ctx, t, q, sortedKeys(in), limit+1)
			if len(found) > limit {
				found = found[:limit]
				next = found[limit-1].last
			}
			for _, h := range found {
				nums = append(nums, h.num)
			}
			return err
		}
		size := 64
		for {
			page, err := m.threadHits(ctx, t, q, nil, size)
			if err != nil || len(page) == 0 {
				return err
			}
			matched, err := s.threadsMatching(page)
			if err != nil {
				return err
			}
			for i, h := range page {
				if !matched[h.num] {
					continue
				}
				if len(nums) == limit { // there is one more
					next = q.Before
					if i > 0 {
						next = page[i-1].last
					}
					return nil
				}
				nums = append(nums, h.num)
			}
			q.Before = page[len(page)-1].last
			if len(page) < size {
				return nil
			}
			if time.Now().After(s.until) {
				next = q.Before
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			size = min(2*size, 512)
		}
	})
	return nums, next, err
}

// threadsMatching tells which of the threads have a message that matches.
func (s *search) threadsMatching(page []threadHit) (map[int64]bool, error) {
	nums := make([]int64, len(page))
	for i, h := range page {
		nums[i] = h.num
	}
	of := map[int64]int64{}
	if err := queryIn(s.ctx, s.t, "SELECT id, thread_id FROM messages WHERE {a}thread_id IN (??)", nil, nums, func(r *sql.Rows) error {
		var row, num int64
		err := r.Scan(&row, &num)
		of[row] = num
		return err
	}); err != nil {
		return nil, err
	}
	var rows []int64
	for row := range of { // once they are read: to ask a segment is a query, on PostgreSQL by the same connection
		_, ok, err := s.hits.find(row)
		if err != nil {
			return nil, err
		}
		if ok || s.hits.all {
			rows = append(rows, row)
		}
	}
	out := map[int64]bool{}
	for part := range slices.Chunk(sortedSet(rows), 512) {
		found, err := s.verify(part, nil)
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			out[of[row]] = true
		}
	}
	return out, nil
}
