package v3

import (
	"encoding/json"

	"github.com/posthorn/posthorn/internal/mail"
)

// Tracking is tracking_options: what an application wants to be told of a message that it sends.
type Tracking struct {
	Opens   bool   `json:"opens"`
	Links   bool   `json:"links"`
	Replies bool   `json:"thread_replies"`
	Label   string `json:"label"`
}

const maxLabel = 2048

// ParseTracking reads tracking_options; nil asks for nothing. It fails with Invalid.
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
	case len(t.Label) > maxLabel:
		return nil, invalid("read body", "tracking_options: label is longer than 2048 bytes")
	}
	return &mail.Tracking{Opens: t.Opens, Links: t.Links, Replies: t.Replies, Label: t.Label}, nil
}

// TrackingOf maps how a message is tracked.
func TrackingOf(t mail.Tracking) *Tracking {
	return &Tracking{Opens: t.Opens, Links: t.Links, Replies: t.Replies, Label: t.Label}
}

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

// Visited is the object of message.opened and message.link_clicked.
type Visited struct {
	Object    string         `json:"object"` // "message"
	GrantID   mail.AccountID `json:"grant_id"`
	MessageID mail.MessageID `json:"message_id"`
	Label     string         `json:"label"`
	App       mail.AppID     `json:"sender_app_id"`
	Timestamp int64          `json:"timestamp"`
	Opened    *OpenData      `json:"message_data,omitempty"`
	Links     []LinkData     `json:"link_data,omitempty"` // of link_clicked: every link of the message, in its order
	Recent    []Visit        `json:"recents"`             // newest first
}

// OpenData counts how often a message was opened.
type OpenData struct {
	Count     int   `json:"count"`
	Timestamp int64 `json:"timestamp"`
}

// LinkData counts how often a link was followed.
type LinkData struct {
	Count int    `json:"count"`
	URL   string `json:"url"`
}

// Visit is one opening or click.
type Visit struct {
	OpenedID  int    `json:"opened_id,omitempty"`
	ClickID   int    `json:"click_id,omitempty"`
	LinkIndex *int   `json:"link_index,omitempty"` // in link_data
	IP        string `json:"ip"`
	Agent     string `json:"user_agent"`
	Timestamp int64  `json:"timestamp"`
}

// VisitedOf maps the visits to a message; link is that which was followed, 0 if it was opened.
func VisitedOf(grant mail.AccountID, app mail.AppID, id mail.MessageID, how mail.Tracking, seen mail.Visits, link, count int, at int64) Visited {
	out := Visited{Object: "message", GrantID: grant, MessageID: id, Label: how.Label, App: app, Timestamp: at, Recent: []Visit{}}
	total := seen.Opens
	if link == 0 {
		out.Opened = &OpenData{Count: count, Timestamp: at}
	} else {
		total = 0
		for i, u := range how.URLs {
			d := LinkData{URL: u}
			if i < len(seen.Clicks) {
				d.Count = seen.Clicks[i]
				total += d.Count
			}
			out.Links = append(out.Links, d)
		}
	}
	for i := len(seen.Last) - 1; i >= 0; i-- {
		v := seen.Last[i]
		if (v.Link == 0) != (link == 0) {
			continue
		}
		r := Visit{IP: v.IP, Agent: v.Agent, Timestamp: v.At.Unix()}
		if link == 0 {
			r.OpenedID = total
		} else {
			index := v.Link - 1
			r.ClickID, r.LinkIndex = total, &index
		}
		total--
		out.Recent = append(out.Recent, r)
	}
	return out
}
