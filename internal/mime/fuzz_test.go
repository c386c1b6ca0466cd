package mime

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func valid(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s is not valid UTF-8: %q", what, s)
	}
}

func FuzzHeader(f *testing.F) {
	for _, s := range []string{"Subject: a\r\n b\r\n\r\n", "From nobody\r\nTo : x@y\r\n: z\r\n \r\n", "a:b\rc:d\r\r", "\n\n", sampleHeader("x")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.Clone(b)
		m := ParseHeader(b)
		if !bytes.Equal(in, b) {
			t.Error("the input was changed")
		}
		valid(t, "subject", m.Subject)
		valid(t, "message id", m.MessageID)
		for _, l := range [][]Address{m.From, m.To, m.Cc, m.Bcc, m.ReplyTo, m.Sender} {
			for _, a := range l {
				valid(t, "name", a.Name)
				valid(t, "email", a.Email)
			}
		}
		n := 0
		for _, x := range m.Header {
			n += len(x.Name) + len(x.Value)
			if x.Name == "" || strings.ContainsAny(x.Name, "\r\n:") {
				t.Errorf("field name %q", x.Name)
			}
		}
		if n > len(b) {
			t.Errorf("%d bytes of header from %d", n, len(b))
		}
		fp, _ := Fingerprint(m)
		th := MailboxKey("a").ThreadKeys(m, fp)
		found := false
		for _, k := range th.Keys {
			found = found || k == th.Mint
		}
		if !found {
			t.Error("the id to mint is none of the keys")
		}
		// The end of the header and what follows does not matter.
		if whole, err := Parse(io.MultiReader(bytes.NewReader(b), strings.NewReader("\r\n\r\nbody")), Options{}); err != nil {
			t.Error(err)
		} else if fp2, _ := Fingerprint(whole); fp2 != fp && bytes.IndexByte(b, '\n') >= 0 && !bytes.HasSuffix(b, []byte("\r")) && !strings.Contains(string(b), "--") {
			t.Errorf("fingerprints of header and message differ: %q", b)
		}
	})
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{`"A, B" <a@b>, c@d (e); f:g@h;`, "<<a@b>", "=?utf-8?Q?a@b?= <@x,@y:z@w>", `"a"@b "c" d@e.`, "a(b(c)@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range (texts{}).parseAddresses(s) {
			valid(t, "name", a.Name)
			valid(t, "email", a.Email)
			if a == (Address{}) {
				t.Errorf("empty address from %q", s)
			}
		}
	})
}

func FuzzEncodedWords(f *testing.F) {
	for _, s := range []string{"=?utf-8?Q?a?= =?utf-8?B?YQ?=", "=?=?=?", "=?iso-2022-jp?B?GyRC?=", "=?utf-7?Q?+AOk-?=", "x=?a*b?q?=ZZ?=\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := DecodeHeader(s)
		valid(t, "text", got)
		if len(got) > 4*len(s)+16 {
			t.Errorf("%d bytes from %d", len(got), len(s))
		}
		sub := BaseSubject(got)
		valid(t, "base subject", sub.Base)
		literal := texts{noDetect: true}.decodeWords(s)
		valid(t, "text without detection", literal)
	})
}

func FuzzParams(f *testing.F) {
	for _, s := range []string{`a/b; c="d\"e"; f*0*=utf-8''%41; f*1="g"`, "a/b c=d e=f", "a;;=;x*99999=1;y*=%", `text/plain; name="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, ps := texts{}.parseParams(s)
		if len(ps) > maxParams {
			t.Errorf("%d parameters", len(ps))
		}
		valid(t, "file name", texts{}.fileName(ps.get("name")))
	})
}

func FuzzDates(f *testing.F) {
	for _, s := range []string{"Mon, 2 Mar 2026 10:11:10 +0100 (CET)", "2003-03-12T10:00:00Z", "12.03.03 1:2", "1 Jan 99999 :", "+ - : : ::::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseDate(s)
		if ok && (d.Year() < -1 || d.Year() > 10001) {
			t.Errorf("%q gives %v", s, d)
		}
		if !ok && !d.IsZero() {
			t.Errorf("%q gives %v and nothing", s, d)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, c := range structures {
		f.Add([]byte(crlf(c.raw)))
	}
	f.Add(sampleAlternative()[:4000])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(bytes.NewReader(b), Options{Digests: true})
		if err != nil {
			t.Fatal(err)
		}
		valid(t, "text", m.TextAll)
		valid(t, "html", m.HTMLAll)
		valid(t, "snippet", Snippet(m.Text, m.HTML))
		body, _ := DisplayBody(m)
		valid(t, "body", body)
		// However the bytes arrive, the result is the same.
		m2, err := Parse(oneByte{bytes.NewReader(b)}, Options{Digests: true})
		if err != nil || outline(m) != outline(m2) {
			t.Errorf("%v\nat once:      %s\nbyte by byte: %s", err, outline(m), outline(m2))
		}
		for i, a := range m.Attachments {
			if i == 3 {
				break
			}
			if a.ContentType == "" || strings.Contains(a.ContentType, " ") {
				t.Errorf("type %q", a.ContentType)
			}
			o, r, err := OpenPart(bytes.NewReader(b), a.ID)
			if err != nil {
				t.Errorf("part %s: %v", a.ID, err)
				continue
			}
			got, err := io.ReadAll(r)
			if err != nil || sha256.Sum256(got) != a.SHA256 || o.Name != a.Name {
				t.Errorf("part %s: %v, %d bytes instead of %d", a.ID, err, len(got), a.Size)
			}
		}
	})
}
