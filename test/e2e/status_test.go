package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestStatus: operators see where mailboxes stand, while a server runs and when none does.
func TestStatus(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, empty func() binary.Options) {
		d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
		for _, user := range []string{"mira@example.com", "noor@example.com"} {
			fill(t, d, user, 600)
		}
		s := serve(t, empty())
		type status struct {
			ID, Email string
			Running   bool
			Sync      struct {
				State    string
				FreshAt  int64 `json:"fresh_at"`
				Progress *struct{ Done, Total int64 }
			}
		}
		ask := func(args ...string) (out []status) {
			t.Helper()
			text, err := s.Status(within(t, 3*time.Minute), append(args, "--json")...)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			for line := range strings.Lines(text) {
				var one status
				if err := json.Unmarshal([]byte(line), &one); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				out = append(out, one)
			}
			return out
		}
		if got := ask(); len(got) != 0 {
			t.Errorf("of nobody: %+v", got)
		}

		g, err := s.Connect(within(t, 30*time.Second), binary.IMAP(d.Addr, "noor@example.com", d.Password))
		if err != nil {
			t.Fatal(err)
		}
		seen := ask("--watch", "noor@example.com")
		if end := seen[len(seen)-1]; end.ID != g.ID || end.Sync.State != "live" || !end.Running {
			t.Errorf("the watch ended with %+v", end)
		}
		for _, one := range seen[:len(seen)-1] {
			if p := one.Sync.Progress; one.Sync.State == "live" || p != nil && (p.Total > 600 || p.Done > p.Total) {
				t.Errorf("the watch went on after %+v", one)
			}
		}
		connect(t, s, d, "mira@example.com")
		if got := ask(); len(got) != 2 || got[0].Email != "mira@example.com" || got[1].ID != g.ID || got[0].Sync.State != "live" {
			t.Errorf("%+v", got)
		}
		if out, err := s.Status(within(t, time.Minute), g.ID); err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, "noor@example.com  live ") {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := s.Status(within(t, time.Minute), "nobody@example.com"); err == nil || !strings.Contains(out, "there is no account") {
			t.Errorf("of nobody: %v\n%s", err, out)
		}
		if err := s.Stop(within(t, 30*time.Second)); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Status(within(t, time.Minute)); err != nil || strings.Count(out, "not running; was live") != 2 {
			t.Errorf("after the end of the server: %v\n%s", err, out)
		}
	})
}
