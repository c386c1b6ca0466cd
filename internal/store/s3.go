package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/posthorn/posthorn/internal/mail"
)

// s3Part is the part size of uploads whose length is not known: it is also what one of them takes in memory.
const s3Part = 5 << 20

// s3Objects keeps objects in a bucket of an S3-compatible store.
type s3Objects struct {
	c         *minio.Client
	transport *http.Transport
	bucket    string
	prefix    string // "" or ends with /
}

// openS3 reads s3://BUCKET/PREFIX?endpoint=…&region=…&access_key=…&secret_key=…; what is missing comes from AWS_ENDPOINT_URL,
// AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. endpoint is a host or a URL; without one it is AWS.
func openS3(u *url.URL) (objects, error) {
	const op = "open the blob store"
	q := u.Query()
	for k := range q {
		switch k {
		case "endpoint", "region", "access_key", "secret_key":
		default:
			return nil, mail.E(mail.Invalid, op, "a blob URL has no parameter "+k, nil)
		}
	}
	if u.Host == "" || u.User != nil {
		return nil, mail.E(mail.Invalid, op, "an s3:// blob URL names a bucket: s3://bucket/prefix?endpoint=…", nil)
	}
	region := cmp.Or(q.Get("region"), os.Getenv("AWS_REGION"), "us-east-1")
	endpoint, secure := cmp.Or(q.Get("endpoint"), os.Getenv("AWS_ENDPOINT_URL"), "s3."+region+".amazonaws.com"), true
	if rest, ok := strings.CutPrefix(endpoint, "http://"); ok {
		endpoint, secure = rest, false
	}
	endpoint = strings.TrimSuffix(strings.TrimPrefix(endpoint, "https://"), "/")
	creds := credentials.NewEnvAWS()
	if q.Has("access_key") {
		creds = credentials.NewStaticV4(q.Get("access_key"), q.Get("secret_key"), "")
	}
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	c, err := minio.New(endpoint, &minio.Options{Creds: creds, Secure: secure, Region: region, Transport: transport})
	if err != nil {
		return nil, mail.E(mail.Invalid, op, "the blob URL's endpoint cannot be used", err)
	}
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &s3Objects{c: c, transport: transport, bucket: u.Host, prefix: prefix}, nil
}

func s3Error(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	r := minio.ToErrorResponse(err)
	if r.Code == minio.NoSuchKey || r.Code == minio.InvalidRange || err == io.EOF || err == io.ErrUnexpectedEOF {
		return missingObject(err)
	}
	return mail.E(mail.Unavailable, "object store", "the object store does not answer as it should", err)
}

func (o *s3Objects) put(ctx context.Context, name string, r io.Reader, size int64) error {
	opts := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true} // sealed: it proves itself
	if size < 0 {
		opts.PartSize, opts.NumThreads = s3Part, 1
	}
	_, err := o.c.PutObject(ctx, o.bucket, o.prefix+name, r, size, opts)
	return s3Error(err)
}

func (o *s3Objects) get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	var opts minio.GetObjectOptions
	if err := opts.SetRange(off, off+n-1); err != nil {
		return nil, err
	}
	obj, err := o.c.GetObject(ctx, o.bucket, o.prefix+name, opts)
	if err != nil {
		return nil, s3Error(err)
	}
	defer obj.Close()
	b := make([]byte, n)
	_, err = io.ReadFull(obj, b)
	return b, s3Error(err)
}

func (o *s3Objects) remove(ctx context.Context, names []string) error {
	list := make(chan minio.ObjectInfo, len(names))
	for _, n := range names {
		list <- minio.ObjectInfo{Key: o.prefix + n}
	}
	close(list)
	return o.removeListed(ctx, list)
}

func (o *s3Objects) removeListed(ctx context.Context, list <-chan minio.ObjectInfo) error {
	var errs []error
	for e := range o.c.RemoveObjects(ctx, o.bucket, list, minio.RemoveObjectsOptions{}) {
		if minio.ToErrorResponse(e.Err).Code != minio.NoSuchKey {
			errs = append(errs, s3Error(e.Err))
		}
	}
	return errors.Join(errs...)
}

func (o *s3Objects) removeAll(ctx context.Context, prefix string) error {
	if !isUUID(strings.TrimSuffix(prefix, "/")) {
		return errors.New("remove all objects: not an account")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list := make(chan minio.ObjectInfo)
	var lerr error
	go func() {
		defer close(list)
		for info := range o.c.ListObjects(ctx, o.bucket, minio.ListObjectsOptions{Prefix: o.prefix + prefix, Recursive: true}) {
			if info.Err != nil {
				lerr = info.Err
				return
			}
			select {
			case list <- info:
			case <-ctx.Done():
				lerr = ctx.Err()
				return
			}
		}
	}()
	err := o.removeListed(ctx, list)
	cancel()
	for range list { // until the lister is done
	}
	if lerr != nil {
		err = errors.Join(err, fmt.Errorf("list: %w", s3Error(lerr)))
	}
	return err
}

func (o *s3Objects) close() error {
	o.transport.CloseIdleConnections()
	return nil
}
