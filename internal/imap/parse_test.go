package imap

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// nopConn is a connection that is never used.
type nopConn struct{ net.Conn }

func (nopConn) Close() error { return nil }

func TestInternalDate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"17-Jul-1996 02:44:25 -0700", "1996-07-17T09:44:25Z"},
		{" 1-Feb-2024 10:00:00 +0100", "2024-02-01T09:00:00Z"},
		{"1-Feb-2024 10:00:00 +0100", "2024-02-01T09:00:00Z"},  // one-digit day without blank
		{"01 Feb 2024 10:00:00 +0100", "2024-02-01T09:00:00Z"}, // blanks for dashes
		{"01-FEB-2024 10:00 +0530", "2024-02-01T04:30:00Z"},    // no seconds
		{"01-Feb-2024 10:00:00", "2024-02-01T10:00:00Z"},       // no zone
		{"01-Feb-2024 10:00:00 GMT", "2024-02-01T10:00:00Z"},   // a word for it
		{"29-Feb-2024 00:00:00 +0000", "2024-02-29T00:00:00Z"}, // leap day
		{"29-Feb-2023 00:00:00 +0000", ""},                     // none
		{"00-Jan-0000 00:00:00 +0000", ""},                     // Domino
		{"01-Jan-0102 00:00:00 +0000", ""},                     // MailKit#1236
		{"32-Jan-2020 00:00:00 +0000", ""},
		{"01-Foo-2020 00:00:00 +0000", ""},
		{"", ""}, {"NIL", ""}, {"01-Jan-2020", ""},
	} {
		got, ok := parseInternalDate([]byte(tc.in))
		text := ""
		if ok {
			text = got.Format(time.RFC3339)
		}
		if text != tc.want {
			t.Errorf("%q: %q, want %q", tc.in, text, tc.want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ raw, name string }{
		{"INBOX", "INBOX"},
		{"Tom &- Jerry", "Tom & Jerry"},
		{"Entw&APw-rfe", "Entwürfe"},
		{"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"}, // RFC 3501 5.1.3
		{"&2D3eAA-", "😀"},
		{"&vPSwuA-", "보낸"},
	} {
		if got, err := DecodeName(tc.raw); err != nil || got != tc.name {
			t.Errorf("decode %q: %q, %v", tc.raw, got, err)
		}
		if got := EncodeName(tc.name); got != tc.raw {
			t.Errorf("encode %q: %q, want %q", tc.name, got, tc.raw)
		}
	}
	for _, bad := range []string{"&", "a&b", "&AP", "&2D0-", "&3gA-", "&A-", "Prüfung", "\xff", "&A\nP-"} {
		if got, err := DecodeName(bad); err == nil {
			t.Errorf("decode %q: %q", bad, got)
		}
	}
	for raw, want := range map[string]string{"Prüfung": "Prüfung", "Pr\xfcfung": "Pr\uFFFDfung", "A & B": "A & B", "\xff&APw-": "\uFFFD&APw-"} {
		if got := showName(raw, false); got != want {
			t.Errorf("show %q: %q, want %q", raw, got, want)
		}
	}
}

func TestUIDSet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"", ""}, {"1", "1"}, {"1,2,3", "1:3"}, {"3,1,2", "1:3"}, {"5:3,9", "3:5,9"}, {"1:3,2:9,20", "1:9,20"},
		{"5:*", "5:*"}, {"*:5", "5:*"}, {"*", "*"}, {"7,5:*", "5:*"}, {"1,3,2:10,12", "1:10,12"}, {"9,7,5,3,1", "1,3,5,7,9"},
		{"4294967294", "4294967294"},
	} {
		s, err := ParseUIDSet(tc.in)
		if err != nil || s.String() != tc.want {
			t.Errorf("%q: %q, %v; want %q", tc.in, s, err, tc.want)
		}
	}
	for _, bad := range []string{"0", "1:0", ",", "1,", "1:", ":1", "a", "1 2", "4294967296", "-1", "1:2:3", "99999999999999999999"} {
		if s, err := ParseUIDSet(bad); err == nil {
			t.Errorf("%q: %q", bad, s)
		}
	}
	s, _ := ParseUIDSet("1:3,7,20:29")
	if s.Len() != 14 || s.Contains(0) || s.Contains(4) || !s.Contains(7) || !s.Contains(29) || s.Contains(30) || s.Open() {
		t.Errorf("%v: %d", s, s.Len())
	}
	if got := slices.Collect(s.All); len(got) != 14 || got[3] != 7 {
		t.Errorf("all: %v", got)
	}
	var parts []string
	for _, p := range s.Split(6) {
		parts = append(parts, p.String())
	}
	if strings.Join(parts, " ") != "1:3,7 20:29" {
		t.Errorf("split: %q", parts)
	}
	for _, r := range [][2]uint32{{30, 40}, {5, 5}, {4, 6}, {0, 1}, {9, 8}, {50, Star}, {45, 60}} {
		s.AddRange(r[0], r[1])
	}
	if s.String() != "1:9,20:40,45:*" || !s.Open() || !s.Contains(1<<31) {
		t.Errorf("after adding: %q", s)
	}
}

