package syncer_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/mime"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/syncer"
	"github.com/posthorn/posthorn/internal/vault"
	"github.com/posthorn/posthorn/test/realsrv"
)

var kills = flag.Int("kills", 10, "how often TestKills kills the sync")

// victim is a process of this test binary that syncs one account, and dies as told.
type victim struct {
	Dir, Host, User, Password string
	Port                      int
	Point                     string // where it kills itself; "": it does not
	Skip                      int    // how often it passes there before
	Poison                    string // it kills itself when it reads a message that holds this
	HeadersOnly               bool
}

const victimEnv = "POSTHORN_TEST_VICTIM"

const victimAccount = mail.AccountID("6b8e0f52-7c1d-4f0e-9a51-0d6a3f1c2b11")

// open opens the store, and an engine that does not run yet. ahead is by how much its clock is fast.
func (v victim) open(ctx context.Context, log *slog.Logger, ahead time.Duration, events syncer.Events) (*store.Store, *syncer.Engine, error) {
	keys, err := vault.NewKeyring(make([]byte, vault.KeySize))
	if err != nil {
		return nil, nil, err
	}
	now := func() time.Time { return time.Now().Add(ahead) }
	st, err := store.Open(ctx, store.Options{Dir: v.Dir, Keys: keys, Now: now})
	if err != nil {
		return nil, nil, err
	}
	if _, err := st.Account(ctx, "", victimAccount); mail.IsKind(err, mail.NotFound) {
		app, err := st.DefaultApp(ctx)
		if err != nil {
			return st, nil, err
		}
		err = st.CreateAccount(ctx, mail.Account{ID: victimAccount, App: app.ID, Email: v.User + "@example.com", Provider: "imap",
			Settings: mail.Settings{IMAP: mail.Endpoint{Host: v.Host, Port: v.Port, Security: mail.SecurityNone, Username: v.User},
				Sync: &mail.SyncPolicy{HeadersOnly: v.HeadersOnly}},
		}, mail.Credentials{IMAPPassword: mail.NewSecret(v.Password)})
		if err != nil {
			return st, nil, err
		}
	}
	return st, syncer.New(syncer.Options{
		Store: st, Now: now, Log: log, Guard: provider.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Poll: 20 * time.Millisecond, Confirm: time.Millisecond, Grace: 50 * time.Millisecond, Events: events,
	}), nil
}

// die ends the process at once, as kill -9 does.
func die() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	fmt.Fprintln(os.Stderr, "cannot die:", err)
	select {}
}

// runVictim is what the process does: it syncs, says when it is live, and ends when its input does.
func runVictim(config string) error {
	var v victim
	if err := json.Unmarshal([]byte(config), &v); err != nil {
		return err
	}
	st, e, err := v.open(context.Background(), slog.New(slog.NewTextHandler(os.Stderr, nil)), 0, syncer.Events{State: func(_ mail.AccountID, s mail.SyncStatus) {
		fmt.Println(s.State)
	}})
	if err != nil {
		return err
	}
	var passed atomic.Int64
	e.SetReached(func(point string) {
		if point == v.Point && passed.Add(1) > int64(v.Skip) {
			die()
		}
	})
	if v.Poison != "" {
		e.SetParse(func(r io.Reader, o mime.Options) (*mime.Message, error) {
			raw, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			if bytes.Contains(raw, []byte(v.Poison)) {
				die()
			}
			return mime.Parse(bytes.NewReader(raw), o)
		})
	}
	if err := e.Open(context.Background()); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	e.Close()
	return st.Close()
}

// run runs the victim until it dies, or is live and then killed, or the time is over and it is killed. It tells whether it was live.
func (v victim) run(t *testing.T, most time.Duration, untilLive bool) (live bool) {
	t.Helper()
	return v.watch(t, most, untilLive, func(int) {})
}

// watch is run, and looks at the process once it is live.
func (v victim) watch(t *testing.T, most time.Duration, untilLive bool, look func(pid int)) (live bool) {
	t.Helper()
	config, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+string(config))
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(most, func() { cmd.Process.Kill() })
	defer timer.Stop()
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if sc.Text() == string(mail.StateLive) {
			live = true
			look(cmd.Process.Pid)
			if untilLive {
				cmd.Process.Kill()
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("it ended by itself: %v\n%s", err, log.String())
	}
	return live
}

