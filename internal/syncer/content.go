package syncer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// inMemory is the size up to which a body is collected in memory; larger ones stream into the store.
	inMemory = 1 << 20
	// batchBytes and batchMessages bound what a batch of bodies holds in memory.
	batchBytes    = 4 << 20
	batchMessages = 200
)

// rawBody receives the bytes of one message from the wire.
type rawBody struct {
	buf  bytes.Buffer
	blob *store.BlobWriter // of a large message
	sum  hash.Hash         // of a large message
	n    int64
}

func (r *rawBody) Write(p []byte) (int, error) {
	r.n += int64(len(p))
	if r.blob == nil {
		return r.buf.Write(p)
	}
	r.sum.Write(p)
	return r.blob.Write(p)
}

// fetched is one message whose bytes have arrived, not yet understood.
type fetched struct {
	ref store.PlacementRef
	raw *rawBody
}

// ownError is an error of ours while a message was fetched: of the store, say.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// isOwn tells whether an error is one of ours.
func isOwn(err error) bool {
	var own *ownError
	return errors.As(err, &own)
}

// fetchBodies fetches the given messages of the open folder and calls give with batches, in wire order, on this
// goroutine. give owns the batch. An error of the session is returned after what arrived whole was given.
func (a *account) fetchBodies(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, give func([]fetched) error) error {
	var batch []fetched
	var size int64
	var empty imap.UIDSet // came without an octet
	var open *rawBody     // the literal being received
	var own error         // of storing: no fault of the server's or of a message
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		b := batch
		batch, size = nil, 0
		if err := give(b); err != nil && own == nil {
			own = err
		}
		return own
	}
	err := s.Fetch(ctx, uids, imap.FetchOptions{Body: true, Sink: func(l imap.Literal) (io.Writer, error) {
		open.abort()
		open = &rawBody{}
		if l.Size > inMemory {
			w, err := a.mbox.NewBlob(ctx, store.BlobRaw)
			if err != nil {
				own = err
				return nil, err
			}
			open.blob, open.sum = w, sha256.New()
		} else {
			open.buf.Grow(int(l.Size))
		}
		return open, nil
	}}, func(r *imap.Row) error {
		s.began = a.e.o.Now() // the next one begins
		body, _ := r.Body.W.(*rawBody)
		if !r.Body.Has || body == nil || r.UID == 0 || !uids.Contains(r.UID) {
			return nil // not asked for, or without the bytes: missing, never empty
		}
		if body == open {
			open = nil
		}
		if body.n == 0 {
			empty.Add(r.UID)
			return nil
		}
		batch = append(batch, fetched{ref: store.PlacementRef{Folder: f.ID, UIDValidity: f.UIDValidity, UID: mail.UID(r.UID)}, raw: body})
		size += int64(body.buf.Len())
		if size >= batchBytes || len(batch) >= batchMessages {
			return flush()
		}
		return nil
	})
	open.abort()
	if err == nil && !empty.Empty() {
		if empty, err = reallyEmpty(ctx, s, empty); err == nil {
			for uid := range empty.All {
				batch = append(batch, fetched{ref: store.PlacementRef{Folder: f.ID, UIDValidity: f.UIDValidity, UID: mail.UID(uid)}, raw: &rawBody{}})
			}
		}
	}
	if own == nil {
		_ = flush() // own tells
	}
	if own != nil {
		for _, f := range batch {
			f.raw.abort()
		}
		return &ownError{own}
	}
	return err
}

// reallyEmpty returns those messages, of which the server has sent no octet, that have none. Of others servers send nothing, too, while
// they cannot read them.
func reallyEmpty(ctx context.Context, s *session, uids imap.UIDSet) (out imap.UIDSet, err error) {
	err = s.Fetch(ctx, uids, imap.FetchOptions{Size: true}, func(r *imap.Row) error {
		if r.HasSize && r.Size == 0 && uids.Contains(r.UID) {
			out.Add(r.UID)
		}
		return nil
	})
	return out, err
}

func (r *rawBody) abort() {
	if r != nil && r.blob != nil {
		r.blob.Abort()
	}
}

