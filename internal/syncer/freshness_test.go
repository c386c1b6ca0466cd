package syncer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestFreshnessIsProven: a live account and all its folders say since when they are proven, and that advances.
func TestFreshnessIsProven(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	d.CreateFolder(t, "ann", "Archive")
	b := setup(t, &d.IMAP, "ann")
	b.fill(5)
	b.equal()
	began := time.Now()
	b.until("all folders to be proven anew", func() bool {
		s, _ := b.engine.Status(b.id)
		folders, err := b.mbox.Folders(t.Context())
		if err != nil || s.AuditedAt.IsZero() || s.AuditedAt.After(s.SeenAt) || !s.FreshAt.After(began) {
			return false
		}
		proofs := b.engine.Proofs(b.id)
		for _, f := range folders {
			if p := proofs[f.ID]; f.Selectable && (!p.FreshAt.After(began) || p.AuditedAt.IsZero() || p.Trouble != "") {
				return false
			}
		}
		return true
	})
	u := b.engine.Usage()["other"]
	if u.Logins == 0 || u.Connections == 0 || u.Received == 0 || u.Sent == 0 || u.FailedLogins != 0 {
		t.Errorf("used: %+v", u)
	}
	b.engine.Close()
	if u := b.engine.Usage()["other"]; u.Connections != 0 {
		t.Errorf("open after the end: %+v", u)
	}
}

// TestALongTimeUnseenIsTold: after an hour without a look there is a change that says so, behind what was found, once.
func TestALongTimeUnseenIsTold(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, &d.IMAP, "ann")
	b.fill(3)
	b.live()
	b.equal()
	b.engine.Close()
	acct, err := b.store.Account(t.Context(), "", b.id)
	if err != nil {
		t.Fatal(err)
	}
	if acct.Sync.SeenAt.IsZero() {
		t.Fatal("nobody knows when the mailbox was last looked at")
	}
	b.start() // at once: no gap
	b.live()
	b.engine.Close()
	gaps := func() (out []mail.Change, last mail.ChangeKind) {
		changes, err := b.mbox.Changes(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Kind == mail.SyncGap {
				out = append(out, c)
			}
			if c.Kind == mail.MessageCreated || c.Kind == mail.SyncGap {
				last = c.Kind
			}
		}
		return out, last
	}
	if list, _ := gaps(); len(list) != 0 {
		t.Fatalf("a gap that was none: %+v", list)
	}
	st := acct.Sync
	st.SeenAt = time.Now().Add(-26 * time.Hour)
	if err := b.store.SetSync(t.Context(), b.id, st); err != nil {
		t.Fatal(err)
	}
	d.Append(t, "ann", "INBOX", message(77), nil, day)
	b.start()
	b.live()
	b.equal()
	list, last := gaps()
	if len(list) != 1 || last != mail.SyncGap || list[0].Data.Until-list[0].Data.Since < 25*3600 || !strings.Contains(list[0].Data.Reason, "not looked at") {
		t.Errorf("gaps %+v, told last: %v", list, last)
	}
}
