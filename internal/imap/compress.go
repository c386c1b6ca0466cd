package imap

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

var (
	errNoCompress = errors.New("server does not offer COMPRESS=DEFLATE")
	errInflated   = errors.New("compressed data grows beyond the limit")
)

// Compress makes the server compress what it sends (COMPRESS=DEFLATE, RFC 4978). It saves nine tenths of the bytes of
// metadata and little of bodies. It is for after Login: passwords have nothing to do in a compressed stream.
//
// What we send is framed the same way but not compressed: commands are short, and a compressor would cost each session
// more memory than everything else it has.
func (s *Session) Compress(ctx context.Context) error {
	if err := s.enter(ctx, "COMPRESS"); err != nil {
		return err
	}
	defer s.leave()
	if !s.Caps().Has("COMPRESS=DEFLATE") || s.zip != nil {
		return &Error{Class: Permanent, Cmd: "COMPRESS", Err: errNoCompress}
	}
	if _, err := s.exchange("COMPRESS", func(l *line) { l.text(" DEFLATE") }, nil); err != nil {
		return err
	}
	// What came behind the OK is compressed already.
	early := bytes.Clone(s.f.buf[s.f.r:s.f.w])
	s.zip = newDeflateConn(s.conn, early, s.o.Limits.Inflate)
	s.conn = s.zip
	s.f = newFramer(s, s.o.Limits)
	return nil
}

// Compressed reports whether Compress has succeeded.
func (s *Session) Compressed() bool { return s.zip != nil }

// deflateConn is a connection whose bytes are framed as RFC 1951 says, without header and check sum (RFC 4978 4).
type deflateConn struct {
	net.Conn
	wire  counter
	z     io.ReadCloser
	out   int64 // bytes inflated for the running command
	limit int64
	buf   []byte
}

// counter counts what comes over the wire.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func newDeflateConn(c net.Conn, early []byte, limit int64) *deflateConn {
	d := &deflateConn{Conn: c, limit: limit}
	d.wire.r = c
	if len(early) > 0 {
		d.wire.r = io.MultiReader(bytes.NewReader(early), c)
	}
	d.z = flate.NewReader(bufio.NewReaderSize(&d.wire, 4<<10))
	return d
}

// fairRatio is how much may come out for each byte on the wire without counting against the limit. Metadata shrinks 8 to
// 20 times.
const fairRatio = 64

// newCommand starts the account anew. Bytes read ahead count for the command they answer, or the next: no matter.
func (d *deflateConn) newCommand() {
	if d != nil {
		d.out, d.wire.n = 0, 0
	}
}

func (d *deflateConn) Read(b []byte) (int, error) {
	n, err := d.z.Read(b)
	if d.out += int64(n); d.out-fairRatio*d.wire.n > d.limit {
		return 0, protoError{errInflated}
	}
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) {
		err = protoError{err}
	}
	return n, err
}

// Write sends b in stored blocks (RFC 1951 3.2.4), with an empty one behind as all that flush send it: some readers, Go's among
// them, hand out a block only when the next one begins.
func (d *deflateConn) Write(b []byte) (int, error) {
	d.buf = d.buf[:0]
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 1<<16-1)
		d.buf = append(d.buf, 0) // not the last block, stored
		d.buf = binary.LittleEndian.AppendUint16(d.buf, uint16(n))
		d.buf = binary.LittleEndian.AppendUint16(d.buf, ^uint16(n))
		d.buf = append(d.buf, rest[:n]...)
		rest = rest[n:]
	}
	d.buf = append(d.buf, 0, 0, 0, 0xff, 0xff)
	if _, err := d.Conn.Write(d.buf); err != nil {
		return 0, err
	}
	if cap(d.buf) > 16<<10 {
		d.buf = nil
	}
	return len(b), nil
}
