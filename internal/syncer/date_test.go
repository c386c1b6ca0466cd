package syncer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestDatesWithoutINTERNALDATE: a message of which the server tells no date has the one in it, the same whenever it is synchronised.
func TestDatesWithoutINTERNALDATE(t *testing.T) {
	t.Parallel()
	const (
		received = "Received: from c by b; Mon, 2 Mar 2026 10:00:02 +0000\r\nReceived: from b by a (no date)\r\n" // above the older ones
		older    = "Received: from b by a; Mon, 2 Mar 2026 10:00:01 +0000\r\n"
		future   = "Received: from d by c; Mon, 2 Mar 2037 10:00:01 +0000\r\n"
		date     = "Date: Sun, 01 Mar 2026 12:00:00 +0000\r\n"
		id       = "Message-ID: <1@example.com>\r\n"
	)
	for _, c := range []struct {
		name, header string
		want         time.Time // zero: when it was synchronised
	}{
		{"Date", id + received + date, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		{"Received", id + received + older, time.Date(2026, 3, 2, 10, 0, 2, 0, time.UTC)},
		{"Received in the future", id + future + older, time.Date(2026, 3, 2, 10, 0, 1, 0, time.UTC)},
		{"no Message-ID", received + older, time.Date(2026, 3, 2, 10, 0, 2, 0, time.UTC)},
		{"nothing", id, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, persona.Knobs{Say: func(_ persona.Command, line string) string {
				return strings.ReplaceAll(line, `INTERNALDATE "01-Mar`, `INTERNALDATE "00-Foo`)
			}})
			p.Deliver("INBOX", []byte(c.header+"Subject: s\r\n\r\nx\r\n"))
			for _, later := range []time.Duration{0, 1000 * time.Hour} {
				r := rigAt(t, p.Host, p.Port, persona.Password, "ann")
				r.p = p
				r.wait(later)
				began := r.now().Truncate(time.Second)
				r.look(true)
				var got time.Time
				r.each(func(at mail.Placement) string {
					m, err := r.a.mbox.Message(t.Context(), at.Message)
					if err != nil {
						t.Fatal(err)
					}
					got = m.Date
					return fmt.Sprint(at.UID)
				})
				if c.want.IsZero() && (got.Before(began) || got.After(r.now())) || !c.want.IsZero() && !got.Equal(c.want) {
					t.Errorf("%v later: %v, want %v", later, got, c.want)
				}
			}
		})
	}
}
