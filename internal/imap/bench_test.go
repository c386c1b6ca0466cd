package imap

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	benchAddr = flag.String("addr", "", "plaintext IMAP server with a seeded account, for BenchmarkAccount")
	benchUser = flag.String("user", "u20k", "its user; any password")
)

// metadataRows is what Dovecot answers to a metadata FETCH.
func metadataRows(n int, envelope bool) []byte {
	var b bytes.Buffer
	for i := 1; i <= n; i++ {
		head := fmt.Sprintf("From: \"Person %d\" <p%d@example.org>\r\nTo: me@example.com\r\nSubject: about number %d\r\nMessage-ID: <%d@example.org>\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\n", i%50, i%50, i, i)
		fmt.Fprintf(&b, "* %d FETCH (UID %d FLAGS (\\Seen%s) INTERNALDATE \"%02d-Jan-2024 10:00:00 +0100\" RFC822.SIZE %d MODSEQ (%d)", i, i*2, []string{"", " \\Answered", " $Forwarded"}[i%3], i%28+1, 1000+i, i*3)
		if envelope {
			fmt.Fprintf(&b, ` ENVELOPE ("Mon, 1 Jan 2024 10:00:00 +0000" "about number %d" (("Person" NIL "p%d" "example.org")) (("Person" NIL "p%d" "example.org")) (("Person" NIL "p%d" "example.org")) ((NIL NIL "me" "example.com")) NIL NIL NIL "<%d@example.org>") BODYSTRUCTURE (("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 100 5 NIL NIL NIL NIL)("text" "html" ("charset" "utf-8") NIL NIL "quoted-printable" 300 9 NIL NIL NIL NIL) "alternative" ("boundary" "xx") NIL NIL NIL)`, i, i%50, i%50, i%50, i)
		}
		fmt.Fprintf(&b, " BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID DATE)] {%d}\r\n%s)\r\n", len(head), head)
	}
	return b.Bytes()
}

// BenchmarkParse is framer and parser without a network; an operation is one row.
func BenchmarkParse(b *testing.B) {
	for _, envelope := range []bool{false, true} {
		b.Run(map[bool]string{false: "header", true: "envelope"}[envelope], func(b *testing.B) {
			const rows = 1000
			data := metadataRows(rows, envelope)
			s := &Session{flags: map[string][]string{}}
			s.o.Limits = s.o.Limits.withDefaults()
			b.ReportAllocs()
			b.SetBytes(int64(len(data) / rows))
			b.ResetTimer()
			for n := 0; n < b.N; {
				f := newFramer(bytes.NewReader(data), s.o.Limits)
				for n < b.N {
					fr, err := f.next()
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					num, rest, _ := untaggedNumber(fr.b)
					s.p.reset(fr, 64)
					s.p.i = len(fr.b) - len(rest) + len("FETCH ")
					if err := s.readRow(&s.p, &s.row, num, false); err != nil || !s.row.HasHeader || !s.row.HasInternalDate {
						b.Fatalf("%v %+v", err, s.row)
					}
					n++
				}
			}
		})
	}
}

// BenchmarkAccount fetches a whole account from the server at -addr, by turns with a raw socket that sends the same
// commands and discards the answers. It reports the median ratio of the wall times.
func BenchmarkAccount(b *testing.B) {
	if *benchAddr == "" {
		b.Skip("no server: go test -bench Account -addr HOST:PORT")
	}
	for name, o := range map[string]FetchOptions{
		"flags":    {Flags: true},
		"metadata": {Flags: true, InternalDate: true, Size: true, ModSeq: true, Header: []string{"From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Received"}},
		"bodies":   {Flags: true, InternalDate: true, Size: true, Body: true, Sink: func(Literal) (io.Writer, error) { return io.Discard, nil }},
		"memory":   {Flags: true, InternalDate: true, Size: true, Body: true},
	} {
		b.Run(name, func(b *testing.B) {
			var ours, raw []float64
			rows := 0
			var m0, m1 runtime.MemStats
			var allocs uint64
			var ourCPU, rawCPU float64
			fetchAccount(b, o) // warm the server
			for i := 0; b.Loop(); i++ {
				for turn := range 2 {
					cpu := cpuSeconds(b)
					if (turn+i)%2 == 0 {
						raw = append(raw, drainAccount(b, o).Seconds())
						rawCPU += cpuSeconds(b) - cpu
						continue
					}
					runtime.ReadMemStats(&m0)
					d, n := fetchAccount(b, o)
					runtime.ReadMemStats(&m1)
					ourCPU += cpuSeconds(b) - cpu
					allocs += m1.Mallocs - m0.Mallocs
					ours = append(ours, d.Seconds())
					rows += n
				}
			}
			median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
			b.ReportMetric(median(ours), "s/ours")
			b.ReportMetric(median(raw), "s/drain")
			b.ReportMetric(median(ours)/median(raw), "ratio")
			b.ReportMetric(1e6*ourCPU/float64(rows), "cpu-us/row")
			b.ReportMetric(1e6*rawCPU/float64(rows), "drain-cpu-us/row")
			b.ReportMetric(float64(allocs)/float64(rows), "allocs/row")
			b.ReportMetric(float64(rows)/float64(len(ours)), "rows")
		})
	}
}

// cpuSeconds is what this process has used.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func benchFolders(b *testing.B, s *Session) []string {
	list, err := s.List(context.Background(), ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, m := range list {
		if a := strings.ToLower(strings.Join(m.Attrs, " ")); !strings.Contains(a, "noselect") && !strings.Contains(a, "nonexistent") {
			out = append(out, m.Raw)
		}
	}
	return out
}

func fetchAccount(b *testing.B, o FetchOptions) (time.Duration, int) {
	s := open(b, Options{Addr: *benchAddr})
	ctx := context.Background()
	if err := s.Login(ctx, *benchUser, "x"); err != nil {
		b.Fatal(err)
	}
	folders := benchFolders(b, s)
	n := 0
	start := time.Now()
	for _, raw := range folders {
		if _, err := s.Select(ctx, raw, SelectOptions{ReadOnly: true}); err != nil {
			b.Fatal(err)
		}
		if err := s.Fetch(ctx, Range(1, Star), o, func(r *Row) error { n++; return r.Err }); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start), n
}

func drainAccount(b *testing.B, o FetchOptions) time.Duration {
	s := open(b, Options{Addr: *benchAddr})
	if err := s.Login(context.Background(), *benchUser, "x"); err != nil {
		b.Fatal(err)
	}
	folders := benchFolders(b, s)
	items := &line{}
	(&Session{}).fetchItems(items, &o)
	c, err := net.Dial("tcp", *benchAddr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReaderSize(c, 256<<10)
	do := func(tag, cmd string) {
		if _, err := fmt.Fprintf(c, "%s %s\r\n", tag, cmd); err != nil {
			b.Fatal(err)
		}
		for {
			l, err := r.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if bytes.HasPrefix(l, []byte(tag+" ")) {
				return
			}
			if n, ok := literalAt(l); ok {
				if _, err := r.Discard(int(n)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	do("a", "LOGIN "+*benchUser+" x")
	start := time.Now()
	for _, raw := range folders {
		do("b", `EXAMINE "`+raw+`"`)
		do("c", "UID FETCH 1:*"+string(items.b))
	}
	return time.Since(start)
}
