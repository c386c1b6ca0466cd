package mime

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// line is one line of a text as a reader sees it, with what the markup says of it.
type line struct {
	text   string
	quoted bool // certainly quoted: ">" or the quote of a known client
	soft   bool // in a blockquote of unknown purpose
	sig    bool // a signature of a known client
	cut    bool // a known client puts the original from here on
	first  int  // leaves of the tree: first to last; 0 none
	last   int

	drop bool
	norm string // text with white space and emphasis normalised
}

const (
	maxAttribution      = 500 // bytes of the lines that introduce a quote
	maxAttributionLines = 4
	maxAttributionTries = 5000 // lines that may begin one
)

// markQuotes sets drop for quoted text and what introduces it. forward says that the message passes another one on:
// then what it passes on is not a quote. It looks a bounded number of lines around each, so the work is linear.
func markQuotes(lines []line, forward bool) {
	for i := range lines {
		lines[i].norm = normalLine(lines[i].text)
	}
	end := len(lines) // a forwarded message begins here and is kept
	for i := range lines {
		if isForwardMark(lines[i].norm) {
			end = i
			break
		}
	}
	tries, own := 0, false // own: there is text above that is not quoted
	for i := 0; i < end; i++ {
		if i > 0 && !lines[i-1].drop && lines[i-1].norm != "" {
			own = true
		}
		l := &lines[i]
		if forward && (!l.quoted && (l.cut || headerBlock(lines, i) || isOriginalMark(l.norm)) || l.quoted && (i == 0 || !lines[i-1].quoted) && quotedHeader(lines, i)) {
			return
		}
		switch {
		case l.quoted && !l.cut:
			l.drop = true
			if i == 0 || !lines[i-1].quoted {
				dropAttribution(lines, i, false)
			}
		case l.soft && (i == 0 || !lines[i-1].soft):
			if dropAttribution(lines, i, true) {
				for j := i; j < end && lines[j].soft; j++ {
					lines[j].quoted, lines[j].drop = true, true
				}
			}
		case l.norm == "":
		case l.cut, isOriginalMark(l.norm), headerBlock(lines, i):
			if answersBelow(lines[max(i-20, 0):i]) {
				return
			}
			dropFrom(lines, i, end)
			dropRuler(lines, i)
			return
		default:
			// An introduction without marks on what follows, as mobile clients write it.
			if tries > maxAttributionTries || !beginsAttribution(l.norm) {
				continue
			}
			tries++
			if n := attributionAt(lines, i, end); n > 0 {
				next := i + n
				for next < end && lines[next].norm == "" {
					next++
				}
				if next < end && !lines[next].quoted && !lines[next].soft && strongAttribution(lines, i, n) {
					if !own { // an answer below, to a quote that was cut out
						dropFrom(lines, i, i+n)
						i += n - 1
						continue
					}
					if !answersBelow(lines[max(i-20, 0):i]) {
						dropFrom(lines, i, end)
					}
					return
				}
			}
		}
	}
}

// quotedHeader tells whether the quote that begins at line i begins with the header of the original, if need be below a line that says so
// in whatever language: so Apple's programs forward.
func quotedHeader(lines []line, i int) bool {
	for n := 0; n < 2 && i < len(lines) && lines[i].quoted; i++ {
		unmarked := make([]line, 0, 10)
		for _, l := range lines[i:min(i+cap(unmarked), len(lines))] {
			unmarked = append(unmarked, line{norm: strings.TrimLeft(l.norm, "> ")})
		}
		if headerBlock(unmarked, 0) {
			return true
		}
		if unmarked[0].norm != "" {
			n++
		}
	}
	return false
}

func dropFrom(lines []line, from, end int) {
	for j := from; j < end; j++ {
		lines[j].drop = true
	}
}

