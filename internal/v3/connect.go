package v3

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/mail"
)

// Connect is a request to connect a mailbox, or to log in to a connected one again. Zero values of the endpoints
// are to be found out.
type Connect struct {
	Provider     string
	Email        string // imap_username if that is an address, else settings.email; "" when neither is
	Name         string
	State        string
	Scope        []string
	IMAP         mail.Endpoint
	IMAPPassword mail.Secret
	SMTP         *mail.Endpoint // nil: none given
	SMTPPassword mail.Secret    // zero: as for IMAP

	Sync *mail.SyncPolicy // nil: nothing was said of it
}

// GrantUpdate is a request to change a grant; nil fields stay as they are.
type GrantUpdate struct {
	Settings *Connect
	Scope    *[]string
}

type connectBody struct {
	Provider string                     `json:"provider"`
	State    string                     `json:"state"`
	Scope    *[]string                  `json:"scope"`
	Settings map[string]json.RawMessage `json:"settings"`
}

// ParseConnect reads the body of POST /v3/connect/custom. Unknown fields are ignored.
func ParseConnect(body io.Reader) (Connect, error) {
	var b connectBody
	if err := DecodeJSON(body, &b); err != nil {
		return Connect{}, err
	}
	if len(b.Settings) == 0 {
		return Connect{}, invalid("read settings", "settings is required, with imap_username and imap_password")
	}
	return parseSettings(b)
}

// ParseGrantUpdate reads the body of PATCH /v3/grants/{id} for a grant of the given provider.
func ParseGrantUpdate(body io.Reader, provider string) (GrantUpdate, error) {
	var b connectBody
	if err := DecodeJSON(body, &b); err != nil {
		return GrantUpdate{}, err
	}
	out := GrantUpdate{Scope: b.Scope}
	if b.Settings != nil {
		b.Provider = provider
		c, err := parseSettings(b)
		if err != nil {
			return GrantUpdate{}, err
		}
		out.Settings = &c
	}
	return out, nil
}

// DecodeJSON reads one JSON value into v.
//
// It fails with Invalid; an error of the reader itself, such as a body over the limit, comes back as it is.
func DecodeJSON(body io.Reader, v any) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return invalid("read body", "the request body must be a JSON object")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		msg := "error parsing request body: it must be a JSON object"
		if e, ok := err.(*json.UnmarshalTypeError); ok && e.Field != "" {
			msg = "error parsing request body: " + e.Field + " has the wrong type"
		}
		return invalid("read body", msg)
	}
	return nil
}

// settings reads the free-form settings object and keeps the first thing that is wrong with it.
type settings struct {
	m   map[string]json.RawMessage
	err error
}

func (s *settings) fail(msg string) {
	if s.err == nil {
		s.err = invalid("read settings", msg)
	}
}

func (s *settings) has(key string) bool {
	v, ok := s.m[key]
	return ok && string(v) != "null"
}

// text reads a string without control characters: these would end up on the wire of a mail server.
func (s *settings) text(key string, most int) string {
	if !s.has(key) {
		return ""
	}
	var out string
	if json.Unmarshal(s.m[key], &out) != nil {
		s.fail("settings." + key + " must be a string")
		return ""
	}
	if len(out) > most || !utf8.ValidString(out) || strings.ContainsFunc(out, unicode.IsControl) {
		s.fail("settings." + key + " is too long or holds characters that cannot be sent")
		return ""
	}
	return out
}

// port reads a number, or a string that holds one.
func (s *settings) port(key string) int {
	if !s.has(key) {
		return 0
	}
	n, err := strconv.Atoi(strings.Trim(string(s.m[key]), `"`))
	if err != nil || n < 1 || n > 65535 {
		s.fail("settings." + key + " must be a port number")
		return 0
	}
	return n
}

// security reads <p>_security, or <p>_tls: true for TLS from the first byte, false for no encryption.
func (s *settings) security(p string) mail.Security {
	if s.has(p + "_security") {
		v := mail.Security(strings.ToLower(s.text(p+"_security", 16)))
		switch v {
		case mail.SecurityTLS, mail.SecuritySTARTTLS, mail.SecurityNone:
			return v
		}
		s.fail("settings." + p + "_security must be tls, starttls or none")
		return ""
	}
	if !s.has(p + "_tls") {
		return ""
	}
	switch strings.ToLower(strings.Trim(string(s.m[p+"_tls"]), `"`)) {
	case "true":
		return mail.SecurityTLS
	case "false":
		return mail.SecurityNone
	}
	s.fail("settings." + p + "_tls must be true or false")
	return ""
}

// host reads a host name or address without port or scheme.
func (s *settings) host(key string) string {
	h := strings.TrimSuffix(strings.TrimSpace(s.text(key, 255)), ".")
	h = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")
	if strings.ContainsAny(h, "/@ \t[]") || strings.Count(h, ":") == 1 {
		s.fail("settings." + key + " must be a host name or an IP address, without port or scheme")
	}
	return strings.ToLower(h)
}

func parseSettings(b connectBody) (Connect, error) {
	s := &settings{m: b.Settings}
	c := Connect{Provider: strings.ToLower(strings.TrimSpace(b.Provider)), State: b.State}
	if b.Scope != nil {
		c.Scope = *b.Scope
	}
	if len(c.State) > 1024 || len(c.Scope) > 100 {
		s.fail("state or scope is too long")
	}
	user, password := "imap_username", "imap_password"
	switch c.Provider {
	case "", "imap":
		c.Provider = "imap"
	case "icloud":
		if !s.has(user) {
			user = "username"
		}
		if !s.has(password) {
			password = "password"
		}
	default:
		s.fail("provider must be imap or icloud")
	}
	c.IMAP = mail.Endpoint{Host: s.host("imap_host"), Port: s.port("imap_port"), Security: s.security("imap"), Username: s.text(user, 512)}
	c.IMAPPassword = mail.NewSecret(s.text(password, 4096))
	if c.IMAP.Username == "" {
		s.fail("settings." + user + " is required")
	}
	if c.IMAPPassword.IsZero() {
		s.fail("settings." + password + " is required")
	}
	if s.has("smtp_host") || s.has("smtp_port") || s.has("smtp_username") || s.has("smtp_password") || s.has("smtp_security") || s.has("smtp_tls") {
		c.SMTP = &mail.Endpoint{Host: s.host("smtp_host"), Port: s.port("smtp_port"), Security: s.security("smtp"), Username: s.text("smtp_username", 512)}
		c.SMTPPassword = mail.NewSecret(s.text("smtp_password", 4096))
	}
	c.Sync = s.policy()
	c.Name = s.text("name", 512)
	if c.Email = Address(c.IMAP.Username); c.Email == "" {
		c.Email = Address(s.text("email", 512))
	}
	if s.has("email") && Address(s.text("email", 512)) == "" {
		s.fail("settings.email must be an e-mail address")
	}
	return c, s.err
}

// Address returns s in lower case if it looks like a single e-mail address, else "".
func Address(s string) string {
	s = strings.TrimSpace(s)
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 || len(s) > 320 || !utf8.ValidString(s) {
		return ""
	}
	if strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune(`,;:<>"()[]\`, r)
	}) {
		return ""
	}
	return strings.ToLower(s)
}
