package imap

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// A hostile server must not be able to hold a session, or its memory, for as long as it likes.

// forever is a server that repeats what it says until the client is gone.
func forever(t *testing.T, unit string) string {
	return pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 IDLE QUOTA NAMESPACE ID] hi\r\n")
		block := []byte(strings.Repeat(unit, 1+1000/len(unit)))
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
}

func TestFloods(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 900)
	fetch := func(o FetchOptions) func(context.Context, *Session) error {
		return func(ctx context.Context, s *Session) error {
			return s.Fetch(ctx, UIDs(1), o, func(*Row) error { return nil })
		}
	}
	for _, c := range []struct {
		name, unit string
		do         func(context.Context, *Session) error
	}{
		{"empty lines", "\r\n", nil},
		{"NULs", "\x00", nil},
		{"go-aheads", "+ go\r\n", nil},
		{"go-aheads for a login", "+ go\r\n", func(ctx context.Context, s *Session) error { return s.Login(ctx, "u", "p") }},
		{"tags of other commands", "P2 OK\r\n", nil},
		{"no protocol", "220 smtp\r\n", nil},
		{"still working", "* OK wait\r\n", nil},
		{"unknown", "* XYZ (a b)\r\n", nil},
		{"FETCH that nobody asked for", "* 1 FETCH (FLAGS ())\r\n", nil},
		{"one row again and again", "* 1 FETCH (UID 1 FLAGS ())\r\n", fetch(FetchOptions{Flags: true})},
		{"one body again and again", "* 1 FETCH (UID 1 BODY[] {1}\r\nx)\r\n", fetch(FetchOptions{Body: true})},
		{"one unreadable row", "* 1 FETCH (UID 1 BODY[] (x)\r\n", fetch(FetchOptions{Body: true})},
		{"folders", `* LIST () "/" "` + big + "\"\r\n", func(ctx context.Context, s *Session) error { _, err := s.List(ctx, ListOptions{}); return err }},
		{"states", `* STATUS "` + big + "\" (MESSAGES 1)\r\n", func(ctx context.Context, s *Session) error {
			_, _, err := s.Statuses(ctx, []string{"a"}, StatusMessages)
			return err
		}},
		{"numbers", "* SEARCH " + strings.Repeat("1 3 5 7 9 11 ", 50) + "\r\n", func(ctx context.Context, s *Session) error { _, err := s.Search(ctx, "ALL"); return err }},
		{"limits", "* QUOTA r (" + strings.Repeat("A 1 2 ", 100) + ")\r\n", func(ctx context.Context, s *Session) error { _, err := s.Quotas(ctx, "INBOX"); return err }},
		{"namespaces", "* NAMESPACE ((\"" + big + "\" \"/\"))\r\n", func(ctx context.Context, s *Session) error { _, err := s.Namespace(ctx); return err }},
		{"before the go-ahead of IDLE", "* 1 EXISTS\r\n", func(ctx context.Context, s *Session) error { return s.Idle(ctx) }},
		{"in IDLE", "+ go\r\n* 1 EXISTS\r\n", func(ctx context.Context, s *Session) error { return s.Idle(ctx) }},
		{"while listening", "* 1 EXISTS\r\n", func(ctx context.Context, s *Session) error { return s.Listen(ctx) }},
		{"copies", "* OK [COPYUID 1 " + strings.Repeat("1,", 100) + "1 " + strings.Repeat("2,", 100) + "2] x\r\n", func(ctx context.Context, s *Session) error {
			_, err := s.Copy(ctx, UIDs(1), "x")
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{Addr: forever(t, c.unit), Limits: Limits{Line: 10_000, Responses: 2000, Answer: 500_000}})
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if c.do == nil {
				c.do = func(ctx context.Context, s *Session) error { return s.Noop(ctx) }
			}
			if err := c.do(ctx, s); ClassOf(err) != Protocol || s.Err() == nil {
				t.Errorf("%v, dead: %v", err, s.Err())
			}
		})
	}
}

// A long mailbox is no flood: rows that were asked for do not count.
func TestManyRowsAreNoFlood(t *testing.T) {
	t.Parallel()
	const n = 5000
	addr := pipeServer(t, func(c net.Conn) {
		w := bufio.NewWriter(c)
		_, _ = fmt.Fprintf(w, "* OK [CAPABILITY IMAP4rev1] hi\r\n* %d EXISTS\r\nP1 OK\r\n", n)
		for tag := 2; tag <= 3; tag++ {
			for i := 1; i <= n; i++ {
				_, _ = fmt.Fprintf(w, "* %d FETCH (UID %d FLAGS ())\r\n", i, i)
			}
			_, _ = fmt.Fprintf(w, "P%d OK\r\n", tag)
		}
		_ = w.Flush()
		_, _ = io.Copy(io.Discard, c)
	})
	s := open(t, Options{Addr: addr, Limits: Limits{Responses: 100, Answer: 10_000}})
	ctx := context.Background()
	must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{}))
	for _, set := range []UIDSet{Range(1, Star), Range(1, n)} {
		rows := 0
		check(t, s.Fetch(ctx, set, FetchOptions{Flags: true}, func(*Row) error { rows++; return nil }))
		if rows != n {
			t.Errorf("%d rows", rows)
		}
	}
}

