package syncer

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/test/persona"
)

var (
	histories   = flag.Int("histories", 60, "how many histories TestHistoriesThatBreak has")
	historySeed = flag.Uint64("history", 0, "seed of the first history, the others count from it; 0: 1, and one by chance")
	historySkip = flag.String("skip", "", "steps of the first history that are left out, and no other history")
	historyLess = flag.Bool("shrink", false, "look for the steps that the first history, which fails, can do without")
)

// TestHistoriesThatBreak has other programs change a mailbox while looks at it break in all kinds of ways. Once nothing breaks any
// more, looks that are no complete comparisons bring the rows to what the server holds, and whatever was said on the way was true.
func TestHistoriesThatBreak(t *testing.T) {
	t.Parallel()
	if *historySkip != "" || *historyLess {
		h := &history{seed: *historySeed, skip: map[int]bool{}}
		for f := range strings.SplitSeq(*historySkip, ",") {
			if n, err := strconv.Atoi(f); err == nil {
				h.skip[n] = true
			}
		}
		if fails := h.fails(t); fails && *historyLess {
			h.shrink(t)
		}
		return
	}
	var seeds []uint64
	n := *histories
	if testing.Short() {
		n = min(n, 20)
	}
	for i := range n {
		seeds = append(seeds, max(*historySeed, 1)+uint64(i))
	}
	if *historySeed == 0 {
		seeds = append(seeds, rand.Uint64()>>32)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			(&history{seed: seed}).run(t)
		})
	}
}

// history is a number of steps, each of which is made of the seed and its number alone, so that some may be left out.
type history struct {
	*rig
	seed  uint64
	skip  map[int]bool
	began time.Time
	log   []string

	mu       sync.Mutex // of what other programs do, also while a look is under way
	rand     *rand.Rand
	letters  int
	changed  time.Time // when another program last did something
	names    []string  // of the folders in which something happens
	given    int       // so many of them stay
	validity uint32
	folders  int
	faults   []*fault
	audit    bool // the next look is a complete comparison
	ids      map[string]mail.MessageID
	created  map[string]bool // messages that were told to be there
	ops      []string
	sums     map[[32]byte]string
}

// fault is what happens to a look. It is over after some of them.
type fault struct {
	text   string
	looks  int
	answer func(c persona.Command) (string, bool)
	lines  int
	say    func(c persona.Command, line string) (string, bool)
}

const historySteps = 40

func (h *history) fails(t *testing.T) (fails bool) {
	again := &history{seed: h.seed, skip: h.skip}
	return !t.Run(fmt.Sprintf("%d without %d", h.seed, len(h.skip)), again.run)
}

// shrink leaves out whatever the failure does without.
func (h *history) shrink(t *testing.T) {
	for n := historySteps / 2; n > 0; n /= 2 {
		for at := 0; at < historySteps; at += n {
			was := h.skip
			h.skip = maps.Clone(was)
			for i := at; i < min(at+n, historySteps); i++ {
				h.skip[i] = true
			}
			if len(h.skip) == len(was) || !h.fails(t) {
				h.skip = was
			}
		}
	}
	t.Logf("-history %d -skip %s", h.seed, strings.Trim(strings.ReplaceAll(fmt.Sprint(slices.Sorted(maps.Keys(h.skip))), " ", ","), "[]"))
	h.fails(t)
}

