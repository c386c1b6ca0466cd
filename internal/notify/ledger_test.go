package notify

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
)

// What a lane delivers is recorded in order and together; never more than maxUnrecorded wait, and who waits sees them all.
func TestLedger(t *testing.T) {
	t.Parallel()
	begun, allowed := make(chan int, 100), make(chan struct{})
	var got []mail.Seq
	var last store.WebhookCursor
	l := newLedger(func(c store.WebhookCursor, list []store.Delivery) error {
		begun <- len(list)
		<-allowed
		for _, d := range list {
			got = append(got, d.Seq)
		}
		last = c
		return nil
	})
	var want []mail.Seq
	add := func(seq mail.Seq) {
		t.Helper()
		want = append(want, seq)
		if err := l.add(store.WebhookCursor{Seq: seq}, store.Delivery{Seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	if n := <-begun; n != 1 {
		t.Errorf("%d recorded at first", n)
	}
	for seq := range mail.Seq(maxUnrecorded - 1) {
		add(seq + 2)
	}
	full := make(chan error)
	go func() { full <- l.add(store.WebhookCursor{Seq: 99}, store.Delivery{Seq: 99}) }()
	select {
	case <-full:
		t.Error("more are unrecorded than may be")
	case n := <-begun:
		t.Errorf("%d are recorded beside others", n)
	case allowed <- struct{}{}:
	}
	if err := <-full; err != nil {
		t.Error(err)
	}
	close(allowed)
	if err := l.add(store.WebhookCursor{Seq: 120}); err != nil { // what comes after 99 is told to nobody
		t.Error(err)
	}
	if err := l.wait(); err != nil {
		t.Error(err)
	}
	if want = append(want, 99); !slices.Equal(got, want) || last.Seq != 120 {
		t.Errorf("recorded %d, want %d; the cursor is at %d", got, want, last.Seq)
	}
}

// What cannot be recorded ends the lane's turn, and nothing after it is recorded.
func TestLedgerFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk full")
	calls := 0
	l := newLedger(func(store.WebhookCursor, []store.Delivery) error { calls++; return broken })
	for err := error(nil); err == nil; {
		err = l.add(store.WebhookCursor{}, store.Delivery{})
	}
	if err := l.wait(); !errors.Is(err, broken) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// A notification is written once for all webhooks, and anew as soon as anything happens to the account.
func TestViews(t *testing.T) {
	t.Parallel()
	var x views
	wrote := 0
	get := func(account mail.AccountID, seq mail.Seq, size int, err error, pending bool) *written {
		return x.get(context.Background(), account, seq, func(w *written) {
			wrote++
			w.ok, w.payload, w.err, w.view.pending = true, make([]byte, size), err, pending
		})
	}
	count := func(name string, want int) {
		t.Helper()
		if wrote != want {
			t.Errorf("%s: written %d times, not %d", name, wrote, want)
		}
		wrote = 0
	}
	for range 3 {
		get("a", 1, 10, nil, false)
		get("a", 2, 10, nil, false)
		get("b", 1, 10, nil, false)
	}
	count("each once", 3)
	x.drop("a")
	get("a", 1, 10, nil, false)
	get("b", 1, 10, nil, false)
	count("only what changed", 1)
	x.drop("")
	get("b", 1, 10, nil, false)
	count("all", 1)
	for range 2 {
		get("a", 7, 10, errors.New("busy"), false)
		get("a", 8, 10, nil, true)
	}
	count("neither errors nor what waits for its body is kept", 4)
	func() {
		defer func() { recover() }()
		x.get(context.Background(), "a", 9, func(*written) { panic("broken") })
	}()
	if w := get("a", 9, 10, nil, false); w.err != nil {
		t.Errorf("after a panic: %v", w.err)
	}
	wrote = 0
	for seq := range mail.Seq(40) {
		get("c", seq, 1<<20, nil, false)
		if x.bytes > maxViews {
			t.Fatalf("%d bytes are kept", x.bytes)
		}
	}
	count("bounded", 40)
	x.drop("a")
	x.drop("b")
	x.drop("c")
	if x.bytes != 0 || len(x.logs) != 0 {
		t.Errorf("%d bytes of %d accounts are left", x.bytes, len(x.logs))
	}
	// Something happens while it is written: what was read before is not kept.
	x.get(context.Background(), "a", 1, func(w *written) { x.drop("a") })
	get("a", 1, 10, nil, false)
	count("read before the change", 1)
}
