package store

import (
	"database/sql"
	"errors"
	"fmt"
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

// checkBlobs looks whether the blobs that messages name exist, and reads some of them. The mailbox may be in use: what was
// deleted since it was read has taken its blobs along, so whatever is wrong with a blob counts only if it is still named.
func (c *checker) checkBlobs() error {
	wrong, err := c.wrongBlobs()
	if err != nil || len(wrong) == 0 {
		return err
	}
	return c.m.db.read(c.ctx, func(t *tx) error { return c.stillNamed(t, wrong) })
}

// wrongBlobs returns the blobs that are missing or damaged, each with what is wrong with it.
func (c *checker) wrongBlobs() (map[int64]string, error) {
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
		return nil, err
	}
	wrong := map[int64]string{}
	step := max(1, len(c.blobs)/checkedBlobs)
	for i, b := range c.blobs {
		size, ok := sizes[b.id]
		if !ok {
			wrong[b.id] = fmt.Sprintf("%s: its blob %d does not exist", b.of, b.id)
		} else if b.size >= 0 && size != b.size {
			wrong[b.id] = fmt.Sprintf("%s: its blob %d has %d bytes, not %d", b.of, b.id, size, b.size)
		} else if i%step == 0 {
			n, err := c.readBlob(b.id)
			if c.ctx.Err() != nil {
				return nil, c.ctx.Err()
			}
			if err != nil {
				wrong[b.id] = fmt.Sprintf("%s: its blob %d cannot be read: %v", b.of, b.id, err)
			} else if n != size {
				wrong[b.id] = fmt.Sprintf("%s: its blob %d ends after %d of %d bytes", b.of, b.id, n, size)
			}
		}
	}
	return wrong, nil
}

// stillNamed reports those of the wrong blobs that are still named.
func (c *checker) stillNamed(t *tx, wrong map[int64]string) error {
	return namedBlobs(c.ctx, t, func(id int64) error {
		if what, ok := wrong[id]; ok {
			delete(wrong, id)
			return c.bad("%s", what)
		}
		return nil
	})
}

// readBlob reads a blob to its end and returns its length.
func (c *checker) readBlob(id int64) (int64, error) {
	r, err := c.m.OpenBlob(c.ctx, id)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, r)
	return n, errors.Join(err, r.Close())
}
