package store

import (
	"database/sql"
	"errors"
	"io"

	"github.com/posthorn/posthorn/internal/mail"
)

// --- sends

func (c *checker) checkSends() error {
	return c.each("SELECT "+sendColumns+" FROM outbox WHERE {a}id > 0", func(r *sql.Rows) error {
		s, err := scanSend(r.Scan)
		if err != nil {
			return err
		}
		if s.State.Ended() != (s.Blob == 0) || s.State.Ended() != !s.EndedAt.IsZero() {
			return c.bad("send %s is %s, its blob is %d and its end %v", s.ID, s.State, s.Blob, s.EndedAt)
		}
		if s.Blob != 0 {
			c.blobs = append(c.blobs, namedBlob{s.Blob, s.Size, "send " + s.ID})
		}
		if c.replayed == nil {
			return nil
		}
		told, known := c.replayed.sends[s.ID]
		is := s.State
		if is == mail.SendFiled || is == mail.SendUnfiled {
			is = mail.SendSent // the copy is told as a message
		}
		if is == mail.SendScheduled || is == mail.SendSending { // on the way to something that will be told
			is = mail.SendQueued
		}
		if told == mail.SendScheduled {
			told = mail.SendQueued
		}
		if !known || told != is {
			return c.bad("send %s is %s, the log says %q", s.ID, s.State, told)
		}
		return nil
	})
}

func (c *checker) checkOperations() error {
	return c.each("SELECT "+operationColumns+" FROM operations WHERE {a}raw_blob IS NOT NULL", func(r *sql.Rows) error {
		op, err := scanOperation(r.Scan)
		if err != nil {
			return err
		}
		if op.State != mail.OpPending {
			return c.bad("operation %s is %s and still has blob %d", op.ID, op.State, op.Blob)
		}
		c.blobs = append(c.blobs, namedBlob{op.Blob, op.Size, "operation " + op.ID})
		return nil
	})
}

// --- blobs

// checkBlobs looks whether the blobs that messages name exist, and reads some of them.
func (c *checker) checkBlobs() error {
	sizes := map[int64]int64{}
	err := c.m.db.blobs.read(c.ctx, func(t *tx) error {
		return each(c.ctx, t, "SELECT id, size FROM blobs WHERE {a}size >= 0", nil, func(r *sql.Rows) error {
			var id, size int64
			err := r.Scan(&id, &size)
			sizes[id] = size
			return err
		})
	})
	if err != nil {
		return err
	}
	step := max(1, len(c.blobs)/checkedBlobs)
	for i, b := range c.blobs {
		size, ok := sizes[b.id]
		if !ok {
			err = c.bad("%s: its blob %d does not exist", b.of, b.id)
		} else if b.size >= 0 && size != b.size {
			err = c.bad("%s: its blob %d has %d bytes, not %d", b.of, b.id, size, b.size)
		} else if i%step == 0 {
			err = c.readBlob(b, size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) readBlob(b namedBlob, size int64) error {
	r, err := c.m.OpenBlob(c.ctx, b.id)
	var n int64
	if err == nil {
		n, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	switch {
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case err != nil:
		return c.bad("%s: its blob %d cannot be read: %v", b.of, b.id, err)
	case n != size:
		return c.bad("%s: its blob %d ends after %d of %d bytes", b.of, b.id, n, size)
	}
	return nil
}
