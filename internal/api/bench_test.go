package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkRead measures whole answers, from the request to the last byte, and reports the slowest of a hundred.
func BenchmarkRead(b *testing.B) {
	m := setup(b).account("ann@example.test")
	html := "Content-Type: text/html\n\n" + strings.Repeat("<p>some <b>words</b> of a message that is neither short nor long</p>\n", 60)
	for from := 0; from < 4000; from += 500 {
		var ls []letter
		for i := from; i < from+500; i++ {
			raw := strings.Replace(plain(fmt.Sprint("b", i), fmt.Sprintf("Sender %d <s%d@example.test>", i%97, i%97), fmt.Sprint("subject ", i), ""), "Content-Type: text/plain; charset=utf-8\n\n\n", html, 1)
			ls = append(ls, letter{raw: raw, at: int64(1700000000 + i)})
		}
		m.deliver(ls...)
	}
	m.seen = nil
	for name, path := range map[string]string{
		"list50": "/messages", "list50 without bodies": "/messages?select=id,subject,from,date,unread,folders,snippet", "threads20": "/threads", "folders": "/folders",
	} {
		for _, enc := range []string{"", "gzip"} {
			b.Run(name+" "+enc, func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					req := httptest.NewRequest("GET", m.base+path, nil)
					req.Header.Set("Authorization", "Bearer "+m.key)
					req.Header.Set("Accept-Encoding", enc)
					w := httptest.NewRecorder()
					start := time.Now()
					m.api.ServeHTTP(w, req)
					took = append(took, time.Since(start))
					if w.Code != http.StatusOK {
						b.Fatal(w.Code)
					}
					b.SetBytes(int64(w.Body.Len()))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			})
		}
	}
}
