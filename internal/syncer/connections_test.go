package syncer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/persona"
)

// manyBodies is a rig beside a mailbox that is worth a second connection for its bodies, through a proxy.
func manyBodies(t *testing.T) (*rig, *persona.Server, *faultnet.Proxy) {
	t.Helper()
	p := persona.Start(t, persona.Knobs{})
	for i := range secondConnection + 200 {
		p.Deliver("INBOX", append(letter(i), strings.Repeat("line of sixteen\r\n", 100)...))
	}
	proxy := faultnet.Start(t, p.Addr, "")
	at := netip.MustParseAddrPort(proxy.Addr)
	r := rigAt(t, at.Addr().String(), int(at.Port()), persona.Password, "ann")
	r.a.e.o.Silence = 10 * time.Minute // however slow the machine is
	return r, p, proxy
}

// headersOnly brings the rig to where only bodies are missing.
func (r *rig) headersOnly() {
	r.t.Helper()
	r.login()
	if err := r.a.pass(r.t.Context(), r.s, true); err != nil {
		r.t.Fatal(err)
	}
}

// TestASecondConnectionThatBreaks: the first one goes on, and fetches what the other did not bring.
func TestASecondConnectionThatBreaks(t *testing.T) {
	t.Parallel()
	r, p, proxy := manyBodies(t)
	if err := proxy.Set("conn 2: cut server after 300000\nconn 3: cut server after 300000"); err != nil {
		t.Fatal(err)
	}
	r.headersOnly()
	if err := r.tryLook(false); err != nil {
		t.Fatal(err)
	}
	counts, err := r.a.mbox.Counts(t.Context())
	if err != nil || counts.Unheld > 0 || counts.Placements != secondConnection+200 {
		t.Errorf("%+v, %v", counts, err)
	}
	if n := p.Logins(); n != 2 {
		t.Errorf("%d logins", n)
	}
}

// TestWhatWasOnItsWayIsKept: when a connection breaks, the other one ends what it has begun, so that hardly anything is fetched twice.
func TestWhatWasOnItsWayIsKept(t *testing.T) {
	t.Parallel()
	r, _, proxy := manyBodies(t)
	r.headersOnly()
	before := proxy.Passed("server")
	if err := r.tryLook(false); err != nil {
		t.Fatal(err)
	}
	whole := proxy.Passed("server") - before

	r, _, proxy = manyBodies(t)
	if err := proxy.Set(fmt.Sprintf("conn 1: cut server after %d", before+whole/4)); err != nil {
		t.Fatal(err)
	}
	r.headersOnly()
	before = proxy.Passed("server")
	if err := r.tryLook(false); err == nil {
		t.Fatal("the cut was not felt")
	}
	r.logout()
	if cuts := r.converge(false); cuts > 0 {
		t.Fatalf("%d more cuts", cuts)
	}
	if got := proxy.Passed("server") - before; got > whole+whole/20 {
		t.Errorf("%d bytes with a cut, %d without", got, whole)
	}
}
