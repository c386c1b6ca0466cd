package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/ncruces/go-sqlite3"

	"github.com/posthorn/posthorn/internal/mail"
)

type pgCommandTag = pgconn.CommandTag

// storeError turns what the databases say into what a caller can do about it. sql.ErrNoRows, context errors and what is
// a mail.Error already stay as they are.
func storeError(err error) error {
	var me *mail.Error
	switch {
	case err == nil, errors.As(err, &me), errors.Is(err, sql.ErrNoRows), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, sqlite3.FULL), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return mail.E(mail.Unavailable, "store", "the disk is full: make room, nothing was lost", err)
	case errors.Is(err, sqlite3.INTERRUPT):
		return errors.Join(context.Canceled, err)
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		return mail.E(mail.Unavailable, "store", "the database is busy", err)
	case errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
		return mail.E(mail.Internal, "store", "a database file is damaged, or its key does not fit", err)
	case errors.Is(err, sqlite3.IOERR_WRITE), errors.Is(err, sqlite3.IOERR_FSYNC): // the driver forgets the system's own words
		return mail.E(mail.Unavailable, "store", "the data directory cannot be written, nothing was lost: is the disk full?", err)
	case errors.Is(err, sqlite3.IOERR), errors.Is(err, sqlite3.CANTOPEN), errors.Is(err, sqlite3.READONLY):
		return mail.E(mail.Unavailable, "store", "the data directory cannot be read or written", err)
	}
	if fe := (*fs.PathError)(nil); errors.As(err, &fe) {
		return mail.E(mail.Unavailable, "store", "the data directory cannot be read or written", err)
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch {
		case pe.Code == "53100": // disk_full
			return mail.E(mail.Unavailable, "store", "the database server's disk is full: make room, nothing was lost", err)
		case pe.Code == "55P03": // lock_not_available
			return mail.E(mail.Unavailable, "store", "the database is locked", err)
		case len(pe.Code) == 5 && (pe.Code[:2] == "53" || pe.Code[:2] == "57" || pe.Code[:2] == "08" || pe.Code[:2] == "40"):
			return mail.E(mail.Unavailable, "store", "the database server cannot do this now", err)
		}
		return mail.E(mail.Internal, "store", "", err)
	}
	if errors.Is(err, errNoConnection) {
		return mail.E(mail.Unavailable, "store", "the database is busy", err)
	}
	var oe *net.OpError
	if errors.Is(err, net.ErrClosed) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &oe) {
		return mail.E(mail.Unavailable, "store", "the store does not answer", err)
	}
	var ce *pgconn.ConnectError
	if errors.As(err, &ce) || pgconn.SafeToRetry(err) {
		return mail.E(mail.Unavailable, "store", "the database server cannot be reached", err)
	}
	return err
}

// isDamaged tells whether err says that a database file is not one.
func isDamaged(err error) bool {
	return errors.Is(err, sqlite3.CORRUPT) || errors.Is(err, sqlite3.NOTADB)
}

// isUnique tells whether err says that a row like this exists already.
func isUnique(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code == "23505" // unique_violation
	}
	return errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) || errors.Is(err, sqlite3.CONSTRAINT_PRIMARYKEY)
}
