package api

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// attachment finds the part that the request names, by path or by path and message_id.
func (c *call) attachment() (mail.Account, *store.Mailbox, mail.Message, mail.Part, error) {
	var none mail.Part
	id := c.r.PathValue("message")
	if id == "" {
		if id = c.r.URL.Query().Get("message_id"); id == "" {
			return mail.Account{}, nil, mail.Message{}, none, mail.E(mail.Invalid, "find attachment", "message_id is required", nil)
		}
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return mail.Account{}, nil, mail.Message{}, none, err
	}
	m, err := mb.Message(c.r.Context(), mail.MessageID(id))
	if err != nil {
		return mail.Account{}, nil, mail.Message{}, none, err
	}
	part, ok := v3.PartID(c.r.PathValue("attachment"))
	for _, p := range m.Attachments {
		if ok && p.ID == part {
			return acct, mb, m, p, nil
		}
	}
	return mail.Account{}, nil, mail.Message{}, none, mail.E(mail.NotFound, "find attachment", "the message has no such attachment", nil)
}

func (a *API) getAttachment(c *call) error {
	acct, _, _, p, err := c.attachment()
	if err != nil {
		return err
	}
	return c.tagged(v3.Select{}, v3.AttachmentOf(p, acct.ID))
}

// downloadAttachment sends the decoded bytes. What strangers attached is never shown in our origin: it is always a
// download, never sniffed, and sandboxed if a browser shows it all the same.
func (a *API) downloadAttachment(c *call) error {
	acct, mb, m, p, err := c.attachment()
	if err != nil {
		return err
	}
	if m.Body != mail.BodyHeld {
		return &mail.Error{Op: "download attachment", Kind: mail.Unavailable, After: 5 * time.Second, Msg: "the message was not fetched from the server yet; try again soon"}
	}
	raw, err := mb.RawBlob(c.r.Context(), m.ID)
	if err != nil {
		return err
	}
	content := &partReader{c: c, grant: acct.ID, mb: mb, m: m, part: p}
	defer content.close()
	if err := content.open(); err != nil { // while an error can still be told
		return err
	}
	h := c.Header()
	h.Set("Content-Type", v3.ContentType(p))
	h.Set("Content-Disposition", v3.Disposition("attachment", mime.SafeName(p.Filename)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", fmt.Sprintf(`"%s-%s-%d"`, m.ID, v3.AttachmentID(p.ID), raw.ID)) // a draft keeps its id in every version
	http.ServeContent(c, c.r, "", time.Time{}, content)
	return nil
}

// partReader reads the decoded bytes of a part. Seeking is free until the next Read, which decodes from the start
// again if it has to: parts are stored inside their message, encoded.
type partReader struct {
	c     *call
	grant mail.AccountID
	mb    *store.Mailbox
	m     mail.Message
	part  mail.Part

	blob io.Closer
	r    io.Reader
	at   int64 // of r
	want int64 // of the next Read
}

func (p *partReader) open() error {
	p.close()
	blob, err := p.mb.OpenRaw(p.c.r.Context(), p.m.ID)
	if err != nil {
		return p.c.sound(p.grant, p.m.ID, err)
	}
	if blob == nil {
		return mail.E(mail.NotFound, "open attachment", "the message's bytes are not held any more", nil)
	}
	_, r, err := mime.OpenPart(blob, p.part.ID)
	if err != nil {
		blob.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return mail.E(mail.NotFound, "open attachment", "the message has no such attachment", err)
		}
		return p.c.sound(p.grant, p.m.ID, err)
	}
	p.blob, p.r, p.at = blob, r, 0
	return nil
}

func (p *partReader) close() {
	if p.blob != nil {
		p.blob.Close()
		p.blob, p.r = nil, nil
	}
}

// Read implements io.Reader.
func (p *partReader) Read(b []byte) (int, error) {
	if p.r == nil || p.at > p.want {
		if err := p.open(); err != nil {
			return 0, err
		}
	}
	if p.at < p.want {
		n, err := io.CopyN(io.Discard, p.r, p.want-p.at)
		p.at += n
		if err != nil {
			return 0, err
		}
	}
	n, err := p.r.Read(b)
	p.at += int64(n)
	p.want = p.at
	return n, p.c.sound(p.grant, p.m.ID, err)
}

// Seek implements io.Seeker.
func (p *partReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.want
	case io.SeekEnd:
		offset += p.part.Size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of an attachment")
	}
	p.want = offset
	return offset, nil
}

func isTrue(s string) bool { return strings.EqualFold(s, "true") || s == "1" }
