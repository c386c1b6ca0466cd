package api

import (
	"strings"
	"testing"
)

// TestReferenceShowsEveryRoute: the page is made from the description, loads nothing, and leaves nothing out.
func TestReferenceShowsEveryRoute(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do("GET", "/reference", "Authorization", "")
	page := a.Body.String()
	if a.Code != 200 || !strings.HasPrefix(a.Header().Get("Content-Type"), "text/html") || !strings.Contains(a.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("%d %v", a.Code, a.Header())
	}
	for _, r := range b.api.routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		if !strings.Contains(page, `<span class="method">`+method+"</span> "+path+"</code>") {
			t.Errorf("%s is not on the page", r.pattern)
		}
	}
	for _, foreign := range []string{"<script", "<link", "<img", `src="`, `href="http`} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %s", foreign)
		}
	}
	if !strings.Contains(page, "imap_username") && !strings.Contains(page, "settings") {
		t.Error("the fields of a body are not shown")
	}
}
