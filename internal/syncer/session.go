package syncer

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
)

// session is one logged-in connection with its place in the governor's books.
type session struct {
	*imap.Session
	release  func()
	selected string // raw name of the open folder
}

// openTimeout bounds dial, TLS and login together.
const openTimeout = time.Minute

// open waits for a connection's turn and logs in. onUnilateral may be nil.
func (a *account) open(ctx context.Context) (*session, error) {
	release, err := a.e.governor.acquire(ctx, a.id, a.acct.Settings.IMAP.Host, a.connections())
	if err != nil {
		return nil, err
	}
	return a.login(ctx, release, nil)
}

// connections is how many connections the account may have: never above half of what its provider bears, as the user's
// own programs need the rest. 0 leaves it to the governor.
func (a *account) connections() int {
	bears := provider.For(a.acct).Limits.Conns
	if bears == 0 {
		return 0
	}
	return min(max(bears/2, 1), a.e.governor.limits.PerAccount)
}

// tryOpen is open for a connection that is good to have but not needed: nil if there is no room.
func (a *account) tryOpen(ctx context.Context, onUnilateral func(imap.Unilateral)) (*session, error) {
	release, ok := a.e.governor.try(a.id, a.acct.Settings.IMAP.Host, a.connections())
	if !ok {
		return nil, nil
	}
	return a.login(ctx, release, onUnilateral)
}

func (a *account) login(ctx context.Context, free func(), onUnilateral func(imap.Unilateral)) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	creds, err := a.e.o.Store.Credentials(ctx, a.id)
	if err != nil {
		free()
		return nil, err
	}
	to := a.acct.Settings.IMAP
	var conf *tls.Config
	if a.e.o.TLS != nil {
		conf = a.e.o.TLS.Clone()
	}
	profile := provider.For(a.acct)
	count := a.e.usage.of(profile.Key)
	count.connections.Add(1)
	release := sync.OnceFunc(func() {
		count.connections.Add(-1)
		free()
	})
	c, err := imap.Dial(ctx, imap.Options{
		Addr: net.JoinHostPort(to.Host, strconv.Itoa(to.Port)), ServerName: to.Host,
		Security: security(to.Security), TLS: conf, DialContext: a.meter(count, a.e.o.Guard.DialFor(to.Security)), OnUnilateral: onUnilateral,
		Limits: imap.Limits{Command: profile.Limits.CommandBytes}, Trace: a.e.o.Trace(a.id),
	})
	if err != nil {
		release()
		return nil, err
	}
	s := &session{Session: c, release: release}
	if err := c.Login(ctx, to.Username, creds.IMAPPassword.Reveal()); err != nil {
		count.failed.Add(1)
		s.close()
		return nil, err
	}
	count.logins.Add(1)
	if c.Caps().Has("ID") {
		// Coremail refuses SELECT without it; others may refuse ID itself, which is no reason to stop.
		if _, err := c.ID(ctx, map[string]string{"name": "Posthorn", "vendor": "Posthorn"}); err != nil && c.Err() != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func security(s mail.Security) imap.Security {
	switch s {
	case mail.SecuritySTARTTLS:
		return imap.StartTLS
	case mail.SecurityNone:
		return imap.Plain
	}
	return imap.TLS
}

// close says goodbye if that is still possible, quickly, and gives the place back.
func (s *session) close() {
	if s.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_ = s.Logout(ctx) // the connection ends either way
		cancel()
	}
	_ = s.CloseNow()
	s.release()
}

// examine opens a folder without the right to change it, anew even if it is open already.
func (s *session) examine(ctx context.Context, f mail.Folder) (*imap.Selected, error) {
	s.selected = ""
	sel, err := s.Select(ctx, f.RawName, imap.SelectOptions{ReadOnly: true, CondStore: s.Caps().Has("CONDSTORE")})
	if err == nil {
		s.selected = f.RawName
	}
	return sel, err
}

// deselect leaves the open folder: STATUS of an open folder is not reliable (RFC 9051 6.3.11).
func (s *session) deselect(ctx context.Context) error {
	if s.selected == "" {
		return nil
	}
	s.selected = ""
	return s.Unselect(ctx)
}
