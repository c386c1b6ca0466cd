package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// noChangeFolders is how many folders the mailbox has in all; most are empty, as they are in life.
const noChangeFolders = 200

// noChange measures when the newest page of a mailbox that is new to us can be read, and then what the mailbox costs while
// nothing happens in it: the passes of a live account, and the first one after a restart.
func noChange(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	m, err := newMailbox(o, realsrv.DovecotOptions{}, func(dir string) error {
		folders, err := listFolders(dir)
		if err != nil {
			return err
		}
		for i := len(folders); i < noChangeFolders; i++ {
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf(".Empty %03d", i), sub), 0o755); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer m.Stop()
	if err := m.warm(metaItems()); err != nil {
		return err
	}
	wire, s, end, err := serveTapped(ctx, o, m.Addr)
	if err != nil {
		return err
	}
	defer wire.Close()
	defer func() { end() }()
	fmt.Fprintln(os.Stderr, "syncing")
	start := time.Now()
	g, err := s.Connect(ctx, binary.IMAP(wire.Addr().String(), user, password))
	if err != nil {
		return err
	}
	if err := firstPage(ctx, s, g.ID, min(50, o.n/4)); err != nil {
		return err
	}
	fmt.Printf("%d messages in %d folders; %s\n\nnewest page of INBOX readable %.2f s after the request to connect, %.2f s after the login\n",
		o.n, noChangeFolders, time.Now().Format(time.DateOnly), time.Since(start).Seconds(), time.Since(wire.loggedIn()).Seconds())
	if _, err = s.Await(ctx, g.ID, binary.Live); err != nil {
		return err
	}
	fmt.Printf("everything readable after %.1f s", time.Since(start).Seconds())
	if _, err = s.Await(ctx, g.ID, searchable); err != nil {
		return err
	}
	fmt.Printf(", searchable after %.1f s\n\n| what | round trips | IMAP commands | CPU of posthorn |\n|---|---|---|---|\n", time.Since(start).Seconds())
	report := func(what string, from time.Duration) {
		n, turns, commands := wire.take()
		fmt.Printf("| %s | %d | %d: %s | %.1f ms |\n", what, turns, n, commands, (threadTime(s.PID)-from).Seconds()*1e3)
	}
	for i := range 5 { // the first ones may still tidy up
		if err := wire.quiet(ctx); err != nil {
			return err
		}
		wire.take()
		from := threadTime(s.PID)
		if err := wire.next(ctx); err != nil {
			return err
		}
		if err := wire.quiet(ctx); err != nil {
			return err
		}
		report("pass "+strconv.Itoa(i+1), from)
	}
	stop, cancelStop := context.WithTimeout(ctx, time.Minute)
	defer cancelStop()
	if err := s.Stop(stop); err != nil {
		return err
	}
	wire.take()
	again, err := binary.Start(ctx, s.Options)
	if err != nil {
		return err
	}
	old := end
	end = func() { again.Kill(); old() }
	s = again
	if err := wire.next(ctx); err != nil {
		return err
	}
	if err := wire.quiet(ctx); err != nil {
		return err
	}
	report("after a restart, from the start of the process", 0)
	fmt.Printf("\nmemory after it: %.1f MiB\n", float64(rss(s.PID))/(1<<20))
	return nil
}

// firstPage waits until so many messages of INBOX are listed with their bodies.
func firstPage(ctx context.Context, s *binary.Server, grant string, want int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	inbox := ""
	for {
		if inbox == "" {
			folders, err := s.Folders(ctx, grant)
			if err != nil {
				return err
			}
			for _, f := range folders {
				if strings.EqualFold(f.Name, "INBOX") {
					inbox = f.ID
				}
			}
		}
		if inbox != "" {
			var page struct{ Data []binary.Message }
			if err := s.Get(ctx, "/v3/grants/"+grant+"/messages?limit=50&in="+url.QueryEscape(inbox), &page); err != nil {
				return err
			}
			if len(page.Data) >= want && !slices.ContainsFunc(page.Data, func(m binary.Message) bool { return m.BodyPending }) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// threadTime is the CPU time of a process to the nanosecond; 0 where the system does not tell.
func threadTime(pid int) (sum time.Duration) {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range list {
		b, _ := os.ReadFile(f)
		ns, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// rss is the resident memory of a process.
func rss(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n * int64(os.Getpagesize())
}
