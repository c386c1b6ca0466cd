package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/indexer"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

type reindexCmd struct {
	app.Config

	Resume  bool     `help:"Go on with what an interrupted run left instead of beginning anew."`
	Account []string `arg:"" optional:"" help:"Grant ids; all when left out."`
}

// Run makes search indexes anew, and tells on standard error how far it is. The server must not be running: it would refuse to
// share the store.
func (c *reindexCmd) Run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.LoadSecrets(os.LookupEnv); err != nil {
		return err
	}
	s, _, err := app.OpenStore(ctx, c.Config, logger(c.Config), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	accts, err := s.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		return err
	}
	todo := c.Account
	if len(todo) == 0 {
		for _, a := range accts {
			todo = append(todo, string(a.ID))
		}
	}
	for i, id := range todo {
		told := time.Now()
		p, err := indexer.Reindex(ctx, s, mail.AccountID(id), c.Resume, func(p store.SearchProgress) {
			if time.Since(told) > 2*time.Second {
				fmt.Fprintf(os.Stderr, "%s (%d of %d): %d of %d messages\n", id, i+1, len(todo), p.Indexed, p.Total)
				told = time.Now()
			}
		})
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted; `posthorn reindex --resume`, or the server, goes on from here: %w", err)
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d of %d messages can be searched\n", id, p.Indexed, p.Total)
	}
	return nil
}
