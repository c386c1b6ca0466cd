package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// attachmentSize is that of the one big attachment.
const attachmentSize = 25 << 20

// load measures the API of a synced mailbox under 1, 16 and 64 clients.
func load(ctx context.Context, o options) (err error) {
	m, err := newMailbox(o, realsrv.DovecotOptions{}, func(dir string) error { return bigMessage(filepath.Join(dir, "cur")) })
	if err != nil {
		return err
	}
	defer m.Stop()
	wire, s, end, err := serveTapped(ctx, o, m.Addr)
	if err != nil {
		return err
	}
	defer wire.Close()
	defer end()
	fmt.Fprintln(os.Stderr, "syncing")
	start := time.Now()
	g, err := connect(ctx, s, wire.Addr().String(), binary.Live)
	if err != nil {
		return err
	}
	fmt.Printf("%d messages, synced in %.1f s, peak memory %.0f MiB", o.n, time.Since(start).Seconds(), float64(s.PeakRSS())/(1<<20))
	if g, err = s.Await(ctx, g.ID, searchable); err != nil {
		return err
	}
	fmt.Printf(", searchable after %.1f s; %s\n\n", time.Since(start).Seconds(), time.Now().Format(time.DateOnly))

	if o.profile != "" {
		profiled := make(chan error, 1)
		go func() { profiled <- cpuProfile(ctx, s.Admin, o.profile) }()
		defer func() { err = errors.Join(err, <-profiled) }()
	}
	base := "/v3/grants/" + g.ID
	var page struct{ Data []binary.Message }
	for _, q := range []string{"?limit=200", "?limit=200&received_before=1600000000", "?limit=1&subject=" + url.QueryEscape(bigSubject)} {
		var p struct{ Data []binary.Message }
		if err := s.Get(ctx, base+"/messages"+q, &p); err != nil {
			return err
		}
		page.Data = append(page.Data, p.Data...)
	}
	var big binary.Message
	page.Data = slices.DeleteFunc(page.Data, func(m binary.Message) bool {
		if m.Subject == bigSubject {
			big = m
		}
		return m.Subject == bigSubject
	})
	if len(page.Data) == 0 || big.ID == "" {
		return fmt.Errorf("the mailbox lacks what to ask for")
	}
	pick := func(i int) binary.Message { return page.Data[i%len(page.Data)] }
	mark := func(i int) (string, string, string) {
		return http.MethodPut, base + "/messages/" + pick(i).ID, fmt.Sprintf(`{"starred":%v}`, rand.IntN(2) == 0)
	}
	kinds := []struct {
		what    string
		n       int
		request func(i int) (method, path, body string)
	}{
		{"list 50", o.requests, func(int) (string, string, string) { return "GET", base + "/messages?limit=50", "" }},
		{"list 50, ids and subjects", o.requests, func(int) (string, string, string) {
			return "GET", base + "/messages?limit=50&select=id,subject,from,date", ""
		}},
		{"find one", o.requests, func(i int) (string, string, string) { return "GET", base + "/messages/" + pick(i).ID, "" }},
		{"thread", o.requests, func(i int) (string, string, string) { return "GET", base + "/threads/" + pick(i).ThreadID, "" }},
		{"20 threads", o.requests, func(int) (string, string, string) { return "GET", base + "/threads?limit=20", "" }},
		{"search a word", o.requests, func(i int) (string, string, string) {
			return "GET", base + "/messages?limit=20&select=id,subject&search_query_native=" + url.QueryEscape([]string{"harbour", "invoice", "subject:rain", "from:anna is:unread", `"in the"`}[i%5]), ""
		}},
		{"star, confirmed by the server", o.requests / 2, mark},
	}
	fmt.Println("| request | clients | p50 | p99 | a second |")
	fmt.Println("|---|---|---|---|---|")
	for _, k := range kinds {
		for _, clients := range []int{1, 16, 64} {
			took, all, err := fire(ctx, s, max(k.n, clients*5), clients, k.request)
			if err != nil {
				return fmt.Errorf("%s: %w", k.what, err)
			}
			n := len(took)
			fmt.Printf("| %s | %d | %.2f ms | %.2f ms | %.0f |\n", k.what, clients, took[n/2].Seconds()*1e3, took[min(n-1, n*99/100)].Seconds()*1e3, float64(n)/all.Seconds())
		}
	}
	wire.take()
	_, all, err := fire(ctx, s, 500, 500, mark)
	if err != nil {
		return fmt.Errorf("500 at once: %w", err)
	}
	n, _, _ := wire.take()
	fmt.Printf("\n500 stars at once: confirmed after %.0f ms by %d IMAP commands\n", all.Seconds()*1e3, n)
	return download(ctx, s, base+"/messages/"+big.ID)
}

// fire makes n requests by so many clients and returns how long each took, sorted, and all of them together.
func fire(ctx context.Context, s *binary.Server, n, clients int, request func(i int) (method, path, body string)) ([]time.Duration, time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	one := func(i int) error {
		method, path, body := request(i)
		req, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+s.Key)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%d: %.200s", resp.StatusCode, answer)
		}
		return err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	took := make([]time.Duration, n)
	errs := make([]error, clients)
	start := time.Now()
	for c := range clients {
		wg.Go(func() {
			for errs[c] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				from := time.Now()
				errs[c] = one(i)
				took[i] = time.Since(from)
			}
		})
	}
	wg.Wait()
	all := time.Since(start)
	slices.Sort(took)
	for _, err := range errs {
		if err != nil {
			return nil, 0, err
		}
	}
	return took, all, nil
}

// download fetches the big attachment a few times.
func download(ctx context.Context, s *binary.Server, message string) error {
	var m struct {
		Data struct{ Attachments []struct{ ID string } }
	}
	if err := s.Get(ctx, message, &m); err != nil {
		return err
	}
	if len(m.Data.Attachments) != 1 {
		return fmt.Errorf("the big message has %d attachments", len(m.Data.Attachments))
	}
	const times = 5
	start := time.Now()
	for range times {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+message+"/attachments/"+m.Data.Attachments[0].ID+"/download", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+s.Key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || n != attachmentSize {
			return fmt.Errorf("download: %d of %d bytes: %w", n, attachmentSize, err)
		}
	}
	fmt.Printf("attachment of 25 MiB: %.0f MB/s; peak memory of it all %.0f MiB\n", times*attachmentSize/1e6/time.Since(start).Seconds(), float64(s.PeakRSS())/(1<<20))
	return nil
}

const bigSubject = "the big one"

// bigMessage puts a message with the big attachment into a Maildir folder.
func bigMessage(dir string) error {
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.M999999.bench:2,S", time.Now().Unix())))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "From: ann@example.test\r\nTo: bob@example.test\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <big@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
		"--b\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n--b\r\nContent-Type: application/octet-stream; name=big.bin\r\nContent-Disposition: attachment; filename=big.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n",
		bigSubject, time.Now().Format(time.RFC1123Z))
	src := rand.NewChaCha8([32]byte{1})
	line := make([]byte, 57)
	for left := attachmentSize; left > 0; left -= len(line) {
		line = line[:min(left, 57)]
		src.Read(line)
		w.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	w.WriteString("--b--\r\n")
	return w.Flush()
}