func (h *history) run(t *testing.T) {
	kinds := []string{persona.All, persona.Without(persona.All, "OBJECTID"), persona.Without(persona.All, "QRESYNC"),
		persona.Without(persona.All, "QRESYNC", "OBJECTID", "LIST-STATUS", "UIDONLY"), persona.Basic, persona.Without(persona.All, "QRESYNC", "CONDSTORE", "UIDONLY")}
	h.rig, h.names = newRig(t, persona.Knobs{Caps: kinds[h.seed%uint64(len(kinds))]}), []string{"INBOX", "Sent"}
	h.given = len(h.names)
	h.rig.a.e.o.Limits.HostLogins, h.rig.a.e.o.Limits.TotalLogins = 1e9, 1e9
	h.rig.a.e.governor = newGovernor(h.rig.a.e.o.Limits, h.now)
	h.began = h.at
	h.validity = 5000
	h.sums, h.ids, h.created = map[[32]byte]string{}, map[string]mail.MessageID{}, map[string]bool{}
	t.Cleanup(func() {
		if t.Failed() || len(h.skip) > 0 || *histories == 1 {
			t.Logf("go test ./internal/syncer -run TestHistoriesThatBreak -history %d -shrink\n%s", h.seed, strings.Join(h.log, "\n"))
		}
	})
	h.p.Turn(func(k *persona.Knobs) { k.Answer, k.Say = h.answer, h.say })
	h.rand = rand.New(rand.NewPCG(h.seed, 1<<32))
	h.note("delivered %s", h.deliver(h.rand.IntN(60)))
	for i := range historySteps {
		h.rand = rand.New(rand.NewPCG(h.seed, uint64(i)))
		if h.skip[i] {
			continue
		}
		did := ""
		for did == "" {
			did = h.step()
		}
		h.note("%d: %s", i, did)
		if t.Failed() {
			return
		}
	}
	h.calm()
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf("%v "+format, append([]any{h.now().Sub(h.began).Round(time.Millisecond)}, args...)...))
}

// oneOf chooses by weight.
func (h *history) oneOf(choices ...choice) string {
	sum := 0
	for _, c := range choices {
		sum += c.weight
	}
	n := h.rand.IntN(sum)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c.do()
		}
	}
	return ""
}

type choice struct {
	weight int
	do     func() string
}

func (h *history) step() string {
	return h.oneOf(choice{12, h.other}, choice{5, h.fault}, choice{16, func() string { return h.look(h.rand.IntN(10) == 0) }},
		choice{2, h.hears}, choice{2, h.restarts}, choice{2, h.passes}, choice{3, h.ask}, choice{1, func() string { h.calm(); return "calm" }})
}

// other is what another program does.
func (h *history) other() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.changed = h.now() }()
	some := func() string { return h.names[h.rand.IntN(len(h.names))] }
	message := func(do func(folder string, uid uint32) string) func() string {
		return func() string {
			folder := some()
			uids := h.p.UIDs(folder)
			if len(uids) == 0 {
				return ""
			}
			uid := uids[h.rand.IntN(len(uids))]
			if h.rand.IntN(2) == 0 { // of those that came last
				uid = uids[max(0, len(uids)-1-h.rand.IntN(10))]
			}
			return do(folder, uid)
		}
	}
	mine := func(do func(folder string, at int) string) func() string {
		return func() string {
			if len(h.names) == h.given {
				return ""
			}
			at := h.given + h.rand.IntN(len(h.names)-h.given)
			return do(h.names[at], at)
		}
	}
	return h.oneOf(
		choice{12, func() string { return "delivered " + h.deliver(1+h.rand.IntN(3)) }},
		choice{2, func() string { return "delivered " + h.deliver(20+h.rand.IntN(40)) }},
		choice{14, message(func(folder string, uid uint32) string {
			flags := h.flags()
			h.p.Flag(folder, uid, flags...)
			return fmt.Sprintf("flagged %s %d %v", folder, uid, flags)
		})},
		choice{6, message(func(folder string, uid uint32) string {
			to := some()
			return fmt.Sprintf("moved %s %d to %s %d", folder, uid, to, h.p.Move(folder, uid, to))
		})},
		choice{4, message(func(folder string, uid uint32) string {
			to := some()
			return fmt.Sprintf("copied %s %d to %s %d", folder, uid, to, h.p.Copy(folder, uid, to))
		})},
		choice{6, message(func(folder string, uid uint32) string {
			h.p.Expunge(folder, uid)
			return fmt.Sprintf("expunged %s %d", folder, uid)
		})},
		choice{1, func() string {
			folder := some()
			h.p.Expunge(folder, h.p.UIDs(folder)...)
			return "emptied " + folder
		}},
		choice{3, func() string {
			h.folders++
			name := fmt.Sprint("F", h.folders)
			h.p.Create(name)
			h.names = append(h.names, name)
			return "created " + name
		}},
		choice{2, mine(func(folder string, at int) string {
			h.folders++
			h.names[at] = fmt.Sprint("F", h.folders)
			h.p.Rename(folder, h.names[at])
			return "renamed " + folder + " " + h.names[at]
		})},
		choice{1, mine(func(folder string, at int) string {
			if at == h.given {
				return ""
			}
			other := h.names[h.given]
			h.p.Rename(folder, "swapping")
			h.p.Rename(other, folder)
			h.p.Rename("swapping", other)
			return "swapped " + folder + " " + other
		})},
		choice{1, mine(func(folder string, at int) string {
			h.p.Delete(folder)
			h.names = slices.Delete(h.names, at, at+1)
			return "deleted " + folder
		})},
		choice{1, mine(func(folder string, _ int) string {
			h.p.Delete(folder)
			h.p.Create(folder)
			return "made anew " + folder
		})},
		choice{1, func() string {
			folder, first := some(), uint32(h.rand.IntN(3)*50)
			h.validity++
			h.p.Renew(folder, h.validity, first)
			return fmt.Sprintf("renewed %s %d %d", folder, h.validity, first)
		}},
	)
}

