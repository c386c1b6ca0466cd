package syncer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

// VerifyOptions say how thoroughly Verify looks.
type VerifyOptions struct {
	Bytes bool          // fetch every message too, and compare its bytes with ours
	Wait  time.Duration // how long a difference may take to go away: what is happening just now is no fault

	Progress func(folder string, done, of int) // of the first look, if not nil: how many messages were compared, or fetched
}

// Difference is one way in which the store and the mailbox at the server are not the same.
type Difference struct {
	Folder string   // its name; "" for the account
	UID    mail.UID // 0: the folder itself
	What   string   // in words

	kind string // by which a later look may find it in other words; "": by all of its words
}

func (d Difference) String() string {
	switch {
	case d.Folder == "":
		return d.What
	case d.UID == 0:
		return fmt.Sprintf("%q: %s", d.Folder, d.What)
	}
	return fmt.Sprintf("%q UID %d: %s", d.Folder, d.UID, d.What)
}

// Verified is what a comparison has looked at and found.
type Verified struct {
	Folders, Messages int
	Bytes             int64 // of messages that were fetched and compared
	Differences       []Difference
}

// Verify compares all that is stored of an account with its mailbox at the server, in a session that only reads: folders,
// UIDVALIDITY where it means something, UIDs, flags, sizes and dates, and with Bytes the messages themselves. Where it finds a
// difference it looks again after Wait, and reports what both looks have seen, since the mailbox may be changing and a server be
// catching up. If it fails it reports what it has found so far. It writes nothing, so that its store may be one that is open for
// reading only.
func (e *Engine) Verify(ctx context.Context, id mail.AccountID, o VerifyOptions) (Verified, error) {
	acct, err := e.o.Store.Account(ctx, "", id)
	if err != nil {
		return Verified{}, err
	}
	a := newAccount(e, id, func() {})
	a.acct = acct
	if a.mbox, err = e.o.Store.Mailbox(ctx, id); err != nil {
		return Verified{}, err
	}
	a.key = a.mbox.IDKey()
	memory, err := a.mbox.Memory(ctx)
	if err != nil {
		return Verified{}, err
	}
	a.ladder.recall(memory, a.e.o.Now())
	v := verifier{a: a, o: o}
	first, err := v.look(ctx, nil)
	if err != nil || len(first.Differences) == 0 || o.Wait <= 0 {
		return first, err
	}
	if err := wait(ctx, o.Wait, nil); err != nil {
		return first, err
	}
	suspects := map[string]bool{}
	for _, d := range first.Differences {
		suspects[d.Folder] = true
	}
	v.o.Progress = nil
	again, err := v.look(ctx, suspects)
	if err != nil {
		return first, err
	}
	before := map[Difference]bool{}
	for _, d := range first.Differences {
		before[d.key()] = true
	}
	first.Differences = slices.DeleteFunc(again.Differences, func(d Difference) bool { return !before[d.key()] })
	return first, nil
}

// key is what a difference has in common with itself at another look.
func (d Difference) key() Difference {
	if d.kind != "" {
		d.What = ""
	}
	return d
}

// verifier makes the looks of one Verify.
type verifier struct {
	a        *account
	o        VerifyOptions
	s        *session
	out      Verified
	done, of int // for Progress
}

// differ notes a difference. One of a message is the same however it has changed meanwhile; counts of a folder that are others at
// the next look are those of a mailbox in use.
func (v *verifier) differ(folder string, uid mail.UID, format string, args ...any) {
	d := Difference{Folder: folder, UID: uid, What: fmt.Sprintf(format, args...)}
	if uid != 0 {
		d.kind = format
	}
	v.out.Differences = append(v.out.Differences, d)
}

// refused notes that a server has refused something, whatever words it may have for that.
func (v *verifier) refused(folder, what string, err error) {
	v.out.Differences = append(v.out.Differences, Difference{Folder: folder, What: fmt.Sprintf("%s: %v", what, err), kind: what})
}

func (v *verifier) progress(folder string) {
	if v.done = min(v.done+1, v.of); v.o.Progress != nil {
		v.o.Progress(folder, v.done, v.of)
	}
}

// open begins a session.
func (v *verifier) open(ctx context.Context) (err error) {
	var known *mail.Error
	if v.s, err = v.a.open(ctx); err == nil || ctx.Err() != nil || errors.As(err, &known) {
		return err
	}
	return fmt.Errorf("%s: %w", provider.Classify(err, v.a.acct).Msg, err)
}

// worthALogin is how many messages, or how long, make a session worth its login.
const worthALogin, worthALoginFor = 10, 10 * time.Second

