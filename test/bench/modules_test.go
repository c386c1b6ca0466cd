package main

import (
	"os"
	"regexp"
	"testing"

	"golang.org/x/mod/semver"
)

// TestModulesOfTheirOwn: Go does not build the modules of what is compared while they name older versions of what the program needs.
// `go mod tidy` in them is due whenever go.mod changes.
func TestModulesOfTheirOwn(t *testing.T) {
	t.Parallel()
	versions := func(path string) map[string]string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^\t(\S+) (v\S+)`).FindAllStringSubmatch(string(b), -1) {
			out[m[1]] = m[2]
		}
		return out
	}
	needed := versions("../../go.mod")
	if len(needed) == 0 {
		t.Fatal("go.mod requires nothing")
	}
	for _, dir := range []string{"imap", "mime"} {
		for module, version := range versions(dir + "/go.mod") {
			if needed[module] != "" && semver.Compare(version, needed[module]) < 0 {
				t.Errorf("%s/go.mod requires %s %s, the program %s", dir, module, version, needed[module])
			}
		}
	}
}
