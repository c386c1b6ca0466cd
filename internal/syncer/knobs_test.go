package syncer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/persona"
)

// swap is a Say that replaces a text in lines that hold another.
func swap(in, from, to string) func(persona.Command, string) string {
	return func(_ persona.Command, line string) string {
		if strings.Contains(line, in) {
			return strings.ReplaceAll(line, from, to)
		}
		return line
	}
}

// TestKnobs takes single lies of servers, each on every step of the ladder that it concerns, through an initial sync, news and a
// complete comparison: whatever the server says, the rows are what it holds afterwards, and nothing was told as deleted that is
// there.
func TestKnobs(t *testing.T) {
	t.Parallel()
	noFlags := func(c persona.Command, line string) string {
		if strings.Contains(line, "FETCH (") && !strings.Contains(line, "BODY[") {
			return strings.ReplaceAll(line, "FLAGS ()", "FLAGS NIL")
		}
		return line
	}
	for name, k := range map[string]persona.Knobs{
		"blanks at the end of lines":      {Say: persona.Trailing},
		"sizes with a point":              {Say: persona.Decimals},
		"sizes below zero":                {Say: swap("RFC822.SIZE", "RFC822.SIZE 1", "RFC822.SIZE -1")},
		"sizes that are wrong":            {Say: swap("RFC822.SIZE", "RFC822.SIZE 1", "RFC822.SIZE 9")},
		"ESEARCH finds nothing":           {Say: persona.NothingFound},
		"MODSEQ of -1":                    {Say: swap("FETCH (", "MODSEQ (", "MODSEQ (-")},
		"HIGHESTMODSEQ of 0":              {HighestModSeq: func(persona.Command, uint64) string { return "0" }},
		"HIGHESTMODSEQ of -1":             {HighestModSeq: func(persona.Command, uint64) string { return "-1" }},
		"no HIGHESTMODSEQ":                {HighestModSeq: func(persona.Command, uint64) string { return "" }},
		"HIGHESTMODSEQ runs ahead":        {HighestModSeq: func(_ persona.Command, v uint64) string { return fmt.Sprint(v + 1) }},
		"flags are NIL":                   {Say: noFlags},
		"INBOX is spelt Inbox":            {Say: swap("* LIST", `"INBOX"`, `"Inbox"`)},
		"INTERNALDATE is broken":          {Say: swap("INTERNALDATE", `INTERNALDATE "01-Mar`, `INTERNALDATE "00-Foo`)},
		"FETCH names every message twice": {Say: twice},
		"a FETCH of sequence number 0":    {Say: sayBefore("FETCH (", "* 0 FETCH (FLAGS ())")},
		"news among the answers":          {Say: sayBefore("OK done", "* 1 FETCH (FLAGS (\\Seen $Other))")},
		"lines of another protocol":       {Say: sayBefore("* SEARCH", "Server is thinking")},
		"UIDNEXT absent":                  {UIDNext: func(persona.Command, uint32) string { return "" }},
		"VANISHED names all but one":      {Vanished: persona.AllButOne},
		"VANISHED without end":            {Vanished: func(persona.Command, []uint32) string { return "1:*" }},
		"VANISHED is forgotten":           {Vanished: func(persona.Command, []uint32) string { return "" }},
		"VANISHED makes no sense":         {Vanished: func(persona.Command, []uint32) string { return "1:2:3,," }},
		"ENABLE without ENABLED":          {Unenabled: true},
		"SEARCH is refused":               {Answer: refuse("NO [SERVERBUG] no", "UID SEARCH")},
		"SEARCH is unknown":               {Answer: refuse("BAD what?", "UID SEARCH")},
		"ID is refused":                   {Answer: refuse("BAD no", "ID")},
		"LIST fails with RETURN":          {Answer: persona.Extended("BAD no RETURN")},
		"LIST is empty with RETURN":       {Answer: persona.Extended("OK nothing")},
		"SEARCH NOT finds nothing":        {Found: persona.NothingNot},
		"SEARCH by date finds everything": {Found: persona.EveryDate},
		"STATUS is empty":                 {Say: persona.EmptyStatus},
		"sets must ascend":                {Ascending: true},
		"parents without children":        {Say: persona.NoChildren},
		"names without quotes":            {Say: persona.BareNames},
		"a star among the flags":          {Say: persona.StarredFlags},
		"BYE again and again":             {Life: 60, Say: persona.ManyGoodbyes},
		"ANNOTATE is offered and refused": {Caps: "ANNOTATE-EXPERIMENT-1"},
		"XLIST is offered and wrong":      {Caps: "XLIST", Answer: refuse(persona.Cut, "XLIST")},
		"the third login is refused":      {Conns: 2},
	} {
		for which, caps := range ladderSteps {
			t.Run(name+", "+which, func(t *testing.T) {
				t.Parallel()
				k := k
				k.Caps = strings.TrimSpace(caps + " " + k.Caps)
				knobStory(t, k)
			})
		}
	}
}

