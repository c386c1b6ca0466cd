package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
	"github.com/posthorn/posthorn/test/seed"
)

// How endpoints disturb each other is measured with events that need no mail server: accepting a scheduled send is one
// commit of ours, and its event follows. Thus what is measured is from the request that makes the event to the webhook.
const (
	isoGrants = 4
	isoGood   = 2   // endpoints that are measured
	isoEach   = 3   // hostile endpoints of each kind
	isoPile   = 120 // events of a grant before the measurement: what a hostile endpoint lets pile up, more than is read at once
	isoPace   = 25 * time.Millisecond
	isoBurst  = 20
)

// isolation measures webhooks beside hostile endpoints and without them, by turns.
func isolation(ctx context.Context, o options) (err error) {
	d, err := realsrv.NewDovecot(realsrv.DovecotOptions{Password: password})
	if err != nil {
		return err
	}
	defer d.Stop()
	sink, stop, err := smtpSink()
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "posthorn-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := binary.Start(ctx, binary.Options{Path: o.bin, Dir: filepath.Join(dir, "data"), Env: append([]string{"POSTHORN_LOG_LEVEL=warn"}, o.env...)})
	if err != nil {
		return err
	}
	defer s.Kill()
	var grants []string
	for i := range isoGrants {
		name := user + strconv.Itoa(i)
		if _, err := seed.Maildir(d.MaildirPath(name), o.seed, 20); err != nil {
			return err
		}
		if err := d.Chown(d.MaildirPath(name)); err != nil {
			return err
		}
		settings := binary.IMAP(d.Addr, name+"@example.com", password)
		settings["imap_username"] = name
		host, port, _ := net.SplitHostPort(sink)
		n, _ := strconv.Atoi(port)
		settings["smtp_host"], settings["smtp_port"], settings["smtp_security"] = host, n, "none"
		g, err := s.Connect(ctx, settings)
		if err != nil {
			return err
		}
		if _, err := s.Await(ctx, g.ID, binary.Live); err != nil {
			return err
		}
		grants = append(grants, g.ID)
	}
	x := isolated{s: s, grants: grants}
	for range isoGood {
		r := newReceiver(nil)
		defer r.end()
		if err := subscribe(ctx, s, r.URL, "message.send_accepted"); err != nil {
			return err
		}
		x.good = append(x.good, r)
	}
	var bad []*receiver
	for i := range isoEach * len(badly) {
		how := i % len(badly)
		r := newReceiver(badly[how])
		defer r.end()
		if err := subscribe(ctx, s, r.URL, "message.send_accepted"); err != nil {
			return err
		}
		if how == len(badly)-1 {
			r.end()
		}
		bad = append(bad, r)
	}
	if o.profile != "" {
		profiled := make(chan error, 1)
		go func() { profiled <- cpuProfile(ctx, s.Admin, o.profile) }()
		defer func() { err = errors.Join(err, <-profiled) }()
	}
	const turns = 8
	paced, bursts := make([][]time.Duration, turns), make([][]time.Duration, turns)
	cpu := make([]time.Duration, turns)
	for turn := range turns {
		beside := besides(turn)
		status := map[bool]string{true: "active", false: "pause"}[beside]
		if err := setStatus(ctx, s, bad, status); err != nil {
			return err
		}
		if err := x.pile(ctx); err != nil {
			return err
		}
		from := threadTime(s.PID)
		if paced[turn], err = x.paced(ctx, o.requests); err != nil {
			return err
		}
		cpu[turn] = (threadTime(s.PID) - from) / time.Duration(o.requests)
		if bursts[turn], err = x.bursts(ctx, o.requests/isoBurst); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "turn %d of %d: beside hostile ones %v: p50 %.1f, p99 %.1f ms, CPU %.2f ms an event; bursts p50 %.1f, p99 %.1f ms\n", turn+1, turns, beside,
			quantile(paced[turn], .5), quantile(paced[turn], .99), cpu[turn].Seconds()*1e3, quantile(bursts[turn], .5), quantile(bursts[turn], .99))
	}
	fmt.Printf("%d grants, %d endpoints that are measured, %d that hang, drip, redirect, answer 1 GB or are gone; %d turns of %d events one after the other and as many in bursts of %d; %s\n\n",
		isoGrants, isoGood, len(bad), turns, o.requests, isoBurst, time.Now().Format(time.DateOnly))
	fmt.Println("| request to webhook | p50 without | p50 beside | ratio | without / without | p99 without | p99 beside | ratio | without / without |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, k := range []struct {
		what string
		by   [][]time.Duration
	}{{"one after the other", paced}, {"bursts", bursts}} {
		var with, without, even, odd []time.Duration
		for turn, took := range k.by {
			switch {
			case besides(turn):
				with = append(with, took...)
			case turn%4 == 0:
				even = append(even, took...)
			default:
				odd = append(odd, took...)
			}
		}
		without = append(append(without, even...), odd...)
		fmt.Printf("| %s |", k.what)
		for _, q := range []float64{.5, .99} {
			a, b := quantile(without, q), quantile(with, q)
			fmt.Printf(" %.1f ms | %.1f ms | %.2f | %.2f |", a, b, b/a, quantile(odd, q)/quantile(even, q))
		}
		fmt.Println()
	}
	fmt.Printf("\nCPU of posthorn an event: %.2f ms without, %.2f ms beside\n", mean(cpu, false), mean(cpu, true))
	return nil
}

