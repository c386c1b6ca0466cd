package api

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/posthorn/posthorn/docs"
)

// watcher holds answers against docs/openapi.yaml.
type watcher struct {
	v   validator.Validator
	mux *http.ServeMux
}

var newWatcher = sync.OnceValues(func() (*watcher, error) { // reading the description takes longer than all tests
	doc, err := libopenapi.NewDocument(docs.OpenAPI)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	mux := http.NewServeMux()
	for _, r := range described() {
		mux.HandleFunc(muxPattern(r), func(http.ResponseWriter, *http.Request) {})
	}
	return &watcher{v, mux}, nil
})

func (b *bundle) watch() {
	b.t.Helper()
	w, err := newWatcher()
	if err != nil {
		b.t.Fatal(err)
	}
	b.seen = w
}

func (w *watcher) check(t testing.TB, req *http.Request, body string, a *answer) {
	t.Helper()
	if req.Method == "HEAD" {
		return
	}
	probe := req.Clone(req.Context())
	probe.Body = io.NopCloser(strings.NewReader(body))
	probe.URL.Path = strings.ReplaceAll(probe.URL.Path, "//", "/")
	res := a.Result()
	raw := a.Body.Bytes()
	if res.Header.Get("Content-Encoding") == "gzip" {
		return // the same bytes, seen by the requests that do not ask for gzip
	}
	res.Body = io.NopCloser(bytes.NewReader(raw))
	if !w.has(probe) {
		return // no route, no description
	}
	if ok, errs := w.v.ValidateHttpResponse(probe, res); !ok {
		for _, e := range errs {
			t.Errorf("%s %s answers %d, against the description: %s: %s", req.Method, req.URL.Path, a.Code, e.Message, e.Reason)
			for _, s := range e.SchemaValidationErrors {
				t.Errorf("  %s at %s", s.Reason, s.FieldPath)
			}
		}
	}
}

// has tells whether the description has the request's path and method.
func (w *watcher) has(req *http.Request) bool {
	_, p := w.mux.Handler(req)
	return p != "" && !strings.Contains(req.URL.Path, "..")
}

// described lists the operations of the description as patterns.
var described = sync.OnceValue(func() []string {
	doc, err := libopenapi.NewDocument(docs.OpenAPI)
	if err != nil {
		panic(err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		panic(err)
	}
	var out []string
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			out = append(out, strings.ToUpper(method)+" "+path)
		}
	}
	return out
})

// TestDescriptionHasEveryRoute: what is served is described, and what is described is served.
func TestDescriptionHasEveryRoute(t *testing.T) {
	t.Parallel()
	have, want := New(Deps{}).Patterns(), slices.Clone(described())
	slices.Sort(have)
	slices.Sort(want)
	for _, p := range have {
		if !slices.Contains(want, p) {
			t.Errorf("%s is served and not described", p)
		}
	}
	for _, p := range want {
		if !slices.Contains(have, p) {
			t.Errorf("%s is described and not served", p)
		}
	}
}

func TestDescriptionIsValid(t *testing.T) {
	t.Parallel()
	w, err := newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	if ok, errs := w.v.ValidateDocument(); !ok {
		for _, e := range errs {
			t.Errorf("%s: %s", e.Message, e.Reason)
			for _, s := range e.SchemaValidationErrors {
				t.Errorf("  %s at %s", s.Reason, s.FieldPath)
			}
		}
	}
}

// TestDescriptionHasEveryKey: whatever changes something takes an Idempotency-Key, and the description says so.
func TestDescriptionHasEveryKey(t *testing.T) {
	t.Parallel()
	doc, err := libopenapi.NewDocument(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range New(Deps{}).routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		item := model.Model.Paths.PathItems.GetOrZero(path)
		if r.open || item == nil {
			continue
		}
		takes := false
		for _, p := range item.GetOperations().GetOrZero(strings.ToLower(method)).Parameters {
			takes = takes || p.Name == keyHeader
		}
		if takes == (method == "GET") {
			t.Errorf("%s: the description says that it takes a key: %v", r.pattern, takes)
		}
	}
}
