// Command docgen writes the parts of the documentation that come from the code: docs/config.md from the settings table, docs/quirks.md
// from the catalogue of test/persona, and the package map in README.md from the package comments. `make check` fails when they are out of date.
package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/test/persona"
)

//go:generate go run . ../..

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := run(root); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	packages, err := packageMap(root)
	if err != nil {
		return err
	}
	if err := between(filepath.Join(root, "README.md"), "packages", packages); err != nil {
		return err
	}
	if err := between(filepath.Join(root, "docs", "quirks.md"), "rows", rows()); err != nil {
		return err
	}
	return between(filepath.Join(root, "docs", "config.md"), "settings", settings())
}

// rows lists what providers do, and by what that is tested.
func rows() string {
	var b strings.Builder
	b.WriteString("| | what servers do | knobs, in `TestKnobs` | personas | other tests |\n|---|---|---|---|---|\n")
	for _, r := range persona.Rows() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, r.What, strings.Join(r.Lies(), "; "), strings.Join(r.Personas(), ", "),
			strings.Join(append(strings.Fields(r.Tests), r.Why), " "))
	}
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "  |", " |"), " |\n", " |\n")
}

// between replaces what stands between the two markers of a name in a file.
func between(path, name, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	i, j := bytes.Index(b, []byte(begin)), bytes.Index(b, []byte(end))
	if i < 0 || j < i {
		return fmt.Errorf("%s: no markers %q and %q", path, begin, end)
	}
	out := string(b[:i]) + begin + text + string(b[j:])
	if out == string(b) {
		return nil
	}
	return os.WriteFile(path, []byte(out), 0o644)
}

// packageMap lists the packages with the first sentence of their comments.
func packageMap(root string) (string, error) {
	var b strings.Builder
	b.WriteString("| package | job |\n|---|---|\n")
	for _, pattern := range []string{"cmd/*", "internal/*", "test/*"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return "", err
		}
		for _, dir := range dirs {
			doc, err := comment(dir)
			if err != nil {
				return "", err
			}
			if doc == "" {
				continue
			}
			rel, err := filepath.Rel(root, dir)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", filepath.ToSlash(rel), doc)
		}
	}
	return b.String(), nil
}

// comment returns the first sentence of a package's comment without its opening words.
func comment(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return "", err
		}
		if f.Doc == nil || strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, _, _ := strings.Cut(f.Doc.Text(), "\n\n")
		text = strings.Join(strings.Fields(text), " ")
		if i := strings.Index(text, ". "); i >= 0 {
			text = text[:i]
		}
		text = strings.TrimSuffix(text, ".")
		if words := strings.SplitN(text, " ", 3); len(words) == 3 && (words[0] == "Package" || words[0] == "Command") {
			text = words[2]
		}
		return text, nil
	}
	return "", nil
}

// settings lists every key of the configuration.
func settings() string {
	var b strings.Builder
	b.WriteString("| environment | flag | default | |\n|---|---|---|---|\n")
	for f := range reflect.TypeFor[app.Config]().Fields() {
		env := f.Tag.Get("env")
		if env == "" {
			continue
		}
		def := ""
		if d := f.Tag.Get("default"); d != "" {
			def = "`" + d + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s |\n", env, f.Tag.Get("name"), def, f.Tag.Get("help"))
	}
	return b.String()
}
