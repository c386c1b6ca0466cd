package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/posthorn/posthorn/internal/app"
)

type checkCmd struct {
	app.Config
}

// Run prints every problem of the store; any is an error. It may run beside a server.
func (c *checkCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.LoadSecrets(os.LookupEnv); err != nil {
		return err
	}
	s, _, err := app.OpenStore(ctx, c.Config, logger(c.Config), true)
	if err != nil {
		return err
	}
	problems, err := s.Check(ctx)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems", len(problems))
	}
	fmt.Println("ok")
	return nil
}
