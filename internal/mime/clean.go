package mime

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// CleanOptions say what of a reply stays. The names are those of the API.
type CleanOptions struct {
	IgnoreLinks             bool // links become their text
	IgnoreImages            bool // images are left out
	ImagesAsMarkdown        bool // images that stay become ![text](address)
	IgnoreTables            bool // rows become lines
	RemoveConclusionPhrases bool // "Best regards" and what follows it
	HTMLAsMarkdown          bool // HTML becomes Markdown
}

// DefaultCleanOptions are those of a request that names none.
func DefaultCleanOptions() CleanOptions {
	return CleanOptions{IgnoreLinks: true, IgnoreImages: true, ImagesAsMarkdown: true, IgnoreTables: true, RemoveConclusionPhrases: true}
}

// Cleaned is what a person wrote in a reply.
type Cleaned struct {
	Conversation string // in the form of the message: HTML if it has HTML and no Markdown was asked for, else text
	HTML         bool   // Conversation is HTML; scripts and styles are gone, but it is no more trustworthy than the message
	Text         string // the same as plain text
	Quoted       bool   // quoted text was removed
	Signature    bool   // a signature or conclusion was removed
}

// Clean returns the text of a message without what it quotes and without its signature. If nothing would be left, the
// message is a quote or a forward as a whole, and all of it is returned.
func Clean(m *Message, o CleanOptions) Cleaned {
	body, html := DisplayBody(m)
	return CleanBody(m.Subject, body, html, o)
}

// CleanBody is Clean for a body alone. The subject tells whether the message is a forward; it may be empty.
func CleanBody(subject, body string, html bool, o CleanOptions) Cleaned {
	if !html {
		return cleanText(subject, body, o)
	}
	root := parseHTML(body)
	lines := root.lines()
	c := mark(lines, subject, o)
	drop := map[int]bool{}
	for i := range lines {
		if l := &lines[i]; l.drop && l.first > 0 {
			for k := l.first; k <= l.last; k++ {
				drop[k] = true
			}
		}
	}
	if len(drop) > 0 {
		root.prune(drop)
	}
	w := textWriter{alt: !o.IgnoreImages, plain: o.IgnoreTables}
	w.node(root)
	c.Text = w.result()
	if o.HTMLAsMarkdown {
		w := textWriter{md: true, links: !o.IgnoreLinks, images: !o.IgnoreImages, plain: o.IgnoreTables}
		w.node(root)
		c.Conversation = w.result()
		return c
	}
	c.HTML = true
	h := htmlWriter{o: o}
	h.kids(root)
	c.Conversation = strings.TrimSpace(h.out.String())
	return c
}

func cleanText(subject, body string, o CleanOptions) Cleaned {
	body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", "\n")
	lines := textLines(body)
	c := mark(lines, subject, o)
	var b strings.Builder
	b.Grow(len(body))
	blank := 0
	for i := range lines {
		if lines[i].drop {
			continue
		}
		s := strings.TrimRight(lines[i].text, " \t")
		if s == "" {
			blank++
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
			if blank > 0 {
				b.WriteString(strings.Repeat("\n", min(blank, 2)))
			}
		}
		blank = 0
		b.WriteString(s)
	}
	c.Text = b.String()
	c.Conversation = c.Text
	return c
}

// mark decides which lines go.
func mark(lines []line, subject string, o CleanOptions) (c Cleaned) {
	markQuotes(lines, isForward(subject, lines))
	if !left(lines) {
		for i := range lines {
			lines[i].drop = false
		}
		return c
	}
	for i := range lines {
		c.Quoted = c.Quoted || lines[i].drop
	}
	c.Signature = markSignature(lines, o.RemoveConclusionPhrases)
	return c
}

func left(lines []line) bool {
	for i := range lines {
		if !lines[i].drop && lines[i].norm != "" {
			return true
		}
	}
	return false
}

// subjectPrefix returns what stands before the first colon of a subject, behind its tags, in lower case; "" if nothing does.
func subjectPrefix(s string) string {
	s = foldText(cutText(s, maxSubject))
	for {
		rest, ok := cutTag(s)
		if !ok {
			break
		}
		s = rest
	}
	prefix, _, _ := strings.Cut(s, ":")
	if len(prefix) == len(s) {
		return ""
	}
	return strings.TrimSpace(prefix)
}