// answersBelow tells whether the text above an original without marks says that answers stand within it. No mark tells these apart from
// it, so it stays as a whole.
func answersBelow(lines []line) bool {
	for i := range lines {
		if lines[i].drop || lines[i].norm == "" {
			continue
		}
		for _, w := range []string{"inline", "in-line", "in line below", "in red", "in blue", "in green", "in bold", "answers below", "answered below", "answer below", "comments below", "commented below", "replies below", "responses below", "in rot", "in blau", "in grün", "im text", "antworten unten", "kommentare unten", "en rouge", "en bleu", "en vert",
			"réponses ci-dessous", "dans le texte", "en rojo", "en azul", "en verde", "respuestas abajo", "em vermelho", "a vermelho", "em azul", "in rosso", "in blu", "in het rood", "in het blauw", "in de tekst", "i rött", "i blått", "med rødt", "punaisella", "na czerwono", "na niebiesko", "červeně", "красным", "синим", "kırmızı ile", "pirossal", "赤字", "红色", "빨간"} {
			if k := strings.Index(lines[i].norm, w); k >= 0 && (k == 0 || w[0] >= 0x80 || !isWordByte(lines[i].norm[k-1])) && (k+len(w) == len(lines[i].norm) || !isWordByte(lines[i].norm[k+len(w)])) {
				return true
			}
		}
	}
	return false
}

// dropRuler drops the line of underscores above a header block.
func dropRuler(lines []line, i int) {
	for j := i - 1; j >= 0 && j >= i-3; j-- {
		if t := lines[j].norm; t != "" {
			if strings.Trim(t, "_-=—– ") == "" {
				lines[j].drop = true
			}
			return
		}
	}
}

// dropAttribution drops the lines above i that introduce a quote; of dated ones only those with a date: "Kant wrote:" introduces what is no
// mail.
func dropAttribution(lines []line, i int, dated bool) bool {
	j := i - 1
	for j >= 0 && j >= i-4 && !lines[j].drop && (lines[j].norm == "" || isEllipsis(lines[j].norm)) {
		j--
	}
	if j < 0 {
		return false
	}
	joined := ""
	for n := 0; n < maxAttributionLines && j-n >= 0; n++ {
		l := &lines[j-n]
		if l.norm == "" || l.drop || l.quoted {
			return false
		}
		if joined = strings.TrimSpace(l.norm + " " + joined); len(joined) > maxAttribution {
			return false
		}
		if isAttribution(joined) {
			// The beginning may stand one line higher: "On Monday," / "Ann wrote:".
			if n+1 < maxAttributionLines && j-n-1 >= 0 {
				if up := &lines[j-n-1]; up.norm != "" && !up.drop && !isPlainSentence(up.norm) && len(up.norm)+len(joined) < maxAttribution && (beginsAttribution(up.norm) && !beginsAttribution(joined) || strings.IndexByte(up.norm, '@') > 0 && !strings.ContainsAny(joined, "0123456789@")) {
					n++
				}
			}
			if dated && countDigits(lines[j-n:j+1]) < 3 {
				return false
			}
			dropFrom(lines, j-n, i)
			return true
		}
	}
	return false
}

// isPlainSentence tells a line that is a sentence of its own from the beginning of an introduction, such as "On 2 Mar 2026 at 10 a.m.".
func isPlainSentence(s string) bool {
	return strings.IndexByte(".!?", s[len(s)-1]) >= 0 && !strings.ContainsAny(s, "0123456789@<")
}

// isEllipsis tells whether a line says that some of the quote is left out.
func isEllipsis(s string) bool {
	switch strings.Trim(s, "[](){}<>*-=_ ") {
	case "...", "…", "snip", "snipped", "cut", "schnipp", "gekürzt", "..":
		return true
	}
	return false
}

// attributionAt returns of how many lines from i on an introduction consists; 0 if there is none.
func attributionAt(lines []line, i, end int) int {
	joined := ""
	for n := 0; n < maxAttributionLines && i+n < end; n++ {
		l := &lines[i+n]
		if l.norm == "" || l.quoted {
			return 0
		}
		if joined = strings.TrimSpace(joined + " " + l.norm); len(joined) > maxAttribution {
			return 0
		}
		if isAttribution(joined) {
			return n + 1
		}
	}
	return 0
}

