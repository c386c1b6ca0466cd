package mime

import (
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// node is an element or, when tag is empty, a text. The tree is rough: it repairs what mail gets wrong only as far as
// its text needs. Building it is linear: every element is opened and closed once.
type node struct {
	tag   string
	attrs []html.Attribute
	text  string // decoded
	kids  []*node

	leaf    int // texts and images are numbered in their order, from 1
	dropped bool
}

const (
	maxNodes = 400_000
	maxNest  = 200 // deeper elements become siblings
)

// parseHTML reads a document or a piece of one. Scripts, styles, comments and what is hidden are left out.
func parseHTML(s string) *node {
	root := &node{tag: "html"}
	z := html.NewTokenizer(strings.NewReader(s))
	stack := []*node{root}
	open := map[string]int{}  // open elements of each name
	skip := ""                // inside an element whose content is not shown
	var within map[string]int // open elements inside it
	leaves := 0
	pop := func(n int) {
		for len(stack) > n {
			open[stack[len(stack)-1].tag]--
			stack = stack[:len(stack)-1]
		}
	}
	for nodes := 0; nodes < maxNodes; {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return root
		case html.TextToken:
			if skip != "" {
				continue
			}
			if t := string(z.Text()); t != "" {
				nodes++
				leaves++
				top := stack[len(stack)-1]
				top.kids = append(top.kids, &node{text: t, leaf: leaves})
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			nodes++
			name, more := z.TagName()
			tag := string(name)
			if skip != "" {
				ends := within["ul"]+within["ol"]+within["dl"] == 0 && begins(tag, skip, stack[len(stack)-1].tag, open["p"] > 0) ||
					(open["td"]+open["th"] > 0 || skip == "td" || skip == "th") && beginsCell(tag, skip) // the next one, whatever is open in this one
				if !ends || within["table"] > 0 {
					if !voidTag(tag) {
						within[tag]++
					}
					continue
				}
				skip = "" // it was not closed
			}
			n := &node{tag: tag}
			for more && len(n.attrs) < 100 {
				var k, v []byte
				k, v, more = z.TagAttr()
				n.attrs = append(n.attrs, html.Attribute{Key: string(k), Val: string(v)})
			}
			switch tag {
			case "html", "body":
				continue
			case "script", "style", "head", "title", "noscript", "template", "xml", "object", "svg", "math", "iframe", "textarea", "select":
				if tag != "head" && (kind == html.StartTagToken || tag != "svg" && tag != "math") {
					skip, within = tag, map[string]int{}
				}
				continue
			case "meta", "link", "base", "input":
				continue
			}
			for n := 0; n < 2 && implicitlyEnds(tag, stack[len(stack)-1].tag); n++ { // a row ends the cell and the row before
				pop(len(stack) - 1)
			}
			if n.hidden() {
				if !voidTag(tag) {
					skip, within = tag, map[string]int{}
				}
				continue
			}
			top := stack[len(stack)-1]
			top.kids = append(top.kids, n)
			if voidTag(tag) {
				leaves++
				n.leaf = leaves
				continue
			}
			if len(stack) < maxNest {
				stack = append(stack, n)
				open[tag]++
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			tag := string(name)
			if skip != "" {
				switch {
				case within[tag] > 0:
					within[tag]--
					continue
				case tag == skip:
					skip = ""
					continue
				case (tag == "body" || tag == "html") && skip != "script" && skip != "style":
					skip = "" // it was never closed
					continue
				case open[tag] == 0 || within["table"] > 0 || !closes(tag, skip):
					continue
				}
				skip = "" // it was not closed, what it is in was
			}
			if tag == "p" && open["p"] == 0 {
				continue
			}
			if open[tag] > 0 {
				n := len(stack) - 1
				for stack[n].tag != tag {
					n--
				}
				pop(n)
			}
		}
	}
	return root
}

func voidTag(tag string) bool {
	switch tag {
	case "br", "hr", "img", "wbr", "area", "col", "input", "meta", "link", "base", "embed", "source", "track", "param":
		return true
	}
	return false
}

// implicitlyEnds tells whether an open element ends where another one begins.
func implicitlyEnds(tag, open string) bool {
	switch tag {
	case "li", "option":
		return open == tag
	case "dt", "dd":
		return open == "dt" || open == "dd"
	case "td", "th":
		return open == "td" || open == "th"
	case "tr":
		return open == "td" || open == "th" || open == "tr"
	case "p", "div", "table", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "hr":
		return open == "p"
	}
	return false
}

// begins tells whether where an element begins one ends that was not closed, or what that one is in does.
func begins(tag, inner, outer string, paragraph bool) bool {
	switch inner {
	case "noscript", "template", "xml", "object", "select": // they have blocks of their own
		return false
	}
	block, inside := node{tag: tag}, node{tag: inner}
	if inside.block() {
		return implicitlyEnds(tag, inner) || inner == "p" && block.block() && !block.ofTable()
	}
	return implicitlyEnds(tag, outer) || paragraph && implicitlyEnds(tag, "p")
}

// beginsCell tells whether a cell or row begins that ends an element in the cell before, or that cell, and all in it.
func beginsCell(tag, inner string) bool {
	inside := node{tag: inner}
	switch tag {
	case "tr", "td", "th":
		return inner == "td" || inner == "th" || inner == "span" || inside.block() && !inside.ofTable()
	}
	return false
}

// closes tells whether the end of an element outside ends one inside that was not closed.
func closes(tag, inner string) bool {
	outside, inside := node{tag: tag}, node{tag: inner}
	if inside.ofTable() {
		return outside.ofTable()
	}
	return outside.block() || !inside.block()
}

func (n *node) ofTable() bool {
	switch n.tag {
	case "table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption":
		return true
	}
	return false
}

func (n *node) attr(name string) string {
	for i := range n.attrs {
		if n.attrs[i].Key == name {
			return n.attrs[i].Val
		}
	}
	return ""
}

func (n *node) hasAttr(name string) bool {
	return slices.ContainsFunc(n.attrs, func(a html.Attribute) bool { return a.Key == name })
}

// hidden tells whether an element is there for machines or as the preview text of a newsletter.
func (n *node) hidden() bool {
	style := n.attr("style")
	if style == "" {
		return n.hasAttr("hidden")
	}
	if len(style) > 4096 {
		style = style[:4096]
	}
	style = strings.ToLower(strings.Join(strings.Fields(style), ""))
	for _, w := range []string{"display:none", "visibility:hidden", "mso-hide:all"} {
		if strings.Contains(style, w) {
			return true
		}
	}
	if !strings.Contains(style, "display:") && n.hasAttr("hidden") {
		return true
	}
	for d := range strings.SplitSeq(style, ";") {
		switch strings.TrimSuffix(d, "!important") {
		case "max-height:0", "max-height:0px", "font-size:0", "font-size:0px", "opacity:0":
			return n.tag == "div" || n.tag == "span" || n.tag == "p"
		}
	}
	return false
}

func (n *node) block() bool {
	switch n.tag {
	case "div", "p", "table", "tr", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "hr", "dl", "dt", "dd", "center", "address", "article", "section",
		"header", "footer", "main", "nav", "form", "fieldset", "figure", "figcaption", "caption", "thead", "tbody", "tfoot", "details", "summary", "aside", "o:p", "td", "th", "html":
		return n.tag != "o:p"
	}
	return false
}

// empty tells whether nothing of the element would be seen.
func (n *node) empty() bool {
	if n.dropped {
		return true
	}
	if n.tag == "" {
		return strings.TrimSpace(n.text) == ""
	}
	if n.tag == "img" || n.tag == "hr" {
		return false
	}
	for _, k := range n.kids {
		if !k.empty() {
			return false
		}
	}
	return true
}
