package v3

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/mail"
)

// siftDepth bounds how deep JSON may nest.
const siftDepth = 100

// ErrTooLarge says that JSON is larger than whoever reads it takes, not counting the content of attachments.
var ErrTooLarge = errors.New("the JSON is too large")

// SiftContent copies JSON of at most so many bytes, except for the strings of attachments[].content, which take reads as they
// come: an attachment is never held whole. What take returns stands in the copy instead. Only as much of the grammar is
// looked at as that needs; whoever reads the copy finds what is wrong with it.
func SiftContent(r io.Reader, most int, take func(content io.Reader) (string, error)) ([]byte, error) {
	s := sifter{r: bufio.NewReaderSize(r, 32<<10), most: most, take: take}
	err := s.sift()
	return s.out.Bytes(), err
}

type sifter struct {
	r    *bufio.Reader
	out  bytes.Buffer
	most int
	take func(content io.Reader) (string, error)
}

// level is an object or list that is open.
type level struct {
	object, wantKey bool
	key             string
}

var errNotJSON = mail.E(mail.Invalid, "read body", "error parsing request body: it must be a JSON object", nil)

// sift copies one JSON value and what follows it.
func (s *sifter) sift() error {
	var open []level
	for {
		b, err := s.r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if s.out.Len() >= s.most {
			return ErrTooLarge
		}
		top := len(open) - 1
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			if len(open) == siftDepth {
				return errNotJSON
			}
			open = append(open, level{object: b == '{', wantKey: b == '{'})
		case '}', ']':
			if top < 0 {
				return errNotJSON
			}
			open = open[:top]
		case ',':
			if top >= 0 {
				open[top].wantKey = open[top].object
			}
		case ':':
			if top >= 0 {
				open[top].wantKey = false
			}
		case '"':
			switch {
			case top >= 0 && open[top].wantKey:
				from := s.out.Len()
				if err := s.copyString(); err != nil {
					return err
				}
				if err := json.Unmarshal(s.out.Bytes()[from:], &open[top].key); err != nil {
					return errNotJSON
				}
			case isContent(open):
				if err := s.content(); err != nil {
					return err
				}
			default:
				if err := s.copyString(); err != nil {
					return err
				}
			}
			continue
		}
		s.out.WriteByte(b)
	}
}

// isContent compares as encoding/json does: in any case of letters.
func isContent(open []level) bool {
	return len(open) == 3 && open[0].object && strings.EqualFold(open[0].key, "attachments") && !open[1].object && open[2].object && strings.EqualFold(open[2].key, "content")
}

// copyString copies a string whose first quote was read.
func (s *sifter) copyString() error {
	s.out.WriteByte('"')
	for escaped := false; ; {
		b, err := s.r.ReadByte()
		if err == io.EOF {
			return errNotJSON
		}
		if err != nil {
			return err
		}
		if s.out.Len() >= s.most {
			return ErrTooLarge
		}
		s.out.WriteByte(b)
		switch {
		case escaped:
			escaped = false
		case b == '\\':
			escaped = true
		case b == '"':
			return nil
		}
	}
}

func (s *sifter) content() error {
	text := &stringReader{r: s.r}
	instead, err := s.take(base64.NewDecoder(base64.RawStdEncoding, &plainBase64{r: text}))
	if err == nil && !text.done {
		_, err = io.Copy(io.Discard, text) // what the decoder did not need, above all padding
	}
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) && text.done {
		return mail.E(mail.Invalid, "read body", "attachments: content is not base64", nil)
	}
	if err != nil {
		return err
	}
	quoted, err := json.Marshal(instead)
	s.out.Write(quoted)
	return err
}

// stringReader reads a JSON string, whose first quote was read, up to and with its last.
type stringReader struct {
	r    *bufio.Reader
	rest []byte // of an escaped character
	done bool
}

// Read implements io.Reader.
func (t *stringReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	for n < len(p) && !t.done {
		if n > 0 && t.r.Buffered() == 0 {
			break
		}
		b, err := t.r.ReadByte()
		if err == io.EOF {
			err = errNotJSON
		}
		if err != nil {
			return n, err
		}
		switch {
		case b == '"':
			t.done = true
		case b == '\\':
			c, err := t.escape()
			if err != nil {
				return n, err
			}
			m := copy(p[n:], c)
			n, t.rest = n+m, c[m:]
		case b < ' ':
			return n, errNotJSON
		default:
			p[n] = b
			n++
		}
	}
	if n == 0 && t.done {
		return 0, io.EOF
	}
	return n, nil
}

// escape reads what follows a backslash.
func (t *stringReader) escape() ([]byte, error) {
	b, err := t.r.ReadByte()
	if err != nil {
		return nil, errNotJSON
	}
	switch b {
	case '"', '\\', '/':
		return []byte{b}, nil
	case 'b', 'f', 'n', 'r', 't':
		return []byte{map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[b]}, nil
	case 'u':
		var hex [4]byte
		if _, err := io.ReadFull(t.r, hex[:]); err != nil {
			return nil, errNotJSON
		}
		var u rune
		for _, h := range hex {
			i := strings.IndexByte("0123456789abcdef", h|0x20)
			if i < 0 || h < '0' {
				return nil, errNotJSON
			}
			u = u<<4 | rune(i)
		}
		if utf16.IsSurrogate(u) {
			u = utf8.RuneError // no base64, whatever it is half of
		}
		return utf8.AppendRune(nil, u), nil
	}
	return nil, errNotJSON
}

// plainBase64 makes the alphabet of RFC 4648 5 that of 4, and leaves out line ends, spaces and the padding at the end.
type plainBase64 struct {
	r      io.Reader
	padded bool
}

// Read implements io.Reader.
func (p *plainBase64) Read(b []byte) (int, error) {
	for {
		n, err := p.r.Read(b)
		kept := 0
		for _, c := range b[:n] {
			switch c {
			case ' ', '\t', '\r', '\n':
				continue
			case '=':
				p.padded = true
				continue
			case '-':
				c = '+'
			case '_':
				c = '/'
			}
			if p.padded {
				return kept, base64.CorruptInputError(0)
			}
			b[kept] = c
			kept++
		}
		if kept > 0 || err != nil || len(b) == 0 {
			return kept, err
		}
	}
}
