package syncer

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// holds counts the copies of a message at the persona.
func (r *rig) holds(raw []byte) (n int) {
	for _, m := range r.p.Everything() {
		if m.SHA256 == sha256.Sum256(raw) {
			n++
		}
	}
	return n
}

// expungeMarked is another program that removes what is marked as deleted.
func (r *rig) expungeMarked(folder string) {
	for _, m := range r.p.Everything() {
		if m.Folder == folder && slices.Contains(m.Flags, `\Deleted`) {
			r.p.Expunge(folder, m.UID)
		}
	}
}

func (r *rig) move(name, folder string) mail.Operation {
	r.t.Helper()
	return mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{r.ids()[name]}, Folder: r.folderIDs()[folder]}
}

// TestACopyMarkedAsDeletedIsNoCopy: the copy that lies where the message shall lie is marked as deleted by another program, which
// will expunge it. The other one must not be removed for its sake, whenever it was marked.
func TestACopyMarkedAsDeletedIsNoCopy(t *testing.T) {
	t.Parallel()
	for _, seen := range []bool{true, false} {
		t.Run(map[bool]string{true: "and we know it", false: "just now"}[seen], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Create("A")
			r.fill("INBOX", 1, 5)
			r.p.Deliver("A", letter(2))
			r.begin()
			r.p.Flag("A", 1, `\Deleted`)
			if seen {
				r.look(true)
			}
			op := r.ask(r.move("m2", "A"))
			for range 3 {
				r.wait(time.Minute)
				op = r.serve(op)
			}
			r.expungeMarked("A")
			if n := r.holds(letter(2)); n != 1 || op.State != mail.OpDone {
				t.Errorf("%s %s; %d copies are left", op.State, op.Reason, n)
			}
		})
	}
}

// TestCopiesThatDifferAreNotSurplus: two messages have one header and different bytes (an attachment was taken out of one). Before
// the body of the second is here, something is done with the first.
func TestCopiesThatDifferAreNotSurplus(t *testing.T) {
	t.Parallel()
	for _, kind := range []mail.OpKind{mail.OpUpdate, mail.OpTrash, mail.OpRemove} {
		for _, refused := range []bool{false, true} {
			t.Run(string(kind)+map[bool]string{true: ", body refused"}[refused], func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
					if refused && c.Folder == "A" && strings.Contains(c.Args, "BODY.PEEK[]") {
						return "NO [SERVERBUG] not this one"
					}
					return ""
				}})
				r.p.Create("A")
				r.fill("INBOX", 1, 5)
				r.begin()
				stripped := []byte(strings.Replace(string(letter(2)), "Body 2.", "The attachment was removed.", 1))
				r.p.Deliver("A", stripped)
				if err := r.a.pass(t.Context(), r.s, false); err != nil {
					t.Fatal(err)
				}
				op := r.move("m2", "A")
				if op.Kind = kind; kind != mail.OpUpdate {
					op.Folder = ""
				}
				r.ask(op)
				whole := 1
				if kind == mail.OpRemove && !refused {
					whole = 0
				}
				if n := r.holds(letter(2)); n != whole {
					t.Errorf("%d are whole", n)
				}
				if n := r.holds(stripped); n != 1 {
					t.Errorf("%d are stripped", n)
				}
			})
		}
	}
}

// TestFlagsOfCopiesThatDiffer: nor is the second marked with the first.
func TestFlagsOfCopiesThatDiffer(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("A")
	r.fill("INBOX", 1, 5)
	r.begin()
	r.p.Deliver("A", []byte(strings.Replace(string(letter(2)), "Body 2.", "The attachment was removed.", 1)))
	if err := r.a.pass(t.Context(), r.s, false); err != nil {
		t.Fatal(err)
	}
	if op := r.ask(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{r.ids()["m2"]}, Set: mail.FlagFlagged}); op.State != mail.OpDone {
		t.Error(op.State, op.Reason)
	}
	for _, m := range r.p.Everything() {
		if flagged := slices.Contains(m.Flags, `\Flagged`); flagged != (m.SHA256 == sha256.Sum256(letter(2))) {
			t.Errorf("%s %d: %v", m.Folder, m.UID, m.Flags)
		}
	}
}

