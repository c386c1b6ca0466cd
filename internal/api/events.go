package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/notify"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

const (
	// maxWaiting is how many requests of one application may wait for events at once, streams included.
	maxWaiting = 64
	// heartbeat is the time between two signs of life on a quiet stream.
	heartbeat = 15 * time.Second
	// streamWrite is how long a piece of a stream may take to be written: who reads more slowly is cut off, and comes back
	// with Last-Event-ID.
	streamWrite = 15 * time.Second
	// streamLife is after how long a stream ends, so that the key is looked at again.
	streamLife = 30 * time.Minute
	// streamPage and streamBytes bound what a stream holds in memory.
	streamPage, streamBytes = 100, 1 << 20
)

// waiters counts the requests of each application that wait for events.
type waiters struct {
	mu     sync.Mutex
	n      map[mail.AppID]int
	closed chan struct{}
	once   sync.Once
	write  time.Duration // streamWrite
}

func (w *waiters) enter(app mail.AppID) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == nil {
		w.n = map[mail.AppID]int{}
	}
	if w.n[app] >= maxWaiting {
		return nil, &mail.Error{Op: "wait for events", Kind: mail.Limited, After: 5 * time.Second, Msg: "too many requests of this application wait for events; end some, or read all grants with one"}
	}
	w.n[app]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.n[app]--; w.n[app] == 0 {
			delete(w.n, app)
		}
	}, nil
}

// Close ends the requests that wait for events: the server stops. Other requests are not touched.
func (a *API) Close() { a.waiters.once.Do(func() { close(a.waiters.closed) }) }

// reading is what a request for events asks for.
type reading struct {
	notify.Reading
	log  string // what its cursors belong to
	wait time.Duration
}

func (c *call) reading(stream bool) (r reading, err error) {
	lastID := ""
	if stream {
		lastID = c.r.Header.Get("Last-Event-ID")
	}
	q, err := v3.ParseEvents(c.r.URL.Query(), lastID)
	if err != nil {
		return r, err
	}
	r = reading{Reading: notify.Reading{App: c.app, Types: q.Types, History: q.History, Limit: q.Limit}, log: string(c.app), wait: q.Wait}
	if c.r.PathValue("grant") != "" {
		acct, err := c.account()
		if err != nil {
			return r, err
		}
		r.Account, r.log = acct.ID, string(acct.ID)
	}
	if q.Cursor == "" && q.Since.IsZero() && stream {
		q.Cursor = v3.CursorLatest
	}
	switch q.Cursor {
	case "", v3.CursorEarliest, v3.CursorLatest:
		r.From, err = c.a.Notify.Begin(c.r.Context(), r.App, r.Account, notify.Start{At: q.Since, Latest: q.Cursor == v3.CursorLatest})
	default:
		r.From, err = place(q.Cursor, r.log)
	}
	return r, err
}

// place reads a cursor of a log.
func place(cursor, log string) (store.Place, error) {
	c, err := v3.ParseEventCursor(cursor, log)
	return store.Place{Pos: c.Pos, Seq: mail.Seq(c.Seq), NotBefore: c.NotBefore, Mark: c.Mark}, err
}

func (r *reading) token(p store.Place) string {
	return v3.EventCursor{Pos: p.Pos, Seq: int64(p.Seq), NotBefore: p.NotBefore, Mark: p.Mark}.Token(r.log)
}

// events answers with a page of events, or with a stream of them.
func (a *API) events(c *call) error {
	if strings.Contains(c.r.Header.Get("Accept"), "text/event-stream") {
		return a.streamEvents(c)
	}
	r, err := c.reading(false)
	if err != nil {
		return err
	}
	var page notify.Page
	if r.wait == 0 {
		page, err = a.Notify.Page(c.r.Context(), r.Reading)
	} else {
		page, err = a.awaitEvents(c, r)
	}
	if err != nil {
		return err
	}
	list := make([]v3.Notification, len(page.Told))
	for i, t := range page.Told {
		list[i] = t.Note
	}
	c.send(http.StatusOK, func(b *bytes.Buffer) error {
		return v3.Select{}.Encode(b, v3.EventPage{RequestID: c.id, Data: list, NextCursor: r.token(page.Next), More: page.More})
	})
	return nil
}

func (a *API) awaitEvents(c *call, r reading) (notify.Page, error) {
	leave, err := a.waiters.enter(c.app)
	if err != nil {
		return notify.Page{}, err
	}
	defer leave()
	ctx, cancel := a.whileOpen(c.r.Context())
	defer cancel()
	page, err := a.Notify.Await(ctx, r.Reading, r.wait)
	if errors.Is(err, context.Canceled) && c.r.Context().Err() == nil { // the server stops: nothing happened so far
		return page, nil
	}
	return page, err
}

// whileOpen is a context that ends with the server, too.
func (a *API) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		select {
		case <-a.waiters.closed:
			cancel()
		case <-done:
		}
	}()
	return ctx, sync.OnceFunc(func() { close(done); cancel() })
}

// streamEvents answers with server-sent events (HTML 9.2): each has the cursor after it as its id.
func (a *API) streamEvents(c *call) error {
	r, err := c.reading(true)
	if err != nil {
		return err
	}
	r.Limit, r.Bytes = min(r.Limit, streamPage), streamBytes
	leave, err := a.waiters.enter(c.app)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := a.whileOpen(c.r.Context())
	defer cancel()
	page, err := a.Notify.Page(ctx, r.Reading) // before the answer begins: it may fail
	if err != nil {
		return err
	}
	h := c.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or proxies hold events back
	h.Set("X-Content-Type-Options", "nosniff")
	ctl := http.NewResponseController(c)
	var b bytes.Buffer
	b.WriteString("retry: 2000\n\n")
	defer ctl.SetWriteDeadline(time.Time{})
	for end := a.Now().Add(streamLife); ; {
		for _, t := range page.Told {
			b.WriteString("id: " + r.token(t.Next) + "\nevent: " + t.Note.Type + "\ndata: ")
			if err := (v3.Select{}).Encode(&b, t.Note); err != nil {
				panic(err) // it was encoded before, to see how large it is
			}
			b.WriteString("\n\n")
		}
		if len(page.Told) == 0 || page.Next != page.Told[len(page.Told)-1].Next { // a sign of life that moves Last-Event-ID
			b.WriteString(": quiet\nid: " + r.token(page.Next) + "\n\n")
		}
		_ = ctl.SetWriteDeadline(time.Now().Add(a.waiters.write)) // a writer without deadlines is not a connection
		if _, err := c.Write(b.Bytes()); err != nil {
			return nil // the caller went away, or reads too slowly
		}
		if err := ctl.Flush(); err != nil {
			return nil
		}
		if b.Reset(); b.Cap() > 2*streamBytes {
			b = bytes.Buffer{}
		}
		if !a.Now().Before(end) {
			return nil
		}
		r.From = page.Next
		if page, err = a.Notify.Await(ctx, r.Reading, heartbeat); err != nil {
			if ctx.Err() == nil { // what follows is gone, or the store is in trouble: the next request learns which
				a.Log.WarnContext(ctx, "a stream of events ended", "request_id", c.id, "route", c.route, "error", err)
			}
			return nil
		}
	}
}
