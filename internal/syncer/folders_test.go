package syncer

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAFolderThatIsAwayIsNotGone: the server does not list a folder for a while (what is behind a shared namespace is down, say), and
// says no when asked for it. Only when it says that there is none, or says no more than no for a day, the folder is gone.
func TestAFolderThatIsAwayIsNotGone(t *testing.T) {
	t.Parallel()
	for no, gone := range map[string]time.Duration{ // after how long it is; 0: never
		"NO Mailbox doesn't exist: Work":         3 * time.Minute,
		"NO [NONEXISTENT] Unknown Mailbox":       3 * time.Minute,
		"NO Unknown Mailbox: Work (Failure)":     3 * time.Minute,
		"NO Server unavailable":                  0,
		"NO Internal error occurred.":            24 * time.Hour,
		"NO Mailbox is locked":                   24 * time.Hour,
		"NO [CANNOT] no":                         24 * time.Hour,
		"NO [NOPERM] Permission denied":          0,
		"NO [SERVERBUG] Internal error":          0,
		"NO [INUSE] Mailbox does not exist, now": 0,
		"BAD what":                               0,
	} {
		t.Run(no, func(t *testing.T) {
			t.Parallel()
			away := false
			r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
				if away && (c.Name == "EXAMINE" || c.Name == "SELECT" || c.Name == "STATUS") && strings.Contains(c.Args, "Work") {
					return no
				}
				return ""
			}, Say: func(_ persona.Command, line string) string {
				if away && (strings.HasPrefix(line, "* LIST") || strings.HasPrefix(line, "* STATUS")) && strings.Contains(line, `"Work"`) {
					return ""
				}
				return line
			}})
			r.p.Create("Work")
			r.fill("Work", 1, 3)
			r.begin()
			looks := func(after time.Duration) (deleted bool) {
				for range 4 {
					r.wait(after)
					r.login()
					r.look(false)
				}
				return slices.ContainsFunc(r.changes(), func(c string) bool { return strings.Contains(c, "deleted") })
			}
			away = true
			if is := looks(3 * time.Minute); is != (gone == 3*time.Minute) {
				t.Errorf("soon: deleted %t", is)
			}
			if gone == 3*time.Minute {
				return
			}
			if doubt, due := r.a.doubts(); !doubt || due {
				t.Errorf("doubt %t, due %t", doubt, due)
			}
			if is := looks(12 * time.Hour); is != (gone == 24*time.Hour) {
				t.Errorf("later: deleted %t", is)
			}
			away = false
			if looks(time.Minute) {
				t.Error("deleted as it is back")
			}
			r.agrees()
			if doubt, _ := r.a.doubts(); doubt {
				t.Error("there is still doubt")
			}
		})
	}
}

func mint(seed string) string { return "f(" + seed + ")" }

// adopt is what the store makes of changed folders.
func adopt(t *testing.T, listed []imap.Mailbox, stored []mail.Folder) []mail.Folder {
	t.Helper()
	changed, _ := diffFolders(mint, listed, stored, nil)
	out := append([]mail.Folder(nil), stored...)
next:
	for _, c := range changed {
		for i := range out {
			if out[i].ID == c.ID {
				out[i] = c
				continue next
			}
		}
		out = append(out, c)
	}
	return out
}

func box(raw string, attrs ...string) imap.Mailbox {
	return imap.Mailbox{Raw: raw, Name: raw, Delimiter: "/", Attrs: attrs}
}

func boxID(raw, id string) imap.Mailbox {
	b := box(raw)
	b.Status = &imap.StatusData{MailboxID: id, Has: imap.HasMailboxID}
	return b
}

