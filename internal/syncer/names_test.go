package syncer_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestFoldersWithTwoNames: a folder that is listed under two names holds each message once. A copy that is the very one which lies where it
// shall is none to be removed.
func TestFoldersWithTwoNames(t *testing.T) {
	t.Parallel()
	for which, caps := range map[string]string{"everything": persona.Without(persona.All, "UIDONLY"), "basic": persona.Basic + " UIDPLUS MOVE"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, persona.Knobs{Caps: caps, Alias: "All/"})
			p.Create("Work")
			p.Create("Kept")
			for n := 1; n <= 3; n++ {
				p.Deliver("Work", message(n))
			}
			p.Deliver("INBOX", message(4))
			b := setupPersona(t, p, nil)
			b.live()
			b.equal()
			holds := func(folder string, want int) {
				t.Helper()
				if got := p.UIDs(folder); len(got) != want {
					t.Errorf("%s holds %v, want %d", folder, got, want)
				}
				b.equal()
			}
			first, second := b.messageAt("Work", 1), b.messageAt("Work", 2)
			b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{first}, Folder: b.folder("Kept").ID})
			holds("Kept", 1)
			holds("Work", 2)
			b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{first}, Folder: b.folder("All/Kept").ID}) // where it is
			b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{first}, Folder: b.folder("Kept").ID})
			holds("Kept", 1)
			b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{b.messageAt("INBOX", 1)}, Folder: b.folder("All/Kept").ID, Set: mail.FlagFlagged})
			holds("Kept", 2)
			b.do(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{second}})
			holds("Trash", 1)
			holds("Work", 1)
			b.do(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{second}})
			holds("Trash", 1)
			b.do(b.saving(1))
			holds("Drafts", 1)
			b.do(b.saving(2))
			holds("Drafts", 1)
			b.do(mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{second}})
			holds("Trash", 0)
			if n := p.Acted()["Alias"]; n == 0 {
				t.Error("no folder had two names")
			}
		})
	}
}

// TestNamesInAnotherCase: to some servers names that differ in nothing but case are one folder's.
func TestNamesInAnotherCase(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{Caps: persona.Without(persona.Basic, "SPECIAL-USE"), CaseBlind: true})
	p.Delete("Trash")
	p.Create("Work")
	p.Create("TRASH")
	p.Deliver("Work", message(1))
	b := setupPersona(t, p, nil)
	b.live()
	work := b.folder("Work").ID
	b.fails(mail.Operation{Kind: mail.OpFolderCreate, Name: "WORK"}, mail.Conflict)
	inner := b.do(mail.Operation{Kind: mail.OpFolderCreate, Name: "work/New"}).Folder
	if f := b.folder("Work/New"); f.ID != inner || f.Parent != work {
		t.Errorf("%+v", f)
	}
	b.do(mail.Operation{Kind: mail.OpFolderRename, Folder: inner, Name: "work/Newer"})
	if f := b.folder("Work/Newer"); f.ID != inner || f.Parent != work {
		t.Errorf("%+v", f)
	}
	b.do(mail.Operation{Kind: mail.OpFolderRename, Folder: work, Name: "WORK"})
	if f := b.folder("WORK"); f.ID != work || b.folder("WORK/Newer").ID != inner {
		t.Errorf("%+v", f)
	}
	b.do(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{b.messageAt("WORK", 1)}})
	if f := b.folder("TRASH"); f.Total != 1 || f.Role != mail.RoleTrash {
		t.Errorf("%+v", f)
	}
	b.equal()
	b.do(mail.Operation{Kind: mail.OpFolderDelete, Folder: inner})
	b.equal()
	changes, err := b.mbox.Changes(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(changes, mail.FolderDeleted); n != 1 {
		t.Errorf("%d folders were told as deleted", n)
	}
	if n := p.Acted()["CaseBlind"]; n == 0 {
		t.Error("case was nothing to nobody")
	}
}