// A server that gives a byte now and then does not live on it: what counts is that something whole arrives.
func TestDrip(t *testing.T) {
	t.Parallel()
	for name, drip := range map[string]string{
		"a line": "* OK " + strings.Repeat("x", 1<<10),
		"a body": "* 1 FETCH (UID 1 BODY[] {100000}\r\n" + strings.Repeat("x", 1<<10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			addr := pipeServer(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for i := range len(drip) {
					if _, err := io.WriteString(c, drip[i:i+1]); err != nil {
						return
					}
					select {
					case <-tick.C:
					case <-gone:
						return
					}
				}
			})
			s := open(t, Options{Addr: addr, Idle: 200 * time.Millisecond})
			ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
			defer cancel()
			err := s.Fetch(ctx, UIDs(1), FetchOptions{Body: true}, func(*Row) error { return nil })
			close(gone)
			if ClassOf(err) != Network || s.Err() == nil {
				t.Errorf("%v, dead: %v", err, s.Err())
			}
		})
	}
}

// One response can't bring more bodies than one body may be large, when they are collected in memory.
func TestBodiesOfOneResponse(t *testing.T) {
	t.Parallel()
	const size = 100_000
	one := fmt.Sprintf(" BODY[1] {%d}\r\n%s", size, strings.Repeat("x", size))
	s := open(t, Options{Addr: pipeServer(t, greetThen("* 1 FETCH (UID 1"+strings.Repeat(one, 10)+")\r\nP1 OK\r\n")), Limits: Limits{Literal: 3*size + 10}})
	check(t, s.Fetch(context.Background(), UIDs(1), FetchOptions{Sections: []Section{{Path: "1"}}}, func(r *Row) error {
		held := 0
		for _, x := range r.Sections {
			held += len(x.Bytes)
		}
		if held != 3*size || !errors.Is(r.Err, errTooBig) {
			t.Errorf("%d bytes held, %v", held, r.Err)
		}
		return nil
	}))
}

// Every writer comes back, also when a server sends what was asked once twice.
func TestWritersComeBack(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"body twice":     "* 1 FETCH (UID 1 BODY[] {1}\r\nx BODY[] {1}\r\ny)\r\n",
		"in quotes":      "* 1 FETCH (UID 1 BODY[] \"x\" BODY[] \"y\")\r\n",
		"quotes, then":   "* 1 FETCH (UID 1 BODY[] \"x\" BODY[] {1}\r\ny)\r\n",
		"then in quotes": "* 1 FETCH (UID 1 BODY[] {1}\r\nx BODY[] \"y\")\r\n",
		"garbage behind": "* 1 FETCH (UID 1 BODY[] {1}\r\nx BODY[] {1}\r\ny ENVELOPE x)\r\n",
		"nothing behind": "* 1 FETCH (UID 1 BODY[] {1}\r\nx BODY[] NIL)\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given, back := map[io.Writer]bool{}, map[io.Writer]bool{}
			s := open(t, Options{Addr: pipeServer(t, greetThen(wire+"P1 OK\r\n"))})
			o := FetchOptions{Body: true, Sink: func(Literal) (io.Writer, error) {
				w := &bytes.Buffer{}
				given[w] = true
				return w, nil
			}}
			check(t, s.Fetch(context.Background(), UIDs(1), o, func(r *Row) error {
				for _, b := range append([]SectionBody{{Body: r.Body}}, r.Sections...) {
					if b.W != nil {
						back[b.W] = true
					}
				}
				if len(given) > 1 && (r.Err == nil || r.Body.Has) {
					t.Errorf("two bodies, and the row is fine: %+v", r)
				}
				return nil
			}))
			if len(given) == 0 || len(back) != len(given) {
				t.Errorf("%d writers given, %d came back", len(given), len(back))
			}
		})
	}
}

