package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/syncer"
)

type verifyCmd struct {
	app.Config

	Account string        `arg:"" help:"Grant id, or e-mail address."`
	Bytes   bool          `help:"Also fetch every message and compare its bytes; that is the traffic of a whole first synchronisation."`
	Wait    time.Duration `help:"Differences are looked at again after this long; only those that stay are told." default:"30s"`
}

// Help is what kong prints below the flags' headline.
func (verifyCmd) Help() string {
	return "Ends with 0 if they are equal, with 1 if they differ, and with 2 if not everything could be compared."
}

// Run prints every difference; any is an error. It may run beside a server.
func (c *verifyCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.LoadSecrets(os.LookupEnv); err != nil {
		return exitError{err, 2}
	}
	o := syncer.VerifyOptions{Bytes: c.Bytes, Wait: c.Wait}
	end := func() {}
	if terminal(os.Stderr) {
		o.Progress, end = verifyBar()
	}
	v, err := app.Verify(ctx, c.Config, logger(c.Config), c.Account, o)
	end()
	for _, d := range v.Differences {
		fmt.Println(printable(d.String()))
	}
	seen := fmt.Sprintf("%d folders, %d messages", v.Folders, v.Messages)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		err = errors.New("interrupted")
	}
	switch n := len(v.Differences); {
	case err != nil && v.Folders > 0:
		return exitError{fmt.Errorf("not everything was compared, only %s: %w", seen, err), 2}
	case err != nil:
		return exitError{err, 2}
	case n == 1:
		return fmt.Errorf("1 difference in %s", seen)
	case n > 1:
		return fmt.Errorf("%d differences in %s", n, seen)
	}
	how := "flags, sizes and dates"
	if c.Bytes {
		how = fmt.Sprintf("flags, sizes, dates and %d bytes", v.Bytes)
	}
	fmt.Printf("equal: %s, their %s\n", seen, how)
	return nil
}

// verifyBar shows how far a comparison is, until end is called.
func verifyBar() (show func(folder string, done, of int), end func()) {
	p := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(40))
	var in atomic.Pointer[string]
	bar := p.AddBar(0, mpb.PrependDecorators(decor.CountersNoUnit("%d/%d")), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
		if name := in.Load(); name != nil {
			return printable(*name)
		}
		return ""
	})))
	show = func(folder string, done, of int) {
		in.Store(&folder)
		bar.SetTotal(int64(of), false)
		bar.SetCurrent(int64(done))
	}
	return show, func() {
		bar.Abort(true)
		p.Wait()
	}
}
