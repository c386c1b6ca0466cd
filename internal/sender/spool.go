package sender

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/syncer"
)

const (
	maxHeader     = 1 << 20  // bytes of a message's header
	maxMessage    = 64 << 20 // bytes of a message, encoded
	maxRecipients = 1000
)

func invalid(msg string) error { return mail.E(mail.Invalid, "send", msg, nil) }

// Outgoing is a message that shall be sent.
type Outgoing struct {
	Write  func(io.Writer) error // gives the whole message, with its Bcc field
	SendAt time.Time             // zero: at once
	Key    string                // Idempotency-Key; "" none
	Draft  mail.MessageID        // is removed once the message was sent; "" none
	Work   *mail.DraftWork       // what is known of the copies of Draft
}

// Spool stores the bytes of a message and reads from them what a send must know: nothing is known twice. The message goes
// to the addresses of To, Cc and Bcc, from that of From. It fails with Invalid if it cannot be sent as it is.
func (s *Sender) Spool(ctx context.Context, mb *store.Mailbox, o Outgoing) (out mail.Send, m *mime.Message, err error) {
	w, err := mb.NewBlob(ctx, store.BlobOther)
	if err != nil {
		return out, nil, err
	}
	defer w.Abort()
	c := canonical{w: w}
	if err := o.Write(&c); err != nil {
		return out, nil, err
	}
	if err := c.end(); err != nil {
		return out, nil, err
	}
	if c.nul {
		return out, nil, invalid("the message holds NUL bytes, which mail cannot carry")
	}
	ref, err := w.Commit()
	if err != nil {
		return out, nil, err
	}
	out = mail.Send{State: mail.SendQueued, Key: o.Key, Blob: ref.ID, Size: ref.Size, EightBit: c.eight, UTF8: c.wideHeader, Draft: o.Draft, DraftWork: o.Work}
	if !o.SendAt.IsZero() {
		out.State, out.SendAt = mail.SendScheduled, o.SendAt
	}
	if m, err = s.summarise(ctx, mb, &out); err != nil {
		mb.DropBlobs(context.WithoutCancel(ctx), ref.ID)
		return out, nil, err
	}
	return out, m, nil
}

// summarise fills in what the message says of itself, and its ids, which are those that its copy in Sent will have.
func (s *Sender) summarise(ctx context.Context, mb *store.Mailbox, out *mail.Send) (*mime.Message, error) {
	r, err := mb.OpenBlob(ctx, out.Blob)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	m, err := mime.Parse(r, mime.Options{})
	if err != nil {
		return nil, err
	}
	if len(m.From) != 1 || !deliverable(m.From[0].Email) {
		return nil, invalid("the message must have one sender, with an address")
	}
	out.From = m.From[0].Email
	for _, list := range [][]mime.Address{m.To, m.Cc, m.Bcc} {
		for _, a := range list {
			if a.Email == "" {
				continue // the name of a group
			}
			if !deliverable(a.Email) {
				return nil, invalid("a recipient is not an address that mail can be sent to")
			}
			if !slices.ContainsFunc(out.Recipients, func(x mail.Recipient) bool { return strings.EqualFold(x.Email, a.Email) }) {
				out.Recipients = append(out.Recipients, mail.Recipient{Email: a.Email})
			}
			if len(out.Recipients) > maxRecipients {
				return nil, invalid("the message has more than 1000 recipients")
			}
		}
	}
	if len(out.Recipients) == 0 {
		return nil, invalid("the message has no recipient: give at least one of to, cc and bcc")
	}
	fp, strong := mime.Fingerprint(m)
	if !strong {
		return nil, invalid("the message's Message-ID is not of the form <local@host>")
	}
	key := mb.IDKey()
	thread, err := mb.ThreadOf(ctx, key.ThreadKeys(m, fp))
	if err != nil {
		return nil, err
	}
	out.Summary = mail.Message{
		ID: mail.MessageID(key.MessageID(fp)), Thread: thread, Date: m.Date, Sent: m.Date, Subject: m.Subject,
		From: addresses(m.From), To: addresses(m.To), Cc: addresses(m.Cc), Bcc: addresses(m.Bcc), ReplyTo: addresses(m.ReplyTo), Sender: addresses(m.Sender),
		HeaderMessageID: m.MessageID, References: m.References, Snippet: m.Snippet(), Size: out.Size, Body: mail.BodyHeld,
	}
	if len(m.InReplyTo) > 0 {
		out.Summary.HeaderInReplyTo = m.InReplyTo[0]
	}
	out.Summary.Attachments, out.Summary.ListedAsAttached = syncer.Parts(m.Attachments)
	return m, nil
}

func addresses(in []mime.Address) (out []mail.Address) {
	for _, a := range in {
		out = append(out, mail.Address{Name: a.Name, Email: a.Email})
	}
	return out
}

