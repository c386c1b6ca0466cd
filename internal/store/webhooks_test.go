package store

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

func TestWebhooks(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		s := p.open(t)
		a, m := addAccount(t, s, "a@example.com")
		w, err := s.CreateWebhook(ctx, Webhook{App: a.App, URL: "https://example.com/x", Description: "d", Triggers: []string{"message.created"}, Emails: []string{"ops@example.com"}, Compressed: true})
		if err != nil || !strings.HasPrefix(w.Secret.Reveal(), "whsec_") || w.Status != WebhookActive {
			t.Fatalf("%+v, %v", w, err)
		}
		got, err := s.Webhook(ctx, a.App, w.ID)
		if err != nil || got.Secret != w.Secret || got.URL != w.URL || !got.Compressed || got.Triggers[0] != "message.created" || got.Emails[0] != "ops@example.com" || !got.Since.Equal(w.Since) || !got.OldSecret.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
		if list, err := s.Webhooks(ctx, a.App); err != nil || len(list) != 1 || !list[0].Secret.IsZero() {
			t.Errorf("%+v, %v", list, err)
		}
		stranger := mail.AppID(newUUID())
		for _, err := range []error{
			func() error { _, err := s.Webhook(ctx, stranger, w.ID); return err }(),
			func() error { _, err := s.Webhook(ctx, a.App, "wh_x\x00'"); return err }(),
			s.DeleteWebhook(ctx, stranger, w.ID),
			func() error { _, err := s.RotateWebhookSecret(ctx, stranger, w.ID, 0); return err }(),
			func() error {
				_, err := s.UpdateWebhook(ctx, Webhook{ID: w.ID, App: stranger, Triggers: w.Triggers})
				return err
			}(),
		} {
			if !mail.IsKind(err, mail.NotFound) {
				t.Errorf("another application's webhook: %v", err)
			}
		}
		rotated, err := s.RotateWebhookSecret(ctx, a.App, w.ID, time.Hour)
		if err != nil || rotated.Secret == w.Secret || rotated.OldSecret != w.Secret || time.Until(rotated.OldUntil) < time.Minute {
			t.Errorf("%+v, %v", rotated, err)
		}

		// Cursors and attempts.
		if _, err := s.WebhookCursor(ctx, w.ID, a.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a cursor from nowhere: %v", err)
		}
		c := WebhookCursor{Webhook: w.ID, Account: a.ID, Seq: 7, Attempts: 2, FirstAt: time.UnixMilli(1000).UTC(), NextAt: time.UnixMilli(2000).UTC()}
		for n := range 3 {
			if err := s.RecordDelivery(ctx, w, c, Delivery{Seq: 8, Notification: "n", Type: "message.created", Attempt: n + 1, Status: 500, Took: time.Second, Error: "no"}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.WebhookCursor(ctx, w.ID, a.ID); err != nil || got != c {
			t.Errorf("%+v, %v", got, err)
		}
		list, err := s.Deliveries(ctx, w.ID, 0, 2)
		if err != nil || len(list) != 2 || list[0].Attempt != 3 || list[0].Account != a.ID || list[0].Took != time.Second || list[0].Error != "no" {
			t.Fatalf("%+v, %v", list, err)
		}
		if rest, err := s.Deliveries(ctx, w.ID, list[1].At, 10); err != nil || len(rest) != 1 || rest[0].Attempt != 1 {
			t.Errorf("%+v, %v", rest, err)
		}

		// Health does not undo a pause, and after a pause the old cursors count no more.
		fails := func(at time.Time, status WebhookStatus, reason string) {
			t.Helper()
			if err := s.DeliveryFailed(ctx, w.ID, at, func(since time.Time) (WebhookStatus, string) {
				if !since.Equal(w.Since) {
					t.Errorf("failing since %s", since)
				}
				return status, reason
			}); err != nil {
				t.Fatal(err)
			}
		}
		fails(w.Since, WebhookActive, "")
		fails(w.Since.Add(time.Minute), WebhookFailing, "why")
		if got, _ := s.Webhook(ctx, "", w.ID); got.Status != WebhookFailing || got.Reason != "why" || !got.FailingSince.Equal(w.Since) {
			t.Errorf("%+v", got)
		}
		if err := s.RecordDelivery(ctx, w, c, Delivery{Attempt: 4, Status: 200}); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.Webhook(ctx, "", w.ID); got.Status != WebhookActive || got.Reason != "" || !got.FailingSince.IsZero() {
			t.Errorf("after one arrived: %+v", got)
		}
		// Who was repaired, or moved, does not wait for the next attempt.
		for name, change := range map[string]func(*Webhook){
			"active":          func(w *Webhook) { w.Status = WebhookActive },
			"elsewhere":       func(w *Webhook) { w.URL += "/y" },
			"failing no more": func(w *Webhook) { w.Status, w.URL = WebhookFailing, w.URL+"/z" },
		} {
			fails(w.Since, WebhookActive, "")
			fails(w.Since.Add(time.Minute), WebhookFailing, "why")
			if err := s.RecordDelivery(ctx, w, c); err != nil {
				t.Fatal(err)
			}
			w, err := s.Webhook(ctx, a.App, w.ID)
			if err != nil || w.Status != WebhookFailing {
				t.Fatalf("%+v, %v", w, err)
			}
			change(&w)
			if w, err = s.UpdateWebhook(ctx, w); err != nil || w.Status != WebhookActive || !w.FailingSince.IsZero() {
				t.Errorf("%s: %+v, %v", name, w, err)
			}
			if got, err := s.WebhookCursor(ctx, w.ID, a.ID); err != nil || got.Seq != c.Seq || got.Attempts != 0 || !got.NextAt.IsZero() {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		w.Status = WebhookPaused
		if _, err := s.UpdateWebhook(ctx, w); err != nil {
			t.Fatal(err)
		}
		fails(w.Since, WebhookFailing, "why")
		if got, _ := s.Webhook(ctx, "", w.ID); got.Status != WebhookPaused {
			t.Errorf("%+v", got)
		}
		s.now = func() time.Time { return w.Since.Add(time.Hour) }
		w.Status = WebhookActive
		again, err := s.UpdateWebhook(ctx, w)
		if err != nil || !again.Since.After(w.Since) {
			t.Errorf("%+v, %v", again, err)
		}
		if err := s.RecordDelivery(ctx, w, c, Delivery{Attempt: 1}); err != nil { // by one who has not noticed
			t.Fatal(err)
		}
		if _, err := s.WebhookCursor(ctx, w.ID, a.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a cursor from before the pause: %v", err)
		}
		if err := s.RecordDelivery(ctx, again, c); err != nil {
			t.Fatal(err)
		}

		// Where a webhook begins in a log that was there before it.
		seq, err := m.Seq(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := m.SeqBefore(ctx, w.Since.Add(100*time.Hour)); err != nil || n != seq {
			t.Errorf("%d of %d, %v", n, seq, err)
		}
		if n, err := m.SeqBefore(ctx, time.Unix(1, 0)); err != nil || n != 0 {
			t.Errorf("%d, %v", n, err)
		}

		// Accounts come and go.
		b, _ := addAccount(t, s, "b@example.com")
		if err := s.RecordDelivery(ctx, again, WebhookCursor{Webhook: w.ID, Account: b.ID, Seq: 1}, Delivery{Attempt: 1}); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteAccount(ctx, b.ID); err != nil {
			t.Fatal(err)
		}
		if err := s.RecordDelivery(ctx, again, WebhookCursor{Webhook: w.ID, Account: b.ID, Seq: 1}, Delivery{Attempt: 1}); err != nil { // too late
			t.Fatal(err)
		}
		if _, err := s.WebhookCursor(ctx, w.ID, b.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("a cursor of an erased account: %v", err)
		}
		list, err = s.Deliveries(ctx, w.ID, 0, 100)
		for _, d := range list {
			if d.Account == b.ID || err != nil {
				t.Errorf("an attempt of an erased account: %+v, %v", d, err)
			}
		}
		events, err := s.GrantEvents(ctx, a.App, 1, 10)
		if err != nil || len(events) != 2 || events[0].Kind != GrantCreated || events[1].Kind != GrantDeleted || events[1].Account != b.ID || events[1].Provider != "imap" || events[1].Seq != 3 {
			t.Errorf("%+v, %v", events, err)
		}
		if err := s.PruneDeliveries(ctx, w.Since.Add(100*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if list, err := s.Deliveries(ctx, w.ID, 0, 100); err != nil || len(list) != 0 {
			t.Errorf("%d attempts kept, %v", len(list), err)
		}
		if err := s.DeleteWebhook(ctx, a.App, w.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Webhook(ctx, "", w.ID); !mail.IsKind(err, mail.NotFound) {
			t.Error(err)
		}
	})
}

func TestWebhookLimit(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		app, err := s.DefaultApp(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			_, err := s.CreateWebhook(t.Context(), Webhook{App: app.ID, URL: "https://example.com", Triggers: []string{"x"}})
			if mail.IsKind(err, mail.Conflict) && n == maxWebhooks {
				break
			}
			if err != nil || n > maxWebhooks {
				t.Fatalf("after %d: %v", n, err)
			}
		}
	})
}

// The secrets of webhooks move to a new master key like everything else.
func TestWebhookSecretsRewrapped(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		one, two := vault.NewKey().Derive("test"), vault.NewKey().Derive("test")
		old, err := vault.NewKeyring(one[:])
		if err != nil {
			t.Fatal(err)
		}
		p.o.Keys = old
		s := p.open(t)
		app, _ := s.DefaultApp(ctx)
		w, err := s.CreateWebhook(ctx, Webhook{App: app.ID, URL: "https://example.com", Triggers: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		if p.o.Keys, err = vault.NewKeyring(two[:], one[:]); err != nil {
			t.Fatal(err)
		}
		s = p.open(t)
		if _, err := s.RewrapKeys(ctx); err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		if p.o.Keys, err = vault.NewKeyring(two[:]); err != nil {
			t.Fatal(err)
		}
		got, err := p.open(t).Webhook(ctx, "", w.ID)
		if err != nil || !bytes.Equal([]byte(got.Secret.Reveal()), []byte(w.Secret.Reveal())) {
			t.Errorf("%v", err)
		}
	})
}

func TestWatch(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		var mu sync.Mutex
		told := map[mail.AccountID]int{}
		stop := s.Watch(func(id mail.AccountID) {
			mu.Lock()
			defer mu.Unlock()
			told[id]++
		})
		a, m := addAccount(t, s, "a@example.com")
		term, err := m.NextTerm(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := Batch{Term: term, State: &mail.SyncStatus{State: mail.StateLive}}
		for range 2 { // the second changes nothing
			if _, err := m.Apply(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		b.State.State = mail.StateError
		if _, err := m.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if told[""] != 1 || told[a.ID] != 1 {
			t.Errorf("%v", told)
		}
	})
}
