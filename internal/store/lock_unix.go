//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"

	"github.com/posthorn/posthorn/internal/mail"
)

// lockFile takes the lock that one server has on its data directory. The system frees it when the process ends, however
// it ends. Conflict: another server has it.
func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, mail.E(mail.Unavailable, "open the store", "the lock file cannot be opened", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, mail.E(mail.Conflict, "open the store", "another Posthorn server has this data directory open: "+path, nil)
		}
		return nil, mail.E(mail.Unavailable, "open the store", "the data directory cannot be locked", err)
	}
	return f.Close, nil
}
