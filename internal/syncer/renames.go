package syncer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

// renames finds, where the server has no MAILBOXIDs, the stored folders that are listed under other names now: renamed ones, and
// those that have swapped their names. The result is by folderKey. A folder that is where it was, with the UIDVALIDITY that it
// had, is looked at no further, so that an ordinary list costs nothing.
func (a *account) renames(ctx context.Context, s *session, listed []imap.Mailbox, stored []mail.Folder) (map[string]mail.FolderID, error) {
	if mailboxIDs(listed) {
		return nil, nil
	}
	out := map[string]mail.FolderID{}
	if a.flapsAnywhere() {
		addRespelt(out, listed, stored)
		return out, nil
	}
	lost := lostFolders(listed, stored)
	if err := a.renamedLabels(ctx, s, listed, stored, out); err != nil {
		return nil, err
	}
	here := make(map[string]mail.Folder, len(stored))
	for _, f := range stored {
		here[folderKey(f.RawName)] = f
	}
	for _, m := range listed {
		if len(lost) == 0 {
			break
		}
		if m.Err != nil || m.Status == nil || m.Status.Has&imap.HasUIDValidity == 0 || folderKey(m.Raw) == "INBOX" {
			continue
		}
		for i, f := range lost {
			if folderKey(f.RawName) == folderKey(m.Raw) || uint32(f.UIDValidity) != m.Status.UIDValidity {
				continue
			}
			same, err := a.sameFolder(ctx, s, m, f)
			if own := here[folderKey(m.Raw)]; err == nil && same && own.UIDValidity == f.UIDValidity { // some servers give one number to many folders
				same, err = a.sameFolder(ctx, s, m, own)
				same = !same
			}
			if err != nil {
				return nil, fmt.Errorf("look for %q under another name: %w", f.Name, err)
			}
			if same {
				out[folderKey(m.Raw)] = f.ID
				lost = append(lost[:i:i], lost[i+1:]...)
				break
			}
		}
	}
	addRespelt(out, listed, stored)
	return out, s.deselect(ctx)
}

// addRespelt adds the stored folders that are listed in another case now, where nothing else has that name in any case, and that
// were not found otherwise. To some servers names that differ in nothing but case are one folder's (Exchange); with others a folder of
// one name is lost and one of the other new, which is treated as if it was made anew under its own.
func addRespelt(found map[string]mail.FolderID, listed []imap.Mailbox, stored []mail.Folder) {
	names, now := map[string][]string{}, map[string]bool{}
	for _, m := range listed {
		if key := folderKey(m.Raw); m.Err == nil && !now[key] {
			now[key] = true
			names[strings.ToLower(m.Name)] = append(names[strings.ToLower(m.Name)], key)
		}
	}
	were := map[string]int{}
	for _, f := range stored {
		were[strings.ToLower(f.Name)]++
	}
	ids := slices.Collect(maps.Values(found))
	for _, f := range stored {
		name := strings.ToLower(f.Name)
		if is := names[name]; len(is) == 1 && were[name] == 1 && !now[folderKey(f.RawName)] && f.RawName != "" && found[is[0]] == "" && !slices.Contains(ids, f.ID) {
			found[is[0]] = f.ID
		}
	}
}

// lostFolders returns the stored folders that the list does not have, or has with another UIDVALIDITY.
func lostFolders(listed []imap.Mailbox, stored []mail.Folder) (lost []mail.Folder) {
	validity := map[string]mail.UIDValidity{}
	for _, m := range listed {
		validity[folderKey(m.Raw)] = 0
		if m.Status != nil {
			validity[folderKey(m.Raw)] = mail.UIDValidity(m.Status.UIDValidity)
		}
	}
	for _, f := range stored {
		v, there := validity[folderKey(f.RawName)]
		if f.Selectable && f.UIDValidity != 0 && folderKey(f.RawName) != "INBOX" && (!there || v != 0 && v != f.UIDValidity) {
			lost = append(lost, f)
		}
	}
	return lost
}

// sameFolder tells whether a listed folder is a stored one with the same UIDVALIDITY: at least nine in ten of the UIDs are there,
// and they name the messages that they did. Folders made within the same second can share a UIDVALIDITY.
func (a *account) sameFolder(ctx context.Context, s *session, m imap.Mailbox, f mail.Folder) (bool, error) {
	const need = imap.HasMessages | imap.HasUIDNext
	if f.Total == 0 {
		return m.Status.Has&need == need && m.Status.Messages == 0 && mail.UID(m.Status.UIDNext) == f.UIDNext, nil
	}
	sel, err := s.examine(ctx, mail.Folder{RawName: m.Raw})
	if err != nil {
		if s.Err() != nil || imap.ClassOf(err) == imap.TransientAccount {
			return false, err
		}
		return false, nil
	}
	uids, err := a.allUIDs(ctx, s, sel)
	if err != nil {
		return false, err
	}
	placements, err := a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	if err != nil {
		return false, err
	}
	kept := 0
	var ask imap.UIDSet
	for i := len(placements) - 1; i >= 0; i-- {
		if uid := uint32(placements[i].UID); uids.Contains(uid) {
			if kept++; kept <= doubtful {
				ask.Add(uid)
			}
		}
	}
	if kept*10 < len(placements)*9 {
		return false, nil
	}
	same, other, err := a.recognised(ctx, s, f, ask, sel)
	return same > 0 && other == 0, err
}
