package mail

import (
	"log/slog"
	"strings"
	"time"
)

// Secret is a string that never prints itself: not by fmt, slog or JSON. Reveal is the only way to its text.
type Secret struct{ s string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.s }

// IsZero tells whether the secret is empty.
func (s Secret) IsZero() bool { return s.s == "" }

func (s Secret) String() string               { return "***" }
func (s Secret) GoString() string             { return "***" }
func (s Secret) LogValue() slog.Value         { return slog.StringValue("***") }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"***"`), nil }

// Security is how a connection is protected.
type Security string

// The values of imap_security and smtp_security.
const (
	SecurityTLS      Security = "tls"      // TLS from the first byte
	SecuritySTARTTLS Security = "starttls" // plaintext greeting, then TLS before anything secret
	SecurityNone     Security = "none"     // never encrypted; only to addresses in the egress allow-list
)

// Endpoint is one server of an account with the login there.
type Endpoint struct {
	Host     string   `json:"host"`
	Port     int      `json:"port"`
	Security Security `json:"security"`
	Username string   `json:"username"`
}

// Settings say how to reach an account. Passwords are kept apart, sealed.
type Settings struct {
	IMAP Endpoint  `json:"imap"`
	SMTP *Endpoint `json:"smtp,omitempty"`

	Sync *SyncPolicy `json:"sync,omitempty"` // nil: all
}

// SyncPolicy says what of a mailbox is synchronised. The zero value is all of it.
type SyncPolicy struct {
	Days        int      `json:"days,omitempty"`    // mail received that many days before the account was connected, and later; 0: all
	HeadersOnly bool     `json:"headers,omitempty"` // bodies are fetched when somebody asks for them
	Folders     []string `json:"folders,omitempty"` // only these, by name, and those below them; empty: all
	Without     []string `json:"without,omitempty"` // not these, nor those below them
	TellHistory bool     `json:"history,omitempty"` // webhooks are told of what the initial sync finds
}

// FirstDay returns the day from which on mail is synchronised, zero for all.
func (p SyncPolicy) FirstDay(connected time.Time) time.Time {
	if p.Days <= 0 {
		return time.Time{}
	}
	return connected.UTC().AddDate(0, 0, -p.Days).Truncate(24 * time.Hour)
}

// Wants tells whether a folder is synchronised.
func (p SyncPolicy) Wants(f Folder) bool {
	under := func(list []string) bool {
		for _, name := range list {
			if f.Name == name || strings.EqualFold(name, "INBOX") && f.Role == RoleInbox ||
				f.Delimiter != "" && strings.HasPrefix(f.Name, name+f.Delimiter) {
				return true
			}
		}
		return false
	}
	return (len(p.Folders) == 0 || under(p.Folders)) && !under(p.Without)
}

// Credentials are the secrets of an account.
type Credentials struct {
	IMAPPassword Secret
	SMTPPassword Secret // zero: the same as IMAPPassword
}

// State is where an account stands; the values are those of the grant's sync.state.
type State string

// The states of an account.
const (
	StateConnecting State = "connecting"
	StateInitial    State = "initial"
	StateLive       State = "live"
	StateDegraded   State = "degraded"
	StateThrottled  State = "throttled"
	StateReauth     State = "reauth_required"
	StateError      State = "error"
	StatePaused     State = "paused"
)

// SyncStatus is what an account says of itself. It is never better than the truth.
type SyncStatus struct {
	State   State     `json:"state"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason,omitempty"`   // why, in words
	Action  string    `json:"action,omitempty"`   // what to do, in words
	FreshAt time.Time `json:"fresh_at,omitempty"` // last time the whole account was proven equal to the server
	Done    int64     `json:"done,omitempty"`     // initial sync: messages readable
	Total   int64     `json:"total,omitempty"`    // initial sync: messages at the server

	SeenAt    time.Time `json:"seen_at,omitzero"`    // last time all folders that can be read were looked at
	AuditedAt time.Time `json:"audited_at,omitzero"` // last time every UID and every flag of all folders was compared
	Moved     []int64   `json:"moved,omitempty"`     // bytes moved in each of 24 hours, oldest first, then which the last hour is, in hours of Unix time; empty: not counted
	Rate      float64   `json:"-"`                   // messages that become readable a second; 0: not known, or nothing is left to be done
	ETA       time.Time `json:"-"`                   // when all will be readable at that rate; zero: not known
}

// FolderProof says how far a folder is proven to be what the server has.
type FolderProof struct {
	FreshAt   time.Time // last time all that the server says of it agreed with the store: counts, UIDNEXT, MODSEQ, or more
	AuditedAt time.Time // last time every UID and every flag was compared
	Trouble   string    // why it cannot be looked at now, in words; "" if it can
	NextTry   time.Time // of a folder in trouble
}

// Account is one connected mailbox.
type Account struct {
	ID        AccountID
	App       AppID
	Email     string
	Name      string
	Provider  string // "imap", "icloud", …: the API's provider field
	Settings  Settings
	Scope     []string
	State     string // opaque state given at connect
	Sync      SyncStatus
	CreatedAt time.Time
	UpdatedAt time.Time // last authentication
}