func TestDiffFolders(t *testing.T) {
	t.Parallel()
	t.Run("first list", func(t *testing.T) {
		t.Parallel()
		got, gone := diffFolders(mint, []imap.Mailbox{box("Inbox"), box("A"), box("A/B"), box("Out", `\Sent`), box("G", `\Noselect`)}, nil, nil)
		if len(got) != 5 || len(gone) != 0 {
			t.Fatalf("%d changed, %d gone", len(got), len(gone))
		}
		if got[0].ID != "f(name INBOX)" || got[0].Role != mail.RoleInbox || got[0].RawName != "Inbox" {
			t.Errorf("INBOX: %+v", got[0])
		}
		if got[2].Parent != got[1].ID || got[1].Parent != "" {
			t.Errorf("parents: %q %q", got[1].Parent, got[2].Parent)
		}
		if got[3].Role != mail.RoleSent || got[4].Selectable {
			t.Errorf("attributes: %+v %+v", got[3], got[4])
		}
	})
	t.Run("the same list again changes nothing, whatever the children attributes and the case of INBOX say", func(t *testing.T) {
		t.Parallel()
		stored := adopt(t, []imap.Mailbox{box("INBOX"), box("A", `\HasNoChildren`)}, nil)
		got, gone := diffFolders(mint, []imap.Mailbox{box("INBOX"), box("A", `\HasChildren`, `\Marked`)}, stored, nil)
		if len(got)+len(gone) != 0 {
			t.Errorf("changed %+v, gone %v", got, gone)
		}
		got, gone = diffFolders(mint, []imap.Mailbox{box("Inbox"), box("A")}, stored, nil)
		if len(gone) != 0 || len(got) != 1 || got[0].ID != stored[0].ID {
			t.Errorf("respelt INBOX: changed %+v, gone %v", got, gone)
		}
	})
	t.Run("rename by MAILBOXID keeps the id", func(t *testing.T) {
		t.Parallel()
		stored := adopt(t, []imap.Mailbox{boxID("INBOX", "1"), boxID("Old", "2")}, nil)
		got, gone := diffFolders(mint, []imap.Mailbox{boxID("INBOX", "1"), boxID("New", "2")}, stored, nil)
		if len(gone) != 0 || len(got) != 1 || got[0].ID != stored[1].ID || got[0].Name != "New" {
			t.Errorf("changed %+v, gone %v", got, gone)
		}
	})
	t.Run("two folders that swap their names keep their ids", func(t *testing.T) {
		t.Parallel()
		stored := adopt(t, []imap.Mailbox{boxID("X", "1"), boxID("Y", "2")}, nil)
		got, gone := diffFolders(mint, []imap.Mailbox{boxID("X", "2"), boxID("Y", "1")}, stored, nil)
		if len(gone) != 0 || len(got) != 2 || got[0].ID != stored[1].ID || got[1].ID != stored[0].ID {
			t.Errorf("changed %+v, gone %v", got, gone)
		}
	})
	t.Run("a folder that takes the name of a renamed one is another", func(t *testing.T) {
		t.Parallel()
		stored := adopt(t, []imap.Mailbox{boxID("X", "1")}, nil)
		got, gone := diffFolders(mint, []imap.Mailbox{boxID("X", "2"), boxID("Y", "1")}, stored, nil)
		if len(gone) != 0 || len(got) != 2 || got[0].ID == stored[0].ID || got[1].ID != stored[0].ID {
			t.Errorf("changed %+v, gone %v", got, gone)
		}
		stored = adopt(t, []imap.Mailbox{box("X")}, nil)
		got, gone = diffFolders(mint, []imap.Mailbox{box("X"), box("Y")}, stored, map[string]mail.FolderID{"Y": stored[0].ID})
		if len(gone) != 0 || len(got) != 2 || got[0].ID == stored[0].ID || got[1].ID != stored[0].ID {
			t.Errorf("without MAILBOXIDs: changed %+v, gone %v", got, gone)
		}
	})
	t.Run("MAILBOXIDs that cannot be right rename nothing", func(t *testing.T) {
		t.Parallel()
		stored := adopt(t, []imap.Mailbox{boxID("X", "1"), boxID("Y", "2"), boxID("Z", "3")}, nil)
		for _, ids := range [][3]string{{"2", "2", "3"}, {"2", "1", ""}} {
			got, gone := diffFolders(mint, []imap.Mailbox{boxID("X", ids[0]), boxID("Y", ids[1]), boxID("Z", ids[2])}, stored, nil)
			if len(gone) != 0 || len(got) != 0 {
				t.Errorf("%q: changed %+v, gone %v", ids, got, gone)
			}
		}
	})
	t.Run("a missing folder is gone", func(t *testing.T) {
		t.Parallel()
		stored := adopt(t, []imap.Mailbox{box("INBOX"), box("A")}, nil)
		_, gone := diffFolders(mint, []imap.Mailbox{box("INBOX")}, stored, nil)
		if len(gone) != 1 || gone[0] != stored[1].ID {
			t.Errorf("gone %v", gone)
		}
	})
	t.Run("a list with an unreadable line misses nothing", func(t *testing.T) {
		t.Parallel()
		stored := adopt(t, []imap.Mailbox{box("INBOX"), box("A")}, nil)
		_, gone := diffFolders(mint, []imap.Mailbox{box("INBOX"), {Err: errors.New("garbage")}}, stored, nil)
		if len(gone) != 0 {
			t.Errorf("gone %v", gone)
		}
	})
	t.Run("one name twice, no delimiter, odd names", func(t *testing.T) {
		t.Parallel()
		flat := imap.Mailbox{Raw: `a"b\c`, Name: `a"b\c`}
		got, _ := diffFolders(mint, []imap.Mailbox{box("INBOX"), flat, flat, box("__proto__")}, nil, nil)
		if len(got) != 3 || got[1].Delimiter != "" || got[1].Parent != "" {
			t.Errorf("%+v", got)
		}
	})
}

