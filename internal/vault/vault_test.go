package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func codec(t testing.TB) *Codec {
	c, err := NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestSeal(t *testing.T) {
	t.Parallel()
	k := NewKey()
	sealed := k.SealString("account 1|password", "hunter2 hunter2")
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatal("the text is in the sealed bytes")
	}
	if again := k.SealString("account 1|password", "hunter2 hunter2"); bytes.Equal(again, sealed) {
		t.Fatal("sealing is not random")
	}
	if got, err := k.OpenString("account 1|password", sealed); err != nil || got != "hunter2 hunter2" {
		t.Fatalf("open: %q, %v", got, err)
	}
	if id, ok := SealedWith(sealed); !ok || id != k.ID() {
		t.Fatalf("key id %v, want %v", id, k.ID())
	}
	if _, err := k.OpenString("account 2|password", sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened in another place: %v", err)
	}
	if _, err := NewKey().OpenString("account 1|password", sealed); !errors.Is(err, ErrWrongKey) {
		t.Errorf("opened with another key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.OpenString("account 1|password", bad); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := k.OpenString("account 1|password", sealed[:i]); err == nil {
			t.Errorf("opened when cut to %d bytes", i)
		}
	}
}

func TestKeysNeverPrint(t *testing.T) {
	t.Parallel()
	k := NewKey()
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k)} {
		if strings.Contains(text, hex.EncodeToString(k.raw[:4])) || !strings.Contains(text, k.ID().String()) {
			t.Errorf("a key prints as %s", text)
		}
	}
	r, err := NewKeyring(k.raw[:])
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v", r, r); strings.Contains(text, hex.EncodeToString(k.raw[:4])) {
		t.Errorf("a keyring prints its key: %s", text)
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	a, b := NewKey(), NewKey()
	if a.Derive("page") == b.Derive("page") || a.Derive("page") == a.Derive("secret") {
		t.Fatal("derived keys are not apart")
	}
	if a.Derive("page") != keyOf(a.raw).Derive("page") {
		t.Fatal("derived keys are not stable")
	}
	var zero [KeySize]byte
	if got := hex.EncodeToString(sum(keyOf(zero).Derive("page"))); got != "b67661017472f883" {
		t.Errorf("derivation has changed, stored data would be lost: %s", got)
	}
}

func sum(b [KeySize]byte) []byte { return b[:8] }

func TestKeyring(t *testing.T) {
	t.Parallel()
	oldKey, newKey := NewKey(), NewKey()
	r1, _ := NewKeyring(oldKey.raw[:])
	r2, _ := NewKeyring(newKey.raw[:], oldKey.raw[:])
	r3, _ := NewKeyring(newKey.raw[:])
	dek := NewKey()
	wrapped := r1.Wrap("a", dek)
	if got, err := r1.Unwrap("a", wrapped); err != nil || got.raw != dek.raw {
		t.Fatalf("unwrap: %v", err)
	}
	if _, err := r1.Unwrap("b", wrapped); !errors.Is(err, ErrDamaged) {
		t.Errorf("unwrapped for another owner: %v", err)
	}
	if _, err := r3.Unwrap("a", wrapped); !errors.Is(err, ErrWrongKey) {
		t.Errorf("unwrapped with another master key: %v", err)
	}
	again, changed, err := r2.Rewrap("a", wrapped)
	if err != nil || !changed {
		t.Fatalf("rewrap: %v %v", changed, err)
	}
	if got, err := r3.Unwrap("a", again); err != nil || got.raw != dek.raw {
		t.Fatalf("unwrap after rotation: %v", err)
	}
	if _, changed, err := r2.Rewrap("a", again); err != nil || changed {
		t.Fatalf("rewrap twice: %v %v", changed, err)
	}
	ring, control := r1.NewRing()
	if got, err := r2.OpenRing(ring); err != nil || got.raw != control.raw {
		t.Fatalf("open ring: %v", err)
	}
	if _, err := r3.OpenRing(ring); !errors.Is(err, ErrWrongMaster) || !strings.Contains(err.Error(), r1.ID().String()) {
		t.Errorf("opened the ring with another master key: %v", err)
	}
	ring, changed, err = r2.RewrapRing(ring)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if _, err := r3.OpenRing(ring); err != nil {
		t.Fatal(err)
	}
}

