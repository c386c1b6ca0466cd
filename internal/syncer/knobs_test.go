package syncer

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// TestKnobs takes single lies of servers, each on every step of the ladder that it concerns, through an initial sync, news, a
// copy of what was sent, a new folder, a move, and complete comparisons: whatever the server says, the rows are what it holds afterwards, and nothing was told as deleted or made that was
// not. Each lie was really told; one that only those are told who ask for it was not.
func TestKnobs(t *testing.T) {
	t.Parallel()
	for _, lie := range persona.Lies() {
		for which, caps := range ladderSteps {
			if lie.Steps != "" && !strings.Contains(lie.Steps, which) {
				continue
			}
			t.Run(lie.Name+", "+which, func(t *testing.T) {
				t.Parallel()
				knobStory(t, lie, caps)
			})
		}
	}
}

// ladderSteps are the capabilities for each step of the ladder.
var ladderSteps = map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic + " ID"}

func knobStory(t *testing.T, lie persona.Lie, caps string) {
	var k persona.Knobs
	if lie.Make != nil {
		k = lie.Make()
	}
	k.Caps = strings.TrimSpace(caps + " " + k.Caps)
	r := newRig(t, k)
	delim := "/"
	if k.Prefix != "" {
		delim = k.Prefix[len(k.Prefix)-1:]
	}
	work, odd := k.Prefix+"Work", k.Prefix+"Say \"hi\"\tnow"
	r.p.Create(work)
	r.p.Create(work + delim + "Deep")
	r.p.Create(odd)
	for i := 1; i <= 6; i++ {
		r.p.Deliver("INBOX", letter(i), `\Seen`)
	}
	r.p.Deliver(work, letter(10), `\Seen`)
	r.p.Deliver(work+delim+"Deep", letter(11), `\Seen`)
	r.p.Deliver(odd, letter(12), `\Seen`)
	if lie.Mail != nil {
		lie.Mail(r.p)
	}
	look := func(full bool) {
		t.Helper()
		began := r.now()
		r.patiently(func() error {
			return r.tryLook(full && r.a.lastAudit.Before(began))
		})
	}
	look(true)
	first := r.changes()
	r.p.Deliver("INBOX", letter(7), `\Seen`)
	r.p.Flag("INBOX", 2, `\Seen`, `\Flagged`)
	look(false)
	r.p.Expunge("INBOX", 3)
	r.p.Move("INBOX", 4, work)
	r.logout()
	look(false)
	r.logout()
	r.p.Move(work, 2, "INBOX")
	r.logout()
	send := r.queue(letter(50, "Bcc: hidden@example.com"), "m50@example.com")
	for range 2 { // the second time as after a death
		r.patiently(func() error { return r.a.fileCopy(t.Context(), r.s, &mail.Operation{Kind: mail.OpFile, Send: send}) })
	}
	if n := len(r.p.UIDs(k.Prefix + "Sent")); n != 1 {
		t.Errorf("%d copies of what was sent", n)
	}
	r.wait(time.Minute)
	look(false)
	made := r.operate(mail.Operation{Kind: mail.OpFolderCreate, Name: "Made"}).Folder
	var moved mail.MessageID
	r.each(func(p mail.Placement) string {
		if r.name(p.Message) == "m6" {
			moved = p.Message
		}
		return ""
	})
	r.operate(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{moved}, Folder: made, Set: mail.FlagFlagged})
	if n := len(r.p.UIDs(k.Prefix + "Made")); n != 1 {
		t.Errorf("%d messages were moved", n)
	}
	for range 2 {
		r.wait(25 * time.Hour) // what was set aside is tried again
		look(true)
	}
	r.agrees()
	knobChanges(t, first, r.changes())
	if !slices.Contains(slices.Collect(maps.Values(r.state())), `m2 \Seen \Flagged`) {
		t.Errorf("the flag is not here: %q", r.state())
	}
	for name, n := range r.p.Acted() {
		if n == 0 != (lie.Naive != nil) {
			t.Errorf("%s was felt %d times", name, n)
		}
	}
}

// patiently does something as the account does it: after a refusal again, in another session.
func (r *rig) patiently(do func() error) {
	r.t.Helper()
	for try := 0; ; try++ {
		err := r.tryLogin()
		if err == nil {
			err = do()
		}
		switch {
		case err == nil:
			return
		case mail.IsKind(err, mail.Reauth):
			r.t.Fatalf("the user is asked to log in anew: %v", err)
		case try == 20:
			r.t.Fatal(err)
		}
		r.wait(time.Minute)
	}
}

// operate carries out an operation until it is done.
func (r *rig) operate(op mail.Operation) mail.Operation {
	r.t.Helper()
	ctx := r.t.Context()
	op, err := r.a.mbox.AddOperation(ctx, op)
	if err != nil {
		r.t.Fatal(err)
	}
	defer r.a.closeWriter()
	for try := 0; op.State == mail.OpPending && try < 20; try++ {
		r.patiently(func() error {
			if err := r.a.serveOperations(ctx, r.s); err != nil {
				return err
			}
			return r.tryLook(false)
		})
		if op, err = r.a.mbox.Operation(ctx, op.ID); err != nil {
			r.t.Fatal(err)
		}
		r.wait(10 * time.Minute)
	}
	if op.State != mail.OpDone {
		r.t.Fatalf("%s: %+v", op.Kind, op)
	}
	return op
}

// queue puts a message into the outbox.
func (r *rig) queue(raw []byte, id string) string {
	r.t.Helper()
	refs, err := r.a.mbox.PutBlobs(r.t.Context(), []store.BlobData{{Kind: store.BlobOther, Data: raw}})
	if err != nil {
		r.t.Fatal(err)
	}
	send, _, err := r.a.mbox.Enqueue(r.t.Context(), mail.Send{State: mail.SendQueued, Blob: refs[0].ID, Size: refs[0].Size, SentAt: r.now(),
		Summary: mail.Message{ID: "unknown", HeaderMessageID: id}})
	if err != nil {
		r.t.Fatal(err)
	}
	return send.ID
}

// knobChanges looks for what was told and did not happen.
func knobChanges(t *testing.T, first, later []string) {
	t.Helper()
	created := map[string]int{}
	for i, c := range slices.Concat(first, later) {
		what, object, _ := strings.Cut(c, " ")
		switch what {
		case "message.deleted":
			if c != "message.deleted m3" {
				t.Errorf("told: %s", c)
			}
		case "message.created":
			object, _, _ = strings.Cut(object, " ")
			if created[object]++; object != "" && created[object] > 1 {
				t.Errorf("told again: %s", c)
			}
		case "folder.deleted", "folder.reset":
			t.Errorf("told: %s", c)
		case "folder.created":
			if i >= len(first) && !strings.HasSuffix(object, "Made") { // we made that one
				t.Errorf("told: %s", c)
			}
		}
	}
}
