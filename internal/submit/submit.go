// Package submit is one connection to a mail submission server: TLS, login, and the handing over of messages.
package submit

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/posthorn/posthorn/internal/mail"
)

// Options say where to connect and how long to wait.
type Options struct {
	Endpoint mail.Endpoint
	TLS      *tls.Config // cloned; nil: the system's roots
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)

	Command time.Duration // for the whole answer to a command, and for each piece of a message to be taken; default 1 min
	Accept  time.Duration // for the answer to a whole message; default 10 min (RFC 5321 4.5.3.2.6)
}

var (
	// ErrNoStartTLS is in the chain of errors about a server that does not offer STARTTLS, or not safely.
	ErrNoStartTLS = errors.New("the server does not offer STARTTLS")
	// ErrInjected is in the chain when a server, or somebody on the way, sent more in plaintext after its answer to STARTTLS.
	ErrInjected = errors.New("the server sent more after its answer to STARTTLS, before the encryption began")
	// ErrNoLogin is in the chain of errors about a server that offers no login that we have credentials for.
	ErrNoLogin = errors.New("the server offers no suitable login")
)

// Conn is a connection to a submission server. It lives no longer than the context of Dial, and is not for concurrent use.
type Conn struct {
	c       *smtp.Client
	wire    *wire
	ctx     context.Context
	unwatch func() bool
	accept  time.Duration
	secrets []string // while a login runs: never to be seen in errors
}

// Dial connects, with encryption as the endpoint says, and greets. What the server said wrong is an [*smtp.SMTPError].
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Command <= 0 {
		o.Command = time.Minute
	}
	if o.Accept <= 0 {
		o.Accept = 10 * time.Minute
	}
	e := o.Endpoint
	raw, err := o.Dial(ctx, "tcp", net.JoinHostPort(e.Host, strconv.Itoa(e.Port)))
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{}
	if o.TLS != nil {
		conf = o.TLS.Clone()
	}
	conf.ServerName, conf.MinVersion = e.Host, max(conf.MinVersion, tls.VersionTLS12)
	c := &Conn{wire: &wire{Conn: raw}, ctx: ctx, accept: o.Accept}
	c.wire.wait.Store(int64(o.Command))
	c.unwatch = context.AfterFunc(ctx, func() { raw.Close() })
	switch e.Security {
	case mail.SecurityNone:
		c.c = smtp.NewClient(c.wire)
	case mail.SecuritySTARTTLS:
		err = c.startTLS(conf)
	default:
		tc := tls.Client(c.wire, conf)
		if err = tc.HandshakeContext(ctx); err == nil {
			c.c = smtp.NewClient(tc)
		}
	}
	if err == nil {
		err = c.c.Hello("localhost")
	}
	if err != nil {
		err = c.bounded(err)
		c.Close()
		return nil, err
	}
	return c, nil
}

// startTLS encrypts the connection (RFC 3207). Whatever was said in plaintext is forgotten; if anything came after the
// server's go-ahead it was put there to be taken for an encrypted answer, so the connection is of no use.
func (c *Conn) startTLS(conf *tls.Config) (err error) {
	c.wire.plain = true
	if c.c, err = smtp.NewClientStartTLS(c.wire, conf); err != nil {
		if strings.Contains(err.Error(), "support STARTTLS") {
			err = fmt.Errorf("%w: %w", ErrNoStartTLS, err)
		}
		return err
	}
	c.wire.plain = false
	if !oneReply(c.wire.said) {
		return ErrInjected
	}
	return nil
}

// oneReply tells whether b is one SMTP reply and nothing after it.
func oneReply(b []byte) bool {
	for {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		if !ended || len(line) < 3 {
			return false
		}
		if len(line) == 3 || line[3] != '-' {
			return len(rest) == 0
		}
		b = rest
	}
}

// Login proves who we are: by password, or with token by OAuth access token (XOAUTH2). It fails with ErrNoLogin in its
// chain if the server offers nothing of that; else the server's refusal is an [*smtp.SMTPError].
func (c *Conn) Login(user string, secret mail.Secret, token bool) error {
	var how sasl.Client
	switch {
	case token && c.c.SupportsAuth(xoauth2Name):
		how = &xoauth2{user: user, token: secret}
	case token:
	case c.c.SupportsAuth(sasl.Plain):
		how = sasl.NewPlainClient("", user, secret.Reveal())
	case c.c.SupportsAuth(sasl.Login):
		how = sasl.NewLoginClient(user, secret.Reveal())
	}
	if how == nil {
		return ErrNoLogin
	}
	c.secrets = []string{secret.Reveal()}
	defer func() { c.secrets = nil }()
	return c.bounded(c.c.Auth(&login{Client: how, c: c}))
}

