package syncer

import (
	"slices"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// remoteFlags is what the server says of one message.
type remoteFlags struct {
	UID      mail.UID
	Flags    mail.Flags
	Keywords []string
	ModSeq   mail.ModSeq
	Unknown  bool // the server did not say the flags
	Labels   store.Labels
}

// remoteFolder is one look at a selected folder.
type remoteFolder struct {
	UIDValidity mail.UIDValidity
	UIDNext     mail.UID
	UIDs        imap.UIDSet   // every UID of the folder; meaningful only when Complete
	Complete    bool          // UIDs is the whole truth
	Flags       []remoteFlags // of the messages the server told about, in any order
}

// steps is what must be done so that the stored folder equals the remote one.
type steps struct {
	Fetch    imap.UIDSet          // messages without a row here
	Flags    []store.FlagUpdate   // messages whose flags differ
	Vanished []store.PlacementRef // messages with a row that the server no longer has
}

// diff compares one look at a folder with what is stored of it. It decides nothing about UIDVALIDITY: both sides must be
// of the same generation. Placements must be in ascending order of UID. Without Complete nothing vanishes.
func diff(remote remoteFolder, folder mail.FolderID, local []mail.Placement) steps {
	var s steps
	if remote.Complete {
		for _, p := range local {
			if !remote.UIDs.Contains(uint32(p.UID)) {
				s.Vanished = append(s.Vanished, store.PlacementRef{Folder: folder, UIDValidity: remote.UIDValidity, UID: p.UID})
			}
		}
		for uid := range remote.UIDs.All {
			if _, known := find(local, mail.UID(uid)); !known {
				s.Fetch.Add(uid)
			}
		}
	}
	for _, r := range remote.Flags {
		p, known := find(local, r.UID)
		if !known {
			s.Fetch.Add(uint32(r.UID))
			continue
		}
		if r.differs(p) {
			if r.Unknown {
				r.Flags, r.Keywords = p.Flags, p.Keywords
			}
			s.Flags = append(s.Flags, store.FlagUpdate{
				PlacementRef: store.PlacementRef{Folder: folder, UIDValidity: remote.UIDValidity, UID: r.UID},
				Flags:        r.Flags, Keywords: r.Keywords, ModSeq: r.ModSeq, Labels: r.Labels,
			})
		}
	}
	return s
}

// differs tells whether the server says something else of a message than what is stored.
func (r *remoteFlags) differs(p mail.Placement) bool {
	return !r.Unknown && (p.Flags != r.Flags || !sameWords(p.Keywords, r.Keywords)) || r.Labels.Known && !slices.Equal(p.Labels, r.Labels.Folders)
}

func find(local []mail.Placement, uid mail.UID) (mail.Placement, bool) {
	i, ok := slices.BinarySearchFunc(local, uid, func(p mail.Placement, u mail.UID) int { return int(int64(p.UID) - int64(u)) })
	if !ok {
		return mail.Placement{}, false
	}
	return local[i], true
}

// sameWords compares two keyword lists as sets; both hold each word once.
func sameWords(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for _, w := range a {
		if !slices.Contains(b, w) {
			return false
		}
	}
	return true
}
