package mime

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"
)

var structures = []struct{ name, raw, want string }{
	{"plain", "Subject: x\n\nHello\n", `text="Hello\r\n" html=""`},
	{"no header", "\n\nHello\n", `text="Hello\r\n" html=""`},
	{"header only", "Subject: x\n", `text="" html=""`},
	{"header without end", "Subject: x", `text="" html=""`},
	{"nothing", "", `text="" html=""`},
	{"html", "Content-Type: text/html\n\n<p>x", `text="" html="<p>x"`},
	{"no subtype is text and a part", "Content-Type: text\n\nx", `text="x" html="" [1 text ""  1 inline]`},
	{"nonsense type is text", "Content-Type: <html>\n\nx", `text="x" html=""`},
	{"named text is text and a part", "Content-Type: text/plain; name=a.txt\n\nx", `text="x" html="" [1 text/plain "a.txt"  1 inline]`},
	{"text of another kind, alone (RFC 2046 4.1.4)", "Content-Type: text/markdown\n\n# x", `text="# x" html="" [1 text/markdown ""  3 inline]`},
	{"a calendar is no text", "Content-Type: text/calendar\n\nx", `text="" html="" [1 text/calendar ""  1]`},
	{"named text beside HTML", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>x\n--b\nContent-Type: text/plain; name=log.txt\n\ny\n--b--", `text="" html="<p>x" [2 text/plain "log.txt"  1]`},
	{"named HTML beside text", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html; name=page.html\n\ny\n--b--", `text="x" html="" [2 text/html "page.html"  1]`},
	{"named HTML above the footer of a list", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; name=page.html\n\ny\n--b\n\nx\n--b--", `text="x" html="y" [1 text/html "page.html"  1 inline]`},
	{"named alternatives", "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html; name=page.html\n\ny\n--b--", `text="x" html="y" [2 text/html "page.html"  1 inline]`},
	{"attached text", "Content-Type: text/plain\nContent-Disposition: attachment\n\nx", `text="" html="" [1 text/plain "" attachment 1]`},
	{"a soft break and blanks at the end", "Content-Transfer-Encoding: quoted-printable\n\na \nb=  ", "text=\"a\\r\\nb\" html=\"\""},
	{"quoted-printable", "Content-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=utf-8\n\na=3Db=\n c=C3=A9 \t\n=ZZ=\n", "text=\"a=b cé\\r\\n=ZZ\" html=\"\""},
	{"base64 with garbage", "Content-Transfer-Encoding: base64\n\nSGV!s\nbG8*=\n", `text="Hello" html=""`},
	{"base64 joined", "Content-Transfer-Encoding: base64\n\nSGVsbG8=SGVsbG8=\n", `text="HelloHello" html=""`},
	{"base64 with a footer in plain text", "Content-Transfer-Encoding: base64\n\nSGVsbG8=\n\n-- \nThis list is about nothing\n", `text="Hello" html=""`},
	{"base64 cut", "Content-Transfer-Encoding: base64\n\nSGVsbG", `text="Hell" html=""`},
	{"uuencode", "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n%:&5L;&\\\n`\nend\n", `text="hello" html=""`},
	{"alternative", `
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain

hi
--b
Content-Type: text/html

<b>hi</b>
--b--
`, `text="hi" html="<b>hi</b>"`},
	{"mixed", `
Content-Type: multipart/mixed; boundary="b"

preamble
--b

one
--b
Content-Type: image/png; name="=?utf-8?Q?=C3=A9.png?="
Content-Transfer-Encoding: base64
Content-ID: <c@x>

AAAA
--b

two
--b--
epilogue
--b
not a part`, `text="one\ntwo" html="" [2 image/png "é.png"  3]`},
	{"related image is inline", `
Content-Type: multipart/related; boundary=b

--b
Content-Type: text/html

<img>
--b
Content-Type: image/png
Content-ID: <c@x>

x
--b--`, `text="" html="<img>" [2 image/png ""  1 inline]`},
	{"nested ids", `
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/alternative; boundary=b

--b

t
--b
Content-Type: multipart/related; boundary=c

--c
Content-Type: text/html

h
--c
Content-Type: image/gif; name=g

x
--c--
--b--
--a
Content-Type: application/pdf

y
--a--`, `text="t" html="h" [1.2.2 image/gif "g"  1] [2 application/pdf ""  1]`},
	{"inner multipart not closed", `
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/alternative; boundary=b

--b

t
--a
Content-Type: application/pdf

y
--a--`, `text="t" html="" [2 application/pdf ""  1]`},
	{"outer multipart not closed", "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nt", `text="t" html=""`},
	{"boundary that begins like another", `
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=ab

--ab

one
--ab--
--a

two
--a--`, `text="one\ntwo" html=""`},
	{"text like a boundary", "Content-Type: multipart/mixed; boundary=a\n\n--a\n\n--abc\n--\n -- a\n--a--\n", `text="--abc\r\n--\r\n -- a" html=""`},
	{"blanks after a boundary", "Content-Type: multipart/mixed; boundary=a\n\n--a \t\n\nx\n--a--  \n", `text="x" html=""`},
	{"closing boundary with a tail", "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a-->\ny", `text="x" html=""`},
	{"other boundary than declared", "Content-Type: multipart/mixed; boundary=A\n\n--a\nContent-Type: text/plain\n\nx\n--a--\n", `text="x" html=""`},
	{"boundary missing", "Content-Type: multipart/mixed\n\n--a\nContent-Type: text/plain\n\nx\n--a--\n", `text="x" html=""`},
	{"multipart without parts", "Content-Type: multipart/mixed; boundary=a\n\njust text\n", `text="just text\r\n" html=""`},
	{"empty part", "Content-Type: multipart/mixed; boundary=a\n\n--a\n--a\n\nx\n--a--\n", `text="\nx" html=""`},
	{"part header without end", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: image/png\n--a\n\nx\n--a--\n", `text="x" html="" [1 image/png ""  0]`},
	{"message in message", `
Content-Type: multipart/mixed; boundary=a

--a

outer
--a
Content-Type: message/rfc822

Subject: inner
Content-Type: text/plain

inner
--a--`, `text="outer" html="" [2 message/rfc822 ""  49]`},
	{"digest", "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n\ny\n--a--", `text="" html="" [1 message/rfc822 ""  15]`},
	{"first disposition counts", "Content-Disposition: inline\nContent-Disposition: attachment\n\nx", `text="x" html=""`},
	{"disposition that is no token", "Content-Disposition: =?utf-8?Q?x?=\n\nx", `text="x" html=""`},
	{"unknown disposition is an attachment (RFC 2183 2.8)", "Content-Disposition: hidden\n\nx", `text="" html="" [1 text/plain "" attachment 1]`},
	{"name of disposition wins", "Content-Type: image/png; name=a.png\nContent-Disposition: attachment; filename*=utf-8''%C3%A9.png\n\nx", `text="" html="" [1 image/png "é.png" attachment 1]`},
	{"charset alias", "Content-Type: text/plain; charset=\"CP-1252\"\n\n\x80\n", `text="€\r\n" html=""`},
	{"Latin-1 means Windows-1252", "Content-Type: text/plain; charset=iso-8859-1\n\n\x93x\x94", `text="“x”" html=""`},
	{"UTF-8 declared, Latin-1 sent", "Content-Type: text/plain; charset=utf-8\n\nna\xefve caf\xe9", `text="naïve café" html=""`},
	{"ASCII declared, UTF-8 sent", "Content-Type: text/plain; charset=us-ascii\n\ncaf\xc3\xa9", `text="café" html=""`},
	{"UTF-8 with one bad byte stays UTF-8", "Content-Type: text/plain; charset=utf-8\n\nÄÖÜ \xff", "text=\"ÄÖÜ \ufffd\" html=\"\""},
	{"nothing declared, Shift_JIS sent", "Subject: x\n\n\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd", `text="こんにちは" html=""`},
	{"nothing declared, EUC-KR sent", "Subject: x\n\n\xbe\xc8\xb3\xe7\xc7\xcf\xbc\xbc\xbf\xe4", `text="안녕하세요" html=""`},
	{"nothing declared, GBK sent", "Subject: x\n\n\xc4\xe3\xba\xc3\xca\xc0\xbd\xe7", `text="你好世界" html=""`},
	{"nothing declared, Big5 sent", "Subject: x\n\n\xa7\x41\xa6\x6e\xa5\x40\xac\xc9", `text="你好世界" html=""`},
	{"nothing declared, KOI8-R sent", "Subject: x\n\n\xf0\xd2\xc9\xd7\xc5\xd4 \xcd\xc9\xd2", `text="Привет мир" html=""`},
	{"nothing declared, ISO-2022-JP sent", "Subject: x\n\n\x1b$BF|K\\\x1b(B", `text="日本" html=""`},
	{"UTF-8 declared, ISO-2022-JP sent", "Content-Type: text/plain; charset=utf-8\n\n\x1b$BF|K\\\x1b(B", `text="日本" html=""`},
	{"Latin-1 declared, ISO-2022-JP sent", "Content-Type: text/plain; charset=iso-8859-1\n\n\x1b$BF|K\\\x1b(B", `text="日本" html=""`},
	{"Shift_JIS declared, ISO-2022-JP sent", "Content-Type: text/plain; charset=shift_jis\n\n\x1b$BF|K\\\x1b(B", `text="日本" html=""`},
	{"ISO-2022-JP declared, Shift_JIS sent", "Content-Type: text/plain; charset=iso-2022-jp\n\n\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd", `text="こんにちは" html=""`},
	{"GBK is GB18030, as in browsers", "Content-Type: text/plain; charset=gb2312\n\n\xc4\xe3\x94\x39\xda\x33\x81\x39\xee\x39", `text="你💩㐀" html=""`},
	{"HTML that says its charset itself", "Content-Type: text/html\n\n<html><META content='text/html; charset=ISO-8859-2' http-equiv=Content-Type><p>Za\xbf\xf3\xb3\xe6", `text="" html="<html><META content='text/html; charset=ISO-8859-2' http-equiv=Content-Type><p>Zażółć"`},
	{"HTML that says a wrong charset", "Content-Type: text/html; charset=utf-8\n\n<meta charset=\"windows-1256\"><p>é", `text="" html="<meta charset=\"windows-1256\"><p>é"`},
	{"iso-2022-kr", "Content-Type: text/plain; charset=iso-2022-kr\n\n\x1b$)C\x0e>H3g\x0f!", `text="안녕!" html=""`},
	{"utf-16 without BOM", "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\nSADkAGwAbABvACAAVwD2AHIAbABkAA==", `text="Hällo Wörld" html=""`},
	{"utf-16 without BOM, big-endian", "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\nAEgA5ABsAGwAbwAgAFcA9gByAGwAZA==", `text="Hällo Wörld" html=""`},
	{"utf-16 the wrong way round", "Content-Type: text/plain; charset=utf-16be\nContent-Transfer-Encoding: base64\n\nSADkAGwAbABvACAAVwD2AHIAbABkAA==", `text="Hällo Wörld" html=""`},
	{"utf-16 that says utf-8", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n//5IAOQAbABsAG8A", `text="Hällo" html=""`},
	{"surrogates in utf-8", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n7aC97biAIGdyw7xu", `text="😀 grün" html=""`},
	{"utf-16 with BOM", "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n//5oAGkA", `text="hi" html=""`},
	{"BOM", "Content-Type: text/plain; charset=utf-8\n\n\xef\xbb\xbfhi", `text="hi" html=""`},
}

func TestStructure(t *testing.T) {
	t.Parallel()
	for _, c := range structures {
		raw := crlf(c.raw)
		if got := outline(parse(t, raw)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		m, err := Parse(oneByte{strings.NewReader(raw)}, Options{Digests: true})
		if got := outline(m); got != c.want || err != nil {
			t.Errorf("%s, byte by byte: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
}

func TestLineEnds(t *testing.T) {
	t.Parallel()
	raw := strings.TrimPrefix(structures[len(structures)-1].raw, "\n")
	for _, c := range structures {
		if c.name == "nested ids" {
			raw = strings.TrimPrefix(c.raw, "\n")
		}
	}
	want := outline(parse(t, crlf(raw)))
	for name, end := range map[string]string{"LF": "\n", "CR": "\r"} {
		if got := outline(parse(t, strings.ReplaceAll(raw, "\n", end))); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// A boundary line is found wherever it falls in the buffer.
func TestBoundaryAtEveryOffset(t *testing.T) {
	t.Parallel()
	for _, base := range []int{bufSize, 2 * bufSize} {
		for off := -160; off < 8; off++ {
			body := strings.Repeat("x", base+off)
			raw := "Content-Type: multipart/mixed; boundary=sep\r\n\r\n--sep\r\nContent-Type: image/png\r\n\r\n" + body + "\r\n--sep\r\n\r\ntail\r\n--sep--\r\n"
			m := parse(t, raw)
			if len(m.Attachments) != 1 || m.Attachments[0].Size != int64(len(body)) || m.Text != "tail" {
				t.Fatalf("offset %d: %s", off, outline(m))
			}
		}
	}
}

func TestOpenPart(t *testing.T) {
	t.Parallel()
	raw := sampleAttachment()
	m, err := Parse(bytes.NewReader(raw), Options{Digests: true})
	if err != nil || len(m.Attachments) != 1 {
		t.Fatalf("%v %+v", err, m.Attachments)
	}
	a, r, err := OpenPart(iotest.HalfReader(bytes.NewReader(raw)), "2")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || a.Name != "scan.pdf" || int64(len(got)) != m.Attachments[0].Size || sha256.Sum256(got) != m.Attachments[0].SHA256 {
		t.Errorf("%v %+v, %d bytes", err, a, len(got))
	}
	if _, _, err := OpenPart(bytes.NewReader(raw), "3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing part: %v", err)
	}
	for _, c := range structures {
		raw := crlf(c.raw)
		for _, a := range parse(t, raw).Attachments {
			b, r, err := OpenPart(strings.NewReader(raw), a.ID)
			if err != nil {
				t.Errorf("%s %s: %v", c.name, a.ID, err)
				continue
			}
			got, err := io.ReadAll(iotest.OneByteReader(r))
			if err != nil || sha256.Sum256(got) != a.SHA256 || int64(len(got)) != a.Size || b.Name != a.Name {
				t.Errorf("%s %s: %v %+v %q", c.name, a.ID, err, b, got)
			}
		}
	}
}

func TestReaderErrors(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	r := io.MultiReader(strings.NewReader("Subject: x\r\n\r\nhal"), iotest.ErrReader(boom))
	m, err := Parse(r, Options{})
	if !errors.Is(err, boom) || m == nil || m.Subject != "x" || m.Text != "hal" {
		t.Errorf("%v %+v", err, m)
	}
	if _, _, err := OpenPart(iotest.ErrReader(boom), "2"); !errors.Is(err, boom) {
		t.Errorf("OpenPart: %v", err)
	}
	_, pr, err := OpenPart(io.MultiReader(strings.NewReader("Subject: x\r\n\r\nhal"), iotest.ErrReader(boom)), "1")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(pr); !errors.Is(err, boom) || string(b) != "hal" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := Parse(stuck{}, Options{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that returns nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestLimits(t *testing.T) {
	t.Parallel()
	deep := strings.Builder{}
	for i := range 200 {
		b := "b" + strings.Repeat("x", i)
		deep.WriteString("Content-Type: multipart/mixed; boundary=" + b + "\r\n\r\n--" + b + "\r\n")
	}
	deep.WriteString("\r\nhi\r\n")
	m := parse(t, deep.String())
	if !m.Partial || len(m.Attachments) != 1 {
		t.Errorf("depth: partial %v, %d attachments", m.Partial, len(m.Attachments))
	}

	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: image/png\r\n\r\nx\r\n", 3000)
	if m = parse(t, many); !m.Partial || len(m.Attachments) != 2000 {
		t.Errorf("parts: partial %v, %d attachments", m.Partial, len(m.Attachments))
	}

	long := "Subject: x\r\nX-Long: " + strings.Repeat("y", 3<<20) + "\r\nFrom: a@b\r\n\r\nbody"
	if m = parse(t, long); !m.Partial || m.Subject != "x" || m.Text != "body" || len(m.Header) > 3 {
		t.Errorf("header: partial %v, subject %q, text %q, %d fields", m.Partial, m.Subject, m.Text, len(m.Header))
	}

	m, err := Parse(strings.NewReader("\r\n"+strings.Repeat("x", 100)), Options{Limits: Limits{Text: 10}})
	if err != nil || !m.Partial || m.Text != "xxxxxxxxxx" {
		t.Errorf("text: %v partial %v, %q", err, m.Partial, m.Text)
	}
	m, err = Parse(strings.NewReader("Content-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString(make([]byte, 100))), Options{Limits: Limits{Text: 10}})
	if err != nil || !m.Partial || len(m.Text) != 10 {
		t.Errorf("base64 text: %v partial %v, %q", err, m.Partial, m.Text)
	}
	if m, _ = Parse(strings.NewReader(strings.Repeat("A: b\r\n", 50)), Options{Limits: Limits{Fields: 10}}); !m.Partial || len(m.Header) != 10 {
		t.Errorf("fields: partial %v, %d", m.Partial, len(m.Header))
	}
}
