// Package docs holds what the server shows of its documentation.
package docs

import _ "embed"

// OpenAPI describes the HTTP API (OpenAPI 3.1).
//
//go:embed openapi.yaml
var OpenAPI []byte
