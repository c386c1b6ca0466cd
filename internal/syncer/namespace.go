package syncer

import (
	"context"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

// fullName returns the name at the server of a folder that is to be made or renamed.
func (a *account) fullName(ctx context.Context, s *session, name string) (string, error) {
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return "", err
	}
	spaces, err := a.askNamespaces(ctx, s)
	return fullName(name, spaces, folders), err
}

// askNamespaces asks once. Some servers refuse the command, and Exchange 2003 closes the connection instead of an answer.
func (a *account) askNamespaces(ctx context.Context, s *session) (imap.Namespaces, error) {
	if a.askedSpaces || !s.Caps().Has("NAMESPACE") {
		return a.spaces, nil
	}
	a.askedSpaces = true
	spaces, err := s.Namespace(ctx)
	if err == nil {
		a.spaces = spaces
	} else if s.Err() == nil {
		err = nil
	}
	return a.spaces, err
}

// fullName puts a name into the personal namespace, unless it is that of a place already, and the server's delimiter where
// "/" stands.
func fullName(name string, spaces imap.Namespaces, folders []mail.Folder) string {
	if slices.ContainsFunc(folders, func(f mail.Folder) bool { return f.Name == name }) {
		return name
	}
	prefix, delim := personal(spaces, folders)
	if delim != "" {
		name = strings.ReplaceAll(name, "/", delim)
	}
	if rest, ok := cutPrefixFold(name, prefix); ok {
		return prefix + rest
	}
	placed := strings.EqualFold(name+delim, prefix) ||
		slices.ContainsFunc(slices.Concat(spaces.Other, spaces.Shared), func(n imap.Namespace) bool {
			return n.Prefix != "" && strings.HasPrefix(name, n.Prefix)
		}) ||
		slices.ContainsFunc(folders, func(f mail.Folder) bool {
			return f.Delimiter != "" && strings.HasPrefix(name, f.Name+f.Delimiter)
		})
	if placed {
		return name
	}
	return prefix + name
}

// personal returns the prefix of a user's own folders and the delimiter of levels: as the server says, else as its folders
// show. Where all others are below INBOX, nothing can be made beside it (Courier, and Dovecot as many hosts set it up).
func personal(spaces imap.Namespaces, folders []mail.Folder) (prefix, delim string) {
	for _, f := range folders {
		if delim == "" || folderKey(f.RawName) == "INBOX" && f.Delimiter != "" {
			delim = f.Delimiter
		}
	}
	if len(spaces.Personal) > 0 {
		own := spaces.Personal[0]
		if own.Delimiter != "" {
			delim = own.Delimiter
		}
		return own.Prefix, delim
	}
	others := 0
	for _, f := range folders {
		if folderKey(f.RawName) == "INBOX" {
			continue
		}
		if _, below := cutPrefixFold(f.Name, "INBOX"+delim); !below || delim == "" {
			return "", delim
		}
		others++
	}
	if others == 0 {
		return "", delim
	}
	return "INBOX" + delim, delim
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
