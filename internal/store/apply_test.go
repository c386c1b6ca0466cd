package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

func TestFirstMessage(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		from := b.seq()
		l := letter{id: "a", subject: "Grüße\x00 \xff", from: `"Bob \"B\" B" <bob@example.com>`, to: "ada@example.com, Eve <eve@example.com>", cc: "cc@example.com",
			reply: "z", refs: []string{"y", "z"}, day: 3, body: "hello, attached"}
		n := b.at(ref("INBOX", 7), l, mail.FlagFlagged)
		n.Keywords = []string{"$Forwarded", "a\x00b"}
		r := b.do(Batch{New: []NewMessage{n}, Cursors: []Cursor{{Folder: fid("INBOX"), UIDValidity: 1, UIDNext: 8, HighestModSeq: 1 << 62, BackfillBelow: 7}}})
		id := r.IDs[n.PlacementRef]
		if want := mail.MessageID(b.IDKey().MessageID(n.FP)); id != want {
			t.Errorf("id %s, want %s", id, want)
		}
		b.wantLog(from, "message.created "+string(id)+" fINBOX")
		m := b.get(id)
		if m.Subject != "Grüße \uFFFD" && m.Subject != "Grüße  \uFFFD" && m.Subject != "Grüße\uFFFD \uFFFD" {
			t.Errorf("subject %q", m.Subject)
		}
		if !m.Date.Equal(l.date()) || !m.Sent.Equal(l.date()) || m.Size != n.Size || m.Row>>rowBits != l.date().Unix() {
			t.Errorf("dates or size: %+v", m)
		}
		if m.HeaderMessageID != "a@example.com" || m.HeaderInReplyTo != "z@example.com" || !slices.Equal(m.References, []string{"y@example.com", "z@example.com"}) {
			t.Errorf("ids: %q %q %q", m.HeaderMessageID, m.HeaderInReplyTo, m.References)
		}
		if !reflect.DeepEqual(m.From, []mail.Address{{Name: `Bob "B" B`, Email: "bob@example.com"}}) || len(m.To) != 2 || len(m.Cc) != 1 {
			t.Errorf("addresses: %v %v %v", m.From, m.To, m.Cc)
		}
		if m.Flags != mail.FlagFlagged || !slices.Equal(m.Keywords, []string{"$Forwarded", "ab"}) || m.Body != mail.BodyNone {
			t.Errorf("flags %v, keywords %q, body %v", m.Flags, m.Keywords, m.Body)
		}
		f := b.folder("INBOX")
		if f.Total != 1 || f.Unread != 1 || f.UIDNext != 8 || f.HighestModSeq != 1<<62 || f.BackfillBelow != 7 || f.HeadersDone {
			t.Errorf("folder: %+v", f)
		}
		unheld, err := b.Unheld(t.Context(), fid("INBOX"), 10)
		if err != nil || len(unheld) != 1 || unheld[0].Message != id {
			t.Errorf("unheld: %v %v", unheld, err)
		}

		from = b.seq()
		b.do(Batch{Bodies: []Body{b.body(n.PlacementRef, l)}})
		b.wantLog(from, "message.updated "+string(id)+" fINBOX")
		m = b.get(id)
		if m.Body != mail.BodyHeld || m.Snippet != l.body || !m.ListedAsAttached || len(m.Attachments) != 1 || m.Attachments[0].Filename != "notes.txt" {
			t.Errorf("after the body: %+v", m)
		}
		blob, err := b.RawBlob(t.Context(), id)
		if err != nil || blob.Size != int64(len(l.raw())) {
			t.Errorf("raw blob: %v %v", blob, err)
		}
		d, err := b.Display(t.Context(), id, "mnonsense", id)
		if err != nil || len(d) != 1 || d[id].Body != l.body {
			t.Errorf("display: %v %v", d, err)
		}
		c, err := b.Counts(t.Context())
		if want := (Counts{Messages: 1, Held: 1, Placements: 1}); err != nil || c != want {
			t.Errorf("counts %+v, want %+v (%v)", c, want, err)
		}
	})
}

