package syncer

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// flipsToFlap is how often within flapTime UIDVALIDITY must be another for it to mean nothing any more.
	flipsToFlap = 3
	flapTime    = time.Hour
)

// flaps tells whether the UIDVALIDITY of a folder changes so often that it means nothing: Amazon WorkMail shows another one in
// every session. What the messages are then decides whether their UIDs mean what they did.
func (a *account) flaps(f mail.FolderID) bool {
	a.ladder.mu.Lock()
	defer a.ladder.mu.Unlock()
	return a.flapping(f)
}

func (a *account) flapping(f mail.FolderID) bool {
	n := 0
	for _, at := range a.ladder.kept.Flips[f] {
		if a.e.o.Now().Sub(at) < flapTime {
			n++
		}
	}
	return n >= flipsToFlap
}

// flip notes that the UIDVALIDITY of a folder is another, and returns since when it has been.
func (a *account) flip(f mail.FolderID) time.Time {
	a.ladder.mu.Lock()
	defer a.ladder.mu.Unlock()
	flips := append(a.ladder.kept.Flips[f], a.e.o.Now())
	a.ladder.kept.Flips[f] = flips[max(0, len(flips)-flipsToFlap):]
	return a.ladder.kept.Flips[f][0]
}

// flapsAnywhere tells whether any folder flaps.
func (a *account) flapsAnywhere() bool {
	a.ladder.mu.Lock()
	defer a.ladder.mu.Unlock()
	for f := range a.ladder.kept.Flips {
		if a.flapping(f) {
			return true
		}
	}
	return false
}

// generation makes sure that the stored rows of a folder that has just been opened are of the generation that its UIDs are of,
// and returns the folder as it is then. Where they are not, all of its messages are out of view until
// they are found again, or the complete look that follows shows that they are gone.
func (a *account) generation(ctx context.Context, s *session, f mail.Folder, sel *imap.Selected) (mail.Folder, error) {
	v := mail.UIDValidity(sel.UIDValidity)
	if f.UIDValidity == 0 {
		return a.renumbered(ctx, f, max(v, 1)) // 0 means unknown to us
	}
	if v != 0 && v != f.UIDValidity && s.accepted[f.ID] != uint32(v) {
		before := a.flaps(f.ID)
		since := a.flip(f.ID)
		if !a.flaps(f.ID) {
			return a.renumbered(ctx, f, v)
		}
		if !before {
			why := fmt.Sprintf("The server numbers the messages of %q anew again and again (UIDVALIDITY). From now on they are told apart by what they are; what came and went in that folder meanwhile is not told.", f.Name)
			if err := a.gap(ctx, since, a.e.o.Now(), why); err != nil {
				return f, err
			}
		}
	}
	same, err := a.sameGeneration(ctx, s, f, sel)
	if err != nil || same {
		return f, err
	}
	if v != 0 && v != f.UIDValidity {
		return a.renumbered(ctx, f, v)
	}
	a.log.Warn("the folder is another one than it was, under the same UIDVALIDITY", "op", "generation", "folder", f.ID)
	return a.renewed(ctx, f)
}

// numberedAnew tells whether the open folder has another UIDVALIDITY than the stored one, which is to be believed.
func (a *account) numberedAnew(s *session, f mail.Folder, sel *imap.Selected) bool {
	v := mail.UIDValidity(sel.UIDValidity)
	return v != 0 && f.UIDValidity != 0 && v != f.UIDValidity && s.accepted[f.ID] != uint32(v) && !a.flaps(f.ID)
}

// renumbered begins a new generation of a folder.
func (a *account) renumbered(ctx context.Context, f mail.Folder, v mail.UIDValidity) (mail.Folder, error) {
	f.UIDValidity = v
	if err := a.apply(ctx, store.Batch{Origin: mail.OriginLive, Folders: []mail.Folder{f}, OutOfView: []mail.FolderID{f.ID}}); err != nil {
		return f, fmt.Errorf("store the new UIDVALIDITY: %w", err)
	}
	return a.mbox.Folder(ctx, f.ID)
}

// renewed is renumbered where UIDVALIDITY stays what it is.
func (a *account) renewed(ctx context.Context, f mail.Folder) (mail.Folder, error) {
	delete(a.hidden, f.ID)
	if v, limited := a.viewOf(f); limited {
		v.Below = 0
		a.ladder.kept.Views[f.ID] = v
	}
	if a.lister != nil {
		a.lister.selected = "" // what it has open may be the old one, and nothing would tell
	}
	if err := a.apply(ctx, store.Batch{Origin: mail.OriginLive, Renewed: []mail.FolderID{f.ID}, OutOfView: []mail.FolderID{f.ID}}); err != nil {
		return f, fmt.Errorf("store that the folder is another: %w", err)
	}
	return a.mbox.Folder(ctx, f.ID)
}

