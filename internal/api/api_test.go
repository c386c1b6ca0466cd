package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine remembers what it was told.
type engine struct {
	mu     sync.Mutex
	told   []string
	status map[mail.AccountID]mail.SyncStatus
	proofs map[mail.FolderID]mail.FolderProof
	store  *store.Store
	during func() // called while an operation is under way; nil: nothing
	slow   error  // why a sync does not end in time
}

func (e *engine) Start(id mail.AccountID) { e.tell("start", id) }
func (e *engine) Stop(_ context.Context, id mail.AccountID) error {
	e.tell("stop", id)
	return e.slow
}
func (e *engine) tell(what string, id mail.AccountID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, what+" "+string(id))
}

// Do leaves every operation pending: no mail server is there to confirm it.
func (e *engine) Do(ctx context.Context, id mail.AccountID, op mail.Operation) (mail.Operation, error) {
	mb, err := e.store.Mailbox(ctx, id)
	if err != nil {
		return op, err
	}
	if e.during != nil {
		e.during()
	}
	return mb.AddOperation(ctx, op)
}

func (e *engine) Proofs(mail.AccountID) map[mail.FolderID]mail.FolderProof { return e.proofs }

func (e *engine) Status(id mail.AccountID) (mail.SyncStatus, bool) {
	s, ok := e.status[id]
	return s, ok
}

// bundle is an API over a real store, with one application and its key.
type bundle struct {
	t      testing.TB
	api    *API
	store  *store.Store
	engine *engine
	app    mail.AppID
	key    string
	seen   *watcher // holds every answer against the description
}

func setup(t testing.TB) *bundle {
	t.Helper()
	return setupIn(t, store.Options{Dir: t.TempDir()})
}

func setupIn(t testing.TB, o store.Options) *bundle {
	t.Helper()
	master := make([]byte, 32)
	rand.Read(master)
	keys, err := vault.NewKeyring(master)
	if err != nil {
		t.Fatal(err)
	}
	o.Keys = keys
	s, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	app, err := s.DefaultApp(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{t: t, store: s, engine: &engine{status: map[mail.AccountID]mail.SyncStatus{}, store: s}, app: app.ID, key: auth.NewKey()}
	if err := s.PutAPIKey(context.Background(), app.ID, "test", auth.Hash(b.key)); err != nil {
		t.Fatal(err)
	}
	a := auth.New(auth.Options{Store: s, Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Timeout: 10 * time.Second})
	b.watch()
	out := sender.New(sender.Options{Store: s, Operator: b.engine, Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if err := out.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Stop(context.Background()) })
	b.api = New(Deps{Store: s, Auth: a, Engine: b.engine, Sender: out, Version: "test"})
	return b
}

// answer is what came back.
type answer struct {
	*httptest.ResponseRecorder
	json struct {
		RequestID  string          `json:"request_id"`
		Data       json.RawMessage `json:"data"`
		NextCursor string          `json:"next_cursor"`
		Error      told            `json:"error"`
	}
}

// told is what an error says. (The name of an OAuth error is a string in its place.)
type told struct{ Type, Message string }

func (e *told) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return nil
	}
	type plain told
	return json.Unmarshal(b, (*plain)(e))
}

// do sends a request and checks what every answer must have.
func (b *bundle) do(method, path string, headers ...string) *answer {
	b.t.Helper()
	return b.send(method, path, "", headers...)
}

func (b *bundle) send(method, path, body string, headers ...string) *answer {
	b.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, r)
	req.Header.Set("Authorization", "Bearer "+b.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	out := &answer{ResponseRecorder: httptest.NewRecorder()}
	b.api.ServeHTTP(out, req)
	if out.Header().Get("Content-Type") == "application/json" {
		raw := out.Body.Bytes()
		if out.Header().Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(raw))
			if err != nil {
				b.t.Fatal(err)
			}
			if raw, err = io.ReadAll(z); err != nil {
				b.t.Fatal(err)
			}
		}
		if method != "HEAD" {
			if err := json.Unmarshal(raw, &out.json); err != nil {
				b.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
			}
			if out.json.RequestID == "" || out.json.RequestID != out.Header().Get("X-Request-Id") {
				b.t.Errorf("%s %s: request_id %q, header %q", method, path, out.json.RequestID, out.Header().Get("X-Request-Id"))
			}
		}
	}
	if b.seen != nil {
		b.seen.check(b.t, req, body, out)
	}
	return out
}

// get is do for what must succeed; into receives data.
func (b *bundle) get(path string, into any, headers ...string) *answer {
	b.t.Helper()
	a := b.do("GET", path, headers...)
	if a.Code != http.StatusOK {
		b.t.Fatalf("GET %s: %d %s", path, a.Code, a.Body)
	}
	if into != nil {
		if err := json.Unmarshal(a.json.Data, into); err != nil {
			b.t.Fatalf("GET %s: %v in %s", path, err, a.json.Data)
		}
	}
	return a
}

func (b *bundle) decode(a *answer, into any) {
	b.t.Helper()
	if err := json.Unmarshal(a.json.Data, into); err != nil {
		b.t.Fatalf("%v in %s", err, a.json.Data)
	}
}

func (b *bundle) fails(a *answer, status int, typ, says string) {
	b.t.Helper()
	if a.Code != status || a.json.Error.Type != typ || !strings.Contains(a.json.Error.Message, says) || a.Header().Get("Content-Type") != "application/json" {
		b.t.Errorf("got %d %+v, want %d %s %q", a.Code, a.json.Error, status, typ, says)
	}
}

// mailbox is a connected account with mail in it.
type mailbox struct {
	*bundle
	acct  mail.Account
	mb    *store.Mailbox
	term  mail.Term
	uid   mail.UID
	inbox mail.FolderID
	base  string // /v3/grants/<id>
}

