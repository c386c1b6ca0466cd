package app

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/posthorn/posthorn/internal/mail"
)

// maxTrace is where a transcript begins anew; the one before it is kept beside it.
const maxTrace = 8 << 20

// traces writes what is said to the mail server of each account named in POSTHORN_TRACE, to DATA/trace/GRANT.log. The
// client leaves passwords and mail out.
type traces struct {
	dir string
	ids []string

	mu    sync.Mutex
	files map[mail.AccountID]*traceFile
}

func newTraces(data, ids string) *traces {
	return &traces{dir: filepath.Join(data, "trace"), ids: strings.FieldsFunc(ids, func(r rune) bool { return r == ',' || r == ' ' }), files: map[mail.AccountID]*traceFile{}}
}

// of returns where the transcript of an account goes, nil for nowhere.
func (t *traces) of(id mail.AccountID) io.Writer {
	if !slices.Contains(t.ids, string(id)) || id != mail.AccountID(filepath.Base(string(id))) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[id]
	if f == nil {
		f = &traceFile{path: filepath.Join(t.dir, string(id)+".log")}
		t.files[id] = f
	}
	return f
}

func (t *traces) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		f.close()
	}
}

// traceFile is one transcript, shared by the connections of an account.
type traceFile struct {
	path string

	mu   sync.Mutex
	f    *os.File
	size int64
	done bool
}

func (t *traceFile) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return 0, os.ErrClosed
	}
	if t.f != nil && t.size+int64(len(b)) > maxTrace {
		_ = t.f.Close()
		t.f = nil
		if err := os.Rename(t.path, t.path+".1"); err != nil {
			return 0, err
		}
	}
	if t.f == nil {
		if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
			return 0, err
		}
		f, err := os.OpenFile(t.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, err
		}
		t.f, t.size = f, 0
		if fi, err := f.Stat(); err == nil {
			t.size = fi.Size()
		}
	}
	n, err := t.f.Write(b)
	t.size += int64(n)
	return n, err
}

func (t *traceFile) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done = true; t.f != nil {
		_ = t.f.Close()
	}
}
