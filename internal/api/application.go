package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// branding is what an application calls itself.
func branding(app store.App) v3.Branding {
	var b v3.Branding
	if app.Details.Branding != nil {
		_ = json.Unmarshal(app.Details.Branding, &b) // written by us
	}
	if b.Name == "" {
		b.Name = app.Name
	}
	if b.Name == "" {
		b.Name = "Posthorn"
	}
	return b
}

func (c *call) showApplication(app store.App) (v3.Application, error) {
	uris, err := c.a.Store.RedirectURIs(c.r.Context(), app.ID)
	if err != nil {
		return v3.Application{}, err
	}
	out := v3.Application{
		ApplicationID: app.ID, OrganizationID: string(app.ID), Region: "us", Environment: "production", Branding: branding(app), Hosted: app.Details.Hosted,
		CallbackURIs: make([]v3.RedirectURI, len(uris)), CreatedAt: app.CreatedAt.Unix(), UpdatedAt: app.UpdatedAt.Unix(),
	}
	for i, u := range uris {
		out.CallbackURIs[i] = redirectURI(u)
	}
	return out, nil
}

func (a *API) application(c *call) error {
	app, err := a.Store.App(c.r.Context(), c.app)
	if err != nil {
		return err
	}
	out, err := c.showApplication(app)
	if err != nil {
		return err
	}
	return c.tagged(v3.Select{}, out)
}

func (a *API) updateApplication(c *call) error {
	u, err := v3.ParseApplicationUpdate(c.r.Body)
	if err != nil {
		return err
	}
	app, err := a.Store.UpdateApp(c.r.Context(), c.app, func(d *store.AppDetails) error {
		if u.Branding != nil {
			b, err := json.Marshal(u.Branding)
			if err != nil {
				return err
			}
			d.Branding = b
		}
		if u.Hosted != nil {
			d.Hosted = u.Hosted
		}
		return nil
	})
	if err != nil {
		return err
	}
	out, err := c.showApplication(app)
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, out)
}

func redirectURI(u store.RedirectURI) v3.RedirectURI {
	out := v3.RedirectURI{ID: u.ID, URL: u.URL, Platform: u.Platform}
	if u.Settings != "" {
		out.Settings = json.RawMessage(u.Settings)
	}
	return out
}

func (a *API) listRedirectURIs(c *call) error {
	list, err := a.Store.RedirectURIs(c.r.Context(), c.app)
	if err != nil {
		return err
	}
	out := make([]v3.RedirectURI, len(list))
	for i, u := range list {
		out[i] = redirectURI(u)
	}
	return c.page(v3.Select{}, out, "")
}

func fillRedirect(u *store.RedirectURI, w v3.RedirectURIWrite) {
	if w.URL != nil {
		u.URL = *w.URL
	}
	if w.Platform != nil {
		u.Platform = *w.Platform
	}
	if w.Settings != nil {
		u.Settings = string(w.Settings)
	}
}

func (a *API) createRedirectURI(c *call) error {
	w, err := v3.ParseRedirectURI(c.r.Body, true)
	if err != nil {
		return err
	}
	u := store.RedirectURI{App: c.app, Platform: "web"}
	fillRedirect(&u, w)
	if u, err = a.Store.AddRedirectURI(c.r.Context(), u); err != nil {
		return err
	}
	return c.one(http.StatusCreated, v3.Select{}, redirectURI(u))
}

func (a *API) getRedirectURI(c *call) error {
	u, err := a.Store.RedirectURI(c.r.Context(), c.app, c.r.PathValue("redirect"))
	if err != nil {
		return err
	}
	return c.tagged(v3.Select{}, redirectURI(u))
}

func (a *API) updateRedirectURI(c *call) error {
	w, err := v3.ParseRedirectURI(c.r.Body, false)
	if err != nil {
		return err
	}
	u, err := a.Store.RedirectURI(c.r.Context(), c.app, c.r.PathValue("redirect"))
	if err != nil {
		return err
	}
	fillRedirect(&u, w)
	if err := a.Store.UpdateRedirectURI(c.r.Context(), u); err != nil {
		return err
	}
	return c.one(http.StatusOK, v3.Select{}, redirectURI(u))
}

