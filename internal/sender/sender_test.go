package sender_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an SMTP server whose answers the test gives.
type server struct {
	*smtp.Server
	addr string

	mu    sync.Mutex
	conns int
	auth  error
	rcpt  map[string]error // by recipient
	data  []error          // for the next messages, then all are taken
	lose  int              // so many messages are taken without an answer
	came  func()           // is called when a message is there, before the answer; nil: nothing is
	got   []received
}

type received struct {
	from string
	to   []string
	data string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{rcpt: map[string]error{}}
	s.Server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.set(func() { s.conns++ })
		return &session{s: s, c: c}, nil
	}))
	s.AllowInsecureAuth, s.EnableSMTPUTF8 = true, true
	s.MaxMessageBytes, s.MaxRecipients = 1<<20, 0
	s.ErrorLog = quiet{}
	s.addr = "127.0.0.1:0"
	s.up(t)
	t.Cleanup(s.down)
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (s *server) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	fresh := smtp.NewServer(s.Backend)
	fresh.AllowInsecureAuth, fresh.EnableSMTPUTF8, fresh.MaxMessageBytes, fresh.ErrorLog = true, true, s.MaxMessageBytes, quiet{}
	s.mu.Lock()
	s.Server = fresh
	s.mu.Unlock()
	go fresh.Serve(l)
}

func (s *server) down() {
	s.mu.Lock()
	now := s.Server
	s.mu.Unlock()
	now.Close()
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) received() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

type session struct {
	s    *server
	c    *smtp.Conn
	from string
	to   []string
}

func (x *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		if x.s.auth != nil {
			return x.s.auth
		}
		if user != "ann@example.test" || password != "canary" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}
func (x *session) Mail(from string, _ *smtp.MailOptions) error { x.from, x.to = from, nil; return nil }
func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if err := x.s.rcpt[to]; err != nil {
		return err
	}
	x.to = append(x.to, to)
	return nil
}
func (x *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.came != nil {
		x.s.came()
	}
	if len(x.s.data) > 0 {
		err := x.s.data[0]
		x.s.data = x.s.data[1:]
		if err != nil {
			return err
		}
	}
	x.s.got = append(x.s.got, received{x.from, x.to, string(b)})
	if x.s.lose > 0 {
		x.s.lose--
		x.c.Conn().Close()
	}
	return nil
}
func (x *session) Reset()        {}
func (x *session) Logout() error { return nil }

func code(c int, e ...int) *smtp.SMTPError {
	if len(e) == 0 {
		e = []int{0, 0, 0}
	}
	return &smtp.SMTPError{Code: c, EnhancedCode: smtp.EnhancedCode{e[0], e[1], e[2]}, Message: "canary words of the server"}
}

// operator stands in for the syncer: it ends operations as the test says.
type operator struct {
	mu    sync.Mutex
	mb    *store.Mailbox
	term  mail.Term
	found bool // by looks
	fail  mail.Kind
	slow  bool // leaves them pending
	done  []mail.Operation
}

func (o *operator) Do(ctx context.Context, _ mail.AccountID, op mail.Operation) (mail.Operation, error) {
	op, err := o.mb.AddOperation(ctx, op)
	if err != nil {
		return op, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.slow {
		return op, nil
	}
	op.State = mail.OpDone
	if op.Kind == mail.OpLook && !o.found {
		op.State, op.Why, op.Reason = mail.OpFailed, mail.NotFound, "not there"
	} else if o.fail != 0 {
		op.State, op.Why, op.Reason = mail.OpFailed, o.fail, "no room"
	}
	o.done = append(o.done, op)
	return op, o.mb.PutOperation(ctx, o.term, op)
}

func (o *operator) kinds() (out []mail.OpKind) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, op := range o.done {
		out = append(out, op.Kind)
	}
	return out
}

type bench struct {
	*testing.T
	smtp  *server
	op    *operator
	store *store.Store
	acct  mail.Account
	mb    *store.Mailbox
	s     *sender.Sender
	ended chan mail.SendState

	mu  sync.Mutex
	now time.Time
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// pass lets time go by and has the sender look.
func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	b.now = b.now.Add(d)
	b.mu.Unlock()
	b.s.Wake(b.acct.ID)
}

