package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

func (a *account) folderNamed(ctx context.Context, name string) (mail.Folder, bool, error) {
	f, there, err := a.folderSpelt(ctx, name)
	return f, there && f.Name == name, err
}

// folderSpelt is the folder of a name, else the only one whose name differs in nothing but case or Unicode normalisation: to some servers
// that is the same one (Exchange), and they spell folders above a new one as they are.
func (a *account) folderSpelt(ctx context.Context, name string) (out mail.Folder, there bool, err error) {
	folders, err := a.mbox.Folders(ctx)
	alike := 0
	for _, f := range folders {
		if f.Name == name {
			return f, true, err
		}
		if strings.EqualFold(norm.NFC.String(f.Name), norm.NFC.String(name)) {
			out = f
			alike++
		}
	}
	return out, alike == 1, err
}

var errFolderExists = "there is a folder of this name already"

func (a *account) createFolder(ctx context.Context, s *session, op *mail.Operation) (mail.FolderID, error) {
	name, err := a.fullName(ctx, s, op.Name)
	if err != nil {
		return "", err
	}
	if _, there, err := a.folderNamed(ctx, name); err != nil {
		return "", err
	} else if there && !op.Tried {
		return "", mail.E(mail.Conflict, "", errFolderExists, nil)
	}
	again := op.Tried
	op.Tried = true // before it is sent: if we do not hear the answer, the folder is ours
	if err := a.mbox.PutOperation(ctx, a.term, *op); err != nil {
		return "", err
	}
	if _, err := s.Create(ctx, s.NameFor(name)); err != nil {
		if s.Err() != nil {
			return "", err
		}
		there := exists(err)
		if !there && unexplained(err) {
			var lerr error
			if _, there, lerr = a.folderSpelt(ctx, name); lerr != nil {
				return "", lerr
			}
		}
		if !there {
			return "", err
		}
		if !again {
			return "", mail.E(mail.Conflict, "", errFolderExists, err)
		}
	}
	_ = s.Subscribe(ctx, s.NameFor(name)) // other programs show it sooner; nothing depends on it
	if _, err := a.listFolders(ctx, s); err != nil {
		return "", err
	}
	f, there, err := a.folderSpelt(ctx, name)
	if err != nil {
		return "", err
	}
	if !there {
		return "", mail.E(mail.Unavailable, "create a folder", "the server said that it made the folder, but does not list it", nil)
	}
	return f.ID, nil
}

// renameFolder renames at the server and then here, at once: that the folder is the same, its id included, is known now
// and could only be guessed later.
func (a *account) renameFolder(ctx context.Context, s *session, op *mail.Operation) error {
	f, err := a.located(ctx, s, op.Folder)
	if err != nil {
		return err
	}
	if f.Role == mail.RoleInbox {
		return mail.E(mail.Invalid, "", "INBOX cannot be renamed", nil)
	}
	name, err := a.fullName(ctx, s, op.Name)
	if err != nil {
		return err
	}
	if f.Name == name {
		return nil
	}
	if _, there, err := a.folderNamed(ctx, name); err != nil {
		return err
	} else if there {
		return mail.E(mail.Conflict, "", errFolderExists, nil)
	}
	raw := s.NameFor(name)
	if err := s.deselect(ctx); err != nil {
		return err
	}
	again := op.Tried
	op.Tried = true
	if err := a.mbox.PutOperation(ctx, a.term, *op); err != nil {
		return err
	}
	if err := s.Rename(ctx, f.RawName, raw); err != nil {
		if exists(err) && s.Err() == nil {
			return mail.E(mail.Conflict, "", errFolderExists, err)
		}
		if !again || !missing(err) || s.Err() != nil {
			return err
		}
		// It was done when we asked before and did not hear the answer: nothing had the new name then.
		if there, lerr := a.listed(ctx, s, raw); lerr != nil || !there {
			return errors.Join(err, lerr)
		}
	}
	all, err := a.mbox.Folders(ctx)
	if err != nil {
		return err
	}
	b := store.Batch{Origin: mail.OriginLive}
	for _, x := range all {
		switch {
		case x.ID == f.ID:
			x.RawName, x.Name = raw, name
		case f.Delimiter != "" && strings.HasPrefix(x.RawName, f.RawName+f.Delimiter):
			x.RawName = raw + strings.TrimPrefix(x.RawName, f.RawName)
			x.Name = name + strings.TrimPrefix(x.Name, f.Name)
		default:
			continue
		}
		b.Folders = append(b.Folders, x)
	}
	if err := a.apply(ctx, b); err != nil {
		return fmt.Errorf("store the new name: %w", err)
	}
	_, err = a.listFolders(ctx, s) // parents and roles follow from names
	return err
}

// located is a folder under the name that it has at the server now: another program may have given its name to another folder. It fails
// with NotFound if the folder is gone.
func (a *account) located(ctx context.Context, s *session, id mail.FolderID) (mail.Folder, error) {
	if _, err := a.listFolders(ctx, s); err != nil {
		return mail.Folder{}, err
	}
	f, err := a.mbox.Folder(ctx, id)
	if err != nil || f.RawName == "" || f.UIDValidity == 0 || a.labels.isLabel(id) { // nothing to know it by but its name
		return f, err
	}
	same, err := a.openSame(ctx, s, f)
	if err == nil && !same {
		err = errAstray
	}
	if err != nil {
		return f, orAstray(err)
	}
	return f, s.deselect(ctx)
}

// listed asks the server whether it has a folder, however it spells it.
func (a *account) listed(ctx context.Context, s *session, raw string) (bool, error) {
	list, err := s.List(ctx, imap.ListOptions{Pattern: "*"})
	return slices.ContainsFunc(list, func(m imap.Mailbox) bool { return strings.EqualFold(m.Raw, raw) }), err
}

func (a *account) deleteFolder(ctx context.Context, s *session, op mail.Operation) error {
	f, err := a.located(ctx, s, op.Folder)
	switch {
	case mail.IsKind(err, mail.NotFound):
		return nil
	case f.Role == mail.RoleInbox:
		return mail.E(mail.Invalid, "", "INBOX cannot be deleted", nil)
	case errors.Is(err, errAstray) && s.Err() == nil:
		if there, err := a.listed(ctx, s, f.RawName); err != nil || there {
			return errors.Join(errAstray, err)
		}
		return a.folderIsGone(ctx, s, f) // it was deleted when we asked before and did not hear the answer, or by another program
	case err != nil:
		return err
	}
	if err := s.deselect(ctx); err != nil {
		return err
	}
	if err := s.Delete(ctx, f.RawName); err != nil {
		if s.Err() != nil || !missing(err) {
			return err
		}
	}
	return a.folderIsGone(ctx, s, f)
}

func (a *account) folderIsGone(ctx context.Context, s *session, f mail.Folder) error {
	if err := a.apply(ctx, store.Batch{Origin: mail.OriginLive, GoneFolders: []mail.FolderID{f.ID}}); err != nil {
		return fmt.Errorf("store that the folder is gone: %w", err)
	}
	return a.pass(ctx, s, false) // whatever lay in it and nowhere else is removed
}
