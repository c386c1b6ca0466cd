package realsrv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// DovecotOptions choose what kind of server StartDovecot starts. The zero value is a plain, capable one.
type DovecotOptions struct {
	Password  string    // that every user logs in with; default "pass"
	Separator string    // between the levels of a folder name: "/" (default) or "."
	Prefix    string    // of the personal namespace, e.g. "INBOX."; default none
	Format    string    // "maildir" (default), "sdbox" or "mdbox"
	Layout    string    // maildir only: "" for Maildir++, "fs" for nested directories (folder names may hold dots)
	CapsDrop  []string  // capabilities that are not advertised, such as "QRESYNC"
	MaxUserIP int       // connections for one user and address; 0 = no limit
	CertHosts []string  // what the certificate is for; default localhost, 127.0.0.1, ::1
	CertUntil time.Time // when it ends; default tomorrow
	Compress  bool      // COMPRESS=DEFLATE is offered
	NoSpecial bool      // no SPECIAL-USE attributes on Drafts, Sent, Trash, Junk, Archive
	Extra     string    // appended to the configuration
}

// Dovecot is a private Dovecot. Any user exists as soon as it logs in, with the one password; another password is refused at once.
type Dovecot struct {
	IMAP

	opts     DovecotOptions
	uid, gid int // of the mail files
	doveadm  string
}

// StartDovecot starts a private Dovecot and ends it with the test.
func StartDovecot(tb testing.TB, o DovecotOptions) *Dovecot {
	tb.Helper()
	d, err := NewDovecot(o)
	if errors.Is(err, errMissing) {
		missing(tb, "Dovecot (package dovecot-imapd)", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("Dovecot's log:\n%s", d.Log())
		}
		if err := d.Stop(); err != nil {
			tb.Errorf("stop Dovecot: %v", err)
		}
	})
	return d
}

