package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// outlet is an SMTP server that keeps what it takes, and calls hook at the points of a conversation.
type outlet struct {
	addr string
	back *smtp.Server

	mu    sync.Mutex
	hook  func(point string) // may block; nil: none
	taken map[int]int        // by the number in the subject: how often the server has become responsible
	order []int
}

// The points of a conversation in which the process is killed. From "DATA" on the server may have the whole message in its
// buffers, from "end" on it has it.
var points = []string{"accepted", "connect", "MAIL", "RCPT", "DATA", "half", "end", "answered", "filing"}

func startOutlet(t *testing.T) *outlet {
	t.Helper()
	o := &outlet{taken: map[int]int{}}
	o.up(t, "127.0.0.1:0")
	t.Cleanup(o.down)
	return o
}

func (o *outlet) up(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o.addr = l.Addr().String()
	o.back = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		o.at("connect")
		return &letterbox{o: o}, nil
	}))
	o.back.ErrorLog = nobody{}
	go o.back.Serve(l)
}

func (o *outlet) down() { o.back.Close() }

type nobody struct{}

func (nobody) Printf(string, ...any) {}
func (nobody) Println(...any)        {}

func (o *outlet) at(point string) {
	o.mu.Lock()
	hook := o.hook
	o.mu.Unlock()
	if hook != nil {
		hook(point)
	}
}

