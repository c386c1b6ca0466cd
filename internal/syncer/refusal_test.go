package syncer_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestRefusalsPass: whatever a server answers to a command for a while, with whatever code, nothing that is there is deleted, and
// afterwards all is as it should be (RFC 5530, RFC 9051 7.1).
func TestRefusalsPass(t *testing.T) {
	t.Parallel()
	answers := []string{"NO [UNAVAILABLE] x", "NO [LIMIT] x", "NO [CONTACTADMIN] x", "NO [EXPIRED] x",
		"NO x", "BAD x", "BYE going down", persona.Cut}
	commands := []string{"LIST", "STATUS", "EXAMINE", "UID SEARCH", "UID FETCH"}
	if testing.Short() {
		answers = answers[4:]
	}
	for _, command := range commands {
		for _, answer := range answers {
			t.Run(command+" "+strings.Trim(answer, "\x00"), func(t *testing.T) {
				t.Parallel()
				p := persona.Start(t, persona.Knobs{})
				p.Create("Work")
				for i := range 30 {
					p.Deliver("INBOX", message(i))
				}
				p.Deliver("Work", message(100))
				c := setupClocked(t, p, nil)
				c.messages(31)

				p.Deliver("INBOX", message(200))
				p.Flag("INBOX", 3, `\Flagged`)
				var left atomic.Int64
				left.Store(4)
				p.Turn(func(k *persona.Knobs) {
					k.Answer = func(cmd persona.Command) string {
						if cmd.Name == command && left.Add(-1) >= 0 {
							c.engine.Start(c.id) // no need to wait for the backoff
							return answer
						}
						return ""
					}
				})
				c.engine.Start(c.id)
				c.ahead.Add(int64(2 * time.Hour)) // all folders are due, and what is set aside
				c.until("the mailboxes to be equal", func() bool {
					c.ahead.Add(int64(time.Hour)) // so is what was set aside meanwhile
					return c.difference() == ""
				})
				changes, err := c.mbox.Changes(t.Context(), 0, 1000)
				if err != nil {
					t.Fatal(err)
				}
				if n := count(changes, mail.MessageDeleted) + count(changes, mail.FolderDeleted) + count(changes, mail.FolderReset); n > 0 {
					t.Errorf("%d of what is there was told as gone", n)
				}
				if n := count(changes, mail.MessageCreated); n != 32 {
					t.Errorf("%d messages were told as new, there are 32", n)
				}
			})
		}
	}
}
