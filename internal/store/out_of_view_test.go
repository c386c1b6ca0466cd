package store

import (
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
)

// outOfView returns how many placements of a folder are.
func (b *box) outOfView(name string) int {
	b.t.Helper()
	list, err := b.OutOfView(b.t.Context(), fid(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return len(list)
}

// TestOutOfView checks what becomes of messages that do not vanish when a generation of UIDs ends.
func TestOutOfView(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Other")
		letters := make([]letter, 6)
		var batch Batch
		for i := range letters {
			letters[i] = letter{id: string(rune('a' + i)), subject: "s", day: i, body: "x"}
			n := b.at(ref("INBOX", mail.UID(i+1)), letters[i])
			if i > 0 {
				n = b.held(n.PlacementRef, letters[i])
			}
			batch.New = append(batch.New, n)
		}
		was := b.do(batch).IDs
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 6)}}) // gone before
		next := func(reset func(out []mail.FolderID) Batch) {
			t.Helper()
			before, from := b.folder("INBOX"), b.seq()
			b.do(reset([]mail.FolderID{fid("INBOX")}))
			b.wantLog(from, "folder.reset fINBOX")
			if f := b.folder("INBOX"); f.Total != before.Total || f.Unread != before.Unread || f.UIDNext != 0 || f.HeadersDone {
				t.Errorf("%d messages, %d of them unread, before the reset; then %+v", before.Total, before.Unread, f)
			}
			b.ok()
		}
		renumber := func(v mail.UIDValidity) func(out []mail.FolderID) Batch {
			return func(out []mail.FolderID) Batch {
				return Batch{Folders: []mail.Folder{folder("INBOX", v)}, OutOfView: out}
			}
		}
		renew := func(out []mail.FolderID) Batch { return Batch{Renewed: out, OutOfView: out} }
		// The numbers come back, and the UIDs are others each time.
		for i, reset := range []func(out []mail.FolderID) Batch{renumber(2), renumber(1), renew, renumber(2), renew} {
			next(reset)
			v, from := b.folder("INBOX").UIDValidity, b.seq()
			at := refIn("INBOX", v, mail.UID(1+i%2))
			n := b.at(at, letters[4])
			if got := b.do(Batch{New: []NewMessage{n}}).IDs[at]; got != was[ref("INBOX", 5)] {
				t.Errorf("reset %d: shown again under the id %s", i, got)
			}
			b.do(Batch{New: []NewMessage{n}}) // once more
			b.wantLog(from)
			if list, err := b.Placements(t.Context(), fid("INBOX"), v); err != nil || len(list) != 1 || !list[0].Held {
				t.Errorf("reset %d: %+v %v", i, list, err)
			}
			if list, err := b.Unheld(t.Context(), fid("INBOX"), 10); err != nil || len(list) != 0 {
				t.Errorf("to be fetched under UIDs that name others: %+v %v", list, err)
			}
			b.ok()
		}
		from := b.seq()
		b.sweep(farFuture)
		b.wantLog(from, "message.deleted "+string(was[ref("INBOX", 6)]))
		b.ok()
		if c, err := b.Counts(t.Context()); err != nil || c.Messages != 5 || c.Placements != 5 || c.Vanished != 0 || b.outOfView("INBOX") != 4 {
			t.Errorf("%+v %v, %d out of view", c, err, b.outOfView("INBOX"))
		}
		if has, err := b.HasHeaderID(t.Context(), fid("INBOX"), "b@example.com", letters[0].date()); err != nil || !has {
			t.Errorf("what is out of view is in the folder: %v %v", has, err) // else a send would be done or filed once more
		}
		for uid, want := range map[mail.UID]int{2: 1, 5: 0, 6: 0} {
			if in, err := b.OutOfViewIn(t.Context(), was[ref("INBOX", uid)]); err != nil || len(in) != want || want == 1 && in[0] != fid("INBOX") {
				t.Errorf("UID %d is out of view in %v %v", uid, in, err)
			}
		}
		if looks, err := b.Vanished(t.Context()); err != nil || len(looks) != 4 {
			t.Errorf("%d would be known again: %v", len(looks), err)
		}

		// A copy elsewhere takes no place there, and one that looks the same takes that of one.
		from = b.seq()
		b.do(Batch{New: []NewMessage{b.at(ref("Other", 1), letters[3])}})
		if got := b.log(from); len(got) != 1 || b.outOfView("INBOX") != 4 {
			t.Errorf("%q, %d out of view", got, b.outOfView("INBOX"))
		}
		v := b.folder("INBOX").UIDValidity
		b.do(Batch{New: []NewMessage{b.at(refIn("INBOX", v, 20), letters[4])}})
		if b.folder("INBOX").Total != 6 || b.outOfView("INBOX") != 4 {
			t.Errorf("%d messages, %d out of view", b.folder("INBOX").Total, b.outOfView("INBOX"))
		}
		next(renumber(9)) // with two copies of one
		b.do(Batch{New: []NewMessage{b.at(refIn("INBOX", 9, 20), letters[4])}})
		if b.folder("INBOX").Total != 6 || b.outOfView("INBOX") != 5 {
			t.Errorf("%d messages, %d out of view", b.folder("INBOX").Total, b.outOfView("INBOX"))
		}
		b.ok()

		// What is gone after all is swept as anything else is.
		list, err := b.OutOfView(t.Context(), fid("INBOX"))
		if err != nil {
			t.Fatal(err)
		}
		b.do(Batch{Vanished: list[:2]})
		b.ok()
		if b.folder("INBOX").Total != 4 || b.outOfView("INBOX") != 3 {
			t.Errorf("%d messages, %d out of view", b.folder("INBOX").Total, b.outOfView("INBOX"))
		}
		b.do(Batch{GoneFolders: []mail.FolderID{fid("INBOX")}})
		b.ok()
		b.sweep(farFuture)
		b.ok()
		if c, err := b.Counts(t.Context()); err != nil || c.Messages != 1 || c.Placements != 1 || c.Vanished != 0 || b.outOfView("INBOX") != 0 {
			t.Errorf("%+v %v, %d out of view", c, err, b.outOfView("INBOX"))
		}
	})
}

