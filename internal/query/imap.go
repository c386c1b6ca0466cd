package query

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// argument says what follows an IMAP search key.
type argument uint8

const (
	argNone argument = iota
	argText
	argDate
	argNumber
	argKeyword
	argHeader
	argUIDs
	argOne // another key
	argTwo
	argRecent
	argUnknown // of extensions: what it asks for is not kept
)

func imapKey(name string) (argument, bool) {
	switch name {
	case "ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN", "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN":
		return argNone, true
	case "BCC", "BODY", "CC", "FROM", "SUBJECT", "TEXT", "TO":
		return argText, true
	case "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE":
		return argDate, true
	case "LARGER", "SMALLER", "OLDER", "YOUNGER":
		return argNumber, true
	case "KEYWORD", "UNKEYWORD":
		return argKeyword, true
	case "HEADER":
		return argHeader, true
	case "UID":
		return argUIDs, true
	case "NOT":
		return argOne, true
	case "OR":
		return argTwo, true
	case "NEW", "OLD", "RECENT":
		return argRecent, true
	case "EMAILID", "MODSEQ", "SAVEDATESUPPORTED", "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE", "THREADID", "X-GM-LABELS", "X-GM-MSGID", "X-GM-RAW", "X-GM-THRID":
		return argUnknown, true
	}
	return 0, false
}

// firstKey tells whether a query begins with an IMAP search key, and whether that is written in capitals.
func firstKey(s string) (capitals, key bool) {
	s = strings.TrimLeft(s, "( \t\r\n")
	end := strings.IndexAny(s, " \t\r\n()")
	if end < 0 {
		end = len(s)
	}
	name := s[:end]
	upper := strings.ToUpper(name)
	_, key = imapKey(upper)
	numbers := name != "" && strings.Trim(name, "0123456789:,*") == "" && strings.ContainsAny(name, ":,*")
	key = key || numbers || upper == "CHARSET"
	capitals = name == upper
	if rest := strings.TrimLeft(s[end:], " \t\r\n"); (upper == "NOT" || numbers) && rest != "" { // NOT alone is also of the other language, and so are a time and a price
		var also bool
		also, key = firstKey(rest)
		capitals = capitals && also
	}
	return key && capitals, key
}

type imapReader struct{ reader }

func parseIMAP(s string, now time.Time) (*node, error) {
	r := &imapReader{reader{s: s, now: now}}
	r.blanks()
	if at := r.i; strings.EqualFold(r.atom(), "CHARSET") {
		r.blanks()
		at = r.i
		if c, err := r.astring(); err != nil || !strings.EqualFold(c, "UTF-8") && !strings.EqualFold(c, "US-ASCII") {
			return nil, r.fail(at, "queries are UTF-8")
		}
	} else {
		r.i = at
	}
	n, err := r.keys(false)
	return n, err
}

// keys reads search keys up to the end, or to the closing parenthesis.
func (r *imapReader) keys(nested bool) (*node, error) {
	var kids []*node
	for {
		r.blanks()
		switch {
		case r.end() && nested:
			return nil, r.fail(r.i, "a parenthesis is not closed")
		case r.peek(')') && !nested:
			return nil, r.fail(r.i, "this parenthesis was not opened")
		case r.end(), r.peek(')'):
			if len(kids) == 0 {
				return nil, r.fail(r.i, "a search key is missing")
			}
			return and(kids), nil
		}
		n, err := r.key()
		if err != nil {
			return nil, err
		}
		kids = append(kids, n)
	}
}

// atom reads up to the next blank or parenthesis.
func (r *imapReader) atom() string {
	at := r.i
	for r.i < len(r.s) && strings.IndexByte(" \t\r\n()\"", r.s[r.i]) < 0 {
		r.i++
	}
	return r.s[at:r.i]
}

// astring reads a string argument, quoted or not.
func (r *imapReader) astring() (string, error) {
	r.blanks()
	at := r.i
	if r.peek('"') {
		return r.quoted()
	}
	s := r.atom()
	if s == "" {
		return "", r.fail(at, "an argument is missing")
	}
	if s[0] == '{' && strings.HasSuffix(s, "}") {
		return "", r.fail(at, "literals are not taken here: write the text in quotes")
	}
	return s, nil
}