// TestKnobsThatRemember is TestKnobs with lies that a server tells once, or another time otherwise.
func TestKnobsThatRemember(t *testing.T) {
	t.Parallel()
	for name, knobs := range map[string]func() persona.Knobs{
		"a body is left out":       func() persona.Knobs { return persona.Knobs{Say: persona.NoBodyAtFirst()} },
		"a UID is left out":        func() persona.Knobs { return persona.Knobs{Say: persona.NoUIDAtFirst()} },
		"headers differ each time": func() persona.Knobs { return persona.Knobs{Bytes: persona.Rewritten()} },
		"BYE after two refusals": func() persona.Knobs {
			return persona.Knobs{Errors: 2, Answer: persona.First(5, "BAD Command Argument Error. 12", "UID FETCH", "STATUS")}
		},
		"STATUS fails now and then": func() persona.Knobs {
			return persona.Knobs{Answer: persona.First(3, "NO [UNAVAILABLE] later", "STATUS", "LIST")}
		},
		"unavailable now and then": func() persona.Knobs { return persona.Knobs{Say: persona.Unavailable(3)} },
		"logged in, not connected": func() persona.Knobs {
			return persona.Knobs{Answer: persona.First(3, "BAD User is authenticated but not connected.", "EXAMINE")}
		},
		"throttled in words": func() persona.Knobs {
			return persona.Knobs{Answer: persona.First(3, "BAD Request is throttled. Suggested Backoff Time: 9 milliseconds", "UID FETCH")}
		},
		"bandwidth is used up": func() persona.Knobs {
			return persona.Knobs{Answer: persona.First(3, "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", "UID FETCH")}
		},
		"ID is asked for (NetEase)": persona.NetEase,
		"everything by search (QQ)": persona.QQ,
	} {
		for which, caps := range ladderSteps {
			t.Run(name+", "+which, func(t *testing.T) {
				t.Parallel()
				k := knobs()
				k.Caps = caps
				knobStory(t, k)
			})
		}
	}
}

// ladderSteps are the capabilities for each step of the ladder.
var ladderSteps = map[string]string{"QRESYNC": persona.All, "CONDSTORE": persona.Without(persona.All, "QRESYNC"), "basic": persona.Basic + " ID"}

func knobStory(t *testing.T, k persona.Knobs) {
	r := newRig(t, k)
	r.p.Create("Work")
	r.p.Create("Work/Deep")
	r.p.Create("Say \"hi\"\tnow")
	for i := 1; i <= 6; i++ {
		r.p.Deliver("INBOX", letter(i), `\Seen`)
	}
	r.p.Deliver("Work", letter(10), `\Seen`)
	r.p.Deliver("Work/Deep", letter(11), `\Seen`)
	r.p.Deliver("Say \"hi\"\tnow", letter(12), `\Seen`)
	look := func(full bool) {
		t.Helper()
		for try := 0; ; try++ { // as the account does: after a refusal, again in another session
			if r.s == nil || r.s.Err() != nil {
				r.login()
			}
			err := r.tryLook(full)
			if err == nil {
				break
			}
			if try == 5 {
				t.Fatal(err)
			}
		}
	}
	look(true)
	r.changes()
	r.p.Deliver("INBOX", letter(7), `\Seen`)
	r.p.Flag("INBOX", 2, `\Seen`, `\Flagged`)
	look(false)
	r.p.Expunge("INBOX", 3)
	r.p.Move("INBOX", 4, "Work")
	r.login()
	look(false)
	r.wait(5 * time.Minute)
	look(true)
	r.agrees()
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message.deleted") && c != "message.deleted m3" {
			t.Errorf("told: %s", c)
		}
	}
	if !slices.Contains(slices.Collect(maps.Values(r.state())), `m2 \Seen \Flagged`) {
		t.Errorf("the flag is not here: %q", r.state())
	}
}

func refuse(answer string, names ...string) func(persona.Command) string {
	return persona.First(1<<30, answer, names...)
}

func twice(_ persona.Command, line string) string {
	if strings.Contains(line, "FETCH (") {
		return line + "\r\n" + line
	}
	return line
}

func sayBefore(what, extra string) func(persona.Command, string) string {
	return func(c persona.Command, line string) string {
		if strings.Contains(line, what) && c.Name != "AUTHENTICATE" && c.Name != "LOGIN" {
			return extra + "\r\n" + line
		}
		return line
	}
}
