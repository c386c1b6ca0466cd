package imap

import (
	"bytes"
	"errors"
	"math"
	"sort"
	"strings"
)

// A parser reads the tokens of one response (RFC 3501 9). What it returns are views into the frame, valid as long
// as that is; quoted strings are unescaped in place. Errors say what was expected; they never depend on more than
// the response itself.
type parser struct {
	b        []byte
	full     []byte // b with the line end and blanks before it
	i        int
	streamed []streamed
	inline   []streamed // small content that stood in the response and was written to a sink
	depth    int        // how much deeper lists may nest
	parts    int        // of bodies, seen until now
	utf8     bool       // names are in UTF-8 (RFC 6855)

	// What an ENVELOPE and a BODYSTRUCTURE are made of, allocated together: their many small texts and lists would
	// otherwise be most of the work of reading a row.
	texts  strings.Builder
	addrs  []Address
	params []Param
}

var (
	errSyntax = errors.New("unexpected text in a response")
	errDepth  = errors.New("lists nested too deep")
	errParts  = errors.New("too many parts")
	errEnd    = errors.New("response ends too early")
)

func (p *parser) reset(f frame, depth int) {
	*p = parser{full: f.b, b: bytes.TrimRight(f.b, " \r\n"), streamed: f.streamed, depth: depth}
}

func (p *parser) done() bool { return p.i >= len(p.b) }

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

// accept reads c if it is next.
func (p *parser) accept(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

// space skips blanks, of which some servers write several or none.
func (p *parser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t') {
		p.i++
	}
}

// word reads up to a blank, parenthesis or the end: any atom, however sloppy.
func (p *parser) word() []byte {
	from := p.i
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '(', ')', '\r', '\n':
			return p.b[from:p.i]
		}
		p.i++
	}
	return p.b[from:p.i]
}

// upper reads a word and makes it upper case in place.
func (p *parser) upper() []byte { return upperASCII(p.word()) }

func upperASCII(b []byte) []byte {
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
	return b
}

func isNIL(b []byte) bool { return len(b) == 3 && hasPrefixFold(b, "NIL") }

// acceptNIL reads NIL if it is next.
func (p *parser) acceptNIL() bool {
	if !hasPrefixFold(p.b[min(p.i, len(p.b)):], "NIL") {
		return false
	}
	if n := p.i + 3; n < len(p.b) {
		switch p.b[n] {
		case ' ', ')', '(', '\r', '\n':
		default:
			return false
		}
	}
	p.i += 3
	return true
}

// number reads an integer as servers write it: also negative, also with decimals that are dropped (Mail.ru), also
// quoted. NIL counts as 0.
func (p *parser) number() (int64, error) {
	quoted := p.accept('"')
	if p.acceptNIL() {
		return 0, nil
	}
	neg := p.accept('-')
	from := p.i
	var v int64
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		if v > (math.MaxInt64-9)/10 {
			return 0, errSyntax
		}
		v = v*10 + int64(p.b[p.i]-'0')
		p.i++
	}
	if p.i == from {
		return 0, errSyntax
	}
	if p.accept('.') {
		for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
			p.i++
		}
	}
	if quoted {
		p.accept('"')
	}
	if neg {
		v = -v
	}
	return v, nil
}

// number32 reads a number that must fit 32 bits; negative ones become 0.
func (p *parser) number32() (uint32, error) {
	v, err := p.number()
	if err != nil || v > math.MaxUint32 {
		return 0, errSyntax
	}
	return uint32(max(v, 0)), nil
}

// str reads a quoted string, a literal, NIL, or an atom where a string belongs. null tells NIL from "".
// A streamed literal is not a string.
func (p *parser) str() (s []byte, null bool, err error) {
	switch p.peek() {
	case 0:
		return nil, false, errEnd
	case '"':
		s, err = p.quoted()
		return s, false, err
	case '{':
		s, _, err = p.literal()
		return s, false, err
	case '~':
		if p.i+1 < len(p.b) && p.b[p.i+1] == '{' { // literal8, RFC 3516
			p.i++
			s, _, err = p.literal()
			return s, false, err
		}
	case '(', ')':
		return nil, false, errSyntax
	}
	if p.acceptNIL() {
		return nil, true, nil
	}
	return p.word(), false, nil
}

// quoted reads a quoted string. A quote that is neither escaped nor followed by what may follow a string is taken
// for text (iCloud puts such into Message-IDs).
func (p *parser) quoted() ([]byte, error) {
	p.i++
	from := p.i
	to := -1 // where unescaped text is written; -1: nothing to unescape yet
	for p.i < len(p.b) {
		c := p.b[p.i]
		switch c {
		case '\\':
			if p.i+1 < len(p.b) && (p.b[p.i+1] == '"' || p.b[p.i+1] == '\\') {
				if to < 0 {
					to = p.i
				}
				p.i++
				c = p.b[p.i]
			}
		case '"':
			if p.endsString(p.i + 1) {
				end := p.i
				if to >= 0 {
					end = to
				}
				p.i++
				return p.b[from:end:end], nil
			}
		}
		if to >= 0 {
			p.b[to] = c
			to++
		}
		p.i++
	}
	return nil, errEnd
}

