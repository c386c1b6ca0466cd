package realsrv

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sample = "From: a@example.com\r\nTo: b@example.com\r\nSubject: hello\r\n\r\nbody\r\n"

func TestDovecotHoldsMail(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{})
	when := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	if uid := d.Append(t, "bob@example.com", "Räume & \"Türen\"", []byte(sample), []string{`\Seen`, "$Label"}, when); uid != 1 {
		t.Errorf("uid %d", uid)
	}
	d.Append(t, "bob@example.com", "INBOX", []byte(sample), nil, time.Time{})
	d.CreateFolder(t, "bob@example.com", "Empty")
	all := d.Everything(t, "bob@example.com")
	if len(all) != 2 {
		t.Fatalf("%d messages: %v", len(all), all)
	}
	i := slices.IndexFunc(all, func(r Remote) bool { return r.Folder == "Räume & \"Türen\"" })
	if i < 0 || all[i].SHA256 != sha256.Sum256([]byte(sample)) || !slices.Equal(all[i].Flags, []string{"$Label", `\Seen`}) || all[i].UIDValidity == 0 {
		t.Errorf("got %+v", all)
	}
	if got := d.Doveadm(t, "mailbox", "list", "-u", "bob@example.com"); !strings.Contains(got, "Empty") {
		t.Errorf("doveadm lists %q", got)
	}
}

func TestDovecotRefusesPassword(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{Password: "sesame", Separator: ".", Prefix: "INBOX.", CapsDrop: []string{"QRESYNC"}})
	s := d.Login(t, "eve")
	if _, status := s.Try("CAPABILITY"); !strings.HasPrefix(status, "OK") {
		t.Error(status)
	}
	for _, row := range s.Do("CAPABILITY") {
		if strings.Contains(row.Text, "QRESYNC") || !strings.Contains(row.Text, "CONDSTORE") {
			t.Error(row.Text)
		}
	}
	s.Append("INBOX.a.b", []byte(sample), nil, time.Time{})
	conn, err := tls.Dial("tcp", d.TLSAddr, d.TLSConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	for range 3 {
		conn.Write([]byte("a LOGIN eve wrong\r\n"))
	}
	buf := make([]byte, 4096)
	var got string
	for strings.Count(got, "a NO [AUTHENTICATIONFAILED]") < 3 {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got += string(buf[:n])
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("three refusals took %v", took)
	}
}

func TestDovecotPauseResume(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{Format: "sdbox"})
	d.Append(t, "bob", "INBOX", []byte(sample), nil, time.Time{})
	if err := d.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := d.Resume(); err != nil {
		t.Fatal(err)
	}
	if all := d.Everything(t, "bob"); len(all) != 1 {
		t.Errorf("%d messages", len(all))
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.Dir); !os.IsNotExist(err) {
		t.Errorf("files left: %v", err)
	}
}

func TestCyrusHoldsMail(t *testing.T) {
	t.Parallel()
	c := StartCyrus(t, CyrusOptions{CapsDrop: []string{"QRESYNC"}})
	c.CreateFolder(t, "bob", "a/b")
	c.CreateFolder(t, "bob", "Räume & Türen")
	c.Append(t, "bob", "Räume & Türen", []byte(sample), []string{`\Seen`, "$Label"}, time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC))
	s := c.Login(t, "bob")
	if rows := s.Do("CAPABILITY"); strings.Contains(rows[0].Text, "QRESYNC") || !strings.Contains(rows[0].Text, "CONDSTORE") {
		t.Error(rows[0].Text)
	}
	conn, err := tls.Dial("tcp", c.TLSAddr, c.TLSConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("a LOGIN bob wrong\r\nb LOGOUT\r\n"))
	if got, err := io.ReadAll(conn); !strings.Contains(string(got), "a NO") {
		t.Errorf("%q, %v", got, err)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	all := c.Everything(t, "bob")
	if len(all) != 1 || all[0].SHA256 != sha256.Sum256([]byte(sample)) || !slices.Equal(all[0].Flags, []string{"$Label", `\Seen`}) {
		t.Errorf("got %+v", all)
	}
	names := ""
	for _, f := range c.Login(t, "bob").Folders() {
		names += f.Name + " "
	}
	if !strings.Contains(names, "a/b") || !strings.Contains(names, "Sent") {
		t.Error(names)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Errorf("files left: %v", err)
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("database", func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			conn, err := pgx.Connect(ctx, StartPostgres(t).URL(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(ctx)
			if _, err := conn.Exec(ctx, "CREATE TABLE a (b int)"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, raw string }{
		{"INBOX", "INBOX"}, {"Entwürfe", "Entw&APw-rfe"}, {"a & b", "a &- b"}, {"台北", "&U,BTFw-"}, {"😀x", "&2D3eAA-x"}, {"é&", "&AOk-&-"},
	} {
		if got := EncodeName(c.name); got != c.raw {
			t.Errorf("%q: %q", c.name, got)
		}
		if got := DecodeName(c.raw); got != c.name {
			t.Errorf("%q: %q", c.raw, got)
		}
	}
}
