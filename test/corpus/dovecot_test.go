package corpus

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/test/realsrv"
)

// respects are the respects of docs/search.md, each in messages made for it alone, and what Dovecot finds in them.
var respects = []struct {
	how  respect
	raw  string
	imap string
	is   bool // found by Dovecot; here it is the other way round
}{
	{bySource, "Subject: x\nContent-Type: text/html; charset=utf-8\n\n<p>M&uuml;nchen</p>\n", `BODY "münchen"`, false},
	{bySource, "Subject: x\nContent-Type: text/html; charset=utf-8\n\n<p>har<b>bour</b></p>\n", `BODY "harbour"`, false},
	{bySource, "Subject: x\nContent-Type: text/html; charset=utf-8\n\n<table bgcolor=red><tr><td>x</table>\n", `BODY "bgcolor"`, true},
	{bySource, "Subject: x\nContent-Type: text/html; charset=utf-8\n\nx<!-- lantern -->\n", `BODY "lantern"`, true},
	{allHeaders, "Subject: x\nDKIM-Signature: v=1; s=lantern\n\nx\n", `TEXT "lantern"`, true},
	{allHeaders, "Subject: x\nAuthentication-Results: mx; spf=lantern\n\nx\n", `TEXT "lantern"`, true},
	{allHeaders, "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: lantern\n\nx\n--b--\n", `TEXT "lantern"`, true},
	{noForwards, "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: lantern\n\nx\n--b--\n", `BODY "lantern"`, false},
	{asDeclared, "Subject: x\nContent-Type: text/plain; charset=us-ascii\n\nM\xfcnchen\n", `BODY "münchen"`, false},
	{asDeclared, "Subject: x\nContent-Type: text/plain; charset=x-nobody-knows\n\nM\xfcnchen\n", `BODY "münchen"`, false},
	{asDeclared, "Subject: M\xfcnchen\n\nx\n", `SUBJECT "münchen"`, false},
	{asOneText, "Subject: x\nContent-Type: text/plain\n\nhere:\nbegin 644 a.txt\n#0V%T\n`\nend\n", `BODY "0V%T"`, true},
	{plainDates, "Subject: x\n\nx\n", `SENTBEFORE 1-Jan-1980`, true},
	{plainDates, "Subject: x\nDate: 2019-05-01 12:00:00\n\nx\n", `SENTSINCE 1-Jan-2019`, false},
	{plainDates, "Subject: x\nDate: Mon, 1 Jan 1968 12:00:00 +0000\n\nx\n", `SENTBEFORE 1-Jan-1970`, false},
	{onlyLF, "Subject: x\rFrom: lantern@example.com\r\rx\r", `FROM "lantern"`, false},
	{asNamed, "Subject: x\nContent-Type: text\n\nlantern\n", `BODY "lantern"`, false},
	{asNamed, "Subject: x\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bits\n\nlantern\n", `BODY "lantern"`, false},
	{asNamed, "Subject: x\nContent-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\nlantern\n", `BODY "lantern"`, false},
	{asNamed, "Subject: x\nContent-Type: multipart/mixed; boundary=c\n\n--b\nContent-Type: text/plain\n\nlantern\n--b--\n", `BODY "lantern"`, false},
	{onlyAddress, "Subject: x\nFrom: lantern\n\nx\n", `FROM "MISSING_DOMAIN"`, true},
	{onlyAddress, "Subject: x\nFrom: Ann <a@b.example@lantern.example>\n\nx\n", `FROM "lantern"`, false},
	{blanks, "Subject: =?utf-8?q?old__lantern?=\n\nx\n", `SUBJECT "  "`, true},
	{byWord, "Subject: =?iso-2022-jp?B?GyRCJS0lOCVIJWkhJiVVJWklQyU=?=\n =?iso-2022-jp?B?YyE8JXMbKEI=?=\n\nx\n", `SUBJECT "%"`, true},
}

// TestRespects holds each respect in which Dovecot is said to read otherwise against a Dovecot.
func TestRespects(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Password: "pass"})
	dir := d.MaildirPath("ann")
	for _, s := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, s), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range respects {
		if err := os.WriteFile(filepath.Join(dir, "cur", fmt.Sprintf("%d.M%d.x:2,S", 1600000000+i, i)), []byte(r.raw), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Chown(dir); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	command := func(line string) (answer string) {
		t.Helper()
		fmt.Fprintf(conn, "a %s\r\n", line)
		for {
			l, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(l, "a ") {
				if !strings.HasPrefix(l, "a OK") {
					t.Fatalf("%s: %s", line, l)
				}
				return answer
			}
			answer += l
		}
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	command("LOGIN ann pass")
	command("EXAMINE INBOX")
	tried := respect(0)
	for i, r := range respects {
		tried |= r.how
		key := r.imap
		if at := strings.IndexByte(key, '"'); at >= 0 {
			value := strings.Trim(key[at:], `"`)
			key = fmt.Sprintf("%s{%d+}\r\n%s", key[:at], len(value), value)
		}
		answer := command(fmt.Sprintf("SEARCH CHARSET UTF-8 %d %s", i+1, key))
		theirs := slices.Contains(strings.Fields(answer), fmt.Sprint(i+1))
		if theirs != r.is {
			t.Errorf("%s in %q: found by Dovecot: %v", r.imap, r.raw, theirs)
		}
		q, err := query.Parse(r.imap, time.Unix(1.7e9, 0))
		if err != nil {
			t.Fatal(err)
		}
		raw := crlf([]byte(r.raw))
		if q.Match(readAs(raw, 0)) == r.is {
			t.Errorf("%s in %q: as Dovecot", r.imap, r.raw)
		}
		if how, ok := why(q, raw, query.Doc{}, r.is); !ok || how != r.how {
			t.Errorf("%s in %q: told by %v (%v), not %v", r.imap, r.raw, how, ok, r.how)
		}
	}
	if tried != lastRespect-1 {
		t.Errorf("not all respects were tried: %b", tried)
	}
}
