package syncer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestARefusedFurtherConnectionIsNoDisaster: the account lives with the one that it has, and does not ask again and again.
func TestARefusedFurtherConnectionIsNoDisaster(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{"NO [LIMIT] Too many simultaneous connections", "NO [AUTHENTICATIONFAILED] Authentication failed"} {
		p := persona.Start(t, persona.Knobs{})
		for i := range 9 {
			p.Deliver("INBOX", message(i))
		}
		p.Turn(func(k *persona.Knobs) {
			k.Answer = func(c persona.Command) string {
				if (c.Name == "LOGIN" || c.Name == "AUTHENTICATE") && p.Open() > 1 {
					return refusal
				}
				return ""
			}
		})
		c := setupClocked(t, p, nil)
		c.messages(9)
		for i := range 5 { // each is found by a look of its own
			p.Deliver("INBOX", message(100+i))
			c.messages(int64(10 + i))
		}
		if n := p.Count("LOGIN") + p.Count("AUTHENTICATE"); n > 3 {
			t.Errorf("%s: %d logins", refusal, n)
		}
		p.Turn(func(k *persona.Knobs) { k.Answer = nil })
		c.ahead.Store(int64(2 * time.Hour))
		c.engine.Start(c.id) // no need to wait for the poll
		c.until("a second connection after an hour or two", func() bool { return p.Open() > 1 })
		c.engine.Close()
	}
}

// TestTheDaysBytesAreNotExceeded: old mail waits until the next day, new mail still comes, and the account says so.
func TestTheDaysBytesAreNotExceeded(t *testing.T) {
	t.Parallel()
	const limit = 500_000 // the newest page and all headers are within it
	p := persona.Start(t, persona.Knobs{})
	filler := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 100)
	for i := range 120 {
		p.Deliver("INBOX", append(message(i), filler...))
	}
	c := setupLimited(t, p, limit, nil)
	status := func() mail.SyncStatus { s, _ := c.engine.Status(c.id); return s }
	c.until("the account to be throttled", func() bool { return status().State == mail.StateThrottled })
	if s := status(); !strings.Contains(s.Reason, "in a day") || s.Action == "" || s.Done == 0 || s.Done >= s.Total {
		t.Errorf("%+v", s)
	}
	if done, err := c.mbox.Synced(t.Context()); err != nil || done {
		t.Errorf("the initial sync was called complete: %v, %v", done, err)
	}
	if u := c.engine.Usage()["other"]; u.Received > limit*3/2 { // a batch that was begun is fetched to its end
		t.Errorf("%d bytes were received of %d", u.Received, limit)
	}
	id := fmt.Sprint("m", 500)
	p.Deliver("INBOX", message(500))
	c.until("new mail to arrive", func() bool {
		ok, err := c.mbox.HasHeaderID(t.Context(), c.inbox(), id+"@example.com", day.Add(-1e6*time.Hour))
		return err == nil && ok
	})
	step := 0
	c.until("all of it, over some days", func() bool {
		if status().State == mail.StateThrottled {
			step++
			c.ahead.Store(int64(time.Duration(step) * 25 * time.Hour))
			c.engine.Start(c.id)
		}
		n, err := c.mbox.Counts(t.Context())
		return err == nil && n.Placements == 121 && n.Unheld == 0 && status().State == mail.StateLive
	})
}

func (b *bench) inbox() mail.FolderID {
	b.t.Helper()
	folders, err := b.mbox.Folders(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range folders {
		if f.Role == mail.RoleInbox {
			return f.ID
		}
	}
	return ""
}
