package api

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
	"github.com/posthorn/posthorn/internal/vault"
)

const (
	// pageBytes is how much of messages one page carries at most, beyond its first: bodies, and all that a header may hold
	// much of. A page that would grow larger ends early, with a cursor.
	pageBytes = 32 << 20
	// maxHeader bounds the header block that is looked at for fields=include_headers.
	maxHeader = 1 << 20
)

func (a *API) listMessages(c *call) error { return c.listMessages(false) }

// listMessages lists messages; drafts: only those that are drafts.
func (c *call) listMessages(drafts bool) error {
	q, err := v3.ParseMessageQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	in, err := resolve(ctx, mb, "in", q.In)
	if err != nil {
		return err
	}
	search, err := c.search(mb, q.Search, in, q.Page.Before == 0)
	if err != nil {
		return err
	}
	// Where no text is asked for, nothing is more relevant than anything else: the newest come first.
	byRelevance := q.ByRelevance && len(search.Asks()) > 0
	msgs, next, err := mb.Messages(ctx, store.MessageQuery{
		IsDraft: drafts, Limit: q.Limit, Before: q.Page.Before, Folders: in, Thread: q.Thread, Unread: q.Unread, Starred: q.Starred, HasAttachment: q.HasAttachment,
		From: q.From, To: q.To, Cc: q.Cc, Bcc: q.Bcc, AnyEmail: q.AnyEmail, Subject: q.Subject, After: after(q.After), BeforeDate: q.Filter.Before, Search: search,
		Metadata: q.Metadata, ByRelevance: byRelevance,
	})
	if err != nil {
		return err
	}
	data, n, err := present(c, mb, acct.ID, msgs, q.Fields, q.Select)
	if err != nil {
		return err
	}
	if drafts {
		data = asDrafts(data)
	}
	if n < len(msgs) {
		if next = msgs[n-1].Row; byRelevance {
			next = q.Page.Before + int64(n)
		}
	}
	cursor := ""
	if next != 0 {
		cursor = v3.Cursor(q.Cursor(), next)
	}
	return c.page(q.Select, data, cursor)
}

func (a *API) getMessage(c *call) error {
	query := c.r.URL.Query()
	fields, err := v3.ParseFields(query.Get("fields"))
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	m, err := mb.Message(ctx, mail.MessageID(c.r.PathValue("message")))
	if err != nil {
		return err
	}
	if p := acct.Settings.Sync; p != nil && p.HeadersOnly && m.Body == mail.BodyNone {
		if m, err = c.whole(acct.ID, mb, m); err != nil {
			return err
		}
	}
	sel := v3.ParseSelect(query.Get("select"))
	data, _, err := present(c, mb, acct.ID, []mail.Message{m}, fields, sel)
	if err != nil {
		return err
	}
	switch data := data.(type) {
	case []v3.Message:
		if len(data) > 0 {
			return c.tagged(sel, data[0])
		}
	case []v3.RawMessage:
		if len(data) > 0 {
			return c.tagged(sel, data[0])
		}
	}
	return mail.E(mail.NotFound, "find message", "there is no such message any more", nil)
}

// after makes a lower bound exclusive: dates of messages are whole seconds.
func after(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Second)
}

