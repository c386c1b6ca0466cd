package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/posthorn/posthorn/internal/v3"
)

// gzipFrom is the size from which compressing an answer pays.
const gzipFrom = 200

// keepBuffer is the largest buffer that is kept for another answer.
const keepBuffer = 1 << 20

// one answers with a single object.
func (c *call) one(status int, sel v3.Select, data any) error {
	return c.envelope(status, sel, data)
}

// tagged answers with a single object that can be asked for again: 304 if the caller has it already (RFC 9110 13.1.2).
func (c *call) tagged(sel v3.Select, data any) error { return c.told(sel, data, "") }

func (c *call) told(sel v3.Select, data any, next string) error {
	b := c.buffer()
	defer c.release(b)
	b.WriteString(`{"request_id":"` + c.id + `","data":`)
	from := b.Len()
	if err := sel.Encode(b, data); err != nil {
		return err
	}
	if next != "" {
		b.WriteString(`,"next_cursor":"` + next + `"`)
	}
	tag := tagFor(b.Bytes()[from:])
	b.WriteByte('}')
	c.Header().Set("ETag", tag)
	c.Header().Set("Cache-Control", "private, no-cache")
	if matches(c.r.Header.Values("If-None-Match"), tag) {
		c.WriteHeader(http.StatusNotModified)
		return nil
	}
	c.write(http.StatusOK, b)
	return nil
}

// tagFor is weak: request_id differs each time.
func tagFor(data []byte) string {
	sum := sha256.Sum256(data)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// tagOf returns the tag that an object has when it is answered whole.
func (c *call) tagOf(data any) string {
	b := c.buffer()
	defer c.release(b)
	if err := (v3.Select{}).Encode(b, data); err != nil {
		return ""
	}
	return tagFor(b.Bytes())
}

// matches compares weakly, as If-None-Match asks (RFC 9110 8.8.3.2).
func matches(headers []string, tag string) bool {
	for _, h := range headers {
		for t := range strings.SplitSeq(h, ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// page answers with a list, which can be asked for again if it was asked for by GET.
func (c *call) page(sel v3.Select, data any, next string) error {
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return c.told(sel, data, next)
	}
	return c.envelope(http.StatusOK, sel, data)
}

// done answers where there is nothing to say but that it was done.
func (c *call) done() error {
	c.send(http.StatusOK, func(b *bytes.Buffer) error { return v3.Select{}.Encode(b, v3.Single{RequestID: c.id}) })
	return nil
}

func (c *call) envelope(status int, sel v3.Select, data any) error {
	c.send(status, func(b *bytes.Buffer) error {
		b.WriteString(`{"request_id":"` + c.id + `","data":`)
		if err := sel.Encode(b, data); err != nil {
			return err
		}
		b.WriteByte('}')
		return nil
	})
	return nil
}

// send writes a JSON answer as a whole, compressed if the caller takes that. The content type is exact: one client
// compares it as a string.
func (c *call) send(status int, write func(*bytes.Buffer) error) {
	b := c.buffer()
	defer c.release(b)
	if err := write(b); err != nil {
		c.a.Log.ErrorContext(c.r.Context(), "encode answer", "request_id", c.id, "route", c.route, "error", err)
		b.Reset()
		status = http.StatusInternalServerError
		b.WriteString(`{"request_id":"` + c.id + `","error":{"type":"` + v3.TypeUnexpected + `","message":"unexpected error"}}`)
	}
	c.write(status, b)
}

func (c *call) write(status int, b *bytes.Buffer) {
	if c.keep != nil {
		c.keep(status, b.Bytes())
	}
	h := c.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept-Encoding")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	if b.Len() >= gzipFrom && takesGzip(c.r) {
		z := c.buffer()
		defer c.release(z)
		c.a.compress(z, b.Bytes())
		b = z
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	c.WriteHeader(status)
	c.Write(b.Bytes())
}

func (a *API) compress(to *bytes.Buffer, data []byte) {
	w := a.gzips.Get().(*gzip.Writer)
	defer a.gzips.Put(w)
	w.Reset(to)
	w.Write(data) // into memory: cannot fail
	w.Close()
}

// takesGzip reads Accept-Encoding (RFC 9110 12.5.3).
func takesGzip(r *http.Request) bool {
	for _, h := range r.Header.Values("Accept-Encoding") {
		for e := range strings.SplitSeq(h, ",") {
			name, params, _ := strings.Cut(strings.TrimSpace(e), ";")
			if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
				continue
			}
			q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			if v, err := strconv.ParseFloat(q, 64); !ok || err == nil && v > 0 {
				return true
			}
		}
	}
	return false
}

func (c *call) buffer() *bytes.Buffer {
	b := c.a.buffers.Get().(*bytes.Buffer)
	b.Reset()
	return b
}

func (c *call) release(b *bytes.Buffer) {
	if b.Cap() <= keepBuffer {
		c.a.buffers.Put(b)
	}
}
