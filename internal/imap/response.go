package imap

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// status is what an OK, NO, BAD, BYE or PREAUTH says.
type status struct {
	status string // upper case
	code   string // upper case, without its argument
	arg    string // the code's argument
	text   string
}

// parseStatus reads resp-cond-state behind the status word: text and code may both be missing.
func parseStatus(word string, b []byte) status {
	st := status{status: word}
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] == '[' {
		// Flags may contain brackets (Gmail).
		end := -1
		if bytes.IndexByte(b, '(') > 0 && (hasPrefixFold(b, "[PERMANENTFLAGS") || hasPrefixFold(b, "[BADCHARSET") || hasPrefixFold(b, "[MAILBOXID")) {
			if end = bytes.Index(b, []byte(")]")); end >= 0 {
				end++
			}
		}
		if end < 0 {
			end = bytes.IndexByte(b, ']')
		}
		rest := []byte(nil)
		if end < 0 {
			end = len(b)
		} else {
			rest = b[end+1:]
		}
		code, arg, _ := bytes.Cut(bytes.TrimSpace(b[1:end]), []byte(" "))
		st.code = cleanText(string(upperASCII(code[:min(len(code), maxErrText)]))) // it goes into errors, and logs
		st.arg = string(bytes.TrimSpace(arg))
		b = bytes.TrimSpace(rest)
	}
	st.text = string(b)
	// Gmail puts it at the end: "Success [THROTTLED]".
	if st.code == "" && bytes.HasSuffix(b, []byte("[THROTTLED]")) {
		st.code = "THROTTLED"
	}
	return st
}

var errJunk = errors.New("too many lines outside of the protocol")

// handle sorts one response to whoever waits for it.
func (s *Session) handle(f frame, h handler) error {
	if s.responses++; s.responses > s.o.Limits.Responses {
		return s.fail(protoError{errResponses})
	}
	b := bytes.TrimRight(f.b, " \r\n")
	switch {
	case len(b) == 0:
		return nil
	case b[0] == '+':
		s.cont = true
		s.challenge = append(s.challenge[:0], bytes.TrimSpace(b[1:])...)
		return nil
	case b[0] == '*' && len(b) > 1 && b[1] == ' ':
		return s.untagged(f, h)
	}
	tag, rest, _ := bytes.Cut(b, []byte(" "))
	for i, c := range s.pending {
		if string(tag) != c.tag {
			continue
		}
		word, rest, _ := bytes.Cut(rest, []byte(" "))
		st := parseStatus(strings.ToUpper(string(word)), rest)
		if st.status != "OK" && st.status != "NO" && st.status != "BAD" {
			return s.fail(protoError{errors.New("tagged answer is not OK, NO or BAD")})
		}
		st.text = s.scrub(st.text)
		c.st, c.done = st, true
		s.pending = append(s.pending[:i], s.pending[i+1:]...)
		s.note(st)
		return nil
	}
	// Not ours: a tag never sent, or no response at all. Exchange writes "Server Unavailable. 15" like that.
	if e := statusError(s.cmd, "BYE", "", s.scrub(string(b))); strings.Contains(strings.ToLower(e.Text), "server unavailable") {
		return s.fail(e)
	}
	return s.stray()
}

func (s *Session) stray() error {
	if s.junk++; s.junk > s.o.Limits.Junk {
		return s.fail(protoError{errJunk})
	}
	return nil
}

// note acts on codes that may come with any status.
func (s *Session) note(st status) {
	switch st.code {
	case "CAPABILITY":
		s.setCaps(parseCaps(st.arg))
	case "ALERT":
		s.tell(Unilateral{Kind: KindAlert, Status: st.status, Code: st.code, Text: cleanText(st.text)})
	case "THROTTLED":
		if st.status == "OK" {
			s.tell(Unilateral{Kind: KindThrottled, Status: st.status, Code: st.code, Text: cleanText(st.text)})
		}
	}
}

// tell passes on what was said unasked; before TLS it may be from anybody.
func (s *Session) tell(u Unilateral) {
	if s.o.OnUnilateral != nil && (s.encrypted || s.o.Security != StartTLS) {
		s.o.OnUnilateral(u)
	}
}

