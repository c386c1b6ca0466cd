package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

func label(n v3.Notification) string {
	switch o := n.Data.Object.(type) {
	case v3.Message:
		return n.Type + " " + o.Subject
	case v3.Folder:
		return n.Type + " " + o.Name
	}
	return n.Type
}

// read reads a feed to its end, in pages of limit, and returns what it told.
func (b *bench) read(r Reading) (out []string, end store.Place) {
	b.t.Helper()
	for {
		page, err := b.n.Page(b.t.Context(), r)
		if err != nil {
			b.t.Fatal(err)
		}
		for i, told := range page.Told {
			out = append(out, label(told.Note))
			if i > 0 && told.Next == page.Told[i-1].Next {
				b.t.Errorf("two events with one place: %+v", told.Next)
			}
		}
		r.From = page.Next
		if !page.More {
			return out, page.Next
		}
	}
}

func (b *bench) begin(account mail.AccountID, from Start) store.Place {
	b.t.Helper()
	p, err := b.n.Begin(b.t.Context(), b.app, account, from)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// TestFeed: a page of the feed tells what a webhook is told, under the same ids, and what was there before.
func TestFeed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	b.hook(r.srv.URL, "message.created", "message.updated", "folder.created")
	b.start()
	b.deliver(mail.OriginInitial, "old", "x", false)
	b.clock.add(time.Second)
	start := b.begin(b.id, Start{Latest: true})
	since := b.begin(b.id, Start{At: b.clock.Now()})
	if since.Seq != start.Seq {
		t.Errorf("since %+v, latest %+v", since, start)
	}
	b.deliver(mail.OriginLive, "one", "x", false)
	b.deliver(mail.OriginLive, "two", "x", false)
	b.flag(b.uid, mail.FlagSeen)
	page, err := b.n.Page(t.Context(), Reading{App: b.app, Account: b.id, From: start, Limit: 10})
	if err != nil || len(page.Told) != 2 { // the second shows the flag already
		t.Fatalf("%+v %v", page.Told, err)
	}
	for i, g := range r.expect("message.created one", "message.created two") {
		if n := page.Told[i].Note; n.ID != g.note.ID || n.Type != g.note.Type || n.Time != g.note.Time || n.Attempt != 0 {
			t.Errorf("the feed tells %+v, the webhook was told %s", n, g.body)
		}
	}
	one := Reading{App: b.app, Account: b.id, From: b.begin(b.id, Start{}), History: true, Limit: 1}
	all, end := b.read(one)
	if want := []string{"folder.created INBOX", "message.created old", "message.created one", "message.created two", "message.updated two"}; !slices.Equal(all, want) {
		t.Errorf("%q", all) // pages of one do not know what the page before showed
	}
	one.Limit = 100
	if again, _ := b.read(one); len(again) != 4 {
		t.Errorf("%q", again)
	}
	one.Types = []string{"message.updated"}
	if some, last := b.read(one); !slices.Equal(some, []string{"message.updated two"}) || last != end {
		t.Errorf("%q %+v %+v", some, last, end)
	}
	page, err = b.n.Page(t.Context(), Reading{App: b.app, Account: b.id, From: one.From, History: true, Limit: 100})
	if err != nil || page.Told[0].Note.Source != v3.SourceHistory || page.Told[2].Note.Source != v3.SourceMail {
		t.Errorf("%+v %v", page, err)
	}
	if _, err := b.n.Page(t.Context(), Reading{App: "00000000-0000-4000-8000-000000000000", Account: b.id, Limit: 1}); !mail.IsKind(err, mail.NotFound) {
		t.Errorf("another application's log: %v", err)
	}
}

