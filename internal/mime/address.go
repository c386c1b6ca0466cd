package mime

import "strings"

const (
	maxAddresses = 10000
	maxTokens    = 1000 // between two commas
	maxSpec      = 4096 // how far a bracketed address may reach when quotes are odd
)

// token kinds of an address list
const (
	tokAtom = iota
	tokQuoted
	tokComment
	tokAngle
)

type addrToken struct {
	kind  int
	text  string
	space bool // white space before it
}

// addrParser reads an address list (RFC 5322 3.4 with 4.4) and whatever people send instead: lists separated by
// semicolons, missing commas, quotes and brackets, addresses inside encoded words.
type addrParser struct {
	t     texts
	s     string
	toks  []addrToken
	at    bool // an atom of toks has an @
	out   []Address
	depth int
}

// parseAddresses returns the mailboxes of an unfolded value. Group names are dropped, their members kept.
func (t texts) parseAddresses(s string) []Address {
	if strings.Contains(s, string(jisEscape)) { // its characters are made of commas, quotes and brackets
		s = t.plain(s)
	}
	p := addrParser{t: t, s: s}
	p.run()
	return p.out
}

func (p *addrParser) run() {
	s := p.s
	space := false
	lastWord := strings.LastIndex(s, "?=")
	lastAngle := strings.LastIndexByte(s, '>')
	lastQuote := strings.LastIndexByte(s, '"')
	lastParen := strings.LastIndexByte(s, ')')
	for i := 0; i < len(s) && len(p.out) < maxAddresses; {
		if len(p.toks) >= maxTokens {
			p.finish()
		}
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			space = true
			i++
			continue
		case c == ',' || c == ';':
			p.finish()
			i++
		case c == '"' && i < lastQuote:
			text, n := quotedAddr(s[i:])
			p.toks = append(p.toks, addrToken{tokQuoted, text, space})
			i += n
		case c == '"':
			i++
			continue
		case c == '(' && i < lastParen:
			text, n := comment(s[i:])
			p.toks = append(p.toks, addrToken{tokComment, text, space})
			i += n
		case c == '<':
			i = p.angle(i, lastAngle, space)
		case c == '>':
			i++
		case c == ':' && !p.at && len(p.toks) > 0:
			p.toks, p.at = p.toks[:0], false
			i++
		default:
			j := i
			for j < len(s) && strings.IndexByte(" \t\r\n,;<\"", s[j]) < 0 {
				if s[j] == '=' && j+1 < len(s) && s[j+1] == '?' && j < lastWord {
					if w, ok := parseWord(s[j:]); ok {
						j += w.end
						continue
					}
				}
				if s[j] == '(' && j > i && j < lastParen {
					break
				}
				if s[j] == '[' {
					if k := strings.IndexByte(s[j:min(len(s), j+256)], ']'); k > 0 {
						j += k + 1
						continue
					}
				}
				if s[j] == ':' && j > i && !p.at {
					break
				}
				if s[j] == '@' {
					p.at = true
				}
				j++
			}
			if j == i {
				j++
			}
			p.toks = append(p.toks, addrToken{tokAtom, s[i:j], space})
			i = j
		}
		space = false
	}
	p.finish()
}

// angle reads "<…>" at s[i] and returns the index behind it.
func (p *addrParser) angle(i, last int, space bool) int {
	s := p.s
	for i < len(s) && (s[i] == '<' || s[i] == ' ') {
		i++
	}
	end := -1
	if i <= last {
		q := false
		for j := i; j < min(len(s), i+maxSpec) && end < 0; j++ {
			switch s[j] {
			case '\\':
				if q {
					j++
				}
			case '"':
				q = !q
			case '>':
				if !q {
					end = j
				}
			}
		}
		if end < 0 { // an odd quote
			end = i + strings.IndexByte(s[i:], '>')
		}
	}
	next := end + 1
	if end < 0 {
		end = len(s)
		if j := strings.IndexAny(s[i:], ",;"); j >= 0 {
			end = i + j
		}
		next = end
	}
	text := s[i:end]
	if k := strings.LastIndexByte(text, '<'); k >= 0 && strings.IndexByte(text, '"') < 0 {
		// "<Name <a@b>": the inner one is the address
		p.toks = append(p.toks, addrToken{tokAtom, strings.TrimSpace(text[:k]), space})
		text = text[k+1:]
	}
	p.toks = append(p.toks, addrToken{tokAngle, text, space})
	return next
}

