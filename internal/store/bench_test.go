package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// synthetic makes n messages as a mailbox has them: three in a thread, two recipients, one in ten also in a second folder.
func synthetic(n int, folders []string) []NewMessage {
	list := make([]NewMessage, 0, n+n/10)
	synthesize(n, folders, func(m NewMessage) { list = append(list, m) })
	return list
}

func synthesize(n int, folders []string, each func(NewMessage)) {
	rng := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	key := func(kind string, i int) (k mime.ThreadKey) {
		h := sha256.Sum256(fmt.Append(nil, kind, i))
		return mime.ThreadKey(h[:12])
	}
	for i := range n {
		var fp [16]byte
		binary.BigEndian.PutUint64(fp[:], rng.Uint64())
		thread := rng.IntN(max(1, n/3))
		who := func() mime.Address {
			k := rng.IntN(2000)
			return mime.Address{Name: fmt.Sprintf("Person %d", k), Email: fmt.Sprintf("person%d@example%d.com", k, k%50)}
		}
		m := NewMessage{
			PlacementRef: ref(folders[rng.IntN(len(folders))], mail.UID(i+1)), InternalDate: start.Add(time.Duration(i) * time.Minute), Size: 4000,
			FP: fp, Strong: true, Flags: mail.Flags(rng.IntN(10) / 2 & 5),
			Head: &mime.Message{Subject: fmt.Sprintf("Re: about the subject number %d of this", thread), From: []mime.Address{who()}, To: []mime.Address{{Email: "ada@example.com"}, who()},
				Date: start, MessageID: fmt.Sprintf("%x@mail.example.com", fp), InReplyTo: []string{fmt.Sprintf("%d@mail.example.com", thread)}},
			Threading: mime.Threading{Mint: key("t", thread), Keys: []mime.ThreadKey{key("t", thread), key("m", i)}},
		}
		each(m)
		if i%10 == 0 {
			m.PlacementRef = ref("Copy", mail.UID(i+1))
			each(m)
		}
	}
}

var benchFolders = []string{"INBOX", "Sent", "Archive", "Lists"}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func fillBox(tb testing.TB, b *box, list []NewMessage, batch int) {
	b.folders(append([]string{"Copy"}, benchFolders...)...)
	for chunk := range slices.Chunk(list, batch) {
		b.do(Batch{New: chunk})
	}
}

func benchPlaces(b *testing.B, fn func(b *testing.B, p *place)) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) { fn(b, newPlace(b, kind)) })
	}
}

// BenchmarkApply stores 20,000 messages by their headers, newest first within batches of the given size.
func BenchmarkApply(b *testing.B) {
	benchPlaces(b, func(b *testing.B, p *place) {
		s := p.open(b)
		list := synthetic(20000, benchFolders)
		slices.Reverse(list)
		for _, batch := range []int{500, 1000} {
			b.Run(fmt.Sprint(batch), func(b *testing.B) {
				n := 0
				var used time.Duration
				for b.Loop() {
					box := addBox(b, s, fmt.Sprintf("ada%d-%d@example.com", batch, n))
					from := cpu()
					fillBox(b, box, list, batch)
					used += cpu() - from
					n += len(list)
				}
				b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-us/msg")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/msg")
			})
		}
	})
}

// BenchmarkBodies gives 20,000 messages, stored by their headers, their bytes, newest first in batches of the given size.
func BenchmarkBodies(b *testing.B) {
	benchPlaces(b, func(b *testing.B, p *place) {
		s := p.open(b)
		list := synthetic(20000, benchFolders)
		slices.Reverse(list)
		for _, size := range []int{200, 1000} {
			b.Run(fmt.Sprint(size), func(b *testing.B) {
				n := 0
				var used time.Duration
				for b.Loop() {
					b.StopTimer()
					box := addBox(b, s, fmt.Sprintf("ada%d-%d@example.com", size, n))
					fillBox(b, box, list, 1000)
					items := make([]BlobData, 2*len(list))
					for i := range items {
						items[i] = BlobData{Kind: BlobRaw, Data: []byte("x")}
					}
					refs, err := box.PutBlobs(b.Context(), items)
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					from := cpu()
					for part := range slices.Chunk(list, size) {
						bodies := make([]Body, len(part))
						for i, m := range part {
							n++
							bodies[i] = Body{PlacementRef: m.PlacementRef, Content: Content{Digest: sha256.Sum256(m.FP[:]), Raw: refs[0], Display: refs[1],
								Size: 4000, Head: m.Head, Snippet: fmt.Sprintf("what %x has to say in a few words that make a line of a list", m.FP)}}
							refs = refs[2:]
						}
						box.do(Batch{Bodies: bodies})
					}
					used += cpu() - from
				}
				b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-us/msg")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/msg")
			})
		}
	})
}

