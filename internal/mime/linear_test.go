package mime

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// hostile texts are repeated to fill a header field or a body. Whoever looks back, forth or copies for each of them
// takes hours for a megabyte; the tests count instead of waiting.
var hostile = []string{
	`<"`, `"`, `(`, `)`, `=?`, `=?a?q?`, `=?a?q?=`, `?=`, `<`, `>`, ` <a `, `a@b `, `"a""b"`, `a:`, `:`, `;`, `,`, `;=`, `[`, `]`, `\`, `\"`, `a = `, ` a=b`,
	`x*0=a;`, `x*=';`, `<a@b>`, `=?utf-8?q?a?= `, `=?utf-8?b?a?= `, "=", "=\r\n", "\r", "\r\n", "\r\n ", "\n--", "--", "--b", "\n--b ", "\r\n--b0\r\n", "\r\n--b0--\r\n", "-\r\n",
	"\x1b$", "\xff", "\xe3\x81", "<style>", "<head>", "<!--", "</", "&", "&#", "[1/", "re:", "(was:", "a.", "@", " . ", "@a,", "<@:",
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

// Not parallel: it counts what is allocated.
func TestHeaderMemoryIsLinear(t *testing.T) {
	k := MailboxKey("a")
	for _, h := range hostile {
		for _, field := range []string{"To", "Subject", "References", "Content-Type"} {
			cost := func(n int) uint64 {
				raw := []byte(field + ": " + strings.Repeat(h, n/len(h)) + "\r\n\r\n")
				return allocated(func() {
					m := ParseHeader(raw)
					fp, _ := Fingerprint(m)
					k.ThreadKeys(m, fp)
					if _, err := Parse(bytes.NewReader(raw), Options{}); err != nil {
						t.Fatal(err)
					}
				})
			}
			const n = 48 << 10
			if got, limit := cost(n), uint64(200*n+1<<20); got > limit {
				t.Errorf("%s of %q: %d bytes allocated for %d", field, h, got, n)
			} else if twice := cost(2 * n); twice > 3*got+1<<20 {
				t.Errorf("%s of %q: %d bytes allocated for %d, %d for twice as much", field, h, got, n, twice)
			}
		}
	}
}

func TestScanningIsLinear(t *testing.T) {
	t.Parallel()
	var nest strings.Builder
	for i := range 60 {
		fmt.Fprintf(&nest, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	nest.WriteString("\r\n")
	for _, h := range hostile {
		for name, head := range map[string]string{"plain": "\r\n", "multipart": "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n", "deep": nest.String(),
			"header": "A: b\r\n", "preamble": "Content-Type: multipart/mixed; boundary=b\r\n\r\n", "html": "Content-Type: text/html\r\n\r\n"} {
			raw := head + strings.Repeat(h, (150<<10)/len(h))
			for _, r := range []io.Reader{strings.NewReader(raw), struct{ io.Reader }{strings.NewReader(raw)}} {
				w := newWalker(r, Limits{})
				first := w.s
				for p := w.next(); p != nil; p = w.next() {
					w.collect(p, nil, 1<<20)
				}
				if first.work > 6*int64(len(raw)) {
					t.Errorf("%s of %q: looked at %d bytes for %d", name, h, first.work, len(raw))
				}
			}
			m, err := Parse(strings.NewReader(raw), Options{})
			if err != nil {
				t.Fatal(err)
			}
			Snippet(m.Text, m.HTML)
			DisplayBody(m)
		}
	}
}
