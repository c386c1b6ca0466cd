package syncer

import (
	"io"

	"github.com/posthorn/posthorn/internal/mime"
)

// SetParse makes an engine read messages by another function. Call it before Open.
func (e *Engine) SetParse(parse func(io.Reader, mime.Options) (*mime.Message, error)) {
	e.parse = parse
}

// SetReached makes an engine tell which point it reaches. Call it before Open.
func (e *Engine) SetReached(reached func(point string)) { e.reached = reached }
