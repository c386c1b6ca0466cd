package mime

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// charsetName brings a declared charset into a normal form: lower case, no quotes, no RFC 2231 language.
func charsetName(s string) string {
	s = strings.ToLower(strings.Trim(s, " \t\r\n\"'\\;,<>"))
	if i := strings.IndexByte(s, '*'); i >= 0 {
		s = s[:i]
	}
	s = strings.TrimPrefix(s, "charset=")
	return strings.TrimPrefix(s, "3d")
}

// alias names charsets that neither the WHATWG index nor IANA's knows, or that they take for something else.
func alias(name string) encoding.Encoding {
	switch name {
	case "iso8859-1", "latin-1", "iso-latin-1", "iso_8859_1", "8859-1", "iso-8859", "iso-8859-1-windows-3.1-latin-1", "cp-1252",
		"windows1252", "win-1252", "win1252", "ansi", "x-ansi", "en_us", "iso-8859-1 ", "windows-125", "x-user-defined",
		"iso-8859-8859-1", "iso_8859-1:1987", "x-roman8", "western":
		return charmap.Windows1252
	case "iso-8859-15", "iso8859-15", "iso_8859_15", "latin-9", "latin9", "latin0":
		return charmap.ISO8859_15
	case "iso-8859-8-i", "iso-8859-8i", "iso-8859-8-e":
		return charmap.ISO8859_8
	case "win-1251", "win1251", "windows1251", "cp-1251", "ansi-1251", "cyrillic (windows-1251)":
		return charmap.Windows1251
	case "win-1250", "windows1250", "cp-1250":
		return charmap.Windows1250
	case "koi8", "koi8-ru":
		return charmap.KOI8R
	case "cp437", "ibm437", "437":
		return charmap.CodePage437
	case "cp850", "ibm850", "850":
		return charmap.CodePage850
	case "cp852", "ibm852", "852":
		return charmap.CodePage852
	case "cp855", "ibm855":
		return charmap.CodePage855
	case "cp858", "ibm00858":
		return charmap.CodePage858
	case "cp860", "ibm860":
		return charmap.CodePage860
	case "cp862", "ibm862":
		return charmap.CodePage862
	case "cp863", "ibm863":
		return charmap.CodePage863
	case "cp865", "ibm865":
		return charmap.CodePage865
	case "cp866", "ibm866", "866":
		return charmap.CodePage866
	case "cp037", "ibm037":
		return charmap.CodePage037
	case "cp1047":
		return charmap.CodePage1047
	case "macroman", "mac-roman", "macintosh", "x-mac-roman", "mac":
		return charmap.Macintosh
	case "x-mac-cyrillic", "mac-cyrillic", "maccyrillic", "x-mac-ukrainian":
		return charmap.MacintoshCyrillic
	case "cp874", "tis620", "tis-620-2533", "windows874", "iso-8859-11":
		return charmap.Windows874
	case "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3", "iso-2022-jp-ms", "cp50220", "cp50221", "cp50222", "x-windows-50221", "jis":
		return japanese.ISO2022JP
	case "sjis", "shift-jis", "shiftjis", "x-sjis", "cp932", "ms932", "ms_kanji", "windows-31j", "x-ms-cp932", "x-shift-jis", "cp943":
		return japanese.ShiftJIS
	case "euc_jp", "eucjp", "eucjp-ms", "euc-jp-ms", "x-euc", "ujis", "x-eucjp":
		return japanese.EUCJP
	case "cp949", "ms949", "uhc", "x-windows-949", "windows-949", "euckr", "euc_kr", "ksc5601", "ks_c_5601", "korean", "ks_c_5601-1989":
		return korean.EUCKR
	case "cp936", "ms936", "windows-936", "gb_2312", "gb2312-80", "x-gbk", "euc-cn", "euccn", "eucgb2312", "gb2312_charset", "hz-gb", "x-euc-cn", "csgb2312":
		return simplifiedchinese.GBK
	case "gb18030-2000", "gb-18030", "gb-18030-2000", "gb18030":
		return simplifiedchinese.GB18030
	case "hz", "hz-gb-2312":
		return simplifiedchinese.HZGB2312
	case "cp950", "ms950", "windows-950", "big-5", "big5hkscs", "big5-hkscs", "big5-eten", "x-big5", "chinesebig5", "big5-2003":
		return traditionalchinese.Big5
	case "utf-16":
		return utf16BE
	case "utf-16be", "ucs-2", "iso-10646-ucs-2", "unicode", "ucs-2be":
		return utf16BE
	case "utf-16le", "ucs-2le", "unicodelittle":
		return utf16LE
	case "utf-32", "utf-32be", "ucs-4", "iso-10646-ucs-4":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	case "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)
	}
	return nil
}

