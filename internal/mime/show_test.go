package mime

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSnippet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, html, want string }{
		{"text", "  Hello,\r\n\r\n\tworld\x00!  ", "<p>no", "Hello, world !"},
		{"html", "", "<html><head><title>T</title><style>p{color:red}</style></head><body><p>Hel<b>lo</b>&nbsp;&amp;</p><!-- <p>no --><p>you</body>", "Hello & you"},
		{"blank text", " \n\t\u200b\n", "<p>x</p>", "x"},
		{"script", "", "<script>if (a<b) x()</script>y<SCRIPT>z", "y"},
		{"less than", "", "1 < 2 <3", "1 < 2 <3"},
		{"preheader filler", "", "Sale!&#847;&zwnj;&nbsp;&shy; Now", "Sale! Now"},
		{"nothing", "", "", ""},
		{"tag not closed", "", "a<b", "a"},
	} {
		if got := Snippet(c.text, c.html); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	long := Snippet(strings.Repeat("wörd ", 100), "")
	if n := utf8.RuneCountInString(long); n < 95 || n > 100 || !utf8.ValidString(long) {
		t.Errorf("%d characters: %q", n, long)
	}
}

func TestTextToHTML(t *testing.T) {
	t.Parallel()
	if got, want := TextToHTML("a <b> & \"c\"\r\n  d  e\tf\rg"), "<div>a &lt;b&gt; &amp; &quot;c&quot;<br>\n&nbsp; d&nbsp; e&nbsp;&nbsp;&nbsp; f<br>\ng</div>"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestDisplayBody(t *testing.T) {
	t.Parallel()
	part := func(b, ctype, body string) string {
		return "--" + b + "\nContent-Type: " + ctype + "\n\n" + body + "\n"
	}
	for _, c := range []struct {
		name, raw, want string
		html            bool
	}{
		{"text", "\n\nhi", "hi", false},
		{"html", "Content-Type: text/html\n\n<p>hi", "<p>hi", true},
		{"alternative", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain", "hi") + part("a", "text/html", "<p>hi") + "--a--", "<p>hi", true},
		{"footer", "Content-Type: multipart/mixed; boundary=a\n\n" + part("a", "text/html", "<p>hi") + part("a", "text/plain", "foot") + "--a--", "<p>hi\n<div>foot</div>", true},
		{"two texts", "Content-Type: multipart/mixed; boundary=a\n\n" + part("a", "text/plain", "hi") + part("a", "text/plain", "foot") + "--a--", "hi\nfoot", false},
		{"named HTML and footer", "Content-Type: multipart/mixed; boundary=a\n\n" + part("a", "text/html; name=x.html", "<p>hi") + part("a", "text/plain", "foot") + "--a--", "<p>hi\n<div>foot</div>", true},
		{"named alternatives", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain; name=x.txt", "hi") + part("a", "text/html", "<p>hi") + "--a--", "<p>hi", true},
		{"HTML and a log", "Content-Type: multipart/mixed; boundary=a\n\n" + part("a", "text/html", "<p>hi") + part("a", "text/plain; name=log.txt", "log") + "--a--", "<p>hi", true},
		{"a footer in the alternative that has HTML", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain", "hi") +
			part("a", "multipart/mixed; boundary=b", part("b", "text/html", "<p>hi")+part("b", "text/plain", "foot")+"--b--") + "--a--", "<p>hi\n<div>foot</div>", true},
		{"an alternative within one", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain", "hi") +
			part("a", "multipart/related; boundary=b", part("b", "multipart/alternative; boundary=c", part("c", "text/plain", "hi")+part("c", "text/html", "<p>hi")+"--c--")+part("b", "image/png", "x")+"--b--") + "--a--", "<p>hi", true},
		{"HTML that shows nothing", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain", "hi") +
			part("a", "text/html", "<html><head><title>T</title><style>p{}</style></head><body><p>&nbsp;</p><!-- x --></body></html>") + "--a--", "hi", false},
		{"HTML that shows a picture", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain", "hi") + part("a", "text/html", "<p><img src=x></p>") + "--a--", "<p><img src=x></p>", true},
		{"blank HTML", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain", "hi") + part("a", "text/html", " \n") + "--a--", "hi", false},
		{"blank HTML and a footer", "Content-Type: multipart/mixed; boundary=m\n\n" + part("m", "multipart/alternative; boundary=a", part("a", "text/plain", "hi")+part("a", "text/html", "\n")+"--a--") + part("m", "text/html", "<p>foot") + "--m--",
			"<div>hi</div>\n<p>foot", true},
		{"a log in the alternative that has HTML", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "multipart/mixed; boundary=b", part("b", "text/html", "<p>hi")+part("b", "text/plain; name=log.txt", "log")+"--b--") + "--a--", "<p>hi", true},
		{"named HTML in an alternative", "Content-Type: multipart/alternative; boundary=a\n\n" + part("a", "text/plain", "hi") + part("a", "multipart/related; boundary=b", part("b", "text/html; name=x.html", "<p>hi")+part("b", "image/png", "x")+"--b--") + "--a--", "<p>hi", true},
		{"nothing", "Content-Type: image/png\n\nx", "", false},
	} {
		body, html := DisplayBody(parse(t, crlf(c.raw)))
		if body != c.want || html != c.html {
			t.Errorf("%s: %q %v, want %q %v", c.name, body, html, c.want, c.html)
		}
	}
	if body, html := DisplayBody(&Message{HTML: "<p>x", Text: "x"}); body != "<p>x" || !html {
		t.Errorf("message made by hand: %q %v", body, html)
	}
}

// TestSnippetLooksAsFarAsItMust: what is quoted above an answer is skipped, however long it is.
func TestSnippetLooksAsFarAsItMust(t *testing.T) {
	t.Parallel()
	answer := strings.TrimSpace(strings.Repeat("my answer ", 20))
	for _, lines := range []int{1, 20, 40, 200, 1000} { // of 30 bytes each
		quoted := "Ann wrote:\r\n" + strings.Repeat("> words that another one wrote\r\n", lines)
		if got := Snippet(quoted+"\r\n"+answer+"\r\n", ""); got != answer[:99] {
			t.Errorf("below %d lines: %q", lines, got)
		}
		if got := Snippet(answer+"\r\n\r\n"+quoted, ""); got != answer[:99] {
			t.Errorf("above %d lines: %q", lines, got)
		}
	}
}

func BenchmarkSnippet(b *testing.B) {
	m, err := Parse(bytes.NewReader(samplePlain()), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		Snippet(m.Text, m.HTML)
	}
}

func TestReadAsText(t *testing.T) {
	t.Parallel()
	part := func(b, ctype, body string) string {
		return "--" + b + "\nContent-Type: " + ctype + "\n\n" + body + "\n"
	}
	mixed, alternative := "Content-Type: multipart/mixed; boundary=a\n\n", "Content-Type: multipart/alternative; boundary=a\n\n"
	for _, c := range []struct{ name, raw, want, snippet string }{
		{"text", "\n\nhi", "hi", "hi"},
		{"HTML", "Content-Type: text/html\n\n<p>hi", "hi", "hi"},
		{"HTML and what a mailing list adds", mixed + part("a", "text/html", "<p>The report") + part("a", "text/plain", "users mailing list") + "--a--", "The report\nusers mailing list", "The report"},
		{"text, HTML, text", mixed + part("a", "text/plain", "one") + part("a", "text/html", "<p>two") + part("a", "text/plain", "three") + "--a--", "one\ntwo\nthree", "one"},
		{"alternatives and a footer", mixed + part("a", "multipart/alternative; boundary=b", part("b", "text/plain", "hi")+part("b", "text/html", "<p>HI")+"--b--") + part("a", "text/plain", "foot") + "--a--", "hi\nfoot", "hi"},
		{"blank plain text", alternative + part("a", "text/plain", " ") + part("a", "text/html", "<p>hi") + "--a--", "hi", "hi"},
		{"blank, a picture, text", mixed + part("a", "text/plain", "\n") + part("a", "image/png", "x") + part("a", "text/plain", "hi") + "--a--", "hi", "hi"},
		{"nothing", "\n\n", "", ""},
	} {
		m := parse(t, crlf(c.raw))
		if got := m.PlainText(); strings.TrimSpace(got) != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := m.Snippet(); got != c.snippet {
			t.Errorf("%s: snippet %q, want %q", c.name, got, c.snippet)
		}
	}
}
