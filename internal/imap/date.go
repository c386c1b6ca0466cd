package imap

import "time"

// parseInternalDate reads a date-time (RFC 3501 9), ` 2-Jan-2006 15:04:05 -0700`, with the liberties servers take:
// one-digit days with and without the blank, missing seconds or zone, day 00 (Domino) and odd years are refused.
// The result is in UTC.
func parseInternalDate(b []byte) (time.Time, bool) {
	p := dateParser{b: b}
	p.blanks()
	day, ok1 := p.num(1, 2)
	p.sep()
	mon := p.month()
	p.sep()
	year, ok2 := p.num(4, 4)
	p.blanks()
	hour, ok3 := p.num(1, 2)
	colon := p.is(':')
	minute, ok4 := p.num(1, 2)
	sec := 0
	if p.is(':') {
		var ok bool
		if sec, ok = p.num(1, 2); !ok {
			return time.Time{}, false
		}
	}
	p.blanks()
	off := p.zone()
	if !ok1 || !ok2 || !ok3 || !ok4 || !colon || mon == 0 || day < 1 || day > 31 || hour > 24 || minute > 59 || sec > 60 ||
		year < 1970 {
		return time.Time{}, false
	}
	t := time.Date(year, mon, day, hour, minute, sec, 0, time.UTC)
	if t.Month() != mon && day > 28 { // 31-Feb
		return time.Time{}, false
	}
	return t.Add(-time.Duration(off) * time.Second), true
}

type dateParser struct {
	b []byte
	i int
}

func (p *dateParser) blanks() {
	for p.i < len(p.b) && p.b[p.i] == ' ' {
		p.i++
	}
}

func (p *dateParser) sep() {
	for p.i < len(p.b) && (p.b[p.i] == '-' || p.b[p.i] == ' ') {
		p.i++
	}
}

func (p *dateParser) is(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *dateParser) num(least, most int) (v int, ok bool) {
	n := 0
	for n < most && p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		v = v*10 + int(p.b[p.i]-'0')
		p.i++
		n++
	}
	return v, n >= least
}

const months = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"

func (p *dateParser) month() time.Month {
	if len(p.b)-p.i < 3 {
		return 0
	}
	for m := range 12 {
		if hasPrefixFold(p.b[p.i:], months[3*m:3*m+3]) {
			p.i += 3
			return time.Month(m + 1)
		}
	}
	return 0
}

// zone reads +hhmm; anything else counts as UTC.
func (p *dateParser) zone() int {
	if p.i >= len(p.b) || p.b[p.i] != '+' && p.b[p.i] != '-' {
		return 0
	}
	neg := p.b[p.i] == '-'
	p.i++
	h, ok1 := p.num(2, 2)
	p.is(':')
	m, ok2 := p.num(2, 2)
	if !ok1 || !ok2 || h > 14 || m > 59 {
		return 0
	}
	off := h*3600 + m*60
	if neg {
		off = -off
	}
	return off
}
