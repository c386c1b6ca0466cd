package imap

// maxParts bounds the parts of a row.
const maxParts = 10_000

// bodyStructure reads BODY and BODYSTRUCTURE (RFC 3501 7.4.2), with missing and superfluous values.
func (p *parser) bodyStructure() (*BodyStructure, error) {
	if p.acceptNIL() {
		return nil, nil
	}
	if !p.accept('(') {
		return nil, errSyntax
	}
	if p.depth--; p.depth < 0 {
		return nil, errDepth
	}
	if p.parts++; p.parts > maxParts {
		return nil, errParts
	}
	b := &BodyStructure{}
	var err error
	p.space()
	if p.peek() == '(' {
		err = p.multipart(b)
	} else {
		err = p.singlePart(b)
	}
	if err != nil {
		return nil, err
	}
	// Extensions to come, and what servers add.
	for p.space(); !p.accept(')'); p.space() {
		if _, err := p.skip(); err != nil {
			return nil, err
		}
	}
	p.depth++
	return b, nil
}

// more reports whether another value follows in the list.
func (p *parser) more() bool {
	p.space()
	return !p.done() && p.peek() != ')'
}

func (p *parser) multipart(b *BodyStructure) error {
	b.Type = "multipart"
	for p.more() && p.peek() == '(' {
		part, err := p.bodyStructure()
		if err != nil {
			return err
		}
		b.Parts = append(b.Parts, part)
	}
	if err := p.lower(&b.Subtype); err != nil {
		return err
	}
	if err := p.parameters(&b.Params); err != nil {
		return err
	}
	return p.tail(b)
}

func (p *parser) singlePart(b *BodyStructure) error {
	if err := p.lower(&b.Type); err != nil {
		return err
	}
	if err := p.lower(&b.Subtype); err != nil {
		return err
	}
	if err := p.parameters(&b.Params); err != nil {
		return err
	}
	for _, f := range [...]*string{&b.ID, &b.Description} {
		if err := p.textOr(f); err != nil {
			return err
		}
	}
	if err := p.lower(&b.Encoding); err != nil {
		return err
	}
	if err := p.size(&b.Size); err != nil {
		return err
	}
	switch {
	case b.Type == "message" && (b.Subtype == "rfc822" || b.Subtype == "global") && p.more() && p.peek() == '(':
		e, err := p.envelope()
		if err != nil {
			return err
		}
		b.Envelope = e
		if p.more() && p.peek() == '(' {
			part, err := p.bodyStructure()
			if err != nil {
				return err
			}
			b.Parts = []*BodyStructure{part}
		}
		if err := p.size(&b.Lines); err != nil {
			return err
		}
	case b.Type == "text" && p.more() && p.peek() >= '0' && p.peek() <= '9':
		if err := p.size(&b.Lines); err != nil {
			return err
		}
	}
	if err := p.textOr(&b.MD5); err != nil {
		return err
	}
	return p.tail(b)
}

// tail reads disposition, language and location.
func (p *parser) tail(b *BodyStructure) error {
	if !p.more() {
		return nil
	}
	if p.peek() == '(' {
		p.i++
		if err := p.lower(&b.Disposition); err != nil {
			return err
		}
		if err := p.parameters(&b.DispositionParams); err != nil {
			return err
		}
		if p.space(); !p.accept(')') {
			return errSyntax
		}
	} else if err := p.lower(&b.Disposition); err != nil { // "inline" without a list (Exchange)
		return err
	}
	if !p.more() {
		return nil
	}
	if p.peek() == '(' {
		var err error
		if b.Language, err = p.strings(100); err != nil {
			return err
		}
	} else {
		var one string
		if err := p.textOr(&one); err != nil {
			return err
		}
		if one != "" {
			b.Language = []string{one}
		}
	}
	return p.textOr(&b.Location)
}

// textOr reads a string unless the list ends; a list in its place is skipped.
func (p *parser) textOr(dst *string) error {
	if !p.more() {
		return nil
	}
	if p.peek() == '(' {
		_, err := p.skip()
		return err
	}
	b, _, err := p.str()
	*dst = p.text(b)
	return err
}

// lower is textOr in lower case.
func (p *parser) lower(dst *string) error {
	if !p.more() || p.peek() == '(' {
		return p.textOr(dst)
	}
	b, _, err := p.str()
	*dst = p.text(lowerASCII(b))
	return err
}

// size reads a number; negative ones count as 0 (SmarterMail), NIL too.
func (p *parser) size(dst *int64) error {
	if !p.more() {
		return nil
	}
	n, err := p.number()
	*dst = max(n, 0)
	return err
}

// maxParams bounds the parameters of a part.
const maxParams = 100

// parameters reads `("name" "value" ...)`.
func (p *parser) parameters(dst *Params) error {
	if !p.more() {
		return nil
	}
	if p.peek() != '(' {
		var none string
		return p.textOr(&none) // NIL, or a string where a list belongs
	}
	from := len(p.params)
	var name string
	odd := false
	err := p.list(func() error {
		b, _, err := p.str()
		switch odd = !odd; {
		case err != nil:
		case odd:
			name = p.text(lowerASCII(b))
		case len(p.params)-from < maxParams:
			if p.params == nil {
				p.params = make([]Param, 0, 4)
			}
			p.params = append(p.params, Param{name, p.text(b)})
		}
		return err
	})
	if err == nil && len(p.params) > from {
		*dst = p.params[from:len(p.params):len(p.params)]
	}
	return err
}