func (p *parser) endsString(i int) bool {
	if i >= len(p.b) {
		return true
	}
	switch p.b[i] {
	case ' ', ')', '(', '\r', '\n':
		return true
	}
	return false
}

// literal reads a literal: its bytes, or the record of where they were streamed to.
func (p *parser) literal() ([]byte, *streamed, error) {
	lf := bytes.IndexByte(p.b[p.i:], '\n')
	if lf < 0 {
		return nil, nil, errEnd
	}
	size, ok := literalAt(p.b[p.i : p.i+lf+1])
	if !ok || size < 0 {
		return nil, nil, errSyntax
	}
	p.i += lf + 1
	// They are in the order of the response; a hostile one can have very many.
	k := sort.Search(len(p.streamed), func(k int) bool { return p.streamed[k].off >= p.i })
	if k < len(p.streamed) && p.streamed[k].off == p.i {
		return nil, &p.streamed[k], nil
	}
	if size > int64(len(p.full)-p.i) {
		return nil, nil, errEnd
	}
	if size > int64(len(p.b)-p.i) { // it ends in blanks
		p.b = p.full[:p.i+int(size)]
	}
	s := p.b[p.i : p.i+int(size) : p.i+int(size)]
	p.i += int(size)
	return s, nil, nil
}

// skip reads one value of any kind and returns it as it was written.
func (p *parser) skip() ([]byte, error) {
	from := p.i
	depth := 0
	for {
		p.space()
		switch p.peek() {
		case 0:
			return nil, errEnd
		case '(':
			p.i++
			if depth++; depth > p.depth {
				return nil, errDepth
			}
			continue
		case ')':
			if depth == 0 {
				return nil, errSyntax
			}
			p.i++
			depth--
		case '"':
			if err := p.skipQuoted(); err != nil {
				return nil, err
			}
		case '{':
			if _, st, err := p.literal(); err != nil {
				return nil, err
			} else if st != nil {
				return nil, errSyntax
			}
		case '\r', '\n':
			return nil, errSyntax
		default:
			if len(p.word()) == 0 {
				return nil, errSyntax
			}
		}
		if depth == 0 {
			return p.b[from:p.i], nil
		}
	}
}

// skipQuoted is quoted without changing anything.
func (p *parser) skipQuoted() error {
	for p.i++; p.i < len(p.b); p.i++ {
		switch p.b[p.i] {
		case '\\':
			if p.i+1 < len(p.b) && (p.b[p.i+1] == '"' || p.b[p.i+1] == '\\') {
				p.i++
			}
		case '"':
			if p.endsString(p.i + 1) {
				p.i++
				return nil
			}
		}
	}
	return errEnd
}

// list calls item until the closing parenthesis. NIL counts as the empty list.
func (p *parser) list(item func() error) error {
	if p.acceptNIL() {
		return nil
	}
	if !p.accept('(') {
		return errSyntax
	}
	if p.depth--; p.depth < 0 {
		return errDepth
	}
	for {
		p.space()
		if p.accept(')') {
			p.depth++
			return nil
		}
		if p.done() {
			return errEnd
		}
		at := p.i
		if err := item(); err != nil {
			return err
		}
		if p.i == at {
			return errSyntax
		}
	}
}

// strings reads a list of strings, as texts of their own. NILs in it are left out.
func (p *parser) strings(limit int) ([]string, error) {
	var out []string
	err := p.list(func() error {
		s, null, err := p.str()
		if err == nil && !null && len(out) < limit {
			out = append(out, string(s))
		}
		return err
	})
	return out, err
}

// stringsAndNILs is strings with NILs kept as empty texts.
func (p *parser) stringsAndNILs(limit int) ([]string, error) {
	var out []string
	err := p.list(func() error {
		s, _, err := p.str()
		if err == nil && len(out) < limit {
			out = append(out, string(s))
		}
		return err
	})
	return out, err
}

// keepTexts bounds how much is allocated at once for texts that are likely to come.
const keepTexts = 2048

// text keeps b as a text of its own.
func (p *parser) text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if w := known(b); w != "" {
		return w
	}
	if p.texts.Cap()-p.texts.Len() < len(b) {
		p.texts = strings.Builder{}
		p.texts.Grow(len(b) + min((len(p.b)-p.i)/2, keepTexts)) // about half of a structure is texts
	}
	at := p.texts.Len()
	p.texts.Write(b)
	return p.texts.String()[at:]
}

// known returns the words that nearly every message brings, "" for others.
func known(b []byte) string {
	switch string(b) {
	case "text":
		return "text"
	case "plain":
		return "plain"
	case "html":
		return "html"
	case "charset":
		return "charset"
	case "utf-8":
		return "utf-8"
	case "us-ascii":
		return "us-ascii"
	case "boundary":
		return "boundary"
	case "alternative":
		return "alternative"
	case "mixed":
		return "mixed"
	case "related":
		return "related"
	case "7bit":
		return "7bit"
	case "8bit":
		return "8bit"
	case "base64":
		return "base64"
	case "quoted-printable":
		return "quoted-printable"
	case "attachment":
		return "attachment"
	case "inline":
		return "inline"
	case "filename":
		return "filename"
	case "name":
		return "name"
	}
	return ""
}

// lowerASCII makes b lower case in place.
func lowerASCII(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return b
}
