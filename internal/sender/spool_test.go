package sender

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, out string }{
		{"a\r\nb\r\n", "a\r\nb\r\n"},
		{"a\nb", "a\r\nb\r\n"},
		{"a\rb\r", "a\r\nb\r\n"},
		{"a\r\r\nb\n\r\n", "a\r\n\r\nb\r\n\r\n"},
		{"a\n.\nMAIL FROM:<x>\r.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n.\r\n"},
		{"", "\r\n"},
	} {
		for _, size := range []int{1, 2, 1000} { // pieces end anywhere
			var out bytes.Buffer
			w := canonical{w: &out}
			for in := []byte(c.in); len(in) > 0; {
				n := min(size, len(in))
				if _, err := w.Write(in[:n]); err != nil {
					t.Fatal(err)
				}
				in = in[n:]
			}
			if err := w.end(); err != nil || out.String() != c.out {
				t.Errorf("%q became %q, want %q (%v)", c.in, out.String(), c.out, err)
			}
		}
	}
	var w canonical
	w.w = io.Discard
	io.WriteString(&w, "Subject: x\r\n\r\nZürich\r\n")
	if !w.eight || w.wideHeader || w.nul {
		t.Errorf("8-bit body: %+v", w)
	}
	io.WriteString(&w, "\x00")
	if !w.nul {
		t.Error("NUL was not seen")
	}
	w = canonical{w: io.Discard}
	io.WriteString(&w, "Subject: Zürich\r\n\r\n")
	if !w.wideHeader {
		t.Error("8-bit header was not seen")
	}
}

func TestEdited(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	public := func(r io.Reader) (io.Reader, error) { return Edited(r, privateFields(), "") }
	complete := func(r io.Reader) (io.Reader, error) {
		return Completed(r, mail.Address{Email: "ann@example.test"}, now)
	}
	redate := func(r io.Reader) (io.Reader, error) { return Redated(r, "ann@example.test", now) }
	long := strings.Repeat("x", 40<<10)
	for _, c := range []struct {
		name, in, out string
		edit          func(io.Reader) (io.Reader, error)
	}{
		{"Bcc", "From: a\r\nbcc : x,\r\n y\r\nTo: b\r\n\r\nBcc: body\r\n", "From: a\r\nTo: b\r\n\r\nBcc: body\r\n", public},
		{"Bcc first, and twice", "BCC: x\r\nResent-Bcc: y\r\nTo: b\r\nBcc: z\r\n\r\nbody", "To: b\r\n\r\nbody", public},
		{"a name that begins so", "Bcc-Not: x\r\n\r\n", "Bcc-Not: x\r\n\r\n", public},
		{"lines longer than a buffer", "Bcc: " + long + "\r\nX: " + long + "\r\n\r\nbody", "X: " + long + "\r\n\r\nbody", public},
		{"nothing but a header", "From: a\r\nBcc: x", "From: a\r\n\r\n", public},
		{"all there", "From: b@x\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@x>\r\n\r\nb", "From: b@x\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@x>\r\n\r\nb", complete},
		{"an unreadable Date", "From: b@x\r\nDate: soon\r\nMessage-ID: <1@x>\r\n\r\nb", "Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nFrom: b@x\r\nMessage-ID: <1@x>\r\n\r\nb", complete},
		{"no From", "Date: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@x>\r\n\r\nb", "From: ann@example.test\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@x>\r\n\r\nb", complete},
		{"another date", "From: b@x\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@x>\r\n\r\nb", "Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nFrom: b@x\r\nMessage-ID: <1@x>\r\n\r\nb", redate},
	} {
		r, err := c.edit(strings.NewReader(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != c.out {
			t.Errorf("%s: %.300q, want %.300q (%v)", c.name, got, c.out, err)
		}
	}
	r, err := complete(strings.NewReader("From: b@x\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(r); !strings.HasPrefix(string(got), "Message-ID: <") || !strings.Contains(string(got), "@example.test>\r\nDate: ") {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"", "\r\nbody", "no header at all\r\n\r\n", "From ann Mon Jan\r\nTo: x\r\n\r\n", " folded\r\n\r\n", "X: " + strings.Repeat("y\r\n ", 1<<19) + "\r\n\r\n"} {
		if _, err := public(strings.NewReader(bad)); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
}