// besides tells in which turns the hostile endpoints are there: without, beside, beside, without, and so on, so that what grows
// with time does not count for one of them.
func besides(turn int) bool { return turn%4 == 1 || turn%4 == 2 }

// quantile is in milliseconds.
func quantile(took []time.Duration, q float64) float64 {
	took = slices.Sorted(slices.Values(took))
	return took[min(len(took)-1, int(q*float64(len(took))))].Seconds() * 1e3
}

// mean is in milliseconds.
func mean(took []time.Duration, beside bool) float64 {
	var sum time.Duration
	n := 0
	for turn, d := range took {
		if besides(turn) == beside {
			sum += d
			n++
		}
	}
	return sum.Seconds() * 1e3 / float64(n)
}

// setStatus pauses or activates the webhooks of endpoints, for which those that are gone have to be there for a moment.
func setStatus(ctx context.Context, s *binary.Server, list []*receiver, status string) error {
	for i := len(badly) - 1; i < len(list) && status == "active"; i += len(badly) {
		l, err := net.Listen("tcp", list[i].Listener.Addr().String())
		if err != nil {
			return err
		}
		back := &httptest.Server{Listener: l, Config: &http.Server{Handler: list[i].Config.Handler}}
		back.Start()
		defer back.Close()
	}
	return eachHook(ctx, s, list, func(id string) error {
		return s.Do(ctx, http.MethodPut, "/v3/webhooks/"+id, map[string]any{"status": status}, nil)
	})
}

type isolated struct {
	s      *binary.Server
	grants []string
	good   []*receiver
	n      int
}

// make has one event happen, whose subject is its number.
func (x *isolated) make(ctx context.Context, i int) error {
	body := map[string]any{"to": []map[string]any{{"email": "b@example.com"}}, "subject": strconv.Itoa(i), "body": "x", "send_at": time.Now().Add(48 * time.Hour).Unix()}
	return x.s.Do(ctx, http.MethodPost, "/v3/grants/"+x.grants[i%len(x.grants)]+"/messages/send", body, nil)
}

// some has events happen all at once and waits until the good endpoints have them.
func (x *isolated) some(ctx context.Context, n int) (took []time.Duration, err error) {
	begun, errs := make([]time.Time, n), make([]error, n)
	first := x.n
	x.n += n
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			begun[i] = time.Now()
			errs[i] = x.make(ctx, first+i)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range n {
		more, err := x.arrived(ctx, first+i, begun[i])
		if err != nil {
			return nil, err
		}
		took = append(took, more...)
	}
	return took, nil
}

func (x *isolated) arrived(ctx context.Context, i int, begun time.Time) (took []time.Duration, err error) {
	subject := strconv.Itoa(i)
	for _, r := range x.good {
		var at time.Time
		if err := r.await(ctx, func() bool { at = r.at[subject]; return !at.IsZero() }); err != nil {
			return nil, err
		}
		took = append(took, at.Sub(begun))
	}
	return took, nil
}

func (x *isolated) pile(ctx context.Context) error {
	for range isoPile {
		if _, err := x.some(ctx, len(x.grants)); err != nil {
			return err
		}
	}
	return nil
}

func (x *isolated) paced(ctx context.Context, n int) (took []time.Duration, err error) {
	tick := time.NewTicker(isoPace)
	defer tick.Stop()
	for range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		more, err := x.some(ctx, 1)
		if err != nil {
			return nil, err
		}
		took = append(took, more...)
	}
	return took, nil
}

func (x *isolated) bursts(ctx context.Context, n int) (took []time.Duration, err error) {
	for range n {
		more, err := x.some(ctx, isoBurst)
		if err != nil {
			return nil, err
		}
		took = append(took, more...)
	}
	return took, nil
}

// smtpSink is an SMTP server that is there to be found; nothing is sent to it.
func smtpSink() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return noSession{}, nil }))
	go srv.Serve(l)
	return l.Addr().String(), func() { srv.Close() }, nil
}

type noSession struct{}

func (noSession) Mail(string, *smtp.MailOptions) error { return nil }
func (noSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (noSession) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }
func (noSession) Reset()                               {}
func (noSession) Logout() error                        { return nil }
