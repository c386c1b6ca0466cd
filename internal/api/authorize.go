package api

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
	"github.com/posthorn/posthorn/web"
)

// The page that users connect their mailboxes on. It keeps nothing on the server between its steps: what the application
// asked for stands in the address and is checked anew each time.

const (
	maxState   = 256
	triesEvery = 3 * time.Second // how often one network may try a login
	triesBurst = 20
)

// pages are the templates with the policy that goes with them.
type pages struct {
	t      *template.Template
	style  string
	logins *limiter // of the connect page
	cross  *http.CrossOriginProtection
}

func newPages(now func() time.Time) pages {
	t, err := web.Pages()
	if err != nil {
		panic(err) // embedded
	}
	style, err := web.StyleSource()
	if err != nil {
		panic(err)
	}
	return pages{t: t, style: style, logins: newLimiter(now, triesEvery, triesBurst), cross: http.NewCrossOriginProtection()}
}

// asked is what an application asked the connect page for.
type asked struct {
	app       store.App
	redirect  *url.URL
	state     string
	login     auth.Login
	providers []string
	hint      string // the address
	smtp      bool   // without outgoing mail it is of no use
	refused   string // what is wrong, to be told to the application
	why       string // OAuth's name for it
}

// connectPage is what the template shows.
type connectPage struct {
	Step         string // "email", "login", or "" for a link that does not work
	App, Error   string
	Action, CSRF string
	Email        string
	Provider     string
	Hint         string
	HintURL      string
	Open         bool // show the server settings
	SMTPRequired bool
	NoSMTP       bool
	IMAP, SMTP   serverFields
}

type serverFields struct {
	Name, Host, Port, Username string
	Security                   string
	Securities                 []string
	Required                   bool
}

// ask reads and checks what the application asked for. Until its redirect URI is known to be one of the application's, the
// user is sent nowhere: the error is shown.
func (c *call) ask() (asked, error) {
	q := c.r.URL.Query()
	var out asked
	app, err := c.a.Store.App(c.r.Context(), mail.AppID(strings.ToLower(q.Get("client_id"))))
	if mail.IsKind(err, mail.NotFound) {
		return out, mail.E(mail.Invalid, "authorize", "client_id is not the id of an application", nil)
	}
	if err != nil {
		return out, err
	}
	uris, err := c.a.Store.RedirectURIs(c.r.Context(), app.ID)
	if err != nil {
		return out, err
	}
	to := q.Get("redirect_uri")
	if !slices.ContainsFunc(uris, func(u store.RedirectURI) bool { return u.URL == to }) {
		return out, errRedirect
	}
	if out.redirect, err = url.Parse(to); err != nil {
		return out, errRedirect
	}
	out.app, out.state, out.hint = app, q.Get("state"), v3.Address(q.Get("login_hint"))
	out.smtp = slices.Contains(strings.FieldsFunc(q.Get("options"), func(r rune) bool { return r == ',' || r == ' ' }), "smtp_required")
	out.login = auth.Login{RedirectURI: to, Challenge: q.Get("code_challenge"), ChallengeMethod: strings.ToLower(q.Get("code_challenge_method")),
		Offline: q.Get("access_type") == "offline", Scope: strings.Join(strings.Fields(q.Get("scope")), " ")}
	refuse := func(why, text string) {
		if out.why == "" {
			out.why, out.refused = why, text
		}
	}
	if len(out.state) > maxState {
		out.state = ""
		refuse(v3.OAuthInvalid, "state is longer than 256 characters")
	}
	if t := q.Get("response_type"); t != "code" {
		refuse(v3.OAuthResponse, "response_type must be code: there is no admin consent here")
	}
	switch {
	case len(out.login.Challenge) > 256 || len(out.login.Scope) > 2048:
		refuse(v3.OAuthInvalid, "code_challenge or scope is too long")
	case out.login.Challenge == "":
	case out.login.ChallengeMethod == "":
		out.login.ChallengeMethod = "plain" // RFC 7636 4.3
	case out.login.ChallengeMethod != "plain" && out.login.ChallengeMethod != "s256":
		refuse(v3.OAuthInvalid, "code_challenge_method must be S256 or plain")
	}
	for _, p := range strings.Split(q.Get("provider"), ",") {
		if p = strings.ToLower(strings.TrimSpace(p)); slices.Contains(v3.Providers(), p) {
			if _, err := connector(app.Details, p); err == nil {
				out.providers = append(out.providers, p)
			}
		}
	}
	if q.Get("provider") == "" {
		out.providers = v3.Providers()
	}
	if len(out.providers) == 0 {
		refuse(v3.OAuthInvalid, "none of these providers can be connected here: imap and icloud can")
	}
	return out, nil
}

