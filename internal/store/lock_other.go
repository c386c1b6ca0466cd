//go:build !unix

package store

import (
	"os"

	"github.com/posthorn/posthorn/internal/mail"
)

// lockFile takes the lock that one server has on its data directory: here a file that exists while the server runs and
// cannot be removed while it is open. Conflict: another server has it.
func lockFile(path string) (unlock func() error, err error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, mail.E(mail.Conflict, "open the store", "another Posthorn server has this data directory open: "+path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, mail.E(mail.Conflict, "open the store", "another Posthorn server has this data directory open: "+path, err)
	}
	return f.Close, nil
}
