package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/test/binary"
)

// synced is what one full synchronisation took.
type synced struct {
	firstPage time.Duration // 50 messages of INBOX listed, with their bodies
	listed    time.Duration // all messages listed
	readable  time.Duration // all bodies there, state live
	found     time.Duration // all in the search index
	cpu       time.Duration // of the process, until all was readable
	cpuFound  time.Duration // likewise, until all could be found
	peakRSS   int64
	atRest    int64         // bytes in the data directory
	index     int64         // of them, in search indexes
	reindex   time.Duration // of the index made anew, alone
	indexCPU  time.Duration // likewise, CPU
	latency   []latency
}

// latency is how one kind of API request did.
type latency struct {
	what     string
	p50, p99 time.Duration
	n        int // requests
}

func (l latency) String() string {
	return fmt.Sprintf("%s %v p50, %v p99, %d requests", l.what, l.p50, l.p99, l.n)
}

// syncRun starts the built server on an empty directory, connects the mailbox and waits until everything is readable.
// With a profile path it also writes there where the CPU time of the first seconds went, for `go tool pprof`.
func syncRun(ctx context.Context, o options, addr string, want int) (out synced, err error) {
	s, end, err := serve(ctx, o)
	if err != nil {
		return out, err
	}
	defer end()
	if o.profile != "" {
		profiled := make(chan error, 1)
		go func() { profiled <- cpuProfile(ctx, s.Admin, o.profile) }()
		defer func() { err = errors.Join(err, <-profiled) }()
	}
	start := time.Now()
	g, err := s.Connect(ctx, binary.IMAP(addr, user, password))
	if err != nil {
		return out, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	inbox := ""
	for out.readable == 0 {
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("%w: %+v", ctx.Err(), g)
		case <-tick.C:
		}
		if out.firstPage == 0 || out.listed == 0 {
			folders, err := s.Folders(ctx, g.ID)
			if err != nil {
				return out, err
			}
			total := 0
			for _, f := range folders {
				total += f.TotalCount
				if strings.EqualFold(f.Name, "INBOX") {
					inbox = f.ID
				}
			}
			if out.listed == 0 && total >= want {
				out.listed = time.Since(start)
			}
		}
		if out.firstPage == 0 && inbox != "" {
			var page struct{ Data []binary.Message }
			if err := s.Get(ctx, "/v3/grants/"+g.ID+"/messages?limit=50&in="+url.QueryEscape(inbox), &page); err != nil {
				return out, err
			}
			if len(page.Data) >= min(50, want/4) && !slices.ContainsFunc(page.Data, func(m binary.Message) bool { return m.BodyPending }) {
				out.firstPage = time.Since(start)
			}
		}
		if g, err = s.Grant(ctx, g.ID); err != nil {
			return out, err
		}
		switch {
		case binary.Live(g) && out.listed > 0:
			out.readable = time.Since(start)
		case g.Sync.State == "error" || g.Sync.State == "degraded" || g.Sync.State == "reauth_required":
			return out, fmt.Errorf("the sync says %s: %s", g.Sync.State, g.Sync.Reason)
		}
	}
	out.cpu = cpuTime(s.PID)
	for g.Sync.Search.Total == 0 || g.Sync.Search.Done < g.Sync.Search.Total {
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("%w: %+v", ctx.Err(), g)
		case <-tick.C:
		}
		if g, err = s.Grant(ctx, g.ID); err != nil {
			return out, err
		}
	}
	out.found = time.Since(start)
	out.cpuFound = cpuTime(s.PID)
	out.peakRSS = s.PeakRSS()
	if out.latency, err = latencies(ctx, s, g.ID, o.requests); err != nil {
		return out, err
	}
	stopCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.Stop(stopCtx); err != nil {
		return out, err
	}
	if out.atRest, out.index, err = diskUsage(s.Dir); err != nil {
		return out, err
	}
	out.reindex, out.indexCPU, err = s.Reindex(ctx)
	return out, err
}

