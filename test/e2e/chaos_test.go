package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/realsrv"
)

// TestChaos lets connections be cut, stalled and garbled while other programs deliver, flag, copy, move and delete. The process does
// not grow meanwhile, and when it is calm again every mailbox is equal to the server's, byte for byte.
func TestChaos(t *testing.T) {
	t.Parallel()
	accounts, long, fresh := 3, 4*time.Second, 60
	if *chaos > 0 {
		accounts, long, fresh = 20, *chaos, 300
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := serve(t, binary.Options{})
	boxes := make([]*chaosBox, accounts)
	folders := []string{"INBOX", "Archive", "Sent", "Kunden/Süd"}
	for i := range boxes {
		b := &chaosBox{user: fmt.Sprintf("user%d@example.com", i)}
		fill(t, d, b.user, fresh)
		b.session = d.Login(t, b.user)
		b.proxy = faultnet.Start(t, d.Addr, "")
		boxes[i] = b
		b.connect(t, s, d)
		b.proxy.Turn(t, faultnet.Random(r, 400))
	}
	var first, last process
	steps := 0
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for began := time.Now(); time.Since(began) < long; steps++ {
		<-pace.C
		b := boxes[r.IntN(len(boxes))]
		change(b.session, r, folders, steps+1)
		if steps%200 == 0 {
			p := measure(t, s)
			t.Logf("%v, %d changes: %v", time.Since(began).Round(time.Second), steps, p)
			if last = p; time.Since(began) < long/3 {
				first.peak(p) // while everything is new it may grow
			}
		}
	}
	for _, b := range boxes {
		b.session.Close()
		b.proxy.Turn(t, "")
		b.connect(t, s, d) // no need to wait for the backoff
	}
	for _, b := range boxes {
		out, err := "", error(nil)
		for range 20 {
			if out, err = s.Verify(within(t, 5*time.Minute), b.grant, "--bytes", "--wait=5s"); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("%s, %s: %v\n%s", b.user, b.grant, err, out)
		}
	}
	last = measure(t, s)
	t.Logf("%d changes on %d mailboxes in %v; at the end %v, at the most in the first third %v", steps, accounts, long, last, first)
	if *chaos > 0 && (last.rss > first.rss*5/4+32<<20 || last.goroutines > first.goroutines+accounts || last.fds > first.fds+accounts) {
		t.Errorf("the process has grown from %v to %v", first, last)
	}
	if last.panics > 0 {
		t.Errorf("%v panics", last.panics)
	}
	binary.Check(t, s)
}

// chaosBox is one mailbox, which the server reaches through a proxy.
type chaosBox struct {
	user, grant string
	proxy       *faultnet.Proxy
	session     *realsrv.Session
}

// connect makes the mailbox a grant, or logs in anew.
func (b *chaosBox) connect(t *testing.T, s *binary.Server, d *realsrv.Dovecot) {
	t.Helper()
	g, err := s.Connect(within(t, 2*time.Minute), binary.IMAP(b.proxy.Addr, b.user, d.Password))
	if err != nil {
		t.Fatal(err)
	}
	b.grant = g.ID
}

// process is how big the server process is.
type process struct{ rss, goroutines, fds, panics int }

func (p process) String() string {
	return fmt.Sprintf("%d MiB, %d goroutines, %d files", p.rss>>20, p.goroutines, p.fds)
}

func (p *process) peak(o process) {
	p.rss, p.goroutines, p.fds = max(p.rss, o.rss), max(p.goroutines, o.goroutines), max(p.fds, o.fds)
}

// scrape reads the metrics.
func scrape(t *testing.T, s *binary.Server) string {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, time.Minute), http.MethodGet, s.Admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// measure reads of the metrics how big the process is.
func measure(t *testing.T, s *binary.Server) (p process) {
	t.Helper()
	for line := range strings.Lines(scrape(t, s)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "process_resident_memory_bytes":
			p.rss = int(n)
		case "go_goroutines":
			p.goroutines = int(n)
		case "process_open_fds":
			p.fds = int(n)
		case "posthorn_sync_panics_total":
			p.panics = int(n)
		}
	}
	if p.goroutines == 0 {
		t.Fatal("the metrics tell nothing")
	}
	return p
}
