package syncer

import (
	"context"
	"fmt"
	"strings"

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

// outside returns the messages of the open folder that the policy leaves out and that are not here: those that were received
// before its first day. A server that does not search by date has all synchronised.
func (a *account) outside(ctx context.Context, s *session, f mail.Folder) (imap.UIDSet, error) {
	first := a.policy().FirstDay(a.acct.CreatedAt)
	if first.IsZero() {
		return imap.UIDSet{}, nil
	}
	old, err := s.Search(ctx, "BEFORE "+first.Format("2-Jan-2006"))
	if err != nil {
		if s.Err() != nil || ctx.Err() != nil {
			return imap.UIDSet{}, err
		}
		a.log.Warn("the server does not search by date: all of the folder is synchronised", "op", "policy", "folder", f.ID, "err", err)
		return imap.UIDSet{}, nil
	}
	if old.Empty() {
		a.hidden[f.ID] = 0
		return old, nil
	}
	here, err := a.mbox.Placements(ctx, f.ID, f.UIDValidity) // what is here stays, whatever the policy was when it came
	if err != nil {
		return imap.UIDSet{}, err
	}
	var out imap.UIDSet
	for uid := range old.All {
		if _, known := find(here, mail.UID(uid)); !known {
			out.Add(uid)
		}
	}
	a.hidden[f.ID] = out.Len()
	return out, nil
}

// leaveOut takes a folder out of the copy that the policy does not want any more.
func (a *account) leaveOut(ctx context.Context, f mail.Folder) error {
	if f.Total == 0 {
		return nil
	}
	list, err := a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	if err != nil {
		return err
	}
	for len(list) > 0 {
		n := min(len(list), headerChunk)
		b := store.Batch{Origin: mail.OriginLive}
		for _, p := range list[:n] {
			b.Vanished = append(b.Vanished, store.PlacementRef{Folder: f.ID, UIDValidity: f.UIDValidity, UID: p.UID})
		}
		if err := a.apply(ctx, b); err != nil {
			return fmt.Errorf("leave out %q: %w", f.Name, err)
		}
		list = list[n:]
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
		f, err := a.mbox.Folder(ctx, p.Folder)
		if err != nil {
			return err
		}
		sel, err := s.examine(ctx, f)
		if err != nil {
			return err
		}
		if same, err := a.sameGeneration(ctx, s, f, sel); err != nil {
			return err
		} else if !same {
			return mail.E(mail.Unavailable, "", "the folder was numbered anew and is being compared; try again", nil)
		}
		err = a.hold(ctx, s, unit{folder: f, uids: imap.UIDs(uint32(p.UID))}, func(b []store.Body) error {
			if p.Held {
				return a.apply(ctx, store.Batch{Origin: mail.OriginLive, Restored: b})
			}
			return a.apply(ctx, store.Batch{Origin: mail.OriginLive, Bodies: b})
		})
		if err != nil {
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
			n += int64(l.Status.Messages) - int64(a.hidden[l.ID])
		}
	}
	return n
}

// wanted tells whether a policy has a folder synchronised.
func wanted(p mail.SyncPolicy, f mail.Folder) bool {
	under := func(list []string) bool {
		for _, name := range list {
			if f.Name == name || strings.EqualFold(name, "INBOX") && f.Role == mail.RoleInbox ||
				f.Delimiter != "" && strings.HasPrefix(f.Name, name+f.Delimiter) {
				return true
			}
		}
		return false
	}
	return (len(p.Folders) == 0 || under(p.Folders)) && !under(p.Without)
}
