package realsrv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long a server may take until it answers.
const startTimeout = 30 * time.Second

// errMissing is wrapped by the error of a server that is not installed.
var errMissing = errors.New("not installed")

// missing ends the test because a server cannot be run here: a failure where CI=true, otherwise a skip of one line.
func missing(tb testing.TB, what string, err error) {
	tb.Helper()
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); ci {
		tb.Fatalf("%s is needed: %v", what, err)
	}
	tb.Skipf("skipped, %s: %v", what, err)
}

// supervise is the shell around a server: $1 signal, $2 directory, rest the command.
// It waits for a line on stdin; anything but "keep", and the end of the pipe too, also removes the directory.
const supervise = `sig=$1 dir=$2; shift 2
"$@" </dev/null &
pid=$!
echo $pid >"$dir/server.pid"
read -r word
trap '' "$sig"
kill -"$sig" 0
wait $pid
[ "$word" = keep ] || rm -rf "$dir"`

// proc is one supervised server process.
type proc struct {
	cmd  *exec.Cmd
	hold io.WriteCloser
}

// startProc runs argv under the supervising shell, output appended to logPath. The identity is that of cred, nil for our own.
func startProc(dir, signal, logPath string, cred *syscall.Credential, argv ...string) (*proc, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", supervise, "supervise", signal, dir}, argv...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = dir
	// A group of its own: an interrupt typed at a terminal reaches the tests, which then stop the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &proc{cmd: cmd, hold: hold}, nil
}

// stop ends the server and waits until it is gone. With keep its files stay for a later start.
func (p *proc) stop(keep bool) error {
	if p == nil || p.cmd == nil {
		return nil
	}
	if keep {
		if _, err := io.WriteString(p.hold, "keep\n"); err != nil {
			return err
		}
	}
	p.hold.Close()
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// await calls try until it succeeds, the log shows a fatal error, or startTimeout is over.
func await(what, logPath string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	pause := 5 * time.Millisecond
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		log, _ := os.ReadFile(logPath)
		if fatal(log) {
			return fmt.Errorf("%s did not start: %s", what, tail(log))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer within %v: %w; log: %s", what, startTimeout, err, tail(log))
		case <-time.After(pause):
			pause = min(2*pause, 200*time.Millisecond)
		}
	}
}

// fatal tells whether a server has given up. PostgreSQL also calls its answer to an early client fatal.
func fatal(log []byte) bool {
	for line := range bytes.Lines(bytes.ToLower(log)) {
		if bytes.Contains(line, []byte("fatal")) && !bytes.Contains(line, []byte("is starting up")) {
			return true
		}
	}
	return false
}

func tail(log []byte) string {
	if len(log) > 4000 {
		log = log[len(log)-4000:]
	}
	return string(bytes.TrimSpace(log))
}

// FreePorts finds n ports that are free on loopback now. They lie below the range from which outgoing connections get
// theirs, so that only another server can take one before ours is up; the caller then tries again with others.
func FreePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := 15000 + rand.IntN(17000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		held = append(held, l)
		ports = append(ports, port)
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}

// FreeAddr returns a loopback address ("127.0.0.1:port") that nobody listens on now, for a server that the test starts itself.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	p, err := FreePorts(1)
	if err != nil {
		tb.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p[0]))
}

// openDir makes a temporary directory that processes of another user can enter.
func openDir(pattern string) (string, error) {
	base := os.TempDir()
	for dir := base; ; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm()&0o001 == 0 {
			base = "/tmp"
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	dir, err := os.MkdirTemp(base, pattern)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// lookup finds a user by the first name that exists.
func lookup(names ...string) (name string, uid, gid int, err error) {
	for _, n := range names {
		u, e := user.Lookup(n)
		if e != nil {
			err = e
			continue
		}
		uid, e1 := strconv.Atoi(u.Uid)
		gid, e2 := strconv.Atoi(u.Gid)
		return n, uid, gid, errors.Join(e1, e2)
	}
	return "", 0, 0, err
}

// lookupUID names a user by number.
func lookupUID(uid int) (string, error) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

// lookupGID names a group by number.
func lookupGID(gid int) (string, error) {
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		return "", err
	}
	return g.Name, nil
}

// program finds an executable in PATH or in one of the patterns, the last match of which is the newest version.
func program(name string, patterns ...string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(filepath.Join(pattern, name))
		if len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, errMissing)
}
