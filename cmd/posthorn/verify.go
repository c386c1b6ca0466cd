package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/syncer"
)

type verifyCmd struct {
	app.Config

	Account string        `arg:"" help:"Grant id, or e-mail address."`
	Bytes   bool          `help:"Also fetch every message and compare its bytes; that is the traffic of a whole first synchronisation."`
	Wait    time.Duration `help:"Differences are looked at again after this long; only those that stay are told." default:"30s"`
}

// Run prints every difference; any is an error. It may run beside a server.
func (c *verifyCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.LoadSecrets(os.LookupEnv); err != nil {
		return err
	}
	v, err := app.Verify(ctx, c.Config, logger(c.Config), c.Account, syncer.VerifyOptions{Bytes: c.Bytes, Wait: c.Wait})
	if err != nil {
		return err
	}
	for _, d := range v.Differences {
		fmt.Println(d)
	}
	if n := len(v.Differences); n > 0 {
		return fmt.Errorf("%d differences in %d folders with %d messages", n, v.Folders, v.Messages)
	}
	how := "flags, sizes and dates"
	if c.Bytes {
		how = fmt.Sprintf("flags, sizes, dates and %d bytes", v.Bytes)
	}
	fmt.Printf("equal: %d folders, %d messages, their %s\n", v.Folders, v.Messages, how)
	return nil
}
