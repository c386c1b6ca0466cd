package syncer

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/vault"
	"github.com/posthorn/posthorn/test/persona"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// rig is an account beside a persona whose steps a test takes one by one, on a clock of its own. Nothing runs by itself.
type rig struct {
	t  *testing.T
	p  *persona.Server
	a  *account
	s  *session
	mu sync.Mutex
	at time.Time

	seq   mail.Seq
	heard int // of the persona's log
	rows  map[string]string
	names map[mail.MessageID]string
	out   strings.Builder
}

func newRig(t *testing.T, k persona.Knobs) *rig {
	t.Helper()
	p := persona.Start(t, k)
	r := rigAt(t, p.Host, p.Port, persona.Password, "ann")
	r.p = p
	return r
}

// rigAt is a rig beside another server.
func rigAt(t *testing.T, host string, port int, password, user string) *rig {
	t.Helper()
	r := &rig{t: t, at: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC), names: map[mail.MessageID]string{}}
	keys, err := vault.NewKeyring(make([]byte, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	st, err := store.Open(ctx, store.Options{Dir: t.TempDir(), Keys: keys, Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	app, err := st.DefaultApp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const id = "6b8e0f52-7c1d-4f0e-9a51-0d6a3f1c2b11"
	err = st.CreateAccount(ctx, mail.Account{ID: id, App: app.ID, Email: "ann@example.com", Provider: "imap",
		Settings: mail.Settings{IMAP: mail.Endpoint{Host: host, Port: port, Security: mail.SecurityNone, Username: user}},
	}, mail.Credentials{IMAPPassword: mail.NewSecret(password)})
	if err != nil {
		t.Fatal(err)
	}
	e := New(Options{Store: st, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: r.now,
		Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	r.a = newAccount(e, id, func() {})
	if r.a.acct, err = st.Account(ctx, "", id); err != nil {
		t.Fatal(err)
	}
	if r.a.mbox, err = st.Mailbox(ctx, id); err != nil {
		t.Fatal(err)
	}
	r.a.key = r.a.mbox.IDKey()
	if r.a.term, err = r.a.mbox.NextTerm(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.logout()
		problems, err := r.a.mbox.Check(context.WithoutCancel(ctx))
		if err != nil || len(problems) > 0 {
			t.Errorf("check: %v %v", problems, err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(time.Millisecond) // no two moments are the same
	return r.at
}

func (r *rig) wait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

// login begins another session.
func (r *rig) login() {
	r.t.Helper()
	r.logout()
	var err error
	if r.s, err = r.a.open(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.a.session++
}

// tryLogin is login where the session is over; the server may refuse it.
func (r *rig) tryLogin() (err error) {
	if r.s != nil && r.s.Err() == nil {
		return nil
	}
	r.logout()
	if r.s, err = r.a.open(r.t.Context()); err == nil {
		r.a.session++
	}
	return err
}

// restart is the end of the process and the beginning of another. died: it did not end as it should.
func (r *rig) restart(died bool) {
	r.t.Helper()
	r.logout()
	ctx := r.t.Context()
	if !died {
		if err := r.a.e.o.Store.SetSync(ctx, r.a.id, r.a.status.get()); err != nil {
			r.t.Fatal(err)
		}
		if err := r.a.mbox.EndRun(ctx, r.a.term); err != nil {
			r.t.Fatal(err)
		}
	}
	r.a.e.governor = newGovernor(r.a.e.o.Limits, r.now)
	r.a = newAccount(r.a.e, r.a.id, func() {})
	if err := r.a.takeUp(ctx); err != nil {
		r.t.Fatal(err)
	}
	var err error
	if r.a.synced, err = r.a.mbox.Synced(ctx); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) logout() {
	if r.s != nil {
		r.s.close()
		r.s = nil
	}
}

// look is one pass with all bodies it finds, in the session there is.
func (r *rig) look(full bool) {
	r.t.Helper()
	if r.s == nil {
		r.login()
	}
	if err := r.tryLook(full); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) tryLook(full bool) error {
	defer r.a.closeHelper()
	if err := r.a.pass(r.t.Context(), r.s, full); err != nil {
		return err
	}
	for more := true; more; {
		var err error
		if more, err = r.a.bodies(r.t.Context(), r.s, time.Hour); err != nil {
			return err
		}
	}
	if r.a.synced {
		return nil
	}
	return r.a.caughtUp(r.t.Context())
}

// each calls f for every placement: "INBOX 1001 3" to what it returns.
func (r *rig) each(f func(mail.Placement) string) map[string]string {
	r.t.Helper()
	out := map[string]string{}
	folders, err := r.a.mbox.Folders(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, fo := range folders {
		placements, err := r.a.mbox.Placements(r.t.Context(), fo.ID, fo.UIDValidity)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, p := range placements {
			out[fmt.Sprintf("%s %d %d", fo.RawName, p.UIDValidity, p.UID)] = f(p)
		}
	}
	return out
}

// state is every placement: "INBOX 1001 3" to "m3 \Seen".
func (r *rig) state() map[string]string {
	r.t.Helper()
	return r.each(func(p mail.Placement) string {
		text := strings.Join(append([]string{r.name(p.Message)}, append(p.Flags.Names(), p.Keywords...)...), " ")
		if !p.Held {
			text += " (no body)"
		}
		return text
	})
}

// name is what a test calls a message: what stands before the @ of its Message-ID.
func (r *rig) name(id mail.MessageID) string {
	if n, ok := r.names[id]; ok {
		return n
	}
	m, err := r.a.mbox.Message(r.t.Context(), id)
	if err != nil {
		return string(id)
	}
	n, _, _ := strings.Cut(m.HeaderMessageID, "@")
	r.names[id] = n
	return n
}

// changes returns what the log has more than last time: "message.created m3 in INBOX".
func (r *rig) changes() (out []string) {
	r.t.Helper()
	var list []mail.Change
	for after := r.seq; ; {
		some, err := r.a.mbox.Changes(r.t.Context(), after, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		if list = append(list, some...); len(some) < 1000 {
			break
		}
		after = some[len(some)-1].Seq
	}
	names := map[mail.FolderID]string{}
	folders, err := r.a.mbox.Folders(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range folders {
		names[f.ID] = f.Name
	}
	for _, c := range list {
		r.seq = c.Seq
		text := c.Kind.String()
		switch {
		case strings.HasPrefix(text, "message."):
			text += " " + r.name(mail.MessageID(c.Object))
			for i, f := range c.Data.Folders {
				text += []string{" in ", " and "}[min(i, 1)] + names[f]
			}
			if len(c.Data.Flags.Names())+len(c.Data.Keywords) > 0 {
				text += fmt.Sprint(" ", append(c.Data.Flags.Names(), c.Data.Keywords...))
			}
		case strings.HasPrefix(text, "folder."):
			if n := names[mail.FolderID(c.Object)]; n != "" {
				text += " " + n
			}
		default:
			text += strings.TrimRight(" "+string(c.Data.State)+" "+c.Data.Reason, " ")
		}
		out = append(out, text)
	}
	return out
}

// said is what was said at the server since last time, without what says nothing of the ladder.
func (r *rig) said() (out []string) {
	log := r.p.Log()
	news := log[r.heard:]
	r.heard = len(log)
	run := 0
	for i, l := range news {
		_, l, _ := strings.Cut(l, " ")
		if l == "S: OK done" || strings.HasPrefix(l, "S: * FLAGS") || strings.Contains(l, "[PERMANENTFLAGS") || l == "S: * 0 RECENT" ||
			strings.HasPrefix(l, "S: * LIST") || strings.HasPrefix(l, "S: * STATUS") || l == "S: OK [READ-ONLY] done" {
			continue
		}
		if row := strings.Contains(l, "FETCH ("); row && i+1 < len(news) && strings.Contains(news[i+1], "FETCH (") {
			if run++; run > 2 {
				continue
			}
		} else if run > 2 {
			out = append(out, fmt.Sprintf("(%d more rows)", run-2))
			run = 0
		} else {
			run = 0
		}
		if len(l) > 200 {
			l = l[:200] + "..."
		}
		out = append(out, l)
	}
	return out
}

// ask stores an operation and carries out what is due.
func (r *rig) ask(op mail.Operation) mail.Operation {
	r.t.Helper()
	op, err := r.a.mbox.AddOperation(r.t.Context(), op)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.serve(op)
}

// serve carries out what is due in the session there is, and returns what became of one operation.
func (r *rig) serve(op mail.Operation) mail.Operation {
	r.t.Helper()
	if r.s == nil {
		r.login()
	}
	if err := r.a.serveOperations(r.t.Context(), r.s); err != nil {
		r.t.Log(err)
	}
	r.a.closeWriter()
	op, err := r.a.mbox.Operation(r.t.Context(), op.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return op
}

// step is a look, and writes what was said, which rows are other than before, and which changes that made.
func (r *rig) step(title string, full bool) {
	r.t.Helper()
	fmt.Fprintf(&r.out, "## %s\n", title)
	if r.s == nil {
		r.login()
	}
	r.look(full)
	for _, l := range r.said() {
		fmt.Fprintln(&r.out, l)
	}
	state := r.state()
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if old, ok := r.rows[k]; !ok || old != state[k] {
			fmt.Fprintf(&r.out, "row %s: %s\n", k, state[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.rows)) {
		if _, ok := state[k]; !ok {
			fmt.Fprintf(&r.out, "row %s: no more\n", k)
		}
	}
	r.rows = state
	for _, c := range r.changes() {
		fmt.Fprintf(&r.out, "change %s\n", c)
	}
	fmt.Fprintln(&r.out)
}

// begin takes the first look, of which nothing is written.
func (r *rig) begin() {
	r.t.Helper()
	r.look(true)
	r.said()
	r.rows = r.state()
	r.changes()
}

// golden compares what the steps have written with a file.
func (r *rig) golden(name string) {
	r.t.Helper()
	path := filepath.Join("testdata", "ladder", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(r.out.String()), 0o644); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	if got := r.out.String(); got != string(want) {
		r.t.Errorf("%s differs (go test -run %s -update rewrites it); got:\n%s", path, r.t.Name(), got)
	}
}

func letter(n int, headers ...string) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.com>\r\nTo: bo@example.com\r\nSubject: Message %d\r\nDate: Sun, 01 Mar 2026 12:%02d:00 +0000\r\nMessage-ID: <m%d@example.com>\r\n%s\r\nBody %d.\r\n",
		n, n%60, n, strings.Join(append(headers, ""), "\r\n"), n)
}

// fill delivers letters first to last.
func (r *rig) fill(folder string, first, last int) {
	for i := first; i <= last; i++ {
		r.p.Deliver(folder, letter(i))
	}
}
