package syncer

import (
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/test/persona"
)

// Two connections fetch the bytes of a large folder, and of a folder and the next. Which of several messages with one fingerprint
// gets the plain id does not depend on which connection is faster.
func TestTheOldestTwinHasThePlainID(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Basic})
	r.p.Create("First")
	r.p.Create("Second")
	twin := func(n int) []byte { return fmt.Appendf(letter(1), "Twin %d.\r\n", n) }
	r.p.Deliver("First", twin(1))
	r.fill("First", 10, 10+2*unitMessages)
	r.p.Deliver("First", twin(2))
	r.p.Deliver("Second", twin(3))
	r.fill("Second", 5000, 5000+unitMessages)
	r.begin()

	folders, err := r.a.mbox.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plain := 0
	fp, _ := mime.Fingerprint(mime.ParseHeader(letter(1)))
	for _, f := range folders {
		placements, err := r.a.mbox.Placements(t.Context(), f.ID, mail.UIDValidity(f.UIDValidity))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range placements {
			if p.Message == mail.MessageID(r.a.key.MessageID(fp)) {
				if plain++; f.Name != "First" || p.UID != 1 {
					t.Errorf("the plain id is that of %d in %s", p.UID, f.Name)
				}
			}
		}
	}
	if plain != 1 {
		t.Errorf("%d messages have the plain id", plain)
	}
}
