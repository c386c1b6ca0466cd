package mime

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// level is an open multipart.
type level struct {
	boundary string
	prefix   string // of the ids of its parts: "2."
	index    int    // of the current part, from 1
	related  bool   // it or an outer one is multipart/related
	digest   bool
	alt      int // number of a multipart/alternative; 0 it is none
	ctype    string
}

// part is a leaf of the MIME tree.
type part struct {
	id       string
	header   Header
	ctype    string // "text/plain"
	charset  string
	name     string
	disp     string // "attachment", "inline" or ""
	encoding string
	params   params // of the Content-Type
	parent   string // type of the multipart it stands in
	related  bool
	branches []branch
	text     []byte // the body itself, when it was read already
	known    bool   // text holds
	none     bool   // there is no body
}

// branch is one part of a multipart/alternative, with all that stands in it.
type branch struct{ alt, part int }

// branches returns those that the current part of the innermost open multipart stands in.
func (w *walker) branches() (list []branch) {
	for i := range w.open {
		if l := &w.open[i]; l.alt > 0 {
			list = append(list, branch{l.alt, l.index})
		}
	}
	return list
}

// walker visits the leaves of a message in order.
type walker struct {
	s       *scanner
	lim     Limits
	t       texts
	open    []level
	h       hit
	begun   bool
	inBody  bool
	parts   int
	alts    int
	root    Header
	blk     block
	sec     Security
	head    head
	partial bool
	prob    []string
}

func (l *Limits) defaults() {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Header, 1<<20)
	set(&l.Fields, 10000)
	set(&l.Depth, 64)
	set(&l.Parts, 2000)
	set(&l.Text, 16<<20)
}

func newWalker(r io.Reader, l Limits) *walker {
	l.defaults()
	return &walker{s: newScanner(r), lim: l}
}

const maxProblems = 20

func (w *walker) problem(s string) {
	if len(w.prob) >= maxProblems {
		return
	}
	for _, p := range w.prob {
		if p == s {
			return
		}
	}
	w.prob = append(w.prob, s)
}

func (w *walker) header() (Header, hit, bool) {
	h, ended := w.s.readBlock(w.open, w.lim.Header, &w.blk)
	f := w.blk.fields(w.lim.Fields)
	if w.blk.stray > 0 {
		w.problem("header has lines that are no fields")
	}
	if w.blk.cut {
		w.problem("header too long")
		w.partial = true
	}
	return f, h, ended
}

// next goes to the next leaf; nil at the end. The rest of the leaf before is skipped.
func (w *walker) next() *part {
	var p *part
	if !w.begun {
		w.begun = true
		var ended bool
		w.root, w.h, ended = w.header()
		p = w.describe(w.root, "text/plain")
		if p = w.enter(p, "", ended); p != nil {
			if p.id == "" {
				p.id = "1"
			}
			return p
		}
	}
	for w.inBody {
		w.body()
	}
	for {
		if w.h.level < 0 || len(w.open) == 0 {
			if len(w.open) > 0 {
				w.problem("multipart is not closed")
				w.open = w.open[:0]
			}
			return nil
		}
		if w.h.level < len(w.open)-1 {
			w.problem("multipart is not closed")
		}
		w.open = w.open[:w.h.level+1]
		if w.h.closed {
			w.open = w.open[:w.h.level]
			if len(w.open) == 0 {
				w.h = hit{level: -1}
				continue
			}
			w.skip(nil)
			continue
		}
		lv := &w.open[w.h.level]
		lv.index++
		id := lv.prefix + strconv.Itoa(lv.index)
		def := "text/plain"
		if lv.digest {
			def = "message/rfc822"
		}
		related, parent := lv.related, lv.ctype
		f, h, ended := w.header()
		if ended && len(f) == 0 && h.level < 0 {
			w.h = h // nothing after the last boundary
			continue
		}
		if w.parts++; w.parts > w.lim.Parts {
			w.problem("too many parts")
			w.partial = true
			w.h = hit{level: -1}
			w.open = w.open[:0]
			return nil
		}
		p := w.describe(f, def)
		p.related, p.branches, p.parent = related, w.branches(), parent
		if ended {
			w.h = h
		}
		if p = w.enter(p, id, ended); p != nil {
			return p
		}
	}
}

