package app

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestTraces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tr := newTraces(dir, "one, ../two")
	if tr.of("three") != nil || tr.of("../two") != nil || newTraces(dir, "").of("") != nil {
		t.Error("traces that nobody asked for")
	}
	w := tr.of("one")
	for range 3 {
		if _, err := w.Write(bytes.Repeat([]byte("x"), maxTrace/2)); err != nil {
			t.Fatal(err)
		}
	}
	tr.close()
	if _, err := w.Write([]byte("late")); err == nil {
		t.Error("written after the end")
	}
	for name, want := range map[string]int64{"one.log": maxTrace / 2, "one.log.1": maxTrace} {
		fi, err := os.Stat(filepath.Join(dir, "trace", name))
		if err != nil || fi.Size() != want || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
}
