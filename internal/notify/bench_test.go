package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// BenchmarkDeliver is how fast the events of one account go out: a flag on each of many messages at once, to a number of
// endpoints.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			x := setup(b)
			messages := max(1000/n, 100)
			for i := range messages {
				x.deliver(mail.OriginLive, fmt.Sprintf("%05d", i), strings.Repeat("a line of text\n", 20), false)
			}
			x.clock.add(time.Second)
			var sinks []*sink
			for range n {
				s := newSink(b, nil, false)
				x.hook(s.srv.URL, "message.updated")
				sinks = append(sinks, s)
			}
			x.start()
			told := 0
			b.ResetTimer()
			for b.Loop() {
				flags := mail.Flags(0)
				if told%2 == 0 {
					flags = mail.FlagSeen
				}
				var list []store.FlagUpdate
				for uid := range mail.UID(messages) {
					list = append(list, store.FlagUpdate{PlacementRef: store.PlacementRef{Folder: x.inbox, UIDValidity: 1, UID: uid + 1}, Flags: flags})
				}
				x.apply(store.Batch{Origin: mail.OriginLive, Flags: list})
				told++
				for _, s := range sinks {
					s.await(b, "endpoint", told*messages)
				}
			}
			b.ReportMetric(float64(told*messages*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
