package imap

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// A transcript is a file of lines:
//
//	> call arguments   what the client does
//	C: line            what the server must receive
//	S: line            what the server sends; \0, \r, \n and \xNN are unescaped; a final \ leaves out the CRLF
//	X                  the server closes the connection
//	= line             what came out: results, errors, unilateral data
//	# line             remark
//
// The `=` lines are golden.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runTranscript(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s differs; got:\n%s", file, got)
			}
		})
	}
}

// serve plays the server's side of a transcript to one client and returns its address. A mismatch fails the test.
func serve(t testing.TB, steps []string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Error(err)
		}
		r := bufio.NewReader(c)
		for _, st := range steps {
			switch {
			case strings.HasPrefix(st, "C: "):
				line, err := r.ReadString('\n')
				if got := strings.TrimSuffix(line, "\r\n"); got != st[3:] {
					t.Errorf("client sent %q (%v), want %q", got, err, st[3:])
					return
				}
			case strings.HasPrefix(st, "S:"):
				if _, err := io.WriteString(c, wire(strings.TrimPrefix(st[2:], " "))); err != nil {
					return
				}
			case st == "X":
				return
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// wire turns the text of an S line into bytes.
func wire(s string) string {
	end := "\r\n"
	if strings.HasSuffix(s, `\`) && !strings.HasSuffix(s, `\\`) {
		s, end = s[:len(s)-1], ""
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			switch s[i+1] {
			case '0':
				b.WriteByte(0)
				i++
				continue
			case 'r':
				b.WriteByte('\r')
				i++
				continue
			case 'n':
				b.WriteByte('\n')
				i++
				continue
			case 'x':
				if n, err := strconv.ParseUint(s[i+2:min(i+4, len(s))], 16, 8); err == nil {
					b.WriteByte(byte(n))
					i += 3
					continue
				}
			}
		}
		b.WriteByte(s[i])
	}
	return b.String() + end
}

func runTranscript(t *testing.T, text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var steps []string
	for _, l := range lines {
		if strings.HasPrefix(l, "C: ") || strings.HasPrefix(l, "S:") || l == "X" {
			steps = append(steps, l)
		}
	}
	p := &player{addr: serve(t, steps)}
	defer p.close()
	var out []string
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		if strings.HasPrefix(l, "= ") {
			continue
		}
		out = append(out, l)
		if !strings.HasPrefix(l, "> ") {
			continue
		}
		for i+1 < len(lines) && !strings.HasPrefix(lines[i+1], "> ") {
			i++
			if !strings.HasPrefix(lines[i], "= ") {
				out = append(out, lines[i])
			}
		}
		p.out = nil
		p.call(l[2:])
		for _, o := range p.out {
			out = append(out, "= "+o)
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// player carries out the calls of a transcript.
type player struct {
	addr string
	s    *Session
	out  []string
}

func (p *player) close() {
	if p.s != nil {
		_ = p.s.CloseNow()
	}
}

func (p *player) printf(format string, args ...any) {
	p.out = append(p.out, fmt.Sprintf(format, args...))
}

func (p *player) err(err error) {
	dead := ""
	if p.s != nil && p.s.Err() != nil {
		dead = " (dead)"
	}
	if err == nil {
		p.printf("ok%s", dead)
		return
	}
	var wait string
	if e, ok := err.(*Error); ok && e.BackOff > 0 {
		wait = " wait " + e.BackOff.String()
	}
	text := strings.ReplaceAll(err.Error(), p.addr, "ADDR")
	p.printf("%v: %s%s%s", ClassOf(err), text, wait, dead)
}

func (p *player) row(r *Row) {
	var b strings.Builder
	fmt.Fprintf(&b, "row %d uid %d", r.Seq, r.UID)
	if r.HasFlags {
		fmt.Fprintf(&b, " flags %q", r.Flags)
	}
	if r.HasInternalDate {
		fmt.Fprintf(&b, " date %s", r.InternalDate.Format(time.RFC3339))
	}
	if r.HasSize {
		fmt.Fprintf(&b, " size %d", r.Size)
	}
	if r.HasModSeq {
		fmt.Fprintf(&b, " modseq %d", r.ModSeq)
	}
	if r.HasHeader {
		fmt.Fprintf(&b, " header %q", r.Header)
	}
	if r.Envelope != nil {
		fmt.Fprintf(&b, " envelope %q", fmt.Sprint(*r.Envelope))
	}
	if r.BodyStructure != nil {
		fmt.Fprintf(&b, " structure %s/%s %d parts %v %d", r.BodyStructure.Type, r.BodyStructure.Subtype, len(r.BodyStructure.Parts), r.BodyStructure.Params, r.BodyStructure.Size)
	}
	if r.Body.Has {
		fmt.Fprintf(&b, " body %q", r.Body.Bytes)
	}
	keys := make([]string, 0, len(r.Raw))
	for k := range r.Raw {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, " %s=%q", k, r.Raw[k])
	}
	if r.Err != nil {
		fmt.Fprintf(&b, " ERR %v", r.Err)
	}
	p.printf("%s", b.String())
}

var kindNames = map[UnilateralKind]string{KindExists: "exists", KindExpunge: "expunge", KindVanished: "vanished", KindFetch: "fetch",
	KindBye: "bye", KindAlert: "alert", KindThrottled: "throttled", KindStatus: "status", KindMailbox: "mailbox", KindMailboxStatus: "mailbox-status"}

func (p *player) unilateral(u Unilateral) {
	switch u.Kind {
	case KindFetch:
		p.row(u.Row)
		p.out[len(p.out)-1] = "unasked " + p.out[len(p.out)-1]
	case KindVanished:
		p.printf("unasked vanished %s earlier=%v", u.UIDs.String(), u.Earlier)
	case KindExists, KindExpunge:
		p.printf("unasked %s %d", kindNames[u.Kind], u.Num)
	case KindMailbox, KindMailboxStatus:
		p.printf("unasked %s %q", kindNames[u.Kind], u.Mailbox.Raw)
	default:
		p.printf("unasked %s %s [%s] %s", kindNames[u.Kind], u.Status, u.Code, u.Text)
	}
}

// words splits at blanks; words in quotes are Go strings.
func words(s string) []string {
	var out []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if q, err := strconv.QuotedPrefix(s); err == nil {
			s = s[len(q):]
			q, _ = strconv.Unquote(q)
			out = append(out, q)
			continue
		}
		var w string
		w, s, _ = strings.Cut(s, " ")
		out = append(out, w)
	}
	return out
}

func (p *player) call(text string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	name, rest, _ := strings.Cut(text, " ")
	f := words(rest)
	if p.s == nil && name != "dial" {
		p.printf("no session")
		return
	}
	has := func(s string) bool { return slices.Contains(f, s) }
	switch name {
	case "dial":
		o := Options{Addr: p.addr, Security: Plain, Idle: 5 * time.Second, OnUnilateral: p.unilateral}
		if has("starttls") {
			o.Security = StartTLS
		}
		if has("small") {
			o.Limits = Limits{Line: 2000, Literal: 64, Response: 4000, Command: 80, Junk: 3, Responses: 10}
		}
		s, err := Dial(ctx, o)
		p.s = s
		p.err(err)
	case "caps":
		p.printf("%s", strings.Join(p.s.Caps().Names(), " "))
	case "login":
		p.err(p.s.Login(ctx, f[0], f[1]))
	case "id":
		m := map[string]string{}
		for i := 0; i+1 < len(f); i += 2 {
			m[f[i]] = f[i+1]
		}
		got, err := p.s.ID(ctx, m)
		p.printf("%v", got)
		p.err(err)
	case "enable":
		got, err := p.s.Enable(ctx, f...)
		p.printf("%v", got)
		p.err(err)
	case "namespace":
		got, err := p.s.Namespace(ctx)
		p.printf("%q", got)
		p.err(err)
	case "list":
		o := ListOptions{SpecialUse: has("special")}
		if has("status") {
			o.Status = []StatusItem{StatusMessages, StatusUIDNext}
		}
		got, err := p.s.List(ctx, o)
		for _, m := range got {
			p.printf("%q name %q delim %q %q", m.Raw, m.Name, m.Delimiter, m.Attrs)
			if m.Status != nil {
				p.printf("  %+v", *m.Status)
			}
			if m.Err != nil {
				p.printf("  %v", m.Err)
			}
		}
		p.err(err)
	case "statuses":
		got, bad, err := p.s.Statuses(ctx, f, StatusMessages, StatusUIDNext, StatusUIDValidity)
		for _, raw := range f {
			if d, ok := got[raw]; ok {
				p.printf("%q %+v", raw, d)
			}
			if e := bad[raw]; e != nil {
				p.printf("%q %v: %v", raw, ClassOf(e), e)
			}
		}
		p.err(err)
	case "select":
		got, err := p.s.Select(ctx, f[0], SelectOptions{ReadOnly: has("ro"), CondStore: has("condstore")})
		if got != nil {
			p.printf("%+v", *got)
		}
		p.err(err)
	case "fetch":
		set, err := ParseUIDSet(f[0])
		if err != nil {
			p.err(err)
			return
		}
		o := FetchOptions{Flags: has("flags"), InternalDate: has("date"), Size: has("size"), Envelope: has("envelope"),
			BodyStructure: has("structure"), ModSeq: has("modseq"), FullHeader: has("fullheader"), Body: has("body")}
		if has("header") {
			o.Header = []string{"From", "Subject"}
		}
		if has("gmail") {
			o.Items = []string{"X-GM-MSGID"}
		}
		if has("since") {
			o.ChangedSince = 7
		}
		p.err(p.s.Fetch(ctx, set, o, func(r *Row) error { p.row(r); return nil }))
	case "search":
		got, err := p.s.Search(ctx, rest)
		p.printf("%s", got.String())
		p.err(err)
	case "noop":
		p.err(p.s.Noop(ctx))
	case "idle": // until the server has said n things
		ictx, stop := context.WithCancel(ctx)
		n, _ := strconv.Atoi(f[0])
		p.s.o.OnUnilateral = func(u Unilateral) {
			p.unilateral(u)
			if n--; n == 0 {
				stop()
			}
		}
		p.err(p.s.Idle(ictx))
		p.s.o.OnUnilateral = p.unilateral
		stop()
	case "unselect":
		p.err(p.s.Unselect(ctx))
	case "close":
		p.err(p.s.Close(ctx))
	case "logout":
		p.err(p.s.Logout(ctx))
	default:
		p.printf("unknown call %s", name)
	}
}