// TestFeedOfAll: every change of every account, once, each account's in order; accounts that come and go too.
func TestFeedOfAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ask := Reading{App: b.app, Limit: 3, History: true}
	other := b.addAccount("other@example.test")
	for i := range 10 {
		b.deliver(mail.OriginLive, fmt.Sprint("a", i), "x", false)
		other.deliver(mail.OriginLive, fmt.Sprint("b", i), "x", false)
	}
	check := func(got []string, want int) {
		t.Helper()
		if len(got) != want {
			t.Fatalf("%d events: %q", len(got), got)
		}
		for _, x := range []string{"a", "b"} {
			var mine []string
			for _, e := range got {
				if s, ok := strings.CutPrefix(e, "message.created "+x); ok {
					mine = append(mine, s)
				}
			}
			if !slices.IsSorted(mine) {
				t.Errorf("out of order: %q", mine)
			}
		}
	}
	ask.From = b.begin("", Start{})
	got, end := b.read(ask)
	check(got, 2+2+20)
	b.clock.add(time.Minute)
	since := b.begin("", Start{At: b.clock.Now()})
	b.start() // with hints it need not ask every account
	got, ask.From = b.read(Reading{App: b.app, Limit: 3, From: end})
	check(got, 0)
	other.deliver(mail.OriginLive, "b99", "x", false)
	if got, _ = b.read(Reading{App: b.app, Limit: 3, From: ask.From}); !slices.Equal(got, []string{"message.created b99"}) {
		t.Errorf("%q", got)
	}
	if got, _ = b.read(Reading{App: b.app, Limit: 3, From: since}); !slices.Equal(got, []string{"message.created b99"}) {
		t.Errorf("since: %q", got)
	}
	id := b.id
	if err := b.store.DeleteAccount(t.Context(), other.id); err != nil {
		t.Fatal(err)
	}
	if got, _ = b.read(Reading{App: b.app, Limit: 3, From: ask.From}); !slices.Equal(got, []string{"grant.deleted"}) {
		t.Errorf("%q", got)
	}
	got, _ = b.read(Reading{App: b.app, Limit: 100, From: b.begin("", Start{}), Types: []string{"message.created"}})
	check(got, 10)
	_ = id
}

// TestAwait: a reader who waits is told at once; a message whose body is on its way is waited for; waiting ends.
func TestAwait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.start()
	r := Reading{App: b.app, Account: b.id, Limit: 10}
	r.From = b.begin(b.id, Start{Latest: true})
	type result struct {
		page Page
		err  error
	}
	wait := func(r Reading, d time.Duration) chan result {
		c := make(chan result, 1)
		go func() {
			page, err := b.n.Await(t.Context(), r, d)
			c <- result{page, err}
		}()
		return c
	}
	get := func(c chan result) Page {
		t.Helper()
		select {
		case x := <-c:
			if x.err != nil {
				t.Fatal(x.err)
			}
			return x.page
		case <-time.After(patience):
			t.Fatal("it waits for ever")
			return Page{}
		}
	}
	c := wait(r, time.Minute)
	<-b.clock.armed
	b.deliver(mail.OriginLive, "hello", "x", false)
	page := get(c)
	if len(page.Told) != 1 || label(page.Told[0].Note) != "message.created hello" {
		t.Fatalf("%+v", page)
	}
	r.From = page.Next

	c = wait(r, time.Hour)
	<-b.clock.armed
	_, body := b.deliver(mail.OriginLive, "in two steps", "the body", true)
	<-b.clock.armed // it waits for the body
	b.apply(store.Batch{Origin: mail.OriginLive, Bodies: []store.Body{body}})
	page = get(c)
	if len(page.Told) != 1 || !strings.Contains(page.Told[0].Note.Data.Object.(v3.Message).Body, "the body") {
		t.Fatalf("%+v", page)
	}
	r.From = page.Next

	b.deliver(mail.OriginLive, "without a body", "x", true)
	c = wait(r, time.Hour)
	<-b.clock.armed
	b.clock.add(bodyWait)
	if page = get(c); len(page.Told) != 1 || page.Told[0].Note.Data.Object.(v3.Message).Body != "" {
		t.Fatalf("%+v", page)
	}
	r.From = page.Next

	c = wait(r, time.Second)
	<-b.clock.armed
	b.clock.add(time.Second)
	if page = get(c); len(page.Told) != 0 {
		t.Errorf("%+v", page)
	}
}

