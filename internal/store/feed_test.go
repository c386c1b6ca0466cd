package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// at makes the store's clock.
type testClock struct{ now time.Time }

func TestFeedOrderAndRetention(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		clock := &testClock{time.Unix(1800000000, 0)}
		p.o.Now = func() time.Time { return clock.now }
		s := p.open(t)
		ctx := context.Background()
		a, ma := addAccount(t, s, "ada@example.test")
		b, mb := addAccount(t, s, "bo@example.test")
		ta, _ := ma.NextTerm(ctx)
		tb, _ := mb.NextTerm(ctx)
		step := func(m *Mailbox, term mail.Term, n int) mail.Seq {
			t.Helper()
			var seq mail.Seq
			for range n {
				clock.now = clock.now.Add(time.Second)
				res, err := m.Apply(ctx, Batch{Term: term, State: &mail.SyncStatus{State: mail.StateLive, Reason: fmt.Sprint(clock.now.Unix()), Since: clock.now}})
				if err != nil {
					t.Fatal(err)
				}
				seq = res.Seq
			}
			return seq
		}
		grow := func() {
			t.Helper()
			sa, _ := ma.Seq(ctx)
			sb, _ := mb.Seq(ctx)
			ka, _ := ma.Kept(ctx)
			kb, _ := mb.Kept(ctx)
			if err := s.GrowFeed(ctx, a.App, []Grown{{a.ID, ka, sa}, {b.ID, kb, sb}}); err != nil {
				t.Fatal(err)
			}
		}
		show := func(after Place) (out []string) {
			t.Helper()
			rows, err := s.Feed(ctx, a.App, after, 100)
			if err != nil {
				return []string{mail.KindOf(err).String()}
			}
			for _, r := range rows {
				name := map[mail.AccountID]string{a.ID: "a", b.ID: "b", mail.AccountID(a.App): "app"}[r.Account]
				out = append(out, fmt.Sprintf("%d %s %d-%d", r.Pos, name, r.From, r.To))
			}
			return out
		}
		want := func(after Place, want ...string) {
			t.Helper()
			if got := show(after); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after %+v: %q, want %q", after, got, want)
			}
		}
		step(ma, ta, 3)
		grow()
		grow() // again changes nothing
		want(Place{}, "1 app 1-2", "2 a 1-3")
		step(mb, tb, 2)
		step(ma, ta, 1)
		clock.now = clock.now.Add(24 * time.Hour)
		grow()
		want(Place{Pos: 2}, "3 a 4-4", "4 b 1-2")
		want(Place{Pos: 2, Seq: 2}, "2 a 1-3", "3 a 4-4", "4 b 1-2")
		want(Place{Pos: 4})
		want(Place{Pos: 5}, "expired") // of another history
		want(Place{Pos: 4, Mark: 7}, "expired")
		if pos, err := s.FeedBefore(ctx, a.App, clock.now); err != nil || pos != 2 {
			t.Errorf("before now: %d %v", pos, err)
		}

		// What the feed has still to tell stays in the logs, whatever its age.
		clock.now = clock.now.Add(time.Hour)
		if n, err := s.Prune(ctx, a, clock.now); err != nil || n != 0 {
			t.Errorf("dropped %d: %v", n, err)
		}
		if err := s.PruneFeed(ctx, clock.now.Add(-2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		want(Place{}, "expired")
		want(Place{Pos: 2, Seq: 2}, "expired") // the rest of row 2 is gone
		want(Place{Pos: 2}, "3 a 4-4", "4 b 1-2")
		if n, err := s.Prune(ctx, a, clock.now); err != nil || n != 3 {
			t.Errorf("dropped %d: %v", n, err)
		}
		if kept, _ := ma.Kept(ctx); kept != 4 {
			t.Errorf("kept from %d", kept)
		}
		if _, err := ma.ChangesFrom(ctx, Place{Seq: 2}, 10); !mail.IsKind(err, mail.Expired) {
			t.Errorf("read what is gone: %v", err)
		}
		list, err := ma.ChangesFrom(ctx, Place{Seq: 3}, 10)
		if err != nil || len(list) != 1 {
			t.Errorf("%v %v", list, err)
		}
		if _, err := ma.ChangesFrom(ctx, Place{Seq: 4, Mark: list[0].At.UnixMilli() + 1}, 10); !mail.IsKind(err, mail.Expired) {
			t.Errorf("a place of another history: %v", err)
		}
		if _, err := ma.ChangesFrom(ctx, Place{Seq: 5}, 10); !mail.IsKind(err, mail.Expired) {
			t.Errorf("a place that does not exist: %v", err)
		}

		// A log of which some was dropped before it came into the feed: who had read all there was has missed something.
		step(mb, tb, 5)
		if err := s.PruneFeed(ctx, clock.now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		clock.now = clock.now.Add(time.Hour)
		if n, err := s.Prune(ctx, b, clock.now); err != nil || n != 6 { // the newest stays
			t.Errorf("dropped %d: %v", n, err)
		}
		grow()
		want(Place{Pos: 4}, "expired")
		want(Place{Pos: 5}, "6 b 7-7")
		if err := s.DeleteAccount(ctx, b.ID); err != nil {
			t.Fatal(err)
		}
		grow()
		want(Place{Pos: 6}, "7 app 3-3")
		used, err := s.FeedUsed(ctx, a.App)
		if err != nil || !used {
			t.Error(err)
		}
	})
}

