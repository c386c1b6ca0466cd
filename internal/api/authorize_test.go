package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/v3"
)

const callback = "https://app.example.com/cb?from=posthorn"

// browser is what a user sees and sends.
type browser struct {
	*bundle
	query  url.Values
	cookie string
	csrf   string
}

func (b *bundle) browser(more ...string) *browser {
	b.t.Helper()
	if a := b.send("POST", "/v3/applications/redirect-uris", fmt.Sprintf(`{"url":%q}`, callback)); a.Code != 201 {
		b.t.Fatalf("%d %s", a.Code, a.Body)
	}
	q := url.Values{"client_id": {string(b.app)}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {"st&te"}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return &browser{bundle: b, query: q}
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

func (w *browser) took(a *answer) *answer {
	w.t.Helper()
	if m := csrfField.FindStringSubmatch(a.Body.String()); m != nil {
		w.csrf = html.UnescapeString(m[1])
	}
	for _, c := range a.Result().Cookies() {
		w.cookie = c.Name + "=" + c.Value
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			w.t.Errorf("cookie: %+v", c)
		}
	}
	if strings.HasPrefix(a.Header().Get("Content-Type"), "text/html") {
		if csp := a.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			w.t.Errorf("policy: %s", csp)
		}
		if strings.Contains(a.Body.String(), "secret-pass") || a.Header().Get("Cache-Control") != "no-store" {
			w.t.Error("the page holds the password, or may be kept")
		}
	}
	return a
}

func (w *browser) open() *answer {
	w.t.Helper()
	return w.took(w.do("GET", "/v3/connect/auth?"+w.query.Encode(), "Authorization", "", "Accept", "text/html"))
}

func (w *browser) post(fields ...string) *answer {
	w.t.Helper()
	f := url.Values{"csrf": {w.csrf}}
	for i := 0; i+1 < len(fields); i += 2 {
		f.Set(fields[i], fields[i+1])
	}
	return w.took(w.send("POST", "/v3/connect/auth?"+w.query.Encode(), f.Encode(), "Authorization", "", "Accept", "text/html", "Content-Type", "application/x-www-form-urlencoded", "Cookie", w.cookie))
}

// arrived returns what the application is told.
func (w *browser) arrived(a *answer) url.Values {
	w.t.Helper()
	to, err := url.Parse(a.Header().Get("Location"))
	if err != nil || a.Code != 302 || to.Host != "app.example.com" || to.Query().Get("from") != "posthorn" || to.Query().Get("state") != "st&te" {
		w.t.Fatalf("%d to %q: %s", a.Code, a.Header().Get("Location"), a.Body)
	}
	return to.Query()
}

func (w *browser) login(password string) *answer {
	w.t.Helper()
	return w.post("step", "login", "email", "Ann@example.test", "password", password, "imap_host", "127.0.0.1", "imap_port", fmt.Sprint(imapServer(w.t)), "imap_security", "none", "no_smtp", "1")
}

type tokens struct {
	v3.Tokens
	failed v3.OAuthError
}

func (b *bundle) exchange(body string, headers ...string) (int, tokens) {
	b.t.Helper()
	a := b.send("POST", "/v3/connect/token", body, append([]string{"Authorization", ""}, headers...)...)
	var out tokens
	if json.Unmarshal(a.Body.Bytes(), &out.failed) != nil || json.Unmarshal(a.Body.Bytes(), &out.Tokens) != nil {
		b.t.Fatalf("%s", a.Body)
	}
	return a.Code, out
}

