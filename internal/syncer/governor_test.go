package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/persona"
)

// clock is a time that a test moves on.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)} }

func TestGovernorKeepsEveryLimit(t *testing.T) {
	t.Parallel()
	g := newGovernor(Limits{PerAccount: 2, PerHost: 3, Total: 4}, newClock().now)
	var release []func()
	grant := func(id mail.AccountID, host string, want bool) {
		t.Helper()
		r, ok := g.try(id, host, 0, false)
		if ok != want {
			t.Fatalf("connection of %s to %s: granted %v, want %v", id, host, ok, want)
		}
		if ok {
			release = append(release, r)
		}
	}
	grant("a", "h", true)
	grant("a", "h", true)
	grant("a", "h", false) // account
	grant("b", "h", true)
	grant("c", "h", false) // host
	if _, ok := g.try("c", "i", 0, true); ok {
		t.Fatal("the last places were given to one that is only good to have")
	}
	grant("c", "i", true)
	grant("d", "j", false) // total
	if _, ok := g.try("e", "j", 1, false); ok {
		t.Fatal("an account's own limit overrode the total")
	}

	got := make(chan error, 1)
	go func() {
		r, err := g.acquire(context.Background(), "c", "h", 0)
		if err == nil {
			r()
		}
		got <- err
	}()
	release[0]()
	release[0]() // twice is once
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	for _, r := range release {
		r()
	}
	if g.total != 0 || len(g.accounts) != 0 || len(g.hosts) != 0 {
		t.Errorf("left over: %d %v %v", g.total, g.accounts, g.hosts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	full := newGovernor(Limits{Total: 1}, newClock().now)
	if _, ok := full.try("a", "h", 0, false); !ok {
		t.Fatal("first connection refused")
	}
	if _, err := full.acquire(ctx, "a", "h", 0); err == nil {
		t.Error("a canceled wait succeeded")
	}
}

func TestARefusedConnectionShrinksThePool(t *testing.T) {
	t.Parallel()
	c := newClock()
	g := newGovernor(Limits{PerAccount: 4}, c.now)
	try := func() bool { _, ok := g.try("a", "h", 0, true); return ok }
	for range 2 {
		if !try() {
			t.Fatal("refused below every limit")
		}
	}
	g.shrink("a") // the server refused a third
	if try() {
		t.Error("asked for a third again")
	}
	if _, ok := g.try("b", "h", 0, true); !ok {
		t.Error("another account suffers for it")
	}
	c.at = c.at.Add(shrinkFor)
	if !try() {
		t.Error("it is not tried again after an hour")
	}
}

func TestLoginsAreSpread(t *testing.T) {
	t.Parallel()
	c := newClock()
	g := newGovernor(Limits{HostLogins: 10, TotalLogins: 100}, c.now)
	last := time.Duration(0)
	for i := range 50 {
		if last = g.turn("h"); last != time.Duration(i)*100*time.Millisecond {
			t.Fatalf("login %d at one host waits %v", i, last)
		}
	}
	for i := range 50 { // others, each at its own host
		if w := g.turn(fmt.Sprint("h", i)); w > time.Second {
			t.Fatalf("login at a free host waits %v", w)
		}
	}
	c.at = c.at.Add(time.Hour)
	if w := g.turn("h"); w != 0 {
		t.Errorf("after an hour without logins one waits %v", w)
	}
}

func TestAHostThatNobodyReachesIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := newClock()
	g := newGovernor(Limits{}, c.now)
	rests := func(id mail.AccountID) time.Duration {
		if err := g.resting(id, "h"); err != nil {
			return err.(*mail.Error).After
		}
		return 0
	}
	for range 20 {
		g.reached("a", "h", false)
	}
	if rests("b") > 0 {
		t.Fatal("one account's trouble became another's")
	}
	g.reached("b", "h", false)
	g.reached("c", "h", false)
	if w := rests("d"); w < restFirst || w > restFirst*5/4 {
		t.Fatalf("left alone for %v", w)
	}
	if g.resting("d", "elsewhere") != nil {
		t.Error("another host is left alone, too")
	}
	c.at = c.at.Add(restFirst)
	if rests("d") > 0 {
		t.Fatal("nobody may try after the rest")
	}
	if rests("e") == 0 {
		t.Error("all try at once after the rest")
	}
	g.reached("d", "h", false)
	if w := rests("e"); w < 2*restFirst {
		t.Errorf("the second rest is %v", w)
	}
	for range 10 {
		c.at = c.at.Add(time.Hour)
		g.reached("d", "h", false)
	}
	if w := rests("e"); w > restMost*5/4 {
		t.Errorf("it rests %v", w)
	}
	g.reached("d", "h", true)
	if rests("e") > 0 {
		t.Error("it is left alone although it was reached")
	}
}

// TestAWrongPortIsNotTheHost: what accounts with other settings cannot reach keeps nobody from the same host.
func TestAWrongPortIsNotTheHost(t *testing.T) {
	t.Parallel()
	g := newGovernor(Limits{}, newClock().now)
	right := mail.Endpoint{Host: "imap.example.com", Port: 993, Security: mail.SecurityTLS}
	for _, wrong := range []mail.Endpoint{{Host: right.Host, Port: 994, Security: right.Security}, {Host: right.Host, Port: right.Port, Security: mail.SecuritySTARTTLS}} {
		for _, id := range []mail.AccountID{"a", "b", "c"} {
			g.reached(id, serverOf(wrong), false)
		}
		if g.resting("d", serverOf(wrong)) == nil {
			t.Errorf("%v is not left alone", wrong)
		}
	}
	if err := g.resting("d", serverOf(right)); err != nil {
		t.Error(err)
	}
}

// TestNoPlaceIsToldOf: an account for which no connection is left does not wait in silence.
func TestNoPlaceIsToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGovernor(Limits{PerHost: 1}, time.Now)
		release, err := g.acquire(t.Context(), "a", "h", 1)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := g.acquire(t.Context(), "b", "h", 1); !mail.IsKind(err, mail.Unavailable) || time.Since(began) != openTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.AfterFunc(time.Second, release)
		if _, err := g.acquire(t.Context(), "b", "h", 1); err != nil {
			t.Error(err)
		}
	})
}