// TestPruneKeepsWhatIsNeeded: neither a webhook's next change nor a replay's is dropped.
func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		clock := &testClock{time.Unix(1800000000, 0)}
		p.o.Now = func() time.Time { return clock.now }
		s := p.open(t)
		ctx := context.Background()
		a, m := addAccount(t, s, "ada@example.test")
		w, err := s.CreateWebhook(ctx, Webhook{App: a.App, URL: "https://x.example/h", Triggers: []string{"message.created"}})
		if err != nil {
			t.Fatal(err)
		}
		term, _ := m.NextTerm(ctx)
		for range 10 {
			clock.now = clock.now.Add(time.Second)
			if _, err := m.Apply(ctx, Batch{Term: term, State: &mail.SyncStatus{State: mail.StateLive, Reason: fmt.Sprint(clock.now.Unix()), Since: clock.now}}); err != nil {
				t.Fatal(err)
			}
		}
		prune := func(kept mail.Seq) {
			t.Helper()
			if _, err := s.Prune(ctx, a, clock.now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if got, err := m.Kept(ctx); err != nil || got != kept {
				t.Errorf("kept from %d, want %d: %v", got, kept, err)
			}
		}
		prune(1) // the webhook was told nothing yet
		if err := s.RecordDelivery(ctx, w, WebhookCursor{Webhook: w.ID, Account: a.ID, Seq: 4}); err != nil {
			t.Fatal(err)
		}
		prune(5)
		if err := s.RecordDelivery(ctx, w, WebhookCursor{Webhook: w.ID, Account: a.ID, Seq: 10}); err != nil {
			t.Fatal(err)
		}
		r, err := s.CreateReplay(ctx, Replay{Webhook: w.ID, Account: a.ID, Start: Place{Seq: 6}, Goal: Place{Seq: 10}})
		if err != nil {
			t.Fatal(err)
		}
		prune(7)
		if r, err = s.CancelReplay(ctx, w.ID, r.ID); err != nil || r.State != ReplayCancelled {
			t.Fatal(err)
		}
		if running, err := s.RecordReplay(ctx, Replay{ID: r.ID, Webhook: w.ID, State: ReplayRunning}, nil); err != nil || running {
			t.Errorf("a cancelled replay goes on: %v", err)
		}
		prune(10)
		if _, err := s.Replay(ctx, w.ID, "rp_none"); !mail.IsKind(err, mail.NotFound) {
			t.Error(err)
		}
		for range maxReplays {
			if _, err := s.CreateReplay(ctx, Replay{Webhook: w.ID}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.CreateReplay(ctx, Replay{Webhook: w.ID}); !mail.IsKind(err, mail.Conflict) {
			t.Errorf("too many: %v", err)
		}
	})
}
