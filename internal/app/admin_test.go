package app

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestStalestAccounts: an account that was never proven is as stale as it is old, and has a series among the stalest.
func TestStalestAccounts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, err := New(ctx, config(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(ctx)
	owner, err := a.store.DefaultApp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	create := func(id mail.AccountID, fresh time.Time) {
		t.Helper()
		err := a.store.CreateAccount(ctx, mail.Account{ID: id, App: owner.ID, Email: string(id) + "@example.com", Provider: "imap",
			Settings: mail.Settings{IMAP: mail.Endpoint{Host: "127.0.0.1", Port: 1, Security: mail.SecurityNone, Username: "x"}}}, mail.Credentials{IMAPPassword: mail.NewSecret("x")})
		if err == nil && !fresh.IsZero() {
			err = a.store.SetSync(ctx, id, mail.SyncStatus{State: mail.StateLive, FreshAt: fresh})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const never = "6b8e0f52-7c1d-4f0e-9a51-000000000000"
	create(never, time.Time{})
	for i := range stalest + 5 {
		create(mail.AccountID(fmt.Sprintf("6b8e0f52-7c1d-4f0e-9a51-%012d", i+1)), time.Now().Add(time.Hour))
	}
	w := httptest.NewRecorder()
	a.adminHandler(newMetrics(a)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	if n := strings.Count(text, "\nposthorn_account_freshness_seconds{"); n != stalest || !strings.Contains(text, `posthorn_account_freshness_seconds{account="`+never+`"} `) {
		t.Errorf("%d accounts have a series:\n%s", n, text)
	}
	for _, want := range []string{`posthorn_accounts_freshness_seconds_bucket{le="604800"} 25`, `posthorn_accounts_freshness_seconds_bucket{le="+Inf"} 26`} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
