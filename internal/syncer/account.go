package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
)

// account is one account's owner: only its goroutine touches the fields below the line.
type account struct {
	e       *Engine
	id      mail.AccountID
	log     *slog.Logger
	cancel  context.CancelFunc
	stopped chan struct{}
	again   chan struct{} // signals: read the settings again and go on at once
	status  status
	proofs  proofs
	notice  notice
	heard   heard
	hearing atomic.Int32 // what the watch hears: a hearing
	units   units
	ledger  ledger
	moved   atomic.Int64 // messages that were stored, headers or bodies
	day     day
	slow    atomic.Pointer[imap.Error] // the server asked us to slow down; nil: it did not
	aside   atomic.Int64               // what is in quarantine
	news    chan struct{}              // signals: the server has told something, see heard
	ops     chan struct{}              // signals: operations wait

	waitersMu sync.Mutex
	waiters   map[string]chan struct{} // of callers of Do, by operation

	strikesMu sync.Mutex // the workers of bodies share strikes
	strikes   map[store.PlacementRef]int
	refusals  map[store.PlacementRef]int // how often the bytes of a message were refused

	// ---
	acct    mail.Account
	mbox    *store.Mailbox
	key     mime.IDKey
	term    mail.Term
	backoff backoff
	saved   time.Time // when the status was last written although the state was the same
	unsaid  bool      // the state could not be written to the log
	wished  bool      // somebody wants it to be synchronised now: logins of before do not count

	session   int       // counts sessions, so that a loss can be confirmed in another one
	synced    bool      // the initial sync was completed once
	waiting   bool      // something vanished waits to be swept
	since     time.Time // when the round's connection was
	found     time.Time // when a look at all folders last found something
	untold    int       // how often in a row one found something in INBOX of which the server had not told
	lastAudit time.Time
	auditing  time.Time              // when the full pass that is under way began, in this session or one before
	losses    map[mail.FolderID]loss // suspicious losses that wait for confirmation
	parked    map[mail.FolderID]parking
	hidden    map[mail.FolderID]*leftOut // messages that the policy leaves out
	ladder    *ladder

	labels   labelling       // as the last list of folders made it
	garbled  bool            // the last list of folders had a line that cannot be read
	unlisted []mail.FolderID // folders that the last list of folders did not have, and that are not believed to be gone

	labelTotals  map[mail.FolderID]int        // messages that the server counts in each label
	labelNumbers map[mail.FolderID]uint32     // UIDVALIDITY of each label, as it was last
	labelsHidden map[mail.FolderID]int        // messages of each label that are not to be here
	labelCounts  map[mail.FolderID]labelCount // where that was not what we count; nil: not counted so far
	newLabels    map[mail.FolderID]bool       // labels that the last list had for the first time
	labelsDue    bool                         // the labels of all messages are to be compared
	strangers    map[string]bool              // labels without a folder that were met
	strange      bool                         // one was met for the first time
	lookedFirst  bool                         // the folders from which messages may have moved were looked at, see movedError
	threadless   bool                         // the server refuses to tell threads
	unlabelled   string                       // why labels are not used although the server has them, in words

	spaces      imap.Namespaces // as the server told them; empty: it did not
	askedSpaces bool

	leaving    map[mail.FolderID]leaving
	acting     bool      // what is found now was asked for by an application
	opsNext    time.Time // when the next postponed operation is due; zero: none
	writer     *session  // connection for operations
	writerUsed time.Time
	helper     *session    // second connection while bodies are fetched
	noHelper   time.Time   // until then none is opened
	lister     *session    // compressed connection while headers are fetched
	noLister   time.Time   // until then none is opened
	next       imap.UIDSet // headers that are to be read while others are stored
	ahead      *ahead      // and are

	watchRetry backoff
	watchAfter time.Time       // not before then is a watch begun again
	watching   context.Context // ends with the round
	watch      sync.WaitGroup  // the goroutine that idles
	watchEnded chan watched    // receives how it went; nil when none runs
	lingered   standing        // the folder on which the account's own connection idled last, as it was then
}

// loss is a suspicious absence: when it was first seen, and in which session.
type loss struct {
	since   time.Time
	session int
	uids    imap.UIDSet // of messages; empty if it is another one
}

// parking is a folder that could not be opened.
type parking struct {
	backoff backoff
	until   time.Time // not tried again before
	full    bool      // the server says that there are messages
	seen    time.Time // when it was looked at last before that; zero: never
}

