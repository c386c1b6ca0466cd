package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
	"github.com/posthorn/posthorn/test/seed"
)

// noChangeFolders is how many folders the mailbox has in all; most are empty, as they are in life.
const noChangeFolders = 200

// noChange measures what a synced mailbox costs in which nothing happens: the passes of a live account, and the first one
// after a restart.
func noChange(ctx context.Context, o options) error {
	d, err := realsrv.NewDovecot(realsrv.DovecotOptions{Password: password})
	if err != nil {
		return err
	}
	defer d.Stop()
	maildir := d.MaildirPath(user)
	fmt.Fprintf(os.Stderr, "making %d messages\n", o.n)
	if _, err = seed.Maildir(maildir, o.seed, o.n); err != nil {
		return err
	}
	folders, err := listFolders(maildir)
	if err != nil {
		return err
	}
	for i := len(folders); i < noChangeFolders; i++ {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(maildir, fmt.Sprintf(".Empty %03d", i), sub), 0o755); err != nil {
				return err
			}
		}
	}
	if err := d.Chown(maildir); err != nil {
		return err
	}
	wire, err := tap(d.Addr)
	if err != nil {
		return err
	}
	defer wire.Close()
	dir, err := os.MkdirTemp("", "posthorn-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := binary.Start(ctx, binary.Options{Path: o.bin, Dir: filepath.Join(dir, "data"), Env: append([]string{"POSTHORN_LOG_LEVEL=warn"}, o.env...)})
	if err != nil {
		return err
	}
	defer func() { s.Kill() }()
	fmt.Fprintln(os.Stderr, "syncing")
	g, err := s.Connect(ctx, binary.IMAP(wire.Addr().String(), user, password))
	if err != nil {
		return err
	}
	searchable := func(g binary.Grant) bool {
		return binary.Live(g) && g.Sync.Search.Total > 0 && g.Sync.Search.Done >= g.Sync.Search.Total
	}
	if g, err = s.Await(ctx, g.ID, searchable); err != nil {
		return err
	}
	fmt.Printf("%d messages in %d folders\n\n| what | IMAP commands | CPU of posthorn |\n|---|---|---|\n", o.n, noChangeFolders)
	report := func(what string, from time.Duration) {
		fmt.Printf("| %s | %s | %.1f ms |\n", what, wire.take(), (threadTime(s.PID)-from).Seconds()*1e3)
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
	stop, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.Stop(stop); err != nil {
		return err
	}
	wire.take()
	again, err := binary.Start(ctx, s.Options)
	if err != nil {
		return err
	}
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

// wiretap forwards connections to an IMAP server and notes the commands that clients send.
type wiretap struct {
	net.Listener
	sent chan struct{} // a command was sent

	mu       sync.Mutex
	commands []string
	last     time.Time // when bytes last went either way
}

func tap(addr string) (*wiretap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wiretap{Listener: l, sent: make(chan struct{}, 1)}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			go w.copy(in, out, false)
			go w.copy(out, in, true)
		}
	}()
	return w, nil
}

func (w *wiretap) copy(to, from net.Conn, client bool) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		w.last = time.Now()
		if client {
			for line := range bytes.Lines(b[:n]) {
				if f := strings.Fields(string(line)); len(f) > 1 {
					name := strings.ToUpper(f[1])
					if name == "UID" && len(f) > 2 {
						name += " " + strings.ToUpper(f[2])
					}
					w.commands = append(w.commands, name)
				}
			}
		}
		w.mu.Unlock()
		if client {
			select {
			case w.sent <- struct{}{}:
			default:
			}
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// take returns the commands since the last call.
func (w *wiretap) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.sent:
	default:
	}
	out := fmt.Sprintf("%d: %s", len(w.commands), strings.Join(w.commands, ", "))
	w.commands = nil
	return out
}

// next waits for a command.
func (w *wiretap) next(ctx context.Context) error {
	select {
	case <-w.sent:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quiet waits until nothing was said for two seconds.
func (w *wiretap) quiet(ctx context.Context) error {
	for {
		w.mu.Lock()
		left := 2*time.Second - time.Since(w.last)
		w.mu.Unlock()
		if left <= 0 {
			return nil
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
