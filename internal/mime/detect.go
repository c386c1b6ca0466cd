package mime

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

const detectBytes = 64 << 10

// repair converts bytes whose charset is unknown, missing or wrong. lossy prefers UTF-8 with replacements when most of
// it is UTF-8.
func repair(b []byte, lossy bool) (string, bool) {
	if bytes.Contains(b, []byte("\x1b$")) && isASCII(b) {
		if out, err := japanese.ISO2022JP.NewDecoder().Bytes(b); err == nil && !bytes.Contains(out, []byte("\ufffd")) {
			return validUTF8(out), true
		}
	}
	if utf8.Valid(b) {
		return string(b), true
	}
	good, bad := utf8Score(b)
	if good > bad || lossy && bad <= 2 && good > 0 {
		return validUTF8(b), true
	}
	if e := detect(b); e != nil {
		if out, err := e.NewDecoder().Bytes(b); err == nil {
			return validUTF8(out), true
		}
	}
	return decodeCharmap(b, charmap.Windows1252), true
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

// detect picks the likeliest of the East Asian multi-byte charsets by how much of the text lies in the rows that real
// text uses. It returns nil when none of them decodes the bytes cleanly; then a single-byte charset is assumed.
func detect(b []byte) encoding.Encoding {
	if len(b) > detectBytes {
		b = b[:detectBytes]
	}
	type candidate struct {
		enc  encoding.Encoding
		rate func(r rune) int // in hundredths
	}
	var best encoding.Encoding
	bestRate := 0
	for _, c := range []candidate{
		{japanese.ShiftJIS, rateJapanese}, {japanese.EUCJP, rateJapanese},
		{simplifiedchinese.GBK, rateChinese}, {traditionalchinese.Big5, rateChinese}, {korean.EUCKR, rateKorean},
	} {
		out, err := c.enc.NewDecoder().Bytes(b)
		if err != nil {
			continue
		}
		total, sum, wrong := 0, 0, 0
		for _, r := range string(out) {
			switch {
			case r == utf8.RuneError:
				wrong++
			case r >= 0x80:
				total++
				sum += c.rate(r)
			}
		}
		if total < 2 || wrong > total/50 {
			continue
		}
		if rate := sum / total; rate > bestRate && rate >= 50 {
			best, bestRate = c.enc, rate
		}
	}
	return best
}

func rateJapanese(r rune) int {
	switch {
	case r >= 0x3040 && r <= 0x30ff: // kana
		return 130
	case r >= 0xff61 && r <= 0xff9f: // half-width kana: what random bytes look like
		return -50
	case r >= 0x4e00 && r <= 0x9fff:
		return 60
	case r >= 0x3000 && r <= 0x303f, r >= 0xff00 && r <= 0xff60:
		return 90
	}
	return -20
}

func rateChinese(r rune) int {
	switch {
	case r >= 0x4e00 && r <= 0x9fff:
		return 70
	case r >= 0x3000 && r <= 0x303f, r >= 0xff00 && r <= 0xff60:
		return 90
	}
	return -20
}

func rateKorean(r rune) int {
	switch {
	case r >= 0xac00 && r <= 0xd7a3:
		return 100
	case r >= 0x3000 && r <= 0x303f, r >= 0xff00 && r <= 0xff60:
		return 60
	case r >= 0x4e00 && r <= 0x9fff:
		return 30
	}
	return -20
}