// resolve turns what callers give for a parameter into folder ids.
func resolve(ctx context.Context, mb *store.Mailbox, param string, in []string) ([]mail.FolderID, error) {
	if len(in) == 0 {
		return nil, nil
	}
	fs, err := mb.Folders(ctx)
	if err != nil {
		return nil, err
	}
	var out []mail.FolderID
	add := func(s string) error {
		ids := v3.MatchFolder(fs, s)
		if len(ids) == 0 {
			return mail.E(mail.Invalid, "find folder", param+": there is no folder with this id, name or role", nil)
		}
		for _, id := range ids {
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
		return nil
	}
	for _, s := range in {
		if len(v3.MatchFolder(fs, s)) > 0 || !strings.Contains(s, ",") { // a name may hold a comma
			if err := add(s); err != nil {
				return nil, err
			}
			continue
		}
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				if err := add(part); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

// present maps messages with as much of their content as was asked for. It returns how many of them it took: fewer
// than all when they hold more than pageBytes.
func present(c *call, mb *store.Mailbox, grant mail.AccountID, msgs []mail.Message, fields v3.Fields, sel v3.Select) (any, int, error) {
	if fields == v3.FieldsRaw {
		return presentRaw(c, mb, grant, msgs, sel)
	}
	out := make([]v3.Message, 0, len(msgs))
	there := make([]mail.Message, 0, len(msgs))
	total := 0
	for i, m := range msgs {
		v := v3.MessageOf(m, grant)
		switch {
		case fields == v3.FieldsBasic && sel.Has("headers"):
			v.Headers = v3.BasicHeaders(m)
		case fields == v3.FieldsHeaders && sel.Has("headers"):
			hs, err := headers(c, mb, grant, m)
			if mail.IsKind(err, mail.NotFound) {
				continue // removed since the list was read
			}
			if err != nil {
				return nil, 0, err
			}
			v.Headers = hs
		}
		if total += v.Bytes(); total > pageBytes && len(out) > 0 {
			msgs = msgs[:i]
			break
		}
		out, there = append(out, v), append(there, m)
	}
	if fields == v3.FieldsTracking && sel.Has("tracking_options") {
		ids := make([]mail.MessageID, len(there))
		for i, m := range there {
			ids[i] = m.ID
		}
		tracked, err := mb.Tracking(c.r.Context(), ids...)
		if err != nil {
			return nil, 0, err
		}
		for i := range out {
			if t, ok := tracked[out[i].ID]; ok {
				out[i].Tracking = v3.TrackingOf(t)
			}
		}
	}
	if !sel.Has("body") {
		return out, len(msgs), nil
	}
	n, damaged, err := addBodies(c.r.Context(), mb, there, out)
	for _, id := range damaged {
		_ = c.sound(grant, id, vault.ErrDamaged)
	}
	if n == len(there) {
		return out, len(msgs), err
	}
	return out[:n], 1 + slices.IndexFunc(msgs, func(m mail.Message) bool { return m.ID == there[max(n-1, 0)].ID }), err
}

// addBodies fills Body of the messages whose bytes are held: in one call, unless they may be too large together.
// Those whose bytes are lost or damaged stay without.
func addBodies(ctx context.Context, mb *store.Mailbox, msgs []mail.Message, out []v3.Message) (n int, damaged []mail.MessageID, err error) {
	total := 0
	for from := 0; from < len(msgs); {
		to, held, sum := from, []mail.MessageID(nil), int64(0)
		for to < len(msgs) && (to == from || sum+msgs[to].Size <= pageBytes) {
			if msgs[to].Body == mail.BodyHeld {
				held = append(held, msgs[to].ID)
				sum += msgs[to].Size // a body is about as large as its message at most
			}
			to++
		}
		if len(held) > 0 {
			shown, err := mb.Display(ctx, held...)
			if err != nil {
				return 0, nil, err
			}
			for i := from; i < to; i++ {
				d := shown[msgs[i].ID]
				if d.Damaged {
					out[i].BodyPending, damaged = true, append(damaged, msgs[i].ID)
				}
				if d.HTML {
					out[i].Body = d.Body
				} else if d.Body != "" {
					out[i].Body = mime.TextToHTML(d.Body)
				}
			}
		}
		for i := from; i < to; i++ {
			total += out[i].Bytes()
		}
		if from = to; total > pageBytes {
			break
		}
	}
	if total <= pageBytes {
		return len(msgs), damaged, nil
	}
	// Too much for one page: end it where it is full.
	total = 0
	for n < len(out) && (n == 0 || total+out[n].Bytes() <= pageBytes) {
		total += out[n].Bytes()
		n++
	}
	return n, damaged, nil
}

func presentRaw(c *call, mb *store.Mailbox, grant mail.AccountID, msgs []mail.Message, sel v3.Select) (any, int, error) {
	var out []v3.RawMessage
	total, took := int64(0), 0
	for _, m := range msgs {
		if len(out) > 0 && total+m.Size > pageBytes {
			break
		}
		took++
		total += m.Size
		var raw []byte
		if sel.Has("raw_mime") {
			err := open(c, mb, grant, m, func(r io.ReadSeeker) (err error) {
				raw, err = io.ReadAll(r)
				return err
			})
			if mail.IsKind(err, mail.NotFound) {
				continue // removed since the list was read
			}
			if err != nil {
				return nil, 0, err
			}
		}
		out = append(out, v3.RawOf(m.ID, grant, raw))
	}
	if out == nil {
		out = []v3.RawMessage{}
	}
	return out, took, nil
}

// headers reads the header block of a held message: in its order, undecoded, unfolded.
func headers(c *call, mb *store.Mailbox, grant mail.AccountID, m mail.Message) ([]v3.Header, error) {
	out := []v3.Header{}
	err := open(c, mb, grant, m, func(r io.ReadSeeker) error {
		block, err := headerBlock(io.LimitReader(r, maxHeader))
		if err != nil {
			return err
		}
		for _, f := range mime.ParseHeader(block).Header {
			out = append(out, v3.Header{Name: f.Name, Value: mime.Header{f}.Get(f.Name)})
		}
		return nil
	})
	return out, err
}

// headerBlock reads up to and with the empty line that ends a header.
func headerBlock(r io.Reader) ([]byte, error) {
	var b []byte
	for {
		b = slices.Grow(b, 4096)
		n, err := r.Read(b[len(b):cap(b)])
		from := max(len(b)-3, 0)
		b = b[:len(b)+n]
		for _, end := range []string{"\r\n\r\n", "\n\n"} {
			if i := strings.Index(string(b[from:]), end); i >= 0 {
				return b[:from+i+len(end)], nil
			}
		}
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// open gives the raw bytes of a message to read; nothing happens when they are not held.
func open(c *call, mb *store.Mailbox, grant mail.AccountID, m mail.Message, read func(io.ReadSeeker) error) error {
	if m.Body != mail.BodyHeld {
		return nil
	}
	r, err := mb.OpenRaw(c.r.Context(), m.ID)
	if err != nil || r == nil {
		return c.sound(grant, m.ID, err)
	}
	defer r.Close()
	return c.sound(grant, m.ID, read(r))
}
