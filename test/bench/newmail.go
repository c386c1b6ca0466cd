package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// newMail measures how soon mail that another client delivers is committed as a change. Most of that is the server's: it tells
// those who listen when it likes. So the moments at which its notice passes to Posthorn and to a plain client that listens
// in the same way are noted beside. What is left is ours: from the notice on the wire until the change is read from the
// event stream, which is a little after its commit.
func newMail(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	fmt.Printf("%d messages in the mailbox, %d new ones a row; %s\n\n", o.n, o.requests, time.Now().Format(time.DateOnly))
	fmt.Println("| delivered to, told by | a plain client is told p50 | p99 | Posthorn is told p50 | p99 | ours: notice to change p50 | p99 | delivery to change p50 | p99 | found without notice |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for _, notify := range []bool{false, true} {
		if err := newMailBy(ctx, o, notify); err != nil {
			return err
		}
	}
	return nil
}

func newMailBy(ctx context.Context, o options, notify bool) error {
	var server realsrv.DovecotOptions
	if !notify {
		server.CapsDrop = []string{"NOTIFY"}
	}
	m, err := newMailbox(o, server, nil)
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
	g, err := connect(ctx, s, wire.Addr().String(), searchable)
	if err != nil {
		return err
	}
	ours := make(chan time.Time, 64)
	wire.listen(func(line string) { noted(ours, line) })
	plain, stop, err := listener(m.Addr, notify)
	if err != nil {
		return err
	}
	defer stop()
	changes, stopStream, err := stream(ctx, s, g.ID)
	if err != nil {
		return err
	}
	defer stopStream()
	c, err := imap.Dial(ctx, imap.Options{Addr: m.Addr, Security: imap.Plain})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := c.Login(ctx, user, password); err != nil {
		return err
	}
	folders := []string{"INBOX"}
	if notify {
		folders = append(folders, "Archive")
	}
	for _, folder := range folders {
		var r newMailRow
		for i := range o.requests + 3 { // the first ones find caches cold
			if err := wait(ctx, time.Duration(20+rand.IntN(200))*time.Millisecond); err != nil {
				return err
			}
			drain(ours)
			drain(plain)
			subject := fmt.Sprintf("new in %s %d", folder, i)
			raw := fmt.Appendf(nil, "From: a@example.com\r\nMessage-ID: <%d.%s@new.example.com>\r\nSubject: %s\r\n\r\nbody\r\n", i, folder, subject)
			start := time.Now()
			if _, err := c.Append(ctx, folder, imap.AppendMessage{Size: int64(len(raw)), Body: strings.NewReader(string(raw))}); err != nil {
				return err
			}
			var told, changed time.Time
			for told.IsZero() || changed.IsZero() {
				select {
				case at := <-plain:
					if told.IsZero() {
						told = at
					}
				case e := <-changes:
					if e.subject == subject {
						changed = e.at
					}
				case <-ctx.Done():
					return fmt.Errorf("%q: plain client told %v, change read %v: %w", subject, !told.IsZero(), !changed.IsZero(), ctx.Err())
				}
			}
			if i < 3 {
				continue
			}
			r.plain = append(r.plain, told.Sub(start))
			select {
			case at := <-ours:
				if at.Before(changed) {
					r.told, r.ours, r.all = append(r.told, at.Sub(start)), append(r.ours, changed.Sub(at)), append(r.all, changed.Sub(start))
					continue
				}
			default:
			}
			r.unasked++ // a look at all folders was faster than the server's notice
			r.all = append(r.all, changed.Sub(start))
		}
		how := "IDLE"
		if notify {
			how = "NOTIFY"
		}
		r.print(folder + ", " + how)
	}
	return nil
}

type newMailRow struct {
	plain, told, ours, all []time.Duration
	unasked                int
}

func (r *newMailRow) print(what string) {
	fmt.Printf("| %s", what)
	for _, l := range [][]time.Duration{r.plain, r.told, r.ours, r.all} {
		p50, p99 := percentiles(l)
		fmt.Printf(" | %.1f ms | %.1f ms", p50.Seconds()*1e3, p99.Seconds()*1e3)
	}
	fmt.Printf(" | %d |\n", r.unasked)
}

func percentiles(l []time.Duration) (p50, p99 time.Duration) {
	if len(l) == 0 {
		return 0, 0
	}
	slices.Sort(l)
	return l[len(l)/2], l[min(len(l)-1, len(l)*99/100)]
}

// noted notes when a line tells that a mailbox has more messages.
func noted(to chan<- time.Time, line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "*" || f[2] != "EXISTS" && f[1] != "STATUS" {
		return
	}
	select {
	case to <- time.Now():
	default:
	}
}

func drain(c <-chan time.Time) {
	for {
		select {
		case <-c:
		default:
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listener is a plain client that idles on INBOX, and with notify is told of all folders, as Posthorn is.
func listener(addr string, notify bool) (told <-chan time.Time, stop func(), err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	r := bufio.NewReader(conn)
	commands := []string{"LOGIN " + realsrv.Quote(user) + " " + realsrv.Quote(password), "EXAMINE INBOX", "IDLE"}
	if notify {
		commands = slices.Insert(commands, 1, "NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge))")
	}
	for i, c := range commands {
		tag := "a" + strconv.Itoa(i)
		if _, err := fmt.Fprintf(conn, "%s %s\r\n", tag, c); err != nil {
			return nil, nil, err
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return nil, nil, err
			}
			if strings.HasPrefix(line, tag+" OK") || c == "IDLE" && strings.HasPrefix(line, "+") {
				break
			}
			if strings.HasPrefix(line, tag+" ") {
				return nil, nil, fmt.Errorf("%s: %s", c, line)
			}
		}
	}
	out := make(chan time.Time, 64)
	go func() {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			noted(out, line)
		}
	}()
	return out, func() { conn.Close() }, nil
}

// created is a message.created as it came from the stream.
type created struct {
	at      time.Time
	subject string
}

// stream reads a grant's new messages from its event stream, from now on.
func stream(ctx context.Context, s *binary.Server, grant string) (<-chan created, func(), error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v3/grants/"+grant+"/events?types=message.created", nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, nil, fmt.Errorf("event stream: %s", resp.Status)
	}
	out := make(chan created, 64)
	go func() {
		r := bufio.NewReader(resp.Body)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			at := time.Now()
			data, ok := strings.CutPrefix(line, "data: ")
			var n struct {
				Data struct{ Object struct{ Subject string } }
			}
			if ok && json.Unmarshal([]byte(data), &n) == nil {
				out <- created{at, n.Data.Object.Subject}
			}
		}
	}()
	return out, func() { resp.Body.Close() }, nil
}
