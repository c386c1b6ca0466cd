package v3

import (
	"encoding/json"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/mail"
)

// MessageUpdate is the body of PUT messages/{id} and PUT threads/{id}; nil fields stay as they are.
type MessageUpdate struct {
	Unread  *bool     `json:"unread"`
	Starred *bool     `json:"starred"`
	Folders *[]string `json:"folders"`

	Metadata *map[string]string `json:"-"` // replaces what is kept; empty removes it
}

// ParseMessageUpdate reads and checks a MessageUpdate. It fails with Invalid.
func ParseMessageUpdate(body io.Reader) (MessageUpdate, error) {
	var u struct {
		MessageUpdate
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := DecodeJSON(body, &u); err != nil {
		return MessageUpdate{}, err
	}
	md, given, err := ParseMetadata(u.Metadata)
	if err != nil {
		return MessageUpdate{}, err
	}
	if given {
		u.MessageUpdate.Metadata = &md
	}
	if u.Folders != nil && len(*u.Folders) != 1 {
		return MessageUpdate{}, invalid("read body", "folders must hold exactly one folder: over IMAP a message is moved to it")
	}
	return u.MessageUpdate, nil
}

// Flags returns which flags the update sets and clears.
func (u MessageUpdate) Flags() (set, clear mail.Flags) {
	put := func(on bool, f mail.Flags) {
		if on {
			set |= f
		} else {
			clear |= f
		}
	}
	if u.Unread != nil {
		put(!*u.Unread, mail.FlagSeen)
	}
	if u.Starred != nil {
		put(*u.Starred, mail.FlagFlagged)
	}
	return set, clear
}

// FolderWrite is the body of POST folders and PUT folders/{id}; nil fields stay as they are.
type FolderWrite struct {
	Name   *string `json:"name"`
	Parent *string `json:"parent_id"`
}

// maxFolderName is the longest name of a folder, in characters.
const maxFolderName = 1024

// ParseFolderWrite reads and checks a FolderWrite. It fails with Invalid.
func ParseFolderWrite(body io.Reader) (FolderWrite, error) {
	var w FolderWrite
	if err := DecodeJSON(body, &w); err != nil {
		return w, err
	}
	if w.Name == nil {
		return w, nil
	}
	if n := *w.Name; strings.TrimSpace(n) == "" || utf8.RuneCountInString(n) > maxFolderName || !utf8.ValidString(n) || strings.ContainsFunc(n, unicode.IsControl) {
		return w, invalid("read body", "name must have 1 to 1024 characters and no control characters")
	}
	return w, nil
}

// Operation is a write that the mail server has not confirmed yet, or how it ended.
type Operation struct {
	ID        string         `json:"id"`
	Object    string         `json:"object"`
	GrantID   mail.AccountID `json:"grant_id"`
	Kind      mail.OpKind    `json:"kind"`
	State     mail.OpState   `json:"state"`
	Reason    string         `json:"reason,omitempty"`
	Attempts  int            `json:"attempts"`
	CreatedAt int64          `json:"created_at"`
	NextTry   int64          `json:"next_try,omitempty"`
}

// OperationOf maps an operation.
func OperationOf(op mail.Operation, grant mail.AccountID) Operation {
	out := Operation{
		ID: op.ID, Object: "operation", GrantID: grant, Kind: op.Kind, State: op.State, Reason: op.Reason, Attempts: op.Attempts,
		CreatedAt: op.CreatedAt.Unix(),
	}
	if op.State == mail.OpPending {
		out.NextTry = op.NextTry.Unix()
	}
	return out
}
