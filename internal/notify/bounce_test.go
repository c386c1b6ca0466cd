package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/sha256"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// raw stores a message as it is.
func (a *account) raw(origin mail.Origin, folder mail.FolderID, raw []byte) mail.MessageID {
	a.b.t.Helper()
	a.uid++
	raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	parsed, err := mime.Parse(bytes.NewReader(raw), mime.Options{})
	if err != nil {
		a.b.t.Fatal(err)
	}
	refs, err := a.mb.PutBlobs(a.b.t.Context(), []store.BlobData{{Kind: store.BlobRaw, Data: raw}})
	if err != nil {
		a.b.t.Fatal(err)
	}
	c := store.Content{Digest: sha256.Sum256(raw), Raw: refs[0], Size: int64(len(raw))}
	if d := parsed.Delivery; d != nil && d.Failed() && d.Returned != nil {
		c.Bounced = d.Returned.MessageID
	}
	m := store.NewMessage{PlacementRef: store.PlacementRef{Folder: folder, UIDValidity: 1, UID: a.uid}, InternalDate: time.Unix(1700000000, 0), Size: c.Size, Head: parsed, Content: &c}
	m.FP, m.Strong = mime.Fingerprint(parsed)
	m.Threading = a.mb.IDKey().ThreadKeys(parsed, m.FP)
	return a.apply(store.Batch{Origin: origin, New: []store.NewMessage{m}}).IDs[m.PlacementRef]
}

func (a *account) sentFolder() mail.FolderID {
	id := mail.FolderID(a.mb.IDKey().FolderID("Sent"))
	a.apply(store.Batch{Origin: mail.OriginInitial, Folders: []mail.Folder{{ID: id, RawName: "Sent", Name: "Sent", Delimiter: "/", Role: mail.RoleSent, Selectable: true, UIDValidity: 1}}})
	return id
}

const sentMail = "Message-ID: <sent-1@example.test>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: Ada <ada@example.test>\nTo: nobody@example.com, bo@example.com\nSubject: Offer\n\nHello\n"

// bounces returns what the feed tells of bounces.
func (b *bench) bounces() (out []Told) {
	b.t.Helper()
	page, err := b.n.Page(b.t.Context(), Reading{App: b.app, Account: b.id, Types: []string{"message.bounce_detected"}, Limit: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	return page.Told
}

// TestBounceReports: the reports of several mail systems, and what is told of them.
func TestBounceReports(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bounces/*.eml")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.raw(mail.OriginLive, b.sentFolder(), []byte(sentMail))
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b.raw(mail.OriginLive, b.inbox, raw)
			var got bytes.Buffer
			for _, told := range b.bounces() {
				o, err := json.MarshalIndent(told.Note.Data.Object, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				got.Write(bytes.ReplaceAll(o, []byte(b.id), []byte("GRANT")))
				got.WriteByte('\n')
			}
			var lines []string // ids differ with each mailbox's key
			for l := range strings.Lines(got.String()) {
				if i := strings.Index(l, `": "m`); i > 0 && strings.Contains(l[:i], "id") {
					l = l[:i] + `": "ID",` + "\n"
				}
				lines = append(lines, l)
			}
			golden := strings.TrimSuffix(file, ".eml") + ".json"
			text := strings.Join(lines, "")
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || text != string(want) {
				t.Errorf("%s: %v, told\n%s", golden, err, text)
			}
		})
	}
}

// The bytes of a report and of a message are lost: what is known of them is told, and what comes after them too.
func TestDamagedBytesStopNothing(t *testing.T) {
	t.Parallel()
	report, err := os.ReadFile("testdata/bounces/postfix.eml")
	if err != nil {
		t.Fatal(err)
	}
	blobs := filepath.Join(t.TempDir(), "blobs")
	b := setupWith(t, store.Options{BlobURL: "file://" + filepath.ToSlash(blobs)})
	r := listen(t, nil)
	b.hook(r.srv.URL, "message.bounce_detected", "message.created", "folder.created")
	b.raw(mail.OriginInitial, b.sentFolder(), []byte(sentMail))
	begin := b.begin(b.id, Start{Latest: true})
	by := b.raw(mail.OriginLive, b.inbox, report)
	shown, _ := b.deliver(mail.OriginLive, "shown", "its body", false)
	if err := os.Rename(blobs, blobs+".away"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Rename(blobs+".away", blobs) }) // as every store is checked
	b.apply(store.Batch{Origin: mail.OriginLive, Folders: []mail.Folder{{ID: mail.FolderID(b.mb.IDKey().FolderID("Later")), RawName: "Later", Name: "Later", Delimiter: "/", Selectable: true, UIDValidity: 1}}})
	b.start()
	for _, want := range []string{"message.created " + string(by), "message.bounce_detected " + string(by), "message.created " + string(shown), "folder.created"} {
		g := r.next()
		kind, id, _ := strings.Cut(want, " ")
		o := g.note.Data.Object
		if g.note.Type != kind || kind == "message.created" && o["id"] != id || kind == "message.bounce_detected" && o["report_id"] != id {
			t.Errorf("%s, want %s", g.body, want)
		}
		if kind == "message.created" && id == string(shown) && (o["body_pending"] != true || o["body"] != "") {
			t.Errorf("the message without its body: %s", g.body)
		}
	}
	if told, _ := b.read(Reading{App: b.app, Account: b.id, From: begin, Limit: 100}); len(told) != 4 {
		t.Errorf("the feed tells %v", told)
	}
}

// TestBounceOnce: told once, whatever comes first, and never of what was there before or was not sent from here.
func TestBounceOnce(t *testing.T) {
	t.Parallel()
	report, err := os.ReadFile("testdata/bounces/postfix.eml")
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.ReplaceAll(report, []byte("AB12@"), []byte("CD34@"))
	b := setup(t)
	r := listen(t, nil)
	b.hook(r.srv.URL, "message.bounce_detected")
	b.start()
	sent := b.sentFolder()
	by := b.raw(mail.OriginLive, b.inbox, report)
	b.raw(mail.OriginLive, b.inbox, []byte(sentMail)) // a copy that somebody sent us is not one that we sent
	if n := len(b.bounces()); n != 0 {
		t.Errorf("%d told although nothing was sent", n)
	}
	b.raw(mail.OriginLive, sent, []byte(strings.Replace(sentMail, "sent-1", "sent-2", 1)))
	// The copy is filed after the report came.
	copied := b.raw(mail.OriginLive, sent, []byte(strings.Replace(sentMail, "Offer", "Offer!", 1)))
	g := r.next()
	if g.note.Type != "message.bounce_detected" || g.note.Data.Object["message_id"] != string(copied) || g.note.Data.Object["report_id"] != string(by) || g.note.Source != "/nylas/send" {
		t.Errorf("%s", g.body)
	}
	b.raw(mail.OriginLive, b.inbox, report) // again the same bytes
	if n := len(b.bounces()); n != 1 {
		t.Errorf("%d told", n)
	}
	b.raw(mail.OriginLive, b.inbox, other)
	if g = r.next(); g.note.Data.Object["message_id"] != string(copied) {
		t.Errorf("%s", g.body)
	}
	b.raw(mail.OriginInitial, b.inbox, bytes.ReplaceAll(report, []byte("AB12@"), []byte("EF56@")))
	if n := len(b.bounces()); n != 2 {
		t.Errorf("%d told", n)
	}
}
