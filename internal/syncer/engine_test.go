package syncer_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/internal/vault"
	"github.com/posthorn/posthorn/test/realsrv"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(victimEnv); config != "" { // this process is there to be killed
		if err := runVictim(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// bench is a store and an engine beside a mail server, with one account.
type bench struct {
	t      *testing.T
	d      *realsrv.IMAP // nil: another server
	user   string
	truth  func() map[string]string // the mailbox at another server: "folder uidvalidity uid" to "sha256 [flags]"
	tweak  func(*syncer.Options)    // nil: none
	flaps  bool                     // UIDVALIDITY means nothing
	policy *mail.SyncPolicy         // nil: all
	place  store.Options            // where its store lies; the zero value: in a directory
	store  *store.Store
	engine *syncer.Engine
	mbox   *store.Mailbox
	id     mail.AccountID
	news   chan struct{}
}

const patience = 90 * time.Second

func setup(t *testing.T, d *realsrv.IMAP, user string) *bench {
	t.Helper()
	d.AddUser(t, user)
	b := &bench{t: t, d: d, user: user}
	b.open(mail.Endpoint{Host: d.Host, Port: d.Port}, d.Password)
	return b
}

// open makes a store with one account at a server, and starts the engine.
func (b *bench) open(at mail.Endpoint, password string) {
	t := b.t
	t.Helper()
	b.id, b.news = "6b8e0f52-7c1d-4f0e-9a51-0d6a3f1c2b11", make(chan struct{}, 1)
	at.Security, at.Username = mail.SecurityNone, b.user
	keys, err := vault.NewKeyring(make([]byte, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if b.place.Keys = keys; b.place.DatabaseURL == "" {
		b.place.Dir = t.TempDir()
	}
	if b.store, err = store.Open(ctx, b.place); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
	app, err := b.store.DefaultApp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = b.store.CreateAccount(ctx, mail.Account{
		ID: b.id, App: app.ID, Email: b.user + "@example.com", Provider: "imap", Settings: mail.Settings{IMAP: at, Sync: b.policy},
	}, mail.Credentials{IMAPPassword: mail.NewSecret(password)})
	if err != nil {
		t.Fatal(err)
	}
	if b.mbox, err = b.store.Mailbox(ctx, b.id); err != nil {
		t.Fatal(err)
	}
	b.start()
}

// start runs a new engine over the store.
func (b *bench) start() {
	o := syncer.Options{
		Store: b.store, Log: slog.New(slog.NewTextHandler(testWriter{b.t}, nil)),
		Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Poll:  50 * time.Millisecond, Confirm: time.Millisecond, Grace: time.Millisecond,
		Events: syncer.Events{
			Pass:  func(mail.AccountID, bool) { b.signal() },
			Heard: func(mail.AccountID) { b.signal() },
			State: func(mail.AccountID, mail.SyncStatus) { b.signal() },
			Panic: func(_ mail.AccountID, v any) { b.t.Errorf("panic: %v", v) },
		},
	}
	if b.tweak != nil {
		b.tweak(&o)
	}
	b.engine = syncer.New(o)
	b.t.Cleanup(b.engine.Close)
	if err := b.engine.Open(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) signal() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// until waits for cond to hold; it is asked again whenever the engine has done something.
func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-b.news:
		case <-deadline:
			st, _ := b.engine.Status(b.id)
			b.t.Fatalf("waited %v for %s; the account says %+v\n%s", patience, what, st, b.difference())
		}
	}
}

func (b *bench) live() {
	b.t.Helper()
	b.until("the account to be live", func() bool {
		s, ok := b.engine.Status(b.id)
		return ok && s.State == mail.StateLive
	})
}

func (b *bench) equal() {
	b.t.Helper()
	b.until("the mailboxes to be equal", func() bool { return b.difference() == "" })
	problems, err := b.mbox.Check(b.t.Context())
	if err != nil || len(problems) > 0 {
		b.t.Fatalf("check: %v %v", problems, err)
	}
}

// atServer is all that the server holds: "folder uidvalidity uid" to "sha256 [flags]".
func (b *bench) atServer() map[string]string {
	if b.truth != nil {
		return b.truth()
	}
	out := map[string]string{}
	for _, r := range b.d.Everything(b.t, b.user) {
		out[fmt.Sprintf("%s %d %d", r.Folder, r.UIDValidity, r.UID)] = fmt.Sprintf("%x %v", r.SHA256, r.Flags)
	}
	return out
}

// inbox spells a folder's name as tests do (Yahoo: Inbox).
func inbox(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

// difference compares folders, UIDs, flags and bytes with the server's; "" when equal.
func (b *bench) difference() string {
	ctx := b.t.Context()
	key := func(text string) string {
		if f := strings.Fields(text); b.flaps {
			return f[0] + " " + f[len(f)-1]
		}
		return text
	}
	remote := map[string]string{}
	for k, v := range b.atServer() {
		remote[key(k)] = v
	}
	local := map[string]string{}
	folders, err := b.mbox.Folders(ctx)
	if err != nil {
		return err.Error()
	}
	for _, f := range folders {
		placements, err := b.mbox.Placements(ctx, f.ID, f.UIDValidity)
		if err != nil {
			return err.Error()
		}
		for _, p := range placements {
			sum, err := b.sum(ctx, p.Message)
			if err != nil || !p.Held {
				sum = fmt.Sprintf("held %v, %v", p.Held, err)
			}
			flags, shown := append(p.Flags.Names(), p.Keywords...), ""
			slices.Sort(flags)
			if len(p.Labels) > 0 {
				var labels []string
				for _, g := range folders {
					if slices.Contains(p.Labels, g.ID) {
						labels = append(labels, g.RawName)
					}
				}
				slices.Sort(labels)
				shown = fmt.Sprint(" ", labels)
			}
			local[key(fmt.Sprintf("%s %d %d", inbox(f.Name), p.UIDValidity, p.UID))] = fmt.Sprintf("%s %v%s", sum, flags, shown)
		}
	}
	if maps.Equal(local, remote) {
		return ""
	}
	var out strings.Builder
	for k, v := range remote {
		if local[k] != v {
			fmt.Fprintf(&out, "%s: server %s, here %q\n", k, v, local[k])
		}
	}
	for k, v := range local {
		if _, ok := remote[k]; !ok {
			fmt.Fprintf(&out, "%s: only here %s\n", k, v)
		}
	}
	return out.String()
}

func (b *bench) sum(ctx context.Context, id mail.MessageID) (string, error) {
	ref, err := b.mbox.RawBlob(ctx, id)
	if err != nil {
		return "", err
	}
	r, err := b.mbox.OpenBlob(ctx, ref.ID)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	_, err = io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func message(n int, headers ...string) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.com>\r\nTo: bo@example.com\r\nSubject: Message %d\r\nDate: Sun, 01 Mar 2026 12:%02d:00 +0000\r\nMessage-ID: <m%d@example.com>\r\n%s\r\nBody %d.\r\n",
		n, n%60, n, strings.Join(append(headers, ""), "\r\n"), n)
}

func (b *bench) fill(n int) {
	b.t.Helper()
	s := b.d.Login(b.t, b.user)
	for i := range n {
		s.Append("INBOX", message(i), nil, day.Add(time.Duration(i)*time.Second))
	}
}

// TestStory runs the same story on servers that offer less and less.
func TestStory(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string][]string{
		"everything":         nil,
		"no IDLE":            {"IDLE"},
		"no CONDSTORE":       {"CONDSTORE", "QRESYNC"},
		"nothing but basics": {"CONDSTORE", "QRESYNC", "IDLE", "LIST-STATUS", "LIST-EXTENDED", "ESEARCH", "SPECIAL-USE", "UNSELECT", "ID", "SASL-IR", "LITERAL+", "NOTIFY", "ENABLE", "MOVE", "UIDPLUS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{CapsDrop: drop})
			story(t, server{&d.IMAP, d, d.Resume})
		})
	}
	t.Run("Cyrus", func(t *testing.T) {
		t.Parallel()
		c := realsrv.StartCyrus(t, realsrv.CyrusOptions{})
		story(t, server{&c.IMAP, nil, c.Resume})
	})
}

