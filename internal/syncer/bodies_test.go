package syncer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// Two connections fetch the bytes of a large folder, and of a folder and the next. Which of several messages with one fingerprint
// gets the plain id does not depend on which connection is faster.
func TestTheOldestTwinHasThePlainID(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Basic})
	r.p.Create("First")
	r.p.Create("Second")
	twin := func(n int) []byte { return fmt.Appendf(letter(1), "Twin %d.\r\n", n) }
	r.p.Deliver("First", twin(1))
	r.fill("First", 10, 10+2*unitMessages)
	r.p.Deliver("First", twin(2))
	r.p.Deliver("Second", twin(3))
	r.fill("Second", 5000, 5000+unitMessages)
	r.begin()

	folders, err := r.a.mbox.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plain := 0
	fp, _ := mime.Fingerprint(mime.ParseHeader(letter(1)))
	for _, f := range folders {
		placements, err := r.a.mbox.Placements(t.Context(), f.ID, mail.UIDValidity(f.UIDValidity))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range placements {
			if p.Message == mail.MessageID(r.a.key.MessageID(fp)) {
				if plain++; f.Name != "First" || p.UID != 1 {
					t.Errorf("the plain id is that of %d in %s", p.UID, f.Name)
				}
			}
		}
	}
	if plain != 1 {
		t.Errorf("%d messages have the plain id", plain)
	}
}

// sameBytes fails if the bytes that are stored of a copy are not those that the server holds.
func (r *rig) sameBytes() {
	r.t.Helper()
	ctx := r.t.Context()
	there := map[string][32]byte{}
	for _, m := range r.p.Everything() {
		there[fmt.Sprint(m.Folder, m.UID)] = m.SHA256
	}
	folders, err := r.a.mbox.Folders(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range folders {
		copies, err := r.a.mbox.Copies(ctx, f.ID, f.UIDValidity)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, c := range copies {
			body, err := r.a.mbox.OpenBlob(ctx, c.Raw.ID)
			if err != nil {
				r.t.Fatal(err)
			}
			raw, _ := io.ReadAll(body)
			body.Close()
			if sha256.Sum256(raw) != there[fmt.Sprint(f.Name, c.UID)] {
				r.t.Errorf("%s UID %d: the bytes are those of another message: %.150q", f.Name, c.UID, raw)
			}
		}
	}
}

// fetchOf fetches the bytes of a folder on a connection, as a worker does; only of one message if that is not 0.
func (r *rig) fetchOf(folder string, s *session, only uint32) {
	r.t.Helper()
	ctx := r.t.Context()
	units, _, err := r.a.unheldUnits(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, u := range units {
		if u.folder.Name != folder {
			continue
		}
		if only > 0 {
			u.uids = imap.UIDs(only)
		}
		ready := make(chan []store.Body, 10)
		err := r.a.holdUnit(ctx, s, u, ready)
		r.t.Log(folder, u.folder.UIDValidity, u.uids, err)
		close(ready)
		for b := range ready {
			if err := r.a.apply(ctx, store.Batch{Origin: r.a.backfillOrigin(), Bodies: b}); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// TestBytesOfAnotherFolder: while bodies are fetched over a second connection, which has a folder open, that gets another name, and
// another folder has the old one.
func TestBytesOfAnotherFolder(t *testing.T) {
	t.Parallel()
	const first, second = 1, 21
	story := func(t *testing.T, r *rig, replace func()) {
		r.login()
		ctx := t.Context()
		if err := r.a.pass(ctx, r.s, false); err != nil {
			t.Fatal(err)
		}
		helper, err := r.a.tryOpen(ctx, nil)
		if err != nil || helper == nil {
			t.Fatal(err)
		}
		r.fetchOf("Work", helper, 1)
		replace()
		if err := r.a.pass(ctx, r.s, false); err != nil { // between two slices
			t.Fatal(err)
		}
		r.fetchOf("Work", helper, 0)
		helper.close()
		r.look(true)
		n := 0
		for k, v := range r.state() {
			if strings.HasPrefix(k, "Work ") {
				if n++; !strings.HasPrefix(v, "m2") {
					t.Error(k, v)
				}
			}
		}
		if n != 5 {
			t.Errorf("%d messages in Work", n)
		}
	}
	t.Run("persona", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "OBJECTID")})
		r.p.Create("Work")
		r.fill("Work", first, first+4)
		story(t, r, func() {
			r.p.Rename("Work", "Old")
			r.p.Create("Work")
			r.fill("Work", second, second+4)
		})
		r.agrees()
		r.sameBytes()
	})
	t.Run("mdbox", func(t *testing.T) {
		t.Parallel()
		d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Format: "mdbox"})
		s := d.Login(t, "ann")
		defer s.Close()
		fill := func(from int) {
			s.CreateFolder("Work")
			for i := range 5 {
				s.Append("Work", letter(from+i), nil, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			}
		}
		fill(first)
		story(t, rigAt(t, d.Host, d.Port, d.Password, "ann"), func() {
			s.Do("RENAME Work Old")
			fill(second)
		})
	})
}