// deliverable tells whether an address can stand in a command of SMTP without being able to say more than an address.
func deliverable(a string) bool {
	at := strings.LastIndexByte(a, '@')
	return at > 0 && at < len(a)-1 && len(a) <= 320 && !strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' })
}

// canonical gives every line the one line end that mail knows, so that no server takes half of a message for a command
// or for its end, and looks at the bytes that pass.
type canonical struct {
	w     io.Writer
	out   []byte
	cr    bool // the last byte was a CR, not written yet
	col   int  // bytes of this line
	n     int64
	body  bool // past the header
	eight bool
	nul   bool

	wideHeader bool
}

func (c *canonical) Write(p []byte) (int, error) {
	c.out = c.out[:0]
	for _, b := range p {
		if c.cr {
			c.cr = false
			c.line()
			if b == '\n' {
				continue
			}
		}
		switch {
		case b == '\r':
			c.cr = true
			continue
		case b == '\n':
			c.line()
			continue
		case b == 0:
			c.nul = true
		case b >= 0x80:
			c.eight = true
			c.wideHeader = c.wideHeader || !c.body
		}
		c.col++
		c.out = append(c.out, b)
	}
	if c.n += int64(len(c.out)); c.n > maxMessage {
		return 0, invalid("the message is larger than 64 MiB")
	}
	if _, err := c.w.Write(c.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *canonical) line() {
	c.body = c.body || c.col == 0
	c.col = 0
	c.out = append(c.out, '\r', '\n')
}

// end completes the last line.
func (c *canonical) end() error {
	if !c.cr && c.col == 0 && c.n > 0 {
		return nil
	}
	c.cr = false
	_, err := c.w.Write([]byte("\r\n"))
	return err
}

// Edited returns a message with other header fields: those that drop names are left out, add, which is whole lines, comes
// first. Of the others every byte stays. It fails with Invalid if the message does not begin with a header.
func Edited(r io.Reader, drop []string, add string) (io.Reader, error) {
	head, rest, err := splitHeader(r)
	if err != nil {
		return nil, err
	}
	kept := []byte(add)
	keep := true
	for line := range bytes.Lines(head) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			keep = !slices.ContainsFunc(drop, func(d string) bool { return strings.EqualFold(d, string(bytes.TrimRight(name, " \t"))) })
		}
		if keep {
			kept = append(kept, line...)
		}
	}
	return io.MultiReader(bytes.NewReader(kept), rest), nil
}

// Completed returns a message that somebody else wrote with the fields that it must have and does not: Message-ID, Date
// and From.
func Completed(r io.Reader, from mail.Address, now time.Time) (io.Reader, error) {
	head, rest, err := splitHeader(r)
	if err != nil {
		return nil, err
	}
	m := mime.ParseHeader(head)
	var add bytes.Buffer
	if m.MessageID == "" {
		add.WriteString("Message-ID: <" + mime.NewMessageID(from.Email) + ">\r\n")
	}
	if m.Date.IsZero() {
		add.WriteString("Date: " + now.Format(dateLayout) + "\r\n")
	}
	if len(m.From) == 0 {
		add.WriteString("From: " + from.Email + "\r\n")
	}
	var drop []string
	for name, there := range map[string]bool{"Message-ID": m.MessageID != "", "Date": !m.Date.IsZero(), "From": len(m.From) > 0} {
		if !there { // an unreadable one
			drop = append(drop, name)
		}
	}
	return Edited(io.MultiReader(bytes.NewReader(head), rest), drop, add.String())
}

const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// Redated returns a draft with another Date, and with a Message-ID if it has none.
func Redated(r io.Reader, from string, date time.Time) (io.Reader, error) {
	r, err := Edited(r, []string{"Date", mime.RevisionField}, "Date: "+date.Format(dateLayout)+"\r\n")
	if err != nil {
		return nil, err
	}
	return Completed(r, mail.Address{Email: from}, date)
}

// splitHeader reads the header, without the empty line after it, which stays in rest.
func splitHeader(r io.Reader) (head []byte, rest io.Reader, err error) {
	in := bufio.NewReaderSize(r, 16<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, nil, err
		}
		if len(line) > 0 && len(bytes.TrimRight(line, "\r\n")) == 0 && (len(head) == 0 || head[len(head)-1] == '\n') {
			if len(head) == 0 {
				return nil, nil, invalid("the message has no header")
			}
			return head, io.MultiReader(bytes.NewReader(bytes.Clone(line)), in), nil
		}
		if head = append(head, line...); len(head) > maxHeader {
			return nil, nil, invalid("the header of the message is larger than 1 MiB")
		}
		if len(head) == len(line) && !beginsField(line) {
			return nil, nil, invalid("the message does not begin with a header field")
		}
		if err == io.EOF {
			return append(head, "\r\n"...), strings.NewReader("\r\n"), nil
		}
	}
}

func beginsField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}
