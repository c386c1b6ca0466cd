package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// reader goes through the text of a query and counts what it finds against the limits.
type reader struct {
	s     string
	i     int
	depth int
	terms int
	now   time.Time
}

func (r *reader) fail(at int, format string, args ...any) error {
	return failed(r.runes(at), fmt.Sprintf(format, args...))
}

func (r *reader) runes(at int) int { return utf8.RuneCountInString(r.s[:at]) }

func (r *reader) blanks() {
	for r.i < len(r.s) && strings.IndexByte(" \t\r\n", r.s[r.i]) >= 0 {
		r.i++
	}
}

func (r *reader) end() bool { return r.i >= len(r.s) }

func (r *reader) peek(c byte) bool { return r.i < len(r.s) && r.s[r.i] == c }

// enter begins something nested; the caller leaves it by depth--.
func (r *reader) enter() error {
	if r.depth++; r.depth > MaxDepth {
		return r.fail(r.i, "a query is nested at most %d deep", MaxDepth)
	}
	return nil
}

func (r *reader) term(at int) error {
	if r.terms++; r.terms > MaxTerms {
		return r.fail(at, "a query asks for at most %d things", MaxTerms)
	}
	return nil
}

// quoted reads a string in quotes; backslashes protect quotes and themselves.
func (r *reader) quoted() (string, error) {
	at := r.i
	var b strings.Builder
	for r.i++; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case c == '"':
			r.i++
			return b.String(), nil
		case c == '\\' && r.i+1 < len(r.s) && (r.s[r.i+1] == '"' || r.s[r.i+1] == '\\'):
			r.i++
			b.WriteByte(r.s[r.i])
		default:
			b.WriteByte(c)
		}
	}
	return "", r.fail(at, "this quote is not closed")
}

const day = 24 * 60 * 60

// span is the time from a date to before another.
type span struct{ from, before int64 }

func days(t time.Time, y, m, d int) span {
	return span{t.Unix(), t.AddDate(y, m, d).Unix()}
}

// size reads a number of bytes: 500, 10K, 2.5M, 1G.
func size(s string) (int64, bool) {
	s = strings.TrimSuffix(strings.ToUpper(s), "B")
	unit := int64(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'K':
			unit = 1 << 10
		case 'M':
			unit = 1 << 20
		case 'G':
			unit = 1 << 30
		}
		if unit > 1 {
			s = s[:len(s)-1]
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0 && n < 1<<40) || strings.ContainsAny(s, "XxPp_INin") {
		return 0, false
	}
	return int64(n * float64(unit)), true
}
