package mime

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"
)

func uuencode(name string, data []byte) string {
	var b strings.Builder
	b.WriteString("begin 644 " + name + "\r\n")
	char := func(v byte) {
		if v&63 == 0 {
			b.WriteByte('`')
		} else {
			b.WriteByte(v&63 + 32)
		}
	}
	for len(data) > 0 {
		n := min(45, len(data))
		char(byte(n))
		for i := 0; i < n; i += 3 {
			var v [3]byte
			copy(v[:], data[i:n])
			char(v[0] >> 2)
			char(v[0]<<4 | v[1]>>4)
			char(v[1]<<2 | v[2]>>6)
			char(v[2])
		}
		b.WriteString("\r\n")
		data = data[n:]
	}
	b.WriteString("`\r\nend\r\n")
	return b.String()
}

func yencode(name string, data []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "=ybegin line=128 size=%d name=%s\r\n", len(data), name)
	col := 0
	for _, c := range data {
		c += 42
		switch c {
		case 0, '\n', '\r', '=':
			b.WriteByte('=')
			c += 64
		}
		b.WriteByte(c)
		if col++; col%128 == 0 {
			b.WriteString("\r\n")
		}
	}
	fmt.Fprintf(&b, "\r\n=yend size=%d\r\n", len(data))
	return b.String()
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	small := []byte("Hello, world")
	raw := crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nLook:\nbegin 100 things now\nplease\n") +
		uuencode("a b.JPG", data) + "between\r\n" + yencode("big file.bin", data) + uuencode("s.txt", small) + "after\r\n" + crlf("--b\nContent-Type: image/png\n\nx\n--b--\n")
	check := func(r io.Reader) {
		t.Helper()
		m, err := Parse(r, Options{Digests: true})
		if err != nil {
			t.Fatal(err)
		}
		if want := crlf("Look:\nbegin 100 things now\nplease\nbetween\nafter"); m.Text != want {
			t.Errorf("text %q", m.Text[:min(len(m.Text), 200)])
		}
		if len(m.Attachments) != 4 {
			t.Fatalf("%+v", m.Attachments)
		}
		for i, want := range []struct {
			id, name, ctype, kind string
			data                  []byte
		}{{"1.1", "a b.JPG", "image/jpeg", "uuencode", data}, {"1.2", "big file.bin", "application/octet-stream", "yenc", data}, {"1.3", "s.txt", "text/plain", "uuencode", small}} {
			a := m.Attachments[i]
			if a.ID != want.id || a.Name != want.name || a.ContentType != want.ctype || a.Embedded != want.kind || a.Size != int64(len(want.data)) || a.SHA256 != sha256.Sum256(want.data) {
				t.Errorf("%d: %+v", i, a)
			}
			_, p, err := OpenPart(strings.NewReader(raw), a.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(iotest.OneByteReader(p)); err != nil || !bytes.Equal(got, want.data) {
				t.Errorf("%s: %d bytes, %v", a.ID, len(got), err)
			}
		}
	}
	check(strings.NewReader(raw))
	check(iotest.OneByteReader(strings.NewReader(raw)))
	check(iotest.HalfReader(struct{ io.Reader }{strings.NewReader(raw)}))
	for _, id := range []string{"1.4", "1.0", "1.01", "1.x", "2.1", "1."} {
		if _, _, err := OpenPart(strings.NewReader(raw), id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", id, err)
		}
	}
	m, err := Parse(strings.NewReader(raw), Options{NoEmbed: true})
	if err != nil || len(m.Attachments) != 1 || !strings.Contains(m.Text, "begin 644 a b.JPG") {
		t.Errorf("NoEmbed: %d %v", len(m.Attachments), err)
	}
	encoded := "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nhi=\r\n!\r\n" + strings.ReplaceAll(uuencode("q.bin", small), "=", "=3D")
	if m := parse(t, encoded); m.Text != "hi!\r\n" || len(m.Attachments) != 1 || m.Attachments[0].ID != "1.1" || m.Attachments[0].Size != 12 {
		t.Errorf("quoted-printable: %q %+v", m.Text, m.Attachments)
	}
	// Not closed: what came is a file all the same.
	if m := parse(t, "\r\nhi\r\n"+strings.SplitAfter(uuencode("t.bin", data), "\r\n")[0]+strings.SplitAfter(uuencode("t.bin", data), "\r\n")[1]+"This is text again.\r\n"); len(m.Attachments) != 1 || m.Attachments[0].Size != 45 || m.Text != "hi\r\nThis is text again.\r\n" {
		t.Errorf("cut: %q %+v", m.Text, m.Attachments)
	}
}

