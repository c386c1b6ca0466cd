package v3

import "github.com/posthorn/posthorn/internal/mail"

// MessageDetails is what there is to know of a message beyond its fields: what it is, and how well it could be read.
type MessageDetails struct {
	ID         mail.MessageID  `json:"id"`
	Object     string          `json:"object"` // "message_details"
	GrantID    mail.AccountID  `json:"grant_id"`
	ParseState string          `json:"parse_state"`        // "complete" or "partial"
	Problems   []string        `json:"problems"`           // what is wrong with the message, in words
	Text       string          `json:"text"`               // made from the HTML if there is no other
	HTML       string          `json:"html"`               // sanitised, fit to be shown; nothing in it is loaded from elsewhere
	Security   string          `json:"security,omitempty"` // "smime-signed", "pgp-encrypted", …
	Automatic  bool            `json:"automatic"`          // no person wrote it for its recipients: do not answer it by machine (RFC 3834)
	Auto       string          `json:"auto_submitted,omitempty"`
	Precedence string          `json:"precedence,omitempty"`
	List       *MailingList    `json:"list,omitempty"`
	Calendars  []Calendar      `json:"calendars"`
	Delivery   *DeliveryReport `json:"delivery_report,omitempty"`
	Receipt    *ReadReceipt    `json:"read_receipt,omitempty"`
	ReceiptTo  []mail.Address  `json:"receipt_requested_by,omitempty"`
	Fragment   *Fragment       `json:"fragment,omitempty"`
}

// MailingList is what a mailing list says of itself (RFC 2369, 2919, 8058). The addresses are URIs that a stranger wrote.
type MailingList struct {
	ID          string   `json:"id"`
	Name        string   `json:"name,omitempty"`
	Post        []string `json:"post,omitempty"`
	Help        []string `json:"help,omitempty"`
	Subscribe   []string `json:"subscribe,omitempty"`
	Unsubscribe []string `json:"unsubscribe,omitempty"`
	Owner       []string `json:"owner,omitempty"`
	Archive     []string `json:"archive,omitempty"`
	OneClick    bool     `json:"one_click"` // a POST to the https address in unsubscribe is enough
}

// Calendar is an attachment of type text/calendar.
type Calendar struct {
	AttachmentID string `json:"attachment_id"`
	Method       string `json:"method,omitempty"` // "REQUEST", "REPLY", "CANCEL", … (RFC 5546)
}

// DeliveryReport tells what became of another message (RFC 3464).
type DeliveryReport struct {
	Failed     bool                `json:"failed"`
	Standard   bool                `json:"standard"` // false: recognised by what it says, it has no machine-readable part
	MTA        string              `json:"reporting_mta,omitempty"`
	MessageID  string              `json:"message_id,omitempty"` // of that message, without <>
	Subject    string              `json:"subject,omitempty"`
	Recipients []DeliveryRecipient `json:"recipients"`
}

// DeliveryRecipient is what became of it for one recipient.
type DeliveryRecipient struct {
	Email      string `json:"email"`
	Action     string `json:"action,omitempty"` // "failed", "delayed", "delivered", "relayed", "expanded"
	Status     string `json:"status,omitempty"` // "5.1.1" (RFC 3463)
	Diagnostic string `json:"diagnostic,omitempty"`
}

// ReadReceipt tells that another message was shown or deleted (RFC 8098).
type ReadReceipt struct {
	Recipient   string `json:"recipient,omitempty"`
	MessageID   string `json:"message_id,omitempty"` // of that message, without <>
	Disposition string `json:"disposition"`          // "displayed", "deleted", …
	Automatic   bool   `json:"automatic"`            // no act of a person
}

// Fragment says which piece of a larger message this is (message/partial).
type Fragment struct {
	ID     string `json:"id"`
	Number int    `json:"number"`
	Total  int    `json:"total,omitempty"`
}
