package app

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"
)

// Config is every setting of a server. The struct tags are the one table from which flags, environment variables, the
// configuration file and the reference page come.
type Config struct {
	Data           string        `name:"data" env:"POSTHORN_DATA" default:"./posthorn-data" type:"path" help:"Directory for the store and the keys."`
	Listen         string        `name:"listen" env:"POSTHORN_LISTEN" default:"127.0.0.1:8025" help:"Address of the API."`
	AdminListen    string        `name:"admin-listen" env:"POSTHORN_ADMIN_LISTEN" default:"127.0.0.1:8026" help:"Address of /livez, /readyz, /status, /metrics and pprof; empty turns it off."`
	DatabaseURL    string        `name:"database-url" env:"POSTHORN_DATABASE_URL" help:"postgres://… keeps the store in PostgreSQL instead of files; see also POSTHORN_DATABASE_URL_FILE."`
	BlobURL        string        `name:"blob-url" env:"POSTHORN_BLOB_URL" help:"s3://… or file://…: where message bytes are kept; empty keeps them beside the rest; see also POSTHORN_BLOB_URL_FILE."`
	EgressAllow    string        `name:"egress-allow" env:"POSTHORN_EGRESS_ALLOW" help:"Comma-separated networks (CIDR) that mail connections may reach although they are private."`
	TLSCA          string        `name:"tls-ca" env:"POSTHORN_TLS_CA" help:"PEM file with certificate authorities to trust beside the system's."`
	EventRetention time.Duration `name:"event-retention" env:"POSTHORN_EVENT_RETENTION" default:"720h" help:"How long events can be read and replayed, and deliveries are listed; at least 96h, so that a webhook can be away for a weekend."`
	MoveGrace      time.Duration `name:"move-grace" env:"POSTHORN_MOVE_GRACE" default:"2m" help:"How long a message that has left a folder is looked for in the others before it counts as deleted; some programs move mail by deleting it first."`
	ConfirmLoss    time.Duration `name:"confirm-loss" env:"POSTHORN_CONFIRM_LOSS" default:"1m" help:"How long a folder, or a large part of one, must be missing, in two sessions, before it counts as deleted; mail servers lose sight of mail that they have."`
	PublicURL      string        `name:"public-url" env:"POSTHORN_PUBLIC_URL" help:"Where browsers and readers of tracked mail reach this server, such as https://mail.example.com; needed behind a proxy that speaks TLS."`
	RateKey        int           `name:"rate-key" env:"POSTHORN_RATE_KEY" default:"20000" help:"Requests a second with one API key or access token, with bursts of twice as many; 0 is no limit."`
	RateGrant      int           `name:"rate-grant" env:"POSTHORN_RATE_GRANT" default:"10000" help:"Requests a second about one grant; 0 is no limit."`
	Trace          string        `name:"trace" env:"POSTHORN_TRACE" help:"Comma-separated grants whose IMAP conversation is written to DATA/trace, without passwords and mail."`
	MaxMessage     int64         `name:"max-message" env:"POSTHORN_MAX_MESSAGE" default:"40" help:"MiB that a message to be saved or sent may hold, its attachments decoded; mail servers have limits of their own."`
	LogLevel       string        `name:"log-level" env:"POSTHORN_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	LogFormat      string        `name:"log-format" env:"POSTHORN_LOG_FORMAT" default:"text" enum:"text,json" help:"text or json."`

	// Secrets come from the environment or a file only: arguments are visible to every process.
	APIKey    string `kong:"-"`
	MasterKey string `kong:"-"`
}

// LoadSecrets fills what must not be in arguments from NAME or NAME_FILE of the environment. A value that is set twice
// or a file that cannot be read is an error that names the key.
func (c *Config) LoadSecrets(lookup func(string) (string, bool)) error {
	for _, s := range []struct {
		name string
		to   *string
	}{
		{"POSTHORN_API_KEY", &c.APIKey},
		{"POSTHORN_MASTER_KEY", &c.MasterKey},
		{"POSTHORN_DATABASE_URL", &c.DatabaseURL},
		{"POSTHORN_BLOB_URL", &c.BlobURL},
	} {
		v, direct := lookup(s.name)
		path, byFile := lookup(s.name + "_FILE")
		switch {
		case direct && v != "" && byFile && path != "":
			return fmt.Errorf("%s and %s_FILE are both set: keep one", s.name, s.name)
		case byFile && path != "":
			b, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("%s_FILE: %w", s.name, err)
			}
			*s.to = strings.TrimSpace(string(b))
		case direct && v != "" && *s.to == "":
			*s.to = strings.TrimSpace(v)
		}
	}
	return nil
}

// publicURL is PublicURL without a slash at its end.
func (c *Config) publicURL() (string, error) {
	if c.PublicURL == "" {
		return "", nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("POSTHORN_PUBLIC_URL: %q is not an address such as https://mail.example.com", c.PublicURL)
	}
	return u.Scheme + "://" + u.Host, nil
}

func (c *Config) egress() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range strings.Split(c.EgressAllow, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("POSTHORN_EGRESS_ALLOW: %q is not a network such as 10.0.0.0/8", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// KnownKey tells whether name is a setting's environment variable.
func KnownKey(name string) bool {
	switch name {
	case "POSTHORN_API_KEY", "POSTHORN_MASTER_KEY", "POSTHORN_API_KEY_FILE", "POSTHORN_MASTER_KEY_FILE", "POSTHORN_DATABASE_URL_FILE", "POSTHORN_BLOB_URL_FILE":
		return true
	}
	for f := range reflect.TypeFor[Config]().Fields() {
		if name != "" && f.Tag.Get("env") == name {
			return true
		}
	}
	return false
}