func TestAgainChangesNothing(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		a, c := letter{id: "a", day: 1, body: "one"}, letter{id: "c", day: 2, body: "two"}
		batch := Batch{Folders: []mail.Folder{folder("INBOX", 1)}, New: []NewMessage{b.at(ref("INBOX", 1), a), b.held(ref("INBOX", 2), c, mail.FlagSeen)},
			Bodies: []Body{b.body(ref("INBOX", 1), a)}, Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 9), Flags: mail.FlagSeen}},
			State: &mail.SyncStatus{State: mail.StateInitial}, Done: true,
			Cursors: []Cursor{{Folder: fid("INBOX"), UIDValidity: 1, UIDNext: 3, HeadersDone: true}}}
		r := b.do(batch)
		if r.Changes != 5 {
			t.Errorf("%d changes, want 5: %q", r.Changes, b.log(0))
		}
		again := b.do(batch)
		if again.Changes != 0 || again.Seq != r.Seq || !reflect.DeepEqual(again.IDs, r.IDs) {
			t.Errorf("again: %+v, first: %+v", again, r)
		}
	})
}

func TestMove(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Archive")
		l := letter{id: "a", day: 1, body: "x"}
		id := b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), l)}}).IDs[ref("INBOX", 1)]

		t.Run("vanish then new", func(t *testing.T) {
			from := b.seq()
			b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1)}})
			b.wantLog(from)
			if m := b.get(id); !slices.Equal(m.Folders, []mail.FolderID{"fINBOX"}) {
				t.Errorf("folders while vanished: %v", m.Folders)
			}
			if f := b.folder("INBOX"); f.Total != 0 || f.Unread != 0 {
				t.Errorf("INBOX counts %d/%d", f.Total, f.Unread)
			}
			r := b.do(Batch{New: []NewMessage{b.at(ref("Archive", 5), l, mail.FlagSeen)}})
			if r.IDs[ref("Archive", 5)] != id {
				t.Errorf("the id changed")
			}
			b.wantLog(from, "message.updated "+string(id)+" fArchive")
			if list, _ := b.Unheld(t.Context(), fid("Archive"), 9); len(list) != 0 {
				t.Errorf("bytes are to be fetched again: %v", list)
			}
			if r := b.sweep(farFuture); r.Changes != 0 {
				t.Errorf("the sweep changed something: %q", b.log(from))
			}
		})
		t.Run("in one batch", func(t *testing.T) {
			from := b.seq()
			b.do(Batch{Vanished: []PlacementRef{ref("Archive", 5)}, New: []NewMessage{b.at(ref("INBOX", 2), l)}})
			b.wantLog(from, "message.updated "+string(id)+" fINBOX")
			if c, _ := b.Counts(t.Context()); c != (Counts{Messages: 1, Held: 1, Placements: 1}) {
				t.Errorf("counts %+v", c)
			}
		})
		t.Run("date not kept", func(t *testing.T) {
			from := b.seq()
			n := b.at(ref("Archive", 6), l)
			n.InternalDate = n.InternalDate.Add(time.Hour)
			b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 2)}, New: []NewMessage{n}})
			b.wantLog(from, "message.updated "+string(id)+" fArchive")
			if list, _ := b.Unheld(t.Context(), fid("Archive"), 9); len(list) != 1 {
				t.Errorf("the bytes were not asked for: %v", list)
			}
			b.do(Batch{Bodies: []Body{b.body(ref("Archive", 6), l)}})
			b.wantLog(from, "message.updated "+string(id)+" fArchive")
		})
		t.Run("not vanished after all", func(t *testing.T) {
			from := b.seq()
			b.do(Batch{Vanished: []PlacementRef{ref("Archive", 6)}})
			b.do(Batch{New: []NewMessage{b.at(ref("Archive", 6), l)}})
			b.wantLog(from)
			if f := b.folder("Archive"); f.Total != 1 || f.Unread != 1 {
				t.Errorf("Archive counts %d/%d", f.Total, f.Unread)
			}
		})
	})
}

