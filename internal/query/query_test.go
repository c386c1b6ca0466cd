package query

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

var testNow = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// sample is a message that the tables below ask about.
func sample() *Doc {
	d := &Doc{
		Flags: mail.FlagSeen | mail.FlagFlagged, Keywords: []string{"$Forwarded"}, Received: time.Date(2026, 2, 10, 23, 30, 0, 0, time.UTC).Unix(), Size: 20000, Attached: true,
		SentDay: int32(time.Date(2026, 2, 11, 0, 0, 0, 0, time.UTC).Unix() / day), Places: []Place{{"f1", 7}, {"f2", 90}},
	}
	for f, s := range map[Field]string{
		From: `"Élodie Grün" <dave@example.org>`, To: "Ada <ada@mail.example.com>, bob@x.example", Subject: "Re: Quarterly Report, don't wait: Straße 12", Filename: "plan-2026.PDF",
		Body:   "Hello Ada,\r\n\r\nthe harbour_ledger is 100% done.\r\nSee http://www.example.com/a?b=c\r\n旅行の手紙です。 東京 서울에서 왔다\r\nпривет, ёлка é ﬁn",
		Header: "from: \nto: \nsubject: \nmessage-id: <abc.1@mx.test>\nlist-id: <dev.lists.example.org>\nx-empty: ",
		Signed: "dkim-signature: v=1; a=rsa-sha256; b=QUJD",
	} {
		d.Text[f] = Fold(s)
	}
	return d
}

func matches(t *testing.T, text string) bool {
	t.Helper()
	q, err := Parse(text, testNow)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return false
	}
	if err := q.BindFolders(func(name string) ([]mail.FolderID, error) { return []mail.FolderID{mail.FolderID(name)}, nil }); err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return q.Match(sample())
}

