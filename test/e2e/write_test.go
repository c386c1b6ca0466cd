package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/realsrv"
)

// tap passes connections on to a mail server and calls back around one command.
type tap struct {
	addr string
	to   string
	l    net.Listener

	mu      sync.Mutex
	command []byte
	lose    bool   // what is held back by sent or done never arrives
	sent    func() // before the command goes on to the server
	done    func() // before the answer goes on to the client
	passed  func() // after that
	conns   map[net.Conn]bool
}

func startTap(t *testing.T, to string) *tap {
	t.Helper()
	p := &tap{to: to, conns: map[net.Conn]bool{}}
	p.up(t, "127.0.0.1:0")
	t.Cleanup(p.down)
	return p
}

func (p *tap) up(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.addr, p.l = l.Addr().String(), l
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.to)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.conns[client], p.conns[server] = true, true
			p.mu.Unlock()
			var mu sync.Mutex
			seen := false // the command went by on this connection, and nothing has come back since
			go p.pass(client, server, func(b []byte) (now, then func()) {
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.command == nil || !bytes.Contains(b, p.command) {
					return nil, nil
				}
				mu.Lock()
				defer mu.Unlock()
				seen = true
				return p.sent, nil
			})
			go p.pass(server, client, func([]byte) (now, then func()) {
				mu.Lock()
				defer mu.Unlock()
				if !seen {
					return nil, nil
				}
				seen = false
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.done, p.passed
			})
		}
	}()
}

// pass copies from one connection to the other. around returns what is to be called before some bytes go on, and after it.
func (p *tap) pass(from, to net.Conn, around func([]byte) (now, then func())) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			now, then := around(b[:n])
			if now != nil {
				now()
				if p.lost() {
					return
				}
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
			if then != nil {
				then()
			}
		}
		if err != nil {
			return
		}
	}
}

// down ends all connections and takes no more.
func (p *tap) down() {
	p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *tap) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lose
}

// at sets the functions to be called around a command; "" for none.
func (p *tap) at(command string, lose bool, sent, done, passed func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.command, p.lose, p.sent, p.done, p.passed = nil, lose, sent, done, passed
	if command != "" {
		p.command = []byte(command)
	}
}

// writer is a mailbox that is written to, through a tap.
type writer struct {
	t       *testing.T
	d       *realsrv.Dovecot
	tap     *tap
	s       *binary.Server
	g       string
	folders map[string]string // ids by name
}

func writing(t *testing.T, messages int) *writer {
	t.Helper()
	w := &writer{t: t, d: realsrv.StartDovecot(t, realsrv.DovecotOptions{})}
	session := w.d.Login(t, "mira@example.com")
	for n := range messages {
		session.Append("INBOX", fmt.Appendf(nil, "From: a@example.com\r\nMessage-ID: <write%d@example.com>\r\nSubject: write %d.\r\n\r\ntext\r\n", n, n), nil, time.Time{})
		session.CreateFolder(fmt.Sprintf("F%d~", n))
	}
	session.CreateFolder("Archive")
	session.Close()
	w.tap = startTap(t, w.d.Addr)
	w.s = serve(t, binary.Options{})
	g, err := w.s.Connect(within(t, 30*time.Second), binary.IMAP(w.tap.addr, "mira@example.com", w.d.Password))
	if err != nil {
		t.Fatal(err)
	}
	w.g = "/v3/grants/" + g.ID
	if _, err := w.s.Await(within(t, time.Minute), g.ID, binary.Live); err != nil {
		t.Fatal(err)
	}
	w.list()
	return w
}

func (w *writer) id() string { return strings.TrimPrefix(w.g, "/v3/grants/") }

func (w *writer) list() map[string]string {
	w.t.Helper()
	list, err := w.s.Folders(w.t.Context(), w.id())
	if err != nil {
		w.t.Fatal(err)
	}
	w.folders = map[string]string{}
	for _, f := range list {
		w.folders[f.Name] = f.ID
	}
	return w.folders
}

