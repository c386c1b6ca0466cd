package store

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// BlobWriter stores one blob as it comes, in memory of one chunk. Call Commit or Abort; Abort after Commit does nothing.
// Not for concurrent use.
type BlobWriter struct {
	ctx     context.Context
	b       *blobStore
	kind    BlobKind
	id      int64
	buf     []byte
	n       int64 // chunks written
	size    int64
	lengths []byte
	err     error
	done    bool

	pipe     *io.PipeWriter // object store: open while the object is being sent
	uploaded chan error
}

// NewBlob begins a blob of unknown size.
func (m *Mailbox) NewBlob(ctx context.Context, kind BlobKind) (*BlobWriter, error) {
	return &BlobWriter{ctx: ctx, b: m.db.blobs, kind: kind}, nil
}

// Write implements io.Writer.
func (w *BlobWriter) Write(p []byte) (int, error) {
	if w.done {
		return 0, errors.New("write to a blob that is closed")
	}
	total := 0
	for len(p) > 0 && w.err == nil {
		if len(w.buf) == vault.ChunkSize { // there is more, so it is not the last one
			w.err = w.flush(false)
			continue
		}
		n := min(len(p), vault.ChunkSize-len(w.buf))
		if cap(w.buf) < len(w.buf)+n {
			grown := make([]byte, len(w.buf), min(vault.ChunkSize, max(2*cap(w.buf), len(w.buf)+n, 4096)))
			copy(grown, w.buf)
			w.buf = grown
		}
		w.buf = append(w.buf, p[:n]...)
		p, total = p[n:], total+n
	}
	return total, w.err
}

// flush stores the buffered chunk; with the first one the blob's row, with the last one its size.
func (w *BlobWriter) flush(last bool) error {
	if w.n >= maxBlobChunks {
		return mail.E(mail.Refused, "store a body", "it is larger than 16 GiB", nil)
	}
	ctx, b := w.ctx, w.b
	if w.n == 0 {
		id, err := b.reserve(ctx, 1)
		if err != nil {
			return err
		}
		w.id = id
	}
	sealed, err := b.sealer(w.id).Seal(w.n, last, w.buf)
	if err != nil {
		return err
	}
	w.size += int64(len(w.buf))
	w.buf = w.buf[:0]
	w.lengths = binary.BigEndian.AppendUint32(w.lengths, uint32(len(sealed)))
	n := w.n
	w.n++
	if b.objects != nil {
		return w.flushObject(n, last, sealed)
	}
	return b.write(ctx, func(t *tx) error {
		if err := w.row(t, n == 0, last); err != nil {
			return err
		}
		_, err := t.exec(ctx, "INSERT INTO chunks({ai}id, data) VALUES({av}?, ?)", w.id<<16|n, sealed)
		return err
	})
}

func (w *BlobWriter) row(t *tx, first, last bool) error {
	size, chunks, lengths := int64(-1), int64(0), any(nil)
	if last {
		size, chunks = w.size, w.n
		if w.b.objects != nil {
			lengths = w.lengths
		}
	}
	now := w.b.now().UnixMilli()
	switch {
	case first:
		return t.insertMany(w.ctx, "blobs", blobColumns, [][]any{{w.id, int64(w.kind), size, chunks, lengths, now}}, "")
	case last:
		_, err := t.exec(w.ctx, "UPDATE blobs SET size=?, chunks=?, lengths=?, created_at=? WHERE {a}id=?", size, chunks, lengths, now, w.id)
		return err
	}
	return nil
}

func (w *BlobWriter) flushObject(n int64, last bool, sealed []byte) error {
	if n == 0 {
		if err := w.b.write(w.ctx, func(t *tx) error { return w.row(t, true, false) }); err != nil {
			return err
		}
		r, pipe := io.Pipe()
		w.pipe, w.uploaded = pipe, make(chan error, 1)
		size := int64(-1)
		if last {
			size = int64(len(sealed))
		}
		go func() {
			err := w.b.objects.put(w.ctx, w.b.object(w.id), r, size)
			r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
			w.uploaded <- err
		}()
	}
	_, err := w.pipe.Write(sealed)
	if err != nil || last {
		w.pipe.CloseWithError(err) // nil is the end of the object
		w.pipe = nil
		if uerr := <-w.uploaded; uerr != nil {
			err = uerr
		}
		w.uploaded = nil
	}
	if err != nil {
		return storeError(err)
	}
	if !last {
		return nil
	}
	return w.b.write(w.ctx, func(t *tx) error { return w.row(t, false, true) })
}

// Size returns how many bytes were written so far.
func (w *BlobWriter) Size() int64 { return w.size + int64(len(w.buf)) }

// Commit makes the blob readable.
func (w *BlobWriter) Commit() (BlobRef, error) {
	if w.done {
		return BlobRef{}, errors.New("commit of a blob that is closed")
	}
	if w.err == nil {
		w.err = w.flush(true)
	}
	if w.err != nil {
		err := w.err
		return BlobRef{}, errors.Join(err, w.Abort())
	}
	w.done = true
	return BlobRef{ID: w.id, Size: w.size}, nil
}

// Abort forgets the blob and removes what was written of it.
func (w *BlobWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	if w.pipe != nil {
		w.pipe.CloseWithError(errors.New("aborted"))
		<-w.uploaded
	}
	if w.n == 0 {
		return nil
	}
	return w.b.free(context.WithoutCancel(w.ctx), []int64{w.id})
}
