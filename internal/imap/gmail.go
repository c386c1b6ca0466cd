package imap

// Gmail's extension X-GM-EXT-1: one number for a message in all of its mailboxes, one for its conversation, and labels
// (developers.google.com/gmail/imap/imap-extensions).

// maxLabels bounds the labels of a message.
const maxLabels = 5000

// number64 reads an unsigned 64-bit number.
func (p *parser) number64() (uint64, error) {
	var v uint64
	from := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		c := uint64(p.b[p.i] - '0')
		if v > (1<<64-1-c)/10 {
			return 0, errSyntax
		}
		v = v*10 + c
		p.i++
	}
	if p.i == from {
		return 0, errSyntax
	}
	return v, nil
}

// labels reads X-GM-LABELS: mailbox names, and special ones such as `\Inbox`, which may be quoted.
func (p *parser) labels() ([]string, error) {
	raw, err := p.strings(maxLabels)
	for i, l := range raw {
		if len(l) == 0 || l[0] != '\\' {
			raw[i] = showName(l, p.utf8)
		}
	}
	return raw, err
}

// labels writes a list of labels.
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
