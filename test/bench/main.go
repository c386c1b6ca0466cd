// Command bench measures a full synchronisation beside the raw floor and mbsync, on a private Dovecot, and much else: see its flags.
//
// The machine's speed and noise touch all of the figures alike, so the ratios are what to look at.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

type options struct {
	bin      string
	n        int
	seed     uint64
	maildir  string
	rounds   int
	requests int
	skipSync bool
	events   bool
	isolated bool
	profile  string
	clients  bool
	load     bool
	noChange bool
	newMail  bool
	faults   bool
	search   bool
	notmuch  bool
	mbsync   bool
	compress bool
	mime     bool
	million  bool
	data     string
	env      []string
}

const user, password = "bench", "pass"

func main() {
	var o options
	flag.StringVar(&o.bin, "posthorn", "bin/posthorn", "the built program")
	flag.IntVar(&o.n, "n", 20000, "messages to make")
	flag.Uint64Var(&o.seed, "seed", 1, "what the messages are made from")
	flag.StringVar(&o.maildir, "maildir", "", "an existing Maildir++ to copy instead of making one")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; the table shows medians")
	flag.IntVar(&o.requests, "requests", 400, "API requests of each kind")
	flag.BoolVar(&o.skipSync, "client-only", false, "only the floor and our IMAP client")
	flag.BoolVar(&o.clients, "clients", false, "our IMAP client beside others, instead: needs modules that the program does not")
	flag.BoolVar(&o.load, "load", false, "the API under 1, 16 and 64 clients, instead")
	flag.BoolVar(&o.noChange, "nochange", false, "the first page of a new mailbox with 200 folders, and what it costs while nothing happens, instead: -n 100000")
	flag.BoolVar(&o.newMail, "newmail", false, "how soon new mail is committed, told by IDLE and by NOTIFY, instead: -requests messages a row")
	flag.BoolVar(&o.faults, "faults", false, "how many bytes are fetched when connections are cut, instead")
	flag.BoolVar(&o.search, "search", false, "searches beside Dovecot's and notmuch's, instead: -requests of each kind")
	flag.BoolVar(&o.notmuch, "notmuch", true, "with -search: notmuch too, which indexes some hundred messages a second")
	flag.BoolVar(&o.compress, "compress", false, "the server offers COMPRESS=DEFLATE")
	flag.BoolVar(&o.mbsync, "mbsync", true, "mbsync too, in the first round: it syncs 20,000 files to the disk one by one")
	flag.BoolVar(&o.mime, "mime", false, "reading messages beside enmime and go-message, instead: needs modules that the program does not")
	flag.BoolVar(&o.million, "million", false, "storing, threading, indexing and searching a million messages, without a mail server, instead")
	flag.StringVar(&o.data, "data", "", "with -million: a folder to keep the mailboxes in; what is there already is only asked")
	flag.Func("env", "NAME=value for the program; may be repeated", func(v string) error { o.env = append(o.env, v); return nil })
	flag.BoolVar(&o.events, "events", false, "how soon and how many webhooks go out, instead: -n is the size of the mailbox, -requests how many messages arrive")
	flag.BoolVar(&o.isolated, "isolation", false, "webhooks beside endpoints that hang, drip, redirect, answer 1 GB or are gone, and without them, by turns, instead: -requests events in each turn")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of the sync, with -load of the requests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	measure := run
	switch {
	case o.clients:
		measure = clients
	case o.isolated:
		measure = isolation
	case o.load:
		measure = load
	case o.noChange:
		measure = noChange
	case o.newMail:
		measure = newMail
	case o.faults:
		measure = faults
	case o.events:
		measure = events
	case o.search:
		measure = searches
	case o.mime:
		measure = goRun("test/bench/mime", "test", "-run", "Table", "-v", ".", "-args", "-table", "2s")
	case o.million:
		measure = million
		many := 1_000_000
		flag.Visit(func(f *flag.Flag) {
			if f.Name == "n" {
				many = o.n
			}
		})
		o.n = many
	}
	if err := measure(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	m, err := newMailbox(o, realsrv.DovecotOptions{}, nil)
	if err != nil {
		return err
	}
	defer m.Stop()
	if err := m.warm(metaItems(), fullItems); err != nil {
		return err
	}
	folders := m.folders
	text, err := textBytes(m.MaildirPath(user))
	if err != nil {
		return err
	}

	t := table{}
	var messages int
	var volume int64
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		meta, _, err := floor(m.Addr, user, password, folders, metaItems())
		if err != nil {
			return err
		}
		t.add("raw drain, metadata", meta)
		took, rows, err := client(ctx, m.Addr, user, password, folders, false)
		if err != nil {
			return fmt.Errorf("our client, metadata: %w", err)
		}
		messages = rows
		t.add("our IMAP client, metadata", took)
		full, bytes, err := floor(m.Addr, user, password, folders, fullItems)
		if err != nil {
			return err
		}
		volume = bytes
		t.add("raw drain, everything", full)
		if took, _, err = client(ctx, m.Addr, user, password, folders, true); err != nil {
			return fmt.Errorf("our client, everything: %w", err)
		}
		t.add("our IMAP client, everything", took)
		if o.skipSync {
			continue
		}
		if o.mbsync && round == 0 { // it takes minutes
			copied, cpu, err := mbsync(ctx, m.Addr, messages)
			if err == nil {
				t.add("mbsync, a synced file each", copied)
				t.add("mbsync: its CPU", cpu)
			} else if !errors.Is(err, exec.ErrNotFound) {
				return err
			}
		}
		s, err := syncRun(ctx, o, m.Addr, messages)
		if err != nil {
			return fmt.Errorf("full sync: %w", err)
		}
		t.add("sync: first page of INBOX readable", s.firstPage)
		t.add("sync: all listed", s.listed)
		t.add("sync: all readable", s.readable)
		t.add("sync: all searchable", s.found)
		t.add("sync: CPU of posthorn until readable", s.cpu)
		t.add("sync: CPU of posthorn until searchable", s.cpuFound)
		t.addNumber("sync: peak memory, MiB", float64(s.peakRSS)/(1<<20))
		t.addNumber("at rest, bytes per message", float64(s.atRest)/float64(messages))
		t.addNumber("search index, bytes per message", float64(s.index)/float64(messages))
		t.addNumber("search index / bytes of the text in it", float64(s.index)/float64(text))
		t.add("search index made anew, alone", s.reindex)
		t.add("search index made anew, CPU", s.indexCPU)
		t.addNumber("CPU of the search index / CPU of the sync until searchable", float64(s.indexCPU)/float64(s.cpuFound))
		t.addNumber("time until searchable / time until readable", float64(s.found)/float64(s.readable))
		t.addNumber("at rest / bytes of the mail", float64(s.atRest)/float64(volume))
		for _, l := range s.latency {
			t.add("API: "+l.what+", p50", l.p50)
			t.add("API: "+l.what+", p99", l.p99)
		}
	}
	fmt.Printf("%d messages, %.1f MB, %d folders; %d rounds; %s, %d CPUs; %s\n\n", messages, float64(volume)/1e6, len(folders), o.rounds,
		runtime.Version(), runtime.NumCPU(), time.Now().Format(time.DateOnly))
	t.print()
	if t.times["mbsync, a synced file each"] == nil && o.mbsync && !o.skipSync {
		fmt.Println("\nmbsync (package isync) is not installed: as root, make bench installs it")
	}
	return nil
}

