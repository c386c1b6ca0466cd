package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

const (
	// maxPayload is from which size on a message is told without its body.
	maxPayload = 1 << 20
	// bodyWait is how long a new message is held back for its body, which usually arrives a moment after its header.
	bodyWait = 30 * time.Second
)

// trigger returns the name under which a change is announced, "" if it is not. What the initial sync found is announced
// only to those who want history.
func trigger(c mail.Change, history bool) string {
	switch {
	case c.Kind == mail.AccountState && c.Data.State == mail.StateReauth:
		return "grant.expired"
	case c.Kind == mail.SyncDone:
	case c.Origin == mail.OriginInitial && !history:
		return ""
	}
	return c.Kind.String()
}

// noteID makes the id of the notification of a change.
func noteID(log mail.AccountID, seq mail.Seq) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "notification|%s|%d", log, seq))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // a UUID of version 8 (RFC 9562 5.8)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// view is what a change looks like now.
type view struct {
	note    v3.Notification
	shows   mail.Seq // the last change of the object that note shows
	pending bool     // the body is not here yet
}

// render makes the notification of a change of an account; false if there is nothing to tell.
func render(ctx context.Context, acct mail.Account, mb *store.Mailbox, c mail.Change) (v view, ok bool, err error) {
	kind := trigger(c, true)
	if kind == "" {
		return v, false, nil
	}
	v.note = v3.Notification{SpecVersion: "1.0", Type: kind, Source: v3.SourceMail, ID: noteID(acct.ID, c.Seq), Time: c.At.Unix(), Data: v3.NotificationData{ApplicationID: acct.App}}
	if c.Origin == mail.OriginInitial {
		v.note.Source = v3.SourceHistory
	}
	v.shows = c.Seq
	switch c.Kind {
	case mail.MessageCreated, mail.MessageUpdated:
		err = v.message(ctx, acct, mb, mail.MessageID(c.Object))
	case mail.FolderCreated, mail.FolderUpdated:
		err = v.folder(ctx, acct, mb, mail.FolderID(c.Object))
	case mail.MessageDeleted:
		v.note.Data.Object = v3.Gone{ID: c.Object, GrantID: acct.ID, Object: "message"}
	case mail.FolderDeleted, mail.FolderReset:
		v.note.Data.Object = v3.Gone{ID: c.Object, GrantID: acct.ID, Object: "folder"}
	case mail.MessageBounced:
		err = v.bounce(ctx, acct, mb, c)
	case mail.ThreadMerged:
		v.note.Data.Object = v3.Merged{ID: c.Object, MergedID: c.Data.From, GrantID: acct.ID, Object: "thread"}
	case mail.MessageOpened, mail.LinkClicked:
		err = v.visit(ctx, acct, mb, c)
	case mail.ThreadReplied:
		err = v.reply(ctx, acct, mb, c)
	case mail.SyncGap:
		v.note.Data.Object = v3.Gap{GrantID: acct.ID, Object: "gap", Since: c.Data.Since, Until: c.Data.Until, Reason: c.Data.Reason}
	case mail.SyncDone:
		v.note.Source = v3.SourceHistory
		v.note.Data.Object = v3.GrantNotice{Code: v3.CodeCreated, GrantID: acct.ID, IntegrationID: acct.App, Provider: acct.Provider, Type: kind}
	case mail.AccountState:
		v.state(acct, c)
	case mail.SendAccepted, mail.SendSucceeded, mail.SendNotDone, mail.SendStopped:
		err = v.send(ctx, acct, mb, c)
	default:
		return v, false, nil
	}
	if mail.IsKind(err, mail.NotFound) { // it was deleted since, which is told by its own change
		return v, false, nil
	}
	return v, err == nil, err
}

func (v *view) state(acct mail.Account, c mail.Change) {
	v.note.Source = v3.SourceSystem
	o := v3.GrantNotice{Code: v3.CodeUpdated, GrantID: acct.ID, IntegrationID: acct.App, Provider: acct.Provider}
	if v.note.Type == "grant.expired" {
		o.Code, o.GrantUpdatedAt = v3.CodeExpired, acct.UpdatedAt.Unix()
	} else {
		no := false
		o.Email, o.Reauth = acct.Email, &no
	}
	sync := v3.SyncOf(mail.SyncStatus{State: c.Data.State, Since: c.At, Reason: c.Data.Reason, Action: c.Data.Action})
	o.Sync = &sync
	v.note.Data.Object = o
}