// lookup returns the encoding of a normalised charset name, nil for an unknown one, for UTF-8 and for ASCII.
func lookup(name string) encoding.Encoding {
	if e := alias(name); e != nil {
		return e
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement {
		if e, err = ianaindex.MIME.Encoding(name); err != nil || e == nil {
			return nil
		}
	}
	if e == unicode.UTF8 {
		return nil
	}
	return e
}

var (
	utf16BE = unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	utf16LE = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
)

// utf16Order returns the byte order of UTF-16 as where its zero bytes are tells, for what that is declared of is often wrong or
// nothing; nil if e is not UTF-16, or they tell nothing.
func utf16Order(e encoding.Encoding, b []byte) encoding.Encoding {
	if e != utf16BE && e != utf16LE || len(b) < 2 || b[0] >= 0xfe && b[1] >= 0xfe {
		return nil
	}
	var zeros [2]int
	for i, c := range b {
		if c == 0 {
			zeros[i&1]++
		}
	}
	switch {
	case zeros[0] > zeros[1]:
		return utf16BE
	case zeros[1] > zeros[0]:
		return utf16LE
	}
	return nil
}

// metaCharset returns what HTML says of its charset itself; "" if nothing usable stands near its beginning.
func metaCharset(b []byte) string {
	b = bytes.ToLower(b[:min(len(b), 4<<10)])
	for {
		_, rest, ok := bytes.Cut(b, []byte("<meta"))
		if !ok {
			return ""
		}
		tag, _, _ := bytes.Cut(rest, []byte(">"))
		if _, v, ok := bytes.Cut(tag, []byte("charset")); ok {
			v = bytes.TrimLeft(v, " \t\r\n")
			if v, ok = bytes.CutPrefix(v, []byte("=")); ok {
				v = bytes.TrimLeft(v, " \t\r\n\"'")
				if i := bytes.IndexAny(v, " \t\r\n\"';/"); i >= 0 {
					v = v[:i]
				}
				return charsetName(string(v))
			}
		}
		b = rest
	}
}

func isUTF8Name(name string) bool {
	switch name {
	case "utf-8", "utf8", "uft-8", "utf_8", "utf-8-sig", "utf-8n", "x-utf-8", "unicode-1-1-utf-8", "unicode-2-0-utf-8", "utf", "ut-8", "utf 8":
		return true
	}
	return false
}

func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if (uint64(b[0])|uint64(b[1])|uint64(b[2])|uint64(b[3])|uint64(b[4])|uint64(b[5])|uint64(b[6])|uint64(b[7]))&0x80 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// texts turns bytes into text.
type texts struct {
	noDetect bool   // Options.NoDetect
	hint     string // charset to try first for bytes without one: that of the body
}

// toUTF8 converts bytes in the declared charset to valid UTF-8. If they are not valid in it, or it is unknown, the
// charset is detected; fixed says so.
func (t texts) toUTF8(b []byte, charset string) (s string, fixed bool) {
	name := charsetName(charset)
	switch name {
	case "utf-7", "unicode-1-1-utf-7", "unicode-2-0-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7":
		return decodeUTF7(b), false
	case "iso-2022-kr", "csiso2022kr":
		return decodeISO2022KR(b), false
	case "iso-2022-cn", "iso-2022-cn-ext", "csiso2022cn":
		return decodeISO2022CN(b), false
	}
	ascii := isASCII(b)
	if ascii && !t.noDetect && bytes.Contains(b, jisEscape) && lookup(name) != japanese.ISO2022JP {
		if s := t.repair(b, false); s != string(b) {
			return s, true
		}
	}
	if isUTF8Name(name) {
		if ascii || utf8.Valid(b) {
			return string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))), false
		}
		return t.repair(b, true), true
	}
	if name == "" || name == "us-ascii" || name == "ascii" {
		if ascii && bytes.IndexByte(b, 0x1b) < 0 {
			return string(b), false
		}
		return t.repair(b, false), true
	}
	if half := upperHalf(name); half != "" {
		return decodeUpperHalf(b, half), false
	}
	e := lookup(name)
	if !t.noDetect {
		if u := utf16Order(e, b); u != nil {
			e = u
		}
	}
	if t.noDetect && (name == "iso-8859-1" || name == "latin1" || name == "l1") {
		e = charmap.ISO8859_1 // to the letter; everybody else means Windows-1252
	}
	if e == simplifiedchinese.GBK && !t.noDetect {
		e = simplifiedchinese.GB18030 // as in browsers: it has all that GBK has
	}
	if e == japanese.ISO2022JP && !ascii && !t.noDetect && bytes.IndexByte(b, 0x1b) < 0 {
		return t.repair(b, false), true // it has no such bytes
	}
	if e == nil {
		if ascii && bytes.IndexByte(b, 0x1b) < 0 {
			return string(b), name != "us-ascii"
		}
		return t.repair(b, false), true
	}
	if cm, ok := e.(*charmap.Charmap); ok {
		if ascii && cm != charmap.CodePage037 && cm != charmap.CodePage1047 {
			return string(b), false
		}
		s := decodeCharmap(b, cm)
		if strings.ContainsRune(s, utf8.RuneError) && utf8.Valid(b) {
			return string(b), true
		}
		return s, false
	}
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return t.repair(b, false), true
	}
	if bytes.Contains(out, []byte("\ufffd")) {
		if !ascii && utf8.Valid(b) {
			return string(b), true
		}
	}
	return validUTF8(out), false
}