func newAccount(e *Engine, id mail.AccountID, cancel context.CancelFunc) *account {
	return &account{
		e: e, id: id, log: e.o.Log.With("account", id), cancel: cancel,
		stopped: make(chan struct{}), again: make(chan struct{}, 1),
		status: status{now: e.o.Now}, units: units{kept: map[place]store.Unit{}, strikes: map[place]int{}, last: map[place]bool{}}, ladder: newLadder(),
		losses: map[mail.FolderID]loss{}, parked: map[mail.FolderID]parking{}, hidden: map[mail.FolderID]*leftOut{}, strikes: map[store.PlacementRef]int{}, refusals: map[store.PlacementRef]int{},
		leaving: map[mail.FolderID]leaving{}, waiters: map[string]chan struct{}{},
		news: make(chan struct{}, 1), ops: make(chan struct{}, 1),
	}
}

func (a *account) reload() { signal(a.again) }

// errReload ends a round because the settings changed.
var errReload = errors.New("settings changed")

// errRest ends a round before it has begun: the process before this one has logged in too often in vain.
var errRest = errors.New("too many logins came to nothing")

// run is the account's life: rounds, and the waits between them, until ctx ends.
func (a *account) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.guardedRound(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errReload) || errors.Is(err, errSecondLook) || errors.Is(err, errDuty) {
			a.proved()
			continue
		}
		pause := a.ledger.rest(a.e.o.Now())
		if !errors.Is(err, errRest) {
			pause = a.failed(ctx, err)
		}
		if errors.Is(wait(ctx, pause, a.again), errWoken) {
			a.proved()
		}
	}
	if a.mbox != nil && a.status.get().State != "" {
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := a.mbox.EndRun(saving, a.term)
		if mail.IsKind(err, mail.Fenced) {
			return // whoever acts for the account now says how it is
		}
		if err != nil && !mail.IsKind(err, mail.NotFound) {
			a.log.Warn("could not write down that the sync has ended", "op", "stop", "err", err)
		}
		if err := a.e.o.Store.SetSync(saving, a.id, a.status.get()); err != nil && !mail.IsKind(err, mail.NotFound) {
			a.log.Warn("could not save the account's status", "op", "stop", "err", err)
		}
	}
}

// guardedRound is round; a panic becomes an error, so that one account never stops another.
func (a *account) guardedRound(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = a.panicked("sync", v)
		}
		if errors.Is(err, errPanicked) && a.mbox != nil {
			err = errors.Join(err, a.blame(context.WithoutCancel(ctx)))
		}
	}()
	return a.round(ctx)
}

// takeUp reads what is stored of the account and takes the right to write; the first time also what was known of the server.
func (a *account) takeUp(ctx context.Context) error {
	acct, err := a.e.o.Store.Account(ctx, "", a.id)
	if err != nil {
		return fmt.Errorf("read the account: %w", err)
	}
	a.acct = acct
	if a.status.adopt(acct.Sync) && a.budget() > 0 {
		a.day.load(acct.Sync.Moved)
		a.status.count(&a.day)
	}
	if a.mbox, err = a.e.o.Store.Mailbox(ctx, a.id); err != nil {
		return fmt.Errorf("open the mailbox: %w", err)
	}
	a.key = a.mbox.IDKey()
	first := a.term == 0
	if a.term, err = a.mbox.NextTerm(ctx); err != nil {
		return fmt.Errorf("take the term: %w", err)
	}
	if first {
		memory, err := a.mbox.Memory(ctx)
		if err != nil {
			a.term = 0
			return fmt.Errorf("read what is known of the server: %w", err)
		}
		a.ladder.recall(memory, a.e.o.Now())
		if !a.wished {
			a.ledger.recall(a.ladder.kept.Logins, a.e.o.Now())
		}
		if err := a.beginRun(ctx); err != nil {
			a.term = 0
			return err
		}
	}
	return nil
}

// round connects, brings the account up to date and keeps it so until something fails.
func (a *account) round(ctx context.Context) error {
	if err := a.takeUp(ctx); err != nil {
		return err
	}
	if rest := a.ledger.rest(a.e.o.Now()); rest > 0 {
		a.resting(ctx, rest)
		return errRest
	}
	a.slow.Store(nil)
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	watching, stop := context.WithCancel(ctx)
	defer a.watch.Wait()
	defer stop()
	a.watching, a.watchEnded = watching, nil
	return a.work(ctx, s)
}

