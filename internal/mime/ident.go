package mime

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// Everything in this file is stored or handed out: it must never give other values for the same input. Golden tests
// hold it fixed.

// fingerprintFields are hashed in this order.
var fingerprintFields = [...]string{"Message-ID", "Date", "From", "To", "Cc", "Subject", "Received"}

// Fingerprint identifies a message by the headers that servers keep: Message-ID, Date, From, To, Cc, Subject and the
// Received chain, each with white space normalised. strong is false when there is no usable Message-ID; then different
// messages may share it and the caller adds the digest of the raw bytes by WithDigest.
//
// A damaged header may read differently as FETCH HEADER.FIELDS and as part of the whole message: compute the
// fingerprint always from the same of the two.
func Fingerprint(m *Message) (fp [16]byte, strong bool) {
	h := sha256.New()
	buf := make([]byte, 0, 1024)
	buf = append(buf, "posthorn fingerprint 1\n"...)
	for _, name := range fingerprintFields {
		for i := range m.Header {
			if f := &m.Header[i]; strings.EqualFold(f.Name, name) {
				buf = append(buf, name...)
				buf = append(buf, ':')
				buf = appendNormal(buf, f.Value)
				buf = append(buf, '\n')
			}
		}
		h.Write(buf)
		buf = buf[:0]
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return [16]byte(sum[:16]), validID(m.MessageID)
}

// DraftFingerprint identifies a draft by its Message-ID alone, which programs keep when they save a new version of it: all
// versions of a draft are one message.
func DraftFingerprint(messageID string) [16]byte {
	sum := sha256.Sum256([]byte("posthorn draft fingerprint 1\n" + messageID))
	return [16]byte(sum[:16])
}

// appendNormal appends a raw value with every run of white space and line ends as one space, and none at the ends.
func appendNormal(dst []byte, v string) []byte {
	space, any := false, false
	for i := range len(v) {
		switch c := v[i]; c {
		case ' ', '\t', '\r', '\n':
			space = any
		default:
			if space {
				dst = append(dst, ' ')
			}
			dst = append(dst, c)
			space, any = false, true
		}
	}
	return dst
}

// WithDigest derives the fingerprint of the message with these headers and these very bytes (their SHA-256).
func WithDigest(fp [16]byte, digest [32]byte) [16]byte {
	h := sha256.New()
	h.Write([]byte("posthorn fingerprint with digest 1\n"))
	h.Write(fp[:])
	h.Write(digest[:])
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return [16]byte(sum[:16])
}

// IDKey is the key of one mailbox from which its public ids are made, so that ids of two mailboxes never compare.
type IDKey [32]byte

// MailboxKey derives the key from the mailbox's own identity: the login, or login@host, in any case of letters.
func MailboxKey(identity string) IDKey {
	return sha256.Sum256([]byte("posthorn mailbox 1\n" + strings.ToLower(strings.TrimSpace(identity))))
}

// MessageID returns the public id of the message with this fingerprint.
func (k IDKey) MessageID(fp [16]byte) string {
	sum := newKeyed(k).sum("message", string(fp[:]))
	return "m" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// FolderID returns a public folder id made from a seed.
func (k IDKey) FolderID(seed string) string {
	sum := newKeyed(k).sum("folder", seed)
	return "f" + base64.RawURLEncoding.EncodeToString(sum[:12])
}

// keyed computes HMAC-SHA-256 (RFC 2104) over a purpose and strings, each with its length before it, so that no two lists
// of strings give the same input. crypto/hmac does the same, with a dozen allocations, which are a part of the cost of a
// message: some ten such sums are made of each.
type keyed struct {
	inner, outer []byte // the key, padded, and what follows it
}

func newKeyed(k IDKey) *keyed {
	h := &keyed{inner: make([]byte, sha256.BlockSize, 2*sha256.BlockSize), outer: make([]byte, sha256.BlockSize, sha256.BlockSize+sha256.Size)}
	copy(h.inner, k[:])
	copy(h.outer, k[:])
	for i := range sha256.BlockSize {
		h.inner[i] ^= 0x36
		h.outer[i] ^= 0x5c
	}
	return h
}

func (k *keyed) sum(purpose string, parts ...string) [sha256.Size]byte {
	k.inner = append(append(k.inner[:sha256.BlockSize], "posthorn 1 "...), purpose...)
	for _, p := range parts {
		k.inner = binary.BigEndian.AppendUint32(k.inner, uint32(len(p)))
		k.inner = append(k.inner, p...)
	}
	sum := sha256.Sum256(k.inner)
	return sha256.Sum256(append(k.outer[:sha256.BlockSize], sum[:]...))
}

const maxIDPart = 250

// validID tells whether s is local@host with parts of a sane length.
func validID(s string) bool {
	i := strings.LastIndexByte(s, '@')
	return i > 0 && i < len(s)-1 && i <= maxIDPart && len(s)-i-1 <= maxIDPart
}
