package syncer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// watchCursors fails the test when a folder's cursors are past a message that is not stored, whenever headers were. parts are how often
// they were, and missing is how many messages were still to come then, in all.
func (r *rig) watchCursors() (parts, missing *int) {
	parts, missing = new(int), new(int)
	r.a.e.reached = func(point string) {
		if point != string(after)+"headers" {
			return
		}
		*parts++
		folders, err := r.a.mbox.Folders(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		f := folders[slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Role == mail.RoleInbox })]
		here := r.places()
		for _, m := range r.p.Everything() {
			if uid := mail.UID(m.UID); here[fmt.Sprint("INBOX ", uid)] == "" {
				*missing++
				if uid < f.UIDNext && (f.HeadersDone || uid >= f.BackfillBelow) {
					r.t.Fatalf("UID %d is not stored, and the cursors are past it: %+v", uid, f)
				}
			}
		}
	}
	return parts, missing
}

// TestCursorsMoveOnlyOverWhatIsStored: the process may die whenever something was stored, so that a folder's cursors never speak of
// messages that are still to come. The counts would find most of them, and they would be told as new mail.
func TestCursorsMoveOnlyOverWhatIsStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.All})
	parts, missing := r.watchCursors()
	const old = firstPage + headerChunk + 5
	r.fill("INBOX", 1, old)
	r.headersOnly()
	r.fill("INBOX", old+1, old+headerChunk+5)
	r.headersOnly()
	if n := len(r.places()); n != old+headerChunk+5 || *parts != 5 || *missing == 0 {
		t.Errorf("%d messages are here, stored in %d parts, with %d missing in between", n, *parts, *missing)
	}
}

// TestVeryLargeHeaders: of headers that are too large to be held all at once those that came are stored, and the others are asked for in
// parts of as many.
func TestVeryLargeHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.All})
	parts, missing := r.watchCursors()
	to := strings.Repeat(strings.Repeat("a.person@example.com,", 40)+"\r\n ", 4000)
	most := headerBytes/len(to) + 1
	for i := range 2*most + 1 {
		r.p.Deliver("INBOX", fmt.Appendf(nil, "Message-ID: <%d@example.net>\r\nTo: %sann@example.net\r\n\r\n", i, to))
	}
	r.headersOnly()
	if n := len(r.places()); n != 2*most+1 || *parts != 3 || *missing != 1+most+1 {
		t.Errorf("%d messages are here, stored in %d parts, with %d missing in between", n, *parts, *missing)
	}
}
