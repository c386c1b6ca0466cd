package imap

// labels writes a list of Gmail's labels (X-GM-EXT-1): names like those of mailboxes, or special ones such as `\Inbox`.
func (l *line) labels(names []string, utf8 bool) {
	l.text("(")
	for i, n := range names {
		if i > 0 {
			l.text(" ")
		}
		if len(n) > 0 && n[0] == '\\' {
			l.text(`\`)
			l.atom(n[1:])
			continue
		}
		if !utf8 {
			n = EncodeName(n)
		}
		l.str(n)
	}
	l.text(")")
}
