package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/persona"
)

// verify returns what Verify finds with a second look.
func (r *rig) verify() (out []string) {
	r.t.Helper()
	v, err := r.a.e.Verify(r.t.Context(), r.a.id, VerifyOptions{Bytes: true, Wait: time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range v.Differences {
		out = append(out, d.String())
	}
	return out
}

// finds fails if Verify does not find just these differences, which are given by their beginnings.
func (r *rig) finds(want ...string) {
	r.t.Helper()
	got := r.verify()
	if len(got) != len(want) {
		r.t.Errorf("found %d differences, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			r.t.Errorf("found %q, want %q", got[i], want[i])
		}
	}
}

// TestVerifyWhereUIDValidityMeansNothing compares messages, in equal mailboxes and with one difference of each kind.
func TestVerifyWhereUIDValidityMeansNothing(t *testing.T) {
	t.Parallel()
	absent := func(persona.Command, uint32) string { return "" }
	for name, sc := range map[string]struct {
		knob func(persona.Command, uint32) string
		ago  time.Duration // since the last look
	}{
		"another in each session":                                 {persona.Flapping, 0},
		"another in each session, which nobody knows of any more": {persona.Flapping, 2 * flapTime},
		"absent": {absent, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.Basic, UIDValidity: sc.knob})
			r.fill("INBOX", 1, 12)
			r.fill("Sent", 21, 23)
			for range flipsToFlap + 1 {
				r.login()
				r.look(false)
			}
			r.logout()
			r.wait(sc.ago)
			r.finds()
			v, err := r.a.e.Verify(t.Context(), r.a.id, VerifyOptions{})
			if err != nil || v.Messages != 15 || sc.ago == 0 && len(v.Differences) > 0 {
				t.Errorf("compared at once: %+v, %v", v, err)
			}

			r.p.Flag("INBOX", 2, `\Flagged`)
			r.p.Expunge("INBOX", 4, 7)
			r.p.DeliverAt("INBOX", 7, []byte(strings.Replace(string(letter(7)), "Body 7", "Body X", 1)))
			r.p.Received("INBOX", 9, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
			r.p.Deliver("INBOX", letter(13))
			r.finds(`"INBOX" UID 2: flags are [\Flagged] at the server and [] here`, `"INBOX" UID 9: INTERNALDATE is `,
				`"INBOX" UID 13: the message is at the server and not here`, `"INBOX" UID 4: the message is here and not at the server`,
				`"INBOX" UID 7: the bytes differ: `)

			r.p.Renew("Sent", 9, 500)
			got := slices.DeleteFunc(r.verify(), func(d string) bool { return strings.HasPrefix(d, `"INBOX"`) })
			if !slices.Equal(got, []string{`"Sent": its UIDs name other messages at the server than here`}) {
				t.Errorf("of a folder that was made anew: %q", got)
			}
			r.p.Expunge("Sent", r.p.UIDs("Sent")...)
			got = slices.DeleteFunc(r.verify(), func(d string) bool { return strings.HasPrefix(d, `"INBOX"`) })
			if len(got) != 3 || !strings.HasPrefix(got[0], `"Sent" UID 1: the message is here and not at the server`) {
				t.Errorf("of a folder that was emptied: %q", got)
			}
		})
	}
}

// TestVerifyOfAFolderThatWasNumberedAnew tells that, and what is other in it where the UIDs are those that they were.
func TestVerifyOfAFolderThatWasNumberedAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 5)
	r.fill("Sent", 11, 13)
	r.begin()
	r.logout()
	r.finds()
	r.p.Renew("INBOX", 4711, 0)
	r.p.Flag("INBOX", 2, `\Seen`)
	r.p.Renew("Sent", 4712, 300)
	r.finds(`"INBOX": UIDVALIDITY is 4711 at the server and `, `"INBOX" UID 2: flags are [\Seen] at the server and [] here`,
		`"Sent": UIDVALIDITY is 4712 at the server and `, `"Sent": its UIDs name other messages at the server than here`)
	r.login()
	r.look(false)
	r.finds()
}
