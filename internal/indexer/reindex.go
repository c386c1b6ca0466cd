package indexer

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// Reindex makes the search index of one account anew and calls step after each bounded piece of work. resume goes on with what an
// interrupted run left, as an Indexer would. It may be stopped at any time, by ctx or by the end of the process.
func Reindex(ctx context.Context, s *store.Store, id mail.AccountID, resume bool, step func(store.SearchProgress)) (p store.SearchProgress, err error) {
	mb, err := s.Mailbox(ctx, id)
	if err == nil && !resume {
		err = mb.DropIndex(ctx)
	}
	for more := true; more && err == nil; {
		if more, err = mb.Index(ctx); err == nil {
			if p, err = mb.SearchProgress(ctx); err == nil {
				step(p)
			}
		}
	}
	for more := true; more && err == nil; {
		more, err = mb.Merge(ctx)
	}
	if err != nil {
		return p, fmt.Errorf("make the search index of %s: %w", id, err)
	}
	return p, nil
}
