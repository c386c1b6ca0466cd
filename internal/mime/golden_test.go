package mime

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// Ids and keys are stored and handed out. If this test fails, the code is wrong and not the table: an id that was once
// given must stay the same for ever.
var golden = []struct{ name, header, want string }{
	{"full", "Message-ID: <1@x>\nDate: Mon, 2 Mar 2026 10:11:10 +0100\nFrom: A <a@x>\nTo: b@x\nCc: c@x\nSubject: Re: [l] S\nReceived: one\n two\nReceived: three\nIn-Reply-To: <p@x>\nReferences: <r@x> <p@x>\nThread-Index: Ac8AAAAAAAECAwQFBgcICQoLDA0ODw==\n",
		"ff92e47ba923dcac0ba61f337baee5ee true mIcx2_rK6ZHSELsl6qtVO5A m3Acx00j19S9LtYQ-W2EuNw tR_-s7bt5pIvhdgSL subject=303ada6a3123e745631c095a t9gw1IRkkX4r6TnSv tXiiQbydq-bHBmecw tzyDXctQvHpj59Vvb tFLCOsyPuVyhf5VxM tR_-s7bt5pIvhdgSL t186xZvwL4lN5WWBz"},
	{"root", "Message-ID: <r@x>\nSubject: s\nFrom: b@x\n",
		"120b0edbeec8124e8f0b1cb8a6d86daf true m8bHMwTrQmCcFHaCohak9LQ mnqb2lIlYV9PE8SEdCwOVeQ tR_-s7bt5pIvhdgSL subject=303ada6a3123e745631c095a tR_-s7bt5pIvhdgSL t_7kOJ9gBopj5UrCn"},
	{"no Message-ID", "Subject: =?utf-8?Q?caf=C3=A9?=\nFrom: a@x\n",
		"442489063576957525839f7a90600d85 false mxdHz-KE6nHJ5ahNBl5FYGA mrgEFgawZ4TrgSZ2Src92uA tukEYnCxcuzS0WWxB subject=2917d144d293441a12e8239c tukEYnCxcuzS0WWxB"},
	{"raw Latin-1 subject", "Message-ID: <1@x>\nSubject: caf\xe9\n",
		"ccef9898eb6b3ee48dc72e4a7c2bc98d true mUFQmcn7LUOsGVEkg5OQIwQ m-G7FkaJ8FLxLxsAu8GDJtg tbMJT__bd7izF_hOq subject=2917d144d293441a12e8239c tbMJT__bd7izF_hOq tXiiQbydq-bHBmecw"},
	{"new (was: old)", "Message-ID: <2@x>\nReferences: <1@x>\nSubject: New (was: Old)\n",
		"6af1062c7c5e7ba57aa50ed33e49271f true myR7WU4K1ii_tBEkCWZOCuw mWp9N_PMvzfGUQZAt1_hVbw t7tFYBMR4znxdmBl1 subject=a9c201772672eee6f23c232e tZSgo57GvkWkGElnk txwSLenDWZhg3TWso t7tFYBMR4znxdmBl1 tXiiQbydq-bHBmecw tY4O8drlRYlIttkBw"},
	{"series", "Message-ID: <3@x>\nReferences: <1@x> <2@x>\nSubject: [PATCH 2/3] X\n",
		"05a7bd77f74bd787dc8f9211bc5479ef true mIh6yhbHEOGVZQ-mpdXqELw mPyDHJxy-ubzxIHSBDv-UDg t1W7ExvtwcCIspxOf subject=a51f1efa107373916db556f2 tpivQ6OythJtUKMzJ tYyqeQDHDKYnnb5fK tliPyH6hKz-jcl97m txwSLenDWZhg3TWso tXiiQbydq-bHBmecw t1W7ExvtwcCIspxOf"},
	{"empty", "",
		"905b2c1d35aabec9fe02cb26be3e5609 false muqbzo77_E6nOTJh0exzmcg m1_KLcSR59YIFvr_QZUH4-g tDDKHkEBPxCv6MhX0 subject=000000000000000000000000 tDDKHkEBPxCv6MhX0"},
}

func goldenLine(header string) string {
	k := MailboxKey("Ann@Example.net")
	m := ParseHeader([]byte(crlf(header)))
	fp, strong := Fingerprint(m)
	t := k.ThreadKeys(m, fp)
	var b strings.Builder
	fmt.Fprintf(&b, "%x %v %s %s %s subject=%x", fp, strong, k.MessageID(fp), k.MessageID(WithDigest(fp, [32]byte{1})), t.Mint.ID(), t.Subject)
	for _, x := range t.Keys {
		b.WriteString(" " + x.ID())
	}
	return b.String()
}

func TestGoldenIDs(t *testing.T) {
	t.Parallel()
	for _, c := range golden {
		if got := goldenLine(c.header); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	k := MailboxKey("Ann@Example.net")
	if k != MailboxKey(" ann@example.NET ") {
		t.Error("the case of the login matters")
	}
	if got := hex.EncodeToString(k[:8]); got != "7fd74e27a2c6cb05" {
		t.Errorf("mailbox key %s", got)
	}
	if got := k.FolderID("INBOX/1"); got != "fHTDjYA2hE5ucicPx" {
		t.Errorf("folder id %s", got)
	}
	m := ParseHeader([]byte(crlf(golden[0].header)))
	fp, _ := Fingerprint(m)
	if got := k.ThreadKeys(m, fp, "1234567890").Mint.ID(); got != "tAysjtY2EplaGQZYR" {
		t.Errorf("native thread id %s", got)
	}
}

// What servers may change in a header does not change the identity: line ends, folding, case of field names, fields
// that are not listed, and whether the whole message was read or its header alone.
func TestFingerprintIsRobust(t *testing.T) {
	t.Parallel()
	h := golden[0].header
	want, strong := Fingerprint(ParseHeader([]byte(crlf(h))))
	if !strong {
		t.Error("a message with Message-ID is not strong")
	}
	for name, v := range map[string]string{
		"LF":             h,
		"unfolded":       crlf(strings.Replace(h, "one\n two", "one two", 1)),
		"folded by tab":  crlf(strings.Replace(h, "one\n two", "one\n\t  two", 1)),
		"names":          crlf(strings.Replace(strings.Replace(h, "Message-ID", "MESSAGE-Id", 1), "From:", "FROM :", 1)),
		"other fields":   crlf("X-Spam: yes\n" + h + "Status: RO\n"),
		"order of names": crlf(strings.Replace(h, "Date: Mon, 2 Mar 2026 10:11:10 +0100\n", "", 1) + "Date: Mon, 2 Mar 2026 10:11:10 +0100\n"),
	} {
		if got, _ := Fingerprint(ParseHeader([]byte(v))); got != want {
			t.Errorf("%s: fingerprint differs", name)
		}
	}
	if got, _ := Fingerprint(parse(t, crlf(h)+"\r\nbody: x\r\n")); got != want {
		t.Error("fingerprint of the whole message differs")
	}
	for name, v := range map[string]string{
		"Received order": crlf(strings.Replace(strings.Replace(h, "Received: three\n", "", 1), "Received: one", "Received: three\nReceived: one", 1)),
		"Subject":        crlf(strings.Replace(h, "[l] S", "[l] T", 1)),
		"moved border":   crlf(strings.Replace(h, "To: b@x\nCc: c@x", "To: b@x c@x\nCc:", 1)),
	} {
		if got, _ := Fingerprint(ParseHeader([]byte(v))); got == want {
			t.Errorf("%s: fingerprint is the same", name)
		}
	}
}
