package mime

import (
	"strings"
	"testing"
	"time"
)

func TestDecodeHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"plain", "Hello", "Hello"},
		{"Q", "=?utf-8?Q?caf=C3=A9_au_lait?=", "café au lait"},
		{"B", "=?UTF-8?B?Y2Fmw6k=?=", "café"},
		{"lower case encoding", "=?iso-8859-1?q?caf=E9?=", "café"},
		{"blank between words goes", "=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		{"blank between word and text stays", "=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"},
		{"RFC 2047 8: folded words", "=?ISO-8859-1?Q?a?=\r\n     =?ISO-8859-1?Q?b?=", "ab"},
		{"RFC 2047 8: underscore", "=?ISO-8859-1?Q?a_b?=", "a b"},
		{"character cut between words", "=?utf-8?B?w?= =?utf-8?B?6k=?=", "é"},
		{"character cut between Q words", "=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "é"},
		{"cut between B words of whole bytes", "=?utf-8?B?ww==?= =?utf-8?B?qQ==?=", "é"},
		{"two charsets", "=?utf-8?Q?=C3=A9?= =?iso-8859-1?Q?=E9?=", "éé"},
		{"language (RFC 2231 5)", "=?us-ascii*en?Q?hello?=", "hello"},
		{"word glued to text", "x=?utf-8?Q?y?=z", "xyz"},
		{"blanks in a Q word", "=?utf-8?Q?a b?=", "a b"},
		{"no padding", "=?utf-8?B?Y2Fmw6k?=", "café"},
		{"iso-2022-jp", "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"},
		{"unknown charset, ASCII", "=?x-none?Q?abc?=", "abc"},
		{"no word: unknown encoding", "=?utf-8?X?abc?=", "=?utf-8?X?abc?="},
		{"no word: not closed", "=?utf-8?Q?abc", "=?utf-8?Q?abc"},
		{"raw UTF-8 (RFC 6532)", "café", "café"},
		{"raw Latin-1", "caf\xe9", "café"},
		{"question mark in Q text", "=?utf-8?Q?what=3F?=", "what?"},
		{"empty word", "a =?utf-8?Q??= b", "a  b"},
		{"utf-7", "=?utf-7?Q?Hi_+AOk-?=", "Hi é"},
	} {
		if got := DecodeHeader(c.in); got != c.want {
			t.Errorf("%s: %q -> %q, want %q", c.name, c.in, got, c.want)
		}
	}
}

