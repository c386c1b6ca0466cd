package imap

// UnilateralKind names what the server said unasked.
type UnilateralKind int

const (
	// KindExists: the selected folder now has Num messages.
	KindExists UnilateralKind = iota + 1
	// KindExpunge: the message with sequence number Num is gone.
	KindExpunge
	// KindVanished: the messages UIDs are gone (RFC 7162 3.2.10).
	KindVanished
	// KindFetch: Row tells new flags of a message; its UID may be 0 (unknown), then Row.Seq names it.
	KindFetch
	// KindBye: the server is closing the connection; the session is dead after it.
	KindBye
	// KindAlert: Text is meant for the user (RFC 3501 7.1, ALERT).
	KindAlert
	// KindThrottled: the server asks to slow down although it carried out the command.
	KindThrottled
	// KindStatus: any other untagged OK, NO or BAD; Status, Code and Text tell.
	KindStatus
	// KindMailbox: Mailbox was announced outside of LIST (NOTIFY).
	KindMailbox
	// KindMailboxStatus: the state of Mailbox.Raw was announced outside of STATUS (NOTIFY).
	KindMailboxStatus
)

// Unilateral is one thing the server said unasked.
type Unilateral struct {
	Kind    UnilateralKind
	Num     uint32   // EXISTS, EXPUNGE
	UIDs    UIDSet   // VANISHED; may end in Star
	Earlier bool     // VANISHED (EARLIER): happened before this session's SELECT
	Row     *Row     // FETCH; valid during the call only
	Mailbox *Mailbox // LIST, STATUS
	Status  string   // "OK", "NO", "BAD", "BYE"
	Code    string   // response code atom, upper case
	Text    string
}
