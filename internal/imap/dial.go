package imap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

var (
	errPreauth   = errors.New("server claims that we are logged in already (PREAUTH)")
	errGreeting  = errors.New("server did not greet as IMAP")
	errInjection = errors.New("server sent bytes between STARTTLS and TLS")
	errNoTLS     = errors.New("server does not offer STARTTLS")
)

// Dial connects, makes TLS as o.Security demands, reads the greeting and the capabilities. Nothing secret is sent.
//
// It fails with Permanent for a bad address or certificate and where STARTTLS is not offered, with Protocol for a
// server that greets with PREAUTH (RFC 9051 11.3) or sends bytes between STARTTLS and the handshake, with the class
// of its words for a server that says BYE, and else with Network or Canceled.
func Dial(ctx context.Context, o Options) (*Session, error) {
	o.Limits = o.Limits.withDefaults()
	if o.Idle <= 0 {
		o.Idle = 60 * time.Second
	}
	if o.IdleRenew <= 0 {
		o.IdleRenew = 5 * time.Minute
	}
	if o.tag == "" {
		o.tag = rand.Text()[:6]
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, &Error{Class: Permanent, Cmd: "DIAL", Err: err}
	}
	if o.ServerName == "" {
		o.ServerName = host
	}
	dial := o.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: o.Idle}).DialContext
	}
	raw, err := dial(ctx, "tcp", o.Addr)
	if err != nil {
		class := Network
		if ctx.Err() != nil {
			class, err = Canceled, context.Cause(ctx)
		}
		return nil, &Error{Class: class, Cmd: "DIAL", Err: err}
	}
	s := &Session{o: o, raw: raw, conn: raw, flags: map[string][]string{}}
	s.f = newFramer(s, o.Limits)
	if err := s.enter(ctx, "DIAL"); err != nil {
		_ = raw.Close()
		return nil, err
	}
	err = s.open(ctx)
	s.leave()
	if err == nil {
		err = s.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return s, nil
}

func (s *Session) open(ctx context.Context) error {
	if s.o.Security == TLS {
		if err := s.handshake(ctx); err != nil {
			return err
		}
	}
	if err := s.greeting(); err != nil {
		return err
	}
	if s.o.Security == StartTLS {
		if err := s.startTLS(ctx); err != nil {
			return err
		}
	}
	if s.capsAt == 0 {
		return s.capability()
	}
	return nil
}

func (s *Session) handshake(ctx context.Context) error {
	cfg := &tls.Config{}
	if s.o.TLS != nil {
		cfg = s.o.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = s.o.ServerName
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if err := s.raw.SetDeadline(time.Now().Add(s.o.Idle)); err != nil {
		return s.fail(err)
	}
	c := tls.Client(s.raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		var cert *tls.CertificateVerificationError
		var host x509.HostnameError
		if errors.As(err, &cert) || errors.As(err, &host) {
			err = &Error{Class: Permanent, Cmd: "TLS", Err: err}
		}
		return s.fail(err)
	}
	s.conn, s.encrypted = c, true
	s.deadline = time.Time{}
	return nil
}

// greeting reads the first response (RFC 3501 7.1): untagged OK and nothing else.
func (s *Session) greeting() error {
	got := false
	h := func(kind string, _ uint32, _ *parser) (bool, error) {
		if kind == "OK" {
			got = true
			s.note(s.status)
			return true, nil
		}
		return false, nil
	}
	for !got {
		f, err := s.f.next()
		if err != nil {
			return s.fail(err)
		}
		s.traceIn(f)
		if len(f.b) < 2 || f.b[0] != '*' {
			return s.fail(protoError{errGreeting})
		}
		if err := s.untagged(f, h); err != nil {
			return err
		}
		if s.junk++; s.junk > s.o.Limits.Junk {
			return s.fail(protoError{errGreeting})
		}
	}
	return nil
}

// startTLS upgrades the connection (RFC 3501 6.2.1, RFC 9051 11.1). What was heard before is forgotten.
func (s *Session) startTLS(ctx context.Context) error {
	if s.capsAt > 0 && !s.Caps().Has("STARTTLS") {
		return s.fail(&Error{Class: Permanent, Cmd: "STARTTLS", Err: errNoTLS})
	}
	if _, err := s.exchange("STARTTLS", nil, nil); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status != "" && e.Class != TransientAccount {
			e.Class = Permanent
		}
		return s.fail(err)
	}
	if s.f.buffered() > 0 {
		return s.fail(protoError{errInjection})
	}
	s.setCaps(Caps{})
	s.capsAt, s.junk, s.selected = 0, 0, selected{}
	if err := s.handshake(ctx); err != nil {
		return err
	}
	s.f = newFramer(s, s.o.Limits)
	return nil
}

// capability asks what the server can do (RFC 3501 6.1.1). The answer is kept by whoever handles untagged ones.
func (s *Session) capability() error {
	_, err := s.exchange("CAPABILITY", nil, nil)
	return err
}

// secure reports whether a password may be sent.
func (s *Session) secure() bool {
	return s.encrypted || s.o.Security == Plain
}
