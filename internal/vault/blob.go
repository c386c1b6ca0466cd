package vault

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ChunkSize is the plain size of every chunk of a blob but the last.
const ChunkSize = 256 << 10

// Chunks returns how many chunks a blob of size bytes has; an empty blob has one.
func Chunks(size int64) int64 { return max(1, (size+ChunkSize-1)/ChunkSize) }

// flagZstd in a chunk's header: compressed before it was sealed.
const flagZstd = 1

// Codec compresses and expands chunks. Safe for concurrent use; one serves a whole process.
type Codec struct {
	enc     *zstd.Encoder
	dec     *zstd.Decoder
	scratch sync.Pool // of *[]byte
}

// NewCodec makes a codec. Close it.
func NewCodec() (*Codec, error) {
	n := runtime.GOMAXPROCS(0)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(n), zstd.WithWindowSize(ChunkSize), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(ChunkSize), zstd.WithDecoderMaxWindow(ChunkSize))
	if err != nil {
		return nil, err
	}
	return &Codec{enc: enc, dec: dec, scratch: sync.Pool{New: func() any { return new([]byte) }}}, nil
}

// Close frees the codec.
func (c *Codec) Close() {
	c.enc.Close()
	c.dec.Close()
}

// BlobSealer seals and opens the chunks of one blob. Safe for concurrent use.
type BlobSealer struct {
	g       cipher.AEAD
	id      KeyID
	codec   *Codec
	account string
	blob    int64
}

// Blob returns the sealer for one blob of the account that k belongs to.
func (k *Key) Blob(c *Codec, account string, blob int64) *BlobSealer {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(blob))
	return &BlobSealer{g: k.aead("blob " + string(n[:])), id: k.id, codec: c, account: account, blob: blob}
}

func (s *BlobSealer) aad(n int64, last bool) []byte {
	b := make([]byte, 0, 96)
	b = append(b, "blob|"...)
	b = append(b, s.account...)
	b = append(b, '|')
	b = binary.BigEndian.AppendUint64(b, uint64(s.blob))
	b = binary.BigEndian.AppendUint64(b, uint64(n))
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// Seal seals chunk n of the blob: at most ChunkSize bytes, and exactly that many unless it is the last.
func (s *BlobSealer) Seal(n int64, last bool, plain []byte) ([]byte, error) {
	if len(plain) > ChunkSize || !last && len(plain) != ChunkSize {
		return nil, fmt.Errorf("chunk %d of a blob has %d bytes", n, len(plain))
	}
	body, flags := plain, byte(0)
	scratch := s.codec.scratch.Get().(*[]byte)
	*scratch = s.codec.enc.EncodeAll(plain, (*scratch)[:0])
	if len(*scratch) < len(plain)-len(plain)/32 {
		body, flags = *scratch, flagZstd
	}
	sealed := seal(s.g, s.id, flags, make([]byte, 0, len(body)+overhead), body, s.aad(n, last))
	s.codec.scratch.Put(scratch)
	return sealed, nil
}

// Open opens chunk n of the blob.
func (s *BlobSealer) Open(n int64, last bool, sealed []byte) ([]byte, error) {
	body, flags, err := open(s.g, s.id, nil, sealed, s.aad(n, last))
	if err != nil {
		return nil, err
	}
	if flags&flagZstd != 0 {
		body, err = s.codec.dec.DecodeAll(body, nil)
		if err != nil {
			return nil, ErrDamaged
		}
	}
	if len(body) > ChunkSize || !last && len(body) != ChunkSize {
		return nil, ErrDamaged
	}
	return body, nil
}

// Fetch returns sealed chunk n of a blob.
type Fetch func(n int64) ([]byte, error)

// BlobReader reads a sealed blob from any offset, one chunk at a time. Not for concurrent use.
type BlobReader struct {
	s     *BlobSealer
	fetch Fetch
	size  int64
	pos   int64
	n     int64 // chunk in plain, -1 none
	plain []byte
}

// NewReader returns a reader over a blob of size plain bytes. A size that is not the blob's own makes reading fail with
// ErrDamaged at the latest in the last chunk.
func (s *BlobSealer) NewReader(size int64, fetch Fetch) *BlobReader {
	return &BlobReader{s: s, fetch: fetch, size: size, n: -1}
}

// Size returns the plain size.
func (r *BlobReader) Size() int64 { return r.size }

// Read implements io.Reader.
func (r *BlobReader) Read(p []byte) (int, error) {
	if r.size == 0 && r.n < 0 { // even nothing is proven to be nothing
		if err := r.load(0); err != nil {
			return 0, err
		}
	}
	if r.pos >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.load(r.pos / ChunkSize); err != nil {
		return 0, err
	}
	n := copy(p, r.plain[r.pos%ChunkSize:])
	r.pos += int64(n)
	return n, nil
}

func (r *BlobReader) load(n int64) error {
	if r.n == n {
		return nil
	}
	sealed, err := r.fetch(n)
	if err != nil {
		return err
	}
	count := Chunks(r.size)
	last := n == count-1
	plain, err := r.s.Open(n, last, sealed)
	if err != nil {
		return fmt.Errorf("blob %d, chunk %d: %w", r.s.blob, n, err)
	}
	if last && int64(len(plain)) != r.size-n*ChunkSize {
		return fmt.Errorf("blob %d, chunk %d: %w", r.s.blob, n, ErrDamaged)
	}
	r.n, r.plain = n, plain
	return nil
}

// WriteTo implements io.WriterTo: whole chunks, without copying.
func (r *BlobReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	if r.size == 0 {
		_, err := r.Read(nil)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, err
	}
	for r.pos < r.size {
		if err := r.load(r.pos / ChunkSize); err != nil {
			return total, err
		}
		n, err := w.Write(r.plain[r.pos%ChunkSize:])
		total += int64(n)
		r.pos += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Seek implements io.Seeker; it reads nothing.
func (r *BlobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning of a blob")
	}
	r.pos = offset
	return offset, nil
}
