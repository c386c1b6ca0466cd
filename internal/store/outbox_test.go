package store

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// spool stores the bytes of a send.
func spool(t testing.TB, m *Mailbox, data []byte) int64 {
	t.Helper()
	refs, err := m.PutBlobs(t.Context(), []BlobData{{Kind: BlobOther, Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	return refs[0].ID
}

func enqueue(t testing.TB, m *Mailbox, s mail.Send) mail.Send {
	t.Helper()
	data := bytesOf("send", 3000)
	s.Blob, s.Size = spool(t, m, data), int64(len(data))
	out, created, err := m.Enqueue(t.Context(), s)
	if err != nil || !created {
		t.Fatalf("enqueue: %v, created %v", err, created)
	}
	return out
}

func toldAfter(t testing.TB, m *Mailbox, seq mail.Seq) []mail.Change {
	t.Helper()
	list, err := m.Changes(t.Context(), seq, 100)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOutbox(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		now := time.UnixMilli(1800000000000).UTC()
		p.o.Now = func() time.Time { return now }
		s := p.open(t)
		_, m := addAccount(t, s, "ann@example.test")
		_, other := addAccount(t, s, "bob@example.test")
		ctx := t.Context()

		one := enqueue(t, m, mail.Send{State: mail.SendQueued, From: "ann@example.test", Recipients: []mail.Recipient{{Email: "x@example.test"}, {Email: "y@example.test"}},
			Key: "k1", Summary: mail.Message{ID: "m1", Subject: "Zürich"}})
		two := enqueue(t, m, mail.Send{State: mail.SendScheduled, SendAt: now.Add(time.Hour), Recipients: []mail.Recipient{{Email: "x@example.test"}}})
		if got := toldAfter(t, m, 0); len(got) != 2 || got[0].Kind != mail.SendAccepted || got[0].Object != one.ID || got[1].Data.Send != mail.SendScheduled || got[0].Origin != mail.OriginAPI {
			t.Errorf("told %+v", got)
		}
		due, _, next, err := m.DueSends(ctx, 10)
		if err != nil || len(due) != 1 || due[0].ID != one.ID || !next.Equal(two.SendAt) {
			t.Fatalf("due %+v, next %v, %v", due, next, err)
		}
		if due[0].Summary.Subject != "Zürich" || len(due[0].Recipients) != 2 {
			t.Errorf("read back %+v", due[0])
		}
		if due, settle, _, _ := other.DueSends(ctx, 10); len(due)+len(settle) != 0 {
			t.Errorf("another account has %+v %+v", due, settle)
		}
		if _, err := other.Send(ctx, one.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("another account reads it: %v", err)
		}

		// The same key is the same send, in this account, for an hour. The spool of the second is given back.
		again := mail.Send{State: mail.SendQueued, Key: "k1", Blob: spool(t, m, bytesOf("again", 10)), Size: 10}
		if got, created, err := m.Enqueue(ctx, again); err != nil || created || got.ID != one.ID {
			t.Errorf("same key: %+v, %v, %v", got.ID, created, err)
		}
		if _, err := m.OpenBlob(ctx, again.Blob); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("the second spool is still there: %v", err)
		}
		if elsewhere := enqueue(t, other, mail.Send{State: mail.SendQueued, Key: "k1"}); elsewhere.ID == one.ID {
			t.Error("one key over two accounts")
		}

		// Who has read an older version may not write; bytes are there until the end and no garbage before.
		stale := one
		one.State, one.Attempts = mail.SendSending, 1
		if one, err = m.PutSend(ctx, one, 0); err != nil {
			t.Fatal(err)
		}
		stale.State = mail.SendCanceled
		if _, err := m.PutSend(ctx, stale, mail.SendStopped); !mail.IsKind(err, mail.Conflict) {
			t.Errorf("a stale write: %v", err)
		}
		now = now.Add(2 * time.Hour)
		if _, err := m.CollectGarbage(ctx); err != nil {
			t.Fatal(err)
		}
		r, err := m.OpenBlob(ctx, one.Blob)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, bytesOf("send", 3000)) {
			t.Errorf("the spool has %d bytes, %v", len(got), err)
		}
		if later := enqueue(t, m, mail.Send{State: mail.SendQueued, Key: "k1"}); later.ID == one.ID {
			t.Error("a key is kept for more than an hour")
		}
		if due, settle, _, _ := m.DueSends(ctx, 10); len(due) != 2 || due[0].ID != two.ID || len(settle) != 1 || settle[0].ID != one.ID {
			t.Errorf("two hours later due: %+v, %+v", due, settle)
		}
		seq, _ := m.Seq(ctx)
		blob := one.Blob
		one.State = mail.SendFailed
		one.Reason = "no\x00 way"
		if one, err = m.PutSend(ctx, one, mail.SendNotDone); err != nil || one.EndedAt.IsZero() {
			t.Fatalf("%+v, %v", one, err)
		}
		if got := toldAfter(t, m, seq); len(got) != 1 || got[0].Kind != mail.SendNotDone || got[0].Data.Send != mail.SendFailed || got[0].Data.Reason == "" {
			t.Errorf("told %+v", got)
		}
		if _, err := m.OpenBlob(ctx, blob); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("the bytes of an ended send: %v", err)
		}
		if _, err := m.PutSend(ctx, one, 0); !mail.IsKind(err, mail.Conflict) {
			t.Errorf("a send that has ended was written: %v", err)
		}
		if list, err := m.Sends(ctx, now.Add(-time.Hour), 10); err != nil || len(list) != 3 || list[2].ID != one.ID {
			t.Errorf("list %+v, %v", list, err)
		}

		// Ended ones are forgotten after a month, open ones never.
		now = now.Add(31 * 24 * time.Hour)
		if list, err := m.Sends(ctx, now.Add(-time.Hour), 10); err != nil || len(list) != 2 {
			t.Errorf("list %+v, %v", list, err)
		}
		enqueue(t, m, mail.Send{State: mail.SendQueued})
		if _, err := m.Send(ctx, one.ID); !mail.IsKind(err, mail.NotFound) {
			t.Errorf("an old send: %v", err)
		}
		if _, err := m.Send(ctx, two.ID); err != nil {
			t.Errorf("an open send was forgotten: %v", err)
		}
	})
}

