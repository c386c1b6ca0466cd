package syncer

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
)

// visit does in one folder what is to be done there.
func (a *account) visit(ctx context.Context, s *session, f mail.Folder, v *visit, folders []mail.Folder) error {
	if f.RawName == "" {
		return errAstray
	}
	sel, err := s.Select(ctx, f.RawName, imap.SelectOptions{CondStore: s.Caps().Has("CONDSTORE")})
	if err != nil {
		return orAstray(err)
	}
	if same, err := a.sameGeneration(ctx, s, f, sel); err != nil {
		return err
	} else if !same {
		return errRenumbered
	}
	unmatched, err := a.verify(ctx, s, f, v)
	if err != nil {
		return err
	}
	v.leaveAlone(unmatched)
	for _, flag := range []mail.Flags{mail.FlagSeen, mail.FlagFlagged} {
		keeps := func(f string) bool { return strings.EqualFold(f, flag.Names()[0]) }
		if len(sel.PermanentFlags) > 0 && !slices.ContainsFunc(sel.PermanentFlags, keeps) {
			v.unkept |= flag // tried all the same: not every server says what it does
		}
	}
	for flag, uids := range v.add {
		if _, err := s.Store(ctx, *uids, imap.StoreAdd, flag.Names(), imap.StoreOptions{}); err != nil {
			return err
		}
	}
	for flag, uids := range v.remove {
		if _, err := s.Store(ctx, *uids, imap.StoreRemove, flag.Names(), imap.StoreOptions{}); err != nil {
			return err
		}
	}
	for to, uids := range v.label {
		if _, err := s.Store(ctx, *uids, imap.StoreAdd, []string{a.labels.labels[to]}, imap.StoreOptions{Labels: true}); err != nil {
			return err
		}
	}
	for from, uids := range v.unlabel {
		if _, err := s.Store(ctx, *uids, imap.StoreRemove, []string{a.labels.labels[from]}, imap.StoreOptions{Labels: true}); err != nil {
			return err
		}
	}
	return a.leave(ctx, s, f, v, folders)
}

// leave does what takes messages out of the open folder.
func (a *account) leave(ctx context.Context, s *session, f mail.Folder, v *visit, folders []mail.Folder) error {
	moves := s.Caps().Has("MOVE")
	expunge := v.expunge.Clone()
	for _, uids := range v.move {
		if !moves {
			expunge.AddSet(*uids)
		}
	}
	if !expunge.Empty() && !s.Caps().Has("UIDPLUS") {
		if err := a.noOthersMarked(ctx, s, expunge); err != nil { // before anything is done that could not be ended
			return err
		}
	}
	for to, uids := range v.move {
		at := slices.IndexFunc(folders, func(x mail.Folder) bool { return x.ID == to })
		if at < 0 {
			return mail.E(mail.NotFound, "", "the folder to move to does not exist any more", nil)
		}
		if folders[at].RawName == "" {
			return errAstray
		}
		transfer := s.Copy
		if moves {
			transfer = s.Move
		}
		if _, err := transfer(ctx, *uids, folders[at].RawName); err != nil {
			return orAstray(err)
		}
		a.expect(f, *uids, a.policy().Wants(folders[at]))
	}
	if !expunge.Empty() {
		if err := a.expunge(ctx, s, expunge); err != nil {
			return err
		}
		a.expect(f, v.expunge, false)
	}
	if v.discard.Empty() {
		return nil
	}
	return a.discard(ctx, s, f, v.discard, folders)
}

// errRenumbered is that the UIDs of a folder do not name the messages any more that they name here.
var errRenumbered = mail.E(mail.Unavailable, "operate", "the folder's messages were renumbered; they are being compared anew", nil)

// errAstray is that the server has no folder of the name that we have for it.
var errAstray = mail.E(mail.Unavailable, "operate", "a folder was renamed or deleted; the folders are being compared anew", nil)

// orAstray makes of the refusal of a folder's name errAstray. Whether the folder exists no more, the list of folders must tell.
func orAstray(err error) error {
	var e *imap.Error
	if errors.As(err, &e) && e.Status == "NO" && (missing(err) || e.Code == "TRYCREATE") {
		return errAstray
	}
	return err
}

