package mime

import "strings"

// unflow undoes format=flowed (RFC 3676): lines that end in a space go on in the next one of the same quote depth.
// Stuffed spaces are removed, the signature separator stays a line of its own. With delsp the space that marked the
// break goes too.
func unflow(s string, delsp bool) string {
	var b strings.Builder
	b.Grow(len(s))
	open, depth := false, 0 // the last line goes on; its quote depth
	end := ""               // line end that the open line would have had
	for s != "" {
		line, nl := s, ""
		if i := strings.IndexByte(s, '\n'); i >= 0 {
			line, nl, s = s[:i], s[i:i+1], s[i+1:]
			if strings.HasSuffix(line, "\r") {
				line, nl = line[:len(line)-1], "\r\n"
			}
		} else {
			s = ""
		}
		d := 0
		for d < len(line) && line[d] == '>' {
			d++
		}
		text := strings.TrimPrefix(line[d:], " ")
		signature := text == "-- "
		if open && (d != depth || signature) { // a paragraph ends where the quote depth changes, in spite of its space
			b.WriteString(end)
			open = false
		}
		if !open && d > 0 {
			b.WriteString(line[:d])
			if text != "" {
				b.WriteByte(' ')
			}
		}
		open, depth, end = strings.HasSuffix(text, " ") && !signature && nl != "", d, nl
		if open && delsp {
			text = text[:len(text)-1]
		}
		b.WriteString(text)
		if !open {
			b.WriteString(nl)
		}
	}
	if open {
		b.WriteString(end)
	}
	return b.String()
}

// shownText undoes how a plain text was sent, and notes inline OpenPGP in it.
func (w *walker) shownText(p *part, s string) string {
	if sec := inlinePGP(s); sec != "" {
		if w.sec == "" {
			w.sec = sec
		}
		return s // a signature is over these lines
	}
	if strings.EqualFold(p.params.get("format"), "flowed") {
		return unflow(s, strings.EqualFold(p.params.get("delsp"), "yes"))
	}
	return s
}
