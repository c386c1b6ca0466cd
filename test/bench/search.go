package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// question is one kind of search in three languages; i makes it another one each time.
type question struct {
	what          string
	posthorn      func(i int) string
	imap, notmuch func(i int) string // imap: keys of SEARCH
}

func questions() []question {
	word := func(i int) string {
		return []string{"harbour", "lantern", "invoice", "schedule", "ferry", "garden", "evening"}[i%7]
	}
	person := func(i int) string { return "p" + strconv.Itoa(i*7%120) }
	year := func(i int) int { return 2020 + i%4 }
	same := func(format string, args ...func(i int) string) func(i int) string {
		return func(i int) string {
			var list []any
			for _, a := range args {
				list = append(list, a(i))
			}
			return fmt.Sprintf(format, list...)
		}
	}
	return []question{
		{"sender", same("from:%s", person), same(`FROM "%s@"`, person), same("from:%s", person)},
		{"word of the subject", same("subject:%s", word), same(`SUBJECT "%s"`, word), same("subject:%s", word)},
		{"word of the body", same("body:%s", word), same(`BODY "%s"`, word), same("body:%s", word)},
		{"two words and a sender", same("from:%s %s report", person, word), same(`FROM "%s@" TEXT "%s" TEXT "report"`, person, word), same("from:%s and %s and report", person, word)},
		{"word, unread, in one year",
			func(i int) string { return fmt.Sprintf("%s is:unread on:%d", word(i), year(i)) },
			func(i int) string {
				return fmt.Sprintf(`UNSEEN SINCE 1-Jan-%d BEFORE 1-Jan-%d TEXT "%s"`, year(i), year(i)+1, word(i))
			},
			func(i int) string { return fmt.Sprintf("%s and tag:unread and date:%d..%[2]d", word(i), year(i)) }},
		{"phrase", same(`"%s and"`, word), same(`TEXT "%s and"`, word), same(`"%s and"`, word)},
		{"nothing", func(i int) string { return "nowhere" + strconv.Itoa(i) }, func(i int) string { return `TEXT "nowhere` + strconv.Itoa(i) + `"` }, func(i int) string { return "nowhere" + strconv.Itoa(i) }},
	}
}

// searches measures the same questions at Posthorn's API, at Dovecot over its socket (UID SEARCH in every folder of the mailbox, one
// connection) and with notmuch (a process each, as it is used), and what the indexes of Posthorn and notmuch take.
func searches(ctx context.Context, o options) error {
	m, err := newMailbox(o, realsrv.DovecotOptions{Extra: "default_vsz_limit = 0\n"}, nil) // its cache of a large folder would not fit
	if err != nil {
		return err
	}
	defer m.Stop()
	said := func(err error) error {
		log := m.Log()
		return fmt.Errorf("%w; the end of Dovecot's log: %s", err, log[max(0, len(log)-2000):])
	}
	if err := m.warm(metaItems()); err != nil {
		return said(err)
	}
	progress := func(part string, l []latency) { // it may take an hour
		fmt.Fprintln(os.Stderr, strings.TrimSpace(part))
		for _, q := range l {
			fmt.Fprintln(os.Stderr, " ", q)
		}
	}
	ours, notes, err := searchPosthorn(ctx, o, m.Addr)
	if err != nil {
		return err
	}
	progress(notes, ours)
	server, err := searchDovecot(ctx, m.Addr, m.folders, o.requests)
	if err != nil {
		return said(fmt.Errorf("search at Dovecot: %w", err))
	}
	progress("Dovecot", server)
	var third []latency
	note := ""
	if o.notmuch {
		if third, note, err = searchNotmuch(ctx, m.dir, o.requests); err != nil {
			return err
		}
	}
	fmt.Printf("%d messages, %d folders; %s, %d CPUs; %s\n\n%s%s\n", o.n, len(m.folders), runtime.Version(), runtime.NumCPU(), time.Now().Format(time.DateOnly), notes, note)
	fmt.Println("| search, ms | posthorn p50 | p99 | asked | Dovecot p50 | p99 | asked | notmuch p50 | p99 | asked |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for i, q := range questions() {
		fmt.Printf("| %s", q.what)
		for _, l := range [][]latency{ours, server, third} {
			if l == nil {
				fmt.Print(" | | | ")
				continue
			}
			fmt.Printf(" | %.1f | %.1f | %d", l[i].p50.Seconds()*1e3, l[i].p99.Seconds()*1e3, l[i].n)
		}
		fmt.Println(" |")
	}
	return nil
}