func TestStatusText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want status
	}{
		{"", status{}},
		{"done", status{text: "done"}},
		{"[UIDNEXT 5]", status{code: "UIDNEXT", arg: "5"}},
		{"[uidnext 5] predicted", status{code: "UIDNEXT", arg: "5", text: "predicted"}},
		{"[PERMANENTFLAGS (\\* [x] a)] ok", status{code: "PERMANENTFLAGS", arg: "(\\* [x] a)", text: "ok"}},
		{"[ALERT", status{code: "ALERT"}},
		{"Success [THROTTLED]", status{code: "THROTTLED", text: "Success [THROTTLED]"}},
	} {
		if got := parseStatus("", []byte(tc.in)); got != tc.want {
			t.Errorf("%q: %+v", tc.in, got)
		}
	}
}

func TestCapsNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int64{ // -1: none
		"IMAP4rev1 APPENDLIMIT MESSAGELIMIT":                         {-1, -1},
		"APPENDLIMIT=35651584 MESSAGELIMIT=1000":                     {35651584, 1000},
		"appendlimit=5 APPENDLIMIT=7 MESSAGELIMIT=9 messagelimit=8":  {5, 8},
		"APPENDLIMIT=0 MESSAGELIMIT=0":                               {0, -1},
		"APPENDLIMIT=-1 MESSAGELIMIT=x":                              {-1, -1},
		"APPENDLIMIT=99999999999999999999 MESSAGELIMIT=999999999999": {-1, 1<<31 - 1},
	} {
		c := parseCaps(text)
		size, ok := c.AppendLimit()
		if !ok {
			size = -1
		}
		n, ok := c.MessageLimit()
		if !ok {
			n = -1
		}
		if size != want[0] || int64(n) != want[1] {
			t.Errorf("%s: %d, %d", text, size, n)
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cmd, status, code, text string
		want                    ErrClass
		wait                    time.Duration
	}{
		{"AUTHENTICATE", "NO", "ALERT", "Too many simultaneous connections. (Failure)", TransientAccount, 0},
		{"LOGIN", "NO", "UNAVAILABLE", "Temporary authentication failure.", TransientAccount, 0},
		{"LOGIN", "NO", "", "Invalid login or password", AuthFailed, 0},
		{"LOGIN", "NO", "ALERT", "Please log in via your web browser", AuthFailed, 0},
		{"LOGIN", "BAD", "", "AUTHENTICATE failed: Application-specific password required", AuthFailed, 0},
		{"LOGIN", "BAD", "", "syntax", Permanent, 0},
		{"FETCH", "NO", "UNAVAILABLE", "Server error while fetching messages", Transient, 0},
		{"FETCH", "NO", "OVERQUOTA", "Account exceeded command or bandwidth limits", TransientAccount, 0},
		{"FETCH", "BAD", "", "Request is throttled. Suggested Backoff Time: 299961 milliseconds", TransientAccount, 299961 * time.Millisecond},
		{"FETCH", "BAD", "", "Suggested Backoff Time: 99999999999999999 milliseconds", TransientAccount, 24 * time.Hour},
		{"LOGIN", "NO", "", "Too many logins, try again in 5 minutes.", TransientAccount, 5 * time.Minute},
		{"SELECT", "NO", "LIMIT", "Rate limit hit, retry after 30", TransientAccount, 30 * time.Second},
		{"SELECT", "NO", "", "try again in a while", TransientAccount, 0},
		{"SELECT", "NO", "LIMIT", "Rate limit hit.", TransientAccount, 0},
		{"SELECT", "NO", "", "Mailbox doesn't exist: x", Permanent, 0},
		{"CREATE", "NO", "", "Client tried to access nonexistent namespace. (Mailbox name should probably be prefixed with: INBOX.)", Permanent, 0},
		{"CREATE", "NO", "", "Invalid mailbox name", Permanent, 0},
		{"RENAME", "NO", "", "Permission denied", Permanent, 0},
		{"CREATE", "NO", "", "Folder name is reserved", Permanent, 0},
		{"CREATE", "NO", "", "Cannot create this folder", Transient, 0},
		{"SELECT", "NO", "INUSE", "locked", Transient, 0},
		{"FETCH", "NO", "SERVERBUG", "Internal error occurred. Refer to server log for more information.", Transient, 0},
		{"LOGIN", "NO", "SERVERBUG", "Internal login failure.", TransientAccount, 0},
		{"LOGIN", "NO", "", "Internal error", TransientAccount, 0},
		{"NOOP", "BYE", "", "Disconnected for inactivity.", Network, 0},
		{"NOOP", "BYE", "", "Session expired, please login again", TransientAccount, 0},
		{"DIAL", "BYE", "", "not now", TransientAccount, 0},
		{"FETCH", "NO", "", "Suggested Backoff Time: 3000", TransientAccount, 3 * time.Second},
		{"FETCH", "NO", "", "Try again in 2 hours", TransientAccount, 2 * time.Hour},
		{"FETCH", "NO", "", "Slow down: retry after 90.", TransientAccount, 90 * time.Second},
		{"FETCH", "NO", "", "Retry after 0, suggested backoff time: soon", TransientAccount, 0},
		{"APPEND", "NO", "LIMIT", "Message is too large", Permanent, 0},
		{"APPEND", "NO", "LIMIT", "Rate limit", TransientAccount, 0},
		{"APPEND", "NO", "OVERQUOTA", "Account exceeded bandwidth", TransientAccount, 0},
		{"APPEND", "NO", "OVERQUOTA", "Quota exceeded", Permanent, 0},
	} {
		e := statusError(tc.cmd, tc.status, tc.code, tc.text)
		if e.Class != tc.want || e.BackOff != tc.wait {
			t.Errorf("%s %s [%s] %s: %v, %v", tc.cmd, tc.status, tc.code, tc.text, e.Class, e.BackOff)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in          string
		plus, minus bool
		want        string
		cuts        int
	}{
		{"INBOX", false, false, `"INBOX"`, 0},
		{`a"b\c`, false, false, `"a\"b\\c"`, 0},
		{"tab\there", false, false, "{8}\r\ntab\there", 1},
		{"\xff", true, false, "{1+}\r\n\xff", 0},
		{"ü", false, true, "{2+}\r\nü", 0},
		{strings.Repeat("x", 5000), false, true, "{5000}\r\n" + strings.Repeat("x", 5000), 1},
		{"", false, false, `""`, 0},
	} {
		l := &line{plus: tc.plus, minus: tc.minus}
		l.str(tc.in)
		if string(l.b) != tc.want || len(l.cuts) != tc.cuts || l.err != nil {
			t.Errorf("%q: %q, %d cuts, %v", tc.in, l.b, len(l.cuts), l.err)
		}
	}
	for _, bad := range []string{"a\r\nb", "a\nb", "a\x00b"} {
		for _, add := range []func(*line){func(l *line) { l.str(bad) }, func(l *line) { l.checked(bad) }, func(l *line) { l.atom(bad) }} {
			l := &line{}
			if add(l); l.err == nil {
				t.Errorf("%q passed: %q", bad, l.b)
			}
		}
	}
	for _, bad := range []string{"", "a b", "a)", `a"`, "a{1}", "ü"} {
		l := &line{}
		if l.atom(bad); l.err == nil {
			t.Errorf("atom %q passed", bad)
		}
	}
}

func TestStatusData(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, raw, id string }{
		{"plain", `INBOX (MESSAGES 3)`, "INBOX", ""},
		{"id last", `INBOX (MESSAGES 3 MAILBOXID (F1))`, "INBOX", "F1"},
		{"id first, Cyrus", `INBOX (MAILBOXID (F1) MESSAGES 3)`, "INBOX", "F1"},
		{"an id that is none, Cyrus 3.6", "INBOX (MESSAGES 3 MAILBOXID (]V;K\xf2U))", "INBOX", ""},
		{"blanks and parentheses in the name", `a b (c) (MESSAGES 3)`, "a b (c)", ""},
		{"and an id in the middle", `a (b) c (SIZE 1 MAILBOXID (F1) MESSAGES 3)`, "a (b) c", "F1"},
		{"parenthesis that nothing closes", `a ( b (MESSAGES 3)`, "a ( b", ""},
		{"quoted", `"a (b)" (MAILBOXID (F1) MESSAGES 3)`, "a (b)", "F1"},
		{"nothing behind the name", `x(MESSAGES 3)`, "x", ""},
	} {
		var p parser
		p.reset(frame{b: []byte(c.text + " \r\n")}, 64)
		raw, d, err := parseStatusData(&p)
		if err != nil || raw != c.raw || d.MailboxID != c.id || d.Messages != 3 {
			t.Errorf("%s: %q %+v, %v", c.name, raw, d, err)
		}
	}
}