func TestHostedLogin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	verifier := "b3a1b9c0-0000-4000-8000-000000000001"
	sum := sha256.Sum256([]byte(verifier))
	w := b.browser("access_type", "offline", "code_challenge_method", "s256", "code_challenge", base64.RawStdEncoding.EncodeToString([]byte(hex.EncodeToString(sum[:]))))
	a := w.open()
	if a.Code != 200 || !strings.Contains(a.Body.String(), `type="email"`) || !strings.Contains(a.Header().Get("Content-Security-Policy"), "form-action 'self' https://app.example.com") {
		t.Fatalf("%d %s %v", a.Code, a.Body, a.Header())
	}
	if a = w.post("step", "email", "email", "nobody"); a.Code != 400 || !strings.Contains(a.Body.String(), "complete e-mail address") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a = w.post("step", "email", "email", "x@gmail.com"); a.Code != 200 || !strings.Contains(a.Body.String(), "imap.gmail.com") || !strings.Contains(a.Body.String(), "app password") {
		t.Errorf("what is known of the provider is shown: %d %s", a.Code, a.Body)
	}
	if a = w.post("step", "email", "email", "Ann@example.test"); a.Code != 200 || !strings.Contains(a.Body.String(), `type="password"`) || !strings.Contains(a.Body.String(), `<details open>`) {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	if a = w.login("secret-pass-wrong"); a.Code != 401 || !strings.Contains(a.Body.String(), "password is wrong") || !strings.Contains(a.Body.String(), `role="alert"`) {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	code := w.arrived(w.login("secret-pass-right")).Get("code")
	var g v3.Grant
	b.get("/v3/grants/ann@example.test", &g)

	ask := func(format string, args ...any) (int, tokens) {
		t.Helper()
		return b.exchange(fmt.Sprintf(format, args...))
	}
	bad := func(name string, status int, got tokens, code int) {
		t.Helper()
		if e := got.failed; code != status || e.Error != name || e.Code != status || e.Description == "" || e.URI == "" || e.RequestID == "" {
			t.Errorf("%d %+v, want %d %s", code, e, status, name)
		}
	}
	exchange := `{"grant_type":"authorization_code","client_id":%q,"redirect_uri":%q,"code":%q,"code_verifier":%q}`
	status, got := ask(exchange, b.app, callback, "phc_no", verifier)
	bad(v3.OAuthGrant, 400, got, status)
	status, got = ask(exchange, uuid(), callback, code, verifier)
	bad(v3.OAuthClient, 401, got, status)
	status, got = ask(exchange, b.app, callback, code, verifier)
	if status != 200 || got.GrantID != g.ID || got.Email != "ann@example.test" || got.ExpiresIn != 3600 || got.TokenType != "Bearer" || got.RefreshToken == "" || got.Provider != "imap" {
		t.Fatalf("%d %+v", status, got)
	}
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	var me v3.Grant
	b.get("/v3/grants/me", &me, bearer(got.AccessToken)...)
	if me.ID != g.ID {
		t.Errorf("me is %s", me.ID)
	}
	b.get("/v3/grants/me/messages", nil, bearer(got.AccessToken)...)
	b.get("/v3/grants/"+string(g.ID)+"/folders", nil, bearer(got.AccessToken)...)
	for _, p := range []string{"GET /v3/grants", "GET /v3/webhooks", "GET /v3/applications", "DELETE /v3/grants/me", "PATCH /v3/grants/me", "GET /v3/grants/" + uuid() + "/messages", "GET /v3/grants/bob@example.test"} {
		method, path, _ := strings.Cut(p, " ")
		b.fails(b.do(method, path, bearer(got.AccessToken)...), 401, v3.TypeUnauthorized, "")
	}

	status, again := b.exchange(url.Values{"grant_type": {"refresh_token"}, "client_id": {string(b.app)}, "refresh_token": {got.RefreshToken}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if status != 200 || again.AccessToken == got.AccessToken || again.AccessToken == "" {
		t.Errorf("%d %+v", status, again)
	}
	var info v3.TokenInfo
	b.get("/v3/connect/tokeninfo?access_token="+got.AccessToken, &info, "Authorization", "")
	if info.Subject != g.ID || info.Audience != b.app || info.Expires-info.IssuedAt != 3600 || !strings.HasPrefix(info.Issuer, "http") {
		t.Errorf("%+v", info)
	}

	// The code again: whoever has it is a thief, or the other was.
	status, twice := ask(exchange, b.app, callback, code, verifier)
	bad(v3.OAuthGrant, 400, twice, status)
	for _, token := range []string{got.AccessToken, again.AccessToken} {
		b.fails(b.do("GET", "/v3/grants/me", bearer(token)...), 401, v3.TypeUnauthorized, "")
	}

	// With the application's key instead of PKCE; the grant keeps its id.
	w.query.Del("code_challenge")
	w.query.Del("access_type")
	w.open()
	code = w.arrived(w.login("secret-pass-right")).Get("code")
	status, got = ask(`{"grant_type":"authorization_code","client_id":%q,"redirect_uri":%q,"code":%q,"client_secret":"ph_wrong"}`, b.app, callback, code)
	bad(v3.OAuthClient, 401, got, status)
	status, got = ask(`{"grant_type":"authorization_code","client_id":%q,"redirect_uri":%q,"code":%q,"client_secret":%q}`, b.app, callback, code, b.key)
	if status != 200 || got.GrantID != g.ID || got.RefreshToken != "" {
		t.Fatalf("%d %+v", status, got)
	}
	if a := b.do("POST", "/v3/connect/revoke?token="+got.AccessToken, "Authorization", ""); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.fails(b.do("GET", "/v3/grants/me", bearer(got.AccessToken)...), 401, v3.TypeUnauthorized, "")
	b.get("/v3/grants/"+string(g.ID), nil)

	// A code without a proof of any kind, of another redirect URI, after its time.
	for range 2 {
		w.open()
		code = w.arrived(w.login("secret-pass-right")).Get("code")
		status, got = ask(`{"grant_type":"authorization_code","client_id":%q,"redirect_uri":"https://app.example.com/other","code":%q,"client_secret":%q}`, b.app, code, b.key)
		bad(v3.OAuthGrant, 400, got, status)
	}
	w.open()
	code = w.arrived(w.login("secret-pass-right")).Get("code")
	status, got = ask(`{"grant_type":"authorization_code","client_id":%q,"redirect_uri":%q,"code":%q}`, b.app, callback, code)
	bad(v3.OAuthGrant, 400, got, status)

	status, got = ask(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q,"grant_id":%q}`, b.app, b.key, g.ID)
	if status != 200 || got.AccessToken == "" {
		t.Errorf("%d %+v", status, got)
	}
	b.get("/v3/grants/me", nil, bearer(got.AccessToken)...)
	if a := b.send("DELETE", "/v3/grants/"+string(g.ID), ""); a.Code != 200 {
		t.Fatal(a.Body)
	}
	b.fails(b.do("GET", "/v3/grants/me", bearer(got.AccessToken)...), 401, v3.TypeUnauthorized, "")
	status, got = ask(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q,"grant_id":%q}`, b.app, b.key, g.ID)
	bad(v3.OAuthGrant, 400, got, status)
	status, got = ask(`{"grant_type":"password","client_id":%q}`, b.app)
	bad(v3.OAuthUnsupported, 400, got, status)
	status, got = ask(`{`)
	bad(v3.OAuthInvalid, 400, got, status)
	if a := b.do("GET", "/v3/connect/tokeninfo?access_token=nope", "Authorization", ""); a.Code != 400 || !strings.Contains(a.Body.String(), `"error":"invalid_token"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

func TestConnectPageIsCareful(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.browser("login_hint", "ann@example.test")
	good := w.query.Encode()
	if a := w.open(); a.Code != 200 || !strings.Contains(a.Body.String(), `type="password"`) || !strings.Contains(a.Body.String(), `value="ann@example.test"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	// Nobody is sent to where the application does not want them.
	for _, to := range []string{"https://evil.example/", "https://app.example.com/cb", "https://app.example.com/cb?from=posthorn&x=1", callback + "#x", "", "javascript:alert(1)"} {
		w.query.Set("redirect_uri", to)
		a := w.open()
		if a.Code != 400 || a.Header().Get("Location") != "" || !strings.Contains(a.Body.String(), "redirect_uri is not one of the application") {
			t.Errorf("%s: %d %s", to, a.Code, a.Body)
		}
		b.fails(b.do("GET", "/v3/connect/auth?"+w.query.Encode(), "Authorization", ""), 400, v3.TypeRedirect, "letter by letter")
	}
	w.query.Set("client_id", uuid())
	if a := w.open(); a.Code != 400 || !strings.Contains(a.Body.String(), "client_id") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	// What else is wrong, the application is told.
	for _, c := range [][3]string{
		{"response_type", "adminconsent", v3.OAuthResponse}, {"response_type", "token", v3.OAuthResponse}, {"provider", "google", v3.OAuthInvalid},
		{"code_challenge", strings.Repeat("x", 300), v3.OAuthInvalid},
	} {
		w.query, _ = url.ParseQuery(good)
		w.query.Set(c[0], c[1])
		if got := w.arrived(w.open()); got.Get("error") != c[2] || got.Get("error_description") == "" || got.Get("error_code") == "" || got.Get("error_uri") == "" {
			t.Errorf("%v: %v", c, got)
		}
	}
	w.query, _ = url.ParseQuery(good)
	w.open()
	if got := w.arrived(w.post("cancel", "1")); got.Get("error") != v3.OAuthDenied {
		t.Errorf("%v", got)
	}
	// A form that another page sends, or made up.
	csrf, cookie := w.csrf, w.cookie
	for name, spoil := range map[string]func(){"no cookie": func() { w.cookie = "" }, "wrong": func() { w.csrf = "x" }, "empty": func() { w.cookie, w.csrf = "posthorn-connect=", "" }} {
		w.csrf, w.cookie = csrf, cookie
		spoil()
		if a := w.login("secret-pass-right"); a.Code != 403 || a.Header().Get("Location") != "" {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	w.csrf, w.cookie = csrf, cookie
	a := b.send("POST", "/v3/connect/auth?"+good, url.Values{"csrf": {csrf}, "cancel": {"1"}}.Encode(), "Authorization", "", "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie, "Sec-Fetch-Site", "cross-site")
	if a.Code != 403 {
		t.Errorf("from another site: %d", a.Code)
	}
	// Guessing passwords through it is slow.
	port := fmt.Sprint(imapServer(t))
	for n := 0; ; n++ {
		if a = w.post("step", "login", "email", "ann@example.test", "password", "guess", "imap_host", "127.0.0.1", "imap_port", port, "imap_security", "none", "no_smtp", "1"); a.Code == 429 {
			break
		}
		if n > triesBurst {
			t.Fatalf("%d tries: %d %s", n, a.Code, a.Body)
		}
	}
	// Hostile text stays text.
	w.query.Set("login_hint", "")
	w.open()
	if a = w.post("step", "email", "email", `"><script>alert(1)</script>`); strings.Contains(a.Body.String(), "<script>") {
		t.Error("a script from the form is in the page")
	}
	if len(b.engine.told) != 0 {
		t.Errorf("the engine was told %v", b.engine.told)
	}
}

func TestApplicationSettings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var app v3.Application
	a := b.send("PATCH", "/v3/applications", `{"branding":{"name":"Shop <b>","website_url":"https://shop.example"},"hosted_authentication":{"title":"x"}}`)
	b.decode(a, &app)
	b.send("PATCH", "/v3/applications", `{}`)
	b.get("/v3/applications", &app)
	if app.Branding.Name != "Shop <b>" || app.Branding.WebsiteURL == "" || string(app.Hosted) != `{"title":"x"}` || app.CallbackURIs == nil {
		t.Errorf("%+v", app)
	}
	b.fails(b.send("PATCH", "/v3/applications", `{"branding":{"name":1}}`), 400, v3.TypeInvalid, "branding")
	w := b.browser()
	if a := w.open(); !strings.Contains(a.Body.String(), "to Shop &lt;b&gt;</h1>") {
		t.Errorf("%s", a.Body)
	}
	b.get("/v3/applications", &app)
	if len(app.CallbackURIs) != 1 || app.CallbackURIs[0].URL != callback || app.CallbackURIs[0].Platform != "web" {
		t.Fatalf("%+v", app)
	}
	path := "/v3/applications/redirect-uris/" + app.CallbackURIs[0].ID
	var u v3.RedirectURI
	b.decode(b.send("PATCH", path, `{"platform":"js","settings":{"origin":"https://app.example.com"}}`), &u)
	b.get(path, &u)
	if u.URL != callback || u.Platform != "js" || string(u.Settings) != `{"origin":"https://app.example.com"}` {
		t.Errorf("%+v", u)
	}
	for _, bad := range []string{"javascript:alert(1)", "data:text/html,x", "/cb", "https://", "https://a@b.example/", "https://b.example/#f", "https://b.example/;script-src *", "https://b.example/ x"} {
		b.fails(b.send("POST", "/v3/applications/redirect-uris", fmt.Sprintf(`{"url":%q}`, bad)), 400, v3.TypeInvalid, "url")
	}
	if a := b.send("POST", "/v3/applications/redirect-uris", `{"url":"com.example.app:/cb","platform":"ios"}`); a.Code != 201 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	var list []v3.RedirectURI
	b.get("/v3/applications/redirect-uris", &list)
	if len(list) != 2 {
		t.Errorf("%+v", list)
	}
	if a := b.do("DELETE", path); a.Code != 200 {
		t.Error(a.Body)
	}
	b.fails(b.do("GET", path), 404, v3.TypeNotFound, "")
	b.fails(b.do("DELETE", path), 404, v3.TypeNotFound, "")
	b.fails(b.send("PATCH", path, `{}`), 404, v3.TypeNotFound, "")

	var cons []v3.Connector
	b.get("/v3/connectors", &cons)
	if len(cons) != 2 || cons[0].Provider != "imap" || cons[0].Name == "" || string(cons[0].Settings) != "{}" || cons[0].Scope == nil {
		t.Errorf("%+v", cons)
	}
	if a := b.send("PUT", "/v3/connectors/imap", `{"name":"Any mail"}`); a.Code != 200 || !strings.Contains(a.Body.String(), "Any mail") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := b.do("DELETE", "/v3/connectors/imap"); a.Code != 200 {
		t.Error(a.Body)
	}
	b.fails(b.do("GET", "/v3/connectors/imap"), 404, v3.TypeNotFound, "")
	b.fails(b.send("POST", "/v3/connect/custom", `{"provider":"imap","settings":{"imap_username":"a@b.example","imap_password":"x","imap_host":"127.0.0.1","imap_port":1}}`), 400, v3.TypeInvalid, "connector")
	w = b.browser("provider", "imap")
	if got := w.arrived(w.open()); got.Get("error") != v3.OAuthInvalid {
		t.Errorf("%v", got)
	}
	if a := b.send("POST", "/v3/connectors", `{"provider":"imap"}`); a.Code != 201 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.fails(b.send("POST", "/v3/connectors", `{"provider":"google"}`), 400, v3.TypeInvalid, "imap or icloud")
	if _, err := b.store.App(t.Context(), mail.AppID("x")); !mail.IsKind(err, mail.NotFound) {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.api.byGrant = perSecond(b.api.Now, 1)
	ann, bob := b.account("ann@example.test"), b.account("bob@example.test")
	for want := 1; want >= 0; want-- {
		a := b.do("GET", ann.base+"/folders")
		if a.Code != 200 || a.Header().Get("RateLimit-Remaining") != fmt.Sprint(want) || a.Header().Get("RateLimit-Limit") != "1" {
			t.Errorf("%d %v", a.Code, a.Header())
		}
	}
	a := b.do("GET", ann.base+"/folders")
	b.fails(a, 429, v3.TypeRateLimit, "Retry-After")
	if a.Header().Get("Retry-After") != "1" {
		t.Errorf("%v", a.Header())
	}
	b.get(bob.base+"/folders", nil)
	b.api.byKey = perSecond(b.api.Now, 1)
	for range 2 {
		b.get("/v3/webhooks", nil)
	}
	b.fails(b.do("GET", "/v3/webhooks"), 429, v3.TypeRateLimit, "key")
	b.fails(b.do("GET", "/v3/webhooks", "Authorization", "Bearer no"), 401, v3.TypeUnauthorized, "")
}