// TestFeedBounds: pages end by their number of events, by their bytes, and by how much was looked through.
func TestFeedBounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 6 {
		b.deliver(mail.OriginLive, fmt.Sprint(i), strings.Repeat("x", 200<<10), false)
	}
	r := Reading{App: b.app, Account: b.id, Limit: 100, Bytes: 300 << 10}
	page, err := b.n.Page(t.Context(), r)
	if err != nil || len(page.Told) != 2 || !page.More {
		t.Fatalf("%d events, more: %v, %v", len(page.Told), page.More, err)
	}
	if all, _ := b.read(r); len(all) != 6 {
		t.Errorf("%q", all)
	}
}

// TestAWebhookIsToldOfEventsThatAreGone: one that had failed for longer than events are kept goes on behind a gap.
func TestAWebhookIsToldOfEventsThatAreGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, nil)
	w := b.hook(r.srv.URL, "message.created", "sync.gap")
	status := func(s store.WebhookStatus) {
		t.Helper()
		now, err := b.store.Webhook(t.Context(), "", w.ID)
		if err != nil {
			t.Fatal(err)
		}
		now.Status = s
		if _, err := b.store.UpdateWebhook(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	b.deliver(mail.OriginLive, "zero", "x", false)
	r.expect("message.created zero")
	b.attempts(w.ID, 1)
	b.n.Stop()
	status(store.WebhookFailed)
	b.deliver(mail.OriginLive, "one", "x", false)
	b.deliver(mail.OriginLive, "two", "x", false)
	b.clock.add(Keep + time.Hour)
	b.deliver(mail.OriginLive, "three", "x", false)
	b.n.tidy(t.Context())
	status(store.WebhookActive)
	b.start()
	g := r.next()
	if o := g.note.Data.Object; g.note.Type != "sync.gap" || o["object"] != "gap" || o["reason"] == "" || o["until"] == nil || o["since"] != nil {
		t.Fatalf("%s", g.body)
	}
	r.expect("message.created three")
}

// TestTidy: old events go after the retention, never those that a webhook is still to be told.
func TestTidy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := listen(t, status(503))
	w := b.hook(r.srv.URL, "message.created")
	b.deliver(mail.OriginLive, "one", "x", false)
	start := b.begin("", Start{})
	kept := func() mail.Seq {
		t.Helper()
		n, err := b.mb.Kept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b.clock.add(Keep + time.Hour)
	b.n.tidy(t.Context())
	if kept() != 1 {
		t.Errorf("kept from %d although a webhook was not told", kept())
	}
	if _, err := b.n.Page(t.Context(), Reading{App: b.app, From: start, Limit: 1}); !mail.IsKind(err, mail.Expired) {
		t.Errorf("the feed: %v", err)
	}
	r.become(nil)
	b.start()
	r.expect("message.created one")
	b.attempts(w.ID, 1)
	b.n.Stop()
	b.deliver(mail.OriginLive, "two", "x", false)
	b.n.tidy(t.Context())
	if kept() != 3 { // the folder and the first message are gone
		t.Errorf("kept from %d", kept())
	}
	if got, _ := b.read(Reading{App: b.app, Account: b.id, From: b.begin(b.id, Start{}), Limit: 10}); !slices.Equal(got, []string{"message.created two"}) {
		t.Errorf("%q", got)
	}
	if _, err := b.n.Page(t.Context(), Reading{App: b.app, Account: b.id, Limit: 10}); !mail.IsKind(err, mail.Expired) {
		t.Errorf("from the beginning: %v", err)
	}
}
