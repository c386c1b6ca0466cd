package imap

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Section is a piece of a message: a part, or some bytes of it.
type Section struct {
	Path   string // "1.2", "2.MIME", "TEXT", "2.HEADER"; empty: the whole message; not "HEADER": that is FullHeader
	Binary bool   // without its transfer encoding (BINARY.PEEK, RFC 3516 4.3); only for paths of numbers
	// Offset and Length choose bytes, from Offset on and at most Length of them; a Length of 0 means all.
	Offset, Length int64
}

// SectionBody is a Section that came. What was asked with an Offset may come whole: Body.Offset tells.
type SectionBody struct {
	Path   string // upper case
	Binary bool
	Body
}

var (
	errSection   = errors.New("malformed section")
	errNotBinary = errors.New("server does not offer BINARY")
	errTwice     = errors.New("two bodies of one message")
)

// section writes ` BODY.PEEK[path]<offset.length>`.
func (l *line) section(x Section) {
	path := validPath(x.Path) && !strings.EqualFold(x.Path, "HEADER") && (!x.Binary || numeric(x.Path))
	if !path || x.Offset < 0 || x.Length < 0 || x.Offset > 0 && x.Length == 0 {
		l.err = errSection
		return
	}
	l.text(" BODY.PEEK[")
	if x.Binary {
		l.b = append(l.b[:len(l.b)-len("BODY.PEEK[")], "BINARY.PEEK["...)
	}
	l.text(x.Path + "]")
	if x.Length > 0 {
		l.text("<" + strconv.FormatInt(x.Offset, 10) + "." + strconv.FormatInt(x.Length, 10) + ">")
	}
}

// validPath reports whether a path is numbers and at most one word at its end (RFC 3501 9, section-spec).
func validPath(path string) bool {
	if path == "" {
		return true
	}
	nums := strings.Split(path, ".")
	switch strings.ToUpper(nums[len(nums)-1]) {
	case "HEADER", "TEXT":
		nums = nums[:len(nums)-1]
	case "MIME":
		if nums = nums[:len(nums)-1]; len(nums) == 0 {
			return false
		}
	}
	for _, n := range nums {
		if v, err := strconv.ParseUint(n, 10, 31); err != nil || v == 0 {
			return false
		}
	}
	return true
}

func numeric(path string) bool { return strings.Trim(path, "0123456789.") == "" }

// bodyItem reads an item name that announces content: BODY[...] or BINARY[...], with `<offset>` behind it or not.
func bodyItem(item []byte) (lit Literal, ok bool) {
	if len(item) > 0 && item[len(item)-1] == '>' {
		i := bytes.LastIndexByte(item, '<')
		if i < 0 {
			return lit, false
		}
		if lit.Offset, ok = origin(item[i+1 : len(item)-1]); !ok {
			return lit, false
		}
		item = item[:i]
	}
	open := bytes.IndexByte(item, '[')
	if open < 0 || item[len(item)-1] != ']' {
		return lit, false
	}
	switch name := item[:open]; {
	case len(name) == len("BODY") && hasPrefixFold(name, "BODY"):
	case len(name) == len("BINARY") && hasPrefixFold(name, "BINARY"):
		lit.Binary = true
	default:
		return lit, false
	}
	section := item[open+1 : len(item)-1]
	if len(section) == 0 {
		return lit, true
	}
	if hasPrefixFold(section, "HEADER") { // of the message: that is Row.Header
		return lit, false
	}
	lit.Section = strings.ToUpper(string(section))
	return lit, validPath(lit.Section)
}

// origin reads the offset in `BODY[]<100>`; some servers repeat the length.
func origin(b []byte) (int64, bool) {
	b, _, _ = bytes.Cut(b, []byte("."))
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil && n >= 0
}

// takes reports whether content like this was asked for.
func (k *bodySink) takes(l Literal) bool {
	return k != nil && (l.Section == "" && !l.Binary || k.sections)
}

// readContent reads content that goes to the sink: streamed already, or small and in place. NIL and other words for
// nothing leave it missing.
func (s *Session) readContent(p *parser, row *Row, lit Literal) error {
	dst := &row.Body
	if lit.Section != "" || lit.Binary {
		row.Sections = append(row.Sections, SectionBody{Path: lit.Section, Binary: lit.Binary})
		dst = &row.Sections[len(row.Sections)-1].Body
	} else if dst.Has || dst.W != nil {
		return errTwice
	}
	var b []byte
	switch p.peek() {
	case '{', '~':
		p.accept('~')
		inline, st, err := p.literal()
		if err != nil {
			return err
		}
		if st != nil {
			*dst = Body{Bytes: st.bytes, W: st.w, Size: st.size, Offset: lit.Offset, Has: !st.skipped}
			if st.tooBig {
				row.Err = &Error{Class: Permanent, Cmd: "FETCH", Err: errTooBig}
			}
			return nil
		}
		b = inline
	case '"':
		var err error
		if b, err = p.quoted(); err != nil {
			return err
		}
	case ')':
		return nil
	default:
		if len(p.word()) == 0 { // NIL, or the `*` of Yandex
			return errSyntax
		}
		return nil
	}
	*dst = Body{Size: int64(len(b)), Offset: lit.Offset, Has: true}
	if s.f.sink.open == nil {
		dst.Bytes = append(make([]byte, 0, len(b)), b...)
		return nil
	}
	lit.Size, lit.Seq, lit.UID = int64(len(b)), row.Seq, row.UID
	w, err := s.f.sink.open(lit)
	if err != nil {
		return sinkError{err}
	}
	if w == nil {
		dst.Has = false
		return nil
	}
	if n, err := w.Write(b); err != nil {
		return sinkError{err}
	} else if n != len(b) {
		return sinkError{io.ErrShortWrite}
	}
	dst.W = w
	p.inline = append(p.inline, streamed{lit: lit, size: lit.Size, w: w})
	return nil
}
