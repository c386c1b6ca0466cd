package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
)

// ListOptions say what List asks for.
type ListOptions struct {
	Reference  string       // usually empty
	Pattern    string       // default "*"
	Status     []StatusItem // asked along when the server offers LIST-STATUS; else Mailbox.Status stays nil
	SpecialUse bool         // ask for special-use attributes where they must be asked for (RFC 6154)
}

// Mailbox is one line of a LIST answer.
type Mailbox struct {
	Raw       string      // the name as the server spells it, byte for byte: the key, and what commands take
	Name      string      // for show: decoded, valid UTF-8
	Delimiter string      // one character, or empty: no hierarchy
	Attrs     []string    // as sent: `\HasNoChildren`, `\Sent`
	Status    *StatusData // nil: not asked or not answered
	OldName   string      // what Raw was before a RENAME, when the server announces one (RFC 5465 5.4, RFC 9051 6.3.9.7)
	// Err is set when the line could not be read; Raw is then a guess and the list must not be taken as complete.
	Err error
}

// maxMailboxes bounds a LIST.
const maxMailboxes = 200_000

var (
	errManyMailboxes = errors.New("too many mailboxes")
	errEmptyList     = errors.New("server lists no mailbox at all")
)

// List asks for mailboxes (RFC 3501 6.3.8), with their status and special use in the same round trip where the
// server offers that (RFC 5258, 5819, 6154). A line that can't be read yields a Mailbox with Err and fails nothing.
//
// Some servers advertise the extended form and then refuse it, or answer with nothing; they get the plain form. An
// empty answer to a pattern with a wildcard is an error, since INBOX always exists.
func (s *Session) List(ctx context.Context, o ListOptions) ([]Mailbox, error) {
	if o.Pattern == "" {
		o.Pattern = "*"
	}
	if err := s.enter(ctx, "LIST"); err != nil {
		return nil, err
	}
	defer s.leave()
	caps := s.Caps()
	var ret []string
	if caps.Has("LIST-EXTENDED") && !s.plainList {
		if o.SpecialUse && caps.Has("SPECIAL-USE") {
			ret = append(ret, "SPECIAL-USE")
		}
	}
	if caps.Has("LIST-STATUS") && len(o.Status) > 0 && !s.plainList {
		items, err := statusItems(o.Status)
		if err != nil {
			return nil, err
		}
		ret = append(ret, "STATUS "+items)
	}
	out, err := s.list(o, ret)
	var e *Error
	if len(ret) > 0 && (err == nil && len(out) == 0 || errors.As(err, &e) && e.Status == "BAD" && e.Class == Permanent) && s.Err() == nil {
		s.plainList = true
		out, err = s.list(o, nil)
	}
	if err == nil && len(out) == 0 && strings.ContainsAny(o.Pattern, "*%") && o.Reference == "" {
		return nil, &Error{Class: Transient, Cmd: "LIST", Err: errEmptyList}
	}
	return out, err
}

func (s *Session) list(o ListOptions, ret []string) ([]Mailbox, error) {
	var out []Mailbox
	at := map[string]int{}
	_, err := s.exchange("LIST", func(l *line) {
		l.text(" ")
		l.str(o.Reference)
		l.text(" ")
		l.str(o.Pattern)
		if len(ret) > 0 {
			l.text(" RETURN (" + strings.Join(ret, " ") + ")")
		}
	}, func(kind string, _ uint32, p *parser) (bool, error) {
		switch kind {
		case "LIST":
			m := parseList(p)
			if i, twice := at[m.Raw]; twice && m.Err == nil && out[i].Err == nil {
				out[i].Attrs = m.Attrs
				return true, nil
			}
			if len(out) >= maxMailboxes {
				return false, protoError{errManyMailboxes}
			}
			at[m.Raw] = len(out)
			out = append(out, m)
			return true, nil
		case "STATUS":
			raw, d, err := parseStatusData(p)
			if err != nil {
				return false, err
			}
			i, known := at[raw]
			if known {
				out[i].Status = &d
			}
			return known, nil
		}
		return false, nil
	})
	return out, err
}

// parseList reads a LIST response behind its kind: attributes, delimiter, name.
func parseList(p *parser) Mailbox {
	var m Mailbox
	from := p.i
	bad := func(what string) Mailbox {
		return Mailbox{Raw: string(p.b[from:]), Name: showName(string(p.b[from:]), p.utf8),
			Err: &Error{Class: Protocol, Cmd: "LIST", Err: fmt.Errorf("unreadable line: %s", what)}}
	}
	var err error
	if m.Attrs, err = p.strings(64); err != nil {
		return bad("attributes")
	}
	p.space()
	switch {
	case p.acceptNIL():
	case p.peek() == '"':
		// `"\\"` as it should be, `"\"` as some write it, `""` for none.
		rest := p.b[p.i+1:]
		end := bytes.IndexByte(rest, '"')
		if end == 1 && rest[0] == '\\' && len(rest) > 2 && rest[2] == '"' {
			end = 2 // an escaped quote
		}
		if end < 0 || end > 8 {
			return bad("delimiter")
		}
		d := rest[:end]
		if len(d) == 2 && d[0] == '\\' {
			d = d[1:]
		}
		m.Delimiter = string(d)
		p.i += end + 2
	case p.peek() != 0:
		m.Delimiter = string(p.word())
	}
	p.space()
	raw, err := p.mailbox()
	if err != nil || len(raw) == 0 {
		return bad("name")
	}
	m.Raw = string(raw)
	m.Name = showName(m.Raw, p.utf8)
	p.space()
	p.oldName(&m)
	return m
}

// mailbox reads a name that ends the response or stands before extended data: a string or, from sloppy servers,
// everything up to the end.
func (p *parser) mailbox() ([]byte, error) {
	rest := p.b[p.i:]
	switch p.peek() {
	case 0:
		return nil, errEnd
	case '{', '~':
		b, _, err := p.str()
		return b, err
	case '"':
		save := bytes.Clone(rest)
		b, err := p.quoted()
		if p.space(); err == nil && (p.done() || p.peek() == '(') {
			return b, nil
		}
		// An unescaped quote inside: take everything up to the last one.
		if end := bytes.LastIndexByte(save, '"'); end > 0 {
			p.i = len(p.b)
			return save[1:end], nil
		}
		return nil, errSyntax
	}
	// Extended data begins where no name would go on.
	for _, data := range [...]string{` ("OLDNAME"`, ` (OLDNAME`, ` ("CHILDINFO"`, ` (CHILDINFO`} {
		if i := bytes.Index(rest, []byte(data)); i > 0 {
			p.i += i
			return rest[:i], nil
		}
	}
	p.i = len(p.b)
	return rest, nil
}

// oldName reads the extended data of a LIST response and keeps OLDNAME. Nothing in it can spoil the name.
func (p *parser) oldName(m *Mailbox) {
	if p.peek() != '(' {
		return
	}
	_ = p.list(func() error {
		tag, _, err := p.str()
		if err != nil {
			return err
		}
		old := strings.EqualFold(string(tag), "OLDNAME")
		p.space()
		if !old {
			_, err = p.skip()
			return err
		}
		names, err := p.strings(1)
		if len(names) > 0 {
			m.OldName = names[0]
		}
		return err
	})
}