// What little text a server writes does not become much memory here.
func TestAmplification(t *testing.T) { // not parallel: others' allocations would count
	for _, c := range []struct {
		name, before, unit, after string
		read                      func(*parser)
	}{
		{"parts", "(", "()", ` "mixed")`, func(p *parser) { _, _ = p.bodyStructure() }},
		{"parts in parts", "(", "(" + strings.Repeat("()", 5000) + ")", ` "mixed")`, func(p *parser) { _, _ = p.bodyStructure() }},
		{"addresses", "(NIL NIL (", "()", "))", func(p *parser) { _, _ = p.envelope() }},
		{"envelopes in parts", "(", `("message" "rfc822" NIL NIL NIL NIL 1 (NIL NIL (` + strings.Repeat("()", 5000) + `)))`, ` "mixed")`, func(p *parser) { _, _ = p.bodyStructure() }},
		{"UIDs of APPENDUID", "1 ", "1:100000,", "5", func(p *parser) { (&Appended{}).take(status{code: "APPENDUID", arg: string(p.b)}, 3) }},
		{"permanent flags", "(", "a ", ")", func(p *parser) { (&Selected{}).code(status{code: "PERMANENTFLAGS", arg: string(p.b)}) }},
	} {
		text := grown(c.before, c.unit, c.after, 500_000/len(c.unit))
		var p parser
		if used := allocated(func() {
			p.reset(frame{b: bytes.Clone(text)}, 64)
			c.read(&p)
		}, 10<<20); used > 10<<20 {
			t.Errorf("%s: %d bytes allocated for %d", c.name, used, len(text))
		}
	}
	// Flag lists are remembered, but not without end.
	s := &Session{flags: map[string][]string{}}
	for i := range 5000 {
		var p parser
		p.reset(frame{b: fmt.Appendf(nil, "(%d %s)", i, strings.Repeat("a ", 490))}, 64)
		must[[]string](t)(s.readFlags(&p))
	}
	held := 0
	for text, list := range s.flags {
		held += len(text) + 16*len(list)
	}
	if held > 1<<20 {
		t.Errorf("%d bytes of flag lists", held)
	}
}

// What is said before TLS may be from anybody: nothing of it is passed on.
func TestNothingHeardBeforeTLS(t *testing.T) {
	t.Parallel()
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n* OK [ALERT] call 555\r\n* 5 EXISTS\r\n")
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, "* NO [ALERT] call 555\r\nP1 OK\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	_, err := Dial(context.Background(), Options{Addr: addr, Security: StartTLS, Idle: 200 * time.Millisecond, tag: "P", OnUnilateral: func(u Unilateral) { t.Errorf("heard %+v", u) }})
	if err == nil {
		t.Error("a session without TLS")
	}
}

// Servers that repeat what they do not understand repeat what is secret, in the form in which it was sent.
func TestEchoedSecrets(t *testing.T) {
	t.Parallel()
	const secret = `hun"ter\2 very secret`
	quoted, plain := `hun\"ter\\2 very secret`, base64.StdEncoding.EncodeToString([]byte("\x00me\x00"+secret))
	for caps, echo := range map[string]string{"": quoted, "AUTH=PLAIN": plain, "AUTH=PLAIN SASL-IR": plain} {
		var trace bytes.Buffer
		var heard []string
		addr := pipeServer(t, func(c net.Conn) {
			_, _ = fmt.Fprintf(c, "* OK [CAPABILITY IMAP4rev1 %s] hi\r\n+ \r\n%s\r\n* BAD what is %s\r\nP1 BAD unknown: %s\r\n", caps, echo, echo, echo)
			_, _ = io.Copy(io.Discard, c)
		})
		s := open(t, Options{Addr: addr, Trace: &trace, OnUnilateral: func(u Unilateral) { heard = append(heard, u.Text) }})
		err := s.Login(context.Background(), "me", secret)
		all := trace.String() + fmt.Sprint(err) + strings.Join(heard, "\n")
		if err == nil || len(heard) != 1 || strings.Contains(all, "hun") || strings.Contains(all, plain[:10]) {
			t.Errorf("%q: %v; %s", caps, heard, all)
		}
	}
}

// A server's words are safe to print: no controls, no escapes, nothing that turns text around.
func TestCleanText(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a\x1b[2Jb", "a\u009b2Jb", "a\u0085b", "a\u2028b", "a\u202eb", "a\u200fb", "a\ufeffb", "a\x9bb", "a\xff\xfeb"} {
		got := cleanText(bad)
		if !strings.HasPrefix(got, "a") || !strings.HasSuffix(got, "b") || strings.ContainsAny(got, "\x1b\u009b\u0085\u2028\u202e\u200f\ufeff") {
			t.Errorf("%q is %q", bad, got)
		}
	}
	if got := cleanText("Größe 日本 👍"); got != "Größe 日本 👍" {
		t.Errorf("%q", got)
	}
}

