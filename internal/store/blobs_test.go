package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

var everyPlace = []string{"sqlite", "postgres", "sqlite+file", "postgres+file", "postgres+s3"}

func minioPrefix(p string) minio.ListObjectsOptions {
	return minio.ListObjectsOptions{Prefix: p, Recursive: true}
}

func readBlob(t testing.TB, m *Mailbox, id int64) []byte {
	t.Helper()
	r, err := m.OpenBlob(t.Context(), id)
	if err != nil {
		t.Fatalf("open blob %d: %v", id, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read blob %d: %v", id, err)
	}
	return b
}

func TestBlobs(t *testing.T) {
	exercisePlaces(t, everyPlace, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		_, m := addAccount(t, s, "a@example.com")
		var items []BlobData
		for i, n := range []int{0, 1, 4000, vault.ChunkSize, vault.ChunkSize + 1, 3*vault.ChunkSize + 99} {
			items = append(items, BlobData{BlobRaw, bytesOf(fmt.Sprint(i), n)})
		}
		for i := range 300 { // more than one lot of ids and one INSERT
			items = append(items, BlobData{BlobDisplay, bytesOf(fmt.Sprint("small", i), 100+i)})
		}
		refs, err := m.PutBlobs(ctx, items)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]bool{}
		for i, ref := range refs {
			if ref.Size != int64(len(items[i].Data)) || ref.ID <= 0 || seen[ref.ID] {
				t.Fatalf("ref %d: %+v", i, ref)
			}
			seen[ref.ID] = true
			if i < 10 && !bytes.Equal(readBlob(t, m, ref.ID), items[i].Data) {
				t.Errorf("blob %d came back different", i)
			}
		}
		r, err := m.OpenBlob(ctx, refs[5].ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, items[5].Data); err != nil {
			t.Error(err)
		}
		r.Close()
		ids := []int64{refs[0].ID, refs[5].ID, 1 << 40}
		for _, ref := range refs[6:] {
			ids = append(ids, ref.ID)
		}
		all, _, err := m.db.blobs.readAll(ctx, ids, 1<<30)
		if err != nil || len(all) != len(ids)-1 {
			t.Fatalf("%d blobs read, %v", len(all), err)
		}
		for i, ref := range refs {
			if b, ok := all[ref.ID]; (ok || i < 6 && i%5 == 0) && !bytes.Equal(b, items[i].Data) {
				t.Errorf("blob %d came back different from the many", i)
			}
		}
		if some, _, err := m.db.blobs.readAll(ctx, ids, 50); err != nil || !bytes.Equal(some[refs[5].ID], items[5].Data[:50]) {
			t.Errorf("the beginning of a blob: %v", err)
		}
		if _, err := m.OpenBlob(ctx, 1<<40); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a blob that is not there: %v", err)
		}
		if refs, err := m.PutBlobs(ctx, nil); err != nil || refs != nil {
			t.Errorf("no blobs: %v, %v", refs, err)
		}
		shut(t, s)
		s = p.open(t)
		m, err = s.Mailbox(ctx, m.id)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readBlob(t, m, refs[5].ID), items[5].Data) {
			t.Error("a blob came back different after a restart")
		}
		more, err := m.PutBlobs(ctx, items[1:2])
		if err != nil || seen[more[0].ID] {
			t.Errorf("an id was given out again: %v, %v", more, err)
		}
	})
}

func TestBlobWriter(t *testing.T) {
	exercisePlaces(t, everyPlace, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		a, m := addAccount(t, s, "a@example.com")
		for _, n := range []int{0, 1, vault.ChunkSize - 1, vault.ChunkSize, vault.ChunkSize + 1, 2 * vault.ChunkSize, 23*vault.ChunkSize + 5} {
			data := bytesOf("stream", n)
			w, err := m.NewBlob(ctx, BlobRaw)
			if err != nil {
				t.Fatal(err)
			}
			for part := data; len(part) > 0; {
				k := min(len(part), 70001)
				if _, err := w.Write(part[:k]); err != nil {
					t.Fatal(err)
				}
				part = part[k:]
			}
			ref, err := w.Commit()
			if err != nil || ref.Size != int64(n) || w.Size() != ref.Size {
				t.Fatalf("%d bytes: %+v, %v", n, ref, err)
			}
			if err := w.Abort(); err != nil {
				t.Errorf("abort after commit: %v", err)
			}
			if !bytes.Equal(readBlob(t, m, ref.ID), data) {
				t.Errorf("%d bytes came back different", n)
			}
			if _, err := w.Write([]byte("late")); err == nil {
				t.Error("a write after commit succeeded")
			}
			if _, err := w.Commit(); err == nil {
				t.Error("a second commit succeeded")
			}
		}
		before := traces(t, s, a.ID)
		for _, n := range []int{10, 3 * vault.ChunkSize, 30 * vault.ChunkSize} {
			w, _ := m.NewBlob(ctx, BlobRaw)
			if _, err := w.Write(bytesOf("aborted", n)); err != nil {
				t.Fatal(err)
			}
			if w.id != 0 {
				if _, err := m.OpenBlob(ctx, w.id); !mail.IsKind(err, mail.Internal) {
					t.Errorf("a blob that is not finished opened: %v", err)
				}
			}
			if err := w.Abort(); err != nil {
				t.Error(err)
			}
			if w.id != 0 {
				if _, err := m.OpenBlob(ctx, w.id); !mail.IsKind(err, mail.NotFound) {
					t.Errorf("an aborted blob is there: %v", err)
				}
			}
		}
		if after := traces(t, s, a.ID); p.name != "sqlite+file" && p.name != "postgres+file" && after > before { // empty directories stay
			t.Errorf("aborted blobs left %d traces", after-before)
		}
	})
}