// TestQuestionMarkInWord: some do not encode it, so that a word seems to end before an escape. What threads hang on stays as it was.
func TestQuestionMarkInWord(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"=?UTF-8?Q?Really?=20yes=3F?=":     "Really? yes?",
		"=?UTF-8?Q?Caf=C3=A9?=C3=A9?= x":   "Café?é x",
		"=?UTF-8?Q?a?=20b":                 "a20b",
		"=?UTF-8?Q?a?=Ab =?UTF-8?Q?c?=":    "aAb c",
		"=?UTF-8?Q?a?=20=?UTF-8?Q?c?=":     "a20c",
		"=?UTF-8?Q?a?= =?UTF-8?Q?b?=20c?=": "ab? c",
		"=?UTF-8?B?YQ==?=20 =?UTF-8?Q?b?=": "a20 b",
		"=?UTF-8?Q?a?=\t=20 =?UTF-8?Q?b?=": "a\t=20 b",
	} {
		if got := DecodeHeader(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	if m := ParseHeader([]byte("Subject: =?UTF-8?Q?Really?=20yes?=\r\n")); m.Subject != "Really? yes" || m.threadSubject() != "Really20yes?=" {
		t.Errorf("%q, for threads %q", m.Subject, m.threadSubject())
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"bare", "a@b.c", " <a@b.c>"},
		{"name", "Ann <a@b.c>", "Ann <a@b.c>"},
		{"quoted", `"Ann, B." <a@b.c>, d@e.f`, "Ann, B. <a@b.c>;  <d@e.f>"},
		{"escapes", `"Joe \"Q\" \\ P" <a@b.c>`, `Joe "Q" \ P <a@b.c>`},
		{"comment as name", "a@b.c (Ann (the first))", "Ann (the first) <a@b.c>"},
		{"comment after brackets", "<a@b.c> (Ann)", "Ann <a@b.c>"},
		{"group", "Friends: a@b.c, Bob <b@b.c>;, x@y.z", " <a@b.c>; Bob <b@b.c>;  <x@y.z>"},
		{"empty group", "undisclosed-recipients:;", ""},
		{"RFC 5322 A.5", "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete <pete@silly.test>"},
		{"RFC 5322 A.6.1 route and blanks", "Joe Q. Public <john.q.public@example.com>, Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
			"Joe Q. Public <john.q.public@example.com>; Mary Smith <mary@example.net>;  <jdoe@test.example>"},
		{"encoded word", "=?utf-8?Q?J=C3=BCrgen,_X?= <j@x.y>", "Jürgen, X <j@x.y>"},
		{"encoded word in quotes", `"=?utf-8?B?SsO8cmdlbg==?=" <j@x.y>`, "Jürgen <j@x.y>"},
		{"raw comma inside encoded word", "=?utf-8?Q?a,b?= <j@x.y>", "a,b <j@x.y>"},
		{"address inside encoded word", "=?utf-8?Q?Ann_<a@b.c>?=", "Ann <a@b.c>"},
		{"semicolons", "a@b.c; d@e.f", " <a@b.c>;  <d@e.f>"},
		{"no comma between", "A <a@b.c> B <d@e.f>", "A <a@b.c>; B <d@e.f>"},
		{"no comma between bare ones", "a@b.c d@e.f", " <a@b.c>;  <d@e.f>"},
		{"no brackets", "Ann Lee a@b.c", "Ann Lee <a@b.c>"},
		{"bracket not closed", "Ann <a@b.c, d@e.f", "Ann <a@b.c>;  <d@e.f>"},
		{"doubled brackets", "Ann <<a@b.c>>", "Ann <a@b.c>"},
		{"mailto", "<mailto:a@b.c>", " <a@b.c>"},
		{"quoted local part", `"a b"@c.d`, ` <"a b"@c.d>`},
		{"quoted local part in brackets", `X <"a b"@c.d>`, `X <"a b"@c.d>`},
		{"quoted address in brackets", `<"a@b.c">`, " <a@b.c>"},
		{"text after the address in brackets", "<a@b.c # v3+>", " <a@b.c>"},
		{"domain literal", "x@[192.0.2.1]", " <x@[192.0.2.1]>"},
		{"local name", "root", " <root>"},
		{"name only", "Ann Lee", "Ann Lee <>"},
		{"group in brackets", "<undisclosed-recipients:;@x.y>", ""},
		{"odd quote", `Ann "B <a@b.c>`, "Ann B <a@b.c>"},
		{"folded", "Ann\r\n <a@b.c>,\r\n\tBob <b@b.c>", "Ann <a@b.c>; Bob <b@b.c>"},
		{"IDN (RFC 6532)", "用户 <用户@例子.cn>", "用户 <用户@例子.cn>"},
		{"apostrophes", "'a@b.c'", " <a@b.c>"},
		{"nothing", " , ;", ""},
		{"dots in name", "J. R. R. T. <a@b.c>", "J. R. R. T. <a@b.c>"},
		{"raw ISO-2022-JP, whose bytes are brackets and commas too", "\x1b$B;3ED\x1b(B <y@b.c>, \"\x1b$B:4F#\x1b(B, \x1b$B2V;R\x1b(B\" <s@b.c>, \x1b$BEOJU\x1b(B(\x1b$B1D6H\x1b(B) <w@b.c>", "山田 <y@b.c>; 佐藤, 花子 <s@b.c>; 渡辺 <w@b.c>"},
	} {
		if got := listOf(texts{}.parseAddresses(unfold(c.in))); got != c.want {
			t.Errorf("%s: %q -> %q, want %q", c.name, c.in, got, c.want)
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T15:55:06Z"},
		{"21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06Z"},
		{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T15:55:06Z"},
		{"Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)", "1969-02-14T03:02:00Z"},
		{"1 Jan 2020 00:00:00 +0530", "2019-12-31T18:30:00Z"},
		{"1 Jan 2020 00:00:00 +05:30", "2019-12-31T18:30:00Z"},
		{"1 Jan 2020 00:00:00 +-0500", "2020-01-01T00:00:00Z"},
		{"1 Jan 2020 00:00:00 0530", "2019-12-31T18:30:00Z"},
		{"1 Jan 2020 00:00:00 EST", "2020-01-01T05:00:00Z"},
		{"1 Jan 2020 00:00:00", "2020-01-01T00:00:00Z"},
		{"1 Jan 2020 12:10:00 AM", "2020-01-01T00:10:00Z"},
		{"1 Jan 2020 1:10:00 PM", "2020-01-01T13:10:00Z"},
		{"1 Jan 2020 00:00:00 GMT+0200", "2019-12-31T22:00:00Z"},
		{"1 Jan 49 00:00 UT", "2049-01-01T00:00:00Z"},
		{"1 Jan 50 00:00 UT", "1950-01-01T00:00:00Z"},
		{"1 Jan 103 00:00 UT", "2003-01-01T00:00:00Z"},
		{"Mon Jan  5 10:00:00 2015", "2015-01-05T10:00:00Z"},
		{"Mon Jan  5 10:00:00 MET 2015", "2015-01-05T09:00:00Z"},
		{"12-Mar-2003 10:00:00 +0000", "2003-03-12T10:00:00Z"},
		{"2003-03-12T10:00:00Z", "2003-03-12T10:00:00Z"},
		{"2003-03-12 10:00:00.123 +0100", "2003-03-12T09:00:00Z"},
		{"12.03.2003 10:00", "2003-03-12T10:00:00Z"},
		{"Tue, 029 Apr 2019 23:34:45 -0800", "2019-04-30T07:34:45Z"},
		{"31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00Z"},
		{"Sun, 30 February 2020 10:00:00 +0000", "2020-03-01T10:00:00Z"},
		{"Tue, 03 Feb 2026 10.05.30 +0100", "2026-02-03T09:05:30Z"},
		{"Tue, 03 Feb 2026 10.05 +0100", "2026-02-03T09:05:00Z"},
		{"3.2.2026 10.05.30", "2026-02-03T10:05:30Z"},
		{"", ""}, {"yesterday", ""}, {"15 Dec 2010 59:10 -0500", ""}, {"10:00", ""}, {"1 Jan", ""},
	} {
		d, ok := parseDate(c.in)
		got := ""
		if ok {
			got = d.UTC().Format(time.RFC3339)
		}
		if got != c.want {
			t.Errorf("%q -> %q, want %q", c.in, got, c.want)
		}
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, value, param, want string }{
		{"plain", "text/plain; charset=utf-8", "text/plain", "charset", "utf-8"},
		{"quoted", `text/plain; name="a; b=c"`, "text/plain", "name", "a; b=c"},
		{"escaped", `x/y; name="a\"b"`, "x/y", "name", `a"b`},
		{"upper case", "TEXT/PLAIN; CHARSET=UTF-8", "text/plain", "charset", "UTF-8"},
		{"blanks", "text/plain ; charset = utf-8 ; x=y", "text/plain", "charset", "utf-8"},
		{"comment", "text/plain (plain); charset=utf-8 (yes)", "text/plain", "charset", "utf-8"},
		{"quote not closed", `x/y; name="abc; z=1`, "x/y", "name", "abc"},
		{"blanks unquoted", "x/y; name=a b.txt; z=1", "x/y", "name", "a b.txt"},
		{"no semicolon", "text/plain charset=utf-8", "text/plain", "charset", "utf-8"},
		{"no semicolon between", "x/y; name=a.txt charset=utf-8", "x/y", "charset", "utf-8"},
		{"doubled semicolons", "x/y;; ;name=a", "x/y", "name", "a"},
		{"first of two counts", "x/y; name=a; name=b", "x/y", "name", "a"},
		{"RFC 2231 3", "message/external-body; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub\"", "message/external-body", "url", "ftp://cs.utk.edu/pub"},
		{"RFC 2231 4", "x/y; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "x/y", "title", "This is ***fun***"},
		{"RFC 2231 4.1", "x/y; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"", "x/y", "title", "This is even more ***fun*** isn't it!"},
		{"continuations in disorder", "x/y; n*1=b; n*0=a", "x/y", "n", "ab"},
		{"character cut between continuations", "x/y; n*0*=utf-8''%C3; n*1*=%A9", "x/y", "n", "é"},
		{"bytes beside an extended piece", "x/y; n*0*=iso-8859-1''%E4; n*1=\"ö.pdf\"", "x/y", "n", "äö.pdf"},
		{"extended behind bytes", "x/y; n*0=\"\xf6\"; n*1*=%C3%A4", "x/y", "n", "öä"},
		{"extended form wins", "x/y; n=plain; n*=utf-8''%C3%A9", "x/y", "n", "é"},
		{"no charset in extended form", "x/y; n*=%41%42", "x/y", "n", "AB"},
		{"parentheses within a name", "x/y; name=report (1).pdf; z=1", "x/y", "name", "report (1).pdf"},
		{"parentheses within a word", "x/y; name=report(1).pdf (2 pages)", "x/y", "name", "report(1).pdf"},
		{"path with backslashes", `x/y; name="C:\Users\ann\a \"b\".pdf"`, "x/y", "name", `C:\Users\ann\a "b".pdf`},
		{"bad escape", "x/y; n*=utf-8''%zz%4", "x/y", "n", "%zz%4"},
	} {
		v, ps := texts{}.parseParams(c.in)
		if v != c.value || ps.get(c.param) != c.want {
			t.Errorf("%s: %q -> %q %s=%q, want %q %q", c.name, c.in, v, c.param, ps.get(c.param), c.value, c.want)
		}
	}
}

func TestHeaderFields(t *testing.T) {
	t.Parallel()
	m := ParseHeader([]byte("From nobody Mon Jan 1 2020\r\nSubject : old\r\n  folded\r\nX-Empty:\r\nReceived: one\r\nno field\r\nReceived: two\r\n\r\nbody: no\r\n"))
	if m.Subject != "old  folded" {
		t.Errorf("subject %q", m.Subject)
	}
	if got := strings.Join(m.Header.All("received"), "|"); got != "one|two" {
		t.Errorf("Received %q: a stray line must not end the header", got)
	}
	if !m.Header.Has("x-EMPTY") || m.Header.Get("X-Empty") != "" || m.Header.Has("body") {
		t.Errorf("fields %q", m.Header)
	}
	if len(m.Problems) == 0 {
		t.Error("a stray line is not reported")
	}

	m = ParseHeader([]byte("Message-ID: <a@b>\nIn-Reply-To: c@d\nReferences: <x@y>\n <c@\td> junk <no good> <Your note of 2 March to a@b> <>\nFrom: A <a@b>\nSender: s@b\nReply-To: r@b\nBcc: z@b\nDate: Mon, 2 Mar 2026 10:11:10 +0100\n"))
	if m.MessageID != "a@b" || strings.Join(m.InReplyTo, " ") != "c@d" || strings.Join(m.References, " ") != "x@y c@d" {
		t.Errorf("ids %q %q %q", m.MessageID, m.InReplyTo, m.References)
	}
	if listOf(m.From)+listOf(m.Sender)+listOf(m.ReplyTo)+listOf(m.Bcc) != "A <a@b> <s@b> <r@b> <z@b>" {
		t.Errorf("addresses %v %v %v %v", m.From, m.Sender, m.ReplyTo, m.Bcc)
	}
	if m.Date.Unix() != 1772442670 {
		t.Errorf("date %v", m.Date)
	}
	if m := ParseHeader(nil); len(m.Header) != 0 || m.Subject != "" {
		t.Errorf("nothing gives %+v", m)
	}
	if m := ParseHeader([]byte("Subject: a\rFrom: x@y\r\r")); m.Subject != "a" || len(m.From) != 1 {
		t.Errorf("bare CR: %q %v", m.Subject, m.From)
	}
	for _, n := range HeaderFieldsForSync() {
		if n == "" || strings.ContainsAny(n, ": \r\n") {
			t.Errorf("field name %q", n)
		}
	}
}

func TestRawHeaderUsesCharsetOfBody(t *testing.T) {
	t.Parallel()
	m := parse(t, "Subject: \xcf\xf0\xe8\xe2\xe5\xf2\r\nContent-Type: text/plain; charset=windows-1251\r\n\r\n\xcf\xf0\xe8\xe2\xe5\xf2")
	if m.Subject != "Привет" || m.Text != "Привет" || m.DecodeField(m.Header.Get("Subject")) != "Привет" {
		t.Errorf("%q %q %q", m.Subject, m.Text, m.DecodeField(m.Header.Get("Subject")))
	}
	m, err := Parse(strings.NewReader("Subject: caf\xe9\r\n\r\ncaf\xe9"), Options{NoDetect: true})
	if err != nil || m.Subject != "caf\ufffd" || m.Text != "caf\ufffd" {
		t.Errorf("NoDetect: %q %q %v", m.Subject, m.Text, err)
	}
}
