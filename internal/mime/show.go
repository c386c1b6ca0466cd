package mime

import (
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	snippetRunes = 100
	snippetInput = 64 << 10 // bytes of a body that are looked at
)

// Snippet returns the beginning of a message's text for lists: about 100 characters on one line, valid UTF-8. It takes
// the plain text and falls back to the text inside the HTML.
func Snippet(text, html string) string {
	s := snippetOf(text)
	if s == "" && html != "" {
		s = snippetOf(htmlText(html))
	}
	return s
}

func snippetOf(s string) string {
	if len(s) > snippetInput {
		s = s[:snippetInput]
	}
	var b strings.Builder
	n, space := 0, false
	for i, r := range s {
		switch {
		case unicode.IsSpace(r) || r == 0xa0 || unicode.IsControl(r):
			space = true
			continue
		case invisible(r) || r == utf8.RuneError && i+3 > len(s):
			continue
		}
		if space && n > 0 {
			b.WriteByte(' ')
			n++
		}
		space = false
		if n >= snippetRunes {
			break
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimRight(b.String(), " ")
}

// invisible characters fill the preview texts of newsletters.
func invisible(r rune) bool {
	return r == 0xad || r == 0x34f || r == 0x61c || r == 0x180e || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e ||
		r >= 0x2060 && r <= 0x206f || r == 0xfeff || r == 0x2007
}

// htmlText returns the visible text of the beginning of an HTML document, roughly.
func htmlText(s string) string {
	if len(s) > 4*snippetInput {
		s = s[:4*snippetInput]
	}
	var b strings.Builder
	for s != "" && b.Len() < 8*snippetRunes {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		if strings.HasPrefix(s, "<!--") {
			j := strings.Index(s, "-->")
			if j < 0 {
				break
			}
			s = s[j+3:]
			continue
		}
		if len(s) > 1 && !isTagStart(s[1]) {
			b.WriteByte('<')
			s = s[1:]
			continue
		}
		name := tagName(s[1:])
		j := strings.IndexByte(s, '>')
		if j < 0 {
			break
		}
		s = s[j+1:]
		switch name {
		case "style", "script", "title", "noscript", "xml":
			k := closingTag(s, name)
			if k < 0 {
				k = len(s)
			}
			s = s[k:]
		case "b", "i", "u", "em", "strong", "span", "font", "a", "/b", "/i", "/u", "/em", "/strong", "/span", "/font", "/a", "wbr":
		default:
			b.WriteByte(' ')
		}
	}
	return html.UnescapeString(b.String())
}

func isTagStart(c byte) bool {
	return c == '/' || c == '!' || c == '?' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func tagName(s string) string {
	i := 0
	for i < len(s) && i < 16 && s[i] > ' ' && s[i] != '>' && (s[i] != '/' || i == 0) {
		i++
	}
	return strings.ToLower(s[:i])
}

// closingTag returns the index of "</name", -1 if there is none.
func closingTag(s, name string) int {
	for off := 0; ; {
		i := strings.Index(s[off:], "</")
		if i < 0 {
			return -1
		}
		off += i + 2
		if len(s) >= off+len(name) && strings.EqualFold(s[off:off+len(name)], name) {
			return off - 2
		}
	}
}

// DisplayBody returns what a reader should see: the HTML if there is one, else the plain text. Several texts are joined
// in their order; a plain text beside its HTML alternative is left out, any other is turned into HTML.
func DisplayBody(m *Message) (body string, html bool) {
	if m.HTML == "" && m.HTMLAll == "" {
		if m.TextAll != "" {
			return m.TextAll, false
		}
		return m.Text, false
	}
	if len(m.shown) == 0 {
		return m.HTML, true
	}
	alts := map[int]bool{} // alternatives that have HTML
	for _, s := range m.shown {
		if s.html && s.alt > 0 {
			alts[s.alt] = true
		}
	}
	var parts []string
	for _, s := range m.shown {
		switch {
		case s.html:
			parts = append(parts, s.text)
		case !alts[s.alt] && strings.TrimSpace(s.text) != "":
			parts = append(parts, TextToHTML(s.text))
		}
	}
	return strings.Join(parts, "\n"), true
}

// TextToHTML turns plain text into HTML that shows it alike: escaped, with line breaks and runs of spaces kept.
func TextToHTML(text string) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8 + 16)
	b.WriteString("<div>")
	bol := true
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '\r':
			if i+1 < len(text) && text[i+1] == '\n' {
				continue
			}
			b.WriteString("<br>\n")
			bol = true
			continue
		case '\n':
			b.WriteString("<br>\n")
			bol = true
			continue
		case '\t':
			b.WriteString("&nbsp;&nbsp;&nbsp; ")
		case ' ':
			if bol || i+1 < len(text) && text[i+1] == ' ' {
				b.WriteString("&nbsp;")
			} else {
				b.WriteByte(' ')
			}
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '"':
			b.WriteString("&quot;")
		default:
			b.WriteByte(c)
		}
		bol = false
	}
	b.WriteString("</div>")
	return b.String()
}
