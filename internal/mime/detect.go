package mime

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

const detectBytes = 64 << 10

// jisEscape begins Japanese characters in ISO-2022-JP; no text of another charset has it.
var jisEscape = []byte("\x1b$")

// repair converts bytes whose charset is unknown, missing or wrong. declaredUTF8 prefers UTF-8 with replacements.
func (t texts) repair(b []byte, declaredUTF8 bool) string {
	if t.noDetect {
		return string([]rune(string(b))) // U+FFFD for each bad byte
	}
	if bytes.Contains(b, jisEscape) && isASCII(b) {
		if out, err := japanese.ISO2022JP.NewDecoder().Bytes(b); err == nil && !bytes.Contains(out, []byte("\ufffd")) {
			return validUTF8(out)
		}
	}
	if len(b)%2 == 0 && (bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff"))) {
		if out, err := utf16LE.NewDecoder().Bytes(b); err == nil && !bytes.Contains(out, []byte("\ufffd")) {
			return validUTF8(out)
		}
	}
	b = joinSurrogates(b)
	if utf8.Valid(b) {
		return string(b)
	}
	if good, bad := utf8Score(b); good > bad || declaredUTF8 && good > 0 && bad <= 2 {
		return validUTF8(b)
	}
	if t.hint != "" && !isUTF8Name(t.hint) {
		if e := lookup(t.hint); e != nil {
			if out, err := e.NewDecoder().Bytes(b); err == nil && !bytes.Contains(out, []byte("\ufffd")) {
				return validUTF8(out)
			}
		}
	}
	if e := detect(b); e != nil {
		if out, err := e.NewDecoder().Bytes(b); err == nil {
			return validUTF8(out)
		}
	}
	return decodeCharmap(b, charmap.Windows1252)
}

// joinSurrogates makes one character of each pair of surrogates that programs which think in UTF-16 write as if they were two.
func joinSurrogates(b []byte) []byte {
	if !bytes.Contains(b, []byte{0xed}) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if i+6 <= len(b) && b[i] == 0xed && b[i+3] == 0xed && b[i+1]&0xf0 == 0xa0 && b[i+4]&0xf0 == 0xb0 && b[i+2]&0xc0 == 0x80 && b[i+5]&0xc0 == 0x80 {
			half := func(b []byte) rune { return 0xd000 | rune(b[1]&0x3f)<<6 | rune(b[2]&0x3f) }
			out = utf8.AppendRune(out, utf16.DecodeRune(half(b[i:]), half(b[i+3:])))
			i += 5
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// utf8Score counts multi-byte sequences and invalid bytes.
func utf8Score(b []byte) (good, bad int) {
	for i := 0; i < len(b); {
		if b[i] < 0x80 {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			bad++
		} else {
			good++
		}
		i += n
	}
	return good, bad
}

// detect picks the likeliest charset of text that is neither ASCII nor UTF-8: one of the East Asian multi-byte charsets
// if the characters lie where real text has them, Cyrillic if most letters are not ASCII, else nil.
func detect(b []byte) encoding.Encoding {
	if len(b) > detectBytes {
		b = b[:detectBytes]
	}
	var best encoding.Encoding
	bestRate := 54
	for _, c := range []struct {
		enc  encoding.Encoding
		rate func(lead, trail byte) int // of one character, in hundredths; lead alone when trail is 0
	}{
		{japanese.ShiftJIS, rateShiftJIS}, {japanese.EUCJP, rateEUCJP}, {korean.EUCKR, rateEUCKR},
		{simplifiedchinese.GBK, rateGBK}, {traditionalchinese.Big5, rateBig5},
	} {
		total, sum, wrong := 0, 0, 0
		for i := 0; i < len(b); i++ {
			if b[i] < 0x80 {
				continue
			}
			total++
			if c.enc == japanese.ShiftJIS && b[i] >= 0xa1 && b[i] <= 0xdf {
				sum += c.rate(b[i], 0)
				continue
			}
			if i+1 == len(b) || b[i+1] < 0x40 {
				wrong++
				continue
			}
			sum += c.rate(b[i], b[i+1])
			i++
		}
		if total < 2 || wrong > total/30 {
			continue
		}
		if rate := sum / total; rate > bestRate {
			best, bestRate = c.enc, rate
		}
	}
	if best != nil {
		return best
	}
	return detectCyrillic(b)
}

func rateShiftJIS(lead, trail byte) int {
	switch {
	case trail == 0: // half-width kana: what other charsets look like
		return -50
	case lead == 0x82 || lead == 0x83:
		return 130
	case lead == 0x81:
		return 90
	case lead >= 0x88 && lead <= 0x97:
		return 60
	}
	return -20
}

func rateEUCJP(lead, trail byte) int {
	switch {
	case trail < 0xa1:
		return -50
	case lead == 0xa4 || lead == 0xa5:
		return 130
	case lead == 0xa1:
		return 90
	case lead >= 0xb0 && lead <= 0xcf:
		return 60
	}
	return -20
}

func rateEUCKR(lead, trail byte) int {
	switch {
	case trail < 0xa1:
		return -50
	case lead >= 0xb0 && lead <= 0xc8:
		return 100
	case lead >= 0xa1 && lead <= 0xa3:
		return 60
	case lead >= 0xca:
		return 10
	}
	return -20
}

func rateGBK(lead, trail byte) int {
	switch {
	case trail < 0xa1:
		return -20
	case lead >= 0xb0 && lead <= 0xd7:
		return 80
	case lead == 0xa1 || lead == 0xa3:
		return 80
	case lead >= 0xd8 && lead <= 0xf7:
		return 20
	}
	return -20
}

func rateBig5(lead, _ byte) int {
	switch {
	case lead >= 0xa4 && lead <= 0xc6:
		return 75
	case lead >= 0xa1 && lead <= 0xa3:
		return 60
	}
	return -10
}

// detectCyrillic tells Windows-1251 from KOI8-R by where the lower-case letters are.
func detectCyrillic(b []byte) encoding.Encoding {
	ascii, upper, lower := 0, 0, 0 // ASCII letters, bytes 0xc0 to 0xdf, bytes 0xe0 to 0xff
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			ascii++
		case c >= 0xe0:
			lower++
		case c >= 0xc0:
			upper++
		}
	}
	if n := upper + lower; n < 4 || n < ascii*3/2 {
		return nil
	}
	if lower >= upper {
		return charmap.Windows1251
	}
	return charmap.KOI8R
}
