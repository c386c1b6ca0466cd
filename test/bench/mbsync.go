package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// mbsync copies the mailbox into a Maildir with mbsync (package isync), each file synced to the disk. It returns
// exec.ErrNotFound where that is not installed.
func mbsync(ctx context.Context, addr string, want int) (took, cpu time.Duration, err error) {
	if _, err := exec.LookPath("mbsync"); err != nil {
		return 0, 0, exec.ErrNotFound
	}
	dir, err := os.MkdirTemp("", "mbsync-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, 0, err
	}
	config := filepath.Join(dir, "config")
	text := fmt.Sprintf(`FSync yes

IMAPAccount far
Host %s
Port %s
User %s
Pass %s
SSLType None
AuthMechs LOGIN

IMAPStore far
Account far

MaildirStore near
Path %s/mail/
Inbox %[5]s/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
`, host, port, user, password, dir)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "mail"), 0o700), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, "mbsync", "-c", config, "-q", "all")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("mbsync: %w: %s", err, out)
	}
	took = time.Since(start)
	n := 0
	err = filepath.WalkDir(filepath.Join(dir, "mail"), func(path string, d fs.DirEntry, err error) error {
		if parent := filepath.Base(filepath.Dir(path)); err == nil && d.Type().IsRegular() && (parent == "cur" || parent == "new") {
			n++
		}
		return err
	})
	if err == nil && n != want {
		err = fmt.Errorf("mbsync copied %d of %d messages", n, want)
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}
