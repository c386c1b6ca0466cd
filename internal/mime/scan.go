package mime

import (
	"bytes"
	"io"
)

const (
	bufSize     = 64 << 10
	maxBoundary = 16 << 10 // bytes of a boundary; RFC 2046 5.1.1 allows 70
	boundaryPad = 80       // white space after a boundary that is looked at
)

// scanner cuts a stream into lines and into the stretches between boundary lines, without copying.
// A message whose lines all end in a bare CR is read as if they ended in LF.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int
	eof      bool
	err      error // of the reader, never io.EOF
	started  bool
	cr       bool  // lines end in a bare CR
	bol      bool  // pos is at the beginning of a line
	work     int64 // bytes looked at or copied, to prove that the work is linear
}

func newScanner(r io.Reader) *scanner {
	n := bufSize
	if l, ok := r.(interface{ Len() int }); ok { // small messages need no large buffer
		n = min(n, max(4<<10, l.Len()+512))
	}
	return &scanner{r: r, buf: make([]byte, n), bol: true}
}

// fill makes room and reads more. It returns false when nothing more comes or the buffer is full.
func (s *scanner) fill() bool {
	if s.eof {
		return false
	}
	if s.pos > 0 {
		s.work += int64(copy(s.buf, s.buf[s.pos:s.end]))
		s.end -= s.pos
		s.pos = 0
	}
	if s.end == len(s.buf) {
		return false
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		if s.cr {
			crToLF(s.buf[s.end : s.end+n])
		}
		s.end += n
		if err != nil {
			s.eof = true
			if err != io.EOF {
				s.err = err
			}
		}
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	s.eof, s.err = true, io.ErrNoProgress
	return false
}

// start fills the buffer for the first time and finds out how lines end.
func (s *scanner) start() {
	if s.started {
		return
	}
	s.started = true
	for s.fill() {
		if bytes.IndexByte(s.buf[:s.end], '\n') >= 0 {
			return
		}
	}
	// No LF in the first 64 KiB or at all.
	if bytes.IndexByte(s.buf[:s.end], '\n') < 0 && bytes.IndexByte(s.buf[:s.end], '\r') >= 0 {
		s.cr = true
		crToLF(s.buf[:s.end])
	}
}

func crToLF(b []byte) {
	for i, c := range b {
		if c == '\r' {
			b[i] = '\n'
		}
	}
}

// peekLine returns the next line with its end without consuming it; empty at the end of input. A line longer than the
// buffer is cut.
func (s *scanner) peekLine() []byte {
	s.start()
	from := 0
	for {
		if i := bytes.IndexByte(s.buf[s.pos+from:s.end], '\n'); i >= 0 {
			s.work += int64(i)
			return s.buf[s.pos : s.pos+from+i+1]
		}
		s.work += int64(s.end - s.pos - from)
		from = s.end - s.pos
		if !s.fill() {
			return s.buf[s.pos:s.end]
		}
	}
}

// take consumes n bytes that were peeked at.
func (s *scanner) take(n int) {
	if n > 0 {
		s.bol = s.buf[s.pos+n-1] == '\n'
		s.pos += n
	}
}

// hit says what ended a stretch: the boundary stack[level], or the end of input with level -1.
type hit struct {
	level  int
	closed bool // "--boundary--"
}

// match finds the boundary line among the open boundaries, innermost first. line starts with "--". White space may
// follow a boundary; anything may follow a closing one.
func match(line []byte, open []level) (hit, bool) {
	line = bytes.TrimRight(line[2:], "\r\n")
	closing := -1
	for i := len(open) - 1; i >= 0; i-- {
		b := open[i].boundary
		if len(line) < len(b) || string(line[:len(b)]) != b {
			continue
		}
		rest := bytes.TrimRight(line[len(b):], " \t")
		switch {
		case len(rest) == 0:
			return hit{level: i}, true
		case string(rest) == "--":
			return hit{level: i, closed: true}, true
		case closing < 0 && rest[0] == '-' && len(rest) > 1 && rest[1] == '-':
			closing = i
		}
	}
	return hit{level: closing, closed: true}, closing >= 0
}

var dashes = []byte("\n--")

// chunk returns the next bytes of a body that ends at one of the open boundaries or at the end of input. The line end
// before a boundary belongs to the boundary (RFC 2046 5.1.1). The bytes are valid until the next call. done comes
// with the last, possibly empty, chunk; then the boundary line is consumed too.
func (s *scanner) chunk(open []level) (data []byte, h hit, done bool) {
	s.start()
	if len(open) == 0 {
		for s.fill() {
		}
		data = s.buf[s.pos:s.end]
		s.pos = s.end
		return data, hit{level: -1}, s.eof
	}
	look := boundaryPad
	for i := range open {
		look = max(look, len(open[i].boundary)+boundaryPad)
	}
	if s.bol {
		// The body may begin with a boundary.
		for s.end-s.pos < look && s.fill() {
		}
		if bytes.HasPrefix(s.buf[s.pos:s.end], dashes[1:]) {
			line := s.lineIn(0)
			if h, ok := match(line, open); ok {
				s.take(len(line))
				return nil, h, true
			}
		}
		s.bol = false
	}
	from := 0
	for {
		i := bytes.Index(s.buf[s.pos+from:s.end], dashes)
		if i < 0 {
			s.work += int64(s.end - s.pos - from)
			break
		}
		s.work += int64(i)
		i += from
		if s.end-s.pos-i < look && !s.eof {
			if i > 1 { // hand out what is before it, then look at it with a full buffer
				n := i - 1
				data = s.buf[s.pos : s.pos+n]
				s.pos += n
				return data, hit{}, false
			}
			if s.fill() {
				continue
			}
		}
		line := s.lineIn(i + 1)
		if h, ok := match(line, open); ok {
			n := i
			if n > 0 && s.buf[s.pos+n-1] == '\r' {
				n--
			}
			data = s.buf[s.pos : s.pos+n]
			s.pos += i + 1 + len(line)
			s.bol = true
			return data, h, true
		}
		from = i + 3
	}
	if s.eof {
		data = s.buf[s.pos:s.end]
		s.pos = s.end
		return data, hit{level: -1}, true
	}
	// Keep what may be the beginning of "\r\n--".
	if n := s.end - s.pos - 4; n > 0 {
		data = s.buf[s.pos : s.pos+n]
		s.pos += n
		return data, hit{}, false
	}
	s.fill()
	return nil, hit{}, false
}

// lineIn returns the line that begins off bytes ahead, as far as it is in the buffer.
func (s *scanner) lineIn(off int) []byte {
	b := s.buf[s.pos+off : s.end]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i+1]
	}
	s.work += int64(len(b))
	return b
}
