package store

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
)

func labels(names ...string) Labels {
	l := Labels{Known: true}
	for _, n := range names {
		l.Folders = append(l.Folders, fid(n))
	}
	return l
}

func (b *box) wantCounts(want Counts, totals map[string][2]int) {
	b.t.Helper()
	if c, err := b.Counts(context.Background()); err != nil || c != want {
		b.t.Errorf("counts %+v, want %+v (%v)", c, want, err)
	}
	for name, n := range totals {
		if f := b.folder(name); f.Total != n[0] || f.Unread != n[1] {
			b.t.Errorf("%s has %d messages, %d unread, want %v", name, f.Total, f.Unread, n)
		}
	}
	b.ok()
}

// TestLabels takes a message through the life of its labels: they are folders, and no copies.
func TestLabels(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("All", "INBOX", "Work", "Trash")
		l := letter{id: "a", day: 1, body: "x"}
		all := ref("All", 1)
		flags := func(f mail.Flags, labels Labels) Batch {
			return Batch{Flags: []FlagUpdate{{PlacementRef: all, Flags: f, Labels: labels}}}
		}

		from := b.seq()
		n := b.at(all, l)
		n.Labels = labels("INBOX", "Work", "Unknown", "All")
		id := b.do(Batch{New: []NewMessage{n}}).IDs[all]
		b.wantLog(from, "message.created "+string(id)+" fAll fINBOX fWork")
		b.wantCounts(Counts{Messages: 1, Placements: 1, Unheld: 1}, map[string][2]int{"All": {1, 1}, "INBOX": {1, 1}, "Work": {1, 1}, "Trash": {0, 0}})
		if list, err := b.Unheld(t.Context(), fid("Work"), 9); err != nil || len(list) != 0 {
			t.Errorf("bytes of a label are wanted: %v %v", list, err)
		}
		if list, err := b.Placements(t.Context(), fid("Work"), 1); err != nil || len(list) != 0 {
			t.Errorf("a label is shown as a copy: %v %v", list, err)
		}
		if list, err := b.Placements(t.Context(), fid("All"), 1); err != nil || len(list) != 1 || fmt.Sprint(list[0].Labels) != "[fINBOX fWork]" {
			t.Errorf("placements: %+v %v", list, err)
		}
		if at, err := b.PlacementsOf(t.Context(), id); err != nil || len(at[id]) != 1 || len(at[id][0].Labels) != 2 {
			t.Errorf("placements of the message: %+v %v", at, err)
		}
		if uids, err := b.Labelled(t.Context(), fid("Work"), fid("All")); err != nil || !slices.Equal(uids, []mail.UID{1}) {
			t.Errorf("labelled: %v %v", uids, err)
		}

		b.do(Batch{Bodies: []Body{b.body(all, l)}})
		from = b.seq()
		b.do(flags(mail.FlagSeen, Labels{}))
		b.wantLog(from, "message.updated "+string(id)+" fAll fINBOX fWork")
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1}, map[string][2]int{"All": {1, 0}, "INBOX": {1, 0}, "Work": {1, 0}})

		from = b.seq()
		b.do(flags(mail.FlagSeen, labels("Work")))
		b.wantLog(from, "message.updated "+string(id)+" fAll fWork")
		b.do(flags(mail.FlagSeen, labels("Work"))) // told again
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1}, map[string][2]int{"INBOX": {0, 0}, "Work": {1, 0}})
		list, _, err := b.Messages(t.Context(), MessageQuery{Folders: []mail.FolderID{fid("Work")}})
		if err != nil || len(list) != 1 {
			t.Errorf("messages by label: %v %v", list, err)
		}

		// Into the trash and back.
		b.do(Batch{Vanished: []PlacementRef{all}})
		b.wantCounts(Counts{Messages: 1, Held: 1, Vanished: 2}, map[string][2]int{"All": {0, 0}, "Work": {0, 0}})
		from = b.seq()
		b.do(Batch{New: []NewMessage{b.at(ref("Trash", 9), l, mail.FlagSeen)}})
		b.wantLog(from, "message.updated "+string(id)+" fTrash")
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1}, map[string][2]int{"Trash": {1, 0}})
		b.do(Batch{Vanished: []PlacementRef{ref("Trash", 9)}})
		from, all = b.seq(), ref("All", 2)
		n = b.at(all, l)
		n.Labels = labels("INBOX")
		b.do(Batch{New: []NewMessage{n}})
		b.wantLog(from, "message.updated "+string(id)+" fAll fINBOX")

		// Gone for a moment, then there after all.
		b.do(Batch{Vanished: []PlacementRef{all}})
		n.Labels = labels("Work")
		b.do(Batch{New: []NewMessage{n}})
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1}, map[string][2]int{"INBOX": {0, 0}, "Work": {1, 1}})

		// The label is deleted.
		b.do(Batch{GoneFolders: []mail.FolderID{fid("Work")}})
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1, Vanished: 1}, nil)
		b.do(flags(mail.FlagSeen, Labels{}))
		b.ok()
		from = b.seq()
		b.sweep(farFuture)
		b.wantLog(from, "message.updated "+string(id)+" fAll")
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1}, map[string][2]int{"All": {1, 0}})

		// The folder of all is another one than it was.
		b.do(flags(0, labels("INBOX")))
		b.do(Batch{Renewed: []mail.FolderID{fid("All")}})
		b.wantCounts(Counts{Messages: 1, Held: 1, Vanished: 2}, map[string][2]int{"All": {0, 0}, "INBOX": {0, 0}})
		n.Labels = labels("INBOX")
		b.do(Batch{New: []NewMessage{n}})
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1}, map[string][2]int{"All": {1, 1}, "INBOX": {1, 1}})

		// Labels are no longer told: the folders are read one by one.
		b.do(Batch{Unlabelled: []mail.FolderID{fid("All")}})
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 1, Vanished: 1}, map[string][2]int{"All": {1, 1}, "INBOX": {0, 0}})
		from = b.seq()
		b.do(Batch{New: []NewMessage{b.at(ref("INBOX", 2), l)}})
		b.wantLog(from)
		b.wantCounts(Counts{Messages: 1, Held: 1, Placements: 2, Unheld: 1}, map[string][2]int{"All": {1, 1}, "INBOX": {1, 1}})
		if n, err := b.OnlyIn(t.Context(), fid("INBOX"), []mail.FolderID{fid("All"), fid("Trash")}); err != nil || n != 0 {
			t.Errorf("%d only in INBOX, %v", n, err)
		}
		if n, err := b.OnlyIn(t.Context(), fid("INBOX"), []mail.FolderID{fid("Trash")}); err != nil || n != 1 {
			t.Errorf("%d only in INBOX, %v", n, err)
		}

		// The message goes for good, with its labels.
		b.do(flags(0, labels("INBOX")))
		b.do(Batch{Removed: []PlacementRef{all, ref("INBOX", 2)}})
		from = b.seq()
		b.sweep(farFuture)
		b.wantLog(from, "message.deleted "+string(id))
		b.wantCounts(Counts{}, map[string][2]int{"All": {0, 0}, "INBOX": {0, 0}})
	})
}