// inSessions does something with a folder, again in other sessions where one ends meanwhile: some providers end them after half a
// minute. It gives up when maxStrikes in a row were not worth their login. A folder that the server does not let be read stops no other.
func (v *verifier) inSessions(ctx context.Context, f mail.Folder, do func() error) error {
	for strikes := 0; ; {
		done := v.done
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case v.s.Err() == nil && unreadable(err):
			v.refused(f.Name, "the server does not let the folder be read", err)
			return nil
		case v.done-done >= worthALogin || v.a.e.o.Now().Sub(v.s.opened) >= worthALoginFor && v.done > done:
			strikes = 0
		default:
			strikes++
		}
		if v.s.Err() == nil || strikes >= maxStrikes {
			return fmt.Errorf("compare %q: %w", f.Name, err)
		}
		v.s.close()
		if err := v.open(ctx); err != nil {
			return err
		}
	}
}

// look compares the folders named, all with nil, in a session of its own, and in others where it ends.
func (v *verifier) look(ctx context.Context, only map[string]bool) (Verified, error) {
	v.out = Verified{}
	if err := v.open(ctx); err != nil {
		return v.out, err
	}
	defer func() {
		if v.s != nil {
			v.s.close()
		}
	}()
	listed, err := v.s.List(ctx, imap.ListOptions{Pattern: "*"})
	if err != nil {
		return v.out, fmt.Errorf("list the folders: %w", err)
	}
	stored, err := v.a.mbox.Folders(ctx)
	if err != nil {
		return v.out, err
	}
	v.a.recallLabels(v.s, stored)
	seen := map[string]bool{}
	here := make(map[string]mail.Folder, len(stored))
	v.done, v.of = 0, 0
	for _, f := range stored {
		here[folderKey(f.RawName)] = f
		if openable(f) && !v.a.labels.isLabel(f.ID) && v.a.policy().Wants(f) {
			v.of += f.Total
		}
	}
	if v.o.Bytes {
		v.of *= 2
	}
	for _, m := range listed {
		if m.Err != nil {
			v.differ("", 0, "a line of the server's list of folders cannot be read: %v", m.Err)
			continue
		}
		f, known := here[folderKey(m.Raw)]
		delete(here, folderKey(m.Raw))
		again := seen[folderKey(m.Raw)]
		seen[folderKey(m.Raw)] = true
		switch {
		case again: // INBOX, in another case
		case !known:
			v.differ(m.Name, 0, "the folder is at the server and not here")
		case selectable(m.Attrs) != f.Selectable:
			v.differ(f.Name, 0, "the server says selectable: %t, here %t", selectable(m.Attrs), f.Selectable)
		case !v.a.policy().Wants(f):
			if f.Total > 0 {
				v.differ(f.Name, 0, "the folder is left out by the grant's settings, and %d of its messages are here", f.Total)
			}
		case only != nil && !only[f.Name]:
		case f.Selectable && v.a.labels.isLabel(f.ID):
			if err := v.inSessions(ctx, f, func() error { return v.label(ctx, f) }); err != nil {
				return v.out, err
			}
		case openable(f):
			if err := v.folder(ctx, f); err != nil {
				return v.out, err
			}
		}
	}
	for _, f := range stored { // in their order
		if _, left := here[folderKey(f.RawName)]; left {
			v.differ(f.Name, 0, "the folder is here and not at the server")
		}
	}
	return v.out, nil
}

// folder compares one folder.
func (v *verifier) folder(ctx context.Context, f mail.Folder) error {
	before, done := v.out, v.done
	var copies []store.Copy
	var held imap.UIDSet
	err := v.inSessions(ctx, f, func() (err error) {
		v.out, v.done = before, done
		copies, held, err = v.rows(ctx, f)
		return err
	})
	if err != nil || !v.o.Bytes {
		return err
	}
	return v.inSessions(ctx, f, func() error { return v.bytes(ctx, f, &held, copies) })
}

