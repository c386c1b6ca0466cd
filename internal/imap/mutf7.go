package imap

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Modified UTF-7 (RFC 3501 5.1.3): base64 of UTF-16BE with `,` for `/` and no padding, between & and -.

func mutf7Base64() *base64.Encoding {
	return base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
}

var errMUTF7 = errors.New("imap: not modified UTF-7")

// EncodeName writes a mailbox name for servers without UTF8=ACCEPT. Invalid UTF-8 becomes U+FFFD.
func EncodeName(name string) string {
	plain := true
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c > 0x7e || c == '&' {
			plain = false
			break
		}
	}
	if plain {
		return name
	}
	var b strings.Builder
	var units []uint16
	var enc *base64.Encoding
	flush := func() {
		if len(units) == 0 {
			return
		}
		raw := make([]byte, 0, 2*len(units))
		for _, u := range units {
			raw = append(raw, byte(u>>8), byte(u))
		}
		if enc == nil {
			enc = mutf7Base64()
		}
		b.WriteByte('&')
		b.WriteString(enc.EncodeToString(raw))
		b.WriteByte('-')
		units = units[:0]
	}
	for _, r := range name {
		if r < 0x20 || r > 0x7e {
			units = utf16.AppendRune(units, r)
			continue
		}
		flush()
		b.WriteRune(r)
		if r == '&' {
			b.WriteByte('-')
		}
	}
	flush()
	return b.String()
}

// DecodeName reads a mailbox name as servers without UTF8=ACCEPT write it. It fails on 8-bit bytes, on broken base64
// and on unpaired surrogates; the spelling need not be the one EncodeName would choose.
func DecodeName(raw string) (string, error) {
	if !strings.Contains(raw, "&") {
		for i := range len(raw) {
			if raw[i] >= 0x80 {
				return "", errMUTF7
			}
		}
		return raw, nil
	}
	var b strings.Builder
	var enc *base64.Encoding
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c >= 0x80 {
			return "", errMUTF7
		}
		if c != '&' {
			b.WriteByte(c)
			continue
		}
		n := strings.IndexByte(raw[i:], '-')
		if n < 0 {
			return "", errMUTF7
		}
		text := raw[i+1 : i+n]
		i += n
		if text == "" {
			b.WriteByte('&')
			continue
		}
		if enc == nil {
			enc = mutf7Base64()
		}
		buf, err := enc.DecodeString(text)
		if err != nil || len(buf)%2 != 0 || strings.ContainsAny(text, "\r\n") {
			return "", errMUTF7
		}
		for k := 0; k < len(buf); k += 2 {
			r := rune(buf[k])<<8 | rune(buf[k+1])
			if utf16.IsSurrogate(r) {
				if k+3 >= len(buf) {
					return "", errMUTF7
				}
				if r = utf16.DecodeRune(r, rune(buf[k+2])<<8|rune(buf[k+3])); r == utf8.RuneError {
					return "", errMUTF7
				}
				k += 2
			}
			b.WriteRune(r)
		}
	}
	return b.String(), nil
}

// showName makes a name for people out of whatever the server sent.
func showName(raw string, plain bool) string {
	if name, err := DecodeName(raw); err == nil && !plain {
		return strings.ToValidUTF8(name, "\uFFFD")
	}
	return strings.ToValidUTF8(raw, "\uFFFD")
}