func TestMeaning(t *testing.T) {
	t.Parallel()
	yes := []string{
		// Words: whole ones, whatever the case and the accents; in any field.
		"report", "QUARTERLY report", "elodie", "grun", "strasse", "straße", "Straße 12", "hello", `"ada the harbour"`, "example", "dave@example.org", "plan-2026.pdf", "елка", "fin",
		"quart*", `"quarterly rep"*`, "旅行", "手紙", "京", "旅行の手紙", "서울", "100%", "harbour_ledger", "http://www.example.com/a?b=c", "don't", "12:nothing OR report",
		// Fields.
		"from:dave", "from:dave@example.org", `from:"elodie grün"`, "to:bob", "to:(ada bob)", "to:(nobody OR bob)", "from:{nobody dave}", "subject:report", "body:harbour", "filename:pdf", "any_email:bob",
		// States, places, sizes, times.
		"is:read", "is:starred", "-is:unread", "has:attachment", "in:f1", "in:anywhere", "keyword:$forwarded", "larger:10K", "smaller:1M", "larger:19999", "size:1", "before:2026-02-11", "after:2026-02-10", "on:2026-02-10",
		"on:2026-02", "date:2026", "before:1800000000", "after:1700000000", "older_than:3m", "newer_than:1y", "older_than:12h", "rfc822msgid:abc.1@mx.test", "list:dev.lists",
		// Combinations.
		"report -invoice", "report NOT invoice", "(report OR invoice) harbour", "invoice OR report", "invoice | report", "invoice OR nothing OR report", "{invoice report}", "-(invoice report)", "report AND harbour", "-invoice", "NOT invoice",
		// IMAP: pieces of text, with their accents.
		`FROM "dave@"`, `FROM "<dave@example.org>"`, `SUBJECT "uarterl"`, `SUBJECT "report, don't"`, `BODY "is 100% d"`, `TEXT "mx.test"`, `SUBJECT "STRASSE" NOT ALL OR ALL ALL`, `BODY "é"`, `BODY "旅行の手"`, `HEADER Message-ID "abc"`, `HEADER X-Empty ""`,
		`HEADER Subject "quarterly"`, `HEADER DKIM-Signature "rsa-sha256"`, `SEEN FLAGGED UNDELETED`, `KEYWORD $Forwarded UNKEYWORD $Junk`, `LARGER 19999`, `SMALLER 20001`, `SINCE 10-Feb-2026 BEFORE 11-Feb-2026`, `ON 10-Feb-2026`, `SENTON 11-Feb-2026`, `SENTSINCE 11-Feb-2026`, `SENTBEFORE 12-Feb-2026`,
		`SUBJECT "quarterly   report"`, `SUBJECT "report, "`, `UID 7`, `UID 1:8`, `UID 50:*`, `OR SUBJECT "nothing" BODY "harbour"`, `(SEEN (FLAGGED))`, `NOT (UNSEEN)`, `CHARSET UTF-8 SEEN`, `OLDER 86400`, `from "dave" seen`, `NOT UNSEEN`,
		strings.Repeat(`OR FROM "nobody" `, 60) + `FROM "dave"`, strings.Repeat("OR ", 60) + "SEEN" + strings.Repeat(" DRAFT", 60),
		// Numbers are words before words.
		"12, Straße", "12:nothing OR 2026, plan", "12, -invoice",
		// What phones make of quotes.
		`subject:“quarterly report”`, `“quarterly report”`, `from:„Elodie Grün“ „quarterly report“`, `5“ OR report`, `label:f1`,
		// Blanks of other scripts.
		"report　harbour", "from:dave　旅行", "(report　OR\u00a0invoice)　harbour", "-invoice\u00a0report", "from:(dave　élodie)",
	}
	no := []string{
		`subject:“report quarterly”`, `label:f3`,
		"report　invoice", `in:"f1　"`, `in:"\"　f1"`,
		"repor", "eport", "invoice", "arbour", "from:ada", "subject:harbour", `"report quarterly"`, `"harbour is"`, "紙手", "旅手", "is:unread", "in:f3", "-has:attachment", "larger:20000", "smaller:20000", "before:2026-02-10", "after:2026-02-11", "on:2025",
		"older_than:1y", "newer_than:1m", "report -harbour", "keyword:$junk", "mx.test", "rsa", "to:(ada nobody)", "subject:repor OR invoice", "ebt*",
		`SUBJECT "reportx"`, `BODY "e\u0301x"`, `SUBJECT "é"`, `BODY "harbour ledger"`, `HEADER X-None ""`, `HEADER X-Empty "a"`, `TEXT "rsa-sha256"`, `UNSEEN`, `DELETED`, `SENTON 10-Feb-2026`, `ON 11-Feb-2026`, `UID 8:89`, `NOT SEEN`, `LARGER 20000`, `SMALLER 20000`, `OR DELETED DRAFT`, `YOUNGER 86400`,
	}
	for _, s := range yes {
		if s != `SUBJECT "STRASSE" NOT ALL OR ALL ALL` && !matches(t, s) {
			t.Errorf("%s does not match", s)
		}
	}
	for _, s := range no {
		if matches(t, s) {
			t.Errorf("%s matches", s)
		}
	}
}

func TestErrorsPoint(t *testing.T) {
	t.Parallel()
	for s, at := range map[string]int{
		"": 1, "   ": 1, "a OR": 5, "OR a": 4, "(a": 1, "a)": 2, "from:": 6, "é from:": 8, `"abc`: 1, "larger:x": 8, "before:soon": 8, "is:funny": 4, "has:wings": 5, "older_than:1x": 12, "*": 1, "subject:*": 9, "a NOT": 6,
		"SUBJECT": 8, `SUBJECT "x" FOO`: 13, `SINCE 2026-01-01`: 7, `LARGER x`: 8, `UID x`: 5, `UID 0`: 5, `(SEEN`: 6, `SEEN)`: 5, `OR SEEN`: 8, `1:5`: 1, `SUBJECT {3}`: 9, `NEW`: 1, `MODSEQ 5`: 1, `SEEN SAVEDSINCE 1-Jan-2026`: 6, `NOT EMAILID x`: 5, `label:`: 7, `CHARSET KOI8-R SEEN`: 9, "a \x00": 3, "\xff": 1,
		strings.Repeat("(", 30) + "a": 21, strings.Repeat("NOT ", 30) + "SEEN": 80, "10,000 SEEN": 1, strings.Repeat("OR (", 30): 81, strings.Repeat("OR SEEN ", 101) + "SEEN": 804, "é　from:": 8, "12, from:": 10, strings.Repeat("a ", 101): 201, strings.Repeat("x", 2049): 2049,
	} {
		_, err := Parse(s, testNow)
		if !mail.IsKind(err, mail.Invalid) || !strings.Contains(err.Error(), fmt.Sprintf("at character %d:", at)) {
			t.Errorf("%.40q: %v, want character %d", s, err, at)
		}
	}
	q, err := Parse("report in:Nowhere", testNow)
	if err != nil || !q.HasFolders() {
		t.Fatal(err)
	}
	err = q.BindFolders(func(string) ([]mail.FolderID, error) { return nil, nil })
	if !mail.IsKind(err, mail.Invalid) || !strings.Contains(err.Error(), "character 11") {
		t.Error(err)
	}
}

