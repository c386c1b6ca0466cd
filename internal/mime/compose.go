package mime

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-message/textproto"
	"golang.org/x/net/idna"
)

// Composition is a message to be written.
type Composition struct {
	From, ReplyTo, To, Cc []Address
	Bcc                   []Address // written only if KeepBcc
	KeepBcc               bool      // for drafts; what is sent must not tell
	Subject               string
	Text, HTML            string    // with HTML alone, the text is made from it
	Date                  time.Time // zero: no Date field
	MessageID             string    // without <>; "" none
	InReplyTo, References []string  // without <>
	ThreadTopic           string
	ThreadIndex           []byte  // as in PidTagConversationIndex (MS-OXOMSG 2.2.1.3), not encoded
	Headers               []Field // others; Value is plain text, on one line
	Files                 []File
}

// File is an attachment or inline part of a Composition.
type File struct {
	Name        string
	ContentType string // "" or malformed: application/octet-stream
	ContentID   string // without <>; "" none
	Inline      bool   // shown within the HTML, if there is any
	Size        int64  // bytes that Open gives, which is checked; -1 unknown
	Open        func() (io.ReadCloser, error)
}

// ComposeError tells what cannot be written as it was asked for. Msg is for people.
type ComposeError struct{ Field, Msg string }

// Error implements error.
func (e *ComposeError) Error() string { return e.Field + ": " + e.Msg }

// ownFields are written from the fields of Composition, or belong to those who carry the message.
var ownFields = []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
	"Thread-Topic", "Thread-Index", "MIME-Version", "Received", "Return-Path", "DKIM-Signature"}

// RevisionField is a header field of the drafts that we write: each version has a value of its own.
const RevisionField = "X-Posthorn-Revision"

// The bounds of what is written. A line never exceeds 998 bytes (RFC 5322 2.1.1).
const (
	maxFieldName = 70
	maxFieldText = 4 << 10
	maxWord      = 900 // what has no space to fold at
	maxAddress   = 320 // of an address (RFC 5321 4.5.3.1), with room for its brackets
	keptRefs     = 20  // of References: the first and the last ones
)

// Check tells whether the composition can be written. It fails with a ComposeError.
func (c *Composition) Check() error {
	for _, l := range []struct {
		field string
		list  []Address
	}{{"from", c.From}, {"reply_to", c.ReplyTo}, {"to", c.To}, {"cc", c.Cc}, {"bcc", c.Bcc}} {
		for _, a := range l.list {
			if why := checkAddress(a); why != "" {
				return &ComposeError{l.field, why}
			}
		}
	}
	if why := checkText(c.Subject); why != "" {
		return &ComposeError{"subject", why}
	}
	if why := checkText(c.ThreadTopic); why != "" {
		return &ComposeError{"thread topic", why}
	}
	for _, l := range [][]string{{c.MessageID}, c.InReplyTo, c.References} {
		for _, id := range l {
			if id != "" && !plainID(id) {
				return &ComposeError{"message id", "it must look like local@host, without spaces"}
			}
		}
	}
	for _, f := range c.Headers {
		if why := checkField(f); why != "" {
			return &ComposeError{"custom_headers", why}
		}
	}
	for _, f := range c.Files {
		if why := checkText(f.Name); why != "" {
			return &ComposeError{"attachments: filename", why}
		}
		if why := checkText(f.ContentID); why != "" || strings.ContainsAny(f.ContentID, "<> \t") || len(f.ContentID) > maxAddress || !ascii(f.ContentID) {
			return &ComposeError{"attachments: content_id", "it must be short ASCII without spaces and angle brackets"}
		}
	}
	return nil
}

func checkText(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "it is not UTF-8"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return "it holds a line end or another control character"
	case len(s) > maxFieldText:
		return fmt.Sprintf("it is longer than %d bytes", maxFieldText)
	}
	return ""
}

