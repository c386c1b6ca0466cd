package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// BlobKind says what a blob holds.
type BlobKind int

// The kinds of blobs. The numbers are stored.
const (
	BlobRaw     BlobKind = 1 // the message as the server sent it
	BlobDisplay BlobKind = 2 // what to show of its body
	BlobOther   BlobKind = 3
)

// BlobData is a blob to be stored at once.
type BlobData struct {
	Kind BlobKind
	Data []byte
}

const (
	garbageAfter   = time.Hour      // a blob that no row names
	unfinishedFor  = 24 * time.Hour // a blob whose writer never came back
	maxBlobChunks  = 1 << 16
	blobWriteBytes = 8 << 20 // sealed bytes of one INSERT, against the driver's memory limit
	parallelPuts   = 8       // to the object store
)

// blobStore keeps one account's blobs: the list in the database, the sealed chunks there or in an object store.
type blobStore struct {
	id      mail.AccountID
	key     *vault.Key
	codec   *vault.Codec
	src     source
	texts   *texts
	objects objects // nil: chunks lie in the database
	now     func() time.Time

	mu          sync.Mutex
	next, limit int64 // ids reserved and not yet given out
}

func (b *blobStore) write(ctx context.Context, fn func(*tx) error) error {
	return transact(ctx, b.src, b.texts, string(b.id), true, func(t *tx) error {
		if t.texts.d == postgres { // against an erasure under way: it takes this row first and leaves none
			var one int
			err := t.row(ctx, "SELECT 1 FROM blob_state WHERE {a}1=1 FOR KEY SHARE").Scan(&one)
			if errors.Is(err, sql.ErrNoRows) {
				return noAccount(nil)
			}
			if err != nil {
				return err
			}
		}
		return fn(t)
	})
}

// read runs fn, which makes a single query.
func (b *blobStore) read(ctx context.Context, fn func(*tx) error) error {
	return look(ctx, b.src, b.texts, string(b.id), fn)
}

func (b *blobStore) object(id int64) string { return fmt.Sprintf("%s/%d", b.id, id) }

func (b *blobStore) sealer(id int64) *vault.BlobSealer {
	return b.key.Blob(b.codec, string(b.id), id)
}

// reserve returns the first of n ids that nobody ever used. They come from the database in lots; a crash loses some.
func (b *blobStore) reserve(ctx context.Context, n int64) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit-b.next < n {
		lot := max(n, 256)
		if err := b.write(ctx, func(t *tx) error {
			return t.row(ctx, "UPDATE blob_state SET next_blob=next_blob+? WHERE {a}1=1 RETURNING next_blob", lot).Scan(&b.limit)
		}); err != nil {
			b.next, b.limit = 0, 0
			return 0, err
		}
		b.next = b.limit - lot
	}
	first := b.next
	b.next += n
	return first, nil
}

var blobColumns = []string{"id", "kind", "size", "chunks", "lengths", "created_at"}

