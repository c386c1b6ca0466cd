// Package seed makes mailboxes for benchmarks and tests: the same seed gives the same bytes.
package seed

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/posthorn/posthorn/test/realsrv"
)

// folders are the folders of the mailbox and their share of the mail in percent.
var folders = []struct {
	name  string
	share int
}{
	{"INBOX", 52}, {"Archive", 18}, {"Sent", 12}, {"Newsletters", 5}, {"Junk", 4}, {"Trash", 3}, {"Drafts", 1},
	{"Kunden/Nord", 2}, {"Kunden/Süd", 2}, {"旅行", 1},
}

// script is a charset with words that need it.
type script struct {
	name  string
	enc   encoding.Encoding // nil: UTF-8
	share int
	words []string
}

var scripts = []script{
	{"utf-8", nil, 60, strings.Fields("harbour tide ledger Straße café garden rain station Größe letter window — evening bridge … lantern river")},
	{"us-ascii", nil, 12, strings.Fields("harbour tide ledger street coffee garden rain station size letter window evening bridge lantern river")},
	{"iso-8859-1", charmap.ISO8859_1, 9, strings.Fields("Gärten für Mühle Fähre français señor Grüße später Käse Brücke")},
	{"windows-1252", charmap.Windows1252, 6, strings.Fields("“price” 20 € – naïve “quoted” ferry … ledger")},
	{"koi8-r", charmap.KOI8R, 3, strings.Fields("гавань письмо вечер мост река сад станция дождь")},
	{"iso-8859-2", charmap.ISO8859_2, 3, strings.Fields("přístav dopis večer řeka zahrada źródło ogród")},
	{"iso-2022-jp", japanese.ISO2022JP, 4, strings.Fields("港 手紙 夕方 橋 川 庭 駅 雨 来週 お願いします")},
	{"gb18030", simplifiedchinese.GB18030, 3, strings.Fields("港口 信件 傍晚 桥 河 花园 车站 下周 谢谢")},
}

var common = strings.Fields(`the and of to we is for with please see attached next week meeting report invoice order plan draft budget
question answer team travel ticket contract list update schedule thanks regards tomorrow morning today project room number address`)

var givenNames = strings.Fields("Ada Bram Chloé Dmitri Elif Farid Gösta Hana Ivo Jun Kofi Lena Mbali Noor Ola Petra Quill Rosa Sena Tuva")
var familyNames = strings.Fields("Adler Brandt Castro Dahl Egede Fonseca Grün Hoang Ilves Juárez Krog Lund Moreau Nakata Ozols Pires")

const firstDay = 1577836800 // 2020-01-01

// seeder makes messages.
type seeder struct {
	seed uint64
}

// person is one of some 300 correspondents; few of them write most of the mail.
func person(r *rand.Rand) (name, addr string) {
	n := int(math.Pow(r.Float64(), 3) * 320)
	g, f := givenNames[n%len(givenNames)], familyNames[n/len(givenNames)%len(familyNames)]
	return g + " " + f, fmt.Sprintf("p%d@%s.test", n, []string{"harbour", "ledger", "kite", "north", "mill"}[n%5])
}

func (s seeder) script(r *rand.Rand) script {
	n := r.IntN(100)
	for _, sc := range scripts {
		if n -= sc.share; n < 0 {
			return sc
		}
	}
	return scripts[0]
}

func (s seeder) id(i int) string {
	r := rand.New(rand.NewPCG(s.seed, uint64(i)<<1|1))
	return fmt.Sprintf("<%x.%d@mx.test>", r.Uint64(), i)
}

// parent is the message that i answers, or -1. It is a little older; chains arise by themselves.
func (s seeder) parent(i int) int {
	r := rand.New(rand.NewPCG(s.seed^0x51, uint64(i)))
	if i == 0 || r.IntN(100) >= 45 {
		return -1
	}
	return max(0, i-1-int(r.ExpFloat64()*40))
}