func setup(t *testing.T, change func(*mail.Account)) *bench {
	t.Helper()
	return setupOn(t, store.Options{Dir: t.TempDir()}, change)
}

func setupOn(t *testing.T, o store.Options, change func(*mail.Account)) *bench {
	t.Helper()
	keys, err := vault.NewKeyring(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, now: time.Unix(1800000000, 0).UTC(), smtp: newServer(t), ended: make(chan mail.SendState, 1000)}
	o.Keys, o.Now = keys, b.clock
	if b.store, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		problems, err := b.store.Check(context.Background())
		if err != nil || len(problems) > 0 {
			t.Errorf("store.Check: %v %v", problems, err)
		}
		b.store.Close()
	})
	app, err := b.store.DefaultApp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(b.smtp.addr).Port()
	b.acct = mail.Account{ID: "6b8e0f52-7c1d-4f0e-9a51-0d6a3f1c2b11", App: app.ID, Email: "ann@example.test", Provider: "imap", Settings: mail.Settings{
		IMAP: mail.Endpoint{Host: "imap.example.test", Port: 993, Security: mail.SecurityTLS, Username: "ann@example.test"},
		SMTP: &mail.Endpoint{Host: "127.0.0.1", Port: int(port), Security: mail.SecurityNone, Username: "ann@example.test"}}}
	if change != nil {
		change(&b.acct)
	}
	if err := b.store.CreateAccount(t.Context(), b.acct, mail.Credentials{IMAPPassword: mail.NewSecret("canary")}); err != nil {
		t.Fatal(err)
	}
	if b.mb, err = b.store.Mailbox(t.Context(), b.acct.ID); err != nil {
		t.Fatal(err)
	}
	b.op = &operator{mb: b.mb}
	if b.op.term, err = b.mb.NextTerm(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.start()
	return b
}

func (b *bench) start() { b.startWith(nil) }

// startWith starts a sender with other options.
func (b *bench) startWith(change func(*sender.Options)) {
	b.Helper()
	o := sender.Options{Store: b.store, Operator: b.op, Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Now: b.clock, Command: 5 * time.Second, Accept: 5 * time.Second, Events: sender.Events{Ended: func(s mail.SendState) { b.ended <- s }, Panic: func() { b.Error("panic") }}}
	if change != nil {
		change(&o)
	}
	b.s = sender.New(o)
	if err := b.s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	s := b.s
	b.Cleanup(func() { s.Stop(context.Background()) })
}

// raw makes a message.
func raw(n int, to string, more ...string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "From: Ann <ann@example.test>\r\nTo: %s\r\nMessage-ID: <n%d@example.test>\r\nDate: Mon, 02 Jan 2026 15:04:05 +0000\r\nSubject: number %d\r\n%s\r\nbody %d\r\n", to, n, n, strings.Join(more, ""), n)
		return err
	}
}