// discard removes messages of the open folder for good where that can only be done in the trash: they are moved there, and
// found again by Gmail's number for them. If it is interrupted they are in the trash, which Gmail empties by itself.
func (a *account) discard(ctx context.Context, s *session, f mail.Folder, uids imap.UIDSet, folders []mail.Folder) error {
	at := slices.IndexFunc(folders, func(x mail.Folder) bool { return x.Role == mail.RoleTrash && x.Selectable })
	if at < 0 {
		return mail.E(mail.Refused, "", errHidden, nil)
	}
	var ids []uint64
	err := s.Fetch(ctx, uids, imap.FetchOptions{Gmail: true}, func(r *imap.Row) error {
		if uids.Contains(r.UID) && r.GmailMsgID != 0 {
			ids = append(ids, r.GmailMsgID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := s.Move(ctx, uids, folders[at].RawName); err != nil {
		return err
	}
	a.expect(f, uids, true)
	if _, err := s.Select(ctx, folders[at].RawName, imap.SelectOptions{CondStore: s.Caps().Has("CONDSTORE")}); err != nil {
		return err
	}
	var found, gone imap.UIDSet
	for _, id := range ids {
		uids, err := s.Search(ctx, "X-GM-MSGID "+strconv.FormatUint(id, 10))
		if err != nil {
			return err
		}
		found.AddSet(uids)
	}
	if found.Empty() {
		return nil
	}
	if err := s.Fetch(ctx, found, imap.FetchOptions{Gmail: true}, func(r *imap.Row) error {
		if slices.Contains(ids, r.GmailMsgID) {
			gone.Add(r.UID)
		}
		return nil
	}); err != nil || gone.Empty() {
		return err
	}
	if err := a.expunge(ctx, s, gone); err != nil {
		return err
	}
	a.expect(f, uids, false)
	a.expect(folders[at], gone, false)
	return nil
}

const errHidden = "Gmail does not show its trash to mail programs; have it shown in IMAP in the settings of Gmail"

// expunge removes messages of the open folder for good, and no others.
func (a *account) expunge(ctx context.Context, s *session, uids imap.UIDSet) error {
	if _, err := s.Store(ctx, uids, imap.StoreAdd, mail.FlagDeleted.Names(), imap.StoreOptions{}); err != nil {
		return err
	}
	if s.Caps().Has("UIDPLUS") {
		_, err := s.Expunge(ctx, uids)
		return err
	}
	if err := a.noOthersMarked(ctx, s, uids); err != nil {
		return err
	}
	return s.ExpungeAll(ctx)
}

// noOthersMarked refuses what plain EXPUNGE is needed for while another program has marked messages: it takes everything that is
// marked, by whomever. Searches for what is marked may lie; a message whose flags the server does not tell may be marked.
func (a *account) noOthersMarked(ctx context.Context, s *session, uids imap.UIDSet) error {
	others, told := false, uids.Clone()
	if err := s.Fetch(ctx, imap.Range(1, imap.Star), imap.FetchOptions{Flags: true}, func(r *imap.Row) error {
		others = others || !uids.Contains(r.UID) && marked(r)
		if r.HasFlags && r.Err == nil {
			told.Add(r.UID)
		}
		return nil
	}); err != nil {
		return err
	}
	if others {
		return mail.E(mail.Refused, "", "the mail server can only remove all messages that are marked as deleted at once, and another program has marked more of them", nil)
	}
	there, err := s.all(ctx)
	switch {
	case err != nil && s.Err() == nil:
		return nil // it does not search: what it has told must do
	case err == nil && !there.Without(told).Empty():
		err = mail.E(mail.Unavailable, "remove messages", "the mail server can only remove all messages that are marked as deleted at once, and does not tell of all whether they are", nil)
	}
	return err
}

func marked(r *imap.Row) bool {
	flags, _ := mail.ParseFlags(r.Flags)
	return flags&mail.FlagDeleted != 0
}

// verify returns those UIDs which do not name the messages any more that are meant, as this very session shows. A copy to be kept
// that has been marked as deleted is one of them.
func (a *account) verify(ctx context.Context, s *session, f mail.Folder, v *visit) (imap.UIDSet, error) {
	if len(v.of) == 0 {
		return imap.UIDSet{}, nil
	}
	var uids, unclear, doomed imap.UIDSet
	for uid := range v.of {
		uids.Add(uint32(uid))
	}
	proven := imap.UIDSet{}
	prints := map[mail.UID][][16]byte{}
	err := s.Fetch(ctx, uids, imap.FetchOptions{Flags: !v.keep.Empty(), Header: mime.HeaderFieldsForSync()}, func(r *imap.Row) error {
		if v.keep.Contains(r.UID) && marked(r) {
			doomed.Add(r.UID)
		}
		if !r.HasHeader {
			return nil
		}
		head := mime.ParseHeader(r.Header)
		fp, strong := mime.Fingerprint(head)
		could := [][16]byte{fp}
		if strong {
			could = append(could, mime.DraftFingerprint(head.MessageID)) // if it was a draft when it was first seen
		}
		for _, fp := range could {
			if strong && mail.MessageID(a.key.MessageID(fp)) == v.of[mail.UID(r.UID)] {
				proven.Add(r.UID)
				return nil
			}
		}
		unclear.Add(r.UID)
		prints[mail.UID(r.UID)] = could
		return nil
	})
	if err != nil {
		return uids, err
	}
	if !unclear.Empty() { // identified by all of their bytes
		err := a.fetchBodies(ctx, s, f, unclear, func(batch []fetched) error {
			for _, b := range batch {
				var digest [32]byte
				if b.raw.blob != nil {
					b.raw.sum.Sum(digest[:0])
					b.raw.blob.Abort()
				} else {
					digest = sha256.Sum256(b.raw.buf.Bytes())
				}
				for _, fp := range prints[b.ref.UID] {
					if mail.MessageID(a.key.MessageID(mime.WithDigest(fp, digest))) == v.of[b.ref.UID] {
						proven.Add(uint32(b.ref.UID))
					}
				}
			}
			return nil
		})
		if err != nil {
			return uids, err
		}
	}
	return uids.Without(proven.Without(doomed)), nil
}

// errNotThere is that a message is not where our copy has it.
var errNotThere = mail.E(mail.Conflict, "", "the message is not where it was, or another one is there; it was left alone", nil)

// leaving are messages that leave a folder because we asked for it: that is nothing to be suspicious of.
type leaving struct {
	uidValidity mail.UIDValidity
	moved       imap.UIDSet // they turn up elsewhere
	removed     imap.UIDSet // for good
}

// expect notes that the server has said OK to messages leaving a folder.
func (a *account) expect(f mail.Folder, uids imap.UIDSet, moved bool) {
	l := a.leavingFrom(f)
	if moved {
		l.moved.AddSet(uids)
	} else {
		l.removed.AddSet(uids)
	}
	a.leaving[f.ID] = l
}

// leavingFrom returns what leaves a folder in its present generation.
func (a *account) leavingFrom(f mail.Folder) leaving {
	if l := a.leaving[f.ID]; l.uidValidity == f.UIDValidity {
		return l
	}
	return leaving{uidValidity: f.UIDValidity}
}
