package v3

import (
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Freshness says how far an account is proven to be what the server has. Times are Unix seconds; those that are missing
// are not known.
type Freshness struct {
	Object    string            `json:"object"` // "freshness"
	GrantID   mail.AccountID    `json:"grant_id"`
	FreshAt   int64             `json:"fresh_at,omitempty"`   // last time the whole account was proven equal
	SeenAt    int64             `json:"seen_at,omitempty"`    // last time all folders that can be read were looked at
	AuditedAt int64             `json:"audited_at,omitempty"` // last time every UID and every flag of all folders was compared
	Folders   []FolderFreshness `json:"folders"`
}

// FolderFreshness is Freshness of one folder.
type FolderFreshness struct {
	ID        mail.FolderID `json:"id"`
	Name      string        `json:"name"`
	FreshAt   int64         `json:"fresh_at,omitempty"`
	AuditedAt int64         `json:"audited_at,omitempty"`
	Trouble   string        `json:"trouble,omitempty"`  // why it cannot be looked at now
	NextTry   int64         `json:"next_try,omitempty"` // of a folder in trouble
}

// FreshnessOf maps what is known. A folder that was not looked at since the server started was last proven when the
// account was.
func FreshnessOf(id mail.AccountID, s mail.SyncStatus, folders []mail.Folder, proofs map[mail.FolderID]mail.FolderProof) Freshness {
	out := Freshness{Object: "freshness", GrantID: id, FreshAt: unix(s.FreshAt), SeenAt: unix(s.SeenAt), AuditedAt: unix(s.AuditedAt), Folders: []FolderFreshness{}}
	for _, f := range folders {
		if !f.Selectable && f.Total == 0 {
			continue
		}
		p := proofs[f.ID]
		if f.HeadersDone {
			p.FreshAt, p.AuditedAt = later(p.FreshAt, s.FreshAt), later(p.AuditedAt, s.AuditedAt)
		}
		out.Folders = append(out.Folders, FolderFreshness{ID: f.ID, Name: f.Name, FreshAt: unix(p.FreshAt), AuditedAt: unix(p.AuditedAt), Trouble: p.Trouble, NextTry: unix(p.NextTry)})
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// SetAside is what the sync could not do and has set aside, so that the rest goes on: the bytes of a message, messages
// altogether, or a folder.
type SetAside struct {
	Object    string         `json:"object"` // "quarantine"
	GrantID   mail.AccountID `json:"grant_id"`
	Kind      string         `json:"kind"` // "body": the message is listed without its content; "message"; "folder"
	FolderID  mail.FolderID  `json:"folder_id"`
	MessageID mail.MessageID `json:"message_id,omitempty"` // of a body
	FirstUID  mail.UID       `json:"first_uid,omitempty"`  // of a body and of messages; at the server
	LastUID   mail.UID       `json:"last_uid,omitempty"`
	Reason    string         `json:"reason"`
	Since     int64          `json:"since,omitempty"`
	Attempts  int            `json:"attempts,omitempty"`
	NextTry   int64          `json:"next_try"`
}
