package syncer

import (
	"context"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAStateThatCouldNotBeWritten is written with the next, and is in the log once.
func TestAStateThatCouldNotBeWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.begin()
	enter := func() {
		r.a.enter(t.Context(), store.Batch{Origin: mail.OriginLive}, mail.StateThrottled, "for the test", "")
	}
	r.a.term++ // the store refuses to write
	enter()
	r.a.term--
	for range 3 {
		enter()
	}
	if got, want := r.changes(), []string{"grant.updated throttled for the test"}; !slices.Equal(got, want) {
		t.Errorf("the log says %q, want %q", got, want)
	}
}

// TestASuccessorSaysHowItIs: an account whose sync was followed by another stores nothing of its own when it ends.
func TestASuccessorSaysHowItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.restart(true)
	r.begin()
	if _, err := r.a.mbox.NextTerm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.a.e.o.Store.SetSync(t.Context(), r.a.id, mail.SyncStatus{State: mail.StateReauth}); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	r.a.run(ended)
	acct, err := r.a.e.o.Store.Account(t.Context(), "", r.a.id)
	if err != nil || acct.Sync.State != mail.StateReauth {
		t.Errorf("stored as %q %v", acct.Sync.State, err)
	}
	if died, err := r.a.mbox.BeginRun(t.Context()); err != nil || !died {
		t.Errorf("the successor counts as ended: %v", err)
	}
}
