package imap

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// seeds are what servers send in the transcripts, and the examples of the RFCs.
func seeds(f *testing.F) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var all strings.Builder
		for l := range strings.Lines(string(text)) {
			if strings.HasPrefix(l, "S:") {
				all.WriteString(wire(strings.TrimPrefix(strings.TrimSuffix(l, "\n")[2:], " ")))
			}
		}
		f.Add([]byte(all.String()))
	}
	for _, s := range []string{
		"* 12 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 4286 ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) NIL NIL ((NIL NIL \"imap\" \"cac.washington.edu\")) NIL NIL NIL \"<B27397-0100000@cac.washington.edu>\") BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92))\r\n",
		"* 1 FETCH (UID 9 BODYSTRUCTURE (\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 50 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5 1) 3 NIL (\"attachment\" (\"filename\" \"a\")) (\"de\" \"en\") \"x\"))\r\n",
		"* 2 FETCH (BODY[] {5}\r\nhello UID 2 BODY[HEADER] {2}\r\n\r\n MODSEQ (3))\r\n* 3 FETCH (BODY[]<0> ~{2}\r\nab)\r\n",
		"* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"FLAG1\" \"FLAG2\"))) NIL NIL\r\n* ID (\"name\" \"Cyrus\" \"version\" NIL)\r\n",
		"* ESEARCH (TAG \"A285\") UID MIN 7 MAX 3800 COUNT 5 ALL 1:3,5\r\n* VANISHED (EARLIER) 300:310,405,411\r\n",
		"* LIST (\\Marked) \"/\" {3}\r\na\"b (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n* STATUS \"a (b)\" (MESSAGES 1 MAILBOXID (F2))\r\n",
	} {
		f.Add([]byte(s))
	}
}

// FuzzResponses feeds a whole stream through framer and parsers. Whatever comes, they must return, stay within their
// limits, and see the same whether the bytes come at once or one by one.
func FuzzResponses(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		a := digest(t, bytes.NewReader(bytes.Clone(data)))
		b := digest(t, iotest.OneByteReader(bytes.NewReader(bytes.Clone(data))))
		if a != b {
			t.Errorf("at once:\n%s\nbyte by byte:\n%s", a, b)
		}
	})
}

// digest reads everything and tells what it saw.
func digest(t *testing.T, r io.Reader) string {
	var out strings.Builder
	p := &player{}
	s := &Session{flags: map[string][]string{}, raw: nopConn{}, cmd: "FUZZ"}
	s.o.Limits = Limits{Line: 4096, Response: 8192, Literal: 1000, Depth: 10}.withDefaults()
	s.o.OnUnilateral = p.unilateral
	s.f = newFramer(r, s.o.Limits)
	s.f.sink = &bodySink{sections: true}
	s.pending = []*command{{name: "FUZZ", tag: "P1"}}
	h := func(kind string, num uint32, q *parser) (bool, error) {
		switch kind {
		case "FETCH", "UIDFETCH":
			row := &s.row
			err := s.readRow(q, row, num, kind == "UIDFETCH")
			row.Err = err
			p.row(row)
			for _, x := range row.Sections {
				if x.Has && x.Size != int64(len(x.Bytes)) {
					t.Errorf("section of %d bytes has %d", x.Size, len(x.Bytes))
				}
			}
			if row.Body.Has && row.Body.Size != int64(len(row.Body.Bytes)) {
				t.Errorf("body of %d bytes has %d", row.Body.Size, len(row.Body.Bytes))
			}
			return true, nil
		case "LIST":
			m := parseList(q)
			p.printf("%q %q %q %q %v", m.Raw, m.Name, m.Attrs, m.OldName, m.Err)
			if !utf8.ValidString(m.Name) {
				t.Errorf("name %q", m.Name)
			}
			return true, nil
		case "SEARCH":
			set, err := parseSearch(q)
			p.printf("%s %v", set.String(), err)
			return true, nil
		case "ESEARCH":
			set, err := parseESearch(q)
			p.printf("%s %v", set.String(), err)
			return true, nil
		case "QUOTA":
			got, err := parseQuota(q)
			p.printf("%v %v", got, err)
			return true, nil
		case "VANISHED":
			u, err := parseVanished(q)
			p.printf("%s %v %v", u.UIDs, u.Earlier, err)
			return true, nil
		case "NAMESPACE":
			var ns []Namespace
			err := q.list(func() error { return parseNamespace(q, &ns) })
			p.printf("%v %v", ns, err)
			return true, nil
		}
		return false, nil
	}
	for {
		fr, err := s.f.next()
		if err != nil {
			p.printf("%v", err)
			break
		}
		if len(fr.b) > s.o.Limits.Response {
			t.Errorf("response of %d bytes", len(fr.b))
		}
		if err := s.handle(fr, h); err != nil {
			p.printf("%v", err)
			break
		}
	}
	for _, l := range p.out {
		out.WriteString(l + "\n")
	}
	return out.String()
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{`"a\"b" {3}` + "\r\nabc (x (y)) NIL -5.0", `"a"b" "\\" ~{1}` + "\r\n!", `((((`, `"`, `{`, "{5}\r\nab"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		try := func(fn func(*parser) error) {
			var p parser
			p.reset(frame{b: []byte(text)}, 8)
			for n := 0; !p.done(); n++ {
				at := p.i
				if err := fn(&p); err != nil || p.i == at {
					break
				}
				p.space()
				if n > len(text) {
					t.Fatalf("no end in %q", text)
				}
			}
			if p.i > len(p.full) {
				t.Errorf("ran past the end of %q", text)
			}
		}
		try(func(p *parser) error { _, _, err := p.str(); return err })
		try(func(p *parser) error { _, err := p.skip(); return err })
		try(func(p *parser) error { _, err := p.number(); return err })
		try(func(p *parser) error { _, err := p.envelope(); return err })
		try(func(p *parser) error { _, err := p.bodyStructure(); return err })
		try(func(p *parser) error { _, err := p.stringsAndNILs(10); return err })
		try(func(p *parser) error { _, _, err := parseStatusData(p); return err })
		try(func(p *parser) error { _, err := parseQuota(p); return err })
		try(func(p *parser) error { _, err := parseVanished(p); return err })
		try(func(p *parser) error { _, err := parseESearch(p); return err })
		try(func(p *parser) error { _, err := p.labels(); return err })
		try(func(p *parser) error { _, err := p.objectID(); return err })
		try(func(p *parser) error { _, err := p.number64(); return err })
		try(func(p *parser) error { m := parseList(p); return m.Err })
		try(func(p *parser) error { _, _, err := p.itemName(); return err })
		if lit, ok := bodyItem([]byte(text)); ok && (!validPath(lit.Section) || lit.Offset < 0) {
			t.Errorf("%q is %+v", text, lit)
		}
		_ = parseStatus("OK", []byte(text))
	})
}

