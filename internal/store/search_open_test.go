package store

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCheckBesideAnUnmadeIndex: a server that ended while it made the index's file leaves one without tables, which is no
// reason not to look at the rest.
func TestCheckBesideAnUnmadeIndex(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "sqlite")
	s := p.open(t)
	b := addBox(t, s, "ada@example.com")
	b.folders("INBOX")
	shut(t, s)
	files, err := filepath.Glob(filepath.Join(p.o.Dir, "acct", "*", "*", "mail.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	file := filepath.Join(filepath.Dir(files[0]), "search.db")
	for _, f := range []string{file, file + "-wal", file + "-shm"} {
		os.Remove(f)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.o.ReadOnly = true
	ro := p.open(t)
	defer ro.Close()
	if problems, err := ro.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
