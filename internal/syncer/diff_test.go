package syncer

import (
	"testing"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	held := func(uids ...mail.UID) (out []mail.Placement) {
		for _, u := range uids {
			out = append(out, mail.Placement{UID: u, Flags: mail.FlagSeen, Keywords: []string{"a", "b"}})
		}
		return out
	}
	for _, c := range []struct {
		name     string
		remote   remoteFolder
		local    []mail.Placement
		fetch    string
		flags    []mail.UID
		vanished []mail.UID
	}{
		{name: "both empty"},
		{name: "incomplete look removes nothing", local: held(1, 2, 3)},
		{name: "complete look at an emptied folder", remote: remoteFolder{Complete: true}, local: held(1, 2), vanished: []mail.UID{1, 2}},
		{name: "new, gone and same", remote: remoteFolder{Complete: true, UIDs: imap.UIDs(2, 3, 9)}, local: held(1, 2, 3), fetch: "9", vanished: []mail.UID{1}},
		{
			name:   "keywords in another order are the same flags",
			remote: remoteFolder{Flags: []remoteFlags{{UID: 1, Flags: mail.FlagSeen, Keywords: []string{"b", "a"}}}}, local: held(1),
		},
		{
			name:   "a flag gone, a keyword gone",
			remote: remoteFolder{Flags: []remoteFlags{{UID: 2, Keywords: []string{"a", "b"}}, {UID: 1, Flags: mail.FlagSeen, Keywords: []string{"a"}}}},
			local:  held(1, 2), flags: []mail.UID{2, 1},
		},
		{name: "flags of a message without a row fetch it", remote: remoteFolder{Flags: []remoteFlags{{UID: 7}}}, local: held(1), fetch: "7"},
		{name: "highest UID there is", remote: remoteFolder{Complete: true, UIDs: imap.UIDs(4294967294)}, local: held(1), fetch: "4294967294", vanished: []mail.UID{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := diff(c.remote, "f", c.local)
			if got.Fetch.String() != c.fetch {
				t.Errorf("fetch %q, want %q", got.Fetch.String(), c.fetch)
			}
			if len(got.Flags) != len(c.flags) {
				t.Fatalf("flags of %d messages, want %d", len(got.Flags), len(c.flags))
			}
			for i, u := range got.Flags {
				if u.UID != c.flags[i] {
					t.Errorf("flags of %d, want %d", u.UID, c.flags[i])
				}
			}
			if len(got.Vanished) != len(c.vanished) {
				t.Fatalf("%d vanished, want %d", len(got.Vanished), len(c.vanished))
			}
			for i, v := range got.Vanished {
				if v.UID != c.vanished[i] || v.Folder != "f" {
					t.Errorf("vanished %+v, want UID %d", v, c.vanished[i])
				}
			}
		})
	}
}

func TestSuspicious(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gone, of int
		want     bool
	}{{20, 20, false}, {21, 21, true}, {21, 420, false}, {22, 439, true}, {50, 1000, false}, {51, 1000, true}, {0, 0, false}} {
		if got := suspicious(c.gone, c.of); got != c.want {
			t.Errorf("suspicious(%d, %d) = %v", c.gone, c.of, got)
		}
	}
}