// textBytes is how much there is to search in a Maildir: headers and texts, decoded, HTML as a reader sees it.
func textBytes(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "cur" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		m, err := mime.Parse(f, mime.Options{})
		if err != nil {
			return err
		}
		for _, h := range m.Header {
			n += int64(len(h.Name) + len(m.DecodeField(h.Value)))
		}
		n += int64(len(m.TextAll) + len(mime.HTMLToText(m.HTMLAll)))
		return nil
	})
	return n, err
}

// cpuProfile records 28 seconds.
func cpuProfile(ctx context.Context, admin, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/debug/pprof/profile?seconds=28", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// latencies measures one request after the other, each kind on its own.
func latencies(ctx context.Context, s *binary.Server, grant string, n int) ([]latency, error) {
	base := "/v3/grants/" + grant
	var page struct{ Data []binary.Message }
	if err := s.Get(ctx, base+"/messages?limit=200", &page); err != nil {
		return nil, err
	}
	if len(page.Data) == 0 {
		return nil, fmt.Errorf("nothing to list")
	}
	pick := func(i int) binary.Message { return page.Data[i%len(page.Data)] }
	search := func(q string) string {
		return base + "/messages?limit=50&select=id,subject,from,date&search_query_native=" + url.QueryEscape(q)
	}
	kinds := []struct {
		what string
		path func(i int) string
	}{
		{"list 50", func(int) string { return base + "/messages?limit=50" }},
		{"list 50, ids and subjects", func(int) string { return base + "/messages?limit=50&select=id,subject,from,date" }},
		{"get one", func(i int) string { return base + "/messages/" + pick(i).ID }},
		{"20 threads", func(int) string { return base + "/threads?limit=20" }},
		{"find by sender", func(i int) string {
			m := pick(i)
			if len(m.From) == 0 {
				return base + "/messages?limit=50"
			}
			return base + "/messages?limit=50&from=" + url.QueryEscape(m.From[0].Email)
		}},
		{"find by subject", func(i int) string {
			return base + "/messages?limit=50&subject=" + []string{"harbour", "invoice", "rain"}[i%3]
		}},
		{"search, a frequent word", func(i int) string { return search([]string{"harbour", "invoice", "ledger"}[i%3]) }},
		{"search, two words of the body, a sender", func(i int) string { return search("from:p" + strconv.Itoa(i%40) + " harbour report") }},
		{"search, a phrase", func(i int) string { return search([]string{`"next week"`, `"see attached"`, `"report invoice"`}[i%3]) }},
		{"search, unread with attachment in a year", func(i int) string { return search("garden is:unread has:attachment after:2021 before:2022") }},
		{"search, Chinese", func(i int) string { return search([]string{"車站 OR 车站", "花园", "谢谢"}[i%3]) }},
		{"search, nothing", func(i int) string { return search("nowhere" + strconv.Itoa(i)) }},
		{"search, IMAP SUBJECT", func(i int) string {
			return search([]string{`SUBJECT "voice"`, `SUBJECT "arbou"`, `SUBJECT "report"`}[i%3])
		}},
		{"search, IMAP BODY, a piece", func(i int) string {
			return search([]string{`BODY "arbou"`, `BODY "tranger than"`, `BODY "ünchhause"`}[i%3])
		}},
		{"search, threads", func(i int) string {
			return base + "/threads?limit=20&search_query_native=" + url.QueryEscape([]string{"harbour", "from:p7 report", "ticket"}[i%3])
		}},
		{"unread", func(int) string { return base + "/messages?limit=50&unread=true" }},
	}
	var out []latency
	for _, k := range kinds {
		took := make([]time.Duration, n)
		for i := range took {
			start := time.Now()
			if err := s.Get(ctx, k.path(i), nil); err != nil {
				return nil, fmt.Errorf("%s: %w", k.what, err)
			}
			took[i] = time.Since(start)
		}
		slices.Sort(took)
		out = append(out, latency{k.what, took[n/2], took[min(n-1, n*99/100)], n})
	}
	return out, nil
}

// cpuTime is what a process has used so far; 0 where the system does not tell.
func cpuTime(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts in 1/100 s
}

func diskUsage(dir string) (total, index int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			total += fi.Size()
			if strings.HasPrefix(d.Name(), "search.db") {
				index += fi.Size()
			}
		}
		return err
	})
	return total, index, err
}