func (a *API) deleteRedirectURI(c *call) error {
	if err := a.Store.DeleteRedirectURI(c.r.Context(), c.app, c.r.PathValue("redirect")); err != nil {
		return err
	}
	return c.done()
}

// connector is what an application has set for a provider. Those of Providers exist until they are deleted.
func connector(d store.AppDetails, provider string) (v3.Connector, error) {
	set := d.Connectors[provider]
	if set.Off || !slices.Contains(v3.Providers(), provider) {
		return v3.Connector{}, mail.E(mail.NotFound, "find connector", "there is no connector of this provider", nil)
	}
	out := v3.Connector{Name: set.Name, Provider: provider, Settings: set.Settings, Scope: set.Scope}
	if out.Name == "" {
		out.Name = provider
	}
	if out.Settings == nil {
		out.Settings = json.RawMessage("{}")
	}
	if out.Scope == nil {
		out.Scope = []string{}
	}
	return out, nil
}

// connectable refuses mailboxes of a provider whose connector was deleted.
func (a *API) connectable(c *call, app mail.AppID, provider string) error {
	known, err := a.Store.App(c.r.Context(), app)
	if err != nil {
		return err
	}
	if _, err := connector(known.Details, provider); err != nil {
		return mail.E(mail.Invalid, "connect", "the connector "+provider+" of this application was deleted: create it again by POST /v3/connectors", nil)
	}
	return nil
}

func (a *API) listConnectors(c *call) error {
	q, err := v3.ParseGrantQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	app, err := a.Store.App(c.r.Context(), c.app)
	if err != nil {
		return err
	}
	out := []v3.Connector{}
	for _, p := range v3.Providers() {
		if con, err := connector(app.Details, p); err == nil {
			out = append(out, con)
		}
	}
	out = out[min(q.Offset, len(out)):]
	out = out[:min(q.Limit, len(out))]
	c.send(http.StatusOK, func(b *bytes.Buffer) error {
		return v3.Select{}.Encode(b, v3.OffsetList{RequestID: c.id, Data: out, Limit: q.Limit, Offset: q.Offset})
	})
	return nil
}

func (a *API) getConnector(c *call) error {
	app, err := a.Store.App(c.r.Context(), c.app)
	if err != nil {
		return err
	}
	out, err := connector(app.Details, c.r.PathValue("provider"))
	if err != nil {
		return err
	}
	return c.tagged(v3.Select{}, out)
}

func (a *API) createConnector(c *call) error { return c.writeConnector(true) }

func (a *API) updateConnector(c *call) error { return c.writeConnector(false) }

// writeConnector makes a connector anew, or changes one that exists.
func (c *call) writeConnector(create bool) error {
	w, err := v3.ParseConnector(c.r.Body, create)
	if err != nil {
		return err
	}
	provider, status := w.Provider, http.StatusCreated
	if !create {
		provider, status = c.r.PathValue("provider"), http.StatusOK
	}
	app, err := c.a.Store.UpdateApp(c.r.Context(), c.app, func(d *store.AppDetails) error {
		var set store.Connector
		if !create {
			if _, err := connector(*d, provider); err != nil {
				return err
			}
			set = d.Connectors[provider]
		}
		if w.Name != nil {
			set.Name = *w.Name
		}
		if w.Settings != nil {
			set.Settings = w.Settings
		}
		if w.Scope != nil {
			set.Scope = *w.Scope
		}
		if d.Connectors == nil {
			d.Connectors = map[string]store.Connector{}
		}
		d.Connectors[provider] = set
		return nil
	})
	if err != nil {
		return err
	}
	out, err := connector(app.Details, provider)
	if err != nil {
		return err
	}
	return c.one(status, v3.Select{}, out)
}

// deleteConnector ends connecting mailboxes of a provider. Those that are connected stay.
func (a *API) deleteConnector(c *call) error {
	provider := c.r.PathValue("provider")
	_, err := a.Store.UpdateApp(c.r.Context(), c.app, func(d *store.AppDetails) error {
		if _, err := connector(*d, provider); err != nil {
			return err
		}
		if d.Connectors == nil {
			d.Connectors = map[string]store.Connector{}
		}
		d.Connectors[provider] = store.Connector{Off: true}
		return nil
	})
	if err != nil {
		return err
	}
	return c.done()
}
