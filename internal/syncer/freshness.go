package syncer

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// proofs are the times at which folders were proven to be what the server has. The owner writes them, anybody reads them.
type proofs struct {
	mu      sync.Mutex
	folders map[mail.FolderID]mail.FolderProof
}

// proven notes that a folder was found equal in a look that began at the time given; audited, by all UIDs and flags.
func (p *proofs) proven(id mail.FolderID, at time.Time, audited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := mail.FolderProof{FreshAt: at, AuditedAt: p.folders[id].AuditedAt}
	if audited {
		f.AuditedAt = at
	}
	p.put(id, f)
}

// of is when a folder was found equal last; zero: not since the process began.
func (p *proofs) of(id mail.FolderID) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.folders[id].FreshAt
}

// audited is when a folder was found equal last by all UIDs and flags.
func (p *proofs) audited(id mail.FolderID) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.folders[id].AuditedAt
}

// trouble notes why a folder cannot be looked at, and when it is tried again.
func (p *proofs) trouble(id mail.FolderID, reason string, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.folders[id]
	f.Trouble, f.NextTry = reason, next
	p.put(id, f)
}

func (p *proofs) put(id mail.FolderID, f mail.FolderProof) {
	if p.folders == nil {
		p.folders = map[mail.FolderID]mail.FolderProof{}
	}
	p.folders[id] = f
}

func (p *proofs) all() map[mail.FolderID]mail.FolderProof {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.folders)
}

// Proofs returns how far the folders of a running account are proven to be what the server has, those that were looked at
// since it began to run.
func (e *Engine) Proofs(id mail.AccountID) map[mail.FolderID]mail.FolderProof {
	e.mu.Lock()
	a := e.accounts[id]
	e.mu.Unlock()
	if a == nil {
		return nil
	}
	return a.proofs.all()
}

// Quarantined returns how many messages and folders of the running accounts are set aside.
func (e *Engine) Quarantined() (n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.accounts {
		n += a.aside.Load()
	}
	return n
}

// gapAfter is from which time without a look at the mailbox, or at a folder, on applications are told of it: the comparison that follows
// finds how things are, not what came and went in between.
const gapAfter = time.Hour

// seen notes that all folders were looked at in a pass that began at the time given, and tells of a long time without. It
// is called when what the pass has found is stored.
func (a *account) seen(ctx context.Context, began time.Time) error {
	if last := a.status.get().SeenAt; a.synced && !last.IsZero() && began.Sub(last) >= gapAfter {
		why := fmt.Sprintf("The mailbox was not looked at for %s. All that is there now was compared; what came and went in between is not told.", began.Sub(last).Round(time.Minute))
		if err := a.gap(ctx, last, began, why); err != nil {
			return err
		}
	}
	a.status.seen(began)
	return nil
}

// gap tells applications of a time in which things may have come and gone unseen.
func (a *account) gap(ctx context.Context, since, until time.Time, reason string) error {
	a.log.Info("gap", "op", "gap", "since", since, "reason", reason)
	if err := a.apply(ctx, store.Batch{Origin: mail.OriginLive, Gap: &store.Gap{Since: since, Until: until, Reason: reason}}); err != nil {
		return fmt.Errorf("tell of a gap: %w", err)
	}
	return nil
}
