package imap

// objectID reads `(id)`, NIL, or a bare one (RFC 8474 5.1, 5.2). NIL stands for none.
func (p *parser) objectID() (string, error) {
	if p.peek() == '(' {
		ids, err := p.strings(1)
		if err != nil || len(ids) == 0 {
			return "", err
		}
		return ids[0], nil
	}
	b, _, err := p.str()
	return string(b), err
}
