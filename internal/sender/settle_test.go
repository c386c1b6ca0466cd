package sender_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/sender"
)

// away is an operator whose IMAP server is down: operations stay pending until the caller gives up.
type away struct{ *operator }

func (o away) Do(ctx context.Context, _ mail.AccountID, op mail.Operation) (mail.Operation, error) {
	op, err := o.mb.AddOperation(context.WithoutCancel(ctx), op)
	<-ctx.Done()
	return op, err
}

// TestCopiesThatWait: IMAP is down and SMTP is not. More messages are sent than are settled at once; the copies that they wait for do
// not hold up the next one.
func TestCopiesThatWait(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.s.Stop(t.Context())
	b.startWith(func(o *sender.Options) { o.Operator = away{b.op} })
	for n := range 102 {
		if s := b.send(sender.Outgoing{Write: raw(n, "x@example.test")}); s.State != mail.SendSent {
			t.Fatalf("send %d is %s after %d attempts: %q", n+1, s.State, s.Attempts, s.Reason)
		}
	}
}

// stumbling is an operator that does something else before.
type stumbling struct {
	*operator
	before func(mail.Operation)
}

func (o stumbling) Do(ctx context.Context, id mail.AccountID, op mail.Operation) (mail.Operation, error) {
	o.before(op)
	return o.operator.Do(ctx, id, op)
}

// TestFilingThatStumbles: a step with a sent message that panics, or cannot be stored, is tried again after a while and not at once. A
// panic of whoever is told of the end changes nothing.
func TestFilingThatStumbles(t *testing.T) {
	t.Parallel()
	for name, stumble := range map[string]func(*bench, string){
		"panic":            func(*bench, string) { panic("stumbles") },
		"panic at the end": func(*bench, string) {},
		"not stored": func(b *bench, id string) { // as somebody else writes it meanwhile
			if _, err := b.mb.PutSend(context.Background(), b.get(id), 0); err != nil {
				b.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.s.Stop(t.Context())
			var steps atomic.Int32
			var well atomic.Bool
			first := make(chan struct{})
			b.startWith(func(o *sender.Options) {
				o.Events.Panic = func() {}
				if name == "panic at the end" {
					tell := o.Events.Ended
					o.Events.Ended = func(s mail.SendState) {
						tell(s)
						panic("stumbles")
					}
				}
				o.Operator = stumbling{b.op, func(op mail.Operation) {
					if well.Load() {
						return
					}
					if steps.Add(1) == 1 {
						close(first)
					}
					stumble(b, op.Send)
				}}
			})
			b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
			<-first
			for n := range 20 { // the worker has looked many times
				b.send(sender.Outgoing{Write: raw(n+2, "x@example.test")})
			}
			if n := steps.Load(); n > 21 {
				t.Errorf("%d steps with 21 messages", n)
			}
			well.Store(true)
			timeout := time.After(20 * time.Second)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for left := 21; left > 0; {
				select {
				case got := <-b.ended:
					if left--; got != mail.SendFiled {
						t.Errorf("a send ended as %s", got)
					}
				case <-tick.C: // the last may be under way still
					b.pass(2 * time.Minute)
				case <-timeout:
					t.Fatalf("%d sends did not end", left)
				}
			}
		})
	}
}

// TestFilingOfOthers: a send that cannot be stored, as somebody else writes it at the time, holds up no other.
func TestFilingOfOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.s.Stop(t.Context())
	var bad atomic.Pointer[string]
	stumbled := make(chan struct{}, 100)
	b.startWith(func(o *sender.Options) {
		o.Operator = stumbling{b.op, func(op mail.Operation) {
			bad.CompareAndSwap(nil, &op.Send)
			if op.Send != *bad.Load() {
				return
			}
			if _, err := b.mb.PutSend(context.Background(), b.get(op.Send), 0); err != nil {
				b.Error(err)
			}
			stumbled <- struct{}{}
		}}
	})
	b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
	<-stumbled
	for n := range 5 {
		b.send(sender.Outgoing{Write: raw(n+2, "x@example.test")})
		b.until(mail.SendFiled)
	}
}
