package v3

import (
	"math"

	"github.com/posthorn/posthorn/internal/mail"
)

// Grant is an account as applications see it. Passwords are never part of it.
type Grant struct {
	ID          mail.AccountID `json:"id"`
	Object      string         `json:"object"` // "grant"
	Provider    string         `json:"provider"`
	GrantStatus string         `json:"grant_status"` // "valid", or "invalid": the user must log in again
	Email       string         `json:"email"`
	Name        string         `json:"name,omitempty"`
	Scope       []string       `json:"scope"`
	State       string         `json:"state,omitempty"`
	Settings    GrantSettings  `json:"settings"`
	Sync        Sync           `json:"sync"`
	CreatedAt   int64          `json:"created_at"`
	UpdatedAt   int64          `json:"updated_at"` // last authentication
}

// GrantSettings say how the account is reached.
type GrantSettings struct {
	IMAPHost     string        `json:"imap_host"`
	IMAPPort     int           `json:"imap_port"`
	IMAPSecurity mail.Security `json:"imap_security"`
	IMAPUsername string        `json:"imap_username"`
	SMTPHost     string        `json:"smtp_host,omitempty"`
	SMTPPort     int           `json:"smtp_port,omitempty"`
	SMTPSecurity mail.Security `json:"smtp_security,omitempty"`
	SMTPUsername string        `json:"smtp_username,omitempty"`

	SyncDays    int      `json:"sync_days,omitempty"`
	SyncBodies  *bool    `json:"sync_bodies,omitempty"` // false: only headers
	SyncFolders []string `json:"sync_folders,omitempty"`
	SyncWithout []string `json:"sync_without_folders,omitempty"`
	SyncHistory bool     `json:"sync_history,omitempty"`
}

// Sync says where an account stands, why, since when and what to do. Times are Unix seconds.
type Sync struct {
	State    mail.State `json:"state"`
	Since    int64      `json:"since"`
	Reason   string     `json:"reason,omitempty"`
	Action   string     `json:"action,omitempty"`
	FreshAt  int64      `json:"fresh_at,omitempty"` // last time the whole account was proven equal to the server
	SeenAt   int64      `json:"seen_at,omitempty"`  // last time all folders that can be read were looked at
	Progress *Progress  `json:"progress,omitempty"` // while the initial sync runs
	Search   *Progress  `json:"search,omitempty"`   // messages in the search index; of one grant only, not in lists
}

// Progress counts messages.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`

	Rate float64 `json:"rate,omitempty"` // messages a second, while they are fetched
	ETA  int64   `json:"eta,omitempty"`  // when all will be done at that rate
}

// SyncOf maps a status. Progress is told while there is a total to compare with.
func SyncOf(s mail.SyncStatus) Sync {
	out := Sync{State: s.State, Since: unix(s.Since), Reason: s.Reason, Action: s.Action, FreshAt: unix(s.FreshAt), SeenAt: unix(s.SeenAt)}
	if out.State == "" {
		out.State = mail.StateConnecting
	}
	if s.Total > 0 {
		out.Progress = &Progress{Done: s.Done, Total: s.Total, Rate: math.Round(10*s.Rate) / 10, ETA: unix(s.ETA)}
	}
	return out
}

// GrantOf maps an account whose status is s, which may be newer than the one stored with it.
func GrantOf(a mail.Account, s mail.SyncStatus) Grant {
	g := Grant{
		ID: a.ID, Object: "grant", Provider: a.Provider, GrantStatus: "valid", Email: a.Email, Name: a.Name,
		Scope: some(a.Scope), State: a.State, Sync: SyncOf(s), CreatedAt: unix(a.CreatedAt), UpdatedAt: unix(a.UpdatedAt),
		Settings: GrantSettings{
			IMAPHost: a.Settings.IMAP.Host, IMAPPort: a.Settings.IMAP.Port,
			IMAPSecurity: a.Settings.IMAP.Security, IMAPUsername: a.Settings.IMAP.Username,
		},
	}
	if s.State == mail.StateReauth {
		g.GrantStatus = "invalid"
	}
	if p := a.Settings.Sync; p != nil {
		s := &g.Settings
		s.SyncDays, s.SyncFolders, s.SyncWithout, s.SyncHistory = p.Days, p.Folders, p.Without, p.TellHistory
		if p.HeadersOnly {
			s.SyncBodies = new(bool)
		}
	}
	if smtp := a.Settings.SMTP; smtp != nil {
		g.Settings.SMTPHost, g.Settings.SMTPPort = smtp.Host, smtp.Port
		g.Settings.SMTPSecurity, g.Settings.SMTPUsername = smtp.Security, smtp.Username
	}
	return g
}
