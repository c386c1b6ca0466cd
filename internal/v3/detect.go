package v3

import "github.com/posthorn/posthorn/internal/mail"

// Detected is what is known of an address's provider.
type Detected struct {
	EmailAddress string    `json:"email_address"`
	Detected     bool      `json:"detected"`
	Provider     string    `json:"provider,omitempty"`
	Type         string    `json:"type,omitempty"`
	Name         string    `json:"name,omitempty"` // of the provider, for people
	Hint         string    `json:"hint,omitempty"` // what a user must do before a password works
	HintURL      string    `json:"hint_url,omitempty"`
	Settings     *Settings `json:"settings,omitempty"` // where its servers are
}

// Settings are the servers of a provider, in the keys that connecting takes.
type Settings struct {
	IMAPHost     string        `json:"imap_host"`
	IMAPPort     int           `json:"imap_port"`
	IMAPSecurity mail.Security `json:"imap_security"`
	SMTPHost     string        `json:"smtp_host,omitempty"`
	SMTPPort     int           `json:"smtp_port,omitempty"`
	SMTPSecurity mail.Security `json:"smtp_security,omitempty"`
}
