package api

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

const (
	// mendTime is how long a request waits for what is lost to be fetched once more.
	mendTime = 5 * time.Second
	// mendAgain is after what time that is asked for again: the mail server may be away.
	mendAgain = 10 * time.Minute
)

// damage is a message of which what is stored is lost or damaged.
type damage struct {
	grant   mail.AccountID
	message mail.MessageID
}

// sound returns err, in words for the caller when it says that the stored bytes of a message are lost or damaged. They are fetched
// from the mail server once more before the request ends.
func (c *call) sound(grant mail.AccountID, message mail.MessageID, err error) error {
	if !errors.Is(err, vault.ErrDamaged) {
		return err
	}
	c.damaged = append(c.damaged, damage{grant, message})
	return &mail.Error{Op: "read message", Kind: mail.Unavailable, After: mendTime, Err: err,
		Msg: "what is stored of this message is damaged; it is being fetched from the mail server once more: try again soon"}
}

// mend has fetched once more what was found to be damaged.
func (c *call) mend() {
	if len(c.damaged) == 0 {
		return
	}
	ctx, cancel := c.detached(mendTime)
	defer cancel()
	for _, d := range c.damaged {
		if ctx.Err() != nil || !c.a.mending.begin(d, c.a.Now()) {
			continue
		}
		c.a.Log.WarnContext(ctx, "a stored message is damaged and fetched once more", "request_id", c.id, "account", d.grant, "message", d.message)
		op, err := c.a.Engine.Do(ctx, d.grant, mail.Operation{Kind: mail.OpFetch, Messages: []mail.MessageID{d.message}})
		switch {
		case err != nil || op.State == mail.OpFailed:
			c.a.Log.WarnContext(ctx, "a damaged message was not fetched", "request_id", c.id, "account", d.grant, "reason", op.Reason, "err", err)
		case op.State == mail.OpDone:
			c.a.mending.end(d)
		}
	}
}

// mending is what was asked to be fetched once more, and when.
type mending struct {
	mu sync.Mutex
	at map[damage]time.Time
}

// begin tells whether it is to be asked for now.
func (m *mending) begin(d damage, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.at, func(_ damage, at time.Time) bool { return now.Sub(at) > mendAgain })
	if _, asked := m.at[d]; asked {
		return false
	}
	if m.at == nil {
		m.at = map[damage]time.Time{}
	}
	m.at[d] = now
	return true
}

func (m *mending) end(d damage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.at, d)
}
