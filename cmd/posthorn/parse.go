package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/internal/mime"
)

// parseCmd prints what Posthorn understands of messages, one JSON line each.
type parseCmd struct {
	Files  []string `arg:"" optional:"" help:"Message files; - is standard input." default:"-"`
	Clean  bool     `help:"Show what the author wrote: the text without quotes and signature."`
	Repair bool     `help:"Detect the charset of bytes that the declared one does not have, as the API does. Without it they show as U+FFFD, and uuencoded files stay in their text."`
}

type parsedAddress struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

type parsedPart struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	Inline bool   `json:"inline"`
	SHA256 string `json:"sha256"`

	Method   string `json:"method,omitempty"`
	Embedded string `json:"embedded,omitempty"`
}

type parsedRecipient struct {
	Address    string `json:"address"`
	Action     string `json:"action,omitempty"`
	Status     string `json:"status,omitempty"`
	Diagnostic string `json:"diagnostic,omitempty"`
}

// parsedReport is what became of another message.
type parsedReport struct {
	Kind       string            `json:"kind"` // "delivery", "bounce" (of no standard form), "receipt"
	Recipients []parsedRecipient `json:"recipients"`
	MessageID  string            `json:"message_id,omitempty"` // of that message
	Subject    string            `json:"subject,omitempty"`
}

type parsedMessage struct {
	File        string          `json:"file"`
	Subject     string          `json:"subject"`
	From        []parsedAddress `json:"from"`
	To          []parsedAddress `json:"to"`
	Cc          []parsedAddress `json:"cc"`
	Date        *int64          `json:"date"` // Unix seconds; null when missing or unreadable
	MessageID   string          `json:"message_id"`
	InReplyTo   string          `json:"in_reply_to"`
	References  []string        `json:"references"`
	Text        string          `json:"text"`
	HTML        string          `json:"html"`
	Attachments []parsedPart    `json:"attachments"`
	Security    mime.Security   `json:"security,omitempty"`
	ListID      string          `json:"list_id,omitempty"`
	Automatic   bool            `json:"automatic,omitempty"`
	Report      *parsedReport   `json:"report,omitempty"`
	Clean       string          `json:"clean,omitempty"` // with --clean: what its author wrote
	Partial     bool            `json:"partial,omitempty"`
	Problems    []string        `json:"problems,omitempty"`
}

// Run parses the files in order and writes to standard output. It stops at the first file that cannot be read; bad
// mail is no error.
func (c *parseCmd) Run() error {
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, name := range c.Files {
		if err := c.parseFile(enc, name); err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		if err := out.Flush(); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

func (c *parseCmd) parseFile(enc *json.Encoder, name string) error {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return err
		}
		defer f.Close()
	}
	m, err := mime.Parse(&wireReader{r: f}, mime.Options{Digests: true, NoDetect: !c.Repair, NoEmbed: !c.Repair})
	if err != nil {
		return err
	}
	p := parsedMessage{
		File: filepath.Base(name), Subject: m.Subject, From: parsedAddresses(m.From), To: parsedAddresses(m.To), Cc: parsedAddresses(m.Cc),
		MessageID: m.MessageID, References: m.References, Text: m.TextAll, HTML: m.HTMLAll, Attachments: []parsedPart{}, Problems: m.Problems,
	}
	p.Security, p.ListID, p.Automatic, p.Report, p.Partial = m.Security, m.List.ID, m.Automatic(), reportOf(m), m.Partial
	if c.Clean {
		p.Clean = mime.Clean(m, mime.DefaultCleanOptions()).Text
	}
	if p.References == nil {
		p.References = []string{}
	}
	if !m.Date.IsZero() {
		t := m.Date.Unix()
		p.Date = &t
	}
	if len(m.InReplyTo) > 0 {
		p.InReplyTo = m.InReplyTo[0]
	}
	for _, a := range m.Attachments {
		p.Attachments = append(p.Attachments, parsedPart{a.ID, a.Name, a.ContentType, a.Size, a.Inline, hex.EncodeToString(a.SHA256[:]), a.Method, a.Embedded})
	}
	return enc.Encode(p)
}

func reportOf(m *mime.Message) *parsedReport {
	var r parsedReport
	var of *mime.Message
	switch {
	case m.Delivery != nil:
		r.Kind, of = "delivery", m.Delivery.Returned
		if !m.Delivery.Standard {
			r.Kind = "bounce"
		}
		for _, x := range m.Delivery.Recipients {
			r.Recipients = append(r.Recipients, parsedRecipient{x.Address, x.Action, x.Status, x.Diagnostic})
		}
	case m.Receipt != nil:
		r.Kind, of = "receipt", m.Receipt.Returned
		r.MessageID = m.Receipt.OriginalMessageID
		r.Recipients = []parsedRecipient{{Address: m.Receipt.Recipient, Action: m.Receipt.Disposition}}
	default:
		return nil
	}
	if of != nil {
		if r.Subject = of.Subject; r.MessageID == "" {
			r.MessageID = of.MessageID
		}
	}
	return &r
}

func parsedAddresses(list []mime.Address) []parsedAddress {
	out := make([]parsedAddress, len(list))
	for i, a := range list {
		out[i] = parsedAddress(a)
	}
	return out
}

// wireReader gives a file the line ends it has on the wire: CRLF for a bare LF, as IMAP servers do, so that sizes and
// digests of unencoded parts are those of the mail.
type wireReader struct {
	r    io.Reader
	in   [32 << 10]byte
	out  []byte
	off  int
	last byte
	err  error
}

func (w *wireReader) Read(b []byte) (int, error) {
	for w.off == len(w.out) {
		if w.err != nil {
			return 0, w.err
		}
		n, err := w.r.Read(w.in[:])
		w.err = err
		w.out, w.off = w.out[:0], 0
		for _, c := range w.in[:n] {
			if c == '\n' && w.last != '\r' {
				w.out = append(w.out, '\r')
			}
			w.out = append(w.out, c)
			w.last = c
		}
	}
	n := copy(b, w.out[w.off:])
	w.off += n
	return n, nil
}