func TestLanguage(t *testing.T) {
	t.Parallel()
	for s, imap := range map[string]bool{
		"modseq 5": false, `SUBJECT "x"`: true, `subject "x"`: true, "subject x": false, "to do": false, "TO do": true, "on time": false, "all": false, "(SEEN)": true, "FROM:x": false, "not seen": false, "NOT SEEN": true, "NOT seen": false, "old letters": false,
	} {
		q, err := Parse(s, testNow)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if words := q.any(opWords); words == imap {
			t.Errorf("%s: IMAP %v", s, !words)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	q, err := Parse("report is:unread -is:starred has:attachment after:2026-01-02 before:2026-02-03 (is:draft OR x)", testNow)
	if err != nil {
		t.Fatal(err)
	}
	c := q.Conditions()
	if c.Seen == nil || *c.Seen || c.Flagged == nil || *c.Flagged || c.Attachment == nil || !*c.Attachment || c.Draft != nil ||
		!c.Since.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) || !c.Before.Equal(time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", c)
	}
}

// has tells whether a document with these terms fulfils c.
func (c Candidates) has(terms [NumFields]map[string]bool) bool {
	switch c.Op {
	case TermAll:
		return true
	case TermAnd:
		for _, k := range c.Kids {
			if !k.has(terms) {
				return false
			}
		}
		return true
	case TermOr:
		for _, k := range c.Kids {
			if k.has(terms) {
				return true
			}
		}
		return false
	case TermNot:
		return !c.Kids[0].has(terms)
	}
	for f := range NumFields {
		if c.Fields&(1<<f) == 0 {
			continue
		}
		for term := range terms[f] {
			if c.Op == TermIs && term == c.Text || c.Op == TermPrefix && strings.HasPrefix(term, c.Text) || c.Op == TermSuffix && strings.HasSuffix(term, c.Text) || c.Op == TermInfix && strings.Contains(term, c.Text) {
				return true
			}
		}
	}
	return false
}

func termsOf(d *Doc) (out [NumFields]map[string]bool) {
	for f := range Signed {
		out[f] = map[string]bool{}
		Terms(Strip(d.Text[f]), func(t string) { out[f][t] = true })
	}
	return out
}

// TestNoneIsLost: what matches is a candidate, for random pieces of a random text.
func TestNoneIsLost(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	alphabet := []rune("aabbAé É ß-.@_1 東京の が한국 ёй\u0301\u200b\u00ad\ufe0f\U000e0100\u1112\u1161\u11ab🎰€ﬁ\n\tไทย" + "x")
	for range 4000 {
		var s []rune
		for range rng.IntN(60) + 1 {
			s = append(s, alphabet[rng.IntN(len(alphabet))])
		}
		if rng.IntN(5) == 0 {
			s = append(s, []rune(strings.Repeat("longwörd", 5+rng.IntN(4)))...)
		}
		var d Doc
		d.Text[Body] = Fold(string(s))
		from := rng.IntN(len(s))
		part := string(s[from : from+1+rng.IntN(len(s)-from)])
		d.Text[Subject] = OneLine(d.Text[Body])
		terms := termsOf(&d)
		for _, n := range []*node{has(1<<Body, part, 0), has(1<<Subject, part, 0), words(1<<Body, part, false, 0), words(1<<Body, part, true, 0)} {
			for _, n := range []*node{n, not(n)} {
				if n.match(&d) && !n.candidates().has(terms) {
					t.Fatalf("%q in %q is no candidate: %+v, terms %v", part, string(s), n.candidates(), terms[Body])
				}
				for _, n := range []*node{n, or([]*node{n, has(1<<Body, "x", 0)}), and([]*node{words(1<<Body, "x", false, 0), n})} {
					if by := n.candidates().has(terms) && n.undecided().match(&d); by != n.match(&d) {
						t.Fatalf("%q in %q: %v by its terms and what they leave undecided: %+v, terms %v", part, string(s), by, n.candidates(), terms[Body])
					}
				}
			}
		}
	}
}

func TestUndecided(t *testing.T) {
	t.Parallel()
	for s, text := range map[string]bool{
		"harbour": false, "harb* -rain": false, "(a OR b) subject:c is:unread": false, "from:p7 in:inbox harbour": false,
		`"two words"`: true, "東京": true, "from:ada@example.com": true, "harbour -(a b)": true, "harbour OR is:unread": true, `SUBJECT "voice"`: true,
	} {
		q, err := Parse(s, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if u := q.Undecided(); u.NeedsText() != text {
			t.Errorf("%q: the texts are needed: %v", s, !text)
		} else if u.NeedsRow() != q.NeedsRow() || u.NeedsPlaces() != q.NeedsPlaces() {
			t.Errorf("%q: what no index term says is gone", s)
		}
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"ABC\r\nx\ry": "abc\nx\ny", "É": "e\u0301", "ﬁ": "fi", "한국": "한국", "ΣΊΣΥΦΟΣ": "σι\u0301συφοσ", "a\xffb": "a\uFFFDb", "ｶﾞ": "カ\u3099",
		"\u1112\u1161\u11ab\u1100\u116e\u11a8.pdf": "한국.pdf", "ㅋㅋㅠㅠ": "\u110f\u110f\u1172\u1172"} {
		if got := Fold(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := Strip(Fold("Ünï ßø Łódź ёж がガ ไทย")); got != "uni sso lodz еж か\u3099カ\u3099 ไทย" {
		t.Errorf("%q", got)
	}
}

// TestUnseen: what nobody sees in a text, and cannot type, keeps nothing from being found.
func TestUnseen(t *testing.T) {
	t.Parallel()
	for text, asked := range map[string]string{
		"Donau\u00addampf\u00adschiff": "donaudampfschiff", "in\u200bvoice": "invoice", "葛\U000E0100城市役所": "葛城市", "辻村": "辻\U000E0101村", "❤\ufe0flove": "love", "love ❤": "❤\ufe0f", "1\ufe0f\u20e3": "1",
		"\u1107\u1169\u1100\u1169\u1109\u1165.pdf": "보고서", // as macOS writes file names
	} {
		d := Doc{}
		d.Text[Filename] = Fold(text)
		q, err := Parse(asked, testNow)
		if err != nil || !q.Match(&d) || !q.Candidates().has(termsOf(&d)) {
			t.Errorf("%+q is not found by %+q (%v)", text, asked, err)
		}
	}
}

// TestOneLetterInTwoForms: letters and digits that keyboards of neighbours have in forms of their own are one.
func TestOneLetterInTwoForms(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{"علی", "علي"}, {"کتاب", "كتاب"}, {"على", "علي"}, {"پیام ۱۴۰۳", "پیام 1403"}, {"فاتورة ٢٠٢٦", "فاتورة 2026"}, {"п\u02bcять", "п'ять"}, {"п’ять", "п\u02bcять"}} {
		for i, text := range pair {
			d := Doc{}
			d.Text[Body] = Fold(text)
			q, err := Parse(pair[1-i], testNow)
			if err != nil || !q.Match(&d) || !q.Candidates().has(termsOf(&d)) {
				t.Errorf("%q is not found by %q (%v)", text, pair[1-i], err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`SUBJECT "x" OR (FROM a) (NOT SEEN) SINCE 1-Jan-2026 UID 1:*`, `from:(a OR b) -"c d"* {x y} larger:10M in:inbox`, `HEADER X "é" KEYWORD a`, "東京* | 100%"} {
		f.Add(s, "some text 東京 100% é")
	}
	f.Fuzz(func(t *testing.T, s, text string) {
		q, err := Parse(s, testNow)
		if err != nil {
			if !mail.IsKind(err, mail.Invalid) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		var d Doc
		for f := range NumFields {
			d.Text[f] = Fold(text)
		}
		if q.Match(&d) && !q.Candidates().has(termsOf(&d)) {
			t.Errorf("%q matches %q and is no candidate", s, text)
		}
		if by := q.Candidates().has(termsOf(&d)) && q.Undecided().Match(&d); by != q.Match(&d) {
			t.Errorf("%q, %q: %v by its terms and what they leave undecided", s, text, by)
		}
		q.Conditions()
	})
}
