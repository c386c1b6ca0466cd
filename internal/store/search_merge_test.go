package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestManySmallSegments indexes after every message, so that segments are merged again and again, and removes some.
func TestManySmallSegments(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.do(Batch{Done: true})
		n := 150
		for i := range n {
			l := letter{id: fmt.Sprint("m", i), subject: fmt.Sprint("number ", i), body: fmt.Sprintf("common word%d %s", i, searchWords[i%len(searchWords)]), day: (i * 7) % 50}
			b.do(Batch{New: []NewMessage{b.held(ref("INBOX", mail.UID(i+1)), l)}})
			b.index()
			if i%10 == 9 {
				b.do(Batch{Vanished: []PlacementRef{ref("INBOX", mail.UID(i-4))}})
				b.sweep(farFuture)
			}
		}
		b.index()
		b.ok()
		list, _, err := b.Messages(t.Context(), MessageQuery{Search: parseQuery(t, "common"), Limit: 1000})
		if err != nil || len(list) != n-n/10 {
			t.Errorf("%d messages (%v), want %d", len(list), err, n-n/10)
		}
		if _, segs := b.indexState(); len(segs) > 3*mergeWidth {
			t.Errorf("%d segments", len(segs))
		}
	})
}

// TestSegmentsAreOfATime plays a first synchronisation of a million messages, folder after folder, each from its newest message down. While
// it goes on there are not too many segments; in the end few reach over the same time.
func TestSegmentsAreOfATime(t *testing.T) {
	t.Parallel()
	const days = 1_000_000
	type span struct{ from, to int64 }
	spans := map[int64]span{}
	var segs []segment
	written, most := int64(0), 0
	add := func(docs int64, s span) {
		id := int64(len(spans))
		segs, spans[id] = append(segs, segment{id: id, docs: docs}), s
		written += docs
	}
	merge := func(enough int) {
		for {
			list, err := chooseMerge(segs, enough, func(s *segment) (int64, error) { return spans[s.id].to, nil })
			if err != nil {
				t.Fatal(err)
			}
			if list == nil {
				return
			}
			docs, all := int64(0), span{days, 0}
			for _, s := range list {
				docs += s.docs
				all = span{min(all.from, spans[s.id].from), max(all.to, spans[s.id].to)}
				segs = slices.DeleteFunc(segs, func(o segment) bool { return o.id == s.id })
			}
			if docs > maxSegment {
				t.Fatalf("%d segments with %d messages become one", len(list), docs)
			}
			add(docs, all)
		}
	}
	for _, share := range []int64{52, 18, 12, 5, 4, 3, 2, 2, 1, 1} {
		for n, k := 10*share, int64(0); k < n; k++ {
			add(1000, span{days * (n - k - 1) / n, days * (n - k) / n})
			merge(mergeBehind)
			most = max(most, len(segs))
		}
	}
	if most > 2*mergeBehind {
		t.Errorf("%d segments at a time", most)
	}
	merge(mergeWidth)
	over, newest := int64(0), 0 // how many segments reach over a time, summed up; and over the newest
	for _, s := range segs {
		over += spans[s.id].to - spans[s.id].from
		if spans[s.id].to > days*98/100 {
			newest++
		}
	}
	if len(segs) > 2*mergeWidth || newest > 2 || over > 5*days || written > 3e6 {
		t.Errorf("%d segments, %d of the newest, %.1f over a time, each message written %.1f times", len(segs), newest, float64(over)/days, float64(written)/1e6)
	}
}