type server struct {
	*realsrv.IMAP
	dovecot *realsrv.Dovecot // nil: it is another
	resume  func() error
}

func story(t *testing.T, d server) {
	const user = "ann"
	s := d.Login(t, user)
	for i := range 120 {
		s.Append("INBOX", message(i), nil, day.Add(time.Duration(i)*time.Second))
	}
	if d.dovecot != nil {
		d.CreateFolder(t, user, "Archive")
	}
	d.CreateFolder(t, user, "Zürich")
	s.Append("Zürich", message(1000), []string{`\Seen`, "$Label1"}, day)
	if d.dovecot != nil {
		s.Append("Zürich", []byte("no header at all"), nil, day)
	} else { // Cyrus refuses such
		s.Append("Zürich", []byte("X-Nothing: of use\r\n\r\n"), nil, day)
	}
	s.Append("Zürich", []byte("Subject: no Message-ID\r\n\r\none"), nil, day)
	s.Append("Zürich", []byte("Subject: no Message-ID\r\n\r\ntwo"), nil, day)
	s.Append("Archive", message(3), nil, day.Add(3*time.Second)) // a copy of the same bytes

	b := setup(t, d.IMAP, user)
	b.live()
	b.equal()
	counts, err := b.mbox.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if counts.Messages != 124 || counts.Placements != 125 {
		t.Fatalf("want 124 messages at 125 places: %+v", counts)
	}
	changes, err := b.mbox.Changes(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(changes, mail.SyncDone); n != 1 {
		t.Fatalf("initial sync completed %d times", n)
	}
	seq := changes[len(changes)-1].Seq

	// New mail, a flag, a keyword, an expunge, a move: what another mail program does.
	s.Append("INBOX", message(500), nil, day.Add(time.Hour))
	b.equal()
	changes, err = b.mbox.Changes(t.Context(), seq, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != 1 || changes[0].Kind != mail.MessageCreated || changes[0].Origin != mail.OriginLive {
		t.Errorf("a new message is one change, told with its body: %+v", changes)
	}
	moved := b.messageAt("INBOX", 5)
	s.Do("SELECT INBOX")
	s.Do(`UID STORE 7 +FLAGS (\Flagged $Label2)`)
	s.Do("UID COPY 5 Archive")
	s.Do(`UID STORE 5,9 +FLAGS (\Deleted)`)
	s.Do("EXPUNGE")
	b.equal()
	b.until("the expunged message to be removed", func() bool {
		c, err := b.mbox.Counts(t.Context())
		return err == nil && c.Vanished == 0 && c.Messages == 124
	})
	if got := b.messageAt("Archive", 2); got != moved {
		t.Errorf("the moved message was %s and is %s", moved, got)
	}
	changes, err = b.mbox.Changes(t.Context(), seq, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if c, x := count(changes, mail.MessageCreated), count(changes, mail.MessageDeleted); c != 1 || x != 1 {
		t.Errorf("%d created and %d deleted, want one each: %+v", c, x, changes)
	}

	// Folders come and go.
	d.CreateFolder(t, user, "New/Deep")
	s.Append("New/Deep", message(700), nil, day)
	b.equal()
	s.Do("DELETE New/Deep")
	b.equal()

	// A new UIDVALIDITY changes no id.
	kept := b.messageAt("Zürich", 1)
	if d.dovecot != nil {
		d.dovecot.Doveadm(t, "mailbox", "update", "-u", user, "--uid-validity", "4711", "Zürich")
	}
	b.equal()
	if got := b.messageAt("Zürich", 1); got != kept {
		t.Errorf("after a new UIDVALIDITY %s is %s", kept, got)
	}

	// The server is away for a while, things happen, it comes back.
	if err := d.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := d.resume(); err != nil {
		t.Fatal(err)
	}
	s = d.Login(t, user)
	s.Append("INBOX", message(800), nil, day)
	b.engine.Start(b.id) // no need to wait for the backoff
	b.equal()

	// All is forgotten by a new engine but the store.
	b.engine.Close()
	s.Append("INBOX", message(900), nil, day)
	b.start()
	b.live()
	b.equal()
}

func TestALargeLossIsBelievedOnlyInAnotherSession(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, &d.IMAP, "ann")
	b.fill(60)
	b.equal()
	sawDoubt := false
	s := d.Login(t, "ann")
	s.Do("SELECT INBOX")
	s.Do(`STORE 1:40 +FLAGS (\Deleted)`)
	s.Do("EXPUNGE")
	b.until("the loss to be believed", func() bool {
		c, err := b.mbox.Counts(t.Context())
		st, _ := b.engine.Status(b.id)
		sawDoubt = sawDoubt || st.State == mail.StateDegraded
		return err == nil && c.Messages == 20 && c.Vanished == 0
	})
	b.equal()
	b.live()
}

func count(changes []mail.Change, k mail.ChangeKind) (n int) {
	for _, c := range changes {
		if c.Kind == k {
			n++
		}
	}
	return n
}

// messageAt returns the id of the message at a place, waiting for it.
func (b *bench) messageAt(folder string, uid mail.UID) (id mail.MessageID) {
	b.t.Helper()
	b.until(fmt.Sprintf("UID %d of %s", uid, folder), func() bool {
		folders, err := b.mbox.Folders(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		for _, f := range folders {
			if inbox(f.Name) != folder {
				continue
			}
			placements, err := b.mbox.Placements(b.t.Context(), f.ID, f.UIDValidity)
			if err != nil {
				b.t.Fatal(err)
			}
			for _, p := range placements {
				if p.UID == uid {
					id = p.Message
					return true
				}
			}
		}
		return false
	})
	return id
}
