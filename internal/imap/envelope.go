package imap

// maxAddresses bounds the addresses of a row.
const maxAddresses = 20_000

// envelope reads ENVELOPE (RFC 3501 7.4.2): ten values, or fewer, or in one more pair of parentheses (Domino). NIL
// stands for a missing one.
func (p *parser) envelope() (*Envelope, error) {
	if p.acceptNIL() {
		return nil, nil
	}
	if !p.accept('(') {
		return nil, errSyntax
	}
	p.space()
	if p.peek() == '(' {
		if p.depth--; p.depth < 0 {
			return nil, errDepth
		}
		e, err := p.envelope()
		if err != nil {
			return nil, err
		}
		p.space()
		if !p.accept(')') {
			return nil, errSyntax
		}
		p.depth++
		return e, nil
	}
	e := &Envelope{}
	fields := [...]any{&e.Date, &e.Subject, &e.From, &e.Sender, &e.ReplyTo, &e.To, &e.Cc, &e.Bcc, &e.InReplyTo, &e.MessageID}
	for i := 0; ; i++ {
		p.space()
		if p.accept(')') {
			return e, nil
		}
		if i >= len(fields) {
			if _, err := p.skip(); err != nil {
				return nil, err
			}
			continue
		}
		switch f := fields[i].(type) {
		case *string:
			b, _, err := p.str()
			if err != nil {
				return nil, err
			}
			*f = p.text(b)
		case *[]Address:
			a, err := p.addresses()
			if err != nil {
				return nil, err
			}
			*f = a
		}
	}
}

// addresses reads a list of addresses; NIL may also stand inside of it, and "" for it.
func (p *parser) addresses() ([]Address, error) {
	if p.peek() == '"' {
		_, err := p.quoted()
		return nil, err
	}
	// The list shares its memory with those of the same row.
	from := len(p.addrs)
	err := p.list(func() error {
		if p.acceptNIL() {
			return nil
		}
		var part [4]string
		i := 0
		err := p.list(func() error {
			b, _, err := p.str()
			if i < len(part) && i != 1 { // 1 is a source route
				part[i] = p.text(b)
			}
			i++
			return err
		})
		if err == nil && len(p.addrs) < maxAddresses {
			if p.addrs == nil {
				p.addrs = make([]Address, 0, 6)
			}
			p.addrs = append(p.addrs, Address{Name: part[0], Mailbox: part[2], Host: part[3]})
		}
		return err
	})
	if len(p.addrs) == from {
		return nil, err
	}
	return p.addrs[from:len(p.addrs):len(p.addrs)], err
}
