package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

type stubMX map[string]string

func (s stubMX) LookupMX(_ context.Context, d string) ([]*net.MX, error) {
	if d == "flood.example" {
		many := make([]*net.MX, 100_000)
		for i := range many {
			many[i] = &net.MX{Host: strings.Repeat("x.", 100) + "google.com.evil.example.", Pref: uint16(i)}
		}
		return many, nil
	}
	if h, ok := s[d]; ok {
		return []*net.MX{{Host: "backup.example.net.", Pref: 50}, {Host: h, Pref: 10}}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: d, IsNotFound: true}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	mx := stubMX{"xn--bcher-kva.corp.example": "aspmx.l.google.com.", "corp.example": "aspmx.l.google.com.", "firm.example": "firm-example.mail.protection.outlook.com.", "fake.example": "notgoogle.com."}
	for _, c := range []struct{ email, key, source, host string }{
		{"a@gmail.com", "gmail", SourceDomain, "imap.gmail.com"},
		{"a@GoogleMail.com", "gmail", SourceDomain, "imap.gmail.com"},
		{"a@yahoo.co.uk", "yahoo", SourceDomain, "imap.mail.yahoo.com"},
		{"a@hotmail.fr", "microsoft", SourceDomain, "outlook.office365.com"},
		{"a@yahoo.de.evil.com", "", SourceGuess, "imap.yahoo.de.evil.com"},
		{"a@me.com", "icloud", SourceDomain, "imap.mail.me.com"},
		{"a@corp.example", "gmail", SourceMX, "imap.gmail.com"},
		{"a@firm.example", "microsoft", SourceMX, "outlook.office365.com"},
		{"a@fake.example", "", SourceGuess, "imap.fake.example"},
		{"a@other.example", "", SourceGuess, "imap.other.example"},
		{"a@localhost", "", SourceGuess, "localhost"},
		{"a@proton.me", "proton", SourceDomain, ""},
		{"nobody", "", "", ""},
		{"a@bücher.example", "", SourceGuess, "imap.xn--bcher-kva.example"},
		{"a@BÜCHER.corp.example", "gmail", SourceMX, "imap.gmail.com"},
		{"a@my_host.example.", "", SourceGuess, "imap.my_host.example"},
		{"a@[192.0.2.1]", "", SourceGuess, "192.0.2.1"},
		{"a@b c.example", "", "", ""},
		{"a@evil.example/x", "", "", ""},
		{"a@b.example:25", "", "", ""},
		{"a@b\r\nc.example", "", "", ""},
		{"a@b..example", "", "", ""},
		{"a@" + strings.Repeat("x", 64) + ".example", "", "", ""},
		{"a@" + strings.Repeat("x.", 130) + "example", "", "", ""},
		{"a@ü\x00.example", "", "", ""},
		{"a@flood.example", "", SourceGuess, "imap.flood.example"},
	} {
		d := Detect(t.Context(), mx, c.email)
		host := ""
		if len(d.IMAP) > 0 {
			host = d.IMAP[0].Host
		}
		if d.Profile.Key != c.key || d.Source != c.source || host != c.host {
			t.Errorf("Detect(%q) = %q by %q at %q, want %q by %q at %q", c.email, d.Profile.Key, d.Source, host, c.key, c.source, c.host)
		}
	}
}

