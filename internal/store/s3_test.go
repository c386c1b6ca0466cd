package store

import (
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// startS3 starts an object store in this process and returns the blob URL of an empty bucket in it.
func startS3(t testing.TB) string {
	backend := s3mem.New()
	if err := backend.CreateBucket("bodies"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(srv.Close)
	return "s3://bodies/posthorn?endpoint=" + srv.URL + "&access_key=test&secret_key=test"
}
