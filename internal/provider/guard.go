package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// Guard decides which addresses we may connect to on behalf of a tenant. It looks at the final address that is
// dialled, after DNS and redirects, so that no name can lead around it.
type Guard struct {
	Allow []netip.Prefix // private ranges that may be reached (POSTHORN_EGRESS_ALLOW)
	Ports []int          // ports that may be reached outside Allow; none: all
}

// MailPorts are the ports of IMAP and of submission.
func MailPorts() []int { return []int{993, 143, 465, 587, 25, 2525} }

// ErrEgress is in the chain of every refusal of a Guard.
var ErrEgress = errors.New("address not allowed")

// nonPublic are the ranges beside those that netip knows (IANA special-purpose address registries).
func nonPublic() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10", "::/96",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Public tells whether an address belongs to the open Internet: not private, loopback, link-local, shared (CGNAT),
// translated (NAT64, 6to4, Teredo), multicast, reserved or unspecified.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.Zone() != "" {
		return false
	}
	for _, p := range nonPublic() {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// Allowed tells whether an address is inside the allow-list.
func (g Guard) Allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Check tells whether an address may be connected to. It fails with Invalid, ErrEgress in its chain.
func (g Guard) Check(a netip.AddrPort) error {
	if g.Allowed(a.Addr()) {
		return nil
	}
	if !Public(a.Addr()) {
		return mail.E(mail.Invalid, "connect", "the host is at a private or otherwise not public address, which this server does not connect to; its operator can allow the range with POSTHORN_EGRESS_ALLOW", ErrEgress)
	}
	if len(g.Ports) > 0 && !slices.Contains(g.Ports, int(a.Port())) {
		return mail.E(mail.Invalid, "connect", fmt.Sprintf("port %d is not one that this server connects to; its operator can allow the address with POSTHORN_EGRESS_ALLOW", a.Port()), ErrEgress)
	}
	return nil
}

// DialContext connects like net.Dialer, to allowed addresses only.
func (g Guard) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return mail.E(mail.Invalid, "connect", "", errors.Join(ErrEgress, err))
		}
		return g.Check(ap)
	}}
	return d.DialContext(ctx, network, addr)
}

// DialAllowed connects to addresses inside the allow-list only: for connections that are not encrypted.
func (g Guard) DialAllowed(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err == nil && g.Allowed(ap.Addr()) {
			return nil
		}
		return mail.E(mail.Invalid, "connect", "a connection without encryption (security none) is only made to addresses that the operator lists in POSTHORN_EGRESS_ALLOW; use tls or starttls", ErrEgress)
	}}
	return d.DialContext(ctx, network, addr)
}

// DialFor returns the dial function for a connection of the given security.
func (g Guard) DialFor(s mail.Security) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if s == mail.SecurityNone {
		return g.DialAllowed
	}
	return g.DialContext
}

// HostPort joins an endpoint's host and port for dialling.
func HostPort(e mail.Endpoint) string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }
