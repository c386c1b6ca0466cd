package mime

import (
	"regexp"
	"sync"

	"github.com/microcosm-cc/bluemonday"
)

// SanitizeOptions say what HTML may load.
type SanitizeOptions struct {
	Remote bool // images of other servers; they tell the sender that, when and where the message was read
}

// Sanitize returns HTML that can be shown to a reader of the message: no scripts, forms, frames, objects or handlers;
// links only to http, https, mailto and tel, without a referrer and in a page of their own; images by cid: and data:,
// others only if asked for; a list of style properties that load nothing and cannot cover the page around it.
//
// Show it in a sandboxed frame with a Content-Security-Policy all the same.
func Sanitize(html string, o SanitizeOptions) string {
	if o.Remote {
		return remotePolicy().Sanitize(html)
	}
	return localPolicy().Sanitize(html)
}

var (
	localPolicy  = sync.OnceValue(func() *bluemonday.Policy { return policy(false) })
	remotePolicy = sync.OnceValue(func() *bluemonday.Policy { return policy(true) })
)

func policy(remote bool) *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "br", "caption", "center", "cite", "code", "col", "colgroup", "dd", "del", "details", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font", "footer",
		"h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "i", "img", "ins", "kbd", "li", "main", "mark", "nav", "ol", "p", "pre", "q", "rp", "rt", "ruby", "s", "samp", "section", "small", "span", "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "tt", "u", "ul", "var", "wbr")
	p.AllowNoAttrs().OnElements("a", "span", "font", "img")
	p.SkipElementsContent("head", "title", "style", "script", "noscript", "object", "embed", "applet", "iframe", "frameset", "textarea", "select", "template", "svg", "math", "xml", "audio", "video", "canvas")

	p.AllowURLSchemes("http", "https", "mailto", "tel", "cid", "data")
	p.RequireParseableURLs(true)
	p.AllowRelativeURLs(true) // for "#section" only, by the pattern
	p.AllowAttrs("href").Matching(regexp.MustCompile(`^(?i)\s*((https?|mailto|tel):|#)`)).OnElements("a")
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	p.AddTargetBlankToFullyQualifiedLinks(true)

	src := `^(?i)\s*(cid:|data:image/(png|gif|jpe?g|webp|bmp);base64,)`
	if remote {
		src = `^(?i)\s*(cid:|https?://|data:image/(png|gif|jpe?g|webp|bmp);base64,)`
	}
	p.AllowAttrs("src").Matching(regexp.MustCompile(src)).OnElements("img")
	p.AllowAttrs("alt", "title", "dir", "lang").Globally()
	size := regexp.MustCompile(`^[0-9.]{1,7}(%|px)?$`)
	p.AllowAttrs("width", "height").Matching(size).OnElements("img", "table", "td", "th", "col", "colgroup", "tr", "hr")
	p.AllowAttrs("border", "cellpadding", "cellspacing", "hspace", "vspace").Matching(regexp.MustCompile(`^[0-9]{1,4}$`)).OnElements("img", "table")
	p.AllowAttrs("colspan", "rowspan").Matching(regexp.MustCompile(`^[0-9]{1,3}$`)).OnElements("td", "th")
	p.AllowAttrs("span", "start", "value").Matching(regexp.MustCompile(`^[0-9]{1,5}$`)).OnElements("col", "colgroup", "ol", "li")
	p.AllowAttrs("type").Matching(regexp.MustCompile(`^[1aAiI]$|^(disc|circle|square|cite)$`)).OnElements("ol", "ul", "li", "blockquote")
	p.AllowAttrs("align", "valign", "clear").Matching(regexp.MustCompile(`^[a-zA-Z]{1,10}$`)).Globally()
	color := regexp.MustCompile(`^(#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,30})$`)
	p.AllowAttrs("bgcolor").Matching(color).OnElements("table", "td", "th", "tr", "div")
	p.AllowAttrs("color").Matching(color).OnElements("font")
	p.AllowAttrs("face").Matching(regexp.MustCompile(`^[\p{L}\p{N}\s,'"-]{1,200}$`)).OnElements("font")
	p.AllowAttrs("size").Matching(regexp.MustCompile(`^[+-]?[0-9]{1,2}$`)).OnElements("font", "hr")
	p.AllowAttrs("open").Matching(regexp.MustCompile(`^(|open)$`)).OnElements("details")

	// Values without functions other than colours, so that nothing is loaded or computed.
	value := regexp.MustCompile(`^(?i)(rgba?\([0-9., %]{1,40}\)|hsla?\([0-9., %a-z]{1,40}\)|[\p{L}\p{N}\s#.,%!'"/_+-])*$`)
	p.AllowStyles("color", "background-color", "font", "font-family", "font-size", "font-style", "font-variant", "font-weight", "letter-spacing", "line-height", "text-align", "text-decoration", "text-indent", "text-transform", "vertical-align", "white-space", "word-break", "word-spacing", "word-wrap", "overflow-wrap", "direction", "unicode-bidi",
		"border", "border-bottom", "border-bottom-color", "border-bottom-style", "border-bottom-width", "border-collapse", "border-color", "border-left", "border-left-color", "border-left-style", "border-left-width", "border-radius", "border-right", "border-right-color", "border-right-style", "border-right-width", "border-spacing", "border-style", "border-top", "border-top-color", "border-top-style", "border-top-width", "border-width",
		"padding", "padding-bottom", "padding-left", "padding-right", "padding-top", "margin", "margin-bottom", "margin-left", "margin-right", "margin-top", "width", "height", "max-width", "max-height", "min-width", "min-height", "display", "float", "clear", "table-layout", "list-style", "list-style-type", "overflow", "visibility").Matching(value).Globally()
	p.AllowStyles("background").Matching(value).Globally()
	return p
}
