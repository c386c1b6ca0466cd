package api

import (
	"io"
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/v3"
)

// getDetails reads a message anew and answers with what was understood of it.
func (a *API) getDetails(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	m, err := mb.Message(ctx, mail.MessageID(c.r.PathValue("message")))
	if err != nil {
		return err
	}
	if m.Body != mail.BodyHeld {
		return &mail.Error{Op: "read message", Kind: mail.Unavailable, After: 5 * time.Second, Msg: "the message was not fetched from the server yet; try again soon"}
	}
	var parsed *mime.Message
	if err := open(c, mb, acct.ID, m, func(r io.ReadSeeker) error {
		parsed, err = mime.Parse(r, mime.Options{})
		return err
	}); err != nil {
		return err
	}
	d := detailsOf(parsed)
	d.ID, d.Object, d.GrantID = m.ID, "message_details", acct.ID
	return c.one(http.StatusOK, v3.Select{}, d)
}

func detailsOf(m *mime.Message) v3.MessageDetails {
	d := v3.MessageDetails{ParseState: "complete", Problems: append([]string{}, m.Problems...), Text: m.PlainText(), Security: string(m.Security), Automatic: m.Automatic(),
		Auto: m.Auto, Precedence: m.Precedence, Calendars: []v3.Calendar{}}
	if m.Partial {
		d.ParseState = "partial"
	}
	if body, html := mime.DisplayBody(m); html {
		d.HTML = mime.Sanitize(body, mime.SanitizeOptions{})
	}
	if l := m.List; l.ID != "" || len(l.Post)+len(l.Unsubscribe) > 0 {
		d.List = &v3.MailingList{ID: l.ID, Name: l.Name, Post: l.Post, Help: l.Help, Subscribe: l.Subscribe, Unsubscribe: l.Unsubscribe, Owner: l.Owner, Archive: l.Archive, OneClick: l.OneClick}
	}
	for _, p := range m.Attachments {
		if p.ContentType == "text/calendar" {
			d.Calendars = append(d.Calendars, v3.Calendar{AttachmentID: v3.AttachmentID(p.ID), Method: p.Method})
		}
	}
	if r := m.Delivery; r != nil {
		d.Delivery = &v3.DeliveryReport{Failed: r.Failed(), Standard: r.Standard, MTA: r.ReportingMTA, Recipients: []v3.DeliveryRecipient{}}
		for _, x := range r.Recipients {
			d.Delivery.Recipients = append(d.Delivery.Recipients, v3.DeliveryRecipient{Email: x.Address, Action: x.Action, Status: x.Status, Diagnostic: x.Diagnostic})
		}
		if r.Returned != nil {
			d.Delivery.MessageID, d.Delivery.Subject = r.Returned.MessageID, r.Returned.Subject
		}
	}
	if r := m.Receipt; r != nil {
		d.Receipt = &v3.ReadReceipt{Recipient: r.Recipient, MessageID: r.OriginalMessageID, Disposition: r.Disposition, Automatic: r.Automatic}
	}
	for _, x := range m.ReceiptTo {
		d.ReceiptTo = append(d.ReceiptTo, mail.Address(x))
	}
	if f := m.Fragment; f != nil {
		d.Fragment = &v3.Fragment{ID: f.ID, Number: f.Number, Total: f.Total}
	}
	return d
}
