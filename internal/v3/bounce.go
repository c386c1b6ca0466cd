package v3

import "github.com/posthorn/posthorn/internal/mail"

// Bounce tells that a sent message was not delivered to somebody.
type Bounce struct {
	Reason    string         `json:"bounce_reason"`
	Date      string         `json:"bounce_date"`       // RFC 5322
	Addresses string         `json:"bounced_addresses"` // between ", "
	Type      string         `json:"type"`
	Code      string         `json:"code"` // SMTP, else the enhanced status code
	GrantID   mail.AccountID `json:"grant_id"`
	MessageID mail.MessageID `json:"message_id"` // of the sent message
	ReportID  mail.MessageID `json:"report_id"`  // ours: of the message that says so
	Origin    BounceOrigin   `json:"origin"`
}

// BounceOrigin is the message that was not delivered.
type BounceOrigin struct {
	To      []string       `json:"to"`
	From    string         `json:"from"`
	Cc      []string       `json:"cc"`
	Bcc     []string       `json:"bcc"`
	Subject string         `json:"subject"`
	MimeID  string         `json:"mime_id"`
	ID      mail.MessageID `json:"id"`
	SentAt  string         `json:"original_send_at"` // RFC 5322
}

// BounceType names the reason behind an enhanced status code (RFC 3463).
func BounceType(status string) string {
	if len(status) < 3 || status[1] != '.' {
		return "undefined"
	}
	switch rest := status[2:]; {
	case rest == "2.2", rest == "2.3":
		return map[string]string{"2.2": "mailbox_full", "2.3": "message_too_large"}[rest]
	case rest[0] == '1', rest[0] == '2':
		return "mailbox_unavailable"
	case rest == "3.4":
		return "message_too_large"
	case rest[0] == '3', rest[0] == '4', rest[0] == '5':
		return "server_unavailable"
	case rest[0] == '6':
		return "content_rejected"
	case rest[0] == '7':
		return "policy_rejected"
	}
	return "undefined"
}
