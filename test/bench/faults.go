package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/realsrv"
)

// faults measures how many bytes a full synchronisation fetches for each byte of the mailbox: without faults, with one in ten
// connections cut somewhere, and with a cut in one of ten megabytes, on every connection. Afterwards the mailbox is compared
// with the server's, byte for byte.
func faults(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	m, err := newMailbox(o, realsrv.DovecotOptions{}, nil)
	if err != nil {
		return err
	}
	defer m.Stop()
	if err := m.warm(metaItems()); err != nil {
		return err
	}
	fmt.Printf("%d messages, %.1f MB; %s\n\n| faults | connections | fetched / mailbox | to that without faults | readable after |\n|---|---|---|---|---|\n",
		o.n, float64(m.bytes)/1e6, time.Now().Format(time.DateOnly))
	r := rand.New(rand.NewPCG(o.seed, 10))
	tenth := func(conn int) int64 {
		if conn%10 != 3 { // the first only tries the password, the second is the main one, the third fetches bodies beside it
			return -1
		}
		return r.Int64N(m.bytes / 4)
	}
	often := func(int) int64 { return int64(r.ExpFloat64() * 10e6) }
	var calm int64
	for _, c := range []struct {
		what string
		cut  func(conn int) int64 // after how many bytes; -1: never
	}{{"none", nil}, {"one in ten connections is cut", tenth}, {"a cut every 10 MB", often}} {
		got, conns, took, err := faultySync(ctx, o, m, c.cut)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		if calm == 0 {
			calm = got
		}
		fmt.Printf("| %s | %d | %.3f | %.3f | %.1f s |\n", c.what, conns, float64(got)/float64(m.bytes), float64(got)/float64(calm), took.Seconds())
	}
	return nil
}

func faultySync(ctx context.Context, o options, m *mailbox, cut func(conn int) int64) (got int64, conns int, took time.Duration, err error) {
	var rules strings.Builder
	for conn := 1; cut != nil && conn <= 2000; conn++ {
		if at := cut(conn); at >= 0 {
			fmt.Fprintf(&rules, "conn %d: cut server after %d\n", conn, at)
		}
	}
	p, err := faultnet.New(m.Addr, rules.String())
	if err != nil {
		return 0, 0, 0, err
	}
	defer p.Close()
	wire, err := newTap(p.Addr)
	if err != nil {
		return 0, 0, 0, err
	}
	defer wire.Close()
	s, end, err := serve(ctx, o)
	if err != nil {
		return 0, 0, 0, err
	}
	defer end()
	start := time.Now()
	var g binary.Grant
	for try := 0; ; try++ { // the cut may hit the very request that tries the login
		if g, err = s.Connect(ctx, binary.IMAP(wire.Addr().String(), user, password)); err == nil || try == 10 {
			break
		}
	}
	if err != nil {
		return 0, 0, 0, err
	}
	if g, err = s.Await(ctx, g.ID, binary.Live); err != nil {
		return 0, 0, 0, err
	}
	took, got, conns = time.Since(start), wire.received(), wire.connected()
	if err := p.Set(""); err != nil {
		return 0, 0, 0, err
	}
	out, err := s.Verify(ctx, g.ID, "--bytes")
	if err != nil {
		return 0, 0, 0, fmt.Errorf("the mailbox is not the server's: %w: %s", err, out)
	}
	return got, conns, took, nil
}
