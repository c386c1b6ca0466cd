// Package v3 holds the public JSON shapes of the API and the checks on what callers send.
package v3

import (
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// List is the envelope of a page of objects. Data is never null.
type List struct {
	RequestID  string `json:"request_id"`
	Data       any    `json:"data"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// OffsetList is the envelope of the lists that page by offset (grants).
type OffsetList struct {
	RequestID string `json:"request_id"`
	Data      any    `json:"data"`
	Limit     int    `json:"limit"`
	Offset    int    `json:"offset"`
}

// Single is the envelope of one object. Without Data it is the answer to a delete.
type Single struct {
	RequestID string `json:"request_id"`
	Data      any    `json:"data,omitempty"`
}

// unix returns t in seconds, 0 for no time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// some returns a slice that is never nil: clients break on null where they expect an array.
func some[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func invalid(op, msg string) error { return mail.E(mail.Invalid, op, msg, nil) }
