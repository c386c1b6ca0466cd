package syncer

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

// fileCopy looks for the message of a send in Sent, and with OpFile puts it there if it is not.
func (a *account) fileCopy(ctx context.Context, s *session, op *mail.Operation) error {
	send, err := a.mbox.Send(ctx, op.Send)
	if mail.IsKind(err, mail.NotFound) || err == nil && send.State.Ended() {
		return nil // settled otherwise
	}
	if err != nil {
		return err
	}
	sent, err := a.folderFor(ctx, s, mail.RoleSent, "Sent")
	if err != nil {
		return err
	}
	there, err := a.holds(ctx, s, sent, send)
	if err != nil {
		return err
	}
	if !there && op.Kind == mail.OpLook {
		return mail.E(mail.NotFound, "", "it is not in the folder of sent messages", nil)
	}
	if !there {
		if err := a.appendSend(ctx, s, sent, send); err != nil {
			return err
		}
	}
	if !a.policy().Wants(sent) {
		return nil
	}
	if _, err := a.syncFolder(ctx, s, sent, false); err != nil {
		return err
	}
	if sent, err = a.mbox.Folder(ctx, a.labels.home(sent.ID)); err != nil { // a new one's UIDVALIDITY is known now
		return err
	}
	return a.firstBodies(ctx, s, sent)
}

// folderFor returns the folder with a role, and makes one if there is none.
func (a *account) folderFor(ctx context.Context, s *session, role mail.Role, name string) (mail.Folder, error) {
	for range 2 {
		folders, err := a.mbox.Folders(ctx)
		if err != nil {
			return mail.Folder{}, err
		}
		for _, f := range folders {
			if f.Role == role {
				return f, nil
			}
		}
		if s.Caps().Has("X-GM-EXT-1") { // it is hidden; a label of that name would not be it
			return mail.Folder{}, mail.E(mail.Refused, "", "Gmail does not show this folder ("+name+") to mail programs; have it shown in IMAP in the settings of Gmail", nil)
		}
		full, err := a.fullName(ctx, s, name)
		if err != nil {
			return mail.Folder{}, err
		}
		if err := s.deselect(ctx); err != nil {
			return mail.Folder{}, err
		}
		if _, err := s.Create(ctx, s.NameFor(full)); err != nil && !exists(err) {
			return mail.Folder{}, err
		}
		if _, err := a.listFolders(ctx, s); err != nil {
			return mail.Folder{}, err
		}
	}
	return mail.Folder{}, mail.E(mail.Refused, "", "the mailbox has no folder for this ("+name+"), and none could be made", nil)
}

// holds tells whether the message of a send lies in a folder. Servers' searches miss messages, so that ours is asked too,
// after it was brought up to date; unless the folder has not been read so far.
func (a *account) holds(ctx context.Context, s *session, f mail.Folder, send mail.Send) (bool, error) {
	id, since := send.Summary.HeaderMessageID, send.CreatedAt.Add(-24*time.Hour)
	if _, err := s.examine(ctx, f); err != nil {
		return false, err
	}
	unknown := true // whether it is there
	if !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		for i, criteria := range []string{
			`HEADER MESSAGE-ID "<` + id + `>"`,
			// Exchange gives what is submitted another Message-ID and keeps ours there, as other clients report. Bounded, as servers
			// have no index of it.
			since.UTC().Format(`SINCE 2-Jan-2006`) + ` HEADER X-MICROSOFT-ORIGINAL-MESSAGE-ID "<` + id + `>"`,
		} {
			found, err := s.Search(ctx, criteria)
			if err == nil {
				var is bool
				if is, err = named(ctx, s, found, id); is {
					return true, nil
				}
			}
			if err != nil && s.Err() != nil {
				return false, err
			}
			if i == 0 {
				unknown = err != nil
			}
		}
	}
	home, err := a.home(ctx, f)
	if err != nil {
		return false, err
	}
	if home.HeadersDone && a.policy().Wants(f) {
		r, err := a.syncFolder(ctx, s, f, false)
		if err != nil {
			return false, err
		}
		unknown = r.skipped || a.asideSince(home, send.CreatedAt)
	}
	if unknown {
		return false, mail.E(mail.Unavailable, "", "the folder of sent messages cannot be read now", nil)
	}
	return a.mbox.HasHeaderID(ctx, f.ID, id, since)
}

// named tells whether one of the messages that a search has found really has a Message-ID: some servers find everything (QQ). Of very
// many the newest are looked at.
func named(ctx context.Context, s *session, found imap.UIDSet, id string) (is bool, err error) {
	const most = 100
	uids := slices.Collect(found.All)
	if len(uids) == 0 {
		return false, nil
	}
	err = s.Fetch(ctx, imap.UIDs(uids[max(0, len(uids)-most):]...), imap.FetchOptions{Header: []string{"Message-ID", "X-Microsoft-Original-Message-ID"}}, func(r *imap.Row) error {
		is = is || bytes.Contains(r.Header, []byte("<"+id+">"))
		return nil
	})
	return is, err
}

func (a *account) appendSend(ctx context.Context, s *session, f mail.Folder, send mail.Send) error {
	body, err := a.mbox.OpenBlob(ctx, send.Blob)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = s.Append(ctx, f.RawName, imap.AppendMessage{Flags: mail.FlagSeen.Names(), Date: send.SentAt, Body: body, Size: send.Size, UTF8: send.UTF8})
	return err
}