// asked measures each question n times, or for ten seconds.
func asked(ctx context.Context, n int, ask func(q question, i int) error) ([]latency, error) {
	var out []latency
	for _, q := range questions() {
		var took []time.Duration
		for began := time.Now(); len(took) < n && (time.Since(began) < 10*time.Second || len(took) == 0); {
			from := time.Now()
			if err := errors.Join(ask(q, len(took)), ctx.Err()); err != nil {
				return nil, fmt.Errorf("%s: %w", q.what, err)
			}
			took = append(took, time.Since(from))
		}
		slices.Sort(took)
		out = append(out, latency{q.what, took[len(took)/2], took[len(took)*99/100], len(took)})
	}
	return out, nil
}

func searchPosthorn(ctx context.Context, o options, addr string) ([]latency, string, error) {
	s, end, err := serve(ctx, o)
	if err != nil {
		return nil, "", err
	}
	defer end()
	began := time.Now()
	g, err := s.Connect(ctx, binary.IMAP(addr, user, password))
	if err != nil {
		return nil, "", err
	}
	var live time.Duration
	g, err = s.Await(ctx, g.ID, func(g binary.Grant) bool {
		if live == 0 && binary.Live(g) {
			live = time.Since(began)
		}
		return live > 0 && g.Sync.Search.Total > 0 && g.Sync.Search.Done == g.Sync.Search.Total
	})
	if err != nil {
		return nil, "", err
	}
	found := time.Since(began)
	l, err := asked(ctx, o.requests, func(q question, i int) error {
		return s.Get(ctx, "/v3/grants/"+g.ID+"/messages?limit=50&select=id,subject,from,date&search_query_native="+url.QueryEscape(q.posthorn(i)), nil)
	})
	if err != nil {
		return nil, "", err
	}
	if err := s.Stop(ctx); err != nil {
		return nil, "", err
	}
	_, index, err := diskUsage(s.Dir)
	return l, fmt.Sprintf("Posthorn: all readable after %.1f s, searchable after %.1f s; index %.0f bytes per message\n", live.Seconds(), found.Seconds(), float64(index)/float64(o.n)), err
}

func searchDovecot(ctx context.Context, addr string, folders []string, n int) ([]latency, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 1<<20)
	command := func(format string, args ...any) error {
		if _, err := fmt.Fprintf(conn, "a "+format+"\r\n", args...); err != nil {
			return err
		}
		for {
			line, err := r.ReadString('\n')
			switch {
			case err != nil:
				return err
			case strings.HasPrefix(line, "a OK"):
				return nil
			case strings.HasPrefix(line, "a "):
				return fmt.Errorf("%s: %s", format, line)
			}
		}
	}
	if _, err := r.ReadString('\n'); err != nil {
		return nil, err
	}
	if err := command("LOGIN %s %s", realsrv.Quote(user), realsrv.Quote(password)); err != nil {
		return nil, err
	}
	return asked(ctx, n, func(q question, i int) error {
		for _, f := range folders {
			if err := command("EXAMINE %s", realsrv.Quote(realsrv.EncodeName(f))); err != nil {
				return err
			}
			if err := command("UID SEARCH %s", q.imap(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// searchNotmuch returns nothing where notmuch is not installed.
func searchNotmuch(ctx context.Context, maildir string, n int) ([]latency, string, error) {
	if _, err := exec.LookPath("notmuch"); err != nil {
		return nil, "notmuch is not installed\n", nil
	}
	dir, err := os.MkdirTemp("", "notmuch-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[database]\npath=%s\nmail_root=%s\n[user]\nprimary_email=me@example.com\n[new]\ntags=new\nignore=/dovecot.*/;maildirfolder;subscriptions\n[maildir]\nsynchronize_flags=true\n[index]\nautocommit=50000\n",
		filepath.Join(dir, "db"), maildir), 0o600); err != nil {
		return nil, "", err
	}
	run := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "notmuch", args...)
		cmd.Env = append(os.Environ(), "NOTMUCH_CONFIG="+config, "XAPIAN_FLUSH_THRESHOLD=50000") // larger commits: a million in minutes rather than hours
		cmd.Stdout = io.Discard
		out := &strings.Builder{}
		cmd.Stderr = out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("notmuch %s: %w: %s", args[0], err, out)
		}
		return nil
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		return nil, "", err
	}
	began := time.Now()
	if err := run("new", "--quiet"); err != nil {
		return nil, "", err
	}
	took := time.Since(began)
	size, _, err := diskUsage(filepath.Join(dir, "db"))
	if err != nil {
		return nil, "", err
	}
	l, err := asked(ctx, n, func(q question, i int) error { return run("search", "--output=messages", "--limit=50", q.notmuch(i)) })
	return l, fmt.Sprintf("notmuch: indexed in %.1f s; index %d bytes\n", took.Seconds(), size), err
}