// enter makes p the current leaf, or goes into it when it is a multipart and returns nil.
func (w *walker) enter(p *part, id string, ended bool) *part {
	p.id = id
	if !strings.HasPrefix(p.ctype, "multipart/") {
		p.none = ended
		w.inBody = !ended
		return p
	}
	boundary := p.name
	p.name = ""
	w.noteSecurity(p)
	if ended {
		p.none = true
		return nil
	}
	switch {
	case len(w.open) >= w.lim.Depth:
		w.problem("multiparts too deep")
		w.partial = true
		p.ctype = "application/octet-stream"
		w.inBody = true
		return p
	case boundary == "" && len(w.open) > 0:
		w.problem("multipart without boundary")
		p.ctype = "text/plain"
		w.inBody = true
		return p
	case boundary == "":
		boundary = noBoundary
	}
	if id != "" {
		id += "."
	}
	n := len(w.open)
	related := p.related || p.ctype == "multipart/related"
	alt := 0
	if p.ctype == "multipart/alternative" {
		w.alts++
		alt = w.alts
	}
	w.open = append(w.open, level{boundary: boundary, ctype: p.ctype, alt: alt, prefix: id, related: related, digest: p.ctype == "multipart/digest"})
	var pre []byte
	w.skip(&pre)
	if w.h.level == n {
		return nil
	}
	if n == 0 && w.h.level < 0 && w.s.err == nil {
		if b := findBoundary(pre); b != "" {
			w.problem("multipart with another boundary than declared")
			w.open[0].boundary = b
			w.s = &scanner{buf: pre, end: len(pre), eof: true, bol: true, started: true}
			w.skip(nil)
			return nil
		}
	}
	// Not one boundary of its own: what there is, is text.
	w.problem("multipart without parts")
	w.open = w.open[:n]
	p.ctype, p.text, p.known = "text/plain", pre, true
	if w.h.level < 0 && n == 0 {
		w.open = w.open[:0]
	}
	return p
}

// noBoundary stands for a missing boundary parameter; no line matches it.
const noBoundary = "\n"

// findBoundary looks for the boundary that was used in place of the declared one: the first line that starts with two
// dashes and is followed by a Content- field.
func findBoundary(body []byte) string {
	for rest := body; ; {
		i := bytes.Index(rest, dashes[1:])
		if i < 0 {
			return ""
		}
		bol := i == 0 && len(rest) == len(body) || i > 0 && rest[i-1] == '\n'
		rest = rest[i+2:]
		if !bol {
			continue
		}
		j := bytes.IndexByte(rest, '\n')
		if j < 0 {
			return ""
		}
		b := bytes.TrimRight(rest[:j], " \t\r")
		rest = rest[j:]
		if next := rest[1:]; len(b) > 0 && len(b) <= 200 && len(next) > 8 && bytes.EqualFold(next[:8], []byte("content-")) {
			return string(b)
		}
	}
}

// skip reads up to the next boundary of an open multipart.
func (w *walker) skip(keep *[]byte) {
	for {
		b, h, done := w.s.chunk(w.open)
		if keep != nil && len(*keep) < w.lim.Text {
			*keep = append(*keep, b...)
		}
		if done {
			w.h = h
			return
		}
	}
}

// body returns the next encoded bytes of the current leaf, false after the last ones.
func (w *walker) body() ([]byte, bool) {
	if !w.inBody {
		return nil, false
	}
	b, h, done := w.s.chunk(w.open)
	if done {
		w.h, w.inBody = h, false
	}
	return b, true
}

