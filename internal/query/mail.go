package query

import (
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

type mailReader struct {
	reader
	fields Fields // that words without a field of their own look at
	braces int    // 1 directly within braces
}

func parseMail(s string, now time.Time) (*node, error) {
	r := &mailReader{reader: reader{s: plainBlanks(s), now: now}, fields: Anywhere}
	r.blanks()
	if r.end() {
		return nil, r.fail(0, "the query is empty")
	}
	return r.list(0)
}

// plainBlanks makes those blanks of a query plain that other keyboards write, outside of quotes: a folder may have one in its name. The
// quotes that phones make of plain ones become plain again, if all have a partner and none is plain.
func plainBlanks(s string) string {
	if isASCII(s) {
		return s
	}
	if n := strings.Count(s, "“") + strings.Count(s, "”") + strings.Count(s, "„"); n%2 == 0 && strings.IndexByte(s, '"') < 0 {
		s = strings.NewReplacer("“", `"`, "”", `"`, "„", `"`).Replace(s)
	}
	quoted, escaped := false, false
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' && !escaped:
			quoted = !quoted
		case !quoted && (c == 0x3000 || c == 0xa0):
			return ' '
		}
		escaped = quoted && c == '\\' && !escaped
		return c
	}, s)
}

// list reads what must all hold, up to the end or the closing bracket. OR binds closer than standing beside each other; in
// braces one of all is enough.
func (r *mailReader) list(closing byte) (*node, error) {
	at := r.i
	var all []*node
	either := false // the next one is an alternative to the last
	for {
		r.blanks()
		switch {
		case r.end() && closing != 0:
			return nil, r.fail(max(at-1, 0), "this bracket is not closed")
		case r.end(), r.peek(closing) && closing != 0:
			if either {
				return nil, r.fail(r.i, "after OR something is missing")
			}
			if len(all) == 0 {
				return nil, r.fail(r.i, "something to look for is missing")
			}
			if closing == '}' {
				return or(all), nil
			}
			return and(all), nil
		case r.peek(')'):
			return nil, r.fail(r.i, "this bracket was not opened")
		}
		start := r.i
		if r.word("OR") || r.word("|") {
			if len(all) == 0 || either {
				return nil, r.fail(start, "before OR something is missing")
			}
			either = true
			continue
		}
		if r.word("AND") || r.word("&") {
			continue
		}
		n, err := r.unit()
		if err != nil {
			return nil, err
		}
		if last := len(all) - 1; !either {
			all = append(all, n)
		} else if all[last].op == opOr && all[last].pos < 0 {
			all[last].kids = append(all[last].kids, n)
		} else {
			all[last] = &node{op: opOr, kids: []*node{all[last], n}, pos: -1}
		}
		either = false
	}
}

// word takes w if it stands there as a word of its own.
func (r *mailReader) word(w string) bool {
	rest, ok := strings.CutPrefix(r.s[r.i:], w)
	if ok && (rest == "" || strings.IndexByte(" \t\r\n()", rest[0]) >= 0) {
		r.i += len(w)
		return true
	}
	return false
}

// unit reads one thing to look for, or what is in brackets.
func (r *mailReader) unit() (*node, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	at := r.i
	switch {
	case r.word("NOT"), r.peek('-') && r.i+1 < len(r.s) && strings.IndexByte(" \t\r\n-)", r.s[r.i+1]) < 0:
		if r.i == at {
			r.i++
		}
		if r.blanks(); r.end() {
			return nil, r.fail(r.i, "after NOT something is missing")
		}
		n, err := r.unit()
		if err != nil {
			return nil, err
		}
		return not(n), nil
	case r.peek('(') || r.peek('{'):
		return r.bracket()
	case r.peek('"'):
		if err := r.term(at); err != nil {
			return nil, err
		}
		s, err := r.quoted()
		return words(r.fields, s, r.star(), r.runes(at)), err
	}
	if err := r.term(at); err != nil {
		return nil, err
	}
	for r.i < len(r.s) && strings.IndexByte(" \t\r\n()\":{}", r.s[r.i]) < 0 {
		r.i++
	}
	if name := strings.ToLower(r.s[at:r.i]); r.peek(':') && isOperator(name) {
		r.i++
		return r.operator(name, at)
	}
	for r.inWord() {
		r.i++
	}
	s, star := strings.CutSuffix(r.s[at:r.i], "*")
	if s == "" {
		return nil, r.fail(at, "there must be a beginning before *")
	}
	return words(r.fields, s, star, r.runes(at)), nil
}

// inWord tells whether a word goes on here. A closing brace ends it only where one is open.
func (r *mailReader) inWord() bool {
	return r.i < len(r.s) && strings.IndexByte(" \t\r\n()\"", r.s[r.i]) < 0 && (r.braces == 0 || r.s[r.i] != '}')
}

// star takes an asterisk: the last word may go on.
func (r *mailReader) star() bool {
	if r.peek('*') {
		r.i++
		return true
	}
	return false
}

func (r *mailReader) bracket() (*node, error) {
	closing := byte(')')
	was := r.braces
	if r.braces = 0; r.peek('{') {
		closing, r.braces = '}', 1
	}
	r.i++
	n, err := r.list(closing)
	if r.braces = was; err == nil {
		r.i++
	}
	return n, err
}

func isOperator(name string) bool {
	if _, ok := textOperator(name); ok {
		return true
	}
	switch name {
	case "has", "is", "in", "folder", "label", "keyword", "tag", "before", "until", "older", "after", "since", "newer", "on", "date", "older_than", "newer_than", "larger", "smaller", "size",
		"rfc822msgid", "message-id", "list":
		return true
	}
	return false
}