// find returns the messages or drafts with a subject.
func (w *writer) find(what, subject string) []binary.Message {
	w.t.Helper()
	var out struct{ Data []binary.Message }
	if err := w.s.Get(w.t.Context(), w.g+"/"+what+"?subject="+url.QueryEscape(subject), &out); err != nil {
		w.t.Fatal(err)
	}
	return out.Data
}

func (w *writer) message(n int) (m binary.Message) {
	w.t.Helper()
	list := w.find("messages", fmt.Sprintf("write %d.", n))
	if len(list) > 1 {
		w.t.Fatalf("message %d is there %d times", n, len(list))
	}
	if len(list) == 1 {
		m = list[0]
	}
	return m
}

// write is a thing that applications do, which one command at the server completes.
type write struct {
	name, command string
	prepare       func(w *writer, n int) // nil: nothing
	do            func(w *writer, n int) (method, path string, body any)
	applied       func(w *writer, n int) bool
}

func draftOf(n int, body string) map[string]any {
	return map[string]any{"subject": fmt.Sprintf("draft %d.", n), "body": body, "to": []any{map[string]any{"email": "x@example.com"}}}
}

func saved(w *writer, n int) {
	w.t.Helper()
	if err := w.s.Do(within(w.t, time.Minute), "POST", w.g+"/drafts", draftOf(n, "first"), nil); err != nil {
		w.t.Fatal(err)
	}
	await(w.t, "a draft", time.Minute, func() bool { return len(w.find("drafts", fmt.Sprintf("draft %d.", n))) == 1 })
}

func draftBody(w *writer, n int) string {
	var bodies []string
	for _, m := range w.find("drafts", fmt.Sprintf("draft %d.", n)) {
		bodies = append(bodies, m.Body)
	}
	return strings.Join(bodies, "|")
}

var writes = []write{
	{name: "star", command: "UID STORE", do: func(w *writer, n int) (string, string, any) {
		return "PUT", "/messages/" + w.message(n).ID, map[string]any{"starred": true, "unread": false}
	}, applied: func(w *writer, n int) bool { m := w.message(n); return m.Starred && !m.Unread }},
	{name: "move", command: "UID MOVE", do: func(w *writer, n int) (string, string, any) {
		return "PUT", "/messages/" + w.message(n).ID, map[string]any{"folders": []string{w.folders["Archive"]}}
	}, applied: func(w *writer, n int) bool { return slices.Equal(w.message(n).Folders, []string{w.folders["Archive"]}) }},
	{name: "trash", command: "UID MOVE", do: func(w *writer, n int) (string, string, any) {
		return "DELETE", "/messages/" + w.message(n).ID, nil
	}, applied: func(w *writer, n int) bool { return slices.Equal(w.message(n).Folders, []string{w.list()["Trash"]}) }},
	{name: "remove", command: "EXPUNGE", do: func(w *writer, n int) (string, string, any) {
		return "DELETE", "/messages/" + w.message(n).ID + "?hard_delete=true", nil
	}, applied: func(w *writer, n int) bool { return w.message(n).ID == "" }},
	{name: "create a folder", command: "CREATE", do: func(w *writer, n int) (string, string, any) {
		return "POST", "/folders", map[string]any{"name": fmt.Sprintf("New %d~", n)}
	}, applied: func(w *writer, n int) bool { return w.list()[fmt.Sprintf("New %d~", n)] != "" }},
	{name: "rename a folder", command: "RENAME", do: func(w *writer, n int) (string, string, any) {
		return "PUT", "/folders/" + w.folders[fmt.Sprintf("F%d~", n)], map[string]any{"name": fmt.Sprintf("R%d~", n)}
	}, applied: func(w *writer, n int) bool {
		l := w.list()
		return l[fmt.Sprintf("R%d~", n)] != "" && l[fmt.Sprintf("F%d~", n)] == ""
	}},
	{name: "delete a folder", command: "DELETE", do: func(w *writer, n int) (string, string, any) {
		return "DELETE", "/folders/" + w.folders[fmt.Sprintf("F%d~", n)], nil
	}, applied: func(w *writer, n int) bool { return w.list()[fmt.Sprintf("F%d~", n)] == "" }},
	{name: "save a draft", command: "APPEND", do: func(w *writer, n int) (string, string, any) { return "POST", "/drafts", draftOf(n, "first") },
		applied: func(w *writer, n int) bool { return draftBody(w, n) == "first" }},
	{name: "change a draft", command: "APPEND", prepare: saved, do: func(w *writer, n int) (string, string, any) {
		return "PUT", "/drafts/" + w.find("drafts", fmt.Sprintf("draft %d.", n))[0].ID, draftOf(n, "second")
	}, applied: func(w *writer, n int) bool { return draftBody(w, n) == "second" }},
	{name: "replace a draft's copy", command: "EXPUNGE", prepare: saved, do: func(w *writer, n int) (string, string, any) {
		return "PUT", "/drafts/" + w.find("drafts", fmt.Sprintf("draft %d.", n))[0].ID, draftOf(n, "second")
	}, applied: func(w *writer, n int) bool { return draftBody(w, n) == "second" }},
	{name: "delete a draft", command: "EXPUNGE", prepare: saved, do: func(w *writer, n int) (string, string, any) {
		return "DELETE", "/drafts/" + w.find("drafts", fmt.Sprintf("draft %d.", n))[0].ID, nil
	}, applied: func(w *writer, n int) bool { return draftBody(w, n) == "" }},
}

