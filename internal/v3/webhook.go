package v3

import (
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Webhook is a subscription as applications see it. Its secret is shown when it is made or rotated, never later.
type Webhook struct {
	ID              string   `json:"id"`
	Description     string   `json:"description"`
	TriggerTypes    []string `json:"trigger_types"`
	WebhookURL      string   `json:"webhook_url"`
	WebhookSecret   string   `json:"webhook_secret,omitempty"`
	Status          string   `json:"status"` // active, pause, failing or failed
	StatusReason    string   `json:"status_reason,omitempty"`
	Emails          []string `json:"notification_email_addresses"`
	Compressed      bool     `json:"compressed_delivery"`
	StatusUpdatedAt int64    `json:"status_updated_at"`
	CreatedAt       int64    `json:"created_at"`
	UpdatedAt       int64    `json:"updated_at"`
}

// Delivery is one attempt to deliver a notification.
type Delivery struct {
	NotificationID string  `json:"notification_id"` // the same on every attempt
	Type           string  `json:"type"`
	GrantID        string  `json:"grant_id,omitempty"`
	Attempt        int     `json:"attempt"`
	Time           float64 `json:"time"`                  // Unix seconds
	StatusCode     int     `json:"status_code,omitempty"` // of the answer; missing: none came
	DurationMS     int64   `json:"duration_ms"`
	Delivered      bool    `json:"delivered"`
	Error          string  `json:"error,omitempty"`
}

// IPAddresses are where deliveries come from, as far as the server knows.
type IPAddresses struct {
	IPAddresses []string `json:"ip_addresses"`
	UpdatedAt   int64    `json:"updated_at"`
}

// Triggers lists every name that a webhook may subscribe to: those that existing set-up code uses, although not all of
// them ever happen here, and ours.
func Triggers() []string {
	return strings.Fields(`grant.created grant.updated grant.deleted grant.expired grant.imap_sync_completed
		message.created message.created.cleaned message.updated message.deleted message.send_success message.send_failed message.send_accepted message.send_canceled message.bounce_detected
		message.opened message.opened.legacy message.link_clicked message.link_clicked.legacy
		message.delivered message.bounced message.complaint message.rejected
		message.transactional.delivered message.transactional.bounced message.transactional.complaint message.transactional.rejected
		message.intelligence.order message.intelligence.tracking
		thread.replied thread.replied.legacy thread.merged
		folder.created folder.updated folder.deleted folder.reset sync.gap contact.updated contact.deleted
		calendar.created calendar.updated calendar.deleted event.created event.updated event.deleted
		booking.created booking.pending booking.rescheduled booking.cancelled booking.reminder
		notetaker.created notetaker.updated notetaker.deleted notetaker.meeting_state notetaker.media`)
}

// WebhookUpdate is the body of creating or changing a webhook; nil keeps what there is.
type WebhookUpdate struct {
	TriggerTypes *[]string `json:"trigger_types"`
	WebhookURL   *string   `json:"webhook_url"`
	Description  *string   `json:"description"`
	Emails       *[]string `json:"notification_email_addresses"`
	Compressed   *bool     `json:"compressed_delivery"`
	Status       *string   `json:"status"`
}

const opWebhook = "read webhook"

// ParseWebhook reads the body of creating (whole) or changing a webhook.
func ParseWebhook(r io.Reader, whole bool) (WebhookUpdate, error) {
	var u WebhookUpdate
	if err := DecodeJSON(r, &u); err != nil {
		return u, err
	}
	if whole && (u.TriggerTypes == nil || u.WebhookURL == nil) {
		return u, invalid(opWebhook, "trigger_types and webhook_url are required")
	}
	if t := u.TriggerTypes; t != nil {
		if len(*t) == 0 {
			return u, invalid(opWebhook, "trigger_types must name at least one trigger")
		}
		for _, name := range *t {
			if err := CheckTrigger(name); err != nil {
				return u, err
			}
		}
		slices.Sort(*t)
		*t = slices.Compact(*t)
	}
	if u.WebhookURL != nil {
		if err := CheckWebhookURL(*u.WebhookURL); err != nil {
			return u, err
		}
	}
	if d := u.Description; d != nil && (len(*d) > 1000 || !utf8.ValidString(*d)) {
		return u, invalid(opWebhook, "description is too long")
	}
	if e := u.Emails; e != nil {
		if len(*e) > 20 || slices.ContainsFunc(*e, func(a string) bool { return Address(a) == "" }) {
			return u, invalid(opWebhook, "notification_email_addresses must be at most 20 e-mail addresses")
		}
	}
	if s := u.Status; s != nil && *s != "active" && *s != "pause" {
		return u, invalid(opWebhook, "status must be active or pause")
	}
	return u, nil
}

// TestEvent is the body of the two calls that try triggers out.
type TestEvent struct {
	TriggerType string `json:"trigger_type"`
	WebhookURL  string `json:"webhook_url"`
}

// ParseTestEvent reads the body of mock-payload, or with an URL that of send-test-event.
func ParseTestEvent(r io.Reader, withURL bool) (TestEvent, error) {
	var e TestEvent
	if err := DecodeJSON(r, &e); err != nil {
		return e, err
	}
	if err := CheckTrigger(e.TriggerType); err != nil || !withURL {
		return e, err
	}
	return e, CheckWebhookURL(e.WebhookURL)
}

// CheckTrigger refuses names that are none of Triggers.
func CheckTrigger(name string) error {
	if !slices.Contains(Triggers(), name) {
		return invalid(opWebhook, "trigger_types: there is no trigger of this name: "+short(name))
	}
	return nil
}

func short(s string) string {
	if len(s) > 64 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "(unreadable)"
	}
	return s
}

// CheckWebhookURL wants an absolute http or https URL without credentials and fragment.
func CheckWebhookURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || len(s) > 2048 || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.ContainsFunc(s, unicode.IsControl) {
		return invalid(opWebhook, "webhook_url must be an https URL without user, password and fragment")
	}
	return nil
}

// CursorDeliveries is the kind of the page tokens of a webhook's deliveries.
const CursorDeliveries CursorKind = 'w'

// ParsePage reads limit and page_token of a list without filters.
func ParsePage(q url.Values, kind CursorKind) (Page, error) {
	r := &reader{q: q}
	p := r.page(kind, 50, 200)
	return p, r.err
}

// Replay is a repeated delivery of what happened, and how far it is.
type Replay struct {
	ID        string `json:"id"`
	WebhookID string `json:"webhook_id"`
	GrantID   string `json:"grant_id,omitempty"`
	ObjectID  string `json:"object_id,omitempty"`
	State     string `json:"state"` // running, done, cancelled or failed
	Reason    string `json:"reason,omitempty"`
	Sent      int64  `json:"sent"`
	Done      int64  `json:"done"` // of Total: changes of a grant, or groups of changes of all grants
	Total     int64  `json:"total"`
	Attempts  int    `json:"attempts,omitempty"`
	NextTry   int64  `json:"next_try,omitempty"`
	CreatedAt int64  `json:"created_at"`
	UpdatedAt int64  `json:"updated_at"`
}

// ReplayRequest is the body of starting a replay.
type ReplayRequest struct {
	Cursor   string `json:"cursor"`
	Since    int64  `json:"since"`
	ObjectID string `json:"object_id"`
	GrantID  string `json:"grant_id"`
}

// ParseReplay reads the body of starting a replay.
func ParseReplay(body io.Reader) (ReplayRequest, error) {
	var r ReplayRequest
	if err := DecodeJSON(body, &r); err != nil {
		return r, err
	}
	n := 0
	for _, given := range []bool{r.Cursor != "", r.Since != 0, r.ObjectID != ""} {
		if given {
			n++
		}
	}
	switch {
	case n != 1:
		return r, invalid("read replay", "give exactly one of cursor, since and object_id")
	case r.Since < 0 || r.Since > 1<<40:
		return r, invalid("read replay", "since must be a time in Unix seconds")
	case r.ObjectID != "" && r.GrantID == "":
		return r, invalid("read replay", "object_id needs grant_id")
	case len(r.ObjectID) > 256 || len(r.Cursor) > 1024 || len(r.GrantID) > 1024:
		return r, invalid("read replay", "an id or a cursor is too long")
	}
	return r, nil
}
