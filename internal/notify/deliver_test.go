package notify

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

func TestDelivers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	b.deliver(mail.OriginLive, "before the webhook", "x", false)
	b.clock.add(time.Second)
	w := b.hook(r.srv.URL, "message.created", "message.updated", "message.deleted", "folder.created", "grant.created", "grant.deleted", "grant.expired", "grant.imap_sync_completed")
	b.start()
	b.deliver(mail.OriginInitial, "found by the initial sync", "x", false)
	b.apply(store.Batch{Origin: mail.OriginInitial, Done: true})
	id, _ := b.deliver(mail.OriginLive, "hello", "a <body>", false)
	all := r.expect("grant.imap_sync_completed <nil>", "message.created hello")
	for _, g := range all {
		g.verify(t, w.Secret.Reveal(), w.Secret.Reveal())
		if g.note.Attempt != 1 || g.note.Data.ApplicationID != string(b.app) || g.note.Time == 0 || g.Get("Content-Type") != "application/json" {
			t.Errorf("%s", g.body)
		}
	}
	if o := all[1].note.Data.Object; o["id"] != string(id) || o["grant_id"] != string(b.id) || o["object"] != "message" || !strings.Contains(o["body"].(string), "a &lt;body&gt;") {
		t.Errorf("message.created: %s", all[1].body)
	}
	if !strings.Contains(string(all[1].body), "<") {
		t.Errorf("escaped for HTML: %s", all[1].body)
	}
	b.flag(b.uid, mail.FlagSeen)
	if g := r.expect("message.updated hello")[0]; g.note.Data.Object["unread"] != false {
		t.Errorf("message.updated: %s", g.body)
	}
	b.apply(store.Batch{Origin: mail.OriginLive, Vanished: []store.PlacementRef{{Folder: b.inbox, UIDValidity: 1, UID: b.uid}}})
	b.clock.add(time.Minute)
	if _, err := b.mb.Sweep(t.Context(), b.term, b.clock.Now()); err != nil {
		t.Fatal(err)
	}
	g := r.next()
	for g.note.Type == "message.updated" { // the vanishing may show
		g = r.next()
	}
	if o := g.note.Data.Object; g.note.Type != "message.deleted" || o["id"] != string(id) || o["object"] != "message" || len(o) != 3 {
		t.Errorf("message.deleted: %s", g.body)
	}
	b.apply(store.Batch{Origin: mail.OriginLive, Folders: []mail.Folder{{ID: mail.FolderID(b.mb.IDKey().FolderID("New")), RawName: "New", Name: "New", Selectable: true, UIDValidity: 1}}})
	r.expect("folder.created New")
	b.apply(store.Batch{Origin: mail.OriginLive, State: &mail.SyncStatus{State: mail.StateReauth, Reason: "wrong password", Since: b.clock.Now()}})
	if g := r.expect("grant.expired <nil>")[0]; g.note.Data.Object["code"] != 25009.0 {
		t.Errorf("grant.expired: %s", g.body)
	}
	other := b.addAccount("other@example.test")
	if g := r.next(); g.note.Type != "grant.created" || g.note.Data.Object["email"] != "other@example.test" {
		t.Errorf("grant.created: %s", g.body)
	}
	if err := b.store.DeleteAccount(t.Context(), other.id); err != nil {
		t.Fatal(err)
	}
	if g := r.next(); g.note.Type != "grant.deleted" || g.note.Data.Object["grant_id"] != string(other.id) || g.note.Data.Object["provider"] != "imap" {
		t.Errorf("grant.deleted: %s", g.body)
	}
	for _, d := range b.attempts(w.ID, 8) {
		if d.Error != "" || d.Status != 200 || d.Notification == "" {
			t.Errorf("%+v", d)
		}
	}
}

func TestCompressedAndRotated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	w := b.hook(r.srv.URL, "message.created")
	w.Compressed = true
	if _, err := b.store.UpdateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	now, err := b.store.RotateWebhookSecret(t.Context(), b.app, w.ID, SecretGrace)
	if err != nil || now.Secret == w.Secret {
		t.Fatal(err)
	}
	b.start()
	b.deliver(mail.OriginLive, "zipped", "x", false)
	g := r.expect("message.created zipped")[0]
	if g.Get("Content-Encoding") != "gzip" {
		t.Error("not compressed")
	}
	g.verify(t, now.Secret.Reveal(), now.Secret.Reveal(), w.Secret.Reveal())
	b.attempts(w.ID, 1)
	b.clock.add(SecretGrace + time.Second)
	b.deliver(mail.OriginLive, "later", "x", false)
	r.expect("message.created later")[0].verify(t, now.Secret.Reveal(), now.Secret.Reveal())
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	b.hook(r.srv.URL, "message.created")
	b.start()
	b.deliver(mail.OriginLive, "huge", strings.Repeat("long line\n", 1<<17), false)
	g := r.expect("message.created.truncated huge")[0]
	if _, has := g.note.Data.Object["body"]; has || len(g.raw) > maxPayload {
		t.Errorf("%d bytes", len(g.raw))
	}
}

