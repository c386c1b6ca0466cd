package notify

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// ended waits until a replay has ended.
func (b *bench) ended(webhook, id string) store.Replay {
	b.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); ; {
		r, err := b.store.Replay(b.t.Context(), webhook, id)
		if err != nil {
			b.t.Fatal(err)
		}
		if r.State != store.ReplayRunning {
			return r
		}
		select {
		case <-tick.C:
		case <-end:
			b.t.Fatalf("the replay goes on: %+v", r)
		}
	}
}

func (b *bench) replay(r store.Replay) store.Replay {
	b.t.Helper()
	r, err := b.n.Replay(b.t.Context(), b.app, r)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// TestReplay: from a place, a time, of one object, of all accounts; under the first ids, up to now.
func TestReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	b.clock.add(time.Second) // the account is older than the webhook
	w := b.hook(r.srv.URL, "message.created", "message.updated", "grant.created")
	b.start()
	b.deliver(mail.OriginInitial, "old", "x", false)
	first, _ := b.deliver(mail.OriginLive, "one", "x", false)
	r.expect("message.created one")
	b.clock.add(time.Minute)
	b.deliver(mail.OriginLive, "two", "x", false)
	b.deliver(mail.OriginLive, "three", "x", false)
	ids := map[string]string{}
	for _, g := range r.expect("message.created two", "message.created three") {
		ids[g.String()] = g.note.ID
	}
	b.attempts(w.ID, 3)

	p := b.replay(store.Replay{Webhook: w.ID, Account: b.id, Start: b.begin(b.id, Start{At: b.clock.Now()})})
	for _, g := range r.expect("message.created two", "message.created three") {
		if g.note.ID != ids[g.String()] || g.Get(ReplayHeader) != p.ID {
			t.Errorf("id %s, was %s; %s: %q", g.note.ID, ids[g.String()], ReplayHeader, g.Get(ReplayHeader))
		}
		g.verify(t, w.Secret.Reveal(), w.Secret.Reveal())
	}
	if p = b.ended(w.ID, p.ID); p.State != store.ReplayDone || p.Sent != 2 || p.Place != p.Goal {
		t.Errorf("%+v", p)
	}
	b.replay(store.Replay{Webhook: w.ID, Account: b.id, Object: string(first), Start: b.begin(b.id, Start{})})
	r.expect("message.created one")
	all := b.replay(store.Replay{Webhook: w.ID, Start: b.begin("", Start{})})
	r.expect("grant.created <nil>", "message.created one", "message.created two", "message.created three")
	if all = b.ended(w.ID, all.ID); all.State != store.ReplayDone || all.Sent != 4 {
		t.Errorf("%+v", all)
	}
	if list := b.attempts(w.ID, 3+2+1+4); len(list) != 10 {
		t.Errorf("%d attempts are listed", len(list))
	}
	if _, err := b.n.Replay(t.Context(), b.app, store.Replay{Webhook: w.ID, Account: b.id, Start: store.Place{Seq: 1000}}); !mail.IsKind(err, mail.Expired) {
		t.Errorf("from a place that does not exist: %v", err)
	}
}

// TestReplayIsBesideTheLane: while a replay waits for an endpoint that does not take it, what is new is delivered.
func TestReplayIsBesideTheLane(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	w := b.hook(r.srv.URL, "message.created")
	b.start()
	b.deliver(mail.OriginLive, "one", "x", false)
	r.expect("message.created one")
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	r.become(func(rw http.ResponseWriter, req *http.Request) {
		if req.Header.Get(ReplayHeader) != "" {
			arrived <- struct{}{}
			<-release
		}
	})
	p := b.replay(store.Replay{Webhook: w.ID, Account: b.id})
	<-arrived
	r.expect("message.created one")
	for i := range 20 {
		b.deliver(mail.OriginLive, fmt.Sprint(i), "x", false)
		r.expect(fmt.Sprint("message.created ", i))
	}
	close(release)
	if p = b.ended(w.ID, p.ID); p.State != store.ReplayDone || p.Sent != 1 {
		t.Errorf("%+v", p)
	}
}

// TestReplaySurvives: failures are tried again, a restart goes on where it was, cancelling ends it, a last failure says so.
func TestReplaySurvives(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	w := b.hook(r.srv.URL, "message.created")
	b.start()
	for i := range 3 {
		b.deliver(mail.OriginLive, fmt.Sprint(i), "x", false)
		r.expect(fmt.Sprint("message.created ", i))
	}
	b.attempts(w.ID, 3)
	r.become(status(503))
	p := b.replay(store.Replay{Webhook: w.ID, Account: b.id})
	r.expect("message.created 0")
	b.attempts(w.ID, 4)
	b.n.Stop()
	if p, err := b.store.Replay(t.Context(), w.ID, p.ID); err != nil || p.State != store.ReplayRunning || p.Attempts != 1 || p.NextAt.IsZero() {
		t.Errorf("%+v %v", p, err)
	}
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.reopen()
	r.become(nil)
	b.start()
	b.clock.add(time.Hour)
	r.expect("message.created 0", "message.created 1", "message.created 2")
	if p = b.ended(w.ID, p.ID); p.State != store.ReplayDone || p.Sent != 3 {
		t.Errorf("%+v", p)
	}

	r.become(status(500))
	p = b.replay(store.Replay{Webhook: w.ID, Account: b.id})
	r.expect("message.created 0")
	if _, err := b.store.CancelReplay(t.Context(), w.ID, p.ID); err != nil {
		t.Fatal(err)
	}
	if p = b.ended(w.ID, p.ID); p.State != store.ReplayCancelled {
		t.Errorf("%+v", p)
	}
	r.become(status(410))
	p = b.replay(store.Replay{Webhook: w.ID, Account: b.id})
	r.expect("message.created 0")
	if p = b.ended(w.ID, p.ID); p.State != store.ReplayFailed || p.Reason == "" {
		t.Errorf("%+v", p)
	}
}
