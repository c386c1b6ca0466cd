package notify

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// bench is a store with an account, and a notifier.
type bench struct {
	t     testing.TB
	o     store.Options
	store *store.Store
	n     *Notifier
	clock *clock
	app   mail.AppID
	*account
}

type account struct {
	b     *bench
	id    mail.AccountID
	mb    *store.Mailbox
	term  mail.Term
	inbox mail.FolderID
	uid   mail.UID
}

func setup(t testing.TB) *bench { return setupWith(t, store.Options{}) }

// setupWith is setup with a store that has more options.
func setupWith(t testing.TB, o store.Options) *bench {
	raw := vault.NewKey().Derive("test")
	keys, err := vault.NewKeyring(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, clock: newClock()}
	b.o = o
	b.o.Dir, b.o.Keys, b.o.Now = t.TempDir(), keys, b.clock.Now
	b.open()
	t.Cleanup(b.close)
	b.account = b.addAccount("ada@example.test")
	return b
}

func (b *bench) open() {
	b.t.Helper()
	s, err := store.Open(context.Background(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	app, err := s.DefaultApp(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	b.store, b.app = s, app.ID
	b.n = New(Options{Store: s, Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Now: b.clock.Now, Timer: b.clock.Timer, Poll: clockPoll,
		Panic: func() { b.t.Error("panic in a delivery") }})
}

func (b *bench) start() { b.n.Start(b.t.Context()) }

func (b *bench) close() {
	b.n.Stop()
	if problems, err := b.store.Check(context.Background()); err != nil || len(problems) > 0 {
		b.t.Errorf("check: %v %v", problems, err)
	}
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) addAccount(email string) *account {
	b.t.Helper()
	ctx := context.Background()
	sum := sha256.Sum256([]byte(email))
	x := hex.EncodeToString(sum[:16])
	acct := mail.Account{ID: mail.AccountID(x[:8] + "-" + x[8:12] + "-4" + x[13:16] + "-8" + x[17:20] + "-" + x[20:32]), App: b.app, Email: email, Provider: "imap",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: "127.0.0.1", Port: 143, Security: mail.SecurityNone, Username: email}}}
	if err := b.store.CreateAccount(ctx, acct, mail.Credentials{IMAPPassword: mail.NewSecret("x")}); err != nil {
		b.t.Fatal(err)
	}
	a := &account{b: b, id: acct.ID}
	a.reopen()
	a.inbox = mail.FolderID(a.mb.IDKey().FolderID("INBOX"))
	a.apply(store.Batch{Origin: mail.OriginInitial, Folders: []mail.Folder{{ID: a.inbox, RawName: "INBOX", Name: "INBOX", Delimiter: "/", Role: mail.RoleInbox, Selectable: true, UIDValidity: 1}}})
	return a
}

func (a *account) reopen() {
	a.b.t.Helper()
	var err error
	if a.mb, err = a.b.store.Mailbox(context.Background(), a.id); err != nil {
		a.b.t.Fatal(err)
	}
	if a.term, err = a.mb.NextTerm(context.Background()); err != nil {
		a.b.t.Fatal(err)
	}
}

func (a *account) apply(batch store.Batch) store.Result {
	a.b.t.Helper()
	batch.Term = a.term
	res, err := a.mb.Apply(context.Background(), batch)
	if err != nil {
		a.b.t.Fatal(err)
	}
	return res
}

// deliver stores a message; without its body if headed.
func (a *account) deliver(origin mail.Origin, subject, body string, headed bool) (mail.MessageID, store.Body) {
	a.b.t.Helper()
	a.uid++
	raw := []byte(fmt.Sprintf("Message-ID: <%s-%d@example.test>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: Bo <bo@example.test>\r\nTo: ada@example.test\r\nSubject: %s\r\n\r\n%s\r\n", a.id, a.uid, subject, body))
	parsed, err := mime.Parse(bytes.NewReader(raw), mime.Options{})
	if err != nil {
		a.b.t.Fatal(err)
	}
	m := store.NewMessage{PlacementRef: store.PlacementRef{Folder: a.inbox, UIDValidity: 1, UID: a.uid}, InternalDate: time.Unix(1700000000, 0), Size: int64(len(raw)), Head: parsed}
	m.FP, m.Strong = mime.Fingerprint(parsed)
	m.Threading = a.mb.IDKey().ThreadKeys(parsed, m.FP)
	refs, err := a.mb.PutBlobs(context.Background(), []store.BlobData{{Kind: store.BlobRaw, Data: raw}, {Kind: store.BlobDisplay, Data: []byte(body)}})
	if err != nil {
		a.b.t.Fatal(err)
	}
	c := store.Content{Digest: sha256.Sum256(raw), Raw: refs[0], Display: refs[1], Size: int64(len(raw))}
	if !headed {
		m.Content = &c
	}
	res := a.apply(store.Batch{Origin: origin, New: []store.NewMessage{m}})
	return res.IDs[m.PlacementRef], store.Body{PlacementRef: m.PlacementRef, Content: c}
}

func (a *account) flag(uid mail.UID, f mail.Flags) {
	a.b.t.Helper()
	a.apply(store.Batch{Origin: mail.OriginLive, Flags: []store.FlagUpdate{{PlacementRef: store.PlacementRef{Folder: a.inbox, UIDValidity: 1, UID: uid}, Flags: f}}})
}

func (b *bench) hook(url string, triggers ...string) store.Webhook {
	b.t.Helper()
	w, err := b.store.CreateWebhook(context.Background(), store.Webhook{App: b.app, URL: url, Triggers: triggers})
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

func (b *bench) webhook(id string) store.Webhook {
	b.t.Helper()
	w, err := b.store.Webhook(context.Background(), "", id)
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// attempts waits until so many attempts are recorded and returns them, oldest first.
func (b *bench) attempts(id string, n int) []store.Delivery {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := b.store.Deliveries(ctx, id, 0, 1000)
		if err != nil {
			b.t.Fatalf("%d of %d attempts: %v", len(list), n, err)
		}
		if len(list) >= n {
			out := make([]store.Delivery, len(list))
			for i, d := range list {
				out[len(list)-1-i] = d
			}
			return out
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// got is one request at a receiver.
type got struct {
	http.Header
	raw  []byte
	body []byte // without gzip
	note struct {
		Type, Source, ID string
		Time             int64
		Attempt          int `json:"webhook_delivery_attempt"`
		Data             struct {
			ApplicationID string `json:"application_id"`
			Object        map[string]any
		}
	}
}

func (g got) String() string {
	o := g.note.Data.Object
	name := o["subject"]
	if name == nil {
		name = o["name"]
	}
	return fmt.Sprintf("%s %v", g.note.Type, name)
}

// receiver is an endpoint.
type receiver struct {
	t    *testing.T
	srv  *httptest.Server
	c    chan got
	mu   sync.Mutex
	does http.HandlerFunc // nil: 200
	end  chan struct{}
}

func listen(t *testing.T, does http.HandlerFunc) *receiver {
	r := &receiver{t: t, c: make(chan got, 1000), does: does, end: make(chan struct{})}
	r.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		g := got{Header: req.Header, raw: raw, body: raw}
		if req.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(raw))
			if err != nil {
				t.Error(err)
				return
			}
			g.body, _ = io.ReadAll(z)
		}
		if err := json.Unmarshal(g.body, &g.note); err != nil && req.Method == "POST" {
			t.Errorf("%v in %s", err, g.body)
		}
		r.c <- g
		r.mu.Lock()
		does := r.does
		r.mu.Unlock()
		if does != nil {
			does(w, req)
		}
	}))
	t.Cleanup(func() {
		close(r.end)
		r.srv.CloseClientConnections()
		r.srv.Close()
	})
	return r
}

