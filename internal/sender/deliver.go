package sender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/submit"
	"github.com/posthorn/posthorn/internal/vault"
)

// turn is how long a conversation goes on with further messages before others have their turn.
const turn = 5 * time.Minute

// privateFields are for the sender's own copy only.
func privateFields() []string { return []string{"Bcc", "Resent-Bcc"} }

// deliver sends messages over one connection, in their order. If the server has to be left alone for a while, w.notUntil
// says for how long.
func (w *worker) deliver(sends []mail.Send) error {
	acct, err := w.s.o.Store.Account(w.ctx, "", w.id)
	if err != nil {
		return err
	}
	server := ""
	if e := acct.Settings.SMTP; e != nil {
		server = strings.ToLower(provider.HostPort(*e))
	}
	release := w.s.slots.take(w.ctx, server)
	if release == nil {
		return nil
	}
	defer release()
	ctx, cancel := context.WithCancelCause(w.s.hard)
	defer cancel(nil)
	limit := time.AfterFunc(w.s.o.Handover, func() { cancel(context.DeadlineExceeded) })
	defer limit.Stop()
	w.tried = w.s.o.Now()
	conn, broken := w.open(ctx, acct)
	tried := broken == nil
	if tried {
		defer func() { conn.Quit() }()
	}
	for i := 0; len(sends) > 0 && broken == nil && w.ctx.Err() == nil && (i == 0 || w.s.o.Now().Sub(w.tried) < turn); i++ {
		if i > 0 {
			limit.Reset(w.s.o.Handover)
		}
		if broken, err = w.transmit(ctx, limit, conn, acct, sends[0]); err == errHalf {
			break
		} else if err != nil {
			return err
		}
		sends = sends[1:]
	}
	if broken == nil {
		w.failures, w.notUntil = 0, time.Time{}
		return nil
	}
	if w.ctx.Err() != nil {
		return nil
	}
	w.failures++
	after := broken.After
	if hopeless(broken) {
		after = max(after, 5*time.Minute) // nothing gets better by itself
	}
	w.notUntil = w.s.o.Now().Add(pause(w.failures, after))
	w.s.o.Log.Warn("the SMTP server cannot be used", "account", w.id, "op", "send", "kind", broken.Kind.String(), "next_try", w.notUntil, "err", broken)
	for i, s := range sends {
		if err := w.unreachable(s, broken, !tried && i == 0); err != nil {
			return err
		}
	}
	return nil
}

// open connects and logs in. What went wrong comes in words.
func (w *worker) open(ctx context.Context, acct mail.Account) (*submit.Conn, *mail.Error) {
	e := acct.Settings.SMTP
	if e == nil {
		return nil, NoSMTP()
	}
	creds, err := w.s.o.Store.Credentials(ctx, w.id)
	if err != nil {
		return nil, w.explain(acct, err)
	}
	password := creds.SMTPPassword
	if password.IsZero() {
		password = creds.IMAPPassword
	}
	c, err := submit.Dial(ctx, submit.Options{Endpoint: *e, TLS: w.s.o.TLS, Dial: w.s.o.Guard.DialFor(e.Security), Command: w.s.o.Command, Accept: w.s.o.Accept})
	if err == nil && e.Username != "" {
		if err = c.Login(e.Username, password, false); err != nil {
			c.Close()
		}
	}
	if err != nil {
		return nil, w.explain(acct, err)
	}
	return c, nil
}

func (w *worker) explain(acct mail.Account, err error) *mail.Error {
	return provider.Peer{Protocol: "SMTP", Endpoint: *acct.Settings.SMTP, Profile: provider.For(acct), Account: acct.ID}.Classify(err)
}

// unreachable notes what the server's trouble means for a send. The first of those that wait was the one to be sent: if
// nobody was told yet that it will be, a refused login is an answer; else it is waited out, for a day.
func (w *worker) unreachable(s mail.Send, broken *mail.Error, first bool) error {
	fresh := s.Attempts == 0 && s.State == mail.SendQueued
	switch {
	case fresh && hopeless(broken):
		s.Attempts++
		s.State, s.Why, s.Reason = mail.SendFailed, broken.Kind, broken.Msg
		return w.put(s, mail.SendNotDone)
	case w.failures >= 3 && w.overdue(s): // not because the network was slower than we after a long absence
		s.State, s.Why, s.Reason = mail.SendFailed, broken.Kind, notInTime+broken.Msg
		return w.put(s, mail.SendNotDone)
	case first:
		s.Attempts++
		s.State, s.Reason = mail.SendQueued, broken.Msg
		return w.put(s, 0)
	}
	return nil
}

const notInTime = "it could not be sent within a day. "

func hopeless(e *mail.Error) bool {
	return e.Kind == mail.Reauth || e.Kind == mail.Invalid || e.Kind == mail.Refused
}

func (w *worker) overdue(s mail.Send) bool {
	since := s.CreatedAt
	if s.SendAt.After(since) {
		since = s.SendAt
	}
	return w.s.o.Now().Sub(since) > life
}

