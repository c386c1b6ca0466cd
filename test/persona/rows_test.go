package persona_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/test/persona"
)

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// TestRows: every row is told by a lie or a persona, tested elsewhere by a test that exists, or there is nothing to test; and no lie and no
// persona stands for a row that is none.
func TestRows(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, r := range persona.Rows() {
		ids = append(ids, r.ID)
		tests := strings.Fields(r.Tests)
		if covered := len(tests)+len(r.Lies())+len(r.Personas()) > 0; covered == (r.Why != "") {
			t.Errorf("%s is tested: %v, and says %q", r.ID, covered, r.Why)
		}
		for _, name := range tests {
			pkg, fn, _ := strings.Cut(name, ".")
			if !slices.Contains(testsOf(t, pkg), fn) {
				t.Errorf("%s: there is no %s", r.ID, name)
			}
		}
	}
	at := 0
	for _, group := range []struct {
		letter string
		n      int
	}{{"Y", 16}, {"I", 9}, {"G", 14}, {"M", 22}, {"C", 9}, {"R", 23}, {"S", 26}} {
		for i := 1; i <= group.n; i++ {
			if id := fmt.Sprint(group.letter, i); at >= len(ids) || ids[at] != id {
				t.Fatalf("row %d is not %s", at, id)
			}
			at++
		}
	}
	names := map[string]bool{}
	check := func(kind, name, rows string) {
		if names[kind+name] {
			t.Errorf("two of the %s are called %q", kind, name)
		}
		names[kind+name] = true
		for _, row := range strings.Fields(rows) {
			if !slices.Contains(ids, row) {
				t.Errorf("%q stands for %s, which is none", name, row)
			}
		}
	}
	for _, l := range persona.Lies() {
		if check("lies", l.Name, l.Rows); l.Rows == "" {
			t.Errorf("%q stands for nothing", l.Name)
		}
	}
	for _, p := range persona.Personas() {
		check("personas", p.Name, p.Rows)
	}
}

// testsOf lists the tests of a package.
func testsOf(t *testing.T, pkg string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "internal", pkg, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("tests of %s: %v, %v", pkg, files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}
