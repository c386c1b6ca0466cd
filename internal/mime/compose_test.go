package mime

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func file(name, kind string, data []byte) File {
	return File{Name: name, ContentType: kind, Size: int64(len(data)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

func composed(t *testing.T, c Composition) (string, *Message) {
	t.Helper()
	var b bytes.Buffer
	if err := Compose(&b, c); err != nil {
		t.Fatal(err)
	}
	raw := b.String()
	if !strings.HasSuffix(raw, "\r\n") {
		t.Errorf("no line end at the end of %q", raw)
	}
	if bare := strings.ReplaceAll(raw, "\r\n", ""); strings.ContainsAny(bare, "\r\n\x00") {
		t.Error("a bare CR or LF, or a NUL")
	}
	for l := range strings.SplitSeq(raw, "\r\n") {
		if len(l) > 998 {
			t.Errorf("a line of %d bytes", len(l))
		}
	}
	m, err := Parse(strings.NewReader(raw), Options{})
	if err != nil || len(m.Problems) > 0 {
		t.Fatalf("parse: %v %q\n%s", err, m.Problems, raw)
	}
	return raw, m
}

func TestCompose(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 9, 5, 0, 0, time.FixedZone("", 3600))
	c := Composition{
		From:    []Address{{"Żółw \"Z\"", "z@example.com"}},
		ReplyTo: []Address{{"Doe, Jane", "jane@example.com"}},
		To:      []Address{{"", "to@bücher.example"}, {"Very Long Name Of Somebody Who Has Many Given Names", "somebody@example.com"}, {"plain", "\"a b\"@example.com"}},
		Cc:      []Address{{"=?utf-8?q?x?=", "cc@example.com"}}, Bcc: []Address{{"", "secret@example.com"}},
		Subject: "Größe ☕ =?utf-8?b?eA==?= and much more so that it has to be folded over several lines, really",
		HTML:    "<p>héllo <img src=\"cid:inl1\"></p>" + strings.Repeat("x", 2000),
		Date:    at, MessageID: "one@example.com", InReplyTo: []string{"p@example.com"}, References: []string{"r@example.com", "p@example.com"},
		Headers: []Field{{"X-Custom", "añb"}, {"X-Plain", strings.Repeat("word ", 300)}},
		Files: []File{
			file(`bïg "1".bin`, "application/octet-stream", bytes.Repeat([]byte("0123456789"), 1000)),
			{Name: "i.png", ContentType: "image/png", ContentID: "inl1", Inline: true, Size: 3, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("png")), nil }},
			file(`plain "quotes".txt`, "text/plain; charset=iso-8859-1", []byte("h\xe9")), file("empty", "no/such; type", nil),
		},
	}
	raw, m := composed(t, c)
	if strings.Contains(raw, "secret@") {
		t.Error("Bcc is told")
	}
	if m.Subject != c.Subject || !m.Date.Equal(at) || m.MessageID != "one@example.com" || !slices.Equal(m.InReplyTo, c.InReplyTo) || !slices.Equal(m.References, c.References) {
		t.Errorf("header: %q %v %q %v %v", m.Subject, m.Date, m.MessageID, m.InReplyTo, m.References)
	}
	for _, l := range []struct {
		got, want []Address
	}{{m.From, c.From}, {m.ReplyTo, c.ReplyTo}, {m.Cc, c.Cc}, {m.Bcc, nil}} {
		if !slices.Equal(l.got, l.want) {
			t.Errorf("addresses %v, want %v", l.got, l.want)
		}
	}
	if len(m.To) != 3 || m.To[0].Email != "to@xn--bcher-kva.example" || m.To[1] != c.To[1] || m.To[2].Name != "plain" {
		t.Errorf("To: %q", m.To)
	}
	if m.HTML != c.HTML || !strings.Contains(m.Text, "héllo") {
		t.Errorf("bodies: %.80q %.80q", m.HTML, m.Text)
	}
	if got := m.Header.Get("X-Custom"); (texts{}).decodeWords(got) != "añb" {
		t.Errorf("custom header %q", got)
	}
	var names []string
	for _, a := range m.Attachments {
		names = append(names, a.Name)
		if a.Inline != (a.Name == "i.png") {
			t.Errorf("%s: inline %v", a.Name, a.Inline)
		}
	}
	if !slices.Equal(names, []string{"i.png", `bïg "1".bin`, `plain "quotes".txt`, "empty"}) {
		t.Errorf("attachments %q", names)
	}
	if a, r, err := OpenPart(strings.NewReader(raw), m.Attachments[1].ID); err != nil || a.Size < 0 {
		t.Fatal(err)
	} else if b, err := io.ReadAll(r); err != nil || len(b) != 10000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}

	c.KeepBcc = true
	if _, m = composed(t, c); !slices.Equal(m.Bcc, c.Bcc) {
		t.Errorf("Bcc of a draft: %v", m.Bcc)
	}
}