// TestMergeAfterTheFirstSync: segments wait for their neighbours in time while those may still come, but not without end.
func TestMergeAfterTheFirstSync(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.index()
		n := 0
		add := func(messages int) {
			for range messages {
				b.do(Batch{New: []NewMessage{b.held(ref("INBOX", mail.UID(n+1)), letter{id: fmt.Sprint("m", n), subject: fmt.Sprint("common n", n), day: n})}})
				n++
				b.step()
			}
		}
		want := func(segments int) {
			t.Helper()
			b.index()
			b.ok()
			if _, segs := b.indexState(); len(segs) != segments {
				t.Errorf("%d segments, want %d", len(segs), segments)
			}
			list, _, err := b.Messages(t.Context(), MessageQuery{Search: parseQuery(t, "common"), Limit: 1000})
			if err != nil || len(list) != n {
				t.Errorf("%d messages (%v), want %d", len(list), err, n)
			}
		}
		add(mergeBehind - 1)
		want(mergeBehind - 1)
		add(1)
		want(mergeBehind - 2*mergeWidth + 1)
		_, segs := b.indexState()
		last := len(segs) - 1 // the one just made, of the newest messages
		if err := b.db.search.read(t.Context(), nil, func(t *tx) error {
			made, err := b.db.search.head(context.Background(), t, &segs[last])
			for i := range segs[:last] {
				h, err2 := b.db.search.head(context.Background(), t, &segs[i])
				if err = errors.Join(err, err2); err == nil && h.last() > made.rows[0] {
					err = fmt.Errorf("segment %d is of the same time", i)
				}
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		b.do(Batch{Done: true})
		want(4) // one of the messages of each merge
	})
}

// TestMergeBesideTheIndex: what happens to the index while segments are merged is so afterwards.
func TestMergeBesideTheIndex(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.do(Batch{Done: true})
		b.index()
		n := 0
		add := func(segments int) { // of two messages each
			for range segments {
				for range 2 {
					b.do(Batch{New: []NewMessage{b.held(ref("INBOX", mail.UID(n+1)), letter{id: fmt.Sprint("m", n), subject: fmt.Sprint("common n", n), day: n})}})
					n++
				}
				b.step()
			}
		}
		remove := func(list ...int) {
			for _, i := range list {
				b.do(Batch{Vanished: []PlacementRef{ref("INBOX", mail.UID(i+1))}})
			}
			b.sweep(farFuture)
			b.step()
		}
		merge := func(segments int, meanwhile func()) {
			t.Helper()
			if more, err := b.merge(t.Context(), meanwhile); !more || err != nil {
				t.Errorf("%t, %v", more, err)
			}
			b.ok()
			if _, segs := b.indexState(); len(segs) != segments {
				t.Errorf("%d segments, want %d", len(segs), segments)
			}
		}
		add(mergeWidth)
		merge(2, func() {
			remove(0)
			add(1)
		})
		b.wantFound("common", 2*mergeWidth+1)
		b.wantFound("n0", 0)
		b.wantFound("n1", 1)
		add(mergeWidth - 1)
		merge(2, b.index) // it has merged them already
		b.wantFound("common", 4*mergeWidth-1)
		add(mergeWidth)
		merge(mergeWidth+1, func() { remove(n-1, n-2) }) // of a segment that is gone nobody can tell whether it was merged
		b.wantFound("common", 6*mergeWidth-3)
		add(1)
		merge(0, func() {
			if err := b.DropIndex(t.Context()); err != nil {
				t.Error(err)
			}
		})
		b.index()
		b.ok()
		b.wantFound("common", 6*mergeWidth-1)
	})
}

// TestAPageAsksFewSegments: older segments are not read for a page that newer ones fill. Their terms are gone here.
func TestAPageAsksFewSegments(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.index()
		for segment := range 2 {
			var list []NewMessage
			for i := range 100 {
				n := 100*segment + i
				list = append(list, b.held(ref("INBOX", mail.UID(n+1)), letter{id: fmt.Sprint("m", n), subject: "common", day: n}))
			}
			b.do(Batch{New: list})
			b.step()
		}
		_, segs := b.indexState()
		if len(segs) != 2 {
			t.Fatalf("%d segments", len(segs))
		}
		first := segs[0].id << unitBits
		if err := b.db.search.write(t.Context(), func(t *tx) error {
			_, err := t.exec(context.Background(), "DELETE FROM search_blocks WHERE {a}id > ? AND id < ?", first, first|textsFrom)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		b.db.search.cache.forget(b.id)
		page := func(limit int) (int, error) {
			list, _, err := b.Messages(t.Context(), MessageQuery{Search: parseQuery(t, "common"), Limit: limit})
			return len(list), err
		}
		if n, err := page(50); n != 50 || err != nil {
			t.Errorf("%d messages, %v", n, err)
		}
		if n, err := page(150); !errors.Is(err, errSearchDamaged) {
			t.Errorf("%d messages, %v; the segment is still there", n, err)
		}
		if err := b.DropIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestThreadsAskSegments: older segments are asked in a search for threads too; on PostgreSQL by the connection that reads the messages.
func TestThreadsAskSegments(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		b.index()
		for n := range 4 {
			b.do(Batch{New: []NewMessage{b.held(ref("INBOX", mail.UID(n+1)), letter{id: fmt.Sprint("m", n), subject: fmt.Sprint("common ", n), day: n})}})
			b.step()
		}
		b.db.search.cache.forget(b.id)
		q := parseQuery(t, "common")
		if err := b.db.read(t.Context(), func(t *tx) error {
			return b.openSearch(context.Background(), t, q, func(s *search) error {
				page, err := b.threadHits(context.Background(), t, ThreadQuery{}, nil, 10)
				if err != nil {
					return err
				}
				if found, err := s.threadsMatching(page); len(found) != 4 {
					return fmt.Errorf("%d threads, %w", len(found), err)
				}
				return nil
			})
		}); err != nil {
			t.Error(err)
		}
	})
}

// step takes what has changed into the search index, and merges nothing.
func (b *box) step() {
	b.t.Helper()
	if _, err := b.Index(context.Background()); err != nil {
		b.t.Fatalf("Index: %v", err)
	}
}

func (b *box) indexState() (s searchState, segs []segment) {
	b.t.Helper()
	x := b.db.search
	if err := x.read(context.Background(), nil, func(t *tx) (err error) {
		if s, err = x.state(context.Background(), t); err == nil {
			segs, err = x.segments(context.Background(), t)
		}
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	return s, segs
}
