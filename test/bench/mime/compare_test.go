// Benchmarks of reading mail beside other parsers, on one core and over mail grown from a seed:
//
//	cd test/bench/mime && go test -bench . -benchtime 3s
//
//	go test -run Table -v -args -table 2s # the same as a table
package mime_test

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"runtime"
	"strings"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
	gomail "github.com/emersion/go-message/mail"
	"github.com/jhillyerd/enmime/v2"

	"github.com/posthorn/posthorn/internal/mime"
)

var rounds = flag.Duration("table", 0, "print the table, measuring each cell for this long")

// corpus is mail of one kind.
type corpus struct {
	name string
	mail [][]byte
	size int64
}

func corpora() []corpus {
	r := rand.New(rand.NewPCG(7, 7))
	kinds := []struct {
		name string
		n    int
		make func(*rand.Rand) string
	}{
		{"plain text, 2-10 KB", 300, plain},
		{"text and HTML, 20-80 KB", 60, newsletter},
		{"scan of 1 MB", 8, scan},
		{"bounces, 3 KB", 300, bounce},
	}
	var out []corpus
	for _, k := range kinds {
		c := corpus{name: k.name}
		for range k.n {
			raw := []byte(strings.ReplaceAll(k.make(r), "\n", "\r\n"))
			c.mail = append(c.mail, raw)
			c.size += int64(len(raw))
		}
		out = append(out, c)
	}
	return out
}

func header(r *rand.Rand) string {
	var b strings.Builder
	for i := range 4 {
		fmt.Fprintf(&b, "Received: from mx%d.example.com (mx%d.example.com [192.0.2.%d])\n\tby relay.example.net (Postfix) with ESMTPS id %X\n\tfor <ann@example.net>; Mon, 2 Mar 2026 10:11:1%d +0100 (CET)\n", i, i, i, r.Uint32(), i)
	}
	fmt.Fprintf(&b, "From: \"Bob B. Example\" <bob@example.com>\nTo: Ann <ann@example.net>, \"Carl, the third\" <carl@example.org>\nSubject: Re: [list] =?utf-8?Q?r=C3=A9sum=C3=A9?= %s\nDate: Mon, 2 Mar 2026 10:11:10 +0100\nMessage-ID: <%x@example.com>\nReferences: <a@example.net>\n <b@example.com>\nMIME-Version: 1.0\n", words(r, 20), r.Uint64())
	return b.String()
}

func words(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		for range 2 + r.IntN(8) {
			b.WriteByte('a' + byte(r.IntN(26)))
		}
		b.WriteByte(' ')
	}
	return strings.TrimSpace(b.String())
}

func lines(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words(r, 60) + "\n")
	}
	return b.String()
}

func plain(r *rand.Rand) string {
	return header(r) + "Content-Type: text/plain; charset=utf-8\n\n" + lines(r, 2000+r.IntN(8000))
}

