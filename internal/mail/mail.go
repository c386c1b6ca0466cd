// Package mail holds the words everybody here speaks: accounts, folders, messages, placements, threads, changes and errors.
package mail

import (
	"strings"
	"time"
)

// AccountID names a connected mailbox: a UUID, and what the API calls a grant id.
type AccountID string

// AppID names an application, the owner of API keys and accounts.
type AppID string

// FolderID is our own id of a folder: it outlives renames and UIDVALIDITY changes. Characters: [A-Za-z0-9_-].
type FolderID string

// MessageID is our own id of a message: it outlives moves, copies, renames, UIDVALIDITY changes and a wipe of the
// store. It is not the Message-ID header. Characters: [A-Za-z0-9_-].
type MessageID string

// ThreadID is our own id of a thread. An id that was ever handed out keeps resolving. Characters: [A-Za-z0-9_-].
type ThreadID string

// Seq counts the changes of one account from 1, without holes.
type Seq int64

// Term is one uninterrupted right to act for an account; a later holder has a larger one.
type Term int64

// UID is a message's number in one folder under one UIDVALIDITY (RFC 9051 2.3.1.1). 0 is no UID.
type UID uint32

// UIDValidity is the generation of a folder's UIDs.
type UIDValidity uint32

// ModSeq is a CONDSTORE modification sequence (RFC 7162); 0 means unknown.
type ModSeq uint64

// Address is one mailbox of a header field. Email may be malformed, as it was in the message, but is never nil in JSON.
type Address struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Flags are the system flags of a message as a bit mask.
type Flags uint32

// The system flags (RFC 9051 2.3.2). \Recent is never kept.
const (
	FlagSeen Flags = 1 << iota
	FlagAnswered
	FlagFlagged
	FlagDraft
	FlagDeleted
)

var flagNames = []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`, `\Deleted`}

// ParseFlags splits IMAP flag names into the system flags and the keywords, each keyword once and in order of first
// appearance, in UTF-8 as it is stored. \Recent, \* and names with characters below space are dropped.
func ParseFlags(names []string) (Flags, []string) {
	var f Flags
	var kw []string
next:
	for _, n := range names {
		for i, s := range flagNames {
			if strings.EqualFold(n, s) {
				f |= 1 << i
				continue next
			}
		}
		if n == "" || n == `\*` || strings.EqualFold(n, `\Recent`) || strings.ContainsFunc(n, func(r rune) bool { return r < ' ' }) {
			continue
		}
		n = strings.ToValidUTF8(n, "\uFFFD")
		for _, k := range kw {
			if strings.EqualFold(k, n) {
				continue next
			}
		}
		kw = append(kw, n)
	}
	return f, kw
}

// Names returns the IMAP names of the flags that are set.
func (f Flags) Names() []string {
	var out []string
	for i, s := range flagNames {
		if f&(1<<i) != 0 {
			out = append(out, s)
		}
	}
	return out
}

// Role is what a folder is for; empty when it has no special use (RFC 6154).
type Role string

// The roles. Inbox is ours; the others are the SPECIAL-USE attributes without the backslash.
const (
	RoleInbox   Role = "inbox"
	RoleSent    Role = "sent"
	RoleDrafts  Role = "drafts"
	RoleTrash   Role = "trash"
	RoleJunk    Role = "junk"
	RoleArchive Role = "archive"
	RoleAll     Role = "all"
	RoleFlagged Role = "flagged"
)

// Folder is one mailbox folder. RawName is the server's own bytes and the key at the server; Name is for show.
type Folder struct {
	ID         FolderID
	RawName    string // as the server spells it on the wire, before any decoding
	Name       string // decoded full path, valid UTF-8
	Delimiter  string // "" when the server has no hierarchy (NIL)
	Role       Role
	Attrs      []string // LIST attributes other than special use, as sent
	Parent     FolderID // "" at the top
	Selectable bool     // false for \Noselect and \NonExistent

	UIDValidity   UIDValidity // 0 until first selected
	UIDNext       UID         // every UID below it is stored or known to be absent; 0 until first selected
	HighestModSeq ModSeq      // the changes up to it are stored; 0 unknown
	HeadersDone   bool        // initial sync: every message of the folder has a row
	BackfillBelow UID         // initial sync, newest first: UIDs at or above it have rows; 0 not begun

	Total  int // messages
	Unread int // messages without \Seen
	Seq    Seq // of the last change of this row
}

// Placement is one copy of a message at the server. It is named by (Folder, UIDValidity, UID) and nothing else.
type Placement struct {
	Folder      FolderID
	UIDValidity UIDValidity
	UID         UID
	Message     MessageID
	Flags       Flags
	Keywords    []string
	ModSeq      ModSeq
	Held        bool       // the bytes of this copy were fetched, or are proven to be those of another copy of the message
	Aside       bool       // its bytes could not be fetched, and are not tried again yet
	Labels      []FolderID // folders in which the copy shows too, where folders are labels (Gmail); ascending
}

// BodyState says how much of a message is stored.
type BodyState int

// The body states.
const (
	BodyNone        BodyState = iota // headers only so far
	BodyHeld                         // raw bytes stored
	BodyQuarantined                  // could not be fetched; retried slowly, see Message.Trouble
)

// Part is an attachment or inline part of a message.
type Part struct {
	ID          string `json:"id"` // position in the MIME tree ("2", "2.1"), unique in the message
	ContentType string `json:"type"`
	Charset     string `json:"charset,omitempty"`
	Filename    string `json:"name,omitempty"` // decoded, may be empty
	ContentID   string `json:"cid,omitempty"`  // without <>
	Disposition string `json:"disp,omitempty"` // "attachment", "inline" or ""
	Size        int64  `json:"size"`           // decoded bytes
	Inline      bool   `json:"inline,omitempty"`
}

// Message is a message as applications see it: one per content, with every folder it lies in.
type Message struct {
	ID     MessageID
	Thread ThreadID
	Row    int64 // internal, date-ordered: sort key and page cursor

	Date time.Time // when the server received it (INTERNALDATE), to the second
	Sent time.Time // Date header; zero when missing or unreadable

	Subject                          string
	From, To, Cc, Bcc, ReplyTo       []Address
	Sender                           []Address
	HeaderMessageID, HeaderInReplyTo string   // without <>; "" when missing
	References                       []string // without <>
	Snippet                          string

	Flags            Flags // union over the placements for everything but \Seen, which must be set on all of them
	Keywords         []string
	Folders          []FolderID // ascending, each once
	Size             int64      // RFC822.SIZE until the body is held, then the length of the raw bytes
	Attachments      []Part
	ListedAsAttached bool // the message has at least one part that is an attachment and not inline

	Metadata map[string]string // what applications keep with the message

	Body    BodyState
	Trouble string // why the body is quarantined, in words
	Partial bool   // the MIME parser could read only part of it
	Seq     Seq    // of the last change of this message
}

// Thread is a conversation: the messages that answer each other.
type Thread struct {
	ID              ThreadID
	Subject         string // of the newest message
	Snippet         string // of the newest message
	Participants    []Address
	Messages        []MessageID // oldest first, without drafts
	Drafts          []MessageID
	Folders         []FolderID
	Unread, Starred bool
	HasAttachments  bool
	Earliest        time.Time
	LatestReceived  time.Time // zero when no message was received
	LatestSent      time.Time // zero when no message was sent from this mailbox
	Latest          MessageID // newest message or draft
	Row             int64     // internal row of the newest message: sort key and page cursor
	Seq             Seq
}
