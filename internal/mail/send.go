package mail

import "time"

// SendState is how far a send has come.
type SendState string

// The states of a send. Those from Filed on are ends.
const (
	SendScheduled SendState = "scheduled" // waits for its time; can be canceled
	SendQueued    SendState = "queued"    // waits for its turn, or for the server
	SendSending   SendState = "sending"   // written before the server can take it: from here on it may have been sent
	SendSent      SendState = "sent"      // the server took it; the copy in Sent is not confirmed yet
	SendFiled     SendState = "filed"     // and its copy lies in Sent
	SendUnfiled   SendState = "unfiled"   // sent, but its copy could not be put into Sent
	SendUncertain SendState = "uncertain" // the answer was lost: it may have been sent or not
	SendFailed    SendState = "failed"
	SendCanceled  SendState = "canceled"
)

// Ended tells whether nothing more will happen.
func (s SendState) Ended() bool {
	return s == SendFiled || s == SendUnfiled || s == SendUncertain || s == SendFailed || s == SendCanceled
}

// RecipientState is what became of a send for one recipient.
type RecipientState string

// The states of a recipient.
const (
	RecipientWaiting   RecipientState = ""
	RecipientInFlight  RecipientState = "sending"   // of the transmission that is or was under way in SendSending
	RecipientSent      RecipientState = "sent"      // the server took the message for it
	RecipientRefused   RecipientState = "refused"   // for good
	RecipientUncertain RecipientState = "uncertain" // of a transmission whose answer was lost
)

// Recipient is one address that a message goes to.
type Recipient struct {
	Email  string         `json:"e"`
	State  RecipientState `json:"s,omitempty"`
	Code   int            `json:"c,omitempty"` // the server's last reply about it, 0 none
	Reason string         `json:"r,omitempty"` // what that means, in words of our own
}

// Send is one message on its way out. Its bytes lie in a blob, which is released at the end; Summary stays as long as
// the send is kept.
type Send struct {
	ID      string    `json:"-"` // minted by the store
	State   SendState `json:"-"`
	Version int64     `json:"-"` // counts what was written of it: whoever has read an older one may not write
	Key     string    `json:"-"` // Idempotency-Key, unique in the account for a while; "" none
	Blob    int64     `json:"-"` // of the raw message with CRLF line ends, Bcc included; 0 released

	From       string      `json:"from"` // of the envelope
	Recipients []Recipient `json:"to"`
	Size       int64       `json:"size"`
	EightBit   bool        `json:"eight,omitempty"` // bytes above 127 in it
	UTF8       bool        `json:"utf8,omitempty"`  // and in its header
	Summary    Message     `json:"summary"`         // as it will be in Sent, ID and Thread too; without flags and folders
	Draft      MessageID   `json:"draft,omitempty"` // to be removed once it was sent
	DraftWork  *DraftWork  `json:"work,omitempty"`  // how to find the copies of Draft
	Tracking   *Tracking   `json:"track,omitempty"` // nil: none
	Request    string      `json:"req,omitempty"`   // digest of what was asked for, with Key
	SendAt     time.Time   `json:"at,omitzero"`     // asked for; zero: at once

	Attempts int    `json:"tries,omitempty"`
	Code     int    `json:"code,omitempty"`   // the server's last reply that was no success
	Reason   string `json:"why,omitempty"`    // why it waits, failed or is uncertain, in words of our own
	Why      Kind   `json:"kind,omitempty"`   // of one that failed
	Filing   string `json:"filing,omitempty"` // id of the operation that puts, or looks for, the copy in Sent

	Undrafting string    `json:"undraft,omitempty"` // id of the operation that removes Draft
	LostAt     time.Time `json:"lost,omitzero"`     // since when it is not known whether the server took it

	CreatedAt time.Time `json:"-"`
	NextTry   time.Time `json:"-"`             // of one that waits: not before
	EndedAt   time.Time `json:"-"`             // zero: not yet
	SentAt    time.Time `json:"sent,omitzero"` // when the server took it
}

// To returns the recipients that are in one of the states.
func (s *Send) To(states ...RecipientState) []string {
	var out []string
	for _, r := range s.Recipients {
		for _, x := range states {
			if r.State == x {
				out = append(out, r.Email)
			}
		}
	}
	return out
}

// Tracking is what an application wants to be told of a message that it sends.
type Tracking struct {
	Opens   bool     `json:"opens,omitempty"`
	Links   bool     `json:"links,omitempty"`
	Replies bool     `json:"replies,omitempty"`
	Label   string   `json:"label,omitempty"` // comes back with what is told
	Token   string   `json:"-"`               // in the addresses of the picture and the links; "": none
	URLs    []string `json:"urls,omitempty"`  // where the links lead
}

// Visit is one opening of a tracked message, or one click on a link of it.
type Visit struct {
	Link  int       `json:"l,omitempty"` // counted from 1; 0: it was opened
	At    time.Time `json:"at"`
	IP    string    `json:"ip,omitempty"`
	Agent string    `json:"ua,omitempty"`
}

// Visits is what is known of the visits to a message.
type Visits struct {
	Opens  int     `json:"opens,omitempty"`
	Clicks []int   `json:"clicks,omitempty"` // of each link
	Last   []Visit `json:"last,omitempty"`   // oldest first
}
