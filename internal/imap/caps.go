package imap

import (
	"slices"
	"strconv"
	"strings"
)

// Caps is what the server said it can do. The zero value has nothing.
type Caps struct{ m map[string]struct{} }

// Has reports whether the server advertised name, written in upper case: "IDLE", "AUTH=PLAIN".
func (c Caps) Has(name string) bool {
	_, ok := c.m[name]
	return ok
}

// Names returns all of them in upper case and sorted.
func (c Caps) Names() []string {
	out := make([]string, 0, len(c.m))
	for k := range c.m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// number returns the least number, from 0 on, that stands behind a name such as "APPENDLIMIT=".
func (c Caps) number(name string) (least int64, ok bool) {
	for k := range c.m {
		if digits, has := strings.CutPrefix(k, name); has {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 && (!ok || n < least) {
				least, ok = n, true
			}
		}
	}
	return least, ok
}

// maxCaps bounds the number of capabilities kept.
const maxCaps = 1000

func parseCaps(text string) Caps {
	c := Caps{map[string]struct{}{}}
	for f := range strings.FieldsSeq(text) {
		if len(c.m) == maxCaps {
			break
		}
		c.m[strings.ToUpper(f)] = struct{}{}
	}
	return c
}
