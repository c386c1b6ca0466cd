package v3

import (
	"strings"

	"github.com/posthorn/posthorn/internal/mail"
)

// Folder is a mailbox folder as applications see it.
type Folder struct {
	ID           mail.FolderID  `json:"id"`
	Object       string         `json:"object"` // "folder"
	GrantID      mail.AccountID `json:"grant_id"`
	Name         string         `json:"name"` // whole path with the server's separator
	Attributes   []string       `json:"attributes"`
	ParentID     mail.FolderID  `json:"parent_id,omitempty"`
	ChildCount   int            `json:"child_count"`
	TotalCount   int            `json:"total_count"`
	UnreadCount  int            `json:"unread_count"`
	SystemFolder bool           `json:"system_folder"`
}

var roleAttrs = map[mail.Role]string{
	mail.RoleInbox: `\Inbox`, mail.RoleSent: `\Sent`, mail.RoleDrafts: `\Drafts`, mail.RoleTrash: `\Trash`,
	mail.RoleJunk: `\Junk`, mail.RoleArchive: `\Archive`, mail.RoleAll: `\All`, mail.RoleFlagged: `\Flagged`,
}

// FolderOf maps a folder. The role comes first among the attributes, spelt alike for every provider.
func FolderOf(f mail.Folder, grant mail.AccountID, children int) Folder {
	attrs := make([]string, 0, len(f.Attrs)+1)
	role := roleAttrs[f.Role]
	if role != "" {
		attrs = append(attrs, role)
	}
	for _, a := range f.Attrs {
		if !strings.EqualFold(a, role) {
			attrs = append(attrs, a)
		}
	}
	return Folder{
		ID: f.ID, Object: "folder", GrantID: grant, Name: f.Name, Attributes: attrs, ParentID: f.Parent,
		ChildCount: children, TotalCount: f.Total, UnreadCount: f.Unread, SystemFolder: f.Role != "",
	}
}

// FoldersOf maps a listing, counting the children of each folder in it.
func FoldersOf(fs []mail.Folder, grant mail.AccountID) []Folder {
	children := make(map[mail.FolderID]int, len(fs))
	for _, f := range fs {
		if f.Parent != "" {
			children[f.Parent]++
		}
	}
	out := make([]Folder, len(fs))
	for i, f := range fs {
		out[i] = FolderOf(f, grant, children[f.ID])
	}
	return out
}

// MatchFolder finds the folders a caller means by s: an id, a name, or a role such as "inbox" or "\Sent". An exact
// id or name wins over a role, a role over a name in another case.
func MatchFolder(fs []mail.Folder, s string) []mail.FolderID {
	for _, f := range fs {
		if string(f.ID) == s {
			return []mail.FolderID{f.ID}
		}
	}
	pick := func(ok func(mail.Folder) bool) (out []mail.FolderID) {
		for _, f := range fs {
			if ok(f) {
				out = append(out, f.ID)
			}
		}
		return out
	}
	if out := pick(func(f mail.Folder) bool { return f.Name == s }); out != nil {
		return out
	}
	role := mail.Role(strings.ToLower(strings.TrimPrefix(s, `\`)))
	switch role {
	case "spam":
		role = mail.RoleJunk
	case "starred":
		role = mail.RoleFlagged
	}
	if _, ok := roleAttrs[role]; ok {
		if out := pick(func(f mail.Folder) bool { return f.Role == role }); out != nil {
			return out
		}
	}
	return pick(func(f mail.Folder) bool { return strings.EqualFold(f.Name, s) })
}