// TestOutOfViewWithLabels checks that labels are out of view as their copies are.
func TestOutOfViewWithLabels(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("All", "INBOX")
		labelled := Labels{Known: true, Folders: []mail.FolderID{fid("INBOX")}}
		var batch Batch
		for i := range 3 {
			n := b.held(ref("All", mail.UID(i+1)), letter{id: string(rune('a' + i)), body: "x"})
			n.Labels = labelled
			batch.New = append(batch.New, n)
		}
		b.do(batch)
		from := b.seq()
		b.do(Batch{Folders: []mail.Folder{folder("All", 2)}, OutOfView: []mail.FolderID{fid("All")}})
		b.wantLog(from, "folder.reset fAll")
		b.ok()
		if n := b.folder("INBOX").Total; n != 3 {
			t.Errorf("%d messages have the label", n)
		}
		if uids, err := b.Labelled(t.Context(), fid("INBOX"), fid("All")); err != nil || len(uids) != 0 {
			t.Errorf("UIDs of the earlier generation: %v %v", uids, err)
		}
		n := batch.New[2]
		n.PlacementRef, n.Content = refIn("All", 2, 3), nil
		from = b.seq()
		b.do(Batch{New: []NewMessage{n}})
		b.wantLog(from)
		b.ok()
		b.sweep(farFuture)
		b.ok()
		if f, l := b.folder("All"), b.folder("INBOX"); f.Total != 3 || l.Total != 3 || l.Unread != 3 {
			t.Errorf("%+v %+v", f, l)
		}
		list, err := b.OutOfView(t.Context(), fid("All"))
		if err != nil || len(list) != 2 {
			t.Fatalf("%v %v", list, err)
		}
		b.do(Batch{Vanished: list[:1]})
		b.ok()
		b.do(Batch{GoneFolders: []mail.FolderID{fid("INBOX")}})
		b.ok()
		b.do(Batch{Unlabelled: []mail.FolderID{fid("All")}})
		b.sweep(farFuture)
		b.ok()
		if c, err := b.Counts(t.Context()); err != nil || c.Messages != 2 || c.Vanished != 0 || b.folder("All").Total != 2 {
			t.Errorf("%+v %v, %d in All", c, err, b.folder("All").Total)
		}
	})
}
