package imap

import (
	"bufio"
	"context"
	"errors"
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
		params := map[string]string{}
		for _, x := range r.BodyStructure.Params {
			params[x.Name] = x.Value
		}
		fmt.Fprintf(&b, " structure %s/%s %d parts %v %d", r.BodyStructure.Type, r.BodyStructure.Subtype, len(r.BodyStructure.Parts), params, r.BodyStructure.Size)
	}
	if r.Body.Has {
		fmt.Fprintf(&b, " body %q", r.Body.Bytes)
	}
	for _, x := range r.Sections {
		fmt.Fprintf(&b, " [%s]<%d> binary=%v %q", x.Path, x.Offset, x.Binary, x.Bytes)
	}
	if r.Body.Offset > 0 {
		fmt.Fprintf(&b, " from %d", r.Body.Offset)
	}
	if r.EmailID != "" || r.ThreadID != "" {
		fmt.Fprintf(&b, " email %q thread %q", r.EmailID, r.ThreadID)
	}
	if r.GmailMsgID != 0 || r.GmailThreadID != 0 || r.HasGmailLabels {
		fmt.Fprintf(&b, " gmail %d %d %q", r.GmailMsgID, r.GmailThreadID, r.GmailLabels)
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
		p.printf("unasked %s %q%s", kindNames[u.Kind], u.Mailbox.Raw, strings.TrimSuffix(" was "+u.Mailbox.OldName, " was "))
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
		o := Options{Addr: p.addr, Security: Plain, Idle: 5 * time.Second, OnUnilateral: p.unilateral, tag: "P"}
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
		o.Gmail, o.ObjectID, o.Vanished = has("gmail"), has("objectid"), has("vanished")
		if has("items") {
			o.Items = []string{"XAOL.SPAM.REASON"}
		}
		if has("window") {
			o.Window = Window{-1, -30}
		}
		if has("piece") {
			o.Offset, o.Length = 100, 50
		}
		if has("sections") {
			o.Sections = []Section{{Path: "1.2", Offset: 4, Length: 8}, {Path: "2", Binary: true}}
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
		p.write(ctx, name, rest, f)
	}
}

// write carries out the calls that change something, and those of extensions.
func (p *player) write(ctx context.Context, name, rest string, f []string) {
	set, _ := ParseUIDSet(append(f, "")[0])
	mail := func(from int) []AppendMessage {
		var ms []AppendMessage
		for _, body := range f[from:] {
			ms = append(ms, AppendMessage{Body: strings.NewReader(body), Size: int64(len(body))})
		}
		return ms
	}
	copied := func(c Copied, err error) {
		var pairs []string
		for from, to := range c.All {
			pairs = append(pairs, fmt.Sprintf("%d>%d", from, to))
		}
		p.printf("done %s; %d: %s", c.Done, c.UIDValidity, strings.Join(pairs, " "))
		p.err(err)
	}
	switch name {
	case "store":
		got, err := p.s.Store(ctx, set, StoreAdd, f[1:], StoreOptions{})
		p.printf("%+v", got)
		p.err(err)
	case "storeif":
		got, err := p.s.Store(ctx, set, StoreRemove, f[1:], StoreOptions{UnchangedSince: 7})
		p.printf("%+v", got)
		p.err(err)
	case "label":
		got, err := p.s.Store(ctx, set, StoreReplace, f[1:], StoreOptions{Labels: true})
		p.printf("%+v", got)
		p.err(err)
	case "copy":
		copied(p.s.Copy(ctx, set, f[1]))
	case "move":
		copied(p.s.Move(ctx, set, f[1]))
	case "expunge":
		got, err := p.s.Expunge(ctx, set)
		p.printf("%s", got)
		p.err(err)
	case "append":
		got, err := p.s.AppendAll(ctx, f[0], mail(1))
		p.printf("%+v", got)
		p.err(err)
	case "appendfull":
		ms := mail(1)
		ms[0].Flags, ms[0].UTF8, ms[0].Binary = []string{`\Draft`}, !p.s.Caps().Has("BINARY"), p.s.Caps().Has("BINARY")
		ms[0].Date = time.Date(2024, 2, 1, 10, 0, 0, 0, time.FixedZone("", -3600))
		got, err := p.s.Append(ctx, f[0], ms[0])
		p.printf("%+v", got)
		p.err(err)
	case "appendshort":
		got, err := p.s.Append(ctx, f[0], AppendMessage{Body: io.MultiReader(strings.NewReader(f[1])), Size: int64(len(f[1]) + 1)})
		p.printf("%+v", got)
		p.err(err)
	case "appendlong":
		got, err := p.s.Append(ctx, f[0], AppendMessage{Body: io.MultiReader(strings.NewReader(f[1])), Size: int64(len(f[1]) - 1)})
		p.printf("%+v", got)
		p.err(err)
	case "replace":
		got, err := p.s.Replace(ctx, set.Ranges()[0].Start, f[1], mail(2)[0])
		p.printf("%+v", got)
		p.err(err)
	case "create":
		id, err := p.s.Create(ctx, p.s.NameFor(f[0]), f[1:]...)
		p.printf("%q", id)
		p.err(err)
	case "quotas":
		got, err := p.s.Quotas(ctx, f[0])
		p.printf("%+v", got)
		p.err(err)
	case "limit":
		got, err := p.s.Status(ctx, f[0], StatusAppendLimit)
		p.printf("%d told=%v", got.AppendLimit, got.Has&HasAppendLimit != 0)
		p.err(err)
	case "page":
		got, err := p.s.SearchPage(ctx, rest, Window{1, 100})
		p.printf("%s", got)
		p.err(err)
	case "savesearch":
		p.err(p.s.SearchSave(ctx, rest))
	case "known":
		p.s.KnownUIDs(set.Ranges()[0])
	case "resync":
		got, err := p.s.Select(ctx, f[0], SelectOptions{QResync: &QResync{UIDValidity: 7, ModSeq: 5, Known: Range(1, 20),
			Each: func(r *Row) error { p.row(r); return nil }}})
		if got != nil {
			p.printf("exists %d resync %v vanished %s", got.Exists, got.QResync, got.Vanished)
		}
		p.err(err)
	case "notify":
		p.err(p.s.Notify(ctx, true, NotifyGroup{Filter: NotifySelectedDelayed, Events: []NotifyEvent{NotifyNew, NotifyExpunge}, Fetch: &FetchOptions{Flags: true}},
			NotifyGroup{Filter: NotifySubtree, Mailboxes: []string{"A", "B c"}, Events: []NotifyEvent{NotifyMailboxName}},
			NotifyGroup{Filter: NotifyInboxes}))
	case "compress":
		p.err(p.s.Compress(ctx))
	case "xoauth2":
		p.auth(ctx, XOAuth2(f[0], f[1]))
	case "oauthbearer":
		p.auth(ctx, OAuthBearer(f[0], f[1], "imap.example.org:993"))
	case "scram": // the nonce of RFC 7677 3
		p.auth(ctx, &scram{user: f[0], password: f[1], nonce: "rOprNGfwEbeRWgbNEkqO"})
	default:
		p.printf("unknown call %s", name)
	}
}

func (p *player) auth(ctx context.Context, m Mechanism) {
	err := p.s.Authenticate(ctx, m)
	var o *OAuthError
	if errors.As(err, &o) {
		p.printf("%+v", *o)
	}
	p.err(err)
}
