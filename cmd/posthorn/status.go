package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/mail"
)

type statusCmd struct {
	app.Config

	Account string `arg:"" optional:"" help:"Grant id, or e-mail address; all of them if it is left out."`
	Watch   bool   `help:"Go on until no mailbox is in its first synchronisation."`
	JSON    bool   `name:"json" help:"Print a JSON object for each mailbox, one a line."`
}

// watchInterval is how often a watch looks.
const watchInterval = time.Second

// Run prints where mailboxes stand. It may run beside a server, and without one tells what the last one has stored.
func (c *statusCmd) Run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.LoadSecrets(os.LookupEnv); err != nil {
		return err
	}
	o, err := app.Observe(ctx, c.Config, logger(c.Config))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	show := printTable
	if c.JSON {
		show = printJSON
	}
	if !c.Watch {
		list, err := o.Status(ctx, c.Account)
		if err != nil {
			return err
		}
		return show(os.Stdout, list)
	}
	return c.watch(ctx, o, show)
}

// watch shows bars on a terminal, else the lines of the mailboxes of which something has changed; at the end all of them.
func (c *statusCmd) watch(ctx context.Context, o *app.Observer, show func(io.Writer, []app.AccountStatus) error) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var b *bars
	if terminal(os.Stdout) && !c.JSON {
		b = &bars{progress: mpb.New(mpb.WithOutput(os.Stdout), mpb.WithWidth(40)), of: map[mail.AccountID]*bar{}}
		defer b.progress.Shutdown()
	}
	before := map[mail.AccountID]string{}
	for {
		list, err := o.Status(ctx, c.Account)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		var changed []app.AccountStatus
		unfinished := false
		for _, s := range list {
			unfinished = unfinished || s.Unfinished()
			text, err := json.Marshal(s)
			if err != nil {
				return err
			}
			if before[s.ID] != string(text) {
				before[s.ID], changed = string(text), append(changed, s)
			}
		}
		switch {
		case b != nil:
			b.show(list)
			if !unfinished {
				b.end()
				return show(os.Stdout, list)
			}
		case len(changed) > 0:
			if err := show(os.Stdout, changed); err != nil {
				return err
			}
		}
		if !unfinished {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// bars are those of the mailboxes in their first synchronisation.
type bars struct {
	progress *mpb.Progress
	of       map[mail.AccountID]*bar
}

type bar struct {
	*mpb.Bar
	now atomic.Pointer[app.AccountStatus]
}

func (b *bars) show(list []app.AccountStatus) {
	for _, s := range list {
		at := b.of[s.ID]
		if at == nil && !s.Unfinished() {
			continue
		}
		if at == nil {
			at = &bar{}
			at.now.Store(&s)
			at.Bar = b.progress.AddBar(0,
				mpb.PrependDecorators(decor.Name(printable(s.Email), decor.WCSyncSpaceR), decor.CountersNoUnit("%d/%d", decor.WCSyncSpace)),
				mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
					_, rate, eta := progress(*at.now.Load())
					return strings.TrimSpace(fmt.Sprint(at.now.Load().Sync.State, "  ", rate, "  ", eta))
				})))
			b.of[s.ID] = at
		}
		at.now.Store(&s)
		if p := s.Sync.Progress; p != nil {
			at.SetTotal(max(p.Total, p.Done+1), false) // it is complete when the mailbox is
			at.SetCurrent(p.Done)
		}
		if !s.Unfinished() {
			at.SetTotal(-1, true)
		}
	}
}

func (b *bars) end() {
	for _, at := range b.of {
		at.SetTotal(-1, true)
	}
	b.progress.Wait()
}

func printJSON(w io.Writer, list []app.AccountStatus) error {
	enc := json.NewEncoder(w)
	for _, s := range list {
		if err := enc.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

func printTable(w io.Writer, list []app.AccountStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MAILBOX\tSTATE\tFRESH\tMESSAGES\tRATE\tLEFT\tREASON")
	for _, s := range list {
		fresh := "never"
		if s.Sync.FreshAt > 0 {
			fresh = time.Since(time.Unix(s.Sync.FreshAt, 0)).Truncate(time.Second).String() + " ago"
		}
		state := string(s.Sync.State)
		if !s.Running {
			state = "not running; was " + state
		}
		done, rate, left := progress(s)
		why := strings.TrimSpace(s.Sync.Reason + " " + s.Sync.Action)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(s.Email), state, fresh, dash(done), dash(rate), dash(left), printable(dash(why)))
	}
	return t.Flush()
}

// progress puts into words how far the first synchronisation is; what is not known is empty.
func progress(s app.AccountStatus) (done, rate, left string) {
	p := s.Sync.Progress
	if p == nil {
		return "", "", ""
	}
	done = fmt.Sprintf("%d/%d", p.Done, p.Total)
	if p.Rate > 0 {
		rate = fmt.Sprintf("%.0f/s", p.Rate)
	}
	if p.ETA > 0 {
		left = max(0, time.Until(time.Unix(p.ETA, 0))).Truncate(time.Second).String()
	}
	return done, rate, left
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printable makes strangers' text safe for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
