package v3

import (
	"net/http"
	"net/url"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// SentMessage is the message of a send, as it is in the answer and in notifications.
type SentMessage struct {
	Message
	ScheduleID string  `json:"schedule_id,omitempty"`
	SendAt     int64   `json:"send_at,omitempty"`
	Send       Sending `json:"send"` // ours
}

// Sending says how far a send has come. It is ours.
type Sending struct {
	ID         string         `json:"id"`
	State      mail.SendState `json:"state"`
	Reason     string         `json:"reason,omitempty"` // why it waits, failed or is uncertain
	Attempts   int            `json:"attempts"`
	NextTry    int64          `json:"next_try,omitempty"`
	Recipients []SendTo       `json:"recipients"`
}

// SendTo is what became of a send for one recipient.
type SendTo struct {
	Email  string `json:"email"`
	State  string `json:"state"`          // waiting, sending, sent, refused or uncertain
	Code   int    `json:"code,omitempty"` // the server's reply
	Reason string `json:"reason,omitempty"`
}

// SentOf maps a send. The caller adds Body and Folders.
func SentOf(s mail.Send, grant mail.AccountID) SentMessage {
	m := s.Summary
	m.Flags = mail.FlagSeen
	out := SentMessage{Message: MessageOf(m, grant), Send: Sending{ID: s.ID, State: s.State, Reason: s.Reason, Attempts: s.Attempts, Recipients: make([]SendTo, len(s.Recipients))}}
	if !s.SendAt.IsZero() {
		out.ScheduleID, out.SendAt = s.ID, s.SendAt.Unix()
	}
	if s.State == mail.SendQueued || s.State == mail.SendScheduled {
		out.Send.NextTry = s.NextTry.Unix()
	}
	for i, r := range s.Recipients {
		state := string(r.State)
		if state == "" {
			state = "waiting"
		}
		out.Send.Recipients[i] = SendTo{r.Email, state, r.Code, r.Reason}
	}
	return out
}

// SendError says why a send was not done.
type SendError struct {
	Type       string `json:"type"`
	Message    string `json:"message"`
	StatusCode int    `json:"status_code"`
}

// TypeUncertain is the type of the error of a send of which nobody knows whether it was done.
const TypeUncertain = "send_uncertain_error"

// SendErrorOf maps a send that failed or is uncertain.
func SendErrorOf(s mail.Send) SendError {
	switch {
	case s.State == mail.SendUncertain:
		return SendError{TypeUncertain, s.Reason, http.StatusGatewayTimeout}
	case s.Why == mail.Refused: // as sending answers a refused message or recipient
		return SendError{TypeProvider, s.Reason, http.StatusPaymentRequired}
	case s.Why == mail.Internal:
		return SendError{TypeUnexpected, s.Reason, http.StatusInternalServerError}
	}
	status, e := ErrorOf(mail.E(s.Why, "send", s.Reason, nil))
	return SendError{e.Type, e.Message, status}
}

// Schedule is a send that was given a time.
type Schedule struct {
	ID        string         `json:"schedule_id"`
	Status    ScheduleStatus `json:"status"`
	CloseTime int64          `json:"close_time,omitempty"` // when it was sent, failed or was canceled
	SendAt    int64          `json:"send_at"`              // ours
	MessageID mail.MessageID `json:"message_id"`           // ours: the message in Sent, once it is there
}

// ScheduleStatus says how far a schedule has come.
type ScheduleStatus struct {
	Code        string `json:"code"`
	Description string `json:"description"`
}

// ScheduleOf maps a send with a time.
func ScheduleOf(s mail.Send) Schedule {
	out := Schedule{ID: s.ID, SendAt: s.SendAt.Unix(), MessageID: s.Summary.ID}
	switch s.State {
	case mail.SendScheduled:
		out.Status = ScheduleStatus{"pending", "schedule send awaiting send at time"}
	case mail.SendQueued, mail.SendSending:
		out.Status = ScheduleStatus{"pending", "schedule send in progress"}
		if s.Reason != "" {
			out.Status.Description += ": " + s.Reason
		}
	case mail.SendSent, mail.SendFiled, mail.SendUnfiled:
		out.Status, out.CloseTime = ScheduleStatus{"success", "schedule send succeeded"}, unix(s.SentAt)
	case mail.SendCanceled:
		out.Status = ScheduleStatus{"canceled", "schedule send was canceled"}
	case mail.SendUncertain:
		out.Status = ScheduleStatus{"uncertain", "schedule send: " + s.Reason}
	default:
		out.Status = ScheduleStatus{"failed", "schedule send failed: " + s.Reason}
	}
	if out.CloseTime == 0 {
		out.CloseTime = unix(s.EndedAt)
	}
	return out
}

// The bounds of send_at.
const (
	leastAhead = 55 * time.Second // one minute, less what a request may take
	mostAhead  = 30 * 24 * time.Hour
)

// ParseSendAt checks a time to send at; nil is the zero time, for at once. It fails with Invalid.
func ParseSendAt(at *int64, now time.Time) (time.Time, error) {
	if at == nil || *at == 0 {
		return time.Time{}, nil
	}
	t := time.Unix(*at, 0).UTC()
	if t.Before(now.Add(leastAhead)) || t.After(now.Add(mostAhead)) {
		return time.Time{}, invalid("read body", "send_at must be between one minute and 30 days ahead, in Unix seconds")
	}
	return t, nil
}

// ParseSendFields reads the query of a send: fields may ask for headers. It fails with Invalid.
func ParseSendFields(q url.Values) (Fields, error) {
	f, err := ParseFields(q.Get("fields"))
	if err == nil && f == FieldsRaw {
		err = invalid("read query", "fields: a send answers with standard, include_headers or include_basic_headers")
	}
	return f, err
}

// SentAnswer is the envelope of the answer to a send.
type SentAnswer struct {
	RequestID string         `json:"request_id"`
	GrantID   mail.AccountID `json:"grant_id"`
	Data      SentMessage    `json:"data"`
}

// Done is the answer where there is only to say that it was done.
type Done struct {
	Message string `json:"message"`
}