// strongAttribution wants an address, or a clock and a date, to take all that follows for quoted. Without an address it takes a name
// only: "he wrote the following:" introduces what the writer goes on to tell.
func strongAttribution(lines []line, i, n int) bool {
	joined, raw := "", ""
	for k := range n {
		joined += lines[i+k].norm + " "
		raw += lines[i+k].text + " "
	}
	digits := countDigits(lines[i : i+n])
	if digits >= 4 && strings.IndexByte(joined, '@') > 0 {
		return true
	}
	return digits >= 5 && strings.IndexByte(joined, ':') > 0 && !strings.Contains(joined, " said") && !goesOn(raw)
}

func countDigits(lines []line) (n int) {
	for i := range lines {
		for _, r := range lines[i].norm {
			if unicode.IsDigit(r) {
				n++
			}
		}
	}
	return n
}

// goesOn tells whether something else than a name stands behind the word for writing.
func goesOn(raw string) bool {
	low := strings.ToLower(raw)
	if len(low) != len(raw) {
		return false
	}
	end := 0 // of the last such word
	for _, w := range wrote {
		if i := strings.LastIndex(low, w); i >= 0 {
			end = max(end, i+len(w))
		}
	}
	r, _ := utf8.DecodeRuneInString(strings.TrimLeft(raw[end:], " \t\u00a0"))
	return unicode.IsLower(r)
}

// normalLine trims a line, joins its white space, and takes away the asterisks with which HTML's bold becomes text.
func normalLine(s string) string {
	if len(s) > 4*maxAttribution {
		s = s[:4*maxAttribution]
	}
	var room [128]byte // for most; longer ones grow out of it
	b := room[:0]
	blank := false // between what is in b and what comes
	for i := 0; i < len(s); {
		c, n := rune(s[i]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRuneInString(s[i:])
		}
		i += n
		if isSpacing(c) {
			blank = len(b) > 0
			continue
		}
		if blank {
			b, blank = append(b, ' '), false
		}
		switch {
		case c >= utf8.RuneSelf:
			b = utf8.AppendRune(b, unicode.ToLower(c))
		case 'A' <= c && c <= 'Z':
			b = append(b, byte(c)+'a'-'A')
		default:
			b = append(b, byte(c))
		}
	}
	if len(b) > 0 && b[0] == '*' {
		return strings.ReplaceAll(string(b), "*", "")
	}
	return string(b)
}

// isSpacing knows white space, and what is invisible.
func isSpacing(r rune) bool {
	switch r {
	case ' ', '\t', '\r', '\n', 0xa0, 0x202f, 0x200b, 0xfeff, 0x3000:
		return true
	}
	return r >= 0x200e && r <= 0x200f || r >= 0x202a && r <= 0x202e
}

// wrote are the words that end an introduction, in the languages of the usual clients.
var wrote = []string{
	"wrote", "writes", "said", "schrieb", "a écrit", "a ecrit", "écrit", "écrivait", "escribió", "escribio", "ha scritto", "scrive", "escreveu", "schreef", "skrev", "kirjoitti", "napisał", "napisała", "napisał(a)", "pisze",
	"napsal", "napsal(a)", "napísal", "napísal(a)", "пишет", "написал", "написал(а)", "написала", "писал", "пише", "написав", "написав(ла)", "написа", "yazdı", "şunları yazdı", "írta", "ezt írta", "a scris", "έγραψε", "כתב", "כתבה", "מאת", "كتب", "تمت كتابة ما يلي بواسطة", "نوشت",
	"写道", "寫道", "写到", "來信", "撰写", "のメール", "書きました", "書いた", "wrote", "작성", "썼습니다", "đã viết", "menulis", "เขียนว่า", "เขียน", "va escriure", "je napisao", "je napisala", "je napisao/la", "је написао", "napisao", "kirjutas", "rašė", "parašė", "rakstīja", "je napisal", "je napisal/a", "a scris", "skrifaði", "idatzi zuen", "escribiu", "shkroi", "ने लिखा", "लिखा",
}

