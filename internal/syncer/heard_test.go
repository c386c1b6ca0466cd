package syncer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/test/persona"
)

// told waits for news and returns of which folders they are, and whether of all.
func (r *rig) told() (names []string, all bool) {
	r.t.Helper()
	select {
	case <-r.a.news:
	case <-time.After(10 * time.Second):
		r.t.Fatal("no news")
	}
	folders, all := r.a.heard.take()
	return slices.Sorted(maps.Keys(folders)), all
}

// TestWhatIsHeard: which folders are to be looked at, by what the server says unasked while a folder is open.
func TestWhatIsHeard(t *testing.T) {
	t.Parallel()
	work := &imap.Mailbox{Raw: "Work", Status: &imap.StatusData{Messages: 3, Has: imap.HasMessages}}
	for _, c := range []struct {
		what    string
		open    string
		says    imap.Unilateral
		folders []string
		all     bool
	}{
		{"mail has come", "INBOX", imap.Unilateral{Kind: imap.KindExists, Num: 4}, []string{"INBOX"}, false},
		{"mail has come, whatever the case", "inbox", imap.Unilateral{Kind: imap.KindExists, Num: 4}, []string{"INBOX"}, false},
		{"mail was sent", "Sent", imap.Unilateral{Kind: imap.KindExists, Num: 4}, []string{"Sent"}, false},
		{"some is gone", "INBOX", imap.Unilateral{Kind: imap.KindExpunge, Num: 1}, []string{"INBOX"}, false},
		{"some is gone, by UIDs", "INBOX", imap.Unilateral{Kind: imap.KindVanished, UIDs: imap.UIDs(7)}, []string{"INBOX"}, false},
		{"flags", "INBOX", imap.Unilateral{Kind: imap.KindFetch, Row: &imap.Row{UID: 7}}, []string{"INBOX"}, false},
		{"another folder", "INBOX", imap.Unilateral{Kind: imap.KindMailboxStatus, Mailbox: work}, []string{"Work"}, false},
		{"a folder was made, renamed or deleted", "INBOX", imap.Unilateral{Kind: imap.KindMailbox, Mailbox: work}, nil, true},
		{"too much to tell", "INBOX", imap.Unilateral{Kind: imap.KindStatus, Status: "OK", Code: "NOTIFICATIONOVERFLOW"}, nil, true},
		{"chatter", "INBOX", imap.Unilateral{Kind: imap.KindStatus, Status: "OK", Text: "still here"}, nil, false},
		{"an alert", "INBOX", imap.Unilateral{Kind: imap.KindAlert, Text: "hello"}, nil, false},
		{"while a command runs", "", imap.Unilateral{Kind: imap.KindExists, Num: 4}, nil, false},
	} {
		a := newAccount(New(Options{Log: slog.New(slog.DiscardHandler)}), "a", func() {})
		a.hears(func() string { return c.open })(c.says)
		news := len(a.news) > 0
		folders, all := a.heard.take()
		if got := slices.Sorted(maps.Keys(folders)); !slices.Equal(got, c.folders) || all != c.all || news != (all || len(got) > 0) {
			t.Errorf("%s: look at %q, all %t, at once %t", c.what, got, all, news)
		}
		if a.notice.waits() != (slices.Contains(c.folders, "INBOX")) {
			t.Errorf("%s: waits for an answer: %t", c.what, a.notice.waits())
		}
	}
}

// TestTheWatchHears: what a watch hears by IDLE, and by NOTIFY, of which as much is asked for as the server can tell.
func TestTheWatchHears(t *testing.T) {
	t.Parallel()
	const can, cannot = "OK done", "NO [BADEVENT (MessageNew MessageExpunge)] cannot tell"
	for what, c := range map[string]struct {
		notify func(args string) string
		asked  int
		hears  hearing
	}{
		"all": {func(string) string { return can }, 1, hearsAll},
		"without names": {func(args string) string {
			return map[bool]string{true: cannot, false: can}[strings.Contains(args, "MailboxName")]
		}, 2, hearsAll},
		"only mail": {func(args string) string {
			return map[bool]string{true: cannot, false: can}[strings.Count(args, "FlagChange") > 1]
		}, 3, hearsAll},
		"not even that":  {func(string) string { return cannot }, 3, hearsInbox},
		"refused":        {func(string) string { return "NO not today" }, 1, hearsInbox},
		"not understood": {func(string) string { return "BAD what?" }, 1, hearsInbox},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{Caps: persona.All + " NOTIFY", Answer: func(k persona.Command) string {
				if k.Name == "NOTIFY" {
					return c.notify(k.Args)
				}
				return ""
			}})
			r.fill("INBOX", 1, 2)
			r.begin()
			ctx, end := context.WithCancel(t.Context())
			defer r.a.watch.Wait()
			defer end()
			r.a.keepWatch(ctx)
			if folders, all := r.told(); !slices.Contains(folders, "INBOX") || all != (c.hears == hearsAll) {
				t.Errorf("before it listens: %q, all %t", folders, all)
			}
			if is := hearing(r.a.hearing.Load()); is != c.hears || r.p.Count("NOTIFY") != c.asked {
				t.Errorf("hears %d, want %d; asked %d times, want %d", is, c.hears, r.p.Count("NOTIFY"), c.asked)
			}
			r.p.Await("IDLE", func() bool { return r.p.Count("IDLE") == 1 })
			r.p.Deliver("INBOX", letter(3))
			if folders, all := r.told(); !slices.Equal(folders, []string{"INBOX"}) || all {
				t.Errorf("mail in INBOX: %q, all %t", folders, all)
			}
			r.p.Drop()
			if _, all := r.told(); !all || hearing(r.a.hearing.Load()) != hearsNothing {
				t.Errorf("at its end: all %t, hears %d", all, r.a.hearing.Load())
			}
		})
	}
}

