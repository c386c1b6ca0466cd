package persona_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mail(n int) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.com>\r\nSubject: %d\r\nMessage-ID: <%d@example.com>\r\n\r\nBody %d.\r\n", n, n, n)
}

func dial(t *testing.T, p *persona.Server) *realsrv.Session {
	t.Helper()
	return realsrv.Dial(t, p.Addr, "ann", persona.Password)
}

func texts(rows []realsrv.Response) (out []string) {
	for _, r := range rows {
		out = append(out, r.Text)
	}
	return out
}

func want(t *testing.T, rows []realsrv.Response, lines ...string) {
	t.Helper()
	got := texts(rows)
	for _, l := range lines {
		if !slices.Contains(got, l) {
			t.Errorf("no line %q in %q", l, got)
		}
	}
}

// TestTruth checks the server with a client that shares no code with it: without knobs it is an ordinary one.
func TestTruth(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	for i := range 3 {
		p.Deliver("INBOX", mail(i))
	}
	s := dial(t, p)
	want(t, s.Do("SELECT INBOX"), "3 EXISTS", "OK [UIDVALIDITY 1001] ok", "OK [UIDNEXT 4] ok")
	rows := s.Do("UID FETCH 2 (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[])")
	if len(rows) != 1 || len(rows[0].Literals) != 2 || string(rows[0].Literals[0]) != "Subject: 1\r\n\r\n" || string(rows[0].Literals[1]) != string(mail(1)) {
		t.Errorf("fetched %q", rows)
	}
	want(t, s.Do("UID SEARCH UNSEEN"), "SEARCH 1 2 3")
	s.Do(`UID STORE 1 +FLAGS (\Seen \Deleted)`)
	want(t, s.Do("UID SEARCH UNSEEN"), "SEARCH 2 3")
	p.Deliver("INBOX", mail(9))
	want(t, s.Do("NOOP"), "4 EXISTS")
	want(t, s.Do("EXPUNGE"), "1 EXPUNGE")
	s.Do("UID MOVE 2 Trash")
	want(t, s.Do("STATUS Trash (MESSAGES)"), `STATUS "Trash" (MESSAGES 1)`)
	s.Append("Drafts", mail(7), []string{`\Draft`}, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	if got := p.UIDs("INBOX"); !slices.Equal(got, []uint32{3, 4}) {
		t.Errorf("INBOX holds %v", got)
	}
	if all := p.Everything(); len(all) != 4 {
		t.Errorf("%d messages", len(all))
	}
	s.Do("ENABLE QRESYNC")
	p.Expunge("INBOX", 3)
	want(t, s.Do("SELECT INBOX (QRESYNC (1001 2))"), "VANISHED (EARLIER) 1:3")
}

func TestGmailLabels(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Gmail())
	p.Create("Work")
	uid := p.Deliver("INBOX", mail(1))
	p.Copy("INBOX", uid, "Work")
	s := dial(t, p)
	s.Do(`SELECT "[Gmail]/All Mail"`)
	rows := s.Do("UID FETCH 1:* (X-GM-LABELS)")
	want(t, rows, `1 FETCH (UID 1 X-GM-LABELS ("\\Inbox" "Work"))`)
	s.Do(`UID STORE 1 -X-GM-LABELS (Work)`)
	if n := len(p.UIDs("Work")); n != 0 {
		t.Errorf("%d messages labelled", n)
	}
	p.Move("INBOX", uid, "[Gmail]/Trash")
	if len(p.UIDs("[Gmail]/All Mail")) != 0 || len(p.UIDs("INBOX")) != 0 || len(p.UIDs("[Gmail]/Trash")) != 1 {
		t.Errorf("what is in the trash is nowhere else: %+v", p.Everything())
	}
}

func TestUIDOnly(t *testing.T) {
	t.Parallel()
	k := persona.Yahoo()
	k.Limited = 2
	p := persona.Start(t, k)
	for i := range 5 {
		p.Deliver("INBOX", mail(i))
	}
	s := dial(t, p)
	want(t, s.Do("SELECT INBOX"), "2 EXISTS")
	s.Do("ENABLE UIDONLY")
	want(t, s.Do("SELECT INBOX"), "5 EXISTS")
	want(t, s.Do("UID FETCH 1 (FLAGS)"), "1 UIDFETCH (FLAGS ())")
	want(t, s.Do("UID FETCH 1:* (FLAGS) (PARTIAL -1:-2)"), "4 UIDFETCH (FLAGS ())", "5 UIDFETCH (FLAGS ())")
}

func TestAnswerSayAndLog(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{
		UIDValidity: persona.Flapping,
		Say:         func(_ persona.Command, line string) string { return strings.Replace(line, "3 EXISTS", "7 EXISTS", 1) },
		Hide:        func(c persona.Command, uid uint32) bool { return uid == 2 },
	})
	for i := range 3 {
		p.Deliver("INBOX", mail(i))
	}
	s := dial(t, p)
	want(t, s.Do("SELECT INBOX"), "7 EXISTS", "OK [UIDVALIDITY 2001] ok")
	if rows := s.Do("UID FETCH 1:* (FLAGS)"); len(rows) != 2 {
		t.Errorf("answered %q", texts(rows))
	}
	if n := p.Count("UID FETCH"); n != 1 || p.Logins() != 1 || p.Open() != 1 {
		t.Errorf("%d fetches, %d logins, %d open; %q", n, p.Logins(), p.Open(), p.Log())
	}
	if log := p.Log(); !slices.Contains(log, "1 C: UID FETCH 1:* (FLAGS)") || !slices.Contains(log, "1 S: * 1 FETCH (UID 1 FLAGS ())") {
		t.Errorf("log %q", log)
	}
}

// TestNaive: the lies that our client is never told are told to one that asks for it.
func TestNaive(t *testing.T) {
	t.Parallel()
	for _, lie := range persona.Lies() {
		if lie.Naive == nil {
			continue
		}
		t.Run(lie.Name, func(t *testing.T) {
			t.Parallel()
			k := lie.Make()
			k.Caps = strings.TrimSpace(persona.All + " " + k.Caps)
			p := persona.Start(t, k)
			p.Deliver("INBOX", mail(1), `\Seen`)
			p.Deliver("INBOX", mail(2))
			c, err := net.Dial("tcp", p.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			fmt.Fprintf(c, "a LOGIN ann %s\r\nb SELECT INBOX\r\nc %s\r\nd LOGOUT\r\n", persona.Password, strings.Join(lie.Naive, "\r\nc "))
			_, _ = io.Copy(io.Discard, c) // it may be cut
			if idle := p.Idle(); len(idle) > 0 {
				t.Errorf("%v did nothing: %q", idle, p.Log())
			}
		})
	}
}
