package mime

import (
	"io"
	"strings"
	"testing"
)

// repeated reads head, then n times body, then tail.
func repeated(head, body string, n int, tail string) io.Reader {
	return io.MultiReader(strings.NewReader(head), io.LimitReader(&loop{s: body}, int64(n)*int64(len(body))), strings.NewReader(tail))
}

type loop struct {
	s   string
	off int
}

func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.s[l.off:])
	l.off = (l.off + n) % len(l.s)
	return n, nil
}

// Attachments pass through in pieces, however large they are. Not parallel: it counts what is allocated.
func TestHugeAttachmentsStream(t *testing.T) {
	const n = 400_000
	uu := uuencode("x", []byte(strings.Repeat("abc", 15)))
	begin, line := uu[:strings.IndexByte(uu, '\n')+1], strings.SplitAfter(uu, "\n")[1]
	for _, c := range []struct {
		name, id string
		size     int64
		open     func() io.Reader
	}{
		{"base64", "2", n * 57, func() io.Reader {
			return repeated("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n", strings.Repeat("QUJD", 19)+"\r\n", n, "--b--\r\n")
		}},
		{"uuencode", "1.1", n * 45, func() io.Reader { return repeated("\r\nhi\r\n"+begin, line, n, "end\r\n") }},
		{"yEnc", "1.1", n * 60, func() io.Reader {
			return repeated("\r\nhi\r\n=ybegin line=60 size=1 name=x\r\n", strings.Repeat("k", 60)+"\r\n", n, "=yend\r\n")
		}},
	} {
		used := allocated(func() {
			m, err := Parse(c.open(), Options{Digests: true})
			if err != nil || m.Partial || len(m.Attachments) != 1 || m.Attachments[0].ID != c.id || m.Attachments[0].Size != c.size {
				t.Errorf("%s: %+v %v", c.name, m.Attachments, err)
			}
			_, r, err := OpenPart(c.open(), c.id)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.Copy(io.Discard, r); err != nil || got != c.size {
				t.Errorf("%s: %d bytes, %v", c.name, got, err)
			}
		})
		if used > 2<<20 {
			t.Errorf("%s: %d bytes allocated", c.name, used)
		}
	}
}

// What was read before the reader failed is returned, and says that it is not all.
func TestPartialWhenReaderFails(t *testing.T) {
	t.Parallel()
	raw := crlf("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: image/png\n\nabc")
	m, err := Parse(io.MultiReader(strings.NewReader(raw), failing{}), Options{})
	if err == nil || m == nil || !m.Partial || m.Subject != "x" || m.Text != "hello" || len(m.Attachments) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
