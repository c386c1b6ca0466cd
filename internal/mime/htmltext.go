package mime

import (
	"strconv"
	"strings"
)

// HTMLToText returns the text of an HTML document as a plain text message would have it: paragraphs, lists with their
// bullets or numbers, tables row by row, quotes behind ">", links followed by their address. Scripts, styles and hidden
// text are left out. It never fails; the work is linear.
func HTMLToText(html string) string {
	w := textWriter{links: true, alt: true}
	w.node(parseHTML(html))
	return w.result()
}

// HTMLToWords is HTMLToText for those who look for words: the addresses of links stand below the text, and not between its words.
func HTMLToWords(html string) string {
	w := textWriter{links: true, alt: true, below: true}
	w.node(parseHTML(html))
	return strings.Join(append([]string{w.result(), ""}, w.refs...), "\n")
}

// HTMLToMarkdown returns the same as Markdown (CommonMark, with tables).
func HTMLToMarkdown(html string) string {
	w := textWriter{md: true, links: true, images: true, alt: true}
	w.node(parseHTML(html))
	return w.result()
}

// textWriter renders a tree as plain text or Markdown.
type textWriter struct {
	md     bool
	links  bool // show addresses
	images bool // show images as ![alt](src)
	alt    bool // show the text of images
	plain  bool // tables as lines only
	below  bool // addresses go to refs

	refs []string

	out    strings.Builder
	prefix []string // before every line: "> ", or the indent of a list item
	marker string   // instead of the last prefix, on the next line
	gap    int      // line ends owed before the next text
	space  bool     // a space owed
	bol    bool     // nothing on this line yet
	begun  bool
	pre    int
	lists  []int // number of the current item; -1 for bullets
	cell   int   // inside a table cell that stands on one line
}

