package mime

import (
	"bytes"
	"strings"
)

// decoder undoes a content transfer encoding (RFC 2045 6). It takes the encoded bytes in any pieces.
type decoder interface {
	// write appends the decoded form of src to dst.
	write(dst, src []byte) []byte
	// flush appends what was held back; nothing may be written after it.
	flush(dst []byte) []byte
}

func newDecoder(encoding string) decoder {
	e := strings.ToLower(strings.TrimSpace(encoding))
	if i := strings.IndexAny(e, " \t;("); i > 0 {
		e = e[:i]
	}
	switch strings.Trim(e, `"'`) {
	case "base64":
		return &base64Decoder{}
	case "quoted-printable":
		return &qpDecoder{}
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return &uuDecoder{}
	}
	return identity{}
}

// decoder returns the decoder of a leaf's content.
func (p *part) decoder() decoder {
	d := newDecoder(p.encoding)
	if p.ctype == "message/rfc822" {
		return &mboxDecoder{in: d}
	}
	return d
}

// mboxDecoder leaves out an mbox "From " line at the beginning: it is of a file, not of the message that was forwarded.
type mboxDecoder struct {
	in   decoder
	line []byte
	done bool
}

const maxFromLine = 1024

func (d *mboxDecoder) write(dst, src []byte) []byte {
	if d.done {
		return d.in.write(dst, src)
	}
	d.line = d.in.write(d.line, src)
	const from = "From "
	if n := min(len(d.line), len(from)); string(d.line[:n]) == from[:n] {
		i := bytes.IndexByte(d.line, '\n')
		if i < 0 && len(d.line) <= maxFromLine {
			return dst
		}
		d.line = d.line[i+1:]
	}
	return d.rest(dst)
}

func (d *mboxDecoder) rest(dst []byte) []byte {
	dst = append(dst, d.line...)
	d.line, d.done = nil, true
	return dst
}

func (d *mboxDecoder) flush(dst []byte) []byte { return d.in.flush(d.rest(dst)) }

type identity struct{}

func (identity) write(dst, src []byte) []byte { return append(dst, src...) }
func (identity) flush(dst []byte) []byte      { return dst }

const (
	b64Bad = 0xff
	b64Pad = 0xfe
)

func b64Table() (t [256]byte) {
	for i := range t {
		t[i] = b64Bad
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	t['-'], t['_'] = b64Bad, b64Bad
	t['='] = b64Pad
	return t
}

var b64 = b64Table()

// base64Decoder ignores what is not in the alphabet (RFC 2045 6.8) and needs no padding. After padding it starts anew,
// as concatenated base64 texts occur; if what follows begins with something foreign, it is a footer that a mailing list
// added in plain text.
type base64Decoder struct {
	acc    uint32
	n      int // characters in acc
	padded bool
	done   bool
}

func (d *base64Decoder) write(dst, src []byte) []byte {
	if d.done {
		return dst
	}
	i := 0
	for i < len(src) {
		if d.n == 0 && !d.padded {
			// Four at a time as long as nothing unusual comes.
			for i+4 <= len(src) {
				a, b, c, e := b64[src[i]], b64[src[i+1]], b64[src[i+2]], b64[src[i+3]]
				if a|b|c|e >= 64 {
					break
				}
				v := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(e)
				dst = append(dst, byte(v>>16), byte(v>>8), byte(v))
				i += 4
			}
			if i >= len(src) {
				break
			}
		}
		c := src[i]
		v := b64[c]
		i++
		switch {
		case v < 64:
			d.padded = false
			d.acc = d.acc<<6 | uint32(v)
			if d.n++; d.n == 4 {
				dst = append(dst, byte(d.acc>>16), byte(d.acc>>8), byte(d.acc))
				d.acc, d.n = 0, 0
			}
		case v == b64Pad && d.n >= 2:
			dst = d.flush(dst)
			d.padded = true
		case v == b64Bad && d.padded && c > ' ':
			d.done = true
			return dst
		}
	}
	return dst
}

func (d *base64Decoder) flush(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.acc>>4))
	case 3:
		dst = append(dst, byte(d.acc>>10), byte(d.acc>>2))
	}
	d.acc, d.n = 0, 0
	return dst
}

// qpDecoder keeps what is no valid escape as it is (RFC 2045 6.7 and its notes on robustness).
type qpDecoder struct {
	carry []byte // the beginning of a line
}

const qpCarry = 4 << 10