// TestAMessageThatKillsTheProcessIsSetAside: the process dies four times, not more, and everything else arrives.
func TestAMessageThatKillsTheProcessIsSetAside(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := d.Login(t, "ann")
	for i := range 80 {
		s.Append("INBOX", message(i), nil, day)
	}
	v := victim{Dir: t.TempDir(), Host: d.Host, Port: d.Port, User: "ann", Password: d.Password, Poison: "Body 40."}
	deaths := 0
	for !v.run(t, patience, true) {
		if deaths++; deaths > 10 {
			t.Fatal("it dies again and again")
		}
	}
	if deaths > 4 { // once unwritten, once with its batch, once alone, and once more when all else was done
		t.Errorf("it died %d times", deaths)
	}
	st, e, err := v.open(t.Context(), slog.New(slog.DiscardHandler), 0, syncer.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	defer e.Close()
	mbox, err := st.Mailbox(t.Context(), victimAccount)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := mbox.Counts(t.Context())
	if err != nil || counts.Placements != 80 || counts.Unheld != 1 {
		t.Errorf("%+v, %v", counts, err)
	}
	units, err := mbox.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(units, func(u store.Unit) bool { return u.Reason != "" }); i < 0 || units[i].First != 41 || units[i].Last != 41 || !strings.Contains(units[i].Reason, "died") {
		t.Errorf("%+v", units)
	}
	if list, err := mbox.Troubles(t.Context(), 10); err != nil || len(list) != 1 || list[0].UID != 41 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestAMessageThatKillsNobodyIsTriedAgain: the process dies each time while one message is read, but of something else. When it
// is live, the message is there.
func TestAMessageThatKillsNobodyIsTriedAgain(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	s := d.Login(t, "ann")
	for i := range 80 {
		s.Append("INBOX", message(i), nil, day)
	}
	v := victim{Dir: t.TempDir(), Host: d.Host, Port: d.Port, User: "ann", Password: d.Password, Poison: "Body 40."}
	for range 3 {
		if v.run(t, patience, true) {
			t.Fatal("it did not die")
		}
	}
	v.Poison = ""
	if !v.run(t, patience, true) {
		t.Fatal("it was not live in time")
	}
	st, e, err := v.open(t.Context(), slog.New(slog.DiscardHandler), 0, syncer.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	defer e.Close()
	mbox, err := st.Mailbox(t.Context(), victimAccount)
	if err != nil {
		t.Fatal(err)
	}
	if counts, err := mbox.Counts(t.Context()); err != nil || counts.Placements != 80 || counts.Unheld != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
	if units, err := mbox.Units(t.Context()); err != nil || slices.ContainsFunc(units, func(u store.Unit) bool { return u.Reason != "" }) {
		t.Errorf("%+v, %v", units, err)
	}
}

// TestKills kills the sync again and again, where it stores something and at random, in the initial sync and while another
// program changes the mailbox. Afterwards nothing is lost, nothing doubled, and every id is what it would be without.
func TestKills(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	began, left, rounds, aside := time.Now(), *kills, 0, 0
	at := map[string]int{}
	for left > 0 {
		n := min(left, 30)
		aside += killRound(t, r, n, rounds, at)
		left -= n
		rounds++
	}
	t.Logf("%d kills in %d rounds and %v: %d messages set aside for a while; killed %v", *kills, rounds, time.Since(began).Round(time.Second), aside, at)
}

// killRound is a mailbox that is synchronised for the first time with a third of the kills, and then changed with the rest.
func killRound(t *testing.T, r *rand.Rand, n, round int, at map[string]int) (aside int) {
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	const user = "ann"
	s := d.Login(t, user)
	folders := []string{"INBOX", "Archive", "Work"}
	d.CreateFolder(t, user, "Archive")
	d.CreateFolder(t, user, "Work")
	for i := range 300 {
		s.Append(folders[i%2], message(1000*round+i), nil, day.Add(time.Duration(i)*time.Second))
	}
	v := victim{Dir: t.TempDir(), Host: d.Host, Port: d.Port, User: user, Password: d.Password}
	initial := []string{"before folders", "after folders", "before headers", "after headers", "before blobs", "after blobs", "before bodies", "after bodies", "before cursors", "before state", "after state"}
	later := append([]string{"before vanished", "after vanished", "before flags", "after flags", "before sweep", "after sweep"}, initial...)
	for k := range n {
		points := initial
		if k >= n/3 {
			points = later
			for range 1 + r.IntN(6) {
				killChange(s, r, folders, 1000*round+k)
			}
		}
		v.Point, v.Skip = "", 0
		most := time.Duration(r.IntN(600)) * time.Millisecond
		if r.IntN(3) > 0 {
			v.Point, v.Skip, most = points[r.IntN(len(points))], r.IntN(4), 2*time.Second
		}
		v.run(t, most, false)
		at[cmp.Or(v.Point, "at random")]++
	}
	s.Close()
	news := make(chan struct{}, 1)
	tell := func() {
		select {
		case news <- struct{}{}:
		default:
		}
	}
	// The clock of the last run is fast, so that what was set aside is due.
	open := func(v victim) *bench {
		st, e, err := v.open(t.Context(), slog.New(slog.DiscardHandler), 26*time.Hour, syncer.Events{
			Pass:  func(mail.AccountID, bool) { tell() },
			State: func(mail.AccountID, mail.SyncStatus) { tell() },
		})
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, d: &d.IMAP, user: user, id: victimAccount, store: st, engine: e, news: news}
		if b.mbox, err = st.Mailbox(t.Context(), victimAccount); err != nil {
			t.Fatal(err)
		}
		if problems, err := b.mbox.Check(t.Context()); err != nil || len(problems) > 0 {
			t.Fatalf("after the kills: %v %v", problems, err)
		}
		units, err := b.mbox.Units(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range units {
			if u.Reason != "" {
				aside++
			}
		}
		if err := e.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.equal()
		return b
	}
	b := open(v)
	twice := map[string]bool{}
	for seq := mail.Seq(0); ; {
		changes, err := b.mbox.Changes(t.Context(), seq, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(changes) == 0 {
			break
		}
		for _, c := range changes {
			seq = c.Seq
			switch c.Kind {
			case mail.MessageCreated:
				if twice[c.Object] {
					t.Errorf("message %s was told as new twice", c.Object)
				}
				twice[c.Object] = true
			case mail.MessageDeleted:
				delete(twice, c.Object)
			}
		}
	}
	ids := b.ids()
	b.engine.Close()
	if err := b.store.Close(); err != nil {
		t.Error(err)
	}
	fresh := v
	fresh.Dir = t.TempDir()
	other := open(fresh)
	if want := other.ids(); !maps.Equal(ids, want) {
		t.Errorf("%d messages have other ids than without kills", differing(ids, want))
	}
	other.engine.Close()
	if err := other.store.Close(); err != nil {
		t.Error(err)
	}
	return aside
}

func differing(a, b map[string]mail.MessageID) (n int) {
	for k, v := range b {
		if a[k] != v {
			n++
		}
	}
	return n
}

// ids returns the message of every place.
func (b *bench) ids() map[string]mail.MessageID {
	b.t.Helper()
	out := map[string]mail.MessageID{}
	folders, err := b.mbox.Folders(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range folders {
		list, err := b.mbox.Placements(b.t.Context(), f.ID, f.UIDValidity)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, p := range list {
			out[fmt.Sprintf("%s %d", f.Name, p.UID)] = p.Message
		}
	}
	return out
}

// killChange does one thing that another mail program might do.
func killChange(s *realsrv.Session, r *rand.Rand, folders []string, step int) {
	s.Do("SELECT " + folders[r.IntN(len(folders))])
	_, status := s.Try("FETCH * UID")
	to := folders[r.IntN(len(folders))]
	switch op := r.IntN(6); {
	case op == 0 || !strings.HasPrefix(status, "OK"):
		s.Append(to, message(1_000_000+100*step+r.IntN(100)), nil, day)
	case op == 1:
		s.Do(`STORE 1:3,* +FLAGS (\Seen $Later)`)
	case op == 2:
		s.Do(`STORE * -FLAGS (\Seen)`)
	case op == 3:
		s.Try("MOVE * " + to)
	case op == 4:
		s.Try("COPY 1 " + to)
	case op == 5:
		s.Do(`STORE 1 +FLAGS (\Deleted)`)
		s.Do("EXPUNGE")
	}
}
