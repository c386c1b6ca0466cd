package notify

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/v3"
)

// Reading is what somebody wants to read of a feed.
type Reading struct {
	App     mail.AppID
	Account mail.AccountID // whose log; "": those of all accounts, and the application's own
	From    store.Place
	Types   []string     // triggers; nil: all
	Object  string       // only what happened to this one; "": all
	History bool         // also what the initial sync found
	Limit   int          // notifications in a page
	Bytes   int          // of notifications, after which a page ends; 0: 4 MiB
	Goal    *store.Place // where to end; nil: never
}

// Told is a notification, and the place after it.
type Told struct {
	Note    v3.Notification
	Account mail.AccountID // whose log it is of
	Seq     mail.Seq
	Next    store.Place
}

// Page is a piece of a feed.
type Page struct {
	Told []Told
	Next store.Place // where the next page begins
	More bool        // there is more at once
	Held time.Time   // not zero: the next notification waits for its body, until then at the latest
	Done bool        // the reading's goal is reached
}

const (
	// maxScan bounds how many changes one page looks at, and maxPage how many bytes of notifications it collects before it
	// ends; a page is at most one notification larger.
	maxScan = 5000
	maxPage = 4 << 20
)

// Page reads a piece of a feed, or of one account's log. The notifications are those of the webhooks, with the same ids.
// Expired: what follows the place is no longer kept.
func (n *Notifier) Page(ctx context.Context, r Reading) (Page, error) {
	if r.Bytes == 0 {
		r.Bytes = maxPage
	}
	p := pageReader{n: n, r: r, page: Page{Next: r.From}, shown: map[mail.AccountID]ahead{}}
	var err error
	if r.Account != "" {
		err = p.account(ctx)
	} else {
		err = p.feed(ctx)
	}
	return p.page, err
}

type pageReader struct {
	n       *Notifier
	r       Reading
	page    Page
	shown   map[mail.AccountID]ahead
	scanned int
	bytes   int
}

func (p *pageReader) full() bool {
	return len(p.page.Told) >= p.r.Limit || p.scanned >= maxScan || p.bytes >= p.r.Bytes
}

// account reads one account's log.
func (p *pageReader) account(ctx context.Context) error {
	acct, err := p.n.o.Store.Account(ctx, p.r.App, p.r.Account)
	if err != nil {
		return err
	}
	mb, err := p.n.o.Store.Mailbox(ctx, acct.ID)
	if err != nil {
		return err
	}
	for {
		list, err := mb.ChangesFrom(ctx, p.page.Next, p.chunk())
		if err != nil {
			return err
		}
		if g := p.r.Goal; g != nil && (len(list) == 0 || list[0].Seq > g.Seq) {
			p.page.Done = true
			return nil
		}
		entries := entriesOf(acct, mb, list, p.r.History)
		for i, e := range entries {
			if g := p.r.Goal; g != nil && e.seq > g.Seq {
				p.page.Done = true
				return nil
			}
			if p.full() {
				p.page.More = true
				return nil
			}
			next := p.page.Next
			next.Seq, next.Mark = e.seq, list[i].At.UnixMilli()
			if held, err := p.entry(ctx, acct.ID, e, next); err != nil || held {
				return err
			}
		}
		if len(list) == 0 {
			return nil
		}
	}
}

// chunk is how many changes to read at once: most are told.
func (p *pageReader) chunk() int {
	if p.r.Types != nil || p.r.Object != "" {
		return 1000
	}
	return min(p.r.Limit-len(p.page.Told)+1, 1000)
}

// entry adds an entry to the page, if it is to be told. held: the page ends before it.
func (p *pageReader) entry(ctx context.Context, log mail.AccountID, e entry, next store.Place) (held bool, err error) {
	p.scanned++
	shown := p.shown[log]
	if shown == nil {
		shown = ahead{}
		p.shown[log] = shown
	}
	done := func() { p.page.Next = next }
	if shown.covers(e) || e.kind == "" || p.r.Types != nil && !slices.Contains(p.r.Types, e.kind) || p.r.Object != "" && p.r.Object != e.object ||
		e.at.UnixMilli() < p.r.From.NotBefore {
		done()
		return false, nil
	}
	v, ok, err := e.view(ctx)
	if err != nil {
		return false, err
	}
	if !ok {
		done()
		return false, nil
	}
	if wait := e.at.Add(bodyWait); v.pending && e.create && p.n.o.Now().Before(wait) {
		p.page.Held = wait
		return true, nil
	}
	b, err := encode(v.note)
	if err != nil {
		return false, err
	}
	done()
	p.bytes += len(b)
	p.page.Told = append(p.page.Told, Told{Note: v.note, Account: log, Seq: e.seq, Next: next})
	shown.add(e, v)
	return false, nil
}