// TestOurOwnMoveIsNoDeletion: a message that we moved is not told deleted while the folder into which it went cannot be opened, or
// does not show it yet.
func TestOurOwnMoveIsNoDeletion(t *testing.T) {
	t.Parallel()
	for _, later := range []bool{false, true} {
		t.Run(map[bool]string{true: "shown later", false: "not opened"}[later], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Create("Work")
			r.fill("INBOX", 1, 5)
			r.begin()
			closed := !later
			r.p.Turn(func(k *persona.Knobs) {
				k.Answer = func(c persona.Command) string {
					switch {
					case closed && (c.Name == "EXAMINE" || c.Name == "SELECT") && strings.Contains(c.Args, "Work"):
						return "NO [INUSE] not now"
					case later && c.Name == "UID MOVE":
						r.p.Expunge("INBOX", 2)
						return "OK done"
					}
					return ""
				}
			})
			op := r.ask(r.move("m2", "Work"))
			for range 3 {
				r.login()
				r.look(false)
				op = r.serve(op)
			}
			if later {
				r.p.Deliver("Work", letter(2))
			}
			closed = false
			r.wait(time.Hour)
			r.login()
			r.look(true)
			for _, c := range r.changes() {
				if strings.Contains(c, "deleted") || strings.Contains(c, "created") {
					t.Error(c)
				}
			}
			if op = r.serve(op); op.State != mail.OpDone {
				t.Error(op.State, op.Reason)
			}
			r.agrees()
		})
	}
}

// TestACopyIsMadeOnce: without MOVE the connection ends between COPY and EXPUNGE.
func TestACopyIsMadeOnce(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"UID STORE", "UID EXPUNGE", "the answer of COPY"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "MOVE")})
			r.p.Create("Work")
			r.fill("INBOX", 1, 5)
			r.begin()
			cut := false
			r.p.Turn(func(k *persona.Knobs) {
				k.Answer = func(c persona.Command) string {
					if c.Name == at && !cut {
						cut = true
						return persona.Cut
					}
					return ""
				}
				k.Say = func(c persona.Command, line string) string {
					if at == "the answer of COPY" && c.Name == "UID COPY" && !strings.HasPrefix(line, "*") && !cut {
						cut = true
						return persona.Cut
					}
					return line
				}
			})
			op := r.ask(r.move("m2", "Work"))
			for range 5 {
				r.wait(time.Minute)
				r.login()
				op = r.serve(op) // what an account does first of all
				r.look(false)
			}
			if !cut || op.State != mail.OpDone {
				t.Error(cut, op.State, op.Reason)
			}
			if got := r.p.UIDs("Work"); len(got) != 1 {
				t.Errorf("in Work are %v", got)
			}
		})
	}
}

// TestFlagsOfWhatIsElsewhere: another program has starred messages, and moved so many that their absence waits for confirmation, or
// their folder cannot be opened. Our copy shows none of it; the star is taken away where they are all the same.
func TestFlagsOfWhatIsElsewhere(t *testing.T) {
	t.Parallel()
	for _, moved := range []bool{true, false} {
		t.Run(map[bool]string{true: "moved", false: "not opened"}[moved], func(t *testing.T) {
			t.Parallel()
			closed := false
			r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
				if closed && (c.Name == "EXAMINE" || c.Name == "SELECT") && strings.Contains(c.Args, "INBOX") {
					return "NO [INUSE] not now"
				}
				return ""
			}})
			r.p.Create("Work")
			r.fill("INBOX", 1, 40)
			r.begin()
			for uid := uint32(2); uid <= 38; uid++ {
				r.p.Flag("INBOX", uid, `\Flagged`)
				if moved {
					r.p.Move("INBOX", uid, "Work")
				}
			}
			closed = !moved
			op := r.ask(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{r.ids()["m2"]}, Clear: mail.FlagFlagged})
			if op.State != mail.OpPending {
				t.Error(op.State, op.Reason)
			}
			closed = false
			for range 3 {
				r.wait(5 * time.Minute)
				r.login()
				r.look(false)
				op = r.serve(op)
			}
			for _, m := range r.p.Everything() {
				if m.SHA256 == sha256.Sum256(letter(2)) && (slices.Contains(m.Flags, `\Flagged`) || op.State != mail.OpDone) {
					t.Error(m.Folder, m.Flags, op.State, op.Reason)
				}
			}
			r.agrees()
		})
	}
}