// BenchmarkFlags marks 1,000 stored messages at a time as seen and back.
func BenchmarkFlags(b *testing.B) {
	benchPlaces(b, func(b *testing.B, p *place) {
		box := newBox(b, p)
		list := synthetic(20000, benchFolders)
		fillBox(b, box, list, 1000)
		i := 0
		for b.Loop() {
			var batch Batch
			for range 1000 {
				n := &list[i%len(list)]
				batch.Flags = append(batch.Flags, FlagUpdate{PlacementRef: n.PlacementRef, Flags: mail.Flags(i / len(list) % 2)})
				i += 7
			}
			box.do(batch)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "us/msg")
	})
}

// BenchmarkList answers the questions that the API asks most, on 100,000 messages.
func BenchmarkList(b *testing.B) {
	benchPlaces(b, func(b *testing.B, p *place) {
		box := newBox(b, p)
		list := synthetic(100000, benchFolders)
		fillBox(b, box, list, 1000)
		mid := rowAt(list[len(list)/2].InternalDate)
		yes := true
		ctx := context.Background()
		messages := func(q MessageQuery) func() int {
			return func() int {
				l, _, err := box.Messages(ctx, q)
				if err != nil {
					b.Fatal(err)
				}
				return len(l)
			}
		}
		threads := func(q ThreadQuery) func() int {
			return func() int {
				l, _, err := box.Threads(ctx, q)
				if err != nil {
					b.Fatal(err)
				}
				return len(l)
			}
		}
		for _, q := range []struct {
			name string
			fn   func() int
		}{
			{"account", messages(MessageQuery{})},
			{"folder", messages(MessageQuery{Folders: []mail.FolderID{fid("INBOX")}})},
			{"two folders", messages(MessageQuery{Folders: []mail.FolderID{fid("INBOX"), fid("Copy")}})},
			{"middle of folder", messages(MessageQuery{Folders: []mail.FolderID{fid("INBOX")}, Before: mid})},
			{"unread in folder", messages(MessageQuery{Folders: []mail.FolderID{fid("INBOX")}, Unread: &yes})},
			{"starred", messages(MessageQuery{Starred: &yes})},
			{"with attachment, none", messages(MessageQuery{HasAttachment: &yes})},
			{"from", messages(MessageQuery{From: []string{"person7@example7.com"}})},
			{"any email", messages(MessageQuery{AnyEmail: []string{"person7@example7.com"}})},
			{"to all", messages(MessageQuery{To: []string{"ada@example.com"}})},
			{"from in folder unread", messages(MessageQuery{From: []string{"person7@example7.com"}, Folders: []mail.FolderID{fid("INBOX")}, Unread: &yes})},
			{"subject, common", messages(MessageQuery{Subject: "NUMBER 1"})},
			{"subject, none", messages(MessageQuery{Subject: "nowhere"})},
			{"threads", threads(ThreadQuery{})},
			{"threads of folder", threads(ThreadQuery{Folders: []mail.FolderID{fid("INBOX")}})},
			{"threads unread", threads(ThreadQuery{Unread: &yes})},
			{"threads from", threads(ThreadQuery{From: []string{"person7@example7.com"}})},
			{"threads to all in folder", threads(ThreadQuery{To: []string{"ada@example.com"}, Folders: []mail.FolderID{fid("Copy")}})},
		} {
			b.Run(q.name, func(b *testing.B) {
				var times []time.Duration
				n := 0
				for b.Loop() {
					from := time.Now()
					n = q.fn()
					times = append(times, time.Since(from))
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
				b.ReportMetric(float64(n), "rows")
			})
		}
	})
}
