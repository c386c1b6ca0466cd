package imap

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// obedient is a server that says OK to everything and tells of each line it received, without what came in literals.
func obedient(t testing.TB, caps string, line func(string)) string {
	return pipeServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 "+caps+"] hi\r\n")
		r := bufio.NewReader(c)
		for {
			text, err := r.ReadString('\n')
			if err != nil {
				return
			}
			line(text)
			tag, cmd, _ := strings.Cut(text, " ")
			for strings.HasSuffix(text, "}\r\n") {
				i := strings.LastIndexByte(text, '{')
				n, _ := strconv.Atoi(strings.TrimRight(text[i+1:len(text)-3], "+"))
				if !strings.HasSuffix(text, "+}\r\n") {
					_, _ = io.WriteString(c, "+ go\r\n")
				}
				if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
					return
				}
				if text, err = r.ReadString('\n'); err != nil {
					return
				}
				line(text)
			}
			untagged := ""
			switch {
			case strings.HasPrefix(cmd, "ENABLE"):
				untagged = "* ENABLED QRESYNC\r\n"
			case strings.HasPrefix(cmd, "UID SEARCH"):
				untagged = "* ESEARCH UID ALL 1:3\r\n"
			case strings.HasPrefix(cmd, "SELECT"):
				untagged = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n"
			}
			if _, err := fmt.Fprintf(c, "%s%s OK done\r\n", untagged, tag); err != nil {
				return
			}
		}
	})
}

// No command is longer than the limit, whatever the caller asks for (Yahoo takes 1,000 octets: Y11, S22).
func TestCommandLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1000, 8000} {
		longest, lines := 0, 0
		addr := obedient(t, "ENABLE QRESYNC CONDSTORE MOVE UIDPLUS ESEARCH NOTIFY SEARCHRES X-GM-EXT-1 OBJECTID", func(l string) {
			longest = max(longest, len(l))
			lines++
		})
		s := open(t, Options{Addr: addr, Limits: Limits{Command: limit}})
		ctx := context.Background()
		var odd UIDSet
		for u := uint32(1_000_000_001); u < 1_000_006_000; u += 2 {
			odd.Add(u)
		}
		must[[]string](t)(s.Enable(ctx, "QRESYNC"))
		must[*Selected](t)(s.Select(ctx, "INBOX", SelectOptions{QResync: &QResync{UIDValidity: 7, ModSeq: 1, Known: odd}}))
		var header []string
		for i := range 20 {
			header = append(header, fmt.Sprintf("X-Header-%d", i))
		}
		check(t, s.Fetch(ctx, odd, FetchOptions{Flags: true, Header: header, Body: true, Gmail: true, ObjectID: true, Envelope: true, ChangedSince: 1 << 60}, nil))
		flags := []string{`\Seen`, "$Work", strings.Repeat("k", 100)}
		st := must[Stored](t)(s.Store(ctx, odd, StoreAdd, flags, StoreOptions{UnchangedSince: 1 << 60}))
		cp := must[Copied](t)(s.Copy(ctx, odd, "Some folder"))
		mv := must[Copied](t)(s.Move(ctx, odd, strings.Repeat("Deep/", 30)))
		ex := must[UIDSet](t)(s.Expunge(ctx, odd))
		for _, done := range []UIDSet{st.Done, cp.Done, mv.Done, ex} {
			if done.String() != odd.String() {
				t.Errorf("limit %d: done are %d of %d", limit, done.Len(), odd.Len())
			}
		}
		must[UIDSet](t)(s.Search(ctx, "UNSEEN UID 1:100"))
		for _, err := range []error{
			func() error { _, err := s.Search(ctx, "UID "+odd.String()); return err }(),
			s.SearchSave(ctx, "UID "+odd.String()),
			s.Notify(ctx, false, NotifyGroup{Filter: NotifyMailboxes, Mailboxes: strings.Fields(strings.Repeat("name ", 2000)), Events: []NotifyEvent{NotifyMailboxName}}),
		} {
			if ClassOf(err) != Permanent || s.Err() != nil {
				t.Errorf("limit %d: too long: %v", limit, err)
			}
		}
		check(t, s.Logout(ctx))
		if longest > limit || longest < limit*8/10 {
			t.Errorf("longest of %d lines has %d bytes, limit %d", lines, longest, limit)
		}
	}
}

// Large messages are not sent before the server agrees, small ones without asking where that is allowed.
func TestAppendAsks(t *testing.T) {
	t.Parallel()
	for caps, want := range map[string][3]bool{"": {true, true, true}, "LITERAL-": {false, true, true}, "LITERAL+": {false, false, true}} {
		var heard []string
		s := open(t, Options{Addr: obedient(t, caps, func(l string) { heard = append(heard, l) })})
		for i, n := range []int{100, 5000, 100_000} {
			heard = nil
			m := strings.Repeat("x", n-2) + "\r\n"
			must[Appended](t)(s.Append(context.Background(), "INBOX", text(m)))
			check(t, s.Noop(context.Background()))
			if asked := !strings.Contains(heard[0], "+}"); asked != want[i] {
				t.Errorf("%q, %d bytes: asked %v", caps, n, asked)
			}
		}
	}
}

// work is a reader that gives little at a time and counts how often it is asked.
type work struct {
	r     io.Reader
	calls int
}

func (w *work) Read(b []byte) (int, error) {
	w.calls++
	return w.r.Read(b[:min(len(b), 16)])
}

// A response that comes in small pieces with many literals is read once.
func TestFramerLinear(t *testing.T) {
	t.Parallel()
	calls := func(n int) (int, int) {
		w := &work{r: strings.NewReader("* 1 FETCH (" + strings.Repeat("X {1}\r\na ", n) + ")\r\n")}
		f := newFramer(w, Limits{}.withDefaults())
		grown := 0
		fr, err := f.next()
		if err != nil || !bytes.HasSuffix(fr.b, []byte(")\r\n")) {
			t.Fatalf("%v", err)
		}
		grown = cap(f.buf)
		return w.calls, grown
	}
	c1, m1 := calls(5000)
	c2, m2 := calls(10000)
	if c2 > 2*c1+10 || m2 > 4*m1 {
		t.Errorf("reads %d and %d, buffers %d and %d", c1, c2, m1, m2)
	}
}
