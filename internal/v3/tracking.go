package v3

import (
	"encoding/json"

	"github.com/posthorn/posthorn/internal/mail"
)

// Tracking is tracking_options: what an application wants to be told of a message that it sends.
type Tracking struct {
	Opens   bool   `json:"opens"` // never: no pictures are put into mail
	Links   bool   `json:"links"` // never: no links are changed
	Replies bool   `json:"thread_replies"`
	Label   string `json:"label"`
}

const maxLabel = 2048

// ParseTracking reads tracking_options; nil asks for nothing. It fails with Invalid, also for what is not tracked here.
func ParseTracking(raw json.RawMessage) (*mail.Tracking, error) {
	if raw == nil {
		return nil, nil
	}
	var t *Tracking
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, invalid("read body", "tracking_options must be an object")
	}
	switch {
	case t == nil || !t.Opens && !t.Links && !t.Replies:
		return nil, nil
	case t.Opens || t.Links:
		return nil, invalid("read body", "tracking_options: who opens a message or follows its links is not tracked here; leave opens and links out, or false")
	case len(t.Label) > maxLabel:
		return nil, invalid("read body", "tracking_options: label is longer than 2048 bytes")
	}
	return &mail.Tracking{Replies: true, Label: t.Label}, nil
}

// TrackingOf maps how a message is tracked.
func TrackingOf(t mail.Tracking) *Tracking { return &Tracking{Replies: t.Replies, Label: t.Label} }

// Replied is the object of thread.replied.
type Replied struct {
	Object    string         `json:"object"` // "thread"
	GrantID   mail.AccountID `json:"grant_id"`
	ThreadID  mail.ThreadID  `json:"thread_id"`
	MessageID mail.MessageID `json:"message_id"`      // of the reply
	RootID    mail.MessageID `json:"root_message_id"` // of the message that was sent with thread_replies
	ReplyToID mail.MessageID `json:"reply_to_message_id"`
	Label     string         `json:"label"`
	Data      ReplyData      `json:"reply_data"`
	FromSelf  bool           `json:"from_self"`
	App       mail.AppID     `json:"sender_app_id"`
	Timestamp int64          `json:"timestamp"` // when the reply was received
}

// ReplyData counts the replies to a message.
type ReplyData struct {
	Count int `json:"count"`
}
