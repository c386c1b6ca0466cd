package syncer_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/persona"
)

const (
	allMail = "[Gmail]/All Mail"
	trash   = "[Gmail]/Trash"
	spam    = "[Gmail]/Spam"
)

// gmail is a mailbox with 20 messages: 1 to 10 in INBOX, of which 3 and 4 are labelled Work, and 11 to 20 archived, of which
// 12 is labelled Work/Deep and 13 starred. Their UIDs in All Mail are their numbers.
func gmail(t *testing.T, knobs ...func(*persona.Knobs)) *persona.Server {
	t.Helper()
	k := persona.Gmail()
	for _, turn := range knobs {
		turn(&k)
	}
	p := persona.Start(t, k)
	p.Create("Work")
	p.Create("Work/Deep")
	p.Create("Z&APw-rich") // Zürich
	for i := 1; i <= 10; i++ {
		p.Deliver("INBOX", message(i))
	}
	for i := 11; i <= 20; i++ {
		p.Deliver(allMail, message(i))
	}
	p.Copy("INBOX", 3, "Work")
	p.Copy("INBOX", 4, "Work")
	p.Copy(allMail, 12, "Work/Deep")
	p.Flag(allMail, 13, `\Flagged`)
	return p
}

// shows returns the names of the folders in which a message shows, without All Mail.
func (b *bench) showsIn(id mail.MessageID) string {
	b.t.Helper()
	m, err := b.mbox.Message(b.t.Context(), id)
	if err != nil {
		return err.Error()
	}
	folders, err := b.mbox.Folders(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, f := range folders {
		if slices.Contains(m.Folders, f.ID) && f.Name != allMail {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, " ")
}

func (b *bench) wantShows(what string, id mail.MessageID, want string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s to show in %q", what, want), func() bool { return b.showsIn(id) == want })
}

// totals holds the counts of all folders against what the server counts.
func (b *bench) totals(p *persona.Server) {
	b.t.Helper()
	b.until("the counts to be those of the server", func() bool {
		folders, err := b.mbox.Folders(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		for _, f := range folders {
			if f.Selectable && f.Total != len(p.UIDs(f.RawName)) {
				return false
			}
		}
		return true
	})
}

// told returns the changes of messages since a number, without their ids.
func (b *bench) told(since mail.Seq) (out []string) {
	b.t.Helper()
	list, err := b.mbox.Changes(b.t.Context(), since, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range list {
		out = append(out, c.Kind.String())
	}
	return out
}

func (b *bench) seq() mail.Seq {
	b.t.Helper()
	seq, err := b.mbox.Seq(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return seq
}

func (b *bench) wantTold(since mail.Seq, want ...string) {
	b.t.Helper()
	if got := b.told(since); !slices.Equal(got, want) {
		b.t.Errorf("told %q, want %q", got, want)
	}
}

// bodies counts how often the bytes of a message were sent.
func bodies(p *persona.Server) (n int) {
	for _, l := range p.Log() {
		if strings.Contains(l, " S: * ") && strings.Contains(l, "BODY[] {") {
			n++
		}
	}
	return n
}

func startGmail(t *testing.T, p *persona.Server) *bench {
	b := setupPersona(t, p, nil)
	b.live()
	b.equal()
	b.totals(p)
	return b
}

// TestLabelsAreFolders checks that every message of Gmail is fetched once and shows in all of its folders, before and after
// a restart.
func TestLabelsAreFolders(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	if n := bodies(p); n != 20 {
		t.Errorf("20 messages, and bytes were sent %d times", n)
	}
	for n, want := range map[mail.UID]string{1: "INBOX", 3: "INBOX Work", 11: "", 12: "Work/Deep", 13: "[Gmail]/Starred"} {
		if got := b.showsIn(b.messageAt(allMail, n)); got != want {
			t.Errorf("message %d shows in %q, want %q", n, got, want)
		}
	}
	counts, err := b.mbox.Counts(t.Context())
	if err != nil || counts.Messages != 20 || counts.Placements != 20 || counts.Unheld != 0 {
		t.Errorf("counts %+v %v", counts, err)
	}
	if s, _ := b.engine.Status(b.id); s.Reason != "" || s.Total != 20 || s.Done != 20 {
		t.Errorf("status %+v", s)
	}
	seq := b.seq()
	b.engine.Close()
	p.Copy(allMail, 11, "Z&APw-rich")
	b.start()
	b.live()
	b.wantShows("the message labelled meanwhile", b.messageAt(allMail, 11), "Zürich")
	b.totals(p)
	b.wantTold(seq, "message.updated")
	if n := bodies(p); n != 20 {
		t.Errorf("after a restart bytes were sent %d times", n)
	}
}

// TestLabelsChangeElsewhere labels, unlabels, archives, stars, trashes and restores as the webmail does: one change each, and
// the id stays.
func TestLabelsChangeElsewhere(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	one := b.messageAt(allMail, 1)
	step := func(what string, do func(), want string) {
		t.Helper()
		seq := b.seq()
		do()
		b.wantShows(what, one, want)
		b.equal()
		b.totals(p)
		b.wantTold(seq, "message.updated")
	}
	step("the labelled message", func() { p.Copy("INBOX", 1, "Z&APw-rich") }, "INBOX Zürich")
	step("the unlabelled message", func() { p.Expunge("Z&APw-rich", 1) }, "INBOX")
	step("the archived message", func() { p.Expunge("INBOX", 1) }, "")
	step("the message in INBOX again", func() { p.Copy(allMail, 1, "INBOX") }, "INBOX")
	step("the starred message", func() { p.Flag(allMail, 1, `\Flagged`) }, "INBOX [Gmail]/Starred")
	step("the message without its star", func() { p.Flag(allMail, 1) }, "INBOX")
	var at uint32
	step("the message in the trash", func() { at = p.Move("INBOX", p.UIDs("INBOX")[9], trash) }, trash)
	step("the restored message", func() { at = p.Move(trash, at, "INBOX") }, "INBOX")
	step("the message in Spam", func() { at = p.Move("INBOX", at, spam) }, spam)
	step("the message that is no spam", func() { p.Move(spam, at, "INBOX") }, "INBOX")

	// A label that is made and given at once, told by nothing but MODSEQ.
	seq := b.seq()
	p.Create("Brand new")
	p.Copy(allMail, 15, "Brand new")
	b.wantShows("the message with the new label", b.messageAt(allMail, 15), "Brand new")
	b.totals(p)
	b.wantTold(seq, "folder.created", "message.updated")

	seq = b.seq()
	p.Deliver("Work", message(30))
	b.totals(p)
	b.equal()
	b.wantTold(seq, "message.created")

	seq = b.seq()
	at = p.Move(allMail, 16, trash)
	b.equal()
	p.Expunge(trash, at)
	b.equal()
	b.until("the deletion to be told", func() bool { return slices.Contains(b.told(seq), "message.deleted") })
	b.wantTold(seq, "message.updated", "message.deleted")
	b.totals(p)
	if n := bodies(p); n > 21 {
		t.Errorf("21 messages, and bytes were sent %d times", n)
	}
}

// TestLabelsAreRenamedAndDeletedElsewhere checks what Gmail tells by no MODSEQ: the folder keeps its id and nothing is told of
// its messages; one that is deleted takes its label along.
func TestLabelsAreRenamedAndDeletedElsewhere(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	work, deep := b.folder("Work").ID, b.folder("Work/Deep").ID
	three, twelve := b.messageAt(allMail, 3), b.messageAt(allMail, 12)
	seq := b.seq()
	p.Rename("Work", "Projects")
	b.wantShows("the message of the renamed label", three, "INBOX Projects")
	b.wantShows("the message of the label below it", twelve, "Projects/Deep")
	b.totals(p)
	if b.folder("Projects").ID != work || b.folder("Projects/Deep").ID != deep {
		t.Error("the folders have other ids")
	}
	for _, kind := range b.told(seq) {
		if kind != "folder.updated" {
			t.Errorf("told: %s", kind)
		}
	}
	b.engine.Close()
	p.Rename("Projects", "Work")
	b.start()
	b.live()
	b.wantShows("the message of the label renamed during a restart", three, "INBOX Work")
	if b.folder("Work").ID != work {
		t.Error("the folder has another id")
	}
	seq = b.seq()
	p.Delete("Work/Deep")
	b.wantShows("the message without its label", twelve, "")
	b.live()
	b.totals(p)
	b.equal()
	b.until("all to be told", func() bool { return len(b.told(seq)) >= 2 })
	for _, kind := range b.told(seq) {
		if kind == "message.deleted" || kind == "message.created" {
			t.Errorf("told: %s", kind)
		}
	}
}

// TestLabelsThatNothingTellsOf takes a label away and gives one without any MODSEQ: the counts tell.
func TestLabelsThatNothingTellsOf(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	three, eleven := b.messageAt(allMail, 3), b.messageAt(allMail, 11)
	p.Silently(func() {
		p.Expunge("Work", 1)
		p.Copy(allMail, 11, "Z&APw-rich")
	})
	b.wantShows("the unlabelled message", three, "INBOX")
	b.wantShows("the labelled message", eleven, "Zürich")
	b.totals(p)
	b.equal()
}

// TestLabelsAndTheirIDsAreTheSameAfterAWipe compares two stores of one mailbox.
func TestLabelsAndTheirIDsAreTheSameAfterAWipe(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	all := func(b *bench) map[mail.MessageID]string {
		out := map[mail.MessageID]string{}
		for n := mail.UID(1); n <= 20; n++ {
			id := b.messageAt(allMail, n)
			out[id] = fmt.Sprint(n, b.message(id).Folders)
		}
		return out
	}
	one, two := all(startGmail(t, p)), all(startGmail(t, p))
	if len(one) != 20 || fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("the ids are\n%v\nand\n%v", one, two)
	}
}

// TestAllMailIsHidden takes a mailbox whose All Mail is not shown by IMAP, then shown, then hidden again: each time all is
// there, nothing is told as new or deleted, and the reason is told while labels cannot be used.
func TestAllMailIsHidden(t *testing.T) {
	t.Parallel()
	p := gmail(t, func(k *persona.Knobs) { k.Hidden = allMail })
	b := setupPersona(t, p, nil)
	b.live()
	b.equal()
	inbox := b.messageAt("INBOX", 3)
	reason := func(want bool) {
		t.Helper()
		b.until(fmt.Sprintf("the reason to be told: %t", want), func() bool {
			s, _ := b.engine.Status(b.id)
			return s.State == mail.StateLive && strings.Contains(s.Reason, "All Mail") == want && (s.Action != "") == want
		})
	}
	reason(true)
	seq := b.seq()
	p.Turn(func(k *persona.Knobs) { k.Hidden = "" })
	b.equal()
	reason(false)
	b.totals(p)
	b.wantShows("the message with two labels", inbox, "INBOX Work")
	if b.messageAt(allMail, 3) != inbox {
		t.Error("the message has another id")
	}
	created := 0
	for _, kind := range b.told(seq) {
		switch kind {
		case "message.created":
			created++
		case "message.deleted":
			t.Errorf("told: %s", kind)
		}
	}
	if created != 8 { // 11 and 14 to 20 were archived, and could not be seen; 12 is labelled and 13 starred
		t.Errorf("%d messages were told as new, want 8", created)
	}
	before := bodies(p)
	p.Turn(func(k *persona.Knobs) { k.Hidden = allMail })
	b.equal()
	reason(true)
	b.wantShows("the message with two labels", inbox, "INBOX Work")
	if n := bodies(p); n > before+2 { // copies of two messages
		t.Errorf("bytes of %d messages were fetched again", n-before)
	}
}

// TestLabelsAreNotToldAnyMore takes away the extension, for a session and for good.
func TestLabelsAreNotToldAnyMore(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	three := b.messageAt(allMail, 3)
	p.Turn(func(k *persona.Knobs) { k.Gmail, k.Caps = false, persona.Without(k.Caps, "X-GM-EXT-1") })
	seq := b.seq()
	p.Drop()
	b.until("the folders to be read one by one", func() bool { return b.folder("Work").HeadersDone })
	b.live()
	b.until("the labels to be gone", func() bool {
		list, err := b.mbox.Labelled(t.Context(), b.folder("Work").ID, b.folder(allMail).ID)
		return err == nil && len(list) == 0
	})
	b.wantShows("the message with two labels", three, "INBOX Work")
	b.totals(p)
	for _, kind := range b.told(seq) {
		if kind == "message.deleted" || kind == "message.created" {
			t.Errorf("told: %s", kind)
		}
	}
	p.Turn(func(k *persona.Knobs) { *k = persona.Gmail() })
	p.Drop()
	b.until("labels to be used again", func() bool { return !b.folder("Work").HeadersDone })
	b.equal()
	b.totals(p)
	b.wantShows("the message with two labels", three, "INBOX Work")
}

// TestAllMailShowsNotAll limits All Mail to the newest messages, as Gmail can be set to: the others are found in their
// folders.
func TestAllMailShowsNotAll(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	p.Turn(func(k *persona.Knobs) { k.Limited = 15 })
	b := setupPersona(t, p, nil)
	b.until("the reason to be told", func() bool {
		s, _ := b.engine.Status(b.id)
		return s.State == mail.StateLive && strings.Contains(s.Reason, "All Mail")
	})
	b.until("all that any folder shows", func() bool {
		c, err := b.mbox.Counts(t.Context())
		return err == nil && c.Messages == 20 && c.Unheld == 0 && c.Vanished == 0
	})
	b.wantShows("the message that All Mail does not show", b.messageAt("INBOX", 3), "INBOX Work")
	p.Turn(func(k *persona.Knobs) { k.Limited = 0 })
	b.until("labels to be used", func() bool { return !b.folder("Work").HeadersDone })
	b.equal()
	b.totals(p)
	if slices.Contains(b.told(0), "message.deleted") {
		t.Error("a message was told as deleted")
	}
}

// TestLabelOperations has every write of an application done by labels.
func TestLabelOperations(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	ids := func(n ...mail.UID) (out []mail.MessageID) {
		for _, u := range n {
			out = append(out, b.messageAt(allMail, u))
		}
		return out
	}
	update := func(name string, ids ...mail.MessageID) {
		t.Helper()
		b.do(mail.Operation{Kind: mail.OpUpdate, Messages: ids, Folder: b.folder(name).ID})
		b.equal()
		b.totals(p)
	}
	some := ids(3, 12, 13, 14)
	seq := b.seq()
	update("Zürich", some...)
	for i, want := range []string{"Zürich", "Zürich", "Zürich [Gmail]/Starred", "Zürich"} {
		if got := b.showsIn(some[i]); got != want {
			t.Errorf("the moved message shows in %q, want %q", got, want)
		}
	}
	for _, kind := range b.told(seq) {
		if kind != "message.updated" {
			t.Errorf("told: %s", kind)
		}
	}
	update(allMail, some[0])
	if got := b.showsIn(some[0]); got != "" {
		t.Errorf("the archived message shows in %q", got)
	}
	update("INBOX", some[0])
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: some[:1], Set: mail.FlagFlagged | mail.FlagSeen})
	b.wantShows("the starred message", some[0], "INBOX [Gmail]/Starred")
	update("[Gmail]/Important", some[0])
	if got := b.showsIn(some[0]); got != "INBOX [Gmail]/Important [Gmail]/Starred" {
		t.Errorf("the important message shows in %q", got)
	}
	b.fails(mail.Operation{Kind: mail.OpUpdate, Messages: some[:1], Folder: b.folder("[Gmail]/Sent Mail").ID}, mail.Refused)

	b.do(mail.Operation{Kind: mail.OpTrash, Messages: some[:2]})
	b.equal()
	b.totals(p)
	if got := b.showsIn(some[1]); got != trash {
		t.Errorf("the message in the trash shows in %q", got)
	}
	b.do(mail.Operation{Kind: mail.OpTrash, Messages: some[:2]}) // again
	update("Work", some[0])
	if got := b.showsIn(some[0]); got != "Work" && got != "Work [Gmail]/Starred" {
		t.Errorf("the restored message shows in %q", got)
	}
	update(spam, some[2])
	update(allMail, some[2])
	if got := b.showsIn(some[2]); got != "" && got != "[Gmail]/Starred" {
		t.Errorf("the message that is no spam shows in %q", got)
	}

	// For good, from the trash and from elsewhere.
	seq = b.seq()
	b.do(mail.Operation{Kind: mail.OpRemove, Messages: []mail.MessageID{some[1], some[3]}})
	b.equal()
	b.wantTold(seq, "message.deleted", "message.deleted")
	if n := len(p.UIDs(allMail)) + len(p.UIDs(trash)) + len(p.UIDs(spam)); n != 18 {
		t.Errorf("%d messages are left at the server", n)
	}

	// Folders.
	made := b.do(mail.Operation{Kind: mail.OpFolderCreate, Name: "Größe"}).Folder
	five := b.messageAt(allMail, 5)
	b.do(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{five}, Folder: made})
	seq = b.seq()
	b.do(mail.Operation{Kind: mail.OpFolderRename, Folder: made, Name: "Maß"})
	b.wantShows("the message of the renamed label", five, "Maß")
	b.totals(p)
	b.wantTold(seq, "folder.updated")
	b.do(mail.Operation{Kind: mail.OpFolderDelete, Folder: made})
	b.wantShows("the message of the deleted label", five, "")
	b.equal()
	b.totals(p)
	b.engine.Close() // its connections are all that the account may have
	if v, err := b.engine.Verify(t.Context(), b.id, syncer.VerifyOptions{Bytes: true, Wait: time.Millisecond}); err != nil || len(v.Differences) > 0 || v.Messages != 18 {
		t.Errorf("verify: %+v %v", v, err)
	}
}

// TestLabelDrafts saves a draft three times and removes it: one message, one id, and nothing is left behind.
func TestLabelDrafts(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	for n := 1; n <= 3; n++ {
		b.do(b.saving(n))
		b.equal()
		b.totals(p)
		if m := b.message(b.draftID()); m.Subject != fmt.Sprint("version ", n) || m.Body != mail.BodyHeld {
			t.Errorf("the draft shows %q, want version %d", m.Subject, n)
		}
		if got := b.showsIn(b.draftID()); got != "[Gmail]/Drafts" {
			t.Errorf("the draft shows in %q", got)
		}
	}
	if len(p.UIDs(allMail)) != 21 || len(p.UIDs(trash)) != 0 {
		t.Errorf("%d messages in All Mail, %d in the trash", len(p.UIDs(allMail)), len(p.UIDs(trash)))
	}
	b.do(mail.Operation{Kind: mail.OpDraftDelete, Messages: []mail.MessageID{b.draftID()}, Draft: &mail.DraftWork{Old: b.draftID(), Replaces: b.copies(b.draftID())}})
	b.equal()
	if len(p.UIDs(allMail)) != 20 || len(p.UIDs(trash)) != 0 {
		t.Errorf("%d messages in All Mail, %d in the trash", len(p.UIDs(allMail)), len(p.UIDs(trash)))
	}
}

// TestVerifyOfLabels plants differences and finds them.
func TestVerifyOfLabels(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := startGmail(t, p)
	b.engine.Close()
	p.Copy(allMail, 11, "Work")
	v, err := b.engine.Verify(t.Context(), b.id, syncer.VerifyOptions{})
	var got []string
	for _, d := range v.Differences {
		got = append(got, d.String())
	}
	slices.Sort(got)
	want := []string{`"Work": the label has 3 messages at the server and 2 here`, `"[Gmail]/All Mail" UID 11: labels are ["Work"] at the server and [] here`}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("found %q, %v", got, err)
	}
}

