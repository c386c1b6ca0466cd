package syncer

import (
	"maps"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestOpenedUnderTheSameName: that a folder of the name is open is not enough; it must be the folder, in the generation that is meant, and what was
// made anew is opened anew.
func TestOpenedUnderTheSameName(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 3)
	r.begin()
	f := r.folder("INBOX")
	opens := func(what string, f mail.Folder, want int) {
		t.Helper()
		before := r.p.Count("EXAMINE")
		if _, err := r.a.openSame(t.Context(), r.s, f); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := r.p.Count("EXAMINE") - before; n != want {
			t.Errorf("%s: opened %d times", what, n)
		}
	}
	opens("a closed one", f, 1)
	opens("the same", f, 0)
	later, other := f, f
	later.UIDValidity++
	other.ID = r.folder("Sent").ID
	opens("another generation", later, 1)
	opens("a closed one, as it was another", f, 1)
	opens("another of the name", other, 1)
	opens("the first again", f, 1)
	r.a.lister = r.s
	_, err := r.a.renewed(t.Context(), f)
	r.a.lister = nil
	if err != nil || r.s.selected != "" {
		t.Errorf("%q counts as open after it was made anew, %v", r.s.selected, err)
	}
}

// TestRespelt: which stored folders are those that are listed in another case now.
func TestRespelt(t *testing.T) {
	t.Parallel()
	type names []string
	for what, c := range map[string]struct {
		stored, listed names
		found          map[string]mail.FolderID // otherwise, before
		want           map[string]mail.FolderID
	}{
		"one":                           {names{"Work"}, names{"WORK"}, nil, map[string]mail.FolderID{"WORK": "Work"}},
		"as it was":                     {names{"Work"}, names{"Work"}, nil, nil},
		"two where one was":             {names{"Work"}, names{"WORK", "work"}, nil, nil},
		"one where two were":            {names{"Work", "work"}, names{"WORK"}, nil, nil},
		"another beside it":             {names{"Work"}, names{"Work", "WORK"}, nil, nil},
		"twice the same line":           {names{"Work"}, names{"WORK", "WORK"}, nil, map[string]mail.FolderID{"WORK": "Work"}},
		"one whose name another has":    {names{""}, names{""}, nil, nil},
		"it is another, renamed":        {names{"Work"}, names{"WORK"}, map[string]mail.FolderID{"WORK": "Old"}, map[string]mail.FolderID{"WORK": "Old"}},
		"it has another name, as found": {names{"Work"}, names{"WORK", "New"}, map[string]mail.FolderID{"New": "Work"}, map[string]mail.FolderID{"New": "Work"}},
		"INBOX, which has no case":      {names{"INBOX"}, names{"Inbox"}, nil, nil},
	} {
		var stored []mail.Folder
		for _, n := range c.stored {
			stored = append(stored, mail.Folder{ID: mail.FolderID(n), Name: n, RawName: n})
		}
		if what == "one whose name another has" {
			stored[0].ID, stored[0].Name = "Work", "Work"
			c.listed = names{"WORK"}
		}
		var listed []imap.Mailbox
		for _, n := range c.listed {
			listed = append(listed, box(n))
		}
		got := maps.Clone(c.found)
		if got == nil {
			got = map[string]mail.FolderID{}
		}
		if addRespelt(got, listed, stored); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

// TestAllMailWhoseLineCannotBeRead: of the folder of which all others are labels. It is looked at nevertheless, and labels stay what they are.
func TestAllMailWhoseLineCannotBeRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Gmail())
	r.fill("INBOX", 1, 3)
	r.begin()
	id := r.a.labels.all
	if id == "" {
		t.Fatal("folders are no labels")
	}
	r.p.Turn(func(k *persona.Knobs) {
		k.Say = func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") && strings.Contains(line, gmailBins[0]) {
				return `* LIST (\HasNoChildren "/ All Mail`
			}
			return line
		}
	})
	r.fill("INBOX", 4, 4)
	r.login()
	r.look(false)
	if f := r.folder("INBOX"); f.Total != 4 || r.a.labels.all != id {
		t.Errorf("%+v, labels of %q", f, r.a.labels.all)
	}
	r.wants("message.created m4 in INBOX and [Gmail]/All Mail")
}