// login is a mechanism that answers only so often, and notes what is said, so that it can be kept out of errors.
type login struct {
	sasl.Client
	c       *Conn
	answers int
}

func (l *login) Start() (string, []byte, error) {
	name, first, err := l.Client.Start()
	l.note(first)
	return name, first, err
}

func (l *login) Next(challenge []byte) ([]byte, error) {
	if l.answers++; l.answers > 4 {
		return nil, errors.New("the server asks on and on")
	}
	answer, err := l.Client.Next(challenge)
	l.note(answer)
	return answer, err
}

func (l *login) note(said []byte) {
	l.c.secrets = append(l.c.secrets, base64.StdEncoding.EncodeToString(said))
}

// Quit says goodbye and closes.
func (c *Conn) Quit() {
	if c.ctx.Err() == nil {
		c.wire.wait.Store(int64(time.Second))
		_ = c.c.Quit() // the connection ends either way
	}
	c.Close()
}

// Close ends the connection at once.
func (c *Conn) Close() {
	c.unwatch()
	_ = c.wire.Conn.Close()
}

// bounded names the context as the cause of an error that it caused. A refusal stands, in words that may be seen. A reply that
// was not expected and is no refusal either (RFC 5321 4.2.1) answers something else: to take it for one might send a message
// again that the server has, and what comes next would be taken for the answer to the next command.
func (c *Conn) bounded(err error) error {
	var said *smtp.SMTPError
	var garbage textproto.ProtocolError
	switch {
	case err == nil:
	case errors.As(err, &said) && said.Code/100 != 4 && said.Code/100 != 5:
		return fmt.Errorf("the server answered out of turn, with code %d", said.Code)
	case said != nil:
		said.Message = c.words(said.Message)
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case errors.As(err, &garbage): // with the line in it
		return textproto.ProtocolError(c.words(string(garbage)))
	}
	return err
}

// maxWords bounds a server's words kept in an error.
const maxWords = 512

// words hides secrets in a text, also in the form in which they were sent, and whatever is not print.
func (c *Conn) words(text string) string {
	for _, s := range c.secrets {
		if len(s) >= 3 {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text[:min(len(text), maxWords)], "\uFFFD"))
}

// wire is the connection below TLS. It has its own time limits: for what is read until something is written again, which is
// one reply, and for each piece that is written. Of plaintext it remembers what was read since something was written last.
type wire struct {
	net.Conn
	wait  atomic.Int64 // nanoseconds
	by    time.Time    // when the reply has to be there; zero: nothing of it was read yet
	got   int          // bytes of it
	plain bool
	said  []byte
}

// maxReply bounds what may be read before something is written again: a reply, or a server's part of the handshake.
const maxReply = 256 << 10

var errEndless = errors.New("a reply without end")

func (w *wire) until() time.Time { return time.Now().Add(time.Duration(w.wait.Load())) }

func (w *wire) Read(p []byte) (int, error) {
	if w.by.IsZero() {
		w.by = w.until()
	}
	if err := w.Conn.SetReadDeadline(w.by); err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(p)
	if w.got += n; w.got > maxReply {
		return n, errEndless
	}
	if w.plain {
		w.said = append(w.said, p[:n]...)
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.by, w.got = time.Time{}, 0
	if w.plain {
		w.said = w.said[:0]
	}
	if err := w.Conn.SetWriteDeadline(w.until()); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// SetDeadline keeps the client's own time limits out.
func (w *wire) SetDeadline(time.Time) error { return nil }

const xoauth2Name = "XOAUTH2"

// xoauth2 is Google's and Microsoft's login by access token.
type xoauth2 struct {
	user  string
	token mail.Secret
}

func (x *xoauth2) Start() (string, []byte, error) {
	return xoauth2Name, []byte("user=" + x.user + "\x01auth=Bearer " + x.token.Reveal() + "\x01\x01"), nil
}

// Next answers the server's explanation of a refusal with nothing, whereupon it refuses by code.
func (x *xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }
