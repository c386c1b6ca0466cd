package store

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// testVFS is the file system of this package's tests: the system's own, and faultDisks in some directories.
type testVFS struct{ vfs.VFS }

var faultDisks sync.Map // directory to *faultDisk

// OpenFilename implements vfs.VFSFilename.
func (v testVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (file vfs.File, out vfs.OpenFlag, err error) {
	file, out, err = vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err == nil && name != nil {
		faultDisks.Range(func(dir, d any) bool {
			if strings.HasPrefix(name.String(), dir.(string)+"/") {
				file = &faultFile{file, d.(*faultDisk), name.String()}
			}
			return true
		})
	}
	return file, out, err
}

// Delete implements vfs.VFS.
func (v testVFS) Delete(path string, syncDir bool) error {
	err := v.VFS.Delete(path, syncDir)
	faultDisks.Range(func(dir, d any) bool {
		if strings.HasPrefix(path, dir.(string)+"/") {
			d.(*faultDisk).forget(path)
		}
		return true
	})
	return err
}

const diskPage = 4096

// faultDisk is a directory on a disk that fails when it is told to, and that knows what a power cut would leave: what was
// written and then synced with success. As on Linux, pages whose sync failed are never written by a later one, unless they were
// changed once more.
type faultDisk struct {
	dir string

	mu     sync.Mutex
	files  map[string]*diskFile
	fault  diskFault
	failed int // calls that the fault has failed
}

// diskFault makes the calls of one kind fail, from the after-th on, as many as times says.
type diskFault struct {
	sync  bool // syncs fail, else writes
	torn  bool // of a write that fails, half is written
	drop  bool // what a failed sync was about is gone from the cache too
	err   error
	after int
	times int
}

type diskFile struct {
	synced []byte
	dirty  map[int64]bool // pages that were changed since
}

func newFaultDisk(t testing.TB, dir string) *faultDisk {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &faultDisk{dir: dir, files: map[string]*diskFile{}}
	faultDisks.Store(dir, d)
	t.Cleanup(func() { faultDisks.Delete(dir) })
	return d
}

func (d *faultDisk) set(f diskFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.failed = f, 0
}

// heal ends the fault and returns how many calls it made fail.
func (d *faultDisk) heal() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = diskFault{}
	return d.failed
}

// fails counts a call, and tells whether it is to fail. Holds d.mu.
func (d *faultDisk) fails(sync bool) bool {
	f := &d.fault
	if f.err == nil || f.sync != sync {
		return false
	}
	if f.after > 0 {
		f.after--
		return false
	}
	if f.times == 0 {
		return false
	}
	f.times--
	d.failed++
	return true
}

func (d *faultDisk) forget(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, path)
}

// file holds d.mu.
func (d *faultDisk) file(path string) *diskFile {
	f := d.files[path]
	if f == nil {
		f = &diskFile{dirty: map[int64]bool{}}
		d.files[path] = f
	}
	return f
}

// powerCut copies to another directory what a power cut would leave at this moment.
func (d *faultDisk) powerCut(t testing.TB, to string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, "-shm") {
			return err
		}
		rel, err := filepath.Rel(d.dir, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(dst, 0o700)
		}
		f := d.files[path]
		if f != nil {
			return os.WriteFile(dst, f.synced, 0o600)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(dst, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

type faultFile struct {
	vfs.File
	d    *faultDisk
	path string
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	var err error
	if f.d.fails(false) {
		err = f.d.fault.err
		if !f.d.fault.torn {
			return 0, err
		}
		p = p[:len(p)/2]
	}
	n, werr := f.File.WriteAt(p, off)
	if werr != nil {
		err = werr
	}
	df := f.d.file(f.path)
	for page := off / diskPage; page*diskPage < off+int64(n); page++ {
		df.dirty[page] = true
	}
	return n, err
}

func (f *faultFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.File.Truncate(size); err != nil {
		return err
	}
	df := f.d.file(f.path)
	df.synced = df.synced[:min(int64(len(df.synced)), size)]
	return nil
}

func (f *faultFile) Sync(flags vfs.SyncFlag) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	df := f.d.file(f.path)
	if f.d.fails(true) {
		if f.d.fault.drop {
			for page := range df.dirty {
				var old [diskPage]byte
				if off := page * diskPage; off < int64(len(df.synced)) {
					copy(old[:], df.synced[off:])
				}
				if _, err := f.File.WriteAt(old[:], page*diskPage); err != nil {
					return err
				}
			}
		}
		clear(df.dirty)
		return f.d.fault.err
	}
	size, err := f.File.Size()
	if err != nil {
		return err
	}
	if n := size - int64(len(df.synced)); n > 0 {
		df.synced = append(df.synced, make([]byte, n)...)
	}
	for page := range df.dirty {
		off := page * diskPage
		if off < size {
			if _, err := f.File.ReadAt(df.synced[off:min(size, off+diskPage)], off); err != nil && err != io.EOF {
				return err
			}
		}
	}
	clear(df.dirty)
	return nil // the disk of a test need not be waited for
}

func (f *faultFile) Unwrap() vfs.File                   { return f.File }
func (f *faultFile) SharedMemory() vfs.SharedMemory     { return vfsutil.WrapSharedMemory(f.File) }
func (f *faultFile) LockState() vfs.LockLevel           { return vfsutil.WrapLockState(f.File) }
func (f *faultFile) PersistWAL() bool                   { return vfsutil.WrapPersistWAL(f.File) }
func (f *faultFile) SetPersistWAL(keep bool)            { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *faultFile) HasMoved() (bool, error)            { return vfsutil.WrapHasMoved(f.File) }
func (f *faultFile) SizeHint(size int64) error          { return vfsutil.WrapSizeHint(f.File, size) }
func (f *faultFile) PowersafeOverwrite() bool           { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f *faultFile) SetPowersafeOverwrite(psow bool)    { vfsutil.WrapSetPowersafeOverwrite(f.File, psow) }
func (f *faultFile) Pragma(n, v string) (string, error) { return vfsutil.WrapPragma(f.File, n, v) }
