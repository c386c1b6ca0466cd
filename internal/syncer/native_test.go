package syncer

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestThreadsOfTheProvider: where the server threads messages, they are together here as they are there, in a store that is made anew
// as well, and a reply that only we know finds its thread.
func TestThreadsOfTheProvider(t *testing.T) {
	t.Parallel()
	conversation := func(n int, subject, refs string) []byte {
		return fmt.Appendf(nil, "From: Ann <ann@example.com>\r\nTo: bo@example.com\r\nSubject: %s\r\nDate: Sun, 01 Mar 2026 12:%02d:00 +0000\r\nMessage-ID: <n%d@example.com>\r\n%s\r\nBody %d.\r\n",
			subject, n, n, refs, n)
	}
	messages := [][]byte{
		conversation(1, "Plan", ""),
		conversation(2, "Re: Plan", "References: <n1@example.com>\r\n"),
		conversation(3, "More news", "References: <n1@example.com>\r\n"), // another thread by its header
		conversation(4, "Plan", ""),
		conversation(5, "Re: Lost", "References: <gone@example.com>\r\n"),
		conversation(6, "Lost and found", "References: <gone@example.com>\r\n"),
	}
	for _, c := range []struct {
		name  string
		all   string // the folder with all messages
		start func(t *testing.T) (host string, port int, password string, deliver func([]byte))
	}{
		{"Gmail", "[Gmail]/All Mail", func(t *testing.T) (string, int, string, func([]byte)) {
			p := persona.Start(t, persona.Gmail())
			return p.Host, p.Port, persona.Password, func(raw []byte) { p.Deliver("INBOX", raw) }
		}},
		{"Cyrus", "INBOX", func(t *testing.T) (string, int, string, func([]byte)) {
			d := realsrv.StartCyrus(t, realsrv.CyrusOptions{})
			s := d.Login(t, "ann")
			t.Cleanup(s.Close)
			return d.Host, d.Port, d.Password, func(raw []byte) { s.Append("INBOX", raw, nil, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			host, port, password, deliver := c.start(t)
			for _, raw := range messages {
				deliver(raw)
			}
			threads := func() (ours map[mail.MessageID]mail.ThreadID, r *rig) {
				r = rigAt(t, host, port, password, "ann")
				r.look(true)
				ours = map[mail.MessageID]mail.ThreadID{}
				for _, id := range r.places() {
					m, err := r.a.mbox.Message(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					ours[id] = m.Thread
				}
				return ours, r
			}
			ours, r := threads()
			if again, _ := threads(); !maps.Equal(again, ours) {
				t.Errorf("anew %v\nbefore %v", again, ours)
			}

			if _, err := r.s.examine(t.Context(), mail.Folder{RawName: c.all}); err != nil {
				t.Fatal(err)
			}
			theirs := map[mail.ThreadID]string{}
			together := map[string]bool{}
			err := r.s.Fetch(t.Context(), imap.Range(1, imap.Star), imap.FetchOptions{Thread: true}, func(row *imap.Row) error {
				id := r.placed(c.all, row.UID)
				native := row.NativeThread()
				if was, ok := theirs[ours[id]]; native == "" || ok && was != native {
					t.Errorf("message %d is in thread %q there, others of %s in %q", row.UID, native, ours[id], was)
				}
				theirs[ours[id]] = native
				together[native] = true
				return nil
			})
			if err != nil || len(together) != len(theirs) || len(theirs) < 3 {
				t.Errorf("threads here and there: %v, %v", theirs, err)
			}

			reply := mime.ParseHeader(conversation(9, "Re: More news", "In-Reply-To: <n3@example.com>\r\nReferences: <n1@example.com> <n3@example.com>\r\n"))
			fp, _ := mime.Fingerprint(reply)
			if got, err := r.a.mbox.ThreadOf(t.Context(), r.a.key.ThreadKeys(reply, fp)); err != nil || got != ours[r.placed(c.all, 3)] {
				t.Errorf("a reply is in %s, %v; what it answers is in %s", got, err, ours[r.placed(c.all, 3)])
			}
		})
	}
}

// TestThreadsThatAreRefused: a server that offers OBJECTID and does not know THREADID is asked without.
func TestThreadsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		if strings.Contains(c.Args, "THREADID") {
			return "BAD unknown item"
		}
		return ""
	}})
	r.fill("INBOX", 1, 5)
	r.look(true)
	r.fill("INBOX", 6, 7)
	r.look(false)
	r.agrees()
	if n, err := r.a.mbox.CountTroubles(t.Context()); n > 0 || err != nil || len(r.stored()) != 7 {
		t.Errorf("%d of 7 here, %d set aside, %v", len(r.stored()), n, err)
	}
	if n := r.p.Count("UID FETCH"); n > 6 {
		t.Errorf("%d FETCH", n)
	}
}

// placed is the message with a UID of a folder.
func (r *rig) placed(folder string, uid uint32) mail.MessageID {
	return r.places()[fmt.Sprint(folder, " ", uid)]
}
