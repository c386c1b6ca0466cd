package mime

import (
	"strings"
	"unicode"
)

// Subject is a subject taken apart for threading.
type Subject struct {
	Base  string // folded: lower case, one space between words, without prefixes, tags and "(was: …)"
	Was   string // the folded base of X in "(was: X)", or of what is named after a "re:" inside; "" if there is none
	Reply bool   // it has a prefix of a reply or forward, or "(was: …)"

	Series bool // it has a tag with a number and a total, such as "[PATCH 2/7]"
}

const maxSubject = 2000 // bytes of a subject that are looked at

// BaseSubject extracts the base subject (RFC 5256 2.1), and goes beyond it: prefixes in about forty languages,
// counters such as "Re[2]:", [tags] anywhere, "(was: …)". Its results are hashed into stored keys and must not change from one
// release to the next.
func BaseSubject(s string) Subject {
	if len(s) > maxSubject {
		s = strings.ToValidUTF8(s[:maxSubject], "")
	}
	var out Subject
	s = foldText(s)
	s, was := cutWas(s)
	if was != "" {
		out.Reply = true
		out.Was, _ = strip(was)
	}
	base, reply := strip(s)
	out.Base = base
	if was == "" {
		out.Was = inner(base)
	}
	out.Series = isSeries(s)
	out.Reply = out.Reply || reply
	return out
}

