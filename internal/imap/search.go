package imap

import (
	"context"
	"errors"
)

// esearchTrust is whether an empty ESEARCH answer may be believed.
type esearchTrust int

const (
	esearchUnknown esearchTrust = iota
	esearchGood
	esearchBad
)

var errNoSearch = errors.New("server said OK but gave no search result")

// Search finds UIDs (UID SEARCH, RFC 3501 6.4.4). criteria are sent as they are; CR, LF and NUL are refused.
//
// Where ESEARCH (RFC 4731) is offered the answer comes as ranges. Servers are known that answer it with nothing
// although there is something, so the first empty answer in a mailbox that is not empty is checked once with a plain
// search, and the session remembers. An OK without any result is an error unless the mailbox is known to be empty.
//
// A search cut short by MESSAGELIMIT gives what it found and fails with a PartialError. Criteria too long for one command
// are refused with Permanent: cutting them is up to who knows what they mean.
//
// Providers are wrong about many criteria: never conclude from a search that a message is gone.
func (s *Session) Search(ctx context.Context, criteria string) (UIDSet, error) {
	if err := s.enter(ctx, "SEARCH"); err != nil {
		return UIDSet{}, err
	}
	defer s.leave()
	if !s.Caps().Has("ESEARCH") || s.esearch == esearchBad {
		return s.search(criteria, "")
	}
	set, err := s.search(criteria, "ALL")
	if err == nil && set.Empty() && s.selected.exists > 0 && s.esearch == esearchUnknown {
		if set, err = s.search(criteria, ""); err == nil {
			s.esearch = esearchGood
			if !set.Empty() {
				s.esearch = esearchBad
			}
		}
	}
	return set, err
}

// SearchPage is Search for one page of the result (RFC 9394 3.1). It fails with Permanent, having sent nothing, where PARTIAL
// is not offered.
func (s *Session) SearchPage(ctx context.Context, criteria string, w Window) (UIDSet, error) {
	if err := s.enter(ctx, "SEARCH"); err != nil {
		return UIDSet{}, err
	}
	defer s.leave()
	if !w.valid() || !s.Caps().Has("PARTIAL") {
		return UIDSet{}, &Error{Class: Permanent, Cmd: "SEARCH", Err: errWindow}
	}
	return s.search(criteria, "PARTIAL "+w.String())
}

// search asks for one return option of ESEARCH, or for a plain answer.
func (s *Session) search(criteria, option string) (UIDSet, error) {
	var sum setBuilder
	got := false
	st, err := s.exchange("UID SEARCH", func(l *line) {
		if option != "" {
			l.text(" RETURN (" + option + ")")
		}
		l.text(" ")
		l.checked(criteria)
		l.limit = s.o.Limits.Command
	}, func(kind string, _ uint32, p *parser) (bool, error) {
		switch kind {
		case "SEARCH": // Cyrus 2.4 answers so where ESEARCH is due
			set, err := parseSearch(p)
			if err != nil {
				return false, err
			}
			sum.add(set)
		case "ESEARCH":
			set, err := parseESearch(p)
			if err != nil {
				return false, err
			}
			sum.add(set)
		default:
			return false, nil
		}
		got = true
		return true, nil
	})
	out := sum.set()
	switch {
	case err != nil:
		return UIDSet{}, err
	case st.code == "MESSAGELIMIT": // only some were searched
		return out, partial("SEARCH", st, Range(1, Star))
	case !got && s.selected.exists > 0:
		return UIDSet{}, &Error{Class: Transient, Cmd: "SEARCH", Err: errNoSearch}
	}
	return out, nil
}

// parseSearch reads numbers up to the end or the `(MODSEQ n)` of RFC 7162.
func parseSearch(p *parser) (UIDSet, error) {
	var b []UIDRange
	sorted := true
	for p.space(); !p.done() && p.peek() != '('; p.space() {
		n, err := p.number32()
		if err != nil {
			return UIDSet{}, err
		}
		if n == 0 {
			continue
		}
		k := len(b) - 1
		switch {
		case k >= 0 && n == b[k].Stop+1 && sorted:
			b[k].Stop = n
			continue
		case k >= 0 && n <= b[k].Stop:
			sorted = false
		}
		b = append(b, UIDRange{n, n})
	}
	return normal(b, sorted), nil
}

// parseESearch reads `(TAG "x") UID ALL 1:3 ...` (RFC 4731 3.1). AOL leaves UID out; the command that was sent decides.
func parseESearch(p *parser) (UIDSet, error) {
	var out UIDSet
	var sum setBuilder
	if p.space(); p.peek() == '(' {
		if _, err := p.skip(); err != nil {
			return out, err
		}
	}
	for p.space(); !p.done(); p.space() {
		item := string(p.upper())
		if item == "UID" {
			continue
		}
		p.space()
		if item == "PARTIAL" { // (1:100 set), NIL for no result (RFC 9394 3.1)
			i := 0
			err := p.list(func() error {
				word := p.word()
				if i++; i != 2 || isNIL(word) {
					return nil
				}
				set, ok := parseUIDSet(word)
				if !ok || set.Open() {
					return errSyntax
				}
				sum.add(set)
				return nil
			})
			if err != nil {
				return out, err
			}
			continue
		}
		if item != "ALL" {
			if _, err := p.skip(); err != nil {
				return out, err
			}
			continue
		}
		set, ok := parseUIDSet(p.word())
		if !ok || set.Open() {
			return out, errSyntax
		}
		sum.add(set)
	}
	return sum.set(), nil
}
