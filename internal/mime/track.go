package mime

import (
	"bytes"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// Tracked returns HTML in which the links to web pages lead to what link returns for them, and with a picture at its end; ""
// for none. All else stays as it is, byte for byte.
func Tracked(body string, link func(url string) string, picture string) string {
	var out bytes.Buffer
	out.Grow(len(body) + 512)
	image := ""
	if picture != "" {
		image = `<img src="` + html.EscapeString(picture) + `" width="1" height="1" alt="" style="display:none">`
	}
	z := html.NewTokenizer(strings.NewReader(body))
	for {
		kind := z.Next()
		raw := bytes.Clone(z.Raw()) // what is read of the token is changed in place
		if kind == html.ErrorToken {
			out.Write(raw)
			break
		}
		name, hasAttr := z.TagName()
		switch {
		case kind == html.EndTagToken && string(name) == "body" && image != "":
			out.WriteString(image)
			image = ""
		case kind == html.StartTagToken && string(name) == "a" && hasAttr && link != nil:
			if to := anchor(z, link); to != "" {
				out.WriteString(to)
				continue
			}
		}
		out.Write(raw)
	}
	out.WriteString(image)
	return out.String()
}

// anchor writes the start tag of a link anew; "" if it does not lead to a web page.
func anchor(z *html.Tokenizer, link func(string) string) string {
	t := html.Token{Type: html.StartTagToken, Data: "a"}
	found := false
	for more := true; more; {
		var k, v []byte
		k, v, more = z.TagAttr()
		a := html.Attribute{Key: string(k), Val: string(v)}
		if a.Key == "href" && !found {
			u, err := url.Parse(strings.TrimSpace(a.Val))
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return ""
			}
			a.Val, found = link(u.String()), true
		}
		t.Attr = append(t.Attr, a)
	}
	if !found {
		return ""
	}
	return t.String()
}