// A new message waits for its body, and the update that the body makes is not told twice.
func TestWaitsForBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	b.hook(r.srv.URL, "message.created", "message.updated")
	b.start()
	_, body := b.deliver(mail.OriginLive, "first its header", "then its body", true)
	b.deliver(mail.OriginLive, "next", "x", false)
	b.apply(store.Batch{Origin: mail.OriginLive, Bodies: []store.Body{body}})
	g := r.expect("message.created first its header", "message.created next")[0]
	if !strings.Contains(g.note.Data.Object["body"].(string), "then its body") {
		t.Errorf("%s", g.body)
	}
	b.flag(b.uid, mail.FlagFlagged)
	r.expect("message.updated next")
	// A body that does not come is not waited for any longer.
	b.deliver(mail.OriginLive, "stuck", "x", true)
	b.clock.advance(t)
	if g := r.expect("message.created stuck")[0]; g.note.Data.Object["body_pending"] != true {
		t.Errorf("%s", g.body)
	}
}

// One webhook's trouble is nobody else's, and every kind of it is recorded in words.
func TestBadEndpoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.n.client.answer = 5 * time.Second // also good ones may take a while on a busy machine
	good := listen(t, nil)
	redirect := listen(t, nil)
	redirect.become(status(302, "Location", good.srv.URL+"/elsewhere"))
	hang := listen(t, nil)
	hang.become(hang.hang)
	half := listen(t, func(w http.ResponseWriter, _ *http.Request) { // a header that never ends
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for {
			if _, err := io.WriteString(c, "H"); err != nil {
				return
			}
			if _, err := io.WriteString(c, strings.Repeat("X", 1<<16)); err != nil {
				return
			}
		}
	})
	huge := listen(t, func(w http.ResponseWriter, _ *http.Request) {
		for chunk := make([]byte, 1<<16); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	drip := listen(t, nil)
	drip.become(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(200)
		io.WriteString(w, "a")
		http.NewResponseController(w).Flush()
		drip.hang(w, req)
	})
	failing := listen(t, status(500))
	hooks := map[string]string{}
	for name, url := range map[string]string{"redirect": redirect.srv.URL, "hang": hang.srv.URL, "half": half.srv.URL, "huge": huge.srv.URL, "drip": drip.srv.URL, "failing": failing.srv.URL,
		"private": "https://10.0.0.1:9999/", "refused": "http://127.0.0.1:1/", "plain": "http://192.0.2.1/"} {
		hooks[name] = b.hook(url, "message.created").ID
	}
	goodID := b.hook(good.srv.URL, "message.created").ID
	b.start()
	b.deliver(mail.OriginLive, "one", "x", false)
	b.deliver(mail.OriginLive, "two", "x", false)
	good.expect("message.created one", "message.created two")
	for name, want := range map[string]string{"redirect": "answered 302", "hang": "no answer within", "half": "connection failed", "failing": "answered 500", "private": "private", "refused": "connection failed", "plain": "without encryption",
		"huge": "", "drip": ""} {
		d := b.attempts(hooks[name], 1)[0]
		if (want == "") != (d.Error == "") || !strings.Contains(d.Error, want) {
			t.Errorf("%s: %+v, want %q", name, d, want)
		}
	}
	b.attempts(hooks["huge"], 2)
	b.attempts(hooks["drip"], 2)
	if n := len(b.attempts(goodID, 2)); n != 2 {
		t.Errorf("%d requests at the good one: a redirect was followed", n)
	}
	if n := len(b.attempts(hooks["failing"], 1)); n != 1 {
		t.Errorf("%d attempts: out of order, or too early", n)
	}
}