func (r *imapReader) key() (*node, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	r.blanks()
	at := r.i
	if r.peek('(') {
		r.i++
		n, err := r.keys(true)
		if err == nil {
			r.i++
		}
		return n, err
	}
	name := strings.ToUpper(r.atom())
	arg, ok := imapKey(name)
	if arg != argTwo {
		if err := r.term(at); err != nil {
			return nil, err
		}
	}
	switch {
	case name == "":
		return nil, r.fail(at, "a search key is missing")
	case !ok && strings.Trim(name, "0123456789:,*$") == "":
		return nil, r.fail(at, "message numbers mean nothing here: name UIDs, as in UID %s", name)
	case !ok:
		return nil, r.fail(at, "this is no search key; text to look for follows TEXT, SUBJECT, FROM or the like")
	}
	switch arg {
	case argText:
		s, err := r.astring()
		fields := map[string]Fields{"BCC": 1 << Bcc, "BODY": 1 << Body, "CC": 1 << Cc, "FROM": 1 << From, "SUBJECT": 1 << Subject, "TEXT": Text, "TO": 1 << To}
		return has(fields[name], s, r.runes(at)), err
	case argDate:
		return r.date(name)
	case argNumber:
		return r.number(name)
	case argKeyword:
		s, err := r.astring()
		n := &node{op: opKeyword, name: s}
		if name == "UNKEYWORD" {
			n = not(n)
		}
		return n, err
	case argHeader:
		field, err := r.astring()
		if err != nil {
			return nil, err
		}
		s, err := r.astring()
		n := has(0, s, r.runes(at))
		n.op, n.name = opHeader, strings.ToLower(field)
		return n, err
	case argUIDs:
		return r.uids()
	case argOne:
		n, err := r.key()
		if err != nil {
			return nil, err
		}
		return not(n), nil
	case argTwo: // one of many is written OR x OR y z: that is a list, and not nested
		r.depth--
		defer func() { r.depth++ }()
		x, err := r.key()
		if err != nil {
			return nil, err
		}
		y, err := r.key()
		return or([]*node{x, y}), err
	case argUnknown:
		return nil, r.fail(at, "what %s asks for is not kept here", name)
	case argRecent:
		return nil, r.fail(at, `\Recent belongs to one connection to the mail server and is not kept; SINCE or UID may help`)
	}
	flags := map[string]mail.Flags{"ANSWERED": mail.FlagAnswered, "DELETED": mail.FlagDeleted, "DRAFT": mail.FlagDraft, "FLAGGED": mail.FlagFlagged, "SEEN": mail.FlagSeen}
	if f, ok := flags[name]; ok {
		return &node{op: opFlag, flags: f}, nil
	}
	if f, ok := flags[strings.TrimPrefix(name, "UN")]; ok {
		return not(&node{op: opFlag, flags: f}), nil
	}
	return &node{op: opAll}, nil
}

// date reads the argument of a key about dates. Days are those of UTC for when a message was received, and those that the
// sender wrote for when it was sent, as RFC 9051 6.4.4 wants: "disregarding time and timezone".
func (r *imapReader) date(name string) (*node, error) {
	r.blanks()
	at := r.i
	s, err := r.astring()
	if err != nil {
		return nil, err
	}
	t, err := time.Parse("2-Jan-2006", s)
	if err != nil {
		return nil, r.fail(at, "a date is written as 1-Feb-2026")
	}
	n := &node{op: opReceived, from: t.Unix(), before: t.Unix() + day}
	what, sent := strings.CutPrefix(name, "SENT")
	if sent {
		n.op, n.from, n.before = opSent, n.from/day, n.before/day
	}
	switch what {
	case "BEFORE":
		n.from, n.before = minTime, n.from
	case "SINCE":
		n.before = maxTime
	}
	return n, nil
}

func (r *imapReader) number(name string) (*node, error) {
	r.blanks()
	at := r.i
	s, err := r.astring()
	if err != nil {
		return nil, err
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		return nil, r.fail(at, "a number is missing here")
	}
	switch age := r.now.Unix() - v; name {
	case "LARGER":
		return &node{op: opSize, from: min(v, maxTime-1) + 1, before: maxTime}, nil
	case "SMALLER":
		return &node{op: opSize, from: minTime, before: v}, nil
	case "OLDER": // RFC 5032 3.1
		return &node{op: opReceived, from: minTime, before: age + 1}, nil
	default:
		return &node{op: opReceived, from: age, before: maxTime}, nil
	}
}

// uids reads a sequence set (RFC 9051 9). "*" is the largest UID there can be.
func (r *imapReader) uids() (*node, error) {
	r.blanks()
	at := r.i
	n := &node{op: opUID}
	for part := range strings.SplitSeq(r.atom(), ",") {
		a, b, isRange := strings.Cut(part, ":")
		if !isRange {
			b = a
		}
		var ends [2]mail.UID
		for i, s := range []string{a, b} {
			v, err := strconv.ParseUint(s, 10, 32)
			if s == "*" {
				v, err = math.MaxUint32, nil
			}
			if err != nil || v == 0 {
				return nil, r.fail(at, "UIDs are written as 4, 7:9 or 12:*")
			}
			ends[i] = mail.UID(v)
		}
		n.ranges = append(n.ranges, [2]mail.UID{min(ends[0], ends[1]), max(ends[0], ends[1])})
		if len(n.ranges) > MaxTerms {
			return nil, r.fail(at, "these are more than %d ranges", MaxTerms)
		}
	}
	return n, nil
}