// The moments in which the process is killed: somewhere from the request on; with the command on its way, which is lost, or is
// still carried out while the next process is at work; with the answer on its way; and when it may or may not have noted that
// all is done.
var moments = []string{"accepted", "lost", "sent", "done", "passed"}

// TestKillDuringWrite kills the process in every state of an operation: what was accepted is done, and done once.
func TestKillDuringWrite(t *testing.T) {
	t.Parallel()
	type kill struct {
		write
		moment string
	}
	var kills []kill
	for range *soak {
		for _, x := range writes {
			for _, m := range moments {
				kills = append(kills, kill{x, m})
			}
		}
	}
	if testing.Short() {
		rand.Shuffle(len(kills), func(i, j int) { kills[i], kills[j] = kills[j], kills[i] })
		kills = kills[:12]
	}
	w := writing(t, len(kills)+1)
	must := map[int]bool{}
	count := map[string]int{}
	for n, k := range kills {
		if k.prepare != nil {
			k.prepare(w, n)
		}
		method, path, body := k.do(w, n)
		dead := make(chan struct{})
		var once sync.Once
		die := func() { once.Do(func() { w.s.Kill(); close(dead) }) }
		switch k.moment {
		case "accepted":
			time.AfterFunc(rand.N(20*time.Millisecond), die)
		case "lost":
			w.tap.at(k.command, true, die, nil, nil)
		case "sent":
			w.tap.at(k.command, false, die, nil, nil)
		case "done":
			w.tap.at(k.command, true, nil, die, nil)
		case "passed":
			w.tap.at(k.command, false, nil, nil, func() { <-time.After(rand.N(15 * time.Millisecond)); die() })
		}
		err := w.s.Do(within(t, time.Minute), method, w.g+path, body, nil)
		must[n] = err == nil || k.moment != "accepted"
		select {
		case <-dead:
		case <-time.After(time.Minute):
			t.Fatalf("%s: the moment %s did not come: %v", k.name, k.moment, err)
		}
		w.tap.at("", false, nil, nil, nil)
		w.s = serve(t, w.s.Options)
		if k.moment == "accepted" { // whatever it was, it comes before this
			if err := w.s.Do(within(t, time.Minute), "PUT", w.g+"/messages/"+w.message(len(kills)).ID, map[string]any{"starred": n%2 == 0}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if must[n] {
			await(t, fmt.Sprintf("%s, killed when %s", k.name, k.moment), time.Minute, func() bool { return k.applied(w, n) })
		}
	}
	binary.Converge(t, w.s, w.id(), w.d, "mira@example.com", 2*time.Minute)
	// Every message, folder and draft is there as often as it should be.
	var subjects []string
	session := w.d.Login(t, "mira@example.com")
	for _, m := range session.Everything(true) {
		_, rest, _ := bytes.Cut(m.Raw, []byte("Subject: "))
		subject, _, _ := bytes.Cut(rest, []byte("\r\n"))
		subjects = append(subjects, string(subject))
	}
	session.Close()
	for n, k := range kills {
		copies := 0
		for _, s := range subjects {
			if s == fmt.Sprintf("write %d.", n) {
				copies++
			}
		}
		want := 1
		if k.name == "remove" && k.applied(w, n) {
			want = 0
		}
		drafts := 0
		for _, s := range subjects {
			if s == fmt.Sprintf("draft %d.", n) {
				drafts++
			}
		}
		applied := k.applied(w, n)
		switch {
		case copies != want:
			t.Errorf("%s, killed when %s: the message is there %d times", k.name, k.moment, copies)
		case drafts > 1 || drafts == 0 && (k.name == "save a draft" && applied || k.prepare != nil && k.name != "delete a draft"):
			t.Errorf("%s, killed when %s: the draft is there %d times", k.name, k.moment, drafts)
		case must[n] && !applied:
			t.Errorf("%s, killed when %s: it was undone", k.name, k.moment)
		}
		if applied {
			count["done"]++
		} else {
			count["not accepted, not done"]++
		}
	}
	t.Logf("%d kills: %v", len(kills), count)
	w.s.Kill()
	binary.Check(t, w.s)
}

// TestWritesOutlastAnOutage: while the mail server is away reads go on, and writes are taken and wait; then they land in order.
func TestWritesOutlastAnOutage(t *testing.T) {
	t.Parallel()
	w := writing(t, 3)
	first := w.message(0)
	addr := w.tap.addr
	w.tap.down()
	var ops []string
	put := func(method, path string, body any) {
		t.Helper()
		var out struct {
			Data struct {
				ID     string `json:"id"`
				Object string `json:"object"`
				State  string `json:"state"`
			}
		}
		if err := w.s.Do(within(t, time.Minute), method, w.g+path, body, &out); err != nil || out.Data.Object != "operation" || out.Data.State != "pending" {
			t.Fatalf("%+v %v", out, err)
		}
		ops = append(ops, out.Data.ID)
	}
	var wg sync.WaitGroup
	put("PUT", "/messages/"+first.ID, map[string]any{"starred": true})
	for range 20 {
		wg.Go(func() {
			start := time.Now()
			if m := w.message(1); m.ID == "" || time.Since(start) > 5*time.Second {
				t.Errorf("a read during the outage: %+v after %v", m, time.Since(start))
			}
		})
	}
	wg.Wait()
	put("PUT", "/messages/"+first.ID, map[string]any{"starred": false, "unread": false})
	put("POST", "/drafts", draftOf(7, "written offline"))
	w.s.Kill()
	binary.Check(t, w.s)
	w.s = serve(t, w.s.Options)
	w.tap.up(t, addr)
	await(t, "all writes landed", 2*time.Minute, func() bool {
		for _, id := range ops {
			var out struct {
				Data struct {
					State  string `json:"state"`
					Reason string `json:"reason"`
				}
			}
			if err := w.s.Get(t.Context(), w.g+"/operations/"+id, &out); err != nil {
				t.Fatal(err)
			}
			if out.Data.State == "failed" {
				t.Fatalf("%+v", out)
			}
			if out.Data.State != "done" {
				return false
			}
		}
		return true
	})
	if m := w.message(0); m.Starred || m.Unread || draftBody(w, 7) != "written offline" {
		t.Errorf("%+v, draft %q", m, draftBody(w, 7))
	}
	binary.Converge(t, w.s, w.id(), w.d, "mira@example.com", time.Minute)
}
