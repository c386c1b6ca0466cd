package syncer_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestSuccessesThatAskToSlowDown: a server that says [THROTTLED] with each OK (Gmail) is left alone after each step, and all of
// the mail comes all the same.
func TestSuccessesThatAskToSlowDown(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{Say: persona.Throttled})
	for i := range 60 {
		p.Deliver("INBOX", message(i))
	}
	c := setupClocked(t, p, nil)
	status := func() mail.SyncStatus { s, _ := c.engine.Status(c.id); return s }
	resting := func() bool {
		open := 0
		for _, u := range c.engine.Usage() { // the server hears of the end of a connection later
			open += u.Connections
		}
		return status().State == mail.StateThrottled && open == 0
	}
	rests := 0
	c.until("all that was there, with rests", func() bool {
		n, err := c.mbox.Counts(t.Context())
		if resting() {
			rests++
			if err == nil && n.Placements == 60 && n.Unheld == 0 {
				return true
			}
			c.engine.Start(c.id) // no need to wait
		}
		return false
	})
	if s := status(); !strings.Contains(s.Reason, "asked to slow down") || s.Action == "" || rests == 0 {
		t.Errorf("%d rests, then %+v", rests, s)
	}
	if n := p.Logins(); n > 12 {
		t.Errorf("%d logins", n)
	}
	p.Turn(func(k *persona.Knobs) { k.Say = nil })
	p.Deliver("INBOX", message(200))
	c.until("the account to work again", func() bool {
		if resting() {
			c.engine.Start(c.id)
		}
		return status().State == mail.StateLive
	})
	c.messages(61)

	p.Turn(func(k *persona.Knobs) { k.Say = persona.Throttled }) // while it listens
	p.Deliver("INBOX", message(201))
	c.until("the account to rest", resting)
	p.Turn(func(k *persona.Knobs) { k.Say = nil })
	c.engine.Start(c.id)
	c.messages(62)
}