func FuzzMUTF7(f *testing.F) {
	for _, s := range []string{"INBOX", "Entw&APw-rfe", "&", "&-", "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "&2D3eAA-", "&2D0-", "&AGE-", "a&b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := DecodeName(s); err == nil {
			if !utf8.ValidString(name) {
				t.Errorf("DecodeName(%q) = %q", s, name)
			}
			if again, err := DecodeName(EncodeName(name)); err != nil || again != name {
				t.Errorf("%q: %q becomes %q, %v", s, name, again, err)
			}
		}
		enc := EncodeName(s)
		for i := range len(enc) {
			if enc[i] < 0x20 || enc[i] > 0x7e {
				t.Errorf("EncodeName(%q) = %q", s, enc)
			}
		}
		if back, err := DecodeName(enc); err != nil || back != strings.ToValidUTF8(s, "\uFFFD") && utf8.ValidString(s) {
			t.Errorf("%q: %q: %q, %v", s, enc, back, err)
		}
		if !utf8.ValidString(showName(s, false)) || !utf8.ValidString(showName(s, true)) {
			t.Errorf("showName(%q)", s)
		}
	})
}

func FuzzInternalDate(f *testing.F) {
	for _, s := range []string{"17-Jul-1996 02:44:25 -0700", " 1-Feb-2024 10:00:00 +0100", "00-Jan-0000 00:00:00 +0000", "31-Feb-2020 1:2", "29-Feb-2023 00:00:00 +0000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseInternalDate([]byte(s))
		if !ok && !d.IsZero() || ok && (d.Year() < 1969 || d.Year() > 10000) {
			t.Errorf("%q: %v, %v", s, d, ok)
		}
		if !ok {
			return
		}
		text := d.Format("02-Jan-2006 15:04:05 -0700")
		if again, ok := parseInternalDate([]byte(text)); d.Year() >= 1970 && d.Year() < 10000 && (!ok || !again.Equal(d)) {
			t.Errorf("%q: %v becomes %v", s, d, again)
		}
	})
}

func FuzzUIDSet(f *testing.F) {
	for _, s := range []string{"", "1", "1:3,5", "5:*", "*", "3:1,2,9:7", "4294967295", "4294967294:4294967295", "1,,2", "0", "1:4294967296"} {
		f.Add(s, uint32(3))
	}
	f.Fuzz(func(t *testing.T, text string, uid uint32) {
		s, err := ParseUIDSet(text)
		if err != nil {
			return
		}
		checkSet(t, s)
		again, err := ParseUIDSet(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q: %q becomes %q, %v", text, s, again, err)
		}
		var joined UIDSet
		for _, part := range s.Split(20) {
			if len(part.String()) > 21 {
				t.Errorf("part %q", part)
			}
			joined.AddSet(part)
		}
		if joined.String() != s.String() {
			t.Errorf("%q split and joined is %q", s, joined)
		}
		cut := UIDRange{min(uid, uid/2+1), max(uid, 1)}
		in := s.within(cut)
		other := UIDs(uid, uid/2, uid/3)
		both, rest := s.And(other), s.Without(other)
		for _, x := range []UIDSet{in, both, rest} {
			checkSet(t, x)
		}
		for _, u := range []uint32{uid, uid / 2, uid / 3, cut.Start, uid + 1} {
			has := s.Contains(u)
			if in.Contains(u) != (has && u >= cut.Start && u <= cut.Stop) || both.Contains(u) != (has && other.Contains(u)) ||
				rest.Contains(u) != (has && !other.Contains(u)) {
				t.Errorf("%q and %d: within %v %q, and %q, without %q", s, u, cut, in, both, rest)
			}
		}
		var again2 setBuilder
		for _, r := range slices.Backward(s.Ranges()) {
			again2.add(UIDSet{[]UIDRange{r}})
		}
		if got := again2.set(); got.String() != s.String() {
			t.Errorf("%q built backwards is %q", s, got)
		}
		c := s.Clone()
		c.Add(uid)
		checkSet(t, c)
		if uid != 0 && !c.Contains(uid) {
			t.Errorf("%q with %d is %q", s, uid, c)
		}
	})
}

func checkSet(t *testing.T, s UIDSet) {
	t.Helper()
	last := uint64(0)
	for _, r := range s.Ranges() {
		if r.Start > r.Stop || uint64(r.Start) <= last || r.Start == 0 {
			t.Errorf("ranges %v", s.Ranges())
		}
		last = uint64(r.Stop) + 1
	}
}
