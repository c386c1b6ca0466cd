package api

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

func sifted(in io.Reader, most int) (string, []string, error) {
	var out bytes.Buffer
	var taken []string
	s := sifter{r: bufio.NewReader(in), out: &out, most: most, take: func(r io.Reader) (string, error) {
		b, err := io.ReadAll(r)
		taken = append(taken, string(b))
		return fmt.Sprint(len(taken)), err
	}}
	err := s.sift()
	return out.String(), taken, err
}

func TestSift(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 5000)
	for in, want := range map[string]struct {
		out   string
		taken []string
	}{
		`{"a": 1, "content": "x", "attachments": [ {"content": "aGk=", "filename": "attachments"}, {"Content":"aGkh\n"} ] }`: {`{"a":1,"content":"x","attachments":[{"content":"1","filename":"attachments"},{"Content":"2"}]}`, []string{"hi", "hi!"}},
		`{"attachments":{"content":"x"},"b":[{"content":"y"}]}`:                                                              {`{"attachments":{"content":"x"},"b":[{"content":"y"}]}`, nil},
		`{"attachments":[[{"content":"x"}],{"content":{"content":"y"}},{"content":null}]}`:                                   {`{"attachments":[[{"content":"x"}],{"content":{"content":"y"}},{"content":null}]}`, nil},
		`{"a":"\"attachments\":[{\"content\":\"","attachments":[{"\u0063ontent":"\u0061Gk\u003d\/","x":"\\"}]}`:              {"", nil},
		`{"attachments":[{"content":"__-_"}]}`:                                                                               {`{"attachments":[{"content":"1"}]}`, []string{"\xff\xff\xbf"}},
		`{"attachments":[{"content":""}]}`:                                                                                   {`{"attachments":[{"content":"1"}]}`, []string{""}},
		`{"attachments":[{"\u0063ontent":"\u0061Gk\u003d"}]}`:                                                                {`{"attachments":[{"\u0063ontent":"1"}]}`, []string{"hi"}},
		`{"attachments":[{"content":"` + base64.StdEncoding.EncodeToString([]byte(long)) + `"}]}`:                            {`{"attachments":[{"content":"1"}]}`, []string{long}},
		`["x"`: {`["x"`, nil}, // told by whoever reads the copy
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			out, taken, err := sifted(r, 1000)
			if want.out == "" {
				if !mail.IsKind(err, mail.Invalid) {
					t.Errorf("%.80s: %q, %v", in, out, err)
				}
				continue
			}
			if err != nil || out != want.out || fmt.Sprint(taken) != fmt.Sprint(want.taken) {
				t.Errorf("%.80s:\n%s %.80q, %v", in, out, taken, err)
			}
		}
	}
	for _, in := range []string{`{"attachments":[{"content":"a!"}]}`, `{"attachments":[{"content":"aGk=aGk="}]}`, `{"attachments":[{"content":"aGk`, `{"attachments":[{"content":"aGkxx"}]}`,
		`{"attachments":[{"content":"a\q"}]}`, `{"a":"`, `]`, strings.Repeat("[", 101)} {
		if _, _, err := sifted(strings.NewReader(in), 1000); !mail.IsKind(err, mail.Invalid) {
			t.Errorf("%.60s: %v", in, err)
		}
	}
	var large *tooLarge
	if _, _, err := sifted(strings.NewReader(`{"a":"`+long+`"}`), 1000); !errors.As(err, &large) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzSift(f *testing.F) {
	f.Add(`{"attachments":[{"content":"aGk=","x":[1,{"y":"\""}]}]}`)
	f.Add(`{"attachments":[{"content":"\u0061"`)
	f.Fuzz(func(t *testing.T, in string) {
		out, _, err := sifted(strings.NewReader(in), 1<<16)
		if err == nil && len(out) > len(in)+20 {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	})
}

// bigUpload gives a request with attachments of n bytes without holding them.
func bigUpload(kind string, n int64) io.Reader {
	zeros := io.LimitReader(&letters{}, n)
	if kind == "multipart" {
		return io.MultiReader(strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"message\"; filename=\"\"\r\nContent-Type: application/json\r\n\r\n{\"subject\":\"s\"}\r\n"+
			"--b\r\nContent-Disposition: form-data; name=\"file0\"; filename=\"b\xc3\xafg %221%22.bin\"\r\nContent-Type: a/b\r\n\r\n"), zeros, strings.NewReader("\r\n--b--\r\n\r\n"))
	}
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, `{"attachments":[{"filename":"big","content_type":"a/b","content":"`)
		b := base64.NewEncoder(base64.StdEncoding, w)
		io.Copy(b, zeros)
		b.Close()
		io.WriteString(w, `"}],"subject":"s"}`)
		w.Close()
	}()
	return r
}

