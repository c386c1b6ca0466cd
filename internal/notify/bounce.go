package notify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
	"github.com/posthorn/posthorn/internal/vault"
)

// bounce tells what a report says of a sent message. Either may have been deleted since, or its bytes be damaged: then what is
// known is told.
func (v *view) bounce(ctx context.Context, acct mail.Account, mb *store.Mailbox, c mail.Change) error {
	v.note.Source, v.note.Data.GrantID = v3.SourceSend, acct.ID
	o := v3.Bounce{GrantID: acct.ID, MessageID: mail.MessageID(c.Object), ReportID: mail.MessageID(c.Data.From), Date: mailDate(c.At), Type: v3.BounceType("")}
	o.Origin = v3.BounceOrigin{To: []string{}, Cc: []string{}, Bcc: []string{}, ID: o.MessageID}
	report, err := readReport(ctx, mb, o.ReportID)
	if errors.Is(err, vault.ErrDamaged) || mail.IsKind(err, mail.NotFound) {
		report, err = nil, nil
	}
	if err != nil {
		return err
	}
	if report != nil && report.Delivery != nil {
		fillBounce(&o, report)
	}
	m, err := mb.Message(ctx, o.MessageID)
	if err == nil {
		at := m.Sent
		if at.IsZero() {
			at = m.Date
		}
		o.Origin.To, o.Origin.Cc, o.Origin.Bcc, o.Origin.SentAt = emails(m.To), emails(m.Cc), emails(m.Bcc), mailDate(at)
		o.Origin.Subject, o.Origin.MimeID = cut(m.Subject), "<"+m.HeaderMessageID+">"
		if len(m.From) > 0 {
			o.Origin.From = m.From[0].Email
		}
	} else if !mail.IsKind(err, mail.NotFound) {
		return err
	}
	v.note.Data.Object = o
	if fits, err := v.fits(); fits || err != nil {
		return err
	}
	o.Origin.To, o.Origin.Cc, o.Origin.Bcc = []string{}, []string{}, []string{}
	v.note.Data.Object = o
	return nil
}

// readReport parses the report; nil if its bytes are not here.
func readReport(ctx context.Context, mb *store.Mailbox, id mail.MessageID) (*mime.Message, error) {
	r, err := mb.OpenRaw(ctx, id)
	if err != nil || r == nil {
		return nil, err
	}
	defer r.Close()
	return mime.Parse(r, mime.Options{})
}

func fillBounce(o *v3.Bounce, report *mime.Message) {
	if !report.Date.IsZero() {
		o.Date = mailDate(report.Date)
	}
	var addresses []string
	for _, r := range report.Delivery.Recipients {
		if r.Action != "failed" || len(addresses) == 100 {
			continue
		}
		if len(addresses) == 0 { // the others mostly say the same
			o.Reason, o.Type, o.Code = cut(r.Diagnostic), v3.BounceType(r.Status), replyCode(r.Diagnostic)
			if o.Code == "" {
				o.Code = r.Status
			}
		}
		if !slices.Contains(addresses, cut(r.Address)) {
			addresses = append(addresses, cut(r.Address))
		}
	}
	o.Addresses = strings.Join(addresses, ", ")
}

// replyCode finds the SMTP reply code that a diagnostic begins with, after the name of who speaks.
func replyCode(s string) string {
	for w := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(" :;,#-()<>", r) }) {
		if len(w) == 3 && (w[0] == '4' || w[0] == '5') && w[1] >= '0' && w[1] <= '5' && w[2] >= '0' && w[2] <= '9' {
			return w
		}
	}
	return ""
}

func mailDate(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

func emails(list []mail.Address) []string {
	out := []string{}
	for _, a := range list {
		out = append(out, a.Email)
	}
	return out
}