// beginWords begin an introduction.
var beginWords = []string{
	"on ", "at ", "am ", "le ", "el ", "il ", "in data ", "il giorno ", "em ", "a ", "op ", "den ", "d. ", "på ", "w dniu ", "dnia ", "dne ", "dňa ", "ke ", "ma ", "ti ", "to ", "pe ", "la ", "su ", "la data ", "în ", "στις ", "ב-", "בתאריך ", "في ", "در ", "在 ", "在", "于", "於", "vào ", "pada ", "เมื่อ", "el dia ", "dana ", "дана ", "на ", "вкл ", "kell ",
	"mon", "tue", "wed", "thu", "fri", "sat", "sun", "pon", "wt", "śr", "czw", "pt", "sob", "niedz", "пн", "вт", "ср", "чт", "пт", "сб", "вс", "понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье", "lun", "mar", "mer", "jeu", "ven", "sam", "dim", "20", "19",
}

// beginsWith are beginWords by their first byte: every line of every message is looked at.
var beginsWith = func() (by [256][]string) {
	for _, w := range beginWords {
		by[w[0]] = append(by[w[0]], w)
	}
	return by
}()

func beginsAttribution(s string) bool {
	if s == "" {
		return false
	}
	if s[0] >= '0' && s[0] <= '9' {
		return true
	}
	for _, w := range beginsWith[s[0]] {
		if strings.HasPrefix(s, w) {
			return true
		}
	}
	return false
}

// isAttribution tells whether s (normalised) introduces a quote: it ends in a colon or in the word for writing, has
// that word, and names a day or an address.
func isAttribution(s string) bool {
	if len(s) < 6 || len(s) > maxAttribution {
		return false
	}
	head := strings.TrimRight(s, " .…")
	colon := strings.HasSuffix(head, ":") || strings.HasSuffix(head, "：")
	if !colon && s[len(s)-1] < 0x80 {
		return false
	}
	if colon && strings.HasSuffix(strings.TrimRight(head, " :："), ">") && strings.IndexByte(s, '@') > 0 && beginsAttribution(s) && hasMoment(s) {
		return true // "2026年3月2日(月) 10:11 Ann <ann@example.net>:"
	}
	named := strings.ContainsAny(s, "0123456789@<")
	for _, w := range wrote {
		i := strings.LastIndex(s, w)
		if i < 0 || i > 0 && w[0] < 0x80 && isWordByte(s[i-1]) {
			continue
		}
		rest := s[i+len(w):]
		if rest != "" && w[len(w)-1] < 0x80 && isWordByte(rest[0]) {
			continue
		}
		tail := strings.Trim(rest, " :：.…")
		switch {
		case colon && named && len(tail) < 200:
			return true
		case tail == "" && colon && utf8.RuneCountInString(s) < 80: // "Ann wrote:"
			return true
		case tail == "" && named && w[0] >= 0x80 && rest != "":
			return true
		}
	}
	return false
}

// hasMoment tells whether s may name a day with its year, and a time.
func hasMoment(s string) bool {
	digits, clock := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == ':' && i > 0 && i+1 < len(s):
			clock = clock || s[i-1] >= '0' && s[i-1] <= '9' && s[i+1] >= '0' && s[i+1] <= '9'
		}
	}
	return clock && digits >= 8
}