// rows compares all of a folder but the bytes of its messages, and returns what is stored of it and which of that has bytes.
func (v *verifier) rows(ctx context.Context, f mail.Folder) (copies []store.Copy, held imap.UIDSet, err error) {
	sel, err := v.s.examine(ctx, f)
	if err != nil {
		if v.s.Err() != nil {
			return nil, held, err
		}
		if nonexistent(err) && f.Total == 0 { // only its name is there, for those below it
			return nil, held, nil
		}
		v.refused(f.Name, "the server does not open the folder", err)
		return nil, held, nil
	}
	if same, err := v.generation(ctx, f, sel); err != nil || !same {
		return nil, held, err
	}
	if copies, err = v.a.mbox.Copies(ctx, f.ID, f.UIDValidity); err != nil {
		return nil, held, err
	}
	first := v.a.policy().FirstDay(v.a.acct.CreatedAt)
	labels, err := v.labels(ctx, f)
	if err != nil {
		return nil, held, err
	}
	var there imap.UIDSet
	if !sel.HasExists || sel.Exists > 0 {
		err = v.s.Fetch(ctx, imap.Range(1, imap.Star), imap.FetchOptions{Flags: true, Size: true, InternalDate: true, Gmail: labels != nil}, func(r *imap.Row) error {
			if r.UID == 0 || there.Contains(r.UID) {
				return nil
			}
			there.Add(r.UID)
			if c, ok := copyOf(copies, mail.UID(r.UID)); ok {
				v.progress(f.Name)
				v.copy(f.Name, c, r)
				if l := v.a.labelsOf(r, f.ID); l.Known && !slices.Equal(l.Folders, labels[c.UID]) {
					v.differ(f.Name, c.UID, "labels are %q at the server and %q here", v.labelNames(l.Folders), v.labelNames(labels[c.UID]))
				}
			} else if first.IsZero() || !r.HasInternalDate || !r.InternalDate.Before(first) {
				v.differ(f.Name, mail.UID(r.UID), "the message is at the server and not here")
			}
			return nil
		})
		if err != nil {
			return nil, held, err
		}
	}
	if n := there.Len(); sel.HasExists && n != int(sel.Exists) {
		v.differ(f.Name, 0, "the server counts %d messages and lists %d", sel.Exists, n)
	}
	view, _ := v.a.viewOf(f)
	earlier, err := v.a.mbox.OutOfView(ctx, f.ID)
	if err != nil {
		return nil, held, err
	}
	switch {
	case view.Out > 0:
		v.differ(f.Name, 0, "the server seems to show the newest %d messages only; %d older ones are here", view.Most, view.Out)
	case len(earlier) > 0:
		v.differ(f.Name, 0, "%d messages are here that the server did not show any more when it numbered the folder anew", len(earlier))
	}
	for _, c := range copies {
		switch {
		case c.UID < view.Below && !there.Contains(uint32(c.UID)):
		case !there.Contains(uint32(c.UID)):
			v.differ(f.Name, c.UID, "the message is here and not at the server")
		case c.Trouble != "" && !c.Held:
			v.differ(f.Name, c.UID, "its bytes are not here: it was set aside, because %s", c.Trouble)
		case !c.Held && v.a.policy().HeadersOnly:
		case !c.Held:
			v.differ(f.Name, c.UID, "its bytes are not here")
		default:
			held.Add(uint32(c.UID))
		}
	}
	v.out.Folders++
	v.out.Messages += len(copies)
	return copies, held, nil
}

// generation tells whether the UIDs of the open folder are those of the stored messages. Under another UIDVALIDITY, or none, it is
// the messages that tell. A UIDVALIDITY that is another again at the next look, so that the two do not tell the same, is no
// difference: it means nothing (Amazon WorkMail), although nobody may have noticed within the last hour.
func (v *verifier) generation(ctx context.Context, f mail.Folder, sel *imap.Selected) (bool, error) {
	is := mail.UIDValidity(sel.UIDValidity)
	if is == f.UIDValidity {
		return true, nil
	}
	if is != 0 && !v.a.flaps(f.ID) {
		v.differ(f.Name, 0, "UIDVALIDITY is %d at the server and %d here", is, f.UIDValidity)
	}
	same, err := v.a.means(ctx, v.s, f, sel)
	if err == nil && !same {
		v.differ(f.Name, 0, "its UIDs name other messages at the server than here")
	}
	return same, err
}

// labels returns the labels of the stored copies of a folder, nil if it has none.
func (v *verifier) labels(ctx context.Context, f mail.Folder) (map[mail.UID][]mail.FolderID, error) {
	if !v.a.labels.read(f.ID) {
		return nil, nil
	}
	out := map[mail.UID][]mail.FolderID{}
	list, err := v.a.mbox.Placements(ctx, f.ID, f.UIDValidity)
	for _, p := range list {
		out[p.UID] = p.Labels
	}
	return out, err
}

func (v *verifier) labelNames(ids []mail.FolderID) (names []string) {
	for _, id := range ids {
		names = append(names, v.a.labels.labels[id])
	}
	slices.Sort(names)
	return names
}

// label compares how many messages a label has.
func (v *verifier) label(ctx context.Context, f mail.Folder) error {
	st, err := v.s.Status(ctx, f.RawName, imap.StatusMessages)
	if err != nil {
		if v.s.Err() != nil {
			return err
		}
		v.refused(f.Name, "the server does not tell its status", err)
		return nil
	}
	v.out.Folders++
	if st.Has&imap.HasMessages != 0 && int(st.Messages) != f.Total {
		v.differ(f.Name, 0, "the label has %d messages at the server and %d here", st.Messages, f.Total)
	}
	return nil
}

