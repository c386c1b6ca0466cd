package imap

// SelectOptions say how to open a mailbox.
type SelectOptions struct {
	ReadOnly  bool // EXAMINE
	CondStore bool // ask for MODSEQ when the server offers CONDSTORE
}

// Selected is what the server said when it opened a mailbox. A value of 0 whose Has is false was not given.
type Selected struct {
	Exists         uint32
	UIDNext        uint32
	UIDValidity    uint32
	HighestModSeq  uint64
	NoModSeq       bool // the server keeps no MODSEQ for this mailbox
	ReadOnly       bool
	Flags          []string
	PermanentFlags []string
	MailboxID      string // RFC 8474

	HasExists, HasUIDNext, HasUIDValidity bool
}

// StatusItem is one thing STATUS can tell.
type StatusItem string

const (
	StatusMessages      StatusItem = "MESSAGES"
	StatusUnseen        StatusItem = "UNSEEN"
	StatusUIDNext       StatusItem = "UIDNEXT"
	StatusUIDValidity   StatusItem = "UIDVALIDITY"
	StatusHighestModSeq StatusItem = "HIGHESTMODSEQ" // CONDSTORE
	StatusSize          StatusItem = "SIZE"          // STATUS=SIZE
	StatusMailboxID     StatusItem = "MAILBOXID"     // OBJECTID
)

// StatusSet is a set of the items that were present in an answer.
type StatusSet uint8

const (
	HasMessages StatusSet = 1 << iota
	HasUnseen
	HasUIDNext
	HasUIDValidity
	HasHighestModSeq
	HasSize
	HasMailboxID
)

// StatusData is one answer to STATUS. Only the items in Has were given; the others are zero and mean nothing.
type StatusData struct {
	Messages, Unseen     uint32
	UIDNext, UIDValidity uint32
	HighestModSeq        uint64
	Size                 int64
	MailboxID            string
	Has                  StatusSet
}