func (b *bench) spool(o sender.Outgoing) mail.Send {
	b.Helper()
	s, _, err := b.s.Spool(b.Context(), b.mb, o)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (b *bench) send(o sender.Outgoing) mail.Send {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	s, again, err := b.s.Submit(ctx, b.acct.ID, b.spool(o))
	if err != nil || again {
		b.Fatalf("submit: %v, again %v", err, again)
	}
	if ctx.Err() != nil {
		b.Fatal("submit took too long")
	}
	return s
}

// until waits for the next end of a send and wants it to be this.
func (b *bench) until(want mail.SendState) {
	b.Helper()
	select {
	case got := <-b.ended:
		if got != want {
			b.Fatalf("a send ended as %s, want %s", got, want)
		}
	case <-time.After(20 * time.Second):
		b.Fatalf("no send ended; want %s", want)
	}
}

func (b *bench) get(id string) mail.Send {
	b.Helper()
	s, err := b.mb.Send(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// waits polls until a send is as it should be, of which nobody tells.
func (b *bench) waits(id string, as func(mail.Send) bool) mail.Send {
	b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; {
		s := b.get(id)
		if as(s) {
			return s
		}
		if time.Now().After(end) {
			b.Fatalf("it stays %+v", s)
		}
		<-tick.C
	}
}

func (b *bench) told() (out []mail.ChangeKind) {
	b.Helper()
	list, err := b.mb.Changes(b.Context(), 0, 1000)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range list {
		out = append(out, c.Kind)
	}
	return out
}

func TestSent(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.send(sender.Outgoing{Write: raw(1, "Bob <bob@example.test>, BOB@example.test", "Cc: eve@example.test\r\nBcc: secret@example.test,\r\n other@example.test\r\n")})
	if s.State != mail.SendSent && s.State != mail.SendFiled {
		t.Fatalf("%+v", s)
	}
	b.until(mail.SendFiled)
	got := b.smtp.received()
	if len(got) != 1 || got[0].from != "ann@example.test" || !slices.Equal(got[0].to, []string{"Bob@example.test", "eve@example.test", "secret@example.test", "other@example.test"}) &&
		!slices.Equal(got[0].to, []string{"bob@example.test", "eve@example.test", "secret@example.test", "other@example.test"}) {
		t.Fatalf("the server got %+v", got)
	}
	if strings.Contains(strings.ToLower(got[0].data), "bcc") || strings.Contains(got[0].data, "secret") || strings.Contains(got[0].data, "other@") || !strings.HasSuffix(got[0].data, "\r\n\r\nbody 1\r\n") {
		t.Errorf("transmitted: %q", got[0].data)
	}
	if k := b.op.kinds(); !slices.Equal(k, []mail.OpKind{mail.OpFile}) {
		t.Errorf("operations %v", k)
	}
	if k := b.told(); !slices.Equal(k, []mail.ChangeKind{mail.SendAccepted, mail.SendSucceeded}) {
		t.Errorf("told %v", k)
	}
	if end := b.get(s.ID); end.Blob != 0 || end.EndedAt.IsZero() || end.Summary.Subject != "number 1" || len(end.Summary.Bcc) != 2 {
		t.Errorf("at the end %+v", end)
	}
}

// TestReplies: for each class of replies, what becomes of the message and of its recipients.
func TestReplies(t *testing.T) {
	t.Parallel()
	const waits = mail.RecipientWaiting
	for _, c := range []struct {
		name   string
		rcpt   map[string]error
		data   error
		auth   error
		state  mail.SendState
		kind   mail.Kind
		to     []mail.RecipientState
		says   string
		gotten int
	}{
		{name: "message refused", data: code(554, 5, 7, 1), state: mail.SendFailed, kind: mail.Refused, to: []mail.RecipientState{mail.RecipientRefused, mail.RecipientRefused}, says: "does not allow it"},
		{name: "message later", data: code(451, 4, 3, 0), state: mail.SendQueued, to: []mail.RecipientState{waits, waits}, says: "failed for now"},
		{name: "421 to the message", data: code(421, 4, 3, 2), state: mail.SendQueued, to: []mail.RecipientState{waits, waits}},
		{name: "too large", data: code(552, 5, 3, 4), state: mail.SendFailed, kind: mail.Refused, to: []mail.RecipientState{mail.RecipientRefused, mail.RecipientRefused}, says: "larger"},
		{name: "all recipients refused", rcpt: map[string]error{"x@example.test": code(550, 5, 1, 1), "y@example.test": code(550, 5, 1, 1)}, state: mail.SendFailed, kind: mail.Refused,
			to: []mail.RecipientState{mail.RecipientRefused, mail.RecipientRefused}, says: "x@example.test (there is no such mailbox (550 5.1.1))"},
		{name: "one refused", rcpt: map[string]error{"x@example.test": code(550, 5, 1, 1)}, state: mail.SendSent, to: []mail.RecipientState{mail.RecipientRefused, mail.RecipientSent}, says: "some of the recipients: x@", gotten: 1},
		{name: "one later", rcpt: map[string]error{"y@example.test": code(450, 4, 2, 0)}, state: mail.SendQueued, to: []mail.RecipientState{mail.RecipientSent, waits}, gotten: 1},
		{name: "login refused", auth: code(535, 5, 7, 8), state: mail.SendFailed, kind: mail.Reauth, to: []mail.RecipientState{waits, waits}, says: "login was refused"},
		{name: "login later", auth: code(454, 4, 7, 0), state: mail.SendQueued, to: []mail.RecipientState{waits, waits}, says: "try again later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.op.slow = true
			b.smtp.set(func() {
				b.smtp.auth = c.auth
				if c.rcpt != nil {
					b.smtp.rcpt = c.rcpt
				}
				if c.data != nil {
					b.smtp.data = []error{c.data}
				}
			})
			s := b.send(sender.Outgoing{Write: raw(1, "x@example.test, y@example.test")})
			if s.State != c.state || s.Why != c.kind || !strings.Contains(s.Reason, c.says) || strings.Contains(s.Reason, "canary") {
				t.Errorf("%s, %v, %q", s.State, s.Why, s.Reason)
			}
			var to []mail.RecipientState
			for _, r := range s.Recipients {
				to = append(to, r.State)
			}
			if !slices.Equal(to, c.to) {
				t.Errorf("recipients %q, want %q", to, c.to)
			}
			if n := len(b.smtp.received()); n != c.gotten {
				t.Errorf("the server took %d", n)
			}
			last := b.told()
			want := mail.SendAccepted
			switch c.state {
			case mail.SendSent:
				want = mail.SendSucceeded
			case mail.SendFailed:
				want = mail.SendNotDone
			}
			if last[len(last)-1] != want {
				t.Errorf("told %v", last)
			}
		})
	}
}

// TestSomeLater: whom the server refuses for now gets the message later, and nobody gets it twice.
func TestSomeLater(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.smtp.set(func() { b.smtp.rcpt["y@example.test"] = code(450, 4, 2, 0) })
	s := b.send(sender.Outgoing{Write: raw(1, "x@example.test, y@example.test, z@example.test")})
	if s.State != mail.SendQueued {
		t.Fatalf("%+v", s)
	}
	b.pass(2 * time.Minute)
	b.waits(s.ID, func(s mail.Send) bool { return s.Attempts >= 2 })
	b.smtp.set(func() { delete(b.smtp.rcpt, "y@example.test") })
	b.pass(10 * time.Minute)
	b.until(mail.SendFiled)
	var to []string
	for _, g := range b.smtp.received() {
		to = append(to, g.to...)
	}
	slices.Sort(to)
	if !slices.Equal(to, []string{"x@example.test", "y@example.test", "z@example.test"}) {
		t.Errorf("it went to %v", to)
	}
}

// TestDownForAnHour: while the server is down sends are accepted and wait; when it is back they go out in order.
func TestDownForAnHour(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.smtp.down()
	var ids []string
	for n := range 5 {
		s := b.send(sender.Outgoing{Write: raw(n, "x@example.test")})
		if s.State != mail.SendQueued {
			t.Fatalf("%+v", s)
		}
		ids = append(ids, s.ID)
	}
	for range 30 {
		b.pass(2 * time.Minute)
		if _, err := b.mb.Folders(t.Context()); err != nil { // reads go on
			t.Fatal(err)
		}
	}
	if s := b.waits(ids[0], func(s mail.Send) bool { return s.Attempts > 1 }); !strings.Contains(s.Reason, "nothing listens at") {
		t.Errorf("it waits because %q", s.Reason)
	}
	b.smtp.up(t)
	b.pass(31 * time.Minute)
	for range 5 {
		b.until(mail.SendFiled)
	}
	got := b.smtp.received()
	for n := range 5 {
		if !strings.Contains(got[n].data, fmt.Sprintf("Subject: number %d\r\n", n)) {
			t.Errorf("in place %d: %q", n, got[n].data)
		}
	}
}

func TestGivenUpAfterADay(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.smtp.down()
	s := b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
	for range 60 {
		b.pass(31 * time.Minute)
		b.waits(s.ID, func(s mail.Send) bool { return true })
	}
	for b.get(s.ID).State != mail.SendFailed {
		b.pass(31 * time.Minute)
		select {
		case <-b.ended:
		case <-time.After(10 * time.Millisecond):
		}
	}
	if s := b.get(s.ID); !strings.Contains(s.Reason, "within a day") || s.Blob != 0 {
		t.Errorf("%+v", s)
	}
}

// TestAnswerLost: the server took it and the answer was lost. It is looked for in Sent; never sent again.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	for _, found := range []bool{false, true} {
		t.Run(fmt.Sprint("found ", found), func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.op.found = found
			b.smtp.set(func() { b.smtp.lose = 1 })
			s := b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
			want, told := mail.SendUncertain, mail.SendNotDone
			if found {
				want, told = mail.SendFiled, mail.SendSucceeded
			}
			b.until(want)
			if k := b.told(); k[len(k)-1] != told || len(k) != 2 {
				t.Errorf("told %v", k)
			}
			if k := b.op.kinds(); k[0] != mail.OpLook {
				t.Errorf("operations %v", k)
			}
			if end := b.get(s.ID); !found && !strings.Contains(end.Reason, "may have been sent or not") {
				t.Errorf("%+v", end)
			}
			b.pass(time.Hour)
			next := b.send(sender.Outgoing{Write: raw(2, "x@example.test")})
			b.until(mail.SendFiled)
			if n := len(b.smtp.received()); n != 2 {
				t.Errorf("the server got %d messages", n)
			}
			_ = next
		})
	}
}

