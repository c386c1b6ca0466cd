package imap

import (
	"bytes"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// allocated returns the bytes that fn allocates, short of what fits into memory handed out before. Others of the process
// may allocate meanwhile: where that matters it is asked again.
func allocated(fn func(), enough uint64) uint64 {
	least := uint64(1 << 62)
	for i := 0; i < 5 && least > enough; i++ {
		m := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(m)
		before := m[0].Value.Uint64()
		fn()
		metrics.Read(m)
		least = min(least, m[0].Value.Uint64()-before)
	}
	return least
}

// fuzzKind fuzzes what reads one kind of response, behind the word that names it. What is allocated must stay in
// proportion to what came: nothing in a response may promise more than it brings.
func fuzzKind(f *testing.F, read func(t *testing.T, p *parser), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		var p parser
		most := uint64(256<<10 + 100*len(data))
		used := allocated(func() {
			p.reset(frame{b: bytes.Clone(data)}, 64)
			read(t, &p)
		}, most)
		if p.i < 0 || p.i > len(p.full) {
			t.Errorf("at %d of %d", p.i, len(p.full))
		}
		if p.depth < -1 || p.depth > 64 { // -1: a list was refused
			t.Errorf("depth %d", p.depth)
		}
		if used > most {
			t.Errorf("%d bytes allocated for %d", used, len(data))
		}
	})
}

func FuzzFetch(f *testing.F) {
	s := &Session{flags: map[string][]string{}}
	s.f = newFramer(strings.NewReader(""), Limits{}.withDefaults())
	s.f.sink = &bodySink{sections: true}
	fuzzKind(f, func(t *testing.T, p *parser) {
		row := &Row{}
		err := s.readRow(p, row, 3, false)
		if err != nil && (row.Body.Has || len(row.Sections) > 0) {
			t.Errorf("content from a response that makes no sense: %+v", row)
		}
		if row.HasModSeq && row.ModSeq == 0 || row.Size < 0 || row.HasInternalDate && row.InternalDate.IsZero() {
			t.Errorf("%+v", row)
		}
		if row.Body.Has && row.Body.Size != int64(len(row.Body.Bytes)) {
			t.Errorf("body of %d bytes has %d", row.Body.Size, len(row.Body.Bytes))
		}
		row.Clone()
	}, `(FLAGS (\Seen) INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 4286 BODY (TEXT PLAIN NIL NIL NIL 7BIT 3028 92))`,
		"(BODY[HEADER] {5}\r\na: b\n FLAGS (\\Seen) UID 4827313)", "(BODY[]<0> {3}\r\nabc UID 7)", "(UID 7 BODY[] NIL)", "(UID 5 BODY[] *)",
		`(UID 4 MODSEQ (12111230047))`, `(UID 4 MODSEQ (-1))`, `(UID 4 MODSEQ ())`, `(RFC822.SIZE 1234.0 UID 9)`, `(FLAGS (\Seen \*) UID 1)`, `(FLAGS NIL)`,
		`(UID 1 X-GM-LABELS (\Inbox "a b" &AOk-) X-GM-MSGID 1278455344230334865 X-GM-THRID 1)`, `(EMAILID (M1) THREADID NIL)`,
		"(BINARY[1] ~{4}\r\n\x00\x01\x02\x03 BODY[1.MIME] \"x\")", `(XAOL.SPAM.REASON (1 (a "b")) UID 3)`, `(UID 3 ENVELOPE (("a" NIL`, `(BODY[] "short")`)
}

func FuzzEnvelope(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		e, err := p.envelope()
		if err != nil && e != nil {
			t.Errorf("%+v with %v", e, err)
		}
	}, `("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) NIL ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")) NIL NIL "<B27397-0100000@cac.washington.edu>")`,
		`(("date" "subject" NIL NIL NIL NIL NIL NIL NIL "<a@b>"))`, `("" "" "" NIL (NIL) NIL NIL NIL NIL "<a"b@c>")`, "(NIL {3}\r\na\"b ((NIL NIL \"Undisclosed recipients\" NIL)(NIL NIL NIL NIL)))",
		`(NIL NIL (("Microsoft Exchange Server" NIL NIL ".MISSING-HOST-NAME.")))`, `(NIL "a\"b\\" NIL`, `NIL`, `()`)
}