// put stores blobs at once, in one transaction.
func (b *blobStore) put(ctx context.Context, items []BlobData) ([]BlobRef, error) {
	if len(items) == 0 {
		return nil, nil
	}
	first, err := b.reserve(ctx, int64(len(items)))
	if err != nil {
		return nil, err
	}
	now := b.now().UnixMilli()
	refs := make([]BlobRef, len(items))
	rows := make([][]any, len(items))
	sealed := make([][][]byte, len(items))
	err = parallel(len(items), 2, func(i int) (err error) {
		id, data := first+int64(i), items[i].Data
		refs[i] = BlobRef{ID: id, Size: int64(len(data))}
		if sealed[i], err = b.sealAll(id, data); err != nil {
			return err
		}
		rows[i] = []any{id, int64(items[i].Kind), int64(len(data)), int64(len(sealed[i])), nil, now}
		if b.objects != nil {
			rows[i][4] = lengthsOf(sealed[i])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = b.write(ctx, func(t *tx) error {
		if err := t.insertMany(ctx, "blobs", blobColumns, rows, ""); err != nil || b.objects != nil {
			return err
		}
		var chunks [][]any
		size := 0
		flush := func() error {
			err := t.insertMany(ctx, "chunks", []string{"id", "data"}, chunks, "")
			chunks, size = chunks[:0], 0
			return err
		}
		for i, list := range sealed {
			for n, c := range list {
				if size+len(c) > blobWriteBytes {
					if err := flush(); err != nil {
						return err
					}
				}
				chunks = append(chunks, []any{refs[i].ID<<16 | int64(n), c})
				size += len(c)
			}
		}
		return flush()
	})
	if err != nil || b.objects == nil {
		return refs, err
	}
	// The rows went first: an object whose upload failed is found by its row and removed.
	return refs, storeError(parallel(len(items), parallelPuts, func(i int) error {
		body := bytes.Join(sealed[i], nil)
		return b.objects.put(ctx, b.object(refs[i].ID), bytes.NewReader(body), int64(len(body)))
	}))
}

func (b *blobStore) sealAll(id int64, data []byte) ([][]byte, error) {
	count := vault.Chunks(int64(len(data)))
	if count > maxBlobChunks {
		return nil, mail.E(mail.Refused, "store a body", "it is larger than 16 GiB", nil)
	}
	s := b.sealer(id)
	out := make([][]byte, count)
	for n := range count {
		part := data[n*vault.ChunkSize : min(int64(len(data)), (n+1)*vault.ChunkSize)]
		c, err := s.Seal(n, n == count-1, part)
		if err != nil {
			return nil, err
		}
		out[n] = c
	}
	return out, nil
}

func lengthsOf(chunks [][]byte) []byte {
	out := make([]byte, 0, 4*len(chunks))
	for _, c := range chunks {
		out = binary.BigEndian.AppendUint32(out, uint32(len(c)))
	}
	return out
}

// parallel runs f for 0..n-1 on at most width goroutines and returns the errors. A panic becomes one of the caller.
func parallel(n, width int, f func(int) error) error {
	if n == 1 || width == 1 {
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	var panicked any
	next := 0
	for range min(n, width) {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					mu.Lock()
					panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
					mu.Unlock()
				}
			}()
			for {
				mu.Lock()
				i := next
				next++
				stop := len(errs) > 0 || panicked != nil
				mu.Unlock()
				if i >= n || stop {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if panicked != nil {
		panic(panicked)
	}
	return errors.Join(errs...)
}

// blobRow is what the database knows of a blob.
type blobRow struct {
	id, size, chunks int64
	lengths          []byte
	first            []byte // chunk 0, if it lies in the database
}

const blobQuery = "SELECT b.id, b.size, b.chunks, b.lengths, c.data FROM blobs b LEFT JOIN chunks c ON {a:c}c.id=b.id*65536 WHERE {a:b}"

func (r *blobRow) scan(row interface{ Scan(...any) error }) error {
	return row.Scan(&r.id, &r.size, &r.chunks, &r.lengths, &r.first)
}

func (r *blobRow) check() error {
	if r.size < 0 || r.chunks != vault.Chunks(r.size) {
		return mail.E(mail.Internal, "read a body", "a stored body is incomplete", fmt.Errorf("blob %d: %w", r.id, vault.ErrDamaged))
	}
	return nil
}

// reader returns a reader over the blob, which fetches one chunk at a time.
func (b *blobStore) reader(ctx context.Context, r *blobRow) *vault.BlobReader {
	return b.sealer(r.id).NewReader(r.size, func(n int64) ([]byte, error) {
		if n == 0 && r.first != nil {
			return r.first, nil
		}
		if b.objects != nil {
			if int64(len(r.lengths)) != 4*r.chunks {
				return nil, vault.ErrDamaged
			}
			var off int64
			for i := range n {
				off += int64(binary.BigEndian.Uint32(r.lengths[4*i:]))
			}
			c, err := b.objects.get(ctx, b.object(r.id), off, int64(binary.BigEndian.Uint32(r.lengths[4*n:])))
			return c, storeError(err)
		}
		var data []byte
		err := b.read(ctx, func(t *tx) error {
			return t.row(ctx, "SELECT data FROM chunks WHERE {a}id=?", r.id<<16|n).Scan(&data)
		})
		if errors.Is(err, sql.ErrNoRows) {
			err = vault.ErrDamaged
		}
		return data, err
	})
}

// open returns a reader over one blob; NotFound if there is none.
func (b *blobStore) open(ctx context.Context, id int64) (*vault.BlobReader, error) {
	var r blobRow
	err := b.read(ctx, func(t *tx) error { return r.scan(t.row(ctx, blobQuery+"b.id=?", id)) })
	if errors.Is(err, sql.ErrNoRows) {
		return nil, mail.E(mail.NotFound, "read a body", "this body is not stored", fmt.Errorf("blob %d", id))
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, err
	}
	return b.reader(ctx, &r), nil
}

// readAll returns the first most bytes of each of several small blobs. Those that do not exist are missing in the answer, and those
// whose bytes are lost or damaged, which are in a list of their own.
func (b *blobStore) readAll(ctx context.Context, ids []int64, most int64) (out map[int64][]byte, damaged []int64, err error) {
	out = make(map[int64][]byte, len(ids))
	for part := range slices.Chunk(ids, 64) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		var long []*blobRow
		err := b.read(ctx, func(t *tx) error {
			rows, err := t.query(ctx, blobQuery+"b.id IN (?"+strings.Repeat(", ?", len(part)-1)+")", args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			var first sql.RawBytes // only good until the next row
			for rows.Next() {
				r := new(blobRow)
				if err := rows.Scan(&r.id, &r.size, &r.chunks, &r.lengths, &first); err != nil {
					return err
				}
				if r.check() != nil {
					damaged = append(damaged, r.id)
					continue
				}
				if r.chunks > 1 || first == nil {
					r.first = bytes.Clone(first)
					long = append(long, r)
					continue
				}
				plain, err := b.sealer(r.id).Open(0, true, first)
				if err == nil && int64(len(plain)) != r.size {
					err = vault.ErrDamaged
				}
				if errors.Is(err, vault.ErrDamaged) {
					damaged = append(damaged, r.id)
					continue
				}
				if err != nil {
					return fmt.Errorf("blob %d: %w", r.id, err)
				}
				out[r.id] = plain[:min(r.size, most)]
			}
			return rows.Err()
		})
		if err != nil {
			return nil, nil, err
		}
		for _, r := range long {
			buf := make([]byte, min(r.size, most))
			rd := b.reader(ctx, r)
			if r.size == 0 {
				_, err = rd.Read(nil) // that it is empty is proven too
			} else {
				_, err = io.ReadFull(rd, buf)
			}
			if errors.Is(err, vault.ErrDamaged) {
				damaged = append(damaged, r.id)
				continue
			}
			if err != nil && err != io.EOF {
				return nil, nil, err
			}
			out[r.id] = buf
		}
	}
	return out, damaged, nil
}

// free removes blobs that no row names any more. What a crash leaves of them, CollectGarbage finds.
func (b *blobStore) free(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	if b.objects != nil {
		names := make([]string, len(ids))
		for i, id := range ids {
			names[i] = b.object(id)
		}
		if err := b.objects.remove(ctx, names); err != nil {
			return storeError(err)
		}
	}
	return b.write(ctx, func(t *tx) error {
		rows, chunks := make([][]any, len(ids)), make([][]any, len(ids))
		for i, id := range ids {
			rows[i], chunks[i] = []any{id}, []any{id << 16, (id + 1) << 16}
		}
		if _, err := t.execMany(ctx, "DELETE FROM blobs WHERE {a}id=?", rows); err != nil {
			return err
		}
		_, err := t.execMany(ctx, "DELETE FROM chunks WHERE {a}id>=? AND id<?", chunks)
		return err
	})
}

// PutBlobs stores blobs in one transaction. They are garbage unless an Apply names them within the hour.
func (m *Mailbox) PutBlobs(ctx context.Context, items []BlobData) ([]BlobRef, error) {
	return m.db.blobs.put(ctx, items)
}

// DropBlobs removes blobs that nothing names. If it fails, they are garbage, which CollectGarbage removes.
func (m *Mailbox) DropBlobs(ctx context.Context, ids ...int64) { m.free(ctx, ids) }

// OpenBlob returns a reader over a stored blob that reads ranges without reading what is before. NotFound: there is none.
// The reader is good until ctx is done, and not for concurrent use.
func (m *Mailbox) OpenBlob(ctx context.Context, id int64) (io.ReadSeekCloser, error) {
	r, err := m.db.blobs.open(ctx, id)
	if err != nil {
		return nil, err
	}
	return blobReadCloser{r}, nil
}

type blobReadCloser struct{ *vault.BlobReader }

func (blobReadCloser) Close() error { return nil }

// CollectGarbage removes blobs older than an hour that no message and no send names, and gives their room back. It returns how many
// there were.
func (m *Mailbox) CollectGarbage(ctx context.Context) (int, error) {
	b, now := m.db.blobs, m.now()
	var old []int64
	err := b.read(ctx, func(t *tx) error { // first what there is, then what is named: a blob named in between is safe
		rows, err := t.query(ctx, "SELECT id FROM blobs WHERE {a}(size>=0 AND created_at<? OR created_at<?) ORDER BY id",
			now.Add(-garbageAfter).UnixMilli(), now.Add(-unfinishedFor).UnixMilli())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return err
			}
			old = append(old, id)
		}
		return rows.Err()
	})
	if err != nil || len(old) == 0 {
		return 0, err
	}
	named := make([]bool, len(old))
	err = m.db.read(ctx, func(t *tx) error {
		return namedBlobs(ctx, t, func(id int64) error {
			if i, ok := slices.BinarySearch(old, id); ok {
				named[i] = true
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	var garbage []int64
	for i, id := range old {
		if !named[i] {
			garbage = append(garbage, id)
		}
	}
	for part := range slices.Chunk(garbage, 500) {
		if err := b.free(ctx, part); err != nil {
			return 0, err
		}
	}
	return len(garbage), b.shrink(ctx)
}

// shrink gives the room of removed blobs back to the file system.
func (b *blobStore) shrink(ctx context.Context) error {
	f, ok := b.src.(*sqliteFile)
	if !ok {
		return nil
	}
	c, release, err := f.acquire(ctx, true)
	if err != nil {
		return storeError(err)
	}
	_, err = c.ExecContext(ctx, "PRAGMA incremental_vacuum(4096)")
	release(err != nil)
	return storeError(err)
}

// namedBlobs calls fn with each blob that a message, a send or an operation names.
func namedBlobs(ctx context.Context, t *tx, fn func(id int64) error) error {
	return each(ctx, t, `SELECT raw_blob, display_blob FROM messages WHERE {a}(raw_blob IS NOT NULL OR display_blob IS NOT NULL)
		UNION ALL SELECT raw_blob, NULL FROM outbox WHERE {a}raw_blob IS NOT NULL
		UNION ALL SELECT raw_blob, NULL FROM operations WHERE {a}raw_blob IS NOT NULL`, nil, func(r *sql.Rows) error {
		var ids [2]sql.NullInt64
		if err := r.Scan(&ids[0], &ids[1]); err != nil {
			return err
		}
		for _, id := range ids {
			if id.Valid {
				if err := fn(id.Int64); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
