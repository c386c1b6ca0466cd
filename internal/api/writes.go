package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// confirmTime is how long a write waits for the mail server's confirmation before it answers 202.
const confirmTime = 10 * time.Second

// do has an operation carried out. done tells that it was, and that the caller should answer with the new state; else
// the answer is given: 202 with the operation, or what it failed with.
func (c *call) do(id mail.AccountID, op mail.Operation) (result mail.Operation, done bool, err error) {
	ctx, cancel := c.detached(confirmTime)
	defer cancel()
	if op, err = c.a.Engine.Do(ctx, id, op); err != nil {
		return op, false, err
	}
	switch op.State {
	case mail.OpDone:
		return op, true, nil
	case mail.OpFailed:
		return op, false, mail.E(op.Why, "write to the mailbox", op.Reason, nil)
	}
	return op, false, c.one(http.StatusAccepted, v3.Select{}, v3.OperationOf(op, id))
}

func (a *API) getOperation(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	op, err := mb.Operation(c.r.Context(), c.r.PathValue("operation"))
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, v3.OperationOf(op, acct.ID))
}

// update carries out what the body of an update asks of messages. done is as that of do.
func (c *call) update(id mail.AccountID, mb *store.Mailbox, messages []mail.MessageID) (done bool, err error) {
	u, err := v3.ParseMessageUpdate(c.r.Body)
	if err != nil {
		return false, err
	}
	if u.Metadata != nil && (len(messages) != 1 || c.r.PathValue("message") == "") {
		return false, mail.E(mail.Invalid, "read body", "metadata belongs to messages: threads have none", nil)
	}
	op := mail.Operation{Kind: mail.OpUpdate, Messages: messages}
	op.Set, op.Clear = u.Flags()
	if u.Folders != nil {
		if op.Folder, err = target(c.r.Context(), mb, *u.Folders); err != nil {
			return false, err
		}
	}
	if u.Metadata != nil {
		if err := mb.SetMetadata(c.r.Context(), messages[0], *u.Metadata); err != nil {
			return false, err
		}
	}
	if op.Set|op.Clear == 0 && op.Folder == "" {
		return true, nil
	}
	_, done, err = c.do(id, op)
	return done, err
}

// target is the folder that the caller names to move messages to.
func target(ctx context.Context, mb *store.Mailbox, in []string) (mail.FolderID, error) {
	to, err := resolve(ctx, mb, "folders", in)
	if err != nil {
		return "", err
	}
	if len(to) != 1 {
		return "", mail.E(mail.Invalid, "find folder", "folders: more than one folder is meant; use its id", nil)
	}
	f, err := mb.Folder(ctx, to[0])
	if err == nil && !f.Selectable {
		err = mail.E(mail.Invalid, "find folder", `folders: this folder takes no messages (\Noselect), only folders inside it`, nil)
	}
	return f.ID, err
}

func (a *API) updateMessage(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	id := mail.MessageID(c.r.PathValue("message"))
	if _, err := mb.Message(c.r.Context(), id); err != nil {
		return err
	}
	if done, err := c.update(acct.ID, mb, []mail.MessageID{id}); err != nil || !done {
		return err
	}
	return a.getMessage(c)
}

func (a *API) deleteMessage(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	id := mail.MessageID(c.r.PathValue("message"))
	if _, err := mb.Message(c.r.Context(), id); err != nil {
		return err
	}
	return c.remove(acct.ID, mb, []mail.MessageID{id})
}

// remove moves messages to the trash. Those that all lie there already it removes for good, and with hard_delete=true any.
func (c *call) remove(id mail.AccountID, mb *store.Mailbox, messages []mail.MessageID) error {
	op := mail.Operation{Kind: mail.OpTrash, Messages: messages}
	if isTrue(c.r.URL.Query().Get("hard_delete")) {
		op.Kind = mail.OpRemove
	} else if there, err := inTrash(c.r.Context(), mb, messages); err != nil {
		return err
	} else if there {
		op.Kind = mail.OpPurge
	}
	if _, done, err := c.do(id, op); err != nil || !done {
		return err
	}
	return c.done()
}

func (a *API) updateThread(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	messages, err := mb.MessagesOf(c.r.Context(), mail.ThreadID(c.r.PathValue("thread")))
	if err != nil {
		return err
	}
	if done, err := c.update(acct.ID, mb, messages); err != nil || !done {
		return err
	}
	return a.getThread(c)
}

func (a *API) deleteThread(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	messages, err := mb.MessagesOf(c.r.Context(), mail.ThreadID(c.r.PathValue("thread")))
	if err != nil {
		return err
	}
	return c.remove(acct.ID, mb, messages)
}

