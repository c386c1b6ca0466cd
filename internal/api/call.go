package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// The bounds of a request.
const (
	maxBody  = 1 << 20
	maxQuery = 16 << 10
)

// call is one request and its answer. It is the ResponseWriter of its handler and knows what was written.
type call struct {
	http.ResponseWriter
	a     *API
	r     *http.Request
	id    string // request id
	app   mail.AppID
	only  mail.AccountID // of an access token: the one account it speaks for
	route string

	body    io.ReadCloser                 // without the bound of r.Body
	counted bool                          // against the limit of the grant
	keep    func(status int, body []byte) // told the answer before it is sent; nil: nobody is
	damaged []damage
	status  int
	bytes   int64
}

func (c *call) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
		c.ResponseWriter.WriteHeader(status)
	}
}

func (c *call) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c := &call{ResponseWriter: w, a: a, r: r, id: requestID(r)}
	w.Header().Set("X-Request-Id", c.id)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			if a.Events.Panic != nil {
				a.Events.Panic(c.route)
			}
			a.Log.ErrorContext(r.Context(), "panic in a request", "request_id", c.id, "route", c.route, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if c.status != 0 {
				panic(http.ErrAbortHandler) // half an answer must not look like a whole one
			}
			c.fail(mail.E(mail.Internal, "serve", "", nil))
		}
		took := time.Since(start)
		if a.Events.Request != nil {
			a.Events.Request(Served{Route: c.route, Status: c.status, Bytes: c.bytes, Duration: took})
		}
		a.Log.DebugContext(r.Context(), "request", "request_id", c.id, "route", c.route, "status", c.status, "bytes", c.bytes, "took", took)
	}()
	clean, err := normalise(r)
	if err != nil {
		c.fail(err)
		return
	}
	c.r = clean
	if _, c.route = a.mux.Handler(clean); c.route == "" {
		c.unrouted(clean)
		return
	}
	if c.body = clean.Body; clean.Body != nil {
		clean.Body = http.MaxBytesReader(w, clean.Body, maxBody)
	}
	a.mux.ServeHTTP(c, clean)
}

func (c *call) run(r route) {
	if !r.open {
		if err := c.admit(r); err != nil {
			c.fail(err)
			return
		}
	}
	handle := r.handle
	if c.keyed(r) {
		handle = func(c *call) error { return c.onceJSON(r.handle) }
	}
	err := handle(c)
	c.mend()
	if err != nil {
		c.fail(err)
	}
}

// admit finds out who calls, and whether that is allowed to. An access token may do what is about the contents of its
// grant, and look at the grant; all else takes an API key.
func (c *call) admit(r route) error {
	header := c.r.Header.Get("Authorization")
	who, err := c.a.Auth.Caller(c.r.Context(), header)
	if err != nil {
		return err
	}
	c.app, c.only = who.App, who.Account
	if c.only != "" && !strings.HasPrefix(r.pattern, "GET /v3/grants/{grant}") && !strings.Contains(r.pattern, " /v3/grants/{grant}/") {
		return mail.E(mail.Unauthorized, "authorize", "this takes an API key; an access token is for the contents of its grant", nil)
	}
	token, _ := auth.Bearer(header)
	hash := auth.Hash(token)
	return c.limit(c.a.byKey, string(hash[:]), "requests with this key")
}

// limit counts the request.
func (c *call) limit(l *limiter, name, what string) error {
	if l == nil {
		return nil
	}
	wait := l.take(name)
	h := c.Header()
	left := l.left(name)
	if was, err := strconv.Atoi(h.Get("RateLimit-Remaining")); err != nil || left < was { // the tighter limit is told
		h.Set("RateLimit-Limit", strconv.Itoa(l.burst/2))
		h.Set("RateLimit-Remaining", strconv.Itoa(left))
		h.Set("RateLimit-Reset", "1")
	}
	if wait == 0 {
		return nil
	}
	return &mail.Error{Op: "serve", Kind: mail.Limited, After: max(wait, time.Second), Msg: "too many " + what + "; wait as Retry-After says"}
}

// normalise removes repeated and trailing slashes without a redirect, which a streamed upload could not follow: base
// URLs are often configured with a slash at the end.
func normalise(r *http.Request) (*http.Request, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, mail.E(mail.Invalid, "read request", "the query is too long", nil)
	}
	was := r.URL.EscapedPath()
	p := was
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	if p = strings.TrimRight(p, "/"); p == "" {
		p = "/"
	}
	if path.Clean(p) != p {
		return nil, mail.E(mail.NotFound, "route", "there is nothing at this path", nil)
	}
	if p == was {
		return r, nil
	}
	plain, err := url.PathUnescape(p)
	if err != nil {
		return nil, mail.E(mail.Invalid, "read request", "the path is not well-formed", err)
	}
	r2, u := *r, *r.URL
	u.Path, u.RawPath = plain, p
	r2.URL = &u
	return &r2, nil
}

