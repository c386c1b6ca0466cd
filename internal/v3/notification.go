package v3

import (
	"github.com/posthorn/posthorn/internal/mail"
)

// Notification is what a webhook tells of one change.
type Notification struct {
	SpecVersion string           `json:"specversion"` // "1.0"
	Type        string           `json:"type"`
	Source      string           `json:"source"`
	ID          string           `json:"id"` // the same however often it is told
	Time        int64            `json:"time"`
	Attempt     int              `json:"webhook_delivery_attempt,omitempty"`
	Data        NotificationData `json:"data"`
}

// NotificationData says whose object it is, and how it is now.
type NotificationData struct {
	ApplicationID mail.AppID     `json:"application_id"`
	GrantID       mail.AccountID `json:"grant_id,omitempty"` // of sends; else it is in the object
	Error         *SendError     `json:"error,omitempty"`    // of sends that were not done
	Object        any            `json:"object"`
}

// The values of Notification.Source.
const (
	SourceMail    = "/imap/emails/realtime"
	SourceHistory = "/imap/emails/historic"
	SourceSystem  = "/nylas/system"
	SourceSend    = "/nylas/send"
	SourceTracks  = "/com/nylas/tracking"
)

// Gone names an object that is no longer there, or of which no more is to be told.
type Gone struct {
	ID      string         `json:"id"`
	GrantID mail.AccountID `json:"grant_id"`
	Object  string         `json:"object"`
}

// Merged tells that the thread MergedID is now part of the thread ID. Both ids resolve to it.
type Merged struct {
	ID       string         `json:"id"`
	MergedID string         `json:"merged_id"`
	GrantID  mail.AccountID `json:"grant_id"`
	Object   string         `json:"object"` // "thread"
}

// Gap tells that something may have been missed at the server.
type Gap struct {
	GrantID mail.AccountID `json:"grant_id"`
	Object  string         `json:"object"`          // "gap"
	Since   int64          `json:"since,omitempty"` // Unix seconds; missing: not known
	Until   int64          `json:"until"`
	Reason  string         `json:"reason,omitempty"`
}

// GrantNotice is the object of the grant notifications.
type GrantNotice struct {
	Code           int            `json:"code"`
	GrantID        mail.AccountID `json:"grant_id"`
	IntegrationID  mail.AppID     `json:"integration_id"`
	LoginID        mail.AccountID `json:"login_id,omitempty"`
	Provider       string         `json:"provider"`
	Email          string         `json:"email,omitempty"`
	Name           string         `json:"name,omitempty"`
	Scope          []string       `json:"scope,omitzero"`
	Type           string         `json:"type,omitempty"`
	Reauth         *bool          `json:"reauthentication_flag,omitempty"`
	GrantUpdatedAt int64          `json:"grant_updated_at,omitempty"`
	Sync           *Sync          `json:"sync,omitempty"` // ours
}

// The values of GrantNotice.Code.
const (
	CodeExpired = 25009
	CodeCreated = 25012
	CodeDeleted = 25013
	CodeUpdated = 25014
)

// TruncatedMessage is a message without the field body, which would make its notification too large.
type TruncatedMessage struct {
	Message
	Body *string `json:"body,omitempty"` // nil; hides that of Message
}

// EventPage is a page of events. Unlike lists it always has a cursor: there may be more later.
type EventPage struct {
	RequestID  string         `json:"request_id"`
	Data       []Notification `json:"data"`
	NextCursor string         `json:"next_cursor"`
	More       bool           `json:"has_more"` // at once
}