// isOriginalMark knows the lines that stand above the original in a reply.
func isOriginalMark(s string) bool {
	t := strings.Trim(s, "-_=—–# ")
	if len(t) == len(s) || len(s)-len(t) < 4 {
		return false
	}
	switch strings.TrimSuffix(t, ":") {
	case "original message", "original appointment", "ursprüngliche nachricht", "urspr. nachricht", "ursprungliche nachricht", "originalnachricht", "originalmail", "message d'origine", "message d’origine", "message original", "message initial",
		"mensaje original", "messaggio originale", "messaggio originario", "mensagem original", "oorspronkelijk bericht", "origineel bericht", "oorspronkelijke bericht", "ursprungligt meddelande", "originalmeddelande", "oprindelig meddelelse", "original besked",
		"opprinnelig melding", "alkuperäinen viesti", "oryginalna wiadomość", "wiadomość oryginalna", "treść oryginalnej wiadomości", "původní zpráva", "pôvodná správa", "исходное сообщение", "пересылаемое сообщение", "оригинальное сообщение", "оригінальне повідомлення",
		"orijinal mesaj", "özgün ileti", "eredeti üzenet", "mesaj original", "αρχικό μήνυμα", "הודעה מקורית", "الرسالة الأصلية", "原始邮件", "原邮件", "原始郵件", "原始信件", "元のメッセージ", "오리지널 메시지", "원본 메시지", "원본 메일", "thư gốc", "pesan asli", "missatge original", "izvorna poruka", "reply message", "antwort nachricht", "回复的原邮件", "回复的邮件", "original email", "reply above this line", "please type your reply above this line", "please reply above this line":
		return true
	}
	return false
}

// isForwardMark knows the lines above a forwarded message.
func isForwardMark(s string) bool {
	t := strings.Trim(s, "->_=—–*# ")
	switch strings.TrimRight(t, ":：. ") {
	case "begin forwarded message", "anfang der weitergeleiteten nachricht", "début du message réexpédié", "début du message transféré", "inicio del mensaje reenviado", "inizio messaggio inoltrato", "início da mensagem reencaminhada",
		"begin doorgestuurd bericht", "vidarebefordrat brev", "start på videresendt besked", "転送されたメッセージ", "下面是被转发的邮件", "пересылаемое сообщение начало":
		return true
	}
	if len(t) == len(s) || len(s)-len(t) < 6 {
		return false
	}
	for _, w := range []string{"forwarded message", "forwarded by", "weitergeleitete nachricht", "message transféré", "message transmis", "mensaje reenviado", "messaggio inoltrato", "mensagem encaminhada", "mensagem reencaminhada", "doorgestuurd bericht",
		"vidarebefordrat meddelande", "videresendt", "videresendt melding", "edelleenlähetetty viesti", "przekazana wiadomość", "wiadomość przekazana", "přeposlaná zpráva", "preposlaná správa", "пересылаемое сообщение", "пересланное сообщение", "переслане повідомлення",
		"iletilen mesaj", "yönlendirilmiş ileti", "továbbított üzenet", "mesaj redirecționat", "προωθημένο μήνυμα", "הודעה שהועברה", "رسالة معاد توجيهها", "转发的邮件", "转发邮件", "轉寄郵件", "転送メッセージ", "전달된 메시지", "전달된 메일", "thư được chuyển tiếp", "pesan terusan", "missatge reenviat", "proslijeđena poruka"} {
		if strings.HasPrefix(t, w) {
			return true
		}
	}
	return false
}

