package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	stdmime "mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

const (
	// defaultMaxMessage is what a message that is composed may hold, decoded, unless Deps.MaxMessage says otherwise.
	defaultMaxMessage = 40 << 20
	// maxLetter bounds the JSON of a message without its attachments.
	maxLetter = 4 << 20
)

// tooLarge is answered with 413.
type tooLarge struct {
	limit int
	what  string
}

func (e *tooLarge) Error() string {
	return fmt.Sprintf("the request %s is larger than %d bytes", e.what, e.limit)
}

// upload is the request for a message to be composed: what it says, and its attachments, which lie sealed in the store.
// Whoever gets one calls drop in the end.
type upload struct {
	v3.MessageWrite
	mb    *store.Mailbox
	names map[string]store.BlobRef // attachments of the JSON, by what stands for their content
	parts []spooled                // files of the form
	left  int64                    // bytes that may still come
	limit int
	blobs []int64
}

// spooled is an attachment in the store.
type spooled struct {
	v3.AttachmentWrite
	blob store.BlobRef
}

// upload reads a request for a message: JSON, or a multipart form with the JSON in a field and files beside it (Node: the
// fields of files are named after their Content-ID). Nothing of it is held in memory but the JSON without attachments.
func (c *call) upload(mb *store.Mailbox) (*upload, error) {
	limit := c.maxMessage()
	u := &upload{mb: mb, names: map[string]store.BlobRef{}, left: limit, limit: int(limit)}
	ctx := c.r.Context()
	kind, params, _ := stdmime.ParseMediaType(c.r.Header.Get("Content-Type"))
	// Base64 and the JSON around it take more room than what is decoded.
	body := http.MaxBytesReader(c.ResponseWriter, c.body, limit/3*4+limit/16+2*maxLetter)
	err := error(nil)
	if kind == "multipart/form-data" {
		err = u.form(ctx, multipart.NewReader(body, params["boundary"]))
	} else {
		err = u.json(ctx, body)
	}
	if err != nil {
		u.drop(ctx)
		return nil, err
	}
	return u, nil
}

func (c *call) maxMessage() int64 {
	if c.a.MaxMessage > 0 {
		return c.a.MaxMessage
	}
	return defaultMaxMessage
}

// form reads a multipart form.
func (u *upload) form(ctx context.Context, r *multipart.Reader) error {
	told := false
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return formError(err)
		}
		name := p.FormName()
		if name == "message" || name == "draft" {
			if told {
				return mail.E(mail.Invalid, "read body", "the form has more than one message", nil)
			}
			told = true
			if err := u.json(ctx, p); err != nil {
				return formError(err)
			}
			continue
		}
		if len(u.parts) >= v3.MaxAttachments {
			return mail.E(mail.Invalid, "read body", "a message takes at most 200 attachments", nil)
		}
		blob, err := u.spool(ctx, p)
		if err != nil {
			return formError(err)
		}
		cid := v3.FieldContentID(name)
		u.parts = append(u.parts, spooled{blob: blob, AttachmentWrite: v3.AttachmentWrite{
			// What clients escape in file names, as browsers do.
			Filename:    strings.NewReplacer("%22", `"`, "%0D", "", "%0A", "").Replace(p.FileName()),
			ContentType: p.Header.Get("Content-Type"), ContentID: cid, IsInline: cid != "",
		}})
	}
	if !told {
		return mail.E(mail.Invalid, "read body", "the form has no field named message", nil)
	}
	return nil
}

// formError says of a form that is cut or damaged that it is.
func formError(err error) error {
	var me *mail.Error
	var big *http.MaxBytesError
	var large *tooLarge
	if errors.As(err, &me) || errors.As(err, &big) || errors.As(err, &large) {
		return err
	}
	return mail.E(mail.Invalid, "read body", "the multipart form is damaged or incomplete", err)
}

