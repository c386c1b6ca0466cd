package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// changeDraft saves a version of a draft, or removes a draft. A new version is put there before the old one is removed.
// Every step finds out what an earlier attempt has done: a version is recognised by the revision in its header, and only
// copies that the caller knew, or that earlier operations put there whose place this one takes, are removed. A version that
// another program saved meanwhile stays.
func (a *account) changeDraft(ctx context.Context, s *session, op *mail.Operation) error {
	drafts, err := a.folderFor(ctx, s, mail.RoleDrafts, "Drafts")
	if err != nil {
		return err
	}
	if op.Kind == mail.OpDraftSave && !a.policy().Wants(drafts) { // since it was asked for
		return mail.E(mail.Refused, "", "the account's settings leave out the folder of drafts: the draft would be gone as soon as it was saved", nil)
	}
	into := drafts // where a version is put; where it lies then is another folder where folders are labels
	if drafts, err = a.home(ctx, drafts); err != nil {
		return err
	}
	work := *op.Draft
	op.Draft = &work
	var kept mail.UID
	stale := slices.Clone(work.Bases)
	if op.Tried && work.Revision != "" {
		stale = append(stale, work.Revision) // put there twice, perhaps
	}
	if op.Kind == mail.OpDraftSave {
		if kept, err = a.putVersion(ctx, s, into, drafts, op); err != nil {
			return err
		}
	}
	touched := []mail.FolderID{drafts.ID}
	old, astray := map[mail.FolderID]*imap.UIDSet{}, len(work.Replaces)+len(work.Bases) == 0 // it was shown nowhere when that was asked for
	for _, c := range work.Replaces {
		f, err := a.mbox.Folder(ctx, c.Folder)
		switch {
		case mail.IsKind(err, mail.NotFound):
		case err != nil:
			return err
		case f.UIDValidity != c.UIDValidity:
			astray = true
		case c.Folder != drafts.ID || c.UID != kept:
			put(old, c.Folder, c.UID)
		}
	}
	for id, uids := range old {
		if err := a.removeVersions(ctx, s, id, *uids, work.Old, op.Kind == mail.OpDraftDelete); err != nil {
			return err
		}
		if id != drafts.ID {
			touched = append(touched, id)
		}
	}
	if err := a.removeRevisions(ctx, s, drafts, stale, kept, op.Kind == mail.OpDraftDelete); err != nil {
		return err
	}
	for _, id := range touched {
		f, err := a.mbox.Folder(ctx, id)
		if err != nil {
			return err
		}
		if !a.policy().Wants(f) {
			continue
		}
		if _, err := a.syncFolder(ctx, s, f, false); err != nil {
			return err
		}
	}
	if op.Kind == mail.OpDraftDelete {
		if err := a.pass(ctx, s, false); err != nil || !astray {
			return err
		}
		left, err := a.mbox.PlacementsOf(ctx, work.Old)
		if err != nil {
			return err
		}
		if len(left[work.Old]) > 0 {
			return errNotThere // under numbers that nobody has seen
		}
		unknown, err := a.lookedFor(ctx, work.Old)
		if err == nil && unknown {
			err = mail.E(mail.Unavailable, "remove a draft", "the folder that it lies in was numbered anew and is being read", nil)
		}
		return err
	}
	return a.showDraft(ctx, s, drafts, op, kept)
}

// putVersion puts the new version into a folder, unless it lies among the drafts already, and returns its UID there.
func (a *account) putVersion(ctx context.Context, s *session, into, drafts mail.Folder, op *mail.Operation) (mail.UID, error) {
	sel, err := s.examine(ctx, drafts)
	if err != nil {
		return 0, err
	}
	here := mail.Copy{Folder: drafts.ID, UIDValidity: mail.UIDValidity(sel.UIDValidity), UID: max(mail.UID(sel.UIDNext), 1)}
	if op.Tried {
		if here.Folder == op.Draft.From.Folder && here.UIDValidity == op.Draft.From.UIDValidity {
			here.UID = op.Draft.From.UID
		} else {
			here.UID = 1
		}
		found, err := a.revisions(ctx, s, imap.Range(uint32(here.UID), imap.Star), op.Draft.Revision)
		if err != nil || !found.Empty() {
			return last(found), err
		}
	}
	op.Tried, op.Draft.From = true, here // before it is sent: if we do not hear the answer, it is looked for from here on
	if err := a.mbox.PutOperation(ctx, a.term, *op); err != nil {
		return 0, err
	}
	flags, err := a.draftFlags(ctx, op)
	if err != nil {
		return 0, err
	}
	body, err := a.mbox.OpenBlob(ctx, op.Blob)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	got, err := s.Append(ctx, into.RawName, imap.AppendMessage{Flags: flags, Date: a.e.o.Now(), Body: body, Size: op.Size, UTF8: op.Draft.UTF8})
	if err != nil {
		return 0, err
	}
	if into.ID == drafts.ID && len(got.UIDs) == 1 && mail.UIDValidity(got.UIDValidity) == here.UIDValidity {
		found, err := a.revisions(ctx, s, imap.UIDs(got.UIDs[0]), op.Draft.Revision) // some servers tell that of another message
		if err == nil && !found.Empty() || s.Err() != nil {
			return last(found), err
		}
	}
	if _, err := s.examine(ctx, drafts); err != nil { // so that every server shows it
		return 0, err
	}
	found, err := a.revisions(ctx, s, imap.Range(uint32(here.UID), imap.Star), op.Draft.Revision)
	if err == nil && found.Empty() {
		err = mail.E(mail.Unavailable, "save a draft", "the server said OK, but the draft does not show", nil)
	}
	return last(found), err
}