// labels are the names of header fields above an original, by field: 1 From, 2 Sent, 3 To or Cc, 4 Subject.
var labels = map[string]int{
	"from": 1, "von": 1, "de": 1, "da": 1, "van": 1, "från": 1, "fra": 1, "lähettäjä": 1, "od": 1, "от": 1, "от кого": 1, "від": 1, "kimden": 1, "gönderen": 1, "feladó": 1, "de la": 1, "expediteur": 1, "expéditeur": 1, "remitente": 1, "mittente": 1, "remetente": 1, "afzender": 1, "nadawca": 1, "odesílatel": 1, "odesilatel": 1, "odosielateľ": 1,
	"από": 1, "מאת": 1, "من": 1, "发件人": 1, "發件人": 1, "寄件者": 1, "寄件人": 1, "差出人": 1, "보낸 사람": 1, "보낸사람": 1, "từ": 1, "người gửi": 1, "dari": 1, "จาก": 1, "absender": 1, "šalje": 1, "отправитель": 1,
	"sent": 2, "date": 2, "gesendet": 2, "datum": 2, "gesendet am": 2, "envoyé": 2, "envoyé le": 2, "envoyé de": 0, "fecha": 2, "enviado": 2, "enviado el": 2, "enviada": 2, "enviado em": 2, "enviada em": 2, "data": 2, "inviato": 2, "verzonden": 2, "skickat": 2, "dato": 2, "sendt": 2, "lähetetty": 2, "päivämäärä": 2, "päiväys": 2, "wysłano": 2, "wysłane": 2, "odesláno": 2, "odoslané": 2, "dátum": 2,
	"отправлено": 2, "дата": 2, "надіслано": 2, "tarih": 2, "gönderildi": 2, "gönderilme tarihi": 2, "elküldve": 2, "trimis": 2, "ημερομηνία": 2, "στάλθηκε": 2, "נשלח": 2, "תאריך": 2, "تاريخ الإرسال": 2, "发送时间": 2, "發送時間": 2, "寄件日期": 2, "日期": 2, "时间": 2, "日付": 2, "送信日時": 2, "보낸 날짜": 2, "날짜": 2, "đã gửi": 2, "ngày": 2, "dikirim": 2, "tanggal": 2, "ส่ง": 2, "poslano": 2, "poslato": 2,
	"to": 3, "an": 3, "à": 3, "para": 3, "a": 3, "aan": 3, "till": 3, "til": 3, "vastaanottaja": 3, "do": 3, "komu": 3, "pre": 3, "кому": 3, "kime": 3, "alıcı": 3, "címzett": 3, "către": 3, "catre": 3, "προς": 3, "אל": 3, "إلى": 3, "收件人": 3, "收件者": 3, "宛先": 3, "받는 사람": 3, "받는사람": 3, "đến": 3, "tới": 3, "kepada": 3, "ถึง": 3, "za": 3, "empfänger": 3, "destinataire": 3, "destinatario": 3, "cc": 3, "kopie": 3, "copie": 3, "копия": 3,
	"subject": 4, "betreff": 4, "objet": 4, "asunto": 4, "assunto": 4, "oggetto": 4, "onderwerp": 4, "ämne": 4, "emne": 4, "aihe": 4, "temat": 4, "předmět": 4, "predmet": 4, "тема": 4, "konu": 4, "tárgy": 4, "subiect": 4, "θέμα": 4, "נושא": 4, "الموضوع": 4, "主题": 4, "主題": 4, "主旨": 4, "件名": 4, "제목": 4, "chủ đề": 4, "subjek": 4, "perihal": 4, "เรื่อง": 4, "assumpte": 4, "naslov": 4, "betr.": 4, "betr": 4,
}

// label returns which field a line of a header block is, 0 for none.
func label(s string) int {
	i := strings.IndexByte(s, ':')
	if j := strings.Index(s, "："); j >= 0 && (i < 0 || j < i) {
		i = j
	}
	if i <= 0 || i > 40 {
		return 0
	}
	return labels[strings.TrimSpace(s[:i])]
}

// headerBlock tells whether the header of an original begins at line i: From, and two of date, recipient and subject
// within the next lines. Without a subject it takes an address: a journey is from, to, and on a date as well.
func headerBlock(lines []line, i int) bool {
	first := label(lines[i].norm)
	if first != 1 && first != 2 && first != 4 {
		return false
	}
	var seen [5]bool
	kinds, address := 0, false
	for j := i; j < len(lines) && j < i+10; j++ {
		if lines[j].norm == "" {
			if kinds >= 3 || j > i+1 && kinds < 2 {
				break
			}
			continue
		}
		if k := label(lines[j].norm); k > 0 && !seen[k] {
			seen[k] = true
			kinds++
			address = address || strings.IndexByte(lines[j].norm, '@') > 0
		}
	}
	return seen[1] && kinds >= 3 && (seen[4] || address)
}
