package notify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

const (
	// turn is how many changes a lane reads before others get their turn.
	turn = 100
	// maxShown bounds what a lane remembers of objects that were shown ahead of their turn.
	maxShown = 1000
)

// SecretGrace is how long webhook-signature has a signature with the old secret too after a rotation.
const SecretGrace = 24 * time.Hour

// entry is one change of a log.
type entry struct {
	seq    mail.Seq
	at     time.Time
	kind   string // trigger; "": nothing to tell
	object string
	update bool // tells of an object's newest state, so it can be left out if that was shown
	create bool
	shared bool // what it tells changes with the account's log only
	view   func(context.Context) (view, bool, error)
}

// run delivers what comes after the lane's cursor, at most a turn of it.
func (n *Notifier) run(ctx context.Context, l lane, shown ahead) (next then, err error) {
	version := n.o.Store.WebhooksVersion()
	w, err := n.o.Store.Webhook(ctx, "", l.webhook)
	if err != nil || !w.Status.Delivers() {
		return then{off: true}, err
	}
	cur, err := n.o.Store.WebhookCursor(ctx, l.webhook, l.account)
	fresh := mail.IsKind(err, mail.NotFound)
	if err != nil && !fresh {
		return then{}, err
	}
	if comes(cur.NextAt, n.o.Now()) {
		return then{at: cur.NextAt, retry: true}, nil
	}
	entries, cur, err := n.read(ctx, w, l, cur, fresh)
	if err != nil {
		return then{}, err
	}
	first := w
	book := newLedger(func(c store.WebhookCursor, list []store.Delivery) error { // also when we are stopping: what arrived is not sent again
		return n.o.Store.RecordDelivery(context.WithoutCancel(ctx), first, c, list...)
	})
	was := cur.Seq
	defer func() {
		if cur.Seq != was && err == nil {
			err = book.add(cur)
		}
		if lost := book.wait(); lost != nil && err == nil {
			next, err = then{}, lost
		}
	}()
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		skip := store.WebhookCursor{Webhook: cur.Webhook, Account: cur.Account, Seq: e.seq}
		if shown.covers(e) || e.kind == "" || !slices.Contains(w.Triggers, e.kind) {
			cur = skip
			continue
		}
		t := n.write(ctx, l, e)
		if t.err != nil {
			return then{}, t.err
		}
		if !t.ok {
			cur = skip
			continue
		}
		if wait := e.at.Add(bodyWait); t.view.pending && e.create && n.o.Now().Before(wait) {
			return then{at: wait}, nil // the body's arrival wakes us before
		}
		if now := n.o.Store.WebhooksVersion(); now != version {
			version = now
			if w, err = n.o.Store.Webhook(ctx, "", l.webhook); err != nil || !w.Status.Delivers() { // paused or deleted meanwhile
				return then{off: true}, err
			}
			if !w.Since.Equal(first.Since) { // it begins anew
				return then{now: true}, nil
			}
		}
		ok, next, err := n.deliver(ctx, w, book, &cur, e, t)
		was = cur.Seq
		if err != nil || !ok {
			return next, err
		}
		shown.add(e, t.view)
	}
	return then{now: len(entries) >= turn}, nil
}

// write returns the notification of an entry, as it is for all webhooks.
func (n *Notifier) write(ctx context.Context, l lane, e entry) *written {
	write := func(w *written) {
		if w.view, w.ok, w.err = e.view(ctx); w.err == nil && w.ok {
			w.view.note.Attempt = 1
			w.payload, w.err = encode(w.view.note)
		}
	}
	n.mu.Lock()
	alone := len(n.queues) < 2
	n.mu.Unlock()
	if alone || !e.shared {
		w := new(written)
		write(w)
		return w
	}
	return n.views.get(ctx, l.account, e.seq, write)
}

// read returns what comes after the lane's cursor, and the cursor: a fresh one stands where the webhook began.
func (n *Notifier) read(ctx context.Context, w store.Webhook, l lane, cur store.WebhookCursor, fresh bool) ([]entry, store.WebhookCursor, error) {
	if string(l.account) == string(w.App) {
		list, err := n.o.Store.GrantEvents(ctx, w.App, cur.Seq, turn)
		var out []entry
		for _, g := range list {
			e := n.grantEntry(w.App, g)
			if fresh && g.At.Before(w.Since) {
				e.kind = ""
			}
			out = append(out, e)
		}
		return out, cur, err
	}
	acct, err := n.o.Store.Account(ctx, w.App, l.account)
	if err != nil {
		return nil, cur, err
	}
	mb, err := n.o.Store.Mailbox(ctx, l.account)
	if err != nil {
		return nil, cur, err
	}
	if fresh {
		if cur.Seq, err = mb.SeqBefore(ctx, w.Since); err != nil {
			return nil, cur, err
		}
	}
	list, err := mb.Changes(ctx, cur.Seq, turn)
	if mail.IsKind(err, mail.Expired) {
		oldest, kerr := mb.Kept(ctx)
		if kerr != nil {
			return nil, cur, kerr
		}
		n.o.Log.Error("changes were dropped before a webhook was told of them", "op", "notify", "webhook", w.ID, "account", l.account, "from", cur.Seq+1, "to", oldest-1)
		if list, err = mb.Changes(ctx, oldest-1, turn); err != nil {
			return nil, cur, err
		}
		return append([]entry{cutEntry(acct, mb, oldest-1, list, n.o.Now())}, entriesOf(acct, mb, list, history(acct))...), cur, nil
	}
	return entriesOf(acct, mb, list, history(acct)), cur, err
}