func (h *history) deliver(n int) string {
	folder := h.names[h.rand.IntN(len(h.names))]
	if h.rand.IntN(2) == 0 {
		folder = "INBOX"
	}
	for range n {
		h.letters++
		h.sums[sha256.Sum256(letter(h.letters))] = fmt.Sprint("m", h.letters)
		h.p.Deliver(folder, letter(h.letters), h.flags()...)
	}
	return fmt.Sprintf("%d to m%d in %s", n, h.letters, folder)
}

func (h *history) flags() (flags []string) {
	for _, f := range []string{`\Seen`, `\Flagged`, `\Answered`, "$Label1", "later"} {
		if h.rand.IntN(4) == 0 {
			flags = append(flags, f)
		}
	}
	return flags
}

// ---- faults

func (h *history) fault() string {
	f := &fault{looks: 1}
	nth := 1 + h.rand.IntN(14)
	refusal := []string{"NO not now", "NO [UNAVAILABLE] later", "NO [SERVERBUG] oops", "BAD what", "NO [INUSE] busy"}[h.rand.IntN(5)]
	f.text = h.oneOf(
		choice{5, func() string {
			f.answer = func(c persona.Command) (string, bool) { nth--; return persona.Cut, nth == 0 }
			return fmt.Sprintf("a cut at command %d", nth)
		}},
		choice{4, func() string {
			f.answer = func(c persona.Command) (string, bool) { nth--; return refusal, nth == 0 }
			return fmt.Sprintf("%s at command %d", refusal, nth)
		}},
		choice{5, func() string {
			nth = 1 + h.rand.IntN(80)
			part := h.rand.IntN(2) == 0
			f.say = func(c persona.Command, line string) (string, bool) {
				if part {
					return line[:len(line)/2] + persona.Cut, true
				}
				return persona.Cut, true
			}
			f.lines = nth
			return fmt.Sprintf("a cut at line %d", nth)
		}},
		choice{3, func() string { // the command is carried out
			f.answer = func(c persona.Command) (string, bool) { nth--; return "", false }
			f.say = func(c persona.Command, line string) (string, bool) {
				return persona.Cut, nth <= 0 && !strings.HasPrefix(line, "* ")
			}
			return fmt.Sprintf("no answer to command %d", nth)
		}},
		choice{3, func() string {
			f.answer = func(c persona.Command) (string, bool) { nth--; return "", false }
			f.say = func(c persona.Command, line string) (string, bool) {
				tag, text, _ := strings.Cut(line, " ")
				return tag + " " + refusal, nth <= 0 && tag != "*" && strings.HasPrefix(text, "OK") && c.Name != "LOGOUT" && c.Name != "UNSELECT"
			}
			return fmt.Sprintf("%s after command %d", refusal, nth)
		}},
		choice{9, func() string { // one message, again and again
			f.looks = 1 + h.rand.IntN(6)
			if h.rand.IntN(2) == 0 {
				h.note("delivered %s", h.deliver(1+h.rand.IntN(40)))
				h.changed = h.now()
			}
			folder := h.names[h.rand.IntN(len(h.names))]
			if h.rand.IntN(2) == 0 {
				folder = "INBOX"
			}
			uids := h.p.UIDs(folder)
			if len(uids) == 0 {
				return ""
			}
			bad := uids[max(0, len(uids)-1-h.rand.IntN(min(30, len(uids))))]
			item, how := []string{"HEADER", "HEADER", "BODY.PEEK[]", "FLAGS"}[h.rand.IntN(4)], []string{persona.Cut, persona.Cut, refusal}[h.rand.IntN(3)]
			f.answer = func(c persona.Command) (string, bool) {
				set, _, _ := strings.Cut(c.Args, " ")
				uids, err := imap.ParseUIDSet(set)
				return how, err == nil && c.Name == "UID FETCH" && strings.Contains(c.Args, item) && c.Folder == folder && uids.Contains(bad)
			}
			return fmt.Sprintf("%s of %s %d: %q, in %d looks", item, folder, bad, how, f.looks)
		}},
		choice{2, func() string {
			f.looks = 1 + h.rand.IntN(4)
			folder := h.names[h.rand.IntN(len(h.names))]
			how := []string{persona.Cut, refusal}[h.rand.IntN(2)]
			f.answer = func(c persona.Command) (string, bool) {
				return how, c.Folder == folder && (c.Name == "EXAMINE" || c.Name == "SELECT")
			}
			return fmt.Sprintf("%s is not opened: %q, in %d looks", folder, how, f.looks)
		}},
		choice{6, func() string {
			seed := h.rand.Uint64()
			f.answer = func(c persona.Command) (string, bool) {
				if nth--; nth == 0 {
					old := h.rand
					h.rand = rand.New(rand.NewPCG(seed, 0))
					h.mu.Unlock()
					for did := ""; did == ""; {
						did = h.other()
						if did != "" {
							h.note("   meanwhile, before %s %s: %s", c.Name, c.Args, did)
						}
					}
					h.mu.Lock()
					h.rand = old
				}
				return "", false
			}
			return fmt.Sprintf("another program at command %d", nth)
		}},
		choice{2, func() string {
			points := 1 + h.rand.IntN(12)
			h.a.e.reached = func(point string) {
				if points--; points == 0 {
					h.note("   the process dies %s", point)
					panic(errDies)
				}
			}
			return fmt.Sprintf("death at point %d", points)
		}},
	)
	if f.text == "" {
		return ""
	}
	h.faults = append(h.faults, f)
	return "fault: " + f.text
}

