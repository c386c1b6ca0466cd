package api

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

func (a *API) listDrafts(c *call) error { return c.listMessages(true) }

func (a *API) getDraft(c *call) error {
	query := c.r.URL.Query()
	fields, err := v3.ParseFields(query.Get("fields"))
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	m, err := c.findDraft(mb, mail.MessageID(c.r.PathValue("draft")))
	if err != nil {
		return err
	}
	sel := v3.ParseSelect(query.Get("select"))
	data, _, err := present(c, mb, acct.ID, []mail.Message{m}, fields, sel)
	if err != nil {
		return err
	}
	switch data := asDrafts(data).(type) {
	case []v3.Message:
		if len(data) > 0 {
			return c.tagged(sel, data[0])
		}
	case []v3.RawMessage:
		if len(data) > 0 {
			return c.tagged(sel, data[0])
		}
	}
	return noDraft
}

var noDraft = mail.E(mail.NotFound, "find draft", "there is no such draft", nil)

// asDrafts names what present made.
func asDrafts(data any) any {
	if list, ok := data.([]v3.Message); ok {
		for i := range list {
			list[i].Object = "draft"
		}
	}
	return data
}

// findDraft returns a message that is a draft: it is marked as one, or lies among the drafts.
func (c *call) findDraft(mb *store.Mailbox, id mail.MessageID) (mail.Message, error) {
	m, err := mb.Message(c.r.Context(), id)
	if err != nil || m.Flags&mail.FlagDraft != 0 {
		return m, err
	}
	folders, err := mb.Folders(c.r.Context())
	if err == nil && !slices.ContainsFunc(folders, func(f mail.Folder) bool { return f.Role == mail.RoleDrafts && slices.Contains(m.Folders, f.ID) }) {
		err = noDraft
	}
	return m, err
}

func (a *API) createDraft(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	u, err := c.upload(mb)
	if err != nil {
		return err
	}
	defer u.drop(c.r.Context())
	if err := u.draft(); err != nil {
		return err
	}
	return c.once(u.digest, func() error { return a.saveNewDraft(c, acct, mb, u) })
}

func (a *API) saveNewDraft(c *call, acct mail.Account, mb *store.Mailbox, u *upload) error {
	m := mime.Composition{From: []mime.Address{{Name: acct.Name, Email: acct.Email}}}
	if m.Check() != nil {
		m.From = nil // a login that is no address
	}
	m.MessageID = mime.NewMessageID(acct.Email)
	return a.saveDraft(c, acct, mb, u, m, mail.Operation{Draft: &mail.DraftWork{}})
}

// updateDraft changes the fields that are given. Changes of one draft go one after the other, so that each knows the one
// before, even if the mail server has not confirmed it.
func (a *API) updateDraft(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	id := mail.MessageID(c.r.PathValue("draft"))
	if _, err := c.findDraft(mb, id); err != nil {
		return err
	}
	u, err := c.upload(mb)
	if err != nil {
		return err
	}
	defer u.drop(c.r.Context())
	if err := u.draft(); err != nil {
		return err
	}
	return c.once(u.digest, func() error { return a.changeDraft(c, acct, mb, u, id) })
}

func (a *API) changeDraft(c *call, acct mail.Account, mb *store.Mailbox, u *upload, id mail.MessageID) error {
	unlock, err := a.drafts.lock(c.r.Context(), string(acct.ID)+" "+string(id))
	if err != nil {
		return err
	}
	defer unlock()
	draft, raw, err := c.draftBytes(mb, id)
	if err != nil {
		return err
	}
	if want := c.r.Header.Values("If-Match"); len(want) > 0 {
		data, _, err := present(c, mb, acct.ID, []mail.Message{draft}, v3.FieldsStandard, v3.Select{})
		if err != nil {
			return err
		}
		if list := asDrafts(data).([]v3.Message); len(list) == 0 || !matches(want, c.tagOf(list[0])) {
			c.error(http.StatusPreconditionFailed, v3.Error{Type: v3.TypeConflict, Message: "the draft is not the one that If-Match names: read it again"})
			return nil
		}
	}
	op := mail.Operation{Draft: &mail.DraftWork{Old: id}}
	if op.Draft.Replaces, err = c.copies(mb, id); err != nil {
		return err
	}
	if !u.rewrites() {
		return a.markDraft(c, acct, mb, u, id)
	}
	m, err := c.compositionOf(mb, raw)
	if err != nil {
		return err
	}
	if draftID(mb, m.MessageID) != id { // it was not known by its Message-ID: now it will be, without meeting another
		m.MessageID = mime.NewMessageID(acct.Email)
	}
	return a.saveDraft(c, acct, mb, u, m, op)
}

// rewrites tells whether more is asked for than flags and metadata.
func (u *upload) rewrites() bool {
	return u.From != nil || u.To != nil || u.Cc != nil || u.Bcc != nil || u.ReplyTo != nil || u.Subject != nil || u.Body != nil ||
		u.Headers != nil || u.ReplyToMessage != nil || u.hasFiles()
}

