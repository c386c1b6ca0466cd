package syncer

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// spent is what a status says was moved in the last 24 hours.
func spent(s mail.SyncStatus) (n int64) {
	for i := range 24 {
		if i < len(s.Moved)-1 {
			n += s.Moved[i]
		}
	}
	return n
}

// TestEveryByteIsSpent: what comes and what goes counts against the day, in whatever pieces and at once, and for the provider.
func TestEveryByteIsSpent(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := newAccount(New(Options{Now: c.now, Log: slog.New(slog.DiscardHandler)}), "a", func() {})
	a.status.count(&a.day)
	here, there := net.Pipe()
	defer there.Close()
	count := a.e.usage.of("")
	conn, err := a.meter(count, func(context.Context, string, string) (net.Conn, error) { return here, nil })(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.CopyN(io.Discard, there, 300)
		_, _ = there.Write(make([]byte, 500))
	}()
	if _, err := conn.Write(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if n := spent(a.status.get()); n != 300 {
		t.Errorf("%d bytes count when 300 were sent", n)
	}
	if _, err := io.ReadFull(conn, make([]byte, 120)); err != nil {
		t.Fatal(err)
	}
	if n := spent(a.status.get()); n != 420 {
		t.Errorf("%d bytes count when 120 more have come, of a message of 500", n)
	}
	if u := a.e.Usage()["other"]; u.Sent != 300 || u.Received != 120 {
		t.Errorf("the provider's are %+v", u)
	}
	if a.day.over(c.at, 420) == 0 || a.day.over(c.at, 421) != 0 {
		t.Error("the day is not over when it should be")
	}
}

// TestTheDayIsSaved: where bytes are counted a death forgets a minute of them at most, and where not, nothing is written that often.
func TestTheDayIsSaved(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int64{"counted": 1_000_000, "not counted": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.a.e.o.Limits.BytesPerDay = limit
			r.restart(false)
			save := func() {
				t.Helper()
				if err := r.a.saveStatus(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			save()
			r.a.day.add(r.now(), 5000)
			r.wait(61 * time.Second)
			save()
			if saved := r.now().Sub(r.a.saved) < time.Minute; saved != (limit > 0) {
				t.Errorf("written within a minute: %t", saved)
			}
			r.wait(11 * time.Minute)
			if limit == 0 {
				save()
			}
			acct, err := r.a.e.o.Store.Account(t.Context(), "", r.a.id)
			if err != nil {
				t.Fatal(err)
			}
			if n := spent(acct.Sync); n != min(limit, 5000) {
				t.Errorf("%d bytes are known after a death", n)
			}
		})
	}
}

// TestARefusedLoginCounts: it has come to nothing, whatever the server says.
func TestARefusedLoginCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Answer: func(c persona.Command) string {
		switch c.Name {
		case "LOGIN", "AUTHENTICATE":
			return "NO [AUTHENTICATIONFAILED] no"
		}
		return ""
	}})
	for n := range 3 {
		if _, err := r.a.open(t.Context()); err == nil {
			t.Fatal("it was let in")
		}
		if got := len(r.a.ledger.recent(r.now())); got != n+1 {
			t.Errorf("after %d logins %d count", n+1, got)
		}
	}
}

// TestLoginsOfAWrongClock: logins that are to come were noted by a clock that was wrong. They keep nobody from trying.
func TestLoginsOfAWrongClock(t *testing.T) {
	t.Parallel()
	now := newClock().at
	var noted []time.Time
	for n := range loginsPerHour {
		noted = append(noted, now.Add(time.Duration(n-1)*24*time.Hour).Add(-time.Minute))
	}
	var l ledger
	l.recall(noted, now)
	if l.rest(now) > 0 || len(l.times) != 2 {
		t.Errorf("rests for %v, by %v", l.rest(now), l.times)
	}
	if got := l.recent(now); len(got) != 1 || !got[0].Equal(now.Add(-time.Minute)) {
		t.Errorf("still count: %v", got)
	}
}

// TestFailuresAreSpread: accounts that fail together do not try again together, nor do their watches.
func TestFailuresAreSpread(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	waits, watches := map[time.Duration]bool{}, map[time.Duration]bool{}
	for range 5 {
		r.a.backoff, r.a.watchRetry = backoff{failures: 5}, backoff{failures: 5}
		waits[r.a.failed(t.Context(), mail.E(mail.Unavailable, "sync", "", nil))] = true
		ended := make(chan watched, 1)
		ended <- watched{lasted: time.Second}
		r.a.watchEnded = ended
		before := r.a.e.o.Now()
		r.a.keepWatch(t.Context())
		watches[r.a.watchAfter.Sub(before)] = true
	}
	if len(waits) < 2 || len(watches) < 2 {
		t.Errorf("all wait the same: %v, %v", waits, watches)
	}
}
