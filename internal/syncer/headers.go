package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// headerChunk is how many messages' headers are fetched and stored at once.
	headerChunk = 1000
	// headerBytes is how large these may be together, about. A thousand ordinary ones are a tenth of it.
	headerBytes = 16 << 20
)

// headers is what a server told of messages of a folder for lists, identity and threads, each once.
type headers struct {
	asked imap.UIDSet
	rows  []store.NewMessage
	at    map[mail.UID]int // where each is in rows
	weak  imap.UIDSet      // those that are known by all of their bytes only: their headers do not identify them, or they are drafts
	left  imap.UIDSet      // those that are there and that the server left out of its answers
	again bool             // they are asked for once more
	size  int              // bytes of headers that came
	rest  imap.UIDSet      // those that came when there were headerBytes, and are to be asked for anew
}

// missing are those that the server has not told.
func (h *headers) missing() (out imap.UIDSet) {
	for uid := range h.asked.All {
		if _, came := h.at[mail.UID(uid)]; !came && !h.rest.Contains(uid) {
			out.Add(uid)
		}
	}
	return out
}

// take notes one answer of the server.
func (a *account) take(h *headers, f mail.Folder, r *imap.Row) {
	uid := mail.UID(r.UID)
	if !h.asked.Contains(r.UID) || !r.HasFlags && !h.again {
		return
	}
	if i, twice := h.at[uid]; twice {
		if r.HasFlags { // the last word counts
			h.rows[i].Flags, h.rows[i].Keywords = mail.ParseFlags(r.Flags)
		}
		return
	}
	if h.size >= headerBytes {
		h.rest.Add(r.UID)
		return
	}
	h.size += len(r.Header)
	n := store.NewMessage{
		PlacementRef: store.PlacementRef{Folder: f.ID, UIDValidity: f.UIDValidity, UID: uid},
		ModSeq:       mail.ModSeq(r.ModSeq), InternalDate: r.InternalDate, Size: r.Size,
	}
	n.Flags, n.Keywords = mail.ParseFlags(r.Flags)
	n.Labels = a.labelsOf(r, f.ID)
	n.Threading.Native = r.NativeThread()
	n.Head, n.FP, n.Strong = a.readHeader(bytes.Clone(r.Header))
	n.Strong = n.Strong && r.HasHeader
	if n.Draft = n.Strong && n.Flags&mail.FlagDraft != 0; n.Draft {
		n.FP = mime.DraftFingerprint(n.Head.MessageID)
	}
	if !n.Strong || n.Draft { // a version of a draft becomes the message whole, or not yet
		h.weak.Add(r.UID)
	}
	n.Threading = a.key.ThreadKeys(n.Head, n.FP, n.Threading.Native)
	h.at[uid] = len(h.rows)
	h.rows = append(h.rows, n)
}

// headers asks for what lists, identity and threads need of messages of the open folder.
func (a *account) headers(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet) (*headers, error) {
	h := &headers{asked: uids, at: make(map[mail.UID]int, uids.Len())}
	o := imap.FetchOptions{
		Flags: true, InternalDate: true, Size: true, Header: mime.HeaderFieldsForSync(),
		ModSeq: s.Caps().Has("CONDSTORE"), Gmail: a.labels.read(f.ID), Thread: !a.threadless,
	}
	row := func(r *imap.Row) error { a.take(h, f, r); return nil }
	err := s.Fetch(ctx, uids, o, row)
	if e := (*imap.Error)(nil); errors.As(err, &e) && e.Status == "BAD" && s.Err() == nil && o.Thread {
		if o.Thread = false; s.Fetch(ctx, uids, o, row) == nil {
			a.log.Info("the server does not tell threads although it says so", "op", "list", "folder", f.ID, "err", err)
			a.threadless, err = true, nil
		}
	}
	h.again = true
	if ask := h.missing(); err == nil && !ask.Empty() {
		err = s.Fetch(ctx, ask, o, row)
	}
	if ask := h.missing(); err == nil && !ask.Empty() { // most likely they were removed meanwhile
		err = s.Fetch(ctx, ask, imap.FetchOptions{Flags: true}, func(r *imap.Row) error {
			if ask.Contains(r.UID) {
				h.left.Add(r.UID)
			}
			return nil
		})
	}
	return h, err
}

// storeChunk fetches what lists, identity and threads need of the given messages of the open folder, unless it was read ahead, and
// applies it together with b. Very large headers are fetched and applied in parts, the last of them with b. Messages that their
// headers do not identify are fetched whole first; with whole set, all new ones are. left are those that are there and that the server
// left out of its answers.
func (a *account) storeChunk(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, b store.Batch, whole bool) (left imap.UIDSet, err error) {
	uids, err = a.within(ctx, s, f, uids)
	if err != nil {
		return left, fmt.Errorf("ask when messages were received: %w", err)
	}
	if uids.Empty() {
		return left, a.apply(ctx, b)
	}
	for todo, size := slices.Collect(uids.All), uids.Len(); len(todo) > 0; {
		part := todo[:min(size, len(todo))]
		h, err := a.headersOf(ctx, s, f, imap.UIDs(part...))
		left.AddSet(h.left)
		if err != nil {
			return left, err
		}
		if !h.rest.Empty() {
			size = len(h.rows)
		}
		todo = append(slices.Collect(h.rest.All), todo[len(part):]...)
		now := b
		if len(todo) > 0 {
			now = store.Batch{Origin: b.Origin}
		}
		if err := a.storeRows(ctx, s, f, h, now, whole); err != nil {
			return left, err
		}
	}
	return left, nil
}

// storeRows applies headers together with b, with the bytes of those that need them.
func (a *account) storeRows(ctx context.Context, s *session, f mail.Folder, h *headers, b store.Batch, whole bool) error {
	want := h.weak
	if whole && !a.policy().HeadersOnly {
		var known []mail.MessageID
		for i := range h.rows {
			// One that we know has moved or was copied: its bytes are most likely here already.
			id := mail.MessageID(a.key.MessageID(h.rows[i].FP))
			if _, err := a.mbox.Message(ctx, id); mail.IsKind(err, mail.NotFound) {
				want.Add(uint32(h.rows[i].UID))
			} else if err != nil {
				return err
			} else {
				known = append(known, id)
			}
		}
		if err := a.movedHere(ctx, f, known); err != nil {
			return err
		}
	}
	if !want.Empty() {
		if err := a.addContents(ctx, s, f, want, h.rows, h.at); err != nil {
			return err
		}
	}
	for i := range h.rows {
		if h.rows[i].InternalDate.IsZero() {
			h.rows[i].InternalDate = date(h.rows[i].Head, a.e.o.Now())
		}
	}
	if len(b.Cursors) > 0 { // the last of what was wanted
		a.readAhead(ctx, s, f)
	}
	b.New = h.rows
	if err := a.apply(ctx, b); err != nil {
		return fmt.Errorf("store %d headers: %w", len(h.rows), err)
	}
	return nil
}

// date tells when a message was received of which the server does not: another synchronisation should come to the same.
func date(m *mime.Message, now time.Time) time.Time {
	switch received := m.ReceivedBy(now); {
	case !m.Date.IsZero():
		return m.Date
	case !received.IsZero():
		return received
	}
	return now.Truncate(time.Second)
}
