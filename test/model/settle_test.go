package model

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/test/binary"
)

// told is what the events have said so far.
type told struct {
	cursor  string
	events  int
	there   map[string]bool // messages, by id
	deleted map[string]bool
}

// settle ends all faults, waits until everything is still, and compares.
func (h *history) settle() {
	h.t.Helper()
	began := time.Now()
	h.proxy.Turn(h.t, "")
	if h.s == nil {
		h.start()
	}
	h.connect()
	if err := h.app.settle(h.s); err != nil {
		h.t.Errorf("what the application asked for: %v", err)
	}
	asked := time.Since(began)
	h.holds()
	h.converge()
	h.ids()
	h.events()
	for _, f := range h.box.folders {
		f.busy, f.target, f.left, f.renamed, f.renumbered = false, false, false, false, false
		for _, c := range f.copies {
			c.busy, c.spread = false, false
		}
	}
	if h.t.Failed() {
		h.t.Fatal("not as it should be")
	}
	h.log = append(h.log, fmt.Sprintf("     settled in %v, of which %v until all was done that was asked for; %d letters in %d copies", time.Since(began).Round(time.Millisecond), asked.Round(time.Millisecond), len(h.box.all()), h.box.size()))
}

// holds compares the mail server with the model: what was done has happened there, and nothing else has.
func (h *history) holds() {
	h.t.Helper()
	want, got := map[string]int{}, map[string]int{}
	numbers := map[[32]byte]string{}
	for _, f := range h.box.folders {
		want[f.String()]++
		for _, c := range f.copies {
			numbers[c.sum] = c.String()
			want[fmt.Sprintf("%v: %v %v", f, c, c.flags)]++
		}
	}
	for _, f := range h.other.Folders() {
		if !slices.ContainsFunc(f.Attrs, func(a string) bool { return strings.EqualFold(a, `\Noselect`) || strings.EqualFold(a, `\NonExistent`) }) {
			got[fmt.Sprintf("%q", f.Name)]++
		}
	}
	for _, m := range h.other.Everything(true) {
		number := numbers[m.SHA256]
		if number == "" {
			number = fmt.Sprintf("unknown\n%s\n", m.Raw)
		}
		got[fmt.Sprintf("%q: %s %v", m.Folder, number, m.Flags)]++
	}
	h.other.Try("UNSELECT")
	for k, n := range want {
		if got[k] != n {
			h.t.Errorf("%s should be at the mail server %d times, and is %d times", k, n, got[k])
		}
	}
	for k, n := range got {
		if want[k] == 0 {
			h.t.Errorf("%s is at the mail server %d times, and should not be", k, n)
		}
	}
}

// converge waits until Posthorn shows what the mail server holds, and has it compare itself, UID by UID.
func (h *history) converge() {
	h.t.Helper()
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		faults := binary.Differences(h.t, h.s, h.grant, h.d, user)
		if len(faults) == 0 {
			break
		}
		if time.Since(began) > *patience {
			h.t.Fatalf("not equal within %v: %s", *patience, strings.Join(faults[:min(len(faults), 10)], "; "))
		}
		<-tick.C
	}
	out, err := "", error(nil)
	for range 20 {
		if out, err = h.s.Verify(h.within(*patience), h.grant, "--bytes", "--wait=1s"); err == nil {
			return
		}
	}
	h.t.Errorf("posthorn verify: %v\n%s", err, out)
}

// ids: what was once seen under an id still has it.
func (h *history) ids() {
	h.t.Helper()
	ids := map[[32]byte]string{}
	for _, m := range binary.Everything(h.t, h.s, h.grant) {
		ids[m.Sum] = m.ID
	}
	owner := map[string]*subject{}
	for _, l := range h.box.all() {
		id, s := ids[l.sum], l.subject
		switch {
		case id == "":
			h.t.Errorf("letter %d is not listed", s.n)
		case s.id == "":
			s.id = id
		case s.id != id:
			h.t.Errorf("letter %d was %s and is %s", s.n, s.id, id)
		}
		if o := owner[id]; o != nil && o != s {
			h.t.Errorf("letters %d and %d are both %s", o.n, s.n, id)
		}
		owner[id] = s
	}
	folders, err := h.s.Folders(h.within(time.Minute), h.grant)
	if err != nil {
		h.t.Fatal(err)
	}
	validity := map[string]uint32{}
	for _, m := range h.other.Everything(false) {
		validity[m.Folder] = m.UIDValidity
	}
	h.other.Try("UNSELECT")
	for _, f := range h.box.folders {
		now := seen{validity: validity[f.name], messages: len(f.copies)}
		for _, o := range folders {
			if o.Name == f.name {
				now.id = o.ID
			}
		}
		if was := f.seen; was.id != "" && was.id != now.id && was.messages > 0 && was.validity == now.validity && f.known() {
			h.t.Errorf("folder %v was %s and is %s", f, was.id, now.id)
		}
		f.seen = now
	}
}

// events: no message is told as new that is there, and none as deleted that exists.
func (h *history) events() {
	h.t.Helper()
	if h.told.cursor == "" {
		h.told = told{cursor: "earliest", there: map[string]bool{}, deleted: map[string]bool{}}
	}
	all, cursor := binary.Feed(h.t, h.s, h.grant, "cursor="+h.told.cursor)
	h.told.cursor = cursor
	h.told.events += len(all)
	for _, e := range all {
		id := e.Data.Object.ID
		switch strings.TrimSuffix(e.Type, ".truncated") {
		case "message.created":
			if h.told.there[id] {
				h.t.Errorf("%s was told as new a second time", id)
			}
			h.told.there[id] = true
		case "message.deleted":
			delete(h.told.there, id)
			h.told.deleted[id] = true
		}
	}
	for _, l := range h.box.all() {
		// A message that is removed never comes back in these histories, except that another with its header may get its id.
		if *l.subject.ambiguous == 1 && h.told.deleted[l.subject.id] {
			h.t.Errorf("letter %d, %s, was told as deleted, and is there", l.subject.n, l.subject.id)
		}
	}
}

// end compares what is left at the end: the log makes the mailbox, the store is sound, and a new one has the same ids.
func (h *history) end() {
	h.t.Helper()
	binary.Folds(h.t, h.s, h.grant)
	if err := h.s.Stop(h.within(time.Minute)); err != nil {
		h.t.Error(err)
	}
	binary.Check(h.t, h.s)
	h.app.use(nil)
	fresh := h.options
	fresh.Dir, fresh.Log = fresh.Dir+"-again", ""
	h.s = binary.Serve(h.t, fresh)
	h.connect()
	h.converge()
	ids := map[[32]byte]string{}
	for _, m := range binary.Everything(h.t, h.s, h.grant) {
		ids[m.Sum] = m.ID
	}
	for _, l := range h.box.all() {
		// Which of two messages with one header has the plain id depends on what was seen first.
		if *l.subject.ambiguous == 1 && ids[l.sum] != l.subject.id {
			h.t.Errorf("letter %d was %s, and is %s in a new store", l.subject.n, l.subject.id, ids[l.sum])
		}
	}
	binary.Check(h.t, h.s)
}