func isForwardSubject(s string) bool {
	switch subjectPrefix(s) {
	case "fw", "fwd", "wg", "tr", "rv", "reenv", "i", "inoltra", "enc", "vs", "videres", "vb", "vl", "fs", "doorst", "doorgestuurd", "pd", "předáno", "prosl", "proslj", "просл", "препр", "prs", "pārs", "trs", "továbbítás", "ilt", "yml",
		"πρθ", "προώθ", "προώθηση", "пересл", "пер", "прп", "转发", "轉寄", "轉發", "転送", "전달", "הועבר", "إعادة توجيه", "chuyển tiếp", "ct", "ส่งต่อ":
		return true
	}
	return false
}

func isForward(subject string, lines []line) bool {
	return isForwardSubject(subject) && !isFinnishReply(subject, lines)
}

// isFinnishReply tells a Finnish reply ("vastaus") from a Norwegian or Danish forward ("videresendt") by the header of the original.
func isFinnishReply(subject string, lines []line) bool {
	return subjectPrefix(subject) == "vs" && slices.ContainsFunc(lines, func(l line) bool { return strings.HasPrefix(strings.TrimLeft(l.text, " *"), "Lähettäjä:") })
}

// markSignature drops the signature and, if asked, the concluding phrase, at the end of what is left. If nothing else
// would be left, it drops nothing.
func markSignature(lines []line, conclusions bool) bool {
	var marked []int
	drop := func(from, to int) {
		for j := from; j < to; j++ {
			if !lines[j].drop {
				lines[j].drop = true
				marked = append(marked, j)
			}
		}
	}
	run := func(i int) int { // end of the run of kept lines that i is in
		for i < len(lines) && !lines[i].drop {
			i++
		}
		return i
	}
	for i := range lines {
		if l := &lines[i]; !l.drop && l.sig {
			drop(i, i+1)
		}
	}
	forward := -1 // behind the last mark of a forward; not looked for yet
	for i := range lines {
		if l := &lines[i]; !l.drop && (l.text == "-- " || strings.TrimRight(l.text, " \u00a0\t") == "--" || (l.norm == "—" || l.norm == "__" && i > 0) && !sentenceBelow(lines, i)) {
			if forward < 0 {
				forward = lastForward(lines)
			}
			if i < forward {
				break
			}
			switch {
			case l.text != "--":
				drop(i, run(i))
			case i+1 == len(lines) || !isSentence(lines[i+1].norm): // a dash between two parts, or a signature whose blank was lost
				drop(i, resumes(lines, i))
			}
		}
	}
	for i := range lines {
		if !lines[i].drop && isListFooter(lines, i) {
			drop(i, run(i))
		}
	}
	// The tail of the last run of kept lines.
	var tail []int // the last lines with text, from the end
	for i := len(lines) - 1; i >= 0 && len(tail) < 12; i-- {
		if lines[i].drop && len(tail) > 0 {
			break
		}
		if !lines[i].drop && lines[i].norm != "" {
			tail = append(tail, i)
		}
	}
	for n, i := range tail {
		if n < 4 && isMobileSignature(lines[i].norm) {
			drop(i, resumes(lines, i))
			tail = tail[n+1:]
			break
		}
	}
	if conclusions {
		at, sentence := -1, false
		for n, i := range tail {
			if n >= 10 {
				break
			}
			if isConclusion(lines[i].norm) && !isItem(lines, i) {
				if !sentence || !isThanks(lines[i].norm) {
					at = i
				}
				break // the last one
			}
			sentence = sentence || isSentence(lines[i].norm)
			if len(lines[i].norm) > 100 || strings.HasSuffix(lines[i].norm, "?") {
				break
			}
		}
		if at >= 0 {
			// A second phrase may stand right above: "Thanks!" / "Best,".
			for j, k := at-1, 0; j >= 0 && k < 3 && !lines[j].drop; j, k = j-1, k+1 {
				if lines[j].norm == "" {
					continue
				}
				if isConclusion(lines[j].norm) {
					at = j
				}
				break
			}
			end := resumes(lines, at)
			for j := at; j < end; j++ {
				if isPostscript(lines[j].norm) {
					end = j
				}
			}
			drop(at, end)
		}
	}
	if len(marked) > 0 && !left(lines) {
		for _, i := range marked {
			lines[i].drop = false
		}
		return false
	}
	return len(marked) > 0
}