// quotedAddr reads the quoted string at the beginning of s and returns its text and length.
func quotedAddr(s string) (string, int) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return unescape(s[1:i]), i + 1
		}
	}
	return unescape(s[1:]), len(s)
}

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// comment reads the comment at the beginning of s, nested ones included.
func comment(s string) (string, int) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return unescape(s[1:i]), i + 1
			}
		}
	}
	return unescape(s[1:]), len(s)
}

// finish makes addresses of the tokens up to a separator.
func (p *addrParser) finish() {
	toks := p.toks
	p.toks, p.at = p.toks[:0], false
	from := 0
	found := false
	for i, t := range toks {
		if t.kind != tokAngle {
			continue
		}
		found = true
		name := p.name(toks[from:i])
		rest := toks[i+1:]
		if name == "" && from == 0 {
			for _, u := range rest {
				if u.kind == tokComment {
					name = p.t.plainWords(u.text)
					break
				}
				if u.kind == tokAngle {
					break
				}
			}
		}
		p.add(name, t.text)
		from = i + 1
	}
	if found || len(toks) == 0 {
		return
	}
	p.bare(toks)
}

// add appends the mailbox of a bracketed address.
func (p *addrParser) add(name, spec string) {
	if strings.HasPrefix(strings.TrimSpace(spec), "@") { // obsolete route
		if i := strings.LastIndexByte(spec, ':'); i >= 0 {
			spec = spec[i+1:]
		}
	} else if strings.IndexByte(spec, ',') >= 0 && strings.IndexByte(spec, '"') < 0 {
		for part := range strings.SplitSeq(spec, ",") {
			if e := p.t.cleanSpec(part); e != "" && len(p.out) < maxAddresses {
				p.out = append(p.out, Address{Name: name, Email: e})
			}
		}
		return
	}
	a := Address{Name: name, Email: p.t.cleanSpec(spec)}
	if i := strings.IndexByte(a.Email, ':'); i >= 0 && strings.IndexByte(a.Email, '[') < 0 && strings.IndexByte(a.Email, '"') < 0 {
		// A group or a path put into brackets by a careless relay: "<undisclosed-recipients:;@example.net>".
		if a.Email = ""; a.Name == "" {
			return
		}
	}
	if a.Email == "" && strings.Contains(a.Name, "@") && !strings.ContainsAny(a.Name, " \t") {
		a = Address{Email: a.Name}
	}
	if a != (Address{}) {
		p.out = append(p.out, a)
	}
}

// cleanSpec removes comments and white space outside quotes from an addr-spec.
func (t texts) cleanSpec(s string) string {
	if strings.IndexByte(s, '(') >= 0 {
		s = stripComments(s)
	}
	s = strings.Trim(s, " \t\r\n")
	if len(s) > 7 && strings.EqualFold(s[:7], "mailto:") {
		s = s[7:]
	}
	if strings.IndexByte(s, '"') < 0 {
		if strings.ContainsAny(s, " \t\r\n") {
			s = tighten(s)
		}
	} else if n := len(s); s[0] == '"' && s[n-1] == '"' && n > 2 { // <"a@b">
		s = s[1 : n-1]
	} else if n > 2 && s[0] == '\'' && s[n-1] == '\'' {
		s = s[1 : n-1]
	}
	return t.plain(s)
}

// tighten removes white space around dots and @ (RFC 5322 4.4) and what stands apart from the address.
func tighten(s string) string {
	var out []byte
	at := false
	for f := range strings.FieldsSeq(s) {
		has := strings.IndexByte(f, '@') >= 0
		if n := len(out); n > 0 && out[n-1] != '.' && out[n-1] != '@' && f[0] != '.' && f[0] != '@' {
			if at {
				break
			}
			if has {
				out = out[:0]
			}
		}
		out = append(out, f...)
		at = at || has
	}
	return string(out)
}