// TestADraftWithACopyElsewhere: when a draft was saved, what else is to be fetched of the folder of drafts is fetched from there.
func TestADraftWithACopyElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Work")
	r.fill("Drafts", 1, 5) // not marked as drafts: their bodies are still to be fetched
	r.fill("Work", 21, 25)
	r.p.Deliver("Drafts", letter(50), `\Draft`)
	r.p.Deliver("Work", letter(50), `\Draft`)
	r.login()
	ctx := t.Context()
	if err := r.a.pass(ctx, r.s, false); err != nil {
		t.Fatal(err)
	}
	id := r.ids()["m50"]
	refs, err := r.a.mbox.PutBlobs(ctx, []store.BlobData{{Kind: store.BlobRaw, Data: letter(50, mime.RevisionField+": abc")}})
	if err != nil {
		t.Fatal(err)
	}
	op := mail.Operation{Kind: mail.OpDraftSave, Messages: []mail.MessageID{id}, Blob: refs[0].ID, Size: refs[0].Size, Draft: &mail.DraftWork{Revision: "abc", Old: id}}
	at, err := r.a.mbox.PlacementsOf(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range at[id] {
		op.Draft.Replaces = append(op.Draft.Replaces, mail.Copy{Folder: p.Folder, UIDValidity: p.UIDValidity, UID: p.UID})
	}
	if _, err := r.a.mbox.AddOperation(ctx, op); err != nil {
		t.Fatal(err)
	}
	if err := r.a.serveOperations(ctx, r.s); err != nil {
		t.Fatal(err)
	}
	r.a.closeWriter()
	r.look(true)
	r.sameBytes()
}

// TestStrangeBytes: bytes of another message than the one that they are wanted of are not taken, whatever the reason. Only a server that
// shows another header in the bytes than by itself is believed: it does so each time.
func TestStrangeBytes(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T, k persona.Knobs) *rig {
		r := newRig(t, k)
		r.p.Create("Work")
		r.fill("INBOX", 1, 5)
		r.fill("Work", 21, 25)
		r.a.acct.Settings.Sync = &mail.SyncPolicy{HeadersOnly: true}
		r.begin()
		r.a.acct.Settings.Sync = nil
		return r
	}
	t.Run("another folder is open than it was thought", func(t *testing.T) {
		t.Parallel()
		r := setup(t, persona.Knobs{})
		inbox, err := r.a.mbox.Folder(t.Context(), r.folderIDs()["INBOX"])
		if err != nil {
			t.Fatal(err)
		}
		work, err := r.a.mbox.Folder(t.Context(), r.folderIDs()["Work"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.s.examine(t.Context(), work); err != nil {
			t.Fatal(err)
		}
		r.s.selected, r.s.as = inbox.RawName, generation{inbox.ID, inbox.UIDValidity}
		r.fetchOf("INBOX", r.s, 0)
		r.look(true)
		r.agrees()
		r.sameBytes()
	})
	t.Run("the server sends one for another", func(t *testing.T) {
		t.Parallel()
		r := setup(t, persona.Knobs{})
		r.p.Turn(func(k *persona.Knobs) {
			k.Bytes = func(c persona.Command, uid uint32, raw []byte) []byte {
				if c.Folder == "INBOX" && uid == 3 {
					return letter(4)
				}
				return raw
			}
		})
		r.look(true)
		if got := r.state()["INBOX 1001 3"]; got != "m3 (no body)" {
			t.Error(got)
		}
		if n, err := r.a.mbox.CountTroubles(t.Context()); n != 1 || err != nil {
			t.Errorf("%d are set aside, %v", n, err)
		}
		r.p.Turn(func(k *persona.Knobs) { k.Bytes = nil })
		r.wait(time.Hour)
		r.login()
		r.look(true)
		r.agrees()
		r.sameBytes()
	})
	t.Run("the header by itself is another than in the bytes", func(t *testing.T) {
		t.Parallel()
		r := setup(t, persona.Knobs{Bytes: func(c persona.Command, uid uint32, raw []byte) []byte {
			if uid == 3 && !strings.Contains(c.Args, "HEADER") {
				return bytes.Replace(raw, []byte("Message-ID: <m3@"), []byte("Message-ID: <made.up.3@"), 1)
			}
			return raw
		}})
		r.look(true)
		if n, err := r.a.mbox.CountTroubles(t.Context()); n != 0 || err != nil {
			t.Errorf("%d are set aside, %v", n, err)
		}
		for k, v := range r.state() {
			if strings.Contains(v, "(no body)") {
				t.Error(k, v)
			}
		}
	})
}

// TestASentCopyWhoseFolderIsClosed: after a copy was put into Sent the server does not open it for a while. Nothing there is set aside, and
// there is one copy.
func TestASentCopyWhoseFolderIsClosed(t *testing.T) {
	t.Parallel()
	closed := false
	r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		switch {
		case c.Name == "APPEND":
			closed = true
		case closed && c.Folder == "Sent" && (c.Name == "EXAMINE" || c.Name == "SELECT"):
			return "NO [INUSE] not now"
		}
		return ""
	}})
	r.fill("Sent", 1, 5)
	r.login()
	if err := r.a.pass(t.Context(), r.s, false); err != nil { // their bodies are still to be fetched
		t.Fatal(err)
	}
	op := r.ask(mail.Operation{Kind: mail.OpFile, Send: r.queue(letter(6), "m6@example.com")})
	if op.State != mail.OpPending {
		t.Errorf("%+v", op)
	}
	r.login()
	r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
	r.wait(time.Hour)
	if op = r.serve(op); op.State != mail.OpDone {
		t.Errorf("%+v", op)
	}
	r.look(true)
	r.agrees()
	if n, err := r.a.mbox.CountTroubles(t.Context()); n != 0 || err != nil {
		t.Errorf("%d are set aside, %v", n, err)
	}
	if n := len(r.p.UIDs("Sent")); n != 6 {
		t.Errorf("%d in Sent", n)
	}
}
