package api

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/notify"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

func replay(r store.Replay) v3.Replay {
	out := v3.Replay{
		ID: r.ID, WebhookID: r.Webhook, GrantID: string(r.Account), ObjectID: r.Object, State: string(r.State), Reason: r.Reason, Sent: r.Sent, Attempts: r.Attempts,
		Done: int64(r.Place.Seq - r.Start.Seq), Total: int64(r.Goal.Seq - r.Start.Seq), CreatedAt: r.CreatedAt.Unix(), UpdatedAt: r.UpdatedAt.Unix(),
	}
	if r.Account == "" {
		out.Done, out.Total = r.Place.Pos-r.Start.Pos, r.Goal.Pos-r.Start.Pos
	}
	if !r.NextAt.IsZero() {
		out.NextTry = r.NextAt.Unix()
	}
	return out
}

// webhookAction is what a POST asks of a webhook; there is one thing to ask.
func (a *API) webhookAction(c *call) error {
	if c.r.PathValue("action") != "replay" {
		return mail.E(mail.NotFound, "route", "there is nothing at this path", nil)
	}
	q, err := v3.ParseReplay(c.r.Body)
	if err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	if !w.Status.Delivers() {
		return mail.E(mail.Conflict, "replay", "the webhook is "+string(w.Status)+": activate it first", nil)
	}
	r := store.Replay{Webhook: w.ID, Object: q.ObjectID}
	log := string(c.app)
	if q.GrantID != "" {
		acct, err := c.grant(q.GrantID)
		if err != nil {
			return err
		}
		r.Account, log = acct.ID, string(acct.ID)
	}
	if q.Cursor != "" && q.Cursor != v3.CursorEarliest {
		r.Start, err = place(q.Cursor, log)
	} else {
		var from notify.Start
		if q.Since > 0 {
			from.At = time.Unix(q.Since, 0)
		}
		r.Start, err = a.Notify.Begin(c.r.Context(), c.app, r.Account, from)
	}
	if err != nil {
		return err
	}
	if r, err = a.Notify.Replay(c.r.Context(), c.app, r); err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, replay(r))
}

func (a *API) listReplays(c *call) error {
	w, err := c.webhook()
	if err != nil {
		return err
	}
	list, err := a.Store.Replays(c.r.Context(), w.ID)
	if err != nil {
		return err
	}
	out := make([]v3.Replay, len(list))
	for i, r := range list {
		out[i] = replay(r)
	}
	return c.page(v3.Select{}, out, "")
}

func (a *API) getReplay(c *call) error {
	w, err := c.webhook()
	if err != nil {
		return err
	}
	r, err := a.Store.Replay(c.r.Context(), w.ID, c.r.PathValue("replay"))
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, replay(r))
}

func (a *API) cancelReplay(c *call) error {
	w, err := c.webhook()
	if err != nil {
		return err
	}
	r, err := a.Store.CancelReplay(c.r.Context(), w.ID, c.r.PathValue("replay"))
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, replay(r))
}
