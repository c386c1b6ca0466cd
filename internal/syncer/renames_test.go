package syncer

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// folderIDs returns the ids of the folders by name.
func (r *rig) folderIDs() map[string]mail.FolderID {
	r.t.Helper()
	folders, err := r.a.mbox.Folders(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]mail.FolderID{}
	for _, f := range folders {
		out[f.Name] = f.ID
	}
	return out
}

func TestRenamesWithoutMailboxID(t *testing.T) {
	t.Parallel()
	caps := persona.Without(persona.All, "OBJECTID")
	for name, sc := range map[string]struct {
		do   func(*rig)
		want map[string]string // new name to the one before
		log  []string
	}{
		"renamed":               {func(r *rig) { r.p.Rename("A", "Z") }, map[string]string{"Z": "A", "B": "B"}, []string{"folder.updated Z"}},
		"renamed, with changes": {func(r *rig) { r.p.Rename("A", "Z"); r.p.Expunge("Z", 3); r.fill("Z", 50, 50) }, map[string]string{"Z": "A"}, []string{"folder.updated Z", "message.created m50 in Z"}},
		"swapped": {func(r *rig) { r.p.Rename("A", "tmp"); r.p.Rename("B", "A"); r.p.Rename("tmp", "B") },
			map[string]string{"A": "B", "B": "A"}, []string{"folder.updated A", "folder.updated B"}},
		"renamed, and made anew": {func(r *rig) { r.p.Rename("A", "Z"); r.p.Create("A"); r.fill("A", 60, 60) },
			map[string]string{"Z": "A"}, []string{"folder.updated Z", "folder.created A", "message.created m60 in A", "message.updated m60 in A"}},
		"in another case, with most of it gone": {func(r *rig) { r.p.Rename("A", "a"); r.p.Expunge("a", 1, 2, 3, 4, 5) }, map[string]string{"a": "A", "B": "B"}, []string{"folder.updated a"}},
		"in another case, and one has its name": {func(r *rig) { r.p.Rename("A", "Z"); r.p.Rename("B", "a") }, map[string]string{"Z": "A", "a": "B"}, []string{"folder.updated a", "folder.updated Z"}},
		"below another":                         {func(r *rig) { r.p.Rename("A", "Z/A") }, map[string]string{"Z/A": "A"}, []string{"folder.updated Z/A"}},
		"an empty one":                          {func(r *rig) { r.p.Rename("Empty", "Void") }, map[string]string{"Void": "Empty"}, []string{"folder.updated Void"}},
		"with the UIDVALIDITY of another": {func(r *rig) { r.p.Rename("Twin1", "T") },
			map[string]string{"T": "Twin1", "Twin2": "Twin2"}, []string{"folder.updated T"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: caps})
			for _, f := range []string{"A", "B", "Empty", "Twin1", "Twin2"} {
				r.p.Create(f)
			}
			r.p.Renew("Twin1", 77, 0)
			r.p.Renew("Twin2", 77, 0)
			r.fill("A", 1, 10)
			r.fill("B", 11, 20)
			r.fill("Twin2", 21, 25)
			r.fill("Twin1", 31, 35)
			r.begin()
			r.bodiesFetched()
			before := r.folderIDs()
			ids := r.ids()
			sc.do(r)
			r.login()
			r.look(false)
			r.agrees()
			for now, was := range sc.want {
				if got := r.folderIDs()[now]; got != before[was] {
					t.Errorf("%s is %s, and %s was %s", now, got, was, before[was])
				}
			}
			got, want := r.changes(), slices.Clone(sc.log)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("changes %q, want %q", got, want)
			}
			for name, id := range ids {
				if r.ids()[name] != id {
					t.Errorf("%s has another id", name)
				}
			}
			fresh := strings.Count(strings.Join(sc.log, " "), "message.created")
			if n := r.bodiesFetched(); n != fresh {
				t.Errorf("%d bodies fetched, want %d", n, fresh)
			}
		})
	}
}

// TestEmptyFoldersAlike: several empty folders have the same UIDVALIDITY and UIDNEXT, as those that a server makes at once do. One is
// deleted; the others are themselves, and not that one.
func TestEmptyFoldersAlike(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "OBJECTID")})
	for _, f := range []string{"One", "Two", "Three"} {
		r.p.Create(f)
		r.p.Renew(f, 77, 0)
	}
	r.begin()
	before := r.folderIDs()
	r.p.Delete("One")
	for range 4 {
		r.login()
		r.look(false)
		r.wait(5 * time.Minute)
	}
	r.wants("folder.deleted")
	delete(before, "One")
	if after := r.folderIDs(); !maps.Equal(before, after) {
		t.Errorf("folders were %v and are %v", before, after)
	}
}