// errHalf says that a message could not be read to its end. The server got half of it, without the mark of the end: it keeps nothing,
// and the connection was closed.
var errHalf = errors.New("half of a message")

// transmit sends one message to the recipients that wait for it. Until the mark of its end limit ends ctx. broken tells that the connection is of no use any more,
// and why; err, unless it is errHalf, that the outcome could not be stored.
func (w *worker) transmit(ctx context.Context, limit *time.Timer, conn *submit.Conn, acct mail.Account, s mail.Send) (broken *mail.Error, err error) {
	w.current = s.ID
	defer func() { w.current = "" }()
	body, err := w.mb.OpenBlob(ctx, s.Blob)
	if err != nil {
		return nil, w.unread(ctx, s, err)
	}
	defer body.Close()
	public, err := Edited(body, privateFields(), "")
	if err != nil {
		return nil, w.unread(ctx, s, err)
	}
	read := watched{r: public}
	s.Attempts++
	to := s.To(mail.RecipientWaiting)
	var stale error
	report, err := conn.Send(submit.Message{From: s.From, To: to, Size: s.Size, EightBit: s.EightBit, UTF8: s.UTF8, Body: &read, Commit: func(taken []string) error {
		if !limit.Stop() {
			return context.DeadlineExceeded
		}
		s.State = mail.SendSending
		for i := range s.Recipients {
			if r := &s.Recipients[i]; slices.Contains(taken, r.Email) {
				r.State = mail.RecipientInFlight
			}
		}
		var next mail.Send
		if next, stale = w.mb.PutSend(ctx, s, 0); stale == nil {
			s = next
		}
		return stale
	}})
	if stale != nil { // canceled meanwhile, or not written for sure: then what the row says decides, and nothing was sent
		return w.unsent(ctx, s.ID, stale)
	}
	if read.err != nil {
		s.Attempts--
		return nil, cmp.Or(w.unread(ctx, s, read.err), errHalf)
	}
	for i, a := range report.Answers {
		if a != nil {
			answered(&s, to[i], a)
		}
	}
	var said *smtp.SMTPError
	refused := errors.As(err, &said)
	switch {
	case err == nil:
		settle(&s, mail.RecipientInFlight, mail.RecipientSent)
	case refused:
		settle(&s, mail.RecipientInFlight, mail.RecipientWaiting)
		for _, r := range s.To(mail.RecipientWaiting) {
			answered(&s, r, said)
		}
		s.Code, s.Reason = said.Code, inWords(said)
	case report.Ended:
		w.s.o.Log.Warn("the answer to a message was lost", "account", w.id, "op", "send", "send", s.ID, "err", err)
	default: // not sent
		settle(&s, mail.RecipientInFlight, mail.RecipientWaiting)
		s.Reason = w.explain(acct, err).Msg
	}
	kind := conclude(&s, w.s.o.Now())
	switch {
	case s.State == mail.SendQueued && w.overdue(s) && s.Attempts >= 3:
		kind = giveUp(&s, w.s.o.Now(), mail.Unavailable, notInTime+s.Reason)
	case s.State == mail.SendQueued && err == nil && report.Taken() > 0:
		s.NextTry = w.s.o.Now() // servers take only so many recipients at once: the others now
	}
	if err := w.put(s, kind); err != nil {
		return nil, err
	}
	if err != nil && (!refused || said.Code == 421) {
		return w.explain(acct, err), nil
	}
	return nil, nil
}

// unread lets a send wait whose bytes could not be read, so that it does not stop the others. If they are lost, or cannot be read for a
// day, it has failed; a disk may be away for a moment, so that is found three times.
func (w *worker) unread(ctx context.Context, s mail.Send, why error) error {
	if ctx.Err() != nil {
		return why
	}
	w.s.o.Log.Error("the message of a send cannot be read", "account", w.id, "op", "send", "send", s.ID, "err", why)
	s.Attempts++
	s.State, s.Reason = mail.SendQueued, "what is stored of the message cannot be read"
	now, kind := w.s.o.Now(), mail.ChangeKind(0)
	s.NextTry = now.Add(pause(s.Attempts+5, 0))
	lost := mail.IsKind(why, mail.NotFound) || errors.Is(why, vault.ErrDamaged)
	switch {
	case s.Attempts < 3:
	case lost:
		kind = giveUp(&s, now, mail.Internal, "what is stored of the message is lost or damaged: send it again")
	case w.overdue(s):
		kind = giveUp(&s, now, mail.Unavailable, notInTime+s.Reason)
	}
	return w.put(s, kind)
}

// unsent puts a send back in the queue whose transmission was broken off before its end, if it is still to be sent.
func (w *worker) unsent(ctx context.Context, id string, why error) (*mail.Error, error) {
	now, err := w.mb.Send(context.WithoutCancel(ctx), id)
	if err != nil {
		return nil, errors.Join(why, err)
	}
	if now.State == mail.SendSending {
		settle(&now, mail.RecipientInFlight, mail.RecipientWaiting)
		now.State = mail.SendQueued
		if err := w.put(now, 0); err != nil {
			return nil, errors.Join(why, err)
		}
	}
	if !mail.IsKind(why, mail.Conflict) {
		return nil, why
	}
	return &mail.Error{Op: "send", Kind: mail.Unavailable, Msg: "the connection was closed"}, nil
}