// TestFilesItself: where the provider puts sent mail into Sent, nothing is put there unless it does not come.
func TestFilesItself(t *testing.T) {
	t.Parallel()
	for _, comes := range []bool{true, false} {
		t.Run(fmt.Sprint("comes ", comes), func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(a *mail.Account) { a.Settings.IMAP.Host = "imap.gmail.com" })
			s := b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
			b.waits(s.ID, func(mail.Send) bool { return len(b.op.kinds()) > 0 })
			if comes {
				b.op.mu.Lock()
				b.op.found = true
				b.op.mu.Unlock()
			}
			for b.get(s.ID).State != mail.SendFiled {
				b.pass(16 * time.Second)
				<-time.After(5 * time.Millisecond)
			}
			kinds := b.op.kinds()
			if kinds[0] != mail.OpLook || slices.Contains(kinds, mail.OpFile) == comes {
				t.Errorf("operations %v", kinds)
			}
		})
	}
}

func TestCopyRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.op.fail = mail.Refused
	s := b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
	b.until(mail.SendUnfiled)
	if s = b.get(s.ID); !strings.Contains(s.Reason, "no room") {
		t.Errorf("%+v", s)
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	at := b.clock().Add(time.Hour)
	one := b.send(sender.Outgoing{Write: raw(1, "x@example.test"), SendAt: at})
	two := b.send(sender.Outgoing{Write: raw(2, "x@example.test"), SendAt: at})
	if one.State != mail.SendScheduled {
		t.Fatalf("%+v", one)
	}
	if s, err := b.s.Cancel(t.Context(), b.acct.ID, two.ID); err != nil || s.State != mail.SendCanceled {
		t.Fatalf("cancel: %+v, %v", s, err)
	}
	b.until(mail.SendCanceled)
	if _, err := b.s.Cancel(t.Context(), b.acct.ID, "snone"); !mail.IsKind(err, mail.NotFound) {
		t.Errorf("cancel of nothing: %v", err)
	}
	b.pass(59 * time.Minute)
	b.send(sender.Outgoing{Write: raw(3, "x@example.test")})
	b.until(mail.SendFiled)
	b.pass(2 * time.Minute)
	b.until(mail.SendFiled)
	if _, err := b.s.Cancel(t.Context(), b.acct.ID, one.ID); !mail.IsKind(err, mail.Invalid) {
		t.Errorf("cancel of what was sent: %v", err)
	}
	got := b.smtp.received()
	if len(got) != 2 || !strings.Contains(got[1].data, "number 1") {
		t.Errorf("got %+v", got)
	}
}

