package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// draft is held, as the sync stores drafts.
func (b *box) draft(r PlacementRef, l letter) NewMessage {
	n := b.held(r, l, mail.FlagDraft, mail.FlagSeen)
	n.FP, n.Draft = mime.DraftFingerprint(n.Head.MessageID), true
	return n
}

// All versions of a draft are one message, and the newest is what it says; none that lies at the server is hidden.
func TestDraftVersions(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("Drafts", "Trash")
		v := func(n int) letter {
			return letter{id: "d", subject: fmt.Sprint("version ", n), body: fmt.Sprint("body ", n), day: n}
		}
		id := b.do(Batch{New: []NewMessage{b.draft(ref("Drafts", 1), v(1))}}).IDs[ref("Drafts", 1)]
		if want := mail.MessageID(b.IDKey().MessageID(mime.DraftFingerprint("d@example.com"))); id != want {
			t.Fatalf("id %s, want %s", id, want)
		}
		shows := func(n int) {
			t.Helper()
			shown, err := b.Display(t.Context(), id)
			m := b.get(id)
			if err != nil || m.Subject != v(n).subject || shown[id].Body != v(n).body || m.Snippet != v(n).body || m.Size != int64(len(v(n).raw())) || !slices.Equal(m.Folders, []mail.FolderID{fid("Drafts")}) {
				t.Errorf("shows %q %q %q in %v, want version %d; %v", m.Subject, shown[id].Body, m.Snippet, m.Folders, n, err)
			}
			b.ok()
		}
		shows(1)
		before := b.seq()

		// Another version takes the place of the old one: one change, and nothing of the old one is left.
		raw, err := b.RawBlob(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		b.do(Batch{Vanished: []PlacementRef{ref("Drafts", 1)}, New: []NewMessage{b.draft(ref("Drafts", 2), v(2))}})
		shows(2)
		b.wantLog(before, "message.updated "+string(id)+" "+string(fid("Drafts")))
		if _, err := b.OpenBlob(t.Context(), raw.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("the bytes of the old version: %v", err)
		}

		// The new one is seen first, without bytes; the old one is still there.
		before = b.seq()
		bare := b.draft(ref("Drafts", 3), v(3))
		bare.Content = nil
		b.do(Batch{New: []NewMessage{bare}})
		shows(2)
		b.do(Batch{Bodies: []Body{b.body(ref("Drafts", 3), v(3))}})
		shows(3)
		old := mail.MessageID(b.IDKey().MessageID(mime.WithDigest(mime.DraftFingerprint("d@example.com"), b.content(v(2)).Digest)))
		if m := b.get(old); m.Subject != "version 2" || m.Snippet != "body 2" {
			t.Errorf("the old version is %+v", m)
		}
		b.wantLog(before, "message.updated "+string(id)+" "+string(fid("Drafts")), "message.created "+string(old)+" "+string(fid("Drafts")))
		b.do(Batch{Vanished: []PlacementRef{ref("Drafts", 2)}})
		b.sweep(farFuture)
		if _, err := b.Message(t.Context(), old); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("the old version after it was removed: %v", err)
		}
		shows(3)

		// Found in another order, as by a new sync: the same ids.
		c := addBox(t, b.s, "wiped@example.com")
		c.folders("Drafts", "Trash")
		c.do(Batch{New: []NewMessage{c.draft(ref("Drafts", 8), v(8))}})
		res := c.do(Batch{New: []NewMessage{c.draft(ref("Drafts", 7), v(7))}})
		plain := mail.MessageID(c.IDKey().MessageID(mime.DraftFingerprint("d@example.com")))
		if m := c.get(plain); m.Subject != "version 8" || res.IDs[ref("Drafts", 7)] == plain {
			t.Errorf("%q has the plain id, the older one %v", m.Subject, res.IDs)
		}
		c.ok()

		// A move keeps it.
		b.do(Batch{Vanished: []PlacementRef{ref("Drafts", 3)}, New: []NewMessage{b.draft(ref("Trash", 1), v(3))}})
		if m := b.get(id); !slices.Equal(m.Folders, []mail.FolderID{fid("Trash")}) || m.Subject != "version 3" {
			t.Errorf("after a move: %+v", m)
		}
		b.ok()
		if n, err := b.CollectGarbage(t.Context()); err != nil || n != 0 {
			t.Errorf("%d blobs of garbage, %v", n, err)
		}
	})
}

