package api

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/v3"
	"github.com/posthorn/posthorn/internal/vault"
)

// cleanMessages answers with what people wrote in messages: as text, as Markdown if asked for, and as HTML when links,
// images or tables shall stay. That HTML is sanitised: it is made to be shown.
func (a *API) cleanMessages(c *call) error {
	req, err := v3.ParseClean(c.r.Body)
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	o := mime.DefaultCleanOptions()
	for _, x := range []struct {
		given *bool
		to    *bool
	}{
		{req.IgnoreLinks, &o.IgnoreLinks}, {req.IgnoreImages, &o.IgnoreImages}, {req.ImagesAsMarkdown, &o.ImagesAsMarkdown}, {req.IgnoreTables, &o.IgnoreTables},
		{req.RemoveConclusionPhrases, &o.RemoveConclusionPhrases}, {req.HTMLAsMarkdown, &o.HTMLAsMarkdown},
	} {
		if x.given != nil {
			*x.to = *x.given
		}
	}
	ctx := c.r.Context()
	out := make([]v3.CleanMessage, 0, len(req.Messages))
	total := 0
	for _, id := range req.Messages {
		m, err := mb.Message(ctx, id)
		if mail.IsKind(err, mail.NotFound) {
			c.error(http.StatusNotFound, v3.Error{Type: v3.TypePartial, Message: "some of the messages do not exist"})
			return nil
		}
		if err != nil {
			return err
		}
		if m.Body != mail.BodyHeld {
			return &mail.Error{Op: "clean messages", Kind: mail.Unavailable, After: 5 * time.Second, Msg: "a message was not fetched from the server yet; try again soon"}
		}
		shown, err := mb.Display(ctx, id)
		if err != nil {
			return err
		}
		d := shown[id]
		if d.Damaged {
			return c.sound(acct.ID, id, vault.ErrDamaged)
		}
		v := v3.CleanMessage{Message: v3.MessageOf(m, acct.ID)}
		if v.Body = d.Body; !d.HTML && d.Body != "" {
			v.Body = mime.TextToHTML(d.Body)
		}
		if total += len(v.Body); total > pageBytes {
			return mail.E(mail.Invalid, "clean messages", "the messages are too large together: ask for fewer at once", nil)
		}
		cleaned := mime.CleanBody(m.Subject, d.Body, d.HTML, o)
		switch {
		case !cleaned.HTML:
			v.Conversation = cleaned.Conversation
		case o.IgnoreLinks && o.IgnoreImages && o.IgnoreTables: // nothing is left that text could not say
			v.Conversation = cleaned.Text
		default:
			v.Conversation = mime.Sanitize(cleaned.Conversation, mime.SanitizeOptions{Remote: !o.IgnoreImages})
		}
		out = append(out, v)
	}
	return c.page(v3.Select{}, out, "")
}
