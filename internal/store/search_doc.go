package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/internal/vault"
)

const (
	// maxSearchText bounds how much text of one message can be searched.
	maxSearchText = 1 << 20
	// maxSearchHeader bounds how much of that are header fields.
	maxSearchHeader = 128 << 10
	// maxFolded is how many times as long as it was a text may be when it is folded.
	maxFolded = 3
	// maxTextParts bounds how many attached texts of a message are read.
	maxTextParts = 30
	// maxForwards is how deep forwarded messages are looked into.
	maxForwards = 3
)

// searchDoc is the text of one message as the index keeps it.
type searchDoc struct {
	row  int64
	sum  uint32
	day  int32
	text [query.NumFields]string // folded
}

func (d *searchDoc) size() int {
	n := 64
	for _, t := range d.text {
		n += len(t)
	}
	return n
}

// docText collects the text of a message from its parts.
type docText struct {
	fields [query.NumFields]strings.Builder
}

func (b *docText) add(f query.Field, s string, most int) {
	w := &b.fields[f]
	s = clean(s)
	if left := most - w.Len() - 1; left <= 0 {
		return
	} else if len(s) > left {
		s = strings.ToValidUTF8(s[:left], "")
	}
	w.WriteString(s)
	w.WriteByte('\n')
}

// folded returns the text as the index keeps it. Folding makes many characters of some; what that makes longer than any
// language does is cut off, as all of a message has to fit into a block.
func (b *docText) folded() (out [query.NumFields]string) {
	for f := range out {
		most := maxFolded * maxSearchHeader
		if query.Field(f) == query.Body {
			most = maxFolded * maxSearchText
		}
		if out[f] = query.Fold(strings.TrimSuffix(b.fields[f].String(), "\n")); len(out[f]) > most {
			out[f] = strings.ToValidUTF8(out[f][:most], "")
		}
	}
	return out
}

// header adds the fields of a header: what has a field of its own there, the rest line by line.
func (b *docText) header(m *mime.Message) {
	for _, f := range m.Header {
		name := strings.ToLower(f.Name)
		value := strings.TrimSpace(query.OneLine(m.DecodeField(f.Value)))
		line := query.Header
		if own, ok := query.OwnField(name); ok {
			b.add(own, value, maxSearchHeader)
			value = ""
		} else if query.SignedHeader(name) {
			line = query.Signed
		}
		b.add(line, name+": "+value, maxSearchHeader)
	}
}

// body adds the texts of a message, those attached and those of forwarded messages too.
func (b *docText) body(m *mime.Message, raw io.ReadSeeker, depth int) error {
	b.add(query.Body, m.TextAll, maxSearchText)
	if m.HTMLAll != "" {
		b.add(query.Body, mime.HTMLToWords(m.HTMLAll), maxSearchText)
	}
	read := 0
	for _, a := range m.Attachments {
		if a.Name != "" {
			b.add(query.Filename, query.OneLine(a.Name), maxSearchHeader)
		}
		text, message := strings.HasPrefix(a.ContentType, "text/"), strings.HasPrefix(a.ContentType, "message/")
		if !text && !message || a.Embedded != "" || a.Size == 0 || read >= maxTextParts || b.fields[query.Body].Len() >= maxSearchText {
			continue
		}
		read++
		if err := b.part(raw, &a, depth); err != nil {
			return err
		}
	}
	return nil
}

// part adds the text of one attached part. What cannot be read of it is left out; an error is that of the reader.
func (b *docText) part(raw io.ReadSeeker, a *mime.Attachment, depth int) error {
	if _, err := raw.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, r, err := mime.OpenPart(raw, a.ID)
	if err != nil {
		return nil // the parser sees another structure when it looks for it: nothing to search
	}
	data, err := io.ReadAll(io.LimitReader(r, 4*maxSearchText))
	if err != nil {
		return err
	}
	if a.ContentType != "message/rfc822" && a.ContentType != "message/global" {
		ctype := "text/plain"
		if a.ContentType == "text/html" {
			ctype = a.ContentType
		}
		data = append(fmt.Appendf(nil, "Content-Type: %s; charset=%q\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", ctype, a.Charset), data...)
	} else if depth >= maxForwards {
		return nil
	}
	in := bytes.NewReader(data)
	m, err := mime.Parse(in, mime.Options{Limits: mime.Limits{Text: maxSearchText}})
	if err != nil {
		return err
	}
	if a.ContentType == "message/rfc822" || a.ContentType == "message/global" {
		for _, f := range m.Header { // what a reader sees above a forwarded message
			if _, shown := query.OwnField(strings.ToLower(f.Name)); shown {
				b.add(query.Body, query.OneLine(m.DecodeField(f.Value)), maxSearchText)
			}
		}
	}
	return b.body(m, in, depth+1)
}