func FuzzBodyStructure(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		b, err := p.bodyStructure()
		if err != nil && b != nil {
			t.Errorf("%+v with %v", b, err)
		}
		for all := []*BodyStructure{b}; len(all) > 0; all = all[1:] {
			if all[0] == nil {
				continue
			}
			if all[0].Size < 0 || all[0].Lines < 0 || strings.ContainsAny(all[0].Type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
				t.Errorf("%+v", all[0])
			}
			all = append(all, all[0].Parts...)
		}
	}, `(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 4554 73) "MIXED")`,
		`("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 50 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1) 3 NIL ("attachment" ("filename" "a")) ("de" "en") "x")`,
		`("ALTERNATIVE")`, `("text" "plain" NIL NIL NIL "7bit" -2 0 NIL "inline" NIL)`, `(NIL NIL NIL NIL NIL NIL NIL)`, `("X-ZIP" ("a"))`, `(() "mixed" ("boundary" "b") NIL NIL)`,
		`(("text" "html" "" NIL NIL "8bit" 12.0 1) "related" ("a" NIL "b") ("inline") "en" "loc" (x (y)))`)
}

func FuzzList(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		m := parseList(p)
		if m.Err == nil && m.Raw == "" || !utf8.ValidString(m.Name) || len(m.Attrs) > 64 || m.Err != nil && ClassOf(m.Err) != Protocol {
			t.Errorf("%+v", m)
		}
	}, `(\Noselect) "/" foo`, `() "/" "Inbox"`, `(\HasNoChildren) "\" a\b`, `(\HasNoChildren) "\\" "a\\b"`, `() NIL INBOX`, `() "/" "a"b"`, "() \".\" {5}\r\nr\xe9sum", `() "/" Sent Messages`,
		"() \"/\" a\tb", `(\Marked) "/" "baz" ("CHILDINFO" ("SUBSCRIBED"))`, `() "/" "new" ("OLDNAME" ("old"))`, `() "/" &Jjo`, `(\X "y" NIL) "" ""`, `( "/" x`)
}

func FuzzStatus(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		raw, d, err := parseStatusData(p)
		if err == nil && (d.Size < 0 || d.AppendLimit < 0 || d.Has&HasSize == 0 && d.Size != 0) {
			t.Errorf("%q %+v", raw, d)
		}
	}, `blurdybloop (MESSAGES 231 UIDNEXT 44292)`, `INBOX (MESSAGES 0) `, `x ()`, `"a (b)" (MESSAGES 1 MAILBOXID (F2))`, "{3}\r\na b (SIZE 5000000000)", `a b (c) (UIDVALIDITY 0)`,
		`INBOX (UIDNEXT NIL HIGHESTMODSEQ -1 APPENDLIMIT NIL)`, `x (MESSAGES`, `x (X (1 2) MESSAGES 4294967296)`)
}

func FuzzSearch(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		q := *p
		q.b, q.full = bytes.Clone(p.b), bytes.Clone(p.full)
		if set, err := parseSearch(p); err == nil {
			checkSet(t, set)
		}
		if set, err := parseESearch(&q); err == nil {
			checkSet(t, set)
			if set.Open() {
				t.Errorf("open set %v", set)
			}
		}
	}, `2 3 6`, ``, `2 5 6 7 11 12 18 19 20 23 (MODSEQ 917162500)`, `3 2 1 1 0`, `(TAG "A282") MIN 2 COUNT 3`, `(TAG "A283") ALL 2,10:11`, `(TAG "x") UID`,
		`(TAG "A01") UID PARTIAL (-1:-100 268306:268307)`, `(TAG "a") UID PARTIAL (1:100 NIL)`, `UID ALL 1:*`, `(TAG "a") UID ALL 1 X (a b) ALL 5,3`, `4294967295 4294967296`)
}

func FuzzVanished(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		u, err := parseVanished(p)
		if err != nil {
			return
		}
		checkSet(t, u.UIDs)
		if u.UIDs.Empty() {
			t.Error("vanished: nothing")
		}
		var told []UIDSet
		s := &Session{}
		s.o.OnUnilateral = func(u Unilateral) { told = append(told, u.UIDs) }
		s.selected.exists = 10
		s.KnownUIDs(UIDRange{3, 300})
		s.vanished(u)
		if len(told) > 1 || s.selected.exists > 10 || len(told) == 1 && (told[0].Len() > 298 || told[0].Contains(2) || told[0].Contains(301)) {
			t.Errorf("%v of %v, %d left", told, u.UIDs, s.selected.exists)
		}
	}, `(EARLIER) 41,43:116,118,120:211,214:540`, `505,507,510,625`, `5:7`, `12:*`, `*`, `(EARLIER 3`, `(EARLIER) 1:26183,26185`, `(earlier) 4294967295`, `7:3`, `()1`)
}

