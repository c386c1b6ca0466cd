package syncer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
)

// session is one logged-in connection with its place in the governor's books.
type session struct {
	*imap.Session
	release  func()
	opened   time.Time                // when it was dialled
	began    time.Time                // when what was asked last began to come
	selected string                   // raw name of the open folder; "": none, or it is to be opened anew
	as       generation               // which it is; zero: unknown
	lingers  atomic.Pointer[string]   // raw name of the folder on which it idles while it is not needed; nil: it does not
	balked   mail.FolderID            // the first folder that was refused for a while
	accepted map[mail.FolderID]uint32 // UIDVALIDITYs of flapping folders that were proven to mean our generation, here
}

// generation is the messages that a folder's UIDs name as long as its UIDVALIDITY is the same.
type generation struct {
	folder      mail.FolderID
	uidvalidity mail.UIDValidity
}

// openTimeout bounds dial, TLS and login together.
const openTimeout = time.Minute

// open waits for a connection's turn and logs in.
func (a *account) open(ctx context.Context) (*session, error) {
	to := a.acct.Settings.IMAP
	name := to.Host
	if err := a.e.governor.resting(a.id, serverOf(to)); err != nil {
		return nil, err
	}
	if err := wait(ctx, a.e.governor.turn(name), nil); err != nil {
		return nil, err
	}
	release, err := a.e.governor.acquire(ctx, a.id, name, a.connections())
	if err != nil {
		return nil, err
	}
	var s *session
	s, err = a.login(ctx, release, a.hears(func() string { // nothing before it lingers
		if s == nil {
			return ""
		}
		if raw := s.lingers.Load(); raw != nil {
			return *raw
		}
		return ""
	}))
	return s, err
}

// connections is how many connections the account may have: never above half of what its provider bears, as the user's
// own programs need the rest. 0 leaves it to the governor.
func (a *account) connections() int {
	bears := a.e.o.Profile(a.acct).Limits.Conns
	if bears == 0 {
		return 0
	}
	return min(max(bears/2, 1), a.e.governor.limits.PerAccount)
}

// tryOpen is open for a connection that is good to have but not needed: nil if there is no room, here or at the server.
func (a *account) tryOpen(ctx context.Context, onUnilateral func(imap.Unilateral)) (*session, error) {
	to := a.acct.Settings.IMAP
	name := to.Host
	if a.ledger.rest(a.e.o.Now()) > 0 || a.e.governor.resting(a.id, serverOf(to)) != nil {
		return nil, nil
	}
	release, ok := a.e.governor.try(a.id, name, a.connections(), true)
	if !ok {
		return nil, nil
	}
	if err := wait(ctx, a.e.governor.turn(name), nil); err != nil {
		release()
		return nil, err
	}
	s, err := a.login(ctx, release, onUnilateral)
	switch imap.ClassOf(err) {
	case imap.TransientAccount, imap.AuthFailed:
		// The account's own connection is in with the same password: this is about their number (RFC 9051 has no code for it).
		a.log.Info("a further connection was refused; the account makes do with fewer for a while", "op", "connect", "err", err)
		a.e.governor.shrink(a.id)
		return nil, nil
	}
	return s, err
}

func (a *account) login(ctx context.Context, free func(), onUnilateral func(imap.Unilateral)) (*session, error) {
	caller := ctx
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
	hear := func(u imap.Unilateral) {
		if u.Kind == imap.KindThrottled {
			a.askedToSlow(u)
		} else if onUnilateral != nil {
			onUnilateral(u)
		}
	}
	profile := a.e.o.Profile(a.acct)
	count := a.e.usage.of(profile.Key)
	count.connections.Add(1)
	release := sync.OnceFunc(func() {
		count.connections.Add(-1)
		free()
	})
	c, err := imap.Dial(ctx, imap.Options{
		Addr: net.JoinHostPort(to.Host, strconv.Itoa(to.Port)), ServerName: to.Host,
		Security: security(to.Security), TLS: conf, DialContext: a.meter(count, a.e.o.Guard.DialFor(to.Security)), OnUnilateral: hear,
		Idle: a.e.o.Silence, IdleRenew: a.e.o.IdleRenew, Limits: imap.Limits{Command: profile.Limits.CommandBytes}, Trace: a.e.o.Trace(a.id),
	})
	if err != nil {
		release()
		if k := provider.Classify(err, a.acct).Kind; caller.Err() == nil && (k == mail.Unreachable || k == mail.Unavailable) {
			a.e.governor.reached(a.id, serverOf(to), false)
		}
		return nil, err
	}
	a.e.governor.reached(a.id, serverOf(to), true)
	s := &session{Session: c, release: release, opened: a.e.o.Now()}
	a.ledger.login(a.e.o.Now())
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
	if err := a.switchOn(ctx, s); err != nil {
		s.close()
		return nil, err
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
	return s.open(ctx, f, nil)
}

// open is examine, which also tells what has changed since q where that is not nil.
func (s *session) open(ctx context.Context, f mail.Folder, q *imap.QResync) (*imap.Selected, error) {
	sel, err := s.Select(ctx, f.RawName, imap.SelectOptions{ReadOnly: true, CondStore: s.Caps().Has("CONDSTORE"), QResync: q})
	if err == nil {
		s.as = generation{f.ID, mail.UIDValidity(sel.UIDValidity)}
	}
	return sel, err
}

// Select is that of imap, and notes what is open.
func (s *session) Select(ctx context.Context, raw string, o imap.SelectOptions) (*imap.Selected, error) {
	s.selected, s.as = "", generation{}
	sel, err := s.Session.Select(ctx, raw, o)
	if err == nil {
		s.selected = raw
	}
	return sel, err
}

// Fetch is that of imap, asking on where the server has a limit of messages for one command (RFC 9738).
func (s *session) Fetch(ctx context.Context, set imap.UIDSet, o imap.FetchOptions, each func(*imap.Row) error) error {
	for {
		err := s.Session.Fetch(ctx, set, o, each)
		left, cut := cutShort(err, set)
		switch {
		case !cut:
			return err
		case left.Empty():
			return nil
		}
		set = left
	}
}

// all asks for every UID of the open folder, in several commands where the server has a limit.
func (s *session) all(ctx context.Context) (imap.UIDSet, error) {
	var out imap.UIDSet
	criteria, among := "ALL", imap.Range(1, imap.Star)
	for {
		uids, err := s.Search(ctx, criteria)
		out.AddSet(uids)
		left, cut := cutShort(err, among)
		switch {
		case !cut:
			return out, err
		case left.Empty():
			return out, nil
		}
		among, criteria = left, "UID "+left.String()
	}
}

// cutShort tells whether a command was carried out for some of the messages only, and for which not.
func cutShort(err error, of imap.UIDSet) (left imap.UIDSet, cut bool) {
	var p *imap.PartialError
	if !errors.As(err, &p) || !p.Left.Empty() && p.Left.Len() >= of.Len() {
		return imap.UIDSet{}, false
	}
	return p.Left, true
}

// deselect leaves the open folder: STATUS of an open folder is not reliable (RFC 9051 6.3.11).
func (s *session) deselect(ctx context.Context) error {
	if s.selected == "" {
		return nil
	}
	s.selected = ""
	return s.Unselect(ctx)
}
