package store

import (
	"bytes"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"
)

// memFile is a file in memory that says how it was written.
type memFile struct {
	vfs.File
	b      []byte
	writes int
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.writes++
	if n := int(off) + len(p) - len(f.b); n > 0 {
		f.b = append(f.b, make([]byte, n)...)
	}
	return copy(f.b[off:], p), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Truncate(size int64) error { f.b = f.b[:min(int64(len(f.b)), size)]; return nil }
func (f *memFile) Sync(vfs.SyncFlag) error   { return nil }
func (f *memFile) Size() (int64, error)      { return int64(len(f.b)), nil }

// Whatever SQLite does to its log, what it reads is what it wrote, and after a commit and after a sync the file has all of it. A
// frame that is cut in two around a sync is there at once: other connections look at it before the next sync.
func TestLogFile(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	under, want := &memFile{}, &memFile{}
	f := &walFile{File: under, lock: new(logLock)}
	write := func(p []byte, off int64) {
		want.WriteAt(p, off)
		if n, err := f.WriteAt(p, off); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	same := func(when string) {
		t.Helper()
		if !bytes.Equal(under.b, want.b) {
			t.Fatalf("%s the file differs", when)
		}
	}
	random := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	const frame = frameHeader + framePage
	frames := int64(0)
	for range 400 {
		off := walHeader + frames*frame
		switch rng.IntN(8) {
		case 0:
			if err := f.Sync(vfs.SYNC_NORMAL); err != nil {
				t.Fatal(err)
			}
			same("after a sync")
		case 1: // the last frame of a commit, cut at the end of a sector
			head, page := random(frameHeader), random(framePage)
			write(head, off)
			cut := 1 + rng.IntN(framePage-1)
			write(page[:cut], off+frameHeader)
			if err := f.Sync(vfs.SYNC_NORMAL); err != nil {
				t.Fatal(err)
			}
			write(page[cut:], off+frameHeader+int64(cut))
			same("after a cut frame")
			frames++
		case 2: // the log begins anew
			if rng.IntN(5) == 0 {
				frames = 0
				write(random(walHeader), 0)
			}
		case 3:
			if frames > 0 { // a page of this transaction, once more
				write(random(framePage), walHeader+rng.Int64N(frames)*frame+frameHeader)
			}
		case 4:
			p, q := make([]byte, frame), make([]byte, frame)
			at := rng.Int64N(walHeader + frames*frame + 100)
			n, err := f.ReadAt(p, at)
			m, werr := want.ReadAt(q, at)
			if n != m || err != werr || !bytes.Equal(p, q) {
				t.Fatalf("read at %d: %d %v, want %d %v", at, n, err, m, werr)
			}
		default:
			n := rng.IntN(100)
			for i := range n {
				head := random(frameHeader)
				clear(head[4:8])
				head[7] = byte(i / max(1, n-1)) // the size of the database after a commit
				write(head, walHeader+frames*frame)
				write(random(framePage), walHeader+frames*frame+frameHeader)
				frames++
			}
			if n > 1 {
				same("after a commit")
			}
		}
	}
	if size, err := f.Size(); err != nil || size != int64(len(want.b)) {
		t.Fatal(size, err)
	}
	same("in the end")
	if under.writes*5 > want.writes {
		t.Errorf("%d writes became %d", want.writes, under.writes)
	}
}

// TestReadersBesideAWriter: in the log, the end of what was committed shares a block with the beginning of what is written next, and a block
// that is sealed anew is another from its first byte on. Who reads the one while the other is written reads what was committed.
func TestReadersBesideAWriter(t *testing.T) {
	t.Parallel()
	name := "file:" + filepath.Join(t.TempDir(), "x.db") + "?vfs=" + sealedVFS
	db, err := driver.Open(name, func(c *sqlite3.Conn) error {
		return c.Exec(`PRAGMA hexkey='` + hex.EncodeToString(make([]byte, 32)) + `'; PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=200`)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE x(v TEXT); INSERT INTO x VALUES('a')`); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				var v string
				if err := db.QueryRowContext(t.Context(), "SELECT v FROM x").Scan(&v); err != nil || strings.Trim(v, v[:1]) != "" {
					t.Errorf("after %d reads: %v, %.60q ... %q", n, err, v, v[max(0, len(v)-60):])
					return
				}
			}
		})
	}
	for i := range 6000 {
		if _, err := db.ExecContext(t.Context(), "UPDATE x SET v = ?", strings.Repeat(string(rune('a'+i%26)), 3900)); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
}