func checkAddress(a Address) string {
	if why := checkText(a.Name); why != "" {
		return "a name: " + why
	}
	at := strings.LastIndexByte(a.Email, '@')
	switch {
	case checkText(a.Email) != "" || strings.ContainsAny(a.Email, "\t"):
		return "an address holds a control character or is not UTF-8"
	case at < 1 || at == len(a.Email)-1 || len(a.Email) > maxAddress:
		return "an address must look like name@host"
	case strings.ContainsAny(a.Email[at:], " <>(),;:\\\""):
		return "an address has a host that is none"
	case !isQuoted(a.Email[:at]) && strings.ContainsAny(a.Email[:at], " ()<>[]:;@\\,\""):
		return "an address has characters before the @ that must be quoted"
	}
	return ""
}

func checkField(f Field) string {
	if f.Name == "" || len(f.Name) > maxFieldName || strings.ContainsFunc(f.Name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) {
		return "a name must be of printable ASCII, without spaces and colon"
	}
	for _, own := range ownFields {
		if strings.EqualFold(f.Name, own) {
			return f.Name + " has a field of its own or cannot be chosen"
		}
	}
	if len(f.Name) >= 8 && strings.EqualFold(f.Name[:8], "Content-") {
		return f.Name + " follows from the content"
	}
	if why := checkText(f.Value); why != "" {
		return f.Name + ": " + why
	}
	for w := range strings.FieldsSeq(f.Value) {
		if len(w) > maxWord && ascii(f.Value) {
			return f.Name + ": a word is too long to be folded"
		}
	}
	return ""
}

func plainID(s string) bool {
	return validID(s) && ascii(s) && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '<' || r == '>' || r == 0x7f })
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// UTF8 tells whether the header needs UTF-8 (RFC 6532): an address has a local part beyond ASCII.
func (c *Composition) UTF8() bool {
	for _, l := range [][]Address{c.From, c.ReplyTo, c.To, c.Cc, c.Bcc} {
		for _, a := range l {
			if !ascii(a.Email[:max(strings.LastIndexByte(a.Email, '@'), 0)]) {
				return true
			}
		}
	}
	return false
}

// NewMessageID mints a Message-ID, without <>, at the host of an address.
func NewMessageID(address string) string {
	host := asciiHost(address[strings.LastIndexByte(address, '@')+1:])
	if id := rand.Text() + "@" + host; plainID(id) {
		return id
	}
	return rand.Text() + "@posthorn.invalid"
}

func asciiHost(host string) string {
	if h, err := idna.Punycode.ToASCII(host); err == nil {
		return h
	}
	return host
}

// Compose writes the message (RFC 5322, 2045 to 2047, 2231). Files are read one after the other, as they are written. It
// fails with what Check says, with the errors of w and of files, and with io.ErrUnexpectedEOF if a file is not as long as
// it says.
func Compose(w io.Writer, c Composition) error {
	if err := c.Check(); err != nil {
		return err
	}
	var h fields
	h.addresses("From", c.From)
	h.addresses("Reply-To", c.ReplyTo)
	h.addresses("To", c.To)
	h.addresses("Cc", c.Cc)
	if c.KeepBcc {
		h.addresses("Bcc", c.Bcc)
	}
	h.add("Subject", encodeText(c.Subject))
	if !c.Date.IsZero() {
		h.add("Date", c.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	}
	h.ids("Message-ID", []string{c.MessageID})
	h.ids("In-Reply-To", c.InReplyTo)
	refs := c.References
	if len(refs) > keptRefs {
		refs = append([]string{refs[0]}, refs[len(refs)-keptRefs+1:]...)
	}
	h.ids("References", refs)
	h.add("Thread-Topic", encodeText(c.ThreadTopic))
	h.add("Thread-Index", base64.StdEncoding.EncodeToString(c.ThreadIndex))
	for _, f := range c.Headers {
		h.add(f.Name, encodeText(f.Value))
	}
	h.add("MIME-Version", "1.0")
	end := tail{w: w}
	err := c.tree().write(h, func(h textproto.Header) (io.Writer, error) { return &end, textproto.WriteHeader(&end, h) })
	if err == nil && !end.complete() {
		_, err = io.WriteString(w, "\r\n")
	}
	return err
}

// tail remembers the last two bytes: a message ends with a line end, which IMAP and SMTP need.
type tail struct {
	w    io.Writer
	last [2]byte
}

func (t *tail) complete() bool { return t.last == [2]byte{'\r', '\n'} }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	if n := len(p); n > 1 {
		t.last = [2]byte(p[n-2:])
	} else if n == 1 {
		t.last = [2]byte{t.last[1], p[0]}
	}
	return t.w.Write(p)
}

