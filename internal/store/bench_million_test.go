package store

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

var manyMessages = flag.Int("messages", 1_000_000, "messages of BenchmarkMany")

// BenchmarkMany stores a large mailbox, threads it and makes it searchable, then asks it as the API does: rows, filters and
// texts together, each time for other words. It takes minutes: go test -v -run - -bench Many/sqlite -benchtime 200x -timeout 1h
// ./internal/store.
func BenchmarkMany(b *testing.B) {
	benchPlaces(b, func(b *testing.B, p *place) {
		box := newBox(b, p)
		ctx := context.Background()
		n := *manyMessages
		box.folders(append([]string{"Copy"}, benchFolders...)...)
		began, used := time.Now(), cpu()
		var list []NewMessage
		flush := func() {
			box.do(Batch{New: list, Origin: mail.OriginInitial})
			list = list[:0]
		}
		synthesize(n, benchFolders, func(m NewMessage) {
			if list = append(list, m); len(list) == 1000 {
				flush()
			}
		})
		flush()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		b.Logf("%d messages stored and threaded: %v, CPU %v; %.0f bytes of disk each; %d MiB of memory from the system, peak of the process %d MiB", n, time.Since(began), cpu()-used,
			float64(diskOf(p))/float64(n), mem.Sys>>20, peakMemory()>>20)

		var rows []int64
		if err := box.db.read(ctx, func(t *tx) error {
			return each(ctx, t, "SELECT id FROM messages WHERE {a}1=1 ORDER BY id", nil, func(r *sql.Rows) error {
				var row int64
				err := r.Scan(&row)
				rows = append(rows, row)
				return err
			})
		}); err != nil {
			b.Fatal(err)
		}
		defer box.DropIndex(ctx) // before the store is checked: these texts are of no message
		box.indexTexts(len(rows)/indexBatch*indexBatch, func(i int) int64 { return rows[i] })

		year := func(i int) string { return fmt.Sprint(2020 + i%2) }
		yes := true
		for _, q := range []struct {
			name string
			text func(i int) string
			with MessageQuery
		}{
			{"word", func(i int) string { return searchWord(uint64(3 + i*7)) }, MessageQuery{}},
			{"two words and a sender", func(i int) string {
				return fmt.Sprintf("%s %s from:person%d", searchWord(uint64(5+i)), searchWord(uint64(20+i)), i*7%2000)
			}, MessageQuery{}},
			{"word, unread, in a folder, in a month", func(i int) string {
				return fmt.Sprintf("%s is:unread in:INBOX on:%s-%02d", searchWord(uint64(100+i*3)), year(i), i%12+1)
			}, MessageQuery{}},
			{"word, starred, with filters of the API", func(i int) string { return searchWord(uint64(50+i)) + " is:starred" }, MessageQuery{Folders: []mail.FolderID{fid("Archive")}, To: []string{"ada@example.com"}}},
			{"rare word or another, not a third", func(i int) string {
				return fmt.Sprintf("(%s OR %s) -%s", searchWord(uint64(9000+i*5)), searchWord(uint64(700+i)), searchWord(uint64(2+i)))
			}, MessageQuery{}},
			{"not a word, unread", func(i int) string { return "-" + searchWord(uint64(i%40)) }, MessageQuery{Unread: &yes}},
			{"phrase", func(i int) string { return `"` + searchWord(uint64(1+i%9)) + " " + searchWord(uint64(9+i)) + `"` }, MessageQuery{}},
			{"prefix", func(i int) string { return fmt.Sprintf("w%x*", 0x100+i) }, MessageQuery{}},
			{"piece of a subject", func(i int) string { return `SUBJECT "` + searchWord(uint64(5 + i))[1:] + `"` }, MessageQuery{}},
			{"piece of a body", func(i int) string { return `BODY "` + searchWord(uint64(700 + i))[1:] + `"` }, MessageQuery{}},
			{"nothing", func(i int) string { return fmt.Sprint("nowhere", i) }, MessageQuery{}},
			{"word, by relevance", func(i int) string { return searchWord(uint64(3 + i*7)) }, MessageQuery{ByRelevance: true}},
		} {
			b.Run(strings.ReplaceAll(q.name, ", ", "+"), func(b *testing.B) {
				var times []time.Duration
				found := 0
				for b.Loop() {
					mq := q.with
					mq.Search = parseQuery(b, q.text(len(times)))
					from := time.Now()
					list, _, err := box.Messages(ctx, mq)
					times = append(times, time.Since(from))
					if err != nil {
						b.Fatal(err)
					}
					found += len(list)
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
				b.ReportMetric(float64(found)/float64(len(times)), "found")
			})
		}
	})
}

// diskOf is what the files of a place take; 0 where a database server has them.
func diskOf(p *place) (n int64) {
	_ = filepath.WalkDir(p.o.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if fi, err := d.Info(); err == nil {
				n += fi.Size()
			}
		}
		return nil
	})
	return n
}

// peakMemory is the most that the process had resident; 0 where the system does not tell.
func peakMemory() (n int64) {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(rest, &n)
	return n << 10
}
