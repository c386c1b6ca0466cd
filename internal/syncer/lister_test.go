package syncer

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/realsrv"
)

const listed = listerWorth + firstPage + 100

// manyHeaders is a rig beside a Dovecot with a folder whose headers are worth a connection of their own, through a proxy.
func manyHeaders(t *testing.T, o realsrv.DovecotOptions) (*rig, *faultnet.Proxy) {
	t.Helper()
	d := realsrv.StartDovecot(t, o)
	s := d.Login(t, "ann")
	for i := range listed {
		s.Append("INBOX", letter(i), nil, time.Date(2026, 3, 1, 12, 0, i, 0, time.UTC))
	}
	s.Close()
	proxy := faultnet.Start(t, d.Addr, "")
	at := netip.MustParseAddrPort(proxy.Addr)
	r := rigAt(t, at.Addr().String(), int(at.Port()), d.Password, "ann")
	r.a.e.o.Silence = 10 * time.Minute // however slow the machine is
	return r, proxy
}

// TestHeadersComeCompressed: they take less of the wire, on a connection that ends with the look, and are the same.
func TestHeadersComeCompressed(t *testing.T) {
	t.Parallel()
	plain, way := manyHeaders(t, realsrv.DovecotOptions{})
	plain.headersOnly()
	bytes, want := way.Passed("server"), plain.places()

	r, way := manyHeaders(t, realsrv.DovecotOptions{Compress: true})
	r.headersOnly()
	if got := way.Passed("server"); got > bytes/2 {
		t.Errorf("%d bytes compressed, %d otherwise", got, bytes)
	}
	if got := r.places(); !maps.Equal(got, want) {
		t.Errorf("%d messages, %d otherwise", len(got), len(want))
	}
	if r.a.lister != nil || r.s.Compressed() {
		t.Error("compression goes on")
	}
}

// TestCompressionThatBreaks: the account's own connection goes on where the other one was, and no further one is tried for a while.
func TestCompressionThatBreaks(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"cut server after 3", `cut server after "OK Begin compression"`, "cut server after 4000"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			r, way := manyHeaders(t, realsrv.DovecotOptions{Compress: true})
			way.Turn(t, "conn 2: "+fault+"\nconn 3: cut server after 0")
			r.headersOnly()
			counts, err := r.a.mbox.Counts(t.Context())
			if err != nil || counts.Placements != listed {
				t.Errorf("%+v, %v", counts, err)
			}
			if r.s.Err() != nil {
				t.Error(r.s.Err())
			}
			r.look(true)
			if got := len(r.stored()); got != listed {
				t.Errorf("%d messages", got)
			}
			if r.a.lister != nil {
				t.Error(fmt.Sprint("still open: ", r.a.lister.Err()))
			}
		})
	}
}
