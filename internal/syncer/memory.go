package syncer

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// kept is what an account's looks at its folders remember beyond the end of the process. It is stored in the transaction
// of whatever it led to: what is written with a cursor is known as long as the cursor is.
type kept struct {
	Labelled mail.FolderID `json:"labelled,omitempty"` // the folder of all mail whose labels are our folders; "": they are not
	Partial  bool          `json:"partial,omitempty"`  // that folder did not show what others do

	NoResync bool                          `json:"no_qresync,omitempty"` // QRESYNC told of mail as gone that was there
	Window   bool                          `json:"window,omitempty"`     // the last look at a folder was without CONDSTORE
	Flips    map[mail.FolderID][]time.Time `json:"flips,omitempty"`      // when UIDVALIDITY was another
	Overlap  map[mail.FolderID]mail.ModSeq `json:"overlap,omitempty"`    // from where to ask once more
	Views    map[mail.FolderID]view        `json:"views,omitempty"`      // folders that do not show all of their messages
	Policy   *mail.SyncPolicy              `json:"policy,omitempty"`     // when the mailbox was last as it should be; nil: it left nothing out
	Logins   []time.Time                   `json:"logins,omitempty"`     // the last that came to nothing, as of the last failure
}

// remember returns what is to be stored of the ladder, nil if that is stored already. Flips count for an hour only.
func (l *ladder) remember(now time.Time) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.kept.Flips, func(_ mail.FolderID, at []time.Time) bool {
		return len(at) == 0 || now.Sub(at[len(at)-1]) >= flapTime
	})
	b, err := json.Marshal(l.kept)
	if err != nil || string(b) == l.stored || l.stored == "" && string(b) == "{}" {
		return nil // it is strings, numbers and times: err is nil
	}
	return b
}

// recall takes over what was stored. Times that are to come are of a clock that was wrong. What cannot be read is as good as forgotten: everything is compared once more.
func (l *ladder) recall(b []byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored = string(b)
	k := kept{}
	if json.Unmarshal(b, &k) != nil {
		k = kept{}
	}
	l.kept = k
	l.kept.make()
	for f, at := range l.kept.Flips {
		l.kept.Flips[f] = slices.DeleteFunc(at, func(t time.Time) bool { return t.After(now) })
	}
}

func (k *kept) make() {
	if k.Flips == nil {
		k.Flips = map[mail.FolderID][]time.Time{}
	}
	if k.Overlap == nil {
		k.Overlap = map[mail.FolderID]mail.ModSeq{}
	}
	if k.Views == nil {
		k.Views = map[mail.FolderID]view{}
	}
}
