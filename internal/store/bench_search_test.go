package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/query"
)

// searchWord is one of the words of searchTexts, the most frequent first.
func searchWord(i uint64) string { return fmt.Sprintf("w%x", i*2654435761%1000003) }

// searchTexts makes texts of about 3 KB from 60,000 words, few of them frequent.
func searchTexts(n int, row func(i int) int64, each func(*searchDoc)) (bytes int) {
	rng := rand.New(rand.NewPCG(2, 3))
	zipf := rand.NewZipf(rng, 1.2, 4, 60000)
	words := make([]string, 60001)
	for i := range words {
		words[i] = searchWord(uint64(i)) + " "
	}
	var b strings.Builder
	text := func(n int) string {
		b.Reset()
		for range n {
			b.WriteString(words[zipf.Uint64()])
		}
		return b.String()
	}
	for i := range n {
		d := &searchDoc{row: row(i), sum: 1}
		d.text[query.From] = fmt.Sprintf("person %d <person%d@example%d.com>", i*7%2000, i*7%2000, i%50)
		d.text[query.Subject] = text(6)
		d.text[query.Body] = text(450)
		bytes += d.size()
		each(d)
	}
	return bytes
}

// indexTexts puts n texts into the index, a thousand at a time, with all merges, and logs what that takes.
func (b *box) indexTexts(n int, row func(i int) int64) {
	ctx := context.Background()
	m, x := b.Mailbox, b.db.search
	var s searchState
	read := func(fn func(*tx) error) {
		if err := x.read(ctx, nil, fn); err != nil {
			b.t.Fatal(err)
		}
	}
	read(func(t *tx) (err error) { s, err = x.state(ctx, t); return err })
	if s.version != searchVersion {
		s = searchState{version: searchVersion, nextUnit: 1}
		if err := x.write(ctx, func(t *tx) error { return x.putState(ctx, t, s) }); err != nil {
			b.t.Fatal(err)
		}
	}
	var docs []*searchDoc
	began, used, worst := time.Now(), cpu(), time.Duration(0)
	bytes := searchTexts(n, row, func(d *searchDoc) {
		if docs = append(docs, d); len(docs) < indexBatch {
			return
		}
		from := time.Now()
		if err := m.commitIndex(ctx, s, s, nil, docs, nil); err != nil {
			b.t.Fatal(err)
		}
		docs = nil
		for more := true; more; {
			var err error
			if more, err = m.Merge(ctx); err != nil {
				b.t.Fatal(err)
			}
		}
		worst = max(worst, time.Since(from))
		read(func(t *tx) (err error) { s, err = x.state(ctx, t); return err })
	})
	took, spent := time.Since(began), cpu()-used
	b.t.Logf("%d texts, %.1f MB: %v (%.0f a second), CPU %v, the longest step %v", n, float64(bytes)/1e6, took, float64(n)/took.Seconds(), spent, worst)
	read(func(t *tx) error {
		var blocks, sealed int64
		err := t.row(ctx, "SELECT COUNT(*), SUM(LENGTH(data)) FROM search_blocks WHERE {a}1=1").Scan(&blocks, &sealed)
		b.t.Logf("index: %d blocks of %.1f MB: %.2f of the text", blocks, float64(sealed)/1e6, float64(sealed)/float64(bytes))
		return err
	})
}

// BenchmarkSearch makes an index of 100,000 texts and asks it, without the rows of messages.
func BenchmarkSearch(b *testing.B) {
	benchPlaces(b, func(b *testing.B, p *place) {
		box := newBox(b, p)
		m := box.Mailbox
		ctx := context.Background()
		defer m.DropIndex(ctx) // before the store is checked: these messages do not exist
		box.indexTexts(100_000, func(i int) int64 {
			return rowAt(time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 5 * time.Minute))
		})
		rank := searchWord
		for _, q := range []struct{ name, text string }{
			{"frequent word", rank(3)}, {"rare word", rank(30000)}, {"two words", rank(20) + " " + rank(400)}, {"phrase", `"` + rank(1) + " " + rank(9) + `"`}, {"prefix", "w1f*"},
			{"word and sender", rank(50) + " from:person21"}, {"nothing", "nowhere"}, {"piece of a subject", `SUBJECT "` + rank(5)[1:] + `"`}, {"piece of a body", `BODY "` + rank(700)[1:] + `"`}, {"not", "-" + rank(2)},
		} {
			b.Run(q.name, func(b *testing.B) {
				parsed := parseQuery(b, q.text)
				var times []time.Duration
				found := 0
				for b.Loop() {
					from := time.Now()
					if err := m.db.read(ctx, func(t *tx) error {
						return m.openSearch(ctx, t, parsed, func(s *search) error {
							w := s.hits.walk(0, 1<<62)
							var rows []int64
							var next int64
							err := s.collect(50, &rows, &next, nil, func(size int) ([]int64, int64, error) {
								page, err := w.next(size)
								if err != nil || len(page) < size {
									return page, 0, err
								}
								return page, page[size-1], nil
							})
							found = len(rows)
							return err
						})
					}); err != nil {
						b.Fatal(err)
					}
					times = append(times, time.Since(from))
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
				b.ReportMetric(float64(found), "found")
			})
		}
		for _, q := range []struct{ name, text string }{{"frequent word by relevance", rank(3)}, {"two words by relevance", rank(20) + " " + rank(400)}} {
			b.Run(q.name, func(b *testing.B) {
				parsed := parseQuery(b, q.text)
				found := 0
				for b.Loop() {
					if err := m.db.read(ctx, func(t *tx) error {
						return m.openSearch(ctx, t, parsed, func(s *search) error {
							s.rest = s.q
							r := &ranking{search: s}
							if err := r.weigh(); err != nil {
								return err
							}
							rows, _, err := r.rank(0, 1<<62, nil)
							found = len(rows)
							return err
						})
					}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(found), "found")
			})
		}
	})
}