func TestCopyAndDelete(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Copy")
		l := letter{id: "a", day: 1, body: "x"}
		id := b.do(Batch{New: []NewMessage{b.held(ref("INBOX", 1), l, mail.FlagSeen)}}).IDs[ref("INBOX", 1)]
		from := b.seq()
		n := b.at(ref("Copy", 1), l, mail.FlagFlagged)
		n.Keywords = []string{"k"}
		b.do(Batch{New: []NewMessage{n}})
		b.wantLog(from, "message.updated "+string(id)+" fCopy fINBOX")
		if m := b.get(id); m.Flags != mail.FlagFlagged || len(m.Keywords) != 1 {
			t.Errorf("flags of two copies, one unread: %v %v", m.Flags, m.Keywords)
		}
		where, err := b.PlacementsOf(t.Context(), id, "mnone")
		if err != nil || len(where) != 1 || len(where[id]) != 2 {
			t.Errorf("placements: %v %v", where, err)
		}
		from = b.seq()
		b.do(Batch{Bodies: []Body{b.body(ref("Copy", 1), l)}})
		b.wantLog(from) // only proves what was said
		if c, _ := b.Counts(t.Context()); c != (Counts{Messages: 1, Held: 1, Placements: 2}) {
			t.Errorf("counts %+v", c)
		}
		has := func(folder string, after time.Time) bool {
			t.Helper()
			has, err := b.HasHeaderID(t.Context(), fid(folder), l.head().MessageID, after)
			if err != nil {
				t.Error(err)
			}
			return has
		}
		b.folders("INBOX", "Copy", "Other")
		if day := 24 * time.Hour; !has("INBOX", l.date().Add(-day)) || !has("Copy", l.date().Add(-day)) || has("Other", l.date().Add(-day)) || has("Copy", l.date().Add(day)) {
			t.Error("the Message-ID is found where, or when, it is not, or not where it is")
		}
		from = b.seq()
		b.do(Batch{Vanished: []PlacementRef{ref("Copy", 1)}})
		b.wantLog(from)
		if r := b.sweep(time.Unix(0, 0)); r.Changes != 0 {
			t.Errorf("swept too early")
		}
		if has("Copy", time.Unix(0, 0)) || !has("INBOX", time.Unix(0, 0)) {
			t.Error("the Message-ID is found where it has vanished, or not where it is")
		}
		b.sweep(farFuture)
		b.wantLog(from, "message.updated "+string(id)+" fINBOX")
		if m := b.get(id); m.Flags != mail.FlagSeen || m.Keywords != nil {
			t.Errorf("flags of the copy that is left: %v %v", m.Flags, m.Keywords)
		}
		from = b.seq()
		blob, _ := b.RawBlob(t.Context(), id)
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1)}})
		b.sweep(farFuture)
		b.wantLog(from, "message.deleted "+string(id))
		_, err = b.Message(t.Context(), id)
		wantKind(t, err, mail.NotFound)
		if _, err := b.OpenBlob(t.Context(), blob.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("the bytes are still there: %v", err)
		}
		if r := b.sweep(farFuture); r.Changes != 0 || r.Seq != b.seq() {
			t.Errorf("a second sweep: %+v", r)
		}
	})
}

func TestSameHeadersOtherBytes(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Other", "Third")
		one, two := letter{id: "a", day: 1, body: "one"}, letter{id: "a", day: 1, body: "two!"}
		r := b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 1), one), b.at(ref("Other", 1), two)}})
		id := r.IDs[ref("INBOX", 1)]
		if r.IDs[ref("Other", 1)] != id || r.Changes != 1 {
			t.Errorf("before the bytes are known: %+v", r)
		}
		from := b.seq()
		b.do(Batch{Bodies: []Body{b.body(ref("INBOX", 1), one)}})
		b.do(Batch{Bodies: []Body{b.body(ref("Other", 1), two)}})
		list, err := b.Placements(t.Context(), fid("Other"), 1)
		if err != nil || len(list) != 1 || list[0].Message == id || !list[0].Held {
			t.Fatalf("placement of the other bytes: %+v %v", list, err)
		}
		other := list[0].Message
		log := b.log(from)
		if len(log) != 3 || log[0] != "message.updated "+string(id)+" fINBOX fOther" || !slices.Contains(log, "message.created "+string(other)+" fOther") ||
			!slices.Contains(log, "message.updated "+string(id)+" fINBOX") {
			t.Errorf("log %q", log)
		}
		if x, y := b.get(id), b.get(other); x.Thread != y.Thread || y.Snippet != "two!" || y.HeaderMessageID != "a@example.com" {
			t.Errorf("split: %+v", y)
		}
		// A copy of either finds its own, by size and date when it moved, by its bytes else.
		b.do(Batch{Vanished: []PlacementRef{ref("Other", 1)}, New: []NewMessage{b.at(ref("Third", 1), two)}})
		if m := b.get(other); !slices.Equal(m.Folders, []mail.FolderID{"fThird"}) {
			t.Errorf("folders after the move: %v", m.Folders)
		}
		r = b.do(Batch{New: []NewMessage{b.held(ref("Third", 2), two), b.held(ref("Third", 3), one)}})
		if r.IDs[ref("Third", 2)] != other || r.IDs[ref("Third", 3)] != id {
			t.Errorf("with bytes: %v", r.IDs)
		}
		// The message that has the plain id goes; nobody else takes the id of the one that stays.
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 1), ref("Third", 3)}})
		b.sweep(farFuture)
		r = b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 2), two)}})
		b.do(Batch{Bodies: []Body{b.body(ref("INBOX", 2), two)}})
		if m := b.get(other); !slices.Equal(m.Folders, []mail.FolderID{"fINBOX", "fThird"}) {
			t.Errorf("folders in the end: %v", m.Folders)
		}
		_, err = b.Message(t.Context(), r.IDs[ref("INBOX", 2)])
		wantKind(t, err, mail.NotFound)
	})
}

