// Package vault seals bytes so that only the holder of the master key can read them, with a key for each account.
//
// The master key wraps one random data key per account; from a data key HKDF derives one key per purpose: database
// pages, secrets, and each blob. Everything sealed names the key it was sealed with, so that a wrong key is told from
// damage, and is bound to its place by additional data, so that sealed bytes put in another place do not open.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// KeySize is the length of all keys.
const KeySize = 32

// Errors of opening. Both say nothing of the content.
var (
	ErrWrongKey = errors.New("sealed with another key")
	ErrDamaged  = errors.New("sealed bytes are damaged or out of place")
)

// KeyID names a key without telling anything of it.
type KeyID [8]byte

// String returns the id in hex.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Key is a secret key that never prints itself.
type Key struct {
	id KeyID

	mu  sync.RWMutex
	raw [KeySize]byte
	prk [KeySize]byte // what HKDF extracts from raw, the same for all purposes
}

// NewKey returns a random key.
func NewKey() *Key {
	var raw [KeySize]byte
	rand.Read(raw[:]) // never fails
	return keyOf(raw)
}

func keyOf(raw [KeySize]byte) *Key {
	prk, err := hkdf.Extract(sha256.New, raw[:], nil)
	if err != nil {
		panic("vault: " + err.Error()) // only where FIPS 140 forbids the length, which is right
	}
	k := &Key{raw: raw, prk: [KeySize]byte(prk)}
	id := k.Derive("key id")
	copy(k.id[:], id[:])
	return k
}

// ID returns the key's name.
func (k *Key) ID() KeyID { return k.id }

func (k *Key) String() string   { return "key " + k.id.String() }
func (k *Key) GoString() string { return k.String() }

// Derive returns the key for one purpose (HKDF-SHA-256, RFC 5869).
func (k *Key) Derive(purpose string) [KeySize]byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out, err := hkdf.Expand(sha256.New, k.prk[:], "posthorn 1 "+purpose, KeySize)
	if err != nil {
		panic("vault: " + err.Error()) // only for absurd lengths
	}
	return [KeySize]byte(out)
}

// Destroy overwrites the key in memory. It opens and seals nothing sensible any more.
func (k *Key) Destroy() {
	k.mu.Lock()
	clear(k.raw[:])
	clear(k.prk[:])
	k.mu.Unlock()
}

func (k *Key) aead(purpose string) cipher.AEAD {
	dk := k.Derive(purpose)
	return newGCM(dk)
}

func newGCM(key [KeySize]byte) cipher.AEAD {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		panic("vault: " + err.Error()) // the length is right
	}
	g, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		panic("vault: " + err.Error())
	}
	return g
}

// Sealed bytes: format, flags, id of the key, nonce, ciphertext, tag.
const (
	format     = 1
	headerSize = 2 + len(KeyID{})
	overhead   = headerSize + 12 + 16
)

func seal(g cipher.AEAD, id KeyID, flags byte, dst, plain, aad []byte) []byte {
	start := len(dst)
	dst = append(dst, format, flags)
	dst = append(dst, id[:]...)
	return g.Seal(dst, nil, plain, append(aad, dst[start:start+headerSize]...))
}

func open(g cipher.AEAD, id KeyID, dst, sealed, aad []byte) (plain []byte, flags byte, err error) {
	if len(sealed) < overhead || sealed[0] != format {
		return nil, 0, ErrDamaged
	}
	if KeyID(sealed[2:headerSize]) != id {
		return nil, 0, ErrWrongKey
	}
	plain, err = g.Open(dst, nil, sealed[headerSize:], append(aad, sealed[:headerSize]...))
	if err != nil {
		return nil, 0, ErrDamaged
	}
	return plain, sealed[1], nil
}

// SealedWith returns the id of the key that sealed bytes name.
func SealedWith(sealed []byte) (KeyID, bool) {
	if len(sealed) < overhead || sealed[0] != format {
		return KeyID{}, false
	}
	return KeyID(sealed[2:headerSize]), true
}

// Seal seals a small thing, such as a password, for one place: place says whose and what it is, and must be given again
// to open it.
func (k *Key) Seal(place string, plain []byte) []byte {
	return seal(k.aead("secret"), k.id, 0, nil, plain, []byte(place))
}

// Open opens what Seal made. ErrWrongKey: another key is named in it; ErrDamaged: it was changed or belongs to another place.
func (k *Key) Open(place string, sealed []byte) ([]byte, error) {
	plain, _, err := open(k.aead("secret"), k.id, nil, sealed, []byte(place))
	return plain, err
}

// SealString is Seal for text.
func (k *Key) SealString(place, text string) []byte { return k.Seal(place, []byte(text)) }

// OpenString is Open for text.
func (k *Key) OpenString(place string, sealed []byte) (string, error) {
	b, err := k.Open(place, sealed)
	return string(b), err
}

