package api

import (
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

func (a *API) listFolders(c *call) error {
	q, err := v3.ParseFolderQuery(c.r.URL.Query())
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
	all := v3.FoldersOf(fs, acct.ID)
	out := all[:0]
	for _, f := range all {
		if (q.Parent == "" && !q.SingleLevel) || f.ParentID == q.Parent {
			out = append(out, f)
		}
	}
	from := min(int(q.Before), len(out))
	to := min(from+q.Limit, len(out))
	next := ""
	if to < len(out) {
		next = v3.Cursor(v3.CursorFolders, int64(to))
	}
	return c.page(q.Select, out[from:to], next)
}

func (a *API) getFolder(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	fs, err := mb.Folders(c.r.Context()) // all of them: the answer counts the children
	if err != nil {
		return err
	}
	for _, f := range v3.FoldersOf(fs, acct.ID) {
		if string(f.ID) == c.r.PathValue("folder") {
			return c.tagged(v3.ParseSelect(c.r.URL.Query().Get("select")), f)
		}
	}
	return mail.E(mail.NotFound, "find folder", "there is no such folder", nil)
}
