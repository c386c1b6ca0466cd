package sender

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
)

const (
	// patience is how long a provider that files sent mail by itself may take until the copy is there.
	patience = 2 * time.Minute
	// lookAgain is the time between two looks.
	lookAgain = 15 * time.Second
	// operationWait is how long one operation is waited for before others have their turn.
	operationWait = 30 * time.Second
)

// settle brings sends to their end of which the server has, or may have, the message: the copy in Sent, the draft it was,
// or what became of it. It works beside the sending of others, as it waits for another server.
func (w *worker) settle(sends []mail.Send) {
	if w.settling != nil {
		return
	}
	ended := make(chan map[string]bool, 1)
	w.settling = ended
	w.s.wg.Go(func() {
		stored := map[string]bool{}
		for _, s := range sends {
			done := w.settleOne(s)
			if w.ctx.Err() != nil {
				break
			}
			stored[s.ID] = done
		}
		ended <- stored
	})
}

// settleOne takes one step with a send and tells whether that was stored. It does not panic.
func (w *worker) settleOne(s mail.Send) (stored bool) {
	defer func() {
		if v := recover(); v != nil {
			w.stumbled(v)
		}
	}()
	next, kind, err := w.step(s)
	if w.ctx.Err() != nil {
		return false
	}
	if err != nil {
		w.s.o.Log.Warn("a sent message could not be filed yet", "account", w.id, "op", "file", "send", s.ID, "err", err)
		next, kind = s, 0
		next.NextTry = w.s.o.Now().Add(time.Minute)
	}
	if _, err := w.mb.PutSend(w.s.hard, next, kind); err != nil {
		w.s.o.Log.Warn("a sent message could not be settled", "account", w.id, "op", "file", "send", s.ID, "err", err)
		return false
	}
	stored = true
	if next.State.Ended() {
		w.s.o.Events.Ended(next.State)
	}
	return stored
}

// setback is of a send of which could not be stored how far it has come.
type setback struct {
	failures int
	until    time.Time
}

// settled notes how a settler has ended. What could not be stored is not tried again at once.
func (w *worker) settled(stored map[string]bool) {
	w.settling = nil
	for id, done := range stored {
		if done {
			delete(w.setbacks, id)
			continue
		}
		n := w.setbacks[id].failures + 1
		w.setbacks[id] = setback{n, w.s.o.Now().Add(pause(n, 0))}
	}
}

// timely returns the sends that are not to wait, and when the first of the others is to be tried.
func (w *worker) timely(sends []mail.Send) (due []mail.Send, next time.Time) {
	now := w.s.o.Now()
	for _, s := range sends {
		if b, ok := w.setbacks[s.ID]; ok && now.Before(b.until) {
			next = earliest(next, b.until)
		} else {
			due = append(due, s)
		}
	}
	return due, next
}

func (w *worker) stumbled(v any) {
	w.s.o.Events.Panic()
	w.s.o.Log.Error("panic while filing a sent message", "account", w.id, "op", "file", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// step is advance, that does not panic.
func (w *worker) step(s mail.Send) (next mail.Send, kind mail.ChangeKind, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.stumbled(v)
			err = mail.E(mail.Internal, "file", "", nil)
		}
	}()
	return w.advance(w.ctx, s)
}

// advance takes one step with a send in SendSending or SendSent and returns what it is then.
func (w *worker) advance(ctx context.Context, s mail.Send) (mail.Send, mail.ChangeKind, error) {
	acct, err := w.s.o.Store.Account(ctx, "", w.id)
	if err != nil {
		return s, 0, err
	}
	now := w.s.o.Now()
	files := provider.For(acct).FilesSent
	lost := s.State == mail.SendSending
	since := s.SentAt
	if lost {
		if s.LostAt.IsZero() {
			s.LostAt = now
		}
		since = s.LostAt
	}
	mayCome := files && now.Sub(since) < patience // the provider's own copy
	kind := mail.OpFile
	if lost || mayCome {
		kind = mail.OpLook
	}
	op, err := w.operation(ctx, s.Filing, mail.Operation{Kind: kind, Send: s.ID})
	if err != nil {
		return s, 0, err
	}
	s.Filing = op.ID
	switch {
	case op.State == mail.OpPending:
		s.NextTry = now.Add(lookAgain)
		return s, 0, nil
	case op.State == mail.OpFailed && mayCome:
		s.Filing, s.NextTry = "", now.Add(lookAgain)
		return s, 0, nil
	case lost:
		found := mail.RecipientUncertain
		if op.State == mail.OpDone {
			found = mail.RecipientSent
		}
		s.Filing = ""
		settle(&s, mail.RecipientInFlight, found)
		return s, conclude(&s, now), nil
	}
	if s.Draft != "" {
		op, err := w.operation(ctx, s.Undrafting, mail.Operation{Kind: mail.OpDraftDelete, Messages: []mail.MessageID{s.Draft}, Draft: s.DraftWork})
		if err != nil {
			return s, 0, err
		}
		s.Undrafting = op.ID
		if op.State == mail.OpPending {
			s.NextTry = now.Add(lookAgain)
			return s, 0, nil
		}
	}
	if len(s.Summary.Metadata) > 0 {
		if err := w.mb.SetMetadata(ctx, s.Summary.ID, s.Summary.Metadata); err != nil && !mail.IsKind(err, mail.NotFound) {
			return s, 0, err
		}
	}
	s.State = mail.SendFiled
	if op.State == mail.OpFailed {
		s.State = mail.SendUnfiled
		s.Reason = "it was sent, but its copy could not be put into the folder of sent messages: " + op.Reason
	}
	return s, 0, nil
}

// operation begins an operation, or goes on with the one of this id, and waits a while for its end.
func (w *worker) operation(ctx context.Context, id string, op mail.Operation) (mail.Operation, error) {
	if id != "" {
		have, err := w.mb.Operation(ctx, id)
		if err == nil && have.Kind == op.Kind {
			return have, nil
		}
		if err != nil && !mail.IsKind(err, mail.NotFound) {
			return have, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, operationWait)
	defer cancel()
	return w.s.o.Operator.Do(ctx, w.id, op)
}
