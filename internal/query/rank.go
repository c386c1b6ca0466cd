package query

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Ask is one text that a query asks for, not within a NOT: what messages are ranked by. Queries for flags, dates and header
// fields by name have none.
type Ask struct {
	All  Candidates // on messages that have it
	Head Candidates // on those that have it outside of Body and Header
}

// headFields say more about a message than its body does.
const headFields = Fields(1<<Body - 1)

// Asks returns what messages are ranked by.
func (q *Query) Asks() []Ask {
	var out []Ask
	for _, n := range q.asks() {
		a := Ask{All: n.candidates(), Head: Candidates{Op: TermOr}}
		if f := n.fields & headFields; f != 0 {
			a.Head = terms(n.pieces, f)
		}
		out = append(out, a)
	}
	return out
}

func (q *Query) asks() (out []*node) {
	todo := []*node{q.root}
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		switch n.op {
		case opAnd, opOr:
			todo = append(todo, n.kids...)
		case opHas, opWords:
			out = append(out, n)
		}
	}
	return out
}

// Counts say how often a message has what a query asks for.
type Counts struct {
	head, body []float64 // of each ask; head is weighted
	length     int       // of the body, bytes
}

// mostCounted bounds the work on one text; beyond it, more of the same says nothing.
const mostCounted = 50

// weights of the fields, in the order of their numbers. Who wrote it or what it is called says more than being mentioned.
var weights = [NumFields]float64{From: 2, To: 1, Cc: 1, Bcc: 1, Subject: 3, Filename: 2, Body: 1, Header: 0.5}

// Count looks at a message that matches.
func (q *Query) Count(d *Doc) Counts {
	c := Counts{length: len(d.Text[Body])}
	for _, n := range q.asks() {
		var head, body float64
		for f := range NumFields {
			if n.fields&(1<<f) == 0 {
				continue
			}
			var times int
			switch {
			case n.op == opWords:
				times = countWords(d.plainText(f), n.pieces, mostCounted)
			case f == Body:
				times = strings.Count(d.Text[f], n.text)
			default:
				times = strings.Count(d.Text[f], n.line)
			}
			if w := weights[f] * float64(min(times, mostCounted)); f == Body {
				body = w
			} else {
				head += w
			}
		}
		c.head, c.body = append(c.head, head), append(c.body, body)
	}
	return c
}

// Rank scores messages by BM25F (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, 3.6), whose bodies are
// measured against each other. total is how many messages there are, and having in how many of them each ask may be.
func Rank(list []Counts, total int64, having []int64) []float64 {
	const k1, b = 1.2, 0.75
	mean := 1.0
	for _, c := range list {
		mean += float64(c.length) / float64(len(list))
	}
	out := make([]float64, len(list))
	for i, c := range list {
		for a := range c.head {
			tf := c.head[a] + c.body[a]/(1-b+b*float64(c.length)/mean)
			out[i] += Rarity(total, having[a]) * tf * (k1 + 1) / (tf + k1)
		}
	}
	return out
}

// Rarity is how much it says of a message to have what n of total messages have; above 0.
func Rarity(total, n int64) float64 {
	return math.Log(1 + (float64(max(total-n, 0))+0.5)/(float64(n)+0.5))
}

// countWords counts how often the pieces stand one after the other, up to most.
func countWords(s string, pieces []piece, most int) (n int) {
	first := pieces[0].text
	for from := 0; n < most; {
		i := strings.Index(s[from:], first)
		if i < 0 {
			break
		}
		i += from
		if startsWords(s, i, pieces) {
			n++
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		from = i + size
	}
	return n
}