func TestLookNeedsNoVisitOnlyWhenEverythingAgrees(t *testing.T) {
	t.Parallel()
	f := mail.Folder{UIDValidity: 1, UIDNext: 10, HighestModSeq: 5, HeadersDone: true, Total: 3, Unread: 1}
	st := imap.StatusData{
		Messages: 3, Unseen: 1, UIDNext: 10, UIDValidity: 1, HighestModSeq: 5,
		Has: imap.HasMessages | imap.HasUnseen | imap.HasUIDNext | imap.HasUIDValidity | imap.HasHighestModSeq,
	}
	if l := (look{Folder: f, Status: &st}); !l.counted() || !l.same() {
		t.Fatal("an equal STATUS asks for a visit")
	}
	for name, change := range map[string]func(*mail.Folder, *imap.StatusData){
		"headers missing": func(f *mail.Folder, _ *imap.StatusData) { f.HeadersDone = false },
		"messages":        func(_ *mail.Folder, s *imap.StatusData) { s.Messages++ },
		"unseen":          func(_ *mail.Folder, s *imap.StatusData) { s.Unseen++ },
		"uidnext":         func(_ *mail.Folder, s *imap.StatusData) { s.UIDNext++ },
		"uidvalidity":     func(_ *mail.Folder, s *imap.StatusData) { s.UIDValidity++ },
		"modseq":          func(_ *mail.Folder, s *imap.StatusData) { s.HighestModSeq++ },
		"item missing":    func(_ *mail.Folder, s *imap.StatusData) { s.Has &^= imap.HasUIDNext },
	} {
		f, st := f, st
		change(&f, &st)
		if (look{Folder: f, Status: &st}).counted() {
			t.Errorf("%s: no visit", name)
		}
	}
	st.Has &^= imap.HasHighestModSeq
	if l := (look{Folder: f, Status: &st}); !l.counted() || l.same() {
		t.Error("without MODSEQ the counts may agree but prove nothing")
	}
	if (look{Folder: f}).counted() {
		t.Error("no STATUS, no visit")
	}
}
