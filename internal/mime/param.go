package mime

import (
	"strings"
)

// param is one parameter of a structured field, its name in lower case.
type param struct{ name, value string }

type params []param

func (p params) get(name string) string {
	for _, x := range p {
		if x.name == name {
			return x.value
		}
	}
	return ""
}

const maxParams = 200

// parseParams reads "value; name=value; ..." (RFC 2045 5.1, RFC 2183) with comments removed. Missing quotes, stray
// semicolons and doubled parameters are tolerated; RFC 2231 continuations are joined and decoded.
func (t texts) parseParams(s string) (value string, ps params) {
	s = unfold(s)
	if strings.IndexByte(s, '(') >= 0 {
		s = stripFieldComments(s, true)
	}
	i := strings.IndexByte(s, ';')
	if i < 0 {
		value, s = s, ""
	} else {
		value, s = s[:i], s[i+1:]
	}
	value = strings.ToLower(strings.Trim(value, " \t\"'"))
	if j := strings.IndexAny(value, " \t"); j > 0 && strings.Contains(value, "=") { // a semicolon is missing
		s = value[j:] + ";" + s
		value = value[:j]
	}
	split := false
	for len(ps) < maxParams {
		s = strings.TrimLeft(s, " \t;,")
		if s == "" {
			break
		}
		eq := strings.IndexAny(s, "=;")
		if eq < 0 {
			break
		}
		if s[eq] == ';' {
			s = s[eq+1:]
			continue
		}
		name := strings.ToLower(strings.Trim(s[:eq], " \t\""))
		if j := strings.LastIndexAny(name, " \t"); j >= 0 {
			name = name[j+1:]
		}
		s = strings.TrimLeft(s[eq+1:], " \t")
		var v string
		if s != "" && s[0] == '"' {
			v, s = quoted(s)
		} else {
			end := strings.IndexByte(s, ';')
			if end < 0 {
				end = len(s)
			}
			v = strings.TrimRight(s[:end], " \t")
			whole := s
			s = s[end:]
			if j := strings.IndexByte(v, '='); j > 0 && !strings.HasPrefix(v, "=?") {
				// A semicolon is missing between two parameters.
				if k := strings.LastIndexAny(v[:j], " \t"); k > 0 && isToken(v[k+1:j]) {
					s = whole[k+1:]
					v = strings.TrimRight(v[:k], " \t")
				}
			}
		}
		if name == "" {
			continue
		}
		if strings.IndexByte(name, '*') >= 0 {
			split = true
		}
		ps = append(ps, param{name, v})
	}
	if split {
		ps = t.join2231(ps)
	}
	return value, ps
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 127 || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// quoted reads a quoted string at the beginning of s and returns the rest behind it. Without a closing quote it ends
// at a semicolon.
func quoted(s string) (v, rest string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') { // others belong to paths that nobody escaped
				i++
			}
			b.WriteByte(s[i])
		case '"':
			rest = s[i+1:]
			if j := strings.IndexByte(rest, ';'); j >= 0 && strings.IndexByte(rest[:j], '=') < 0 {
				rest = rest[j:]
			}
			return b.String(), rest
		default:
			b.WriteByte(s[i])
		}
	}
	if i := strings.IndexByte(s, ';'); i > 0 {
		return s[1:i], s[i:]
	}
	return b.String(), ""
}

// stripComments removes RFC 5322 comments outside quotes. An unclosed one stays.
func stripComments(s string) string { return stripFieldComments(s, false) }

// stripFieldComments does so in a field with parameters or one without. In the value of a parameter only what stands at its end is a
// comment: "name=report (1).pdf" lacks its quotes.
func stripFieldComments(s string, params bool) string {
	var b strings.Builder
	depth, start, q, value := 0, 0, false, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && (q || depth > 0) && i+1 < len(s):
			if depth == 0 {
				b.WriteByte(c)
				b.WriteByte(s[i+1])
			}
			i++
			continue
		case depth == 0 && c == '"':
			q = !q
		case !q && c == '(':
			if depth == 0 {
				start = i
			}
			depth++
			continue
		case !q && c == ')' && depth > 0:
			if depth--; depth == 0 && value {
				if rest := strings.TrimLeft(s[i+1:], " \t"); rest != "" && rest[0] != ';' && rest[0] != '(' {
					b.WriteString(s[start : i+1])
				}
			}
			continue
		case params && !q && depth == 0 && (c == '=' || c == ';'):
			value = c == '='
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	if depth > 0 {
		b.WriteString(s[start:])
	}
	return b.String()
}

// join2231 joins continuations and decodes extended values (RFC 2231 3 and 4).
func (t texts) join2231(ps params) params {
	type piece struct {
		n       int
		encoded bool
		value   string
	}
	var out params
	pieces := map[string][]piece{}
	var order []string
	for _, p := range ps {
		i := strings.IndexByte(p.name, '*')
		if i < 0 {
			out = append(out, p)
			continue
		}
		base, rest := p.name[:i], p.name[i+1:]
		pc := piece{value: p.value}
		if rest == "" {
			pc.encoded = true
		} else {
			if strings.HasSuffix(rest, "*") {
				pc.encoded = true
				rest = rest[:len(rest)-1]
			}
			if pc.n = atoi(rest); pc.n < 0 {
				out = append(out, p)
				continue
			}
		}
		if _, ok := pieces[base]; !ok {
			order = append(order, base)
		}
		pieces[base] = append(pieces[base], pc)
	}
	for _, base := range order {
		ordered := make([]*piece, maxParams+1)
		for i := range pieces[base] {
			if p := &pieces[base][i]; p.n < len(ordered) && ordered[p.n] == nil {
				ordered[p.n] = p
			}
		}
		var raw []byte
		value, charset := "", ""
		decode := func() {
			s, _ := t.toUTF8(raw, charset)
			value, raw = value+s, raw[:0]
		}
		first := true
		for _, p := range ordered {
			if p == nil {
				continue
			}
			v := p.value
			if p.encoded {
				if first {
					if a := strings.IndexByte(v, '\''); a >= 0 {
						if b := strings.IndexByte(v[a+1:], '\''); b >= 0 {
							charset, v = v[:a], v[a+1+b+1:]
						}
					}
				}
				raw = unpercent(raw, v)
			} else {
				if !isASCII([]byte(v)) { // bytes that do not belong there are in no charset that others name
					decode()
					value += t.plain(v)
				} else {
					raw = append(raw, v...)
				}
			}
			first = false
		}
		decode()
		replaced := false
		for i := range out {
			if out[i].name == base { // RFC 6266 4.3: the extended form is preferred
				out[i].value, replaced = value, true
				break
			}
		}
		if !replaced {
			out = append(out, param{base, value})
		}
	}
	return out
}

func atoi(s string) int {
	if s == "" || len(s) > 4 {
		return -1
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

func unpercent(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
			dst = append(dst, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		dst = append(dst, s[i])
	}
	return dst
}