// TestListsThatLeaveOut checks that a folder which a list leaves out is kept, unless another session a minute later is told the
// same and that it does not exist.
func TestListsThatLeaveOut(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(persona.Command, string) string{
		"one folder": func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") && strings.Contains(line, `"Work"`) || strings.HasPrefix(line, `* STATUS "Work"`) {
				return ""
			}
			return line
		},
		"all that can be opened": func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") {
				return strings.Replace(line, "(", `(\Noselect `, 1)
			}
			return line
		},
		"an unreadable line": func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") && strings.Contains(line, `"Work"`) {
				return `* LIST (\HasNoChildren "/ Work`
			}
			return line
		},
		"all but INBOX": func(_ persona.Command, line string) string {
			if strings.HasPrefix(line, "* LIST") && !strings.Contains(line, `"INBOX"`) {
				return ""
			}
			return line
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Create("Work")
			r.fill("Work", 1, 3)
			r.begin()
			r.p.Turn(func(k *persona.Knobs) { k.Say = say })
			for range 3 {
				r.login()
				r.look(false)
				r.wait(5 * time.Minute)
			}
			for _, c := range r.changes() {
				if strings.Contains(c, "deleted") {
					t.Errorf("%s", c)
				}
			}
			r.p.Turn(func(k *persona.Knobs) { k.Say = nil })
			r.login()
			r.look(false)
			r.agrees()
		})
	}
	t.Run("nothing at all", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, persona.Knobs{})
		r.fill("INBOX", 1, 3)
		r.begin()
		r.p.Turn(func(k *persona.Knobs) {
			k.Say = func(_ persona.Command, line string) string {
				if strings.HasPrefix(line, "* LIST") {
					return ""
				}
				return line
			}
		})
		if err := r.a.pass(t.Context(), r.s, false); err == nil {
			t.Error("an empty list is believed")
		}
		r.agrees()
	})
	t.Run("a folder that is really gone", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, persona.Knobs{})
		r.p.Create("Work")
		r.fill("Work", 1, 3)
		r.begin()
		r.p.Delete("Work")
		r.look(false)
		r.wait(2 * time.Minute)
		r.look(false)
		r.wants()
		r.login()
		r.look(false)
		r.wait(3 * time.Minute)
		r.look(false)
		r.wants("folder.deleted", "message.deleted m1", "message.deleted m2", "message.deleted m3")
	})
}

// TestAFolderThatCannotBeOpened checks that the others are synchronised, and that it is tried again.
func TestAFolderThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"refused": "NO [SERVERBUG] internal error", "not there": "NO [NONEXISTENT] no such mailbox", "forbidden": "NO [NOPERM] not yours"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
				if c.Name == "EXAMINE" && c.Folder == "INBOX" {
					return answer
				}
				return ""
			}})
			r.p.Create("Work")
			r.fill("INBOX", 1, 3)
			r.fill("Work", 4, 6)
			r.begin()
			if got := len(r.state()); got != 3 {
				t.Errorf("%d messages", got)
			}
			r.isIn(mail.StateLive, "")
			for range maxStrikes {
				r.wait(time.Hour)
				r.seek()
			}
			r.isIn(mail.StateDegraded, "INBOX")
			r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
			r.wait(25 * time.Hour)
			r.seek()
			r.isIn(mail.StateLive, "")
			r.agrees()
		})
	}
}

// TestALostFolderWhoseNameIsTaken: two folders swap their names, and one of them has changed too much to be known again. That the
// server has a folder of its name is no reason to keep it.
func TestALostFolderWhoseNameIsTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "OBJECTID")})
	r.p.Create("A")
	r.p.Create("B")
	r.fill("A", 1, 10)
	r.fill("B", 11, 20)
	r.begin()
	before, ids := r.folderIDs(), r.ids()
	r.p.Rename("A", "tmp")
	r.p.Rename("B", "A")
	r.p.Rename("tmp", "B")
	for uid := range uint32(5) {
		r.p.Expunge("B", uid+1)
	}
	for range 4 {
		r.login()
		r.look(false)
		r.wait(5 * time.Minute)
	}
	r.agrees()
	after := r.folderIDs()
	if after["A"] != before["B"] || after["B"] == before["A"] || after["B"] == before["B"] || len(after) != len(before) {
		t.Errorf("folders were %v and are %v", before, after)
	}
	if list, err := r.a.mbox.Folders(t.Context()); err != nil || len(list) != len(before) {
		t.Errorf("%d folders, want %d: %v %v", len(list), len(before), list, err)
	}
	gone := 0
	for _, c := range r.changes() {
		if strings.Contains(c, "A and A") {
			t.Errorf("%s", c)
		}
		if strings.HasPrefix(c, "message.deleted") {
			gone++
		}
	}
	if gone != 5 {
		t.Errorf("%d messages were told as deleted, want 5", gone)
	}
	for name, id := range r.ids() {
		if ids[name] != id {
			t.Errorf("%s has another id", name)
		}
	}
}