// Keyring holds the master key, and older ones that may still unwrap while data keys are wrapped anew. Only Wrap and
// Unwrap use them, so that a key management service can stand here.
type Keyring struct {
	current *Key
	all     map[KeyID]*Key
}

// NewKeyring makes a keyring from master keys of 32 bytes; the first one wraps, all of them unwrap.
func NewKeyring(master []byte, older ...[]byte) (*Keyring, error) {
	r := &Keyring{all: map[KeyID]*Key{}}
	for _, raw := range append([][]byte{master}, older...) {
		if len(raw) != KeySize {
			return nil, fmt.Errorf("a master key must have %d bytes, not %d", KeySize, len(raw))
		}
		k := keyOf([KeySize]byte(raw))
		if r.current == nil {
			r.current = k
		}
		r.all[k.id] = k
	}
	return r, nil
}

// ParseKeyring reads master keys from text: each 32 bytes in hex or base64, separated by commas or white space. The
// first one is in use, others only open what was wrapped with them. Errors do not repeat the text.
func ParseKeyring(text string) (*Keyring, error) {
	var keys [][]byte
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' }) {
		raw, ok := decodeKey(f)
		if !ok {
			return nil, fmt.Errorf("master key %d is not %d bytes in hex or base64", len(keys)+1, KeySize)
		}
		keys = append(keys, raw)
	}
	if len(keys) == 0 {
		return nil, errors.New("the master key is empty")
	}
	return NewKeyring(keys[0], keys[1:]...)
}

func decodeKey(s string) ([]byte, bool) {
	if len(s) == 2*KeySize {
		raw, err := hex.DecodeString(s)
		return raw, err == nil
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := e.DecodeString(s); err == nil && len(raw) == KeySize {
			return raw, true
		}
	}
	return nil, false
}

// KeyFile is the name of the file with the master key in the data directory.
const KeyFile = "master.key"

// LoadOrCreate reads the keyring from dir/master.key. If the directory holds no data yet it makes dir and the file
// (0600) and tells so by created: who loses that file loses everything stored, so the caller warns. If there is data
// but no key, it fails rather than making a key that opens nothing.
func LoadOrCreate(dir string) (r *Keyring, created bool, err error) {
	path := filepath.Join(dir, KeyFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := checkMode(path); err != nil {
			return nil, false, err
		}
		r, err = ParseKeyring(string(text))
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		return r, false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("read the master key: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, RingFile)); err == nil {
		return nil, false, fmt.Errorf("the master key of this data directory is missing: give it in POSTHORN_MASTER_KEY or put it back as %s", path)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("make the data directory: %w", err)
	}
	key := NewKey()
	if err := writeNew(path, []byte(hex.EncodeToString(key.raw[:])+"\n")); err != nil {
		return nil, false, fmt.Errorf("write the master key: %w", err)
	}
	r, err = NewKeyring(key.raw[:])
	return r, true, err
}

func checkMode(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		return fmt.Errorf("%s may be read by others: chmod 600 it", path)
	}
	return nil
}

// writeNew writes a file that must not exist yet, 0600, and makes sure it is on the disk.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	d.Sync() // not every file system can
	return d.Close()
}

// ID returns the id of the master key in use.
func (r *Keyring) ID() KeyID { return r.current.id }

// Wrap seals a data key with the master key; owner says whose it is.
func (r *Keyring) Wrap(owner string, k *Key) []byte {
	return seal(r.current.aead("wrap"), r.current.id, 0, nil, k.raw[:], []byte("data key|"+owner))
}

// Unwrap opens what Wrap made. ErrWrongKey: no master key of the ring sealed it.
func (r *Keyring) Unwrap(owner string, wrapped []byte) (*Key, error) {
	id, ok := SealedWith(wrapped)
	if !ok {
		return nil, ErrDamaged
	}
	m := r.all[id]
	if m == nil {
		return nil, ErrWrongKey
	}
	raw, _, err := open(m.aead("wrap"), m.id, nil, wrapped, []byte("data key|"+owner))
	if err != nil {
		return nil, err
	}
	if len(raw) != KeySize {
		return nil, ErrDamaged
	}
	defer clear(raw)
	return keyOf([KeySize]byte(raw)), nil
}

// Rewrap wraps a data key anew if it is not wrapped with the master key in use; changed tells whether it was not.
func (r *Keyring) Rewrap(owner string, wrapped []byte) (out []byte, changed bool, err error) {
	if id, ok := SealedWith(wrapped); ok && id == r.current.id {
		return wrapped, false, nil
	}
	k, err := r.Unwrap(owner, wrapped)
	if err != nil {
		return nil, false, err
	}
	defer k.Destroy()
	return r.Wrap(owner, k), true, nil
}
