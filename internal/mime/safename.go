package mime

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxSafeName = 200 // bytes; file systems take 255

// SafeName makes a file name of what a message calls an attachment: for Content-Disposition and for files on any
// system. It has no directories, no control characters, no characters that turn the direction of writing or cannot be
// seen, none that Windows refuses, no reserved device name, no dots or spaces at its ends, and at most 200 bytes, of
// which the extension is kept. An empty name becomes "attachment".
func SafeName(name string) string {
	name = strings.ToValidUTF8(name, "_")
	if i := strings.LastIndexAny(name, `/\`); i >= 0 && strings.Trim(name[i+1:], ". ") != "" {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`/\:*?"<>|`, r), r == 0xfffd, r == 0x2044, r == 0x2215, r == 0xff0f, r == 0xff3c: // and what looks like a slash
			return '_'
		case unicode.Is(unicode.Zs, r), r == '\t', r == '\n', r == '\r', r == 0x2028, r == 0x2029:
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0:
			return -1
		}
		return r
	}, name)
	name = strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == ' ' }), " ")
	name = strings.Trim(name, ". ")
	if name == "" || strings.Trim(name, "_") == "" {
		return "attachment"
	}
	base, _, _ := strings.Cut(name, ".")
	if reservedName(strings.TrimSpace(base)) {
		name = "_" + name
	}
	if len(name) > maxSafeName {
		ext := ""
		if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 20 {
			ext = name[i:]
		}
		n := maxSafeName - len(ext)
		for !utf8.RuneStart(name[n]) {
			n--
		}
		if name = strings.TrimRight(name[:n], ". ") + ext; strings.Trim(name, "_") == "" {
			return "attachment"
		}
	}
	return name
}

// reservedName knows the names of devices on Windows.
func reservedName(s string) bool {
	switch s = strings.ToUpper(s); s {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	if len(s) < 4 || s[:3] != "COM" && s[:3] != "LPT" {
		return false
	}
	switch s[3:] {
	case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return true
	}
	return false
}