// draft fails with Invalid if something is asked for that only messages take that are sent.
func (u *upload) draft() error {
	if u.SendAt != nil {
		return mail.E(mail.Invalid, "read body", "send_at is for messages that are sent: a draft waits", nil)
	}
	if tracking, err := v3.ParseTracking(u.Tracking); err != nil {
		return err
	} else if tracking != nil {
		return mail.E(mail.Invalid, "read body", "tracking_options are for messages that are sent: a draft is not tracked", nil)
	}
	return nil
}

// flags returns what the request sets and clears.
func (u *upload) flags() (set, clear mail.Flags) {
	return v3.MessageUpdate{Unread: u.Unread, Starred: u.Starred}.Flags()
}

// markDraft changes flags and metadata only.
func (a *API) markDraft(c *call, acct mail.Account, mb *store.Mailbox, u *upload, id mail.MessageID) error {
	if u.Metadata != nil {
		if err := mb.SetMetadata(c.r.Context(), id, *u.Metadata); err != nil {
			return err
		}
	}
	op := mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{id}}
	if op.Set, op.Clear = u.flags(); op.Set|op.Clear != 0 {
		if _, done, err := c.do(acct.ID, op); err != nil || !done {
			return err
		}
	}
	return a.getDraft(c)
}

// hasDrafts fails with Invalid where the folder of drafts is not synchronised: a draft would be gone as soon as it was saved.
func hasDrafts(ctx context.Context, acct mail.Account, mb *store.Mailbox) error {
	p := acct.Settings.Sync
	if p == nil {
		return nil
	}
	folders, err := mb.Folders(ctx)
	if err != nil {
		return err
	}
	f := mail.Folder{Name: "Drafts"} // it will be made
	if i := slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Role == mail.RoleDrafts }); i >= 0 {
		f = folders[i]
	}
	if !p.Wants(f) {
		return mail.E(mail.Invalid, "save a draft", "this account leaves the folder "+f.Name+" out (sync_folders, sync_without_folders), where its drafts are: let it in first", nil)
	}
	return nil
}

// saveDraft composes the draft and has it saved.
func (a *API) saveDraft(c *call, acct mail.Account, mb *store.Mailbox, u *upload, m mime.Composition, op mail.Operation) error {
	ctx := c.r.Context()
	if err := hasDrafts(ctx, acct, mb); err != nil {
		return err
	}
	u.apply(ctx, &m)
	if parent := u.ReplyToMessage; parent != nil && *parent != "" {
		original, err := c.original(mb, *parent)
		if err != nil {
			return err
		}
		m.AnswerTo(original, a.Now())
	}
	m.Date, m.KeepBcc = a.Now(), true
	op.Draft.Revision = rand.Text()
	m.Headers = append(slices.Clone(m.Headers), mime.Field{Name: mime.RevisionField, Value: op.Draft.Revision})
	blob, err := spoolMessage(ctx, mb, m)
	if err != nil {
		return err
	}
	op.Kind, op.Messages, op.Blob, op.Size = mail.OpDraftSave, []mail.MessageID{draftID(mb, m.MessageID)}, blob.ID, blob.Size
	op.Draft.UTF8 = m.UTF8()
	op.Set, op.Clear = u.flags()
	if u.Metadata != nil {
		op.Draft.Metadata, op.Draft.Tagged = *u.Metadata, true
	}
	op, done, err := c.do(acct.ID, op)
	if err != nil && op.ID == "" {
		mb.DropBlobs(context.WithoutCancel(ctx), blob.ID) // it was not even stored
	}
	if err != nil || !done {
		return err
	}
	c.r.SetPathValue("draft", string(op.Messages[0]))
	return a.getDraft(c)
}

func draftID(mb *store.Mailbox, messageID string) mail.MessageID {
	return mail.MessageID(mb.IDKey().MessageID(mime.DraftFingerprint(messageID)))
}

func (c *call) copies(mb *store.Mailbox, id mail.MessageID) ([]mail.Copy, error) {
	at, err := mb.PlacementsOf(c.r.Context(), id)
	if err != nil {
		return nil, err
	}
	var out []mail.Copy
	for _, p := range at[id] {
		out = append(out, mail.Copy{Folder: p.Folder, UIDValidity: p.UIDValidity, UID: p.UID})
	}
	return out, nil
}

