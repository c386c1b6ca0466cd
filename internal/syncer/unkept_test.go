package syncer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestFlagsThatAreNotKept: an operation that sets a flag which the server takes and forgets fails, with words that say so, and does
// not go on for a day; what the server says that it keeps is not believed either way.
func TestFlagsThatAreNotKept(t *testing.T) {
	t.Parallel()
	forget := func(c persona.Command) string {
		if c.Name == "UID STORE" && strings.Contains(c.Args, `\Flagged`) {
			return "OK done"
		}
		return ""
	}
	without := func(_ persona.Command, line string) string {
		if strings.Contains(line, "[PERMANENTFLAGS") {
			return strings.ReplaceAll(line, `\Flagged `, "")
		}
		return line
	}
	for _, c := range []struct {
		name  string
		knobs persona.Knobs
		kept  bool
	}{
		{"said and true", persona.Knobs{Say: without, Answer: forget}, false},
		{"not said", persona.Knobs{Answer: forget}, false},
		{"said and not true", persona.Knobs{Say: without}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, c.knobs)
			p.Create("Work")
			p.Deliver("INBOX", message(1))
			b := setupClocked(t, p, nil)
			b.messages(1)
			work := b.folder("Work").ID
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			op, err := b.engine.Do(ctx, b.id, mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{b.messageAt("INBOX", 1)},
				Set: mail.FlagSeen | mail.FlagFlagged, Folder: work})
			if err != nil {
				t.Fatal(err)
			}
			b.until("the end of the operation", func() bool {
				if op, err = b.mbox.Operation(t.Context(), op.ID); err != nil {
					t.Fatal(err)
				}
				b.ahead.Add(int64(time.Second))
				b.engine.Start(b.id)
				return op.State != mail.OpPending
			})
			if b.ahead.Load() > int64(12*time.Hour) {
				t.Errorf("it took %v", time.Duration(b.ahead.Load()))
			}
			if c.kept {
				if op.State != mail.OpDone {
					t.Errorf("%+v", op)
				}
				return
			}
			if op.State != mail.OpFailed || op.Why != mail.Refused || !strings.Contains(op.Reason, "does not keep this flag") {
				t.Errorf("%+v", op)
			}
			m := b.message(op.Messages[0])
			if m.Flags != mail.FlagSeen || len(m.Folders) != 1 || m.Folders[0] != work {
				t.Errorf("flags %v, in %v", m.Flags.Names(), m.Folders)
			}
		})
	}
}

// More keywords than fit into the names of a Maildir's files are as the server shows them.
func TestMoreKeywordsThanTheServerKeeps(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	b := setup(t, &d.IMAP, "ann")
	b.fill(3)
	b.live()
	var words []string
	for i := range 40 {
		words = append(words, fmt.Sprintf("keyword%d", i))
	}
	s := d.Login(t, "ann")
	s.Do("SELECT INBOX")
	s.Do("UID STORE 2 +FLAGS (" + strings.Join(words, " ") + ")")
	b.equal()
	if m := b.message(b.messageAt("INBOX", 2)); len(m.Keywords) != 40 {
		t.Errorf("%d keywords: %v", len(m.Keywords), m.Keywords)
	}
}
