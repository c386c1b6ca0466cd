// Package corpus holds Posthorn's understanding of mail against real messages and what independent programs say of them.
package corpus

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Message is one message of the corpus.
type Message struct {
	Folder, File string
	Raw          []byte // as the server of the oracles sends it: lines end in CRLF
}

// Dir returns the folder of the corpus: POSTHORN_CORPUS, or shared/corpus beside the repository. It returns "", and says so,
// when there is none.
func Dir(tb testing.TB) string {
	dir := os.Getenv("POSTHORN_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "open.tar.zst")); err != nil {
		tb.Logf("not run: no corpus at %s; POSTHORN_CORPUS names its folder", dir)
		return ""
	}
	return dir
}

// unpack calls each with every file of a packed folder. name is its path in there.
func unpack(tb testing.TB, file string, each func(name string, r io.Reader)) {
	tb.Helper()
	f, err := os.Open(file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(1<<27), zstd.WithDecoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			tb.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			each(h.Name, t)
		}
	}
}

var folders = map[string]string{"inbox": "INBOX", "lists": "Lists", "odd": "Odd"}

// Messages returns all messages of the corpus in dir.
var Messages = func() func(testing.TB, string) []Message {
	var once sync.Once
	var all []Message
	return func(tb testing.TB, dir string) []Message {
		once.Do(func() {
			unpack(tb, filepath.Join(dir, "open.tar.zst"), func(name string, r io.Reader) {
				folder := folders[path.Base(path.Dir(name))]
				if folder == "" || !strings.HasSuffix(name, ".eml") {
					return
				}
				raw, err := io.ReadAll(r)
				if err != nil {
					tb.Fatal(err)
				}
				all = append(all, Message{Folder: folder, File: path.Base(name), Raw: crlf(raw)})
			})
		})
		if len(all) == 0 {
			tb.Fatal("the corpus is empty")
		}
		return all
	}
}()

// crlf makes bare LF CRLF, as IMAP servers do.
func crlf(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/30)
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// oracle calls each with every line of one of the corpus' oracles.
func oracle[T any](tb testing.TB, dir, name string, each func(T)) {
	tb.Helper()
	found := false
	unpack(tb, filepath.Join(dir, "oracles-open.tar.zst"), func(file string, r io.Reader) {
		if path.Base(file) != name {
			return
		}
		found = true
		d := json.NewDecoder(bufio.NewReaderSize(r, 1<<20))
		for d.More() {
			var v T
			if err := d.Decode(&v); err != nil {
				tb.Fatalf("%s: %v", name, err)
			}
			each(v)
		}
	})
	if !found {
		tb.Fatalf("the corpus has no %s", name)
	}
}
