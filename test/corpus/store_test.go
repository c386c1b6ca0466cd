package corpus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	keys, err := vault.NewKeyring([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// newMailbox makes an account of its own.
func newMailbox(t *testing.T, s *store.Store) (mail.AccountID, *store.Mailbox, mail.Term) {
	t.Helper()
	ctx := context.Background()
	app, err := s.DefaultApp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	acct := mail.Account{ID: mail.AccountID(fmt.Sprintf("00000000-0000-4000-8000-%012x", rand.Uint64()>>16)), App: app.ID, Email: "open@example.test", Provider: "imap",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: "127.0.0.1", Port: 143, Security: mail.SecurityNone, Username: "open@example.test"}}}
	if err := s.CreateAccount(ctx, acct, mail.Credentials{IMAPPassword: mail.NewSecret("x")}); err != nil {
		t.Fatal(err)
	}
	mb, err := s.Mailbox(ctx, acct.ID)
	if err != nil {
		t.Fatal(err)
	}
	term, err := mb.NextTerm(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return acct.ID, mb, term
}
