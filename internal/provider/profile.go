// Package provider knows the mail providers: their hosts, limits, folder names, quirks and the meaning of their errors.
package provider

import (
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Profile is what we know of a provider, as data. The zero value is an unknown, well-behaved one.
type Profile struct {
	Key    string // stable short name, for logs and metrics
	Name   string // for people
	Family string // what other APIs call it: google, microsoft, yahoo, icloud, imap

	IMAP, SMTP mail.Endpoint // Username is never set
	LocalPart  bool          // the IMAP login is the part before the @

	Domains    []string // addresses under these are of this provider; "yahoo.*" stands for every national domain
	MX         []string // host suffixes of the mail exchangers of domains hosted here
	IMAPSuffix []string // host suffixes of its IMAP servers, beside IMAP.Host

	Hint    string // what a user must do before a password works; "" when the normal password does
	HintURL string
	OAuth   bool // passwords are refused altogether

	FilesSent bool // puts what is sent by SMTP into Sent by itself

	Limits Limits
}

// Limits are what the provider bears, or punishes. Zero means unknown.
type Limits struct {
	Conns        int           // connections of one login at once, shared with the user's own programs
	Session      time.Duration // connections are closed, or held against the account, after this long
	Cooldown     time.Duration // after a refusal for too much use
	BytesPerDay  int64         // downloads of one account
	CommandBytes int           // longest command line
	NoQResync    bool          // advertises QRESYNC and gets it wrong
	SendID       bool          // demands ID between login and SELECT
}

func imaps(host string) mail.Endpoint {
	return mail.Endpoint{Host: host, Port: 993, Security: mail.SecurityTLS}
}
func smtps(host string) mail.Endpoint {
	return mail.Endpoint{Host: host, Port: 465, Security: mail.SecurityTLS}
}
func submission(host string) mail.Endpoint {
	return mail.Endpoint{Host: host, Port: 587, Security: mail.SecuritySTARTTLS}
}

const (
	hintIMAPOff = "IMAP must be switched on in the settings of the webmail first, and a password for mail programs made there."
	hintTwoStep = "With two-step login the account's password is refused: make an app password."
)

// Profiles returns all we know, in the order in which they are matched. Each call returns a fresh list.
func Profiles() []Profile {
	return []Profile{
		{
			Key: "gmail", Name: "Gmail", Family: "google", IMAP: imaps("imap.gmail.com"), SMTP: smtps("smtp.gmail.com"),
			Domains: []string{"gmail.com", "googlemail.com"}, MX: []string{"google.com", "googlemail.com"}, IMAPSuffix: []string{"imap.googlemail.com"},
			Hint:    "Google refuses the account's password: switch on 2-Step Verification and make an app password. In a Workspace the administrator may have switched app passwords off.",
			HintURL: "https://myaccount.google.com/apppasswords", FilesSent: true,
			Limits: Limits{Conns: 15, BytesPerDay: 2500 << 20, Cooldown: 10 * time.Minute},
		},
		{
			Key: "microsoft", Name: "Microsoft 365 or Outlook.com", Family: "microsoft", OAuth: true, FilesSent: true,
			IMAP: imaps("outlook.office365.com"), SMTP: submission("smtp.office365.com"),
			Domains:    []string{"outlook.*", "hotmail.*", "live.*", "msn.com", "passport.com"},
			MX:         []string{"mail.protection.outlook.com", "olc.protection.outlook.com", "mx.microsoft"},
			IMAPSuffix: []string{"imap-mail.outlook.com", "office365.com"},
			Hint:       "Microsoft refuses passwords for IMAP altogether, app passwords too: only a login by OAuth works there.",
			Limits:     Limits{Conns: 8, Cooldown: 5 * time.Minute},
		},
		{
			Key: "yahoo", Name: "Yahoo", Family: "yahoo", IMAP: imaps("imap.mail.yahoo.com"), SMTP: smtps("smtp.mail.yahoo.com"),
			Domains: []string{"yahoo.*", "ymail.com", "rocketmail.com", "myyahoo.com"}, MX: []string{"yahoodns.net"}, IMAPSuffix: []string{"mail.yahoo.com"},
			Hint: "Yahoo refuses the account's password: make an app password under Account Security.", HintURL: "https://login.yahoo.com/account/security",
			Limits: Limits{Conns: 10, Session: 25 * time.Second, Cooldown: 5 * time.Minute, CommandBytes: 1000},
		},
		{
			Key: "aol", Name: "AOL", Family: "yahoo", IMAP: imaps("imap.aol.com"), SMTP: smtps("smtp.aol.com"),
			Domains: []string{"aol.*", "aim.com", "verizon.net"},
			Hint:    "AOL refuses the account's password: make an app password under Account Security.", HintURL: "https://login.aol.com/account/security",
			Limits: Limits{Conns: 10, Session: 25 * time.Second, Cooldown: 5 * time.Minute, CommandBytes: 1000},
		},
		{
			Key: "icloud", Name: "iCloud", Family: "icloud", IMAP: imaps("imap.mail.me.com"), SMTP: submission("smtp.mail.me.com"), LocalPart: true,
			Domains: []string{"icloud.com", "me.com", "mac.com"}, MX: []string{"mail.icloud.com"},
			Hint: "Apple refuses the account's password: make an app-specific password.", HintURL: "https://account.apple.com",
			Limits: Limits{Conns: 10, NoQResync: true},
		},
		{
			Key: "fastmail", Name: "Fastmail", Family: "imap", IMAP: imaps("imap.fastmail.com"), SMTP: smtps("smtp.fastmail.com"),
			Domains: []string{"fastmail.com", "fastmail.fm", "fastmail.net", "fastmail.org", "sent.com"}, MX: []string{"messagingengine.com"},
			Hint: "Fastmail refuses the account's password: make an app password.", HintURL: "https://app.fastmail.com/settings/security",
		},
		{
			Key: "zoho-eu", Name: "Zoho (EU)", Family: "imap", IMAP: imaps("imap.zoho.eu"), SMTP: smtps("smtp.zoho.eu"),
			Domains: []string{"zohomail.eu", "zoho.eu"}, MX: []string{"zoho.eu"}, Hint: hintIMAPOff + " " + hintTwoStep,
		},
		{
			Key: "zoho-in", Name: "Zoho (India)", Family: "imap", IMAP: imaps("imap.zoho.in"), SMTP: smtps("smtp.zoho.in"),
			Domains: []string{"zohomail.in", "zoho.in"}, MX: []string{"zoho.in"}, Hint: hintIMAPOff + " " + hintTwoStep,
		},
		{
			Key: "zoho", Name: "Zoho", Family: "imap", IMAP: imaps("imap.zoho.com"), SMTP: smtps("smtp.zoho.com"),
			Domains: []string{"zoho.com", "zohomail.com"}, MX: []string{"zoho.com"}, IMAPSuffix: []string{"imappro.zoho.com"}, Hint: hintIMAPOff + " " + hintTwoStep,
		},
		{
			Key: "gmx", Name: "GMX", Family: "imap", IMAP: imaps("imap.gmx.net"), SMTP: submission("mail.gmx.net"),
			Domains: []string{"gmx.de", "gmx.net", "gmx.at", "gmx.ch", "gmx.eu"}, MX: []string{"gmx.net"}, Hint: hintIMAPOff,
		},
		{
			Key: "gmx-com", Name: "GMX", Family: "imap", IMAP: imaps("imap.gmx.com"), SMTP: submission("mail.gmx.com"),
			Domains: []string{"gmx.com", "gmx.us", "gmx.co.uk", "gmx.fr", "gmx.es"}, Hint: hintIMAPOff,
		},
		{
			Key: "webde", Name: "WEB.DE", Family: "imap", IMAP: imaps("imap.web.de"), SMTP: submission("smtp.web.de"), LocalPart: true,
			Domains: []string{"web.de"}, MX: []string{"web.de"}, Hint: hintIMAPOff,
		},
		{
			Key: "mailru", Name: "Mail.ru", Family: "imap", IMAP: imaps("imap.mail.ru"), SMTP: smtps("smtp.mail.ru"),
			Domains: []string{"mail.ru", "inbox.ru", "list.ru", "bk.ru", "internet.ru"}, MX: []string{"mail.ru"},
			Hint: "Mail.ru refuses the account's password: make a password for external applications.",
		},
		{
			Key: "yandex", Name: "Yandex", Family: "imap", IMAP: imaps("imap.yandex.com"), SMTP: smtps("smtp.yandex.com"),
			Domains: []string{"yandex.*", "ya.ru", "narod.ru"}, MX: []string{"yandex.net", "yandex.ru"}, IMAPSuffix: []string{"imap.yandex.ru"}, Hint: hintIMAPOff,
		},
		{
			Key: "exmail", Name: "Tencent Exmail", Family: "imap", IMAP: imaps("imap.exmail.qq.com"), SMTP: smtps("smtp.exmail.qq.com"),
			MX: []string{"mxbiz1.qq.com", "mxbiz2.qq.com", "exmail.qq.com"}, Hint: hintIMAPOff, Limits: Limits{SendID: true},
		},
		{
			Key: "qq", Name: "QQ Mail", Family: "imap", IMAP: imaps("imap.qq.com"), SMTP: smtps("smtp.qq.com"),
			Domains: []string{"qq.com", "foxmail.com", "vip.qq.com"},
			Hint:    "QQ Mail wants an authorisation code instead of the password: switch IMAP on in its settings to get one.", Limits: Limits{SendID: true},
		},
		netease("163", "163.com"), netease("126", "126.com"), netease("yeah", "yeah.net"),
		{
			Key: "t-online", Name: "T-Online", Family: "imap", IMAP: imaps("secureimap.t-online.de"), SMTP: smtps("securesmtp.t-online.de"),
			Domains: []string{"t-online.de", "magenta.de"}, MX: []string{"t-online.de"},
			Hint: "T-Online wants the separate e-mail password, which is set in its customer centre.",
		},
		{
			Key: "naver", Name: "Naver", Family: "imap", IMAP: imaps("imap.naver.com"), SMTP: submission("smtp.naver.com"), LocalPart: true,
			Domains: []string{"naver.com"}, Hint: hintIMAPOff,
		},
		{
			Key: "daum", Name: "Daum", Family: "imap", IMAP: imaps("imap.daum.net"), SMTP: smtps("smtp.daum.net"),
			Domains: []string{"daum.net", "hanmail.net"}, Hint: hintIMAPOff,
		},
		{
			Key: "freefr", Name: "Free", Family: "imap", IMAP: imaps("imap.free.fr"), SMTP: smtps("smtp.free.fr"), LocalPart: true,
			Domains: []string{"free.fr"},
		},
		{Key: "orange", Name: "Orange", Family: "imap", IMAP: imaps("imap.orange.fr"), SMTP: smtps("smtp.orange.fr"), Domains: []string{"orange.fr", "wanadoo.fr"}},
		{Key: "seznam", Name: "Seznam", Family: "imap", IMAP: imaps("imap.seznam.cz"), SMTP: smtps("smtp.seznam.cz"), Domains: []string{"seznam.cz", "email.cz", "post.cz"}, MX: []string{"seznam.cz"}},
		{Key: "posteo", Name: "Posteo", Family: "imap", IMAP: imaps("posteo.de"), SMTP: smtps("posteo.de"), Domains: []string{"posteo.de", "posteo.net"}},
		{Key: "mailbox", Name: "mailbox.org", Family: "imap", IMAP: imaps("imap.mailbox.org"), SMTP: smtps("smtp.mailbox.org"), Domains: []string{"mailbox.org"}, MX: []string{"mailbox.org"}},
		{Key: "ionos", Name: "IONOS", Family: "imap", IMAP: imaps("imap.ionos.de"), SMTP: smtps("smtp.ionos.de"), MX: []string{"kundenserver.de"}, IMAPSuffix: []string{"1und1.de", "ionos.com"}},
		{Key: "strato", Name: "STRATO", Family: "imap", IMAP: imaps("imap.strato.de"), SMTP: smtps("smtp.strato.de"), MX: []string{"rzone.de"}},
		{Key: "ovh", Name: "OVH", Family: "imap", IMAP: imaps("ssl0.ovh.net"), SMTP: smtps("ssl0.ovh.net"), MX: []string{"ovh.net"}},
		{Key: "godaddy", Name: "GoDaddy", Family: "imap", IMAP: imaps("imap.secureserver.net"), SMTP: smtps("smtpout.secureserver.net"), MX: []string{"secureserver.net"}},
		{Key: "rackspace", Name: "Rackspace", Family: "imap", IMAP: imaps("secure.emailsrvr.com"), SMTP: smtps("secure.emailsrvr.com"), MX: []string{"emailsrvr.com"}, Limits: Limits{Conns: 16}},
		{
			Key: "proton", Name: "Proton", Family: "imap", Domains: []string{"proton.me", "protonmail.com", "protonmail.ch", "pm.me"}, MX: []string{"protonmail.ch"},
			Hint: "Proton has no IMAP server of its own: it can only be reached through Proton Mail Bridge, with the host, port and password that Bridge shows.",
		},
	}
}

func netease(key, domain string) Profile {
	return Profile{
		Key: key, Name: domain, Family: "imap", IMAP: imaps("imap." + domain), SMTP: smtps("smtp." + domain),
		Domains: []string{domain, "vip." + domain}, MX: []string{key + "mx." + domain},
		Hint:   domain + " wants an authorisation code instead of the password: switch IMAP on in its settings to get one.",
		Limits: Limits{SendID: true},
	}
}

// under tells whether host is domain or below it. A domain ending in ".*" stands for any national ending of one or
// two labels ("yahoo.*" holds yahoo.de and yahoo.co.uk, not yahoo.example.evil.com).
func under(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

func isDomain(host, domain string) bool {
	base, wild := strings.CutSuffix(domain, ".*")
	if !wild {
		return host == domain
	}
	rest, ok := strings.CutPrefix(host, base+".")
	if !ok {
		return false
	}
	labels := strings.Split(rest, ".")
	switch len(labels) {
	case 1:
		return labels[0] == "com" || len(labels[0]) == 2
	case 2:
		return (labels[0] == "co" || labels[0] == "com") && len(labels[1]) == 2
	}
	return false
}

// ByDomain returns the profile of an address's domain.
func ByDomain(domain string) (Profile, bool) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	for _, p := range Profiles() {
		for _, d := range p.Domains {
			if isDomain(domain, d) {
				return p, true
			}
		}
	}
	return Profile{}, false
}

// ByMX returns the profile of the provider whose mail exchanger host is.
func ByMX(host string) (Profile, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, p := range Profiles() {
		for _, d := range p.MX {
			if under(host, d) {
				return p, true
			}
		}
	}
	return Profile{}, false
}

// ByHost returns the profile of the provider whose IMAP server host is.
func ByHost(host string) (Profile, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, p := range Profiles() {
		if p.IMAP.Host != "" && host == p.IMAP.Host {
			return p, true
		}
		for _, d := range p.IMAPSuffix {
			if under(host, d) {
				return p, true
			}
		}
	}
	return Profile{}, false
}

// For returns the profile of an account: by its IMAP host, for that is the machine whose limits count.
func For(a mail.Account) Profile {
	p, _ := ByHost(a.Settings.IMAP.Host)
	return p
}

// ByKey returns the profile named key.
func ByKey(key string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Key == key {
			return p, true
		}
	}
	return Profile{}, false
}
