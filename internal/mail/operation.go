package mail

import "time"

// OpKind says what an operation asks of the server.
type OpKind string

// The kinds of operations.
const (
	OpUpdate       OpKind = "message.update" // flags, or the one folder the messages shall lie in, or both
	OpTrash        OpKind = "message.trash"  // move to the trash; messages that lie there already are removed
	OpRemove       OpKind = "message.remove" // remove for good
	OpFolderCreate OpKind = "folder.create"
	OpFolderRename OpKind = "folder.rename"
	OpFolderDelete OpKind = "folder.delete"
)

// OpState is how far an operation has come.
type OpState string

// The states of an operation. Done means that the server confirmed it and that our copy shows it.
const (
	OpPending OpState = "pending"
	OpDone    OpState = "done"
	OpFailed  OpState = "failed"
)

// Operation is a change that an application asked for. It is stored before anything is sent, carried out as soon as the
// server can be reached, and kept for a while after its end.
type Operation struct {
	ID         string      `json:"-"` // minted by the store
	Kind       OpKind      `json:"kind"`
	Messages   []MessageID `json:"messages,omitempty"`
	Set, Clear Flags       `json:",omitempty"`         // of Messages: \Seen and \Flagged
	Folder     FolderID    `json:"folder,omitempty"`   // where Messages shall lie; the folder to rename or delete; after a create, the new one
	Name       string      `json:"name,omitempty"`     // decoded full path of a folder to be
	Tried      bool        `json:"tried,omitempty"`    // may have been carried out already, without us knowing
	Attempts   int         `json:"attempts,omitempty"` // so far
	Reason     string      `json:"reason,omitempty"`   // why it failed, or waits, in words
	Why        Kind        `json:"why,omitempty"`      // of an operation that failed
	State      OpState     `json:"-"`
	CreatedAt  time.Time   `json:"-"`
	NextTry    time.Time   `json:"-"` // of a pending one: not before
}