// isListFooter tells whether the lines from i on were added by a mailing list: a rule, and below it what list it is.
func isListFooter(lines []line, i int) bool {
	if l := &lines[i]; len(l.norm) < 20 || strings.Trim(l.norm, "_-=*~ ") != "" {
		return false
	}
	for j := i + 1; j < len(lines) && j < i+5; j++ {
		for _, w := range []string{"mailing list", "listinfo", "unsubscribe", "mailman", "yahoo! groups", "mailinglist", "post messages to this", "subscription options", "sponsored by"} {
			if strings.Contains(lines[j].norm, w) {
				return true
			}
		}
	}
	return false
}

// lastForward returns the index behind the last line that introduces a forwarded message, 0 if none does.
func lastForward(lines []line) int {
	n := len(lines)
	for n > 0 && !isForwardMark(lines[n-1].norm) {
		n--
	}
	return n
}

// isMobileSignature knows what phones and free services add.
func isMobileSignature(s string) bool {
	if len(s) > 160 {
		return false
	}
	for _, w := range []string{"sent from my ", "sent from mail for ", "sent from outlook", "sent from yahoo", "sent from samsung", "sent via ", "sent with proton", "sent with [proton", "sent from proton", "sent from the ", "sent using ", "get outlook for ", "get bluemail for ", "von meinem ", "gesendet von ", "gesendet mit ", "diese nachricht wurde von meinem",
		"envoyé de mon ", "envoyé depuis ", "envoyé à partir ", "obtenir outlook pour", "enviado desde ", "enviado de mi ", "enviado do ", "enviado de meu", "obtener outlook para", "inviato da ", "scarica outlook per", "verstuurd vanaf ", "verzonden vanaf ", "verstuurd met ", "skickat från ", "sendt fra ", "lähetetty ", "wysłane z ", "odesláno z ", "odoslané z ", "отправлено с ", "отправлено из ", "надіслано з ", "iphone'umdan gönderildi", "iphone'dan gönderildi", "iphone’umdan gönderildi",
		"发自我的", "从我的", "發自我的", "從我的", "iphoneから送信", "ipadから送信", "나의 iphone에서 보냄", "gửi từ ", "dikirim dari ", "trimis de pe ", "elküldve: ", "enviat des de", "poslano s ", "via newton mail"} {
		if strings.HasPrefix(s, w) {
			// A sentence that only begins alike goes on, or ends as one and names no device or program.
			return strings.Count(s, " ") <= 12 && (namesProgram(s) || strings.IndexByte(".!?", s[len(s)-1]) < 0)
		}
	}
	return strings.HasSuffix(s, "'umdan gönderildi") || strings.HasSuffix(s, "から送信")
}

