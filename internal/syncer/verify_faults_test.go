package syncer

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/test/persona"
)

// TestVerifyGoesOn with the other folders where one cannot be read, in another session where one ends, and keeps what it has found
// where it has to give up.
func TestVerifyGoesOn(t *testing.T) {
	t.Parallel()
	const flag, news = `"INBOX" UID 3: flags are`, `"Work" UID 31: the message is at the server and not here`
	in := func(c persona.Command, items string) bool {
		return c.Name == "UID FETCH" && c.Folder == "Work" && strings.Contains(c.Args, items)
	}
	for name, sc := range map[string]struct {
		answer func(n *atomic.Int64, c persona.Command) string
		want   []string
		fails  string
	}{
		"a session ends": {func(n *atomic.Int64, c persona.Command) string {
			if in(c, "FLAGS") && n.Add(1) <= 2 {
				return persona.Cut
			}
			return ""
		}, []string{flag, news}, ""},
		"every session ends": {func(n *atomic.Int64, c persona.Command) string {
			if in(c, "FLAGS") {
				return persona.Cut
			}
			return ""
		}, []string{flag}, `compare "Work"`},
		"not read": {func(n *atomic.Int64, c persona.Command) string {
			if in(c, "FLAGS") {
				return "NO [SERVERBUG] oops"
			}
			return ""
		}, []string{flag, `"Work": the server does not let the folder be read: `}, ""},
		"no bytes": {func(n *atomic.Int64, c persona.Command) string {
			if in(c, "BODY") {
				return "NO [SERVERBUG] oops"
			}
			return ""
		}, []string{flag, news, `"Work": the server does not send the bytes of UID 1:30: `}, ""},
		"no login": {func(n *atomic.Int64, c persona.Command) string {
			if c.Name == "LOGIN" || c.Name == "AUTHENTICATE" {
				return "NO [AUTHENTICATIONFAILED] wrong"
			}
			return ""
		}, nil, "password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, persona.Knobs{})
			r.p.Create("Work")
			r.fill("INBOX", 1, 5)
			r.fill("Work", 1, 30)
			r.begin()
			r.logout()
			r.finds()
			r.p.Flag("INBOX", 3, `\Flagged`)
			r.fill("Work", 31, 31)
			var n atomic.Int64
			r.p.Turn(func(k *persona.Knobs) { k.Answer = func(c persona.Command) string { return sc.answer(&n, c) } })
			v, err := r.a.e.Verify(t.Context(), r.a.id, VerifyOptions{Bytes: true})
			if (err == nil) != (sc.fails == "") || err != nil && !strings.Contains(err.Error(), sc.fails) {
				t.Errorf("fails with %v, want %q", err, sc.fails)
			}
			if len(v.Differences) != len(sc.want) {
				t.Fatalf("found %v, want %q", v.Differences, sc.want)
			}
			for i, d := range v.Differences {
				if !strings.HasPrefix(d.String(), sc.want[i]) {
					t.Errorf("found %v, want %q", d, sc.want[i])
				}
			}
		})
	}
}

// TestVerifyWhereSessionsEndSoon fetches all bytes, each of them once.
func TestVerifyWhereSessionsEndSoon(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 50)
	r.begin()
	r.logout()
	whole, err := r.a.e.Verify(t.Context(), r.a.id, VerifyOptions{Bytes: true})
	if err != nil || len(whole.Differences) > 0 {
		t.Fatal(whole, err)
	}
	logins, sent := r.p.Logins(), 0
	r.p.Turn(func(k *persona.Knobs) {
		k.Say = func(c persona.Command, line string) string {
			if strings.Contains(line, " BODY[] ") {
				if sent++; sent%12 == 0 {
					return persona.Cut
				}
			}
			return line
		}
	})
	v, err := r.a.e.Verify(t.Context(), r.a.id, VerifyOptions{Bytes: true})
	if err != nil || len(v.Differences) > 0 || v.Messages != 50 || v.Bytes != whole.Bytes || v.Folders != whole.Folders {
		t.Errorf("%+v %v, want %+v", v, err, whole)
	}
	if n := r.p.Logins() - logins; n != 5 {
		t.Errorf("%d sessions for %d bodies", n, sent)
	}
}

// TestVerifyTellsWhatIsOtherAgainAtTheSecondLook: nobody synchronises, flags change all the time, and a refusal has other words each
// time. How many messages are listed and how many counted in a mailbox in use is no difference if it is other again.
func TestVerifyTellsWhatIsOtherAgainAtTheSecondLook(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 3)
	r.fill("Sent", 11, 13)
	r.begin()
	r.logout()
	var n atomic.Int64
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(c persona.Command) string {
			switch {
			case c.Name == "EXAMINE" && c.Folder == "Sent":
				return fmt.Sprintf("NO [SERVERBUG] Refer to the log for number %d", n.Add(1))
			case c.Name == "EXAMINE":
				r.p.Flag("INBOX", 2, fmt.Sprint("k", n.Add(1)))
			}
			return ""
		}
		k.Say = func(c persona.Command, line string) string {
			if c.Folder == "INBOX" && strings.HasSuffix(line, " EXISTS") {
				return fmt.Sprintf("* %d EXISTS", 10+n.Add(1))
			}
			return line
		}
	})
	r.finds(`"INBOX" UID 2: flags are `, `"Sent": the server does not open the folder: `)
}

// TestVerifyTellsHowFarItIs, of all messages, and of their bytes.
func TestVerifyTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{})
	r.fill("INBOX", 1, 7)
	r.fill("Sent", 11, 13)
	r.begin()
	r.logout()
	for bytes, all := range map[bool]int{false: 10, true: 20} {
		var told []int
		_, err := r.a.e.Verify(t.Context(), r.a.id, VerifyOptions{Bytes: bytes, Wait: time.Millisecond, Progress: func(folder string, done, of int) {
			if told = append(told, done); of != all || folder != "INBOX" && folder != "Sent" {
				t.Errorf("%q: %d of %d", folder, done, of)
			}
		}})
		if err != nil || len(told) != all || !slices.IsSorted(told) || told[all-1] != all {
			t.Errorf("told %v of %d, %v", told, all, err)
		}
	}
}
