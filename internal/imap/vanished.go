package imap

// KnownUIDs says which UIDs of the open mailbox the caller knows of. VANISHED is then cut to them, on whatever command it
// comes, so that `VANISHED 12:*` names a few messages and not four billion. It holds until the next Select; raise it
// when new messages have been seen.
func (s *Session) KnownUIDs(r UIDRange) { s.selected.known = r }

// parseVanished reads `VANISHED [(EARLIER)] set` (RFC 7162 3.2.10).
func parseVanished(p *parser) (Unilateral, error) {
	u := Unilateral{Kind: KindVanished}
	if p.peek() == '(' {
		err := p.list(func() error {
			u.Earlier = u.Earlier || string(p.upper()) == "EARLIER"
			return nil
		})
		if err != nil {
			return u, err
		}
		p.space()
	}
	set, ok := parseUIDSet(p.word())
	if !ok || set.Empty() {
		return u, errSyntax
	}
	u.UIDs = set
	return u, nil
}

// vanished passes on what is gone.
func (s *Session) vanished(u Unilateral) {
	if !u.Earlier && !u.UIDs.Open() {
		s.selected.exists -= uint32(min(u.UIDs.Len(), int(s.selected.exists)))
	}
	if k := s.selected.known; k.Stop != 0 {
		u.UIDs = u.UIDs.within(k)
	}
	if !u.UIDs.Empty() {
		s.tell(u)
	}
}

// within returns what lies in a range.
func (s UIDSet) within(r UIDRange) (out UIDSet) {
	for _, x := range s.r {
		if lo, hi := max(x.Start, r.Start), min(x.Stop, r.Stop); lo <= hi {
			out.AddRange(lo, hi)
		}
	}
	return out
}

// And returns what is in both sets.
func (s UIDSet) And(o UIDSet) (out UIDSet) {
	for i, j := 0, 0; i < len(s.r) && j < len(o.r); {
		a, b := s.r[i], o.r[j]
		if lo, hi := max(a.Start, b.Start), min(a.Stop, b.Stop); lo <= hi {
			out.AddRange(lo, hi)
		}
		if a.Stop < b.Stop {
			i++
		} else {
			j++
		}
	}
	return out
}

// Without returns what is in s and not in o.
func (s UIDSet) Without(o UIDSet) (out UIDSet) {
	s.without(o, &out)
	return out
}