var errRedirect = mail.E(mail.Invalid, "authorize", "redirect_uri is not one of the application's; it must be registered, letter by letter, by POST /v3/applications/redirect-uris", nil)

// back sends the browser to the application.
func (c *call) back(to *url.URL, add url.Values) error {
	u := *to
	q := u.Query()
	for k, v := range add {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	c.Header().Set("Location", u.String())
	c.WriteHeader(http.StatusFound)
	return nil
}

func (c *call) refuse(in asked, why, text string) error {
	add := url.Values{"error": {why}, "error_code": {"400"}, "error_description": {text}, "error_uri": {v3.OAuthErrorURI}}
	if in.state != "" {
		add.Set("state", in.state)
	}
	return c.back(in.redirect, add)
}

// html writes a page. It may be framed by nobody and loads nothing.
func (c *call) html(status int, name string, data any, formTo string) error {
	b := c.buffer()
	defer c.release(b)
	if err := c.a.pages.t.ExecuteTemplate(b, name, data); err != nil {
		return err
	}
	h := c.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+c.a.pages.style+"; form-action "+formTo+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	c.WriteHeader(status)
	_, _ = c.Write(b.Bytes())
	return nil
}

// authorizeFail tells the user, or whoever tries the address by hand, what is wrong with it.
func (c *call) authorizeFail(err error) error {
	status, e := v3.ErrorOf(err)
	if err == errRedirect {
		e.Type = v3.TypeRedirect
	}
	if status >= 500 || !strings.Contains(c.r.Header.Get("Accept"), "text/html") {
		if err == errRedirect {
			c.error(status, e)
			return nil
		}
		return err
	}
	return c.html(status, "connect.html", connectPage{Error: e.Message}, "'none'")
}

// secure tells whether browsers reach this server by https.
func (c *call) secure() bool { return strings.HasPrefix(c.a.issuer(c.r), "https:") }

func (c *call) cookieName() string {
	if c.secure() {
		return "__Host-posthorn-connect"
	}
	return "posthorn-connect"
}

// form shows a step of the page.
func (c *call) form(status int, in asked, p connectPage) error {
	p.CSRF = rand.Text()
	http.SetCookie(c, &http.Cookie{Name: c.cookieName(), Value: p.CSRF, Path: "/", MaxAge: 3600, HttpOnly: true, Secure: c.secure(), SameSite: http.SameSiteStrictMode})
	p.App, p.Action, p.SMTPRequired = branding(in.app).Name, "/v3/connect/auth?"+c.r.URL.RawQuery, in.smtp
	p.IMAP.Name, p.SMTP.Name, p.SMTP.Required = "imap", "smtp", in.smtp && p.Open
	p.IMAP.Securities = []string{"tls", "starttls", "none"}
	p.SMTP.Securities = p.IMAP.Securities
	to := "'self'"
	if in.redirect.Scheme == "http" || in.redirect.Scheme == "https" { // browsers hold the redirect after the form against it too
		to += " " + in.redirect.Scheme + "://" + in.redirect.Host
	} else {
		to += " " + in.redirect.Scheme + ":"
	}
	return c.html(status, "connect.html", p, to)
}

// loginForm fills the step that asks for the password with what is known of the address.
func (c *call) loginForm(in asked, email string) connectPage {
	d := provider.Detect(c.r.Context(), c.a.Auth.Resolver(), email)
	p := connectPage{Step: "login", Email: email, Open: !d.Known}
	if d.Known {
		p.Provider, p.Hint, p.HintURL = d.Profile.Name, d.Profile.Hint, d.Profile.HintURL
		p.IMAP, p.SMTP = fieldsOf(d.Profile.IMAP), fieldsOf(d.Profile.SMTP)
	}
	return p
}

func fieldsOf(e mail.Endpoint) serverFields {
	f := serverFields{Host: e.Host, Security: string(e.Security)}
	if e.Port != 0 {
		f.Port = strconv.Itoa(e.Port)
	}
	return f
}

func (a *API) authorize(c *call) error {
	in, err := c.ask()
	if err != nil {
		return c.authorizeFail(err)
	}
	if in.why != "" {
		return c.refuse(in, in.why, in.refused)
	}
	if in.hint == "" {
		return c.form(http.StatusOK, in, connectPage{Step: "email"})
	}
	return c.form(http.StatusOK, in, c.loginForm(in, in.hint))
}

// authorizeStep takes what the user typed.
func (a *API) authorizeStep(c *call) error {
	in, err := c.ask()
	if err != nil {
		return c.authorizeFail(err)
	}
	if in.why != "" {
		return c.refuse(in, in.why, in.refused)
	}
	if err := c.r.ParseForm(); err != nil {
		return c.authorizeFail(mail.E(mail.Invalid, "read form", "the form is not well-formed", err))
	}
	f := c.r.PostForm
	cookie, err := c.r.Cookie(c.cookieName())
	if err != nil || cookie.Value == "" || a.pages.cross.Check(c.r) != nil || subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(f.Get("csrf"))) != 1 {
		p := connectPage{Step: "email", Error: "The page was open for too long, or cookies are turned off. Please try again.", Email: v3.Address(f.Get("email"))}
		return c.form(http.StatusForbidden, in, p)
	}
	if f.Get("cancel") != "" {
		return c.refuse(in, v3.OAuthDenied, "the user did not connect a mailbox")
	}
	email := v3.Address(f.Get("email"))
	if email == "" {
		return c.form(http.StatusBadRequest, in, connectPage{Step: "email", Error: "Please give a complete e-mail address, such as name@example.com.", Email: f.Get("email")})
	}
	if f.Get("step") != "login" {
		return c.form(http.StatusOK, in, c.loginForm(in, email))
	}
	p := c.loginForm(in, email)
	p.IMAP, p.SMTP, p.NoSMTP = typed(f, "imap"), typed(f, "smtp"), f.Get("no_smtp") != "" && !in.smtp
	p.Open = p.Open || f.Get("imap_host") != p.IMAP.Host
	code, err := c.connectTyped(in, email, f, p.NoSMTP)
	if err != nil {
		status, e := v3.ErrorOf(err)
		if status >= 500 && !mail.IsKind(err, mail.Unavailable) {
			return err
		}
		p.Error, p.Open = strings.ReplaceAll(e.Message, "settings.", ""), p.Open || !mail.IsKind(err, mail.Reauth)
		return c.form(status, in, p)
	}
	add := url.Values{"code": {code}}
	if in.state != "" {
		add.Set("state", in.state)
	}
	return c.back(in.redirect, add)
}

