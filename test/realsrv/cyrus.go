package realsrv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// CyrusOptions choose what kind of server StartCyrus starts. The zero value is a plain, capable one.
type CyrusOptions struct {
	Password string   // that every user logs in with; default "pass"
	CapsDrop []string // capabilities that are not advertised, such as "QRESYNC"
	Quota    int      // KiB a user may store; 0 = 1 GiB
	Prefixed bool     // a user's folders lie below "INBOX.", and "." is between the levels of their names
	Extra    string   // appended to imapd.conf
}

// Cyrus is a private Cyrus IMAP server. Users are made by AddUser, which Login also does; their mailboxes appear at the first
// login. Mail directories are nested, names have "/" between their levels unless they are prefixed, and the special folders carry their uses.
type Cyrus struct {
	IMAP

	opts  CyrusOptions
	as    *syscall.Credential // who the server runs as; nil: we
	user  string
	tools string // where its programs are

	mu    sync.Mutex
	users map[string]bool
}

// StartCyrus starts a private Cyrus and ends it with the test.
func StartCyrus(tb testing.TB, o CyrusOptions) *Cyrus {
	tb.Helper()
	c, err := NewCyrus(o)
	if errors.Is(err, errMissing) {
		missing(tb, "Cyrus (packages cyrus-imapd and sasl2-bin)", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("Cyrus' log:\n%s", c.Log())
		}
		if err := c.Stop(); err != nil {
			tb.Errorf("stop Cyrus: %v", err)
		}
	})
	return c
}

// NewCyrus is StartCyrus for programs that are not tests. The caller stops the server.
func NewCyrus(o CyrusOptions) (*Cyrus, error) {
	tool, err := program("ctl_cyrusdb", "/usr/lib/cyrus/bin", "/usr/libexec/cyrus-imapd", "/usr/cyrus/bin")
	if err != nil {
		return nil, err
	}
	if _, err := program("saslpasswd2", "/usr/sbin", "/usr/local/sbin"); err != nil {
		return nil, err
	}
	dir, err := openDir("posthorn-cyrus-")
	if err != nil {
		return nil, err
	}
	c := &Cyrus{IMAP: newIMAP(dir, "cyrus.log", o.Password), opts: o, tools: filepath.Dir(tool), users: map[string]bool{}}
	c.addUser = c.makeUser
	if err = c.prepare(); err == nil {
		err = c.onFreePorts(func() error {
			if err := c.configure(); err != nil {
				return err
			}
			return c.start()
		})
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return c, nil
}

func (c *Cyrus) path(name string) string { return filepath.Join(c.Dir, name) }

// prepare makes the directories, all of them the server's own.
func (c *Cyrus) prepare() error {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		name, u, g, err := lookup("cyrus", "nobody")
		if err != nil {
			return err
		}
		c.user, uid, gid = name, u, g
		c.as = &syscall.Credential{Uid: uint32(u), Gid: uint32(g)}
	} else {
		name, err := lookupUID(uid)
		if err != nil {
			return err
		}
		c.user = name
	}
	for _, sub := range []string{"conf", "conf/socket", "mail", "run", "ssl"} {
		if err := os.Mkdir(c.path(sub), 0o755); err != nil {
			return err
		}
	}
	if err := c.certify(nil, time.Time{}); err != nil {
		return err
	}
	if c.as == nil {
		return nil
	}
	return filepath.WalkDir(c.Dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, uid, gid)
	})
}

// configure writes imapd.conf and cyrus.conf.
func (c *Cyrus) configure() error {
	var b strings.Builder
	set := func(key string, value any) { fmt.Fprintf(&b, "%s: %v\n", key, value) }
	quota := c.opts.Quota
	if quota == 0 {
		quota = 1 << 20
	}
	set("configdirectory", c.path("conf"))
	set("defaultpartition", "default")
	set("partition-default", c.path("mail"))
	set("servername", c.name())
	set("cyrus_user", c.user)
	set("sasl_pwcheck_method", "auxprop")
	set("sasl_auxprop_plugin", "sasldb")
	set("sasl_sasldb_path", c.path("sasldb"))
	set("sasl_mech_list", "PLAIN LOGIN SCRAM-SHA-256")
	set("allowplaintext", "yes")
	set("tls_server_cert", c.path("ssl/cert.pem"))
	set("tls_server_key", c.path("ssl/key.pem"))
	set("tls_session_timeout", 0)
	alt := "yes"
	if c.opts.Prefixed {
		alt = "no"
	}
	set("altnamespace", alt)
	set("unixhierarchysep", alt)
	set("autocreate_quota", quota)
	special := []string{"Drafts", "Sent", "Trash", "Junk", "Archive"}
	set("autocreate_inbox_folders", strings.Join(special, "|"))
	set("autocreate_subscribe_folders", strings.Join(special, "|"))
	for _, f := range special {
		set("xlist-"+strings.ToLower(f), f)
	}
	set("specialusealways", "yes")
	set("conversations", "yes") // THREADID
	set("duplicatesuppression", "no")
	set("skiplist_unsafe", "yes") // no fsync
	set("maxlogins_per_user", 0)
	set("proc_path", c.path("run/proc"))
	set("mboxname_lockpath", c.path("run/lock"))
	set("idlesocket", c.path("conf/socket/idle")) // each imapd puts its own beside it
	if len(c.opts.CapsDrop) > 0 {
		set("suppress_capabilities", strings.Join(c.opts.CapsDrop, " "))
	}
	b.WriteString(c.opts.Extra)
	if err := os.WriteFile(c.path("imapd.conf"), []byte(b.String()), 0o644); err != nil {
		return err
	}
	// Cyrus splits a command at blanks only, so a path in it has none: openDir makes such.
	conf := fmt.Sprintf(`START {
  recover cmd="%[1]s/ctl_cyrusdb -C %[2]s -r"
}
SERVICES {
  imap cmd="%[1]s/imapd -C %[2]s" listen="%[3]s:%[4]d" prefork=0 maxchild=500
  imaps cmd="%[1]s/imapd -s -C %[2]s" listen="%[3]s:%[5]d" prefork=0 maxchild=500
}
EVENTS {
}
DAEMON {
  idled cmd="%[1]s/idled -C %[2]s"
}
`, c.tools, c.path("imapd.conf"), c.Host, c.Port, c.TLSPort)
	return os.WriteFile(c.path("cyrus.conf"), []byte(conf), 0o644)
}

// name is how we know that the server which answers is ours; it stands in the greeting.
func (c *Cyrus) name() string { return filepath.Base(c.Dir) }

func (c *Cyrus) start() error {
	p, err := startProc(c.Dir, "TERM", c.logPath(), c.as, filepath.Join(c.tools, "master"),
		"-C", c.path("imapd.conf"), "-M", c.path("cyrus.conf"), "-p", c.path("run/master.pid"))
	if err != nil {
		return err
	}
	c.proc = p
	return c.awaitGreeting("Cyrus", c.name())
}

// Resume starts the server again after Pause.
func (c *Cyrus) Resume() error { return c.start() }

// makeUser gives a user the one password, once.
func (c *Cyrus) makeUser(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users[name] {
		return nil
	}
	bin, err := program("saslpasswd2", "/usr/sbin", "/usr/local/sbin")
	if err != nil {
		return err
	}
	cmd := exec.Command(bin, "-p", "-c", "-f", c.path("sasldb"), "-u", c.name(), name)
	cmd.Stdin = strings.NewReader(c.Password)
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("saslpasswd2 %s: %w %s", strconv.Quote(name), err, out)
	}
	c.users[name] = true
	return nil
}