// watched notes whether it was the reading that failed.
type watched struct {
	r   io.Reader
	err error
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// answered notes the server's refusal of a recipient, or of the message for it.
func answered(s *mail.Send, email string, said *smtp.SMTPError) {
	for i := range s.Recipients {
		if r := &s.Recipients[i]; r.Email == email {
			r.Code, r.Reason = said.Code, inWords(said)
			if !temporary(said) {
				r.State = mail.RecipientRefused
			}
		}
	}
}

func temporary(e *smtp.SMTPError) bool { return e.Code/100 != 5 }

func settle(s *mail.Send, from, to mail.RecipientState) {
	for i := range s.Recipients {
		if r := &s.Recipients[i]; r.State == from {
			r.State = to
			if to == mail.RecipientSent {
				r.Code, r.Reason = 0, ""
			}
		}
	}
}

// giveUp ends a send for the recipients that still wait for it, and returns what is to be told of it.
func giveUp(s *mail.Send, now time.Time, why mail.Kind, reason string) mail.ChangeKind {
	for i := range s.Recipients {
		if r := &s.Recipients[i]; r.State == mail.RecipientWaiting && r.Reason == "" {
			r.Reason = reason
		}
	}
	settle(s, mail.RecipientWaiting, mail.RecipientRefused)
	kind := conclude(s, now)
	if s.State == mail.SendFailed {
		s.Why, s.Reason = why, reason
	}
	return kind
}

// conclude sets the state that follows from those of the recipients, and returns what is to be told of it.
func conclude(s *mail.Send, now time.Time) mail.ChangeKind {
	refused := s.To(mail.RecipientRefused)
	switch {
	case len(s.To(mail.RecipientInFlight)) > 0:
		s.State, s.NextTry = mail.SendSending, now
		return 0
	case len(s.To(mail.RecipientWaiting)) > 0:
		s.State = mail.SendQueued
		s.NextTry = now.Add(pause(s.Attempts+1, time.Minute))
		for _, r := range s.Recipients {
			if r.State == mail.RecipientWaiting && r.Reason != "" {
				s.Code, s.Reason = r.Code, r.Reason
			}
		}
		return 0
	case len(s.To(mail.RecipientUncertain)) > 0:
		s.State, s.Reason = mail.SendUncertain, uncertain
		return mail.SendNotDone
	case len(s.To(mail.RecipientSent)) > 0:
		s.State, s.SentAt, s.NextTry, s.Code, s.Reason = mail.SendSent, now.Truncate(time.Second), now, 0, ""
		if len(refused) > 0 {
			s.Reason = "it did not go to some of the recipients: " + refusals(s)
		}
		return mail.SendSucceeded
	}
	s.State, s.Why, s.Reason = mail.SendFailed, mail.Refused, "the mail server refused every recipient: "+refusals(s)
	return mail.SendNotDone
}

const uncertain = "the connection broke after the message was handed over and before the mail server confirmed it: it may have been sent or not"

func refusals(s *mail.Send) string {
	var out []string
	for _, r := range s.Recipients {
		if r.State == mail.RecipientRefused && len(out) < 10 {
			out = append(out, r.Email+" ("+r.Reason+")")
		}
	}
	return strings.Join(out, ", ")
}

// put stores a send and lets those know who wait for it. It does not give up while the server runs: what was sent must
// not be forgotten because a disk is full for a moment.
func (w *worker) put(s mail.Send, kind mail.ChangeKind) error {
	ctx := w.s.hard
	for try := 1; ; try++ {
		_, err := w.mb.PutSend(context.WithoutCancel(ctx), s, kind)
		if err == nil || try > 1 && mail.IsKind(err, mail.Conflict) && w.stored(s) {
			break
		}
		if k := mail.KindOf(err); k != mail.Unavailable || ctx.Err() != nil {
			return fmt.Errorf("store the outcome of a send: %w", err)
		}
		w.s.o.Log.Error("the outcome of a send could not be stored, it is tried again", "account", w.id, "op", "send", "send", s.ID, "err", err)
		t := time.NewTimer(min(time.Duration(try)*200*time.Millisecond, 5*time.Second))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
	if s.State != mail.SendQueued || s.Attempts > 0 {
		w.release(s.ID)
	}
	if s.State.Ended() {
		w.s.o.Events.Ended(s.State)
	}
	return nil
}

// stored tells whether a send was written as it is, though the store did not say so.
func (w *worker) stored(s mail.Send) bool {
	now, err := w.mb.Send(context.WithoutCancel(w.s.hard), s.ID)
	return err == nil && now.Version == s.Version+1 && now.State == s.State
}