// copy compares what a server says of one message with what is stored.
func (v *verifier) copy(folder string, c store.Copy, r *imap.Row) {
	if r.HasFlags {
		if flags, keywords := mail.ParseFlags(r.Flags); flags != c.Flags || !sameWords(keywords, c.Keywords) {
			v.differ(folder, c.UID, "flags are %v at the server and %v here", flagWords(flags, keywords), flagWords(c.Flags, c.Keywords))
		}
	} else {
		v.differ(folder, c.UID, "the server does not tell its flags")
	}
	if r.HasSize && r.Size != c.Size {
		v.differ(folder, c.UID, "RFC822.SIZE is %d at the server and %d here", r.Size, c.Size)
	}
	if r.HasInternalDate && r.InternalDate.Unix() != c.InternalDate.Unix() {
		v.differ(folder, c.UID, "INTERNALDATE is %s at the server and %s here", r.InternalDate.UTC().Format(time.RFC3339), c.InternalDate.Format(time.RFC3339))
	}
}

func flagWords(f mail.Flags, keywords []string) []string {
	words := append(f.Names(), keywords...)
	slices.Sort(words)
	return words
}

// hashing is a body on its way from the server.
type hashing struct{ hash.Hash }

// bytes fetches messages whole and compares them with the stored bytes. What is done it takes out of left.
func (v *verifier) bytes(ctx context.Context, f mail.Folder, left *imap.UIDSet, copies []store.Copy) error {
	if left.Empty() {
		return nil
	}
	if v.s.selected != f.RawName { // the session is another one
		sel, err := v.s.examine(ctx, f)
		same := err == nil && mail.UIDValidity(sel.UIDValidity) == f.UIDValidity
		if err == nil && !same {
			same, err = v.a.means(ctx, v.s, f, sel)
		}
		switch {
		case err != nil && (v.s.Err() != nil || ctx.Err() != nil):
			return err
		case err != nil:
			v.refused(f.Name, "the server does not open the folder again", err)
			return nil
		case !same:
			v.differ(f.Name, 0, "its messages were numbered anew while their bytes were compared")
			return nil
		}
	}
	var seen imap.UIDSet
	err := v.s.Fetch(ctx, *left, imap.FetchOptions{Body: true, Sink: func(imap.Literal) (io.Writer, error) { return hashing{sha256.New()}, nil }}, func(r *imap.Row) error {
		c, ok := copyOf(copies, mail.UID(r.UID))
		sum, whole := r.Body.W.(hashing)
		if !ok || !r.Body.Has || !whole || seen.Contains(r.UID) {
			return nil
		}
		seen.Add(r.UID)
		v.out.Bytes += r.Body.Size
		v.progress(f.Name)
		ours, err := v.stored(ctx, c)
		switch theirs := fmt.Sprintf("%x", sum.Sum(nil)); {
		case err != nil:
			v.differ(f.Name, c.UID, "the stored bytes cannot be read: %v", err)
		case ours != theirs:
			v.differ(f.Name, c.UID, "the bytes differ: SHA-256 %s of %d bytes at the server, %s of %d here", theirs, r.Body.Size, ours, c.Raw.Size)
		}
		return ctx.Err()
	})
	*left = left.Without(seen)
	switch {
	case v.s.Err() != nil || ctx.Err() != nil:
		return err
	case left.Empty():
	case err != nil:
		v.refused(f.Name, "the server does not send the bytes of "+inWords(*left), err)
	default:
		for uid := range left.All {
			v.differ(f.Name, mail.UID(uid), "the server does not send its bytes")
		}
	}
	return nil
}

// inWords names the UIDs of a set, if they are not too many.
func inWords(uids imap.UIDSet) string {
	if text := uids.String(); len(text) < 200 {
		return "UID " + text
	}
	return fmt.Sprintf("%d messages", uids.Len())
}

// stored returns the SHA-256, in hex, of the bytes of a copy as they are stored.
func (v *verifier) stored(ctx context.Context, c store.Copy) (string, error) {
	r, err := v.a.mbox.OpenBlob(ctx, c.Raw.ID)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

func copyOf(copies []store.Copy, uid mail.UID) (store.Copy, bool) {
	i, ok := slices.BinarySearchFunc(copies, uid, func(c store.Copy, u mail.UID) int { return int(int64(c.UID) - int64(u)) })
	if !ok {
		return store.Copy{}, false
	}
	return copies[i], true
}
