package syncer

import (
	"context"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// view is what is known of a folder of which the server shows the newest messages only (Gmail's limit on the size of folders):
// each arrival pushes the oldest message out of view, which is no deletion. What is out of view stays as it was last seen.
//
// On the wire both look the same. The lowest UIDs of a folder are out of view, and not gone, when what is left is a round number:
// limits are, and other folders seldom. Anything else that is missing is gone.
//
// What was taken for a limit was none when another session agrees that the folder has grown beyond it, or shows less, without showing
// older messages again: a folder with a limit shows as many as it may. Then what is out of view is gone.
type view struct {
	UIDValidity mail.UIDValidity `json:"uidvalidity"`
	Most        int              `json:"most"`  // messages that were shown when it was last full
	Below       mail.UID         `json:"below"` // stored messages below it are out of view; 0: the generation was not looked at yet
	Out         int              `json:"out"`   // so many are, with those of earlier generations
}

// roundView is what limits are a multiple of: Gmail's are 1,000, 2,000, 5,000 and 10,000.
var roundView = 1000

func round(shown int) bool { return shown > 0 && shown%roundView == 0 }

// viewOf returns the view of a folder in its present generation; ok is false if nothing of it is out of view.
func (a *account) viewOf(f mail.Folder) (v view, ok bool) {
	v, ok = a.ladder.kept.Views[f.ID]
	if ok && v.UIDValidity != f.UIDValidity {
		v.UIDValidity, v.Below = f.UIDValidity, 0
		a.ladder.kept.Views[f.ID] = v
	}
	return v, ok
}

// unlimited marks, in account.losses, folders that seem not to be limited after all; folder ids never hold a blank.
const unlimited = "view "

// unlimitedSeems tells whether that waits for another session to confirm it.
func (a *account) unlimitedSeems(f mail.FolderID) bool {
	_, noted := a.losses[unlimited+f]
	return noted
}

// mayBeOut tells whether so many missing messages may be a view that has moved on, so that the UIDs are to be asked for.
func (l *folderLook) mayBeOut(gone int) bool {
	if _, limited := l.a.viewOf(l.folder); limited {
		return true
	}
	return gone > 0 && round(int(l.sel.Exists))
}

// goneOf returns those of the missing messages that are not merely out of view, after a complete look. Those of earlier generations are all
// older than what is shown.
func (l *folderLook) goneOf(there imap.UIDSet, missing, earlier []store.PlacementRef) []store.PlacementRef {
	a, f := l.a, l.folder
	v, limited := a.viewOf(f)
	leaving := a.leavingFrom(f)
	shown, lowest := there.Len(), f.UIDNext
	if list := there.Ranges(); len(list) > 0 {
		lowest = mail.UID(list[0].Start)
	}
	anew := limited && v.Below == 0
	var out, low, gone []store.PlacementRef
	if limited {
		out = earlier
	} else {
		low = earlier
	}
	for _, m := range missing {
		switch {
		case m.UID >= lowest:
			gone = append(gone, m)
		case limited && (anew || m.UID < v.Below):
			out = append(out, m)
		case leaving.moved.Contains(uint32(m.UID)) || leaving.removed.Contains(uint32(m.UID)):
			gone = append(gone, m)
		default:
			low = append(low, m)
		}
	}
	switch {
	case (len(low) > 0 || anew) && (round(shown) || limited && shown == v.Most):
		if !limited {
			a.log.Warn("the oldest messages of a folder left its view; they are kept", "op", "guard", "folder", f.ID, "shown", shown, "out", len(low))
		}
		v = view{UIDValidity: f.UIDValidity, Most: shown, Below: lowest}
		out = append(out, low...)
		delete(a.losses, unlimited+f.ID)
	case !limited:
		return append(missing, earlier...)
	default:
		gone = append(gone, low...)
		if lowest < v.Below || anew && len(out) < v.Out { // older ones are back
			v.Below, v.Most = lowest, max(v.Most, shown)
		}
		if shown == v.Most {
			delete(a.losses, unlimited+f.ID)
		} else if a.believe(unlimited + f.ID) {
			a.log.Info("a folder is not limited after all", "op", "guard", "folder", f.ID, "gone", len(out))
			gone, out = append(gone, out...), nil
		}
	}
	if v.Out = len(out); v.Out == 0 {
		delete(a.ladder.kept.Views, f.ID)
		delete(a.losses, unlimited+f.ID)
		return gone
	}
	a.ladder.kept.Views[f.ID] = v
	return gone
}

// limited says, in words, which folder does not show all of its messages; "": none that we know.
func (a *account) limited(ctx context.Context) (string, error) {
	if len(a.ladder.kept.Views) == 0 {
		return "", nil
	}
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range byRank(folders) {
		if v, ok := a.viewOf(f); ok && v.Out > 0 {
			return fmt.Sprintf("The server seems to show the newest %d messages of %q only. Older ones are kept here as they were last seen; what happens to them is not shown.", v.Most, f.Name), nil
		}
	}
	for id := range a.ladder.kept.Views {
		if !slices.ContainsFunc(folders, func(f mail.Folder) bool { return f.ID == id }) {
			delete(a.ladder.kept.Views, id)
		}
	}
	return "", nil
}

// liftLimit is what people can do about it.
const liftLimit = "Lift the limit on the size of folders (at Gmail under Settings, Forwarding and POP/IMAP). If there is none and old mail is removed by a rule, connect the mailbox anew."