// compositionOf reads a stored message back into what it was composed of. Its files are read when they are written, one
// after the other.
func (c *call) compositionOf(mb *store.Mailbox, raw int64) (m mime.Composition, err error) {
	ctx := c.r.Context()
	r, err := mb.OpenBlob(ctx, raw)
	if err != nil {
		return m, err
	}
	parsed, err := mime.Parse(r, mime.Options{})
	r.Close()
	if err != nil {
		return m, err
	}
	if parsed.Partial {
		return m, mail.E(mail.Refused, "change a draft", "the draft is too large or too damaged to be changed without losing a part of it", nil)
	}
	m = mime.CompositionOf(parsed)
	for _, a := range parsed.Attachments {
		kind := a.ContentType
		if a.Charset != "" {
			kind += "; charset=" + a.Charset
		}
		m.Files = append(m.Files, mime.File{
			Name: a.Name, ContentType: kind, ContentID: a.ContentID, Inline: a.Inline, Size: a.Size,
			Open: func() (io.ReadCloser, error) {
				blob, err := mb.OpenBlob(ctx, raw)
				if err != nil {
					return nil, err
				}
				_, r, err := mime.OpenPart(blob, a.ID)
				if err != nil {
					blob.Close()
					return nil, err
				}
				return struct {
					io.Reader
					io.Closer
				}{r, blob}, nil
			},
		})
	}
	return m, nil
}

func (a *API) deleteDraft(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	id := mail.MessageID(c.r.PathValue("draft"))
	unlock, err := a.drafts.lock(c.r.Context(), string(acct.ID)+" "+string(id))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := c.findDraft(mb, id); err != nil {
		return err
	}
	op := mail.Operation{Kind: mail.OpDraftDelete, Messages: []mail.MessageID{id}, Draft: &mail.DraftWork{Old: id}}
	if op.Draft.Replaces, err = c.copies(mb, id); err != nil {
		return err
	}
	if _, done, err := c.do(acct.ID, op); err != nil || !done {
		return err
	}
	return c.done()
}

// draftBytes returns a draft and the blob of its bytes: those of the last change, even if the mail server has not confirmed
// it yet.
func (c *call) draftBytes(mb *store.Mailbox, id mail.MessageID) (mail.Message, int64, error) {
	ctx := c.r.Context()
	m, err := mb.Message(ctx, id)
	if err != nil {
		return m, 0, err
	}
	pending, err := mb.PendingDraft(ctx, id)
	if err == nil && pending.Kind == mail.OpDraftDelete {
		err = mail.E(mail.NotFound, "find draft", "the draft was deleted", nil)
		return m, 0, err
	}
	if err == nil && pending.Blob != 0 {
		return m, pending.Blob, nil
	}
	if err != nil && !mail.IsKind(err, mail.NotFound) {
		return m, 0, err
	}
	folders, err := mb.Folders(ctx)
	if err != nil {
		return m, 0, err
	}
	if m.Flags&mail.FlagDraft == 0 && !slices.ContainsFunc(folders, func(f mail.Folder) bool {
		return f.Role == mail.RoleDrafts && slices.Contains(m.Folders, f.ID)
	}) {
		return m, 0, mail.E(mail.NotFound, "find draft", "there is no such draft", nil)
	}
	if m.Body != mail.BodyHeld {
		return m, 0, mail.E(mail.Unavailable, "find draft", "the draft has not been fetched from the mail server yet; try again", nil)
	}
	raw, err := mb.RawBlob(ctx, id)
	return m, raw.ID, err
}

// original returns the header of the message that is replied to: ours by its id, or one that we may not have by its
// Message-ID.
func (c *call) original(mb *store.Mailbox, id string) (*mime.Message, error) {
	if bare, ok := strings.CutPrefix(id, "<"); ok {
		return &mime.Message{MessageID: strings.TrimSuffix(bare, ">")}, nil
	}
	ctx := c.r.Context()
	m, err := mb.Message(ctx, mail.MessageID(id))
	if mail.IsKind(err, mail.NotFound) {
		return nil, mail.E(mail.Invalid, "read body", "reply_to_message_id: there is no such message", nil)
	}
	if err != nil {
		return nil, err
	}
	out := &mime.Message{MessageID: m.HeaderMessageID, References: m.References}
	if m.HeaderInReplyTo != "" {
		out.InReplyTo = []string{m.HeaderInReplyTo}
	}
	raw, err := mb.RawBlob(ctx, m.ID)
	if err != nil || raw.ID == 0 { // not fetched yet: what the list knows is enough for every program but one
		return out, nil
	}
	r, err := mb.OpenBlob(ctx, raw.ID)
	if err != nil {
		return out, nil
	}
	defer r.Close()
	if whole, err := mime.Parse(r, mime.Options{Limits: mime.Limits{Parts: 1, Text: 1}}); err == nil {
		return whole, nil
	}
	return out, nil
}

// keyLocks are locks by name. The zero value is ready.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	free    chan struct{} // holds one token while nobody has the lock
	waiting int
}

// lock takes the lock of a name, or fails when ctx ends.
func (l *keyLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*keyLock{}
	}
	k := l.held[name]
	if k == nil {
		k = &keyLock{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		l.held[name] = k
	}
	k.waiting++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.waiting--; k.waiting == 0 {
			delete(l.held, name)
		}
	}
	select {
	case <-k.free:
		return func() { k.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