type letters struct{ n int }

func (l *letters) Read(p []byte) (int, error) {
	for i := range p {
		l.n++
		p[i] = byte(l.n * 7919 >> 5)
	}
	return len(p), nil
}

// Attachments go through, decoded and composed, in little memory. Not parallel: it measures the heap.
func TestUploadsStream(t *testing.T) {
	m := setup(t).account("ann@example.test")
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // what is used, not what waits to be collected
	const size = 25 << 20
	warm, err := m.mb.PutBlobs(t.Context(), []store.BlobData{{Kind: store.BlobOther, Data: make([]byte, 1<<20)}}) // what the store needs once
	if err != nil {
		t.Fatal(err)
	}
	m.mb.DropBlobs(t.Context(), warm[0].ID)
	for kind, ctype := range map[string]string{"json": "application/json", "multipart": "multipart/form-data; boundary=b"} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		var peak atomic.Uint64
		watch := func() {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapAlloc))
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					watch()
				}
			}
		}()
		r := httptest.NewRequest("POST", "/", bigUpload(kind, size))
		r.Header.Set("Content-Type", ctype)
		c := &call{ResponseWriter: httptest.NewRecorder(), a: m.api, r: r, body: r.Body}
		u, err := c.upload(m.mb)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		var comp mime.Composition
		u.apply(t.Context(), &comp)
		blob, err := spoolMessage(t.Context(), m.mb, comp)
		watch()
		close(stop)
		<-stopped
		if err != nil || blob.Size < size*4/3 {
			t.Fatalf("%s: %+v, %v", kind, blob, err)
		}
		if used := int64(peak.Load()) - int64(before.HeapAlloc); used > 12<<20 {
			t.Errorf("%s: %d MB of memory at the peak for an attachment of 25", kind, used>>20)
		}
		if len(comp.Files) != 1 || comp.Files[0].Size != size || comp.Subject != "s" || kind == "multipart" && comp.Files[0].Name != `bïg "1".bin` {
			t.Errorf("%s: %+v", kind, comp)
		}
		u.drop(t.Context())
		m.mb.DropBlobs(t.Context(), blob.ID)
		if _, err := m.mb.OpenBlob(t.Context(), u.blobs[0]); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("%s: the attachment is still there: %v", kind, err)
		}
	}
}

func TestUploadsTooLarge(t *testing.T) {
	t.Parallel()
	m := setup(t).account("ann@example.test")
	m.api.MaxMessage = 1 << 20
	for kind, ctype := range map[string]string{"json": "application/json", "multipart": "multipart/form-data; boundary=b"} {
		r := httptest.NewRequest("POST", "/", bigUpload(kind, 1<<20+1))
		r.Header.Set("Content-Type", ctype)
		c := &call{ResponseWriter: httptest.NewRecorder(), a: m.api, r: r, body: r.Body}
		if _, err := c.upload(m.mb); err == nil {
			t.Errorf("%s: taken", kind)
		} else {
			rec := httptest.NewRecorder()
			c.ResponseWriter = rec
			c.fail(err)
			if rec.Code != http.StatusRequestEntityTooLarge || !strings.Contains(rec.Body.String(), "1048576") {
				t.Errorf("%s: %d %s", kind, rec.Code, rec.Body)
			}
		}
		io.Copy(io.Discard, r.Body) // lets the writer end
	}
}