func (d *qpDecoder) write(dst, src []byte) []byte {
	if len(d.carry) > 0 {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			i = len(src) - 1
		}
		d.carry = append(d.carry, src[:i+1]...)
		src = src[i+1:]
		if d.carry[len(d.carry)-1] == '\n' {
			dst = qpLines(dst, d.carry)
			d.carry = d.carry[:0]
		} else if len(d.carry) > qpCarry {
			dst = d.spill(dst)
		}
	}
	i := bytes.LastIndexByte(src, '\n')
	dst = qpLines(dst, src[:i+1])
	if d.carry = append(d.carry, src[i+1:]...); len(d.carry) > qpCarry {
		dst = d.spill(dst)
	}
	return dst
}

// spill decodes most of a line that is too long to be kept: all but a tail that may be an incomplete escape or white
// space to be removed.
func (d *qpDecoder) spill(dst []byte) []byte {
	n := len(d.carry)
	if i := bytes.LastIndexByte(d.carry[n-3:], '='); i >= 0 {
		n = n - 3 + i
	} else if c := d.carry[n-1]; c == ' ' || c == '\t' || c == '\r' {
		if t := len(bytes.TrimRight(d.carry, " \t\r")); t > n-64 {
			n = t
		}
	}
	dst = qpSpan(dst, d.carry[:n])
	d.carry = append(d.carry[:0], d.carry[n:]...)
	return dst
}

func (d *qpDecoder) flush(dst []byte) []byte {
	dst = qpLines(dst, d.carry)
	d.carry = nil
	return dst
}

func qpLines(dst, src []byte) []byte {
	for len(src) > 0 {
		line, end := src, []byte(nil)
		if i := bytes.IndexByte(src, '\n'); i >= 0 {
			e := i
			if i > 0 && src[i-1] == '\r' {
				e--
			}
			line, end = src[:e], src[e:i+1]
			src = src[i+1:]
		} else {
			src = nil
		}
		if n := len(line); n > 0 && (line[n-1] == ' ' || line[n-1] == '\t' || line[n-1] == '\r') {
			if bare := bytes.TrimRight(line, " \t\r"); end != nil || bytes.HasSuffix(bare, []byte("=")) {
				line = bare
			}
		}
		if n := len(line); n > 0 && line[n-1] == '=' {
			dst = qpSpan(dst, line[:n-1])
			continue
		}
		dst = append(qpSpan(dst, line), end...)
	}
	return dst
}

func qpSpan(dst, line []byte) []byte {
	for {
		i := bytes.IndexByte(line, '=')
		if i < 0 {
			return append(dst, line...)
		}
		dst = append(dst, line[:i]...)
		line = line[i:]
		if len(line) >= 3 {
			if a, b := unhex(line[1]), unhex(line[2]); a < 16 && b < 16 {
				dst = append(dst, a<<4|b)
				line = line[3:]
				continue
			}
		}
		dst = append(dst, '=')
		line = line[1:]
	}
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// uuDecoder undoes uuencode between its begin and end lines.
type uuDecoder struct {
	carry []byte
	state int // 0 before begin, 1 inside, 2 after end
}

func (d *uuDecoder) write(dst, src []byte) []byte {
	for len(src) > 0 && d.state < 2 {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			if len(d.carry) < 1024 { // a line has at most 62 characters
				d.carry = append(d.carry, src...)
			}
			return dst
		}
		line := src[:i]
		src = src[i+1:]
		if len(d.carry) > 0 {
			d.carry = append(d.carry, line...)
			line = d.carry
		}
		dst = d.line(dst, bytes.TrimRight(line, "\r"))
		d.carry = d.carry[:0]
	}
	return dst
}

func (d *uuDecoder) line(dst, line []byte) []byte {
	switch {
	case d.state == 0:
		if bytes.HasPrefix(line, []byte("begin ")) {
			d.state = 1
		}
		return dst
	case len(line) == 0:
		return dst
	case string(line) == "end":
		d.state = 2
		return dst
	}
	n := int(line[0]-32) & 63
	line = line[1:]
	for i := 0; n > 0; i += 4 {
		var v uint32
		for j := range 4 {
			v <<= 6
			if i+j < len(line) {
				v |= uint32(line[i+j]-32) & 63
			}
		}
		for j := 0; j < 3 && n > 0; j, n = j+1, n-1 {
			dst = append(dst, byte(v>>(16-8*j)))
		}
	}
	return dst
}

func (d *uuDecoder) flush(dst []byte) []byte {
	if len(d.carry) > 0 && d.state == 1 {
		dst = d.line(dst, bytes.TrimRight(d.carry, "\r"))
	}
	d.carry = nil
	return dst
}
