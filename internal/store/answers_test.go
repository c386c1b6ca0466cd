package store

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestAnswers: the same name is one request, until its answer is forgotten, an hour is over, or its account is gone.
func TestAnswers(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		now := time.Now()
		p.o.Now = func() time.Time { return now }
		b := newBox(t, p)
		ctx := t.Context()
		acct, err := b.s.Account(ctx, "", b.id)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(name string, begun bool, status int, body string) {
			t.Helper()
			a, did, err := b.s.BeginAnswer(ctx, Answer{Name: sha256.Sum256([]byte(name)), App: acct.App, Account: acct.ID, Request: sha256.Sum256([]byte("request"))})
			if err != nil || did != begun || a.Status != status || string(a.Body) != body || a.Request != sha256.Sum256([]byte("request")) {
				t.Errorf("%s: begun %v, status %d, body %q, %v", name, did, a.Status, a.Body, err)
			}
		}
		end := func(name string, status int, body string) {
			t.Helper()
			if err := b.s.EndAnswer(ctx, Answer{Name: sha256.Sum256([]byte(name)), Status: status, Body: []byte(body)}); err != nil {
				t.Error(err)
			}
		}
		ask("a", true, 0, "")
		ask("a", false, 0, "") // under way
		ask("b", true, 0, "")
		end("a", 201, "canary body")
		end("b", 0, "")
		ask("a", false, 201, "canary body")
		ask("b", true, 0, "")
		now = now.Add(keepAnswers - time.Second)
		ask("a", false, 201, "canary body")
		now = now.Add(time.Second)
		ask("a", true, 0, "")
		end("a", 200, "again")
		if err := b.s.DeleteAccount(ctx, b.id); err != nil {
			t.Fatal(err)
		}
		if a, begun, err := b.s.BeginAnswer(ctx, Answer{Name: sha256.Sum256([]byte("a")), App: acct.App}); err != nil || !begun {
			t.Errorf("after its account is gone: %+v %v", a, err)
		}
		if _, _, err := b.s.BeginAnswer(ctx, Answer{App: acct.App, Account: "x"}); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("%v", err)
		}
	})
}
