package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// stopTime bounds waiting for an account's sync to end.
const stopTime = 30 * time.Second

// grant maps an account with its newest status: the running sync knows better than the store.
func (a *API) grant(acct mail.Account) v3.Grant {
	if s, ok := a.Engine.Status(acct.ID); ok {
		return v3.GrantOf(acct, s)
	}
	return v3.GrantOf(acct, acct.Sync)
}

func (a *API) connect(c *call) error {
	req, err := v3.ParseConnect(c.r.Body)
	if err != nil {
		return err
	}
	if err := a.connectable(c, c.app, req.Provider); err != nil {
		return err
	}
	acct, created, err := a.Auth.Connect(c.r.Context(), c.app, req)
	if err != nil {
		return err
	}
	a.restart(c, acct.ID, created)
	return c.one(http.StatusCreated, v3.Select{}, a.grant(acct))
}

// restart makes the account's sync use what was just proven to work. One that does not end in time is followed all the same: it can
// write no more then, and without another nothing would be synchronised.
func (a *API) restart(c *call, id mail.AccountID, created bool) {
	if !created {
		ctx, cancel := c.detached(stopTime)
		defer cancel()
		if err := a.Engine.Stop(ctx, id); err != nil {
			a.Log.Warn("the account's sync is slow to end; it is followed by another", "account", id, "op", "restart", "err", err)
		}
	}
	a.Engine.Start(id)
	a.Sender.Wake(id)
}

func (a *API) listGrants(c *call) error {
	q, err := v3.ParseGrantQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	var accts []mail.Account
	if !q.None {
		accts, err = a.Store.Accounts(c.r.Context(), store.AccountQuery{
			App: c.app, Email: q.Email, Provider: q.Provider, Status: q.Status, Limit: q.Limit, Offset: q.Offset,
			SortBy: q.SortBy, Desc: q.Desc, Since: q.Since, Before: q.Before,
		})
	}
	if err != nil {
		return err
	}
	out := make([]v3.Grant, len(accts))
	for i, acct := range accts {
		out[i] = a.grant(acct)
	}
	c.send(http.StatusOK, func(b *bytes.Buffer) error {
		return v3.Select{}.Encode(b, v3.OffsetList{RequestID: c.id, Data: out, Limit: q.Limit, Offset: q.Offset})
	})
	return nil
}

func (a *API) getGrant(c *call) error {
	acct, err := c.account()
	if err != nil {
		return err
	}
	mb, err := a.Store.Mailbox(c.r.Context(), acct.ID)
	if err != nil {
		return err
	}
	p, err := mb.SearchProgress(c.r.Context())
	if err != nil {
		return err
	}
	g := a.grant(acct)
	g.Sync.Search = &v3.Progress{Done: p.Indexed, Total: p.Total}
	return c.tagged(v3.ParseSelect(c.r.URL.Query().Get("select")), g)
}

func (a *API) updateGrant(c *call) error {
	acct, err := c.account()
	if err != nil {
		return err
	}
	u, err := v3.ParseGrantUpdate(c.r.Body, acct.Provider)
	if err != nil {
		return err
	}
	if u.Settings != nil {
		if u.Scope != nil {
			u.Settings.Scope = *u.Scope
		}
		if acct, err = a.Auth.Renew(c.r.Context(), acct, *u.Settings); err != nil {
			return err
		}
		a.restart(c, acct.ID, false)
	} else if u.Scope != nil {
		acct.Scope = *u.Scope
		if err := a.Store.UpdateAccount(c.r.Context(), acct, nil); err != nil {
			return err
		}
	}
	return c.one(http.StatusOK, v3.Select{}, a.grant(acct))
}

func (a *API) deleteGrant(c *call) error {
	acct, err := c.account()
	if err != nil {
		return err
	}
	ctx, cancel := c.detached(stopTime)
	defer cancel()
	if err := a.erase(ctx, acct.ID); err != nil {
		if _, is := a.Store.Account(ctx, c.app, acct.ID); !mail.IsKind(is, mail.NotFound) { // it stays, and goes on
			a.Engine.Start(acct.ID)
			a.Sender.Wake(acct.ID)
		}
		return err
	}
	return c.done()
}

func (a *API) erase(ctx context.Context, id mail.AccountID) error {
	if err := a.Engine.Stop(ctx, id); err != nil {
		return err
	}
	if err := a.Sender.Forget(ctx, id); err != nil {
		return err
	}
	return a.Store.DeleteAccount(ctx, id)
}

func (a *API) detect(c *call) error {
	q := c.r.URL.Query()
	email := v3.Address(q.Get("email"))
	if email == "" {
		return mail.E(mail.Invalid, "detect provider", "email must be an e-mail address", nil)
	}
	d := provider.Detect(c.r.Context(), a.Auth.Resolver(), email)
	out := v3.Detected{EmailAddress: q.Get("email"), Detected: d.Known, Name: d.Profile.Name, Hint: d.Profile.Hint, HintURL: d.Profile.HintURL}
	if d.Known {
		out.Provider = "imap" // what can be connected here
		if d.Profile.Key == "icloud" || isTrue(q.Get("all_provider_types")) {
			out.Provider = d.Profile.Family
		}
		out.Type = out.Provider
		if i, s := d.Profile.IMAP, d.Profile.SMTP; i.Host != "" {
			out.Settings = &v3.Settings{IMAPHost: i.Host, IMAPPort: i.Port, IMAPSecurity: i.Security, SMTPHost: s.Host, SMTPPort: s.Port, SMTPSecurity: s.Security}
		}
	}
	return c.one(http.StatusOK, v3.Select{}, out)
}