func TestComposeSmall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Composition{
		"nothing":        {},
		"text":           {Text: "a\nb\rc\r\n\r\nFrom me\n.\n..\ntrailing \t\n", Subject: " s "},
		"long lines":     {Text: strings.Repeat("word ", 1000)},
		"only an image":  {HTML: `<img src="cid:x">`},
		"only a file":    {Files: []File{file("a", "message/rfc822", []byte("Subject: x\r\n\r\ny"))}},
		"a long word":    {Subject: strings.Repeat("x", 3000), Headers: []Field{{"X-Y", strings.Repeat("é", 1500)}}},
		"many addresses": {To: slices.Repeat([]Address{{"Somebody", "somebody@example.com"}}, 500)},
		"odd address":    {To: []Address{{"", "a..b@example.com"}}},
		"utf-8 address":  {To: []Address{{"", "żółw@bücher.example"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, m := composed(t, c)
			if m.Subject != strings.TrimSpace(c.Subject) || len(m.To) != len(c.To) || len(m.Attachments) != len(c.Files) {
				t.Errorf("got %.100q, %d recipients, %d files", m.Subject, len(m.To), len(m.Attachments))
			}
			if c.UTF8() != (name == "utf-8 address") {
				t.Error("UTF8 is wrong")
			}
			if c.UTF8() && m.To[0] != c.To[0] {
				t.Errorf("To %v", m.To)
			}
			want := strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(c.Text), "\n")
			if got := strings.TrimRight(strings.ReplaceAll(m.Text, "\r\n", "\n"), "\n"); c.HTML == "" && got != want {
				t.Errorf("text %.200q, want %.200q", got, want)
			}
		})
	}
}

