package syncer

import (
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

// ahead is the next headers of a folder that are read while those before them are stored, for as long as nothing else is done on that
// connection.
type ahead struct {
	s    *session
	of   generation
	uids imap.UIDSet
	done chan struct{} // closed when they are read
	got  *headers      // nil after a panic
	err  error
}

// readAhead begins to read a.next, the headers that the backfill wants next, unless these need more than to be read.
func (a *account) readAhead(ctx context.Context, s *session, f mail.Folder) {
	next := a.next
	a.next = imap.UIDSet{}
	if next.Empty() || a.labels.on() || !a.left(f).first.IsZero() || !a.asideOf(f).Empty() {
		return
	}
	a.units.mu.Lock()
	trouble := a.units.writing || len(a.units.strikes) > 0
	a.units.mu.Unlock()
	if trouble {
		return
	}
	h := &ahead{s: s, of: generation{f.ID, f.UIDValidity}, uids: next, done: make(chan struct{})}
	a.ahead = h
	go func() {
		defer close(h.done)
		defer func() {
			if v := recover(); v != nil {
				h.got = nil
				_ = a.panicked("read headers", v) // they are read again where it is known who is to blame
			}
		}()
		h.got, h.err = a.headers(ctx, s, f, h.uids)
	}()
}

// headersOf returns the headers of messages of the open folder: those that were read ahead, if they are just these.
func (a *account) headersOf(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet) (*headers, error) {
	h := a.ahead
	a.dropAhead()
	if h == nil || h.got == nil || h.s != s || h.of != (generation{f.ID, f.UIDValidity}) || !slices.Equal(h.uids.Ranges(), uids.Ranges()) {
		return a.headers(ctx, s, f, uids)
	}
	return h.got, h.err
}

// dropAhead waits until nothing is read ahead any more, and forgets it.
func (a *account) dropAhead() {
	if a.ahead != nil {
		<-a.ahead.done
		a.ahead = nil
	}
}