// inTrash tells whether all of the messages lie in the trash and nowhere else.
func inTrash(ctx context.Context, mb *store.Mailbox, messages []mail.MessageID) (bool, error) {
	fs, err := mb.Folders(ctx)
	if err != nil {
		return false, err
	}
	var trash []mail.FolderID
	for _, f := range fs {
		if f.Role == mail.RoleTrash {
			trash = append(trash, f.ID)
		}
	}
	for _, id := range messages {
		m, err := mb.Message(ctx, id)
		if err != nil {
			return false, err
		}
		if len(m.Folders) == 0 || slices.ContainsFunc(m.Folders, func(f mail.FolderID) bool { return !slices.Contains(trash, f) }) {
			return false, nil
		}
	}
	return len(trash) > 0, nil
}

func (a *API) createFolder(c *call) error {
	w, err := v3.ParseFolderWrite(c.r.Body)
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	if w.Name == nil {
		return mail.E(mail.Invalid, "read body", "name is missing", nil)
	}
	fs, err := mb.Folders(c.r.Context())
	if err != nil {
		return err
	}
	name := *w.Name
	if w.Parent != nil && *w.Parent != "" {
		if name, err = under(fs, mail.FolderID(*w.Parent), name); err != nil {
			return err
		}
	}
	if err := placeable(fs, "", name); err != nil {
		return err
	}
	op, done, err := c.do(acct.ID, mail.Operation{Kind: mail.OpFolderCreate, Name: name})
	if err != nil || !done {
		return err
	}
	c.r.SetPathValue("folder", string(op.Folder))
	return a.getFolder(c)
}

// under returns the path of a folder of this name inside another.
func under(fs []mail.Folder, parent mail.FolderID, name string) (string, error) {
	for _, f := range fs {
		if f.ID == parent {
			if f.Delimiter == "" {
				return "", mail.E(mail.Invalid, "find folder", "the mail server has no folders inside folders", nil)
			}
			return f.Name + f.Delimiter + name, nil
		}
	}
	return "", mail.E(mail.Invalid, "find folder", "parent_id: there is no such folder", nil)
}

// placeable fails with Invalid if a folder, new if its id is "", cannot get this path: it would be inside itself, or inside one that takes none.
func placeable(fs []mail.Folder, id mail.FolderID, name string) error {
	for _, f := range fs {
		switch {
		case f.Delimiter == "" || !strings.HasPrefix(name, f.Name+f.Delimiter) && !strings.HasPrefix(name, f.Name+"/"):
		case f.ID == id:
			return mail.E(mail.Invalid, "find folder", "a folder cannot be put inside itself", nil)
		case slices.ContainsFunc(f.Attrs, func(at string) bool { return strings.EqualFold(at, `\Noinferiors`) }):
			return mail.E(mail.Invalid, "find folder", `the mail server takes no folders inside that folder (\Noinferiors)`, nil)
		}
	}
	return nil
}

func (a *API) updateFolder(c *call) error {
	w, err := v3.ParseFolderWrite(c.r.Body)
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	fs, err := mb.Folders(c.r.Context())
	if err != nil {
		return err
	}
	for _, f := range fs {
		if string(f.ID) != c.r.PathValue("folder") {
			continue
		}
		name := f.Name
		if w.Name != nil {
			name = *w.Name
		}
		if w.Parent != nil {
			leaf := name
			if f.Delimiter != "" {
				leaf = name[strings.LastIndex(name, f.Delimiter)+1:]
			}
			if name = leaf; *w.Parent != "" {
				if name, err = under(fs, mail.FolderID(*w.Parent), leaf); err != nil {
					return err
				}
			}
		}
		if err := placeable(fs, f.ID, name); err != nil {
			return err
		}
		if name != f.Name {
			if _, done, err := c.do(acct.ID, mail.Operation{Kind: mail.OpFolderRename, Folder: f.ID, Name: name}); err != nil || !done {
				return err
			}
		}
		return a.getFolder(c)
	}
	return mail.E(mail.NotFound, "find folder", "there is no such folder", nil)
}

func (a *API) deleteFolder(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	id := mail.FolderID(c.r.PathValue("folder"))
	if _, err := mb.Folder(c.r.Context(), id); err != nil {
		return err
	}
	if _, done, err := c.do(acct.ID, mail.Operation{Kind: mail.OpFolderDelete, Folder: id}); err != nil || !done {
		return err
	}
	return c.done()
}
