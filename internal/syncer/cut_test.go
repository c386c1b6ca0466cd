package syncer

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/imap"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/provider"
	"github.com/posthorn/posthorn/test/faultnet"
	"github.com/posthorn/posthorn/test/persona"
	"github.com/posthorn/posthorn/test/realsrv"
)

var cutStep = flag.Int("cutstep", 307, "TestCutAccount cuts at every so manieth byte")

// cutMailbox is a mailbox whose account is synchronised over a connection that is cut somewhere. No two are shared by two syncs.
type cutMailbox struct {
	host, password, user string
	port                 int
	fill, change         func() // what is there first, and what another program does later
	truth                func() map[string]string
}

// cutMail are the messages of the cut tests: plain ones, some that look like the protocol, one without a usable header, two
// with the same Message-ID and other bytes, and one that comes in several reads.
func cutMail() [][]byte {
	return [][]byte{
		letter(1), letter(2), letter(3),
		[]byte("Subject: looks like the protocol\r\n\r\n)\r\nT5 OK done\r\n* 3 FETCH (UID 3 BODY[] {4}\r\nabc\r\n"),
		[]byte("no header at all"),
		append(letter(6), "one\r\n"...), append(letter(6), "two\r\n"...),
		append(letter(8), strings.Repeat("line of sixteen\r\n", 40)...),
	}
}

func cutPersona(caps string) func(*testing.T, int) *cutMailbox {
	return func(t *testing.T, _ int) *cutMailbox {
		p := persona.Start(t, persona.Knobs{Caps: caps})
		return &cutMailbox{host: p.Host, port: p.Port, password: persona.Password, user: "ann",
			fill: func() {
				p.Create("Work")
				for i, raw := range cutMail() {
					p.Deliver([]string{"INBOX", "INBOX", "Work"}[i%3], raw)
				}
				p.Copy("INBOX", 1, "Sent")
			},
			change: func() {
				p.Deliver("INBOX", letter(20), "$Label1")
				p.Deliver("Work", letter(21))
				p.Flag("INBOX", 2, `\Seen`)
				p.Move("INBOX", 3, "Work")
				p.Expunge("INBOX", 4)
				p.Renew("Sent", 77, 5)
			},
			truth: func() map[string]string {
				out := map[string]string{}
				for _, m := range p.Everything() {
					out[fmt.Sprintf("%s %d %d", m.Folder, m.UIDValidity, m.UID)] = fmt.Sprintf("%x %v", m.SHA256, m.Flags)
				}
				return out
			}}
	}
}

func cutDovecot(d *realsrv.Dovecot) func(*testing.T, int) *cutMailbox {
	return func(t *testing.T, at int) *cutMailbox {
		user := strings.ReplaceAll(fmt.Sprintf("%s-%d", t.Name(), at), "/", "-")
		user = strings.NewReplacer(" ", "", ",", "").Replace(user)
		s := d.Login(t, user)
		m := &cutMailbox{host: d.Host, port: d.Port, password: d.Password, user: user,
			fill: func() {
				d.CreateFolder(t, user, "Work")
				for i, raw := range cutMail() {
					s.Append([]string{"INBOX", "INBOX", "Work"}[i%3], raw, nil, time.Date(2026, 3, 1, 12, i, 0, 0, time.UTC))
				}
			},
			change: func() {
				s.Append("INBOX", letter(20), []string{"$Label1"}, time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))
				s.Append("Work", letter(21), nil, time.Date(2026, 3, 2, 12, 1, 0, 0, time.UTC))
				s.Do("SELECT INBOX")
				s.Do(`UID STORE 2 +FLAGS (\Seen)`)
				s.Do("UID MOVE 3 Work")
				s.Do(`UID STORE 4 +FLAGS (\Deleted)`)
				s.Do("UID EXPUNGE 4")
				s.Close()
			},
			truth: func() map[string]string {
				out := map[string]string{}
				for _, r := range d.Everything(t, user) {
					out[fmt.Sprintf("%s %d %d", r.Folder, r.UIDValidity, r.UID)] = fmt.Sprintf("%x %v", r.SHA256, r.Flags)
				}
				return out
			}}
		return m
	}
}

// TestCutAccount cuts the connection of an account at every byte of either side, from the greeting to the end of a look at
// what has changed since. Then all is as if it had not been cut: nothing is lost, doubled or cut short, nothing that is there
// was told to be deleted, and every id is the same.
func TestCutAccount(t *testing.T) {
	t.Parallel()
	d := realsrv.StartDovecot(t, realsrv.DovecotOptions{})
	unit := *cutStep
	if testing.Short() {
		unit *= 5
	}
	for _, c := range []struct {
		name    string
		mailbox func(*testing.T, int) *cutMailbox
		step    int
	}{
		{"everything", cutPersona(persona.All), unit},
		{"basic", cutPersona(persona.Basic), unit},
		{"Dovecot", cutDovecot(d), 7 * unit},
	} {
		for _, side := range []string{"server", "client"} {
			t.Run(c.name+", "+side, func(t *testing.T) {
				t.Parallel()
				step := c.step
				if *cutStep == 1 {
					step = 1
				}
				if side == "client" { // who says less
					step = max(step/5, 1)
				}
				whole := cutSync(t, c.mailbox(t, -1), "", nil)
				if whole.cuts != 0 || whole.bytes[side] < 500 {
					t.Fatalf("without a cut: %+v", whole)
				}
				n := 0
				for at := int64(0); at <= whole.bytes[side]; at += int64(step) {
					ok := t.Run(fmt.Sprint(at), func(t *testing.T) {
						m := c.mailbox(t, int(at))
						var ids map[string]mail.MessageID
						if c.name != "Dovecot" { // there every user has ids of his own
							ids = whole.ids
						}
						if r := cutSync(t, m, fmt.Sprintf("conn 1: cut %s after %d", side, at), ids); r.cuts > 0 {
							n++
						}
					})
					if !ok {
						break // the others say the same
					}
				}
				if n == 0 {
					t.Error("no cut was felt")
				}
				t.Logf("%d of %d bytes, every %dth: %d cuts felt", whole.bytes[side]/int64(step)+1, whole.bytes[side]+1, step, n)
			})
		}
	}
}

