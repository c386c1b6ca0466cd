package mime

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

const (
	snippetRunes = 100
	snippetInput = 64 << 10 // bytes of a body that are looked at
)

// Snippet returns the beginning of a message's text for lists: about 100 characters on one line, valid UTF-8. It takes
// the plain text and falls back to the text inside the HTML. Quoted text, what introduces it, hidden text, and the
// "view in browser" of newsletters are skipped, unless there is nothing else.
func Snippet(text, html string) string { return snippetUnder("", text, html) }

// snippetUnder is Snippet for a message with this subject. If that is one of a reply, the header of an original without marks begins a
// quote too; else it may as well be passed on.
func snippetUnder(subject, text, html string) string {
	// The first kilobyte is enough for most; looking for quotes in more is what a snippet costs.
	for _, n := range []int{1 << 10, 4 << 10, snippetInput} {
		short := len(text) > n
		own, quotes := ownText(subject, textLines(cutText(text, n)))
		enough := snippetRunes / 2
		if n < 4<<10 {
			enough = snippetRunes
		}
		if s := snippetOf(own); s != "" && (!short || !quotes && utf8.RuneCountInString(s) >= enough || n == snippetInput) {
			return s
		}
		if !short {
			break
		}
	}
	if html == "" {
		return ""
	}
	for _, n := range []int{16 << 10, 4 * snippetInput} {
		short := len(html) > n
		own, quotes := ownText(subject, parseHTML(cutText(html, n)).lines())
		if s := snippetOf(own); s != "" && (!short || !quotes && len(s) >= snippetRunes/2 || n == 4*snippetInput) {
			return s
		}
		if !short {
			break
		}
	}
	return ""
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// ownText joins the lines that are neither quoted nor junk; if there are no others, quotes says so and it takes those.
func ownText(subject string, lines []line) (text string, quotes bool) {
	for i := range lines {
		lines[i].text = strings.ReplaceAll(lines[i].text, "\ufffc", "")
	}
	markQuotes(lines, !BaseSubject(subject).Reply || isForward(subject, lines))
	var b strings.Builder
	n := 0
	for i := range lines {
		n += len(lines[i].text) + 1
	}
	b.Grow(n)
	for _, quotes := range []bool{false, true} {
		begun := false
		for i := range lines {
			l := &lines[i]
			if l.norm == "" || l.drop && !quotes || !begun && isPreviewJunk(l.norm) {
				continue
			}
			begun = true
			b.WriteString(l.text)
			b.WriteByte(' ')
		}
		if begun {
			return b.String(), quotes
		}
	}
	for i := range lines {
		b.WriteString(lines[i].text)
		b.WriteByte(' ')
	}
	return b.String(), true
}

// isPreviewJunk knows the first lines of newsletters that say nothing: links to a web version, addresses, rules.
func isPreviewJunk(s string) bool {
	if strings.IndexByte(s, ' ') < 0 && (strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "<http")) {
		return true
	}
	if strings.HasPrefix(s, "[image:") || strings.HasPrefix(s, "[cid:") {
		return strings.HasSuffix(s, "]")
	}
	if strings.Trim(s, "-_=*~#+|. \u2500\u2014\u2013\u00b7") == "" {
		return true
	}
	if len(s) > 200 {
		return false
	}
	for _, w := range []string{"reply above this line", "in your browser", "in a browser", "in browser", "view online", "view it online", "web version", "webversion", "online version", "view this email", "view this message", "read online", "can't see images", "images not display", "trouble viewing", "having trouble reading",
		"im browser", "online ansehen", "online-version", "onlineversion", "webansicht", "nicht richtig angezeigt", "nicht korrekt dargestellt", "dans votre navigateur", "dans le navigateur", "version en ligne", "en tu navegador", "en el navegador", "en su navegador", "versión web", "nel browser", "versione online", "versione web",
		"no navegador", "no seu navegador", "versão online", "in je browser", "in uw browser", "online versie", "webbläsare", "w przeglądarce", "в браузере", "веб-версия", "在浏览器中", "网页版", "ブラウザで"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func textLines(s string) []line {
	out := make([]line, 0, strings.Count(s, "\n")+1)
	for l := range strings.Lines(s) {
		l = strings.TrimRight(l, "\r\n")
		out = append(out, line{text: l, quoted: strings.HasPrefix(strings.TrimLeft(l, " "), ">") && !strings.HasPrefix(l, ">From ")})
	}
	return out
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

// DisplayBody returns what a reader should see: the HTML if there is one, else the plain text. Several texts are joined
// in their order; a plain text that HTML is the alternative of is left out, any other is turned into HTML. HTML in which there is
// nothing to see counts for nothing beside a plain text.
func DisplayBody(m *Message) (body string, html bool) {
	if len(m.shown) == 0 && strings.TrimSpace(m.HTML) != "" {
		return m.HTML, true
	}
	var parts []string
	texts := chosen(m.visible(), true)
	if !slices.ContainsFunc(texts, func(s shown) bool { return s.html }) {
		return cmp.Or(m.TextAll, m.Text), false
	}
	for _, s := range texts {
		if !s.html {
			s.text = TextToHTML(s.text)
		}
		parts = append(parts, s.text)
	}
	return strings.Join(parts, "\n"), true
}

// PlainText returns the same for readers of plain text: the texts in their order, and HTML that has none as an alternative as the
// text in it.
func (m *Message) PlainText() string {
	texts := chosen(m.visible(), false)
	if !slices.ContainsFunc(texts, func(s shown) bool { return s.html }) {
		return m.TextAll
	}
	parts := make([]string, len(texts))
	for i, s := range texts {
		if parts[i] = s.text; s.html {
			parts[i] = HTMLToText(s.text)
		}
	}
	return strings.Join(parts, "\n")
}

// Snippet is that of the first text that has one.
func (m *Message) Snippet() string {
	for _, s := range chosen(m.shown, false) {
		plain, html := s.text, ""
		if s.html {
			plain, html = "", s.text
		}
		if snippet := snippetUnder(m.Subject, plain, html); snippet != "" {
			return snippet
		}
	}
	return snippetUnder(m.Subject, m.Text, m.HTML)
}

// chosen returns the texts but for those to which there is an alternative that is HTML, or one that is not.
func chosen(list []shown, html bool) []shown {
	alts, with := map[int]bool{}, map[branch]bool{} // alternatives that have one, and where
	for _, s := range list {
		if s.html == html {
			for _, b := range s.branches {
				alts[b.alt], with[b] = true, true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(s shown) bool {
		return s.html != html && slices.ContainsFunc(s.branches, func(b branch) bool { return alts[b.alt] && !with[b] })
	})
}

// visible returns the texts; where there are plain ones, without HTML in which there is nothing to see.
func (m *Message) visible() []shown {
	if !slices.ContainsFunc(m.shown, func(s shown) bool { return !s.html }) {
		return m.shown
	}
	return slices.DeleteFunc(slices.Clone(m.shown), func(s shown) bool { return s.html && !showsAnything(s.text) })
}

// showsAnything tells whether HTML has text or a picture. Most has it soon.
func showsAnything(s string) bool {
	z := html.NewTokenizer(strings.NewReader(s))
	raw := false // within an element whose text is not shown
	for {
		switch z.Next() {
		case html.ErrorToken:
			return false
		case html.StartTagToken, html.SelfClosingTagToken:
			switch name, _ := z.TagName(); string(name) {
			case "img", "svg", "video", "object", "input", "button":
				return true
			case "style", "script", "title":
				raw = true
			}
		case html.EndTagToken:
			raw = false
		case html.TextToken:
			if !raw && strings.ContainsFunc(string(z.Text()), func(r rune) bool { return !isSpacing(r) && r != '\f' && !invisible(r) }) {
				return true
			}
		}
	}
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
