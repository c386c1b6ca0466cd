// Package binary runs the built posthorn and calls its API as any application would.
package binary

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/test/realsrv"
)

// Build compiles cmd/posthorn into dir and returns the path of the program.
func Build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "posthorn")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/posthorn/posthorn/cmd/posthorn")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
}

// Options say how the program is started. The zero value of everything but Path and Dir has a use.
type Options struct {
	Path  string   // the program
	Dir   string   // POSTHORN_DATA
	CA    string   // POSTHORN_TLS_CA
	Env   []string // further NAME=value
	Log   string   // file that stderr and stdout are appended to; default Dir + ".log"
	Key   string   // POSTHORN_API_KEY; one is made up when empty
	Crypt string   // POSTHORN_MASTER_KEY in hex; one is made up when empty
}

// Server is a running `posthorn serve`.
type Server struct {
	Options
	URL   string // of the API
	Admin string // of the listener for operators
	PID   int

	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
	err  error         // how it ended
	http *http.Client
}

// startTimeout bounds how long the server may take until it answers.
const startTimeout = 60 * time.Second

// Start runs `posthorn serve` on a free port and returns when it answers. It tries again with other ports while somebody was
// faster on them.
func Start(ctx context.Context, o Options) (s *Server, err error) {
	for range 5 {
		var ports []int
		if ports, err = realsrv.FreePorts(2); err != nil {
			return nil, err
		}
		s, err = start(ctx, o, fmt.Sprint("127.0.0.1:", ports[0]), fmt.Sprint("127.0.0.1:", ports[1]))
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			return s, err
		}
	}
	return nil, err
}

func start(ctx context.Context, o Options, addr, admin string) (*Server, error) {
	if o.Log == "" {
		o.Log = o.Dir + ".log"
	}
	if o.Key == "" {
		o.Key = "ph_" + rand.Text()
	}
	if o.Crypt == "" {
		var k [32]byte
		rand.Read(k[:])
		o.Crypt = hex.EncodeToString(k[:])
	}
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &Server{Options: o, URL: "http://" + addr, Admin: "http://" + admin, done: make(chan struct{}), http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 2 * time.Minute,
	}}
	s.cmd = exec.Command(o.Path, "serve")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.Dir, "TMPDIR=" + os.TempDir(),
		"POSTHORN_DATA=" + o.Dir, "POSTHORN_LISTEN=" + addr, "POSTHORN_ADMIN_LISTEN=" + admin, "POSTHORN_API_KEY=" + o.Key,
		"POSTHORN_MASTER_KEY=" + o.Crypt, "POSTHORN_EGRESS_ALLOW=127.0.0.0/8,::1/128", "POSTHORN_MOVE_GRACE=1s"}, o.Env...)
	if o.CA != "" {
		s.cmd.Env = append(s.cmd.Env, "POSTHORN_TLS_CA="+o.CA)
	}
	s.cmd.SysProcAttr = dieWithUs()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.PID = s.cmd.Process.Pid
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = s.Get(ctx, "/v3/grants", nil); err == nil {
			return s, nil
		}
		select {
		case <-s.done:
			return nil, fmt.Errorf("posthorn serve ended: %v: %s", s.err, s.LogTail())
		case <-ctx.Done():
			s.Kill()
			return nil, fmt.Errorf("posthorn serve does not answer: %w: %s", err, s.LogTail())
		case <-tick.C:
		}
	}
}

// Kill ends the process at once (SIGKILL) and waits for it. It may be called twice.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.done
	s.http.CloseIdleConnections()
}

// Stop asks the process to end (SIGTERM) and returns how it did.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done:
		s.http.CloseIdleConnections()
		return s.err
	case <-ctx.Done():
		s.Kill()
		return fmt.Errorf("posthorn serve does not end: %w", ctx.Err())
	}
}

// Check runs `posthorn check` on the data of the server, which may be running or not, and returns what it printed.
func (s *Server) Check(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, s.Path, "check")
	cmd.Env = s.cmd.Env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Verify runs `posthorn verify` for an account, on the data of the server, which may be running or not, and returns what it
// printed.
func (s *Server) Verify(ctx context.Context, account string, args ...string) (string, error) {
	out, err := s.Command(ctx, append([]string{"verify", account}, args...)...).CombinedOutput()
	return string(out), err
}

// Command is the program on the data of the server, which may be running or not.
func (s *Server) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Path, args...)
	cmd.Env = s.cmd.Env
	return cmd
}

// Status runs `posthorn status` on the data of the server, which may be running or not, and returns what it printed.
func (s *Server) Status(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Path, append([]string{"status"}, args...)...)
	cmd.Env = s.cmd.Env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Reindex runs `posthorn reindex` on the data of the server, which must have been stopped, and returns the time and the CPU time that
// it took.
func (s *Server) Reindex(ctx context.Context) (took, cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, s.Path, "reindex")
	cmd.Env = s.cmd.Env
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took = time.Since(began)
	if err != nil {
		return took, 0, fmt.Errorf("posthorn reindex: %w: %s", err, out)
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// LogTail returns the end of what the server logged.
func (s *Server) LogTail() string {
	b, _ := os.ReadFile(s.Log)
	return string(b[max(0, len(b)-4000):])
}

// PeakRSS returns the most memory the process has had resident, in bytes; 0 where the system does not tell.
func (s *Server) PeakRSS() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// Error is an answer that is not a success.
type Error struct {
	Status  int
	Type    string
	Message string
	Body    string
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Type, e.Message) }

