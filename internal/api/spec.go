package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/posthorn/posthorn/docs"
)

// spec is the OpenAPI description as it is served.
type spec struct{ tag string }

func newSpec() spec {
	sum := sha256.Sum256(docs.OpenAPI)
	return spec{tag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

func (a *API) getSpec(c *call) error {
	h := c.Header()
	h.Set("Content-Type", "application/yaml")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", a.spec.tag)
	h.Set("Cache-Control", "no-cache")
	http.ServeContent(c, c.r, "", time.Time{}, bytes.NewReader(docs.OpenAPI))
	return nil
}