func (s seeder) text(r *rand.Rand, sc script, size int) string {
	var b strings.Builder
	col := 0
	for b.Len() < size {
		w := common[r.IntN(len(common))]
		if r.IntN(3) == 0 {
			w = sc.words[r.IntN(len(sc.words))]
		}
		b.WriteString(w)
		if col += len(w) + 1; col > 66 {
			b.WriteString("\r\n")
			col = 0
		} else {
			b.WriteByte(' ')
		}
		if r.IntN(60) == 0 {
			b.WriteString("\r\n\r\n")
			col = 0
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

func (sc script) bytes(text string) string {
	if sc.enc == nil {
		return text
	}
	out, err := encoding.ReplaceUnsupported(sc.enc.NewEncoder()).String(text)
	if err != nil {
		return text
	}
	return out
}

func (sc script) word(text string) string {
	if sc.name == "us-ascii" {
		return text
	}
	if sc.name == "iso-2022-jp" || sc.name == "gb18030" {
		return "=?" + sc.name + "?B?" + base64.StdEncoding.EncodeToString([]byte(sc.bytes(text))) + "?="
	}
	return mime.QEncoding.Encode(sc.name, sc.bytes(text))
}

func writeBase64(b *bytes.Buffer, data []byte) {
	e := base64.StdEncoding.EncodeToString(data)
	for len(e) > 76 {
		b.WriteString(e[:76] + "\r\n")
		e = e[76:]
	}
	b.WriteString(e + "\r\n")
}

func (sc script) part(b *bytes.Buffer, r *rand.Rand, kind, text string) {
	raw := sc.bytes(text)
	fmt.Fprintf(b, "Content-Type: %s; charset=%s\r\n", kind, sc.name)
	switch {
	case sc.name == "us-ascii" || sc.name == "iso-2022-jp":
		b.WriteString("Content-Transfer-Encoding: 7bit\r\n\r\n" + raw)
	case r.IntN(4) == 0:
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n\r\n" + raw)
	case r.IntN(3) == 0:
		b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		writeBase64(b, []byte(raw))
	default:
		b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
		q := quotedprintable.NewWriter(b)
		q.Write([]byte(raw))
		q.Close()
		b.WriteString("\r\n")
	}
}

// message writes message i; at is when it was received.
func (s seeder) message(i int) (raw []byte, at time.Time) {
	r := rand.New(rand.NewPCG(s.seed, uint64(i)<<1))
	at = time.Unix(firstDay+int64(i)*5400+int64(r.IntN(5400)), 0).UTC()
	sc := s.script(r)
	name, addr := person(r)
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <%s>\r\n", addr)
	for hop := range 1 + r.IntN(4) {
		fmt.Fprintf(&b, "Received: from relay%d.test (relay%d.test [192.0.2.%d])\r\n\tby mx%d.test with ESMTPS id %x;\r\n\t%s\r\n",
			hop, hop, r.IntN(250), hop, r.Uint64(), at.Format(time.RFC1123Z))
	}
	if r.IntN(200) > 0 { // a few have no Date
		fmt.Fprintf(&b, "Date: %s\r\n", at.Format(time.RFC1123Z))
	}
	fmt.Fprintf(&b, "From: %s <%s>\r\nTo: Bench <bench@example.com>\r\n", sc.word(name), addr)
	for range r.IntN(4) {
		_, cc := person(r)
		fmt.Fprintf(&b, "Cc: %s\r\n", cc)
		break
	}
	words := s.text(rand.New(rand.NewPCG(s.seed, uint64(s.root(i)))), sc, 30)
	subject := strings.Join(strings.Fields(words), " ")
	if p := s.parent(i); p >= 0 {
		subject = "Re: " + subject
		refs := []string{}
		for q := p; q >= 0 && len(refs) < 8; q = s.parent(q) {
			refs = append([]string{s.id(q)}, refs...)
		}
		fmt.Fprintf(&b, "In-Reply-To: %s\r\nReferences: %s\r\n", s.id(p), strings.Join(refs, "\r\n "))
	}
	fmt.Fprintf(&b, "Subject: %s\r\n", sc.word(subject))
	if r.IntN(150) > 0 { // a few have no Message-ID
		fmt.Fprintf(&b, "Message-ID: %s\r\n", s.id(i))
	}
	b.WriteString("MIME-Version: 1.0\r\n")

	size := int(math.Exp(7.4 + 0.9*r.NormFloat64())) // median 1.6 KB
	text := s.text(r, sc, min(size, 60_000))
	html := "<html><body><p>" + strings.ReplaceAll(text, "\r\n\r\n", "</p>\r\n<p>") + "</p></body></html>\r\n"
	alternative := func() {
		switch r.IntN(3) {
		case 0:
			sc.part(&b, r, "text/plain", text)
		default:
			bound := fmt.Sprintf("alt%d", i)
			fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=%s\r\n\r\n--%s\r\n", bound, bound)
			sc.part(&b, r, "text/plain", text)
			fmt.Fprintf(&b, "--%s\r\n", bound)
			sc.part(&b, r, "text/html", html)
			fmt.Fprintf(&b, "--%s--\r\n", bound)
		}
	}
	if r.IntN(10) > 0 {
		alternative()
		return b.Bytes(), at
	}
	bound := fmt.Sprintf("mix%d", i)
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", bound, bound)
	alternative()
	for range 1 + r.IntN(2) {
		data := make([]byte, min(int(math.Exp(9.9+1.0*r.NormFloat64())), 1<<21)) // median 20 KB, at most 2 MB
		for j := 0; j < len(data); j += 8 {
			v := r.Uint64()
			for k := 0; k < 8 && j+k < len(data); k++ {
				data[j+k] = byte(v >> (8 * k))
			}
		}
		fmt.Fprintf(&b, "--%s\r\nContent-Type: application/octet-stream; name=\"file%d.bin\"\r\nContent-Disposition: attachment; filename=\"file%d.bin\"\r\n"+
			"Content-Transfer-Encoding: base64\r\n\r\n", bound, i, i)
		writeBase64(&b, data)
	}
	fmt.Fprintf(&b, "--%s--\r\n", bound)
	return b.Bytes(), at
}

// root is the first message of the chain that i belongs to.
func (s seeder) root(i int) int {
	for p := s.parent(i); p >= 0; p = s.parent(i) {
		i = p
	}
	return i
}

func (s seeder) folder(i int) string {
	n := rand.New(rand.NewPCG(s.seed^0x7f, uint64(i))).IntN(100)
	for _, f := range folders {
		if n -= f.share; n < 0 {
			return f.name
		}
	}
	return "INBOX"
}

// Maildir writes n messages as a Maildir++ in dir, in ten folders, and returns their bytes: about 12 KB each on average, 45 %
// of them replies, several character sets and transfer encodings, a tenth with attachments of up to 2 MB, a few odd ones.
// Message i of a seed is always the same bytes.
func Maildir(dir string, seed uint64, n int) (int64, error) {
	s := seeder{seed: seed}
	path := func(folder string) string {
		if folder == "INBOX" {
			return dir
		}
		return filepath.Join(dir, "."+strings.ReplaceAll(realsrv.EncodeName(folder), "/", "."))
	}
	for _, f := range folders {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(path(f.name), sub), 0o755); err != nil {
				return 0, err
			}
		}
	}
	var total int64
	for i := range n {
		raw, at := s.message(i)
		flags := ""
		switch r := rand.New(rand.NewPCG(s.seed^0xf1, uint64(i))); {
		case r.IntN(20) == 0:
			flags = "FS"
		case r.IntN(6) > 0:
			flags = "S"
		}
		// W and S tell the server the size, so that it need not read the file for it.
		name := fmt.Sprintf("%d.M%06d.bench,S=%d,W=%d:2,%s", at.Unix(), i%1e6, len(raw), len(raw), flags)
		file := filepath.Join(path(s.folder(i)), "cur", name)
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			return total, err
		}
		if err := os.Chtimes(file, at, at); err != nil {
			return total, err
		}
		total += int64(len(raw))
	}
	return total, nil
}
