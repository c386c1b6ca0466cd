package syncer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestOldMailIsToldByItsDate: whatever a server says to a search by date, mail that was received before the policy's first day is
// left out, and no other.
func TestOldMailIsToldByItsDate(t *testing.T) {
	t.Parallel()
	byDate := func(c persona.Command) bool {
		return c.Name == "UID SEARCH" && (strings.Contains(c.Args, "BEFORE ") || strings.Contains(c.Args, "SINCE ") || strings.Contains(c.Args, "ON "))
	}
	answers := func(hit bool) func(persona.Command, uint32, bool) bool {
		return func(c persona.Command, _ uint32, truth bool) bool {
			if byDate(c) {
				return hit
			}
			return truth
		}
	}
	for name, k := range map[string]persona.Knobs{
		"the truth":        {},
		"every message":    {Found: answers(true)},
		"no message":       {Found: answers(false)},
		"the wrong ones":   {Found: func(c persona.Command, _ uint32, truth bool) bool { return truth != byDate(c) }},
		"refused by NO":    {Answer: onlyIf(byDate, "NO [CANNOT] no dates")},
		"refused by BAD":   {Answer: onlyIf(byDate, "BAD what is a date?")},
		"no SEARCH at all": {Answer: persona.Always("BAD what?", "UID SEARCH")},
		"ESEARCH is empty": {Say: persona.NothingFound},
		"a date refused": {Answer: onlyIf(func(c persona.Command) bool {
			set, items, _ := strings.Cut(c.Args, " ")
			uids, err := imap.ParseUIDSet(set)
			return c.Name == "UID FETCH" && items == "(UID INTERNALDATE)" && err == nil && uids.Contains(9)
		}, "NO [SERVERBUG] no")},
	} {
		for which, caps := range map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic} {
			t.Run(name+", "+which, func(t *testing.T) {
				t.Parallel()
				k := k
				k.Caps = caps
				oldStory(t, k, name != "a date refused")
			})
		}
	}
}

func onlyIf(which func(persona.Command) bool, answer string) func(persona.Command) string {
	return func(c persona.Command) string {
		if which(c) {
			return answer
		}
		return ""
	}
}

func oldStory(t *testing.T, k persona.Knobs, dates bool) {
	r := newRig(t, k)
	r.a.acct.CreatedAt = r.now()
	r.a.acct.Settings.Sync = &mail.SyncPolicy{Days: 60}
	today := r.now()
	deliver := func(n, daysAgo int) {
		uid := r.p.Deliver("INBOX", letter(n))
		r.p.Received("INBOX", uid, today.AddDate(0, 0, -daysAgo))
	}
	for i := 1; i <= 6; i++ {
		deliver(i, 200-i)
	}
	deliver(7, 61)
	deliver(8, 60)
	deliver(9, 1)
	r.look(true)
	wants := func(names ...string) {
		t.Helper()
		var here []string
		for _, at := range r.state() {
			here = append(here, strings.Fields(at)[0])
		}
		if slices.Sort(here); !slices.Equal(here, names) {
			t.Errorf("here are %q, not %q", here, names)
		}
		if s := r.a.status.get(); s.State != mail.StateLive || int(s.Total) != len(names) || int(s.Done) != len(names) {
			t.Errorf("%s, %d of %d, want %d", s.State, s.Done, s.Total, len(names))
		}
	}
	wants("m8", "m9")
	if !dates { // of one message, which is here all the same
		return
	}
	asked := r.p.Count("UID FETCH 1:9 (UID INTERNALDATE)")
	if asked != 1 {
		t.Errorf("dates were asked for %d times: %q", asked, slices.DeleteFunc(r.p.Log(), func(l string) bool { return !strings.Contains(l, "INTERNALDATE") }))
	}

	deliver(10, 0)
	deliver(11, 300) // moved there by another program
	r.p.Expunge("INBOX", 2, 8)
	r.p.Flag("INBOX", 4, `\Seen`)
	r.look(false)
	r.wait(7 * time.Hour)
	r.look(true)
	wants("m10", "m9")
	for _, l := range r.p.Log() {
		if strings.Contains(l, "INTERNALDATE") && strings.Contains(l, " C: ") && (strings.Contains(l, "FETCH 1:9 ") || strings.Contains(l, "10:11 (UID INTERNALDATE RFC822.SIZE)")) {
			asked--
		}
	}
	if asked != -1 {
		t.Errorf("dates of known messages were asked for again: %d", asked)
	}
	if s := r.a.status.get(); s.FreshAt.IsZero() {
		t.Error("never proven")
	}
	inbox, err := r.a.mbox.Folder(t.Context(), r.folderIDs()["INBOX"])
	if err != nil {
		t.Fatal(err)
	}
	if now, err := r.a.syncFolder(t.Context(), r.s, inbox, true); err != nil || now.found { // else the server would seem to be silent about news
		t.Errorf("what is left out is found each time: %+v %v", now, err)
	}
	before := maps.Clone(r.state())
	r.restart(false)
	r.a.acct.Settings.Sync = &mail.SyncPolicy{Days: 60}
	r.look(false)
	r.look(true)
	if after := r.state(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a restart %q, before %q", after, before)
	}
}
