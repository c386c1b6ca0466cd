package sdk

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// suite is where a copy of the Nylas conformance client may lie: beside the repository, or where POSTHORN_CONFORMANCE says.
const suite = "../../../shared/nylas/conformance"

// unanswerable are checks of the conformance client that nothing can pass: scheduled_send_success waits for the webhook of a
// send that went out before the webhook was made, and no_replay_of_history rightly wants nothing told of what was before.
// test/e2e sees message.send_success arrive.
var unanswerable = []string{"webhooks.scheduled_send_success"}

// missing skips a test whose programs are not there; under CI=true that is a failure.
func missing(t *testing.T, what string, err error) {
	t.Helper()
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); ci {
		t.Fatalf("%s is needed: %v", what, err)
	}
	t.Skipf("skipped, %s: %v", what, err)
}

// bench is where the SDK runs, and what it is told of the servers.
type bench struct {
	dir string // with the SDK in node_modules
	env []string
}

func setup(t *testing.T) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program, err)
		}
	}
	b := &bench{dir: t.TempDir()}
	copyFiles(t, ".", b.dir, "package.json", "package-lock.json", "sdk.mjs")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = b.dir
	if out, err := npm.CombinedOutput(); err != nil {
		missing(t, "the SDK from npm", fmt.Errorf("%w: %s", err, out))
	}
	program, err := binary.Build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	const user = "sdk@example.test"
	d.AddUser(t, user)
	d.CreateFolder(t, user, "Sent") // most mailboxes have one from the start
	mx := startPost(t, d)
	s, err := binary.Start(t.Context(), binary.Options{Path: program, Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the log of posthorn:\n%s", s.LogTail())
		}
	})
	host, port, err := net.SplitHostPort(d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	b.env = append(os.Environ(), "BASE_URL="+s.URL, "API_KEY="+s.Key, "IMAP_HOST="+host, "IMAP_PORT="+port, "IMAP_USER="+user, "IMAP_PASSWORD="+d.Password,
		"SMTP_HOST=127.0.0.1", fmt.Sprintf("SMTP_PORT=%d", mx.Port), `EXTRA_SETTINGS={"imap_security":"none","smtp_security":"none"}`)
	return b
}

func copyFiles(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		raw, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var summary = regexp.MustCompile(`(?m)^(\d+) passed, \d+ failed$`)

// node runs a script, which prints a line "FAIL NAME: why" for each check that fails. Those that may are only told.
func (b *bench) node(t *testing.T, dir, script string, may []string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Dir, cmd.Env = dir, append(b.env, env...)
	out, err := cmd.CombinedOutput()
	text, failed := string(out), 0
	for line := range strings.Lines(text) {
		rest, bad := strings.CutPrefix(line, "FAIL ")
		name, _, _ := strings.Cut(rest, ":")
		group, _, _ := strings.Cut(name, ".")
		switch {
		case bad && (slices.Contains(may, name) || slices.Contains(may, group)):
			failed++
		case bad:
			failed++
			t.Error(strings.TrimSpace(line))
		case strings.HasPrefix(line, "skip "):
			t.Log(strings.TrimSpace(line))
		}
	}
	m := summary.FindString(text)
	if m == "" || err != nil && failed == 0 {
		t.Errorf("%v:\n%s", err, text[max(len(text)-4000, 0):])
	}
	t.Log(m)
}

// TestSDK drives every resource with the official SDK.
func TestSDK(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.node(t, b.dir, "sdk.mjs", nil)
}

// TestConformance runs the conformance client, which is not part of this repository, where it is found.
func TestConformance(t *testing.T) {
	t.Parallel()
	from := os.Getenv("POSTHORN_CONFORMANCE")
	if from == "" {
		from = suite
	}
	if _, err := os.Stat(filepath.Join(from, "conformance.mjs")); err != nil {
		t.Logf("the conformance client is not there: name its directory in POSTHORN_CONFORMANCE to run it (%v)", err)
		return
	}
	b := setup(t)
	dir := filepath.Join(b.dir, "conformance")
	if err := os.Mkdir(dir, 0o700); err != nil { // inside, so that it finds the SDK
		t.Fatal(err)
	}
	copyFiles(t, from, dir, "conformance.mjs", "lib.mjs", "package.json")
	b.node(t, dir, "conformance.mjs", unanswerable, "STABLE_IDS=1", "SCHEDULE_WAIT=1", "WEBHOOK_RETRY_WAIT=10")
}
