package v3

import (
	"encoding/base64"
	"mime"
	"strings"

	"github.com/posthorn/posthorn/internal/mail"
)

// Message is a message as applications see it.
type Message struct {
	ID          mail.MessageID    `json:"id"`
	Object      string            `json:"object"` // "message"
	GrantID     mail.AccountID    `json:"grant_id"`
	ThreadID    mail.ThreadID     `json:"thread_id"`
	Subject     string            `json:"subject"`
	From        []mail.Address    `json:"from"`
	To          []mail.Address    `json:"to"`
	Cc          []mail.Address    `json:"cc"`
	Bcc         []mail.Address    `json:"bcc"`
	ReplyTo     []mail.Address    `json:"reply_to"`
	Date        int64             `json:"date"` // when the server received it
	CreatedAt   int64             `json:"created_at"`
	Unread      bool              `json:"unread"`
	Starred     bool              `json:"starred"`
	Folders     []mail.FolderID   `json:"folders"`
	Snippet     string            `json:"snippet"`
	Body        string            `json:"body"` // HTML
	Attachments []Attachment      `json:"attachments"`
	Headers     []Header          `json:"headers,omitzero"`   // only when asked for
	Metadata    map[string]string `json:"metadata,omitempty"` // what applications keep with it
	Tracking    *Tracking         `json:"tracking_options,omitempty"`
	BodyPending bool              `json:"body_pending,omitempty"` // the bytes were not fetched from the server yet, or have to be once more
	BodyError   string            `json:"body_error,omitempty"`   // why they could not be fetched so far
}

// RawMessage is the answer to fields=raw_mime.
type RawMessage struct {
	ID          mail.MessageID `json:"id"`
	Object      string         `json:"object"` // "message"
	GrantID     mail.AccountID `json:"grant_id"`
	RawMIME     string         `json:"raw_mime"` // base64url without padding
	BodyPending bool           `json:"body_pending,omitempty"`
}

// Header is one header field, its value undecoded.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Attachment is an attached or inline part of a message.
type Attachment struct {
	ID                 string         `json:"id"`
	GrantID            mail.AccountID `json:"grant_id"`
	Filename           string         `json:"filename"`
	ContentType        string         `json:"content_type"`
	Size               int64          `json:"size"`
	ContentID          string         `json:"content_id,omitempty"`
	ContentDisposition string         `json:"content_disposition,omitempty"`
	IsInline           bool           `json:"is_inline"`
}

// MessageOf maps a message without its body: the caller adds Body (and Headers) when they are asked for.
func MessageOf(m mail.Message, grant mail.AccountID) Message {
	out := Message{
		ID: m.ID, Object: "message", GrantID: grant, ThreadID: m.Thread, Subject: m.Subject,
		From: some(m.From), To: some(m.To), Cc: some(m.Cc), Bcc: some(m.Bcc), ReplyTo: some(m.ReplyTo),
		Date: unix(m.Date), CreatedAt: unix(m.Date),
		Unread: m.Flags&mail.FlagSeen == 0, Starred: m.Flags&mail.FlagFlagged != 0,
		Folders: some(m.Folders), Snippet: m.Snippet, Metadata: m.Metadata, Attachments: make([]Attachment, len(m.Attachments)),
		BodyPending: m.Body != mail.BodyHeld,
	}
	if m.Body == mail.BodyQuarantined {
		out.BodyError = m.Trouble
	}
	for i, p := range m.Attachments {
		out.Attachments[i] = AttachmentOf(p, grant)
	}
	return out
}

// Bytes is about how many bytes the answer spends on what a message may have much of.
func (m *Message) Bytes() int {
	n := len(m.Subject) + len(m.Snippet) + len(m.Body)
	for _, list := range [][]mail.Address{m.From, m.To, m.Cc, m.Bcc, m.ReplyTo} {
		for _, a := range list {
			n += len(`{"name":"","email":""},`) + len(a.Name) + len(a.Email)
		}
	}
	for _, a := range m.Attachments {
		n += 200 + len(a.Filename) + len(a.ContentType) + len(a.ContentID)
	}
	for _, h := range m.Headers {
		n += len(`{"name":"","value":""},`) + len(h.Name) + len(h.Value)
	}
	return n
}

