package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestNewsOfFoldersThatAreLeftOut: by NOTIFY a server tells of all folders, and by IDLE of Sent. What the policy leaves out is not looked
// at for that.
func TestNewsOfFoldersThatAreLeftOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.a.acct.Settings.Sync = &mail.SyncPolicy{Without: []string{"Sent", "Work"}}
	r.p.Create("Work")
	r.fill("Work", 11, 15)
	r.fill("Sent", 21, 25)
	r.fill("INBOX", 1, 2)
	r.begin()
	r.fill("Work", 16, 16)
	r.fill("Sent", 26, 26)
	r.fill("INBOX", 3, 3)
	for _, name := range []string{"Work", "Sent", "INBOX"} {
		r.a.heard.note(name, &imap.StatusData{Messages: 6, UIDNext: 7, UIDValidity: 1, Has: imap.HasMessages | imap.HasUIDNext | imap.HasUIDValidity})
	}
	if everywhere, err := r.a.hear(t.Context(), r.s); err != nil || everywhere {
		t.Errorf("everywhere %t, %v", everywhere, err)
	}
	r.a.hearing.Store(int32(hearsInbox))
	if err := r.a.linger(t.Context(), r.s)(); err != nil {
		t.Error(err)
	}
	if told, _ := r.a.heard.take(); len(told) > 0 {
		t.Errorf("told of %v", told)
	}
	if said := r.said(); slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, "EXAMINE") && !strings.Contains(l, "INBOX") }) {
		t.Errorf("%q", said)
	}
	r.wants("message.created m3 in INBOX")
}

// TestOverBudgetWithNothingLeft: so much was downloaded today that old mail would have to wait. None is left, and nothing else is said.
func TestOverBudgetWithNothingLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.p.Create("Work")
	r.fill("Work", 1, 3)
	r.a.e.governor.limits.BytesPerDay = 1_000_000
	r.a.day.add(r.now(), 800_000)
	r.look(true)
	r.isIn(mail.StateThrottled, "The rest is fetched from about")
	r.wait(25 * time.Hour)
	r.look(true)
	r.a.day.add(r.now(), 800_000)
	r.look(false)
	r.settle()
	r.isIn(mail.StateLive, "")
	if done, err := r.a.mbox.Synced(t.Context()); err != nil || !done {
		t.Errorf("the initial sync is done: %t, %v", done, err)
	}
	r.fill("Work", 4, 4)
	r.look(false)
	r.settle()
	r.isIn(mail.StateLive, "")
}
