package query

import (
	"slices"
	"strings"
	"testing"
)

func TestRank(t *testing.T) {
	t.Parallel()
	doc := func(subject, body string) *Doc {
		d := &Doc{}
		d.Text[Subject], d.Text[Body] = Fold(subject), Fold(body)
		return d
	}
	long := strings.Repeat("filler ", 400)
	for _, c := range []struct {
		name, query   string
		having        []int64 // of 1000 messages
		better, worse *Doc
	}{
		{"in the subject", "harbour", []int64{50}, doc("The harbour", "x"), doc("x", "the harbour")},
		{"more often", "harbour", []int64{50}, doc("", "harbour harbour here"), doc("", "harbour only here")},
		{"in a short text", "harbour", []int64{50}, doc("", "harbour"), doc("", "harbour "+long)},
		{"the rarer word of two", "harbour OR the", []int64{5, 900}, doc("", "harbour filler filler"), doc("", "the the filler")},
		{"both of two", "harbour OR ledger", []int64{50, 50}, doc("", "harbour ledger x x"), doc("", "harbour harbour x x")},
		{"whole words", "harbour", []int64{50}, doc("", "harbour harbour"), doc("", "harbour harbours")},
		{"a phrase", `"the harbour"`, []int64{50}, doc("", "the harbour, the harbour"), doc("", "the harbour, a harbour")},
		{"pieces of text", `BODY "arbou"`, []int64{50}, doc("", "harbours arbour"), doc("", "harbours harvest")},
		{"what is not asked for", "harbour -ledger", []int64{50}, doc("", "harbour harbour"), doc("", "harbour boat")},
		{"signs", "東京", []int64{50}, doc("", "東京は東京"), doc("", "東京は京都")},
	} {
		q, err := Parse(c.query, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(q.Asks()); n != len(c.having) {
			t.Fatalf("%s: %d asks", c.name, n)
		}
		counts := []Counts{q.Count(c.worse), q.Count(c.better)}
		if s := Rank(counts, 1000, c.having); s[1] <= s[0] || s[0] <= 0 {
			t.Errorf("%s: %s: %v, the second should be more", c.name, c.query, s)
		}
	}
	for _, none := range []string{"is:unread", "-harbour", "after:2024-01-01 has:attachment", `HEADER X "y"`, "in:inbox"} {
		if q, err := Parse(none, testNow); err != nil || len(q.Asks()) > 0 {
			t.Errorf("%s: %v, %v", none, q.Asks(), err)
		}
	}
	d := doc("", strings.Repeat("harbour ", 1000))
	if q, _ := Parse("harbour", testNow); !slices.Equal(q.Count(d).body, []float64{mostCounted}) {
		t.Errorf("%v", q.Count(d))
	}
}