// sameGeneration tells whether the UIDs of the open folder are those of the stored rows. UIDVALIDITY says so, unless it is
// missing, flaps, or something else speaks against it; then it is the messages that tell.
func (a *account) sameGeneration(ctx context.Context, s *session, f mail.Folder, sel *imap.Selected) (bool, error) {
	v := mail.UIDValidity(sel.UIDValidity)
	switch {
	case v == f.UIDValidity:
		newer := sel.UIDNext > 0 && mail.UID(sel.UIDNext) < f.UIDNext
		fresher := sel.HighestModSeq > 0 && mail.ModSeq(sel.HighestModSeq) < f.HighestModSeq
		blind := sel.HighestModSeq == 0 && sel.MailboxID == ""
		if !newer && !fresher && !blind || f.Total == 0 {
			return true, nil
		}
		known, err := a.mbox.NewestPlacements(ctx, f.ID, f.UIDValidity, sample)
		if err != nil {
			return false, err
		}
		var uids imap.UIDSet
		for _, p := range known {
			uids.Add(uint32(p.UID))
		}
		same, other, err := a.recognised(ctx, s, f, uids, sel)
		if err == nil && same == 0 && (newer || other > 0) {
			same, other, err = a.recognised(ctx, s, f, imap.Range(1, imap.Star), sel)
		}
		return other == 0 && (same > 0 || !newer), err
	case v != 0 && !a.flaps(f.ID):
		return false, nil
	}
	if accepted, ok := s.accepted[f.ID]; ok && accepted == uint32(v) {
		return true, nil
	}
	same, err := a.means(ctx, s, f, sel)
	if err != nil || !same {
		return false, err
	}
	if s.accepted == nil {
		s.accepted = map[mail.FolderID]uint32{}
	}
	s.accepted[f.ID] = uint32(v)
	return true, nil
}

// means tells, by the messages alone, whether the UIDs of the open folder mean what they do in the stored rows.
func (a *account) means(ctx context.Context, s *session, f mail.Folder, sel *imap.Selected) (bool, error) {
	same, other, err := a.recognised(ctx, s, f, imap.Range(1, imap.Star), sel)
	return err == nil && other == 0 && (same > 0 || f.Total == 0 || sel.Exists == 0), err
}

const (
	// sample is how many known messages are asked for to tell whether a folder is the one it was.
	sample = 3
	// doubtful is how many messages with another size or date than stored are asked for their headers before it is believed
	// that they are others.
	doubtful = 20
)

// recognised compares the dates and sizes of messages of the open folder with what is stored under their UIDs, and the
// identity of those that differ: how many of the known ones are the same, and how many are others. It stops at doubtful.
func (a *account) recognised(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, sel *imap.Selected) (same, other int, err error) {
	copies, err := a.mbox.Copies(ctx, f.ID, f.UIDValidity)
	if err != nil || len(copies) == 0 || uids.Empty() || sel.HasExists && sel.Exists == 0 {
		return 0, 0, err
	}
	suspects := map[mail.UID]mail.MessageID{}
	err = s.Fetch(ctx, uids, imap.FetchOptions{InternalDate: true, Size: true}, func(r *imap.Row) error {
		c, known := copyOf(copies, mail.UID(r.UID))
		switch {
		case !known:
		case r.HasInternalDate && r.HasSize && r.Size == c.Size && r.InternalDate.Unix() == c.InternalDate.Unix():
			same++
		default:
			suspects[c.UID] = c.Message
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("compare dates and sizes: %w", err)
	}
	var ask imap.UIDSet
	for uid := range suspects {
		if ask.Len() < doubtful {
			ask.Add(uint32(uid))
		}
	}
	if ask.Empty() {
		return same, 0, nil
	}
	err = s.Fetch(ctx, ask, imap.FetchOptions{Header: mime.HeaderFieldsForSync()}, func(r *imap.Row) error {
		id, asked := suspects[mail.UID(r.UID)]
		if !asked || !r.HasHeader {
			return nil
		}
		delete(suspects, mail.UID(r.UID))
		head := mime.ParseHeader(bytes.Clone(r.Header))
		fp, strong := mime.Fingerprint(head)
		switch {
		case !strong: // its header does not tell
		case mail.MessageID(a.key.MessageID(fp)) == id, mail.MessageID(a.key.MessageID(mime.DraftFingerprint(head.MessageID))) == id:
			same++
		default: // of several with one header, each is identified by its bytes
			if m, err := a.mbox.Message(ctx, id); err == nil && m.HeaderMessageID == head.MessageID {
				same++
			} else {
				other++
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("compare identities: %w", err)
	}
	return same, other, nil
}
