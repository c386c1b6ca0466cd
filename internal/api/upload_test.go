package api

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

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
