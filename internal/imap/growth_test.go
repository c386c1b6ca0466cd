package imap

import (
	"bytes"
	"flag"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever a server repeats, reading twice as much may take twice as long and not four times: a mailbox, or a hostile
// server, must not be able to keep a core busy for the price of a few megabytes.

// grown is a response with a part repeated n times; %d in it is every second number, from high to low.
func grown(before, unit, after string, n int) []byte {
	b := make([]byte, 0, len(before)+n*len(unit)+len(after))
	b = append(b, before...)
	head, tail, counts := strings.Cut(unit, "%d")
	for i := range n {
		if b = append(b, head...); counts {
			b = append(strconv.AppendInt(b, int64(2*(n-i)), 10), tail...)
		}
	}
	return append(b, after...)
}

// readAll takes a stream through framer and parsers, as a FETCH of everything does.
func readAll(data []byte) {
	s := &Session{flags: map[string][]string{}, raw: nopConn{}, cmd: "FETCH"}
	s.o.Limits = s.o.Limits.withDefaults()
	s.f = newFramer(bytes.NewReader(data), s.o.Limits)
	s.f.sink = &bodySink{sections: true}
	h := func(kind string, num uint32, p *parser) (bool, error) {
		switch kind {
		case "FETCH", "UIDFETCH":
			row := &s.row
			return true, s.readRow(p, row, num, kind == "UIDFETCH")
		case "LIST":
			parseList(p)
		case "STATUS":
			_, _, err := parseStatusData(p)
			return true, err
		case "SEARCH":
			_, err := parseSearch(p)
			return true, err
		case "ESEARCH":
			_, err := parseESearch(p)
			return true, err
		case "VANISHED":
			_, err := parseVanished(p)
			return true, err
		case "QUOTA":
			_, err := parseQuota(p)
			return true, err
		case "ID":
			_, err := p.stringsAndNILs(64)
			return true, err
		case "NAMESPACE":
			var ns []Namespace
			return true, p.list(func() error { return parseNamespace(p, &ns) })
		default:
			return false, nil
		}
		return true, nil
	}
	for s.step(h) == nil {
	}
}

// processorTime is what fn takes of a processor, however much else there is to do.
func processorTime(fn func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			panic(err)
		}
		return time.Duration(t.Nano())
	}
	start := now()
	fn()
	return now() - start
}

// growth returns how much longer twice the input takes: the least of some rounds, because noise only ever adds. It spends
// about twice the time given, since a fuzzer gives up on what does not return within a second.
func growth(before, unit, after string, n int, spend time.Duration) (ratio float64, least time.Duration) {
	one, two := grown(before, unit, after, n), grown(before, unit, after, 2*n)
	best := func(data []byte) time.Duration {
		least, spent := time.Hour, time.Duration(0)
		for round := 0; round < 3 || round < 15 && spent < spend; round++ {
			took := processorTime(func() { readAll(data) })
			least, spent = min(least, took), spent+took
		}
		return least
	}
	a, b := best(one), best(two)
	return float64(b) / float64(max(a, 1)), b
}

// steep reports whether time grows faster than the input, three times in a row and over two doublings: one
// disturbance does not look like that. Steps, as where a buffer has to grow, do; but what is not linear soon needs far more
// for a byte than anything here does, which is below 100 ns.
func steep(before, unit, after string, n int) bool {
	const most, perByte, spend = 2.5, 300 * time.Nanosecond, 15 * time.Millisecond
	for range 3 {
		r, took := growth(before, unit, after, n, spend)
		if r < most {
			return false
		}
		if took > 200*time.Millisecond { // what takes long already is not made longer
			continue
		}
		r, took = growth(before, unit, after, 2*n, spend)
		if r < most || took < perByte*time.Duration(len(grown(before, unit, after, 4*n))) {
			return false
		}
	}
	return true
}

