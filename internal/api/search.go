package api

import (
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/query"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

const (
	// indexWait is how long the first page of a search waits for the index to take in the last that came.
	indexWait = time.Second
	// searchPending is the header that says how many messages a search could not look at.
	searchPending = "X-Search-Pending"
)

// search reads a query and waits a moment for the index. When the answer may lack messages that are not in the index yet,
// it says so in a header. UIDs are those of the folders in, if any. nil: nothing is searched for.
func (c *call) search(mb *store.Mailbox, text string, in []mail.FolderID, first bool) (*query.Query, error) {
	if text == "" {
		return nil, nil
	}
	q, err := query.Parse(text, c.a.Now())
	if err != nil {
		return nil, err
	}
	ctx := c.r.Context()
	if q.HasFolders() {
		fs, err := mb.Folders(ctx)
		if err != nil {
			return nil, err
		}
		if err := q.BindFolders(func(name string) ([]mail.FolderID, error) { return v3.MatchFolder(fs, name), nil }); err != nil {
			return nil, err
		}
	}
	q.BindUIDs(in)
	if !q.NeedsText() {
		return q, nil
	}
	wait := time.Duration(0)
	if first {
		wait = indexWait
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	p, err := mb.AwaitIndex(ctx, timer.C)
	if err != nil {
		return nil, err
	}
	if p.Behind || p.Indexed < p.Total {
		c.Header().Set(searchPending, strconv.FormatInt(max(p.Total-p.Indexed, 1), 10))
	}
	return q, nil
}
