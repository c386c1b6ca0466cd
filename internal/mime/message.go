package mime

import "time"

// Address is one mailbox of a header field. Email is as it stands in the message and may be malformed; it is empty for
// a name without address.
type Address struct {
	Name  string
	Email string
}

// Attachment describes one leaf of the MIME tree that is not part of the text: it has disposition attachment, or a
// name, or a type other than text/plain and text/html. A forwarded message (message/rfc822) is one attachment.
type Attachment struct {
	ID          string   // position in the MIME tree as in RFC 9051 6.4.5: "1", "2.1"; what OpenPart takes
	ContentType string   // lower case, without parameters: "image/png"
	Charset     string   // of text types, as declared, lower case
	Name        string   // decoded file name, may be empty
	ContentID   string   // without <>
	Disposition string   // "attachment", "inline" or ""
	Size        int64    // decoded bytes
	Inline      bool     // shown within the message: disposition inline, a Content-ID inside multipart/related, used as Text or HTML, or an alternative to them
	SHA256      [32]byte // of the decoded bytes; zero unless Options.Digests
	Method      string   // of text/calendar, upper case: "REQUEST", "REPLY", "CANCEL"; "" if it says none (RFC 5546)
	Embedded    string   // "uuencode" or "yenc" for a file inside a text; "" for a part
	Shown       bool     // the HTML shows it by its Content-ID (RFC 2392)
}

// Message is what was understood of a message.
type Message struct {
	Header Header

	Subject                            string
	From, To, Cc, Bcc, ReplyTo, Sender []Address
	Date                               time.Time // of the Date field; zero when missing or unreadable
	MessageID                          string    // without <>, "" when missing
	InReplyTo                          []string  // without <>
	References                         []string  // without <>

	// A text that is an attachment only because it has a name, or because it is of another kind ("text/markdown", or "text" without
	// a subtype), stands here too if there is no other of its kind and it comes first or is an alternative.
	Text    string // first text/plain leaf that is not an attachment, as UTF-8; "" if there is none
	HTML    string // first text/html leaf that is not an attachment, as UTF-8; "" if there is none
	TextAll string // all such leaves joined by a newline; equal to Text if there is one
	HTMLAll string

	Attachments []Attachment
	Security    Security  // how the message is signed or encrypted
	Fragment    *Fragment // it is a piece of a larger one; nil if not
	Delivery    *Delivery // a report on what became of another message; nil if not
	Receipt     *Receipt  // a report that another message was shown or deleted; nil if not
	ReceiptTo   []Address // who asks for such a report (Disposition-Notification-To)
	Auto        string    // keyword of Auto-Submitted (RFC 3834), lower case: "auto-replied"; "" if missing
	Precedence  string    // lower case: "bulk", "list", "junk"
	List        List      // of the mailing list it came by

	Partial  bool     // something is missing from the end: a limit was reached, or the reader failed
	Problems []string // what was wrong with the message, in words; never its content

	shown []shown // the texts in their order
	texts texts   // how the header's bytes become text
}

// shown is one text leaf.
type shown struct {
	text     string
	html     bool
	branches []branch // that it stands in
}

// Limits bound what one message may cost. Zero values mean the defaults.
type Limits struct {
	Header int // bytes of one header block that are looked at; 1 MiB
	Fields int // header fields of one block; 10,000
	Depth  int // nested multiparts; 64
	Parts  int // leaves; 2,000
	Text   int // bytes of decoded text collected, for plain text and HTML each; 16 MiB
}

// Options for Parse.
type Options struct {
	Digests  bool // compute Attachment.SHA256
	NoDetect bool // bytes that are not in the declared charset become U+FFFD; without it their charset is detected
	NoEmbed  bool // files within a text (uuencode, yEnc) stay part of the text
	Limits   Limits
}
