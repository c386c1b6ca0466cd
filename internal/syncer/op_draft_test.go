package syncer_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/realsrv"
)

func version(n int) []byte {
	var b bytes.Buffer
	err := mime.Compose(&b, mime.Composition{
		From: []mime.Address{{Email: "ann@example.com"}}, Subject: fmt.Sprint("version ", n), Text: fmt.Sprint("text ", n), Date: day,
		MessageID: "draft@example.com", Headers: []mime.Field{{Name: mime.RevisionField, Value: fmt.Sprint("rev", n)}},
	})
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (b *bench) draftID() mail.MessageID {
	return mail.MessageID(b.mbox.IDKey().MessageID(mime.DraftFingerprint("draft@example.com")))
}

// saving makes the operation that saves a version over what is there of the draft.
func (b *bench) saving(n int) mail.Operation {
	b.t.Helper()
	raw := version(n)
	refs, err := b.mbox.PutBlobs(b.t.Context(), []store.BlobData{{Kind: store.BlobRaw, Data: raw}})
	if err != nil {
		b.t.Fatal(err)
	}
	id := b.draftID()
	op := mail.Operation{Kind: mail.OpDraftSave, Messages: []mail.MessageID{id}, Blob: refs[0].ID, Size: refs[0].Size, Draft: &mail.DraftWork{Revision: fmt.Sprint("rev", n)}}
	op.Draft.Replaces = b.copies(id)
	if len(op.Draft.Replaces) > 0 {
		op.Draft.Old = id
	}
	return op
}

func (b *bench) copies(id mail.MessageID) (out []mail.Copy) {
	b.t.Helper()
	at, err := b.mbox.PlacementsOf(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range at[id] {
		out = append(out, mail.Copy{Folder: p.Folder, UIDValidity: p.UIDValidity, UID: p.UID})
	}
	return out
}

// drafts returns the subjects of what lies in the folder of drafts at the server.
func (b *bench) drafts() (subjects []string) {
	b.t.Helper()
	for _, r := range b.d.Everything(b.t, b.user) {
		if r.Folder == "Drafts" {
			if !slices.Contains(r.Flags, `\Draft`) {
				b.t.Errorf("UID %d is not marked as a draft: %v", r.UID, r.Flags)
			}
			subjects = append(subjects, fmt.Sprint(r.UID))
		}
	}
	return subjects
}

func (b *bench) shows(n int) {
	b.t.Helper()
	if m := b.message(b.draftID()); m.Subject != fmt.Sprint("version ", n) || m.Body != mail.BodyHeld || m.Flags&mail.FlagDraft == 0 || !strings.Contains(m.Snippet, fmt.Sprint("text ", n)) {
		b.t.Errorf("the draft shows %q %q %v, want version %d", m.Subject, m.Snippet, m.Flags.Names(), n)
	}
	if at := b.drafts(); len(at) != 1 {
		b.t.Errorf("at the server lie the copies %v", at)
	}
}

func TestDraftsAreSaved(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string][]string{
		"everything":         nil,
		"nothing but basics": {"CONDSTORE", "QRESYNC", "IDLE", "LIST-STATUS", "LIST-EXTENDED", "ESEARCH", "SPECIAL-USE", "UNSELECT", "LITERAL+", "ENABLE", "MOVE", "UIDPLUS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{CapsDrop: drop})
			b := setup(t, &d.IMAP, "ann")
			b.fill(3)
			b.live()
			b.equal()
			// The first one: there is no folder for it yet, or it is empty.
			op := b.saving(1)
			op.Set, op.Draft.Tagged, op.Draft.Metadata = mail.FlagFlagged, true, map[string]string{"key1": "x"}
			if got := b.do(op); len(got.Messages) != 1 || got.Messages[0] != b.draftID() {
				t.Errorf("saved as %v", got.Messages)
			}
			b.shows(1)
			b.equal()
			seq, err := b.mbox.Seq(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for n := 2; n < 5; n++ {
				b.do(b.saving(n))
				b.shows(n)
			}
			b.equal()
			if m := b.message(b.draftID()); m.Flags&mail.FlagFlagged == 0 || m.Metadata["key1"] != "x" {
				t.Errorf("flags %v and metadata %v are not kept", m.Flags.Names(), m.Metadata)
			}
			changes, err := b.mbox.Changes(t.Context(), seq, 100)
			if err != nil || len(changes) != 3 {
				t.Errorf("%d changes of three edits, %v", len(changes), err)
			}
			for _, c := range changes {
				if c.Kind != mail.MessageUpdated || c.Object != string(b.draftID()) || c.Origin != mail.OriginAPI {
					t.Errorf("an edit is told as %v of %s", c.Kind, c.Object)
				}
			}
			// To the trash and back again it stays the same.
			b.do(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{b.draftID()}})
			if m := b.message(b.draftID()); !slices.Equal(m.Folders, []mail.FolderID{b.folder("Trash").ID}) {
				t.Errorf("in %v", m.Folders)
			}
			b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{b.draftID()}, Folder: b.folder("Drafts").ID})
			b.shows(4)
			// Removed for good.
			b.do(mail.Operation{Kind: mail.OpDraftDelete, Messages: []mail.MessageID{b.draftID()}, Draft: &mail.DraftWork{Old: b.draftID(), Replaces: b.copies(b.draftID())}})
			if _, err := b.mbox.Message(t.Context(), b.draftID()); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("removed: %v", err)
			}
			b.equal()
			if n := len(d.Everything(t, "ann")); n != 3 {
				t.Errorf("%d messages are left of 3", n)
			}
		})
	}
}

