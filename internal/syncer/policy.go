package syncer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// policy is what of the mailbox is synchronised; the zero value is all of it.
func (a *account) policy() mail.SyncPolicy {
	if p := a.acct.Settings.Sync; p != nil {
		return *p
	}
	return mail.SyncPolicy{}
}

// widened returns the policy of when the mailbox was last as it should be, if it was another: what comes now for that reason lay at
// the server before. nil: it was the same, or left nothing out.
func (a *account) widened() *mail.SyncPolicy {
	was := a.ladder.kept.Policy
	if was == nil {
		return nil
	}
	p := a.policy()
	if was.Days == p.Days && was.HeadersOnly == p.HeadersOnly && slices.Equal(was.Folders, p.Folders) && slices.Equal(was.Without, p.Without) {
		return nil
	}
	return was
}

// follows notes that the mailbox is as the policy wants it, or begins to become so.
func (a *account) follows() {
	a.ladder.kept.Policy = a.acct.Settings.Sync
}

// historyBelow returns the UID below which what is new in a folder is so only by a wider policy; 0: nothing.
func (a *account) historyBelow(f mail.Folder) mail.UID {
	switch was := a.widened(); {
	case was == nil:
		return 0
	case !was.Wants(f):
		return math.MaxUint32
	}
	return f.UIDNext
}

// leftOut are messages of a folder, of one generation, that were received before the first day of the policy.
type leftOut struct {
	uidValidity mail.UIDValidity
	first       time.Time   // zero: nothing is left out
	dated       imap.UIDSet // those whose date the server has told
	old         imap.UIDSet // those of them that are left out
	// late are those of old that came when all headers were here, as they look: what moved here may vanish elsewhere only later.
	late map[uint32]store.Looks
}

// mostLate bounds leftOut.late.
const mostLate = 5000

// left returns what is known to be left out of a folder as it is stored now.
func (a *account) left(f mail.Folder) *leftOut {
	first := a.policy().FirstDay(a.acct.CreatedAt)
	l := a.hidden[f.ID]
	if l == nil || l.uidValidity != f.UIDValidity || !l.first.Equal(first) {
		l = &leftOut{uidValidity: f.UIDValidity, first: first, late: map[uint32]store.Looks{}}
		a.hidden[f.ID] = l
	}
	return l
}

// there forgets those that are not in the folder any more, or are here: what is here stays, whatever the policy was when it came.
func (l *leftOut) there(uids imap.UIDSet, local []mail.Placement) {
	l.dated, l.old = l.dated.And(uids), l.old.And(uids)
	if l.old.Empty() {
		return
	}
	var here imap.UIDSet
	for _, p := range local {
		if l.old.Contains(uint32(p.UID)) {
			here.Add(uint32(p.UID))
		}
	}
	l.old = l.old.Without(here)
}

// within returns those of the messages of the open folder that the policy does not leave out. INTERNALDATE decides, of which each
// message is asked once: many servers are wrong about searches by date. A message of which
// it tells no date is within, and so is one that looks like one that has vanished: what is here stays, wherever it is moved.
func (a *account) within(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet) (imap.UIDSet, error) {
	l := a.left(f)
	if l.first.IsZero() {
		return uids, nil
	}
	if ask := uids.Without(l.dated); !ask.Empty() {
		counts, err := a.mbox.Counts(ctx)
		if err != nil {
			return uids, &ownError{err}
		}
		arrived := f.HeadersDone && mail.UID(ask.Ranges()[0].Start) >= f.UIDNext
		var dated imap.UIDSet
		old := map[uint32]store.Looks{}
		err = s.Fetch(ctx, ask, imap.FetchOptions{InternalDate: true, Size: arrived || f.Total > 0 || counts.Vanished > 0}, func(r *imap.Row) error {
			if !r.HasInternalDate || !ask.Contains(r.UID) {
				return nil
			}
			dated.Add(r.UID)
			if r.InternalDate.Before(l.first) {
				old[r.UID] = store.Looks{Size: r.Size, InternalDate: r.InternalDate.Unix()}
			}
			return nil
		})
		if len(old) > 0 {
			vanished, err := a.mbox.Vanished(ctx)
			if err != nil {
				return uids, &ownError{err}
			}
			for uid, looks := range old {
				if vanished[looks] {
					continue
				}
				l.old.Add(uid)
				if arrived && len(l.late) < mostLate {
					l.late[uid] = looks
				}
			}
		}
		l.dated.AddSet(dated)
		if err != nil && (ask.Len() > 1 || s.Err() != nil || imap.ClassOf(err) == imap.TransientAccount) {
			return uids, err
		}
	}
	return uids.Without(l.old), nil
}

