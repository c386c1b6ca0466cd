package persona

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// node is one argument: a string or a list.
type node struct {
	s      string
	list   []node
	isList bool
}

// parse reads the arguments of a command: atoms, with what is in their brackets, strings, literals and lists.
func parse(text string) []node {
	p := argParser{text}
	return p.list(false)
}

type argParser struct{ rest string }

func (p *argParser) list(inner bool) (out []node) {
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		switch {
		case p.rest == "":
			return out
		case p.rest[0] == ')':
			p.rest = p.rest[1:]
			if inner {
				return out
			}
		case p.rest[0] == '(':
			p.rest = p.rest[1:]
			out = append(out, node{list: p.list(true), isList: true})
		case p.rest[0] == '"':
			out = append(out, node{s: p.quoted()})
		case p.rest[0] == '{':
			out = append(out, node{s: p.literal()})
		default:
			out = append(out, node{s: p.atom()})
		}
	}
}

func (p *argParser) quoted() string {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	p.rest = ""
	return b.String()
}

func (p *argParser) literal() string {
	head, rest, ok := strings.Cut(p.rest, "}\r\n")
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(head, "{"), "+"))
	if !ok || err != nil || n > len(rest) {
		p.rest = ""
		return ""
	}
	p.rest = rest[n:]
	return rest[:n]
}

func (p *argParser) atom() string {
	depth := 0
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth == 0 && (c == ' ' || c == '(' || c == ')'):
			out := p.rest[:i]
			p.rest = p.rest[i:]
			return out
		}
	}
	out := p.rest
	p.rest = ""
	return out
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Set writes ascending UIDs as a set: 1:3,7.
func Set(uids []uint32) string {
	var out []string
	for i := 0; i < len(uids); {
		j := i
		for j+1 < len(uids) && uids[j+1] == uids[j]+1 {
			j++
		}
		if i == j {
			out = append(out, fmt.Sprint(uids[i]))
		} else {
			out = append(out, fmt.Sprintf("%d:%d", uids[i], uids[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}

// numbers is a set as a client wrote it; last stands for its stars.
type numbers [][2]uint32

func parseNumbers(text string, last uint32) (numbers, bool) {
	var out numbers
	one := func(s string) (uint32, bool) {
		if s == "*" {
			return last, true
		}
		n, err := strconv.ParseUint(s, 10, 32)
		return uint32(n), err == nil && n > 0
	}
	for _, part := range strings.Split(text, ",") {
		a, b, ranged := strings.Cut(part, ":")
		from, ok := one(a)
		to := from
		if ranged && ok {
			to, ok = one(b)
		}
		if !ok {
			return nil, false
		}
		out = append(out, [2]uint32{min(from, to), max(from, to)})
	}
	return out, true
}

func (n numbers) ascend() bool {
	return slices.IsSortedFunc(n, func(a, b [2]uint32) int { return cmp.Compare(a[0], b[0]) })
}

func (n numbers) has(v uint32) bool {
	return slices.ContainsFunc(n, func(r [2]uint32) bool { return r[0] <= v && v <= r[1] })
}

// window reads "1:30" or "-1:-30" and cuts the list to it.
func window[T any](text string, list []T) []T {
	a, b, _ := strings.Cut(text, ":")
	from, _ := strconv.Atoi(a)
	to, _ := strconv.Atoi(b)
	if from < 0 {
		from, to = len(list)+1+from, len(list)+1+to
	}
	from, to = min(from, to), max(from, to)
	from, to = max(from, 1), min(to, len(list))
	if from > to {
		return nil
	}
	return list[from-1 : to]
}

func (s *session) put(format string, args ...any) {
	s.buf = append(s.buf, fmt.Sprintf(format, args...))
}

const noLimit = math.MaxInt
