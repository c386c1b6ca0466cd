package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Copy is all that is stored of one copy at the server, for a comparison with it.
type Copy struct {
	UID          mail.UID
	Message      mail.MessageID
	Flags        mail.Flags
	Keywords     []string
	Size         int64     // RFC822.SIZE, as the server told it
	InternalDate time.Time // to the second
	Held         bool      // the bytes of the copy are those of Raw
	Raw          BlobRef   // of its message
	Trouble      string    // why the bytes could not be fetched
}

// Copies returns what is stored of a folder's generation, ascending by UID, without what has vanished.
func (m *Mailbox) Copies(ctx context.Context, folder mail.FolderID, v mail.UIDValidity) ([]Copy, error) {
	var list []Copy
	err := m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, `SELECT p.uid, m.public, p.flags, p.keywords, p.size, p.internaldate, p.held, m.raw_blob, m.size, p.trouble
			FROM placements p JOIN messages m ON {a:m}m.id = p.message_id
			WHERE {a:p}p.folder_id = (SELECT id FROM folders WHERE {a}public = ?) AND p.uidvalidity = ? AND p.base = 0 AND p.vanished_at IS NULL ORDER BY p.uid`,
			[]any{clean(string(folder)), int64(v)}, func(r *sql.Rows) error {
				var c Copy
				var public sql.RawBytes
				var keywords, trouble sql.NullString
				var date int64
				var raw sql.NullInt64
				if err := r.Scan(&c.UID, &public, &c.Flags, &keywords, &c.Size, &date, &c.Held, &raw, &c.Raw.Size, &trouble); err != nil {
					return err
				}
				c.Message = publicID(public).id()
				c.InternalDate, c.Raw.ID, c.Trouble = time.UnixMilli(date).UTC(), raw.Int64, trouble.String
				var err error
				c.Keywords, err = parseList[string](keywords)
				list = append(list, c)
				return err
			})
	})
	return list, err
}

// Looks are what a copy that has moved has in common with where it was.
type Looks struct{ Size, InternalDate int64 } // Unix seconds

// Vanished returns the looks of all copies that have vanished and were not swept so far.
func (m *Mailbox) Vanished(ctx context.Context) (map[Looks]bool, error) {
	out := map[Looks]bool{}
	err := m.db.read(ctx, func(t *tx) error {
		return each(ctx, t, "SELECT size, internaldate FROM placements WHERE {a}vanished_at IS NOT NULL AND base = 0", nil, func(r *sql.Rows) error {
			var l Looks
			err := r.Scan(&l.Size, &l.InternalDate)
			l.InternalDate = time.UnixMilli(l.InternalDate).Unix()
			out[l] = true
			return err
		})
	})
	return out, err
}
