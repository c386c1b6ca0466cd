//go:build linux

package syncer_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/persona"
)

var large = flag.Int("large", 20_000, "how many messages the folder of TestALargeFolder has")

// TestALargeFolder synchronises the headers of a large folder in a process of its own, and then compares it with a server that can
// tell nothing of what has changed: headers are asked for in pieces, and each message costs a bounded amount of memory.
func TestALargeFolder(t *testing.T) {
	t.Parallel()
	const (
		most  = 1000     // messages whose headers are asked for at once
		each  = 400      // bytes of memory for each message
		other = 48 << 20 // and for everything else, garbage included
	)
	count := *large
	if testing.Short() {
		count = min(count, 3000)
	}
	p := persona.Start(t, persona.Knobs{Caps: persona.Without(persona.All, "QRESYNC")})
	small := persona.Start(t, persona.Knobs{})
	small.Deliver("INBOX", message(0))
	for i := range count {
		p.Deliver("INBOX", message(i))
	}
	peak := func(what string, at *persona.Server, v victim) int64 {
		t.Helper()
		began := time.Now()
		v.Host, v.Port, v.User, v.Password, v.HeadersOnly = at.Host, at.Port, "ann", persona.Password, true
		var rss int64
		if !v.watch(t, 20*patience, true, func(pid int) { rss = highWater(t, pid) }) {
			t.Fatalf("%s: it did not come to an end", what)
		}
		t.Logf("%s: %v, %d MiB", what, time.Since(began).Round(time.Millisecond), rss>>20)
		return rss
	}
	none := peak("one message", small, victim{Dir: t.TempDir()})
	v := victim{Dir: t.TempDir()}
	bound := none + other + int64(count)*each
	if used := peak("headers", p, v); used > bound {
		t.Errorf("%d MiB for the headers, want at most %d", used>>20, bound>>20)
	}
	asked := 0
	for _, l := range p.Log() {
		_, command, ok := strings.Cut(l, "UID FETCH ")
		set, items, _ := strings.Cut(command, " ")
		if !ok || !strings.Contains(items, "HEADER") {
			continue
		}
		n := size(t, set)
		if asked += n; n > most {
			t.Errorf("the headers of %d messages were asked for at once", n)
		}
	}
	if asked < count {
		t.Errorf("%d headers were asked for of %d", asked, count)
	}
	p.Turn(func(k *persona.Knobs) { k.Caps = persona.Basic })
	if used := peak("comparison", p, v); used > bound {
		t.Errorf("%d MiB for the comparison, want at most %d", used>>20, bound>>20)
	}
	st, e, err := v.open(t.Context(), slog.New(slog.DiscardHandler), 0, syncer.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	defer e.Close()
	mbox, err := st.Mailbox(t.Context(), victimAccount)
	if err != nil {
		t.Fatal(err)
	}
	if counts, err := mbox.Counts(t.Context()); err != nil || counts.Messages != int64(count) {
		t.Errorf("%+v, %v", counts, err)
	}
}

// highWater is the most memory that a process has had, in bytes.
func highWater(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// size is how many messages a set of UIDs names.
func size(t *testing.T, set string) (n int) {
	t.Helper()
	for part := range strings.SplitSeq(set, ",") {
		first, last, ranged := strings.Cut(part, ":")
		if !ranged {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil {
			t.Fatalf("a set without end: %s", set)
		}
		n += to - from + 1
	}
	return n
}
