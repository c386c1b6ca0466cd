package imap

import (
	"bytes"
	"errors"
	"io"
)

// A framer cuts what the server sends into responses: lines, joined by the literals announced at their ends
// (RFC 3501 2.2, 4.3). It understands nothing else, with one exception: it recognises the body of a FETCH, so that
// it can be streamed.
//
// Responses lie in the read buffer as they came and are handed out from there. Only a response with a streamed body
// is put together elsewhere, without the body.
type framer struct {
	src io.Reader // reads until something arrives or the progress deadline passes
	lim Limits
	buf []byte
	r   int // first byte of the response being read
	w   int // end of what has been read

	asm      []byte // a response with a streamed body: the text around it
	streamed []streamed
	bodies   int64 // bytes of streamed bodies of this response that had no writer
	// sink takes bodies; nil outside of FETCH: then bodies are like other literals.
	sink *bodySink
}

// A streamed literal is not in the frame: what stands at off is the byte after its announcement.
type streamed struct {
	off     int
	lit     Literal
	size    int64
	w       io.Writer
	bytes   []byte
	skipped bool // nobody wanted it
	tooBig  bool // skipped because it is larger than Limits.Literal
}

// A frame is one response with its line ends, valid until the next call of next.
type frame struct {
	b        []byte
	streamed []streamed
}

type bodySink struct {
	open     func(Literal) (io.Writer, error) // nil: collect in memory
	sections bool                             // of other content than whole messages, too
}

const (
	smallBuffer = 4 << 10
	fullBuffer  = 256 << 10
	keepBuffer  = 1 << 20 // a larger one is given back once it is empty
	maxItem     = 200     // bytes of an item's name with section and offset
	skipFactor  = 16      // bodies up to this many times Limits.Literal are read past; beyond it the session ends
)

var (
	errLineLong     = errors.New("line too long")
	errResponseLong = errors.New("response too long")
	errLiteralLong  = errors.New("literal too long")
	errLiteralSize  = errors.New("malformed literal size")
	errFraming      = errors.New("bytes after a literal do not continue the response: its length was wrong")
	errCutResponse  = errors.New("connection ended inside a response")
)

// sinkError is an error of the caller's sink, not of the server.
type sinkError struct{ error }

func (e sinkError) Unwrap() error { return e.error }

// protoError marks what the server did so wrong that the session has to end.
type protoError struct{ error }

func (e protoError) Unwrap() error { return e.error }

// isFatal reports whether an error about a response ends the session.
func isFatal(err error) bool {
	var se sinkError
	var pe protoError
	return errors.As(err, &se) || errors.As(err, &pe)
}

func newFramer(src io.Reader, lim Limits) *framer {
	return &framer{src: src, lim: lim, buf: make([]byte, smallBuffer)}
}

// buffered returns how many bytes were read and not yet handed out.
func (f *framer) buffered() int { return f.w - f.r }

// unread reports whether something of a response was read and not yet handed out.
func (f *framer) unread() bool { return len(bytes.Trim(f.buf[f.r:f.w], "\x00\r\n")) > 0 }

// shrink gives memory back while nothing is expected; IDLE calls it.
func (f *framer) shrink() {
	f.asm, f.streamed = nil, nil
	if f.r == f.w && len(f.buf) > smallBuffer {
		f.buf, f.r, f.w = make([]byte, smallBuffer), 0, 0
	}
}

