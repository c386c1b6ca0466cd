package api

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

// oauthFail answers in the flat shape of OAuth.
func (c *call) oauthFail(err error, name string) error {
	status, e := v3.OAuthErrorOf(err, name)
	e.RequestID = c.id
	if status >= 500 {
		c.a.Log.ErrorContext(c.r.Context(), "request failed", "request_id", c.id, "route", c.route, "status", status, "error", err)
	}
	c.send(status, func(b *bytes.Buffer) error { return v3.Select{}.Encode(b, e) })
	return nil
}

// client finds out which application asks for tokens, and whether it has shown one of its API keys, in the request or as
// the bearer.
func (c *call) client(ctx context.Context, id, secret string) (app mail.AppID, proven bool, err error) {
	refused := mail.E(mail.Unauthorized, "authorize client", "client_id and client_secret do not belong together: client_id is the application's id, client_secret one of its API keys", nil)
	if secret == "" {
		secret, _ = auth.Bearer(c.r.Header.Get("Authorization"))
	}
	known, err := c.a.Store.App(ctx, mail.AppID(strings.ToLower(id)))
	if mail.IsKind(err, mail.NotFound) {
		return "", false, refused
	}
	if err != nil || secret == "" {
		return known.ID, false, err
	}
	if proven, err = c.a.Auth.Owns(ctx, known.ID, secret); err == nil && !proven {
		err = refused
	}
	return known.ID, proven, err
}

func (a *API) token(c *call) error {
	c.Header().Set("Cache-Control", "no-store")
	req, err := v3.ParseTokenRequest(c.r.Header.Get("Content-Type"), c.r.Body)
	if err != nil {
		return c.oauthFail(err, v3.OAuthInvalid)
	}
	ctx := c.r.Context()
	app, proven, err := c.client(ctx, req.ClientID, req.ClientSecret)
	if err != nil {
		return c.oauthFail(err, v3.OAuthInvalid)
	}
	var t auth.Tokens
	switch req.GrantType {
	case "authorization_code":
		t, err = a.Auth.Exchange(ctx, app, proven, req.Code, req.RedirectURI, req.CodeVerifier)
	case "refresh_token":
		t, err = a.Auth.Refresh(ctx, app, proven, req.RefreshToken)
	case "client_credentials":
		if !proven {
			return c.oauthFail(mail.E(mail.Unauthorized, "authorize client", "client_secret, an API key of the application, is required", nil), v3.OAuthClient)
		}
		var acct mail.Account
		c.app = app
		c.r.SetPathValue("grant", req.GrantID)
		if acct, err = c.account(); err == nil {
			t, err = a.Auth.ForAccount(ctx, acct)
		}
	default:
		return c.oauthFail(mail.E(mail.Invalid, "exchange token", "grant_type must be authorization_code, refresh_token or client_credentials", nil), v3.OAuthUnsupported)
	}
	if err != nil {
		return c.oauthFail(err, v3.OAuthGrant)
	}
	acct, err := a.Store.Account(ctx, t.App, t.Account)
	if err != nil {
		return c.oauthFail(err, v3.OAuthGrant)
	}
	c.send(http.StatusOK, func(b *bytes.Buffer) error {
		return v3.Select{}.Encode(b, v3.Tokens{
			AccessToken: t.Access, ExpiresIn: int64(auth.AccessTime.Seconds()), TokenType: "Bearer", GrantID: acct.ID, Email: acct.Email, Provider: acct.Provider,
			Scope: t.Scope, RefreshToken: t.Refresh, RequestID: c.id,
		})
	})
	return nil
}

// revokeToken ends a token and its siblings: whoever holds a token may end it.
func (a *API) revokeToken(c *call) error {
	token := c.r.URL.Query().Get("token")
	inBody, err := v3.ParseRevoke(c.r.Header.Get("Content-Type"), c.r.Body)
	if err != nil {
		return c.oauthFail(err, v3.OAuthInvalid)
	}
	if token == "" {
		token = inBody
	}
	if token == "" {
		return c.oauthFail(mail.E(mail.Invalid, "revoke token", "token is missing", nil), v3.OAuthInvalid)
	}
	if err := a.Auth.Revoke(c.r.Context(), token); err != nil {
		return c.oauthFail(err, v3.OAuthInvalid)
	}
	return c.done()
}

// tokenInfo tells the holder of a token what it is.
func (a *API) tokenInfo(c *call) error {
	ctx, q := c.r.Context(), c.r.URL.Query()
	token := q.Get("access_token")
	if token == "" {
		token = q.Get("id_token")
	}
	t, err := a.Auth.Inspect(ctx, token)
	if mail.IsKind(err, mail.NotFound) {
		return c.oauthFail(mail.E(mail.Invalid, "read token", "the token is not valid, is over, or was revoked", nil), v3.OAuthToken)
	}
	if err != nil {
		return c.oauthFail(err, v3.OAuthToken)
	}
	acct, err := a.Store.Account(ctx, t.App, t.Account)
	if err != nil {
		return c.oauthFail(err, v3.OAuthToken)
	}
	out := v3.TokenInfo{Issuer: a.issuer(c.r), Audience: t.App, Subject: acct.ID, Email: acct.Email, IssuedAt: t.CreatedAt.Unix(), Expires: t.ExpiresAt.Unix()}
	if t.ExpiresAt.IsZero() {
		out.Expires = 0
	}
	return c.one(http.StatusOK, v3.Select{}, out)
}

// issuer is this server's address, as the operator set it, or as the caller knows it.
func (a *API) issuer(r *http.Request) string {
	if a.PublicURL != "" {
		return a.PublicURL
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
