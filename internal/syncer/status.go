package syncer

import (
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// status is what an account says of itself now. The owner writes it, anybody may read it.
type status struct {
	mu  sync.Mutex
	now func() time.Time
	s   mail.SyncStatus

	pace pace
	day  *day // what was moved, where somebody counts; nil: nobody does
}

func (st *status) get() mail.SyncStatus {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.s
	if st.day != nil {
		s.Moved = st.day.save(st.now())
	}
	if s.Rate = st.pace.rate; s.Done >= s.Total {
		s.Rate = 0
	}
	if s.Rate > 0 {
		s.ETA = st.now().Add(time.Duration(float64(s.Total-s.Done) / s.Rate * float64(time.Second)))
	}
	return s
}

// adopt takes over what was saved, once, and tells whether that was now. Whatever the state was, nothing is known of the server yet.
func (st *status) adopt(saved mail.SyncStatus) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.s.State == "" {
		st.s = saved
		for _, at := range []*time.Time{&st.s.FreshAt, &st.s.SeenAt, &st.s.AuditedAt} {
			if at.After(st.now()) { // the clock was wrong
				*at = time.Time{}
			}
		}
		st.s.State, st.s.Reason, st.s.Action, st.s.Since = mail.StateConnecting, "", "", st.now()
		return true
	}
	return false
}

// count makes what was moved a part of the status.
func (st *status) count(d *day) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.day = d
}

// next returns the status in another state, and tells whether that differs in more than numbers.
func (st *status) next(state mail.State, reason, action string) (mail.SyncStatus, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.s
	if st.day != nil {
		s.Moved = st.day.save(st.now())
	}
	if s.State != state {
		s.Since = st.now()
	}
	s.State, s.Reason, s.Action = state, reason, action
	return s, st.s.State != state || st.s.Reason != reason
}

// enter moves to the state of s; the numbers are the status' own.
func (st *status) enter(s mail.SyncStatus) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s.State, st.s.Reason, st.s.Action, st.s.Since = s.State, s.Reason, s.Action, s.Since
}

func (st *status) total(n int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s.Total = n
}

func (st *status) done(n int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s.Done = n
	st.pace.see(st.now(), n)
}

func (st *status) advance(n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s.Done += int64(n)
	st.s.Total = max(st.s.Total, st.s.Done)
	st.pace.see(st.now(), st.s.Done)
}

func (st *status) fresh(at time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if at.After(st.s.FreshAt) {
		st.s.FreshAt = at
	}
}

func (st *status) seen(at time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s.SeenAt = at.Round(0) // as lastAudit
}

func (st *status) audited(at time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s.AuditedAt = at
}

// stateOf maps an error kind to the state the account shows, and what the user can do.
func stateOf(kind mail.Kind) (mail.State, string) {
	switch kind {
	case mail.Reauth:
		return mail.StateReauth, "Connect the mailbox again with a working password."
	case mail.Limited:
		return mail.StateThrottled, "Nothing: we wait as long as the provider asks."
	case mail.Invalid, mail.Refused:
		return mail.StateError, "Check the account's settings and connect it again."
	case mail.Fenced:
		return mail.StateError, "Nothing: another server acts for this account."
	}
	return mail.StateError, "Nothing yet: we keep trying. If it lasts, check that the server is reachable."
}