// TestRestart: whatever was open when the process ended goes on with the next; what was under way is not sent again.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.s.Stop(t.Context())
	ctx := t.Context()
	queued := b.spool(sender.Outgoing{Write: raw(1, "x@example.test")})
	if _, _, err := b.mb.Enqueue(ctx, queued); err != nil {
		t.Fatal(err)
	}
	half, _, err := b.mb.Enqueue(ctx, b.spool(sender.Outgoing{Write: raw(2, "x@example.test")}))
	if err != nil {
		t.Fatal(err)
	}
	half.State, half.Recipients[0].State = mail.SendSending, mail.RecipientInFlight
	if half, err = b.mb.PutSend(ctx, half, 0); err != nil {
		t.Fatal(err)
	}
	b.start()
	ends := []mail.SendState{<-b.ended, <-b.ended}
	slices.Sort(ends)
	if !slices.Equal(ends, []mail.SendState{mail.SendFiled, mail.SendUncertain}) {
		t.Errorf("ends %v", ends)
	}
	if got := b.smtp.received(); len(got) != 1 || !strings.Contains(got[0].data, "number 1") {
		t.Errorf("got %+v", got)
	}
	if b.get(half.ID).State != mail.SendUncertain {
		t.Errorf("%+v", b.get(half.ID))
	}
}

