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

// searchTexts makes texts of about 3 KB from 60,000 words, few of them frequent.
func searchTexts(n int, each func(*searchDoc)) (bytes int) {
	rng := rand.New(rand.NewPCG(2, 3))
	zipf := rand.NewZipf(rng, 1.2, 4, 60000)
	start := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
	var b strings.Builder
	text := func(words int) string {
		b.Reset()
		for range words {
			fmt.Fprintf(&b, "w%x ", zipf.Uint64()*2654435761%1000003)
		}
		return b.String()
	}
	for i := range n {
		d := &searchDoc{row: rowAt(start.Add(time.Duration(i) * 5 * time.Minute)), sum: 1}
		d.text[query.From] = fmt.Sprintf("person %d <person%d@example%d.com>", i*7%2000, i*7%2000, i%50)
		d.text[query.Subject] = text(6)
		d.text[query.Body] = text(450)
		bytes += d.size()
		each(d)
	}
	return bytes
}

// BenchmarkSearch makes an index of 100,000 texts and asks it, without the rows of messages.
func BenchmarkSearch(b *testing.B) {
	benchPlaces(b, func(b *testing.B, p *place) {
		m := newBox(b, p).Mailbox
		ctx := context.Background()
		x := m.db.search
		const n = 100_000
		var docs []*searchDoc
		s := searchState{version: searchVersion, nextUnit: 1}
		if err := x.write(ctx, func(t *tx) error { return x.putState(ctx, t, s) }); err != nil {
			b.Fatal(err)
		}
		defer m.DropIndex(ctx) // before the store is checked: these messages do not exist
		began, used := time.Now(), cpu()
		bytes := searchTexts(n, func(d *searchDoc) {
			if docs = append(docs, d); len(docs) < indexBatch {
				return
			}
			var segs []segment
			if err := m.commitIndex(ctx, s, s, nil, docs, nil); err != nil {
				b.Fatal(err)
			}
			docs = nil
			for more := true; more; {
				err := x.read(ctx, nil, func(t *tx) (err error) {
					segs, err = x.segments(ctx, t)
					return err
				})
				if err == nil {
					more, err = m.merge(ctx, segs)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			if err := x.read(ctx, nil, func(t *tx) (err error) { s, err = x.state(ctx, t); return err }); err != nil {
				b.Fatal(err)
			}
		})
		b.Logf("%d texts, %d bytes: %v, %v of CPU with making them", n, bytes, time.Since(began), cpu()-used)
		if err := x.read(ctx, nil, func(t *tx) error {
			var blocks, sealed int64
			err := t.row(ctx, "SELECT COUNT(*), SUM(LENGTH(data)) FROM search_blocks WHERE {a}1=1").Scan(&blocks, &sealed)
			b.Logf("%d blocks of %d bytes: %.2f of the text", blocks, sealed, float64(sealed)/float64(bytes))
			return err
		}); err != nil {
			b.Fatal(err)
		}
		rank := func(i uint64) string { return fmt.Sprintf("w%x", i*2654435761%1000003) }
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
							w, size := s.hits.walk(0, 1<<62), 64
							var rows []int64
							var next int64
							err := s.collect(func() ([]int64, bool, error) {
								page := w.next(size)
								return page, len(page) < size, nil
							}, nil, &size, 50, &rows, &next)
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
	})
}
