package realsrv

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
)

var utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// EncodeName writes a folder name in the modified UTF-7 of RFC 3501 5.1.3.
func EncodeName(name string) string {
	var b strings.Builder
	var wide []rune
	flush := func() {
		if len(wide) == 0 {
			return
		}
		var raw []byte
		for _, u := range utf16.Encode(wide) {
			raw = append(raw, byte(u>>8), byte(u))
		}
		b.WriteString("&" + utf7Base64.EncodeToString(raw) + "-")
		wide = wide[:0]
	}
	for _, r := range name {
		switch {
		case r == '&':
			flush()
			b.WriteString("&-")
		case r >= 0x20 && r <= 0x7e:
			flush()
			b.WriteRune(r)
		default:
			wide = append(wide, r)
		}
	}
	flush()
	return b.String()
}

// DecodeName is the inverse of EncodeName. What is not modified UTF-7 comes back as it is.
func DecodeName(raw string) string {
	var b strings.Builder
	for s := raw; s != ""; {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		j := strings.IndexByte(s, '-')
		if j < 0 {
			return raw
		}
		if j == 0 {
			b.WriteByte('&')
		} else {
			bytes, err := utf7Base64.DecodeString(s[:j])
			if err != nil || len(bytes)%2 != 0 {
				return raw
			}
			units := make([]uint16, 0, len(bytes)/2)
			for k := 0; k < len(bytes); k += 2 {
				units = append(units, uint16(bytes[k])<<8|uint16(bytes[k+1]))
			}
			b.WriteString(string(utf16.Decode(units)))
		}
		s = s[j+1:]
	}
	return b.String()
}
