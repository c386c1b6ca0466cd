package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

type reindexCmd struct {
	app.Config

	Account []string `arg:"" optional:"" help:"Grant ids; all when left out."`
}

// Run makes search indexes anew. The server must not be running: it would refuse to share the store.
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
	for _, id := range todo {
		mb, err := s.Mailbox(ctx, mail.AccountID(id))
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if err := mb.DropIndex(ctx); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		for more := true; more; {
			if more, err = mb.Index(ctx); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
		p, err := mb.SearchProgress(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		fmt.Printf("%s: %d of %d messages can be searched\n", id, p.Indexed, p.Total)
	}
	return nil
}
