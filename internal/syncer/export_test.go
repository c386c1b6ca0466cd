package syncer

import (
	"io"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

func init() { roundView = 100 } // so that tests need fewer messages

// SetParse makes an engine read messages by another function. Call it before Open.
func (e *Engine) SetParse(parse func(io.Reader, mime.Options) (*mime.Message, error)) {
	e.parse = parse
}

// SetReached makes an engine tell which point it reaches. Call it before Open.
func (e *Engine) SetReached(reached func(point string)) { e.reached = reached }

// Waited is how many operations of an account somebody waits for.
func (e *Engine) Waited(id mail.AccountID) int {
	e.mu.Lock()
	a := e.accounts[id]
	e.mu.Unlock()
	a.waitersMu.Lock()
	defer a.waitersMu.Unlock()
	return len(a.waiters)
}
