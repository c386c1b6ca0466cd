package mime

import (
	"fmt"
	"slices"
	"testing"
)

func TestTracked(t *testing.T) {
	t.Parallel()
	const pixel = `<img src="https://t.example/x" width="1" height="1" alt="" style="display:none">`
	for _, c := range []struct {
		name, in, out string
		urls          []string
	}{
		{"a page", `<html><BODY><p>Hi <A class=x HREF='https://a.example/?q=1&amp;r=2#f' target="_blank">there</a></p></BODY></html>`,
			`<html><BODY><p>Hi <a class="x" href="https://t.example/1" target="_blank">there</a></p>` + pixel + `</BODY></html>`, []string{"https://a.example/?q=1&r=2#f"}},
		{"a piece", `<p>x &nbsp; <b>&lt;</b></p>`, `<p>x &nbsp; <b>&lt;</b></p>` + pixel, nil},
		{"other links", `<a href="mailto:x@example.com">m</a><a name=top></a><a href="#top">up</a><a href="/rel">r</a><a href="javascript:x">j</a>`,
			`<a href="mailto:x@example.com">m</a><a name=top></a><a href="#top">up</a><a href="/rel">r</a><a href="javascript:x">j</a>` + pixel, nil},
		{"twice the same", `<a href="http://a.example">1</a><a href="http://a.example">2</a>`, `<a href="https://t.example/1">1</a><a href="https://t.example/2">2</a>` + pixel, []string{"http://a.example", "http://a.example"}},
		{"what only looks like one", `<!-- <a href="http://a.example"> --><style>a[href="http://a.example"]{}</style><a href="http://[">x</a>`,
			`<!-- <a href="http://a.example"> --><style>a[href="http://a.example"]{}</style><a href="http://[">x</a>` + pixel, nil},
		{"cut off", `<p>text <a href="http://a.exam`, `<p>text <a href="http://a.exam` + pixel, nil},
		{"nothing", "", pixel, nil},
	} {
		var urls []string
		got := Tracked(c.in, func(u string) string { urls = append(urls, u); return fmt.Sprintf("https://t.example/%d", len(urls)) }, "https://t.example/x")
		if got != c.out || !slices.Equal(urls, c.urls) {
			t.Errorf("%s:\n got %s\nwant %s\nlinks %q", c.name, got, c.out, urls)
		}
		if got := Tracked(c.in, nil, ""); got != c.in {
			t.Errorf("%s: changed without reason: %s", c.name, got)
		}
	}
}
