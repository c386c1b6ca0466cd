package realsrv

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// IMAP is what all private IMAP servers have in common.
type IMAP struct {
	Host     string // "127.0.0.1"
	Port     int    // plaintext and STARTTLS
	TLSPort  int    // TLS from the start
	Addr     string // Host:Port
	TLSAddr  string // Host:TLSPort
	CAFile   string // PEM file of the authority that signed the certificate
	Password string // of every user
	Dir      string // everything of this server

	log     string // file in Dir
	proc    *proc
	addUser func(name string) error // nil: users need not be made
}

func newIMAP(dir, log, password string) IMAP {
	if password == "" {
		password = "pass"
	}
	return IMAP{Host: "127.0.0.1", Password: password, Dir: dir, log: filepath.Join(dir, log)}
}

// certify writes the certificate; no hosts mean this machine, no time means tomorrow.
func (d *IMAP) certify(hosts []string, until time.Time) error {
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	if until.IsZero() {
		until = time.Now().Add(24 * time.Hour)
	}
	f, err := writeCert(filepath.Join(d.Dir, "ssl"), hosts, until)
	d.CAFile = f.ca
	return err
}

// onFreePorts calls start with ports chosen, and again with others while somebody was faster on them.
func (d *IMAP) onFreePorts(start func() error) error {
	var err error
	for range 5 {
		var ports []int
		if ports, err = FreePorts(2); err != nil {
			return err
		}
		d.Port, d.TLSPort = ports[0], ports[1]
		d.Addr = net.JoinHostPort(d.Host, strconv.Itoa(d.Port))
		d.TLSAddr = net.JoinHostPort(d.Host, strconv.Itoa(d.TLSPort))
		if err = start(); err == nil || !strings.Contains(err.Error(), "in use") {
			return err
		}
	}
	return err
}

// awaitGreeting waits until the server greets with the text that only ours has, and ends it when it does not.
func (d *IMAP) awaitGreeting(what, text string) error {
	err := await(what, d.logPath(), func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", d.Addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.Contains(line, text) {
			err = fmt.Errorf("address in use by another server: %q", line)
		}
		return err
	})
	if err != nil {
		d.proc.stop(true)
		d.proc = nil
	}
	return err
}

func (d *IMAP) logPath() string { return d.log }

// AddUser makes a user who does not exist yet, on servers where that is needed before the first login.
func (d *IMAP) AddUser(tb testing.TB, user string) {
	tb.Helper()
	if d.addUser == nil {
		return
	}
	if err := d.addUser(user); err != nil {
		tb.Fatal(err)
	}
}

// Stop ends the server and removes its files. It may be called twice.
func (d *IMAP) Stop() error { return d.stop(false) }

// Pause ends the server and keeps its mail; Resume starts it again at the same addresses.
func (d *IMAP) Pause() error { return d.stop(true) }

func (d *IMAP) stop(keep bool) error {
	p := d.proc
	d.proc = nil
	if p == nil {
		if keep {
			return nil
		}
		return os.RemoveAll(d.Dir)
	}
	return p.stop(keep)
}

// Log returns the end of what the server has written to its log.
func (d *IMAP) Log() string {
	b, _ := os.ReadFile(d.logPath())
	return tail(b)
}

// TLSConfig trusts the server's certificate.
func (d *IMAP) TLSConfig(tb testing.TB) *tls.Config {
	tb.Helper()
	pem, err := os.ReadFile(d.CAFile)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		tb.Fatalf("no certificate in %s", d.CAFile)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}
