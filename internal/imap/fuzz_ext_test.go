package imap

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// wireConn is a connection that reads from r and writes to w.
type wireConn struct {
	net.Conn
	r io.Reader
	w io.Writer
}

func (c wireConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c wireConn) Write(b []byte) (int, error) { return c.w.Write(b) }

// FuzzInflate: whatever comes compressed, the limit holds and reading ends.
func FuzzInflate(f *testing.F) {
	for _, text := range []string{"", "* OK hi\r\n", strings.Repeat("a", 1<<20)} {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 9)
		_, _ = io.WriteString(w, text)
		_ = w.Flush()
		f.Add(b.Bytes(), 3)
	}
	f.Add([]byte{0, 5, 0, 250, 255, 'a', 'b'}, 0)
	f.Fuzz(func(t *testing.T, data []byte, early int) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		const limit = 10_000
		early = min(max(early, 0), len(data))
		d := newDeflateConn(wireConn{r: bytes.NewReader(data[early:])}, data[:early], limit)
		n, err := io.Copy(io.Discard, d)
		if n > limit+fairRatio*int64(len(data)) {
			t.Errorf("%d bytes became %d, %v", len(data), n, err)
		}
		var pe protoError
		if err != nil && !errors.As(err, &pe) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%T %v", err, err)
		}
	})
}

// FuzzDeflate: what we write compressed is what the other side reads, however it is cut.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("P1 NOOP\r\n"), 3)
	f.Add(bytes.Repeat([]byte("x"), 200_000), 70_000)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		at = min(max(at, 0), len(data))
		var wire bytes.Buffer
		d := newDeflateConn(wireConn{w: &wire}, nil, 1000)
		for _, part := range [][]byte{data[:at], data[at:]} {
			if n, err := d.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		got := make([]byte, len(data))
		if _, err := io.ReadFull(flate.NewReader(&wire), got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", len(data), err)
		}
	})
}

// FuzzCodes: COPYUID, APPENDUID and MESSAGELIMIT as garbage.
func FuzzCodes(f *testing.F) {
	for _, s := range []string{"5 1:3,9 10:12,20", "5 1 2,3", "5 3:1 1:*", "5", "1000 23", "4294967295 1 1", "1 4294967294:4294967295 1:2", "5 9,1 3,4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		var c Copied
		c.add(arg)
		n := 0
		for from, to := range c.All {
			if n++; n > 1000 {
				break
			}
			if from == 0 || to == 0 {
				t.Errorf("%q: %d>%d", arg, from, to)
			}
			if n == 1 {
				if d, ok := c.Dest(from); !ok || d != to {
					t.Errorf("%q: %d>%d, Dest says %d", arg, from, to, d)
				}
			}
		}
		if c.Known() != (n > 0) {
			t.Errorf("%q: known %v, %d pairs", arg, c.Known(), n)
		}
		var a Appended
		a.take(status{code: "APPENDUID", arg: arg}, 3)
		if len(a.UIDs) > 3 {
			t.Errorf("%q: %d UIDs", arg, len(a.UIDs))
		}
		e := partial("TEST", status{code: "MESSAGELIMIT", arg: arg}, Range(1, 100))
		var p *PartialError
		if !errors.As(e, &p) || p.Limit < 0 || len(p.Left.Ranges()) > 1 {
			t.Errorf("%q: %v", arg, e)
		}
	})
}

// FuzzSASL: challenges as garbage never prove the server and never break anything.
func FuzzSASL(f *testing.F) {
	f.Add("r=nonceX,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=AAAA")
	f.Add(`{"status":"400"}`, "e=other-error")
	f.Add("r=nonceX,s=,i=1", "")
	f.Add("r=nonceX,s=AAAA,i=99999999999999999999", "v=")
	f.Fuzz(func(t *testing.T, one, two string) {
		if strings.Contains(one, "i=") && !strings.Contains(one, "i=4096") {
			one = strings.Replace(one, "i=", "i=0", 1) // many iterations are slow, which proves nothing
		}
		m := &scram{user: "u", password: "p", nonce: "nonce"}
		if _, err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if answer, err := m.Next([]byte(one)); err == nil {
			if !bytes.HasPrefix(answer, []byte("c=biws,r=nonce")) {
				t.Errorf("answer %q", answer)
			}
			_, err = m.Next([]byte(two))
			sig, _, _ := strings.Cut(strings.TrimPrefix(two, "v="), ",")
			right := base64.StdEncoding.EncodeToString(m.serverSig) == sig
			if proved := err == nil && m.Done() == nil; proved && !right {
				t.Errorf("proved by %q", two)
			}
		} else if m.Done() == nil {
			t.Errorf("%q proves", one)
		}
		o := XOAuth2("u", "t")
		if _, err := o.Next([]byte(one)); err != nil || o.Refused() == nil {
			t.Errorf("%q: %v, %v", one, err, o.Refused())
		}
		if strings.ContainsAny(o.Refused().Error(), "\r\n\x00") {
			t.Errorf("%q", o.Refused())
		}
	})
}
