package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestVerify compares a mailbox with its copy beside a running server, and finds what happened while none ran.
func TestVerify(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, empty func() binary.Options) {
		d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
		fill(t, d, "mira@example.com", 60)
		s := serve(t, empty())
		g := connect(t, s, d, "mira@example.com")
		binary.Equal(t, s, g.ID, d, "mira@example.com")
		out, err := s.Verify(within(t, time.Minute), "mira@example.com", "--bytes", "--wait=1s")
		if err != nil || !strings.HasPrefix(out, "equal: ") || !strings.Contains(out, " 60 messages") {
			t.Fatalf("beside the server: %v\n%s", err, out)
		}
		metrics := scrape(t, s)
		for _, want := range []string{`posthorn_imap_connections{provider="other"} `, `posthorn_imap_logins_total{ok="true",provider="other"} `, `posthorn_imap_bytes_total{direction="received",provider="other"} `,
			`posthorn_accounts{state="live"} 1`, `posthorn_accounts_freshness_seconds_count 1`, `posthorn_account_freshness_seconds{account="` + g.ID + `"} `, `posthorn_event_latency_seconds_count `, `posthorn_quarantined 0`} {
			if !strings.Contains(metrics, "\n"+want) {
				t.Errorf("no metric %q", want)
			}
		}
		var fresh struct {
			Data struct {
				FreshAt int64 `json:"fresh_at"`
				Folders []struct {
					FreshAt   int64 `json:"fresh_at"`
					AuditedAt int64 `json:"audited_at"`
				}
			}
		}
		if err := s.Get(t.Context(), "/v3/grants/"+g.ID+"/freshness", &fresh); err != nil || fresh.Data.FreshAt == 0 || len(fresh.Data.Folders) == 0 || fresh.Data.Folders[0].FreshAt == 0 || fresh.Data.Folders[0].AuditedAt == 0 {
			t.Errorf("%+v, %v", fresh, err)
		}
		if err := s.Stop(within(t, 30*time.Second)); err != nil {
			t.Fatal(err)
		}
		d.Append(t, "mira@example.com", "INBOX", []byte("Subject: news\r\n\r\nx\r\n"), nil, time.Time{})
		out, err = s.Verify(within(t, time.Minute), g.ID, "--wait=1ms")
		if err == nil || !strings.Contains(out, `"INBOX" UID `) || !strings.Contains(out, "at the server and not here") || !strings.Contains(out, "1 difference ") {
			t.Errorf("after a message came: %v\n%s", err, out)
		}
		if out, err := s.Verify(within(t, time.Minute), "nobody@example.com"); err == nil || !strings.Contains(out, "there is no account") {
			t.Errorf("of nobody: %v\n%s", err, out)
		}
	})
}