// TestLabelsOfOtherBytes moves a copy with its labels to the message that its bytes make it.
func TestLabelsOfOtherBytes(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("All", "INBOX", "Work")
		x := b.held(ref("All", 1), letter{id: "a", day: 1, body: "x"})
		x.Labels = labels("INBOX")
		y := b.at(ref("All", 2), letter{id: "a", day: 1, body: "y"})
		y.Labels = labels("Work")
		one := b.do(Batch{New: []NewMessage{x, y}}).IDs[x.PlacementRef]
		if m := b.get(one); len(m.Folders) != 3 {
			t.Errorf("before the bytes are known: %v", m.Folders)
		}
		b.do(Batch{Bodies: []Body{b.body(y.PlacementRef, letter{id: "a", day: 1, body: "y"})}})
		if m := b.get(one); fmt.Sprint(m.Folders) != "[fAll fINBOX]" {
			t.Errorf("the first lies in %v", m.Folders)
		}
		b.wantCounts(Counts{Messages: 2, Held: 2, Placements: 2}, map[string][2]int{"All": {2, 2}, "INBOX": {1, 1}, "Work": {1, 1}})
	})
}

// The labels of copies that are wanted newest first are read at once, and not copy by copy.
func TestLabelsDownwards(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("All", "INBOX", "Work")
		var batch Batch
		want := [][]string{{"INBOX"}, nil, {"Work"}, {"INBOX", "Work"}}
		for i, names := range want {
			n := b.at(ref("All", mail.UID(i+1)), letter{id: fmt.Sprint(i), day: 1, body: "x"})
			n.Labels = labels(names...)
			batch.New = append(batch.New, n)
		}
		b.do(batch)
		list, err := b.Unheld(t.Context(), fid("All"), 9)
		if err != nil || len(list) != len(want) {
			t.Fatalf("wanted: %+v %v", list, err)
		}
		folders := make([]int64, len(list))
		for i, p := range list {
			if l := labels(want[p.UID-1]...).Folders; !slices.Equal(p.Labels, l) {
				t.Errorf("UID %d has the labels %v, want %v", p.UID, p.Labels, l)
			}
			if i > 0 && p.UID > list[i-1].UID {
				t.Error("the newest is not the first")
			}
		}
		if n := oneWay(list, folders); n != len(list) {
			t.Errorf("the labels of %d of %d copies are read at once", n, len(list))
		}
		slices.Reverse(list)
		if n := oneWay(list, folders); n != len(list) {
			t.Errorf("upwards: the labels of %d of %d copies are read at once", n, len(list))
		}
		list[2], list[3] = list[3], list[2]
		if n := oneWay(list, folders); n != 3 {
			t.Errorf("there and back: the labels of %d copies are read at once, want 3", n)
		}
		folders[1] = 2
		if n := oneWay(list, folders); n != 1 {
			t.Errorf("of two folders: the labels of %d copies are read at once, want 1", n)
		}
	})
}