// Of messages with one fingerprint and different bytes, the one whose bytes are seen first has the plain id. So that this does
// not depend on which connection is faster, the bytes of the oldest are asked for first, and of the others when those are held.
func TestTwinsAreAskedForInOrder(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Other")
		twin := func(n int) letter { return letter{id: "twin", day: 1, body: fmt.Sprint("body ", n)} }
		r := b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 3), twin(3)), b.at(ref("INBOX", 5), twin(5)), b.at(ref("INBOX", 6), letter{id: "other", day: 2}),
			b.at(ref("INBOX", 9), twin(9)), b.at(ref("Other", 1), twin(1))}})
		id := r.IDs[ref("INBOX", 3)]
		asked := func(folder string, want ...mail.UID) {
			t.Helper()
			list, err := b.Unheld(t.Context(), fid(folder), 10)
			var got []mail.UID
			for _, p := range list {
				got = append(got, p.UID)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("asked for in %s: %v, want %v; %v", folder, got, want, err)
			}
		}
		asked("INBOX", 6, 3)
		asked("Other", 1)
		// What cannot be had does not stop the others.
		b.do(Batch{Quarantine: []Trouble{{PlacementRef: ref("INBOX", 3), Reason: "refused", NextTry: farFuture}}})
		asked("INBOX", 6, 5)
		b.do(Batch{Bodies: []Body{b.body(ref("INBOX", 3), twin(3))}})
		asked("INBOX", 9, 6, 5)
		b.do(Batch{Bodies: []Body{b.body(ref("INBOX", 9), twin(9)), b.body(ref("INBOX", 5), twin(5))}})
		if m := b.get(id); m.Snippet != "body 3" || !slices.Contains(m.Folders, "fINBOX") {
			t.Errorf("the plain id shows %q in %v", m.Snippet, m.Folders)
		}
	})
}

func TestWeakFingerprints(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX", "Other")
		one, two := letter{day: 1, body: "one"}, letter{day: 1, body: "two"}
		r := b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 1), one), b.at(ref("INBOX", 2), two), b.at(ref("Other", 1), one)}})
		if r.IDs[ref("INBOX", 1)] == r.IDs[ref("INBOX", 2)] || r.IDs[ref("INBOX", 1)] != r.IDs[ref("Other", 1)] || r.Changes != 2 {
			t.Errorf("%+v", r)
		}
		n := b.at(ref("INBOX", 3), one)
		n.Content = nil
		_, err := b.Apply(t.Context(), Batch{Term: b.term, New: []NewMessage{n}})
		wantKind(t, err, mail.Invalid)
		// The server gave the UID of a vanished message to another one.
		b.do(Batch{Vanished: []PlacementRef{ref("INBOX", 2)}})
		gone := r.IDs[ref("INBOX", 2)]
		r = b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 2), letter{day: 1, body: "three"})}})
		if r.IDs[ref("INBOX", 2)] == gone {
			t.Errorf("another message has the id of the vanished one")
		}
		_, err = b.Message(t.Context(), gone)
		wantKind(t, err, mail.NotFound)
	})
}