// TestLabelsAndAPolicyOfFolders checks that a grant that leaves folders out has the others read one by one.
func TestLabelsAndAPolicyOfFolders(t *testing.T) {
	t.Parallel()
	p := gmail(t)
	b := &bench{t: t, user: "ann", truth: truthOf(p), policy: &mail.SyncPolicy{Folders: []string{"Work"}}}
	b.open(mail.Endpoint{Host: p.Host, Port: p.Port}, persona.Password)
	b.live()
	if c, err := b.mbox.Counts(t.Context()); err != nil || c.Messages != 3 {
		t.Errorf("counts %+v %v", c, err)
	}
	if s, _ := b.engine.Status(b.id); s.Reason != "" {
		t.Errorf("reason %q", s.Reason)
	}
}

// TestLabelsOfWhatIsNotHere: the server counts in its labels what the policy leaves out, and what is set aside. That is no reason to
// think that All Mail does not show it.
func TestLabelsOfWhatIsNotHere(t *testing.T) {
	t.Parallel()
	for _, days := range []bool{true, false} {
		t.Run(map[bool]string{true: "left out", false: "set aside"}[days], func(t *testing.T) {
			t.Parallel()
			p := gmail(t)
			var passes atomic.Int64
			b := &bench{t: t, user: "ann", truth: truthOf(p), tweak: func(o *syncer.Options) {
				pass := o.Events.Pass
				o.Events.Pass = func(id mail.AccountID, full bool) { passes.Add(1); pass(id, full) }
			}}
			if days {
				for n := uint32(1); n <= 20; n++ {
					p.Received(allMail, n, time.Now().AddDate(0, 0, map[bool]int{true: -300, false: -3}[n <= 5]))
				}
				b.policy = &mail.SyncPolicy{Days: 31}
			} else {
				p.Turn(func(k *persona.Knobs) {
					k.Answer = func(cmd persona.Command) string {
						if names(cmd, 5) && strings.Contains(cmd.Args, "HEADER.FIELDS") {
							return "NO [SERVERBUG] internal error"
						}
						return ""
					}
				})
			}
			b.open(mail.Endpoint{Host: p.Host, Port: p.Port}, persona.Password)
			b.live()
			seq, began, compared := b.seq(), passes.Load(), p.Count("UID FETCH")
			b.until("twenty looks", func() bool { return passes.Load() >= began+20 })
			b.wantTold(seq)
			if s, _ := b.engine.Status(b.id); s.Reason != "" {
				t.Errorf("%s: %s", s.State, s.Reason)
			}
			if n := p.Count("UID FETCH") - compared; n > 10 {
				t.Errorf("%d FETCHes in a mailbox where nothing happens", n)
			}
		})
	}
}