func TestOneKeyIsOneSend(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	first := b.send(sender.Outgoing{Write: raw(1, "x@example.test"), Key: "k"})
	again, was, err := b.s.Submit(t.Context(), b.acct.ID, b.spool(sender.Outgoing{Write: raw(2, "x@example.test"), Key: "k"}))
	if err != nil || !was || again.ID != first.ID || again.Summary.ID != first.Summary.ID {
		t.Errorf("%+v, %v, %v", again, was, err)
	}
	b.until(mail.SendFiled)
	if n := len(b.smtp.received()); n != 1 {
		t.Errorf("%d were sent", n)
	}
}

func TestDraftIsRemovedAfterwards(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.op.slow = true
	s := b.send(sender.Outgoing{Write: raw(1, "x@example.test"), Draft: "mDraft", Work: &mail.DraftWork{}})
	if _, _, err := b.s.Submit(t.Context(), b.acct.ID, b.spool(sender.Outgoing{Write: raw(1, "x@example.test"), Draft: "mDraft", Work: &mail.DraftWork{}})); !mail.IsKind(err, mail.Conflict) {
		t.Errorf("a draft sent twice: %v", err)
	}
	b.waits(s.ID, func(s mail.Send) bool { return s.Filing != "" })
	b.op.set(func() { b.op.slow = false })
	op, err := b.mb.Operation(t.Context(), b.get(s.ID).Filing)
	if err != nil {
		t.Fatal(err)
	}
	op.State = mail.OpDone
	if err := b.mb.PutOperation(t.Context(), b.op.term, op); err != nil {
		t.Fatal(err)
	}
	b.pass(time.Minute)
	b.until(mail.SendFiled)
	if k := b.op.kinds(); !slices.Equal(k, []mail.OpKind{mail.OpDraftDelete}) {
		t.Errorf("operations %v", k)
	}
}

func (o *operator) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func TestRefusedBeforeItIsAccepted(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	for name, m := range map[string]string{
		"no recipient":          "From: a@example.test\r\nMessage-ID: <1@x>\r\n\r\nx",
		"no sender":             "To: a@example.test\r\nMessage-ID: <1@x>\r\n\r\nx",
		"two senders":           "From: a@example.test, b@example.test\r\nTo: a@example.test\r\nMessage-ID: <1@x>\r\n\r\nx",
		"no address":            "From: a@example.test\r\nTo: nobody\r\nMessage-ID: <1@x>\r\n\r\nx",
		"a command":             "From: a@example.test\r\nTo: \"x> NOTIFY=NEVER y\"@example.test\r\nMessage-ID: <1@x>\r\n\r\nx",
		"no Message-ID":         "From: a@example.test\r\nTo: a@example.test\r\n\r\nx",
		"NUL":                   "From: a@example.test\r\nTo: a@example.test\r\nMessage-ID: <1@x>\r\n\r\nx\x00",
		"too large":             "From: a@example.test\r\nTo: a@example.test\r\nMessage-ID: <1@x>\r\n\r\n" + strings.Repeat("line\r\n", 13<<20),
		"more than it may have": "From: a@example.test\r\nTo: a@example.test" + strings.Repeat(",\r\n x@example.test", 2) + "\r\n" + manyTo(1001) + "Message-ID: <1@x>\r\n\r\nx",
	} {
		if _, _, err := b.s.Spool(t.Context(), b.mb, sender.Outgoing{Write: text(m)}); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	failing := errors.New("gone")
	if _, _, err := b.s.Spool(t.Context(), b.mb, sender.Outgoing{Write: func(io.Writer) error { return failing }}); !errors.Is(err, failing) {
		t.Errorf("a request that breaks off: %v", err)
	}
}

func manyTo(n int) string {
	var s strings.Builder
	s.WriteString("Cc: ")
	for i := range n {
		fmt.Fprintf(&s, "x%d@example.test,\r\n ", i)
	}
	return s.String() + "z@example.test\r\n"
}