func TestForwardedMboxLine(t *testing.T) {
	t.Parallel()
	raw := crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nFrom ann@x Mon Mar  2 10:11:10 2026\nSubject: x\n\nhi\n--b\nContent-Type: message/rfc822\n\nFrom: ann@x\n\nhi\n--b--\n")
	for id, want := range map[string]string{"1": "Subject: x\r\n\r\nhi", "2": "From: ann@x\r\n\r\nhi"} {
		for _, r := range []io.Reader{strings.NewReader(raw), iotest.OneByteReader(strings.NewReader(raw))} {
			_, p, err := OpenPart(r, id)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(p); string(got) != want {
				t.Errorf("%s: %q", id, got)
			}
		}
	}
	if a := parse(t, raw).Attachments; a[0].Size != 16 || a[1].Size != 17 {
		t.Errorf("%+v", a)
	}
}

func TestUnflow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in, want string
		delsp          bool
	}{
		{"joined", "a \nb \nc\nd\n", "a b c\nd\n", false},
		{"CRLF", "a \r\nb\r\nc", "a b\r\nc", false},
		{"delsp", "\u65e5 \n\u672c\n", "\u65e5\u672c\n", true},
		{"stuffed", " >x\n From y\n  z\n", ">x\nFrom y\n z\n", false},
		{"quotes", "> a \n> b\n>> c \n> d\n", "> a b\n>> c \n> d\n", false},
		{"quotes without spaces", ">a \n>b\n", "> a b\n", false},
		{"signature", "a \n-- \nBob \nBoats\n", "a \n-- \nBob Boats\n", false},
		{"quoted signature", "> -- \n> Ann\n", "> -- \n> Ann\n", false},
		{"blank lines", "a\n\nb\n\nc\n", "a\n\nb\n\nc\n", false},
		{"open end", "a \n", "a \n", false},
		{"no end", "a ", "a ", false},
		{"empty", "", "", false},
	} {
		if got := unflow(c.in, c.delsp); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	m := parse(t, crlf("Content-Type: text/plain; format=Flowed; delsp=yes\n\na \nb\n"))
	if m.Text != "ab\r\n" {
		t.Errorf("%q", m.Text)
	}
}

func TestSafeName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a.txt": "a.txt", "": "attachment", "../../etc/passwd": "passwd", `C:\x\y.doc`: "y.doc", "..": "attachment", "a/..": "a_", "a\x00b\r\nc.txt": "ab c.txt",
		"inv\u202etxt.exe": "invtxt.exe", "con": "_con", "CON.txt": "_CON.txt", "com1.log": "_com1.log", "comma.txt": "comma.txt", "a?b*c|d.txt": "a_b_c_d.txt", " . a . ": "a", "a.txt. ": "a.txt",
		"b\xffd.txt": "b_d.txt", "h\u00e9\u4e16.txt": "h\u00e9\u4e16.txt", "a\u00a0b\u3000c": "a b c", "\u200b": "attachment", "file://x": "x", "a\u2044b": "a_b", "///": "attachment", ".htaccess": "htaccess",
		strings.Repeat("\u4e16", 100) + ".pdf": strings.Repeat("\u4e16", 65) + ".pdf",
	} {
		if got := SafeName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