// unrouted answers a path that is not there, or a method that it does not take (RFC 9110 15.5.6).
func (c *call) unrouted(r *http.Request) {
	var allow []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		probe := *r
		probe.Method = m
		if _, p := c.a.mux.Handler(&probe); p != "" {
			allow = append(allow, m)
		}
	}
	if len(allow) == 0 {
		c.fail(mail.E(mail.NotFound, "route", "there is nothing at this path", nil))
		return
	}
	c.Header().Set("Allow", strings.Join(allow, ", "))
	c.error(http.StatusMethodNotAllowed, v3.Error{Type: v3.TypeInvalid, Message: "this path does not take " + methodName(r.Method)})
}

func methodName(m string) string {
	if len(m) > 16 {
		return "this method"
	}
	return m
}

// requestID takes the caller's id if it is harmless, else makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:", r))
	}) {
		return rand.Text()
	}
	return id
}

// fail answers with an error. What is not the caller's doing is logged, with its cause.
func (c *call) fail(err error) {
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		c.error(http.StatusRequestEntityTooLarge, v3.Error{Type: v3.TypeInvalid, Message: fmt.Sprintf("the request body is larger than %d bytes", tooBig.Limit)})
		return
	}
	var large *tooLarge
	if errors.As(err, &large) {
		c.error(http.StatusRequestEntityTooLarge, v3.Error{Type: v3.TypeInvalid, Message: large.Error()})
		return
	}
	status, e := v3.ErrorOf(err)
	var me *mail.Error
	if errors.As(err, &me) && me.After > 0 {
		c.Header().Set("Retry-After", fmt.Sprint(int64((me.After+time.Second-1)/time.Second)))
	}
	if mail.IsKind(err, mail.Unauthorized) {
		c.Header().Set("WWW-Authenticate", "Bearer")
	}
	if status >= 500 {
		c.a.Log.ErrorContext(c.r.Context(), "request failed", "request_id", c.id, "route", c.route, "status", status, "error", err)
	}
	c.error(status, e)
}

func (c *call) error(status int, e v3.Error) {
	for _, h := range []string{"ETag", "Content-Disposition", "Content-Security-Policy", "Accept-Ranges"} {
		c.Header().Del(h)
	}
	c.send(status, func(b *bytes.Buffer) error { return v3.Select{}.Encode(b, v3.ErrorBody{RequestID: c.id, Error: e}) })
}

// account returns the account that the path names. Another application's is as unknown as none; to an access token so is
// every other than its own, whether it exists or not.
func (c *call) account() (mail.Account, error) {
	acct, err := c.grant(c.r.PathValue("grant"))
	if c.only != "" && (mail.IsKind(err, mail.NotFound) || err == nil && acct.ID != c.only) {
		return mail.Account{}, mail.E(mail.Unauthorized, "find grant", "the access token is for another grant", nil)
	}
	if err != nil {
		return mail.Account{}, err
	}
	if c.counted {
		return acct, nil
	}
	c.counted = true
	return acct, c.limit(c.a.byGrant, string(acct.ID), "requests about this grant")
}

// grant returns the account of an id or address as paths have it.
func (c *call) grant(id string) (mail.Account, error) {
	ctx := c.r.Context()
	unknown := mail.E(mail.NotFound, "find grant", "there is no such grant", nil)
	if id == "me" {
		if c.only == "" {
			return mail.Account{}, mail.E(mail.Invalid, "find grant", "me is the grant of an access token; with an API key name the grant by its id or address", nil)
		}
		return c.a.Store.Account(ctx, c.app, c.only)
	}
	if kind, rest, ok := strings.Cut(id, ":"); ok {
		switch kind {
		case "grant", "email":
			id = rest
		default:
			return mail.Account{}, unknown
		}
	}
	if strings.Contains(id, "@") {
		email := v3.Address(id)
		if email == "" {
			return mail.Account{}, unknown
		}
		return c.a.Store.AccountByEmail(ctx, c.app, email)
	}
	if id = strings.ToLower(id); len(id) != 36 {
		return mail.Account{}, unknown
	}
	return c.a.Store.Account(ctx, c.app, mail.AccountID(id))
}

// mailbox returns the account that the path names with its mail.
func (c *call) mailbox() (mail.Account, *store.Mailbox, error) {
	acct, err := c.account()
	if err != nil {
		return mail.Account{}, nil, err
	}
	mb, err := c.a.Store.Mailbox(c.r.Context(), acct.ID)
	return acct, mb, err
}

// detached is a context for what must not end half-way because the caller hung up.
func (c *call) detached(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), limit)
}
