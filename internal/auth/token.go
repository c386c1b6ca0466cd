package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// How long tokens are good for.
const (
	codeTime   = 10 * time.Minute
	AccessTime = time.Hour
)

// The prefixes by which tokens are told from API keys and from each other.
const (
	prefixKey     = "ph_"
	prefixCode    = "phc_"
	prefixAccess  = "pha_"
	prefixRefresh = "phr_"
)

// Caller is who a request speaks for.
type Caller struct {
	App     mail.AppID
	Account mail.AccountID // of an access token, which speaks for this account alone; "" of an API key
}

// Caller returns who an Authorization header speaks for. It fails with Unauthorized.
func (a *Auth) Caller(ctx context.Context, header string) (Caller, error) {
	token, ok := Bearer(header)
	if !ok || !strings.HasPrefix(token, prefixAccess) {
		app, err := a.App(ctx, header)
		return Caller{App: app}, err
	}
	t, err := a.o.Store.Token(ctx, store.TokenAccess, Hash(token))
	if mail.IsKind(err, mail.NotFound) {
		err = mail.E(mail.Unauthorized, "authorize", "the access token is not valid, or is over", nil)
	}
	return Caller{App: t.App, Account: t.Account}, err
}

// Owns tells whether secret is an API key of an application.
func (a *Auth) Owns(ctx context.Context, app mail.AppID, secret string) (bool, error) {
	key, err := a.o.Store.APIKey(ctx, Hash(secret))
	if mail.IsKind(err, mail.NotFound) {
		return false, nil
	}
	return err == nil && key.App == app, err
}

// Login is what a user's login at the connect page was asked for with.
type Login struct {
	RedirectURI     string
	Challenge       string // PKCE (RFC 7636); "" for none
	ChallengeMethod string // "plain" or "s256"
	Offline         bool   // give a refresh token too
	Scope           string
}

// Code makes the one-time code of a login to an account.
func (a *Auth) Code(ctx context.Context, app mail.AppID, account mail.AccountID, l Login) (string, error) {
	t := store.Token{Kind: store.TokenCode, App: app, Account: account, Family: a.o.Store.NewFamily(), ExpiresAt: a.o.Now().Add(codeTime),
		Data: store.TokenData{RedirectURI: l.RedirectURI, Challenge: l.Challenge, ChallengeMethod: l.ChallengeMethod, Offline: l.Offline, Scope: l.Scope}}
	return a.add(ctx, prefixCode, t)
}

func (a *Auth) add(ctx context.Context, prefix string, t store.Token) (string, error) {
	token := newToken(prefix)
	return token, a.o.Store.AddToken(ctx, Hash(token), t)
}

// Tokens are what a code, a refresh token or an application's own credentials were exchanged for.
type Tokens struct {
	Access, Refresh string // Refresh "" if none was asked for
	App             mail.AppID
	Account         mail.AccountID
	Scope           string
}

// Exchange turns a code into tokens, once. proven: the caller showed an API key of app; without one it must hold the
// verifier of the code's PKCE challenge. It fails with Invalid.
func (a *Auth) Exchange(ctx context.Context, app mail.AppID, proven bool, code, redirectURI, verifier string) (Tokens, error) {
	refused := mail.E(mail.Invalid, "exchange code", "the code is not valid: it was used before, is older than ten minutes, or is of another application or redirect_uri", nil)
	t, err := a.o.Store.UseCode(ctx, Hash(code))
	if mail.IsKind(err, mail.NotFound) {
		return Tokens{}, refused
	}
	if err != nil {
		return Tokens{}, err
	}
	if t.App != app || t.Data.RedirectURI != redirectURI {
		return Tokens{}, refused
	}
	switch {
	case t.Data.Challenge != "" && !verified(t.Data, verifier):
		return Tokens{}, mail.E(mail.Invalid, "exchange code", "code_verifier does not belong to the code_challenge", nil)
	case t.Data.Challenge == "" && !proven:
		return Tokens{}, mail.E(mail.Invalid, "exchange code", "client_secret, an API key of the application, is required", nil)
	}
	out := Tokens{App: app, Account: t.Account, Scope: t.Data.Scope}
	data := store.TokenData{Public: !proven, Scope: t.Data.Scope}
	if t.Data.Offline {
		if out.Refresh, err = a.add(ctx, prefixRefresh, store.Token{Kind: store.TokenRefresh, App: app, Account: t.Account, Family: t.Family, Data: data}); err != nil {
			return Tokens{}, err
		}
	}
	out.Access, err = a.access(ctx, app, t.Account, t.Family, data)
	return out, err
}

func (a *Auth) access(ctx context.Context, app mail.AppID, account mail.AccountID, family string, data store.TokenData) (string, error) {
	return a.add(ctx, prefixAccess, store.Token{Kind: store.TokenAccess, App: app, Account: account, Family: family, Data: data, ExpiresAt: a.o.Now().Add(AccessTime)})
}

// Refresh makes a new access token. The refresh token goes on. It fails with Invalid.
func (a *Auth) Refresh(ctx context.Context, app mail.AppID, proven bool, refresh string) (Tokens, error) {
	t, err := a.o.Store.Token(ctx, store.TokenRefresh, Hash(refresh))
	if err != nil && !mail.IsKind(err, mail.NotFound) {
		return Tokens{}, err
	}
	if err != nil || t.App != app || !proven && !t.Data.Public {
		return Tokens{}, mail.E(mail.Invalid, "refresh token", "the refresh token is not valid, was revoked, or is of another application", nil)
	}
	access, err := a.access(ctx, app, t.Account, t.Family, t.Data)
	return Tokens{Access: access, App: app, Account: t.Account, Scope: t.Data.Scope}, err
}

// ForAccount makes an access token for an account of the application, which has proven itself.
func (a *Auth) ForAccount(ctx context.Context, acct mail.Account) (Tokens, error) {
	access, err := a.access(ctx, acct.App, acct.ID, a.o.Store.NewFamily(), store.TokenData{})
	return Tokens{Access: access, App: acct.App, Account: acct.ID}, err
}

// Revoke ends a token and all that came of the same login. An unknown token is as good as ended (RFC 7009 2.2).
func (a *Auth) Revoke(ctx context.Context, token string) error {
	t, err := a.Inspect(ctx, token)
	if mail.IsKind(err, mail.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.o.Store.EndFamily(ctx, t.Family)
}

// Inspect finds an access or refresh token that is not over; NotFound otherwise.
func (a *Auth) Inspect(ctx context.Context, token string) (store.Token, error) {
	kind := store.TokenAccess
	if strings.HasPrefix(token, prefixRefresh) {
		kind = store.TokenRefresh
	}
	return a.o.Store.Token(ctx, kind, Hash(token))
}

// verified checks a PKCE verifier. Of the S256 challenge two forms are in use: that of RFC 7636 4.2, the base64url of the
// SHA-256; and that of the Nylas SDKs, the base64 of its hexadecimal digits.
func verified(d store.TokenData, verifier string) bool {
	if verifier == "" {
		return false
	}
	have := strings.TrimRight(d.Challenge, "=")
	if d.ChallengeMethod == "plain" {
		return equal(have, strings.TrimRight(verifier, "="))
	}
	sum := sha256.Sum256([]byte(verifier))
	digits := hex.EncodeToString(sum[:])
	ok := equal(have, base64.RawURLEncoding.EncodeToString(sum[:]))
	return equal(have, base64.RawStdEncoding.EncodeToString([]byte(digits))) || ok
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