// Criteria are sent as they are, except that they can't swallow the command behind them.
func TestSearchKeepsItsLine(t *testing.T) {
	t.Parallel()
	heard := 0
	s := open(t, Options{Addr: obedient(t, "SEARCHRES", func(string) { heard++ })})
	for _, bad := range []string{"SUBJECT {5}", "SUBJECT {5+}", "a\r\nP2 NOOP", "a\x00"} {
		if _, err := s.Search(context.Background(), bad); ClassOf(err) != Permanent || heard > 0 {
			t.Errorf("%q: %v", bad, err)
		}
		if err := s.SearchSave(context.Background(), bad); ClassOf(err) != Permanent || heard > 0 {
			t.Errorf("%q: %v", bad, err)
		}
	}
	must[UIDSet](t)(s.Search(context.Background(), `SUBJECT "{5}"`))
}

// What a conditional STORE leaves alone is among what was asked, whatever the server says.
func TestModifiedIsPartOfTheSet(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addr: pipeServer(t, greetThen("P1 OK [MODIFIED 1:*] x\r\n"))})
	got := must[Stored](t)(s.Store(context.Background(), UIDs(3, 7), StoreAdd, []string{"$x"}, StoreOptions{UnchangedSince: 1}))
	if got.Modified.String() != "3,7" || !got.Done.Empty() {
		t.Errorf("%+v", got)
	}
}

// Too many folders are the server's doing, not the caller's.
func TestTooManyMailboxes(t *testing.T) {
	t.Parallel()
	all := strings.Repeat("* LIST () \"\" \"b\r\n", maxMailboxes+1)
	s := open(t, Options{Addr: "canned:1", DialContext: func(context.Context, string, string) (net.Conn, error) {
		return &canned{r: strings.NewReader(everything + all)}, nil
	}})
	if _, err := s.List(context.Background(), ListOptions{}); !errors.Is(err, errManyMailboxes) || ClassOf(err) != Protocol {
		t.Errorf("%v", err)
	}
}

// Answers to commands that were not sent keep nobody busy.
func TestAnswersBeforeQuestions(t *testing.T) {
	t.Parallel()
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		for i := 1; ; i++ {
			if _, err := fmt.Fprintf(c, "P%d OK\r\n", i); err != nil {
				return
			}
		}
	})
	s := open(t, Options{Addr: addr})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Listen(ctx); ClassOf(err) != Protocol || s.Err() == nil {
		t.Errorf("%v, dead: %v", err, s.Err())
	}
}

// A body that never ends is not begun.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{2<<30 + 1, 1 << 62} {
		s := open(t, Options{Addr: pipeServer(t, greetThen(fmt.Sprintf("* 1 FETCH (UID 1 BODY[] {%d}\r\n", size)))})
		err := s.Fetch(context.Background(), UIDs(1), FetchOptions{Body: true, Sink: func(Literal) (io.Writer, error) {
			t.Error("the sink was asked")
			return io.Discard, nil
		}}, nil)
		if ClassOf(err) != Protocol || s.Err() == nil {
			t.Errorf("%v, dead: %v", err, s.Err())
		}
	}
}

// Where a server's literals are too short the end of a mail may speak as the server. It can't answer commands: it does not
// know their tags, which differ from session to session.
func TestTagsAreNotToBeGuessed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 20 {
		tag := make(chan string, 1)
		addr := pipeServer(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
			line, _ := bufio.NewReader(c).ReadString('\n')
			word, _, _ := strings.Cut(line, " ")
			tag <- word
			// The mail is five bytes longer than announced, and its end looks like this.
			_, _ = fmt.Fprintf(c, "* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\nP1 OK done\r\nA1 OK done\r\n)\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\n%s OK done\r\n", word)
			_, _ = io.Copy(io.Discard, c)
		})
		s, err := Dial(context.Background(), Options{Addr: addr, Security: Plain})
		check(t, err)
		rows := 0
		check(t, s.Fetch(context.Background(), Range(1, 2), FetchOptions{Body: true}, func(*Row) error { rows++; return nil }))
		if rows != 2 {
			t.Errorf("%d rows", rows)
		}
		check(t, s.CloseNow())
		seen[<-tag] = true
	}
	if len(seen) != 20 {
		t.Errorf("tags %v", seen)
	}
}

// Versions of TLS that are broken are not spoken, whatever the caller's configuration and the server would like.
func TestNoOldTLS(t *testing.T) {
	t.Parallel()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert := must[[]byte](t)(x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key))
	addr := pipeServer(t, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}})
		_, _ = io.WriteString(s, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		_, _ = io.Copy(io.Discard, s)
	})
	s, err := Dial(context.Background(), Options{Addr: addr, TLS: &tls.Config{MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}})
	if err == nil {
		t.Errorf("a session over TLS %#x", s.conn.(*tls.Conn).ConnectionState().Version)
		_ = s.CloseNow()
	}
}
