package v3

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/posthorn/posthorn/internal/mail"
)

// OAuthError is the flat failure of the token endpoints (RFC 6749 5.2).
type OAuthError struct {
	Error       string `json:"error"`
	Code        int    `json:"error_code"`
	Description string `json:"error_description"`
	URI         string `json:"error_uri"`
	RequestID   string `json:"request_id"`
}

// The values of OAuthError.Error.
const (
	OAuthInvalid     = "invalid_request"
	OAuthClient      = "invalid_client"
	OAuthGrant       = "invalid_grant"
	OAuthUnsupported = "unsupported_grant_type"
	OAuthToken       = "invalid_token"
	OAuthServer      = "server_error"
	OAuthResponse    = "unsupported_response_type"
	OAuthDenied      = "access_denied"
)

// OAuthErrorURI is where the errors of OAuth are explained.
const OAuthErrorURI = "https://www.rfc-editor.org/rfc/rfc6749#section-5.2"

// OAuthErrorOf maps err; what the caller did wrong is called name.
func OAuthErrorOf(err error, name string) (int, OAuthError) {
	status, e := ErrorOf(err)
	switch {
	case mail.IsKind(err, mail.Unauthorized):
		name = OAuthClient
	case status == http.StatusNotFound:
		status = http.StatusBadRequest
	case status >= 500:
		name = OAuthServer
	}
	return status, OAuthError{Error: name, Code: status, Description: e.Message, URI: OAuthErrorURI}
}

// Tokens is the answer of the token endpoint: flat, without data.
type Tokens struct {
	AccessToken  string         `json:"access_token"`
	ExpiresIn    int64          `json:"expires_in"`
	TokenType    string         `json:"token_type"` // "Bearer"
	GrantID      mail.AccountID `json:"grant_id"`
	Email        string         `json:"email"`
	Provider     string         `json:"provider"`
	Scope        string         `json:"scope"`
	RefreshToken string         `json:"refresh_token,omitempty"`
	RequestID    string         `json:"request_id"`
}

// TokenInfo is what is known of a token.
type TokenInfo struct {
	Issuer   string         `json:"iss"`
	Audience mail.AppID     `json:"aud"`
	Subject  mail.AccountID `json:"sub"`
	Email    string         `json:"email"`
	IssuedAt int64          `json:"iat"`
	Expires  int64          `json:"exp"`
}

// TokenRequest is the body of POST connect/token.
type TokenRequest struct {
	GrantType    string `json:"grant_type"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Code         string `json:"code"`
	CodeVerifier string `json:"code_verifier"`
	RedirectURI  string `json:"redirect_uri"`
	RefreshToken string `json:"refresh_token"`
	GrantID      string `json:"grant_id"`
}

// ParseTokenRequest reads a TokenRequest, as JSON or as a form. It fails with Invalid.
func ParseTokenRequest(contentType string, body io.Reader) (TokenRequest, error) {
	var t TokenRequest
	kind, _, _ := mime.ParseMediaType(contentType)
	if kind != "application/x-www-form-urlencoded" {
		return t, DecodeJSON(body, &t)
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return t, err
	}
	q, err := url.ParseQuery(string(raw))
	if err != nil {
		return t, invalid("read body", "the form is not well-formed")
	}
	for name, to := range map[string]*string{
		"grant_type": &t.GrantType, "client_id": &t.ClientID, "client_secret": &t.ClientSecret, "code": &t.Code, "code_verifier": &t.CodeVerifier,
		"redirect_uri": &t.RedirectURI, "refresh_token": &t.RefreshToken, "grant_id": &t.GrantID,
	} {
		*to = q.Get(name)
	}
	return t, nil
}

// ParseRevoke returns the token that a body names, "" if none: callers may send any body, or none.
func ParseRevoke(contentType string, body io.Reader) (string, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return "", err
		}
		return "", invalid("read body", "the body ended early")
	}
	var b struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(raw, &b) == nil {
		return b.Token, nil
	}
	if kind, _, _ := mime.ParseMediaType(contentType); kind == "application/x-www-form-urlencoded" {
		if q, err := url.ParseQuery(string(raw)); err == nil {
			return q.Get("token"), nil
		}
	}
	return "", nil
}
