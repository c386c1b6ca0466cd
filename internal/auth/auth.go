// Package auth decides who may call the API, and proves logins at mail servers before an account is kept.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

// Options are what an Auth is made of.
type Options struct {
	Store    *store.Store
	Guard    provider.Guard    // where mail connections may go
	TLS      *tls.Config       // roots and the like; nil: the system's
	Resolver provider.Resolver // for autodetection by MX; nil: none
	Timeout  time.Duration     // for one Connect, 3 s of it for the store; default 15 s
	Parallel int               // Connects at once; default 64
	Now      func() time.Time  // default time.Now
	Log      *slog.Logger      // default: discard
}

// Auth checks API keys and connects accounts. It is safe for concurrent use.
type Auth struct {
	o     Options
	slots chan struct{}
}

// New makes an Auth.
func New(o Options) *Auth {
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Parallel <= 0 {
		o.Parallel = 64
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Auth{o: o, slots: make(chan struct{}, o.Parallel)}
}

// Resolver returns what autodetection asks, for others who detect.
func (a *Auth) Resolver() provider.Resolver { return a.o.Resolver }

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewKey makes an API key: "ph_", 43 characters of randomness (256 bits) and 6 of checksum, by which secret scanners
// can tell a key from a look-alike. Only its Hash is ever stored.
func NewKey() string { return newToken(prefixKey) }

func newToken(prefix string) string {
	const n = 43 // 62^43 > 2^256
	out := make([]byte, 0, len(prefix)+n+6)
	out = append(out, prefix...)
	var b [64]byte
	for len(out) < len(prefix)+n {
		rand.Read(b[:])
		for _, c := range b {
			if c < 248 && len(out) < len(prefix)+n { // 248 = 4*62: every character equally likely
				out = append(out, base62[c%62])
			}
		}
	}
	sum := uint64(crc32.ChecksumIEEE(out))
	for range 6 {
		out = append(out, base62[sum%62])
		sum /= 62
	}
	return string(out)
}

// Hash is what is stored of an API key. Keys have 256 bits of randomness, so that a plain hash cannot be searched,
// and looking one up by its hash tells an attacker nothing through timing.
func Hash(key string) [32]byte { return sha256.Sum256([]byte(key)) }

// Bearer reads the token of an Authorization header.
func Bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(strings.TrimSpace(header), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != "" && len(token) <= 512
}

// App returns the application that an Authorization header speaks for. It fails with Unauthorized.
func (a *Auth) App(ctx context.Context, header string) (mail.AppID, error) {
	token, ok := Bearer(header)
	if !ok {
		return "", mail.E(mail.Unauthorized, "authorize", "an API key is required: send it as Authorization: Bearer KEY", nil)
	}
	key, err := a.o.Store.APIKey(ctx, Hash(token))
	switch {
	case mail.IsKind(err, mail.NotFound):
		return "", mail.E(mail.Unauthorized, "authorize", "the API key is not valid", nil)
	case err != nil:
		return "", err
	}
	return key.App, nil
}

// newID makes an account id: a random UUID (RFC 9562 5.4).
func newID() mail.AccountID {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return mail.AccountID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}