// BasicHeaders are Message-ID, In-Reply-To and References, as far as the message has them.
func BasicHeaders(m mail.Message) []Header {
	out := make([]Header, 0, 3)
	if m.HeaderMessageID != "" {
		out = append(out, Header{"Message-ID", "<" + m.HeaderMessageID + ">"})
	}
	if m.HeaderInReplyTo != "" {
		out = append(out, Header{"In-Reply-To", "<" + m.HeaderInReplyTo + ">"})
	}
	if len(m.References) > 0 {
		out = append(out, Header{"References", "<" + strings.Join(m.References, "> <") + ">"})
	}
	return out
}

// RawOf makes the answer to fields=raw_mime; raw is nil while the bytes are not held.
func RawOf(id mail.MessageID, grant mail.AccountID, raw []byte) RawMessage {
	return RawMessage{ID: id, Object: "message", GrantID: grant, RawMIME: base64.RawURLEncoding.EncodeToString(raw), BodyPending: raw == nil}
}

// AttachmentOf maps a part.
func AttachmentOf(p mail.Part, grant mail.AccountID) Attachment {
	return Attachment{
		ID: AttachmentID(p.ID), GrantID: grant, Filename: p.Filename, ContentType: ContentType(p), Size: p.Size,
		ContentID: p.ContentID, ContentDisposition: disposition(p), IsInline: p.Inline,
	}
}

// AttachmentID makes the public id of the part at a position of the MIME tree: "2.1" becomes "p2-1".
func AttachmentID(part string) string { return "p" + strings.ReplaceAll(part, ".", "-") }

// PartID turns an attachment id back into the position, false if it cannot be one.
func PartID(id string) (string, bool) {
	if len(id) < 2 || len(id) > 256 || id[0] != 'p' {
		return "", false
	}
	for i := 1; i < len(id); i++ {
		c := id[i]
		if c == '-' && i > 1 && id[i-1] != '-' && i < len(id)-1 || c >= '0' && c <= '9' {
			continue
		}
		return "", false
	}
	return strings.ReplaceAll(id[1:], "-", "."), true
}

// ContentType returns the media type of a part, always well-formed: what a message says of itself is not trusted.
func ContentType(p mail.Part) string {
	t, _, err := mime.ParseMediaType(p.ContentType)
	if err != nil || !strings.Contains(t, "/") {
		return "application/octet-stream"
	}
	if p.Charset != "" && strings.HasPrefix(t, "text/") {
		if s := mime.FormatMediaType(t, map[string]string{"charset": p.Charset}); s != "" && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
			return s
		}
	}
	return t
}

func disposition(p mail.Part) string {
	kind := "attachment"
	if p.Inline {
		kind = "inline"
	}
	return Disposition(kind, p.Filename)
}

// Disposition writes a Content-Disposition value (RFC 6266): an ASCII name, and the exact one in RFC 8187 form when
// it differs. Control characters, path separators and quotes never come through.
func Disposition(kind, name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 { // controls, bidi overrides
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if len(name) > 255 {
		name = strings.ToValidUTF8(name[:255], "")
	}
	if name = strings.Trim(name, " ."); name == "" {
		return kind
	}
	ascii := strings.Map(func(r rune) rune {
		if r > '~' || r == '"' || r == '%' || r == ';' {
			return '_'
		}
		return r
	}, name)
	out := kind + `; filename="` + ascii + `"`
	if ascii != name {
		out += "; filename*=UTF-8''" + percent(name)
	}
	return out
}

// percent encodes as RFC 8187 ext-value: everything but attr-char.
func percent(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