// TestAFolderGoesBeforeItsBodies: bodies are fetched, and their folder is not there any more. The other folders get theirs.
func TestAFolderGoesBeforeItsBodies(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Gone")
	r.p.Create("Work")
	r.fill("Gone", 1, 3)
	r.fill("Work", 4, 6)
	r.login()
	if err := r.a.pass(t.Context(), r.s, false); err != nil {
		t.Fatal(err)
	}
	r.p.Delete("Gone")
	if _, err := r.a.bodies(t.Context(), r.s, time.Hour); err != nil {
		t.Error(err)
	}
	for place, state := range r.state() {
		if strings.HasPrefix(place, "Work") && strings.HasSuffix(state, "(no body)") {
			t.Errorf("%s: %s", place, state)
		}
	}
	for range 3 {
		r.login()
		r.look(false)
		r.wait(5 * time.Minute)
	}
	r.agrees()
}

// TestOperationsFindRenamedFolders: two folders swap their names, and messages in one are to be changed before the folders are listed
// again, by moving them to the other.
func TestOperationsFindRenamedFolders(t *testing.T) {
	t.Parallel()
	for name, rename := range map[string]func(p *persona.Server){
		"swapped":   func(p *persona.Server) { p.Rename("A", "tmp"); p.Rename("B", "A"); p.Rename("tmp", "B") },
		"renamed":   func(p *persona.Server) { p.Rename("A", "C"); p.Rename("B", "D") },
		"the one":   func(p *persona.Server) { p.Rename("A", "C") },
		"the other": func(p *persona.Server) { p.Rename("B", "D") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "OBJECTID")})
			r.p.Create("A")
			r.p.Create("B")
			r.fill("A", 1, 20)
			r.fill("B", 21, 40)
			r.begin()
			before, moved := r.folderIDs(), r.ids()["m7"]
			rename(r.p)
			op, err := r.a.mbox.AddOperation(t.Context(), mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{moved}, Set: mail.FlagFlagged, Folder: before["B"]})
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if err := r.a.serveOperations(t.Context(), r.s); err != nil {
					t.Fatal(err)
				}
				r.wait(time.Minute)
			}
			if op, err = r.a.mbox.Operation(t.Context(), op.ID); err != nil || op.State != mail.OpDone {
				t.Errorf("%+v, %v", op, err)
			}
			r.look(false)
			r.agrees()
			after := r.folderIDs()
			for _, old := range []string{"A", "B"} {
				if !slices.Contains(slices.Collect(maps.Values(after)), before[old]) {
					t.Errorf("%s was %s, and folders are %v", old, before[old], after)
				}
			}
			places, err := r.a.mbox.PlacementsOf(t.Context(), moved)
			if err != nil || len(places[moved]) != 1 || places[moved][0].Folder != before["B"] {
				t.Errorf("%+v, %v", places[moved], err)
			}
		})
	}
}

// TestTheLastCopyIsKept: a message has two copies as we know, and shall lie in a third folder. The first copy cannot be moved, since its
// folder has another name by now, or is not there; then the second is the only one, and must not be removed as one too many.
func TestTheLastCopyIsKept(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(p *persona.Server){
		"nothing changed":             func(*persona.Server) {},
		"the first folder is renamed": func(p *persona.Server) { p.Rename("A", "Other") },
		"the first folder is gone":    func(p *persona.Server) { p.Delete("A") },
		"the first copy is gone":      func(p *persona.Server) { p.Expunge("A", 7) },
		"the second copy is gone":     func(p *persona.Server) { p.Expunge("B", 7) },
		"the copy that was there":     func(p *persona.Server) { p.Expunge("Target", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "OBJECTID")})
			for _, f := range []string{"A", "B", "Target"} {
				r.p.Create(f)
			}
			r.fill("A", 1, 10)
			r.fill("B", 1, 10)
			if name == "the copy that was there" {
				r.fill("Target", 7, 7)
			}
			r.begin()
			ids := r.folderIDs()
			change(r.p)
			id := r.ids()["m7"]
			op, err := r.a.mbox.AddOperation(t.Context(), mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{id}, Folder: ids["Target"]})
			if err != nil {
				t.Fatal(err)
			}
			for range 6 {
				r.login()
				if err := r.a.serveOperations(t.Context(), r.s); err != nil {
					t.Fatal(err)
				}
				r.look(false)
				r.wait(time.Minute)
			}
			r.agrees()
			places, err := r.a.mbox.PlacementsOf(t.Context(), id)
			if err != nil || len(places[id]) != 1 || places[id][0].Folder != ids["Target"] {
				t.Errorf("%+v, %v", places[id], err)
			}
			if op, err = r.a.mbox.Operation(t.Context(), op.ID); err != nil || op.State != mail.OpDone {
				t.Errorf("%+v, %v", op, err)
			}
		})
	}
}