var growths = []struct{ name, before, unit, after string }{
	{"rows", "", "* 1 FETCH (UID 7 FLAGS (\\Seen $a) RFC822.SIZE 10)\r\n", ""},
	{"bodies", "", "* 1 FETCH (UID 7 BODY[] {3}\r\nabc)\r\n", ""},
	{"headers", "", "* 1 FETCH (UID 7 BODY[HEADER] {3}\r\nabc)\r\n", ""},
	{"bodies of one row", "* 1 FETCH (UID 7", " BODY[1] {3}\r\nabc", ")\r\n"},
	{"literals of one row", "* 1 FETCH (UID 7", " X {3}\r\nabc", ")\r\n"},
	{"unknown items", "* 1 FETCH (UID 7", " X (a b)", ")\r\n"},
	{"open lists", "* 1 FETCH (UID 7 X ", "(", ")\r\n"},
	{"structure, parts", "* 1 FETCH (BODYSTRUCTURE (", `("text" "plain" NIL NIL NIL "7bit" 1 1)`, ` "mixed"))` + "\r\n"},
	{"structure, parameters", `* 1 FETCH (BODYSTRUCTURE ("text" "plain" (`, `"a" "b" `, `) NIL NIL "7bit" 1 1))` + "\r\n"},
	{"structure, nested", "* 1 FETCH (BODYSTRUCTURE ", "((", "\r\n"},
	{"envelope, addresses", "* 1 FETCH (ENVELOPE (NIL NIL (", `("a" NIL "b" "c")`, `) NIL NIL NIL NIL NIL NIL NIL))` + "\r\n"},
	{"quotes in a text", `* 1 FETCH (ENVELOPE (NIL "`, `"a`, `" NIL))` + "\r\n"},
	{"escapes in a text", `* 1 FETCH (ENVELOPE (NIL "`, `\"`, `" NIL))` + "\r\n"},
	{"quotes without end", `* 1 FETCH (X "`, `"a`, "\r\n"},
	{"flags", "* 1 FETCH (UID 7 FLAGS (", "$abc ", "))\r\n"},
	{"labels", "* 1 FETCH (UID 7 X-GM-LABELS (", "&AOk- ", "))\r\n"},
	{"folders", "", "* LIST (\\HasNoChildren) \"/\" \"some folder\"\r\n", ""},
	{"a folder's name", `* LIST () "/" `, `"a `, "\r\n"},
	{"a folder's data", `* LIST () "/" "a" (`, `"X" ("b") `, ")\r\n"},
	{"a folder's wide name", `* LIST () "/" "`, `&AOk-`, "\"\r\n"},
	{"a folder's old names", `* LIST () "/" "a" (`, `"OLDNAME" ("b") `, ")\r\n"},
	{"status", "* STATUS x (", "MESSAGES 1 ", ")\r\n"},
	{"status, name in brackets", "* STATUS ", "( ", "(MESSAGES 1)\r\n"},
	{"search, every second", "* SEARCH", " 4 2", "\r\n"},
	{"search, descending", "* SEARCH", " %d", "\r\n"},
	{"search, many answers", "", "* SEARCH 7 5\r\n", ""},
	{"esearch", "* ESEARCH (TAG \"a\") UID ALL 1", ",9:7,3", "\r\n"},
	{"esearch, descending", "* ESEARCH (TAG \"a\") UID ALL 1", ",%d", "\r\n"},
	{"esearch, many items", "* ESEARCH (TAG \"a\") UID", " ALL 5:9", "\r\n"},
	{"vanished", "* VANISHED (EARLIER) 1", ",9,5:6", "\r\n"},
	{"vanished, descending", "* VANISHED 1", ",%d", "\r\n"},
	{"quota", "* QUOTA x (", "STORAGE 1 2 ", ")\r\n"},
	{"namespace", "* NAMESPACE (", `("a" "/")`, ")\r\n"},
	{"id", "* ID (", `"a" "b" `, ")\r\n"},
	{"capability", "* CAPABILITY", " AUTH=X", "\r\n"},
	{"codes", "* OK [", "A (", ")] x\r\n"},
	{"texts with brackets", "* OK [PERMANENTFLAGS (", ")) ]", ")] x\r\n"},
	{"alerts", "", "* OK [ALERT] x\r\n", ""},
	{"a long line", "* OK ", "a", "\r\n"},
	{"NULs", "", "\x00", "* OK x\r\n"},
	{"empty lines", "", "\r\n", "* OK x\r\n"},
}

// BenchmarkGrowth tells how many times longer twice as much takes, and fails where that is more than 2.5.
func BenchmarkGrowth(b *testing.B) {
	for _, g := range growths {
		b.Run(strings.ReplaceAll(g.name, " ", "_"), func(b *testing.B) {
			n := 400_000 / len(g.unit)
			for b.Loop() {
				if steep(g.before, g.unit, g.after, n) {
					b.Errorf("%s: twice as much takes more than 2.5 times as long", g.name)
				}
			}
			r, least := growth(g.before, g.unit, g.after, n, 100*time.Millisecond)
			b.ReportMetric(r, "t(2n)/t(n)")
			b.ReportMetric(float64(least.Nanoseconds())/float64(2*n*len(g.unit)), "ns/byte")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// TestGrowth is BenchmarkGrowth without a clock: what is allocated grows with the input and stays in proportion.
func TestGrowth(t *testing.T) { // not parallel: others' allocations would count
	for _, g := range growths {
		n := 100_000 / len(g.unit)
		used := func(n int) float64 {
			data := grown(g.before, g.unit, g.after, n)
			return testing.AllocsPerRun(1, func() { readAll(data) })
		}
		if one, two := used(n), used(2*n); two > 2.5*max(one, 20) {
			t.Errorf("%s: %.0f allocations, and %.0f for twice as much", g.name, one, two)
		}
	}
}

// FuzzGrowth looks for what can be repeated to make reading slower than the input grows.
func FuzzGrowth(f *testing.F) {
	if flag.Lookup("test.fuzz").Value.String() == "" {
		f.Skip("looks at the clock: only when asked for")
	}
	for _, g := range growths {
		f.Add(g.before, g.unit, g.after)
	}
	f.Fuzz(func(t *testing.T, before, unit, after string) {
		if unit == "" || len(before)+len(after) > 1000 || len(unit) > 1000 {
			t.Skip()
		}
		n := 1 + 20_000/len(unit)
		if r, _ := growth(before, unit, after, n, 2*time.Millisecond); r > 2.5 && steep(before, unit, after, 4*n) {
			t.Errorf("%q %q %q: twice as much takes more than 2.5 times as long", before, unit, after)
		}
	})
}