func FuzzRespText(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		st := parseStatus("OK", p.full)
		if strings.ContainsAny(st.code, "abcdefghijklmnopqrstuvwxyz\r\n\x00") {
			t.Errorf("%+v", st)
		}
		(&Selected{}).code(st)
		for _, cmd := range []string{"LOGIN", "FETCH", "APPEND"} {
			for _, word := range []string{"NO", "BAD", "BYE"} {
				e := statusError(cmd, word, st.code, st.text)
				if e.Class == Unclassified || e.BackOff < 0 || e.BackOff > 24*time.Hour || len(e.Text) > 2*maxErrText || strings.ContainsAny(e.Error(), "\r\n\x00") {
					t.Errorf("%+v", e)
				}
			}
		}
	}, `[UIDVALIDITY 3857529045] UIDs valid`, `[PERMANENTFLAGS (\Deleted \Seen \* $x])] Limited`, `[HIGHESTMODSEQ 123]`, `Success [THROTTLED]`, `[ALERT] Please log in via your web browser: x`,
		`[LIMIT] SELECT Rate limit hit.`, `Request is throttled. Suggested Backoff Time: 299961 milliseconds`, `[UIDVALIDITY 0]`, `[UNAVAILABLE] UID FETCH Server error`, `[COPYUID 14 ] x`,
		`[MAILBOXID (F2212ea87-6097-4256-9d51-71338625)] Ok`, `[MODIFIED 7,9] Conditional STORE failed`, `[`, `[]`, `[BADCHARSET ({5}`, `[MESSAGELIMIT 1000 23221] FETCH completed`)
}

func FuzzCapability(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		c := parseCaps(string(p.full))
		names := c.Names()
		if len(names) > maxCaps || !slices.IsSorted(names) {
			t.Errorf("%d capabilities", len(names))
		}
		for _, n := range names {
			if !c.Has(n) || n != strings.ToUpper(n) {
				t.Errorf("%q", n)
			}
		}
	}, `IMAP4rev1 STARTTLS AUTH=GSSAPI LOGINDISABLED`, `imap4rev1  auth=Plain `, "IMAP4rev1\x00\xff IDLE", `APPENDLIMIT=35651584 STATUS=SIZE QUOTA=RES-STORAGE MESSAGELIMIT=1000 XYMHIGHESTMODSEQ`, ``)
}

func FuzzNamespace(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		var ns []Namespace
		_ = p.list(func() error { return parseNamespace(p, &ns) })
		if len(ns) > 100 {
			t.Errorf("%d namespaces", len(ns))
		}
	}, `(("" "/")) NIL NIL`, `(("" "/")) (("~" "/")) (("#shared/" "/")("#public/" "/"))`, `(("" NIL))`, `(("INBOX." "." "X-PARAM" ("FLAG1" "FLAG2")))`, `NIL`, `((`, `(())`)
}

func FuzzQuota(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		got, err := parseQuota(p)
		if len(got) > maxQuotas || err == nil && slices.ContainsFunc(got, func(q Quota) bool { return q.Usage < 0 || q.Limit < 0 }) {
			t.Errorf("%+v", got)
		}
	}, `"" (STORAGE 10 512)`, `"!partition/sda4" (STORAGE 104 10923847)`, `# (MESSAGE 5 -1 X 1.0 2)`, `NIL ()`, `"" (STORAGE 99999999999999999999 1)`, `"a`)
}

func FuzzID(f *testing.F) {
	fuzzKind(f, func(t *testing.T, p *parser) {
		if kv, _ := p.stringsAndNILs(64); len(kv) > 64 {
			t.Errorf("%d values", len(kv))
		}
	}, `("name" "Cyrus" "version" "1.5" "os" "sunos" "os-version" "5.5" "support-url" "mailto:cyrus-bugs+@andrew.cmu.edu")`, `NIL`, `("name" NIL)`, `("a")`, "(\"a\" {1}\r\nb)", `(`)
}

// FuzzGreeting: whatever a server says first, a session is made of it only where it is an untagged OK.
func FuzzGreeting(f *testing.F) {
	for _, s := range []string{"* OK [CAPABILITY IMAP4rev1] ready\r\n", "\x00\x00* OK hi\r\n", "* BYE too many connections\r\n", "* PREAUTH welcome\r\n", "+OK POP3\r\n", "220 smtp\r\n",
		"* ok\r\n", "* NO [ALERT] x\r\n* OK y\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "* OK {5}\r\nhello\r\n", "* 1 EXISTS\r\n* OK\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Session{flags: map[string][]string{}, raw: nopConn{}, cmd: "DIAL"}
		s.o.Limits = Limits{Line: 4096, Response: 8192}.withDefaults()
		s.f = newFramer(bytes.NewReader(data), s.o.Limits)
		err := s.greeting()
		if (err == nil) != (s.Err() == nil) {
			t.Errorf("%v, but the session: %v", err, s.Err())
		}
		if err == nil && !bytes.Contains(bytes.ToUpper(data), []byte("OK")) {
			t.Errorf("greeted by %q", data)
		}
		if err == nil && bytes.HasPrefix(data, []byte("* PREAUTH")) {
			t.Errorf("greeted by %q", data)
		}
	})
}
