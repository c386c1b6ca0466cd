package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TestTokens: a code is used once, a second use ends what came of the first, and tokens go with their account.
func TestTokens(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		s, ctx := b.s, t.Context()
		acct, err := s.Account(ctx, "", b.id)
		if err != nil {
			t.Fatal(err)
		}
		add := func(hash byte, kind TokenKind, family string, ends time.Time) {
			t.Helper()
			tok := Token{Kind: kind, App: acct.App, Account: acct.ID, Family: family, ExpiresAt: ends, Data: TokenData{RedirectURI: "https://a.example/", Offline: true}}
			if err := s.AddToken(ctx, [32]byte{hash}, tok); err != nil {
				t.Fatal(err)
			}
		}
		later := time.Now().Add(time.Hour)
		add(1, TokenCode, "f", later)
		add(2, TokenAccess, "f", later)
		add(3, TokenRefresh, "f", time.Time{})
		add(4, TokenAccess, "g", later)
		add(5, TokenAccess, "h", time.Now().Add(-time.Hour))
		got, err := s.UseCode(ctx, [32]byte{1})
		if err != nil || got.Account != acct.ID || got.App != acct.App || !got.Data.Offline || got.Data.RedirectURI != "https://a.example/" {
			t.Fatalf("%+v %v", got, err)
		}
		if got, err := s.Token(ctx, TokenRefresh, [32]byte{3}); err != nil || !got.ExpiresAt.IsZero() || got.Family != "f" {
			t.Errorf("%+v %v", got, err)
		}
		for name, find := range map[string]func() error{
			"of another kind": func() error { _, err := s.Token(ctx, TokenAccess, [32]byte{3}); return err },
			"unknown":         func() error { _, err := s.Token(ctx, TokenAccess, [32]byte{9}); return err },
			"over":            func() error { _, err := s.Token(ctx, TokenAccess, [32]byte{5}); return err },
			"unknown code":    func() error { _, err := s.UseCode(ctx, [32]byte{2}); return err },
		} {
			if err := find(); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := s.UseCode(ctx, [32]byte{1}); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a code twice: %v", err)
		}
		if _, err := s.Token(ctx, TokenAccess, [32]byte{2}); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("after a code was used twice: %v", err)
		}
		if err := s.EndFamily(ctx, "none"); err != nil {
			t.Error(err)
		}
		if _, err := s.Token(ctx, TokenAccess, [32]byte{4}); err != nil {
			t.Error(err)
		}
		if problems, err := s.Check(ctx); err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
		if err := s.DeleteAccount(ctx, acct.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Token(ctx, TokenAccess, [32]byte{4}); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("of an erased account: %v", err)
		}
		if err := s.AddToken(ctx, [32]byte{8}, Token{Kind: TokenAccess, App: acct.App, Account: acct.ID}); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("for an erased account: %v", err)
		}
	})
}

func TestApplicationDetails(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		s, ctx := b.s, t.Context()
		app, err := s.DefaultApp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.UpdateApp(ctx, app.ID, func(d *AppDetails) error {
			d.Branding = json.RawMessage(`{"name":"x"}`)
			d.Connectors = map[string]Connector{"imap": {Off: true}}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if app, err = s.App(ctx, app.ID); err != nil || string(app.Details.Branding) != `{"name":"x"}` || !app.Details.Connectors["imap"].Off {
			t.Errorf("%+v %v", app, err)
		}
		one, err := s.AddRedirectURI(ctx, RedirectURI{App: app.ID, URL: "https://a.example/cb", Platform: "web"})
		if err != nil {
			t.Fatal(err)
		}
		if same, err := s.AddRedirectURI(ctx, RedirectURI{App: app.ID, URL: "https://a.example/cb", Platform: "web"}); err != nil || same.ID != one.ID {
			t.Errorf("the same twice: %+v %v", same, err)
		}
		two, err := s.AddRedirectURI(ctx, RedirectURI{App: app.ID, URL: "https://b.example/cb", Platform: "web", Settings: `{"x":1}`})
		if err != nil {
			t.Fatal(err)
		}
		two.URL = one.URL
		if err := s.UpdateRedirectURI(ctx, two); !mail.IsKind(err, mail.Conflict) {
			t.Errorf("made the same as another: %v", err)
		}
		other := mail.AppID(newUUID())
		if _, err := s.RedirectURI(ctx, other, one.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("of another application: %v", err)
		}
		if err := s.DeleteRedirectURI(ctx, other, one.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("of another application: %v", err)
		}
		if err := s.DeleteRedirectURI(ctx, app.ID, one.ID); err != nil {
			t.Error(err)
		}
		if list, err := s.RedirectURIs(ctx, app.ID); err != nil || len(list) != 1 || list[0].Settings != `{"x":1}` {
			t.Errorf("%+v %v", list, err)
		}
	})
}
