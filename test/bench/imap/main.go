// Command imap measures our IMAP client beside others and beside a raw socket that throws everything away, all on one
// private Dovecot in one run:
//
//	cd test/bench/imap && go run . -n 20000,100000
//
// Each measurement is a process of its own, so that CPU and memory are its own. Every client has to look at each item that
// it asked for; their counts must agree. The machine's speed and noise touch all of them alike, so the ratios are what to
// look at.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
	"github.com/posthorn/posthorn/test/seed"
)

const user, password = "bench", "pass"

// A client reads the folders and tells what it saw.
type client struct {
	name string
	run  func(addr string, folders []string, task string) (seen, error)
}

// clients in the order of the table; the first two are what the others are compared with.
var clients = []client{
	{"raw drain", drain},
	{"posthorn", ours},
	{"go-imap v2", goImap},
	{"mox", mox},
}

var tasks = []string{"flags", "metadata", "headers", "bodies"}

// seen is what a client has read; the drain reads nothing.
type seen struct {
	Rows  int
	UIDs  int64 // their sum
	Bytes int64 // of headers and bodies
	Texts int64 // bytes of subjects, sizes of parts: what shows that the rest was understood
}

// result is one measurement.
type result struct {
	seen
	Wall         time.Duration
	User, System time.Duration // of processor time
	Allocs       uint64
	RSS          int64
}

func (r result) cpu() float64 { return (r.User + r.System).Seconds() }

func main() {
	counts := flag.String("n", "20000", "messages, several with commas")
	rounds := flag.Int("rounds", 5, "rounds; the table shows the best, because noise only ever adds")
	only := flag.String("tasks", strings.Join(tasks, ","), "what is fetched")
	names := flag.String("clients", "", "only these, with commas")
	child := flag.String("child", "", "internal: client/task")
	addr := flag.String("addr", "", "internal: the server")
	flag.Parse()
	if *child != "" {
		if err := measure(*child, *addr); err != nil {
			fmt.Fprintln(os.Stderr, *child+":", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, s := range strings.Split(*counts, ",") {
		n, err := strconv.Atoi(s)
		if err == nil {
			err = compare(ctx, n, *rounds, strings.Split(*only, ","), *names)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

// measure is one run in this process; the folders come on stdin.
func measure(what, addr string) error {
	name, task, _ := strings.Cut(what, "/")
	var folders []string
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		folders = append(folders, in.Text())
	}
	i := slices.IndexFunc(clients, func(c client) bool { return c.name == name })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	user, system := cpuTime()
	start := time.Now()
	s, err := clients[i].run(addr, folders, task)
	if err != nil {
		return err
	}
	r := result{seen: s, Wall: time.Since(start)}
	r.User, r.System = cpuTime()
	r.User, r.System = r.User-user, r.System-system
	runtime.ReadMemStats(&after)
	r.Allocs = after.Mallocs - before.Mallocs
	r.RSS, err = peak()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// cpuTime is what this process has used. The system's part is the moving of bytes, which nobody can do without.
func cpuTime() (user, system time.Duration) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// peak is the most memory this program had. The kernel's ru_maxrss would count the parent's, too.
func peak() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kb int64
	_, err = fmt.Sscan(rest, &kb)
	return kb << 10, err
}

func compare(ctx context.Context, n, rounds int, tasks []string, names string) error {
	clients := slices.Clone(clients)
	if names != "" {
		clients = slices.DeleteFunc(clients, func(c client) bool {
			return !slices.Contains(append(strings.Split(names, ","), "raw drain", "posthorn"), c.name)
		})
	}
	d, err := realsrv.NewDovecot(realsrv.DovecotOptions{Password: password})
	if err != nil {
		return err
	}
	defer d.Stop()
	dir := d.MaildirPath(user)
	fmt.Fprintf(os.Stderr, "making %d messages\n", n)
	if _, err := seed.Maildir(dir, 1, n); err != nil {
		return err
	}
	if err := d.Chown(dir); err != nil {
		return err
	}
	folders := []string{"INBOX"}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), "."); ok && e.IsDir() {
			if _, err := os.Stat(filepath.Join(dir, e.Name(), "cur")); err == nil {
				folders = append(folders, strings.ReplaceAll(name, ".", "/"))
			}
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	run := func(name, task string) (r result, err error) {
		cmd := exec.CommandContext(ctx, self, "-child", name+"/"+task, "-addr", d.Addr)
		var why strings.Builder
		cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(folders, "\n")), &why
		out, err := cmd.Output()
		if err != nil {
			return r, fmt.Errorf("%s, %s: %w %s", name, task, err, strings.TrimSpace(why.String()))
		}
		return r, json.Unmarshal(out, &r)
	}
	fmt.Printf("%d messages, %d folders; best of %d rounds; %s, %d CPUs; %s\n\n", n, len(folders), rounds, runtime.Version(), runtime.NumCPU(), time.Now().Format(time.DateOnly))
	fmt.Println("| what | client | wall | to the drain | CPU | of it user, system | to ours | beyond the drain's | allocations a row | peak RSS |\n|---|---|---|---|---|---|---|---|---|---|")
	for _, task := range tasks {
		// Once unmeasured, so that the server's index and the page cache are warm for everybody.
		if _, err := run("raw drain", task); err != nil {
			return err
		}
		all, failed := map[string][]result{}, map[string]error{}
		for round := range rounds {
			fmt.Fprintf(os.Stderr, "%s, round %d of %d\n", task, round+1, rounds)
			for _, c := range clients {
				r, err := run(c.name, task)
				if err != nil && (c.name == "raw drain" || c.name == "posthorn" || ctx.Err() != nil) {
					return err
				}
				if err != nil { // go-imap and mox have limits that ours has not
					failed[c.name] = err
					continue
				}
				all[c.name] = append(all[c.name], r)
				if mine := all["posthorn"]; c.name != "raw drain" && (r.Rows != n || r.UIDs != mine[0].UIDs || r.Bytes != mine[0].Bytes) {
					return fmt.Errorf("%s, %s: saw %+v, we saw %+v", c.name, task, r.seen, mine[0].seen)
				}
			}
		}
		for _, c := range clients {
			rs := all[c.name]
			if err := failed[c.name]; err != nil {
				fmt.Printf("| %s | %s | cannot: %v | | | | | | | |\n", task, c.name, err)
				continue
			}
			wall := func(r result) float64 { return r.Wall.Seconds() }
			least := slices.MinFunc(rs, func(a, b result) int { return cmp.Compare(a.cpu(), b.cpu()) })
			allocs := "-"
			if c.name != "raw drain" {
				allocs = fmt.Sprintf("%.1f", best(rs, func(r result) float64 { return float64(r.Allocs) / float64(n) }))
			}
			fmt.Printf("| %s | %s | %.3f s | %.2f | %.3f s | %.3f, %.3f s | %.2f | %.3f s | %s | %.1f MB |\n", task, c.name, best(rs, wall), best(rs, wall)/best(all["raw drain"], wall),
				least.cpu(), least.User.Seconds(), least.System.Seconds(), least.cpu()/best(all["posthorn"], result.cpu), least.cpu()-best(all["raw drain"], result.cpu), allocs,
				slices.MaxFunc(rs, func(a, b result) int { return int(a.RSS - b.RSS) }).rss())
		}
	}
	fmt.Println()
	return nil
}

func (r result) rss() float64 { return float64(r.RSS) / 1e6 }

func best(rs []result, of func(result) float64) float64 {
	least := of(rs[0])
	for _, r := range rs {
		least = min(least, of(r))
	}
	return least
}
