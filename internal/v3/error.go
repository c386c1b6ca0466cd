package v3

import (
	"context"
	"errors"
	"net/http"

	"github.com/posthorn/posthorn/internal/mail"
)

// ErrorBody is the envelope of every failure.
type ErrorBody struct {
	RequestID string `json:"request_id"`
	Error     Error  `json:"error"`
}

// Error says what went wrong: Type for programs, Message for people.
type Error struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// The values of error.type.
const (
	TypeInvalid      = "invalid_request_error"
	TypeUnauthorized = "unauthorized"
	TypeNotFound     = "not_found_error"
	TypePartial      = "api.partial_not_found_error"
	TypeRedirect     = "grant.callback_uri_not_allowed"
	TypeConflict     = "conflict_error"
	TypeRateLimit    = "rate_limit_error"
	TypeProvider     = "provider_error"
	TypeExpired      = "cursor_expired_error"
	TypeUnexpected   = "unexpected_error"

	TypeKeyInvalid = "api.invalid_idempotency_key"
	TypeKeyReused  = "api.invalid_idempotent_request"
	TypeKeyBusy    = "api.concurrent_idempotent_request"
)

// StatusClientGone answers a request whose caller hung up; nobody reads it, the logs do.
const StatusClientGone = 499

// ErrorOf maps err to a status and what is told to the caller. Only mail.Error.Msg ever reaches a caller: causes
// may hold a mail server's words or our own internals.
func ErrorOf(err error) (int, Error) {
	var e *mail.Error
	if !errors.As(err, &e) {
		switch {
		case errors.Is(err, context.Canceled):
			return StatusClientGone, Error{TypeUnexpected, "the request was cancelled"}
		case errors.Is(err, context.DeadlineExceeded):
			return http.StatusGatewayTimeout, Error{TypeProvider, "this took too long; try again"}
		}
		return http.StatusInternalServerError, Error{TypeUnexpected, "unexpected error; the server's log has it under this request_id"}
	}
	status, typ, msg := http.StatusInternalServerError, TypeUnexpected, ""
	switch e.Kind {
	case mail.Invalid:
		status, typ = http.StatusBadRequest, TypeInvalid
	case mail.NotFound:
		status, typ, msg = http.StatusNotFound, TypeNotFound, "requested object not found"
	case mail.Conflict:
		status, typ = http.StatusConflict, TypeConflict
	case mail.Unauthorized, mail.Reauth:
		status, typ = http.StatusUnauthorized, TypeUnauthorized
	case mail.Unreachable:
		status, typ = http.StatusBadRequest, TypeInvalid
	case mail.Limited:
		status, typ = http.StatusTooManyRequests, TypeRateLimit
	case mail.Refused:
		status, typ = http.StatusUnprocessableEntity, TypeProvider
	case mail.Unavailable:
		status, typ = http.StatusGatewayTimeout, TypeProvider
	case mail.Fenced:
		status, typ, msg = http.StatusServiceUnavailable, TypeUnexpected, "another node acts for this grant; try again"
	case mail.Expired:
		status, typ = http.StatusGone, TypeExpired
	case mail.Internal:
		return status, Error{typ, "unexpected error; the server's log has it under this request_id"}
	}
	if e.Msg != "" {
		msg = e.Msg
	}
	if msg == "" {
		msg = e.Kind.String()
	}
	return status, Error{typ, msg}
}
