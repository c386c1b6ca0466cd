package mime

import (
	"strings"
	"unicode/utf8"
)

// DecodeHeader decodes the encoded words (RFC 2047) of an unstructured field such as Subject and returns valid UTF-8.
// Adjacent words of one charset are joined before they are decoded, as characters are often cut between words.
func DecodeHeader(raw string) string { return texts{}.decodeWords(unfold(raw)) }

// DecodeField is DecodeHeader for a field of this message: bytes that name no charset are read in that of its text first, as those of
// Subject are.
func (m *Message) DecodeField(raw string) string { return m.texts.decodeWords(unfold(raw)) }

// word is one encoded word in s: where it ends, and what it holds.
type word struct {
	charset string
	enc     byte // 'b' or 'q'
	text    string
	end     int
}

const maxCharsetName = 64

// parseWord reads the encoded word that begins at s[0:2] == "=?".
func parseWord(s string) (w word, ok bool) {
	i := strings.IndexByte(s[2:min(len(s), 2+maxCharsetName)], '?')
	if i <= 0 {
		return w, false
	}
	w.charset = s[2 : 2+i]
	if strings.ContainsAny(w.charset, " \t\"<>") {
		return w, false
	}
	p := 2 + i + 1
	if p+2 > len(s) || s[p+1] != '?' {
		return w, false
	}
	switch s[p] {
	case 'b', 'B':
		w.enc = 'b'
	case 'q', 'Q':
		w.enc = 'q'
	default:
		return w, false
	}
	p += 2
	j := strings.Index(s[p:], "?=")
	if j < 0 {
		return w, false
	}
	w.text = s[p : p+j]
	w.end = p + j + 2
	return w, true
}

// goOn makes a Q-encoded word longer that seems to end before an escape, as one does in which a question mark was not encoded:
// "=?utf-8?Q?Really?=20yes?=". s is where it begins.
func (w *word) goOn(s string) {
	for w.end+2 <= len(s) && unhex(s[w.end]) < 16 && unhex(s[w.end+1]) < 16 {
		i := w.end
		for i < len(s) && s[i] > ' ' && !strings.HasPrefix(s[i:], "=?") && !strings.HasPrefix(s[i:], "?=") {
			i++
		}
		if !strings.HasPrefix(s[i:], "?=") {
			return
		}
		w.text, w.end = s[w.end-2-len(w.text):i], i+2
	}
}

func (t texts) decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return t.plain(s)
	}
	var out strings.Builder
	out.Grow(len(s))
	var pend []byte // decoded bytes of adjacent words in charset
	charset := ""
	var b64dec base64Decoder
	flush := func() {
		if b64dec.n > 0 {
			pend = b64dec.flush(pend)
		}
		if len(pend) > 0 {
			u, _ := t.toUTF8(pend, charset)
			out.WriteString(u)
		}
		pend = pend[:0]
		charset = ""
	}
	last := strings.LastIndex(s, "?=")
	for len(s) > 0 {
		i := strings.Index(s, "=?")
		if i < 0 || i > last {
			break
		}
		w, ok := parseWord(s[i:])
		if !ok {
			flush()
			out.WriteString(t.plain(s[:i+2]))
			s, last = s[i+2:], last-i-2
			continue
		}
		if w.enc == 'q' && !t.noDetect {
			w.goOn(s[i:])
		}
		gap := s[:i]
		cs := charsetName(w.charset)
		if charset == "" || strings.Trim(gap, " \t\r\n") != "" || cs != charset {
			adjacent := charset != "" && strings.Trim(gap, " \t\r\n") == ""
			flush()
			if !adjacent {
				out.WriteString(t.plain(gap))
			}
		}
		charset = cs
		if w.enc == 'b' {
			// A text that ends within a group of four goes on in the next word.
			pend = b64dec.write(pend, []byte(w.text))
			if strings.HasSuffix(w.text, "=") {
				pend = b64dec.flush(pend)
			}
		} else {
			pend = b64dec.flush(pend)
			pend = decodeQ(pend, w.text)
		}
		s, last = s[i+w.end:], last-i-w.end
	}
	flush()
	out.WriteString(t.plain(s))
	return out.String()
}

// decodeQ undoes the Q encoding (RFC 2047 4.2).
func decodeQ(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			dst = append(dst, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// plain makes valid UTF-8 of header text outside encoded words.
func (t texts) plain(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 || s[i] == 0x1b {
			if s[i] != 0x1b && utf8.ValidString(s) {
				return s
			}
			return t.repair([]byte(s), false)
		}
	}
	return s
}
