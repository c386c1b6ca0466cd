package store

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/query"
)

// checkedTexts is how many messages of an index are looked up by their terms, spread over all.
const checkedTexts = 50

// checkSearch verifies the search index. What must hold: every block can be read; a message is in it once, with its text;
// the count is right; terms lead to the messages that have them (some are tried); and when it has taken in every change,
// it has the messages whose bytes are held or will not come soon, made from those bytes unless they are damaged, and no others.
func (c *checker) checkSearch() error {
	x := c.m.db.search
	var problem error // that ends the look at the index
	var bare map[int64]int64
	bad := func(format string, args ...any) error {
		return c.bad("search index: "+format, args...)
	}
	err := c.m.db.read(c.ctx, func(t *tx) error {
		return x.read(c.ctx, t, func(it *tx) error {
			s, err := x.state(c.ctx, it)
			if err != nil || s.version == 0 {
				return err
			}
			if s.version != searchVersion {
				return nil // made again by the server
			}
			docs, err := c.searchDocs(it, bad)
			if err != nil {
				problem = err
				return nil
			}
			if int64(len(docs)) != s.docs {
				if err := bad("says %d messages, has %d", s.docs, len(docs)); err != nil {
					return err
				}
			}
			var seq int64
			if err := t.row(c.ctx, "SELECT seq FROM state WHERE {a}1=1").Scan(&seq); err != nil {
				return err
			}
			if s.cursor > seq {
				return bad("has taken in change %d, the last is %d", s.cursor, seq)
			}
			if s.cursor < seq || s.below != 0 {
				return nil // behind
			}
			bare, err = c.compareSearch(t, docs, bad)
			return err
		})
	})
	if err == nil {
		err = problem
	}
	switch {
	case mail.IsKind(err, mail.NotFound): // open for reading only, and nothing was indexed yet
		return nil
	case errors.Is(err, errSearchDamaged):
		return bad("%v", err)
	case err != nil:
		return err
	}
	for _, row := range sortedKeys(bare) {
		sound, err := c.m.soundBlob(c.ctx, bare[row])
		if err == nil && sound {
			err = bad("message row %d has its header only, although its bytes are sound", row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// searchDocs goes through all segments and returns the messages in the index with the sums of their bytes.
func (c *checker) searchDocs(t *tx, bad func(string, ...any) error) (map[int64]uint32, error) {
	x := c.m.db.search
	segs, err := x.segments(c.ctx, t)
	if err != nil {
		return nil, err
	}
	docs := map[int64]uint32{}
	for i := range segs {
		s := &segs[i]
		h, err := x.head(c.ctx, t, s)
		if err != nil {
			return nil, err
		}
		live, err := x.live(s)
		if err != nil {
			return nil, err
		}
		if int64(live.count()) != s.docs-s.dead {
			if err := bad("segment %d has %d live messages of %d, %d dead", s.id, live.count(), s.docs, s.dead); err != nil {
				return nil, err
			}
		}
		if !slices.IsSorted(h.rows) || !slices.IsSorted(h.firsts) {
			if err := bad("segment %d is not in order", s.id); err != nil {
				return nil, err
			}
		}
		for k := range h.firsts {
			if err := c.checkTerms(t, s, h, k, bad); err != nil {
				return nil, err
			}
		}
		e := evaluation{ctx: c.ctx, t: t, x: x, s: s, h: h}
		step := max(1, len(h.rows)/checkedTexts)
		for d, row := range h.rows {
			if !live.has(d) {
				continue
			}
			if _, twice := docs[row]; twice {
				if err := bad("message row %d is there twice", row); err != nil {
					return nil, err
				}
			}
			docs[row] = h.sums[d]
			if d%step != 0 {
				continue
			}
			if err := c.checkText(&e, d, bad); err != nil {
				return nil, err
			}
		}
	}
	return docs, nil
}

func (c *checker) checkTerms(t *tx, s *segment, h *segHead, k int, bad func(string, ...any) error) error {
	x := c.m.db.search
	b, err := x.terms(c.ctx, t, s, k)
	if err != nil {
		return err
	}
	lists, err := x.lists(c.ctx, t, s, k)
	if err != nil {
		return err
	}
	if len(b.lists) == 0 || b.term(0) != h.firsts[k][1:] {
		return bad("segment %d, block %d does not begin with its first term", s.id, k)
	}
	for i := range b.lists {
		from, to := b.list(i)
		ok := int(to) <= len(lists) && from <= to && (i == 0 || b.term(i-1) < b.term(i))
		n, last := 0, -1
		ok = ok && eachPosting(lists[from:to], h.firsts[k][0] == groupFields, func(d uint32, mask byte) {
			ok = ok && int(d) > last && int(d) < len(h.rows)
			last = int(d)
			n++
		})
		if !ok || n == 0 {
			return bad("segment %d, block %d: the list of term %d is damaged", s.id, k, i)
		}
	}
	return nil
}

// checkText looks up a message by the terms of its text.
func (c *checker) checkText(e *evaluation, d int, bad func(string, ...any) error) error {
	row, block := e.h.rows[d], e.h.texts[d]
	texts, err := e.x.textBlocks(c.ctx, e.t, []int64{block})
	if err != nil {
		return err
	}
	var doc query.Doc
	if texts[block] == nil || !texts[block].fill(row, &doc) {
		return bad("message row %d has no text", row)
	}
	for f := range query.Signed {
		tried := 0
		terms := map[string]bool{}
		query.Terms(query.Strip(doc.Text[f]), func(term string) {
			if tried < 5 {
				tried++
				terms[term] = true
			}
		})
		for term := range terms {
			set, err := e.eval(&query.Candidates{Op: query.TermIs, Text: term, Fields: 1 << f})
			if err != nil {
				return err
			}
			if !set.has(d) {
				return bad("message row %d is not found by a word of field %d", row, f)
			}
		}
	}
	return nil
}

// compareSearch compares an index that has taken in every change with the messages. bare are those that are held and of which
// the index has the header only, with their bytes.
func (c *checker) compareSearch(t *tx, docs map[int64]uint32, bad func(string, ...any) error) (bare map[int64]int64, err error) {
	bare = map[int64]int64{}
	err = each(c.ctx, t, "SELECT id, digest, raw_blob, body_state FROM messages WHERE {a}1=1", nil, func(r *sql.Rows) error {
		var row int64
		var digest []byte
		var raw sql.NullInt64
		var state mail.BodyState
		if err := r.Scan(&row, &digest, &raw, &state); err != nil {
			return err
		}
		sum, there := docs[row]
		delete(docs, row)
		switch {
		case !there && (raw.Valid || state == mail.BodyQuarantined):
			return bad("message row %d is missing", row)
		case there && raw.Valid && sum == 0:
			bare[row] = raw.Int64
		case there && raw.Valid && sum != digestSum(digest):
			return bad("message row %d was made from other bytes", row)
		}
		return nil
	})
	if err == nil && len(docs) > 0 {
		err = bad("%d messages that do not exist, one is row %d", len(docs), sortedKeys(docs)[0])
	}
	if err != nil && !errors.Is(err, errEnough) {
		err = fmt.Errorf("check the search index: %w", err)
	}
	return bare, err
}