// namesProgram tells whether a line names what one writes mail with.
func namesProgram(s string) bool {
	for _, w := range []string{"phone", "ipad", " mac", "android", "galaxy", "samsung", "huawei", "xiaomi", "pixel", "blackberry", "nokia", "windows", "mail", "outlook", "yahoo", "proton", "spark", "gmx", "web.de", " app", "device", "gerät", "handy", "mobil", "móvil", "telefon", "teléfono", "téléphone", "telefono", "tablet",
		"dispositiv", "celular", "cellulare", "puhelim", "телефон", "смартфон", "айфон", "http"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func isConclusion(s string) bool {
	if len(s) > 80 {
		return false
	}
	s = strings.Trim(s, " ,.!;:-–—)(😊🙂、。，！")
	if conclusionWords(s) {
		return true
	}
	// "Best, Ann" and "Thanks, Bob Miller" on one line.
	if i := strings.IndexAny(s, ",!"); i > 0 && conclusionWords(strings.TrimSpace(s[:i])) {
		rest := strings.Fields(s[i+1:])
		return len(rest) <= 3 && utf8.RuneCountInString(s) <= 50
	}
	return false
}

// isItem tells whether a line of one word is an item of a list rather than a conclusion: LG makes televisions as well. Then the line above
// is an item, or announces the list.
func isItem(lines []line, i int) bool {
	if strings.IndexByte(lines[i].norm, ' ') >= 0 {
		return false
	}
	j := i - 1
	for j >= 0 && lines[j].norm == "" {
		j--
	}
	if j < 0 || lines[j].drop {
		return false
	}
	up := lines[j].norm
	return strings.HasSuffix(up, ":") || j == i-1 && strings.Count(up, " ") <= 1 && isWordByte(up[len(up)-1]) && !isConclusion(up)
}

// isThanks tells whether a conclusion is one that may as well begin an answer.
func isThanks(s string) bool {
	for _, w := range []string{"thank", "thx", "dank", "merci", "gracias", "grazie", "obrigad", "tack", "takk", "tak", "kiitos", "dzięk", "děkuj", "ďakuj", "köszön", "mulțum", "hvala", "спасибо", "дякую",
		"teşekkür", "ευχαριστ", "תודה", "شكرا", "谢谢", "謝謝", "감사", "cảm ơn", "terima kasih"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// isSentence tells whether a line is no name, title or address.
func isSentence(s string) bool {
	if strings.HasSuffix(s, "。") || strings.HasSuffix(s, "！") {
		return true
	}
	return strings.Count(s, " ") >= 3 && strings.IndexByte(".!?", s[len(s)-1]) >= 0
}

// sentenceBelow tells whether one of the next lines is a sentence. It looks at as many as a signature has.
func sentenceBelow(lines []line, i int) bool {
	for j := i + 1; j < min(len(lines), i+12) && !lines[j].drop; j++ {
		if isSentence(lines[j].norm) {
			return true
		}
	}
	return false
}

// resumes returns the end of the signature or conclusion at line i: where the kept lines end, or before that the writer goes on, at a
// paragraph with a sentence in it that no company adds.
func resumes(lines []line, i int) int {
	j := i + 1
	for ; j < len(lines) && !lines[j].drop; j++ {
		html := lines[j].first > 0 // without blank lines between paragraphs
		if lines[j].norm == "" || !html && lines[j-1].norm != "" || html && j == i+1 {
			continue
		}
		sentence, added := false, false
		for k := j; k < len(lines) && lines[k].norm != "" && !lines[k].drop && (k == j || !html); k++ {
			sentence = sentence || isSentence(lines[k].norm)
			added = added || isDisclaimer(lines[k].norm)
		}
		if sentence && !added {
			break
		}
	}
	return j
}

// isDisclaimer knows the sentences that companies and phones put below what people write.
func isDisclaimer(s string) bool {
	for _, w := range []string{"confidential", "intended recipient", "intended only", "intended solely", "addressee", "consider the environment", "before printing", "virus", "disclaimer", "registered in", "registered office", "unsubscribe", "typos", "brevity", "excuse", "privileged", "all rights reserved",
		"vertraulich", "bestimmungsgemäße", "geschäftsführer", "handelsregister", "registergericht", "amtsgericht", "an die umwelt", "tippfehler", "confidentiel", "destinataire", "l'environnement", "confidencial", "destinatario", "destinatário", "medio ambiente", "riservat", "d.lgs", "vertrouwelijk", "geadresseerde", "poufn", "конфиденциальн", "機密", "保密"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func isPostscript(s string) bool {
	for _, w := range []string{"p.s.", "p. s.", "ps:", "ps.", "p.s:", "p.p.s.", "pps:"} {
		if strings.HasPrefix(s, w) {
			return true
		}
	}
	return false
}

func conclusionWords(s string) bool {
	switch s {
	case "best", "regards", "best regards", "kind regards", "kindest regards", "warm regards", "warmest regards", "with best regards", "with kind regards", "with regards", "best wishes", "all the best", "all best", "very best", "my best", "sincerely", "sincerely yours", "yours sincerely", "yours truly", "yours faithfully", "yours", "faithfully", "respectfully", "cordially", "cheers", "thanks", "thank you", "many thanks", "thanks a lot", "thanks so much", "thank you so much", "thank you very much", "thanks again", "thank you again", "thanks in advance", "thank you in advance", "thanks and regards", "thanks & regards", "thanks and best regards", "best regards and thanks", "rgds", "br", "kr", "take care", "talk soon", "see you soon", "love", "xoxo", "warmly", "hugs", "with gratitude", "have a great day", "have a nice day", "have a good day", "have a great weekend", "have a nice weekend", "looking forward", "looking forward to hearing from you", "ta", "thx", "tia",
		"mit freundlichen grüßen", "mit freundlichen grüssen", "mit freundlichen gruessen", "mit freundlichem gruß", "mit freundlichem gruss", "freundliche grüße", "freundliche grüsse", "viele grüße", "viele grüsse", "viele gruesse", "liebe grüße", "liebe grüsse", "beste grüße", "beste grüsse", "herzliche grüße", "herzliche grüsse", "schöne grüße", "besten gruß", "gruß", "gruss", "grüße", "grüsse", "lg", "vg", "mfg", "vielen dank", "danke", "besten dank", "vielen dank und viele grüße", "danke und viele grüße", "hochachtungsvoll", "bis bald", "mit besten grüßen", "mit herzlichen grüßen", "schönen gruß",
		"cordialement", "bien cordialement", "très cordialement", "cdt", "bien à vous", "bien à toi", "sincèrement", "salutations", "meilleures salutations", "sincères salutations", "amicalement", "merci", "merci d'avance", "merci beaucoup", "bonne journée", "à bientôt", "bises", "avec mes meilleures salutations",
		"saludos", "un saludo", "saludos cordiales", "cordiales saludos", "atentamente", "un cordial saludo", "gracias", "muchas gracias", "un abrazo", "saludos y gracias", "cordialmente", "salutacions",
		"cordiali saluti", "distinti saluti", "saluti", "un saluto", "un caro saluto", "grazie", "grazie mille", "a presto", "ciao", "buona giornata",
		"atenciosamente", "atentamente,", "cumprimentos", "com os melhores cumprimentos", "melhores cumprimentos", "abraço", "abraços", "um abraço", "obrigado", "obrigada", "att",
		"met vriendelijke groet", "met vriendelijke groeten", "vriendelijke groeten", "vriendelijke groet", "hartelijke groeten", "groeten", "groet", "mvg", "bedankt", "alvast bedankt", "dank je wel",
		"med vänliga hälsningar", "vänliga hälsningar", "mvh", "hälsningar", "tack", "tack på förhand", "med vennlig hilsen", "vennlig hilsen", "hilsen", "takk", "med venlig hilsen", "venlig hilsen", "mange hilsner", "tak", "på forhånd tak", "ystävällisin terveisin", "terveisin", "kiitos",
		"pozdrawiam", "z poważaniem", "serdecznie pozdrawiam", "pozdrowienia", "dziękuję", "s pozdravem", "děkuji", "s pozdravom", "ďakujem", "üdvözlettel", "köszönöm", "cu stimă", "mulțumesc", "lp", "lep pozdrav", "srdačan pozdrav", "hvala",
		"с уважением", "с наилучшими пожеланиями", "всего доброго", "спасибо", "заранее спасибо", "з повагою", "дякую", "поздрави", "saygılarımla", "iyi çalışmalar", "teşekkürler", "με εκτίμηση", "ευχαριστώ", "בברכה", "תודה", "مع أطيب التحيات", "تحياتي", "شكرا",
		"此致", "敬礼", "祝好", "谢谢", "謝謝", "顺颂商祺", "此致敬礼", "よろしくお願いします", "よろしくお願いいたします", "宜しくお願い致します", "敬具", "감사합니다", "trân trọng", "cảm ơn", "salam", "terima kasih", "hormat kami":
		return true
	}
	return false
}

// lines returns the tree as the lines that a reader sees.
func (n *node) lines() []line {
	var b lineBuilder
	b.walk(n, line{})
	b.end()
	return b.out
}

type lineBuilder struct {
	out  []line
	cur  line
	text strings.Builder
	any  bool
	cut  bool // the next line is where the original begins
}

func (b *lineBuilder) end() {
	if !b.any {
		return
	}
	b.cur.text = strings.Trim(b.text.String(), "\r\n\t")
	b.out = append(b.out, b.cur)
	b.text.Reset()
	b.cur, b.any = line{}, false
}

func (b *lineBuilder) leaf(n *node, ctx line) {
	if !b.any {
		b.cur = ctx
		b.cur.first, b.any = n.leaf, true
		if b.cut {
			b.cur.cut, b.cut = true, false
		}
	}
	b.cur.last = n.leaf
}

func (b *lineBuilder) walk(n *node, ctx line) {
	switch n.tag {
	case "":
		b.leaf(n, ctx)
		b.text.WriteString(n.text)
		return
	case "br":
		b.leaf(n, ctx)
		b.end()
		return
	case "img", "hr":
		if n.tag == "hr" {
			b.end()
			b.cut = b.cut || n.role() == roleCut
		}
		b.leaf(n, ctx)
		if n.tag == "img" { // counts as text
			b.text.WriteString("\ufffc")
		}
		if n.tag == "hr" {
			b.text.WriteString("---")
			b.end()
		}
		return
	}
	inner := ctx
	role := n.role()
	if role == roleQuote && n.tag == "div" && n.holdsQuote() {
		role = roleNone // answers may stand between the quotes in it
	}
	switch role {
	case roleQuote:
		if !n.forwards() {
			inner.quoted = true
		}
	case roleSignature:
		inner.sig = true
	case roleCut:
		b.end()
		b.cut = true
	case roleBlockquote:
		inner.soft = true
	}
	block := n.block() && n.tag != "td" && n.tag != "th" || inner != ctx
	if block {
		b.end()
	}
	for _, k := range n.kids {
		b.walk(k, inner)
	}
	switch {
	case block:
		b.end()
	case n.tag == "td" || n.tag == "th":
		b.text.WriteByte(' ')
	}
}

type role int

const (
	roleNone role = iota
	roleQuote
	roleBlockquote // of unknown purpose
	roleSignature
	roleCut // the original begins here and goes on after the element
)

// role knows the marks that clients set.
func (n *node) role() role {
	if len(n.attrs) == 0 {
		if n.tag == "blockquote" {
			return roleBlockquote
		}
		return roleNone
	}
	id, class, name := n.attr("id"), " "+n.attr("class")+" ", n.attr("name")
	if len(class) > 1000 || len(id) > 1000 {
		return roleNone
	}
	has := func(c string) bool { return strings.Contains(class, " "+c+" ") }
	switch {
	case n.tag == "blockquote" && (strings.EqualFold(n.attr("type"), "cite") || n.attr("cite") != ""), has("gmail_quote"), has("gmail_quote_container"), has("yahoo_quoted"), strings.HasPrefix(id, "yahoo_quoted"), strings.Contains(class, "yahoo_quoted"),
		has("protonmail_quote"), has("zmail_extra"), has("tutanota_quote"), has("moz-cite-prefix"), has("gmail_attr"), has("mailbird-quote"), has("front-blockquote"), has("iosymail"), has("mail-quote-collapse"), has("gmx_quote"), has("aol_quote"), has("freebirdsQuote"), has("ms-outlook-mobile-reference-message"),
		has("bloop_original_html"), has("spark_quote"), has("hey-quote"), has("missive_quote"), has("superhuman_quote"), has("OutlookMessageHeader") && n.tag == "blockquote", id == "isReplyContent", id == "mail-editor-reference-message-container", id == "reply-intro", id == "qt" && n.tag == "blockquote",
		name == "quote" && n.tag == "div", name == "messageReplySection", n.attr("data-marker") == "__QUOTED_TEXT__", n.attr("data-marker") == "__HEADERS__", n.attr("data-type") == "quote":
		return roleQuote
	case strings.HasSuffix(id, "divRplyFwdMsg"), strings.HasSuffix(id, "appendonsend"), id == "OLK_SRC_BODY_SECTION", id == "__replymessage", has("OutlookMessageHeader"), has("yahoo-quoted-begin"), has("WM-ORIGINAL"), id == "stopSpelling":
		return roleCut
	case has("gmail_signature"), n.attr("data-smartmail") == "gmail_signature", has("moz-signature"), id == "Signature", id == "signature", id == "x_Signature", id == "ms-outlook-mobile-signature", has("ms-outlook-mobile-signature"), has("protonmail_signature_block"), id == "AppleMailSignature", has("AppleMailSignature"), has("apple-mail-signature"),
		n.attr("data-marker") == "__SIG_PRE__", n.attr("data-marker") == "__SIG_POST__", name == "messageSignatureSection", has("elementToProof") && id == "Signature", has("tutanota_signature"), strings.Contains(class, "ydp") && strings.Contains(class, "signature"), id == "fm-signature", has("fm-signature"), has("signature") && n.tag != "table", has("mailbird-signature"), has("zoho_signature"), id == "Zm-_Id_-Sgn":
		return roleSignature
	case n.tag == "blockquote":
		return roleBlockquote
	}
	return roleNone
}

// forwards tells whether the beginning of a quote says that it is a forwarded message. It looks at a bounded number of
// nodes.
func (n *node) forwards() bool {
	budget := 12
	var find func(n *node) bool
	find = func(n *node) bool {
		for _, k := range n.kids {
			if budget--; budget < 0 {
				return false
			}
			if k.tag == "" && isForwardMark(normalLine(k.text)) || find(k) {
				return true
			}
		}
		return false
	}
	return find(n)
}

// holdsQuote tells whether an element has quotes of its own, each marked. It looks at a bounded number of nodes.
func (n *node) holdsQuote() bool {
	if c := n.attr("class"); !strings.Contains(c, "gmail_quote") && !strings.Contains(c, "protonmail_quote") {
		return false
	}
	budget := 100
	var find func(n *node) bool
	find = func(n *node) bool {
		for _, k := range n.kids {
			if budget--; budget < 0 {
				return false
			}
			if k.tag == "blockquote" && k.role() == roleQuote || find(k) {
				return true
			}
		}
		return false
	}
	return find(n)
}

// prune marks the leaves in drop and what is empty without them.
func (n *node) prune(drop map[int]bool) (gone bool) {
	if n.leaf > 0 && n.kids == nil {
		n.dropped = drop[n.leaf]
		return n.dropped
	}
	any, all := false, true
	for _, k := range n.kids {
		g := k.prune(drop)
		any = any || g
		all = all && (g || k.tag == "" && strings.TrimSpace(k.text) == "" || k.tag == "br")
	}
	if any && all && n.tag != "html" {
		n.dropped = true
	}
	return n.dropped
}

// htmlWriter writes a tree as HTML, without styles, scripts and everything that is not needed to read it.
type htmlWriter struct {
	o   CleanOptions
	out strings.Builder
}

func (w *htmlWriter) kids(n *node) {
	for _, k := range n.kids {
		w.node(k)
	}
}

func (w *htmlWriter) node(n *node) {
	if n.dropped {
		return
	}
	tag := n.tag
	switch tag {
	case "":
		w.out.WriteString(html.EscapeString(n.text))
		return
	case "img":
		switch src := n.attr("src"); {
		case w.o.IgnoreImages || src == "":
		case w.o.ImagesAsMarkdown:
			if !tiny(n) {
				w.out.WriteString(html.EscapeString("![" + oneLine(n.attr("alt")) + "](" + markdownURL(strings.TrimSpace(src)) + ")"))
			}
		default:
			w.open(n, tag)
		}
		return
	case "a":
		if w.o.IgnoreLinks {
			w.kids(n)
			return
		}
	case "table", "thead", "tbody", "tfoot", "caption", "colgroup", "col":
		if w.o.IgnoreTables {
			w.kids(n)
			return
		}
	case "tr":
		if w.o.IgnoreTables {
			tag = "div"
		}
	case "td", "th":
		if w.o.IgnoreTables {
			w.kids(n)
			w.out.WriteByte(' ')
			return
		}
	case "br", "hr":
		w.out.WriteString("<" + tag + ">")
		return
	case "b", "strong", "i", "em", "u", "s", "strike", "del", "ins", "sub", "sup", "small", "big", "code", "pre", "tt", "kbd", "samp", "blockquote", "p", "div", "ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "center", "q", "cite", "mark", "abbr", "bdi", "bdo", "ruby", "rt", "rp", "figure", "figcaption":
	default:
		if n.block() {
			tag = "div"
			break
		}
		w.kids(n)
		return
	}
	if (tag == "div" || tag == "p" || tag == "li") && n.empty() && len(n.kids) == 0 {
		return
	}
	w.open(n, tag)
	w.kids(n)
	w.out.WriteString("</" + tag + ">")
}

func (w *htmlWriter) open(n *node, tag string) {
	w.out.WriteString("<" + tag)
	for i := range n.attrs {
		a := &n.attrs[i]
		switch a.Key {
		case "dir", "lang", "alt", "title", "colspan", "rowspan", "start", "width", "height":
		case "href", "src":
			if !safeURL(a.Val) {
				continue
			}
		default:
			continue
		}
		w.out.WriteString(" " + a.Key + `="` + html.EscapeString(a.Val) + `"`)
	}
	w.out.WriteByte('>')
}

func safeURL(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, p := range []string{"http://", "https://", "mailto:", "tel:", "cid:", "data:image/"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
