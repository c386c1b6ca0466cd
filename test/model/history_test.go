package model

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/binary"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/realsrv"
)

var (
	steps     = flag.Int("steps", 0, "how many steps a history has; 0 is a few")
	histories = flag.Int("histories", 2, "how many histories there are")
	patience  = flag.Duration("patience", 3*time.Minute, "until what should happen has failed to")
	first     = flag.Uint64("seed", 11, "the seed of the first history, the others count from it; 0 is by chance")
)

const (
	user    = "mira@example.com"
	confirm = time.Second // POSTHORN_CONFIRM_LOSS
)

// program is the built posthorn, the same for all tests.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(binary.Main(m, &program))
}

func TestHistories(t *testing.T) {
	t.Parallel()
	n, count := *steps, *histories
	if n == 0 {
		if n = 60; testing.Short() {
			n, count = 40, 1
		}
	}
	seed := *first
	if seed == 0 {
		seed = rand.Uint64N(1_000_000) + 1
	}
	for i := range count {
		t.Run(fmt.Sprint(seed+uint64(i)), func(t *testing.T) {
			t.Parallel()
			run(t, seed+uint64(i), n)
		})
	}
}

// history is what happens to one mailbox.
type history struct {
	t        *testing.T
	r        *rand.Rand
	box      *mailbox
	d        *realsrv.Dovecot
	other    *realsrv.Session // of other mail programs
	proxy    *faultnet.Proxy
	app      *application
	s        *binary.Server // nil while it is down
	options  binary.Options
	grant    string
	validity uint32
	down     int // steps until the server is started again
	told     told
	log      []string
	kills    int
}

func run(t *testing.T, seed uint64, n int) {
	h := &history{t: t, r: rand.New(rand.NewPCG(seed, 0)), validity: 1000}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("go test ./test/model -run TestHistories -histories 1 -seed %d -steps %d\n%s", seed, len(h.log), strings.Join(h.log, "\n"))
		}
	})
	h.box = newMailbox(h.r)
	// Dovecot's index of folder names breaks when several processes rename them at once ("duplicate transaction log sequence"), and then
	// lists folders that do not exist.
	h.d = realsrv.StartDovecot(t, realsrv.DovecotOptions{Extra: "mailbox_list_index = no\n"})
	h.other = h.d.Login(t, user)
	for _, f := range h.box.folders {
		if f.name != "INBOX" {
			h.other.CreateFolder(f.name)
		}
	}
	h.proxy = faultnet.Start(t, h.d.Addr, "")
	h.options = binary.Options{Path: program, Dir: filepath.Join(t.TempDir(), "data"), Env: []string{"POSTHORN_CONFIRM_LOSS=" + confirm.String()}}
	h.app = newApplication(t)
	h.start()
	for range 8 {
		h.deliver()
	}
	h.settle()
	began := time.Now()
	calm := 0 // steps until the mailbox is looked at
	for i := range n {
		if calm--; calm < 0 {
			h.settle()
			calm = 5 + h.r.IntN(80)
		}
		if h.down--; h.down == 0 {
			h.start()
		}
		did := ""
		for did == "" {
			did = h.step()
		}
		h.other.Try("UNSELECT") // so that the server can do what it likes with the folder
		h.log = append(h.log, fmt.Sprintf("%4d %v %s", i, time.Since(began).Round(time.Millisecond), did))
		h.pause()
		if t.Failed() {
			return
		}
	}
	h.settle()
	h.end()
	t.Logf("seed %d: %d steps, %d kills, %d events, in the end %d letters in %d copies and %d folders, in %v", seed, n, h.kills, h.told.events, len(h.box.all()), h.box.size(), len(h.box.folders), time.Since(began).Round(time.Second))
}

// step does something at random.
func (h *history) step() string {
	choices := []struct {
		weight int
		do     func() string
	}{
		{12, h.deliver}, {3, h.deliverAgain}, {2, h.deliverTwin}, {2, h.deliverNamesake},
		{12, h.flag}, {12, h.move}, {3, h.moveByHand}, {6, h.copy}, {9, h.remove},
		{2, h.writeDraft}, {4, h.editDraft},
		{3, h.createFolder}, {4, h.rename}, {3, h.swap}, {2, h.deleteFolder}, {2, h.recreate}, {3, h.renumber},
		{6, h.askFlags}, {6, h.askMove}, {2, h.askTrash}, {2, h.askRemove},
		{3, h.cut}, {2, h.kill}, {1, h.stop}, {1, h.disturb},
	}
	sum := 0
	for _, c := range choices {
		sum += c.weight
	}
	n := h.r.IntN(sum)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c.do()
		}
	}
	return ""
}

// pause lets the server see what is between two steps, sometimes.
func (h *history) pause() {
	var d time.Duration
	switch h.r.IntN(8) {
	case 0, 1, 2:
		d = time.Duration(h.r.IntN(30)) * time.Millisecond
	case 3:
		d = time.Duration(h.r.IntN(400)) * time.Millisecond
	}
	h.wait(d)
}

func (h *history) wait(d time.Duration) {
	h.t.Helper()
	select {
	case <-time.After(d):
	case <-h.t.Context().Done():
		h.t.Fatal(h.t.Context().Err())
	}
}

func (h *history) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(h.t.Context(), d)
	h.t.Cleanup(cancel)
	return ctx
}

func (h *history) start() {
	h.t.Helper()
	h.s, h.down = binary.Serve(h.t, h.options), 0
	h.options = h.s.Options
	if h.grant == "" {
		h.connect()
	}
	h.app.use(h.s)
}

