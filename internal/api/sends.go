package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	stdmime "mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// sendTime is how long a send waits for the mail server before it answers 202.
const sendTime = 10 * time.Second

// Sender sends messages.
type Sender interface {
	Spool(ctx context.Context, mb *store.Mailbox, o sender.Outgoing) (mail.Send, *mime.Message, error)
	Submit(ctx context.Context, id mail.AccountID, s mail.Send) (out mail.Send, again bool, err error)
	Cancel(ctx context.Context, id mail.AccountID, send string) (mail.Send, error)
	Wake(id mail.AccountID)
	Forget(ctx context.Context, id mail.AccountID) error
}

func (a *API) sendMessage(c *call) error {
	fields, err := v3.ParseSendFields(c.r.URL.Query())
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	if strings.EqualFold(c.r.URL.Query().Get("type"), "mime") {
		return c.sendMIME(acct, mb, fields)
	}
	u, err := c.upload(mb)
	if err != nil {
		return err
	}
	defer u.drop(c.r.Context())
	tracking, err := v3.ParseTracking(u.Tracking)
	if err != nil {
		return err
	}
	at, err := v3.ParseSendAt(u.SendAt, a.Now())
	if err != nil {
		return err
	}
	with := mail.Send{Tracking: tracking}
	if u.Metadata != nil {
		with.Summary.Metadata = *u.Metadata
	}
	m := mime.Composition{From: []mime.Address{{Name: acct.Name, Email: acct.Email}}, KeepBcc: true, Date: a.Now()}
	if !at.IsZero() {
		m.Date = at
	}
	u.apply(c.r.Context(), &m)
	if len(m.From) != 1 {
		return mail.E(mail.Invalid, "read body", "from takes one address", nil)
	}
	if err := c.track(acct, tracking, &m); err != nil {
		return err
	}
	m.MessageID = mime.NewMessageID(m.From[0].Email)
	if id := u.ReplyToMessage; id != nil && *id != "" {
		original, err := c.original(mb, *id)
		if err != nil {
			return err
		}
		m.AnswerTo(original, a.Now())
	}
	return c.send1(acct, mb, fields, with, u.digest, sender.Outgoing{SendAt: at, Write: func(w io.Writer) error { return compose(w, m) }})
}

// sendDraft sends a draft as it is, with the date of now.
func (a *API) sendDraft(c *call) error {
	fields, err := v3.ParseSendFields(c.r.URL.Query())
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	if err := v3.ParseDraftSend(c.r.Body); err != nil {
		return err
	}
	ctx := c.r.Context()
	draft, raw, err := c.draftBytes(mb, mail.MessageID(c.r.PathValue("draft")))
	if err != nil {
		return err
	}
	work := &mail.DraftWork{Old: draft.ID}
	at, err := mb.PlacementsOf(ctx, draft.ID)
	if err != nil {
		return err
	}
	for _, p := range at[draft.ID] {
		work.Replaces = append(work.Replaces, mail.Copy{Folder: p.Folder, UIDValidity: p.UIDValidity, UID: p.UID})
	}
	if op, err := mb.PendingDraft(ctx, draft.ID); err == nil && op.Draft.Revision != "" {
		work.Bases = append(op.Draft.Bases, op.Draft.Revision)
	} else if err != nil && !mail.IsKind(err, mail.NotFound) {
		return err
	}
	from := acct.Email
	if len(draft.From) == 1 {
		from = draft.From[0].Email
	}
	request := func() string { return "draft " + string(draft.ID) }
	return c.send1(acct, mb, fields, mail.Send{Summary: mail.Message{Metadata: draft.Metadata}}, request, sender.Outgoing{Draft: draft.ID, Work: work, Write: func(w io.Writer) error {
		r, err := mb.OpenBlob(ctx, raw)
		if err != nil {
			return err
		}
		defer r.Close()
		dated, err := sender.Redated(r, from, a.Now())
		if err != nil {
			return err
		}
		_, err = io.Copy(w, dated)
		return err
	}})
}

// sendMIME sends a message that the caller has composed: the field or file mime of a form.
func (c *call) sendMIME(acct mail.Account, mb *store.Mailbox, fields v3.Fields) error {
	kind, params, _ := stdmime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		return mail.E(mail.Invalid, "read body", "with type=mime the body must be a multipart form with the message in its field mime", nil)
	}
	r := multipart.NewReader(http.MaxBytesReader(c.ResponseWriter, c.body, c.maxMessage()/3*4+maxLetter), params["boundary"])
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return mail.E(mail.Invalid, "read body", "the form has no field named mime", nil)
		}
		if err != nil {
			return formError(err)
		}
		if p.FormName() != "mime" {
			continue
		}
		sum := sha256.New()
		request := func() string { return fmt.Sprintf("mime %x", sum.Sum(nil)) }
		return c.send1(acct, mb, fields, mail.Send{}, request, sender.Outgoing{Write: func(w io.Writer) error {
			whole, err := sender.Completed(io.TeeReader(p, sum), mail.Address{Email: acct.Email}, c.a.Now())
			if err == nil {
				_, err = io.Copy(w, whole)
			}
			if err != nil {
				return formError(err)
			}
			return nil
		}})
	}
}

