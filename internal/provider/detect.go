package provider

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/posthorn/posthorn/internal/mail"
)

// Resolver looks up mail exchangers; *net.Resolver is one.
type Resolver interface {
	LookupMX(ctx context.Context, domain string) ([]*net.MX, error)
}

// How a detection came about.
const (
	SourceDomain = "domain" // the address is under a domain we know
	SourceMX     = "mx"     // its mail goes to a provider we know
	SourceGuess  = "guess"  // the usual names under its own domain, to be tried
)

// Detection is what we found out about an address, and how.
type Detection struct {
	Email   string
	Source  string
	Known   bool // Profile is filled
	Profile Profile
	IMAP    []mail.Endpoint // best first; to be tried until one answers
	SMTP    []mail.Endpoint
}

// mxTimeout bounds the one DNS question of Detect: an answer by guessing is better than none.
const mxTimeout = 3 * time.Second

// maxMX bounds how many mail exchangers are looked at; anybody may publish as many as he likes.
const maxMX = 20

// Detect finds out where the mailbox of an address is: by its domain, else by its domain's mail exchanger (res; nil
// skips this), else by guessing names under its domain. It never connects to a mail server, and an address that is
// none yields the zero Detection.
func Detect(ctx context.Context, res Resolver, email string) Detection {
	at := strings.LastIndexByte(email, '@')
	if at < 1 || at == len(email)-1 {
		return Detection{Email: email}
	}
	domain := strings.ToLower(strings.TrimSuffix(email[at+1:], "."))
	d := Detection{Email: email}
	if a, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		d.Source, d.IMAP = SourceGuess, []mail.Endpoint{imaps(a.String())}
		return d
	}
	domain, ok := hostName(domain)
	if !ok {
		return d
	}
	if p, ok := ByDomain(domain); ok {
		return d.known(SourceDomain, p)
	}
	if !strings.Contains(domain, ".") {
		d.Source, d.IMAP = SourceGuess, []mail.Endpoint{imaps(domain)}
		return d
	}
	if res != nil {
		ctx, cancel := context.WithTimeout(ctx, mxTimeout)
		defer cancel()
		mxs, err := res.LookupMX(ctx, domain)
		if err == nil || len(mxs) > 0 {
			slices.SortStableFunc(mxs, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
			for _, mx := range mxs[:min(len(mxs), maxMX)] {
				if p, ok := ByMX(mx.Host); ok {
					return d.known(SourceMX, p)
				}
			}
		}
	}
	d.Source = SourceGuess
	for _, h := range []string{"imap." + domain, "mail." + domain} {
		d.IMAP = append(d.IMAP, imaps(h))
	}
	for _, h := range []string{"imap." + domain, "mail." + domain} {
		d.IMAP = append(d.IMAP, mail.Endpoint{Host: h, Port: 143, Security: mail.SecuritySTARTTLS})
	}
	for _, h := range []string{"smtp." + domain, "mail." + domain} {
		d.SMTP = append(d.SMTP, smtps(h))
	}
	for _, h := range []string{"smtp." + domain, "mail." + domain} {
		d.SMTP = append(d.SMTP, submission(h))
	}
	return d
}

// hostName returns a domain as DNS has it: in ASCII (RFC 5891), of labels of letters, digits, hyphens and underscores
// (RFC 1035 2.3.4, 3.1). It tells whether it is one.
func hostName(domain string) (string, bool) {
	if strings.ContainsFunc(domain, func(r rune) bool { return r >= 0x80 }) {
		var err error
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", false
		}
	}
	if len(domain) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if len(label) == 0 || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", false
		}
	}
	return domain, true
}

func (d Detection) known(source string, p Profile) Detection {
	d.Source, d.Known, d.Profile = source, true, p
	if p.IMAP.Host != "" {
		d.IMAP, d.SMTP = []mail.Endpoint{p.IMAP}, []mail.Endpoint{p.SMTP}
	}
	return d
}

// IMAPCandidates lists the endpoints to try for one whose port or security may be unset, best first: the standard
// ports decide the security, on another port TLS is tried before STARTTLS. An unencrypted connection is never
// guessed.
func IMAPCandidates(e mail.Endpoint) []mail.Endpoint {
	return candidates(e, []int{993, 143}, func(port int) mail.Security {
		switch port {
		case 993:
			return mail.SecurityTLS
		case 143:
			return mail.SecuritySTARTTLS
		}
		return ""
	})
}

// SMTPCandidates is IMAPCandidates for submission: 465 is TLS, 587, 25 and 2525 are STARTTLS (RFC 8314 3.3, 7.3).
func SMTPCandidates(e mail.Endpoint) []mail.Endpoint {
	return candidates(e, []int{465, 587}, func(port int) mail.Security {
		switch port {
		case 465:
			return mail.SecurityTLS
		case 25, 587, 2525:
			return mail.SecuritySTARTTLS
		}
		return ""
	})
}

func candidates(e mail.Endpoint, ports []int, usual func(int) mail.Security) []mail.Endpoint {
	with := func(port int, s mail.Security) mail.Endpoint {
		c := e
		c.Port, c.Security = port, s
		return c
	}
	var out []mail.Endpoint
	if e.Port != 0 {
		ports = []int{e.Port}
	}
	for _, port := range ports {
		s := usual(port)
		switch {
		case e.Security != "" && e.Port != 0:
			return []mail.Endpoint{e}
		case e.Security == mail.SecurityNone: // no port: the one that begins in plaintext
			return []mail.Endpoint{with(ports[1], e.Security)}
		case e.Security != "":
			if s == e.Security {
				return []mail.Endpoint{with(port, s)}
			}
		case s != "":
			out = append(out, with(port, s))
		default:
			out = append(out, with(port, mail.SecurityTLS), with(port, mail.SecuritySTARTTLS))
		}
	}
	return out
}