var (
	errResponses = errors.New("too many responses to one command")
	errAnswer    = errors.New("answer to one command too long")
)

// kindOf returns the kind as a string without allocating for the known ones.
func kindOf(b []byte) string {
	switch string(b) {
	case "FETCH":
		return "FETCH"
	case "EXISTS":
		return "EXISTS"
	case "EXPUNGE":
		return "EXPUNGE"
	case "OK":
		return "OK"
	case "LIST":
		return "LIST"
	case "STATUS":
		return "STATUS"
	}
	return string(b)
}

func (s *Session) untagged(f frame, h handler) error {
	p := &s.p
	p.reset(f, s.o.Limits.Depth)
	p.utf8 = s.utf8
	var kind string
	num, rest, numbered := untaggedNumber(p.b)
	if numbered {
		p.i = len(p.b) - len(rest)
	} else {
		p.i = 2
	}
	p.space()
	kind = kindOf(p.upper())
	switch kind {
	case "FETCH", "UIDFETCH": // nobody keeps them
	default:
		if s.answer += len(f.b); s.answer > s.o.Limits.Answer {
			return s.fail(protoError{errAnswer})
		}
	}
	switch kind {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		s.status = parseStatus(kind, p.b[p.i:])
		s.status.text = s.scrub(s.status.text)
	}
	p.space()
	if h != nil {
		at := p.i
		ok, err := h(kind, num, p)
		switch {
		case err != nil && isFatal(err):
			return s.fail(err)
		case err != nil:
			return nil // the response made no sense: it is skipped
		case ok:
			return nil
		}
		p.i = at
	}
	return s.unasked(kind, num, numbered, p)
}

// unasked handles what no command waited for.
func (s *Session) unasked(kind string, num uint32, numbered bool, p *parser) error {
	switch kind {
	case "OK", "NO", "BAD":
		s.note(s.status)
		if s.status.code != "ALERT" && s.status.code != "CAPABILITY" && s.status.code != "THROTTLED" {
			s.tell(Unilateral{Kind: KindStatus, Status: kind, Code: s.status.code, Text: cleanText(s.status.text)})
		}
	case "BYE":
		s.tell(Unilateral{Kind: KindBye, Status: kind, Code: s.status.code, Text: cleanText(s.status.text)})
		if !s.logout {
			// Yandex repeats it until we go.
			return s.fail(statusError(s.cmd, kind, s.status.code, s.status.text))
		}
	case "PREAUTH":
		return s.fail(protoError{errPreauth})
	case "CAPABILITY":
		s.setCaps(parseCaps(string(p.b[p.i:])))
	case "EXISTS":
		if numbered {
			s.selected.exists = num
			s.tell(Unilateral{Kind: KindExists, Num: num})
		}
	case "EXPUNGE":
		if numbered && num > 0 {
			if s.selected.exists > 0 {
				s.selected.exists--
			}
			s.tell(Unilateral{Kind: KindExpunge, Num: num})
		}
	case "VANISHED":
		if u, err := parseVanished(p); err == nil {
			s.vanished(u)
		}
	case "FETCH", "UIDFETCH":
		if numbered && num > 0 {
			row := &s.row
			if s.readRow(p, row, num, kind == "UIDFETCH") == nil {
				s.tell(Unilateral{Kind: KindFetch, Row: row})
			}
		}
	case "LIST":
		if m := parseList(p); m.Err == nil {
			s.tell(Unilateral{Kind: KindMailbox, Mailbox: &m})
		}
	case "STATUS":
		if raw, d, err := parseStatusData(p); err == nil {
			s.tell(Unilateral{Kind: KindMailboxStatus, Mailbox: &Mailbox{Raw: raw, Name: showName(raw, p.utf8), Status: &d}})
		}
	}
	return nil
}

// hide keeps a secret, in each form in which it is sent, out of what servers repeat.
func (s *Session) hide(secrets ...string) {
	s.secrets = append(s.secrets, secrets...)
	slices.SortFunc(s.secrets, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
}

// scrub hides the secrets while a login runs.
func (s *Session) scrub(text string) string {
	for _, secret := range s.secrets {
		if len(secret) >= 3 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}