// followLate takes those messages back in that were left out as old before it showed that they were moved from where they were here.
func (a *account) followLate(ctx context.Context) error {
	var vanished map[store.Looks]bool
	for _, l := range a.hidden {
		for uid, looks := range l.late {
			if !l.old.Contains(uid) {
				delete(l.late, uid)
				continue
			}
			if vanished == nil {
				var err error
				if vanished, err = a.mbox.Vanished(ctx); err != nil {
					return err
				}
			}
			if vanished[looks] {
				l.old = l.old.Without(imap.UIDs(uid))
				delete(l.late, uid)
			}
		}
	}
	return nil
}

// takeOut takes the messages of a folder out of the copy: the policy does not want it any more, or it is none any more.
func (a *account) takeOut(ctx context.Context, f mail.Folder) error {
	if f.Total == 0 {
		return nil
	}
	delete(a.ladder.kept.Views, f.ID)
	list, err := a.mbox.OutOfView(ctx, f.ID)
	if err != nil {
		return err
	}
	shown, err := a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	if err != nil {
		return err
	}
	for _, p := range shown {
		list = append(list, store.PlacementRef{Folder: f.ID, UIDValidity: f.UIDValidity, UID: p.UID})
	}
	for part := range slices.Chunk(list, headerChunk) {
		if err := a.apply(ctx, store.Batch{Origin: mail.OriginLive, Vanished: part}); err != nil {
			return fmt.Errorf("take out %q: %w", f.Name, err)
		}
	}
	return nil
}

// fetchContent fetches the bytes of messages that are here without, and once more of those whose stored bytes are lost or damaged.
func (a *account) fetchContent(ctx context.Context, s *session, op mail.Operation) error {
	at, err := a.mbox.PlacementsOf(ctx, op.Messages...)
	if err != nil {
		return err
	}
	for _, id := range op.Messages {
		if len(at[id]) == 0 {
			return mail.E(mail.NotFound, "", "this message does not exist any more", nil)
		}
		p := at[id][0]
		if p.Held {
			if sound, err := a.mbox.Sound(ctx, id); err != nil {
				return err
			} else if sound {
				continue
			}
			a.log.Warn("the stored bytes of a message are lost or damaged, and fetched once more", "op", "fetch", "message", id)
		}
		if err := a.holdIn(ctx, s, p.Folder, p.Held, p); err != nil {
			return err
		}
		if !p.Held {
			continue
		}
		if sound, err := a.mbox.Sound(ctx, id); err != nil {
			return err
		} else if !sound {
			return mail.E(mail.Refused, "", "the mail server does not give the bytes that the message had", nil)
		}
	}
	return nil
}

// holdIn fetches the bytes of messages of one folder and stores them; again is in the place of what was stored.
func (a *account) holdIn(ctx context.Context, s *session, folder mail.FolderID, again bool, wanted ...mail.Placement) error {
	f, err := a.mbox.Folder(ctx, folder)
	if err != nil {
		return err
	}
	if same, err := a.openSame(ctx, s, f); err != nil {
		return err
	} else if !same {
		return mail.E(mail.Unavailable, "", "the folder was numbered anew and is being compared; try again", nil)
	}
	return a.hold(ctx, s, unitOf(f, wanted...), func(b []store.Body) error {
		if again {
			return a.apply(ctx, store.Batch{Origin: mail.OriginLive, Restored: b})
		}
		return a.apply(ctx, store.Batch{Origin: mail.OriginLive, Bodies: b})
	})
}

// held is how many messages are here as whole as they are to be.
func (a *account) held(c store.Counts) int64 {
	if a.policy().HeadersOnly {
		return c.Placements
	}
	return c.Placements - c.Unheld
}

// wantedTotal is how many messages the folders have that the policy does not leave out, as far as that is known.
func (a *account) wantedTotal(looks []look) (n int64) {
	for _, l := range looks {
		if l.Status != nil {
			n += int64(l.Status.Messages) + int64(a.ladder.kept.Views[l.ID].Out)
			if left := a.hidden[l.ID]; left != nil {
				n -= int64(left.old.Len())
			}
		}
	}
	return n
}
