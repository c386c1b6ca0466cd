// Package web holds the pages that people see: templates and styles, embedded.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
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
	}).ParseFS(files, "*.html")
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
