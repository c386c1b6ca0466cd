package sender_test

import (
	"context"
	"testing"

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
