package sender_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/realsrv"
)

// setupOnPostgres is setup with a database that is reached through a proxy.
func setupOnPostgres(t *testing.T) (*bench, *faultnet.Proxy) {
	t.Helper()
	dsn, err := url.Parse(realsrv.StartPostgres(t).URL(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := faultnet.Start(t, dsn.Host, "")
	dsn.Host = proxy.Addr
	return setupOn(t, store.Options{DatabaseURL: dsn.String()}, nil), proxy
}

// TestTheAnswerToACommitIsLost: PostgreSQL has committed a send and the connection breaks before it can say so. The send is accepted,
// keeps its bytes and goes out once.
func TestTheAnswerToACommitIsLost(t *testing.T) {
	t.Parallel()
	b, proxy := setupOnPostgres(t)
	var sends []mail.Send
	for n := range 8 {
		sends = append(sends, b.spool(sender.Outgoing{Write: raw(n, "x@example.test"), SendAt: b.clock().Add(time.Hour)}))
	}
	proxy.Turn(t, `cut server after "COMMIT"`)
	accepted := 0
	for _, send := range sends { // the first ones meet connections of which the pool does not know that they are dead
		switch _, _, err := b.s.Submit(t.Context(), b.acct.ID, send); {
		case err == nil:
			accepted++
		case !mail.IsKind(err, mail.Unavailable):
			t.Errorf("a send that was not accepted: %v", err)
		}
	}
	proxy.Turn(t, "")
	var list []mail.Send
	var err error
	for range 30 { // each connection that is dead is found once
		if list, err = b.mb.Sends(t.Context(), time.Time{}, 10); err == nil {
			break
		}
	}
	if err != nil || len(list) != accepted || accepted < len(sends)/2 {
		t.Fatalf("%d sends are stored, %d were accepted: %v", len(list), accepted, err)
	}
	for _, s := range list {
		r, err := b.mb.OpenBlob(context.Background(), s.Blob)
		if err != nil {
			t.Fatalf("the send %s is %s and has no bytes: %v", s.ID, s.State, err)
		}
		r.Close()
	}
	b.pass(2 * time.Hour)
	for range list {
		b.until(mail.SendFiled)
	}
	if n := len(b.smtp.received()); n != accepted {
		t.Errorf("%d were sent of %d", n, accepted)
	}
}

// TestTheDatabaseBreaksOffWhileAMessageIsSent: its connections are dead, then the answer to a COMMIT is lost. What the mail server said
// of the message is stored and told.
func TestTheDatabaseBreaksOffWhileAMessageIsSent(t *testing.T) {
	t.Parallel()
	b, proxy := setupOnPostgres(t)
	var rules string
	for n := range 3 {
		rules += fmt.Sprintf("conn %d: cut server after \"COMMIT\"\n", n+1)
	}
	b.smtp.set(func() {
		b.smtp.came = func() { proxy.Turn(t, rules) }
		b.smtp.data = []error{code(554, 5, 7, 1)}
	})
	b.send(sender.Outgoing{Write: raw(1, "x@example.test")})
	b.until(mail.SendFailed)
}