// understand parses a batch, writes its blobs, and returns the bodies ready to be applied.
func (a *account) understand(ctx context.Context, batch []fetched) ([]store.Body, error) {
	out := make([]store.Body, len(batch))
	var blobs []store.BlobData
	var rawAt, displayAt []int // index into blobs, -1: none
	for i, f := range batch {
		out[i].PlacementRef = f.ref
		c := &out[i].Content
		var body string
		var err error
		if f.raw.blob == nil {
			raw := f.raw.buf.Bytes()
			*c, body, err = a.readMessage(bytes.NewReader(raw))
			c.Digest = sha256.Sum256(raw)
			rawAt = append(rawAt, len(blobs))
			blobs = append(blobs, store.BlobData{Kind: store.BlobRaw, Data: raw})
		} else {
			var ref store.BlobRef
			if ref, err = f.raw.blob.Commit(); err == nil {
				*c, body, err = a.readBlob(ctx, ref)
			}
			c.Raw = ref
			f.raw.sum.Sum(c.Digest[:0])
			rawAt = append(rawAt, -1)
		}
		if err != nil {
			return nil, fmt.Errorf("read a message: %w", err)
		}
		c.Size = f.raw.n
		displayAt = append(displayAt, -1)
		if body != "" {
			displayAt[i] = len(blobs)
			blobs = append(blobs, store.BlobData{Kind: store.BlobDisplay, Data: []byte(body)})
		}
	}
	a.e.point("before blobs")
	refs, err := a.mbox.PutBlobs(ctx, blobs)
	a.e.point("after blobs")
	if err != nil {
		return nil, fmt.Errorf("store the bytes: %w", err)
	}
	for i := range out {
		if at := rawAt[i]; at >= 0 {
			out[i].Raw = refs[at]
		}
		if at := displayAt[i]; at >= 0 {
			out[i].Display = refs[at]
		}
	}
	return out, nil
}

func (a *account) readBlob(ctx context.Context, ref store.BlobRef) (store.Content, string, error) {
	r, err := a.mbox.OpenBlob(ctx, ref.ID)
	if err != nil {
		return store.Content{}, "", err
	}
	defer r.Close()
	return a.readMessage(r)
}

// readMessage understands a message: what is stored of it, but its bytes, and what is shown of its body. One at which the
// parser panics is kept with nothing understood of it.
func (a *account) readMessage(r io.Reader) (c store.Content, body string, err error) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked("read a message", v)
			c, body, err = store.Content{Partial: true}, "", nil
		}
	}()
	m, err := a.e.parse(r, mime.Options{})
	if err != nil {
		return c, "", err
	}
	body, c.DisplayHTML = mime.DisplayBody(m)
	c.Snippet = m.Snippet()
	c.Partial = m.Partial
	if d := m.Delivery; d != nil && d.Failed() && d.Returned != nil {
		c.Bounced = d.Returned.MessageID
	}
	c.Attachments, c.Listed = Parts(m.Attachments)
	m.Text, m.HTML, m.TextAll, m.HTMLAll = "", "", "", ""
	c.Head = m
	return c, body, nil
}

// readHeader understands the header of a message; one at which the parser panics counts as empty.
func (a *account) readHeader(raw []byte) (head *mime.Message, fp [16]byte, strong bool) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked("read a header", v)
			head = &mime.Message{}
			fp, strong = mime.Fingerprint(head)
		}
	}()
	head = mime.ParseHeader(raw)
	fp, strong = mime.Fingerprint(head)
	return head, fp, strong
}

// Parts maps what the parser says of attachments; listed tells whether one of them is not inline.
func Parts(in []mime.Attachment) (out []mail.Part, listed bool) {
	for _, p := range in {
		listed = listed || !p.Inline
		out = append(out, mail.Part{
			ID: p.ID, ContentType: p.ContentType, Charset: p.Charset, Filename: p.Name, ContentID: p.ContentID,
			Disposition: p.Disposition, Size: p.Size, Inline: p.Inline,
		})
	}
	return out, listed
}

// addContents fetches the bytes of some rows. A message without a usable Message-ID is identified by all of its bytes;
// if the server does not give them, its place stands for them until they can be had.
func (a *account) addContents(ctx context.Context, s *session, f mail.Folder, want imap.UIDSet, rows []store.NewMessage, at map[mail.UID]int) error {
	err := a.fetchBodies(ctx, s, f, want, func(batch []fetched) error {
		bodies, err := a.understand(ctx, batch)
		if err != nil {
			return err
		}
		for i := range bodies {
			n := &rows[at[bodies[i].UID]]
			if head := bodies[i].Head; n.Strong && head != nil && n.Head.MessageID != "" && head.MessageID != n.Head.MessageID {
				continue // another message in its place, it seems; hold asks again and finds out
			}
			n.Content = &bodies[i].Content
			if n.Strong {
				continue
			}
			if bodies[i].Head != nil {
				n.Head = bodies[i].Head
			}
			n.FP, n.Strong = mime.Fingerprint(n.Head) // a header that was left out may identify the message after all
			fp := n.FP
			if !n.Strong {
				fp = mime.WithDigest(n.FP, n.Content.Digest)
			}
			n.Threading = a.key.ThreadKeys(n.Head, fp, n.Threading.Native)
		}
		return nil
	})
	if err != nil && (isOwn(err) || s.Err() != nil || imap.ClassOf(err) == imap.Unclassified) {
		return err
	}
	for uid := range want.All {
		i, listed := at[mail.UID(uid)]
		if !listed || rows[i].Content != nil || rows[i].Strong {
			continue
		}
		n := &rows[i]
		n.FP = mime.WithDigest(n.FP, sha256.Sum256(fmt.Appendf(nil, "place %s %d %d", n.Folder, n.UIDValidity, n.UID)))
		n.Strong = true
		n.Threading = a.key.ThreadKeys(n.Head, n.FP, n.Threading.Native)
	}
	return nil
}