// json reads the message.
func (u *upload) json(ctx context.Context, r io.Reader) error {
	secret := rand.Text() // so that no caller can name the attachment of another request, or one twice
	letter, err := v3.SiftContent(r, maxLetter, func(content io.Reader) (string, error) {
		if len(u.names) >= v3.MaxAttachments {
			return "", mail.E(mail.Invalid, "read body", "a message takes at most 200 attachments", nil)
		}
		blob, err := u.spool(ctx, content)
		name := fmt.Sprintf("%s-%d", secret, len(u.names))
		u.names[name] = blob
		return name, err
	})
	if errors.Is(err, v3.ErrTooLarge) {
		return &tooLarge{maxLetter, "without its attachments"}
	}
	if err != nil {
		return err
	}
	w, err := v3.ParseMessageWrite(bytes.NewReader(letter))
	if err != nil {
		return err
	}
	if w.Attachments != nil {
		for _, a := range *w.Attachments {
			if _, ok := u.names[a.Content]; !ok {
				return mail.E(mail.Invalid, "read body", "attachments: content is missing", nil)
			}
		}
	}
	u.MessageWrite = w
	return nil
}

// spool puts what it reads into the account's sealed store.
func (u *upload) spool(ctx context.Context, r io.Reader) (store.BlobRef, error) {
	w, err := u.mb.NewBlob(ctx, store.BlobOther)
	if err != nil {
		return store.BlobRef{}, err
	}
	defer w.Abort()
	n, err := io.Copy(w, io.LimitReader(r, u.left+1))
	if u.left -= n; err == nil && u.left < 0 {
		err = &tooLarge{u.limit, "with its attachments"}
	}
	if err != nil {
		return store.BlobRef{}, err
	}
	ref, err := w.Commit()
	if err == nil {
		u.blobs = append(u.blobs, ref.ID)
	}
	return ref, err
}

// hasFiles tells whether the request says what the attachments are to be.
func (u *upload) hasFiles() bool { return u.Attachments != nil || len(u.parts) > 0 }

// files returns the attachments, ready to be composed.
func (u *upload) files(ctx context.Context) []mime.File {
	list := u.parts
	if u.Attachments != nil {
		list = nil
		for _, a := range *u.Attachments {
			list = append(list, spooled{a, u.names[a.Content]})
		}
		list = append(list, u.parts...)
	}
	out := make([]mime.File, len(list))
	for i, f := range list {
		out[i] = mime.File{
			Name: f.Filename, ContentType: f.ContentType, ContentID: f.ContentID, Inline: f.Inline(), Size: f.blob.Size,
			Open: func() (io.ReadCloser, error) { return u.mb.OpenBlob(ctx, f.blob.ID) },
		}
	}
	return out
}

// apply changes a composition as the request asks, the message it replies to aside.
func (u *upload) apply(ctx context.Context, c *mime.Composition) {
	for _, l := range []struct {
		from *[]mail.Address
		to   *[]mime.Address
	}{{u.From, &c.From}, {u.To, &c.To}, {u.Cc, &c.Cc}, {u.Bcc, &c.Bcc}, {u.ReplyTo, &c.ReplyTo}} {
		if l.from != nil {
			*l.to = nil
			for _, a := range *l.from {
				*l.to = append(*l.to, mime.Address{Name: a.Name, Email: strings.TrimSpace(a.Email)})
			}
		}
	}
	if u.Subject != nil {
		c.Subject = *u.Subject
	}
	if u.Body != nil {
		c.Text, c.HTML = "", *u.Body
		if u.Plain {
			c.Text, c.HTML = *u.Body, ""
		}
	}
	if u.Headers != nil {
		c.Headers = nil
		for _, h := range *u.Headers {
			c.Headers = append(c.Headers, mime.Field{Name: h.Name, Value: h.Value})
		}
	}
	if u.hasFiles() {
		c.Files = u.files(ctx)
	}
}

// drop removes the attachments from the store. A crash before leaves them to the garbage collection.
func (u *upload) drop(ctx context.Context) { u.mb.DropBlobs(context.WithoutCancel(ctx), u.blobs...) }

// spoolMessage composes a message into the store. The blob is garbage unless an operation or a send names it within the
// hour. What cannot be composed fails with Invalid.
func spoolMessage(ctx context.Context, mb *store.Mailbox, m mime.Composition) (store.BlobRef, error) {
	w, err := mb.NewBlob(ctx, store.BlobRaw)
	if err != nil {
		return store.BlobRef{}, err
	}
	defer w.Abort()
	if err := compose(w, m); err != nil {
		return store.BlobRef{}, err
	}
	return w.Commit()
}

// compose writes a message. What cannot be composed fails with Invalid.
func compose(w io.Writer, m mime.Composition) error {
	err := mime.Compose(w, m)
	var ce *mime.ComposeError
	if errors.As(err, &ce) {
		return mail.E(mail.Invalid, "compose", ce.Error(), nil)
	}
	return err
}
