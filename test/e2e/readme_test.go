package e2e

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

// shellBlocks returns the commands of the README's section: indented lines, joined where they go on.
func shellBlocks(t *testing.T, section string) []string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var out []string
	for line := range strings.Lines(text) {
		code, ok := strings.CutPrefix(line, "    ")
		switch {
		case !ok:
		case strings.HasPrefix(code, " "):
			out[len(out)-1] += code
		default:
			out = append(out, code)
		}
	}
	return out
}

// TestReadmeQuickStart runs the lines of the README as they stand there, in a shell. Only the mailbox and the ports are others.
func TestReadmeQuickStart(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	lines := shellBlocks(t, "Run it")
	if len(lines) != 8 || lines[0] != "go build ./cmd/posthorn\n" || lines[1] != "./posthorn serve\n" {
		t.Fatalf("the README's lines: %q", lines)
	}
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	d.Append(t, "nora@example.com", "INBOX", []byte("From: a@example.com\r\nSubject: Your invoice\r\n\r\nfor March\r\n"), nil, time.Time{})
	d.Append(t, "nora@example.com", "INBOX", []byte("From: a@example.com\r\nSubject: read\r\n\r\nbefore\r\n"), []string{`\Seen`}, time.Time{})
	o := startOutlet(t)
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		return p
	}
	addr := realsrv.FreeAddr(t)
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "posthorn")); err != nil { // which is what the first line makes
		t.Fatal(err)
	}
	mine := strings.NewReplacer("127.0.0.1:8025", addr,
		`"imap_host": "imap.example.com"`, `"imap_host": "127.0.0.1", "imap_port": `+port(d.Addr)+`, "imap_security": "none"`,
		`"smtp_host": "smtp.example.com"`, `"smtp_host": "127.0.0.1", "smtp_port": `+port(o.addr)+`, "smtp_security": "none"`,
		"…", d.Password, `"Hello"`, `"send 1"`)
	env := append(os.Environ(), "POSTHORN_LISTEN="+addr, "POSTHORN_ADMIN_LISTEN="+realsrv.FreeAddr(t), "POSTHORN_EGRESS_ALLOW=127.0.0.0/8")
	shell := func(line string) *exec.Cmd {
		cmd := exec.CommandContext(within(t, 2*time.Minute), "sh", "-c", "exec "+strings.Replace(mine.Replace(line), "curl", "curl -sS", 1))
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}
	server := shell(lines[1])
	said, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	found := make(chan string, 1)
	listens := make(chan bool, 1)
	go func() {
		key := regexp.MustCompile(`API key.*: (ph_\w+)`)
		for s := bufio.NewScanner(said); s.Scan(); {
			if m := key.FindStringSubmatch(s.Text()); m != nil {
				found <- m[1]
			}
			if strings.Contains(s.Text(), "listening") {
				listens <- true
			}
		}
	}()
	select {
	case key := <-found:
		env = append(env, "KEY="+key)
	case <-time.After(time.Minute):
		t.Fatal("no API key was printed")
	}
	<-listens
	type thing struct {
		ID      string
		Subject string
		Sync    struct{ State string }
	}
	run := func(line string, into any) {
		t.Helper()
		out, err := shell(line).CombinedOutput()
		var got struct{ Data json.RawMessage }
		if err != nil || json.Unmarshal(out, &got) != nil || json.Unmarshal(got.Data, into) != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	var grant thing
	run(lines[2], &grant)
	env = append(env, "GRANT="+grant.ID)
	await(t, "live", time.Minute, func() bool { run(lines[3], &grant); return grant.Sync.State == "live" })
	var list []thing
	if run(lines[4], &list); len(list) != 1 || list[0].Subject != "Your invoice" {
		t.Errorf("unread: %+v", list)
	}
	await(t, "found", time.Minute, func() bool { run(lines[5], &list); return len(list) == 1 && list[0].Subject == "Your invoice" })
	stream := shell(lines[7])
	events, err := stream.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Process.Kill(); stream.Wait() })
	news := bufio.NewScanner(events)
	news.Buffer(nil, 1<<20)
	if !news.Scan() { // the stream has begun
		t.Fatal("the stream says nothing")
	}
	var sent thing
	if run(lines[6], &sent); sent.Subject != "send 1" || sent.ID == "" {
		t.Errorf("sent: %+v", sent)
	}
	for news.Scan() {
		if strings.Contains(news.Text(), "message.send_success") {
			return
		}
	}
	t.Errorf("the stream ended without telling of the send: %v", news.Err())
}
