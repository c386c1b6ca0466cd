package mime

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"strconv"
	"strings"
)

// embedded takes files out of a plain text: uuencode blocks (POSIX) and yEnc ones. It reads the text in any pieces
// and hands on what is no file.
//
// A uuencode block begins with "begin 644 name" only if a well-formed line of data follows, so that prose is left alone.
type embedded struct {
	id      string // of the text
	digests bool
	files   []Attachment
	on      bool
	out     func([]byte) // takes text
	data    func([]byte) // takes the bytes of file number pick; may be nil
	pick    int

	carry []byte // the beginning of a line
	held  []byte // a begin line that waits for the next one
	long  bool   // inside a text line that is too long to be kept
	kind  string // of the file being read, "" in text
	uu    uuDecoder
	esc   bool // yEnc: an escape came last
	sum   hash.Hash
	buf   []byte
	work  int64 // bytes looked at
}

const (
	maxEmbedded     = 1000    // files in one text
	maxEmbeddedLine = 8 << 10 // bytes of a line that is kept to be looked at
)

var beginWord = []byte("begin ")

// spot tells whether the bytes from on may hold the beginning of a file, as far as one search can tell.
func (e *embedded) spot(b []byte, from int) bool {
	b = b[max(0, from-len(beginWord)):]
	e.work += int64(len(b))
	return bytes.Contains(b, beginWord)
}

func (e *embedded) write(b []byte) {
	if e.kind == "" && len(e.carry) == 0 && e.held == nil {
		// Most text has no files.
		if i := bytes.LastIndexByte(b, '\n') + 1; i > 0 && !e.spot(b[:i], 0) {
			e.out(b[:i])
			e.long = false
			b = b[i:]
		}
	}
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n') + 1
		e.work += int64(len(b[:max(i, 1)]))
		if i == 0 {
			e.carry = append(e.carry, b...)
			if len(e.carry) > maxEmbeddedLine {
				e.piece()
			}
			return
		}
		line := b[:i]
		b = b[i:]
		if len(e.carry) > 0 {
			e.carry = append(e.carry, line...)
			line = e.carry
		}
		if e.long && e.kind == "" {
			e.out(line)
		} else {
			e.line(line)
		}
		e.long = false
		e.carry = e.carry[:0]
	}
}

// piece hands on the beginning of a line that is too long.
func (e *embedded) piece() {
	switch {
	case e.kind == "yenc":
		e.yenc(e.carry)
	default:
		e.letGo()
		e.finish()
		e.out(e.carry)
		e.long = true
	}
	e.carry = e.carry[:0]
}

func (e *embedded) flush() {
	if len(e.carry) > 0 {
		if e.long && e.kind == "" {
			e.out(e.carry)
		} else {
			e.line(e.carry)
		}
		e.carry = e.carry[:0]
	}
	e.letGo()
	e.finish()
}

// letGo hands on a begin line that began nothing.
func (e *embedded) letGo() {
	if e.held != nil {
		e.out(e.held)
		e.held = nil
	}
}

func (e *embedded) line(full []byte) {
	line := bytes.TrimRight(full, "\r\n")
	switch e.kind {
	case "uuencode":
		switch {
		case string(line) == "end":
			e.finish()
			return
		case len(line) == 0:
			return
		case uuLine(line, false):
			e.uudata(line)
			return
		}
		e.finish()
	case "yenc":
		switch {
		case bytes.HasPrefix(line, []byte("=yend")):
			e.finish()
		case bytes.HasPrefix(line, []byte("=ypart ")):
		default:
			e.yenc(line)
		}
		return
	}
	if e.held != nil {
		if uuLine(line, true) {
			name := strings.TrimSpace(string(e.held[len("begin "):]))
			_, name, _ = strings.Cut(name, " ")
			e.held = nil
			e.begin("uuencode", name)
			e.uudata(line)
			return
		}
		e.letGo()
	}
	switch {
	case len(e.files) >= maxEmbedded:
	case isUUBegin(line):
		e.held = bytes.Clone(full)
		return
	case bytes.HasPrefix(line, []byte("=ybegin ")) && bytes.Contains(line, []byte(" size=")):
		if i := bytes.Index(line, []byte(" name=")); i > 0 {
			e.begin("yenc", string(line[i+len(" name="):]))
			return
		}
	}
	e.out(full)
}

// isUUBegin tells whether a line is "begin", an octal mode and a name.
func isUUBegin(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, beginWord)
	if !ok {
		return false
	}
	i := 0
	for i < len(rest) && i < 5 && rest[i] >= '0' && rest[i] <= '7' {
		i++
	}
	return i >= 3 && i < len(rest)-1 && rest[i] == ' ' && len(bytes.TrimSpace(rest[i:])) > 0
}

// uuLine tells whether a line is one of uuencoded data: its length fits the count it begins with, give or take a
// checksum and trailing blanks that were lost on the way.
func uuLine(line []byte, strict bool) bool {
	if len(line) == 0 || line[0] < 0x20 || line[0] > 0x60 {
		return false
	}
	want := (int(line[0]-0x20)&63 + 2) / 3 * 4
	n := len(line) - 1
	less := 16
	if strict {
		less = 2
	}
	if n > want+2 || n < want-less {
		return false
	}
	for _, c := range line {
		if c < 0x20 || c > 0x60 {
			return false
		}
	}
	return true
}

func (e *embedded) begin(kind, name string) {
	name = strings.Trim(name, " \t\"")
	a := Attachment{
		ID: e.id + "." + strconv.Itoa(len(e.files)+1), Name: texts{}.decodeWords(name), Disposition: "attachment", Embedded: kind,
	}
	a.ContentType = typeByName(a.Name)
	e.files = append(e.files, a)
	e.kind, e.uu, e.esc, e.sum = kind, uuDecoder{state: 1}, false, nil
	if e.digests {
		e.sum = sha256.New()
	}
}

func (e *embedded) finish() {
	if e.kind != "" && e.sum != nil {
		e.sum.Sum(e.files[len(e.files)-1].SHA256[:0])
	}
	e.kind = ""
}

func (e *embedded) uudata(line []byte) {
	e.buf = e.uu.line(e.buf[:0], line)
	e.emit()
}

// yenc decodes a line or a piece of one: every byte is 42 too high, "=" escapes the critical ones.
func (e *embedded) yenc(line []byte) {
	e.buf = e.buf[:0]
	for _, c := range line {
		switch {
		case e.esc:
			e.buf = append(e.buf, c-64-42)
			e.esc = false
		case c == '=':
			e.esc = true
		default:
			e.buf = append(e.buf, c-42)
		}
	}
	e.emit()
}

func (e *embedded) emit() {
	a := &e.files[len(e.files)-1]
	a.Size += int64(len(e.buf))
	if e.sum != nil {
		e.sum.Write(e.buf)
	}
	if e.data != nil && e.pick == len(e.files) {
		e.data(e.buf)
	}
}

// embeddedNumber returns which file of the text p has this id: "1.2" is the second one in "1"; 0 for none.
func embeddedNumber(p *part, id string) int {
	if !p.isText() {
		return 0
	}
	rest, ok := strings.CutPrefix(id, p.id+".")
	if !ok || strings.HasPrefix(rest, "0") {
		return 0
	}
	return max(0, atoi(rest))
}

// embeddedReader streams a file out of a text.
type embeddedReader struct {
	text *partReader
	em   embedded
	room []byte
	data []byte
	off  int
	err  error
}

// openEmbedded reads up to the beginning of file n; nil if there is no such file.
func openEmbedded(text *partReader, n int) *embeddedReader {
	r := &embeddedReader{text: text, room: make([]byte, 8<<10)}
	r.em = embedded{id: text.p.id, on: true, pick: n, out: func([]byte) {}, data: func(b []byte) { r.data = append(r.data, b...) }}
	for r.err == nil && len(r.em.files) < n {
		r.more()
	}
	if len(r.em.files) < n {
		return nil
	}
	return r
}

func (r *embeddedReader) more() {
	n, err := r.text.Read(r.room)
	r.em.write(r.room[:n])
	if err != nil {
		r.em.flush()
		r.err = err
	}
}

func (r *embeddedReader) Read(b []byte) (int, error) {
	for r.off == len(r.data) {
		r.data, r.off = r.data[:0], 0
		switch {
		case len(r.em.files) > r.em.pick || len(r.em.files) == r.em.pick && r.em.kind == "":
			return 0, io.EOF
		case r.err != nil:
			return 0, r.err
		}
		r.more()
	}
	n := copy(b, r.data[r.off:])
	r.off += n
	return n, nil
}

// typeByName guesses a media type from the extension of a name.
func typeByName(name string) string {
	switch strings.ToLower(name[strings.LastIndexByte(name, '.')+1:]) {
	case "txt", "log", "diff", "patch", "c", "h":
		return "text/plain"
	case "htm", "html":
		return "text/html"
	case "jpg", "jpeg":
		return "image/jpeg"
	case "png":
		return "image/png"
	case "gif":
		return "image/gif"
	case "bmp":
		return "image/bmp"
	case "tif", "tiff":
		return "image/tiff"
	case "pdf":
		return "application/pdf"
	case "zip":
		return "application/zip"
	case "gz", "tgz":
		return "application/gzip"
	case "rtf":
		return "application/rtf"
	case "doc":
		return "application/msword"
	case "xls":
		return "application/vnd.ms-excel"
	case "ppt":
		return "application/vnd.ms-powerpoint"
	case "mp3":
		return "audio/mpeg"
	case "wav":
		return "audio/wav"
	case "eml":
		return "message/rfc822"
	}
	return "application/octet-stream"
}
