package imap

// objectID reads `(id)`, NIL, or a bare one (RFC 8474 5.1, 5.2). NIL, and what is no id, stand for none.
func (p *parser) objectID() (string, error) {
	if p.peek() == '(' {
		ids, err := p.strings(1)
		if err != nil || len(ids) == 0 {
			return "", err
		}
		return validID(ids[0]), nil
	}
	b, _, err := p.str()
	return validID(string(b)), err
}

// validID returns s if it is what RFC 8474 7 calls an objectid, else "". Cyrus 3.6 shows memory that it has freed in the STATUS
// of a LIST.
func validID(s string) string {
	if len(s) > 255 {
		return ""
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return ""
		}
	}
	return s
}
