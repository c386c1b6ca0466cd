package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// A request that changes something may carry an Idempotency-Key: the same request with the same key again, within an hour, is
// answered as the first one was and does nothing. Sends keep their keys in the outbox, with what is to be sent; all others keep
// key and answer here.

const (
	keyHeader   = "Idempotency-Key"
	againHeader = "Idempotent-Response"
	maxKey      = 256
	// keyedTime bounds a request with a key, which goes on when its caller hangs up: they will come back and ask.
	keyedTime = time.Minute
)

// keyed tells whether a route's request is to be answered once for its key, before its handler sees it. Those that take
// attachments see to it themselves, once these are read.
func (c *call) keyed(r route) bool {
	if r.open || c.r.Method == http.MethodGet || c.r.Method == http.MethodHead || len(c.r.Header.Values(keyHeader)) == 0 {
		return false
	}
	_, path, _ := strings.Cut(r.pattern, " ")
	sends := strings.HasSuffix(path, "/messages/send") || r.pattern == "POST /v3/grants/{grant}/drafts/{draft}"
	uploads := r.pattern == "POST /v3/grants/{grant}/drafts" || r.pattern == "PUT /v3/grants/{grant}/drafts/{draft}"
	return !sends && !uploads
}

// onceJSON is once for a request whose body is small.
func (c *call) onceJSON(handle func(*call) error) error {
	body, err := io.ReadAll(c.r.Body)
	if err != nil {
		return err
	}
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	return c.once(func() string { return string(canonical(body)) }, func() error { return handle(c) })
}

// canonical writes JSON in the one form that all spellings of it have in common; what is not JSON stays as it is.
func canonical(body []byte) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return body
	}
	out, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return out
}

// once does what a request asks for unless that was done for its key. said tells two requests to one address apart. An answer
// that says that it was done, or will be, is kept; after any other the key is free again.
func (c *call) once(said func() string, do func() error) error {
	keys := c.r.Header.Values(keyHeader)
	if len(keys) == 0 {
		return do()
	}
	key := strings.Join(keys, ",")
	if len(key) > maxKey {
		return c.keyTooLong()
	}
	a := store.Answer{App: c.app}
	if c.r.PathValue("grant") != "" {
		acct, err := c.account()
		if err != nil {
			return err
		}
		a.Account = acct.ID
	}
	a.Name = sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s", a.App, a.Account, key))
	u := c.r.URL
	a.Request = sha256.Sum256(fmt.Appendf(nil, "%s %s?%s\n%s", c.r.Method, u.EscapedPath(), u.Query().Encode(), said()))

	ctx, cancel := c.detached(keyedTime)
	defer cancel()
	c.r = c.r.WithContext(ctx)
	before, begun, err := c.a.Store.BeginAnswer(ctx, a)
	switch {
	case err != nil:
		return err
	case !begun && before.Request != a.Request:
		return c.keyReused()
	case !begun && before.Status == 0:
		c.error(http.StatusConflict, v3.Error{Type: v3.TypeKeyBusy, Message: "a request with this Idempotency-Key is under way, or was interrupted so that nobody knows what came of it: look before you use another key"})
		return nil
	case !begun:
		c.Header().Set(againHeader, "true")
		c.send(before.Status, func(b *bytes.Buffer) error {
			b.WriteString(`{"request_id":"` + c.id + `"`)
			b.Write(before.Body)
			return nil
		})
		return nil
	}
	end := func(a store.Answer) {
		if err := c.a.Store.EndAnswer(context.WithoutCancel(ctx), a); err != nil { // it stays as one whose outcome is not known
			c.a.Log.ErrorContext(ctx, "the answer to a request with an Idempotency-Key could not be kept", "request_id", c.id, "route", c.route, "error", err)
		}
	}
	c.keep = func(status int, body []byte) {
		if status >= 200 && status < 300 {
			a.Status, a.Body = status, bytes.TrimPrefix(body, []byte(`{"request_id":"`+c.id+`"`))
			end(a)
		}
	}
	err = do()
	c.keep = nil
	if a.Status == 0 {
		end(a)
	}
	return err
}

func (c *call) keyTooLong() error {
	c.error(http.StatusBadRequest, v3.Error{Type: v3.TypeKeyInvalid, Message: "Idempotency-Key is longer than 256 characters"})
	return nil
}

func (c *call) keyReused() error {
	c.error(http.StatusConflict, v3.Error{Type: v3.TypeKeyReused, Message: "the Idempotency-Key is that of another request; that one stands"})
	return nil
}
