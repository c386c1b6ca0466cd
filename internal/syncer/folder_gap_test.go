package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// TestAFolderThatWasNotReadForHoursIsTold: what came and went in it meanwhile nobody has seen. That is told once, behind what
// was found, from the last time at which it was known to be equal on.
func TestAFolderThatWasNotReadForHoursIsTold(t *testing.T) {
	t.Parallel()
	const basic, restart, quiet = 1, 2, 4
	for name, sc := range map[string]struct {
		away time.Duration
		how  int
		told bool
	}{
		"hours":                             {5 * time.Hour, 0, true},
		"hours, without CONDSTORE":          {5 * time.Hour, basic, true},
		"hours, over a restart":             {5 * time.Hour, restart, true},
		"minutes":                           {10 * time.Minute, 0, false},
		"hours, in which STATUS is as ever": {5 * time.Hour, quiet, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caps := persona.All
			if sc.how&basic > 0 {
				caps = persona.Basic
			}
			r := newRig(t, persona.Knobs{Caps: caps})
			r.p.Create("Work")
			r.fill("INBOX", 1, 3)
			r.fill("Work", 11, 14)
			r.begin()
			broken := true
			r.p.Turn(func(k *persona.Knobs) {
				k.Answer = func(c persona.Command) string {
					if broken && c.Folder == "Work" && c.Name == "EXAMINE" {
						return "NO System I/O error"
					}
					return ""
				}
			})
			look := func(d time.Duration) {
				r.wait(d)
				r.look(false)
			}
			look(10 * time.Minute)
			since := r.now()
			if sc.how&quiet == 0 {
				r.p.Deliver("Work", letter(15))
			}
			const step = 5 * time.Minute
			for passed := time.Duration(0); passed < sc.away; passed += step {
				look(step)
				if sc.how&restart > 0 && passed == sc.away/2 {
					r.restart(false)
				}
			}
			if len(r.a.parked) == 0 == (sc.how&quiet == 0) {
				t.Errorf("parked: %v", r.a.parked)
			}
			if got := r.changes(); strings.Contains(strings.Join(got, "\n"), "sync.gap") {
				t.Errorf("told too early: %q", got)
			}
			broken = false
			until := r.now()
			r.p.Deliver("Work", letter(16))
			for range 30 {
				look(step)
			}
			r.agrees()
			first := r.seq
			got := r.changes()
			var gaps []mail.Change
			list, err := r.a.mbox.Changes(t.Context(), first, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range list {
				if c.Kind == mail.SyncGap {
					gaps = append(gaps, c)
					if i != len(list)-1 {
						t.Errorf("told before what was found: %q", got)
					}
				}
			}
			if !sc.told {
				if len(gaps) > 0 {
					t.Errorf("a gap that is none: %q", got)
				}
				return
			}
			if len(gaps) != 1 || !strings.Contains(gaps[0].Data.Reason, `"Work"`) {
				t.Fatalf("changes %q", got)
			}
			if d := gaps[0].Data; d.Since > since.Unix() || d.Since < since.Add(-step-time.Second).Unix() || d.Until < until.Unix() {
				t.Errorf("from %v to %v, want from about %v to after %v", time.Unix(d.Since, 0).UTC(), time.Unix(d.Until, 0).UTC(), since, until)
			}
		})
	}
}