func TestUIDValidityChange(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		var batch Batch
		for i := range 20 {
			batch.New = append(batch.New, b.held(ref("INBOX", mail.UID(i+1)), letter{id: string(rune('a' + i)), day: i, body: "x"}, mail.Flags(i%2)))
		}
		batch.Cursors = []Cursor{{Folder: fid("INBOX"), UIDValidity: 1, UIDNext: 21, HighestModSeq: 9, HeadersDone: true, BackfillBelow: 1}}
		was := b.do(batch).IDs
		from := b.seq()
		b.do(Batch{Folders: []mail.Folder{folder("INBOX", 2)}})
		b.wantLog(from, "folder.reset fINBOX")
		if f := b.folder("INBOX"); f.Total != 0 || f.Unread != 0 || f.UIDNext != 0 || f.HighestModSeq != 0 || f.HeadersDone || f.BackfillBelow != 0 || f.UIDValidity != 2 {
			t.Errorf("after the reset: %+v", f)
		}
		_, err := b.Apply(t.Context(), Batch{Term: b.term, Cursors: batch.Cursors})
		wantKind(t, err, mail.Conflict)
		_, err = b.Apply(t.Context(), Batch{Term: b.term, New: batch.New[:1]})
		wantKind(t, err, mail.Conflict)
		b.ok()

		from = b.seq()
		var again Batch
		for i := 19; i >= 0; i-- {
			n := batch.New[i]
			n.PlacementRef, n.Content = refIn("INBOX", 2, mail.UID(100-i)), nil
			again.New = append(again.New, n)
		}
		is := b.do(again).IDs
		for i := range 20 {
			if was[ref("INBOX", mail.UID(i+1))] != is[refIn("INBOX", 2, mail.UID(100-i))] {
				t.Errorf("message %d has another id", i)
			}
		}
		b.wantLog(from) // the same messages, in the same folder, with the same flags
		if c, _ := b.Counts(t.Context()); c != (Counts{Messages: 20, Held: 20, Placements: 20}) {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestWipeAndAgainInAnotherOrder(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		var ids, threads [2]map[string]string
		for round := range 2 {
			b := addBox(t, s, "ada@example.com")
			b.folders("INBOX", "Sent", "Archive")
			var list []NewMessage
			for i := range 30 {
				l := letter{id: string(rune('A' + i)), subject: "Re: about", day: i % 7, body: "text"}
				if i%3 != 0 {
					l.reply = string(rune('A' + i - 1))
				}
				if i%5 == 0 {
					l.id = ""
					l.body = string(rune('A' + i))
				}
				list = append(list, b.at(ref([]string{"INBOX", "Sent", "Archive"}[i%3], mail.UID(i+1)), l))
				list = append(list, b.at(ref("Archive", mail.UID(100+i)), l))
			}
			if round == 1 {
				slices.Reverse(list)
			}
			ids[round], threads[round] = map[string]string{}, map[string]string{}
			for chunk := range slices.Chunk(list, 7+round*6) {
				for r, id := range b.do(Batch{New: chunk}).IDs {
					ids[round][string(r.Folder)+string(rune(r.UID))] = string(id)
				}
			}
			for _, id := range ids[round] {
				threads[round][id] = string(b.get(mail.MessageID(id)).Thread)
			}
			if round == 1 {
				for id, th := range threads[0] { // ids of threads that the first round knew
					got, err := b.Thread(t.Context(), mail.ThreadID(th))
					if err != nil || string(got.ID) != threads[1][id] {
						t.Errorf("thread %s of before: %v %v, want %s", th, got.ID, err, threads[1][id])
					}
				}
			}
			b.ok()
			if err := s.DeleteAccount(t.Context(), b.id); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(ids[0], ids[1]) {
			t.Errorf("other ids after the wipe:\n%v\n%v", ids[0], ids[1])
		}
	})
}

func TestFencing(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		old := b.term
		next, err := b.NextTerm(t.Context())
		if err != nil || next <= old {
			t.Fatalf("next term %d after %d: %v", next, old, err)
		}
		_, err = b.Apply(t.Context(), Batch{Term: old, Done: true})
		wantKind(t, err, mail.Fenced)
		_, err = b.Sweep(t.Context(), old, farFuture)
		wantKind(t, err, mail.Fenced)
		b.term = next
		b.do(Batch{Done: true})
		b.wantLog(1, "grant.imap_sync_completed")
	})
}