func TestRetriesForDays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, status(503))
	w := b.hook(r.srv.URL, "message.created")
	b.start()
	b.deliver(mail.OriginLive, "one", "x", false)
	b.deliver(mail.OriginLive, "two", "x", false)
	start := b.clock.Now()
	first := r.expect("message.created one")[0]
	statuses := map[store.WebhookStatus]bool{}
	n := 1
	for b.attempts(w.ID, n); b.webhook(w.ID).Status.Delivers(); n++ {
		statuses[b.webhook(w.ID).Status] = true
		b.clock.advance(t)
		g := r.expect("message.created one")[0]
		if g.note.ID != first.note.ID || g.note.Attempt != n+1 {
			t.Errorf("attempt %d: id %s number %d", n+1, g.note.ID, g.note.Attempt)
		}
		g.verify(t, w.Secret.Reveal(), w.Secret.Reveal())
		b.settled(w.ID, n+1)
	}
	if span := b.clock.Now().Sub(start); n < 15 || span < 72*time.Hour || !statuses[store.WebhookFailing] || !statuses[store.WebhookActive] {
		t.Errorf("%d attempts in %s, %v", n, span, statuses)
	}
	w = b.webhook(w.ID)
	if w.Status != store.WebhookFailed || !strings.Contains(w.Reason, "503") {
		t.Errorf("%+v", w)
	}
	// Activated again it goes on where it stopped.
	r.become(nil)
	w.Status = store.WebhookActive
	if _, err := b.store.UpdateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if g := r.expect("message.created one", "message.created two")[0]; g.note.ID != first.note.ID {
		t.Error("another id")
	}
}

// settled waits until the n-th attempt has had its consequences: the next is planned, or the webhook given up.
func (b *bench) settled(id string, n int) {
	b.t.Helper()
	b.attempts(id, n)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if !b.webhook(id).Status.Delivers() || len(b.clock.armed) > 0 {
			return
		}
	}
	b.t.Fatal("no retry was planned")
}

// A notification that is refused for days is given up when others arrive.
func TestGivesUpOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	bad := "message.created poison"
	var other *account
	r.become(status(400))
	w := b.hook(r.srv.URL, "message.created", "message.deleted")
	b.start()
	b.deliver(mail.OriginLive, "poison", "x", false)
	r.expect(bad)
	b.settled(w.ID, 1)
	for n := 1; n <= len(retryAfter()); n++ {
		if n == 3 {
			other = b.addAccount("other@example.test")
			r.become(nil)
			other.deliver(mail.OriginLive, "fine", "x", false)
			r.expect("message.created fine")
			b.attempts(w.ID, n+1)
			if w := b.webhook(w.ID); !w.FailingSince.IsZero() {
				t.Fatal("the attempt that arrived shows before its webhook is well again")
			}
			r.become(status(400))
		}
		b.clock.advance(t)
		r.expect(bad)
		if n < len(retryAfter()) {
			b.settled(w.ID, n+1)
		}
	}
	b.deliver(mail.OriginLive, "after it", "x", false)
	r.expect("message.created after it")
	if w := b.webhook(w.ID); !w.Status.Delivers() {
		t.Errorf("%+v", w)
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, status(410))
	w := b.hook(r.srv.URL, "message.created")
	b.start()
	b.deliver(mail.OriginLive, "one", "x", false)
	r.expect("message.created one")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for b.webhook(w.ID).Status.Delivers() {
		<-tick.C
	}
	if w := b.webhook(w.ID); w.Status != store.WebhookFailed || !strings.Contains(w.Reason, "410") {
		t.Errorf("%+v", w)
	}
}

func TestRetryAfterAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, status(429, "Retry-After", "7200"))
	w := b.hook(r.srv.URL, "message.created")
	b.start()
	b.deliver(mail.OriginLive, "one", "x", false)
	r.expect("message.created one")
	b.settled(w.ID, 1)
	from := b.clock.Now()
	b.clock.advance(t)
	if d := b.clock.Now().Sub(from); d != 2*time.Hour {
		t.Errorf("tried again after %s", d)
	}
	r.expect("message.created one")
}