func (v *view) send(ctx context.Context, acct mail.Account, mb *store.Mailbox, c mail.Change) error {
	s, err := mb.Send(ctx, c.Object)
	if err != nil {
		return err
	}
	v.note.Source, v.note.Data.GrantID = v3.SourceSend, acct.ID
	s.State = c.Data.Send
	if c.Kind == mail.SendNotDone {
		e := v3.SendErrorOf(s)
		v.note.Data.Error = &e
	}
	o := v3.SentOf(s, acct.ID)
	v.note.Data.Object = o
	if fits, err := v.fits(); fits || err != nil {
		return err
	}
	o.To, o.Cc, o.Bcc, o.ReplyTo, o.Attachments, o.Send.Recipients = []mail.Address{}, []mail.Address{}, []mail.Address{}, []mail.Address{}, []v3.Attachment{}, []v3.SendTo{}
	v.note.Data.Object = o
	return nil
}

// visit tells that a message was opened or that a link of it was followed, with all that is known of such visits now.
func (v *view) visit(ctx context.Context, acct mail.Account, mb *store.Mailbox, c mail.Change) error {
	id := mail.MessageID(c.Object)
	tracked, err := mb.Tracking(ctx, id)
	if err != nil {
		return err
	}
	seen, err := mb.Visits(ctx, id)
	if err != nil {
		return err
	}
	v.note.Source, v.note.Data.GrantID = v3.SourceTracks, acct.ID
	v.note.Data.Object = v3.VisitedOf(acct.ID, acct.App, id, tracked[id], seen, c.Data.Link, c.Data.Count, c.At.Unix())
	return nil
}

// reply tells of a message that answers one that is tracked, as long as it is there.
func (v *view) reply(ctx context.Context, acct mail.Account, mb *store.Mailbox, c mail.Change) error {
	m, err := mb.Message(ctx, mail.MessageID(c.Data.From))
	if err != nil {
		return err
	}
	tracked, err := mb.Tracking(ctx, c.Data.Root)
	if err != nil {
		return err
	}
	v.note.Source, v.note.Data.GrantID = v3.SourceTracks, acct.ID
	v.note.Data.Object = v3.Replied{
		Object: "thread", GrantID: acct.ID, ThreadID: m.Thread, MessageID: m.ID, RootID: c.Data.Root, ReplyToID: c.Data.Root, Label: tracked[c.Data.Root].Label,
		Data: v3.ReplyData{Count: c.Data.Count}, App: acct.App, Timestamp: m.Date.Unix(),
		FromSelf: slices.ContainsFunc(m.From, func(a mail.Address) bool { return strings.EqualFold(a.Email, acct.Email) }),
	}
	return nil
}

func (v *view) folder(ctx context.Context, acct mail.Account, mb *store.Mailbox, id mail.FolderID) error {
	fs, err := mb.Folders(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(fs, func(f mail.Folder) bool { return f.ID == id })
	if i < 0 {
		return mail.E(mail.NotFound, "tell of a folder", "", nil)
	}
	v.shows = max(v.shows, fs[i].Seq)
	v.note.Data.Object = v3.FoldersOf(fs, acct.ID)[i]
	return nil
}

func (v *view) message(ctx context.Context, acct mail.Account, mb *store.Mailbox, id mail.MessageID) error {
	m, err := mb.Message(ctx, id)
	if err != nil {
		return err
	}
	v.shows, v.pending = max(v.shows, m.Seq), m.Body == mail.BodyNone && (acct.Settings.Sync == nil || !acct.Settings.Sync.HeadersOnly)
	o := v3.MessageOf(m, acct.ID)
	if m.Body == mail.BodyHeld {
		shown, err := mb.Display(ctx, id)
		if err != nil {
			return err
		}
		d, ok := shown[id]
		o.BodyPending = !ok || d.Damaged // whoever asks for it has it fetched again, and its change is told
		if d.HTML {
			o.Body = d.Body
		} else if d.Body != "" {
			o.Body = mime.TextToHTML(d.Body)
		}
	}
	v.note.Data.Object = o
	if fits, err := v.fits(); fits || err != nil {
		return err
	}
	o.Body = ""
	v.note.Type += ".truncated"
	v.note.Data.Object = v3.TruncatedMessage{Message: o}
	if fits, err := v.fits(); fits || err != nil {
		return err
	}
	// Thousands of recipients or attachments: what names the message is enough to fetch it.
	o.To, o.Cc, o.Bcc, o.ReplyTo, o.Attachments = []mail.Address{}, []mail.Address{}, []mail.Address{}, []mail.Address{}, []v3.Attachment{}
	o.Subject, o.From = cut(o.Subject), []mail.Address{}
	v.note.Data.Object = v3.TruncatedMessage{Message: o}
	return nil
}

func (v *view) fits() (bool, error) {
	const room = 64 // for the number of the attempt
	b, err := encode(v.note)
	return len(b) <= maxPayload-room, err
}

// cut shortens text that is absurdly long.
func cut(s string) string {
	const most = 4096
	if len(s) <= most {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:most]), nil))
}

