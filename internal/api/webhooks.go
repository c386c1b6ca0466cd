package api

import (
	"context"
	"net/http"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/notify"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// Notifier reads the change log for applications, and delivers to them.
type Notifier interface {
	Challenge(ctx context.Context, url string) error
	Try(ctx context.Context, app mail.AppID, kind, url string) error
	Replay(ctx context.Context, app mail.AppID, r store.Replay) (store.Replay, error)
	Begin(ctx context.Context, app mail.AppID, account mail.AccountID, from notify.Start) (store.Place, error)
	Page(ctx context.Context, r notify.Reading) (notify.Page, error)
	Await(ctx context.Context, r notify.Reading, wait time.Duration) (notify.Page, error)
}

// webhook maps a webhook; its secret is shown only right after it was made.
func webhook(w store.Webhook, secret bool) v3.Webhook {
	out := v3.Webhook{
		ID: w.ID, Description: w.Description, TriggerTypes: w.Triggers, WebhookURL: w.URL, Status: string(w.Status), StatusReason: w.Reason, Emails: w.Emails, Compressed: w.Compressed,
		StatusUpdatedAt: w.StatusAt.Unix(), CreatedAt: w.CreatedAt.Unix(), UpdatedAt: w.UpdatedAt.Unix(),
	}
	if out.Emails == nil {
		out.Emails = []string{}
	}
	if secret {
		out.WebhookSecret = w.Secret.Reveal()
	}
	return out
}

// fill takes over what an update holds.
func fill(w *store.Webhook, u v3.WebhookUpdate) {
	if u.TriggerTypes != nil {
		w.Triggers = *u.TriggerTypes
	}
	if u.WebhookURL != nil {
		w.URL = *u.WebhookURL
	}
	if u.Description != nil {
		w.Description = *u.Description
	}
	if u.Emails != nil {
		w.Emails = *u.Emails
	}
	if u.Compressed != nil {
		w.Compressed = *u.Compressed
	}
	if u.Status != nil {
		w.Status = store.WebhookStatus(*u.Status)
	}
}

func (a *API) createWebhook(c *call) error {
	u, err := v3.ParseWebhook(c.r.Body, true)
	if err != nil {
		return err
	}
	w := store.Webhook{App: c.app}
	fill(&w, u)
	if err := a.Notify.Challenge(c.r.Context(), w.URL); err != nil {
		return err
	}
	if w, err = a.Store.CreateWebhook(c.r.Context(), w); err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, webhook(w, true))
}

func (a *API) listWebhooks(c *call) error {
	list, err := a.Store.Webhooks(c.r.Context(), c.app)
	if err != nil {
		return err
	}
	out := make([]v3.Webhook, len(list))
	for i, w := range list {
		out[i] = webhook(w, false)
	}
	return c.page(v3.Select{}, out, "")
}

func (c *call) webhook() (store.Webhook, error) {
	return c.a.Store.Webhook(c.r.Context(), c.app, c.r.PathValue("webhook"))
}

func (a *API) getWebhook(c *call) error {
	w, err := c.webhook()
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, webhook(w, false))
}

func (a *API) updateWebhook(c *call) error {
	u, err := v3.ParseWebhook(c.r.Body, false)
	if err != nil {
		return err
	}
	was, err := c.webhook()
	if err != nil {
		return err
	}
	w := was
	fill(&w, u)
	if w.URL != was.URL || w.Status.Delivers() && !was.Status.Delivers() {
		if err := a.Notify.Challenge(c.r.Context(), w.URL); err != nil {
			return err
		}
	}
	if w, err = a.Store.UpdateWebhook(c.r.Context(), w); err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, webhook(w, false))
}

func (a *API) deleteWebhook(c *call) error {
	if err := a.Store.DeleteWebhook(c.r.Context(), c.app, c.r.PathValue("webhook")); err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, struct {
		Status string `json:"status"`
	}{"success"})
}

func (a *API) rotateSecret(c *call) error {
	w, err := a.Store.RotateWebhookSecret(c.r.Context(), c.app, c.r.PathValue("webhook"), notify.SecretGrace)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, webhook(w, true))
}

// listAddresses answers with none: the server cannot know how its packets look from outside.
func (a *API) listAddresses(c *call) error {
	return c.one(http.StatusOK, v3.Select{}, v3.IPAddresses{IPAddresses: []string{}, UpdatedAt: a.Now().Unix()})
}

func (a *API) mockPayload(c *call) error {
	e, err := v3.ParseTestEvent(c.r.Body, false)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, notify.Sample(c.app, e.TriggerType, a.Now()))
}

func (a *API) sendTestEvent(c *call) error {
	e, err := v3.ParseTestEvent(c.r.Body, true)
	if err != nil {
		return err
	}
	if err := a.Notify.Try(c.r.Context(), c.app, e.TriggerType, e.WebhookURL); err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, "the test event was delivered")
}

func (a *API) listDeliveries(c *call) error {
	page, err := v3.ParsePage(c.r.URL.Query(), v3.CursorDeliveries)
	if err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	list, err := a.Store.Deliveries(c.r.Context(), w.ID, page.Before, page.Limit+1)
	if err != nil {
		return err
	}
	next := ""
	if len(list) > page.Limit {
		list = list[:page.Limit]
		next = v3.Cursor(v3.CursorDeliveries, list[len(list)-1].At)
	}
	out := make([]v3.Delivery, len(list))
	for i, d := range list {
		out[i] = v3.Delivery{
			NotificationID: d.Notification, Type: d.Type, GrantID: string(d.Account), Attempt: d.Attempt, Time: float64(d.At/int64(time.Millisecond)) / 1000,
			StatusCode: d.Status, DurationMS: d.Took.Milliseconds(), Delivered: d.Error == "", Error: d.Error,
		}
		if mail.AppID(d.Account) == c.app { // of the application's own log
			out[i].GrantID = ""
		}
	}
	return c.page(v3.Select{}, out, next)
}
