package api

import (
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

func (a *API) listThreads(c *call) error {
	q, err := v3.ParseThreadQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	in, err := resolve(ctx, mb, "in", q.In)
	if err != nil {
		return err
	}
	search, err := c.search(mb, q.Search, in, q.Page.Before == 0)
	if err != nil {
		return err
	}
	ts, next, err := mb.Threads(ctx, store.ThreadQuery{
		Limit: q.Limit, Before: q.Page.Before, Folders: in, Unread: q.Unread, Starred: q.Starred, HasAttachment: q.HasAttachment,
		Subject: q.Subject, From: q.From, To: q.To, Cc: q.Cc, Bcc: q.Bcc, AnyEmail: q.AnyEmail, After: after(q.After), BeforeDate: q.Filter.Before, Search: search,
	})
	if err != nil {
		return err
	}
	data, n, err := threads(c, mb, acct.ID, ts, q.Select)
	if err != nil {
		return err
	}
	if n < len(ts) {
		next = ts[n-1].Row
	}
	cursor := ""
	if next != 0 {
		cursor = v3.Cursor(v3.CursorThreads, next)
	}
	return c.page(q.Select, data, cursor)
}

func (a *API) getThread(c *call) error {
	acct, mb, err := c.mailbox()
	if err != nil {
		return err
	}
	t, err := mb.Thread(c.r.Context(), mail.ThreadID(c.r.PathValue("thread")))
	if err != nil {
		return err
	}
	sel := v3.ParseSelect(c.r.URL.Query().Get("select"))
	data, _, err := threads(c, mb, acct.ID, []mail.Thread{t}, sel)
	if err != nil {
		return err
	}
	return c.tagged(sel, data[0])
}

// threads maps threads, each with its newest message. Like present it may take fewer than all.
func threads(c *call, mb *store.Mailbox, grant mail.AccountID, ts []mail.Thread, sel v3.Select) ([]v3.Thread, int, error) {
	latest := map[mail.MessageID]*v3.Message{}
	n := len(ts)
	if sel.Has("latest_draft_or_message") {
		msgs, err := mb.Newest(c.r.Context(), ts)
		if err != nil {
			return nil, 0, err
		}
		shown, took, err := present(c, mb, grant, msgs, v3.FieldsStandard, v3.Select{})
		if err != nil {
			return nil, 0, err
		}
		list := shown.([]v3.Message)
		for i := range list {
			latest[list[i].ID] = &list[i]
		}
		if took < len(msgs) {
			for n = 0; n < len(ts) && (latest[ts[n].Latest] != nil); n++ {
			}
			n = max(n, 1)
		}
	}
	out := make([]v3.Thread, n)
	for i, t := range ts[:n] {
		out[i] = v3.ThreadOf(t, grant, latest[t.Latest])
	}
	return out, n, nil
}
