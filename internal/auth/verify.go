package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/submit"
)

// dialTime is how long one of several candidates may take to answer; they are tried at once.
const dialTime = 5 * time.Second

// proveIMAP finds the first endpoint that answers, logs in and opens INBOX: some servers take any login and refuse
// the mailbox then. It returns the endpoint with the user name that worked.
func (a *Auth) proveIMAP(ctx context.Context, p plan, password mail.Secret) (mail.Endpoint, error) {
	s, at, err := first(ctx, p.imap, a.dialIMAP, func(s *imap.Session) { s.CloseNow() })
	if err != nil {
		return mail.Endpoint{}, p.failed("IMAP", at, err)
	}
	for i, user := range p.users {
		at.Username = user
		if i > 0 { // servers hang up on a refused login, or count the next one against the same connection
			if s, err = a.dialIMAP(ctx, at); err != nil {
				return mail.Endpoint{}, p.failed("IMAP", at, err)
			}
		}
		err = inbox(ctx, s, user, password)
		bye(ctx, s)
		if imap.ClassOf(err) != imap.AuthFailed {
			break
		}
	}
	if err != nil {
		return mail.Endpoint{}, p.failed("IMAP", at, err)
	}
	return at, nil
}

func (a *Auth) dialIMAP(ctx context.Context, e mail.Endpoint) (*imap.Session, error) {
	sec := imap.TLS
	switch e.Security {
	case mail.SecuritySTARTTLS:
		sec = imap.StartTLS
	case mail.SecurityNone:
		sec = imap.Plain
	}
	return imap.Dial(ctx, imap.Options{
		Addr: provider.HostPort(e), ServerName: e.Host, Security: sec, TLS: a.o.TLS, DialContext: a.o.Guard.DialFor(e.Security), Idle: a.o.Timeout,
		Limits: imap.Limits{Line: 64 << 10, Literal: 64 << 10, Response: 256 << 10, Responses: 10_000, Answer: 1 << 20},
	})
}

func inbox(ctx context.Context, s *imap.Session, user string, password mail.Secret) error {
	if err := s.Login(ctx, user, password.Reveal()); err != nil {
		return err
	}
	if s.Caps().Has("ID") { // Coremail refuses SELECT without it (RFC 2971); others refuse ID, which does not matter
		if _, err := s.ID(ctx, map[string]string{"name": "Posthorn", "vendor": "Posthorn"}); err != nil && s.Err() != nil {
			return err
		}
	}
	_, err := s.Select(ctx, "INBOX", imap.SelectOptions{ReadOnly: true})
	return err
}

// bye says goodbye if the server lets us do it quickly.
func bye(ctx context.Context, s *imap.Session) {
	if s.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s.Logout(ctx)
	}
	s.CloseNow()
}

// proveSMTP finds the first endpoint that answers and logs in there. A server without encryption inside the
// allow-list may do without a login; the endpoint's user name is then empty.
func (a *Auth) proveSMTP(ctx context.Context, p plan, password mail.Secret) (mail.Endpoint, error) {
	if len(p.smtp) == 0 {
		return mail.Endpoint{}, mail.E(mail.Invalid, "connect", "settings.smtp_host is required: no SMTP server is known for the address", nil)
	}
	c, at, err := first(ctx, p.smtp, a.dialSMTP, (*submit.Conn).Close)
	if err != nil {
		return mail.Endpoint{}, p.failed("SMTP", at, err)
	}
	defer c.Quit()
	err = c.Login(at.Username, password, false)
	if errors.Is(err, submit.ErrNoLogin) && at.Security == mail.SecurityNone {
		at.Username = ""
		return at, nil
	}
	if err != nil {
		return mail.Endpoint{}, p.failed("SMTP", at, err)
	}
	return at, nil
}

func (a *Auth) dialSMTP(ctx context.Context, e mail.Endpoint) (*submit.Conn, error) {
	return submit.Dial(ctx, submit.Options{Endpoint: e, TLS: a.o.TLS, Dial: a.o.Guard.DialFor(e.Security), Command: a.o.Timeout})
}

// failed puts an error into words. When every host was a guess and none answered, the way out is to name one.
func (p plan) failed(protocol string, at mail.Endpoint, err error) error {
	out := provider.Peer{Protocol: protocol, Endpoint: at, Profile: p.profile}.Classify(err)
	if p.guessed && protocol == "IMAP" && rank(err) >= rankSilent {
		out.Kind = mail.Invalid
		out.Msg = "IMAP: no server was found for the address; give settings.imap_host (and imap_port)"
	}
	return out
}

// first dials all endpoints at once and returns the most preferred that answers, with the others closed. If none
// does, it returns the error that says most, with its endpoint.
func first[S any](ctx context.Context, es []mail.Endpoint, dial func(context.Context, mail.Endpoint) (S, error), drop func(S)) (S, mail.Endpoint, error) {
	var none S
	if len(es) == 1 {
		s, err := dial(ctx, es[0])
		return s, es[0], err
	}
	type result struct {
		s   S
		err error
	}
	results := make([]chan result, len(es))
	cancels := make([]context.CancelFunc, len(es))
	var wg sync.WaitGroup
	for i, e := range es {
		results[i] = make(chan result, 1)
		own, cancel := context.WithCancel(ctx) // what is dialled may live as long as this
		cancels[i] = cancel
		wg.Go(func() {
			late := time.AfterFunc(dialTime, cancel)
			s, err := dial(own, e)
			if !late.Stop() && err != nil {
				err = errors.Join(context.DeadlineExceeded, err)
			}
			results[i] <- result{s, err}
		})
	}
	best, bestErr := es[0], error(nil)
	won := -1
	var winner S
	for i := range es {
		if won >= 0 {
			cancels[i]()
			continue
		}
		r := <-results[i]
		switch {
		case r.err == nil:
			won, winner = i, r.s
		case bestErr == nil || rank(r.err) < rank(bestErr):
			best, bestErr = es[i], r.err
		}
	}
	wg.Wait()
	for i, cancel := range cancels {
		if won >= 0 && i > won {
			if r := <-results[i]; r.err == nil {
				drop(r.s)
			}
		}
		if i != won { // the winner's ends with ctx
			cancel()
		}
	}
	if won < 0 {
		return none, best, bestErr
	}
	return winner, es[won], nil
}

// The ranks of errors, the most telling first.
const (
	rankTelling = iota
	rankPlaintext
	rankSilent
	rankRefused
	rankNoHost
)

func rank(err error) int {
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var name x509.HostnameError
	switch {
	case errors.As(err, &name):
		return rankTelling
	case errors.As(err, &record):
		return rankPlaintext
	case errors.As(err, &dns):
		return rankNoHost
	case errors.Is(err, syscall.ECONNREFUSED):
		return rankRefused
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return rankSilent
	}
	return rankTelling
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
