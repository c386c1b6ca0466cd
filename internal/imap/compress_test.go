package imap

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"net"
	"testing"
)

// TestCompressedBehindTheOK: what the server sends with its OK to COMPRESS is compressed already, and not lost.
func TestCompressedBehindTheOK(t *testing.T) {
	t.Parallel()
	addr := pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi\r\n")
		var out bytes.Buffer
		z, err := flate.NewWriter(&out, flate.BestSpeed)
		if err != nil {
			t.Error(err)
			return
		}
		buf := make([]byte, 100)
		for _, answer := range []string{"* 5 EXISTS\r\n", "P2 OK\r\n"} {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if answer[0] == '*' {
				out.WriteString("P1 OK\r\n")
			}
			_, _ = io.WriteString(z, answer)
			_ = z.Flush()
			_, _ = c.Write(out.Bytes())
			out.Reset()
		}
		_, _ = io.Copy(io.Discard, c)
	})
	seen := uint32(0)
	s := open(t, Options{Addr: addr, OnUnilateral: func(u Unilateral) { seen = u.Num }})
	check(t, s.Compress(t.Context()))
	check(t, s.Noop(t.Context()))
	if seen != 5 {
		t.Errorf("heard of %d messages", seen)
	}
}

// TestCompressedRubbish: what cannot be inflated is the server's fault, and not the network's.
func TestCompressedRubbish(t *testing.T) {
	t.Parallel()
	_, err := newDeflateConn(nil, bytes.Repeat([]byte{0xff}, 100), 1000).Read(make([]byte, 10))
	if !errors.As(err, new(protoError)) {
		t.Errorf("%T %v", err, err)
	}
}
