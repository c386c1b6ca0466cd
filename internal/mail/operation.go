package mail

import "time"

// OpKind says what an operation asks of the server.
type OpKind string

// The kinds of operations.
const (
	OpUpdate       OpKind = "message.update" // flags, or the one folder the messages shall lie in, or both
	OpTrash        OpKind = "message.trash"  // move to the trash; messages that lie there already stay
	OpRemove       OpKind = "message.remove" // remove for good
	OpPurge        OpKind = "message.purge"  // remove for good, as long as they all lie in the trash; as OpTrash if one does not
	OpDraftSave    OpKind = "draft.save"     // put Blob among the drafts, and remove what it takes the place of
	OpDraftDelete  OpKind = "draft.delete"   // remove for good
	OpFile         OpKind = "message.file"   // put the message of a send into Sent, unless it lies there
	OpLook         OpKind = "message.look"   // look whether it lies there; fails with NotFound if not
	OpFetch        OpKind = "message.fetch"  // fetch the bytes of messages that are here without
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
	Send       string      `json:"send,omitempty"`     // id of the send
	Tried      bool        `json:"tried,omitempty"`    // may have been carried out already, without us knowing
	Attempts   int         `json:"attempts,omitempty"` // so far
	Reason     string      `json:"reason,omitempty"`   // why it failed, or waits, in words
	Why        Kind        `json:"why,omitempty"`      // of an operation that failed
	Blob       int64       `json:"-"`                  // raw message to be written; released when the operation ends. 0 none
	Size       int64       `json:"size,omitempty"`     // of Blob
	Draft      *DraftWork  `json:"draft,omitempty"`    // of the draft operations; Messages is the one draft
	State      OpState     `json:"-"`
	CreatedAt  time.Time   `json:"-"`
	NextTry    time.Time   `json:"-"` // of a pending one: not before
}

// DraftWork is what an operation on a draft knows of the copies at the server. Each version that we write carries a
// Revision of its own in its header: by it a version is recognised whatever UID the server gave it.
type DraftWork struct {
	Revision string            `json:"rev,omitempty"`   // of the version to be written
	Old      MessageID         `json:"of,omitempty"`    // the message whose copies Replaces are
	Replaces []Copy            `json:"old,omitempty"`   // the copies that the caller had seen
	Bases    []string          `json:"bases,omitempty"` // revisions that go with them: of earlier operations whose place this one takes
	From     Copy              `json:"from,omitzero"`   // once Tried: where the version can lie, at this UID or later
	Metadata map[string]string `json:"md,omitempty"`    // to be kept with the draft
	Tagged   bool              `json:"tag,omitempty"`   // Metadata was given
	UTF8     bool              `json:"utf8,omitempty"`  // the header of the version is in UTF-8
}

// Copy names one copy of a message at the server.
type Copy struct {
	Folder      FolderID    `json:"f,omitempty"`
	UIDValidity UIDValidity `json:"v"`
	UID         UID         `json:"u"`
}
