package store

import (
	"fmt"
	"io"
	"testing"
)

func benchBlobPlaces(b *testing.B, fn func(b *testing.B, s *Store, m *Mailbox)) {
	for _, kind := range []string{"sqlite", "postgres", "sqlite+file", "postgres+s3"} {
		b.Run(kind, func(b *testing.B) {
			s := newPlace(b, kind).open(b)
			_, m := addAccount(b, s, "a@example.com")
			fn(b, s, m)
		})
	}
}

// One iteration is one blob of 12 KiB, about what mail is; they come in batches.
func BenchmarkPutBlobs(b *testing.B) {
	const size = 12 << 10
	for _, batch := range []int{1, 50, 250} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			benchBlobPlaces(b, func(b *testing.B, s *Store, m *Mailbox) {
				var items []BlobData
				for i := range batch {
					items = append(items, BlobData{BlobRaw, bytesOf(fmt.Sprint(i), size)})
				}
				b.SetBytes(size)
				b.ResetTimer()
				for n := 0; n < b.N; n += batch {
					if _, err := m.PutBlobs(b.Context(), items[:min(batch, b.N-n)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkOpenBlob(b *testing.B) {
	for _, size := range []int{12 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			benchBlobPlaces(b, func(b *testing.B, s *Store, m *Mailbox) {
				refs, err := m.PutBlobs(b.Context(), []BlobData{{BlobRaw, bytesOf("x", size)}})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(size))
				for b.Loop() {
					r, err := m.OpenBlob(b.Context(), refs[0].ID)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, r); err != nil || n != int64(size) {
						b.Fatal(n, err)
					}
				}
			})
		})
	}
}

// One iteration is one page of 50 display bodies.
func BenchmarkReadPage(b *testing.B) {
	benchBlobPlaces(b, func(b *testing.B, s *Store, m *Mailbox) {
		var items []BlobData
		for i := range 50 {
			items = append(items, BlobData{BlobDisplay, bytesOf(fmt.Sprint(i), 4000)})
		}
		refs, err := m.PutBlobs(b.Context(), items)
		if err != nil {
			b.Fatal(err)
		}
		var ids []int64
		for _, r := range refs {
			ids = append(ids, r.ID)
		}
		for b.Loop() {
			if got, _, err := m.db.blobs.readAll(b.Context(), ids, 1<<30); err != nil || len(got) != 50 {
				b.Fatal(len(got), err)
			}
		}
	})
}

func BenchmarkStreamBlob(b *testing.B) {
	benchBlobPlaces(b, func(b *testing.B, s *Store, m *Mailbox) {
		data := bytesOf("x", 8<<20)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			w, _ := m.NewBlob(b.Context(), BlobRaw)
			if _, err := w.Write(data); err != nil {
				b.Fatal(err)
			}
			if _, err := w.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One iteration opens an account's closed file, reads from it and closes it again.
func BenchmarkOpenMailbox(b *testing.B) {
	s := newPlace(b, "sqlite").open(b)
	_, m := addAccount(b, s, "a@example.com")
	for b.Loop() {
		if err := m.db.read(b.Context(), func(t *tx) error {
			return t.row(b.Context(), "SELECT seq FROM state WHERE {a}1=1").Scan(new(int))
		}); err != nil {
			b.Fatal(err)
		}
		s.files.evict(1, s.now())
	}
}

func BenchmarkTransaction(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			s := newPlace(b, kind).open(b)
			_, m := addAccount(b, s, "a@example.com")
			b.Run("read", func(b *testing.B) {
				for b.Loop() {
					if err := m.db.read(b.Context(), func(t *tx) error {
						return t.row(b.Context(), "SELECT seq FROM state WHERE {a}1=1").Scan(new(int))
					}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("write", func(b *testing.B) {
				for b.Loop() {
					if err := m.db.write(b.Context(), func(t *tx) error {
						_, err := t.exec(b.Context(), "UPDATE state SET term=term+1 WHERE {a}1=1")
						return err
					}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
