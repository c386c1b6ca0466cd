package syncer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

// differs returns what Verify finds.
func (r *rig) differs() (out []string) {
	r.t.Helper()
	v, err := r.a.e.Verify(r.t.Context(), r.a.id, VerifyOptions{Bytes: true})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range v.Differences {
		out = append(out, d.String())
	}
	return out
}

// TestKeywordsThatAreNotUTF8 are the same at each look and for Verify.
func TestKeywordsThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string]string{"QRESYNC": persona.All, "basic": persona.Basic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: caps})
			r.p.Deliver("INBOX", letter(1), "a\xff", "b\xfe", "c")
			r.p.Deliver("INBOX", letter(2), "x\xff", "x\xfe") // both are shown as one
			r.begin()
			if d := r.differs(); len(d) > 0 {
				t.Errorf("Verify finds %q", d)
			}
			folders, err := r.a.mbox.Folders(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			inbox := folders[slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Role == mail.RoleInbox })]
			if res, err := r.a.syncFolder(t.Context(), r.s, inbox, true); err != nil || res.found {
				t.Errorf("the next look finds %+v %v", res, err)
			}
		})
	}
}

// TestADraftWithAFlagThatNoCommandCanName can be saved again.
func TestADraftWithAFlagThatNoCommandCanName(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	version := func(n int) []byte {
		var b bytes.Buffer
		err := mime.Compose(&b, mime.Composition{
			From: []mime.Address{{Email: "ann@example.com"}}, Text: fmt.Sprint(n), Date: r.now(), MessageID: "draft@example.com",
			Headers: []mime.Field{{Name: mime.RevisionField, Value: fmt.Sprint("rev", n)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	r.p.Deliver("Drafts", version(1), `\Draft`, "kept", "50%", "\xdcmlaut", `\Own`)
	r.begin()
	id := mail.MessageID(r.a.key.MessageID(mime.DraftFingerprint("draft@example.com")))
	refs, err := r.a.mbox.PutBlobs(t.Context(), []store.BlobData{{Kind: store.BlobRaw, Data: version(2)}})
	if err != nil {
		t.Fatal(err)
	}
	at, err := r.a.mbox.PlacementsOf(t.Context(), id)
	if err != nil || len(at[id]) != 1 {
		t.Fatal(at, err)
	}
	old := at[id][0]
	op := r.ask(mail.Operation{Kind: mail.OpDraftSave, Messages: []mail.MessageID{id}, Blob: refs[0].ID, Size: refs[0].Size, Draft: &mail.DraftWork{
		Revision: "rev2", Old: id, Replaces: []mail.Copy{{Folder: old.Folder, UIDValidity: old.UIDValidity, UID: old.UID}}}})
	if op.State != mail.OpDone {
		t.Errorf("%s: %s", op.State, op.Reason)
	}
	r.agrees()
	for _, p := range r.p.Everything() {
		if !slices.Contains(p.Flags, "kept") || !slices.Contains(p.Flags, `\Own`) {
			t.Errorf("saved with the flags %q", p.Flags)
		}
	}
}

// TestFlagsThatAreNotTold: as long as the server does not tell the flags of a message, the folder is not proven; they are asked for again.
func TestFlagsThatAreNotTold(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: caps})
			hide := func(times int) {
				r.p.Turn(func(k *persona.Knobs) {
					k.Say = func(c persona.Command, line string) string {
						from := strings.Index(line, " FLAGS (")
						if from < 0 || !strings.Contains(line, "FETCH (UID 2 ") || times == 0 {
							return line
						}
						times--
						return line[:from] + line[from+strings.IndexByte(line[from:], ')')+1:]
					}
				})
			}
			hide(1)
			r.p.Deliver("INBOX", letter(1))
			r.p.Deliver("INBOX", letter(2), `\Seen`)
			r.begin()
			r.agrees()

			hide(-1)
			r.p.Flag("INBOX", 2, `\Flagged`)
			r.wait(time.Hour)
			before := r.now()
			r.look(true)
			if at := r.a.status.get().FreshAt; at.After(before) {
				t.Error("proven although the flags of a message are not told")
			}
			hide(0)
			r.wait(16 * time.Minute)
			r.look(false)
			r.agrees()
			if at := r.a.status.get().FreshAt; !at.After(before) {
				t.Errorf("all is told and nothing is proven since %v", at)
			}
			hide(1)
			r.p.Flag("INBOX", 2, `\Answered`)
			r.wait(16 * time.Minute)
			r.look(false)
			r.agrees()
		})
	}
}

// TestTheHighestUIDThereCanBe is not fetched, as it cannot be told from "*"; the folder is not proven then.
func TestTheHighestUIDThereCanBe(t *testing.T) {
	t.Parallel()
	for name, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: caps})
			const highest = 1<<32 - 1
			r.p.DeliverAt("INBOX", highest-2, letter(1))
			r.begin()
			r.p.DeliverAt("INBOX", highest-1, letter(2))
			r.look(false)
			r.agrees()
			r.p.DeliverAt("INBOX", highest, letter(3))
			r.wait(time.Hour)
			before := r.now()
			r.look(false)
			r.look(true)
			if n := len(r.state()); n != 2 {
				t.Errorf("%d messages: %v", n, r.state())
			}
			if at := r.a.status.get().FreshAt; at.After(before) {
				t.Error("proven although a message is not here")
			}
		})
	}
}