// digest names what the request asks for, whatever form it came in.
func (u *upload) digest() string {
	said := u.MessageWrite
	said.Attachments = nil
	files := u.files(context.Background())
	list := make([]any, 0, len(files)+1)
	list = append(list, said)
	for _, f := range files {
		sum := sha256.New()
		if r, err := f.Open(); err == nil {
			_, _ = io.Copy(sum, r) // it was read a moment ago; if not now, the request counts as another
			r.Close()
		}
		list = append(list, []any{f.Name, f.ContentType, f.ContentID, f.Inline, f.Size, sum.Sum(nil)})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// send1 has one message sent and answers: 200 when the mail server has taken it, 202 when it is accepted and waits for its
// time or for the server, or why it cannot be sent. Metadata and tracking are those of with. digest tells two requests apart,
// once o was written.
func (c *call) send1(acct mail.Account, mb *store.Mailbox, fields v3.Fields, with mail.Send, digest func() string, o sender.Outgoing) error {
	ctx, cancel := c.detached(sendTime)
	defer cancel()
	o.Key = c.r.Header.Get(keyHeader)
	if len(o.Key) > maxKey {
		return c.keyTooLong()
	}
	if acct.Settings.SMTP == nil {
		return sender.NoSMTP()
	}
	s, m, err := c.a.Sender.Spool(c.r.Context(), mb, o)
	if err != nil {
		return err
	}
	s.Summary.Metadata, s.Tracking = with.Summary.Metadata, with.Tracking
	if o.Key != "" {
		s.Request = digest()
	}
	request := s.Request
	s, again, err := c.a.Sender.Submit(ctx, acct.ID, s)
	if err != nil {
		return err
	}
	if again && s.Request != request {
		return c.keyReused()
	}
	if again {
		c.Header().Set(againHeader, "true")
	}
	status := http.StatusAccepted
	switch s.State {
	case mail.SendFailed, mail.SendUncertain:
		e := v3.SendErrorOf(s)
		c.error(e.StatusCode, v3.Error{Type: e.Type, Message: e.Message})
		return nil
	case mail.SendSent, mail.SendFiled, mail.SendUnfiled:
		status = http.StatusOK
	}
	out := v3.SentOf(s, acct.ID)
	if body, html := mime.DisplayBody(m); html {
		out.Body = body
	} else if body != "" {
		out.Body = mime.TextToHTML(body)
	}
	switch fields {
	case v3.FieldsHeaders:
		out.Headers = []v3.Header{}
		for _, f := range m.Header {
			out.Headers = append(out.Headers, v3.Header{Name: f.Name, Value: strings.TrimSpace(f.Value)})
		}
	case v3.FieldsBasic:
		out.Headers = v3.BasicHeaders(s.Summary)
	}
	if status == http.StatusOK {
		folders, err := mb.Folders(ctx)
		if err != nil {
			return err
		}
		for _, f := range folders {
			if f.Role == mail.RoleSent {
				out.Folders = []mail.FolderID{f.ID}
			}
		}
	}
	c.send(status, func(b *bytes.Buffer) error {
		return v3.Select{}.Encode(b, v3.SentAnswer{RequestID: c.id, GrantID: acct.ID, Data: out})
	})
	return nil
}

// keepSchedules is how long a schedule is shown after its end.
const keepSchedules = 72 * time.Hour

// maxSchedules bounds a list of schedules, which has no pages.
const maxSchedules = 1000

func (a *API) listSchedules(c *call) error {
	_, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	list, err := mb.Sends(c.r.Context(), a.Now().Add(-keepSchedules), 10*maxSchedules)
	if err != nil {
		return err
	}
	out := []v3.Schedule{}
	for _, s := range list {
		if !s.SendAt.IsZero() && len(out) < maxSchedules {
			out = append(out, v3.ScheduleOf(s))
		}
	}
	return c.page(v3.Select{}, out, "")
}

// schedule returns the schedule that the path names.
func (c *call) schedule(mb *store.Mailbox) (mail.Send, error) {
	if c.r.PathValue("schedules") != "schedules" {
		return mail.Send{}, mail.E(mail.NotFound, "route", "there is nothing at this path", nil)
	}
	s, err := mb.Send(c.r.Context(), c.r.PathValue("schedule"))
	if err == nil && (s.SendAt.IsZero() || !s.EndedAt.IsZero() && s.EndedAt.Before(c.a.Now().Add(-keepSchedules))) {
		err = mail.E(mail.NotFound, "find schedule", "there is no such schedule", nil)
	}
	return s, err
}

func (a *API) getSchedule(c *call) error {
	_, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	s, err := c.schedule(mb)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, v3.ScheduleOf(s))
}

func (a *API) stopSchedule(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	s, err := c.schedule(mb)
	if err != nil {
		return err
	}
	if _, err := a.Sender.Cancel(c.r.Context(), acct.ID, s.ID); err != nil {
		return err
	}
	return c.one(http.StatusAccepted, v3.Select{}, v3.Done{Message: "requested cancelation for workflow"})
}