func (o *outlet) setHook(hook func(string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hook = hook
}

type letterbox struct{ o *outlet }

func (x *letterbox) Mail(string, *smtp.MailOptions) error { x.o.at("MAIL"); return nil }
func (x *letterbox) Rcpt(string, *smtp.RcptOptions) error { x.o.at("RCPT"); return nil }
func (x *letterbox) Reset()                               {}
func (x *letterbox) Logout() error                        { return nil }

var numbered = regexp.MustCompile(`Subject: send (\d+)\r\n`)

func (x *letterbox) Data(r io.Reader) error {
	x.o.at("DATA")
	head := make([]byte, 200)
	n, err := io.ReadFull(r, head)
	if err != nil {
		return err
	}
	x.o.at("half")
	rest, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m := numbered.FindSubmatch(append(head[:n], rest...))
	if m == nil {
		return errors.New("a message without number")
	}
	number, _ := strconv.Atoi(string(m[1]))
	x.o.mu.Lock()
	x.o.taken[number]++
	x.o.order = append(x.o.order, number)
	x.o.mu.Unlock()
	x.o.at("end")
	go x.o.at("answered")
	return nil
}

// mailer is a mailbox that can send, with the server it is connected to.
type mailer struct {
	t *testing.T
	d *realsrv.Dovecot
	o *outlet
	s *binary.Server
	g string
}

func sending(t *testing.T) *mailer {
	t.Helper()
	return sendingWith(t, binary.Options{})
}

func sendingWith(t *testing.T, o binary.Options) *mailer {
	t.Helper()
	m := &mailer{t: t, d: realsrv.StartDovecot(t, realsrv.DovecotOptions{}), o: startOutlet(t), s: serve(t, o)}
	settings := binary.IMAP(m.d.Addr, "mira@example.com", m.d.Password)
	host, port, _ := net.SplitHostPort(m.o.addr)
	settings["smtp_host"], settings["smtp_security"] = host, "none"
	settings["smtp_port"], _ = strconv.Atoi(port)
	g, err := m.s.Connect(within(t, 30*time.Second), settings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.s.Await(within(t, time.Minute), g.ID, binary.Live); err != nil {
		t.Fatal(err)
	}
	m.g = g.ID
	return m
}

// sent is the answer to a send.
type sent struct {
	Data struct {
		ID       string `json:"id"`
		ThreadID string `json:"thread_id"`
		Send     struct {
			State  string `json:"state"`
			Reason string `json:"reason"`
		} `json:"send"`
	} `json:"data"`
}

func (m *mailer) send(number int) (sent, error) {
	var out sent
	err := m.s.Do(within(m.t, time.Minute), "POST", "/v3/grants/"+m.g+"/messages/send", map[string]any{
		"to": []any{map[string]any{"email": "x@example.com"}}, "bcc": []any{map[string]any{"email": "y@example.com"}},
		"subject": fmt.Sprintf("send %d", number), "body": "<p>" + strings.Repeat("some text ", 100) + "</p>",
	}, &out)
	return out, err
}

// fate is what the log tells of a send.
type fate struct{ accepted, sent, failed, uncertain bool }

func (f fate) ended() bool { return f.sent || f.failed || f.uncertain }

// fates reads the log of the grant.
func (m *mailer) fates() map[int]fate {
	m.t.Helper()
	out := map[int]fate{}
	cursor := "earliest"
	for {
		var page struct {
			Data []struct {
				Type string
				Data struct {
					Error *struct {
						Type string `json:"type"`
					} `json:"error"`
					Object struct {
						Subject string `json:"subject"`
					} `json:"object"`
				}
			}
			Next string `json:"next_cursor"`
		}
		if err := m.s.Get(m.t.Context(), "/v3/grants/"+m.g+"/events?limit=200&cursor="+url.QueryEscape(cursor), &page); err != nil {
			m.t.Fatal(err)
		}
		for _, e := range page.Data {
			var n int
			if _, err := fmt.Sscanf(e.Data.Object.Subject, "send %d", &n); err != nil {
				continue
			}
			f := out[n]
			switch e.Type {
			case "message.send_accepted":
				f.accepted = true
			case "message.send_success":
				f.sent = true
			case "message.send_failed":
				f.uncertain = e.Data.Error != nil && e.Data.Error.Type == "send_uncertain_error"
				f.failed = !f.uncertain
			}
			out[n] = f
		}
		if len(page.Data) == 0 || page.Next == cursor {
			return out
		}
		cursor = page.Next
	}
}

// copies counts the messages in Sent at the server by their numbers.
func (m *mailer) copies() map[int]int {
	m.t.Helper()
	out := map[int]int{}
	session := m.d.Login(m.t, "mira@example.com")
	defer session.Close()
	for _, r := range session.Everything(true) {
		if f := numbered.FindSubmatch(r.Raw); f != nil && r.Folder == "Sent" {
			n, _ := strconv.Atoi(string(f[1]))
			out[n]++
		}
	}
	return out
}

// TestSend follows a message to the recipient, into Sent and into its thread.
func TestSend(t *testing.T) {
	t.Parallel()
	m := sending(t)
	got, err := m.send(1)
	if err != nil || got.Data.Send.State == "queued" {
		t.Fatalf("%+v, %v", got, err)
	}
	await(t, "the copy in Sent", 30*time.Second, func() bool { return m.copies()[1] == 1 })
	await(t, "the message by the id of the answer", 30*time.Second, func() bool {
		var out struct{ Data binary.Message }
		err := m.s.Get(t.Context(), "/v3/grants/"+m.g+"/messages/"+got.Data.ID, &out)
		return err == nil && out.Data.ThreadID == got.Data.ThreadID && len(out.Data.Folders) == 1 && !out.Data.Unread && !out.Data.BodyPending
	})
	if f := m.fates()[1]; !f.accepted || !f.sent || f.failed {
		t.Errorf("told: %+v", f)
	}

	// The provider is away: sends are accepted and wait, reads go on; then they go out in order.
	addr := m.o.addr
	m.o.down()
	for n := range 5 {
		got, err := m.send(10 + n)
		if err != nil || got.Data.Send.State != "queued" || got.Data.Send.Reason == "" && n == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := m.s.Messages(t.Context(), m.g, nil); err != nil {
		t.Error(err)
	}
	m.s.Kill()
	binary.Check(t, m.s)
	m.o.up(t, addr)
	m.s = serve(t, m.s.Options)
	await(t, "what waited is in Sent", time.Minute, func() bool {
		c := m.copies()
		return c[10] == 1 && c[11] == 1 && c[12] == 1 && c[13] == 1 && c[14] == 1
	})
	m.o.mu.Lock()
	if !slices.Equal(m.o.order, []int{1, 10, 11, 12, 13, 14}) {
		t.Errorf("they went out as %v", m.o.order)
	}
	m.o.mu.Unlock()
	m.s.Kill()
	binary.Check(t, m.s)
}

// TestKillDuringSend kills the process in every state of a send: nothing that was accepted is lost, nothing goes out twice,
// and only what the server had before it could answer is reported as uncertain.
func TestKillDuringSend(t *testing.T) {
	t.Parallel()
	m := sending(t)
	number := 0
	where := map[int]string{}
	answered := map[int]bool{}
	for range *soak {
		for _, point := range points {
			number++
			where[number] = point
			dead := make(chan struct{})
			once := sync.Once{}
			kill := func() { once.Do(func() { m.s.Kill(); close(dead) }) }
			m.o.setHook(func(at string) {
				if at == point {
					if point == "answered" {
						<-time.After(rand.N(15 * time.Millisecond))
					}
					kill()
				}
			})
			if point == "accepted" {
				go func() {
					<-time.After(rand.N(30 * time.Millisecond))
					kill()
				}()
			}
			_, err := m.send(number)
			answered[number] = err == nil
			if point == "filing" {
				<-time.After(rand.N(100 * time.Millisecond))
				kill()
			}
			select {
			case <-dead:
			case <-time.After(20 * time.Second):
				t.Fatalf("point %s was not reached: %v", point, err)
			}
			m.o.setHook(nil)
			m.s = serve(t, m.s.Options)
			await(t, point, time.Minute, func() bool {
				f := m.fates()[number]
				return f.accepted == false || f.ended()
			})
		}
		m.s.Kill()
		binary.Check(t, m.s)
		m.s = serve(t, m.s.Options)
	}
	fates := m.fates()
	await(t, "all copies in Sent", time.Minute, func() bool {
		copies := m.copies()
		for n, f := range fates {
			if f.sent && copies[n] == 0 {
				return false
			}
		}
		return true
	})
	copies := m.copies()
	count := map[string]int{}
	m.o.mu.Lock()
	defer m.o.mu.Unlock()
	for n := 1; n <= number; n++ {
		f, taken := fates[n], m.o.taken[n]
		late := slices.Contains([]string{"accepted", "DATA", "half", "end", "answered"}, where[n]) // accepted is anywhere
		switch {
		case taken > 1 || copies[n] > 1:
			t.Errorf("%d, killed at %s: sent %d times, %d copies", n, where[n], taken, copies[n])
		case answered[n] && !f.accepted, f.accepted && !f.ended(), f.failed:
			t.Errorf("%d, killed at %s: lost: %+v", n, where[n], f)
		case f.sent && (taken != 1 || copies[n] != 1):
			t.Errorf("%d, killed at %s: said to be sent: taken %d times, %d copies", n, where[n], taken, copies[n])
		case f.uncertain && !late:
			t.Errorf("%d, killed at %s: uncertain, although the server took it %d times", n, where[n], taken)
		case !f.accepted && taken > 0:
			t.Errorf("%d, killed at %s: sent and never accepted", n, where[n])
		}
		switch {
		case f.uncertain:
			count["uncertain"]++
		case f.sent:
			count["sent"]++
		default:
			count["not accepted, not sent"]++
		}
	}
	t.Logf("%d kills: %v", number, count)
	m.s.Kill()
	binary.Check(t, m.s)
}