// cutResult is what a sync through a proxy came to.
type cutResult struct {
	cuts  int // how often it had to begin again
	bytes map[string]int64
	ids   map[string]mail.MessageID // by folder and UID
}

// cutSync synchronises a mailbox, has it changed, and synchronises it again, through a proxy with rules. It fails the test if the
// outcome is not right; ids, if not nil, are those that the messages must have.
func cutSync(t *testing.T, m *cutMailbox, rules string, ids map[string]mail.MessageID) (out cutResult) {
	proxy := faultnet.Start(t, fmt.Sprintf("%s:%d", m.host, m.port), rules)
	at := netip.MustParseAddrPort(proxy.Addr)
	r := rigAt(t, at.Addr().String(), int(at.Port()), m.password, m.user)
	m.fill()
	out.cuts = r.converge(true)
	first := r.places()
	m.change()
	out.cuts += r.converge(false)
	r.wait(24 * time.Hour)        // no grace is left
	out.cuts += r.converge(false) // and what is gone is removed
	out.bytes = map[string]int64{"server": proxy.Passed("server"), "client": proxy.Passed("client")}

	if got, want := r.stored(), m.truth(); !maps.Equal(got, want) {
		t.Errorf("here %v\nserver %v", got, want)
	}
	out.ids = r.places()
	if ids != nil && !maps.Equal(out.ids, ids) {
		t.Errorf("ids %v\nwithout a cut %v", out.ids, ids)
	}
	there := map[string]bool{}
	for _, id := range out.ids {
		there[string(id)] = true
	}
	for place, id := range first {
		if out.ids[place] != id && out.ids[place] != "" {
			t.Errorf("%s was %s and is %s", place, id, out.ids[place])
		}
	}
	told := map[string]bool{}
	list, err := r.a.mbox.Changes(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		switch {
		case c.Kind == mail.MessageCreated && told[c.Object]:
			t.Errorf("%s was told as new twice", c.Object)
		case c.Kind == mail.MessageCreated:
			told[c.Object] = true
		case c.Kind == mail.MessageDeleted && there[c.Object]:
			t.Errorf("%s is there and was told as deleted", c.Object)
		}
	}
	for id := range there {
		if !told[id] {
			t.Errorf("%s was never told", id)
		}
	}
	if n, err := r.a.mbox.CountTroubles(t.Context()); err != nil || n > 0 {
		t.Errorf("%d messages set aside, %v", n, err)
	}
	return out
}

// converge looks, in as many sessions as it takes, until a look was complete, and returns how many were not.
func (r *rig) converge(full bool) (cuts int) {
	r.t.Helper()
	for {
		err := error(nil)
		if r.s == nil {
			if r.s, err = r.a.open(r.t.Context()); err == nil {
				r.a.session++
			}
		}
		if err == nil {
			err = r.tryLook(full)
		}
		if err == nil {
			return cuts
		}
		k := provider.Classify(err, r.a.acct).Kind
		if cuts++; cuts > 2 || imap.ClassOf(err) != imap.Network || k != mail.Unreachable && k != mail.Unavailable {
			r.t.Fatalf("try %d: %v, %v: %v", cuts, imap.ClassOf(err), k, err)
		}
		r.logout()
		r.wait(time.Minute)
	}
}

// stored is every placement: "INBOX 1001 3" to "sha256 [flags]".
func (r *rig) stored() map[string]string {
	r.t.Helper()
	return r.each(func(p mail.Placement) string {
		if !p.Held {
			return "without bytes"
		}
		ref, err := r.a.mbox.RawBlob(r.t.Context(), p.Message)
		if err != nil {
			return err.Error()
		}
		b, err := r.a.mbox.OpenBlob(r.t.Context(), ref.ID)
		if err != nil {
			return err.Error()
		}
		defer b.Close()
		h := sha256.New()
		if _, err := io.Copy(h, b); err != nil {
			return err.Error()
		}
		flags := append(p.Flags.Names(), p.Keywords...)
		slices.Sort(flags)
		return fmt.Sprintf("%x %v", h.Sum(nil), flags)
	})
}

// places is the message of every placement: "INBOX 3" to its id.
func (r *rig) places() map[string]mail.MessageID {
	r.t.Helper()
	out := map[string]mail.MessageID{}
	for k, id := range r.each(func(p mail.Placement) string { return string(p.Message) }) {
		f := strings.Fields(k) // the name may have blanks
		out[strings.Join(append(f[:len(f)-2:len(f)-2], f[len(f)-1]), " ")] = mail.MessageID(id)
	}
	return out
}
