package notify

import (
	"context"
	"sync"

	"github.com/posthorn/posthorn/internal/mail"
)

// maxViews bounds the payloads that views keep, in bytes.
const maxViews = 8 << 20

// views are notifications as they were written a moment ago, so that what goes to many webhooks is read from the mailbox and
// written once. They are of the newest state: whatever happens to an account ends all that is kept of it. One that is delivered
// just after that shows the state of just before, as any that was under way then, and the change is told after it.
type views struct {
	mu    sync.Mutex
	logs  map[mail.AccountID]map[mail.Seq]*written
	bytes int
}

// written is the first attempt of a notification.
type written struct {
	done    chan struct{} // closed when the rest is there
	view    view
	ok      bool // there is something to tell
	payload []byte
	err     error
}

// get returns the notification of an entry of a log, which write makes if it is not kept.
func (x *views) get(ctx context.Context, log mail.AccountID, seq mail.Seq, write func(*written)) *written {
	x.mu.Lock()
	w := x.logs[log][seq]
	if w != nil {
		x.mu.Unlock()
		select {
		case <-w.done:
			return w
		case <-ctx.Done():
			return &written{err: ctx.Err()}
		}
	}
	if x.logs == nil {
		x.logs = map[mail.AccountID]map[mail.Seq]*written{}
	}
	if x.logs[log] == nil {
		x.logs[log] = map[mail.Seq]*written{}
	}
	w = &written{done: make(chan struct{}), err: mail.E(mail.Internal, "write a notification", "", nil)}
	x.logs[log][seq] = w
	x.mu.Unlock()
	defer x.keep(log, seq, w) // also if write panics: others wait for it
	write(w)
	return w
}

// keep ends the wait for w, and forgets it if it is not to be used again.
func (x *views) keep(log mail.AccountID, seq mail.Seq, w *written) {
	close(w.done)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.logs[log][seq] != w { // something happened meanwhile
		return
	}
	if w.err != nil || w.view.pending {
		delete(x.logs[log], seq)
		return
	}
	if x.bytes += w.size(); x.bytes > maxViews {
		x.logs, x.bytes = nil, 0
	}
}

// size is about what w takes: the payload and what it was written from.
func (w *written) size() int { return 512 + 2*len(w.payload) }

// drop forgets what is kept of an account, "" of all.
func (x *views) drop(log mail.AccountID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if log == "" {
		x.logs, x.bytes = nil, 0
		return
	}
	for _, w := range x.logs[log] {
		select {
		case <-w.done:
			x.bytes -= w.size()
		default: // not counted yet
		}
	}
	delete(x.logs, log)
}
