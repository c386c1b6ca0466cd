package store

import (
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
)

// What was asked for last has the last word: nothing overtakes what waits and is about the same.
func TestOperationsInOrder(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		b := newBox(t, p)
		term, err := b.NextTerm(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var ops []mail.Operation
		for _, op := range []mail.Operation{
			{Kind: mail.OpUpdate, Messages: []mail.MessageID{"m1"}, Set: mail.FlagFlagged},
			{Kind: mail.OpUpdate, Messages: []mail.MessageID{"m1", "m2"}, Folder: "f1"},
			{Kind: mail.OpUpdate, Messages: []mail.MessageID{"m2"}, Clear: mail.FlagFlagged},
			{Kind: mail.OpFolderDelete, Folder: "f1"},
			{Kind: mail.OpUpdate, Messages: []mail.MessageID{"m3"}, Set: mail.FlagSeen},
			{Kind: mail.OpUpdate, Messages: []mail.MessageID{"m4"}, Folder: "f2"},
			{Kind: mail.OpUpdate, Messages: []mail.MessageID{"m5"}, Folder: "f2"},
		} {
			op, err := b.AddOperation(t.Context(), op)
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, op)
		}
		later := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		wait := func(n int, until time.Time) {
			t.Helper()
			ops[n].NextTry = until
			if err := b.PutOperation(t.Context(), term, ops[n]); err != nil {
				t.Fatal(err)
			}
		}
		due := func(want ...int) {
			t.Helper()
			list, _, err := b.PendingOperations(t.Context(), 10)
			var got []int
			for _, op := range list {
				got = append(got, slices.IndexFunc(ops, func(o mail.Operation) bool { return o.ID == op.ID }))
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("due: %v, want %v; %v", got, want, err)
			}
		}
		due(0, 1, 2, 3, 4, 5, 6)
		wait(0, later)
		due(4, 5, 6) // the move waits for the star, and what follows for the move
		wait(0, ops[0].CreatedAt)
		wait(1, later)
		wait(5, later)
		due(0, 4, 6) // two messages may come to one folder in any order
		if list, next, err := b.PendingOperations(t.Context(), 1); err != nil || len(list) != 1 || list[0].ID != ops[0].ID || !next.Equal(later) {
			t.Errorf("%v, %v, %v", list, next, err)
		}
	})
}