// foldText lowers the case and makes one space of all white space.
func foldText(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || r == 0xa0 || r < 0x20 || r == 0x7f:
			space = b.Len() > 0
			continue
		case r >= 0x200b && r <= 0x200f || r == 0xfeff || r == 0xad:
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		switch r {
		case '：': // full-width colon
			r = ':'
		case '［', '【':
			r = '['
		case '］', '】':
			r = ']'
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// cutWas splits "new (was: old)".
func cutWas(s string) (rest, was string) {
	for _, mark := range []string{"(was:", "[was:", "(was ", "[was ", "(war:", "[war:"} {
		i := strings.Index(s, mark)
		if i <= 0 {
			continue
		}
		was = s[i+len(mark):]
		end := byte(')')
		if mark[0] == '[' {
			end = ']'
		}
		tail := ""
		if j := strings.LastIndexByte(was, end); j >= 0 {
			was, tail = was[:j], was[j+1:]
		}
		if was = strings.TrimSpace(was); was == "" {
			continue
		}
		return strings.TrimSpace(s[:i] + tail), was
	}
	return s, ""
}

// inner returns the base of Y in "X re: Y" and "X (re: Y)". That is weaker than "(was: Y)", people write so of anything: it
// neither shortens the base nor declares a reply.
func inner(base string) string {
	for _, mark := range []string{"(re: ", "[re: ", " re: "} {
		if i := strings.LastIndex(base, mark); i > 0 {
			y, _ := strip(strings.TrimRight(base[i+len(mark):], ")]"))
			return y
		}
	}
	return ""
}

// strip removes prefixes, tags and trailers from a folded subject.
func strip(s string) (base string, reply bool) {
	for {
		before := len(s)
		s = strings.TrimSpace(s)
		if t, ok := strings.CutSuffix(s, "(fwd)"); ok {
			s, reply = t, true
			continue
		}
		if t, ok := cutPrefix(s); ok {
			s, reply = t, true
			continue
		}
		if strings.HasPrefix(s, "[fwd:") && strings.HasSuffix(s, "]") {
			s, reply = s[5:len(s)-1], true
			continue
		}
		if t, ok := cutTag(s); ok {
			s = t
			continue
		}
		if len(s) == before {
			break
		}
	}
	return innerTags(s), reply
}

// isSeries finds "3/7" in a tag.
func isSeries(s string) bool {
	in, digits := false, 0 // digits: 1 after a number, 2 after a number and a slash
	for i := range len(s) {
		switch c := s[i]; {
		case c == '[':
			in, digits = true, 0
		case c == ']':
			in = false
		case !in:
		case c >= '0' && c <= '9':
			if digits == 2 {
				return true
			}
			digits = 1
		case c == '/' && digits == 1:
			digits = 2
		default:
			digits = 0
		}
	}
	return false
}

// cutTag removes one leading [tag] unless nothing else is there.
func cutTag(s string) (string, bool) {
	if s == "" || s[0] != '[' {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] != ']' {
		return s, false
	}
	t := strings.TrimSpace(s[i+2:])
	return t, t != ""
}

// innerTags removes the [tags] within unless nothing else is there.
func innerTags(s string) string {
	if strings.IndexByte(s, '[') < 0 {
		return s
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		i := strings.IndexByte(rest, '[')
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		rest = rest[i:]
		j := strings.IndexAny(rest[1:], "[]")
		if j < 0 || rest[1+j] == '[' {
			b.WriteByte('[')
			rest = rest[1:]
			continue
		}
		rest = rest[j+2:]
	}
	if t := strings.Join(strings.Fields(b.String()), " "); t != "" {
		return t
	}
	return s
}

// cutPrefix removes one prefix such as "re:", "re[2]:", "aw :", "re [list]:".
func cutPrefix(s string) (string, bool) {
	colon := strings.IndexByte(s[:min(len(s), 120)], ':')
	if colon <= 0 {
		return s, false
	}
	p := strings.TrimSpace(s[:colon])
	if i := strings.IndexAny(p, "[(^*"); i > 0 { // a counter or a tag
		if c := p[len(p)-1]; p[i] == '[' && c != ']' || p[i] == '(' && c != ')' {
			return s, false
		}
		p = strings.TrimSpace(p[:i])
	}
	if !isReplyPrefix(p) {
		if p = strings.TrimRight(p, "0123456789"); !isReplyPrefix(p) { // "re2:"
			return s, false
		}
	}
	return s[colon+1:], true
}

// isReplyPrefix knows what mail programs put before the subject of replies and forwards.
func isReplyPrefix(p string) bool {
	switch p {
	case "re", "fw", "fwd", // English and most others
		"aw", "antw", "antwort", "wg", // German, Dutch
		"doorst", "doorgestuurd", "betr", "betreft", // Dutch
		"sv", "vs", "vb", "vl", "videres", "fs", // Scandinavian, Finnish, Icelandic
		"rif", "r", "i", "inoltra", // Italian
		"rv", "reenv", "rta", // Spanish
		"res", "resp", "enc", // Portuguese
		"ref", "réf", "ré", "rép", "tr", // French
		"odp", "pd", // Polish, Czech, Slovak
		"předáno",                        // Czech
		"odg", "prosl", "proslj", "posr", // Croatian, Bosnian, Serbian, Slovene
		"одг", "просл", "препр", // Serbian, Macedonian
		"răs",        // Romanian
		"ats", "prs", // Lithuanian
		"pārs",       // Latvian; its reply is that of the Welsh
		"ynt", "ilt", // Turkish
		"bls", "trs", // Indonesian
		"atb", "yml", // Welsh
		"továbbítás", "vá", // Hungarian
		"απ", "απάντηση", "σχετ", "πρθ", "προώθ", "προώθηση", // Greek
		"ответ", "отв", "на", "пересл", "fwd.", "re.", // Russian
		"від", "відп", "пер", // Ukrainian
		"адк",        // Belarusian
		"отг", "прп", // Bulgarian
		"回复", "回覆", "答复", "答覆", "转发", "轉寄", "轉發", // Chinese
		"返信", "転送", // Japanese
		"답장", "회신", "전달", // Korean
		"השב", "תשובה", "הועבר", // Hebrew
		"رد", "الرد", "إعادة توجيه", // Arabic
		"پاسخ",                               // Persian
		"trả lời", "chuyển tiếp", "tl", "ct", // Vietnamese
		"ตอบ", "ตอบกลับ", "ส่งต่อ": // Thai
		return true
	}
	return false
}