// TestNewsOfFolders: what is told of a folder that we do not know, and of mail that has left one, is a reason to look at all; what we have
// done ourselves is none to look at anything.
func TestNewsOfFolders(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 3)
	r.begin()
	r.a.untold = untoldTrust
	r.a.heard.note("Nowhere", nil)
	if everywhere, err := r.a.hear(t.Context(), r.s); !everywhere || err != nil {
		t.Errorf("of an unknown folder: everywhere %t, %v", everywhere, err)
	}
	if r.a.untold != 0 {
		t.Error("the server has told, and is not trusted")
	}
	f := r.folder("INBOX")
	r.said()
	r.a.heard.note("INBOX", &imap.StatusData{Messages: 3, UIDNext: uint32(f.UIDNext), UIDValidity: uint32(f.UIDValidity), HighestModSeq: uint64(f.HighestModSeq),
		Has: imap.HasMessages | imap.HasUIDNext | imap.HasUIDValidity | imap.HasHighestModSeq})
	if everywhere, err := r.a.hear(t.Context(), r.s); everywhere || err != nil {
		t.Errorf("of our own doing: everywhere %t, %v", everywhere, err)
	}
	if said := r.said(); len(said) > 0 {
		t.Errorf("for our own doing: %q", said)
	}
	r.p.Expunge("INBOX", 2)
	r.a.heard.note("INBOX", nil)
	if everywhere, err := r.a.hear(t.Context(), r.s); !everywhere || err != nil {
		t.Errorf("of a loss: everywhere %t, %v", everywhere, err)
	}
	r.a.heard.everywhere()
	if everywhere, err := r.a.hear(t.Context(), r.s); !everywhere || err != nil {
		t.Errorf("of everything: everywhere %t, %v", everywhere, err)
	}
}

// TestAMuteServerIsNotTrusted: whoever accepts IDLE and does not tell of new mail three times in a row is asked as often as one without it.
func TestAMuteServerIsNotTrusted(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 1)
	r.begin()
	pause := func() time.Duration {
		r.a.found = time.Now().Add(-30 * 24 * time.Hour)
		return r.a.pause(0) / r.a.e.o.Poll
	}
	for hears, want := range map[hearing]time.Duration{hearsNothing: pollDeaf, hearsInbox: pollIdling, hearsAll: pollNotified} {
		r.a.hearing.Store(int32(hears))
		if got := pause(); got != want {
			t.Errorf("hearing %d: %d polls, want %d", hears, got, want)
		}
	}
	r.a.hearing.Store(int32(hearsNothing))
	r.fill("INBOX", 2, 2)
	r.look(false) // nobody was to tell of it
	r.a.hearing.Store(int32(hearsInbox))
	r.fill("INBOX", 3, 3)
	r.a.notice.told(r.now()) // it did
	r.look(false)
	r.a.notice.answered(r.now())
	for n := range untoldTrust {
		if got := pause(); got != pollIdling {
			t.Errorf("untold %d times: %d polls", n, got)
		}
		r.fill("INBOX", 4+n, 4+n)
		r.look(false)
	}
	if got := pause(); got != pollDeaf {
		t.Errorf("then: %d polls", got)
	}
}

// TestLingering: what is told on the account's own connection while it is not used is heard, and after that nothing is; that it ends is
// found at once.
func TestLingering(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 1)
	r.begin()
	idles := func(n int) {
		t.Helper()
		r.p.Await("IDLE", func() bool { return r.p.Count("IDLE") == n })
	}
	stop := r.a.linger(t.Context(), r.s)
	if folders, all := r.told(); !slices.Equal(folders, []string{"INBOX"}) || all {
		t.Errorf("before it listens: %q, all %t", folders, all)
	}
	idles(1)
	r.p.Deliver("INBOX", letter(2))
	if folders, _ := r.told(); !slices.Equal(folders, []string{"INBOX"}) {
		t.Errorf("told of %q", folders)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	r.p.Deliver("INBOX", letter(3))
	if err := r.s.Noop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if folders, all := r.a.heard.take(); len(folders) > 0 || all || len(r.a.news) > 0 {
		t.Errorf("of a connection that is used: %v, all %t", folders, all)
	}

	if err := r.a.linger(t.Context(), r.s)(); err != nil { // there is more than when it listened last
		t.Fatal(err)
	}
	r.told()
	before := r.p.Count("IDLE")
	stop = r.a.linger(t.Context(), r.s)
	idles(before + 1)
	if len(r.a.news) > 0 {
		t.Error("news of nothing")
	}
	r.p.Drop()
	if folders, all := r.told(); len(folders) > 0 || all {
		t.Errorf("at its end: %q, all %t", folders, all)
	}
	if stop() == nil {
		t.Error("a dead connection is used on")
	}

	r.login()
	r.a.hearing.Store(int32(hearsAll))
	if err := r.a.linger(t.Context(), r.s)(); err != nil || r.s.selected != "" {
		t.Errorf("%q is open, %v, although another connection hears all", r.s.selected, err)
	}
	r.a.hearing.Store(int32(hearsInbox))
	if err := r.a.linger(t.Context(), r.s)(); err != nil || r.s.selected != "Sent" {
		t.Errorf("%q is open, %v, where another connection hears INBOX", r.s.selected, err)
	}
}
