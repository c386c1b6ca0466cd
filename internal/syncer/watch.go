package syncer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

// heard is what servers have said unasked and nobody has looked into yet, by folderKey. What it says is not believed: it
// only names the folders to look at.
type heard struct {
	mu      sync.Mutex
	folders map[string]*imap.StatusData // nil: not told
	all     bool                        // folders came, went, or were renamed; or too much happened to tell
}

func (h *heard) note(raw string, st *imap.StatusData) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.folders == nil {
		h.folders = map[string]*imap.StatusData{}
	}
	h.folders[folderKey(raw)] = st
}

func (h *heard) everywhere() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = true
}

// take returns what was heard and forgets it.
func (h *heard) take() (folders map[string]*imap.StatusData, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	folders, all = h.folders, h.all
	h.folders, h.all = nil, false
	return folders, all
}

// hears returns what a connection on which nothing is asked does with what the server says: about the folder that open
// names, and by NOTIFY about others.
func (a *account) hears(open func() string) func(imap.Unilateral) {
	return func(u imap.Unilateral) {
		raw := open()
		if raw == "" {
			return
		}
		switch u.Kind {
		case imap.KindExists, imap.KindExpunge, imap.KindVanished, imap.KindFetch:
			if folderKey(raw) == "INBOX" {
				a.notice.told(a.e.o.Now())
			}
			a.heard.note(raw, nil)
		case imap.KindMailboxStatus:
			st := *u.Mailbox.Status
			a.heard.note(u.Mailbox.Raw, &st)
		case imap.KindMailbox:
			a.heard.everywhere()
		case imap.KindStatus:
			if u.Code != "NOTIFICATIONOVERFLOW" {
				return
			}
			a.heard.everywhere()
		default:
			return
		}
		signal(a.news)
	}
}

// hearing is how much a watch hears.
type hearing int32

const (
	hearsNothing hearing = iota
	hearsInbox           // IDLE
	hearsAll             // NOTIFY
)

// keepWatch makes sure that the mailbox is listened to on a connection of its own, if there is room for one. The watch lives
// until it breaks or the account's round ends; a later poll renews it, the later the more often it broke early.
func (a *account) keepWatch(ctx context.Context) {
	select {
	case w := <-a.watchEnded:
		a.watchEnded = nil
		long := w.lasted > time.Minute
		if long {
			a.watchRetry.survived()
		}
		again := a.watchRetry.next(mail.Unreachable, 0, rand.Float64())
		if w.refused && !long {
			again = max(again, watchRest)
		}
		a.watchAfter = a.e.o.Now().Add(again)
	default:
	}
	if a.watchEnded != nil || a.e.o.Now().Before(a.watchAfter) {
		return
	}
	ended := make(chan watched, 1)
	a.watchEnded = ended
	a.watch.Go(func() {
		began := time.Now()
		err := a.listen(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Debug("the watch has ended", "op", "idle", "err", err)
		}
		if hearing(a.hearing.Swap(int32(hearsNothing))) != hearsNothing && ctx.Err() == nil {
			a.heard.everywhere() // what comes from now on is heard by nobody
			signal(a.news)
		}
		var e *imap.Error
		ended <- watched{lasted: time.Since(began), refused: errors.As(err, &e) && (e.Status == "NO" || e.Status == "BAD")}
	})
}

// watched is how a watch went.
type watched struct {
	lasted  time.Duration
	refused bool // the server said no to it, on a connection that works
}

// watchRest is how long no watch is begun after one that the server refused: each is a login for nothing, and most likely it does not
// bear IDLE although it offers it.
const watchRest = time.Hour

// listen idles on INBOX, with NOTIFY about all folders where the server offers it, and signals news until the connection ends.
func (a *account) listen(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	hear := a.hears(func() string { return "INBOX" })
	s, err := a.tryOpen(ctx, func(u imap.Unilateral) {
		if hear(u); u.Kind == imap.KindStatus && u.Code == "NOTIFICATIONOVERFLOW" {
			end() // from here on it tells nothing (RFC 5465 5.8); the next watch does
		}
	})
	if err != nil || s == nil {
		return err
	}
	defer s.close()
	hears := hearsInbox
	if s.Caps().Has("NOTIFY") {
		if err := notifyOfAll(ctx, s); err == nil {
			hears = hearsAll
		} else if s.Err() != nil {
			return err
		}
	}
	if _, err := s.examine(ctx, mail.Folder{RawName: "INBOX"}); err != nil {
		return err
	}
	a.hearing.Store(int32(hears))
	a.heard.note("INBOX", nil) // whatever came between the last look and now
	if hears == hearsAll {
		a.heard.everywhere()
	}
	signal(a.news)
	return s.Idle(ctx)
}

// notifyOfAll asks to be told of every folder, by fewer events where the server can't tell them all (RFC 5465 5, BADEVENT).
func notifyOfAll(ctx context.Context, s *session) error {
	messages := []imap.NotifyEvent{imap.NotifyNew, imap.NotifyExpunge, imap.NotifyFlags}
	var err error
	for _, events := range [][]imap.NotifyEvent{append(slices.Clone(messages), imap.NotifyMailboxName), messages, messages[:2]} {
		err = s.Notify(ctx, false, imap.NotifyGroup{Filter: imap.NotifySelected, Events: messages}, imap.NotifyGroup{Filter: imap.NotifyPersonal, Events: events})
		var e *imap.Error
		if err == nil || s.Err() != nil || errors.As(err, &e) && e.Code != "BADEVENT" {
			break
		}
	}
	return err
}