// connect logs in, also anew: then nothing waits for an earlier failure.
func (h *history) connect() {
	h.t.Helper()
	g, err := h.s.Connect(h.within(time.Minute), binary.IMAP(h.proxy.Addr, user, h.d.Password))
	if err != nil {
		h.t.Fatal(err)
	}
	h.grant = g.ID
}

// cut lets the connections that follow break, and ends those there are.
func (h *history) cut() string {
	h.proxy.Turn(h.t, faultnet.Random(h.r, 20))
	return "the network breaks"
}

// disturb ends all connections once.
func (h *history) disturb() string {
	h.proxy.Turn(h.t, "")
	return "every connection ends"
}

func (h *history) kill() string {
	if h.s == nil {
		return ""
	}
	h.app.use(nil)
	h.s.Kill()
	h.kills++
	if h.r.IntN(3) == 0 {
		binary.Check(h.t, h.s)
	}
	return "kill -9" + h.later()
}

func (h *history) stop() string {
	if h.s == nil {
		return ""
	}
	h.app.use(nil)
	if err := h.s.Stop(h.within(time.Minute)); err != nil {
		h.t.Error(err)
	}
	return "stop" + h.later()
}

// later has the server started again, at once or in a few steps.
func (h *history) later() string {
	h.s = nil
	if h.down = h.r.IntN(6); h.down > 0 {
		return fmt.Sprintf(", and start before step %d from here", h.down)
	}
	h.start()
	return " and start"
}

// known are copies of letters whose id the application knows, and of which Posthorn may know all copies.
func (h *history) known(c *copied) bool { return !c.draft && !c.spread && c.subject.id != "" }

func (h *history) ask(c *copied, what, method, query string, body any) string {
	_, all := h.box.places(c.letter)
	for _, o := range all {
		o.busy = true
	}
	what = "ask to " + what
	h.app.ask(request{what: what, method: method, path: h.message(c) + query, body: body, gone: query != ""})
	return what
}

func (h *history) message(c *copied) string {
	return "/v3/grants/" + h.grant + "/messages/" + c.subject.id
}

func (h *history) askFlags() string {
	_, list := h.box.where(h.known)
	c, ok := pick(h.r, list)
	if !ok {
		return ""
	}
	body := map[string]any{}
	if h.r.IntN(3) > 0 {
		body["unread"] = h.r.IntN(2) == 0
	}
	if len(body) == 0 || h.r.IntN(2) == 0 {
		body["starred"] = h.r.IntN(2) == 0
	}
	_, all := h.box.places(c.letter)
	for _, o := range all {
		if unread, ok := body["unread"].(bool); ok {
			o.set(`\Seen`, !unread)
		}
		if starred, ok := body["starred"].(bool); ok {
			o.set(`\Flagged`, starred)
		}
	}
	return h.ask(c, fmt.Sprintf("flag %v: %v", c, body), http.MethodPut, "", body)
}

// moved puts all copies of a letter into one folder, as Posthorn does: those that lie there stay, else one of them comes.
func (h *history) moved(c *copied, to *folder) (ok bool) {
	folders, all := h.box.places(c.letter)
	for _, o := range all {
		if !slices.Equal(o.flags, c.flags) {
			return false // which of them comes is not said
		}
	}
	if !to.known() || slices.ContainsFunc(folders, func(f *folder) bool { return f != to && !f.bears(leave) }) {
		return false
	}
	if !h.findable(folders) {
		return false
	}
	comes := !slices.Contains(folders, to)
	for i, o := range all {
		if folders[i] == to {
			continue
		}
		folders[i].busy = true
		folders[i].remove(o)
		if comes {
			to.copies = append(to.copies, o)
			comes = false
		}
	}
	to.busy, to.target = true, true
	return true
}

// findable tells whether Posthorn finds all copies of a letter for as long as a request about them is open, and has it stay so: of several
// one may be missed where a folder looks like a new one.
func (h *history) findable(folders []*folder) bool {
	if len(folders) < 2 {
		return true
	}
	if slices.ContainsFunc(folders, func(f *folder) bool { return !f.known() }) {
		return false
	}
	for _, f := range folders {
		f.target = true
	}
	return true
}

func (h *history) askMove() string {
	_, list := h.box.where(h.known)
	c, ok := pick(h.r, list)
	to := h.box.any()
	if !ok || to.seen.id == "" || !h.moved(c, to) {
		return ""
	}
	return h.ask(c, fmt.Sprintf("move %v to %v", c, to), http.MethodPut, "", map[string]any{"folders": []string{to.seen.id}})
}

func (h *history) askTrash() string {
	_, list := h.box.where(h.known)
	c, ok := pick(h.r, list)
	trash := h.box.folder("Trash")
	if !ok || slices.ContainsFunc(trash.copies, func(o *copied) bool { return o.letter == c.letter }) || trash.seen.id == "" || !h.moved(c, trash) {
		return ""
	}
	c.busy = true
	what := fmt.Sprintf("ask to delete %v", c)
	// Asked for a second time it would be removed for good.
	again := request{what: what, method: http.MethodPut, path: h.message(c), body: map[string]any{"folders": []string{trash.seen.id}}}
	h.app.ask(request{what: what, method: http.MethodDelete, path: h.message(c), again: &again})
	return what
}

func (h *history) askRemove() string {
	_, list := h.box.where(h.known)
	c, ok := pick(h.r, list)
	if !ok {
		return ""
	}
	folders, all := h.box.places(c.letter)
	if slices.ContainsFunc(folders, func(f *folder) bool { return !f.bears(leave) }) || !h.findable(folders) {
		return ""
	}
	did := h.ask(c, fmt.Sprintf("delete %v for good", c), http.MethodDelete, "?hard_delete=true", nil)
	for i, o := range all {
		folders[i].busy = true
		folders[i].remove(o)
	}
	return did
}
