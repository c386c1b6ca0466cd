package syncer

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/realsrv"
)

const listed = firstPage + 2*headerChunk + 100 // the second and third part are read while the one before is stored

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
	for _, fault := range []string{"cut server after 3", `cut server after "OK Begin compression"`, "cut server after 4000", "cut server after 100000", "cut server after 150000"} {
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

// TestCompressedHeadersAndOperations: an operation between two parts of a folder looks into another one, whose headers come the same way.
// Each message is in its own folder all the same.
func TestCompressedHeadersAndOperations(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{Compress: true})
	s := d.Login(t, "ann")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.Append("INBOX", letter(1), nil, at)
	for n, folder := range []string{"One", "Two"} {
		d.CreateFolder(t, "ann", folder)
		for i := range listed {
			s.Append(folder, letter(10000*(n+1)+i), nil, at)
		}
	}
	s.Close()
	r := rigAt(t, d.Host, d.Port, d.Password, "ann")
	r.a.e.o.Silence = 10 * time.Minute
	looks := 0
	r.a.e.reached = func(point string) {
		if point != "after headers" {
			return
		}
		if looks++; looks != 2 { // those of INBOX, then the first page of One
			return
		}
		op := mail.Operation{Kind: mail.OpUpdate}
		folders, err := r.a.mbox.Folders(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, f := range folders {
			switch f.Name {
			case "Two":
				op.Folder = f.ID
			case "INBOX":
				list, err := r.a.mbox.Placements(t.Context(), f.ID, f.UIDValidity)
				if err != nil || len(list) != 1 {
					t.Error(list, err)
					return
				}
				op.Messages = []mail.MessageID{list[0].Message}
			}
		}
		if _, err := r.a.mbox.AddOperation(t.Context(), op); err != nil {
			t.Error(err)
		}
		signal(r.a.ops)
	}
	r.headersOnly()
	in := map[string]int{}
	for place, id := range r.places() {
		m, err := r.a.mbox.Message(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		in[strings.Fields(place)[0]+" "+m.HeaderMessageID[:2]]++
	}
	if want := map[string]int{"One m1": listed, "Two m2": listed, "Two m1": 1}; !maps.Equal(in, want) {
		t.Errorf("messages by folder %v", in)
	}
}
