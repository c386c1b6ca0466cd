package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAWiderPolicyIsNoNews: what comes because the policy is another than it was lay at the server before, so that webhooks are not told of
// it. What arrives meanwhile is news.
func TestAWiderPolicyIsNoNews(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string]string{"QRESYNC": persona.All, "basic": persona.Basic} {
		for _, initial := range []bool{false, true} { // the first synchronisation was not complete when the policy changed
			t.Run(name+map[bool]string{true: ", initial"}[initial], func(t *testing.T) {
				t.Parallel()
				r := newRig(t, persona.Knobs{Caps: caps})
				const many = wholeMessages + 20
				policy := func(p *mail.SyncPolicy) {
					acct := r.a.acct
					acct.Settings.Sync = p
					if err := r.a.e.o.Store.UpdateAccount(t.Context(), acct, nil); err != nil {
						t.Fatal(err)
					}
					r.a.acct = acct
				}
				policy(&mail.SyncPolicy{Days: 31, HeadersOnly: true, Without: []string{"Work"}})
				r.p.Create("Work")
				r.fill("Work", 1, many)
				r.fill("INBOX", 1001, 1000+many+2)
				for uid := range uint32(many) {
					r.p.Received("INBOX", uid+1, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
				}
				r.login()
				if initial {
					r.a.follows() // as work does
					if err := r.a.pass(t.Context(), r.s, true); err != nil {
						t.Fatal(err)
					}
				} else {
					r.look(true)
				}
				r.changes()
				after := r.seq

				policy(&mail.SyncPolicy{Days: 700})
				r.restart(false)
				r.fill("INBOX", 1, 1) // as new as any: a copy of what lies in Work
				r.fill("INBOX", 3001, 3001)
				r.login()
				r.look(false)
				r.settle()
				list, err := r.a.mbox.Changes(t.Context(), after, 10000)
				if err != nil {
					t.Fatal(err)
				}
				var told []string
				history := 0
				for _, c := range list {
					switch {
					case !strings.HasPrefix(c.Kind.String(), "message."):
					case c.Origin == mail.OriginInitial:
						history++
					default:
						told = append(told, c.Kind.String()+" "+r.name(mail.MessageID(c.Object)))
					}
				}
				if history < 2*many || slices.ContainsFunc(told, func(c string) bool {
					return c != "message.created m1" && c != "message.updated m1" && c != "message.created m3001"
				}) ||
					!slices.Contains(told, "message.created m3001") {
					t.Errorf("history %d, news %d: %q", history, len(told), told[:min(len(told), 10)])
				}
				r.agrees()

				after = list[len(list)-1].Seq
				r.fill("Work", 4001, 4001)
				r.look(false)
				if list, err = r.a.mbox.Changes(t.Context(), after, 100); err != nil || len(list) != 1 || list[0].Origin != mail.OriginLive {
					t.Errorf("%+v, %v", list, err)
				}
			})
		}
	}
}
