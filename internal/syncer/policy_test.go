package syncer_test

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestPolicyIsKept: folders, old mail and bodies that the settings leave out stay out, all else comes and goes as ever, and the
// account is proven equal in what is wanted.
func TestPolicyIsKept(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string][]string{"as it is": nil, "no CONDSTORE": {"CONDSTORE", "QRESYNC"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, realsrv.DovecotOptions{CapsDrop: drop})
			const user = "ann"
			now := time.Now()
			s := d.Login(t, user)
			for _, f := range []string{"Lists", "Lists/Go", "Work"} {
				d.CreateFolder(t, user, f)
				s.Append(f, message(900+len(f)), nil, now)
			}
			for i := range 20 {
				s.Append("INBOX", message(i), nil, now.AddDate(0, 0, -100+5*i)) // UIDs 1 to 20, the last one 5 days old
			}
			d.AddUser(t, user)
			b := &bench{t: t, d: &d.IMAP, user: user, policy: &mail.SyncPolicy{Days: 31, HeadersOnly: true, Without: []string{"Lists"}}}
			b.open(mail.Endpoint{Host: d.Host, Port: d.Port}, d.Password)
			count := func(want int64) {
				t.Helper()
				b.until("what is wanted to be here, proven", func() bool {
					n, err := b.mbox.Counts(t.Context())
					st, _ := b.engine.Status(b.id)
					return err == nil && n.Placements == want && n.Vanished == 0 && st.State == mail.StateLive && st.SeenAt.After(now) && (drop != nil || st.FreshAt.After(now)) // without CONDSTORE only an audit proves
				})
			}
			count(7) // 6 of INBOX, one of Work
			if n, err := b.mbox.Counts(t.Context()); err != nil || n.Held != 0 {
				t.Errorf("bodies were fetched: %+v, %v", n, err)
			}
			if st, _ := b.engine.Status(b.id); st.Done != 7 || st.Total != 7 {
				t.Errorf("progress: %d of %d", st.Done, st.Total)
			}

			// News come, also of the kind that a mail program moves there from years ago: not that.
			now = time.Now()
			s.Append("INBOX", message(500), nil, now)
			s.Append("INBOX", message(501), nil, now.AddDate(-3, 0, 0))
			s.Do("SELECT INBOX")
			s.Do("UID STORE 3 +FLAGS (\\Deleted)") // left out
			s.Do("UID STORE 16 +FLAGS (\\Deleted)")
			s.Do("UID STORE 4,17 +FLAGS (\\Seen)")
			s.Do("EXPUNGE")
			now = time.Now() // they were seven before
			count(7)
			if v, err := b.engine.Verify(t.Context(), b.id, syncer.VerifyOptions{Bytes: true}); err != nil || len(v.Differences) > 0 || v.Messages != 7 {
				t.Errorf("%+v, %v", v, err)
			}

			// A body is fetched for who asks for it.
			id := b.messageAt("INBOX", 18)
			op, err := b.engine.Do(t.Context(), b.id, mail.Operation{Kind: mail.OpFetch, Messages: []mail.MessageID{id}})
			if err != nil || op.State != mail.OpDone {
				t.Fatalf("%+v, %v", op, err)
			}
			if m, err := b.mbox.Message(t.Context(), id); err != nil || m.Body != mail.BodyHeld || m.Snippet == "" {
				t.Errorf("%+v, %v", m, err)
			}

			// Another policy: what is not wanted any more leaves, what is wanted now comes.
			acct, err := b.store.Account(t.Context(), "", b.id)
			if err != nil {
				t.Fatal(err)
			}
			acct.Settings.Sync = &mail.SyncPolicy{Days: 61, Folders: []string{"INBOX", "Lists"}}
			if err := b.store.UpdateAccount(t.Context(), acct, nil); err != nil {
				t.Fatal(err)
			}
			b.engine.Close()
			now = time.Now()
			b.start()
			count(6 + 6 + 2) // INBOX with a month more, Lists and the one below
			n, err := b.mbox.Counts(t.Context())
			if err != nil || n.Unheld != 0 {
				t.Errorf("without their bodies: %+v, %v", n, err)
			}
		})
	}
}