func TestParseKeyring(t *testing.T) {
	t.Parallel()
	raw, other := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{0xff}, 32)
	want, _ := NewKeyring(raw)
	for _, c := range []struct {
		name, text, err string
	}{
		{"hex", hex.EncodeToString(raw), ""},
		{"upper case hex and a newline", strings.ToUpper(hex.EncodeToString(raw)) + "\r\n", ""},
		{"base64", base64.StdEncoding.EncodeToString(raw), ""},
		{"base64 of the URL kind without padding", base64.RawURLEncoding.EncodeToString(raw), ""},
		{"an older one behind", hex.EncodeToString(raw) + "," + base64.URLEncoding.EncodeToString(other), ""},
		{"empty", " \n", "empty"},
		{"short", hex.EncodeToString(raw[:16]), "not 32 bytes"},
		{"a passphrase", "correct horse battery staple", "not 32 bytes"},
	} {
		r, err := ParseKeyring(c.text)
		switch {
		case c.err == "" && (err != nil || r.ID() != want.ID()):
			t.Errorf("%s: %v", c.name, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v", c.name, err)
		case err != nil && strings.Contains(err.Error(), "horse"):
			t.Errorf("%s: the error repeats the key: %v", c.name, err)
		}
	}
}

func TestLoadOrCreate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	r, created, err := LoadOrCreate(dir)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	path := filepath.Join(dir, KeyFile)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode of the key file: %v %v", fi.Mode(), err)
	}
	if fi, _ := os.Stat(dir); fi.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory: %v", fi.Mode())
	}
	again, created, err := LoadOrCreate(dir)
	if err != nil || created || again.ID() != r.ID() {
		t.Fatal(created, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreate(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("took a key that others can read: %v", err)
	}
	ring, _ := r.NewRing()
	if err := WriteRing(dir, ring); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadRing(dir); err != nil || got.Master != r.ID().String() {
		t.Fatal(got, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreate(dir); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("made a new key beside old data: %v", err)
	}
}

// sealAll seals data as the chunks of one blob.
func sealAll(t testing.TB, s *BlobSealer, data []byte) [][]byte {
	count := Chunks(int64(len(data)))
	var out [][]byte
	for n := range count {
		c, err := s.Seal(n, n == count-1, data[n*ChunkSize:min(int64(len(data)), (n+1)*ChunkSize)])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func fetchFrom(chunks [][]byte) Fetch {
	return func(n int64) ([]byte, error) {
		if n >= int64(len(chunks)) {
			return nil, io.ErrUnexpectedEOF
		}
		return chunks[n], nil
	}
}

// sample returns n bytes, half of them random, half text.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		if b[i] = byte(r.Uint32()); i%1000 < 500 {
			b[i] = "a subject line "[i%15]
		}
	}
	return b
}

func TestBlob(t *testing.T) {
	t.Parallel()
	k, c := NewKey(), codec(t)
	for _, n := range []int{0, 1, 100, ChunkSize - 1, ChunkSize, ChunkSize + 1, 3*ChunkSize + 17} {
		s := k.Blob(c, "acct", 7)
		data := sample(n)
		chunks := sealAll(t, s, data)
		if err := iotest.TestReader(s.NewReader(int64(n), fetchFrom(chunks)), data); err != nil && n > 0 {
			t.Errorf("%d bytes: %v", n, err)
		}
		var buf bytes.Buffer
		if m, err := s.NewReader(int64(n), fetchFrom(chunks)).WriteTo(&buf); err != nil || m != int64(n) || !bytes.Equal(buf.Bytes(), data) {
			t.Errorf("%d bytes: WriteTo: %d, %v", n, m, err)
		}
	}
}

func TestBlobRange(t *testing.T) {
	t.Parallel()
	s := NewKey().Blob(codec(t), "acct", 7)
	data := sample(3*ChunkSize + 17)
	chunks := sealAll(t, s, data)
	fetched := 0
	r := s.NewReader(int64(len(data)), func(n int64) ([]byte, error) { fetched++; return chunks[n], nil })
	if _, err := r.Seek(-10, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	tail, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(tail, data[len(data)-10:]) || fetched != 1 {
		t.Fatalf("tail: %d bytes, %d chunks fetched, %v", len(tail), fetched, err)
	}
	if _, err := r.Seek(ChunkSize-5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 10)
	if _, err := io.ReadFull(r, part); err != nil || !bytes.Equal(part, data[ChunkSize-5:ChunkSize+5]) || fetched != 3 {
		t.Fatalf("over a border: %d chunks fetched, %v", fetched, err)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("seek before the beginning succeeded")
	}
}

func TestBlobTampering(t *testing.T) {
	t.Parallel()
	k, c := NewKey(), codec(t)
	s := k.Blob(c, "acct", 7)
	data := sample(2*ChunkSize + 100)
	size := int64(len(data))
	chunks := sealAll(t, s, data)
	read := func(s *BlobSealer, size int64, chunks ...[]byte) error {
		_, err := io.Copy(io.Discard, s.NewReader(size, fetchFrom(chunks)))
		return err
	}
	if err := read(s, size, chunks...); err != nil {
		t.Fatal(err)
	}
	empty := sealAll(t, s, nil)
	if err := read(s, 0, empty...); err != nil {
		t.Fatalf("an empty blob: %v", err)
	}
	for name, err := range map[string]error{
		"another account":         read(k.Blob(c, "acct2", 7), size, chunks...),
		"another blob":            read(k.Blob(c, "acct", 8), size, chunks...),
		"another key":             read(NewKey().Blob(c, "acct", 7), size, chunks...),
		"chunks swapped":          read(s, size, chunks[1], chunks[0], chunks[2]),
		"last chunk cut off":      read(s, 2*ChunkSize, chunks[0], chunks[1]),
		"cut to nothing":          read(s, 0),
		"cut to an empty blob":    read(s, 0, chunks[2]),
		"a byte more":             read(s, size+1, chunks...),
		"a byte less":             read(s, size-1, chunks...),
		"a chunk more":            read(s, size+ChunkSize, append(bytes2(chunks), chunks[2])...),
		"an empty one in between": read(s, size, chunks[0], chunks[1], empty[0]),
	} {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	small := sealAll(t, s, []byte("a small body"))[0]
	for i := range small {
		bad := bytes.Clone(small)
		bad[i] ^= 0x10
		if err := read(s, 12, bad); err == nil {
			t.Errorf("read with byte %d changed", i)
		}
	}
	if _, err := s.Seal(0, false, []byte("short")); err == nil {
		t.Error("sealed a short chunk in the middle")
	}
	if _, err := s.Seal(0, true, make([]byte, ChunkSize+1)); err == nil {
		t.Error("sealed a chunk that is too large")
	}
}

func bytes2(x [][]byte) [][]byte { return append([][]byte(nil), x...) }

// A chunk that expands to more than a chunk is refused before it takes the memory.
func TestZipBomb(t *testing.T) {
	t.Parallel()
	k, c := NewKey(), codec(t)
	s := k.Blob(c, "acct", 1)
	bomb := c.enc.EncodeAll(make([]byte, 64<<20), nil)
	sealed := seal(s.g, s.id, flagZstd, nil, bomb, s.aad(0, true))
	if _, err := s.Open(0, true, sealed); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

func BenchmarkSealBlob(b *testing.B) {
	for _, n := range []int{2 << 10, 12 << 10, ChunkSize} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			k, c := NewKey(), codec(b)
			data := sample(n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := k.Blob(c, "0c5e2a5e-0000-4000-8000-000000000001", int64(i)).Seal(0, true, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenBlob(b *testing.B) {
	for _, n := range []int{2 << 10, 12 << 10, ChunkSize} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			k, c := NewKey(), codec(b)
			sealed, err := k.Blob(c, "acct", 1).Seal(0, true, sample(n))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Blob(c, "acct", 1).Open(0, true, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
