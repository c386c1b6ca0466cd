package submit

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/posthorn/posthorn/internal/mail"
)

// hostile is a server that does what play does with each connection, inside of TLS or not.
func hostile(t *testing.T, sec mail.Security, play func(net.Conn, *bufio.Reader)) Options {
	t.Helper()
	cert, pool := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if sec == mail.SecurityTLS {
			c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		}
		play(c, bufio.NewReader(c))
	}()
	t.Cleanup(func() { l.Close(); <-done })
	e := mail.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: sec}
	return Options{Endpoint: e, TLS: &tls.Config{RootCAs: pool}, Dial: (&net.Dialer{}).DialContext, Command: 300 * time.Millisecond, Accept: 300 * time.Millisecond}
}

// A reply that does not end, and one that comes a byte at a time, hold nobody.
func TestRepliesWithoutEnd(t *testing.T) {
	t.Parallel()
	greeted := func(then func(net.Conn)) func(net.Conn, *bufio.Reader) {
		return func(c net.Conn, r *bufio.Reader) {
			io.WriteString(c, "220 hi\r\n")
			r.ReadString('\n')
			then(c)
		}
	}
	for name, play := range map[string]func(net.Conn, *bufio.Reader){
		"greeting": func(c net.Conn, _ *bufio.Reader) { flood(c, "220-hi\r\n") },
		"reply":    greeted(func(c net.Conn) { flood(c, "250-"+strings.Repeat("x", 500)+"\r\n") }),
		"line":     greeted(func(c net.Conn) { flood(c, "250 "+strings.Repeat("x", 500)) }),
		"nothing":  greeted(func(c net.Conn) { flood(c, "\r\n") }),
		"drip": greeted(func(c net.Conn) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range 500 {
				if _, err := io.WriteString(c, "2"); err != nil {
					return
				}
				<-tick.C
			}
		}),
	} {
		for _, sec := range []mail.Security{mail.SecurityNone, mail.SecurityTLS} {
			t.Run(fmt.Sprint(name, " ", sec), func(t *testing.T) {
				t.Parallel()
				o := hostile(t, sec, play)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				c, err := Dial(ctx, o)
				if err == nil {
					c.Close()
				}
				if err == nil || ctx.Err() != nil {
					t.Errorf("%v, and the caller had to end it: %v", err, ctx.Err())
				}
			})
		}
	}
}

func flood(c net.Conn, unit string) {
	block := []byte(strings.Repeat(unit, 1+4000/len(unit)))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// A server that asks on and on gets no more answers.
func TestLoginEnds(t *testing.T) {
	t.Parallel()
	for _, mech := range []string{"PLAIN", "LOGIN", "XOAUTH2"} {
		t.Run(mech, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			o := hostile(t, mail.SecurityTLS, func(c net.Conn, r *bufio.Reader) {
				io.WriteString(c, "220 hi\r\n")
				r.ReadString('\n')
				io.WriteString(c, "250-hi\r\n250 AUTH "+mech+"\r\n")
				for asked.Load() < 1000 {
					l, err := r.ReadString('\n')
					if err != nil || l == "*\r\n" {
						break
					}
					asked.Add(1)
					io.WriteString(c, "334 UGFzc3dvcmQ6\r\n")
				}
				io.WriteString(c, "501 as you like\r\n")
				io.Copy(io.Discard, r)
			})
			o.Command = 10 * time.Second
			c, err := Dial(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if err = c.Login("ann", mail.NewSecret("canary"), mech == "XOAUTH2"); err == nil {
				t.Error("logged in")
			}
			c.Close()
			if n := asked.Load(); n > 10 {
				t.Errorf("answered %d times", n)
			}
		})
	}
}

// What a server repeats of a login is in no error, nor anything that a terminal would obey.
func TestEchoedSecrets(t *testing.T) {
	t.Parallel()
	const secret = "a very secret word"
	for mech, echo := range map[string]string{
		"PLAIN":   base64.StdEncoding.EncodeToString([]byte("\x00ann\x00" + secret)),
		"LOGIN":   base64.StdEncoding.EncodeToString([]byte(secret)),
		"XOAUTH2": base64.StdEncoding.EncodeToString([]byte("user=ann\x01auth=Bearer " + secret + "\x01\x01")),
	} {
		for name, reply := range map[string]string{
			"refusal":  "535-5.7.8 no " + secret + "\r\n535 5.7.8 \x1b[2Junknown: " + echo + "\u009b\r\n",
			"no reply": "what is " + echo + " " + secret + "\r\n",
		} {
			t.Run(mech+", "+name, func(t *testing.T) {
				t.Parallel()
				o := hostile(t, mail.SecurityTLS, func(c net.Conn, r *bufio.Reader) {
					io.WriteString(c, "220 hi\r\n")
					r.ReadString('\n')
					io.WriteString(c, "250-hi\r\n250 AUTH "+mech+"\r\n")
					r.ReadString('\n')
					if mech == "LOGIN" {
						io.WriteString(c, "334 UGFzc3dvcmQ6\r\n")
						r.ReadString('\n')
					}
					io.WriteString(c, reply+"501 ok\r\n")
					io.Copy(io.Discard, r)
				})
				o.Command = 10 * time.Second
				c, err := Dial(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				err = c.Login("ann", mail.NewSecret(secret), mech == "XOAUTH2")
				if err == nil || strings.Contains(err.Error(), "very secret") || strings.Contains(err.Error(), echo[:12]) || strings.ContainsAny(err.Error(), "\x1b\u009b\r\n") {
					t.Errorf("%q", err)
				}
				var said *smtp.SMTPError
				if errors.As(err, &said) != (name == "refusal") || said != nil && (said.Code != 535 || !strings.Contains(said.Message, "unknown")) {
					t.Errorf("%#v", err)
				}
			})
		}
	}
}
