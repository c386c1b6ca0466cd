package mime

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"
)

// What ids are made with is HMAC-SHA-256 as the standard library computes it, also when a sum follows another one.
func TestKeyedSum(t *testing.T) {
	t.Parallel()
	k := MailboxKey("ada@example.com")
	h := newKeyed(k)
	for _, n := range []int{0, 1, 35, 36, 37, 64, 1000, 3} {
		part := strings.Repeat("x", n)
		mac := hmac.New(sha256.New, k[:])
		mac.Write([]byte("posthorn 1 test"))
		mac.Write([]byte{0, 0, byte(n >> 8), byte(n)})
		mac.Write([]byte(part))
		if got := h.sum("test", part); !bytes.Equal(got[:], mac.Sum(nil)) {
			t.Errorf("the sum over %d bytes is %x", n, got)
		}
	}
}

func BenchmarkMessageID(b *testing.B) {
	k := MailboxKey("ada@example.com")
	b.ReportAllocs()
	for b.Loop() {
		k.MessageID([16]byte{1})
	}
}