// grantNote makes the notification of an account that came or went; false if there is nothing to tell.
func grantNote(ctx context.Context, s *store.Store, app mail.AppID, g store.GrantEvent) (v view, ok bool, err error) {
	v.note = v3.Notification{SpecVersion: "1.0", Type: "grant." + g.Kind, Source: v3.SourceSystem, ID: noteID(mail.AccountID(app), g.Seq), Time: g.At.Unix(),
		Data: v3.NotificationData{ApplicationID: app}}
	o := v3.GrantNotice{Code: v3.CodeDeleted, GrantID: g.Account, IntegrationID: app, Provider: g.Provider}
	if g.Kind == store.GrantCreated {
		acct, err := s.Account(ctx, app, g.Account)
		if mail.IsKind(err, mail.NotFound) { // its deletion follows
			return v, false, nil
		}
		if err != nil {
			return v, false, err
		}
		o = v3.GrantNotice{Code: v3.CodeCreated, GrantID: acct.ID, IntegrationID: app, LoginID: acct.ID, Provider: acct.Provider, Email: acct.Email, Name: acct.Name, Scope: acct.Scope}
		if o.Scope == nil {
			o.Scope = []string{}
		}
	}
	v.note.Data.Object, v.shows = o, g.Seq
	return v, true, nil
}

// encode writes a notification as JSON; bodies are mostly angle brackets, which nobody here takes for HTML.
func encode(n v3.Notification) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Sample makes a notification of a trigger as it could be, of a grant that does not exist.
func Sample(app mail.AppID, kind string, now time.Time) v3.Notification {
	grant := mail.AccountID("00000000-0000-4000-8000-000000000000")
	n := v3.Notification{SpecVersion: "1.0", Type: kind, Source: v3.SourceMail, ID: noteID(grant, mail.Seq(now.UnixNano())), Time: now.Unix(), Attempt: 1,
		Data: v3.NotificationData{ApplicationID: app}}
	object, _, _ := bytes.Cut([]byte(kind), []byte("."))
	switch kind {
	case "message.created", "message.updated", "message.created.cleaned", "message.send_success":
		o := v3.MessageOf(mail.Message{
			ID: "mSample", Thread: "tSample", Subject: "Sample message", Snippet: "This is a sample.", Date: now, Folders: []mail.FolderID{"fSample"}, Body: mail.BodyHeld,
			From: []mail.Address{{Name: "Sender", Email: "sender@example.com"}}, To: []mail.Address{{Name: "Recipient", Email: "recipient@example.com"}},
		}, grant)
		o.Body = "<p>This is a sample.</p>"
		n.Data.Object = o
	case "thread.replied":
		n.Source, n.Data.GrantID = v3.SourceTracks, grant
		n.Data.Object = v3.Replied{Object: "thread", GrantID: grant, ThreadID: "tSample", MessageID: "mSample", RootID: "mSent", ReplyToID: "mSent", Data: v3.ReplyData{Count: 1}, App: app, Timestamp: now.Unix()}
	case "message.opened", "message.link_clicked":
		n.Source, n.Data.GrantID = v3.SourceTracks, grant
		how, seen, link := mail.Tracking{URLs: []string{"https://example.com/"}}, mail.Visits{Opens: 1, Last: []mail.Visit{{At: now}}}, 0
		if kind == "message.link_clicked" {
			seen, link = mail.Visits{Clicks: []int{1}, Last: []mail.Visit{{Link: 1, At: now}}}, 1
		}
		n.Data.Object = v3.VisitedOf(grant, app, "mSent", how, seen, link, 1, now.Unix())
	case "folder.created", "folder.updated":
		n.Data.Object = v3.FolderOf(mail.Folder{ID: "fSample", Name: "Sample"}, grant, 0)
	default:
		if string(object) == "grant" {
			n.Source = v3.SourceSystem
			n.Data.Object = v3.GrantNotice{Code: v3.CodeUpdated, GrantID: grant, IntegrationID: app, Provider: "imap"}
			break
		}
		n.Data.Object = v3.Gone{ID: "sample", GrantID: grant, Object: string(object)}
	}
	return n
}
