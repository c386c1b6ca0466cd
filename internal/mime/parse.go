package mime

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// Parse reads a whole message. The error is the reader's; what was read until then is returned with it.
func Parse(r io.Reader, o Options) (*Message, error) {
	room := parseRooms.Get().(*parseRoom)
	w := &walker{s: &scanner{r: r, buf: room.read[:], bol: true}, lim: o.Limits}
	w.lim.defaults()
	w.t.noDetect = o.NoDetect
	m := &Message{}
	var text, html []string
	var namedText, namedHTML *named // the first text that is an attachment only because of its name or type
	textLeft, htmlLeft := w.lim.Text, w.lim.Text
	buf := room.text
	g := gather{m: m}
	hint := "" // charset of the first text
	for p := w.next(); p != nil; p = w.next() {
		list, left, first := &text, &textLeft, &namedText
		if p.ctype == "text/html" {
			list, left, first = &html, &htmlLeft, &namedHTML
		}
		if p.isAttachment() {
			a := p.attachment()
			if p.mayBeText() && *first == nil && len(*list) == 0 {
				buf = w.collect(p, buf[:0], *left)
				s, _ := w.utf8(p, buf)
				*first = &named{s, len(text)+len(html) == 0 || p.alone(m.shown), len(m.Attachments), len(m.shown)}
				m.shown = append(m.shown, shown{s, p.ctype == "text/html", p.branches})
				if a.Size = int64(len(buf)); o.Digests {
					a.SHA256 = sha256.Sum256(buf)
				}
			} else {
				w.head.begin(g.want(w, p))
				buf = w.measure(p, &a, buf, o.Digests)
				g.attached(w, p, &a)
			}
			m.Attachments = append(m.Attachments, a)
			continue
		}
		var body []byte
		var em *embedded
		if !o.NoEmbed && p.isText() {
			em = &embedded{id: p.id, digests: o.Digests}
		}
		body, buf = w.textOf(p, buf, *left, em)
		if em != nil {
			m.Attachments = append(m.Attachments, em.files...)
		}
		if hint == "" {
			hint = p.charset
		}
		s, fixed := w.utf8(p, body)
		if fixed {
			w.problem("charset missing or wrong")
		}
		*left = max(0, *left-len(body))
		if p.ctype == "text/plain" {
			s = w.shownText(p, s)
		}
		*list = append(*list, s)
		m.shown = append(m.shown, shown{s, p.ctype == "text/html", p.branches})
	}
	for _, n := range []struct {
		*named
		list *[]string
	}{{namedText, &text}, {namedHTML, &html}} {
		switch {
		case n.named == nil:
		case n.body && len(*n.list) == 0:
			*n.list = append(*n.list, n.text)
			m.Attachments[n.attachment].Inline = true
		default:
			m.shown[n.shown].text = ""
		}
	}
	m.shown = slices.DeleteFunc(m.shown, func(s shown) bool { return strings.TrimSpace(s.text) == "" })
	m.Text, m.TextAll = joined(text)
	m.HTML, m.HTMLAll = joined(html)
	m.Header = w.root
	if w.t.hint == "" {
		w.t.hint = hint
	}
	m.fromHeader(w.t)
	m.Partial, m.Problems = w.partial || w.s.err != nil, w.prob
	m.Security = w.sec
	m.shownByID()
	g.finish(w)
	w.s.buf = nil // nothing of it is left in m
	if room.text = buf[:0]; cap(buf) > maxRoom {
		room.text = nil
	}
	parseRooms.Put(room)
	return m, w.s.err
}

// parseRoom is what Parse works in: of a mailbox full of small messages it would be most of the garbage.
type parseRoom struct {
	read [bufSize]byte
	text []byte
}

var parseRooms = sync.Pool{New: func() any { return new(parseRoom) }}

const maxRoom = 256 << 10 // a larger one is not kept

// named is a text that is an attachment too.
type named struct {
	text              string
	body              bool // it comes first, or is an alternative to what does
	attachment, shown int  // where it stands in these lists of the message
}

// alone tells whether p is in an alternative, and none of these texts in the same part of it.
func (p *part) alone(list []shown) bool {
	return len(p.branches) > 0 && !slices.ContainsFunc(list, func(s shown) bool { return slices.Equal(s.branches, p.branches) })
}

// utf8 makes text of the decoded body of p. HTML whose charset is not declared, or not what it is, may say it itself.
func (w *walker) utf8(p *part, body []byte) (s string, fixed bool) {
	s, fixed = w.t.toUTF8(body, p.charset)
	if fixed && p.ctype == "text/html" {
		if cs := metaCharset(body); cs != "" {
			t := w.t
			t.hint = cs
			s, _ = t.toUTF8(body, p.charset)
		}
	}
	return s, fixed
}

func joined(s []string) (first, all string) {
	switch len(s) {
	case 0:
		return "", ""
	case 1:
		return s[0], s[0]
	}
	return s[0], strings.Join(s, "\n")
}