// feed reads the application's feed.
func (p *pageReader) feed(ctx context.Context) error {
	if err := p.n.grow(ctx, p.r.App); err != nil {
		return err
	}
	for {
		rows, err := p.n.o.Store.Feed(ctx, p.r.App, p.page.Next, 100)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if g := p.r.Goal; g != nil && row.Pos > g.Pos {
				p.page.Done = true
				return nil
			}
			if stop, err := p.row(ctx, row); err != nil || stop {
				return err
			}
		}
		if len(rows) < 100 {
			p.page.Done = p.r.Goal != nil
			return nil
		}
	}
}

// row reads the changes of a row of the feed.
func (p *pageReader) row(ctx context.Context, row store.FeedRow) (stop bool, err error) {
	seq := row.From - 1
	if p.page.Next.Pos == row.Pos && p.page.Next.Seq > seq {
		seq = p.page.Next.Seq
	}
	place := func(seq mail.Seq) store.Place {
		at := store.Place{Pos: row.Pos, Seq: seq, NotBefore: p.r.From.NotBefore, Mark: row.At.UnixMilli()}
		if seq >= row.To {
			at.Seq = 0
		}
		return at
	}
	for seq < row.To {
		if p.full() {
			p.page.More = true
			return true, nil
		}
		entries, err := p.entries(ctx, row.Account, seq, row.To)
		if mail.IsKind(err, mail.NotFound) { // the account was deleted, which is told by the application's log
			break
		}
		if err != nil {
			return true, err
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if e.seq > row.To {
				seq = row.To
				break
			}
			if p.full() {
				p.page.More = true
				return true, nil
			}
			if held, err := p.entry(ctx, row.Account, e, place(e.seq)); err != nil || held {
				return true, err
			}
			seq = e.seq
		}
	}
	p.page.Next = place(row.To)
	return false, nil
}

func (p *pageReader) entries(ctx context.Context, log mail.AccountID, after, to mail.Seq) ([]entry, error) {
	limit := min(p.chunk(), int(to-after))
	if string(log) == string(p.r.App) {
		list, err := p.n.o.Store.GrantEvents(ctx, p.r.App, after, limit)
		out := make([]entry, len(list))
		for i, g := range list {
			out[i] = p.n.grantEntry(p.r.App, g)
		}
		return out, err
	}
	acct, err := p.n.o.Store.Account(ctx, p.r.App, log)
	if err != nil {
		return nil, err
	}
	mb, err := p.n.o.Store.Mailbox(ctx, log)
	if err != nil {
		return nil, err
	}
	list, err := mb.Changes(ctx, after, limit)
	return entriesOf(acct, mb, list, p.r.History), err
}

// Await is Page that waits until it has something to tell, or for as long as wait, whichever is first. With a page that has
// nothing to tell, Next may still have moved.
func (n *Notifier) Await(ctx context.Context, r Reading, wait time.Duration) (Page, error) {
	end := n.o.Now().Add(wait)
	hint, stop := n.subscribe(r)
	defer stop()
	for {
		page, err := n.Page(ctx, r)
		now := n.o.Now()
		if err != nil || len(page.Told) > 0 || !now.Before(end) {
			return page, err
		}
		r.From = page.Next
		if page.More {
			continue
		}
		at := now.Add(n.o.Poll)
		if !page.Held.IsZero() && page.Held.Before(at) {
			at = page.Held
		}
		if end.Before(at) {
			at = end
		}
		fires, stop := n.o.Timer(at.Sub(now))
		select {
		case <-ctx.Done():
		case <-hint:
		case <-fires:
		}
		stop()
		if ctx.Err() != nil {
			return Page{Next: r.From}, ctx.Err()
		}
	}
}

// Begin returns the place from which on a feed tells what happens from now on, or from a time on; or, with earliest, all
// that is kept.
func (n *Notifier) Begin(ctx context.Context, app mail.AppID, account mail.AccountID, from Start) (store.Place, error) {
	if account == "" {
		return n.beginFeed(ctx, app, from)
	}
	if _, err := n.o.Store.Account(ctx, app, account); err != nil {
		return store.Place{}, err
	}
	mb, err := n.o.Store.Mailbox(ctx, account)
	if err != nil {
		return store.Place{}, err
	}
	var p store.Place
	switch {
	case !from.At.IsZero():
		p.Seq, err = mb.SeqBefore(ctx, from.At)
	case from.Latest:
		p.Seq, err = mb.Seq(ctx)
	default:
		p.Seq, err = mb.Kept(ctx)
		p.Seq--
	}
	return p, err
}