// Do sends one request, body as JSON unless nil, and decodes the answer into out unless nil. Anything but a 2xx is an [*Error].
func (s *Server) Do(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		e := &Error{Status: resp.StatusCode, Body: string(b)}
		var shape struct {
			Error struct{ Type, Message string } `json:"error"`
		}
		if json.Unmarshal(b, &shape) == nil {
			e.Type, e.Message = shape.Error.Type, shape.Error.Message
		}
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s %s: %w: %.200s", method, path, err, b)
	}
	return nil
}

// Get is Do with GET.
func (s *Server) Get(ctx context.Context, path string, out any) error {
	return s.Do(ctx, http.MethodGet, path, nil, out)
}

// Grant is a connected mailbox.
type Grant struct {
	ID          string `json:"id"`
	Email       string `json:"email"`
	GrantStatus string `json:"grant_status"`
	Sync        struct {
		State    string `json:"state"`
		Since    int64  `json:"since"`
		Reason   string `json:"reason"`
		Action   string `json:"action"`
		FreshAt  int64  `json:"fresh_at"`
		Progress struct {
			Done  int64 `json:"done"`
			Total int64 `json:"total"`
		} `json:"progress"`
		Search struct {
			Done  int64 `json:"done"`
			Total int64 `json:"total"`
		} `json:"search"`
	} `json:"sync"`
}

// Folder is a folder of a grant.
type Folder struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Attributes  []string `json:"attributes"`
	TotalCount  int      `json:"total_count"`
	UnreadCount int      `json:"unread_count"`
}

// Address is one mailbox of a header field.
type Address struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Message is a message of a grant. RawMIME is set only when asked for, decoded by the caller.
type Message struct {
	ID          string    `json:"id"`
	ThreadID    string    `json:"thread_id"`
	Subject     string    `json:"subject"`
	From        []Address `json:"from"`
	Date        int64     `json:"date"`
	Unread      bool      `json:"unread"`
	Starred     bool      `json:"starred"`
	Folders     []string  `json:"folders"`
	Snippet     string    `json:"snippet"`
	Body        string    `json:"body"`
	BodyPending bool      `json:"body_pending"`
	BodyError   string    `json:"body_error"`
	RawMIME     string    `json:"raw_mime"`
}

// Connect connects a mailbox by its settings.
func (s *Server) Connect(ctx context.Context, settings map[string]any) (Grant, error) {
	var out struct{ Data Grant }
	err := s.Do(ctx, http.MethodPost, "/v3/connect/custom", map[string]any{"provider": "imap", "settings": settings}, &out)
	return out.Data, err
}

// IMAP returns the settings of a plaintext mailbox at addr.
func IMAP(addr, user, password string) map[string]any {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return map[string]any{"imap_host": host, "imap_port": n, "imap_security": "none", "imap_username": user, "imap_password": password}
}

// Grant reads one grant.
func (s *Server) Grant(ctx context.Context, id string) (Grant, error) {
	var out struct{ Data Grant }
	err := s.Get(ctx, "/v3/grants/"+id, &out)
	return out.Data, err
}

// Grants lists all grants.
func (s *Server) Grants(ctx context.Context) ([]Grant, error) {
	var out struct{ Data []Grant }
	err := s.Get(ctx, "/v3/grants?limit=200", &out)
	return out.Data, err
}

// Folders lists all folders of a grant.
func (s *Server) Folders(ctx context.Context, grant string) ([]Folder, error) {
	return pages[Folder](ctx, s, "/v3/grants/"+grant+"/folders", url.Values{"limit": {"200"}})
}

// Messages lists all messages of a grant that match the query, page after page.
func (s *Server) Messages(ctx context.Context, grant string, query url.Values) ([]Message, error) {
	if query == nil {
		query = url.Values{}
	}
	if !query.Has("limit") {
		query.Set("limit", "200")
	}
	return pages[Message](ctx, s, "/v3/grants/"+grant+"/messages", query)
}

func pages[T any](ctx context.Context, s *Server, path string, query url.Values) ([]T, error) {
	var all []T
	for {
		var page struct {
			Data       []T    `json:"data"`
			NextCursor string `json:"next_cursor"`
		}
		if err := s.Get(ctx, path+"?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if page.NextCursor == "" {
			return all, nil
		}
		if page.NextCursor == query.Get("page_token") {
			return nil, fmt.Errorf("%s: the cursor does not move", path)
		}
		query.Set("page_token", page.NextCursor)
	}
}

// Await polls the grant until ok accepts it; the context bounds it.
func (s *Server) Await(ctx context.Context, grant string, ok func(Grant) bool) (Grant, error) {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		g, err := s.Grant(ctx, grant)
		if err == nil && ok(g) {
			return g, nil
		}
		select {
		case <-s.done:
			return g, fmt.Errorf("posthorn serve ended: %v: %s", s.err, s.LogTail())
		case <-ctx.Done():
			return g, fmt.Errorf("%w; last: %+v %v", ctx.Err(), g.Sync, err)
		case <-tick.C:
		}
	}
}

// Live tells whether the initial sync of a grant is complete.
func Live(g Grant) bool { return g.Sync.State == "live" }