// history tells whether webhooks are told what the initial sync of an account found.
func history(acct mail.Account) bool {
	return acct.Settings.Sync != nil && acct.Settings.Sync.TellHistory
}

// cutEntry tells of the changes up to one that are not kept any more, as a gap in place of that one.
func cutEntry(acct mail.Account, mb *store.Mailbox, last mail.Seq, kept []mail.Change, now time.Time) entry {
	gap := mail.Change{Seq: last, At: now, Kind: mail.SyncGap, Origin: mail.OriginLive}
	if len(kept) > 0 {
		gap.At = kept[0].At
	}
	gap.Data = mail.ChangeData{Until: gap.At.Unix(), Reason: "The events before this time are not kept any more, and were not told here."}
	e := entriesOf(acct, mb, []mail.Change{gap}, false)[0]
	e.shared = false // it has the number of another
	return e
}

func entriesOf(acct mail.Account, mb *store.Mailbox, list []mail.Change, history bool) []entry {
	out := make([]entry, len(list))
	for i, c := range list {
		out[i] = entry{seq: c.Seq, at: c.At, kind: trigger(c, history), object: c.Object, shared: c.Kind != mail.AccountState,
			update: c.Kind == mail.MessageUpdated || c.Kind == mail.FolderUpdated, create: c.Kind == mail.MessageCreated && c.Origin != mail.OriginInitial,
			view: func(ctx context.Context) (view, bool, error) { return render(ctx, acct, mb, c) }}
	}
	return out
}

func (n *Notifier) grantEntry(app mail.AppID, g store.GrantEvent) entry {
	return entry{seq: g.Seq, at: g.At, kind: "grant." + g.Kind, object: string(g.Account),
		view: func(ctx context.Context) (view, bool, error) { return grantNote(ctx, n.o.Store, app, g) }}
}

// ahead are the objects that were shown ahead of their turn, each with the last change that was shown.
type ahead map[string]mail.Seq

// covers tells whether what an entry tells was shown already.
func (s ahead) covers(e entry) bool {
	last, ok := s[e.object]
	if !ok {
		return false
	}
	if last <= e.seq {
		delete(s, e.object)
	}
	return e.update && last >= e.seq
}

func (s ahead) add(e entry, v view) {
	if v.shows > e.seq && len(s) < maxShown {
		s[e.object] = v.shows
	}
}

// deliver makes one attempt and records it; one that arrived soon. ok: the cursor has moved and the lane goes on.
func (n *Notifier) deliver(ctx context.Context, w store.Webhook, book *ledger, cur *store.WebhookCursor, e entry, t *written) (ok bool, next then, err error) {
	now := n.o.Now()
	attempt := cur.Attempts + 1
	l := letterOf(w, t.view.note.ID, t.payload, now)
	if attempt > 1 {
		note := t.view.note
		note.Attempt = attempt
		if l.payload, err = encode(note); err != nil {
			return false, next, err
		}
	}
	out := n.client.post(ctx, l)
	if ctx.Err() != nil && out.err != "" { // we are stopping: no attempt, the next start makes it
		return false, next, nil
	}
	d := store.Delivery{At: n.o.Store.Instant(), Seq: e.seq, Notification: l.id, Type: t.view.note.Type, Attempt: attempt, Status: out.status, Took: out.took, Error: out.err}
	done := store.WebhookCursor{Webhook: cur.Webhook, Account: cur.Account, Seq: e.seq}
	if out.err == "" {
		*cur = done
		return true, next, book.add(done, d)
	}
	if err := book.wait(); err != nil {
		return false, next, err
	}
	return n.failed(ctx, w, cur, done, d, out)
}

// failed records a failed attempt and decides what follows from it.
func (n *Notifier) failed(ctx context.Context, w store.Webhook, cur *store.WebhookCursor, done store.WebhookCursor, d store.Delivery, out outcome) (ok bool, next then, err error) {
	now := n.o.Now()
	cur.Attempts = d.Attempt
	if cur.FirstAt.IsZero() {
		cur.FirstAt = now
	}
	wait, more := nextAttempt(d.Attempt, out.wait, rand.Float64())
	cur.NextAt = now.Add(wait)
	status, reason := store.WebhookActive, ""
	// The health first: once the attempt shows, nothing older than it is written over what other lanes find.
	if err := n.o.Store.DeliveryFailed(ctx, w.ID, now, func(since time.Time) (store.WebhookStatus, string) {
		status, reason = store.WebhookActive, ""
		switch {
		case out.status == http.StatusGone:
			status, reason = store.WebhookFailed, "the endpoint answered 410: it wants no more notifications"
		case !more && !since.After(cur.FirstAt):
			status, reason = store.WebhookFailed, fmt.Sprintf("%s; nothing was delivered since %s", out.err, since.Format(time.RFC3339))
		case now.Sub(since) >= failingAfter:
			status, reason = store.WebhookFailing, out.err
		}
		return status, reason
	}); err != nil {
		return false, next, err
	}
	next = then{at: cur.NextAt, retry: true}
	switch {
	case status == store.WebhookFailed:
		next = then{off: true}
	case !more: // others arrived since: it is this one
		n.o.Log.Error("a notification was given up", "op", "notify", "webhook", w.ID, "account", cur.Account, "notification", d.Notification)
		*cur, ok, next = done, true, then{}
	}
	if status != w.Status {
		n.o.Log.Warn("a webhook does not take notifications", "op", "notify", "webhook", w.ID, "status", status, "reason", reason)
	}
	return ok, next, n.o.Store.RecordDelivery(ctx, w, *cur, d)
}