// textOf returns the decoded body of a leaf, valid until the next call, and buf, the room it may have used. Files
// embedded in it go to em, which may be nil.
func (w *walker) textOf(p *part, buf []byte, limit int, em *embedded) (body, room []byte) {
	if _, raw := newDecoder(p.encoding).(identity); raw && !p.known && w.inBody {
		b, _ := w.body()
		if !w.inBody && len(b) <= limit && (em == nil || !em.spot(b, 0)) { // all of it lies in the scanner's buffer
			return b, buf
		}
		buf = append(buf[:0], b...)
		buf = w.collectText(p, buf, limit, em)
		return buf, buf
	}
	buf = w.collectText(p, buf[:0], limit, em)
	return buf, buf
}

// collect appends the decoded body of a leaf to buf, up to limit bytes.
func (w *walker) collect(p *part, buf []byte, limit int) []byte {
	return w.collectText(p, buf, limit, nil)
}

func (w *walker) collectText(p *part, buf []byte, limit int, em *embedded) []byte {
	d := newDecoder(p.encoding)
	full := false
	var room []byte // decoded bytes on their way through em
	check := func() {
		if len(buf) > limit {
			buf, full = buf[:limit], true
			w.partial = true
			w.problem("text too long")
		}
	}
	look := func(from int) {
		if em != nil && !full && em.spot(buf, from) {
			room = append(room[:0], buf...)
			buf = buf[:0]
			em.on, em.out = true, func(b []byte) {
				if !full {
					buf = append(buf, b...)
					check()
				}
			}
			em.write(room)
		}
		check()
	}
	take := func(b []byte) {
		switch {
		case em != nil && em.on:
			room = d.write(slices.Grow(room[:0], len(b)), b)
			em.write(room)
		case !full:
			from := len(buf)
			buf = d.write(slices.Grow(buf, len(b)), b)
			look(from)
		}
	}
	look(0)
	if p.known {
		take(p.text)
	}
	for {
		b, ok := w.body()
		if !ok {
			break
		}
		take(b)
	}
	switch {
	case em != nil && em.on:
		room = d.flush(room[:0])
		em.write(room)
		em.flush()
	case !full:
		from := len(buf)
		buf = d.flush(buf)
		if look(from); em != nil && em.on {
			em.flush()
		}
	}
	return buf
}

// measure finds the decoded size of a leaf and its digest. buf is room to work in and is returned.
func (w *walker) measure(p *part, a *Attachment, buf []byte, digest bool) []byte {
	d := p.decoder()
	_, raw := d.(identity)
	var sum hash.Hash
	if digest {
		sum = sha256.New()
	}
	emit := func(b []byte) {
		a.Size += int64(len(b))
		if sum != nil {
			sum.Write(b)
		}
		w.head.write(b)
	}
	take := func(b []byte) {
		if raw {
			emit(b)
			return
		}
		buf = d.write(slices.Grow(buf[:0], len(b)), b)
		emit(buf)
	}
	if p.known {
		take(p.text)
	}
	for {
		b, ok := w.body()
		if !ok {
			break
		}
		take(b)
	}
	buf = d.flush(buf[:0])
	emit(buf)
	if sum != nil {
		sum.Sum(a.SHA256[:0])
	}
	return buf
}

// ParseHeader reads a header block alone, complete or a subset as FETCH HEADER.FIELDS returns it. The fields of the
// Message that come from bodies stay empty.
func ParseHeader(b []byte) *Message {
	if bytes.IndexByte(b, '\n') < 0 {
		b = bytes.Clone(b) // bare CRs are changed in place
	}
	w := walker{s: &scanner{buf: b, end: len(b), eof: true, bol: true}}
	w.lim.defaults()
	m := &Message{}
	m.Header, _, _ = w.header()
	m.fromHeader(w.t)
	m.Partial, m.Problems = w.partial, w.prob
	return m
}

// OpenPart finds the leaf with the given id and returns a reader of its decoded bytes, which reads on from r. It fails
// with an error that wraps fs.ErrNotExist if there is no such leaf, else only with the reader's errors.
func OpenPart(r io.Reader, id string) (Attachment, io.Reader, error) {
	w := newWalker(r, Limits{})
	for p := w.next(); p != nil; p = w.next() {
		if p.id == id {
			return p.attachment(), &partReader{w: w, p: p, d: p.decoder()}, nil
		}
		if n := embeddedNumber(p, id); n > 0 {
			if r := openEmbedded(&partReader{w: w, p: p, d: p.decoder()}, n); r != nil {
				return r.em.files[n-1], r, nil
			}
			break
		}
	}
	if w.s.err != nil {
		return Attachment{}, nil, w.s.err
	}
	return Attachment{}, nil, fmt.Errorf("part %q: %w", id, fs.ErrNotExist)
}

// partReader streams the decoded bytes of a leaf.
type partReader struct {
	w    *walker
	p    *part
	d    decoder
	buf  []byte
	off  int
	done bool
}

