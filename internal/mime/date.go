package mime

import (
	"strings"
	"time"
)

const maxDate = 256

// parseDate reads a date (RFC 5322 3.3 with 4.3) and the forms that mailers write instead of it.
func parseDate(s string) (time.Time, bool) {
	if len(s) > maxDate {
		s = s[:maxDate]
	}
	s = stripComments(unfold(s))
	if i := strings.IndexByte(s, '('); i > 0 {
		s = s[:i]
	}
	for strings.Contains(s, " :") || strings.Contains(s, ": ") { // obsolete white space within the time
		s = strings.ReplaceAll(strings.ReplaceAll(s, " :", ":"), ": ", ":")
	}
	d := dateParts{day: -1, month: -1, year: -1, hour: -1}
	for f := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\r' || r == '\n' || r == 0xa0 }) {
		d.token(strings.Trim(f, `"'`))
	}
	return d.time()
}

// ReceivedBy returns when the message was received last, as its newest Received field with a date that is not after now tells;
// zero if none does.
func (m *Message) ReceivedBy(now time.Time) time.Time {
	for _, f := range m.Header.All("Received") {
		if at, ok := parseDate(f[strings.LastIndexByte(f, ';')+1:]); ok && !at.After(now) {
			return at
		}
	}
	return time.Time{}
}

type dateParts struct {
	day, month, year int
	hour, min, sec   int
	pm, am           bool
	zone             int // seconds east
	hasZone          bool
	bad              bool // a clock that is none
}

func (d *dateParts) token(f string) {
	switch {
	case f == "":
	case strings.IndexByte(f, ':') >= 0 && f[0] >= '0' && f[0] <= '9':
		d.clock(f)
	case (f[0] == '+' || f[0] == '-') && d.hour >= 0:
		if !d.hasZone {
			d.offset(f)
		}
	case isDigits(f):
		d.number(f)
	case d.isDottedTime(f):
		d.clock(strings.ReplaceAll(f, ".", ":"))
	case strings.ContainsAny(f, "-/."):
		d.dashed(f)
	default:
		d.wordToken(f)
	}
}

