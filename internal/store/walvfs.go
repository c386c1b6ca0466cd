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

func init() {
	plain := vfs.Find("")
	vfs.Register(plainVFS, walVFS{plain})
	vfs.Register(sealedVFS, walVFS{adiantum.Wrap(plain, nil)})
}

// walVFS gathers the frames that SQLite appends to its write-ahead log, and hands them on in large pieces: at the latest
// with the last frame of a commit, before other connections can look for it.
//
// SQLite writes each page as 24 bytes and then 4096, at offsets that never meet a block of the encrypting file system, which
// reads, opens, changes, seals and writes one whole block for the first and two for the second. In large pieces each block
// is sealed and written once: measured, storing mail takes half the writes and a third of the reads.
type walVFS struct{ vfs.VFS }

// OpenFilename implements vfs.VFSFilename.
func (v walVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err == nil && flags&vfs.OPEN_WAL != 0 {
		f = &walFile{File: f}
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
		return f.File.WriteAt(p, off)
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
	if _, err := f.File.WriteAt(f.buf[:n], f.at); err != nil {
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
	if _, err := f.File.WriteAt(f.buf[:f.n], f.at); err != nil {
		return err
	}
	f.drop()
	return nil
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
	return f.File.ReadAt(p, off)
}

// Sync implements vfs.File.
func (f *walFile) Sync(flags vfs.SyncFlag) error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Sync(flags)
}

// Size implements vfs.File.
func (f *walFile) Size() (int64, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// Truncate implements vfs.File.
func (f *walFile) Truncate(size int64) error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Close implements io.Closer. What was not synced is of a transaction that was not committed.
func (f *walFile) Close() error {
	f.drop()
	return f.File.Close()
}
