package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// await polls until ok says yes, and returns how long that took.
func await(t *testing.T, what string, bound time.Duration, ok func() bool) {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	ctx := within(t, bound)
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, bound)
		case <-tick.C:
		}
	}
	t.Logf("%s after %v", what, time.Since(start).Round(time.Millisecond))
}

// TestLive follows one message from its arrival to its end.
func TestLive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    realsrv.DovecotOptions
	}{
		{"as it is", realsrv.DovecotOptions{}},
		{"no CONDSTORE, no NOTIFY", realsrv.DovecotOptions{CapsDrop: []string{"QRESYNC", "CONDSTORE", "NOTIFY"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := realsrv.StartDovecot(t, c.o)
			session := d.Login(t, "mira")
			for i := range 30 {
				session.Append("INBOX", fmt.Appendf(nil, "From: a@example.com\r\nMessage-ID: <old%d@example.com>\r\nSubject: old %d\r\n\r\nx\r\n", i, i), nil, time.Time{})
			}
			session.CreateFolder("Archive")
			s := serve(t, binary.Options{})
			g := connect(t, s, d, "mira")
			const bound = 90 * time.Second
			find := func(subject string) *binary.Message {
				list, err := s.Messages(t.Context(), g.ID, map[string][]string{"subject": {subject}})
				if err != nil {
					t.Fatal(err)
				}
				if len(list) == 0 {
					return nil
				}
				if len(list) > 1 {
					t.Errorf("%d messages are called %q", len(list), subject)
				}
				return &list[0]
			}
			folder := func(name string) string {
				folders, err := s.Folders(t.Context(), g.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range folders {
					if f.Name == name {
						return f.ID
					}
				}
				return ""
			}

			raw := []byte("From: b@example.com\r\nMessage-ID: <new@example.com>\r\nSubject: newcomer\r\n\r\nhello there\r\n")
			uid := session.Append("INBOX", raw, nil, time.Time{})
			await(t, "new mail", bound, func() bool { m := find("newcomer"); return m != nil && !m.BodyPending })
			m := find("newcomer")
			if !m.Unread || m.Starred || !slices.Equal(m.Folders, []string{folder("INBOX")}) {
				t.Errorf("%+v", m)
			}
			id := m.ID

			session.Do(`SELECT INBOX`)
			session.Do(fmt.Sprintf(`UID STORE %d +FLAGS (\Seen \Flagged)`, uid))
			await(t, "flag change", bound, func() bool { m := find("newcomer"); return m != nil && !m.Unread && m.Starred })

			session.Do(fmt.Sprintf(`UID MOVE %d Archive`, uid))
			await(t, "move", bound, func() bool {
				m := find("newcomer")
				if m == nil {
					t.Fatal("the message was away while it was moved")
				}
				return slices.Equal(m.Folders, []string{folder("Archive")})
			})
			if m := find("newcomer"); m.ID != id {
				t.Errorf("the move made %s of %s", m.ID, id)
			}

			session.CreateFolder("Überall")
			await(t, "new folder", bound, func() bool { return folder("Überall") != "" })

			session.Do(`SELECT Archive`)
			session.Do(`STORE 1:* +FLAGS (\Deleted)`)
			session.Do(`EXPUNGE`)
			await(t, "expunge", bound, func() bool {
				err := s.Get(t.Context(), "/v3/grants/"+g.ID+"/messages/"+id, nil)
				var e *binary.Error
				if err != nil && (!errors.As(err, &e) || e.Status != 404) {
					t.Fatal(err)
				}
				return err != nil
			})
			binary.Equal(t, s, g.ID, d, "mira")
			binary.Check(t, s)
		})
	}
}

// TestLiveAfterOutage: what happened while the server was away is found when it is back.
func TestLiveAfterOutage(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	fill(t, d, "mira", 100)
	s := serve(t, binary.Options{})
	g := connect(t, s, d, "mira")
	if err := d.Pause(); err != nil {
		t.Fatal(err)
	}
	await(t, "the outage is told", 2*time.Minute, func() bool {
		now, err := s.Grant(t.Context(), g.ID)
		if err != nil {
			t.Fatal(err)
		}
		return !binary.Live(now) && now.Sync.Reason != ""
	})
	if all := binary.Everything(t, s, g.ID); len(all) != 100 {
		t.Errorf("%d messages while the server is away", len(all))
	}
	if err := d.Resume(); err != nil {
		t.Fatal(err)
	}
	session := d.Login(t, "mira")
	session.Append("INBOX", []byte("Subject: meanwhile\r\n\r\nx\r\n"), nil, time.Time{})
	session.Do("SELECT INBOX")
	session.Do(`STORE 1:5 +FLAGS (\Deleted)`)
	session.Do("EXPUNGE")
	await(t, "the end of the outage", 3*time.Minute, func() bool {
		list, err := s.Messages(t.Context(), g.ID, map[string][]string{"select": {"id"}})
		if err != nil {
			t.Fatal(err)
		}
		now, err := s.Grant(t.Context(), g.ID)
		return err == nil && binary.Live(now) && len(list) == 96
	})
	binary.Equal(t, s, g.ID, d, "mira")
	binary.Check(t, s)
}
