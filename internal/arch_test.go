package internal

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/posthorn/posthorn/"

// packages is the map of the house. A package imports only packages of a smaller layer; only lists the ones of ours it may
// import at all, where the reason asks for fewer. A new line, or a change of one, wants a page in docs/adr.
var packages = map[string]struct {
	layer  int
	only   []string // nil: everything below
	reason string
}{
	"mail":     {0, nil, "the words: everybody imports it, so it imports nobody"},
	"imap":     {1, []string{}, "one connection; usable and testable without the rest"},
	"mime":     {1, []string{}, "pure functions over bytes that strangers wrote"},
	"demo":     {1, []string{}, "a foreign server that happens to run in this process; it must not share our mistakes"},
	"submit":   {1, []string{"mail"}, "one connection; proven at connect and used to send"},
	"query":    {1, []string{"mail"}, "one meaning of a query for whoever searches"},
	"vault":    {1, nil, "sealed bytes; knows nothing of mail's meaning"},
	"v3":       {1, []string{"mail"}, "shapes only, so that api and notify show the same"},
	"lease":    {1, nil, "decides who acts; whoever acts is above it"},
	"provider": {2, nil, "what we know of providers, as data for those who connect"},
	"store":    {2, []string{"mail", "mime", "query", "vault"}, "all SQL; it is told what happened and asks no server"},
	"auth":     {3, nil, "keys and logins, kept in the store"},
	"indexer":  {3, nil, "reads the change log; never the server"},
	"notify":   {3, nil, "reads the change log; never the server"},
	"syncer":   {4, nil, "the only one that brings server and store together"},
	"sender":   {5, nil, "hands its copies in Sent to the syncer"},
	"api":      {6, nil, "reads, checks, one call, writes"},
	"app":      {7, nil, "builds one server of all the parts; the only one that knows everybody"},
}

// borders keep an import (and what lies below it) to the packages named.
var borders = []struct {
	imports string
	allowed []string
	reason  string
}{
	{"database/sql", []string{"store"}, "all SQL is in one package"},
	{"github.com/jackc/pgx", []string{"store"}, "all SQL is in one package"},
	{"github.com/ncruces/go-sqlite3", []string{"store"}, "all SQL is in one package"},
	{"github.com/minio/minio-go", []string{"vault", "store"}, "objects are sealed before they leave"},
	{"net/http", []string{"api", "app", "auth", "notify", "provider", "store", "v3"}, "HTTP is spoken at the edges (v3 for the status codes only); parsers and the sync know none"},
	{"net/smtp", nil, "sending goes through go-smtp, with deadlines"},
	{"net/mail", nil, "it fails on the mail that people really get; ours is mime"},
	{"mime/multipart", []string{"api"}, "it fails on the mail that people really get; ours is mime"},
	{"github.com/emersion/go-imap", []string{"demo"}, "the product's client is our own; this one is a server for samples and a peer in tests"},
	{"github.com/vbauerster/mpb", nil, "bars are for a terminal: cmd draws them"},
	{"os/exec", nil, "a server that holds mail starts no programs"},
	{"log", nil, "logs are structured and the logger is passed in: log/slog"},
	{"flag", nil, "flags belong to cmd"},
	{"math/rand", nil, "ids and keys come from crypto/rand, jitter from math/rand/v2"},
	{"unsafe", nil, "no speed is worth it here"},
	{"plugin", nil, "one static binary"},
}

// pure packages decide or convert: no files, sockets, processes or clocks that block.
var pure = map[string][]string{
	"mail":  {"net", "os", "net/http"},
	"mime":  {"net", "os", "net/http"},
	"query": {"net", "os", "net/http"},
	"v3":    {"net", "os"},
}

// maxLines is where a file is asked to become two.
const maxLines = 800

// file is one Go file of the repository.
type file struct {
	path string // slash-separated, from the root of the repository
	pkg  string // "imap" for internal/imap; "" outside internal
	test bool
	ast  *ast.File
	fset *token.FileSet
}

