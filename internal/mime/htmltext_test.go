package mime

import (
	"strings"
	"testing"
)

func TestHTMLToText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"paragraphs", "<p>One  two\n three</p><p>four</p>", "One two three\n\nfour"},
		{"breaks", "a<br>b<br><br>c<br/>", "a\nb\n\nc"},
		{"divs", "<div>a</div><div>b<div>c</div></div>d", "a\nb\nc\nd"},
		{"entities", "&lt;a&gt; &amp;&nbsp;&eacute;&#x4e16;&#119; &bogus; AT&T", "<a> & é世w &bogus; AT&T"},
		{"entities of entities", "AT&amp;amp;T <code>&amp;lt;b&amp;gt;</code> http://x.example/?a=1&amp;currency=EUR&amp;region=2", "AT&amp;T &lt;b&gt; http://x.example/?a=1&currency=EUR&region=2"},
		{"style and script", "<html><head><title>t</title><style>p{}</style></head><body>a<script>if (a</b) x()</script><!-- c -->b</body>", "ab"},
		{"hidden", `<div style="display: none">pre</div><span style="font-size:0px">x</span><p hidden>y</p>a`, "a"},
		{"void hidden", `<img style="display:none" alt="x">a`, "a"},
		{"link", `see <a href="https://example.com/x">this</a>, ok`, "see this <https://example.com/x>, ok"},
		{"link is its text", `<a href="http://example.com/">example.com</a> <a href="mailto:a@example.com">a@example.com</a>`, "example.com a@example.com"},
		{"link to nowhere", `<a href="#x">x</a><a name="y">y</a><a href="javascript:z">z</a>`, "xyz"},
		{"list", "a<ul><li>b</li><li>c<ul><li>d</ul><li>e</ul>f", "a\n\n- b\n- c\n  - d\n- e\n\nf"},
		{"numbers", "<ol start=9><li>a<li><p>b</p><p>c</p></ol>", "9. a\n10. b\n\n    c"},
		{"table", "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2<br>3</td></tr></table>", "a | b\n1 | 2 3"},
		{"layout table", "<table><tr><td><h1>Head</h1><p>Text</p></td></tr><tr><td>More</td></tr></table>", "Head\n\nText\n\nMore"},
		{"rows not closed", "<table><tr><td>a<td>b<tr><td>c<td>d</table>e", "a | b\nc | d\n\ne"},
		{"quote", "a<blockquote>b<p>c</p><blockquote>d</blockquote></blockquote>e", "a\n\n> b\n>\n> c\n>\n> > d\n\ne"},
		{"pre", "a<pre>b  c\n  d</pre>e", "a\n\nb  c\n  d\n\ne"},
		{"image", `a <img src="x.png" alt="pic"> b`, "a pic b"},
		{"rule", "a<hr>b", "a\n\n---\n\nb"},
		{"nothing closed", "<div><p>a<b>b<div>c", "ab\nc"},
		{"closed twice", "a</div></p></b>b", "ab"},
		{"plain text", "1 < 2 & 3 > 2", "1 < 2 & 3 > 2"},
		{"tag not closed", "a<b", "a"},
		{"Outlook", "<p class=MsoNormal>a<o:p></o:p></p><p class=MsoNormal><o:p>&nbsp;</o:p></p><p class=MsoNormal>b</p>", "a\n\nb"},
		{"unseen characters", "a\u200bb\u00ad\u202ec", "abc"},
		{"emoji", "👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"},
		{"empty", "", ""},
	} {
		if got := HTMLToText(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestHTMLToMarkdown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"marks", "<p>a <b>b</b>, <i>c</i> <code>d*</code></p>", "a **b**, *c* `d*`"},
		{"heading", "<h2>a</h2>b", "## a\n\nb"},
		{"breaks", "a<br>b", "a  \nb"},
		{"link", `<a href="https://example.com/a(b)">x [y]</a>`, `[x \[y\]](https://example.com/a%28b%29)`},
		{"image", `<img src="https://example.com/a.png" alt="x">`, "![x](https://example.com/a.png)"},
		{"counter", `<img src="https://example.com/a.png" width=1 height=1>a`, "a"},
		{"escapes", "*a* _b_ # c_d &lt;e> 1.", `\*a\* \_b\_ # c_d \<e> 1.`},
		{"line start", "<p># a</p><p>- b</p><p>1. c</p>", "\\# a\n\n\\- b\n\n1\\. c"},
		{"table", "<table><tr><th>a</th><th>b|c</th></tr><tr><td>1</td></tr></table>", ""},
		{"pre", "<pre>a*b\n c</pre>", "```\na*b\n c\n```"},
	} {
		got := HTMLToMarkdown(c.in)
		if c.name == "table" {
			c.want = "| a | b\\|c |\n| --- | --- |\n| 1 | |"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSanitize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"script", `a<script>x</script><style>y</style><iframe src="http://x">z</iframe>b`, "ab"},
		{"handlers", `<p onclick="x" style="color:red">a</p>`, `<p style="color: red">a</p>`},
		{"form", `<form action="http://x"><input name=a><button>b</button></form>`, "b"},
		{"javascript", `<a href="javascript:x">a</a><a href=" JAVA&#9;SCRIPT:x">b</a>`, `<a>a</a><a>b</a>`},
		{"data link", `<a href="data:text/html,x">a</a>`, `<a>a</a>`},
		{"remote image", `<img src="https://example.com/i.png" alt="x">`, `<img alt="x">`},
		{"cid", `<img src="cid:a@x">`, `<img src="cid:a@x">`},
		{"data image", `<img src="data:image/png;base64,AAAA">`, `<img src="data:image/png;base64,AAAA">`},
		{"svg image", `<img src="data:image/svg+xml;base64,AAAA">`, `<img>`},
		{"style that loads", `<p style="background:url(http://x);color:blue;width:expression(x);position:fixed">a</p>`, `<p style="color: blue">a</p>`},
		{"background", `<table background="http://x"><tr><td bgcolor="#fff">a</td></tr></table>`, `<table><tr><td bgcolor="#fff">a</td></tr></table>`},
		{"id and class", `<p id="a" class="b">c</p>`, `<p>c</p>`},
		{"meta", `<meta http-equiv=refresh content="0;url=http://x"><base href="http://x"><link rel=stylesheet href="http://x">a`, "a"},
		{"svg", `<svg><a xlink:href="javascript:x">a</a></svg>b`, "b"},
		{"srcset", `<img srcset="http://x 2x" src="cid:a">`, `<img src="cid:a">`},
	} {
		if got := Sanitize(c.in, SanitizeOptions{}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := Sanitize(`<img src="https://example.com/i.png"><a href="https://example.com/">a</a>`, SanitizeOptions{Remote: true}); !strings.Contains(got, `src="https://example.com/i.png"`) || !strings.Contains(got, "noreferrer") || !strings.Contains(got, `target="_blank"`) {
		t.Errorf("remote: %q", got)
	}
}

func TestSnippetSkips(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, html, want string }{
		{"quote above", "On Mon, 2 Mar 2026, Ann <a@x> wrote:\n> When is it?\n>\n\nOn Friday.\n", "", "On Friday."},
		{"quote alone", "> When?\n", "", "> When?"},
		{"web version", "View this email in your browser\nhttps://example.com/x\n-----\nBig sale\n", "", "Big sale"},
		{"image first", "[image: Logo]\nHello\n", "", "Hello"},
		{"junk alone", "View this email in your browser\n", "", "View this email in your browser"},
		{"hidden preheader", "", `<div style="display:none;max-height:0">Preheader</div><p>Hello</p>`, "Hello"},
		{"HTML quote above", "", `<blockquote type="cite">When?</blockquote><p>Friday</p>`, "Friday"},
		{"long quote", strings.Repeat("> quoted line of some length\n", 1000) + "own\n", "", "own"},
		{"forward", "See below.\n\n---------- Forwarded message ---------\nFrom: a\n\nHello\n", "", "See below. ---------- Forwarded message --------- From: a Hello"},
	} {
		if got := Snippet(c.text, c.html); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWHATWGLabels(t *testing.T) {
	t.Parallel()
	labels := `866 cp866 csibm866 ibm866 csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2 csisolatin3 iso-8859-3 iso-ir-109 l3 latin3 csisolatin4 iso-8859-4 latin4
csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 arabic asmo-708 csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 sun_eu_greek
csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e visual csiso88598i iso-8859-8-i logical csisolatin6 iso-8859-10 l6 latin6 iso-8859-13 iso-8859-14 csisolatin9 iso-8859-15 l9 iso-8859-16
cskoi8r koi koi8 koi8-r koi8_r koi8-ru koi8-u csmacintosh mac macintosh x-mac-roman dos-874 iso-8859-11 tis-620 windows-874 cp1250 windows-1250 x-cp1250 cp1251 windows-1251 x-cp1251 ansi_x3.4-1968 cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 l1 latin1 windows-1252 x-cp1252
cp1253 windows-1253 x-cp1253 cp1254 csisolatin5 iso-8859-9 l5 latin5 windows-1254 cp1255 windows-1255 cp1256 windows-1256 cp1257 windows-1257 cp1258 windows-1258 x-mac-cyrillic x-mac-ukrainian
chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030 big5 big5-hkscs cn-big5 csbig5 x-x-big5 cseucpkdfmtjapanese euc-jp x-euc-jp csiso2022jp iso-2022-jp csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis
cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949 unicodefffe utf-16be csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le`
	for l := range strings.FieldsSeq(labels) {
		if lookup(l) == nil {
			t.Errorf("%s is unknown", l)
		}
	}
	for l := range strings.FieldsSeq("unicode-1-1-utf-8 utf-8 utf8 x-unicode20utf8 unicode11utf8 unicode20utf8") {
		if s, _ := (texts{noDetect: true}).toUTF8([]byte("\xc3\xa9"), l); s != "é" {
			t.Errorf("%s: %q", l, s)
		}
	}
	for _, c := range []struct{ charset, in, want string }{
		{"x-mac-ce", "\x8a", "ä"}, {"x-mac-greek", "\xe1", "α"}, {"x-mac-turkish", "\xdc", "İ"}, {"x-mac-icelandic", "\xdd", "ð"}, {"x-mac-croatian", "\xb9", "š"}, {"x-mac-romanian", "\xbf", "ș"},
		{"koi8-t", "\x81", "ғ"}, {"cp737", "\x98", "α"}, {"cp775", "\xd0", "ą"}, {"cp857", "\xa7", "ğ"}, {"cp1125", "\xf5", "є"}, {"cp869", "\xd6", "α"},
		{"iso-2022-cn", "a\x1b$)A\x0eVPND\x0fb", "a中文b"}, {"iso-2022-kr", "\x1b$)C\x0eGQ\x0f", "한"}, {"iso-2022-jp-2", "\x1b$B$\"\x1b(B", "あ"}, {"utf-7", "+AOk-", "é"}, {"hz-gb-2312", "~{VP~}", "中"}, {"gb18030", "\x81\x30\x81\x30", "\u0080"},
	} {
		if got, _ := (texts{noDetect: true}).toUTF8([]byte(c.in), c.charset); got != c.want {
			t.Errorf("%s: %q, want %q", c.charset, got, c.want)
		}
	}
}