// clients runs the comparison in test/bench/imap, a module of its own.
func clients(ctx context.Context, o options) error {
	return goRun("test/bench/imap", "run", ".", "-n", strconv.Itoa(o.n), "-rounds", strconv.Itoa(o.rounds))(ctx, o)
}

// goRun runs the go command in a folder.
func goRun(dir string, args ...string) func(context.Context, options) error {
	return func(ctx context.Context, _ options) error {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
		return cmd.Run()
	}
}

// table collects figures over the rounds, in the order in which they first came.
type table struct {
	names []string
	times map[string][]time.Duration
	nums  map[string][]float64
}

func (t *table) name(name string) {
	if t.times == nil {
		t.times, t.nums = map[string][]time.Duration{}, map[string][]float64{}
	}
	if !slices.Contains(t.names, name) {
		t.names = append(t.names, name)
	}
}

func (t *table) add(name string, d time.Duration) {
	t.name(name)
	t.times[name] = append(t.times[name], d)
}

func (t *table) addNumber(name string, v float64) {
	t.name(name)
	t.nums[name] = append(t.nums[name], v)
}

func median[T time.Duration | float64](v []T) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func (t *table) print() {
	full, meta := median(t.times["raw drain, everything"]), median(t.times["raw drain, metadata"])
	fmt.Println("| what | median | to the full drain | to the metadata drain |")
	fmt.Println("|---|---|---|---|")
	for _, name := range t.names {
		if v, ok := t.nums[name]; ok {
			fmt.Printf("| %s | %.4g | | |\n", name, median(v))
			continue
		}
		d := median(t.times[name])
		if strings.HasPrefix(name, "API:") {
			fmt.Printf("| %s | %.2f ms | | |\n", name, d.Seconds()*1e3)
			continue
		}
		fmt.Printf("| %s | %.3f s | %.2f | %.2f |\n", name, d.Seconds(), d.Seconds()/full.Seconds(), d.Seconds()/meta.Seconds())
	}
}