// NewDovecot is StartDovecot for programs that are not tests. The caller stops the server.
func NewDovecot(o DovecotOptions) (*Dovecot, error) {
	bin, err := program("dovecot", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
	if err != nil {
		return nil, err
	}
	doveadm, err := program("doveadm", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
	if err != nil {
		return nil, err
	}
	version, err := exec.Command(bin, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("dovecot --version: %w", err)
	}
	if !strings.HasPrefix(string(version), "2.3") {
		return nil, fmt.Errorf("dovecot 2.3: %w (this is %s)", errMissing, strings.TrimSpace(string(version)))
	}
	dir, err := openDir("posthorn-dovecot-")
	if err != nil {
		return nil, err
	}
	d := &Dovecot{IMAP: newIMAP(dir, "dovecot.log", o.Password), opts: o, doveadm: doveadm, uid: os.Getuid(), gid: os.Getgid()}
	err = d.prepare()
	if err == nil {
		err = d.tryPorts(bin)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return d, nil
}

func (d *Dovecot) prepare() error {
	for _, sub := range []string{"run", "state", "mail", "ssl"} {
		if err := os.Mkdir(filepath.Join(d.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	if os.Getuid() == 0 {
		_, uid, gid, err := lookup("mail", "nobody")
		if err != nil {
			return err
		}
		d.uid, d.gid = uid, gid
		if err := os.Chown(filepath.Join(d.Dir, "mail"), uid, gid); err != nil {
			return err
		}
	}
	return d.certify(d.opts.CertHosts, d.opts.CertUntil)
}

// tryPorts starts the server, with other ports when somebody was faster on the ones chosen.
func (d *Dovecot) tryPorts(bin string) error {
	return d.onFreePorts(func() error {
		if err := os.WriteFile(d.conf(), []byte(d.config()), 0o644); err != nil {
			return err
		}
		return d.start(bin)
	})
}

func (d *Dovecot) conf() string { return filepath.Join(d.Dir, "dovecot.conf") }

// greeting is how we know that the server which answers is ours.
func (d *Dovecot) greeting() string { return filepath.Base(d.Dir) + " ready" }

func (d *Dovecot) start(bin string) error {
	if err := os.RemoveAll(d.logPath()); err != nil {
		return err
	}
	p, err := startProc(d.Dir, "TERM", d.logPath(), nil, bin, "-F", "-c", d.conf())
	if err != nil {
		return err
	}
	d.proc = p
	return d.awaitGreeting("Dovecot", d.greeting())
}

// Resume starts the server again after Pause.
func (d *Dovecot) Resume() error {
	bin, err := program("dovecot", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
	if err != nil {
		return err
	}
	return d.start(bin)
}

// MaildirPath is where the mail of a user lies. With Maildir++ a folder "A/B" is the directory ".A.B" in it, in modified UTF-7.
func (d *Dovecot) MaildirPath(user string) string { return filepath.Join(d.Dir, "mail", user) }

// Chown gives files below path to the user whose processes read them. Call it after writing a Maildir by hand.
func (d *Dovecot) Chown(path string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, d.uid, d.gid)
	})
}

// Doveadm runs the server's own administration tool and returns what it prints.
func (d *Dovecot) Doveadm(tb testing.TB, args ...string) string {
	tb.Helper()
	cmd := exec.Command(d.doveadm, append([]string{"-c", d.conf()}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("doveadm %s: %v %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// capabilities are what Dovecot 2.3 advertises after login.
const capabilities = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS " +
	"THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 " +
	"CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY " +
	"PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE"

func (d *Dovecot) config() string {
	o := d.opts
	var b strings.Builder
	set := func(key string, value any) { fmt.Fprintf(&b, "%s = %v\n", key, value) }
	mail := filepath.Join(d.Dir, "mail", "%u")
	format := o.Format
	if format == "" {
		format = "maildir"
	}
	location := format + ":" + mail
	if o.Layout != "" {
		location += ":LAYOUT=" + o.Layout
	}
	separator := o.Separator
	if separator == "" {
		separator = "/"
	}
	set("base_dir", filepath.Join(d.Dir, "run"))
	set("state_dir", filepath.Join(d.Dir, "state"))
	set("log_path", d.logPath())
	set("login_greeting", d.greeting())
	set("protocols", "imap")
	set("listen", d.Host)
	set("ssl", "yes")
	set("ssl_cert", "<"+filepath.Join(d.Dir, "ssl", "cert.pem"))
	set("ssl_key", "<"+filepath.Join(d.Dir, "ssl", "key.pem"))
	set("disable_plaintext_auth", "no")
	set("auth_mechanisms", "plain login")
	set("auth_failure_delay", "0")
	set("mail_location", location)
	set("mail_uid", d.uid)
	set("mail_gid", d.gid)
	set("first_valid_uid", 1)
	set("first_valid_gid", 1)
	set("mail_fsync", "never")
	set("mail_max_userip_connections", o.MaxUserIP)
	if os.Getuid() != 0 {
		// Everything runs as the one user there is, and cannot change its root directory.
		name := strconv.Itoa(os.Getuid())
		if u, err := lookupUID(os.Getuid()); err == nil {
			name = u
		}
		set("default_internal_user", name)
		if g, err := lookupGID(os.Getgid()); err == nil {
			set("default_internal_group", g)
		}
		set("default_login_user", name)
		b.WriteString("service imap-login {\n  chroot =\n}\nservice anvil {\n  chroot =\n}\nservice stats {\n  chroot =\n}\n")
	}
	if len(o.CapsDrop) > 0 {
		caps := slices.DeleteFunc(strings.Fields(capabilities), func(c string) bool { return slices.Contains(o.CapsDrop, c) })
		set("imap_capability", strings.Join(caps, " "))
	}
	special := func(name string) string {
		if o.NoSpecial {
			return ""
		}
		return fmt.Sprintf("  mailbox %q {\n    special_use = \\%s\n  }\n", name, name)
	}
	fmt.Fprintf(&b, `passdb {
  driver = static
  args = password=%s
}
userdb {
  driver = static
  args = uid=%d gid=%d home=%s
}
namespace inbox {
  inbox = yes
  separator = %s
  prefix = %s
%s}
service imap-login {
  inet_listener imap {
    address = %s
    port = %d
  }
  inet_listener imaps {
    address = %s
    port = %d
    ssl = yes
  }
  service_count = 0
}
service imap {
  process_limit = 512
  service_count = 50
}
# Refused passwords are answered at once, however many there were.
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`, d.Password, d.uid, d.gid, mail, separator, o.Prefix,
		special("Drafts")+special("Sent")+special("Trash")+special("Junk")+special("Archive"),
		d.Host, d.Port, d.Host, d.TLSPort)
	if o.Compress {
		b.WriteString("mail_plugins = $mail_plugins zlib\nprotocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}\n")
	}
	b.WriteString(o.Extra)
	return b.String()
}