func TestComposeRefuses(t *testing.T) {
	t.Parallel()
	bad := "x\r\nBcc: evil@example.com"
	for field, c := range map[string]Composition{
		"subject": {Subject: bad}, "from": {From: []Address{{bad, "a@example.com"}}}, "to": {To: []Address{{"", "a@example.com\nX: y"}}},
		"cc": {Cc: []Address{{"", "nobody"}}}, "bcc": {Bcc: []Address{{"", "a@b>, <c@d"}}}, "reply_to": {ReplyTo: []Address{{"a\x00", "a@example.com"}}},
		"custom_headers": {Headers: []Field{{"X-A", bad}}}, "message id": {MessageID: "a@b> <c@d"}, "attachments: filename": {Files: []File{{Name: bad}}},
		"attachments: content_id": {Files: []File{{ContentID: "a>b"}}},
	} {
		var e *ComposeError
		if err := Compose(io.Discard, c); !errors.As(err, &e) || e.Field != field || strings.Contains(e.Msg, "evil") {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, name := range []string{"", "X Y", "X:Y", "Ünï", "X\r\nY", "from", "BCC", "Content-Type", "received", strings.Repeat("x", 80)} {
		if err := (&Composition{Headers: []Field{{name, "v"}}}).Check(); err == nil {
			t.Errorf("the header name %q is taken", name)
		}
	}
	short := file("a", "", []byte("abc"))
	short.Size = 4
	if err := Compose(io.Discard, Composition{Files: []File{short}}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that is too short: %v", err)
	}
}

// Not parallel: it counts what is allocated.
func TestComposeStreams(t *testing.T) {
	const size = 50 << 20
	f := File{Name: "big", Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(repeated("", strings.Repeat("x", 1<<12), size>>12, "")), nil
	}}
	if used := allocated(func() {
		if err := Compose(io.Discard, Composition{Files: []File{f}}); err != nil {
			t.Error(err)
		}
	}); used > 1<<20 {
		t.Errorf("%d bytes allocated for an attachment of 50 MiB", used)
	}
}

func TestAnswerTo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	index := append([]byte{1, 1, 0xdc, 0xa9, 0x74, 0x11}, make([]byte, 16)...)
	o := ParseHeader([]byte("Message-ID: <p@example.com>\r\nIn-Reply-To: <q@example.com>\r\nThread-Topic: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\nThread-Index: " +
		base64.StdEncoding.EncodeToString(index) + "\r\n\r\n"))
	var c Composition
	c.AnswerTo(o, now)
	if !slices.Equal(c.InReplyTo, []string{"p@example.com"}) || !slices.Equal(c.References, []string{"q@example.com", "p@example.com"}) || c.ThreadTopic != "Größe" {
		t.Errorf("%+v", c)
	}
	if len(c.ThreadIndex) != 27 || !bytes.Equal(c.ThreadIndex[:22], index) {
		t.Fatalf("Thread-Index %x", c.ThreadIndex)
	}
	if got := threadIndex(base64.StdEncoding.EncodeToString(c.ThreadIndex)); got != string(index[6:22]) {
		t.Errorf("GUID %x", got)
	}
	long := "<1@example.com>"
	for i := range 60 {
		long += fmt.Sprintf(" <%d@example.com>", i+2)
	}
	c.AnswerTo(ParseHeader([]byte("Message-ID: <p@example.com>\r\nReferences: "+long+"\r\n\r\n")), now)
	_, m := composed(t, c)
	if len(m.References) != 20 || m.References[0] != "1@example.com" || m.References[19] != "p@example.com" || m.Header.Has("Thread-Index") {
		t.Errorf("References %v", m.References)
	}
	c.AnswerTo(ParseHeader([]byte("Subject: x\r\n\r\n")), now)
	if c.InReplyTo != nil || c.References != nil || c.ThreadIndex != nil {
		t.Errorf("without any ids: %+v", c)
	}
}

// The examples are header times and deltas worked out by the rules of MS-OXOMSG 2.2.1.3.
func TestChildIndex(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ft := uint64(begun.UnixNano()/100) + 116444736000000000
	old := make([]byte, 22)
	for i := range 6 {
		old[i] = byte(ft >> (56 - 8*i))
	}
	modern := make([]byte, 22)
	modern[0] = 1
	for i := range 5 {
		modern[i+1] = byte(ft >> (56 - 8*i))
	}
	for _, index := range [][]byte{old, modern} {
		for after, long := range map[time.Duration]bool{time.Hour: false, 800 * 24 * time.Hour: true} {
			got := childIndex(base64.StdEncoding.EncodeToString(index), begun.Add(after))
			if len(got) != 27 || (got[22]&0x80 != 0) != long {
				t.Fatalf("%v: %x", after, got)
			}
			level := uint64(got[22]&0x7f)<<24 | uint64(got[23])<<16 | uint64(got[24])<<8 | uint64(got[25])
			shift := 18
			if long {
				shift = 23
			}
			passed := time.Duration(level<<shift) * 100
			if d := passed - after; d < -3*time.Second || d > 3*time.Second {
				t.Errorf("%v reads as %v", after, passed)
			}
		}
	}
	if childIndex("AQ==", begun) != nil || childIndex("!", begun) != nil {
		t.Error("a level was added to nothing")
	}
}
