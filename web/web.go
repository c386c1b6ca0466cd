// Package web holds the pages that people see: templates and styles, embedded.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"strings"
)

//go:embed *.html style.css
var files embed.FS

// Pages are the parsed templates, by file name: connect.html, reference.html. They show the style inline, so that a page is
// one answer.
func Pages() (*template.Template, error) {
	css, err := files.ReadFile("style.css")
	if err != nil {
		return nil, err
	}
	return template.New("").Funcs(template.FuncMap{
		"style": func() template.HTML { return template.HTML("<style>" + string(css) + "</style>") },
		"prose": prose,
	}).ParseFS(files, "*.html")
}

// prose shows what stands between backticks as code.
func prose(text string) template.HTML {
	var b strings.Builder
	for i, piece := range strings.Split(text, "`") {
		piece = template.HTMLEscapeString(piece)
		if i%2 == 1 {
			piece = "<code>" + piece + "</code>"
		}
		b.WriteString(piece)
	}
	return template.HTML(b.String())
}

// StyleSource is what a Content-Security-Policy must allow in style-src for the pages' style.
func StyleSource() (string, error) {
	css, err := files.ReadFile("style.css")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(css)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", nil
}
