package realsrv

import (
	"os/exec"
	"testing"
)

// Chromium returns the path of a browser that can run without a screen.
func Chromium(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(tb, "Chromium", errMissing)
	return ""
}