// fields are header fields in their order.
type fields [][2]string

func (h *fields) add(name, value string) {
	if value = strings.TrimSpace(value); value != "" {
		*h = append(*h, [2]string{name, value})
	}
}

func (h *fields) ids(name string, ids []string) {
	var out []string
	for _, id := range ids {
		if id != "" {
			out = append(out, "<"+id+">")
		}
	}
	h.add(name, strings.Join(out, " "))
}

func (h *fields) addresses(name string, list []Address) {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = formatAddress(a)
	}
	h.add(name, strings.Join(out, ", "))
}

// header writes what goes at the top last, as textproto wants it.
func (h fields) header() textproto.Header {
	var out textproto.Header
	for i := len(h) - 1; i >= 0; i-- {
		out.Add(h[i][0], h[i][1])
	}
	return out
}

// encodeText writes text for an unstructured field (RFC 2047 5 (1)).
func encodeText(s string) string {
	for w := range strings.FieldsSeq(s) {
		if len(w) > maxWord || strings.HasPrefix(w, "=?") { // looks like an encoded word and must come back as it is
			return forceWords(s)
		}
	}
	return mime.QEncoding.Encode("utf-8", s)
}

// forceWords encodes text although it could stand as it is.
func forceWords(s string) string {
	var out []string
	for len(s) > 0 {
		n := min(len(s), 45)
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		out = append(out, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(out, " ")
}

const specials = "()<>[]:;@\\,.\"" // RFC 5322 3.2.3

// formatAddress writes a mailbox (RFC 5322 3.4). A host beyond ASCII goes as IDNA; a local part as UTF-8 (RFC 6532).
func formatAddress(a Address) string {
	at := strings.LastIndexByte(a.Email, '@')
	local, host := a.Email[:at], a.Email[at+1:]
	if ascii(local) {
		host = asciiHost(host)
	}
	if strings.Contains("."+local+".", "..") && !isQuoted(local) { // as some providers give out
		local = quotedString(local)
	}
	spec := local + "@" + host
	name := strings.TrimSpace(a.Name)
	switch {
	case name == "":
		return spec
	case !ascii(name) || strings.Contains(name, "=?") || len(name) > maxWord:
		name = forceWords(name) // base64: a phrase allows few characters in Q (RFC 2047 5 (3))
	case strings.ContainsAny(name, specials+"\t"):
		name = quotedString(name)
	}
	return name + " <" + spec + ">"
}

// isQuoted tells whether a local part is a quoted-string (RFC 5322 3.2.4), and that alone.
func isQuoted(local string) bool {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return false
	}
	for i := 1; i < len(local)-1; i++ {
		switch local[i] {
		case '"':
			return false
		case '\\':
			if i++; i == len(local)-1 {
				return false
			}
		}
	}
	return true
}

func quotedString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// entity is a node of the MIME tree to be written: a multipart or a leaf.
type entity struct {
	header fields
	kids   []entity
	body   func(io.Writer) error
}

// tree is mixed{related{alternative{text, html}, inline files}, files}, without the levels that would hold one thing.
func (c *Composition) tree() entity {
	var inline, rest []entity
	for _, f := range c.Files {
		if f.Inline && c.HTML != "" {
			inline = append(inline, f.entity())
		} else {
			rest = append(rest, f.entity())
		}
	}
	text := c.Text
	if text == "" && c.HTML != "" {
		text = HTMLToText(c.HTML)
	}
	var bodies []entity
	if text != "" || c.HTML == "" {
		bodies = append(bodies, textEntity("plain", text))
	}
	if c.HTML != "" {
		bodies = append(bodies, textEntity("html", c.HTML))
	}
	body := group("alternative", bodies)
	body = group("related", append([]entity{body}, inline...))
	return group("mixed", append([]entity{body}, rest...))
}

func group(kind string, kids []entity) entity {
	if len(kids) == 1 {
		return kids[0]
	}
	return entity{header: fields{{"Content-Type", "multipart/" + kind}}, kids: kids}
}

func textEntity(kind, s string) entity {
	s = strings.ToValidUTF8(s, "\uFFFD")
	encoding := "7bit"
	for l := range strings.Lines(s) {
		if !ascii(l) || len(l) > 78 || strings.ContainsRune(strings.TrimSuffix(strings.TrimSuffix(l, "\n"), "\r"), '\r') || strings.HasPrefix(l, "From ") || strings.IndexByte(l, 0) >= 0 {
			encoding = "quoted-printable"
			break
		}
	}
	return entity{
		header: fields{{"Content-Type", "text/" + kind + "; charset=utf-8"}, {"Content-Transfer-Encoding", encoding}},
		body: func(w io.Writer) error {
			if encoding == "7bit" {
				_, err := io.WriteString(w, strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n"))
				return err
			}
			q := quotedprintable.NewWriter(w)
			if _, err := io.WriteString(q, s); err != nil {
				return err
			}
			return q.Close()
		},
	}
}

func (f File) entity() entity {
	kind, params, err := mime.ParseMediaType(f.ContentType)
	if err != nil || !strings.Contains(kind, "/") || strings.HasPrefix(kind, "multipart/") {
		kind, params = "application/octet-stream", nil
	}
	if params == nil {
		params = map[string]string{}
	}
	delete(params, "name")
	disposition, named := "attachment", map[string]string{}
	if f.Inline {
		disposition = "inline"
	}
	if f.Name != "" {
		params["name"], named["filename"] = f.Name, f.Name
	}
	ctype := mime.FormatMediaType(kind, params)
	if ctype == "" || len(ctype) > maxWord {
		ctype = kind
	}
	var h fields
	h.add("Content-Type", ctype)
	h.add("Content-Transfer-Encoding", "base64")
	h.add("Content-Disposition", mime.FormatMediaType(disposition, named))
	if f.ContentID != "" {
		h.add("Content-ID", "<"+f.ContentID+">")
	}
	return entity{header: h, body: func(w io.Writer) error {
		r, err := f.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		out := bufio.NewWriterSize(w, 32<<10)
		b := base64.NewEncoder(base64.StdEncoding, &lineBreaker{w: out})
		n, err := io.Copy(b, r)
		if err == nil && f.Size >= 0 && n != f.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		b.Close() // its errors are those of out
		return out.Flush()
	}}
}

// write writes the header, more above the entity's own, and the content. create writes a header and gives what to write
// below it to.
func (e entity) write(more fields, create func(textproto.Header) (io.Writer, error)) error {
	h := append(more, e.header...)
	if e.kids == nil {
		w, err := create(h.header())
		if err != nil {
			return err
		}
		return e.body(w)
	}
	boundary := rand.Text() + rand.Text()
	h[len(h)-1][1] += "; boundary=" + boundary
	w, err := create(h.header())
	if err != nil {
		return err
	}
	m := textproto.NewMultipartWriter(w)
	if err := m.SetBoundary(boundary); err != nil {
		return err
	}
	for _, k := range e.kids {
		if err := k.write(nil, m.CreatePart); err != nil {
			return err
		}
	}
	return m.Close()
}

// lineBreaker breaks base64 into lines of 76 (RFC 2045 6.8).
type lineBreaker struct {
	w   *bufio.Writer
	col int
}

// Write implements io.Writer.
func (l *lineBreaker) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if l.col == 76 {
			if _, err := l.w.WriteString("\r\n"); err != nil {
				return 0, err
			}
			l.col = 0
		}
		n := min(len(p), 76-l.col)
		if _, err := l.w.Write(p[:n]); err != nil {
			return 0, err
		}
		l.col += n
		p = p[n:]
	}
	return total, nil
}
