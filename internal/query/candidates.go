package query

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// TermOp is how index terms are combined.
type TermOp uint8

// The operations.
const (
	TermAll    TermOp = iota // no term is needed: every message is a candidate
	TermIs                   // a term
	TermPrefix               // a term that begins so
	TermSuffix               // a term that ends so
	TermInfix                // a term that contains it
	TermAnd
	TermOr
	TermNot // the condition that is its kid does not hold; it is exact
)

// Candidates is a condition on the index terms (see Terms) of a message.
type Candidates struct {
	Op     TermOp
	Text   string
	Fields Fields // the term is one of any of these
	Kids   []Candidates
}

// Candidates returns the condition that every matching message fulfils.
func (q *Query) Candidates() Candidates { return q.root.candidates() }

func (n *node) candidates() Candidates {
	switch n.op {
	case opAnd, opOr:
		out := Candidates{Op: TermAnd}
		if n.op == opOr {
			out.Op = TermOr
		}
		for _, k := range n.kids {
			c := k.candidates()
			switch {
			case c.Op != TermAll:
				out.Kids = append(out.Kids, c)
			case n.op == opOr:
				return Candidates{}
			}
		}
		return out.simple()
	case opNot:
		if k := n.kids[0]; k.byTerms() {
			return Candidates{Op: TermNot, Kids: []Candidates{k.candidates()}}
		}
	case opHas, opWords:
		return terms(n.pieces, n.fields)
	case opHeader:
		if SignedHeader(n.name) {
			return Candidates{}
		}
		in := Fields(1 << Header)
		if f, ok := OwnField(n.name); ok {
			in = 1 << f
		}
		return terms(n.pieces, in)
	}
	return Candidates{}
}

// byTerms tells whether the candidates of n are just what matches: a word, or the beginning of one, that no cut term can be
// taken for.
func (n *node) byTerms() bool {
	return n.op == opWords && len(n.pieces) == 1 && !n.pieces[0].sign && !n.pieces[0].left && len(n.pieces[0].text) <= MaxTerm-utf8.UTFMax
}

// Undecided is what is left to decide of a message that fulfils Candidates: the query without what the terms alone decide.
func (q *Query) Undecided() *Query { return &Query{q.root.undecided()} }

func (n *node) undecided() *node {
	if n.decided() {
		return &node{op: opAll}
	}
	if n.op != opAnd {
		return n
	}
	var kids []*node
	for _, k := range n.kids {
		if k = k.undecided(); k.op != opAll {
			kids = append(kids, k)
		}
	}
	return and(kids)
}

// decided tells whether the candidates of n are just what matches.
func (n *node) decided() bool {
	switch n.op {
	case opAll:
		return true
	case opAnd, opOr:
		return !slices.ContainsFunc(n.kids, func(k *node) bool { return !k.decided() })
	case opNot:
		return n.kids[0].byTerms()
	}
	return n.byTerms()
}

func (c Candidates) simple() Candidates {
	switch len(c.Kids) {
	case 0:
		return Candidates{}
	case 1:
		return c.Kids[0]
	}
	return c
}

// maxPairs bounds how many pairs of a long run of signs are looked up.
const maxPairs = 8

// terms are what the pieces of a text have to be found by. A term that is only known to end somehow costs a walk over the
// dictionary, so it is left out where others narrow the search already.
func terms(pieces []piece, f Fields) Candidates {
	out := Candidates{Op: TermAnd}
	var dear []Candidates
	for _, p := range pieces {
		switch {
		case p.sign:
			out.Kids = append(out.Kids, pairs(p.text, f)...)
		case p.left:
			long := Candidates{Op: TermIs, Text: longTerm, Fields: f} // may hold it where it was cut off
			end := TermSuffix
			if p.right {
				end = TermInfix
			}
			if len(p.text) > MaxTerm {
				dear = append(dear, long)
			} else {
				dear = append(dear, Candidates{Op: TermOr, Kids: []Candidates{{Op: end, Text: p.text, Fields: f}, long}})
			}
		case p.right || len(p.text) > MaxTerm:
			out.Kids = append(out.Kids, Candidates{Op: TermPrefix, Text: cutTerm(p.text), Fields: f})
		default:
			out.Kids = append(out.Kids, Candidates{Op: TermIs, Text: p.text, Fields: f})
		}
	}
	if len(out.Kids) == 0 {
		out.Kids = dear
	}
	return out.simple()
}

func pairs(run string, f Fields) []Candidates {
	_, n := utf8.DecodeRuneInString(run)
	if n == len(run) { // it begins a pair, or stands alone at the end of a run
		return []Candidates{{Op: TermPrefix, Text: run, Fields: f}}
	}
	var out []Candidates
	Terms(run, func(t string) {
		if _, n := utf8.DecodeRuneInString(t); n < len(t) && len(out) < maxPairs {
			out = append(out, Candidates{Op: TermIs, Text: strings.Clone(t), Fields: f})
		}
	})
	return out
}