// A version that another program saved in the place of one while the folder was numbered anew is the draft, and nothing is told of the old
// one; if that is still there, it is found again.
func TestDraftVersionsOfAnotherGeneration(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for name, days := range map[string]int{"later": 2, "within a second": 1} {
			b := addBox(t, s, strings.ReplaceAll(name, " ", "-")+"@example.com")
			b.folders("Drafts")
			old, edited := letter{id: "d", subject: "old", day: 1}, letter{id: "d", subject: "edited", day: days}
			id := b.do(Batch{New: []NewMessage{b.draft(ref("Drafts", 1), old)}}).IDs[ref("Drafts", 1)]
			from := b.seq()
			b.do(Batch{Folders: []mail.Folder{folder("Drafts", 2)}, OutOfView: []mail.FolderID{fid("Drafts")}})
			b.do(Batch{New: []NewMessage{b.draft(refIn("Drafts", 2, 2), edited)}})
			b.ok()
			b.wantLog(from, "folder.reset fDrafts", "message.updated "+string(id)+" fDrafts")
			if m, f := b.get(id), b.folder("Drafts"); m.Subject != "edited" || f.Total != 1 || b.outOfView("Drafts") != 0 {
				t.Errorf("%s: %q, %d messages, %d out of view", name, m.Subject, f.Total, b.outOfView("Drafts"))
			}
			older := b.do(Batch{New: []NewMessage{b.draft(refIn("Drafts", 2, 1), old)}}).IDs[refIn("Drafts", 2, 1)]
			b.ok()
			if older == id || b.get(older).Subject != "old" || b.get(id).Subject != "edited" {
				t.Errorf("%s: %q and %q", name, b.get(older).Subject, b.get(id).Subject)
			}
		}
	})
}

// A draft is what is marked as one, or lies among the drafts.
func TestDraftList(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Trash")
		drafts := folder("Drafts", 1)
		drafts.Role = mail.RoleDrafts
		b.do(Batch{Folders: []mail.Folder{drafts}})
		res := b.do(Batch{New: []NewMessage{
			b.held(ref("INBOX", 1), letter{id: "a", day: 1}), b.draft(ref("Trash", 1), letter{id: "b", day: 2}),
			b.held(ref("Drafts", 1), letter{id: "c", day: 3}), b.draft(ref("Drafts", 2), letter{id: "d", day: 4}),
		}})
		list, _, err := b.Messages(t.Context(), MessageQuery{IsDraft: true})
		var got []mail.MessageID
		for _, m := range list {
			got = append(got, m.ID)
		}
		if want := []mail.MessageID{res.IDs[ref("Drafts", 2)], res.IDs[ref("Drafts", 1)], res.IDs[ref("Trash", 1)]}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, want %v; %v", got, want, err)
		}
	})
}

// In a thread too: what lies among the drafts without a mark was not received.
func TestDraftOfThread(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		drafts := folder("Drafts", 1)
		drafts.Role = mail.RoleDrafts
		b.do(Batch{Folders: []mail.Folder{folder("INBOX", 1), drafts}})
		asked := letter{id: "a", day: 1, subject: "s"}
		res := b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), asked), b.held(ref("Drafts", 1), letter{id: "b", day: 2, subject: "Re: s", reply: "a"})}})
		th, err := b.Thread(t.Context(), b.get(res.IDs[ref("INBOX", 1)]).Thread)
		if err != nil || !slices.Equal(th.Messages, []mail.MessageID{res.IDs[ref("INBOX", 1)]}) || !slices.Equal(th.Drafts, []mail.MessageID{res.IDs[ref("Drafts", 1)]}) ||
			!th.LatestReceived.Equal(asked.date()) || th.Latest != th.Drafts[0] {
			t.Errorf("%+v, %v", th, err)
		}
	})
}

// What an operation is to write is kept until it ends, and the latest of those on a draft takes the others' place.
func TestDraftOperations(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		ctx := t.Context()
		save := func(rev string, old ...mail.Copy) mail.Operation {
			t.Helper()
			refs, err := b.PutBlobs(ctx, []BlobData{{BlobRaw, []byte(rev)}})
			if err != nil {
				t.Fatal(err)
			}
			op, err := b.AddOperation(ctx, mail.Operation{Kind: mail.OpDraftSave, Messages: []mail.MessageID{"md"}, Blob: refs[0].ID, Size: refs[0].Size, Draft: &mail.DraftWork{Revision: rev, Replaces: old}})
			if err != nil {
				t.Fatal(err)
			}
			return op
		}
		there := func(op mail.Operation, want bool) {
			t.Helper()
			if _, err := b.OpenBlob(ctx, op.Blob); (err == nil) != want {
				t.Errorf("the bytes of %s: %v", op.Draft.Revision, err)
			}
			b.ok()
		}
		one := save("r1", mail.Copy{Folder: "f", UIDValidity: 1, UID: 5})
		there(one, true)
		two := save("r2", mail.Copy{Folder: "f", UIDValidity: 1, UID: 5})
		there(one, false)
		there(two, true)
		if got, err := b.Operation(ctx, one.ID); err != nil || got.State != mail.OpFailed || got.Why != mail.Conflict {
			t.Errorf("%+v, %v", got, err)
		}
		got, err := b.PendingDraft(ctx, "md")
		if err != nil || got.ID != two.ID || !slices.Equal(got.Draft.Bases, []string{"r1"}) || len(got.Draft.Replaces) != 1 || got.Blob != two.Blob {
			t.Errorf("%+v, %v", got, err)
		}
		one.State = mail.OpDone // whoever was at it comes too late
		if err := b.PutOperation(ctx, b.term, one); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Operation(ctx, one.ID); err != nil || got.State != mail.OpFailed {
			t.Errorf("%+v, %v", got, err)
		}
		two.State = mail.OpDone
		if err := b.PutOperation(ctx, b.term, two); err != nil {
			t.Fatal(err)
		}
		there(two, false)
		if _, err := b.PendingDraft(ctx, "md"); !mail.IsKind(err, mail.NotFound) {
			t.Error(err)
		}
	})
}