// TestTheAnswerToAMoveIsLost: of a message with several copies one was moved, and nobody heard of it. No second one is put beside it.
func TestTheAnswerToAMoveIsLost(t *testing.T) {
	t.Parallel()
	for _, died := range []bool{false, true} {
		t.Run(map[bool]string{true: "and the process dies", false: "connection"}[died], func(t *testing.T) {
			t.Parallel()
			cut := false
			r := newRig(t, persona.Knobs{Say: func(c persona.Command, line string) string {
				if c.Name == "UID MOVE" && !strings.HasPrefix(line, "*") && !cut {
					cut = true
					return persona.Cut
				}
				return line
			}})
			r.p.Create("A")
			r.p.Create("Work")
			r.fill("INBOX", 1, 3)
			r.p.Copy("INBOX", 2, "A")
			r.begin()
			op := r.ask(r.move("m2", "Work"))
			if died {
				op.Attempts, op.NextTry = 0, op.CreatedAt // as if that had not been stored
				if err := r.a.mbox.PutOperation(t.Context(), r.a.term, op); err != nil {
					t.Fatal(err)
				}
				r.restart(true)
				r.a.since = r.now() // what an account does first of all
			}
			for range 3 {
				r.wait(time.Minute)
				r.login()
				op = r.serve(op)
			}
			if got := r.p.UIDs("Work"); len(got) != 1 || r.holds(letter(2)) != 1 || op.State != mail.OpDone || !cut {
				t.Errorf("in Work are %v, %d copies in all; %s %s", got, r.holds(letter(2)), op.State, op.Reason)
			}
		})
	}
}

// TestTakenOutOfTheTrash: an application deletes a message that it sees in the trash, out of which another program has just taken it. It is
// moved back, and not removed for good.
func TestTakenOutOfTheTrash(t *testing.T) {
	t.Parallel()
	for _, seen := range []bool{false, true} {
		t.Run(map[bool]string{true: "and we know it", false: "just now"}[seen], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Create("Work")
			r.fill("Trash", 1, 3)
			r.begin()
			id := r.ids()["m2"]
			r.p.Move("Trash", 2, "Work")
			if seen {
				r.look(false)
			}
			op := r.ask(mail.Operation{Kind: mail.OpPurge, Messages: []mail.MessageID{id}})
			for range 4 {
				r.wait(time.Minute)
				r.look(false)
				op = r.serve(op)
			}
			if got := r.p.UIDs("Trash"); len(got) != 3 || op.State != mail.OpDone {
				t.Fatalf("in the trash are %v; %s %s", got, op.State, op.Reason)
			}
			if op := r.ask(mail.Operation{Kind: mail.OpPurge, Messages: []mail.MessageID{id}}); r.holds(letter(2)) != 0 || op.State != mail.OpDone {
				t.Errorf("it is still there; %s %s", op.State, op.Reason)
			}
		})
	}
}

// TestARefusedMoveIsTriedOncePerAttempt: the copy that lies where the message shall lie is marked as deleted, and another cannot be moved
// there.
func TestARefusedMoveIsTriedOncePerAttempt(t *testing.T) {
	t.Parallel()
	moves := 0
	r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		if c.Name == "UID MOVE" {
			if moves++; moves < 20 {
				return "NO [OVERQUOTA] full"
			}
		}
		return ""
	}})
	r.p.Create("A")
	r.fill("INBOX", 1, 5)
	r.p.Deliver("A", letter(2))
	r.begin()
	r.p.Flag("A", 1, `\Deleted`)
	r.look(true)
	r.ask(r.move("m2", "A"))
	if moves != 1 {
		t.Errorf("%d moves", moves)
	}
}