// A crash at any point of a save ends with one copy, the new one, after the operation was taken up again.
func TestSavesAreTakenUpAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                         string
		tried, sent, sentTwice, gone bool
	}{
		{name: "before anything"},
		{name: "before it was sent", tried: true},
		{name: "after it was sent", tried: true, sent: true},
		{name: "after it was sent twice", tried: true, sent: true, sentTwice: true},
		{name: "after the old one was removed", tried: true, sent: true, gone: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
			b := setup(t, &d.IMAP, "ann")
			b.live()
			b.do(b.saving(1))
			b.shows(1)
			op := b.saving(2)
			b.engine.Close()
			s := d.Login(t, "ann")
			old := op.Draft.Replaces[0]
			if c.tried {
				op.Tried, op.Draft.From = true, mail.Copy{Folder: old.Folder, UIDValidity: old.UIDValidity, UID: old.UID + 1}
			}
			if c.sent {
				s.Append("Drafts", version(2), []string{`\Draft`, `\Seen`}, day)
			}
			if c.sentTwice {
				s.Append("Drafts", version(2), []string{`\Draft`, `\Seen`}, day)
			}
			if c.gone {
				s.Do("SELECT Drafts")
				s.Do(fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, old.UID))
				s.Do("EXPUNGE")
			}
			op, err := b.mbox.AddOperation(t.Context(), op)
			if err != nil {
				t.Fatal(err)
			}
			b.start()
			b.until("the operation to be done", func() bool {
				got, err := b.mbox.Operation(t.Context(), op.ID)
				return err == nil && got.State == mail.OpDone
			})
			b.shows(2)
			b.equal()
		})
	}
}

// Whatever another program saves meanwhile stays; the same draft saved by it keeps its id.
func TestDraftsOfOtherPrograms(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, &d.IMAP, "ann")
	b.live()
	b.do(b.saving(1))
	s := d.Login(t, "ann")
	theirs := bytes.ReplaceAll(version(2), []byte(mime.RevisionField), []byte("X-Other"))
	save := func(raw []byte) {
		s.Append("Drafts", raw, []string{`\Draft`}, day.Add(time.Hour))
	}
	remove := func() {
		uid := b.copies(b.draftID())[0].UID
		s.Do("SELECT Drafts")
		s.Do(fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, uid))
		s.Do("EXPUNGE")
	}
	remove()
	save(theirs)
	b.until("the other program's version", func() bool {
		m, err := b.mbox.Message(t.Context(), b.draftID())
		return err == nil && m.Subject == "version 2"
	})
	b.equal()
	b.shows(2)

	// An edit that was made without having seen another one's: both are there.
	op := b.saving(3)
	save(bytes.ReplaceAll(theirs, []byte("version 2"), []byte("version 9")))
	b.do(op)
	b.equal()
	if at := b.drafts(); len(at) != 2 {
		t.Errorf("at the server lie %v", at)
	}
	list, _, err := b.mbox.Messages(t.Context(), store.MessageQuery{})
	if err != nil || len(list) != 2 {
		t.Fatalf("%d drafts are shown, %v", len(list), err)
	}
	if m := b.message(b.draftID()); m.Subject != "version 3" {
		t.Errorf("the draft is %q", m.Subject)
	}
}

// The later of two saves that wait takes the place of the other; a removal too.
func TestLaterSavesWin(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, &d.IMAP, "ann")
	b.live()
	b.do(b.saving(1))
	if err := d.Pause(); err != nil {
		t.Fatal(err)
	}
	var last mail.Operation
	for n := 2; n < 4; n++ {
		last = b.accepted(b.saving(n))
	}
	if err := d.Resume(); err != nil {
		t.Fatal(err)
	}
	b.engine.Start(b.id)
	b.until("the operation to be done", func() bool {
		got, err := b.mbox.Operation(t.Context(), last.ID)
		return err == nil && got.State == mail.OpDone
	})
	b.shows(3)
	b.equal()
}