func last(uids imap.UIDSet) (uid mail.UID) {
	for u := range uids.All {
		uid = mail.UID(u)
	}
	return uid
}

// draftFlags returns the flags of a new version: those that the draft has, changed as asked for.
func (a *account) draftFlags(ctx context.Context, op *mail.Operation) ([]string, error) {
	flags, keywords := mail.FlagSeen, []string(nil)
	if op.Draft.Old != "" {
		m, err := a.mbox.Message(ctx, op.Draft.Old)
		if err == nil {
			flags, keywords = m.Flags, m.Keywords
		} else if !mail.IsKind(err, mail.NotFound) {
			return nil, err
		}
	}
	flags = (flags|op.Set)&^op.Clear&^mail.FlagDeleted | mail.FlagDraft
	names := flags.Names()
	for _, k := range keywords {
		if imap.IsFlag(k) { // servers tell of others too, which no command can name
			names = append(names, k)
		}
	}
	return names, nil
}

// revisions returns which messages of the open folder are versions with one of these revisions.
func (a *account) revisions(ctx context.Context, s *session, among imap.UIDSet, want ...string) (imap.UIDSet, error) {
	var found imap.UIDSet
	err := s.Fetch(ctx, among, imap.FetchOptions{Header: []string{mime.RevisionField}}, func(r *imap.Row) error {
		if rev := mime.ParseHeader(r.Header).Header.Get(mime.RevisionField); rev != "" && slices.Contains(want, rev) {
			found.Add(r.UID)
		}
		return nil
	})
	return found, err
}

// openFor opens a folder for writing, and proves that its UIDs are those of the stored rows. A folder that was not looked at so far has none.
func (a *account) openFor(ctx context.Context, s *session, f mail.Folder) (there bool, err error) {
	sel, err := s.Select(ctx, f.RawName, imap.SelectOptions{CondStore: s.Caps().Has("CONDSTORE")})
	var e *imap.Error
	switch {
	case s.Err() == nil && errors.As(err, &e) && e.Code == "NONEXISTENT", err == nil && f.UIDValidity == 0:
		return false, nil
	case err != nil:
		return false, err
	}
	same, err := a.sameGeneration(ctx, s, f, sel)
	if err == nil && !same {
		err = errRenumbered
	}
	return err == nil, err
}

// removeVersions removes copies of a message, as far as they are still there and still that message. must asks that they
// are removed; else they may stay when the server cannot remove them alone.
func (a *account) removeVersions(ctx context.Context, s *session, folder mail.FolderID, uids imap.UIDSet, of mail.MessageID, must bool) error {
	f, err := a.mbox.Folder(ctx, folder)
	if err != nil {
		return err
	}
	if there, err := a.openFor(ctx, s, f); err != nil || !there {
		return err
	}
	var present imap.UIDSet
	if err := s.Fetch(ctx, uids, imap.FetchOptions{Flags: true}, func(r *imap.Row) error {
		if uids.Contains(r.UID) {
			present.Add(r.UID)
		}
		return nil
	}); err != nil || present.Empty() {
		return err
	}
	v := newVisit()
	for uid := range present.All {
		v.of[mail.UID(uid)] = of
	}
	unmatched, err := a.verify(ctx, s, f, v)
	if err != nil {
		return err
	}
	if !unmatched.Empty() && must {
		return errNotThere
	}
	return a.removeThese(ctx, s, f, present.Without(unmatched), must) // what else lies there now is none of ours
}

func (a *account) removeThese(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, must bool) error {
	if uids.Empty() {
		return nil
	}
	if s.Caps().Has("X-GM-EXT-1") && f.Role != mail.RoleTrash && f.Role != mail.RoleJunk {
		folders, err := a.mbox.Folders(ctx)
		if err != nil {
			return err
		}
		return a.discard(ctx, s, f, uids, folders)
	}
	err := a.expunge(ctx, s, uids)
	if err == nil {
		a.expect(f, uids, false)
	}
	if err != nil && s.Err() == nil && mail.IsKind(err, mail.Refused) && !must {
		return nil // the new version is there; the old one is marked as deleted
	}
	return err
}

// removeRevisions removes versions from the drafts, except one.
func (a *account) removeRevisions(ctx context.Context, s *session, drafts mail.Folder, stale []string, kept mail.UID, must bool) error {
	if len(stale) == 0 {
		return nil
	}
	f, err := a.mbox.Folder(ctx, drafts.ID)
	if err != nil {
		return err
	}
	if there, err := a.openFor(ctx, s, f); err != nil || !there {
		return err
	}
	found, err := a.revisions(ctx, s, imap.Range(1, imap.Star), stale...)
	if err != nil {
		return err
	}
	var old imap.UIDSet
	for uid := range found.All {
		if mail.UID(uid) != kept {
			old.Add(uid)
		}
	}
	return a.removeThese(ctx, s, f, old, must)
}

// showDraft fetches the version, so that our copy shows it before the operation ends.
func (a *account) showDraft(ctx context.Context, s *session, drafts mail.Folder, op *mail.Operation, uid mail.UID) error {
	f, err := a.mbox.Folder(ctx, drafts.ID)
	if err != nil {
		return err
	}
	if err := a.firstBodies(ctx, s, f); err != nil {
		return err
	}
	at, err := a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	if err != nil {
		return err
	}
	for _, p := range at {
		if p.UID != uid {
			continue
		}
		if !p.Held {
			break
		}
		op.Messages = []mail.MessageID{p.Message}
		if op.Draft.Tagged {
			return a.mbox.SetMetadata(ctx, p.Message, op.Draft.Metadata)
		}
		return nil
	}
	return mail.E(mail.Unavailable, "save a draft", fmt.Sprintf("the draft was saved, but could not be read again from %q", f.Name), nil)
}