// TestACopyThatCannotBeRead: it holds up nothing for long, and is not asked for each time.
func TestACopyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	cuts := 0
	r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		if c.Folder == "A" && strings.Contains(c.Args, "BODY.PEEK[]") {
			cuts++
			return persona.Cut
		}
		return ""
	}})
	r.p.Create("A")
	r.fill("INBOX", 1, 5)
	r.begin()
	r.p.Deliver("A", letter(2))
	if err := r.a.pass(t.Context(), r.s, false); err != nil {
		t.Fatal(err)
	}
	var ops []mail.Operation
	for _, name := range []string{"m2", "m3"} {
		op, err := r.a.mbox.AddOperation(t.Context(), mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{r.ids()[name]}, Set: mail.FlagFlagged})
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	for range 6 {
		r.login()
		ops[0] = r.serve(ops[0])
		r.wait(10 * time.Second)
	}
	ops[1] = r.serve(ops[1])
	if ops[0].State != mail.OpDone || ops[1].State != mail.OpDone || cuts > maxStrikes {
		t.Errorf("%s %s, %s %s; %d connections were lost", ops[0].State, ops[0].Reason, ops[1].State, ops[1].Reason, cuts)
	}
}

// TestMovedIntoAView: a folder that shows what lies in others holds nothing itself.
func TestMovedIntoAView(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Everything", `\All`)
	r.fill("INBOX", 1, 3)
	for uid := range uint32(3) {
		r.p.Copy("INBOX", uid+1, "Everything")
	}
	r.begin()
	if op := r.ask(r.move("m2", "Everything")); op.Why != mail.Refused {
		t.Error(op.State, op.Reason)
	}
	if got := r.p.UIDs("INBOX"); len(got) != 3 {
		t.Errorf("left are %v", got)
	}
}

// TestOneThatCannotBeMovedStopsNoOther: of a thread one message is out of the folder's view.
func TestOneThatCannotBeMovedStopsNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Work")
	r.fill("INBOX", 1, 110)
	r.begin()
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
	r.fill("INBOX", 111, 125)
	r.login()
	r.look(true)
	ids := r.ids()
	if len(r.state()) != 125 {
		t.Fatalf("%d are here", len(r.state()))
	}
	thread := r.move("m3", "Work")
	thread.Messages = append(thread.Messages, ids["m105"])
	thread = r.ask(thread)
	if other := r.ask(r.move("m106", "Work")); other.State != mail.OpDone {
		t.Errorf("the other one: %s, %s", other.State, other.Reason)
	}
	for range 10 {
		r.wait(5 * time.Minute)
		r.login()
		thread = r.serve(thread)
	}
	if thread.Why != mail.Conflict {
		t.Error(thread.State, thread.Reason)
	}
	if got := r.p.UIDs("Work"); len(got) != 2 {
		t.Errorf("in Work are %v", got)
	}
}

// TestAnOperationBringsNoFolderThatIsLeftOut: the policy leaves out the trash, and a message is moved there.
func TestAnOperationBringsNoFolderThatIsLeftOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.a.acct.Settings.Sync = &mail.SyncPolicy{Without: []string{"Trash"}}
	r.p.Create("Work")
	r.fill("Trash", 11, 15)
	r.fill("INBOX", 1, 5)
	r.p.Deliver("Work", letter(2))
	r.begin()
	if op := r.ask(mail.Operation{Kind: mail.OpTrash, Messages: []mail.MessageID{r.ids()["m2"]}}); op.State != mail.OpDone {
		t.Error(op.State, op.Reason)
	}
	r.look(false)
	if got := r.changes(); !slices.Equal(got, []string{"message.deleted m2"}) {
		t.Errorf("%q", got)
	}
	if n := r.holds(letter(2)); n != 2 || len(r.p.UIDs("Trash")) != 7 {
		t.Errorf("%d copies", n)
	}
}

