package v3

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"github.com/posthorn/posthorn/internal/mail"
)

// MessageWrite is the body of what composes a message: a draft or a send. Of an update, nil fields stay as they are.
type MessageWrite struct {
	From, To, Cc, Bcc, ReplyTo *[]mail.Address
	Subject, Body              *string
	Plain                      bool    // Body is text; else it is HTML
	ReplyToMessage             *string // our id of a message, or its Message-ID
	Headers                    *[]Header
	Attachments                *[]AttachmentWrite
	Starred, Unread            *bool
	Metadata                   *map[string]string
	SendAt                     *int64
	UseDraft                   *bool
	Tracking                   json.RawMessage // as given; nil none
}

// AttachmentWrite is an attachment in the JSON of a MessageWrite. Content is the base64 text, or whatever the reader of
// the request put in its place.
type AttachmentWrite struct {
	ID                 string `json:"id"`
	Filename           string `json:"filename"`
	ContentType        string `json:"content_type"`
	Content            string `json:"content"`
	ContentID          string `json:"content_id"`
	ContentDisposition string `json:"content_disposition"`
	IsInline           bool   `json:"is_inline"`
}

// Inline tells whether the attachment is to be shown within the body.
func (a AttachmentWrite) Inline() bool {
	return a.IsInline || strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.ContentDisposition)), "inline")
}

// The bounds of a MessageWrite.
const (
	maxRecipients    = 1000
	MaxAttachments   = 200
	maxCustomHeaders = 100
)

// ParseMessageWrite reads and checks a MessageWrite. It fails with Invalid.
func ParseMessageWrite(body io.Reader) (MessageWrite, error) {
	var in struct {
		From           *[]mail.Address    `json:"from"`
		To             *[]mail.Address    `json:"to"`
		Cc             *[]mail.Address    `json:"cc"`
		Bcc            *[]mail.Address    `json:"bcc"`
		ReplyTo        *[]mail.Address    `json:"reply_to"`
		Subject        *string            `json:"subject"`
		Body           *string            `json:"body"`
		Plain          bool               `json:"is_plaintext"`
		ReplyToMessage *string            `json:"reply_to_message_id"`
		Headers        *[]Header          `json:"custom_headers"`
		Attachments    *[]AttachmentWrite `json:"attachments"`
		Starred        *bool              `json:"starred"`
		Unread         *bool              `json:"unread"`
		Metadata       json.RawMessage    `json:"metadata"`
		SendAt         *int64             `json:"send_at"`
		UseDraft       *bool              `json:"use_draft"`
		Tracking       json.RawMessage    `json:"tracking_options"`
		Template       json.RawMessage    `json:"template"`
		Signature      string             `json:"signature_id"`
	}
	if err := DecodeJSON(body, &in); err != nil {
		return MessageWrite{}, err
	}
	w := MessageWrite{
		From: in.From, To: in.To, Cc: in.Cc, Bcc: in.Bcc, ReplyTo: in.ReplyTo, Subject: in.Subject, Body: in.Body, Plain: in.Plain,
		ReplyToMessage: in.ReplyToMessage, Headers: in.Headers, Attachments: in.Attachments, Starred: in.Starred, Unread: in.Unread,
		SendAt: in.SendAt, UseDraft: in.UseDraft, Tracking: in.Tracking,
	}
	recipients := 0
	for _, l := range []*[]mail.Address{w.From, w.To, w.Cc, w.Bcc, w.ReplyTo} {
		if l != nil {
			recipients += len(*l)
		}
	}
	switch {
	case in.Template != nil && string(in.Template) != "null":
		return w, invalid("read body", "template: there are no templates here; give subject and body")
	case in.Signature != "":
		return w, errSignature
	case w.From != nil && len(*w.From) > 1:
		return w, invalid("read body", "from takes one address")
	case recipients > maxRecipients:
		return w, invalid("read body", "a message takes at most 1000 addresses")
	case w.Attachments != nil && len(*w.Attachments) > MaxAttachments:
		return w, invalid("read body", "a message takes at most 200 attachments")
	case w.Headers != nil && len(*w.Headers) > maxCustomHeaders:
		return w, invalid("read body", "a message takes at most 100 custom headers")
	}
	if w.Attachments != nil {
		for i, a := range *w.Attachments {
			if a.ID != "" && a.Content == "" {
				return w, invalid("read body", "attachments: upload sessions are not supported; give the content")
			}
			if a.Filename == "" && a.ContentID == "" {
				return w, invalid("read body", "attachments: filename is missing")
			}
			(*w.Attachments)[i].ContentID = strings.Trim(a.ContentID, "<> ")
		}
	}
	metadata, given, err := ParseMetadata(in.Metadata)
	if given {
		w.Metadata = &metadata
	}
	return w, err
}

var errSignature = invalid("read body", "signature_id: there are no signatures here; write it into the body")

// ParseDraftSend reads the body of the sending of a draft, which may be empty: there is nothing that it could ask for. It fails
// with Invalid.
func ParseDraftSend(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil || len(raw) == 0 {
		return err
	}
	var in struct {
		Signature string `json:"signature_id"`
	}
	if err := DecodeJSON(bytes.NewReader(raw), &in); err != nil {
		return err
	}
	if in.Signature != "" {
		return errSignature
	}
	return nil
}

// FieldContentID returns the Content-ID that some clients give as the field name of a file in a multipart form; "" if it
// only counts the files.
func FieldContentID(name string) string {
	base := strings.ToLower(strings.TrimRight(name, "0123456789[]"))
	switch base {
	case "", "file", "files", "attachment", "attachments":
		return ""
	}
	return strings.Trim(name, "<> ")
}