func decodeCharmap(b []byte, cm *charmap.Charmap) string {
	out := make([]byte, 0, len(b)+len(b)/4)
	for i := 0; i < len(b); {
		j := i
		for j < len(b) && b[j] < 0x80 {
			j++
		}
		out = append(out, b[i:j]...)
		for i = j; i < len(b) && b[i] >= 0x80; i++ {
			out = utf8.AppendRune(out, cm.DecodeByte(b[i]))
		}
	}
	return string(out)
}

// decodeUpperHalf decodes a charset of one byte per character that is ASCII below 0x80.
func decodeUpperHalf(b []byte, half string) string {
	table := []rune(half)
	out := make([]byte, 0, len(b)+len(b)/4)
	for _, c := range b {
		if c < 0x80 {
			out = append(out, c)
		} else {
			out = utf8.AppendRune(out, table[c-0x80])
		}
	}
	return string(out)
}

// validUTF8 replaces each run of invalid bytes by U+FFFD.
func validUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string(bytes.ToValidUTF8(b, []byte("\ufffd")))
}

// decodeUTF7 undoes RFC 2152.
func decodeUTF7(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for i := 0; i < len(b); {
		c := b[i]
		if c != '+' {
			if c < 0x80 {
				out.WriteByte(c)
			} else {
				out.WriteRune(utf8.RuneError)
			}
			i++
			continue
		}
		i++
		if i < len(b) && b[i] == '-' {
			out.WriteByte('+')
			i++
			continue
		}
		start := i
		for i < len(b) && b64[b[i]] < 64 {
			i++
		}
		if i == start {
			out.WriteByte('+')
			continue
		}
		var d base64Decoder
		raw := d.write(nil, b[start:i])
		switch d.n { // what remains below 16 bits is padding
		case 2, 3:
			raw = d.flush(raw)
		}
		units := make([]uint16, len(raw)/2)
		for j := range units {
			units[j] = uint16(raw[2*j])<<8 | uint16(raw[2*j+1])
		}
		out.WriteString(string(utf16.Decode(units)))
		if i < len(b) && b[i] == '-' {
			i++
		}
	}
	return out.String()
}

// decodeISO2022KR undoes RFC 1557: SO and SI switch to KS X 1001 and back.
func decodeISO2022KR(b []byte) string {
	euc := make([]byte, 0, len(b))
	shifted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 0x0e:
			shifted = true
		case c == 0x0f:
			shifted = false
		case c == 0x1b && bytes.HasPrefix(b[i:], []byte("\x1b$)C")):
			i += 3
		case c == '\n':
			shifted = false
			euc = append(euc, c)
		case shifted && c > 0x20:
			euc = append(euc, c|0x80)
		default:
			euc = append(euc, c)
		}
	}
	out, err := korean.EUCKR.NewDecoder().Bytes(euc)
	if err != nil {
		return validUTF8(b)
	}
	return validUTF8(out)
}

// decodeISO2022CN undoes RFC 1922 as far as it is GB 2312; characters of other sets become U+FFFD.
func decodeISO2022CN(b []byte) string {
	gb := make([]byte, 0, len(b))
	shifted, known := false, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 0x0e:
			shifted = true
		case c == 0x0f:
			shifted = false
		case c == 0x1b && i+3 < len(b) && b[i+1] == '$' && (b[i+2] == ')' || b[i+2] == '*' || b[i+2] == '+'):
			if b[i+2] == ')' {
				known = b[i+3] == 'A'
			}
			i += 3
		case c == '\n':
			shifted, known = false, false
			gb = append(gb, c)
		case shifted && c > 0x20 && known:
			gb = append(gb, c|0x80)
		case shifted && c > 0x20:
			gb = append(gb, 0xff)
		default:
			gb = append(gb, c)
		}
	}
	out, err := simplifiedchinese.GBK.NewDecoder().Bytes(gb)
	if err != nil {
		return validUTF8(b)
	}
	return validUTF8(out)
}
