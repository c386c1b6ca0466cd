package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/app"
)

type serveCmd struct {
	app.Config
}

// stopTimeout is how long requests under way may go on after a signal.
const stopTimeout = 10 * time.Second

func (c *serveCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.LoadSecrets(os.LookupEnv); err != nil {
		return err
	}
	a, err := app.New(ctx, c.Config, logger(c.Config))
	if err != nil {
		return err
	}
	if a.NewMasterKey != "" {
		fmt.Fprintf(os.Stderr, "WARNING: a new master key was written to %s. Without it the data cannot be read: keep a copy elsewhere,\n"+
			"or set POSTHORN_MASTER_KEY and remove the file, so that key and data do not lie side by side.\n", a.NewMasterKey)
	}
	if a.NewAPIKey != "" {
		fmt.Fprintf(os.Stderr, "API key (shown this once): %s\n", a.NewAPIKey)
	}
	err = a.Start(ctx)
	if err == nil {
		fmt.Fprintf(os.Stderr, "Posthorn listens on http://%s\n", a.Addr())
		select {
		case <-ctx.Done():
		case err = <-a.Failed():
		}
	}
	stop() // a second signal ends the process at once
	closing, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	a.Stop(closing)
	return err
}
