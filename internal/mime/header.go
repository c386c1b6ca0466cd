package mime

import "strings"

// Field is one header field. Value is raw: everything after the colon without the final line end, folded as it came.
type Field struct {
	Name  string
	Value string
}

// Header is a header block, its fields in their order.
type Header []Field

// Get returns the first value of a field, unfolded and trimmed but not decoded; "" if there is none.
func (h Header) Get(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return unfold(h[i].Value)
		}
	}
	return ""
}

// Has tells whether the header has such a field.
func (h Header) Has(name string) bool {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return true
		}
	}
	return false
}

// All returns the values of all fields of that name, unfolded and trimmed but not decoded.
func (h Header) All(name string) []string {
	var out []string
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			out = append(out, unfold(h[i].Value))
		}
	}
	return out
}

// unfold removes the line ends of a folded value (RFC 5322 2.2.3) and the white space around it.
func unfold(v string) string {
	v = strings.Trim(v, " \t\r\n")
	if strings.IndexByte(v, '\n') < 0 && strings.IndexByte(v, '\r') < 0 {
		return v
	}
	var b strings.Builder
	b.Grow(len(v))
	for i := 0; i < len(v); i++ {
		switch c := v[i]; c {
		case '\n':
		case '\r':
			if i+1 < len(v) && v[i+1] != '\n' { // a bare CR stands for white space
				b.WriteByte(' ')
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// HeaderFieldsForSync returns the names to ask for in FETCH HEADER.FIELDS: what lists, identity and threading need.
func HeaderFieldsForSync() []string {
	return []string{"Message-ID", "Date", "From", "To", "Cc", "Bcc", "Reply-To", "Sender", "Subject", "In-Reply-To", "References",
		"Thread-Index", "Received", "Content-Type"}
}

// fieldNameLen returns the length of the name of the field that a line begins, 0 if it begins none. White space before the colon is
// obsolete syntax (RFC 5322 4.5).
func fieldNameLen(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':':
			return i
		case c == ' ' || c == '\t':
			for _, d := range line[i:] {
				if d == ':' {
					return i
				}
				if d != ' ' && d != '\t' {
					return 0
				}
			}
			return 0
		case c < 33 || c == 127:
			return 0
		}
	}
	return 0
}

// block is a header block as it was read.
type block struct {
	text  []byte
	stray int // lines that are neither field nor continuation
	cut   bool
}

// fields splits the block. The strings share one copy of it.
func (b *block) fields(max int) Header {
	s := string(b.text)
	n := 0
	for i := 0; i < len(b.text); i++ {
		if b.text[i] == '\n' {
			n++
		}
	}
	h := make(Header, 0, min(n+1, max))
	for len(s) > 0 {
		if len(h) >= max {
			b.cut = true
			break
		}
		// A field ends at the first line end that no white space follows.
		end := 0
		for {
			i := strings.IndexByte(s[end:], '\n')
			if i < 0 {
				end = len(s)
				break
			}
			end += i + 1
			if end == len(s) || (s[end] != ' ' && s[end] != '\t') {
				break
			}
		}
		f := s[:end]
		s = s[end:]
		if i := strings.IndexByte(f, ':'); i > 0 {
			h = append(h, Field{Name: strings.TrimRight(f[:i], " \t"), Value: strings.TrimRight(f[i+1:], "\r\n")})
		}
	}
	return h
}

func isBlank(line []byte) bool {
	for _, c := range line {
		if c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// readBlock reads a header block and the blank line after it. If a boundary line of open comes first, the part has no
// body: h says so and ended is true.
func (s *scanner) readBlock(open []level, limit int, b *block) (h hit, ended bool) {
	if b.text == nil {
		n := 4 << 10
		if s.eof {
			n = min(n, s.end-s.pos)
		}
		b.text = make([]byte, 0, min(limit, n))
	}
	b.text, b.stray, b.cut = b.text[:0], 0, false
	lost := true // a continuation would have nothing to continue
	for {
		line := s.peekLine()
		if len(line) == 0 {
			return hit{level: -1}, len(open) > 0
		}
		if !s.bol { // the rest of a line that is longer than the buffer
			if len(b.text) < limit && !b.cut {
				b.text = append(b.text, line...)
			}
			s.take(len(line))
			continue
		}
		if isBlank(line) {
			s.take(len(line))
			return hit{}, false
		}
		if len(open) > 0 && len(line) > 2 && line[0] == '-' && line[1] == '-' {
			if h, ok := match(line, open); ok {
				s.take(len(line))
				return h, true
			}
		}
		switch {
		case line[0] == ' ' || line[0] == '\t':
			if lost {
				b.stray++
				s.take(len(line))
				continue
			}
		case fieldNameLen(line) > 0:
		default:
			b.stray++
			s.take(len(line))
			lost = true
			continue
		}
		lost = false
		if len(b.text)+len(line) <= limit {
			b.text = append(b.text, line...)
		} else {
			b.cut = true
		}
		s.take(len(line))
	}
}