// linger idles on the account's own connection while nothing is to be done on it: on Sent, or on INBOX when nothing else
// listens there. stop ends that and must be called before the connection is used; it fails when the connection is dead.
func (a *account) linger(ctx context.Context, s *session) (stop func() error) {
	none := func() error { return nil }
	hears := hearing(a.hearing.Load())
	if hears == hearsAll || !s.Caps().Has("IDLE") {
		return none
	}
	folders, err := a.mbox.Folders(ctx)
	if err != nil {
		return none
	}
	role := mail.RoleInbox
	if hears == hearsInbox {
		if role = mail.RoleSent; a.labels.on() {
			role = mail.RoleAll
		}
	}
	at := slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Role == role && f.Selectable && a.policy().Wants(f) })
	if at < 0 {
		return none
	}
	sel, err := s.examine(ctx, folders[at])
	if err != nil {
		return s.Err
	}
	raw := folders[at].RawName
	s.lingers.Store(&raw)
	if is := (standing{raw, sel.UIDNext, sel.Exists}); is != a.lingered {
		a.lingered = is
		a.heard.note(raw, nil) // whatever came between the last look and now
		signal(a.news)
	}
	idling, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		err := s.Idle(idling)
		if s.Err() != nil {
			signal(a.news) // whoever waits for news shall find that the connection is dead
		}
		ended <- err
	}()
	return func() error {
		end()
		<-ended // a refusal of IDLE says nothing about the connection
		s.lingers.Store(nil)
		return s.Err()
	}
}

// standing is how much was in a folder when it was opened.
type standing struct {
	raw             string
	uidNext, exists uint32
}

// lingerFrom is how long a wait must be to be worth IDLE on the account's own connection.
const lingerFrom = 15 * time.Second

// duty is how long a connection may be used before it is given back; 0: as long as it lives. Yahoo closes connections after half
// a minute, and bans accounts that hold them.
func (a *account) duty() time.Duration { return a.e.o.Profile(a.acct).Limits.Session }

// errDuty ends a round because its connection was used long enough.
var errDuty = errors.New("the connection was used long enough")

// onDuty is errDuty when the connection of this round is to be given back.
func (a *account) onDuty() error {
	if d := a.duty(); d > 0 && a.e.o.Now().Sub(a.since) >= d {
		return errDuty
	}
	return nil
}

// rest waits without any connection until something is to be done, for those whose connections must be short.
func (a *account) rest(ctx context.Context, s *session, poll time.Duration) error {
	a.closeWriter()
	s.close()
	if !a.opsNext.IsZero() {
		poll = max(min(poll, a.opsNext.Sub(a.e.o.Now())), 0)
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-a.ops:
		signal(a.ops) // the next round carries them out
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.again:
		return errReload
	case <-timer.C:
	}
	return errDuty
}

const (
	// How many times Options.Poll the longest waits between two looks at all folders are: when the server tells of all, when it
	// tells of INBOX, and when it tells nothing. By default 5, 2 and 1 minutes.
	pollNotified = 30
	pollIdling   = 12
	pollDeaf     = 6
	longestPoll  = 5 * time.Minute
)

// pause returns how long to wait for the next look at all folders, after one that took so long: the longer the less happens
// that nobody has told of.
func (a *account) pause(cost time.Duration) time.Duration {
	most := pollDeaf * a.e.o.Poll
	switch hearing(a.hearing.Load()) {
	case hearsAll:
		most = pollNotified * a.e.o.Poll
	case hearsInbox:
		if a.untold < untoldTrust {
			most = pollIdling * a.e.o.Poll
		}
	}
	poll := max(a.e.o.Poll, min(20*cost, longestPoll, 1000*a.e.o.Poll), min(time.Since(a.found)/10, most))
	if a.flapsAnywhere() {
		poll = min(flapFactor*poll, max(longestPoll, a.e.o.Poll))
	}
	if a.waiting {
		poll = min(poll, max(a.e.o.Grace, a.e.o.Poll))
	}
	for _, l := range a.losses { // to be believed, or not, as soon as it may be
		poll = min(poll, max(l.since.Add(a.e.o.Confirm).Sub(a.e.o.Now()), time.Second))
	}
	return poll
}

const (
	flapFactor = 30 // a folder whose UIDVALIDITY flaps is looked at so much more rarely
	// untoldTrust is how often in a row IDLE may fail to tell of what a poll finds in INBOX before it is no longer relied on.
	untoldTrust = 3
)

// polled notes what a look at all folders has found: whether anything, and whether in INBOX without that IDLE had told of it.
func (a *account) polled(anything, untold bool) {
	if anything {
		a.found = time.Now()
	}
	if untold && hearing(a.hearing.Load()) != hearsNothing {
		if a.untold++; a.untold == untoldTrust {
			a.log.Warn("the server does not tell of new mail although it was asked to; it is asked more often", "op", "idle")
		}
	}
}
