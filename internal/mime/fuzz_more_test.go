package mime

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzHTML(f *testing.F) {
	for _, s := range []string{`<p>a<br><b>b</b></p>`, `<ul><li>a<ol start=3><li>b</ol></ul>`, `<table><tr><th>a<td>b<tr><td>c</table>`, `<blockquote type="cite">a</blockquote>b`, `<a href="http://x">y</a><img src="cid:a" alt=b>`,
		`<pre>a  b</pre><hr>`, `<div style="display:none">x</div>&amp;&nbsp;`, `<style><script></style>`, `<div class="gmail_quote">On 1 Jan 2026, a@x wrote:<blockquote class="gmail_quote">b</blockquote></div>`, "<svg><a href=javascript:x>", "<p>From: a<br>Sent: b<br>To: c<br>Subject: d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "\ufffd")
		valid(t, "text", HTMLToText(s))
		valid(t, "Markdown", HTMLToMarkdown(s))
		valid(t, "snippet", Snippet("", s))
		for _, o := range []CleanOptions{DefaultCleanOptions(), {}, {HTMLAsMarkdown: true}} {
			c := CleanBody("Re: x", s, true, o)
			valid(t, "conversation", c.Conversation)
			valid(t, "clean text", c.Text)
			if low := strings.ToLower(c.Conversation); c.HTML && (strings.Contains(low, "<script") || strings.Contains(low, "<style") || strings.Contains(low, "<iframe")) {
				t.Errorf("script in %q", c.Conversation)
			}
		}
		safe := Sanitize(s, SanitizeOptions{})
		valid(t, "sanitized", safe)
		for _, n := range elements(parseHTML(safe)) {
			switch n.tag {
			case "script", "style", "iframe", "form", "object", "svg":
				t.Errorf("%s in %q", n.tag, safe)
			}
			for _, a := range n.attrs {
				v := strings.ToLower(strings.TrimSpace(a.Val))
				if strings.HasPrefix(a.Key, "on") || strings.HasPrefix(v, "javascript:") || a.Key == "src" && !strings.HasPrefix(v, "cid:") && !strings.HasPrefix(v, "data:image/") {
					t.Errorf("%s=%q in %q", a.Key, a.Val, safe)
				}
			}
		}
	})
}

func elements(n *node) []*node {
	out := []*node{n}
	for _, k := range n.kids {
		out = append(out, elements(k)...)
	}
	return out
}

func FuzzCleanText(f *testing.F) {
	for _, s := range []string{"a\n> b\nc", "On 1 Jan 2026, a@x wrote:\nb", "a\n-- \nb", "Regards\nAnn", "From: a\nSent: b\nTo: c\nSubject: d\n", "-----Original Message-----\n", "Sent from my x", "_____________________\nmailing list"} {
		f.Add("Re: x", s)
	}
	f.Fuzz(func(t *testing.T, subject, s string) {
		s = strings.ToValidUTF8(s, "\ufffd")
		c := CleanBody(subject, s, false, DefaultCleanOptions())
		valid(t, "text", c.Text)
		have := map[string]bool{"": true}
		for l := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n"), "\n") {
			have[strings.TrimRight(l, " \t\r")] = true
		}
		for l := range strings.SplitSeq(c.Text, "\n") {
			if !have[l] {
				t.Errorf("line %q is not of the message", l)
			}
		}
		if c.Text == "" && strings.Trim(normalLine(s), " ") != "" && utf8.RuneCountInString(strings.TrimSpace(s)) > 0 && len(s) < maxAttribution {
			t.Errorf("nothing left of %q", s)
		}
		valid(t, "snippet", Snippet(s, ""))
	})
}

func FuzzFlowed(f *testing.F) {
	f.Add("a \nb\n> c \n> d\n-- \ne", true)
	f.Add(" >x\r\n>> \r\n>y", false)
	f.Fuzz(func(t *testing.T, s string, delsp bool) {
		strip := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r == ' ' || r == '\n' || r == '\r' || r == '>' {
					return -1
				}
				return r
			}, s)
		}
		s = strings.ToValidUTF8(s, "?")
		if got := unflow(s, delsp); strip(got) != strip(s) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func FuzzEmbedded(f *testing.F) {
	f.Add([]byte("hi\r\n" + uuencode("a.txt", []byte("hello")) + "bye"))
	f.Add([]byte(yencode("a b", []byte{0, 214, 227, 224, 19, 200})))
	f.Add([]byte("begin 644 x\nbegin 644 y\n#0V%T\n`\nend\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		run := func(step int) (text []byte, files []Attachment) {
			e := embedded{id: "1", digests: true, out: func(b []byte) { text = append(text, b...) }}
			for c := range slices.Chunk(b, step) {
				e.write(c)
			}
			e.flush()
			if e.work > 12*int64(len(b))+64 {
				t.Errorf("looked at %d bytes of %d", e.work, len(b))
			}
			return text, e.files
		}
		whole, files := run(max(1, len(b)))
		for _, step := range []int{1, 7} {
			if text, some := run(step); !bytes.Equal(text, whole) || !slices.Equal(some, files) {
				t.Errorf("in pieces of %d: %q %+v, else %q %+v", step, text, some, whole, files)
			}
		}
		if len(whole) > len(b) {
			t.Errorf("%d bytes of text from %d", len(whole), len(b))
		}
		raw := append([]byte("A: b\n\n"), b...)
		m, err := Parse(bytes.NewReader(raw), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range m.Attachments {
			_, r, err := OpenPart(bytes.NewReader(raw), a.ID)
			if err != nil {
				t.Fatal(a.ID, err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != a.Size {
				t.Errorf("%s has %d bytes, read %d: %v", a.ID, a.Size, n, err)
			}
		}
	})
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(dsn))
	f.Add([]byte("Return-Path: <>\n\nuser unknown\n<a@x>:\n550 no\n--- Below this line is a copy of the message.\n\nMessage-ID: <b@x>\n"))
	f.Add([]byte("X-Failed-Recipients: a@x, b@y\nList-Id: x <y.z>\nList-Post: <mailto:a>\n\na@x\n  5.1.1\n"))
	f.Add([]byte("Content-Type: message/disposition-notification\n\nDisposition: a/b; displayed\nFinal-Recipient: x;<a@b>\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(bytes.NewReader(b), Options{})
		if err != nil {
			t.Fatal(err)
		}
		m.Automatic()
		if d := m.Delivery; d != nil {
			valid(t, "reporting MTA", d.ReportingMTA)
			for _, r := range d.Recipients {
				valid(t, "address", r.Address)
				valid(t, "diagnostic", r.Diagnostic)
				if r.Status != "" && enhancedStatus(r.Status) != r.Status {
					t.Errorf("status %q", r.Status)
				}
			}
		}
		if r := m.Receipt; r != nil && (r.Disposition == "" || !utf8.ValidString(r.Recipient)) {
			t.Errorf("%+v", r)
		}
		valid(t, "list", m.List.ID+m.List.Name)
	})
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"a.txt", "../x", "con.txt", "\u202ea", strings.Repeat("é", 300) + ".pdf", "a.. .b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := SafeName(s)
		valid(t, "name", got)
		if got == "" || len(got) > maxSafeName+1 || strings.ContainsAny(got, "/\\:*?\"<>|\x00\r\n\t") || got[0] == '.' || strings.HasSuffix(got, ".") || strings.TrimSpace(got) != got {
			t.Errorf("%q from %q", got, s)
		}
		if again := SafeName(got); again != got {
			t.Errorf("%q, then %q", got, again)
		}
	})
}