// docOf reads a message and returns its text.
func docOf(raw io.ReadSeeker) (text [query.NumFields]string, day int32, err error) {
	m, err := mime.Parse(raw, mime.Options{Limits: mime.Limits{Text: maxSearchText}})
	if err != nil {
		return text, 0, err
	}
	var b docText
	b.header(m)
	if err := b.body(m, raw, 0); err != nil {
		return text, 0, err
	}
	return b.folded(), sentDay(m.Date), nil
}

// sentDay is the day that the sender's own clock showed.
func sentDay(t time.Time) int32 {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return query.NoDay
	}
	y, m, d := t.Date()
	return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
}

// headDoc is the text of a message of which only the row is known.
func headDoc(subject string, a *addresses, sent time.Time) (text [query.NumFields]string, day int32) {
	var b docText
	put := func(f query.Field, name, value string) {
		if value != "" {
			b.add(f, query.OneLine(value), maxSearchHeader)
			b.add(query.Header, name+": ", maxSearchHeader)
		}
	}
	line := func(list []mail.Address) string {
		parts := make([]string, len(list))
		for i, x := range list {
			if parts[i] = x.Email; x.Name != "" {
				parts[i] = `"` + x.Name + `" <` + x.Email + ">"
			}
		}
		return strings.Join(parts, ", ")
	}
	put(query.From, "from", line(a.From))
	put(query.To, "to", line(a.To))
	put(query.Cc, "cc", line(a.Cc))
	put(query.Bcc, "bcc", line(a.Bcc))
	put(query.Subject, "subject", subject)
	return b.folded(), sentDay(sent)
}

// A block of texts holds the texts of several messages, one after the other: row, day, and each field with its length.

func (d *searchDoc) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(d.row))
	n := binary.MaxVarintLen32
	for _, t := range d.text {
		n += len(t) + binary.MaxVarintLen32
	}
	body := binary.AppendVarint(make([]byte, 0, n), int64(d.day))
	for _, t := range d.text {
		body = binary.AppendUvarint(body, uint64(len(t)))
		body = append(body, t...)
	}
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

// textBlock is a block of texts, cut up when needed.
type textBlock struct {
	text string
	at   map[int64][2]int // row: from, to
}

func decodeTexts(b []byte) (*textBlock, error) {
	t := &textBlock{text: string(b), at: map[int64][2]int{}}
	r := bytesReader{b: b}
	for len(r.b) > 0 {
		row := int64(r.uint())
		n := r.uint()
		from := len(b) - len(r.b)
		if r.take(n); r.bad {
			return nil, vault.ErrDamaged
		}
		t.at[row] = [2]int{from, from + int(n)}
	}
	return t, nil
}

func (t *textBlock) size() int64 { return int64(len(t.text) + 64*len(t.at)) }

// fill puts the text of a message into d; false: it is not here.
func (t *textBlock) fill(row int64, d *query.Doc) bool {
	at, ok := t.at[row]
	if !ok {
		return false
	}
	s := t.text[at[0]:at[1]]
	r := bytesReader{b: []byte(s[:min(len(s), 10)])}
	d.SentDay = int32(r.int())
	s = s[min(len(s), 10)-len(r.b):]
	for f := range d.Text {
		r := bytesReader{b: []byte(s[:min(len(s), 10)])}
		n := r.uint()
		s = s[min(len(s), 10)-len(r.b):]
		if r.bad || n > uint64(len(s)) {
			return false
		}
		d.Text[f], s = s[:n], s[n:]
	}
	return true
}