// isDottedTime tells whether f is a time as some countries write it, "10.05.30", behind the whole date.
func (d *dateParts) isDottedTime(f string) bool {
	return d.hour < 0 && d.day > 0 && d.month > 0 && d.year >= 0 && strings.IndexByte(f, '.') > 0 && isDigits(strings.ReplaceAll(f, ".", ""))
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (d *dateParts) number(f string) {
	n := 0
	for i := 0; i < len(f) && i < 9; i++ {
		n = n*10 + int(f[i]-'0')
	}
	switch {
	case (len(f) <= 2 || len(f) == 3 && f[0] == '0') && d.day < 0 && n >= 1 && n <= 31:
		d.day = n
	case d.year < 0 && len(f) <= 5:
		d.setYear(n, len(f))
	case len(f) == 4 && d.hour >= 0 && !d.hasZone: // a zone that lost its sign
		d.offset("+" + f)
	}
}

func (d *dateParts) setYear(n, digits int) {
	if digits <= 3 { // RFC 5322 4.3
		switch {
		case n < 50:
			n += 2000
		case n < 1000:
			n += 1900
		}
	}
	d.year = n
}

func (d *dateParts) clock(f string) {
	if d.hour >= 0 {
		return
	}
	if i := strings.IndexByte(f, 'T'); i > 0 { // ISO 8601
		d.dashed(f[:i])
		f = f[i+1:]
	}
	end := 0
	for end < len(f) && (f[end] >= '0' && f[end] <= '9' || f[end] == ':' || f[end] == '.') {
		end++
	}
	rest := f[end:]
	clock := f[:end]
	if i := strings.IndexByte(clock, '.'); i > 0 && strings.Count(clock, ":") >= 1 {
		clock = clock[:i]
	}
	var v [3]int
	n := 0
	for p := range strings.SplitSeq(clock, ":") {
		if n == 3 {
			break
		}
		if v[n] = atoi(p); v[n] < 0 {
			v[n] = 0
		}
		n++
	}
	if v[0] > 24 || v[1] > 59 || v[2] > 61 {
		d.bad = true
		return
	}
	d.hour, d.min, d.sec = v[0], v[1], v[2]
	if rest != "" {
		if rest[0] == '+' || rest[0] == '-' {
			d.offset(rest)
		} else {
			d.wordToken(rest)
		}
	}
}

// offset reads +hhmm, +hh:mm, +hmm and +hh.
func (d *dateParts) offset(f string) {
	sign := 1
	if f[0] == '-' {
		sign = -1
	}
	f = f[1:] // "+-0500" is no zone
	f = strings.Replace(f, ":", "", 1)
	end := 0
	for end < len(f) && f[end] >= '0' && f[end] <= '9' {
		end++
	}
	f = f[:end]
	n := atoi(f)
	if n < 0 {
		return
	}
	if len(f) <= 2 {
		n *= 100
	}
	h, m := n/100, n%100
	if h > 23 || m > 59 {
		return
	}
	d.zone, d.hasZone = sign*(h*3600+m*60), true
}

// dashed reads 12-Mar-2003, 2003-03-12 and 12.03.2003.
func (d *dateParts) dashed(f string) {
	p := strings.FieldsFunc(f, func(r rune) bool { return r == '-' || r == '/' || r == '.' })
	if len(p) == 3 && isDigits(p[0]) && isDigits(p[1]) && isDigits(p[2]) {
		a, b, c := atoi(p[0]), atoi(p[1]), atoi(p[2])
		switch {
		case len(p[0]) == 4 && b >= 1 && b <= 12 && c >= 1 && c <= 31:
			d.year, d.month, d.day = a, b, c
		case strings.IndexByte(f, '/') >= 0 && a >= 1 && a <= 12 && b >= 1 && b <= 31: // US
			d.month, d.day = a, b
			d.setYear(c, len(p[2]))
		case a >= 1 && a <= 31 && b >= 1 && b <= 12:
			d.day, d.month = a, b
			d.setYear(c, len(p[2]))
		}
		return
	}
	if len(p) == 0 || len(p) > 4 {
		return
	}
	for _, x := range p {
		if isDigits(x) {
			d.number(x)
		} else {
			d.wordToken(x)
		}
	}
}

const monthNames = "janfebmaraprmayjunjulaugsepoctnovdec"

func (d *dateParts) wordToken(f string) {
	l := strings.ToLower(f)
	if len(l) >= 3 && d.month < 0 {
		if i := strings.Index(monthNames, l[:3]); i >= 0 && i%3 == 0 {
			d.month = i/3 + 1
			return
		}
	}
	if d.day < 0 && len(l) >= 3 && isDigits(l[:len(l)-2]) { // 1st, 2nd, 3rd
		d.number(l[:len(l)-2])
		return
	}
	if d.hour < 0 {
		return
	}
	switch l {
	case "am":
		d.am = true
		return
	case "pm":
		d.pm = true
		return
	}
	if d.hasZone {
		return
	}
	if i := strings.IndexAny(l, "+-"); i > 0 { // GMT+0200
		d.offset(l[i:])
		return
	}
	if z, ok := zoneHours(l); ok {
		d.zone, d.hasZone = int(z*3600), true
	}
}

// zoneHours knows the obsolete zones of RFC 5322 4.3 and some others that are unambiguous enough.
func zoneHours(z string) (float64, bool) {
	switch z {
	case "ut", "utc", "gmt", "z", "wet":
		return 0, true
	case "est":
		return -5, true
	case "edt":
		return -4, true
	case "cst":
		return -6, true
	case "cdt":
		return -5, true
	case "mst":
		return -7, true
	case "mdt":
		return -6, true
	case "pst":
		return -8, true
	case "pdt":
		return -7, true
	case "akst":
		return -9, true
	case "akdt":
		return -8, true
	case "hst":
		return -10, true
	case "ast":
		return -4, true
	case "adt":
		return -3, true
	case "bst", "met", "cet", "west":
		return 1, true
	case "mest", "cest", "eet", "metdst":
		return 2, true
	case "eest", "msk":
		return 3, true
	case "msd":
		return 4, true
	case "jst", "kst":
		return 9, true
	case "aest":
		return 10, true
	case "aedt":
		return 11, true
	case "nzst":
		return 12, true
	case "nzdt":
		return 13, true
	}
	return 0, false
}

func (d *dateParts) time() (time.Time, bool) {
	if d.bad || d.day < 0 || d.month < 0 || d.year < 0 || d.year > 9999 {
		return time.Time{}, false
	}
	h := max(d.hour, 0)
	if d.pm && h < 12 {
		h += 12
	} else if d.am && h == 12 {
		h = 0
	}
	loc := time.UTC
	if d.zone != 0 {
		loc = time.FixedZone("", d.zone)
	}
	return time.Date(d.year, time.Month(d.month), d.day, h, d.min, d.sec, 0, loc), true
}
