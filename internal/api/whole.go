package api

import (
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// whole has the content of a message fetched that is here without, as the grant has asked for, and returns the message as it is
// then. If the mail server does not give it in time, that is as it was, and the fetching goes on.
func (c *call) whole(id mail.AccountID, mb *store.Mailbox, m mail.Message) (mail.Message, error) {
	ctx, cancel := c.detached(confirmTime)
	defer cancel()
	if _, err := c.a.Engine.Do(ctx, id, mail.Operation{Kind: mail.OpFetch, Messages: []mail.MessageID{m.ID}}); err != nil {
		return m, err
	}
	return mb.Message(c.r.Context(), m.ID)
}
