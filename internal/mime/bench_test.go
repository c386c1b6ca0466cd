package mime

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// sample messages grown from a fixed seed
func samplePlain() []byte {
	r := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	b.WriteString(sampleHeader("Re: [list] quarterly =?utf-8?Q?r=C3=A9sum=C3=A9?= of the project"))
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\n\r\n")
	b.WriteString(words(r, 8<<10))
	return []byte(b.String())
}

func sampleAlternative() []byte {
	r := rand.New(rand.NewPCG(2, 2))
	var b strings.Builder
	b.WriteString(sampleHeader("Newsletter"))
	b.WriteString("Content-Type: multipart/alternative; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=iso-8859-1\r\n" +
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	for range 200 {
		b.WriteString("Caf=E9 " + strings.TrimSpace(words(r, 50)) + " =\r\n")
	}
	b.WriteString("\r\n--b1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	for range 700 {
		b.WriteString("<td style=3D\"color:red\">" + strings.TrimSpace(words(r, 40)) + "=C3=A9</td>=\r\n")
	}
	b.WriteString("\r\n--b1--\r\n")
	return []byte(b.String())
}

func sampleAttachment() []byte {
	r := rand.New(rand.NewPCG(3, 3))
	var b strings.Builder
	b.WriteString(sampleHeader("Scan"))
	b.WriteString("Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nSee attached.\r\n" +
		"--b1\r\nContent-Type: application/pdf; name=\"scan.pdf\"\r\nContent-Disposition: attachment; filename=\"scan.pdf\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	raw := make([]byte, 1<<20)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	e := base64.StdEncoding.EncodeToString(raw)
	for len(e) > 76 {
		b.WriteString(e[:76] + "\r\n")
		e = e[76:]
	}
	b.WriteString(e + "\r\n--b1--\r\n")
	return []byte(b.String())
}

func sampleHeader(subject string) string {
	var b strings.Builder
	for i := range 5 {
		fmt.Fprintf(&b, "Received: from mx%d.example.com (mx%d.example.com [192.0.2.%d])\r\n\tby relay.example.net (Postfix) with ESMTPS id 4A5B6C7D8E%d\r\n\tfor <ann@example.net>; Mon, 2 Mar 2026 10:11:1%d +0100 (CET)\r\n", i, i, i, i, i)
	}
	b.WriteString("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=k1;\r\n\th=from:to:subject:date; bh=abcdefghijklmnopqrstuvwxyz=;\r\n\tb=" + strings.Repeat("QUJD", 60) + "\r\n")
	b.WriteString("From: \"Bob B. Example\" <bob@example.com>\r\nTo: Ann <ann@example.net>, \"Carl, the third\" <carl@example.org>\r\nCc: dora@example.org (Dora)\r\n")
	b.WriteString("Subject: " + subject + "\r\nDate: Mon, 2 Mar 2026 10:11:10 +0100\r\nMessage-ID: <1234.5678@example.com>\r\n")
	b.WriteString("In-Reply-To: <a@example.net>\r\nReferences: <root@example.net> <b@example.com>\r\n <a@example.net>\r\nMIME-Version: 1.0\r\n")
	return b.String()
}

func words(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		for range 2 + r.IntN(8) {
			b.WriteByte('a' + byte(r.IntN(26)))
		}
		if r.IntN(10) == 0 {
			b.WriteString("\r\n")
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func BenchmarkParse(b *testing.B) {
	for _, s := range []struct {
		name string
		raw  []byte
	}{{"plain-8k", samplePlain()}, {"alternative-50k", sampleAlternative()}, {"attachment-1M", sampleAttachment()}} {
		for _, digests := range []bool{false, true} {
			name := s.name
			if digests {
				name += "-sha256"
			}
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(len(s.raw)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Parse(bytes.NewReader(s.raw), Options{Digests: digests}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	raw := []byte(sampleHeader("Re: [list] quarterly =?utf-8?Q?r=C3=A9sum=C3=A9?= of the project"))
	k := MailboxKey("ann@example.net")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		m := ParseHeader(raw)
		fp, _ := Fingerprint(m)
		if t := k.ThreadKeys(m, fp); len(t.Keys) == 0 {
			b.Fatal("no keys")
		}
	}
}

// The allocations of one message do not depend on its length.
func TestParseAllocations(t *testing.T) {
	raw := sampleAlternative()
	n := testing.AllocsPerRun(20, func() {
		if _, err := Parse(bytes.NewReader(raw), Options{}); err != nil {
			t.Fatal(err)
		}
	})
	if n > 150 {
		t.Errorf("%v allocations for a message with two parts, want at most 150", n)
	}
	h := []byte(sampleHeader("Re: hello"))
	if n := testing.AllocsPerRun(20, func() { ParseHeader(h) }); n > 60 {
		t.Errorf("%v allocations for a header, want at most 60", n)
	}
}
