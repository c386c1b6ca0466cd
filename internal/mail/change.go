package mail

import "time"

// ChangeKind says what happened to an object. This table is the only list of kinds.
type ChangeKind int

// The kinds of changes. The numbers are stored: never reuse one.
const (
	MessageCreated ChangeKind = 1
	MessageUpdated ChangeKind = 2
	MessageDeleted ChangeKind = 3
	MessageTagged  ChangeKind = 4 // an application changed its metadata and nothing else
	FolderCreated  ChangeKind = 10
	FolderUpdated  ChangeKind = 11
	FolderDeleted  ChangeKind = 12
	FolderReset    ChangeKind = 13 // the folder's UIDVALIDITY changed: everything in it was compared anew
	ThreadMerged   ChangeKind = 20 // Object is the surviving id, Data.From the one that now resolves to it
	ThreadReplied  ChangeKind = 21 // Object is the thread, Data.From the message that replies, Data.Root the sent one that is tracked
	AccountState   ChangeKind = 30 // Data.State, Data.Reason and Data.Action
	SyncDone       ChangeKind = 31 // the initial sync is complete
	SyncGap        ChangeKind = 32 // between Data.Since and Data.Until things may have come and gone untold; Data.Reason says why
	SendAccepted   ChangeKind = 40 // Object of these is the id of the send, Data.Send its state
	SendSucceeded  ChangeKind = 41 // the mail server took it, for at least one recipient
	SendNotDone    ChangeKind = 42 // failed or uncertain, Data.Reason says why
	SendStopped    ChangeKind = 43 // canceled before its time
	MessageOpened  ChangeKind = 51 // Object is a sent message that is tracked, Data.Count how often so far
	LinkClicked    ChangeKind = 52 // the same, of its link Data.Link
	MessageBounced ChangeKind = 50 // Object is a sent message, Data.From the message that reports that it was not delivered
)

var kindNames = map[ChangeKind]string{
	MessageCreated: "message.created", MessageUpdated: "message.updated", MessageDeleted: "message.deleted", MessageTagged: "message.metadata_updated",
	FolderCreated: "folder.created", FolderUpdated: "folder.updated", FolderDeleted: "folder.deleted", FolderReset: "folder.reset",
	ThreadMerged: "thread.merged", ThreadReplied: "thread.replied", AccountState: "grant.updated", SyncDone: "grant.imap_sync_completed", SyncGap: "sync.gap",
	SendAccepted: "message.send_accepted", SendSucceeded: "message.send_success", SendNotDone: "message.send_failed", SendStopped: "message.send_canceled",
	MessageBounced: "message.bounce_detected", MessageOpened: "message.opened", LinkClicked: "message.link_clicked",
}

// String returns the event name that applications see.
func (k ChangeKind) String() string { return kindNames[k] }

// Origin says what led to a change.
type Origin int

// The origins.
const (
	OriginInitial Origin = iota // found by the initial sync: the mail was there before us
	OriginLive                  // happened at the server while connected, or while we were away
	OriginAPI                   // asked for by an application
)

// Change is one fact about an account, written in the transaction that made it true and never altered.
type Change struct {
	Seq    Seq
	At     time.Time
	Kind   ChangeKind
	Origin Origin
	Object string // public id of the folder, message or thread; "" for the account
	Data   ChangeData
}

// ChangeData is the state of the object after the change, as far as the change log must tell it: ids, flags and
// numbers, never content; and the metadata that applications gave. Replaying the log from 1 rebuilds which messages exist, where, and with which flags.
type ChangeData struct {
	Thread   ThreadID          `json:"t,omitempty"`
	Folders  []FolderID        `json:"f,omitempty"`
	Flags    Flags             `json:"fl,omitempty"`
	Keywords []string          `json:"kw,omitempty"`
	From     string            `json:"from,omitempty"`
	Root     MessageID         `json:"root,omitempty"`
	Count    int               `json:"n,omitempty"`    // of the replies, openings or clicks so far, this one included
	Link     int               `json:"link,omitempty"` // counted from 1
	Metadata map[string]string `json:"md,omitempty"`
	State    State             `json:"state,omitempty"`
	Reason   string            `json:"why,omitempty"`
	Action   string            `json:"do,omitempty"`
	Since    int64             `json:"since,omitempty"` // of a gap: Unix seconds of its beginning and its end
	Until    int64             `json:"until,omitempty"`
	Send     SendState         `json:"send,omitempty"`
	Row      int64             `json:"r,omitempty"` // of a deleted message: what it had, for readers that know messages by it
}
