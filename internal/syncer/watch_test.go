package syncer_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

// never is a time between polls in which no test ends.
const never = time.Hour

func slowPolls(o *syncer.Options) { o.Poll = never }

// TestNotifyTellsOfEveryFolder checks on a real server that nothing is polled where NOTIFY tells of it.
func TestNotifyTellsOfEveryFolder(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := d.Login(t, "ann")
	d.CreateFolder(t, "ann", "Work")
	s.Append("INBOX", message(1), nil, day)
	s.Append("Work", message(2), nil, day)
	b := &bench{t: t, d: &d.IMAP, user: "ann", tweak: slowPolls}
	b.open(mail.Endpoint{Host: d.Host, Port: d.Port}, d.Password)
	b.live()
	b.equal()
	s.Append("Work", message(3), nil, day)
	b.equal()
	s.Append("INBOX", message(4), nil, day)
	b.equal()
	s.Do("SELECT Work")
	s.Do(`UID STORE 1 +FLAGS (\Flagged)`)
	b.equal()
	s.Do(`UID MOVE 2 INBOX`)
	b.equal()
	s.Do("CREATE New")
	s.Append("New", message(5), nil, day)
	b.equal()
}

// TestIdleOnInboxAndSent checks that both are told of without a poll, with one connection more than the account's own.
func TestIdleOnInboxAndSent(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	p.Deliver("INBOX", message(1))
	b := setupPersona(t, p, slowPolls)
	b.live()
	b.equal()
	p.Await("IDLE on both", func() bool { return p.Count("IDLE") >= 2 })
	p.Deliver("INBOX", message(2))
	b.equal()
	p.Deliver("Sent", message(3), `\Seen`)
	b.equal()
	p.Flag("INBOX", 1, `\Flagged`)
	b.equal()
	if n := p.Open(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestMailThatComesBeforeIdle checks that what arrives between the look at a folder and IDLE on it does not wait for a poll.
func TestMailThatComesBeforeIdle(t *testing.T) {
	t.Parallel()
	var p *persona.Server
	var once sync.Once
	p = persona.Start(t, persona.Knobs{Answer: func(c persona.Command) string {
		if c.Name == "EXAMINE" && c.Folder == "Sent" {
			once.Do(func() { p.Deliver("Sent", message(2)) })
		}
		return ""
	}})
	b := setupPersona(t, p, slowPolls)
	b.live()
	p.Await("mail in Sent", func() bool { return len(p.UIDs("Sent")) == 1 })
	b.equal()
}

// TestIdleWithOneConnection checks that INBOX is listened to on the account's own connection when there is no other.
func TestIdleWithOneConnection(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	p.Deliver("INBOX", message(1))
	b := setupPersona(t, p, func(o *syncer.Options) { o.Poll, o.Limits.PerAccount = never, 1 })
	b.live()
	p.Await("IDLE", func() bool { return p.Count("IDLE") >= 1 })
	p.Deliver("INBOX", message(2))
	b.equal()
	if n := p.Open(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestMuteIdle checks that mail is found by polls where IDLE is accepted and never tells anything.
func TestMuteIdle(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{Mute: true})
	b := setupPersona(t, p, nil)
	b.live()
	p.Deliver("INBOX", message(1))
	b.equal()
}

// TestHalfOpenConnections checks that a connection on which nothing comes any more is found dead and replaced, while a command
// runs and while it idles.
func TestHalfOpenConnections(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]string{
		"in a command":        `conn 1: stall server after "UIDNEXT"`,
		"in IDLE":             `conn 2: stall server after "+ idling"`,
		"in IDLE on the main": `conn 1: stall server after "+ idling"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, persona.Knobs{})
			p.Deliver("INBOX", message(1))
			net := faultnet.Start(t, p.Addr, rule)
			var port int
			if _, err := fmt.Sscanf(net.Addr[strings.LastIndexByte(net.Addr, ':')+1:], "%d", &port); err != nil {
				t.Fatal(err)
			}
			b := &bench{t: t, user: "ann", tweak: func(o *syncer.Options) { o.Poll, o.Silence, o.IdleRenew = 20*time.Second, time.Second, time.Second }}
			b.truth = truthOf(p)
			b.open(mail.Endpoint{Host: p.Host, Port: port}, persona.Password)
			b.live()
			p.Deliver("INBOX", message(2))
			b.equal()
		})
	}
}

// TestShortConnections checks that accounts whose provider punishes long connections keep none, and lose nothing by it.
func TestShortConnections(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Yahoo())
	for i := range 30 {
		p.Deliver("INBOX", message(i))
	}
	b := setupPersona(t, p, func(o *syncer.Options) {
		o.Profile = func(a mail.Account) provider.Profile {
			return provider.Profile{Key: "yahoo", Limits: provider.Limits{Conns: 10, Session: 25 * time.Second}}
		}
	})
	b.live()
	b.equal()
	logins := p.Logins()
	p.Deliver("INBOX", message(100))
	b.engine.Start(b.id) // no need to wait for the poll
	b.equal()
	p.Await("another login", func() bool { return p.Logins() > logins })
	if log := p.Log(); slices.ContainsFunc(log, func(l string) bool { return strings.HasSuffix(l, "C: IDLE") }) || !slices.ContainsFunc(log, func(l string) bool { return strings.HasSuffix(l, "C: LOGOUT") }) {
		t.Error("it idles, or goes without a word")
	}
}

// TestTheWatchEnds: the connection that listens to INBOX ends while the next look is far; mail that comes then does not wait for it.
func TestTheWatchEnds(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string]string{"IDLE": persona.Basic + " IDLE SPECIAL-USE", "NOTIFY": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := persona.Start(t, persona.Knobs{Caps: caps})
			p.Deliver("INBOX", message(1))
			p.Create("Sent", `\Sent`)
			proxy := faultnet.Start(t, p.Addr, `conn 2: cut server after 4 "+ idling"`)
			at := netip.MustParseAddrPort(proxy.Addr)
			b := &bench{t: t, user: "ann", truth: truthOf(p), tweak: func(o *syncer.Options) { o.Poll, o.IdleRenew = never, time.Second }}
			b.open(mail.Endpoint{Host: "127.0.0.1", Port: int(at.Port())}, persona.Password)
			b.live()
			p.Deliver("INBOX", message(2))
			b.equal()
			p.Await("the watch to end", func() bool { return p.Open() == 1 })
			p.Deliver("INBOX", message(3))
			b.equal()
		})
	}
}

// TestNotifyOverflow: the server has too much to tell and tells nothing any more, on a connection that goes on. It is asked anew.
func TestNotifyOverflow(t *testing.T) {
	t.Parallel()
	var once sync.Once
	p := persona.Start(t, persona.Knobs{
		Caps: persona.All + " NOTIFY",
		Answer: func(c persona.Command) string {
			if c.Name == "NOTIFY" {
				return "OK done"
			}
			return ""
		},
		Say: func(c persona.Command, line string) string {
			if c.Name == "IDLE" && strings.HasPrefix(line, "+") {
				once.Do(func() { line += "\r\n* OK [NOTIFICATIONOVERFLOW] too much" })
			}
			return line
		},
	})
	b := setupPersona(t, p, nil)
	b.live()
	b.until("NOTIFY to be asked for again", func() bool { return p.Count("NOTIFY") == 2 })
	p.Deliver("INBOX", message(1))
	b.equal()
}