func quotedPrintable(s string) string {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func newsletter(r *rand.Rand) string {
	var html strings.Builder
	html.WriteString("<html><body><table>")
	for html.Len() < 15000+r.IntN(50000) {
		fmt.Fprintf(&html, "<tr><td style=\"color:#%06x\"><a href=\"https://example.com/%x\">%s é</a></td></tr>\n", r.IntN(1<<24), r.Uint64(), words(r, 60))
	}
	html.WriteString("</table></body></html>\n")
	return header(r) + "Content-Type: multipart/alternative; boundary=\"b1\"\n\n--b1\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n" +
		quotedPrintable(strings.ReplaceAll(lines(r, 4000), "e", "\xe9")) + "\n--b1\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" + quotedPrintable(html.String()) + "\n--b1--\n"
}

func scan(r *rand.Rand) string {
	raw := make([]byte, 1<<20)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	var b strings.Builder
	for e := base64.StdEncoding.EncodeToString(raw); e != ""; {
		n := min(76, len(e))
		b.WriteString(e[:n] + "\n")
		e = e[n:]
	}
	return header(r) + "Content-Type: multipart/mixed; boundary=\"b1\"\n\n--b1\nContent-Type: text/plain\n\nSee attached.\n--b1\nContent-Type: application/pdf; name=\"scan.pdf\"\nContent-Disposition: attachment; filename=\"scan.pdf\"\nContent-Transfer-Encoding: base64\n\n" + b.String() + "--b1--\n"
}

func bounce(r *rand.Rand) string {
	return header(r) + "Content-Type: multipart/report; report-type=delivery-status; boundary=b1\n\n--b1\nContent-Type: text/plain\n\nIt failed.\n--b1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n\n--b1\nContent-Type: text/rfc822-headers\n\n" + header(r) + "\n--b1--\n"
}

// quick is enmime without its detection of charsets, which takes most of its time.
var quick = enmime.NewParser(enmime.DisableCharacterDetection(true))

// parsers read a message completely: every part decoded, texts as UTF-8.
var parsers = []struct {
	name  string
	parse func(raw []byte) error
}{
	{"posthorn", func(raw []byte) error {
		_, err := mime.Parse(bytes.NewReader(raw), mime.Options{})
		return err
	}},
	{"enmime", func(raw []byte) error {
		_, err := enmime.ReadEnvelope(bytes.NewReader(raw))
		return err
	}},
	{"enmime, no detection", func(raw []byte) error {
		_, err := quick.ReadEnvelope(bytes.NewReader(raw))
		return err
	}},
	{"go-message", func(raw []byte) error {
		e, err := gomessage.Read(bytes.NewReader(raw))
		if err != nil && !gomessage.IsUnknownCharset(err) {
			return err
		}
		h := gomail.Header{Header: e.Header}
		for _, name := range []string{"From", "To", "Cc"} {
			if _, err := h.AddressList(name); err != nil {
				return err
			}
		}
		if _, err := h.Date(); err != nil {
			return err
		}
		if _, err := h.Subject(); err != nil {
			return err
		}
		return e.Walk(func(_ []int, p *gomessage.Entity, err error) error {
			if err != nil {
				return err
			}
			if strings.HasPrefix(p.Header.Get("Content-Type"), "multipart/") {
				return nil
			}
			if t, _, _ := p.Header.ContentType(); t == "text/plain" || t == "text/html" {
				_, err = io.ReadAll(p.Body)
			} else {
				_, err = io.Copy(io.Discard, p.Body)
			}
			return err
		})
	}},
}

func BenchmarkParse(b *testing.B) {
	for _, c := range corpora() {
		for _, p := range parsers {
			b.Run(strings.ReplaceAll(c.name, " ", "-")+"/"+p.name, func(b *testing.B) {
				b.SetBytes(c.size)
				b.ReportAllocs()
				for b.Loop() {
					for _, raw := range c.mail {
						if err := p.parse(raw); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

// TestTable measures every parser on every kind of mail, on one core, and prints MB/s and allocated bytes per byte.
func TestTable(t *testing.T) {
	if *rounds == 0 {
		t.Skip("-args -table 2s prints the table")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	fmt.Print("| MB/s on one core (bytes allocated per byte) |")
	for _, p := range parsers {
		fmt.Printf(" %s |", p.name)
	}
	fmt.Print("\n|---" + strings.Repeat("|---", len(parsers)) + "|\n")
	for _, c := range corpora() {
		fmt.Printf("| %s |", c.name)
		for _, p := range parsers {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			best, n := time.Duration(1<<62), int64(0)
			for start := time.Now(); time.Since(start) < *rounds; n++ {
				t0 := time.Now()
				for _, raw := range c.mail {
					if err := p.parse(raw); err != nil {
						t.Fatal(err)
					}
				}
				best = min(best, time.Since(t0))
			}
			runtime.ReadMemStats(&after)
			fmt.Printf(" %.0f (%.1f) |", float64(c.size)/best.Seconds()/1e6, float64(after.TotalAlloc-before.TotalAlloc)/float64(n*c.size))
		}
		fmt.Println()
	}
}
