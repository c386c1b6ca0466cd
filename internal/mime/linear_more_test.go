package mime

import (
	"fmt"
	"strings"
	"testing"
)

var hostileHTML = []string{
	"<", "<a", "<b>", "</b>", "<p>", "<div>", "<div><p>", "<br>", "<td>", "<tr><td>", "<table><tr><td>", "<li>", "<ul><li>", "<blockquote>", "<blockquote>a", "<a href=http://x>a", "<a href=http://x>", "<b>a", "<i><b>", "<pre>", "<!--", "<![CDATA[", "&", "&amp", "&#x",
	`<p style="display:none">`, `<a b="c" `, "<script>", "<script></script>", "</table>", "<p>a</div>", "<h1>a", "<code>a", "\u00a0", "<img alt=a>", "<hr>", "<dd>a", `<div class="gmail_quote">`, `<div class="gmail_quote">a`, `<div id=appendonsend>a`, "<span>", "<font>a ",
	"a<br>", "on 1 a@b wrote:<br>", "from: a<br>", "on x<br>", "<p>best regards", "<svg>", "<title>", "<select>", "<p><table>", "<center>", `<li style="a:b">`,
}

var hostileText = []string{
	">", ">\n", "> \n", "a\n> b\n", "on \n", "on 1:\n", "on 2026 a@b wrote:\n", "on 2026 a@b wrote:\n> a\n", "from: a\n", "from: a\nsent: b\n", "sent: \n", "-- \n", "--\n", "best\n", "thanks,\n", "____________________\n", "-----", "-----original message-----\n", "sent from my \n", "\n", " ", "\t",
	"a \n", "在写道:\n", "begin 644 a\n", "begin 644 a\n#0V%T\n", "begin 644 a\n#0V%T\nend\n", "=ybegin size= name=\n", "=ybegin size= name=\n=", "begin ", "-----BEGIN PGP ", "\n-----BEGIN PGP ", "a@b:\n", "a@b:\n>", "<a@b>:\n550\n", "unknown a@b\n", "5.1.", "5.1.1 ", "550 ", "\u3000", "view online\n", "http://a\n", "---\n",
}

// Not parallel: it counts what is allocated.
func TestTextMemoryIsLinear(t *testing.T) {
	check := func(what, h string, f func(s string)) {
		t.Helper()
		cost := func(n int) uint64 {
			s := strings.Repeat(h, n/len(h))
			return allocated(func() { f(s) })
		}
		const n = 32 << 10
		got := cost(n)
		if limit := uint64(poolWaste*1500*n + 1<<20); got > limit {
			t.Errorf("%s of %q: %d bytes allocated for %d", what, h, got, n)
		} else if twice := cost(2 * n); twice > 3*got+1<<20 {
			t.Errorf("%s of %q: %d bytes allocated for %d, %d for twice as much", what, h, got, n, twice)
		}
	}
	Sanitize("", SanitizeOptions{}) // builds its policy once
	o := DefaultCleanOptions()
	o.HTMLAsMarkdown = true
	for _, h := range hostileHTML {
		check("text", h, func(s string) { HTMLToText(s) })
		check("Markdown", h, func(s string) { HTMLToMarkdown(s) })
		check("clean HTML", h, func(s string) { CleanBody("Re: x", s, true, DefaultCleanOptions()) })
		check("clean Markdown", h, func(s string) { CleanBody("Re: x", s, true, o) })
		check("sanitized", h, func(s string) { Sanitize(s, SanitizeOptions{}) })
	}
	for _, h := range append(hostileText, hostile...) {
		check("clean text", h, func(s string) { CleanBody("Re: x", s, false, DefaultCleanOptions()) })
		check("snippet", h, func(s string) { Snippet(s, "") })
		check("flowed", h, func(s string) { unflow(s, true) })
		check("bounce", h, func(s string) {
			if _, err := Parse(strings.NewReader("Return-Path: <>\nX-Failed-Recipients: a@b\n\n"+s), Options{}); err != nil {
				t.Fatal(err)
			}
		})
		check("status", h, func(s string) { parseDeliveryStatus([]byte("Final-Recipient: a\nDiagnostic-Code: " + s)) })
	}
}

// Nobody waits for minutes: a megabyte of short pieces is cleaned, whatever stands between them.
func TestCleaningManyPieces(t *testing.T) {
	t.Parallel()
	for _, h := range []string{"--\n> a\n", "-- \na\n> a\n", "____________________\nlistinfo\n> a\n"} {
		CleanBody("Re: x", strings.Repeat(h, (1<<20)/len(h)), false, DefaultCleanOptions())
	}
}

// The tree is never deeper than its bound, so that what walks it cannot run out of stack; and it has at most a few
// nodes for every tag and text.
func TestTreeIsBounded(t *testing.T) {
	t.Parallel()
	for _, h := range hostileHTML {
		s := strings.Repeat(h, (100<<10)/len(h))
		depth, nodes := 0, 0
		var walk func(n *node, d int)
		walk = func(n *node, d int) {
			depth = max(depth, d)
			nodes++
			for _, k := range n.kids {
				walk(k, d+1)
			}
		}
		walk(parseHTML(s), 0)
		if depth > maxNest || nodes > len(s)/2+2 {
			t.Errorf("%q: %d deep, %d nodes for %d bytes", h, depth, nodes, len(s))
		}
	}
}

// Files within a text are found by looking at every byte a few times, in pieces of any size.
func TestEmbeddedWorkIsLinear(t *testing.T) {
	t.Parallel()
	for _, h := range append(hostileText, hostile...) {
		s := strings.Repeat(h, (200<<10)/len(h))
		for _, step := range []int{1, 100, len(s)} {
			e := embedded{id: "1", out: func([]byte) {}}
			for b := []byte(s); len(b) > 0; {
				n := min(step, len(b))
				e.write(b[:n])
				b = b[n:]
			}
			e.flush()
			if e.work > 12*int64(len(s)) {
				t.Errorf("%q by %d: looked at %d bytes of %d", h, step, e.work, len(s))
			}
			if len(e.files) > maxEmbedded {
				t.Errorf("%q: %d files", h, len(e.files))
			}
		}
	}
}

func TestManyEmbeddedFiles(t *testing.T) {
	t.Parallel()
	m := parse(t, "\r\n"+strings.Repeat("begin 644 a\r\n#0V%T\r\nend\r\n", 3*maxEmbedded))
	if len(m.Attachments) != maxEmbedded || m.Attachments[maxEmbedded-1].ID != fmt.Sprintf("1.%d", maxEmbedded) {
		t.Errorf("%d files", len(m.Attachments))
	}
}