// describe reads the Content- fields of a part. For a multipart, name is its boundary.
func (w *walker) describe(h Header, def string) *part {
	p := &part{header: h, ctype: def}
	seenType, seenDisp := false, false
	ctName := ""
	for i := range h {
		n := h[i].Name
		if len(n) < 8 || !strings.EqualFold(n[:8], "content-") {
			continue
		}
		switch strings.ToLower(n[8:]) {
		case "type":
			if seenType {
				continue
			}
			seenType = true
			v, ps := w.t.parseParams(h[i].Value)
			p.ctype, p.params = contentType(v, def), ps
			p.charset = charsetName(ps.get("charset"))
			ctName = ps.get("name")
			if strings.HasPrefix(p.ctype, "multipart/") {
				if p.name = ps.get("boundary"); len(p.name) > maxBoundary {
					p.name = ""
				}
			}
		case "disposition":
			if seenDisp {
				continue
			}
			seenDisp = true
			v, ps := w.t.parseParams(h[i].Value)
			switch {
			case v == "inline":
				p.disp = "inline"
			case isToken(v): // RFC 2183 2.8: unknown types are attachments
				p.disp = "attachment"
			}
			if fn := ps.get("filename"); fn != "" && !strings.HasPrefix(p.ctype, "multipart/") {
				p.name = w.t.fileName(fn)
			} else if fn := ps.get("name"); fn != "" && !strings.HasPrefix(p.ctype, "multipart/") {
				p.name = w.t.fileName(fn)
			}
		case "transfer-encoding":
			if p.encoding == "" {
				p.encoding = unfold(h[i].Value)
			}
		}
	}
	if p.name == "" && ctName != "" && !strings.HasPrefix(p.ctype, "multipart/") {
		p.name = w.t.fileName(ctName)
	}
	return p
}

// fileName decodes a parameter value; encoded words do not belong there but are usual.
func (t texts) fileName(s string) string { return strings.TrimSpace(t.decodeWords(s)) }

// contentType normalises a media type. What is not "type/subtype" is text/plain (RFC 2045 5.2).
func contentType(v, def string) string {
	switch i := strings.IndexByte(v, '/'); {
	case v == "":
		return def
	case i < 0:
		switch v {
		case "multipart":
			return "multipart/mixed"
		case "text":
			return v
		}
		return "text/plain"
	case i == 0 || i == len(v)-1:
		return "text/plain"
	}
	if j := strings.IndexAny(v, " \t,"); j > 0 {
		v = v[:j]
	}
	return v
}

const tnefType = "application/ms-tnef" // a container of Outlook's, kept whole

// isText tells whether the leaf is text/plain to be shown, in which files may be embedded.
func (p *part) isText() bool { return p.ctype == "text/plain" && !p.isAttachment() }

func (p *part) isAttachment() bool {
	return p.disp == "attachment" || p.name != "" || p.ctype != "text/plain" && p.ctype != "text/html"
}

// mayBeText tells whether an attachment is one only because it has a name, or is of a kind of text that is read as plain text
// (RFC 2046 4.1.4): it is the text if there is no other.
func (p *part) mayBeText() bool {
	switch p.ctype {
	case "text/plain", "text/html", "text":
		return p.disp != "attachment"
	case "text/calendar", "text/x-vcalendar", "text/vcard", "text/x-vcard", "text/directory", "text/css", "text/javascript", "text/rtf", "text/rfc822-headers",
		"text/x-amp-html", "text/watch-html", "text/x-watch-html":
		return false
	}
	return strings.HasPrefix(p.ctype, "text/") && p.disp == "" && p.name == "" && p.parent != "multipart/alternative"
}

// otherText tells whether the part is the text once more, for programs that show it in a way of their own: AMP, for watches,
// enriched.
func (p *part) otherText() bool {
	return p.parent == "multipart/alternative" && p.disp == "" && p.name == "" && strings.HasPrefix(p.ctype, "text/") && p.ctype != "text/calendar"
}

// contentID returns what stands in the brackets of a Content-ID, or all of it if there are none.
func contentID(v string) string {
	if _, id, ok := strings.Cut(v, "<"); ok {
		id, _, _ = strings.Cut(id, ">")
		return strings.Trim(id, " \t")
	}
	return strings.Trim(stripComments(v), " \t>")
}

func (p *part) attachment() Attachment {
	cid := contentID(p.header.Get("Content-ID"))
	a := Attachment{
		ID: p.id, ContentType: p.ctype, Charset: p.charset, Name: p.name, ContentID: cid, Disposition: p.disp,
		Inline: p.disp == "inline" || p.disp == "" && cid != "" && p.related || p.otherText(),
	}
	switch a.ContentType {
	case "text/calendar":
		a.Method = methodName(p.params.get("method"))
	case "application/ms-tnef", "application/vnd.ms-tnef":
		a.ContentType = tnefType
	}
	if strings.EqualFold(a.Name, "winmail.dat") && a.ContentType == "application/octet-stream" {
		a.ContentType = tnefType
	}
	return a
}