// Start is where to begin: at a time, at what happens from now on, or, when neither is set, at the oldest that is kept.
type Start struct {
	At     time.Time
	Latest bool
}

func (n *Notifier) beginFeed(ctx context.Context, app mail.AppID, from Start) (p store.Place, err error) {
	if err := n.grow(ctx, app); err != nil {
		return p, err
	}
	first, last, err := n.o.Store.FeedEnds(ctx, app)
	switch {
	case !from.At.IsZero() && err == nil:
		p.NotBefore = from.At.UnixMilli()
		p.Pos, err = n.o.Store.FeedBefore(ctx, app, from.At)
		p.Pos = max(p.Pos, first-1)
	case from.Latest:
		p.Pos = last
	default:
		p.Pos = first - 1
	}
	return p, err
}

// feeds knows which logs have to be looked at before an application's feed is read.
type feeds struct {
	mu   sync.Mutex
	apps map[mail.AppID]*feedState
	subs map[chan struct{}]mail.AccountID
}

type feedState struct {
	grow  sync.Mutex // one grows the feed, the others wait and find it grown
	dirty map[mail.AccountID]struct{}
	look  time.Time // when all have to be looked at
}

// subscribe returns a channel that is told of hints that concern a reading.
func (n *Notifier) subscribe(r Reading) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	f := &n.feeds
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subs == nil {
		f.subs = map[chan struct{}]mail.AccountID{}
	}
	f.subs[c] = r.Account
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, c)
	}
}

// hint passes on that an account's log, or the control store, has changed.
func (f *feeds) hint(id mail.AccountID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id != "" {
		for _, s := range f.apps {
			s.dirty[id] = struct{}{}
		}
	}
	for c, account := range f.subs {
		if account == id || account == "" {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}

// grow brings an application's feed up to date with the logs of its accounts. Which ones have grown is known from hints;
// from time to time, and at first, all are asked.
func (n *Notifier) grow(ctx context.Context, app mail.AppID) error {
	f := &n.feeds
	f.mu.Lock()
	s := f.apps[app]
	if s == nil {
		if f.apps == nil {
			f.apps = map[mail.AppID]*feedState{}
		}
		s = &feedState{dirty: map[mail.AccountID]struct{}{}}
		f.apps[app] = s
	}
	f.mu.Unlock()
	s.grow.Lock()
	defer s.grow.Unlock()
	f.mu.Lock()
	dirty := s.dirty
	s.dirty = map[mail.AccountID]struct{}{}
	f.mu.Unlock()

	start := n.o.Now()
	all := !start.Before(s.look)
	if all {
		accts, err := n.o.Store.Accounts(ctx, store.AccountQuery{App: app})
		if err != nil {
			return err
		}
		for _, a := range accts {
			dirty[a.ID] = struct{}{}
		}
	}
	err := n.growBy(ctx, app, dirty)
	if err != nil {
		f.mu.Lock()
		for id := range dirty {
			s.dirty[id] = struct{}{}
		}
		f.mu.Unlock()
		return err
	}
	if all {
		s.look = n.o.Now().Add(max(n.o.Poll, 20*n.o.Now().Sub(start)))
	}
	return nil
}

func (n *Notifier) growBy(ctx context.Context, app mail.AppID, dirty map[mail.AccountID]struct{}) error {
	ids := make([]mail.AccountID, 0, len(dirty))
	for id := range dirty {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var grown []store.Grown
	for _, id := range ids {
		if _, err := n.o.Store.Account(ctx, app, id); mail.IsKind(err, mail.NotFound) {
			continue // another application's, or deleted
		} else if err != nil {
			return err
		}
		g := store.Grown{Account: id}
		mb, err := n.o.Store.Mailbox(ctx, id)
		if err == nil {
			g.To, err = mb.Seq(ctx)
		}
		if err == nil {
			g.Kept, err = mb.Kept(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil { // a mailbox in trouble must not stop the others' events
			grown = append(grown, g)
		}
	}
	return n.o.Store.GrowFeed(ctx, app, grown)
}