// fill reads more, making room first.
func (f *framer) fill() error {
	if f.r == f.w {
		f.r, f.w = 0, 0
		if len(f.buf) > keepBuffer {
			f.buf = make([]byte, fullBuffer)
		}
	}
	if f.w == len(f.buf) {
		if f.r > len(f.buf)/2 || f.r > 0 && len(f.buf) >= fullBuffer && f.r > len(f.buf)/4 {
			f.w = copy(f.buf, f.buf[f.r:f.w])
			f.r = 0
		} else {
			nb := make([]byte, max(2*len(f.buf), smallBuffer))
			f.w = copy(nb, f.buf[f.r:f.w])
			f.buf, f.r = nb, 0
		}
	}
	n, err := f.src.Read(f.buf[f.w:])
	f.w += n
	if f.w == len(f.buf) && len(f.buf) < fullBuffer && f.r == 0 {
		// The server sends faster than we ask: read more at a time.
		nb := make([]byte, 4*len(f.buf))
		copy(nb, f.buf[:f.w])
		f.buf = nb
	}
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// next returns the next response. An error other than io.EOF before the first byte of a response means that the
// stream can't be used any more.
func (f *framer) next() (frame, error) {
	f.asm, f.streamed, f.bodies = f.asm[:0], f.streamed[:0], 0
	if cap(f.asm) > fullBuffer {
		f.asm = nil
	}
	// Stray NULs (RFC violations seen before greetings) and empty lines between responses.
	for nothing := 0; ; {
		for f.r < f.w && (f.buf[f.r] == 0 || f.buf[f.r] == '\r' || f.buf[f.r] == '\n') {
			f.r++
			nothing++
		}
		if f.r < f.w {
			break
		}
		if nothing > f.lim.Line {
			return frame{}, protoError{errLineLong}
		}
		if err := f.fill(); err != nil {
			return frame{}, err
		}
	}
	line := 0 // start of the current line, counted from f.r
	text := 0 // bytes of lines so far
	for {
		end, err := f.line(line)
		if err != nil {
			return frame{}, err
		}
		text += end - line
		if text > f.lim.Line && (f.streaming() || !f.longLine(line)) {
			return frame{}, protoError{errLineLong}
		}
		if len(f.asm)+end > f.lim.Response {
			return frame{}, protoError{errResponseLong}
		}
		size, ok := literalAt(f.buf[f.r+line : f.r+end])
		if !ok || !f.literalsAllowed() {
			if !f.streaming() {
				b := f.buf[f.r : f.r+end]
				f.r += end
				return frame{b: b}, nil
			}
			f.take(end)
			return frame{b: f.asm, streamed: f.streamed}, nil
		}
		if size < 0 {
			return frame{}, protoError{errLiteralSize}
		}
		if lit, isBody := f.body(line, end, size); isBody {
			f.take(end)
			if err := f.stream(lit); err != nil {
				return frame{}, err
			}
			line = 0
		} else {
			if size > int64(f.lim.Response) {
				return frame{}, protoError{errLiteralLong}
			}
			need := end + int(size)
			if len(f.asm)+need > f.lim.Response {
				return frame{}, protoError{errResponseLong}
			}
			for f.w-f.r < need {
				if err := f.fill(); err != nil {
					return frame{}, cutShort(err)
				}
			}
			line = need
			if f.streaming() {
				f.take(need)
				line = 0
			}
		}
		// What follows a literal must continue the list it stands in; anything else means that the length was wrong,
		// and guessing on would let the text of a mail speak as the server.
		for f.w-f.r <= line {
			if err := f.fill(); err != nil {
				return frame{}, cutShort(err)
			}
		}
		switch f.buf[f.r+line] {
		case ' ', ')':
		case ']', '"', '(':
			if f.streaming() {
				return frame{}, protoError{errFraming}
			}
		case '\r', '\n':
			if f.isFetch() {
				// The body was an octet or two longer than announced: fine if nothing else is left of it.
				if line, err = f.strayEnd(line); err != nil {
					return frame{}, err
				}
			}
		default:
			return frame{}, protoError{errFraming}
		}
	}
}

// strayEnd skips a line end at from when the next line is the lone parenthesis that closes a FETCH; it returns
// where that line starts. The response then does not parse and its row is skipped, which is what it deserves.
func (f *framer) strayEnd(from int) (int, error) {
	end, err := f.line(from)
	if err != nil {
		return 0, err
	}
	next, err := f.line(end)
	if err != nil {
		return 0, err
	}
	if string(bytes.Trim(f.buf[f.r+from:f.r+end], "\r\n")) != "" || string(bytes.TrimSpace(f.buf[f.r+end:f.r+next])) != ")" {
		return 0, protoError{errFraming}
	}
	return end, nil
}

// isFetch reports whether the response being read is a FETCH.
func (f *framer) isFetch() bool {
	b := f.asm
	if len(b) == 0 {
		b = f.buf[f.r:f.w]
	}
	_, rest, ok := untaggedNumber(b)
	return ok && (hasPrefixFold(rest, "FETCH ") || hasPrefixFold(rest, "UIDFETCH "))
}

func (f *framer) streaming() bool { return len(f.streamed) > 0 }

// take moves the first n unread bytes into asm.
func (f *framer) take(n int) {
	f.asm = append(f.asm, f.buf[f.r:f.r+n]...)
	f.r += n
}

// line returns the end of the line that starts at from, including its line feed; both count from f.r.
func (f *framer) line(from int) (int, error) {
	at := from
	for {
		if i := bytes.IndexByte(f.buf[f.r+at:f.w], '\n'); i >= 0 {
			return at + i + 1, nil
		}
		at = f.w - f.r
		if at-from > f.lim.Line && !f.longLine(from) || at > f.lim.Response {
			return 0, protoError{errLineLong}
		}
		if err := f.fill(); err != nil {
			return 0, cutShort(err)
		}
	}
}

// longLine reports whether the first line may be as long as a whole response: answers that list UIDs.
func (f *framer) longLine(from int) bool {
	if from != 0 || f.streaming() {
		return false
	}
	b := f.buf[f.r:min(f.r+12, f.w)]
	return hasPrefixFold(b, "* SEARCH") || hasPrefixFold(b, "* ESEARCH") || hasPrefixFold(b, "* VANISHED")
}

// literalsAllowed reports whether the response is of a kind that can contain literals: untagged and not a status,
// whose text is free.
func (f *framer) literalsAllowed() bool {
	b := f.asm
	if len(b) == 0 {
		b = f.buf[f.r:f.w]
	}
	if len(b) < 6 || b[0] != '*' || b[1] != ' ' {
		return false
	}
	b = b[2:min(len(b), 16)]
	for _, s := range [...]string{"OK ", "NO ", "BAD ", "BYE ", "PREAUTH "} {
		if hasPrefixFold(b, s) {
			return false
		}
	}
	return true
}

// literalAt reads the announcement `{n}` at the end of a line. The size is -1 when it is too large to be one.
func literalAt(line []byte) (size int64, ok bool) {
	n := len(line) - 1 // without LF
	if n > 0 && line[n-1] == '\r' {
		n--
	}
	if n < 3 || line[n-1] != '}' {
		return 0, false
	}
	i := n - 1
	if line[i-1] == '+' {
		i--
	}
	end := i
	for i > 0 && line[i-1] >= '0' && line[i-1] <= '9' {
		i--
	}
	if i == end || i == 0 || line[i-1] != '{' {
		return 0, false
	}
	for _, c := range line[i:end] {
		if size > (1<<62)/10 {
			return -1, true
		}
		size = size*10 + int64(c-'0')
	}
	return size, true
}

// body reports whether the literal announced at the end of the line is content of a FETCH that goes to the sink.
func (f *framer) body(line, end int, size int64) (Literal, bool) {
	if f.sink == nil {
		return Literal{}, false
	}
	l := f.buf[f.r+line : f.r+end]
	l = bytes.TrimRight(l[:bytes.LastIndexByte(l, '{')], " ~")
	at := bytes.LastIndexAny(l, " (") + 1
	if at < 1 || len(l)-at < len("BODY[]") || len(l)-at > maxItem {
		return Literal{}, false
	}
	lit, ok := bodyItem(l[at:])
	if !ok || !f.sink.takes(lit) {
		return Literal{}, false
	}
	head := f.asm
	if len(head) == 0 {
		head = f.buf[f.r : f.r+end]
	}
	num, rest, ok := untaggedNumber(head)
	if !ok || !hasPrefixFold(rest, "FETCH ") && !hasPrefixFold(rest, "UIDFETCH ") {
		return Literal{}, false
	}
	lit.Size, lit.Seq = size, num
	if hasPrefixFold(rest, "UIDFETCH ") {
		lit.Seq, lit.UID = 0, num
	} else if i := bytes.IndexByte(rest, '('); i > 0 && hasPrefixFold(rest[i+1:], "UID ") {
		lit.UID, _ = parseUID(rest[i+5:])
	}
	return lit, true
}

// stream hands the next lit.Size bytes to whoever takes them.
func (f *framer) stream(lit Literal) error {
	s := streamed{off: len(f.asm), lit: lit, size: lit.Size}
	left := lit.Size
	switch {
	case f.sink.open != nil && lit.Size > f.lim.Body:
		return protoError{errLiteralLong}
	case f.sink.open != nil:
		w, err := f.sink.open(lit)
		if err != nil {
			return sinkError{err}
		}
		s.w = w
		s.skipped = w == nil
	case lit.Size > f.lim.Literal-f.bodies:
		if (f.bodies+lit.Size)/skipFactor > f.lim.Literal {
			return protoError{errLiteralLong}
		}
		s.skipped, s.tooBig = true, true
	case lit.Size <= 64<<10:
		// Small ones are copied whole out of the buffer.
		for int64(f.w-f.r) < left {
			if err := f.fill(); err != nil {
				return cutShort(err)
			}
		}
		s.bytes = append([]byte{}, f.buf[f.r:f.r+int(left)]...)
		f.r += int(left)
		left = 0
	default:
		// Memory grows with what arrives, not with what was promised.
		s.bytes = make([]byte, 0, min(lit.Size, 1<<20))
	}
	for left > 0 {
		if f.r == f.w {
			if err := f.fill(); err != nil {
				return cutShort(err)
			}
		}
		n := int(min(left, int64(f.w-f.r)))
		chunk := f.buf[f.r : f.r+n]
		switch {
		case s.w != nil:
			if m, err := s.w.Write(chunk); err != nil {
				return sinkError{err}
			} else if m != n {
				return sinkError{io.ErrShortWrite}
			}
		case !s.skipped:
			s.bytes = append(s.bytes, chunk...)
		}
		f.r += n
		left -= int64(n)
	}
	if s.w == nil {
		f.bodies += lit.Size
	}
	f.streamed = append(f.streamed, s)
	return nil
}

// cutShort turns the end of the stream inside a response into an error of its own.
func cutShort(err error) error {
	if err == io.EOF {
		return errCutResponse
	}
	return err
}

// untaggedNumber reads `* 12 ` and returns what follows.
func untaggedNumber(b []byte) (num uint32, rest []byte, ok bool) {
	if len(b) < 4 || b[0] != '*' || b[1] != ' ' {
		return 0, nil, false
	}
	i := 2
	var v uint64
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		v = v*10 + uint64(b[i]-'0')
		if v > 1<<32-1 {
			return 0, nil, false
		}
		i++
	}
	if i == 2 || i >= len(b) || b[i] != ' ' {
		return 0, nil, false
	}
	return uint32(v), b[i+1:], true
}

// hasPrefixFold reports whether b begins with the upper-case ASCII text s in any case.
func hasPrefixFold(b []byte, s string) bool {
	if len(b) < len(s) {
		return false
	}
	for i := range len(s) {
		c := b[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}
