package imap

import (
	"bytes"
	"errors"
	"slices"
)

var errTwoUIDs = errors.New("one answer for two messages")

const (
	maxFlags     = 1000     // of one list
	maxFlagTexts = 64 << 10 // bytes of the flag lists that are remembered
)

// readRow reads a FETCH response behind its kind. On error the row holds what came before the unreadable item, and
// the UID if that can still be told.
func (s *Session) readRow(p *parser, row *Row, num uint32, uidFetch bool) error {
	raw := row.Raw
	clear(raw)
	*row = Row{Seq: num, Raw: raw}
	if uidFetch { // RFC 9586: the number is the UID
		row.Seq, row.UID = 0, num
	}
	err := s.readItems(p, row)
	if err != nil {
		if row.UID == 0 {
			row.UID = lastUID(p.full)
		}
		// What stands in a response that makes no sense is not to be trusted, but a writer must come back.
		row.Body, row.Sections = Body{}, nil
		for _, st := range slices.Concat(p.streamed, p.inline) {
			b := Body{W: st.w, Size: st.size, Offset: st.lit.Offset}
			switch {
			case st.w == nil:
			case st.lit.Section == "" && !st.lit.Binary && row.Body.W == nil:
				row.Body = b
			default:
				row.Sections = append(row.Sections, SectionBody{st.lit.Section, st.lit.Binary, b})
			}
		}
	}
	return err
}

// lastUID finds `UID 12)` at the very end, where no string can be.
func lastUID(b []byte) uint32 {
	b = bytes.TrimRight(b, " \r\n")
	if len(b) == 0 || b[len(b)-1] != ')' {
		return 0
	}
	b = b[:len(b)-1]
	i := len(b)
	for i > 0 && b[i-1] >= '0' && b[i-1] <= '9' {
		i--
	}
	if i < 5 || !hasPrefixFold(b[i-5:], " UID ") {
		return 0
	}
	uid, n := parseUID(b[i:])
	if n != len(b)-i {
		return 0
	}
	return uid
}

func (s *Session) readItems(p *parser, row *Row) error {
	if !p.accept('(') {
		return errSyntax
	}
	for {
		p.space()
		if p.accept(')') {
			return nil
		}
		if p.done() {
			return errEnd
		}
		if err := s.readItem(p, row); err != nil {
			return err
		}
	}
}

// itemName reads an item's name: in upper case up to a bracket, what stands in brackets and behind as it is.
func (p *parser) itemName() (name []byte, bracket bool, err error) {
	from := p.i
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '(', ')', '\r', '\n':
			if p.i == from {
				return nil, false, errSyntax
			}
			return upperASCII(p.b[from:p.i]), false, nil
		case '[':
			upperASCII(p.b[from:p.i])
			end := bytes.IndexByte(p.b[p.i:], ']')
			if end < 0 {
				return nil, false, errEnd
			}
			p.i += end + 1
			if p.peek() == '<' {
				if end = bytes.IndexByte(p.b[p.i:], '>'); end < 0 {
					return nil, false, errEnd
				}
				p.i += end + 1
			}
			return p.b[from:p.i], true, nil
		}
		p.i++
	}
	return nil, false, errEnd
}

func (s *Session) readItem(p *parser, row *Row) error {
	name, bracket, err := p.itemName()
	if err != nil {
		return err
	}
	p.space()
	if bracket {
		return s.readSection(p, row, name)
	}
	switch string(name) {
	case "UID":
		n, err := p.number32()
		switch {
		case err != nil || n == 0:
		case row.UID != 0 && row.UID != n:
			return errTwoUIDs
		default:
			row.UID = n
		}
		return err
	case "FLAGS":
		flags, err := s.readFlags(p)
		row.Flags, row.HasFlags = flags, err == nil
		return err
	case "INTERNALDATE":
		b, _, err := p.str()
		if err == nil {
			row.InternalDate, row.HasInternalDate = parseInternalDate(b)
		}
		return err
	case "RFC822.SIZE":
		n, err := p.number()
		row.Size, row.HasSize = max(n, 0), err == nil
		return err
	case "MODSEQ":
		// (n); also bare, negative (Zoho) or missing: only a positive one counts.
		open := p.accept('(')
		p.space()
		if open && p.accept(')') {
			return nil
		}
		n, err := p.number()
		if err == nil && n > 0 {
			row.ModSeq, row.HasModSeq = uint64(n), true
		}
		p.space()
		if open && !p.accept(')') {
			return errSyntax
		}
		return err
	case "ENVELOPE":
		row.Envelope, err = p.envelope()
		return err
	case "BODYSTRUCTURE", "BODY":
		row.BodyStructure, err = p.bodyStructure()
		return err
	case "RFC822.HEADER":
		return readHeader(p, row)
	case "EMAILID":
		row.EmailID, err = p.objectID()
		return err
	case "THREADID":
		row.ThreadID, err = p.objectID()
		return err
	case "X-GM-MSGID":
		row.GmailMsgID, err = p.number64()
		return err
	case "X-GM-THRID":
		row.GmailThreadID, err = p.number64()
		return err
	case "X-GM-LABELS":
		row.GmailLabels, err = p.labels()
		row.HasGmailLabels = err == nil
		return err
	}
	return p.keep(row, string(name))
}

// maxRaw bounds the unknown items of a row.
const maxRaw = 64

func (p *parser) keep(row *Row, name string) error {
	v, err := p.skip()
	if err == nil && len(row.Raw) < maxRaw {
		if row.Raw == nil {
			row.Raw = map[string][]byte{}
		}
		row.Raw[name] = v
	}
	return err
}

func readHeader(p *parser, row *Row) error {
	b, null, err := p.str()
	if err == nil && !null {
		row.Header, row.HasHeader = b, true
	}
	return err
}

// readSection reads the value of BODY[section] and its like.
func (s *Session) readSection(p *parser, row *Row, item []byte) error {
	lit, ok := bodyItem(item)
	switch {
	case ok && s.f.sink.takes(lit):
		return s.readContent(p, row, lit)
	case hasPrefixFold(item, "BODY[HEADER"):
		return readHeader(p, row)
	case ok && lit.Section == "" && !lit.Binary && p.peek() != ')':
		_, err := p.skip() // nobody asked for it
		return err
	}
	return p.keep(row, string(item))
}

// readFlags reads a flag list. The same list is the same slice, so that a folder's flags cost nothing.
func (s *Session) readFlags(p *parser) ([]string, error) {
	if p.acceptNIL() {
		return nil, nil
	}
	if p.peek() != '(' {
		return nil, errSyntax
	}
	end := bytes.IndexByte(p.b[p.i:], ')')
	if end < 0 {
		return nil, errEnd
	}
	text := p.b[p.i+1 : p.i+end]
	p.i += end + 1
	if flags, ok := s.flags[string(text)]; ok {
		return flags, nil
	}
	flags := []string{}
	for f := range bytes.FieldsSeq(text) {
		if len(flags) == maxFlags {
			break
		}
		if !isNIL(f) {
			flags = append(flags, string(f))
		}
	}
	flags = flags[:len(flags):len(flags)]
	if len(text) <= 1024 {
		if s.flagTexts += len(text); s.flagTexts > maxFlagTexts {
			clear(s.flags)
			s.flagTexts = len(text)
		}
		s.flags[string(text)] = flags
	}
	return flags, nil
}