// resting says why nothing is tried for a while: what the process before has said, if that was a failure.
func (a *account) resting(ctx context.Context, rest time.Duration) {
	switch was := a.acct.Sync; was.State {
	case mail.StateError, mail.StateReauth, mail.StateThrottled:
		a.status.enter(was)
	default:
		state, action := stateOf(mail.Unavailable)
		a.enter(ctx, store.Batch{Origin: mail.OriginLive}, state, fmt.Sprintf("%d logins within an hour came to nothing. The next is tried at about %s.",
			loginsPerHour, a.e.o.Now().Add(rest).UTC().Round(time.Minute).Format("15:04 MST")), action)
	}
}

// proved starts the backoff over: logins have come to something, or somebody wants us to try now.
func (a *account) proved() {
	a.backoff.survived()
	a.ledger.clear()
	a.ladder.kept.Logins = nil
}

// survival is how long a session that has stored nothing must live for its login to have been worth it.
const survival = time.Minute

// prove starts the backoff over if the round, which began at the time given with so many messages stored before, is worth it. A
// server that lets us in and drops us, again and again, proves nothing, even if a look at all folders fits in between.
func (a *account) prove(began time.Time, moved int64) {
	enough := survival
	if s := a.e.o.Profile(a.acct).Limits.Session; s > 0 {
		enough = min(enough, s/2)
	}
	if a.moved.Load() > moved || a.e.o.Now().Sub(began) >= enough {
		a.proved()
	}
}

// failed records why a round ended and returns how long to wait before the next.
func (a *account) failed(ctx context.Context, err error) time.Duration {
	if mail.IsKind(err, mail.NotFound) && a.mbox == nil {
		return backoffMost // the account is being deleted
	}
	me := provider.Classify(err, a.acct)
	state, action := stateOf(me.Kind)
	pause := max(a.backoff.next(me.Kind, me.After, rand.Float64()), a.ledger.rest(a.e.o.Now()))
	a.ladder.kept.Logins = a.ledger.recent(a.e.o.Now())
	// A single dropped connection of an account that works is no state worth announcing.
	if a.backoff.failures > 1 || me.Kind != mail.Unreachable && me.Kind != mail.Unavailable {
		reason := me.Msg
		if reason == "" {
			reason = me.Kind.String()
		}
		a.enter(ctx, store.Batch{Origin: mail.OriginLive}, state, reason, action)
	}
	if a.mbox != nil && a.ladder.remember(a.e.o.Now()) != nil { // a restart is no reason to begin to count anew
		if err := a.apply(ctx, store.Batch{Origin: mail.OriginLive}); err != nil && ctx.Err() == nil {
			a.log.Warn("could not write down the logins", "op", "state", "err", err)
		}
	}
	a.log.Warn("sync interrupted", "op", "sync", "kind", me.Kind.String(), "retry_in", pause.Round(time.Millisecond).String(), "err", err)
	return pause
}

// enter changes the account's state. A new one is written to the log together with b, then shown and announced.
func (a *account) enter(ctx context.Context, b store.Batch, state mail.State, reason, action string) {
	s, changed := a.status.next(state, reason, action)
	if changed || a.unsaid {
		b.State = &s
	} else if !b.Done {
		return
	}
	if a.mbox == nil {
		return // nothing is known of the account yet, not even where to write
	}
	err := a.apply(ctx, b)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("could not write the account's state", "op", "state", "err", err)
	}
	a.unsaid = err != nil
	a.status.enter(s)
	if changed {
		a.e.o.Events.State(a.id, s)
		a.log.Info("account state", "op", "state", "state", string(state), "reason", reason)
	}
}

// saveStatus writes the status now and then although the state is the same, so that a restart knows how fresh the account was, and,
// where that is counted, what was moved in a day: a process that dies tells nothing more.
func (a *account) saveStatus(ctx context.Context) error {
	every := 10 * time.Minute
	if a.budget() > 0 {
		every = time.Minute
	}
	if now := a.e.o.Now(); now.Sub(a.saved) > every {
		a.saved = now
		return a.e.o.Store.SetSync(ctx, a.id, a.status.get())
	}
	return nil
}