func TestProfilesAreSound(t *testing.T) {
	t.Parallel()
	seen, domains := map[string]bool{}, map[string]string{}
	for _, p := range Profiles() {
		if seen[p.Key] || p.Key == "" || p.Name == "" || p.Family == "" {
			t.Errorf("profile %q: key, name or family is missing or repeated", p.Key)
		}
		seen[p.Key] = true
		if p.IMAP.Host == "" && p.Hint == "" {
			t.Errorf("%s has neither a host nor a hint", p.Key)
		}
		for _, d := range p.Domains {
			if domains[d] != "" || d != strings.ToLower(d) {
				t.Errorf("%s: domain %s is in %s too, or not in lower case", p.Key, d, domains[d])
			}
			domains[d] = p.Key
		}
		if p.IMAP.Host != "" {
			if got, ok := ByHost(strings.ToUpper(p.IMAP.Host)); !ok || got.IMAP.Host != p.IMAP.Host {
				t.Errorf("ByHost(%s) = %s", p.IMAP.Host, got.Key)
			}
		}
	}
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	show := func(es []mail.Endpoint) string {
		var out []string
		for _, e := range es {
			out = append(out, HostPort(e)+"/"+string(e.Security))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		name       string
		in         mail.Endpoint
		imap, smtp string
	}{
		{"nothing known", mail.Endpoint{Host: "h"}, "h:993/tls h:143/starttls", "h:465/tls h:587/starttls"},
		{"usual port", mail.Endpoint{Host: "h", Port: 143}, "h:143/starttls", "h:143/tls h:143/starttls"},
		{"submission port", mail.Endpoint{Host: "h", Port: 587}, "h:587/tls h:587/starttls", "h:587/starttls"},
		{"odd port is never tried without encryption", mail.Endpoint{Host: "h", Port: 1143}, "h:1143/tls h:1143/starttls", "h:1143/tls h:1143/starttls"},
		{"all said", mail.Endpoint{Host: "h", Port: 993, Security: "none"}, "h:993/none", "h:993/none"},
		{"security alone", mail.Endpoint{Host: "h", Security: "starttls"}, "h:143/starttls", "h:587/starttls"},
		{"tls alone", mail.Endpoint{Host: "h", Security: "tls"}, "h:993/tls", "h:465/tls"},
		{"none alone", mail.Endpoint{Host: "h", Security: "none"}, "h:143/none", "h:587/none"},
	} {
		if got := show(IMAPCandidates(c.in)); got != c.imap {
			t.Errorf("%s: IMAP %s, want %s", c.name, got, c.imap)
		}
		if got := show(SMTPCandidates(c.in)); got != c.smtp {
			t.Errorf("%s: SMTP %s, want %s", c.name, got, c.smtp)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	type row struct {
		name, delim, attr string
		want              mail.Role
	}
	for name, rows := range map[string][]row{
		"special use wins over names": {{"Inbox", "/", "", mail.RoleInbox}, {"Sent", "/", "", ""}, {"Sent Messages", "/", `\Sent`, mail.RoleSent}, {"Trash", "/", `\HasNoChildren`, mail.RoleTrash}},
		"iCloud flags nothing":        {{"INBOX", "/", "", mail.RoleInbox}, {"Drafts", "/", "", mail.RoleDrafts}, {"Archive", "/", "", mail.RoleArchive}, {"Junk", "/", "", mail.RoleJunk}},
		"two candidates, no guess":    {{"Gesendet", "/", "", ""}, {"Gesendete Objekte", "/", "", ""}},
		"plain before localised":      {{"Sent", "/", "", mail.RoleSent}, {"Gesendet", "/", "", ""}},
		"top before nested":           {{"Trash", "/", "", mail.RoleTrash}, {"Old/Trash", "/", "", ""}},
		"under the INBOX namespace":   {{"INBOX", ".", "", mail.RoleInbox}, {"INBOX.Sent", ".", "", mail.RoleSent}, {"INBOX.Entwürfe", ".", "", mail.RoleDrafts}},
		"localised Gmail":             {{"[Gmail]", "/", `\Noselect`, ""}, {"[Gmail]/Papierkorb", "/", `\Trash`, mail.RoleTrash}, {"[Gmail]/Alle Nachrichten", "/", `\All`, mail.RoleAll}},
		"not selectable":              {{"Sent", "/", `\NoSelect`, ""}},
		"no delimiter":                {{"Drafts", "", "", mail.RoleDrafts}, {"A/Sent", "", "", ""}},
		"Yahoo":                       {{"Inbox", "/", "", mail.RoleInbox}, {"Bulk Mail", "/", "", mail.RoleJunk}, {"Draft", "/", "", mail.RoleDrafts}},
	} {
		var in []Listed
		for _, r := range rows {
			in = append(in, Listed{r.name, r.delim, strings.Fields(r.attr)})
		}
		for i, got := range Roles(in) {
			if got != rows[i].want {
				t.Errorf("%s: %s is %q, want %q", name, rows[i].name, got, rows[i].want)
			}
		}
	}
	if RoleOf("inbox", nil) != mail.RoleInbox || RoleOf("INBOX.Trash", nil) != mail.RoleTrash || RoleOf("x", []string{`\Junk`}) != mail.RoleJunk || RoleOf("Projects", nil) != "" {
		t.Error("RoleOf of a single folder")
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16")}, Ports: MailPorts()}
	for _, a := range []string{
		"10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "240.0.0.1",
		"::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "64:ff9b::7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "2001::1", "::7f00:1", "fec0::1",
	} {
		err := g.Check(netip.AddrPortFrom(netip.MustParseAddr(a), 993))
		if !errors.Is(err, ErrEgress) || mail.KindOf(err) != mail.Invalid || !strings.Contains(err.Error(), "POSTHORN_EGRESS_ALLOW") {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range []string{"8.8.8.8:993", "[2606:4700::1]:143", "127.0.0.1:7", "[::ffff:127.0.0.1]:7", "10.1.2.3:8080"} {
		if err := g.Check(netip.MustParseAddrPort(a)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if err := g.Check(netip.MustParseAddrPort("8.8.8.8:22")); err == nil || !strings.Contains(err.Error(), "port 22") {
		t.Errorf("port 22: %v", err)
	}
	if _, err := (Guard{}).DialContext(t.Context(), "tcp", "localhost:1"); !errors.Is(err, ErrEgress) {
		t.Errorf("a name that resolves to loopback: %v", err)
	}
	if _, err := (Guard{}).DialAllowed(t.Context(), "tcp", "8.8.8.8:143"); !errors.Is(err, ErrEgress) {
		t.Errorf("no encryption to a public address: %v", err)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	yahoo, _ := ByDomain("yahoo.com")
	ms, _ := ByDomain("outlook.com")
	peer := func(proto string, sec mail.Security, p Profile) Peer {
		return Peer{Protocol: proto, Endpoint: mail.Endpoint{Host: "mail.test", Port: 1, Security: sec}, Profile: p, Account: "acc"}
	}
	tlsPeer, plainPeer, smtpPeer := peer("IMAP", "tls", Profile{}), peer("IMAP", "starttls", Profile{}), peer("SMTP", "tls", Profile{})
	dial := func(e error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: e} }
	for _, c := range []struct {
		name string
		peer Peer
		err  error
		kind mail.Kind
		says string
	}{
		{"no such host", tlsPeer, dial(&net.DNSError{IsNotFound: true}), mail.Unreachable, "does not exist: check imap_host"},
		{"dns down", tlsPeer, dial(&net.DNSError{IsTimeout: true}), mail.Unreachable, "could not be looked up"},
		{"refused", smtpPeer, dial(syscall.ECONNREFUSED), mail.Unreachable, "SMTP: nothing listens at mail.test:1: check smtp_host"},
		{"no route", tlsPeer, dial(syscall.EHOSTUNREACH), mail.Unreachable, "no network route"},
		{"dial times out", tlsPeer, dial(context.DeadlineExceeded), mail.Unreachable, "cannot be reached"},
		{"silent", plainPeer, &imap.Error{Class: imap.Network, Err: context.DeadlineExceeded}, mail.Unreachable, "set imap_security to tls"},
		{"hung up", plainPeer, &imap.Error{Class: imap.Network, Err: io.EOF}, mail.Unreachable, "closed the connection; if it is a TLS port"},
		{"plaintext port", tlsPeer, &imap.Error{Class: imap.Network, Err: tls.RecordHeaderError{Msg: "x"}}, mail.Unreachable, "answers in plaintext: set imap_security to starttls"},
		{"wrong name", tlsPeer, &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}}, mail.Unreachable, "another host name"},
		{"expired", tlsPeer, &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, mail.Unreachable, "expired"},
		{"self-signed", tlsPeer, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, mail.Unreachable, "POSTHORN_TLS_CA"},
		{"password", tlsPeer, &imap.Error{Class: imap.AuthFailed, Status: "NO", Text: "canary"}, mail.Reauth, "password is wrong"},
		{"app password", peer("IMAP", "tls", yahoo), &imap.Error{Class: imap.AuthFailed, Status: "NO"}, mail.Reauth, "app password"},
		{"oauth only", peer("IMAP", "tls", ms), &imap.Error{Class: imap.AuthFailed, Status: "NO"}, mail.Reauth, "OAuth"},
		{"browser", tlsPeer, &imap.Error{Class: imap.AuthFailed, Status: "NO", Text: "Please log in via your web browser"}, mail.Reauth, "web browser"},
		{"throttled", peer("IMAP", "tls", yahoo), &imap.Error{Class: imap.TransientAccount, Status: "NO"}, mail.Limited, "slow down"},
		{"no starttls", plainPeer, &imap.Error{Class: imap.Permanent, Status: "BAD", Cmd: "STARTTLS"}, mail.Unreachable, "does not offer STARTTLS"},
		{"wants encryption", peer("IMAP", "none", Profile{}), &imap.Error{Class: imap.Permanent, Status: "NO", Code: "PRIVACYREQUIRED"}, mail.Unreachable, "without encryption"},
		{"not imap", tlsPeer, &imap.Error{Class: imap.Protocol, Err: errors.New("canary")}, mail.Unreachable, "does not speak IMAP"},
		{"smtp password", smtpPeer, &smtp.SMTPError{Code: 535, Message: "canary"}, mail.Reauth, "SMTP: the login was refused"},
		{"smtp off", smtpPeer, &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 139}}, mail.Refused, "SMTP AUTH"},
		{"egress", tlsPeer, dial(Guard{}.Check(netip.MustParseAddrPort("10.0.0.1:1"))), mail.Invalid, "IMAP: the host is at a private"},
		{"unknown", tlsPeer, errors.New("canary"), mail.Unavailable, "failed; try again"},
	} {
		got := c.peer.Classify(c.err)
		if got.Kind != c.kind || !strings.Contains(got.Msg, c.says) || got.Account != "acc" {
			t.Errorf("%s: %v %q, want %v %q", c.name, got.Kind, got.Msg, c.kind, c.says)
		}
		if strings.Contains(got.Msg, "canary") {
			t.Errorf("%s: the server's words are in %q", c.name, got.Msg)
		}
	}
	if got := peer("IMAP", "tls", yahoo).Classify(&imap.Error{Class: imap.TransientAccount}); got.After != yahoo.Limits.Cooldown {
		t.Errorf("wait %v", got.After)
	}
	if Classify(nil, mail.Account{}) != nil {
		t.Error("nil became an error")
	}
}