// name joins the words before an address. Only when there are none, comments make the name.
func (p *addrParser) name(toks []addrToken) string {
	if len(toks) == 1 && toks[0].kind != tokComment {
		return p.t.plainWords(toks[0].text)
	}
	var b strings.Builder
	for _, t := range toks {
		if t.kind == tokComment {
			continue
		}
		if t.space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	if b.Len() == 0 {
		for _, t := range toks {
			if t.kind == tokComment {
				return p.t.plainWords(t.text)
			}
		}
	}
	return p.t.plainWords(b.String())
}

func (t texts) plainWords(s string) string {
	return strings.Trim(t.decodeWords(s), " \t\r\n")
}

// hasAt tells whether there is an @ outside encoded words.
func hasAt(s string) bool {
	for {
		at := strings.IndexByte(s, '@')
		i := strings.Index(s, "=?")
		if at < 0 || i < 0 || at < i {
			return at >= 0
		}
		if w, ok := parseWord(s[i:]); ok {
			s = s[i+w.end:]
		} else {
			s = s[i+2:]
		}
	}
}

// bare makes addresses of tokens without brackets.
func (p *addrParser) bare(toks []addrToken) {
	// Words: tokens without white space between them, and obsolete white space around dots and @ removed.
	var words []string
	var isAddr []bool
	var cur []byte
	curAddr, glue, comm := false, false, ""
	flush := func() {
		if len(cur) > 0 {
			words = append(words, string(cur))
			isAddr = append(isAddr, curAddr)
		}
		cur, curAddr = cur[:0], false
	}
	for i, t := range toks {
		if t.kind == tokComment {
			if comm == "" {
				comm = p.t.plainWords(t.text)
			}
			continue
		}
		quoted := t.kind == tokQuoted
		if t.space && !glue && (quoted || t.text[0] != '@' && t.text[0] != '.') {
			flush()
		}
		if quoted && i+1 < len(toks) && !toks[i+1].space && toks[i+1].text != "" && toks[i+1].text[0] == '@' {
			cur = append(append(append(cur, '"'), t.text...), '"') // "local part"@domain
		} else {
			cur = append(cur, t.text...)
		}
		curAddr = curAddr || !quoted && hasAt(t.text)
		last := byte(0)
		if len(cur) > 0 {
			last = cur[len(cur)-1]
		}
		glue = !quoted && (last == '@' || last == '.' && curAddr)
	}
	flush()
	var name []string
	n := len(p.out)
	for i, w := range words {
		if isAddr[i] {
			if e := p.t.cleanSpec(strings.Trim(w, "'")); e != "" {
				p.out = append(p.out, Address{Name: p.t.plainWords(strings.Join(name, " ")), Email: e})
				name = nil
			}
			continue
		}
		name = append(name, w)
	}
	if len(p.out) > n {
		if a := &p.out[len(p.out)-1]; a.Name == "" {
			a.Name = comm
			if a.Name == "" && len(p.out) == n+1 {
				a.Name = p.t.plainWords(strings.Join(name, " "))
			}
		}
		return
	}
	joined := strings.Join(name, " ")
	text := p.t.plainWords(joined)
	switch {
	case text == "":
	case strings.Contains(joined, "=?") && strings.IndexByte(text, '@') >= 0 && p.depth == 0 && !strings.Contains(text, "=?"):
		// The encoder swallowed the whole address.
		q := addrParser{t: p.t, s: text, depth: 1}
		q.run()
		p.out = append(p.out, q.out...)
	case strings.IndexByte(text, '@') >= 0 && strings.IndexByte(text, ' ') < 0:
		p.out = append(p.out, Address{Name: comm, Email: text})
	case len(words) == 1 && !strings.Contains(joined, "=?"):
		p.out = append(p.out, Address{Name: comm, Email: text}) // a local name such as root
	default:
		p.out = append(p.out, Address{Name: text})
	}
}
