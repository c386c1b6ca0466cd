package query

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold removes the differences of case and form: compatibility decomposition, except for Hangul, which becomes syllables, and
// simple lower case (much as RFC 5051 compares). Marks stay. Line ends become "\n".
func Fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(lineEnds(s))
	}
	s = lineEnds(strings.ToValidUTF8(s, "\uFFFD"))
	b := make([]byte, 0, len(s)+len(s)/8)
	for i := 0; i < len(s); { // no character joins with an ASCII one: runs of those need no table
		if c := s[i]; c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
			i++
			continue
		}
		end := wideEnd(s, i)
		b = foldWide(b, s[i:end])
		i = end
	}
	return string(b)
}

// wideEnd returns where the characters that are not ASCII end that begin at i.
func wideEnd(s string, i int) int {
	for i < len(s) && s[i] >= utf8.RuneSelf {
		i++
	}
	return i
}

// foldWide appends a run of characters that are not ASCII.
func foldWide(b []byte, s string) []byte {
	if strings.ContainsFunc(s, isJamo) { // syllables in letters, as macOS writes them in file names
		s = norm.NFC.String(s)
	}
	for len(s) > 0 {
		i := strings.IndexFunc(s, isSyllable)
		if i != 0 {
			part := s
			if i > 0 {
				part = s[:i]
			}
			for _, r := range norm.NFKD.String(part) {
				b = utf8.AppendRune(b, lower(r))
			}
			if i < 0 {
				break
			}
			s = s[i:]
		}
		end := strings.IndexFunc(s, func(r rune) bool { return !isSyllable(r) })
		if end < 0 {
			end = len(s)
		}
		b = append(b, s[:end]...)
		s = s[end:]
	}
	return b
}

func lower(r rune) rune {
	if r == 'ς' {
		return 'σ'
	}
	return unicode.ToLower(r)
}

func isJamo(r rune) bool { return r >= 0x1100 && r <= 0x11ff }

func isSyllable(r rune) bool { return r >= 0xac00 && r <= 0xd7a3 }

func lineEnds(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Strip takes the accents off a folded text, character by character: the result for a piece of a text is a piece of the
// result.
func Strip(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		from := i
		for i < len(s) && s[i] < utf8.RuneSelf {
			i++
		}
		b.WriteString(s[from:i])
		end := wideEnd(s, i)
		for _, r := range s[i:end] {
			if isAccent(r) {
				continue
			}
			if l := letters(r); l != "" {
				b.WriteString(l)
			} else {
				b.WriteRune(r)
			}
		}
		i = end
	}
	return b.String()
}

// isAccent knows the marks that people leave out: of Latin, Greek and Cyrillic letters, the points of Hebrew and the vowels
// of Arabic; and what nobody sees. In other scripts marks are letters of their own.
func isAccent(r rune) bool {
	switch {
	case r < 0x300:
		return r == 0xad
	case r <= 0x36f, r >= 0x1ab0 && r <= 0x1aff, r >= 0x1dc0 && r <= 0x1dff, r >= 0x20d0 && r <= 0x20ff, r >= 0xfe20 && r <= 0xfe2f:
		return true
	case r >= 0x591 && r <= 0x5c7:
		return unicode.Is(unicode.Mn, r)
	case r >= 0x610 && r <= 0x61a, r >= 0x64b && r <= 0x65f, r == 0x670, r == 0x640:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2060 && r <= 0x2064, r == 0xfeff: // nothing to see
		return true
	case r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef: // which form of a sign: of emoji, of Han characters in names
		return true
	}
	return false
}

// letters are those that have an accent in all but the decomposition, and those that are one in two forms.
func letters(r rune) string {
	if r >= 0x660 && r <= 0x6f9 && unicode.Is(unicode.Nd, r) { // digits of Arabic and Persian
		return string('0' + r&0xf)
	}
	switch r {
	case 'ß':
		return "ss"
	case 'ø':
		return "o"
	case 'ł':
		return "l"
	case 'đ', 'ð':
		return "d"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'ı':
		return "i"
	case 'þ':
		return "th"
	case 'ħ':
		return "h"
	case 'ی', 'ى': // Persian and final forms, which keyboards and programs write for each other
		return "ي"
	case 'ک':
		return "ك"
	case 0x2bb, 0x2bc: // an apostrophe that counts as a letter
		return "'"
	}
	return ""
}

// class says what a character is to words.
type class uint8

const (
	gap    class = iota // between words
	letter              // of a word
	sign                // of a script without spaces, or a symbol: every two neighbours are looked up together
)

func classOf(r rune) class {
	if r < utf8.RuneSelf {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return letter
		}
		return gap
	}
	switch {
	case r < 0xe00:
		if unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) {
			return letter
		}
	case isSyllable(r), r == 0x3099, r == 0x309a, r == 0x30fc,
		unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
		return sign
	case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
		return letter
	}
	if unicode.Is(unicode.So, r) || unicode.Is(unicode.Sc, r) {
		return sign
	}
	return gap
}

// MaxTerm is the length in bytes at which an index term is cut off.
const MaxTerm = 64

// longTerm stands beside every term that was cut off.
const longTerm = "\x01"

func cutTerm(s string) string {
	if len(s) <= MaxTerm {
		return s
	}
	n := MaxTerm
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Terms calls emit with each index term of a folded and stripped text, as often as it occurs: words, cut off at MaxTerm
// bytes, and of runs of signs every two neighbours and the last one alone. Terms hold no zero bytes.
func Terms(plain string, emit func(term string)) {
	for i := 0; i < len(plain); {
		r, n := rune(plain[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(plain[i:])
		}
		switch classOf(r) {
		case gap:
			i += n
		case letter:
			end := runEnd(plain, i+n, letter)
			emit(cutTerm(plain[i:end]))
			if end-i > MaxTerm {
				emit(longTerm)
			}
			i = end
		case sign:
			end := runEnd(plain, i+n, sign)
			for i+n < end {
				_, next := utf8.DecodeRuneInString(plain[i+n:])
				emit(plain[i : i+n+next])
				i, n = i+n, next
			}
			emit(plain[i:end])
			i = end
		}
	}
}

func runEnd(s string, i int, c class) int {
	for i < len(s) {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if classOf(r) != c {
			break
		}
		i += n
	}
	return i
}

// piece is a run of one class in what a query asks for. An open side may go on in the message.
type piece struct {
	text        string
	sign        bool
	left, right bool // open
}

// cut splits a stripped text into its runs of letters and signs.
func cut(plain string, left, right bool) []piece {
	var out []piece
	for i := 0; i < len(plain); {
		r, n := utf8.DecodeRuneInString(plain[i:])
		c := classOf(r)
		if c == gap {
			i += n
			continue
		}
		end := runEnd(plain, i+n, c)
		out = append(out, piece{text: plain[i:end], sign: c == sign, left: left && i == 0, right: right && end == len(plain)})
		i = end
	}
	return out
}
