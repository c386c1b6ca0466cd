package binary

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"testing"
	"time"
)

// Main builds posthorn, puts its path into program, and runs the tests. It returns the exit code.
func Main(m *testing.M, program *string) int {
	dir, err := os.MkdirTemp("", "posthorn-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		*program, err = Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Serve starts a server that ends with the test. If the test fails, the server's log is shown.
func Serve(tb testing.TB, o Options) *Server {
	tb.Helper()
	again := o.Log != "" // a server that was killed: its log goes on
	s, err := Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Kill()
		if tb.Failed() && !again {
			tb.Logf("the log of posthorn:\n%s", s.LogTail())
		}
	})
	return s
}

// Check runs `posthorn check`, which must find nothing.
func Check(tb testing.TB, s *Server) {
	tb.Helper()
	out, err := s.Check(within(tb, 2*time.Minute))
	if err != nil {
		tb.Errorf("posthorn check: %v\n%s", err, out)
	}
}

// within bounds a step; the bound is generous, for slow machines.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// raw decodes raw_mime.
func raw(t testing.TB, m Message) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(m.RawMIME)
	if err != nil {
		t.Fatalf("raw_mime of %s: %v", m.ID, err)
	}
	return b
}