var errDies = errors.New("the process dies here")

func (h *history) answer(c persona.Command) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Name == "LOGIN" || c.Name == "AUTHENTICATE" || c.Name == "LOGOUT" || c.Name == "CAPABILITY" || c.Name == "ID" {
		return ""
	}
	for _, f := range h.faults {
		if f.answer == nil {
			continue
		}
		if a, now := f.answer(c); now {
			h.note("   %q to %s %s", a, c.Name, c.Args)
			return a
		}
	}
	return ""
}

func (h *history) say(c persona.Command, line string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.faults {
		if f.say == nil || c.Name == "LOGIN" || c.Name == "LOGOUT" {
			continue
		}
		if f.lines--; f.lines > 0 {
			continue
		}
		if a, now := f.say(c, line); now {
			h.note("   %q said in place of %q to %s %s", a, line[:min(len(line), 60)], c.Name, c.Args)
			f.say, f.answer = nil, nil
			return a
		}
	}
	return line
}

// ---- what we do

// look is what a round of the account does, without waiting.
func (h *history) look(full bool) string {
	err := h.guarded(func() error { return h.round(full || h.audit) })
	h.mu.Lock()
	for _, f := range h.faults {
		f.looks--
	}
	h.faults = slices.DeleteFunc(h.faults, func(f *fault) bool { return f.looks <= 0 })
	h.mu.Unlock()
	h.tells()
	if err != nil {
		h.logout()
		return fmt.Sprintf("looked (full %t): %v", full, err)
	}
	if _, due := h.a.doubts(); due {
		h.logout()
	}
	return fmt.Sprintf("looked (full %t)", full)
}

// guarded does something in which the process may die.
func (h *history) guarded(do func() error) (err error) {
	func() {
		defer func() {
			if v := recover(); v != nil && v != errDies {
				panic(v)
			} else if v != nil {
				err = errDies
			}
		}()
		err = do()
	}()
	h.a.e.reached = nil
	if errors.Is(err, errDies) || errors.Is(err, errPanicked) {
		h.a.closeWriter()
		h.restart(true)
		h.audit = true // as after every death
		return errDies
	}
	return err
}