// TestOutboxAtOnce: many requests with one key are one send, and of many who write a version one does.
func TestOutboxAtOnce(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		s := p.open(t)
		_, m := addAccount(t, s, "ann@example.test")
		var wg sync.WaitGroup
		var mu sync.Mutex
		ids, made, wrote := map[string]bool{}, 0, 0
		var last mail.Send
		for range 8 {
			blob := spool(t, m, bytesOf("x", 10))
			wg.Go(func() {
				out, created, err := m.Enqueue(t.Context(), mail.Send{State: mail.SendQueued, Key: "k", Blob: blob, Size: 10})
				mu.Lock()
				defer mu.Unlock()
				if ids[out.ID] = true; created {
					made++
					last = out
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made != 1 || len(ids) != 1 {
			t.Errorf("%d were made, ids %v", made, ids)
		}
		for range 8 {
			wg.Go(func() {
				mine := last
				mine.State = mail.SendSending
				_, err := m.PutSend(t.Context(), mine, 0)
				var e *mail.Error
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					wrote++
				} else if !errors.As(err, &e) || e.Kind != mail.Conflict {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if wrote != 1 {
			t.Errorf("%d wrote the same version", wrote)
		}
	})
}

// What was put off while the clock was a year ahead is due; what is scheduled for then is not.
func TestPutOffByAWrongClock(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		now := time.UnixMilli(1800000000000).UTC()
		p.o.Now = func() time.Time { return now }
		b := newBox(t, p)
		ctx := t.Context()
		year := now.AddDate(1, 0, 0)
		to := []mail.Recipient{{Email: "x@example.test"}}
		enqueue(t, b.Mailbox, mail.Send{State: mail.SendScheduled, SendAt: year, Recipients: to})
		for _, at := range []time.Time{year, now.Add(24 * time.Hour)} {
			s := enqueue(t, b.Mailbox, mail.Send{State: mail.SendQueued, Recipients: to})
			s.NextTry, s.Attempts = at, 1
			if _, err := b.PutSend(ctx, s, 0); err != nil {
				t.Fatal(err)
			}
			op, err := b.AddOperation(ctx, mail.Operation{Kind: mail.OpFolderCreate, Name: "x" + at.String()})
			if err != nil {
				t.Fatal(err)
			}
			op.NextTry = at
			if err := b.PutOperation(ctx, b.term, op); err != nil {
				t.Fatal(err)
			}
		}
		if due, _, _, err := b.DueSends(ctx, 10); err != nil || len(due) != 1 || !due[0].NextTry.Equal(year) {
			t.Errorf("due: %+v, %v", due, err)
		}
		if due, _, err := b.PendingOperations(ctx, 10); err != nil || len(due) != 1 || !due[0].NextTry.Equal(year) {
			t.Errorf("operations: %+v, %v", due, err)
		}
	})
}
