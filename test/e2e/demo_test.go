package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

// curl runs a printed line as a user would.
func curl(t *testing.T, line string) []byte {
	t.Helper()
	out, err := exec.CommandContext(within(t, time.Minute), "sh", "-c", strings.Replace(line, "curl", "curl -sS", 1)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v %s", line, err, out)
	}
	return out
}

func TestDemoPrintsLinesThatWork(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	cmd := exec.CommandContext(within(t, 3*time.Minute), program, "demo", "--every=200ms")
	tmp := t.TempDir()
	cmd.Env = append(os.Environ(), "POSTHORN_LISTEN="+realsrv.FreeAddr(t), "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	var lines []string
	out := bufio.NewScanner(stdout)
	for out.Scan() && !strings.HasPrefix(out.Text(), "New mail") {
		if line := strings.TrimSpace(out.Text()); strings.HasPrefix(line, "curl ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 6 {
		t.Fatalf("printed %q", lines)
	}
	for _, line := range lines {
		await(t, "an answer with something in it", 30*time.Second, func() bool {
			var answer struct {
				Data json.RawMessage `json:"data"`
			}
			got := curl(t, line)
			if err := json.Unmarshal(got, &answer); err != nil {
				t.Fatalf("%s\nanswered %s", line, got)
			}
			return len(answer.Data) > 10
		})
	}
	// What was sent is there.
	await(t, "what was sent", 30*time.Second, func() bool {
		return strings.Contains(string(curl(t, strings.Replace(lines[1], "?limit=3", "?subject=Hello", 1))), `"subject":"Hello"`)
	})
	// Mail keeps coming: the newest message changes.
	first := string(curl(t, lines[1]))
	newest := regexp.MustCompile(`"id":"([^"]+)"`)
	if newest.FindStringSubmatch(first) == nil {
		t.Fatalf("no message in %s", first)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		now := newest.FindStringSubmatch(string(curl(t, lines[1])))
		if now != nil && now[1] != newest.FindStringSubmatch(first)[1] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no new mail within 30 seconds")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