// typed are the fields of a server as the user left them.
func typed(f url.Values, name string) serverFields {
	return serverFields{Host: f.Get(name + "_host"), Port: f.Get(name + "_port"), Security: f.Get(name + "_security"), Username: f.Get(name + "_username")}
}

// connectTyped connects the mailbox that the user typed, and makes the code that tells the application of it.
func (c *call) connectTyped(in asked, email string, f url.Values, noSMTP bool) (string, error) {
	if wait := c.a.pages.logins.take(network(c.r.RemoteAddr)); wait > 0 {
		return "", &mail.Error{Op: "connect", Kind: mail.Limited, After: wait, Msg: "Too many tries. Please wait a minute."}
	}
	kind := in.providers[0]
	if d := provider.Detect(c.r.Context(), nil, email); slices.Contains(in.providers, "icloud") && d.Known && d.Profile.Key == "icloud" {
		kind = "icloud"
	}
	set := map[string]string{"imap_username": f.Get("imap_username"), "imap_password": f.Get("password"), "email": email}
	if set["imap_username"] == "" {
		set["imap_username"] = email
	}
	for _, k := range []string{"imap_host", "imap_port", "imap_security", "smtp_host", "smtp_port", "smtp_security", "smtp_username"} {
		if v := strings.TrimSpace(f.Get(k)); v != "" && !(noSMTP && strings.HasPrefix(k, "smtp")) {
			set[k] = v
		}
	}
	body, err := json.Marshal(map[string]any{"provider": kind, "settings": set})
	if err != nil {
		return "", err
	}
	req, err := v3.ParseConnect(bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	if req.SMTP == nil && !noSMTP {
		req.SMTP = &mail.Endpoint{} // to be found out, and proven
	}
	acct, created, err := c.a.Auth.Connect(c.r.Context(), in.app.ID, req)
	if err != nil {
		return "", err
	}
	c.a.restart(c, acct.ID, created)
	return c.a.Auth.Code(c.r.Context(), in.app.ID, acct.ID, in.login)
}

// network is what one attacker commands: an IPv4 address, or the /64 of an IPv6 address.
func network(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := ap.Addr().Unmap()
	if addr.Is4() {
		return addr.String()
	}
	p, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
	return p.String()
}