func textOperator(name string) (Fields, bool) {
	switch name {
	case "from":
		return 1 << From, true
	case "to":
		return 1 << To, true
	case "cc":
		return 1 << Cc, true
	case "bcc":
		return 1 << Bcc, true
	case "subject":
		return 1 << Subject, true
	case "body":
		return 1 << Body, true
	case "filename", "attachment":
		return 1 << Filename, true
	case "any_email", "with":
		return AnyEmail, true
	}
	return 0, false
}

// operator reads what follows `name:`.
func (r *mailReader) operator(name string, at int) (*node, error) {
	if f, ok := textOperator(name); ok && (r.peek('(') || r.peek('{')) {
		was := r.fields
		r.fields = f
		n, err := r.bracket()
		r.fields = was
		return n, err
	}
	from := r.i
	var s string
	var err error
	if r.peek('"') {
		s, err = r.quoted()
	} else {
		for r.inWord() {
			r.i++
		}
		s = r.s[from:r.i]
	}
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(s) == "" {
		return nil, r.fail(from, "after %s: something is missing", name)
	}
	if f, ok := textOperator(name); ok {
		star := r.star()
		if r.s[from] != '"' {
			s, star = strings.CutSuffix(s, "*")
		}
		if s == "" {
			return nil, r.fail(from, "there must be a beginning before *")
		}
		return words(f, s, star, r.runes(at)), nil
	}
	lower := strings.ToLower(s)
	switch name {
	case "in", "folder", "label":
		if lower == "anywhere" || lower == "all" {
			return &node{op: opAll}, nil
		}
		return &node{op: opFolder, name: s, pos: r.runes(from)}, nil
	case "keyword", "tag":
		return &node{op: opKeyword, name: s}, nil
	case "has":
		if lower == "attachment" || lower == "attachments" {
			return &node{op: opAttachment}, nil
		}
		return nil, r.fail(from, "has: takes attachment")
	case "is":
		return r.state(lower, from)
	case "rfc822msgid", "message-id", "list":
		n := has(0, strings.Trim(s, "<>"), r.runes(at))
		n.op, n.name = opHeader, "message-id"
		if name == "list" {
			n.name = "list-id"
		}
		return n, nil
	case "larger", "smaller", "size":
		v, ok := size(s)
		if !ok {
			return nil, r.fail(from, "a size is written as 500, 20K or 10M")
		}
		if name == "smaller" {
			return &node{op: opSize, from: minTime, before: v}, nil
		}
		return &node{op: opSize, from: v + 1, before: maxTime}, nil
	case "older_than", "newer_than":
		t, ok := r.ago(lower)
		if !ok {
			return nil, r.fail(from, "an age is written as 12h, 3d, 2w, 6m or 1y")
		}
		if name == "older_than" {
			return &node{op: opReceived, from: minTime, before: t}, nil
		}
		return &node{op: opReceived, from: t, before: maxTime}, nil
	}
	sp, ok := date(s)
	if !ok {
		return nil, r.fail(from, "a date is written as 2026-02-01, 2026-02 or 2026, or in Unix seconds")
	}
	switch name {
	case "before", "until", "older":
		return &node{op: opReceived, from: minTime, before: sp.from}, nil
	case "after", "since", "newer":
		return &node{op: opReceived, from: sp.from, before: maxTime}, nil
	}
	return &node{op: opReceived, from: sp.from, before: sp.before}, nil
}

func (r *mailReader) state(s string, at int) (*node, error) {
	set := func(f mail.Flags) (*node, error) { return &node{op: opFlag, flags: f}, nil }
	unset := func(f mail.Flags) (*node, error) { return not(&node{op: opFlag, flags: f}), nil }
	switch s {
	case "unread", "unseen":
		return unset(mail.FlagSeen)
	case "read", "seen":
		return set(mail.FlagSeen)
	case "starred", "flagged":
		return set(mail.FlagFlagged)
	case "unstarred", "unflagged":
		return unset(mail.FlagFlagged)
	case "answered", "replied":
		return set(mail.FlagAnswered)
	case "unanswered", "unreplied":
		return unset(mail.FlagAnswered)
	case "draft":
		return set(mail.FlagDraft)
	}
	return nil, r.fail(at, "is: takes unread, read, starred, unstarred, answered, unanswered or draft")
}

// date reads a day, a month or a year in UTC, or a time in Unix seconds.
func date(s string) (span, bool) {
	s = strings.ReplaceAll(s, "/", "-")
	if t, err := time.Parse("2006-1-2", s); err == nil {
		return days(t, 0, 0, 1), true
	}
	if t, err := time.Parse("2006-1", s); err == nil {
		return days(t, 0, 1, 0), true
	}
	if t, err := time.Parse("2006", s); err == nil {
		return days(t, 1, 0, 0), true
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) >= 9 && len(s) <= 11 {
		return span{n, n + 1}, true
	}
	return span{}, false
}

// ago reads an age and returns when that was.
func (r *mailReader) ago(s string) (int64, bool) {
	if len(s) < 2 {
		return 0, false
	}
	n, err := strconv.Atoi(s[:len(s)-1])
	if err != nil || n < 0 || n > 100000 {
		return 0, false
	}
	t := r.now.UTC()
	switch s[len(s)-1] {
	case 'h':
		t = t.Add(-time.Duration(n) * time.Hour)
	case 'd':
		t = t.AddDate(0, 0, -n)
	case 'w':
		t = t.AddDate(0, 0, -7*n)
	case 'm':
		t = t.AddDate(0, -n, 0)
	case 'y':
		t = t.AddDate(-n, 0, 0)
	default:
		return 0, false
	}
	return t.Unix(), true
}
