// Package api is the HTTP API: it reads a request, checks it, makes one call and writes the answer.
package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// Engine runs the accounts' syncs; the API only tells it which and asks how they are.
type Engine interface {
	Start(id mail.AccountID)
	Stop(ctx context.Context, id mail.AccountID) error
	Status(id mail.AccountID) (mail.SyncStatus, bool)
	Proofs(id mail.AccountID) map[mail.FolderID]mail.FolderProof
	Do(ctx context.Context, id mail.AccountID, op mail.Operation) (mail.Operation, error)
}

// Served tells about one answered request. Route is the pattern, never the path: paths hold addresses.
type Served struct {
	Route    string // "" when no route matched
	Status   int
	Bytes    int64
	Duration time.Duration
}

// Events are told what happens; nil ones are not.
type Events struct {
	Request func(Served)
	Panic   func(route string)
}

// Deps are what the API stands on.
type Deps struct {
	Store   *store.Store
	Auth    *auth.Auth
	Engine  Engine
	Sender  Sender
	Notify  Notifier
	Log     *slog.Logger
	Now     func() time.Time
	Version string
	// MaxMessage is what a message to be saved or sent may hold, attachments decoded, in bytes; 0 means 40 MiB.
	MaxMessage int64

	PublicURL string // where browsers reach this server, without a slash at the end; "": as the request says
	Limits    Limits
	Events    Events
}

// Limits are how many requests a second are answered, with bursts of twice as many; 0 is no limit.
type Limits struct {
	Key   int // of one API key or access token
	Grant int // about one grant
}

// API answers /v3 and /openapi.yaml, and everything else with a JSON 404.
type API struct {
	Deps
	mux     *http.ServeMux
	routes  []route
	buffers sync.Pool // *bytes.Buffer
	gzips   sync.Pool // *gzip.Writer
	spec    spec
	drafts  keyLocks
	waiters waiters
	mending mending
	pages   pages

	reference func() (*reference, error)

	byKey   *limiter
	byGrant *limiter
}

// New makes the handler of the API.
func New(d Deps) *API {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	a := &API{Deps: d, mux: http.NewServeMux(), spec: newSpec(), pages: newPages(d.Now), reference: sync.OnceValues(readReference)}
	a.byKey, a.byGrant = perSecond(d.Now, d.Limits.Key), perSecond(d.Now, d.Limits.Grant)
	a.waiters.closed, a.waiters.write = make(chan struct{}), streamWrite
	a.buffers.New = func() any { return new(bytes.Buffer) }
	a.gzips.New = func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails for unknown levels only
		return w
	}
	a.routes = a.allRoutes()
	for _, r := range a.routes {
		a.mux.HandleFunc(muxPattern(r.pattern), func(w http.ResponseWriter, req *http.Request) {
			c := w.(*call)
			c.r = req
			c.run(r)
		})
	}
	return a
}

// muxPattern gives schedules a pattern that is less specific than those below a message: ServeMux refuses two that both match
// messages/schedules/details. Their handlers look at the word.
func muxPattern(p string) string {
	return strings.Replace(p, "/messages/schedules/{schedule}", "/messages/{schedules}/{schedule}", 1)
}

// Patterns lists the routes, for tests and documentation.
func (a *API) Patterns() []string {
	out := make([]string, len(a.routes))
	for i, r := range a.routes {
		out[i] = r.pattern
	}
	return out
}