func TestNothingOfAFailedBatch(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		from := b.seq()
		for _, bad := range []Batch{
			{New: []NewMessage{b.at(ref("INBOX", 1), letter{id: "a"}), b.at(ref("None", 1), letter{id: "b"})}},
			{New: []NewMessage{b.at(ref("INBOX", 0), letter{id: "a"})}},
			{New: []NewMessage{b.at(refIn("INBOX", 2, 1), letter{id: "a"})}},
			{Folders: []mail.Folder{folder("X", 1), {}}},
			{Folders: []mail.Folder{folder("X", 1)}, Cursors: []Cursor{{Folder: fid("Y"), UIDValidity: 1, UIDNext: 4}}},
		} {
			bad.Term = b.term
			if _, err := b.Apply(t.Context(), bad); err == nil {
				t.Errorf("no error for %+v", bad)
			}
		}
		b.wantLog(from)
		b.do(Batch{Folders: []mail.Folder{folder("X", 1)}, New: []NewMessage{b.at(ref("X", 1), letter{id: "a"})}})
		b.ok()
	})
}

func TestFolders(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		in := folder("INBOX", 0)
		in.RawName, in.Attrs = "IN\xffBOX", []string{`\HasChildren`}
		b.do(Batch{Folders: []mail.Folder{in, folder("Old", 1)}})
		b.wantLog(0, "folder.created fINBOX", "folder.created fOld")
		got := b.folder("INBOX")
		in.Seq = got.Seq
		if !reflect.DeepEqual(got, in) {
			t.Errorf("got %+v\nwant %+v", got, in)
		}
		from := b.seq()
		in.UIDValidity = 9
		renamed := folder("Old", 1)
		renamed.Name = "New name"
		b.do(Batch{Folders: []mail.Folder{in, renamed}})
		b.wantLog(from, "folder.updated fOld") // the first UIDVALIDITY is no reset
		b.do(Batch{New: []NewMessage{b.at(ref("Old", 1), letter{id: "a"})}})
		from = b.seq()
		b.do(Batch{GoneFolders: []mail.FolderID{fid("Old"), "fnone"}})
		b.wantLog(from, "folder.deleted fOld")
		if list, err := b.Folders(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("folders: %v %v", list, err)
		}
		_, err := b.Folder(t.Context(), fid("Old"))
		wantKind(t, err, mail.NotFound)
		if list, _, err := b.Messages(t.Context(), MessageQuery{}); err != nil || len(list) != 1 {
			t.Errorf("messages of a gone folder wait for the sweep: %v %v", list, err)
		}
		b.ok()
		from = b.seq()
		b.do(Batch{Folders: []mail.Folder{folder("Old", 1)}, New: []NewMessage{b.at(ref("Old", 1), letter{id: "a"})}})
		b.wantLog(from, "folder.created fOld")
		b.do(Batch{GoneFolders: []mail.FolderID{fid("Old")}})
		if r := b.sweep(farFuture); r.Changes != 1 {
			t.Errorf("swept: %+v", r)
		}
		b.ok()
	})
}

