package v3

import (
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/posthorn/posthorn/internal/mail"
)

// Application is the owner of the API key.
type Application struct {
	ApplicationID  mail.AppID      `json:"application_id"`
	OrganizationID string          `json:"organization_id"`
	Region         string          `json:"region"`      // clients know "us" and "eu" only
	Environment    string          `json:"environment"` // clients know "production" and "staging" only
	Branding       Branding        `json:"branding"`
	Hosted         json.RawMessage `json:"hosted_authentication,omitempty"` // opaque
	CallbackURIs   []RedirectURI   `json:"callback_uris"`
	CreatedAt      int64           `json:"created_at"`
	UpdatedAt      int64           `json:"updated_at"`
}

// Branding names an application to people. The connect page shows the name, and loads nothing from elsewhere.
type Branding struct {
	Name        string `json:"name"`
	IconURL     string `json:"icon_url,omitempty"`
	WebsiteURL  string `json:"website_url,omitempty"`
	Description string `json:"description,omitempty"`
}

// ApplicationUpdate is the body of PATCH applications; nil fields stay as they are.
type ApplicationUpdate struct {
	Branding *Branding       `json:"branding"`
	Hosted   json.RawMessage `json:"hosted_authentication"`
}

// The bounds of what an application says of itself, in bytes.
const (
	maxWord   = 2048
	maxObject = 16 << 10
)

func wordy(s string) bool {
	return len(s) <= maxWord && !strings.ContainsFunc(s, unicode.IsControl)
}

// object checks a JSON object that is kept as it is; null is none.
func object(raw *json.RawMessage, name string) error {
	if string(*raw) == "null" {
		*raw = nil
	}
	if *raw == nil {
		return nil
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(*raw, &o) != nil || len(*raw) > maxObject {
		return invalid("read body", name+" must be a JSON object of at most 16 kB")
	}
	return nil
}

// ParseApplicationUpdate reads and checks an ApplicationUpdate. It fails with Invalid.
func ParseApplicationUpdate(body io.Reader) (ApplicationUpdate, error) {
	var u ApplicationUpdate
	if err := DecodeJSON(body, &u); err != nil {
		return u, err
	}
	if b := u.Branding; b != nil && (!wordy(b.Name) || !wordy(b.IconURL) || !wordy(b.WebsiteURL) || !wordy(b.Description)) {
		return u, invalid("read body", "branding holds a text that is too long or has control characters")
	}
	return u, object(&u.Hosted, "hosted_authentication")
}

// RedirectURI is where users may be sent after they have connected a mailbox.
type RedirectURI struct {
	ID       string          `json:"id"`
	URL      string          `json:"url"`
	Platform string          `json:"platform"`
	Settings json.RawMessage `json:"settings,omitempty"` // opaque
}

// RedirectURIWrite is the body of POST and PATCH redirect-uris; nil fields stay as they are.
type RedirectURIWrite struct {
	URL      *string         `json:"url"`
	Platform *string         `json:"platform"`
	Settings json.RawMessage `json:"settings"`
}

// ParseRedirectURI reads and checks a RedirectURIWrite. It fails with Invalid.
func ParseRedirectURI(body io.Reader, create bool) (RedirectURIWrite, error) {
	var w RedirectURIWrite
	if err := DecodeJSON(body, &w); err != nil {
		return w, err
	}
	if create && w.URL == nil {
		return w, invalid("read body", "url is missing")
	}
	if w.URL != nil && !Redirectable(*w.URL) {
		return w, invalid("read body", "url must be an absolute URL without fragment, user name or password; it is compared letter by letter")
	}
	if w.Platform != nil && !slices.Contains([]string{"web", "desktop", "js", "ios", "android"}, *w.Platform) {
		return w, invalid("read body", "platform must be web, desktop, js, ios or android")
	}
	return w, object(&w.Settings, "settings")
}

// Redirectable tells whether a browser may be sent to a URL: http, https, or an application's own scheme, never one that a
// browser would run or read as a document.
func Redirectable(s string) bool {
	u, err := url.Parse(s)
	if err != nil || !wordy(s) || strings.ContainsAny(s, " \\\"<>;,") || u.Scheme == "" || u.Fragment != "" || strings.Contains(s, "#") || u.User != nil || u.Opaque != "" {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Hostname() != ""
	case "javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "ws", "wss", "ftp", "mailto":
		return false
	}
	return true
}

// Connector is how mailboxes of a provider are connected.
type Connector struct {
	Name     string          `json:"name"`
	Provider string          `json:"provider"`
	Settings json.RawMessage `json:"settings"`
	Scope    []string        `json:"scope"`
}

// ConnectorWrite is the body of POST and PATCH connectors; nil fields stay as they are.
type ConnectorWrite struct {
	Provider string          `json:"provider"`
	Name     *string         `json:"name"`
	Settings json.RawMessage `json:"settings"`
	Scope    *[]string       `json:"scope"`
}

// Providers are those that can be connected.
func Providers() []string { return []string{"imap", "icloud"} }

// ParseConnector reads and checks a ConnectorWrite. It fails with Invalid.
func ParseConnector(body io.Reader, create bool) (ConnectorWrite, error) {
	var w ConnectorWrite
	if err := DecodeJSON(body, &w); err != nil {
		return w, err
	}
	if create && !slices.Contains(Providers(), w.Provider) {
		return w, invalid("read body", "provider must be imap or icloud")
	}
	if w.Name != nil && !wordy(*w.Name) {
		return w, invalid("read body", "name is too long or has control characters")
	}
	if w.Scope != nil && (len(*w.Scope) > 100 || slices.ContainsFunc(*w.Scope, func(s string) bool { return !wordy(s) })) {
		return w, invalid("read body", "scope is too long")
	}
	return w, object(&w.Settings, "settings")
}