// TestARefusedMoveChangesNothing: without MOVE and UIDPLUS the original cannot be removed when another program has marked messages.
func TestARefusedMoveChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.Basic, "UIDPLUS", "MOVE")})
	r.p.Create("Work")
	r.fill("INBOX", 1, 5)
	r.begin()
	r.p.Flag("INBOX", 4, `\Deleted`)
	if op := r.ask(r.move("m2", "Work")); op.Why != mail.Refused {
		t.Error(op.State, op.Reason)
	}
	if got := r.p.UIDs("Work"); len(got) > 0 {
		t.Errorf("in Work are %v", got)
	}
	r.expungeMarked("INBOX")
	if n := r.holds(letter(2)); n != 1 {
		t.Errorf("%d copies are left", n)
	}
}

// TestSentIsLeftOut: the policy leaves out the folder into which a sent message is filed.
func TestSentIsLeftOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("Sent", 11, 15)
	r.fill("INBOX", 1, 2)
	r.begin() // Sent is not left out yet
	r.a.acct.Settings.Sync = &mail.SyncPolicy{Without: []string{"Sent"}}
	r.look(true)
	r.changes()
	refs, err := r.a.mbox.PutBlobs(t.Context(), []store.BlobData{{Kind: store.BlobOther, Data: letter(20)}})
	if err != nil {
		t.Fatal(err)
	}
	send, _, err := r.a.mbox.Enqueue(t.Context(), mail.Send{State: mail.SendQueued, Blob: refs[0].ID, Size: refs[0].Size, SentAt: r.now(),
		Summary: mail.Message{ID: "unknown", HeaderMessageID: "m20@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if op := r.ask(mail.Operation{Kind: mail.OpFile, Send: send.ID}); op.State != mail.OpDone {
			t.Error(op.State, op.Reason)
		}
	}
	if n := r.holds(letter(20)); n != 1 {
		t.Errorf("%d copies are in Sent", n)
	}
	for _, c := range r.changes() {
		if strings.Contains(c, "created") || strings.Contains(c, "deleted") {
			t.Error(c)
		}
	}
}

// TestManyLeaveAtOurRequest: however many messages leave a folder at once, it is no suspicious loss when an application asked for it,
// and no other session has to see it again.
func TestManyLeaveAtOurRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 40)
	r.begin()
	all := slices.Collect(maps.Values(r.ids()))
	for _, kind := range []mail.OpKind{mail.OpTrash, mail.OpPurge} {
		if op := r.ask(mail.Operation{Kind: kind, Messages: all}); op.State != mail.OpDone {
			t.Error(kind, op.State, op.Reason)
		}
		if doubt, _ := r.a.doubts(); doubt {
			t.Error(kind, "leaves a doubt")
		}
	}
	r.agrees()
}

// TestAnExpungeThatWasNone: the server says OK to the removal of a message and keeps it. That it was to be removed is no reason to take
// it for deleted when another program moves it afterwards, and it is not to be seen anywhere for a while.
func TestAnExpungeThatWasNone(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Deliver("Trash", letter(1))
	r.begin()
	r.p.Turn(func(k *persona.Knobs) { k.Answer = persona.Always("OK done", "UID EXPUNGE") })
	if op := r.ask(mail.Operation{Kind: mail.OpPurge, Messages: []mail.MessageID{r.ids()["m1"]}}); op.State != mail.OpPending {
		t.Fatal(op.State)
	}
	r.p.Expunge("Trash", 1)
	r.look(false)
	r.wait(time.Minute)
	r.p.Deliver("INBOX", letter(1))
	r.look(false)
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message.") && !strings.HasPrefix(c, "message.updated") {
			t.Error(c)
		}
	}
	r.agrees()
}
