package store

import (
	"encoding/binary"
	"sync"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/ncruces/go-sqlite3/vfs/adiantum"
)

// The names of the file systems that SQLite uses here.
const (
	plainVFS  = "posthorn"
	sealedVFS = "posthorn-sealed"
)

func init() { registerVFS(vfs.Find("")) }

func registerVFS(disk vfs.VFS) {
	vfs.Register(plainVFS, walVFS{disk, false, new(logs)})
	vfs.Register(sealedVFS, walVFS{adiantum.Wrap(disk, nil), true, new(logs)})
}

// walVFS gathers the frames that SQLite appends to its write-ahead log, and hands them on in large pieces: at the latest
// with the last frame of a commit, before other connections can look for it.
//
// SQLite writes each page as 24 bytes and then 4096, at offsets that never meet a block of the encrypting file system, which
// reads, opens, changes, seals and writes one whole block for the first and two for the second. In large pieces each block
// is sealed and written once: measured, storing mail takes half the writes and a third of the reads.
//
// The end of what is committed shares a block with the beginning of what comes next. Sealed anew, that block is another from its first
// byte on, and the system does not write it at once for those who read it meanwhile. So no connection of this process reads a log while
// another one writes to it.
type walVFS struct {
	vfs.VFS
	blocks bool // below, only whole blocks can be read
	logs   *logs
}

// logs are the locks of the logs that are open, by name.
type logs struct {
	mu   sync.Mutex
	open map[string]*logLock
}

// logLock is held while a log is written to, and shared by those who read it.
type logLock struct {
	sync.RWMutex
	handles int // of logs
}

func (l *logs) take(name string) (lock *logLock, release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lock = l.open[name]; lock == nil {
		if l.open == nil {
			l.open = map[string]*logLock{}
		}
		lock = &logLock{}
		l.open[name] = lock
	}
	lock.handles++
	return lock, sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if lock.handles--; lock.handles == 0 {
			delete(l.open, name)
		}
	})
}

// OpenFilename implements vfs.VFSFilename.
func (v walVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err == nil && flags&vfs.OPEN_WAL != 0 {
		w := &walFile{File: f, blocks: v.blocks}
		w.lock, w.release = v.logs.take(name.String())
		f = w
	}
	return f, flags, err
}

const (
	walBlock  = 4096
	walBuffer = 64 * walBlock

	// https://sqlite.org/fileformat2.html#the_write_ahead_log
	walHeader   = 32
	frameHeader = 24
	framePage   = 4096 // what SQLite makes unless told otherwise; of other sizes nothing is held back
)

var walBuffers = sync.Pool{New: func() any { return new([walBuffer]byte) }}

// walFile holds back at most walBuffer bytes, which belong at offset at. SQLite uses it from one goroutine at a time.
type walFile struct {
	vfs.File
	buf    *[walBuffer]byte // nil when nothing is held back
	at     int64
	n      int
	commit bool // the frame whose header came last ends a transaction
	blocks bool // only whole blocks can be read
	failed bool // a write or a sync has failed

	lock    *logLock
	release func() // gives it back
}

// Unwrap implements vfs.FileUnwrap.
func (f *walFile) Unwrap() vfs.File { return f.File }

// WriteAt implements io.WriterAt.
func (f *walFile) WriteAt(p []byte, off int64) (int, error) {
	next := f.n > 0 && off == f.at+int64(f.n)
	in := (off - walHeader) % (frameHeader + framePage) // within its frame
	header, page := len(p) == frameHeader && in == 0, len(p) == framePage && in == frameHeader && next
	if !header && !page { // also the parts of a frame that is cut in two, to sync in between
		if err := f.flush(); err != nil {
			return 0, err
		}
		return len(p), f.writeAt(p, off)
	}
	if header {
		f.commit = binary.BigEndian.Uint32(p[4:]) != 0
	}
	if !next {
		if err := f.flush(); err != nil {
			return 0, err
		}
		f.buf, f.at = walBuffers.Get().(*[walBuffer]byte), off
	}
	if f.n+len(p) > walBuffer {
		if err := f.flushBlocks(); err != nil {
			return 0, err
		}
	}
	f.n += copy(f.buf[f.n:], p)
	if page && f.commit {
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// flushBlocks hands on the whole blocks, so that none is written twice.
func (f *walFile) flushBlocks() error {
	n := int((f.at+int64(f.n))&^(walBlock-1) - f.at)
	if err := f.writeAt(f.buf[:n], f.at); err != nil {
		return err
	}
	f.n = copy(f.buf[:], f.buf[n:f.n])
	f.at += int64(n)
	return nil
}

func (f *walFile) flush() error {
	if f.n == 0 {
		return nil
	}
	if err := f.writeAt(f.buf[:f.n], f.at); err != nil {
		return err
	}
	f.drop()
	return nil
}

func (f *walFile) writeAt(p []byte, off int64) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	_, err := f.File.WriteAt(p, off)
	f.failed = f.failed || err != nil
	return err
}

func (f *walFile) drop() {
	if f.buf != nil {
		walBuffers.Put(f.buf)
		f.buf, f.n = nil, 0
	}
}

// ReadAt implements io.ReaderAt.
func (f *walFile) ReadAt(p []byte, off int64) (int, error) {
	if f.n > 0 && off < f.at+int64(f.n) && off+int64(len(p)) > f.at {
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	f.lock.RLock()
	defer f.lock.RUnlock()
	return f.File.ReadAt(p, off)
}

// Sync implements vfs.File.
func (f *walFile) Sync(flags vfs.SyncFlag) error {
	if err := f.flush(); err != nil {
		return err
	}
	err := f.File.Sync(flags)
	f.failed = f.failed || err != nil
	return err
}

// Size implements vfs.File.
func (f *walFile) Size() (int64, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	size, err := f.File.Size()
	if f.blocks { // a write was cut short in the last one
		size &^= walBlock - 1
	}
	return size, err
}

// rewrite writes what is there over itself, and syncs it.
func (f *walFile) rewrite() error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	buf := walBuffers.Get().(*[walBuffer]byte)
	defer walBuffers.Put(buf)
	for off := int64(0); off < size; off += walBuffer {
		p := buf[:min(walBuffer, size-off)]
		if _, err := f.ReadAt(p, off); err != nil {
			return err
		}
		if err := f.writeAt(p, off); err != nil {
			return err
		}
	}
	return f.Sync(vfs.SYNC_FULL)
}

// Truncate implements vfs.File.
func (f *walFile) Truncate(size int64) error {
	if err := f.flush(); err != nil {
		return err
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.File.Truncate(size)
}

// Close implements io.Closer. What was not synced is of a transaction that was not committed.
func (f *walFile) Close() error {
	f.drop()
	f.release()
	return f.File.Close()
}
