package syncer

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

func TestGovernorKeepsEveryLimit(t *testing.T) {
	t.Parallel()
	g := newGovernor(Limits{PerAccount: 2, PerHost: 3, Total: 4})
	var release []func()
	grant := func(id mail.AccountID, host string, want bool) {
		t.Helper()
		r, ok := g.try(id, host, 0)
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
	grant("c", "i", true)
	grant("d", "j", false) // total
	if _, ok := g.try("e", "j", 1); ok {
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
	full := newGovernor(Limits{Total: 1})
	if _, ok := full.try("a", "h", 0); !ok {
		t.Fatal("first connection refused")
	}
	if _, err := full.acquire(ctx, "a", "h", 0); err == nil {
		t.Error("a canceled wait succeeded")
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var b backoff
	last := time.Duration(0)
	for i := range 12 {
		d := b.next(mail.Unreachable, 0, 0)
		if d < last || d > backoffMost {
			t.Fatalf("attempt %d waits %v after %v", i, d, last)
		}
		last = d
	}
	if last != backoffMost {
		t.Errorf("never reaches %v: %v", backoffMost, last)
	}
	b.survived()
	if d := b.next(mail.Unreachable, 0, 0); d != backoffFirst {
		t.Errorf("after survival: %v", d)
	}
	if d := b.next(mail.Reauth, 0, 0); d < time.Hour/loginsPerHour {
		t.Errorf("wrong password tried again after %v", d)
	}
	if d := b.next(mail.Limited, 9*time.Minute, 0); d != 9*time.Minute {
		t.Errorf("the server's own wait was ignored: %v", d)
	}
	if d := b.next(mail.Unreachable, 0, 0.999); d > backoffMost*5/4 {
		t.Errorf("jitter out of range: %v", d)
	}
}
