package imap

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/test/realsrv"
)

// server is a real one that the tests of commands run against.
type server struct {
	*realsrv.IMAP
	vendor  string           // as it calls itself in ID
	dovecot *realsrv.Dovecot // nil: it is a Cyrus
}

// onServers runs a test against each real server. o is how Dovecot is set up; Cyrus is always set up alike.
func onServers(t *testing.T, o realsrv.DovecotOptions, test func(*testing.T, server)) {
	t.Run("dovecot", func(t *testing.T) {
		t.Parallel()
		d := realsrv.StartDovecot(t, o)
		test(t, server{&d.IMAP, "Dovecot", d})
	})
	t.Run("cyrus", func(t *testing.T) {
		t.Parallel()
		c := realsrv.StartCyrus(t, realsrv.CyrusOptions{Password: o.Password})
		test(t, server{&c.IMAP, "Cyrus", nil})
	})
}

// extensions says which real server proves what we use, by the capability's name. What neither has is played by a script,
// in which the word must stand.
var extensions = []struct{ name, where string }{
	{"APPENDLIMIT=4294967295", "cyrus"},
	{"AUTH=LOGIN", "dovecot cyrus"},
	{"AUTH=OAUTHBEARER", "dovecot"},
	{"AUTH=PLAIN", "dovecot cyrus"},
	{"AUTH=SCRAM-SHA-256", "dovecot cyrus"},
	{"AUTH=XOAUTH2", "dovecot"},
	{"BINARY", "dovecot cyrus"},
	{"CHILDREN", "dovecot cyrus"},
	{"COMPRESS=DEFLATE", "dovecot cyrus"},
	{"CONDSTORE", "dovecot cyrus"},
	{"CREATE-SPECIAL-USE", "cyrus"},
	{"ENABLE", "dovecot cyrus"},
	{"ESEARCH", "dovecot cyrus"},
	{"ID", "dovecot cyrus"},
	{"IDLE", "dovecot cyrus"},
	{"LIST-EXTENDED", "dovecot cyrus"},
	{"LIST-STATUS", "dovecot cyrus"},
	{"LITERAL+", "dovecot cyrus"},
	{"LITERAL-", "script"},
	{"MESSAGELIMIT", "script"},
	{"MOVE", "dovecot cyrus"},
	{"MULTIAPPEND", "dovecot cyrus"},
	{"NAMESPACE", "dovecot cyrus"},
	{"NOTIFY", "dovecot"},
	{"OBJECTID", "cyrus"},
	{"PARTIAL", "script"},
	{"QRESYNC", "dovecot cyrus"},
	{"QUOTA", "dovecot cyrus"},
	{"REPLACE", "script"},
	{"SASL-IR", "dovecot cyrus"},
	{"SEARCHRES", "dovecot"},
	{"SPECIAL-USE", "dovecot cyrus"},
	{"STARTTLS", "dovecot cyrus"},
	{"STATUS=SIZE", "dovecot cyrus"},
	{"UIDONLY", "script"},
	{"UIDPLUS", "dovecot cyrus"},
	{"UNSELECT", "dovecot cyrus"},
	{"UTF8=ACCEPT", "script"},
	{"X-GM-EXT-1", "script"},
}

// withAll makes Dovecot offer everything it can.
const withAll = "auth_mechanisms = plain login scram-sha-256\nmail_plugins = $mail_plugins zlib quota\n" +
	"protocol imap {\n  mail_plugins = $mail_plugins imap_zlib imap_quota\n}\nplugin {\n  quota = maildir:User quota\n}\n"

// TestServersOffer holds the table of what is proven where against the servers, so that no test can lose its subject unseen.
func TestServersOffer(t *testing.T) {
	t.Parallel()
	tokens, _ := withTokens(t)
	onServers(t, realsrv.DovecotOptions{Extra: withAll + tokens}, func(t *testing.T, d server) {
		d.AddUser(t, "ann")
		offers := map[string]bool{}
		for _, sec := range []Security{TLS, Plain} {
			o := Options{Addr: d.TLSAddr, ServerName: "localhost", TLS: d.TLSConfig(t), Security: sec}
			if sec == Plain {
				o.Addr = d.Addr
			}
			s := must[*Session](t)(Dial(context.Background(), o))
			for _, login := range []bool{false, true} {
				if login {
					check(t, s.Login(context.Background(), "ann", d.Password))
				}
				for _, name := range s.Caps().Names() {
					offers[name] = true
				}
			}
			check(t, s.Logout(context.Background()))
		}
		for _, x := range extensions {
			if want := strings.Contains(x.where, strings.ToLower(d.vendor)); offers[x.name] != want {
				t.Errorf("%s offers %s: %v, the table says %v", d.vendor, x.name, offers[x.name], want)
			}
		}
	})
	var scripts strings.Builder
	files, err := filepath.Glob("testdata/script/*.txt")
	check(t, err)
	for _, f := range append(files, "quirks_test.go", "script_test.go", "limits_test.go", "append_test.go") {
		scripts.Write(must[[]byte](t)(os.ReadFile(f)))
	}
	for _, x := range extensions {
		if x.where == "script" && !strings.Contains(scripts.String(), x.name) {
			t.Errorf("%s is proven nowhere", x.name)
		}
	}
}