func (h *history) round(full bool) error {
	ctx := h.t.Context()
	h.a.ledger.clear()
	if err := h.tryLogin(); err != nil {
		return err
	}
	defer h.a.closeWriter()
	if err := h.a.serveOperations(ctx, h.s); err != nil {
		return err
	}
	if err := h.tryLook(full); err != nil {
		return err
	}
	if full {
		h.audit = false
	}
	again, err := h.a.lastTry(ctx)
	if err == nil && again {
		err = h.tryLook(false)
	}
	if err != nil {
		return err
	}
	if fresh := h.a.status.get().FreshAt; fresh.After(h.changed) {
		if d := h.differences(); len(d) > 0 {
			h.t.Errorf("said to be equal to the server at %v, after the last change at %v: %s", fresh.Sub(h.began), h.changed.Sub(h.began), strings.Join(d, "\n"))
		}
	}
	return h.a.caughtUp(ctx)
}

// hears has the server tell of some folders.
func (h *history) hears() string {
	if h.s == nil || h.s.Err() != nil {
		return ""
	}
	var told []string
	for range 1 + h.rand.IntN(2) {
		told = append(told, h.names[h.rand.IntN(len(h.names))])
		h.a.heard.note(told[len(told)-1], nil)
	}
	everywhere := false
	err := h.guarded(func() (err error) {
		everywhere, err = h.a.hear(h.t.Context(), h.s)
		return err
	})
	h.tells()
	if err != nil {
		h.logout()
		return fmt.Sprintf("heard of %v: %v", told, err)
	}
	did := fmt.Sprintf("heard of %v", told)
	if everywhere {
		did += ", " + h.look(false)
	}
	return did
}

func (h *history) restarts() string {
	died := h.rand.IntN(3) == 0
	h.restart(died)
	h.audit = h.audit || died
	return fmt.Sprintf("a restart (died %t)", died)
}

func (h *history) passes() string {
	d := []time.Duration{30 * time.Second, 3 * time.Minute, 20 * time.Minute, 70 * time.Minute}[h.rand.IntN(4)]
	h.wait(d)
	return fmt.Sprintf("%v pass", d)
}