func (r *partReader) Read(b []byte) (int, error) {
	for r.off == len(r.buf) {
		if r.done {
			if err := r.w.s.err; err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		r.off = 0
		if r.p.known {
			r.p.known = false
			r.buf = r.d.write(r.buf[:0], r.p.text)
			continue
		}
		src, ok := r.w.body()
		if !ok {
			r.done = true
			r.buf = r.d.flush(r.buf[:0])
			continue
		}
		r.buf = r.d.write(r.buf[:0], src)
	}
	n := copy(b, r.buf[r.off:])
	r.off += n
	return n, nil
}

// fromHeader fills in what the header says.
func (m *Message) fromHeader(t texts) {
	if t.hint == "" {
		_, ps := t.parseParams(m.Header.Get("Content-Type"))
		t.hint = charsetName(ps.get("charset"))
	}
	m.texts = t
	var subj, mid, date bool
	for i := range m.Header {
		f := &m.Header[i]
		switch len(f.Name) {
		case 2:
			switch {
			case strings.EqualFold(f.Name, "To"):
				m.To = append(m.To, t.parseAddresses(unfold(f.Value))...)
			case strings.EqualFold(f.Name, "Cc"):
				m.Cc = append(m.Cc, t.parseAddresses(unfold(f.Value))...)
			}
		case 3:
			if strings.EqualFold(f.Name, "Bcc") {
				m.Bcc = append(m.Bcc, t.parseAddresses(unfold(f.Value))...)
			}
		case 4:
			switch {
			case strings.EqualFold(f.Name, "From"):
				m.From = append(m.From, t.parseAddresses(unfold(f.Value))...)
			case !date && strings.EqualFold(f.Name, "Date"):
				m.Date, date = parseDate(f.Value)
			}
		case 6:
			if strings.EqualFold(f.Name, "Sender") {
				m.Sender = append(m.Sender, t.parseAddresses(unfold(f.Value))...)
			}
		case 7:
			if !subj && strings.EqualFold(f.Name, "Subject") {
				m.Subject, subj = strings.TrimSpace(t.decodeWords(unfold(f.Value))), true
			}
		case 8:
			if strings.EqualFold(f.Name, "Reply-To") {
				m.ReplyTo = append(m.ReplyTo, t.parseAddresses(unfold(f.Value))...)
			}
		case 10:
			switch {
			case !mid && strings.EqualFold(f.Name, "Message-ID"):
				if m.MessageID = t.firstID(unfold(f.Value)); m.MessageID != "" {
					mid = true
				}
			case len(m.References) == 0 && strings.EqualFold(f.Name, "References"):
				m.References = append(m.References, t.idList(unfold(f.Value))...)
			case m.Precedence == "" && strings.EqualFold(f.Name, "Precedence"):
				m.Precedence = keyword(f.Value)
			}
		case 11:
			if len(m.InReplyTo) == 0 && strings.EqualFold(f.Name, "In-Reply-To") {
				m.InReplyTo = append(m.InReplyTo, t.idList(unfold(f.Value))...)
			}
		case 14:
			if m.Auto == "" && strings.EqualFold(f.Name, "Auto-Submitted") {
				m.Auto = keyword(f.Value)
			}
		case 27:
			if strings.EqualFold(f.Name, "Disposition-Notification-To") {
				m.ReceiptTo = append(m.ReceiptTo, t.parseAddresses(unfold(f.Value))...)
			}
		}
		if len(f.Name) >= 7 && (f.Name[4] == '-') && strings.EqualFold(f.Name[:5], "List-") {
			m.List.field(t, f)
		}
	}
}

// firstID returns the id of a Message-ID field; one without brackets is taken as it is.
func (t texts) firstID(v string) string {
	if i := strings.IndexByte(v, '<'); i >= 0 {
		rest := v[i+1:]
		if j := strings.IndexByte(rest, '>'); j >= 0 {
			return t.cleanID(rest[:j])
		}
		return t.cleanID(rest)
	}
	return t.cleanID(stripComments(v))
}

// cleanID removes white space, which folding leaves inside ids.
func (t texts) cleanID(s string) string {
	s = strings.Trim(s, " \t\r\n<>")
	if strings.ContainsAny(s, " \t\r\n") {
		s = strings.Join(strings.Fields(s), "")
	}
	return t.plain(s)
}

// idList returns the ids in angle brackets; a single token with an @ counts without them, as Mailman 3 writes it.
func (t texts) idList(v string) []string {
	var out []string
	s := v
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		s = s[i+1:]
		j := strings.IndexByte(s, '>')
		if j < 0 {
			break
		}
		id := s[:j]
		if k := strings.LastIndexByte(id, '<'); k >= 0 {
			id = id[k+1:]
		}
		s = s[j+1:]
		if f := strings.Fields(id); len(f) == 1 || len(f) == 2 && strings.Contains(id, "@") { // one blank is left of folding, more make words
			out = append(out, t.plain(strings.Join(f, "")))
		}
	}
	if len(out) == 0 {
		if v = strings.TrimSpace(v); strings.Count(v, "@") == 1 && !strings.ContainsAny(v, "<> \t") {
			out = append(out, t.plain(v))
		}
	}
	return out
}
