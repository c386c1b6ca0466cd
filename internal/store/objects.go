package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// objects keeps the sealed bytes of blobs outside of the database, one object per blob, named <account>/<blob>.
type objects interface {
	put(ctx context.Context, name string, r io.Reader, size int64) error // size -1: unknown
	get(ctx context.Context, name string, off, n int64) ([]byte, error)  // exactly n bytes
	remove(ctx context.Context, names []string) error                    // missing ones are no error
	removeAll(ctx context.Context, prefix string) error
	close() error
}

func openObjects(raw string) (objects, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, mail.E(mail.Invalid, "open the blob store", "the blob URL cannot be read", nil) // the cause may repeat credentials
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return nil, mail.E(mail.Invalid, "open the blob store", "a file:// blob URL needs an absolute path: file:///var/lib/posthorn/blobs", nil)
		}
		dir := filepath.FromSlash(u.Path)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, mail.E(mail.Unavailable, "open the blob store", "its directory cannot be made", err)
		}
		return fileObjects{dir}, nil
	case "s3":
		return openS3(u)
	}
	return nil, mail.E(mail.Invalid, "open the blob store", "a blob URL begins with file:// or s3://", nil)
}

// missingObject is the error of an object that is not there, or not all of it.
func missingObject(err error) error {
	return mail.E(mail.Internal, "read a body", "a stored body is missing", fmt.Errorf("%w: %v", vault.ErrDamaged, err))
}

// fileObjects keeps objects as files, spread over directories of at most 1000 blobs.
type fileObjects struct{ dir string }

func (o fileObjects) path(name string) string {
	account, blob := path.Split(name)
	shard := "0"
	if len(blob) > 3 {
		shard = blob[:len(blob)-3]
	}
	return filepath.Join(o.dir, filepath.FromSlash(account), shard, blob)
}

func (o fileObjects) put(_ context.Context, name string, r io.Reader, _ int64) (err error) {
	p := o.path(name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(p+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // sealed already; one writer per blob
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(p + ".new")
		}
	}()
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(p+".new", p); err != nil {
		return err
	}
	return syncDirs(filepath.Dir(p), o.dir)
}

func (o fileObjects) get(_ context.Context, name string, off, n int64) ([]byte, error) {
	f, err := os.Open(o.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missingObject(err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = io.ReadFull(io.NewSectionReader(f, off, n), b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = missingObject(err)
	}
	return b, err
}

func (o fileObjects) remove(_ context.Context, names []string) error {
	var errs []error
	for _, n := range names {
		if err := os.Remove(o.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (o fileObjects) removeAll(_ context.Context, prefix string) error {
	account := strings.TrimSuffix(prefix, "/")
	if !isUUID(account) {
		return errors.New("remove all objects: not an account")
	}
	return os.RemoveAll(filepath.Join(o.dir, account))
}

func (fileObjects) close() error { return nil }

// syncDirs makes sure that what was made in dir, and dir itself, is on the disk: all directories from dir up to top.
func syncDirs(dir, top string) error {
	for {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = d.Sync()
		if cerr := d.Close(); err == nil {
			err = cerr
		}
		if up := filepath.Dir(dir); err != nil || dir == top || up == dir {
			return err
		} else {
			dir = up
		}
	}
}