func (r *receiver) become(does http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.does = does
}

func (r *receiver) next() got {
	r.t.Helper()
	select {
	case g := <-r.c:
		return g
	case <-time.After(patience):
		r.t.Fatal("nothing arrived")
		return got{}
	}
}

func (r *receiver) expect(want ...string) (all []got) {
	r.t.Helper()
	for _, w := range want {
		g := r.next()
		if g.String() != w {
			r.t.Fatalf("arrived %q, want %q", g, w)
		}
		all = append(all, g)
	}
	return all
}

func (r *receiver) hang(w http.ResponseWriter, req *http.Request) {
	select {
	case <-r.end:
	case <-req.Context().Done():
	}
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

// verify checks both signatures the way receivers do.
func (g got) verify(t *testing.T, nylas string, standard ...string) {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(nylas))
	mac.Write(g.raw)
	if want := hex.EncodeToString(mac.Sum(nil)); g.Get("X-Nylas-Signature") != want {
		t.Errorf("X-Nylas-Signature %s, want %s", g.Get("X-Nylas-Signature"), want)
	}
	if g.Get("Webhook-Id") != g.note.ID || g.note.ID == "" {
		t.Errorf("webhook-id %q, id %q", g.Get("Webhook-Id"), g.note.ID)
	}
	var want []string
	for _, s := range standard {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(g.Get("Webhook-Id") + "." + g.Get("Webhook-Timestamp") + "." + string(g.raw)))
		want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if g.Get("Webhook-Signature") != strings.Join(want, " ") {
		t.Errorf("webhook-signature %q, want %q", g.Get("Webhook-Signature"), want)
	}
}

// clock stands still until a test moves it.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []*alarm // that are waited for
	armed  chan *alarm
}

type alarm struct {
	at time.Time
	c  chan time.Time
}

const clockPoll = 10000 * time.Hour

func newClock() *clock {
	return &clock{now: time.Unix(1800000000, 0), armed: make(chan *alarm, 100000)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Timer(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarm{at: c.now.Add(d), c: make(chan time.Time, 1)}
	if d <= 0 {
		a.c <- c.now
		return a.c, func() {}
	}
	c.alarms = append(c.alarms, a)
	if d < clockPoll/2 {
		c.armed <- a
	}
	return a.c, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.alarms = slices.DeleteFunc(c.alarms, func(x *alarm) bool { return x == a })
	}
}

// advance waits for a timer and moves the clock to where it fires.
func (c *clock) advance(t *testing.T) {
	t.Helper()
	for {
		select {
		case a := <-c.armed:
			if d := a.at.Sub(c.Now()); d > 0 {
				c.add(d)
				return
			}
		case <-time.After(patience):
			t.Fatal("no timer was set")
		}
	}
}

// add moves the clock.
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for _, a := range c.alarms {
		if !a.at.After(c.now) {
			select {
			case a.c <- c.now:
			default: // it has fired
			}
		}
	}
}