func TestFlagsStateAndQuarantine(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		l := letter{id: "a", day: 1}
		id := b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 1), l)}}).IDs[ref("INBOX", 1)]
		from := b.seq()
		b.do(Batch{Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 1), Flags: mail.FlagSeen, Keywords: []string{"b", "a", "b"}, ModSeq: 5}, {PlacementRef: ref("INBOX", 2)}}})
		b.do(Batch{Flags: []FlagUpdate{{PlacementRef: ref("INBOX", 1), Flags: mail.FlagSeen, Keywords: []string{"a", "b"}, ModSeq: 6}}}) // only MODSEQ
		b.wantLog(from, "message.updated "+string(id)+" fINBOX")
		list, err := b.Placements(t.Context(), fid("INBOX"), 1)
		if err != nil || len(list) != 1 || list[0].ModSeq != 6 || !slices.Equal(list[0].Keywords, []string{"a", "b"}) || list[0].Folder != fid("INBOX") {
			t.Errorf("placements: %+v %v", list, err)
		}
		from = b.seq()
		b.do(Batch{Quarantine: []Trouble{{PlacementRef: ref("INBOX", 1), Reason: "the server refused", NextTry: farFuture}, {PlacementRef: ref("INBOX", 3), Reason: "?"}}})
		if m := b.get(id); m.Body != mail.BodyQuarantined || m.Trouble != "the server refused" {
			t.Errorf("in quarantine: %v %q", m.Body, m.Trouble)
		}
		troubles, err := b.Troubles(t.Context(), 10)
		if err != nil || len(troubles) != 1 || troubles[0].PlacementRef != ref("INBOX", 1) || !troubles[0].NextTry.Equal(farFuture) {
			t.Errorf("troubles: %+v %v", troubles, err)
		}
		if list, _ := b.Unheld(t.Context(), fid("INBOX"), 9); len(list) != 0 {
			t.Errorf("to be fetched although it is not due")
		}
		for _, u := range []Unit{{Folder: fid("INBOX"), UIDValidity: 1, First: 1, Last: 1, Reason: "it killed the process"}, // the one above
			{Folder: fid("INBOX"), UIDValidity: 2, First: 1, Last: 1, Reason: "another"}, {Folder: "fOther", UIDValidity: 1, First: 1, Last: 1, Reason: "another"},
			{Folder: fid("INBOX"), Reason: "a folder"}, {Folder: fid("INBOX"), UIDValidity: 1, First: 7, Last: 9, UnderWay: true}} {
			if err := b.PutUnit(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := b.CountTroubles(t.Context()); err != nil || n != 4 {
			t.Errorf("%d are set aside, %v, want 4", n, err)
		}
		b.ok()
		b.do(Batch{Bodies: []Body{b.body(ref("INBOX", 1), l)}})
		b.wantLog(from, "message.updated "+string(id)+" fINBOX", "message.updated "+string(id)+" fINBOX")
		if m := b.get(id); m.Body != mail.BodyHeld || m.Trouble != "" {
			t.Errorf("after it: %v %q", m.Body, m.Trouble)
		}
		from = b.seq()
		st := mail.SyncStatus{State: mail.StateThrottled, Reason: "asked to wait\x00", Since: time.Unix(1700000000, 0).UTC()}
		b.do(Batch{State: &st})
		st.FreshAt = time.Unix(1700000100, 0).UTC()
		b.do(Batch{State: &st})
		b.wantLog(from, "grant.updated")
		a, err := b.s.Account(context.Background(), "", b.id)
		if err != nil || a.Sync.State != mail.StateThrottled || a.Sync.Reason != "asked to wait" || !a.Sync.FreshAt.Equal(st.FreshAt) {
			t.Errorf("in the control store: %+v %v", a.Sync, err)
		}
	})
}

// TestBytesForAnotherMessage: bytes that were fetched of a message are not given to the one that lies in its place by now.
func TestBytesForAnotherMessage(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		at, old, now := ref("INBOX", 1), letter{id: "old", day: 1, body: "old"}, letter{id: "now", day: 2, body: "now"}
		late := b.body(at, old)
		late.Message = b.do(Batch{New: []NewMessage{b.at(at, old)}}).IDs[at]
		b.do(Batch{Renewed: []mail.FolderID{b.folder("INBOX").ID}})
		id := b.do(Batch{New: []NewMessage{b.at(at, now)}}).IDs[at]
		b.do(Batch{Bodies: []Body{late}})
		if raw, err := b.RawBlob(t.Context(), id); err != nil || raw.ID != 0 {
			t.Errorf("it has bytes: %+v, %v", raw, err)
		}
		if _, err := b.OpenBlob(t.Context(), late.Raw.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("the bytes that are of no use are still there: %v", err)
		}
		body := b.body(at, now)
		body.Message = id
		b.do(Batch{Bodies: []Body{body}})
		if raw, err := b.RawBlob(t.Context(), id); err != nil || raw.ID == 0 {
			t.Errorf("it has none: %+v, %v", raw, err)
		}
		b.ok()
	})
}