// What a stop, or a crash after the answer, left unfinished is sent again under the same id.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	r.become(r.hang)
	w := b.hook(r.srv.URL, "message.created")
	b.start()
	b.deliver(mail.OriginLive, "one", "x", false)
	b.deliver(mail.OriginLive, "two", "x", false)
	was := r.expect("message.created one")[0] // it is there, and we will never know
	b.close()
	r.become(status(500))
	b.open()
	b.start()
	if g := r.expect("message.created one")[0]; g.note.ID != was.note.ID || g.note.Attempt != 1 {
		t.Errorf("%s after %s", g.body, was.body)
	}
	b.settled(w.ID, 1)
	b.close() // while it waits for its second attempt
	r.become(nil)
	b.open()
	b.start()
	b.clock.advance(t)
	all := r.expect("message.created one", "message.created two")
	if all[0].note.ID != was.note.ID || all[0].note.Attempt != 2 || all[1].note.ID == was.note.ID {
		t.Errorf("%s, %s", all[0].body, all[1].body)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	w := b.hook(r.srv.URL, "message.created")
	b.start()
	set := func(s store.WebhookStatus) {
		t.Helper()
		w.Status = s
		if _, err := b.store.UpdateWebhook(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	b.deliver(mail.OriginLive, "one", "x", false)
	r.expect("message.created one")
	b.attempts(w.ID, 1)
	set(store.WebhookPaused)
	b.deliver(mail.OriginLive, "while paused", "x", false)
	b.clock.add(time.Second)
	set(store.WebhookActive)
	b.deliver(mail.OriginLive, "two", "x", false)
	r.expect("message.created two")
	if err := b.store.DeleteWebhook(t.Context(), b.app, w.ID); err != nil {
		t.Fatal(err)
	}
	b.deliver(mail.OriginLive, "nobody listens", "x", false)
}

// Many accounts of one webhook: all arrive, each in order.
func TestManyAccounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	w := b.hook(r.srv.URL, "message.created")
	const accounts, each = 12, 8
	var as []*account
	for i := range accounts {
		as = append(as, b.addAccount(string(rune('a'+i))+"@example.test"))
	}
	b.start()
	for i := range each {
		for _, a := range as {
			a.deliver(mail.OriginLive, string(rune('0'+i)), "x", false)
		}
	}
	seen := map[string][]string{}
	ids := map[string]bool{}
	for range accounts * each {
		g := r.next()
		o := g.note.Data.Object
		seen[o["grant_id"].(string)] = append(seen[o["grant_id"].(string)], o["subject"].(string))
		ids[g.note.ID] = true
	}
	for id, list := range seen {
		if !slices.IsSorted(list) || len(list) != each {
			t.Errorf("%s: %v", id, list)
		}
	}
	if len(seen) != accounts || len(ids) != accounts*each {
		t.Errorf("%d accounts, %d ids", len(seen), len(ids))
	}
	b.attempts(w.ID, accounts*each)
}

func TestStartStop(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	b.hook(r.srv.URL, "message.created")
	b.n.Stop()
	for i := range 20 {
		b.start()
		b.start()
		if i%2 == 0 {
			b.deliver(mail.OriginLive, "x", "x", false)
		}
		b.n.Stop()
		b.n.Stop()
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	var sum time.Duration
	for n := 1; n <= len(retryAfter()); n++ {
		low, ok := nextAttempt(n, 0, 0)
		high, _ := nextAttempt(n, 0, 0.999)
		if !ok || low <= 0 || high <= low || high > low+low/5 {
			t.Errorf("attempt %d: %s to %s", n, low, high)
		}
		sum += low
	}
	if sum < 72*time.Hour || len(retryAfter()) < 14 {
		t.Errorf("%d retries in %s", len(retryAfter()), sum)
	}
	if _, ok := nextAttempt(len(retryAfter())+1, 0, 0); ok {
		t.Error("it never ends")
	}
	if d, _ := nextAttempt(1, time.Hour, 0); d != time.Hour {
		t.Errorf("Retry-After of an hour: %s", d)
	}
	if d, _ := nextAttempt(1, 1000*time.Hour, 0); d != longestWait {
		t.Errorf("Retry-After of 1000 hours: %s", d)
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	b := setup(t)
	echo := listen(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Query().Get("challenge")) })
	for _, url := range []string{echo.srv.URL, echo.srv.URL + "/x?a=b"} {
		if err := b.n.Challenge(t.Context(), url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for says, does := range map[string]http.HandlerFunc{
		"got 404": status(404), "got 302": status(302, "Location", echo.srv.URL), "the answer is not": status(200),
		"nothing else": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `"`+r.URL.Query().Get("challenge")+`"`)
		},
	} {
		r := listen(t, does)
		if err := b.n.Challenge(t.Context(), r.srv.URL); !mail.IsKind(err, mail.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if err := b.n.Challenge(t.Context(), "https://10.1.2.3/"); !mail.IsKind(err, mail.Invalid) || !strings.Contains(err.Error(), "POSTHORN_EGRESS_ALLOW") {
		t.Errorf("a private address: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.n.Challenge(ctx, echo.srv.URL); err == nil {
		t.Error("a challenge that was cancelled")
	}
}

// What was put off while the clock was a year ahead is tried when it is right again, by the process that put it off and by the next.
func TestTheClockWasAhead(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for _, restart := range []bool{false, true} {
		b := setup(t)
		r := listen(t, status(500))
		w := b.hook(r.srv.URL, "message.created")
		b.start()
		b.clock.add(year)
		b.deliver(mail.OriginLive, "one", "x", false)
		r.expect("message.created one")
		b.settled(w.ID, 1)
		r.become(nil)
		b.clock.add(-year)
		if restart {
			b.close()
			b.open()
			b.reopen()
			b.start()
		}
		b.deliver(mail.OriginLive, "two", "x", false)
		r.expect("message.created one", "message.created two")
	}
}