func (b *bundle) account(email string) *mailbox {
	b.t.Helper()
	ctx := context.Background()
	now := time.Unix(1700000000, 0).UTC()
	acct := mail.Account{
		ID: mail.AccountID(uuid()), App: b.app, Email: email, Provider: "imap", CreatedAt: now, UpdatedAt: now,
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: "127.0.0.1", Port: 143, Security: mail.SecurityNone, Username: email}},
		Sync:     mail.SyncStatus{State: mail.StateInitial, Since: now, Done: 1, Total: 2},
	}
	if err := b.store.CreateAccount(ctx, acct, mail.Credentials{IMAPPassword: mail.NewSecret("hunter2")}); err != nil {
		b.t.Fatal(err)
	}
	mb, err := b.store.Mailbox(ctx, acct.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	m := &mailbox{bundle: b, acct: acct, mb: mb, base: "/v3/grants/" + string(acct.ID)}
	if m.term, err = mb.NextTerm(ctx); err != nil {
		b.t.Fatal(err)
	}
	m.inbox = m.folder("INBOX", mail.RoleInbox)
	return m
}

func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (m *mailbox) apply(batch store.Batch) store.Result {
	m.t.Helper()
	batch.Term = m.term
	res, err := m.mb.Apply(context.Background(), batch)
	if err != nil {
		m.t.Fatal(err)
	}
	return res
}

func (m *mailbox) folder(name string, role mail.Role, parent ...mail.FolderID) mail.FolderID {
	m.t.Helper()
	f := mail.Folder{ID: mail.FolderID(m.mb.IDKey().FolderID(name)), RawName: name, Name: name, Delimiter: "/", Role: role, Attrs: []string{`\HasNoChildren`}, Selectable: true, UIDValidity: 1}
	if len(parent) > 0 {
		f.Parent = parent[0]
	}
	m.apply(store.Batch{Folders: []mail.Folder{f}})
	return f.ID
}

// letter is a message to be stored.
type letter struct {
	folder mail.FolderID // default the inbox
	raw    string        // LF line ends
	flags  mail.Flags
	at     int64 // INTERNALDATE
	headed bool  // only the header was fetched
	live   bool  // it was not there before us
}

func (m *mailbox) deliver(ls ...letter) []mail.MessageID {
	m.t.Helper()
	ctx := context.Background()
	var batch store.Batch
	var refs []store.PlacementRef
	for _, l := range ls {
		if l.folder == "" {
			l.folder = m.inbox
		}
		m.uid++
		raw := []byte(strings.ReplaceAll(l.raw, "\n", "\r\n"))
		parsed, err := mime.Parse(bytes.NewReader(raw), mime.Options{})
		if err != nil {
			m.t.Fatal(err)
		}
		n := store.NewMessage{
			PlacementRef: store.PlacementRef{Folder: l.folder, UIDValidity: 1, UID: m.uid}, Flags: l.flags,
			InternalDate: time.Unix(l.at, 0).UTC(), Size: int64(len(raw)), Head: parsed,
		}
		n.FP, n.Strong = mime.Fingerprint(parsed)
		if n.Draft = l.flags&mail.FlagDraft != 0; n.Draft {
			n.FP = mime.DraftFingerprint(parsed.MessageID)
		}
		n.Threading = m.mb.IDKey().ThreadKeys(parsed, n.FP)
		if !l.headed {
			body, html := mime.DisplayBody(parsed)
			refs, err := m.mb.PutBlobs(ctx, []store.BlobData{{Kind: store.BlobRaw, Data: raw}, {Kind: store.BlobDisplay, Data: []byte(body)}})
			if err != nil {
				m.t.Fatal(err)
			}
			c := store.Content{Digest: sha256.Sum256(raw), Raw: refs[0], Display: refs[1], DisplayHTML: html, Size: int64(len(raw)), Snippet: parsed.Snippet()}
			for _, p := range parsed.Attachments {
				c.Listed = c.Listed || !p.Inline
				c.Attachments = append(c.Attachments, mail.Part{ID: p.ID, ContentType: p.ContentType, Charset: p.Charset, Filename: p.Name, ContentID: p.ContentID, Disposition: p.Disposition, Size: p.Size, Inline: p.Inline})
			}
			n.Content = &c
		}
		if l.live {
			batch.Origin = mail.OriginLive
		}
		batch.New = append(batch.New, n)
		refs = append(refs, n.PlacementRef)
	}
	res := m.apply(batch)
	out := make([]mail.MessageID, len(refs))
	for i, r := range refs {
		out[i] = res.IDs[r]
	}
	return out
}

func plain(id, from, subject, body string) string {
	return fmt.Sprintf("Message-ID: <%s@example.test>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: %s\nTo: Ann <ann@example.test>\nSubject: %s\nContent-Type: text/plain; charset=utf-8\n\n%s\n", id, from, subject, body)
}

const withAttachments = `Message-ID: <att@example.test>
Date: Tue, 14 Nov 2023 22:13:20 +0000
From: Bo <bo@example.test>
To: ann@example.test
Cc: carol@example.test
Subject: files
X-Seed: raw  =?utf-8?q?undecoded?=
References: <root@example.test>
 <second@example.test>
In-Reply-To: <second@example.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/html; charset=utf-8

<p>see <b>the</b> files & more</p>
--b
Content-Type: text/plain; name="notes.txt"
Content-Disposition: attachment; filename="../no\"tes.txt"
Content-Transfer-Encoding: base64

aGVsbG8sIGF0dGFjaG1lbnQgYm9keQo=
--b
Content-Type: image/png
Content-Disposition: inline; filename="pixel.png"
Content-ID: <pix@example.test>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--b--
`