func (w *textWriter) result() string {
	lines := strings.Split(w.out.String(), "\n")
	for i := range lines {
		hard := w.md && strings.HasSuffix(lines[i], "  ") && i+1 < len(lines) && strings.TrimSpace(lines[i+1]) != ""
		if lines[i] = strings.TrimRight(lines[i], " \t"); hard && lines[i] != "" {
			lines[i] += "  "
		}
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

func (w *textWriter) brk(n int) {
	if w.cell > 0 {
		w.space = true
		return
	}
	w.space = false
	if w.marker != "" { // the text of an item begins beside its marker
		n = 1
	}
	w.gap = max(w.gap, n)
}

// lead writes the line ends that are owed and what begins a line.
func (w *textWriter) lead() {
	if !w.begun {
		w.gap, w.bol, w.begun = 0, true, true
		w.startLine()
	}
	for i := range w.gap {
		if i > 0 && len(w.prefix) > 0 {
			w.out.WriteString(strings.TrimRight(w.all(), " "))
		}
		w.out.WriteByte('\n')
	}
	if w.gap > 0 {
		w.startLine()
	}
	w.gap = 0
}

func (w *textWriter) all() string { return strings.Join(w.prefix[:min(len(w.prefix), maxPrefix)], "") }

const maxPrefix = 20

func (w *textWriter) startLine() {
	w.bol, w.space = true, false
	p := w.prefix[:min(len(w.prefix), maxPrefix)]
	if w.marker != "" && len(p) > 0 {
		p, w.marker = append(p[:len(p)-1:len(p)-1], w.marker), ""
	}
	w.out.WriteString(strings.Join(p, ""))
}

func (w *textWriter) text(s string) {
	if w.pre > 0 && w.cell == 0 {
		for i, line := range strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
			if i > 0 {
				w.gap++
			}
			if line != "" {
				w.lead()
				w.out.WriteString(line)
				w.bol = false
			}
		}
		return
	}
	for s != "" {
		i := 0
		for i < len(s) && !isHTMLSpace(s[i]) {
			i++
		}
		if i > 0 {
			w.word(s[:i])
			s = s[i:]
		}
		n := len(s)
		s = strings.TrimLeft(s, " \t\r\n\f")
		w.space = w.space || len(s) < n
	}
}

func isHTMLSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' }

func (w *textWriter) word(s string) {
	if strings.Contains(s, "\u00a0") {
		s = strings.ReplaceAll(s, "\u00a0", " ")
		if strings.TrimSpace(s) == "" && (w.bol || w.gap > 0 || !w.begun) {
			return
		}
	}
	if s = strings.Map(visible, s); s == "" {
		return
	}
	space := w.space
	w.lead()
	if space && !w.bol {
		w.out.WriteByte(' ')
	}
	w.space = false
	if w.md {
		s = escapeMarkdown(s, w.bol)
	}
	w.out.WriteString(s)
	w.bol = false
}

// visible leaves out what fills preview texts, but keeps the joiners and marks that scripts and emoji need.
func visible(r rune) rune {
	switch {
	case r == 0xad || r == 0x34f || r == 0x200b || r == 0xfeff || r == 0x2060 || r < ' ' && r != '\t' || r >= 0x202a && r <= 0x202e || r == 0x7f:
		return -1
	}
	return r
}

func escapeMarkdown(s string, bol bool) string {
	if bol {
		switch s {
		case "-", "+", "#", "##", "###":
			return "\\" + s
		}
		if s[0] == '>' {
			s = "\\" + s
		}
		if i := strings.IndexByte(s, '.'); i > 0 && i == len(s)-1 && isDigits(s[:i]) {
			return s[:i] + "\\."
		}
	}
	if !strings.ContainsAny(s, "*_[]`\\<|") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte("*_[]`\\<|", s[i]) >= 0 && (s[i] != '_' || i == 0 || i == len(s)-1) {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// raw writes without escaping and spaces.
func (w *textWriter) raw(s string) {
	space := w.space
	w.lead()
	if space && !w.bol {
		w.out.WriteByte(' ')
	}
	w.space = false
	w.out.WriteString(s)
	w.bol = false
}

func (w *textWriter) kids(n *node) {
	for _, k := range n.kids {
		w.node(k)
	}
}

func (w *textWriter) node(n *node) {
	if n.dropped {
		return
	}
	switch n.tag {
	case "":
		w.text(n.text)
	case "br":
		if w.cell > 0 {
			w.space = true
		} else {
			w.lead()
			w.gap, w.space = 1, false
			w.bol = true
			if w.md {
				w.hardBreak()
			}
		}
	case "hr":
		w.brk(2)
		w.raw("---")
		w.brk(2)
	case "p", "h1", "h2", "h3", "h4", "h5", "h6":
		if n.empty() && !w.md {
			w.brk(1)
			return
		}
		w.brk(2)
		if w.md && n.tag != "p" && !n.empty() && w.cell == 0 {
			w.raw(strings.Repeat("#", int(n.tag[1]-'0')) + " ")
			w.bol = true
		}
		w.kids(n)
		w.brk(2)
	case "ul", "ol":
		number := -1
		if n.tag == "ol" {
			number = 0
			if v := atoi(n.attr("start")); v > 0 {
				number = v - 1
			}
		}
		if len(w.lists) == 0 {
			w.brk(2)
		} else {
			w.brk(1)
		}
		w.lists = append(w.lists, number)
		w.kids(n)
		w.lists = w.lists[:len(w.lists)-1]
		if len(w.lists) == 0 {
			w.brk(2)
		} else {
			w.brk(1)
		}
	case "li":
		w.item(n)
	case "dd":
		w.brk(1)
		w.within("    ", "", n)
		w.brk(1)
	case "blockquote":
		w.brk(2)
		w.within("> ", "", n)
		w.brk(2)
	case "pre":
		w.brk(2)
		if w.md && w.cell == 0 {
			w.raw("```")
			w.gap = 1
		}
		w.pre++
		w.kids(n)
		w.pre--
		if w.md && w.cell == 0 {
			w.gap = max(w.gap, 1)
			w.raw("```")
		}
		w.brk(2)
	case "table":
		w.table(n)
	case "img":
		w.image(n)
	case "a":
		w.link(n)
	case "b", "strong":
		w.mark("**", n)
	case "i", "em":
		w.mark("*", n)
	case "code", "tt":
		if w.md && w.pre == 0 && !n.empty() {
			w.raw("`")
			w.bol = true
			w.md = false
			w.kids(n)
			w.md, w.space = true, false
			w.out.WriteByte('`')
			return
		}
		w.kids(n)
	default:
		if n.block() {
			w.brk(1)
			w.kids(n)
			w.brk(1)
			return
		}
		w.kids(n)
	}
}

func (w *textWriter) hardBreak() {
	if s := w.out.String(); len(s) > 0 && s[len(s)-1] != '\n' && s[len(s)-1] != ' ' {
		w.out.WriteString("  ")
	}
}

func (w *textWriter) within(prefix, marker string, n *node) {
	if w.cell > 0 {
		w.kids(n)
		return
	}
	// What is owed belongs to the outside.
	if w.begun && w.gap > 1 {
		blank := "\n" + strings.TrimRight(w.all(), " ")
		for range w.gap - 1 {
			w.out.WriteString(blank)
		}
		w.gap = 1
	}
	w.prefix = append(w.prefix, prefix)
	w.marker = marker
	w.kids(n)
	w.prefix = w.prefix[:len(w.prefix)-1]
	w.marker = ""
}

func (w *textWriter) item(n *node) {
	w.brk(1)
	marker := "- "
	if k := len(w.lists) - 1; k >= 0 && w.lists[k] >= 0 {
		w.lists[k]++
		marker = strconv.Itoa(w.lists[k]) + ". "
	}
	if n.empty() {
		return
	}
	w.within(strings.Repeat(" ", len(marker)), marker, n)
	w.brk(1)
}

// mark puts a Markdown mark around a piece of text.
func (w *textWriter) mark(mark string, n *node) {
	if !w.md || n.empty() || w.pre > 0 || n.hasBlock() {
		w.kids(n)
		return
	}
	w.raw(mark)
	w.bol = true // no space after the mark
	w.kids(n)
	space := w.space
	w.space = false
	w.out.WriteString(mark)
	w.space = space
}

// hasBlock tells whether a line ends inside. Marks and links must not go over it.
func (n *node) hasBlock() bool {
	for _, k := range n.kids {
		if k.tag == "br" || k.tag == "hr" || k.block() {
			return true
		}
	}
	return false
}

func (w *textWriter) image(n *node) {
	alt := oneLine(n.attr("alt"))
	src := strings.TrimSpace(n.attr("src"))
	switch {
	case w.images && src != "" && !tiny(n):
		w.raw("![" + strings.NewReplacer("[", "", "]", "").Replace(alt) + "](" + markdownURL(src) + ")")
	case w.alt && alt != "":
		w.text(alt)
	}
}

// tiny tells whether an image is there to be counted, not seen.
func tiny(n *node) bool {
	switch n.attr("width") + "x" + n.attr("height") {
	case "1x1", "0x0", "1pxx1px":
		return true
	}
	return false
}

func markdownURL(s string) string {
	if strings.ContainsAny(s, " ()<>\r\n\t") {
		return strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29", "<", "%3C", ">", "%3E", "\r", "", "\n", "", "\t", "").Replace(s)
	}
	return s
}

func (w *textWriter) link(n *node) {
	href := strings.TrimSpace(n.attr("href"))
	low := strings.ToLower(href[:min(len(href), 8)])
	ok := strings.HasPrefix(low, "http://") || strings.HasPrefix(low, "https://") || strings.HasPrefix(low, "mailto:") || strings.HasPrefix(low, "tel:")
	if !w.links || !ok || n.empty() || w.pre > 0 {
		w.kids(n)
		return
	}
	if w.md && !n.hasBlock() {
		w.raw("[")
		w.bol = true
		w.kids(n)
		space := w.space
		w.space = false
		w.out.WriteString("](" + markdownURL(href) + ")")
		w.space = space
		return
	}
	from := w.out.Len()
	w.kids(n)
	shown := strings.TrimSpace(w.out.String()[min(from, w.out.Len()):])
	if w.md || sameLink(shown, href) || shown == "" {
		return
	}
	if w.below {
		w.refs = append(w.refs, href)
		return
	}
	gap, space := w.gap, w.space
	w.gap = 0
	w.out.WriteString(" <" + href + ">")
	w.gap, w.space = gap, space
}

// sameLink tells whether the text of a link is its address.
func sameLink(shown, href string) bool {
	strip := func(s string) string {
		s = strings.ToLower(strings.TrimSuffix(s, "/"))
		for _, p := range []string{"https://", "http://", "mailto:", "tel:", "www."} {
			s = strings.TrimPrefix(s, p)
		}
		return s
	}
	return len(shown) <= 2*len(href)+64 && strip(shown) == strip(href)
}

// rows returns the rows of a table, each a list of its cells.
func (n *node) rows() [][]*node {
	var out [][]*node
	for _, k := range n.kids {
		switch k.tag {
		case "tr":
			var cells []*node
			for _, c := range k.kids {
				if (c.tag == "td" || c.tag == "th") && !c.dropped {
					cells = append(cells, c)
				}
			}
			out = append(out, cells)
		case "thead", "tbody", "tfoot":
			out = append(out, k.rows()...)
		}
	}
	return out
}

// simple tells whether a cell is a piece of data: short, without lists and tables of its own.
func (n *node) simple(budget *int) bool {
	for _, k := range n.kids {
		if *budget--; *budget < 0 {
			return false
		}
		switch k.tag {
		case "":
			*budget -= len(strings.TrimSpace(k.text)) / 4
		case "table", "ul", "ol", "blockquote", "pre", "h1", "h2", "h3", "hr":
			return false
		default:
			if !k.simple(budget) {
				return false
			}
		}
	}
	return true
}

// table writes rows of data as lines with the cells side by side; tables that only place things on the page as blocks.
func (w *textWriter) table(n *node) {
	rows := n.rows()
	wide, data := 0, true
	for _, r := range rows {
		filled := 0
		for _, c := range r {
			budget := 60
			if data = data && c.simple(&budget); !c.empty() {
				filled++
			}
		}
		wide = max(wide, filled)
		if !data {
			break
		}
	}
	if !data || wide < 2 || w.cell > 0 {
		w.brk(1)
		w.kids(n)
		w.brk(1)
		return
	}
	w.brk(2)
	for _, k := range n.kids {
		if k.tag == "caption" {
			w.kids(k)
			w.brk(1)
		}
	}
	cols := 0
	for _, r := range rows {
		cols = max(cols, len(r))
	}
	cols = min(cols, 100)
	for i, r := range rows {
		empty := true
		for _, c := range r {
			empty = empty && c.empty()
		}
		if empty {
			continue
		}
		md := w.md && !w.plain
		if md {
			w.raw("|")
		}
		for j, c := range r {
			if j > 0 && !md && !w.plain {
				w.space = true
				w.raw("|")
			}
			w.space = true
			w.cell++
			w.kids(c)
			w.cell--
			if md {
				w.space = true
				w.raw("|")
			}
		}
		if md {
			for j := len(r); j < cols; j++ {
				w.raw(" |")
			}
		}
		w.brk(1)
		if md && i == 0 {
			w.raw("|" + strings.Repeat(" --- |", cols))
			w.brk(1)
		}
	}
	w.brk(2)
}