func TestBlobsConcurrently(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		_, m := addAccount(t, p.open(t), "a@example.com")
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for i := range 20 {
					data := bytesOf(fmt.Sprint(g, i), 3000)
					refs, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, data}, {BlobRaw, data[:10]}})
					if err != nil {
						t.Error(err)
						return
					}
					got, _, err := m.db.blobs.readAll(ctx, []int64{refs[0].ID, refs[1].ID}, 1<<30)
					if err != nil || !bytes.Equal(got[refs[0].ID], data) || !bytes.Equal(got[refs[1].ID], data[:10]) {
						t.Errorf("blobs came back different: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestCollectGarbage(t *testing.T) {
	exercisePlaces(t, everyPlace, func(t *testing.T, p *place) {
		ctx := t.Context()
		now := time.UnixMilli(1700000000000)
		var mu sync.Mutex
		p.o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
		s := p.open(t)
		_, m := addAccount(t, s, "a@example.com")
		old, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, bytesOf("x", 600<<10)}, {BlobRaw, []byte("b")}})
		if err != nil {
			t.Fatal(err)
		}
		dead, _ := m.NewBlob(ctx, BlobRaw)
		if _, err := dead.Write(bytesOf("dead", 300<<10)); err != nil {
			t.Fatal(err)
		}
		if n, err := m.CollectGarbage(ctx); err != nil || n != 0 {
			t.Fatalf("collected %d young blobs, %v", n, err)
		}
		pass(2 * time.Hour)
		young, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("young")}, {BlobRaw, []byte("a draft that the server has not taken yet")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.AddOperation(ctx, mail.Operation{Kind: mail.OpDraftSave, Blob: young[1].ID, Size: young[1].Size, Draft: &mail.DraftWork{}}); err != nil {
			t.Fatal(err)
		}
		if n, err := m.CollectGarbage(ctx); err != nil || n != 2 {
			t.Fatalf("collected %d blobs, want the 2 old ones: %v", n, err)
		}
		for _, ref := range old {
			if _, err := m.OpenBlob(ctx, ref.ID); !mail.IsKind(err, mail.NotFound) {
				t.Errorf("garbage is there: %v", err)
			}
		}
		if string(readBlob(t, m, young[0].ID)) != "young" {
			t.Error("a young blob was collected")
		}
		if _, err := dead.Write(bytesOf("more", 300<<10)); err != nil {
			t.Errorf("a slow writer was cut off: %v", err)
		}
		pass(25 * time.Hour)
		if n, err := m.CollectGarbage(ctx); err != nil || n != 2 {
			t.Fatalf("collected %d blobs, want the young and the unfinished one: %v", n, err)
		}
		if _, err := m.OpenBlob(ctx, young[1].ID); err != nil {
			t.Errorf("what an operation is to save was collected: %v", err)
		}
		dead.Abort()
	})
}

// A blob in the wrong place or changed on disk does not read; an empty answer would be a lie.
func TestBlobsTampered(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		_, m := addAccount(t, s, "a@example.com")
		refs, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("the first")}, {BlobRaw, []byte("number two")}, {BlobRaw, bytesOf("x", 600<<10)}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, q string
			args    []any
			read    int64
		}{
			{"bodies swapped", "UPDATE chunks SET data=(SELECT o.data FROM chunks o WHERE {a:o}o.id=?) WHERE {a}id=?", []any{refs[0].ID << 16, refs[1].ID << 16}, refs[1].ID},
			{"size changed", "UPDATE blobs SET size=size-1 WHERE {a}id=?", []any{refs[0].ID}, refs[0].ID},
			{"cut after a chunk", "UPDATE blobs SET size=?, chunks=2 WHERE {a}id=?", []any{2 * vault.ChunkSize, refs[2].ID}, refs[2].ID},
		} {
			if err := m.db.blobs.write(ctx, func(x *tx) error {
				n, err := x.exec(ctx, c.q, c.args...)
				if n != 1 {
					t.Errorf("%s: %d rows", c.name, n)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			r, err := m.OpenBlob(ctx, c.read)
			if err == nil {
				_, err = io.ReadAll(r)
			}
			if !errors.Is(err, vault.ErrDamaged) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Two accounts' files exchanged are refused, whatever the keys.
func TestFilesExchanged(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "sqlite")
	s := p.open(t)
	a, _ := addAccount(t, s, "a@example.com")
	b, _ := addAccount(t, s, "b@example.com")
	shut(t, s)
	for _, name := range []string{"mail.db", "blobs.db"} {
		x, y := filepath.Join(s.accountDir(a.ID), name), filepath.Join(s.accountDir(b.ID), name)
		for _, mv := range [][2]string{{x, x + ".x"}, {y, x}, {x + ".x", y}} {
			if err := os.Rename(mv[0], mv[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := Open(t.Context(), p.o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Mailbox(t.Context(), a.ID); !mail.IsKind(err, mail.Internal) {
		t.Errorf("another account's mailbox opened: %v", err)
	}
	key, err := s.accountKey(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.newMailDB(a.ID, key).blobs.open(t.Context(), 1); !mail.IsKind(err, mail.Internal) {
		t.Errorf("another account's bodies opened: %v", err)
	}
	if problems, err := s.Check(t.Context()); err != nil || len(problems) != 2 {
		t.Errorf("check finds %v, %v", problems, err)
	}
}