// ask is an application that wants something.
func (h *history) ask() string {
	if h.rand.IntN(2) == 0 {
		return ""
	}
	ctx := h.t.Context()
	list, _, err := h.a.mbox.Messages(ctx, store.MessageQuery{Limit: 200})
	if err != nil {
		h.t.Fatal(err)
	}
	folders, err := h.a.mbox.Folders(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	folders = slices.DeleteFunc(folders, func(f mail.Folder) bool { return !f.Selectable })
	if len(list) == 0 || len(folders) == 0 {
		return ""
	}
	slices.SortFunc(list, func(a, b mail.Message) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(folders, func(a, b mail.Folder) int { return cmp.Compare(a.Name, b.Name) })
	m := list[h.rand.IntN(len(list))]
	op := mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{m.ID}}
	switch h.rand.IntN(7) {
	case 0, 1:
		op.Set = mail.FlagSeen
	case 2:
		op.Clear = mail.FlagSeen
	case 3:
		op.Set = mail.FlagFlagged
	case 4, 5:
		op.Folder = folders[h.rand.IntN(len(folders))].ID
	case 6:
		op.Kind = mail.OpRemove
	}
	if op, err = h.a.mbox.AddOperation(ctx, op); err != nil {
		h.t.Fatal(err)
	}
	h.ops = append(h.ops, op.ID)
	h.mu.Lock()
	h.changed = h.now()
	h.mu.Unlock()
	return fmt.Sprintf("asked for %+v of %s", op, h.name(m.ID))
}

// tells reads what the log has more: nothing is deleted that is there, or created twice.
func (h *history) tells() {
	h.t.Helper()
	h.state() // learns names
	there := map[string]bool{}
	for _, m := range h.p.Everything() {
		there[h.sums[m.SHA256]] = true
	}
	for _, c := range h.rig.changes() {
		what, name, _ := strings.Cut(c, " ")
		name, _, _ = strings.Cut(name, " ")
		switch what {
		case "message.created":
			if h.created[name] {
				h.t.Errorf("%s was told as new a second time", name)
			}
			h.created[name] = true
		case "message.deleted":
			delete(h.created, name)
			if there[name] {
				h.t.Errorf("%s was told as deleted, and is there", name)
			}
		}
		if len(h.skip) > 0 || *histories == 1 {
			h.note("   told %s", c)
		}
	}
	for id, name := range h.rig.names {
		if was, known := h.ids[name]; known && was != id {
			h.t.Errorf("%s was %s and is %s", name, was, id)
		}
		h.ids[name] = id
	}
}

// calm is when nothing breaks any more: looks that are no complete comparisons bring all to what it is at the server.
func (h *history) calm() {
	h.t.Helper()
	h.mu.Lock()
	h.faults = nil
	h.mu.Unlock()
	h.a.e.reached = nil
	var wrong []string
	for _, pause := range []time.Duration{0, 0, 2 * time.Minute, 3 * time.Minute, 20 * time.Minute, 2 * time.Hour, 7 * time.Hour, 25 * time.Hour, 25 * time.Hour, 0, 3 * time.Minute} {
		h.wait(pause)
		h.note("calm: %s", h.look(false))
		if wrong = h.wrong(); len(wrong) == 0 {
			break
		}
	}
	if len(wrong) > 0 {
		h.t.Fatalf("when nothing breaks any more: %s", strings.Join(wrong, "\n"))
	}
	seq := h.seq
	if h.look(false); h.seq != seq {
		h.t.Errorf("another look has told something")
	}
	h.folds()
}

// wrong tells what is not as it is to be in the end.
func (h *history) wrong() []string {
	h.t.Helper()
	ctx := h.t.Context()
	out := h.differences()
	for _, id := range h.ops {
		if op, err := h.a.mbox.Operation(ctx, id); err != nil || op.State == mail.OpPending {
			out = append(out, fmt.Sprintf("operation %+v %v", op, err))
		}
	}
	counts, err := h.a.mbox.Counts(ctx)
	if err != nil || counts.Vanished > 0 || counts.Unheld > 0 {
		out = append(out, fmt.Sprintf("counts %+v %v", counts, err))
	}
	if st := h.a.status.get(); st.State != mail.StateLive || !st.FreshAt.After(h.changed) {
		out = append(out, fmt.Sprintf("status %+v", st))
	}
	problems, err := h.a.mbox.Check(ctx)
	if err != nil || len(problems) > 0 {
		out = append(out, fmt.Sprintf("check %v %v", problems, err))
	}
	return out
}

// folds replays the log: it must make the messages that there are.
func (h *history) folds() {
	h.t.Helper()
	ctx := h.t.Context()
	log, here := map[string]string{}, map[string]string{}
	text := func(folders []mail.FolderID, flags mail.Flags, keywords []string) string {
		return fmt.Sprint(slices.Sorted(slices.Values(folders)), flags.Names(), slices.Sorted(slices.Values(keywords)))
	}
	for after := mail.Seq(0); ; {
		list, err := h.a.mbox.Changes(ctx, after, 1000)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, c := range list {
			after++
			if c.Seq != after {
				h.t.Fatalf("change %d comes after %d", c.Seq, after-1)
			}
			switch c.Kind {
			case mail.MessageCreated, mail.MessageUpdated:
				log[c.Object] = text(c.Data.Folders, c.Data.Flags, c.Data.Keywords)
			case mail.MessageDeleted:
				delete(log, c.Object)
			}
		}
		if len(list) == 0 {
			break
		}
	}
	for id := range h.rig.names {
		m, err := h.a.mbox.Message(ctx, id)
		if err == nil {
			here[string(id)] = text(m.Folders, m.Flags, m.Keywords)
		} else if !mail.IsKind(err, mail.NotFound) {
			h.t.Fatal(err)
		}
	}
	if !maps.Equal(log, here) {
		for id, v := range log {
			if here[id] != v {
				h.t.Errorf("the log makes of %s %s, and it is %q", h.name(mail.MessageID(id)), v, here[id])
			}
		}
		for id, v := range here {
			if _, known := log[id]; !known {
				h.t.Errorf("the log has no %s, which is %q", h.name(mail.MessageID(id)), v)
			}
		}
	}
}
