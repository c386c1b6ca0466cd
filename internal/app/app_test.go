package app

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/realsrv"
)

func config(t *testing.T) Config {
	return Config{Data: t.TempDir(), Listen: "127.0.0.1:0", APIKey: "test-key"}
}

// TestStartSaysWhatIsWrong: a server that cannot start names the setting.
func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		key   string
		wrong func(*Config)
	}{
		{"POSTHORN_LISTEN", func(c *Config) { c.Listen = l.Addr().String() }},
		{"POSTHORN_ADMIN_LISTEN", func(c *Config) { c.AdminListen = l.Addr().String() }},
		{"POSTHORN_EVENT_RETENTION", func(c *Config) { c.EventRetention = time.Hour }},
		{"POSTHORN_EGRESS_ALLOW", func(c *Config) { c.EgressAllow = "everywhere" }},
		{"POSTHORN_TLS_CA", func(c *Config) { c.TLSCA = "/nonexistent" }},
	} {
		conf := config(t)
		c.wrong(&conf)
		a, err := New(t.Context(), conf, slog.New(slog.DiscardHandler))
		if err == nil {
			a.Stop(t.Context())
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.key) {
			t.Errorf("%s: %v", c.key, err)
		}
	}
}

// TestStopEndsStreams: stopping does not wait for those who wait for events, and they see a clean end.
func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	a, err := New(t.Context(), config(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(path, accept string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+a.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer test-key")
		req.Header.Set("Accept", accept)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	s := ask("/v3/events", "text/event-stream")
	defer s.Body.Close()
	r := bufio.NewReader(s.Body)
	if line, err := r.ReadString('\n'); err != nil || line != "retry: 2000\n" {
		t.Fatal(line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a.Stop(ctx)
	if ctx.Err() != nil {
		t.Error("stopping waited for a stream")
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
}

// TestAnotherServerTakesTheDatabase: a server whose lock another one has taken says so and wants to end.
func TestAnotherServerTakesTheDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := config(t)
	c.DatabaseURL = realsrv.StartPostgres(t).URL(t)
	a, err := New(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(ctx, c.DatabaseURL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	other, admin := connect(), connect()
	taken := make(chan error, 1)
	go func() {
		_, err := other.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended('posthorn:' || current_schema(), 0))")
		taken <- err
	}()
	for ended := 0; ended == 0; { // when the other one waits, the lock is its next
		if err := admin.QueryRow(ctx, "SELECT count(pg_terminate_backend(b)) FROM unnest(pg_blocking_pids($1::int)) b", other.PgConn().PID()).Scan(&ended); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-a.Failed():
		if !mail.IsKind(err, mail.Conflict) || !strings.Contains(err.Error(), "another Posthorn server has taken this database") {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the server goes on")
	}
}