// TestWaits is the table of what an error means for the next attempt and for the account's state.
func TestWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what     string
		kind     mail.Kind
		after    time.Duration
		failures int // before
		want     time.Duration
		state    mail.State
	}{
		{"a dropped connection", mail.Unreachable, 0, 0, time.Second, mail.StateError},
		{"the fourth in a row", mail.Unreachable, 0, 3, 8 * time.Second, mail.StateError},
		{"the hundredth", mail.Unreachable, 0, 99, 5 * time.Minute, mail.StateError},
		{"a wrong password", mail.Reauth, 0, 0, 20 * time.Minute, mail.StateReauth},
		{"a refusal", mail.Refused, 0, 0, 5 * time.Minute, mail.StateError},
		{"wrong settings", mail.Invalid, 0, 0, 5 * time.Minute, mail.StateError},
		{"too many connections, without a hint", mail.Limited, 0, 0, time.Second, mail.StateThrottled},
		{"the server's own wait", mail.Limited, 9 * time.Minute, 0, 9 * time.Minute, mail.StateThrottled},
		{"a wait that is a day", mail.Limited, 240 * time.Hour, 0, longestHint, mail.StateThrottled},
		{"not now", mail.Unavailable, time.Minute, 0, time.Minute, mail.StateError},
		{"another server acts", mail.Fenced, 0, 0, time.Second, mail.StateError},
	} {
		b := backoff{failures: c.failures}
		if got := b.next(c.kind, c.after, 0); got != c.want {
			t.Errorf("%s: waits %v, want %v", c.what, got, c.want)
		}
		b = backoff{failures: c.failures}
		if got := b.next(c.kind, 0, 0.999); c.after == 0 && (got <= c.want || got > c.want*5/4) {
			t.Errorf("%s: with jitter %v", c.what, got)
		}
		if state, action := stateOf(c.kind); state != c.state || action == "" {
			t.Errorf("%s: %s, %q", c.what, state, action)
		}
		b.survived()
		if d := b.next(mail.Unreachable, 0, 0); d != backoffFirst {
			t.Errorf("%s: after survival %v", c.what, d)
		}
	}
}

// TestLoginsThatComeToNothing: an account that fails for a day logs in at most twelve times in any hour of it.
func TestLoginsThatComeToNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	var b backoff
	var l ledger
	var logins []time.Time
	for end := c.at.Add(24 * time.Hour); c.at.Before(end); {
		l.login(c.at)
		logins = append(logins, c.at)
		c.at = c.at.Add(max(b.next(mail.Unavailable, 0, 0), l.rest(c.at)))
	}
	for i := loginsPerHour; i < len(logins); i++ {
		if logins[i].Sub(logins[i-loginsPerHour]) < time.Hour {
			t.Fatalf("%d logins within %v", loginsPerHour+1, logins[i].Sub(logins[i-loginsPerHour]))
		}
	}
	if len(logins) < 200 {
		t.Errorf("it hardly tries any more: %d logins in a day", len(logins))
	}
	l.clear()
	if l.rest(c.at) > 0 {
		t.Error("it rests although a login came to something")
	}
}

