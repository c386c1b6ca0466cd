package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// TokenKind says what a token is for.
type TokenKind string

// The kinds of tokens.
const (
	TokenCode    TokenKind = "code"    // exchanged once for the others
	TokenAccess  TokenKind = "access"  // speaks for one account
	TokenRefresh TokenKind = "refresh" // buys access tokens
)

// Token is what is known of a token that speaks for one account. The token itself is nowhere, only its SHA-256.
type Token struct {
	Kind      TokenKind
	App       mail.AppID
	Account   mail.AccountID
	Family    string // all tokens that came of one login: they end together
	Data      TokenData
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// TokenData is what a token was given out for.
type TokenData struct {
	RedirectURI     string `json:"redirect_uri,omitempty"`
	Challenge       string `json:"challenge,omitempty"` // PKCE (RFC 7636)
	ChallengeMethod string `json:"method,omitempty"`
	Offline         bool   `json:"offline,omitempty"` // a refresh token was asked for
	Public          bool   `json:"public,omitempty"`  // its holder proved itself by PKCE and has no secret
	Scope           string `json:"scope,omitempty"`
}

// AddToken stores a token by its SHA-256. Tokens that ended more than a day ago go with it.
func (s *Store) AddToken(ctx context.Context, hash [32]byte, t Token) error {
	if !isUUID(string(t.Account)) || !isUUID(string(t.App)) {
		return noAccount(nil)
	}
	data, err := json.Marshal(t.Data)
	if err != nil {
		return err
	}
	now := s.now()
	return s.control.write(ctx, func(x *tx) error {
		if _, err := x.exec(ctx, "DELETE FROM tokens WHERE expires_at < ?", now.Add(-24*time.Hour).UnixMilli()); err != nil {
			return err
		}
		var one int
		err := x.row(ctx, "SELECT 1 FROM accounts WHERE id=? AND app_id=?", string(t.Account), string(t.App)).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return noAccount(nil)
		}
		if err != nil {
			return err
		}
		_, err = x.exec(ctx, "INSERT INTO tokens(hash, kind, app_id, account_id, family, data, created_at, expires_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
			hash[:], string(t.Kind), string(t.App), string(t.Account), t.Family, clean(string(data)), now.UnixMilli(), millis(t.ExpiresAt))
		return err
	})
}

// NewFamily names the tokens of a new login.
func (s *Store) NewFamily() string { return randomHex(16) }

func scanToken(row *sql.Row) (Token, bool, error) {
	var t Token
	var data string
	var created int64
	var expires, used sql.NullInt64
	if err := row.Scan(&t.Kind, &t.App, &t.Account, &t.Family, &data, &created, &expires, &used); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = mail.E(mail.NotFound, "find token", "there is no such token", nil)
		}
		return t, false, err
	}
	t.CreatedAt, t.ExpiresAt = fromMilli(created), fromMillis(expires)
	return t, used.Valid, json.Unmarshal([]byte(data), &t.Data)
}

const tokenQuery = "SELECT kind, app_id, account_id, family, data, created_at, expires_at, used_at FROM tokens WHERE hash=? AND kind=?"

// Token finds a token of a kind by its SHA-256; NotFound if there is none, or it is over.
func (s *Store) Token(ctx context.Context, kind TokenKind, hash [32]byte) (t Token, err error) {
	err = s.control.look(ctx, func(x *tx) error {
		t, _, err = scanToken(x.row(ctx, tokenQuery, hash[:], string(kind)))
		return err
	})
	if err == nil && s.over(t) {
		return Token{}, mail.E(mail.NotFound, "find token", "the token is over", nil)
	}
	return t, err
}

func (s *Store) over(t Token) bool { return !t.ExpiresAt.IsZero() && !s.now().Before(t.ExpiresAt) }

// UseCode takes a code that was never used before; only one caller gets it. Using one again ends every token that came of
// it (RFC 6749 4.1.2): whoever did so has stolen it, or had it stolen.
func (s *Store) UseCode(ctx context.Context, hash [32]byte) (t Token, err error) {
	var used bool
	err = s.control.write(ctx, func(x *tx) error {
		if t, used, err = scanToken(x.row(ctx, tokenQuery, hash[:], string(TokenCode))); err != nil {
			return err
		}
		if used {
			_, err = x.exec(ctx, "DELETE FROM tokens WHERE family=? AND kind<>?", t.Family, string(TokenCode))
			return err
		}
		n, err := x.exec(ctx, "UPDATE tokens SET used_at=? WHERE hash=? AND used_at IS NULL", s.now().UnixMilli(), hash[:])
		used = err == nil && n == 0 // somebody else was quicker
		return err
	})
	if err == nil && (used || s.over(t)) {
		return Token{}, mail.E(mail.NotFound, "use code", "the code was used before, or is over", nil)
	}
	return t, err
}

// EndFamily ends every token that came of one login.
func (s *Store) EndFamily(ctx context.Context, family string) error {
	return s.control.write(ctx, func(x *tx) error {
		_, err := x.exec(ctx, "DELETE FROM tokens WHERE family=?", family)
		return err
	})
}
