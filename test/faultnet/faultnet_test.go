package faultnet

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that says everything back, byte by byte where slow.
func echo(t *testing.T, slow bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1000)
			for {
				n, err := c.Read(b)
				if err != nil {
					break
				}
				for i := 0; i < n; {
					k := n
					if slow {
						k = 1
					}
					if _, err := c.Write(b[i : i+k]); err != nil {
						break
					}
					i += k
				}
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestRules(t *testing.T) {
	t.Parallel()
	for rules, want := range map[string]string{
		"":                                        "0123456789abcdef",
		"cut server after 0":                      "",
		"cut server after 5":                      "01234",
		"cut server after 16":                     "0123456789abcdef",
		"cut client after 5":                      "01234",
		`cut server after "456"`:                  "0123456",
		`cut client after "9a"`:                   "0123456789a",
		`cut server after 2 "4"`:                  "0123456789abcdef",
		`stall server after "3"`:                  "0123",
		"stall client after 3":                    "012",
		"garble server after 1":                   "0\xce23456789abcdef",
		`garble server after "f"`:                 "0123456789abcdef",
		`garble client after "1"`:                 "01\xcd3456789abcdef",
		"conn 2: cut server after 0":              "0123456789abcdef",
		"# nothing\n\nconn 1: cut server after 1": "0",
		"delay server 1ms\nthrottle server 100000\ncut server after 4": "0123",
	} {
		for _, slow := range []bool{false, true} {
			p := Start(t, echo(t, slow), rules)
			c, err := net.Dial("tcp", p.Addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, "0123456789abcdef"); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // a stalled connection says nothing any more
			got, err := io.ReadAll(c)
			early := strings.HasPrefix(rules, "cut client") && strings.HasPrefix(want, string(got)) // what is on its way back may be lost
			if string(got) != want && !early {
				t.Errorf("%q, slow %v: %q, want %q", rules, slow, got, want)
			}
			open := errors.Is(err, os.ErrDeadlineExceeded)
			if cuts := len(want) < 16 && rules[:1] != "s" || rules == "cut server after 16"; open == cuts {
				t.Errorf("%q, slow %v: ended with %v", rules, slow, err)
			}
			c.Close()
			p.Close()
		}
	}
}

func TestNotRules(t *testing.T) {
	t.Parallel()
	for _, r := range []string{"cut", "cut server", "cut nobody after 1", "cut server before 1", "cut server after x", `cut server after ""`, `cut server after 0 "a"`,
		"delay server", "delay server x", "throttle server 0", "melt server after 1", "conn 0: cut server after 1", "conn x cut server after 1"} {
		if p, err := New("127.0.0.1:1", r); err == nil {
			p.Close()
			t.Errorf("%q is a rule", r)
		}
	}
}