func TestDayCountsTheLast24Hours(t *testing.T) {
	t.Parallel()
	c := newClock()
	var d day
	const most = 1000
	d.add(c.at, 400)
	c.at = c.at.Add(3 * time.Hour)
	d.add(c.at, 500)
	if w := d.over(c.at, most); w != 0 {
		t.Fatalf("900 of 1000: waits %v", w)
	}
	d.add(c.at, 200)
	w := d.over(c.at, most)
	if w < 20*time.Hour || w > 21*time.Hour {
		t.Errorf("until the 400 are a day old: %v", w)
	}
	var other day
	other.load(d.save(c.at.Add(time.Hour))) // a restart
	if w2 := other.over(c.at, most); w2 != w {
		t.Errorf("after a restart %v, not %v", w2, w)
	}
	c.at = c.at.Add(w)
	if w := d.over(c.at, most); w != 0 {
		t.Errorf("then: %v", w)
	}
	c.at = c.at.Add(48 * time.Hour)
	if w := d.over(c.at, 1); w != 0 {
		t.Errorf("two days later: %v", w)
	}
	if w := d.over(c.at, 0); w != 0 {
		t.Errorf("without a limit: %v", w)
	}
}

// TestALookIsNoProofOfSurvival: whoever lets us in, shows all folders and drops us is not asked again at once.
func TestALookIsNoProofOfSurvival(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := newAccount(New(Options{Now: c.now, Log: slog.New(slog.DiscardHandler)}), "a", func() {})
	a.backoff.failures = 3
	began, moved := c.at, a.moved.Load()
	if a.prove(began, moved); a.backoff.failures != 3 {
		t.Error("a look that found nothing was taken for survival")
	}
	a.moved.Add(1)
	if a.prove(began, moved); a.backoff.failures != 0 {
		t.Error("a message that was stored was not")
	}
	a.backoff.failures = 3
	c.at = c.at.Add(survival)
	if a.prove(began, a.moved.Load()); a.backoff.failures != 0 {
		t.Error("a minute of life was not")
	}
}

// TestEachSessionBringsSomeMail: where every connection breaks after some megabytes, each goes on where the last one ended, and
// soon: the login has come to something.
func TestEachSessionBringsSomeMail(t *testing.T) {
	t.Parallel()
	p := persona.Start(t, persona.Knobs{})
	for i := range 60 {
		p.Deliver("INBOX", append(letter(i), strings.Repeat("line of sixteen\r\n", 1000)...))
	}
	proxy := faultnet.Start(t, p.Addr, "cut server after 150000")
	at := netip.MustParseAddrPort(proxy.Addr)
	r := rigAt(t, at.Addr().String(), int(at.Port()), persona.Password, "ann")
	ctx, live := context.WithCancel(t.Context())
	r.a.e.o.Events.State = func(_ mail.AccountID, s mail.SyncStatus) {
		if s.State == mail.StateLive {
			live()
		}
	}
	rounds := 0
	for ctx.Err() == nil {
		err := r.a.guardedRound(ctx)
		if ctx.Err() != nil {
			break
		}
		if pause := r.a.failed(ctx, err); pause > 2*backoffFirst {
			t.Fatalf("round %d: waits %v after %v", rounds, pause, err)
		}
		if rounds++; rounds > 40 {
			t.Fatal("it comes to no end")
		}
		r.wait(2 * backoffFirst)
	}
	if rounds < 4 {
		t.Errorf("%d rounds: the connections did not break", rounds)
	}
}

// TestLoginsAreCountedOverRestarts: an account that fails logs in no more often when the process dies and begins again each time, and at
// once when somebody asks.
func TestLoginsAreCountedOverRestarts(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.login()
	r.look(true)
	r.restart(false)
	before := r.p.Logins()
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(c persona.Command) string {
			if c.Name == "LIST" {
				return persona.Cut
			}
			return ""
		}
	})
	for range 3 * loginsPerHour {
		if err := r.a.round(t.Context()); !errors.Is(err, errRest) {
			r.a.failed(t.Context(), err)
		}
		r.restart(true)
	}
	if n := r.p.Logins() - before; n != loginsPerHour {
		t.Errorf("%d logins", n)
	}
	if err := r.a.round(t.Context()); !errors.Is(err, errRest) {
		t.Errorf("it does not rest: %v", err)
	}
	if st := r.a.status.get(); st.State != mail.StateError || st.Reason == "" || st.Action == "" {
		t.Errorf("while it rests it says %+v", st)
	}
	r.a.proved()
	if err := r.a.round(t.Context()); errors.Is(err, errRest) {
		t.Error("it rests although it was asked to try")
	}
	r.restart(true)
	r.wait(time.Hour)
	if err := r.a.round(t.Context()); errors.Is(err, errRest) {
		t.Error("it rests after an hour")
	}
}

// TestAMailboxThatIsConnectedAnewIsTriedAtOnce: also if very many logins have just come to nothing.
func TestAMailboxThatIsConnectedAnewIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	for range loginsPerHour {
		r.a.ladder.kept.Logins = append(r.a.ladder.kept.Logins, r.now())
	}
	if err := r.a.apply(t.Context(), store.Batch{Origin: mail.OriginLive}); err != nil {
		t.Fatal(err)
	}
	r.restart(false)
	if err := r.a.round(t.Context()); !errors.Is(err, errRest) {
		t.Errorf("it does not rest: %v", err)
	}
	defer r.a.e.Close()
	r.a.e.Start(r.a.id)
	r.p.Await("a login", func() bool { return r.p.Logins() > 0 })
}
