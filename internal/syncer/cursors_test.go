package syncer

import (
	"fmt"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestCursorsMoveOnlyOverWhatIsStored: the process may die whenever something was stored, so that a folder's cursors never speak of
// messages that are still to come. The counts would find most of them, and they would be told as new mail.
func TestCursorsMoveOnlyOverWhatIsStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.All})
	at, missing := 0, 0
	r.a.e.reached = func(point string) {
		if point != string(after)+"headers" {
			return
		}
		at++
		folders, err := r.a.mbox.Folders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f := folders[slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Role == mail.RoleInbox })]
		here := r.places()
		for _, m := range r.p.Everything() {
			if uid := mail.UID(m.UID); here[fmt.Sprint("INBOX ", uid)] == "" {
				missing++
				if uid < f.UIDNext && (f.HeadersDone || uid >= f.BackfillBelow) {
					t.Fatalf("UID %d is not stored, and the cursors are past it: %+v", uid, f)
				}
			}
		}
	}
	const old = firstPage + headerChunk + 5
	r.fill("INBOX", 1, old)
	r.headersOnly()
	r.fill("INBOX", old+1, old+headerChunk+5)
	r.headersOnly()
	if n := len(r.places()); n != old+headerChunk+5 || at != 5 || missing == 0 {
		t.Errorf("%d messages are here, stored in %d parts, with %d missing in between", n, at, missing)
	}
}
