package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/posthorn/posthorn/test/binary"
)

var objects = flag.String("s3", "", "blob URL of an object store to be used in place of one in this process")

// largeAttachment is what an attachment holds: what mail providers take at most.
const largeAttachment = 25 << 20

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// upload makes a request for a message with a large attachment and sends it as it comes, without a length.
func (w *writer) upload(method, path, subject string) error {
	r, pipe := io.Pipe()
	form := multipart.NewWriter(pipe)
	go func() {
		err := form.WriteField("message", `{"to":[{"email":"x@example.com"}],"subject":"`+subject+`","body":"see the file"}`)
		var part io.Writer
		if err == nil {
			part, err = form.CreateFormFile("file0", "large.bin")
		}
		if err == nil {
			_, err = io.Copy(part, io.LimitReader(zeros{}, largeAttachment))
		}
		if err == nil {
			err = form.Close()
		}
		pipe.CloseWithError(err)
	}()
	req, err := http.NewRequestWithContext(within(w.t, 2*time.Minute), method, w.s.URL+w.g+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.s.Key)
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 202 {
		err = fmt.Errorf("%d: %s", resp.StatusCode, body)
	}
	return err
}

// TestLargeAttachments saves drafts and sends messages of 25 MB at the same time, wherever bodies are kept, and downloads them:
// none costs 25 MB of memory.
func TestLargeAttachments(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 500 MB")
	}
	t.Parallel()
	s3 := func(t *testing.T) string {
		if *objects != "" {
			return *objects
		}
		backend := s3mem.New()
		if err := backend.CreateBucket("bodies"); err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(gofakes3.New(backend).Server())
		t.Cleanup(srv.Close)
		return "s3://bodies/posthorn?endpoint=" + srv.URL + "&access_key=test&secret_key=test"
	}
	for _, c := range []struct {
		name  string
		blobs func(t *testing.T) string
	}{
		{"database", func(*testing.T) string { return "" }},
		{"files", func(t *testing.T) string { return "file://" + filepath.ToSlash(t.TempDir()) }},
		{"s3", s3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var env []string
			if url := c.blobs(t); url != "" {
				env = []string{"POSTHORN_BLOB_URL=" + url}
			}
			m := sendingWith(t, binary.Options{Env: env})
			w := &writer{t: t, d: m.d, s: m.s, g: "/v3/grants/" + m.g}
			if err := w.upload("POST", "/drafts", "warm up"); err != nil {
				t.Fatal(err)
			}
			const each = 3
			before := m.s.PeakRSS()
			start := time.Now()
			var wg sync.WaitGroup
			for n := range each {
				wg.Go(func() {
					if err := w.upload("POST", "/drafts", fmt.Sprintf("draft %d.", n)); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					if err := w.upload("POST", "/messages/send", fmt.Sprintf("send %d", n)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			took := time.Since(start)
			await(t, "all drafts and copies of what was sent", 2*time.Minute, func() bool {
				n := 0
				for n < each && len(w.find("drafts", fmt.Sprintf("draft %d.", n))) == 1 && len(w.find("messages", fmt.Sprintf("send %d", n))) == 1 {
					n++
				}
				return n == each
			})
			peak := m.s.PeakRSS()
			t.Logf("%d drafts and %d sends of 25 MB at once in %v; peak memory %d MiB, after one draft %d MiB", each, each, took.Round(time.Millisecond), peak>>20, before>>20)
			if peak > 0 && peak-before > 2*each*largeAttachment*3/4 {
				t.Errorf("they cost %d MiB", (peak-before)>>20)
			}
			var list struct {
				Data []struct {
					ID          string
					Attachments []struct {
						ID   string
						Size int64
					}
				}
			}
			if err := m.s.Get(t.Context(), w.g+"/drafts?subject=draft", &list); err != nil || len(list.Data) != each || len(list.Data[0].Attachments) != 1 || list.Data[0].Attachments[0].Size != largeAttachment {
				t.Fatalf("%+v %v", list, err)
			}
			req, err := http.NewRequestWithContext(within(t, time.Minute), "GET", m.s.URL+w.g+"/attachments/"+list.Data[0].Attachments[0].ID+"/download?message_id="+list.Data[0].ID, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+m.s.Key)
			req.Header.Set("Range", "bytes=26214390-")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if end, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 206 || !bytes.Equal(end, make([]byte, 10)) {
				t.Errorf("%d %q %v", resp.StatusCode, end, err)
			}
			m.s.Kill()
			binary.Check(t, m.s)
		})
	}
}