func sources(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || name == "node_modules" || len(name) > 2 && name[0] == '.' {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel("..", path)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(rel), test: strings.HasSuffix(path, "_test.go"), fset: token.NewFileSet()}
		if rest, ok := strings.CutPrefix(f.path, "internal/"); ok {
			f.pkg, _, _ = strings.Cut(rest, "/")
			if strings.HasSuffix(f.pkg, ".go") {
				f.pkg = ""
			}
		}
		f.ast, err = parser.ParseFile(f.fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d files found", len(files))
	}
	return files
}

func (f file) imports() []string {
	var all []string
	for _, spec := range f.ast.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		all = append(all, path)
	}
	return all
}

func TestEveryFolderIsListed(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.pkg == "" {
			continue
		}
		if _, ok := packages[f.pkg]; !ok {
			t.Errorf("%s: internal/%s is not on the map in arch_test.go", f.path, f.pkg)
		}
		if strings.Count(f.path, "/") > 2 {
			t.Errorf("%s: packages are one level deep", f.path)
		}
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.pkg == "" {
			continue
		}
		self := packages[f.pkg]
		for _, path := range f.imports() {
			other, ok := strings.CutPrefix(path, module+"internal/")
			if !ok {
				if strings.HasPrefix(path, module) && !f.test && (f.pkg != "api" || path != module+"docs" && path != module+"web") { // api serves docs/openapi.yaml and the pages
					t.Errorf("%s imports %s: only tests look outside internal, and api serves the docs and the pages", f.path, path)
				}
				continue
			}
			if other == f.pkg {
				continue // an external test
			}
			there, listed := packages[other]
			switch {
			case !listed:
				t.Errorf("%s imports %s, which is not on the map", f.path, other)
			case f.test && there.layer <= self.layer:
				// A test may use a neighbour, above all the sample mailbox.
			case there.layer >= self.layer:
				t.Errorf("%s (layer %d) imports %s (layer %d): %s", f.path, self.layer, other, there.layer, self.reason)
			case self.only != nil && !slices.Contains(self.only, other):
				t.Errorf("%s imports %s: %s", f.path, other, self.reason)
			}
		}
	}
}

func TestBorders(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.pkg == "" || f.test {
			continue
		}
		for _, path := range f.imports() {
			for _, b := range borders {
				below := path == b.imports || strings.Contains(b.imports, ".") && strings.HasPrefix(path, b.imports+"/")
				if below && !slices.Contains(b.allowed, f.pkg) {
					t.Errorf("%s imports %s: %s", f.path, path, b.reason)
				}
			}
			if slices.Contains(pure[f.pkg], path) {
				t.Errorf("%s imports %s, but %s is pure", f.path, path, f.pkg)
			}
		}
	}
}

// TestPackageComments wants the whole job of a package in the first sentence of its comment.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	comments := map[string][]string{}
	for _, f := range sources(t) {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		dir := filepath.ToSlash(filepath.Dir(f.path))
		if f.ast.Doc != nil {
			comments[dir] = append(comments[dir], f.ast.Doc.Text())
		} else if comments[dir] == nil {
			comments[dir] = []string{}
		}
	}
	for dir, docs := range comments {
		if len(docs) != 1 {
			t.Errorf("%s has %d package comments, want one", dir, len(docs))
			continue
		}
		first, _, _ := strings.Cut(docs[0], "\n\n")
		first = strings.ReplaceAll(strings.TrimSpace(first), "\n", " ")
		if i := strings.Index(first, ". "); i >= 0 {
			first = first[:i+1]
		}
		name := dir[strings.LastIndexByte(dir, '/')+1:]
		if !strings.HasPrefix(first, "Package "+name+" ") || !strings.HasSuffix(first, ".") {
			t.Errorf("%s: the comment must begin with one sentence on its job, \"Package %s ...\": %q", dir, name, first)
		}
	}
}

func TestFileLength(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if ast.IsGenerated(f.ast) {
			continue
		}
		r, err := os.Open(filepath.Join("..", filepath.FromSlash(f.path)))
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for s := bufio.NewScanner(r); s.Scan(); {
			lines++
		}
		r.Close()
		if lines > maxLines {
			t.Errorf("%s has %d lines; above %d there is a second idea in it", f.path, lines, maxLines)
		}
	}
}

// TestNoSleep keeps waiting tied to what is waited for: a signal, a timer that a context can end, an answer.
func TestNoSleep(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s: time.Sleep", f.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}
