package syncer

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/test/persona"
)

// hides is what is told of a folder and what of the account is, when so many messages of it are here and some are out of view.
func (r *rig) hides(folder string, total int) {
	r.t.Helper()
	if gone := r.deleted(); gone != nil {
		r.t.Errorf("told as deleted: %q", gone)
	}
	if f := r.folder(folder); f.Total != total || f.Unread != total {
		r.t.Errorf("%s has %d messages, %d of them unread; want %d", folder, f.Total, f.Unread, total)
	}
	if c, err := r.a.mbox.Counts(r.t.Context()); err != nil || c.Messages != int64(total) || c.Vanished != 0 {
		r.t.Errorf("counts %+v %v, want %d messages", c, err, total)
	}
	r.isIn(mail.StateDegraded, `newest 100 messages of "`+folder+`" only`)
	if s := r.a.status.get(); s.FreshAt.IsZero() || s.Total != s.Done {
		r.t.Errorf("fresh at %v, %d of %d", s.FreshAt, s.Done, s.Total)
	}
	r.quiet()
}

// quiet checks that looking again costs nothing and finds nothing.
func (r *rig) quiet() {
	r.t.Helper()
	before := r.p.Count("UID SEARCH") + r.p.Count("UID FETCH")
	r.look(false)
	if n := r.p.Count("UID SEARCH") + r.p.Count("UID FETCH") - before; n != 0 {
		r.t.Errorf("%d commands to find nothing", n)
	}
	r.wants()
}

// lifts checks that all messages are shown again under the ids that they had.
func (r *rig) lifts(before map[string]mail.MessageID) {
	r.t.Helper()
	r.changes()
	r.bodiesFetched()
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 0 })
	r.login()
	r.seek()
	for _, c := range r.changes() {
		if strings.HasPrefix(c, "message.") {
			r.t.Errorf("told when the limit was lifted: %s", c)
		}
	}
	if n := r.bodiesFetched(); n != 0 {
		r.t.Errorf("%d bodies fetched once more", n)
	}
	clear(r.names)
	if after := r.ids(); !maps.Equal(before, after) {
		r.t.Errorf("%d messages had other ids than %d have", len(before), len(after))
	}
	r.agrees()
	r.isIn(mail.StateLive, "")
}

// TestAnotherUIDValidityOfALimitedFolder: what is out of view when a folder is numbered anew stays, and is known again when it is shown.
func TestAnotherUIDValidityOfALimitedFolder(t *testing.T) {
	everyStep(t, 0, func(t *testing.T, r *rig) {
		r.fill("INBOX", 1, 150)
		r.begin()
		before := r.ids()
		r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
		r.seek()
		r.p.Renew("INBOX", 5000, 700)
		r.login()
		r.seek()
		r.hides("INBOX", 150)

		r.fill("INBOX", 151, 152) // these push others out
		r.seek()
		maps.Copy(before, r.ids())
		r.hides("INBOX", 152)
		r.restart(true)
		r.seek()
		r.hides("INBOX", 152)

		r.p.Expunge("INBOX", 800) // in view: an older one is shown again
		r.seek()
		if gone := r.deleted(); !slices.Equal(gone, []string{"m101"}) {
			t.Errorf("told as deleted: %q", gone)
		}
		r.hides("INBOX", 151)

		r.p.Renew("INBOX", 1001, 1) // as it was once, when these UIDs were others
		r.login()
		r.seek()
		r.hides("INBOX", 151)
		r.p.Renew("INBOX", 1002, 0)
		r.fill("INBOX", 153, 170)
		r.login()
		r.seek()
		maps.Copy(before, r.ids())
		r.hides("INBOX", 169)
		delete(before, "m101")
		r.lifts(before)
	})
}

// TestALimitThatComesWithAnotherUIDValidity: nothing was known of a limit, and a round number is shown.
func TestALimitThatComesWithAnotherUIDValidity(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "UIDONLY")})
	r.fill("INBOX", 1, 130)
	r.begin()
	before := r.ids()
	r.p.Renew("INBOX", 5000, 700)
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
	r.login()
	r.seek()
	r.hides("INBOX", 130)
	v, err := r.a.e.Verify(t.Context(), r.a.id, VerifyOptions{})
	if err != nil || len(v.Differences) != 1 || !strings.Contains(v.Differences[0].What, "newest 100 messages only; 30 older ones are here") {
		t.Errorf("%+v %v", v, err)
	}
	if op := r.ask(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{before["m1"]}, Set: mail.FlagFlagged}); op.State != mail.OpPending {
		t.Errorf("a write to what is shown nowhere: %+v", op)
	}
	r.p.Renew("INBOX", 6000, 0)
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 120 }) // neither round nor what it was
	r.login()
	r.look(false)
	r.wants("folder.reset INBOX")
	r.lifts(before)
}

// TestAnotherLimitWithAnotherUIDValidity: older ones are shown again, and not all.
func TestAnotherLimitWithAnotherUIDValidity(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "UIDONLY")})
	r.fill("INBOX", 1, 150)
	r.begin()
	before := r.ids()
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
	r.seek()
	for i, limit := range []int{130, 100, 140} {
		r.p.Renew("INBOX", uint32(5000+i), 0)
		r.p.Turn(func(k *persona.Knobs) { k.Limited = limit })
		r.login()
		r.seek()
		if gone := r.deleted(); gone != nil {
			t.Errorf("told as deleted at a limit of %d: %q", limit, gone)
		}
		r.isIn(mail.StateDegraded, fmt.Sprintf("newest %d", limit))
	}
	r.lifts(before)
}

// TestNoLimitAfterAnotherUIDValidity: a round number was left by chance; when another session agrees that there is no limit, what is
// missing is gone.
func TestNoLimitAfterAnotherUIDValidity(t *testing.T) {
	everyStep(t, 0, func(t *testing.T, r *rig) {
		r.fill("INBOX", 1, 150)
		r.begin()
		var uids []uint32
		for uid := uint32(1); uid <= 50; uid++ {
			uids = append(uids, uid)
		}
		r.p.Expunge("INBOX", uids...)
		r.p.Renew("INBOX", 5000, 1)
		r.login()
		r.seek()
		r.hides("INBOX", 150)
		r.p.Renew("INBOX", 5001, 1)
		r.fill("INBOX", 151, 151)
		r.login()
		r.look(false)
		if gone := r.deleted(); gone != nil {
			t.Errorf("told as deleted in this session: %q", gone)
		}
		r.seek()
		if gone := r.deleted(); !slices.Equal(gone, numbered(1, 50)) {
			t.Errorf("told as deleted: %q", gone)
		}
		r.agrees()
		r.isIn(mail.StateLive, "")
		r.quiet()
	})
}

// TestARoundNumberAfterAnotherUIDValidity: nothing is missing, so nothing is said of a limit.
func TestARoundNumberAfterAnotherUIDValidity(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "UIDONLY")})
	r.fill("INBOX", 1, 100)
	r.begin()
	r.p.Renew("INBOX", 5000, 700)
	r.look(false)
	r.wants("folder.reset INBOX")
	r.agrees()
	if err := r.a.caughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.isIn(mail.StateLive, "")
}

// TestALimitedFolderFlaps: its UIDVALIDITY is another in every session.
func TestALimitedFolderFlaps(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Basic, UIDValidity: persona.Flapping})
	r.fill("INBOX", 1, 130)
	r.begin()
	before := r.ids()
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
	for i := range 6 {
		r.login()
		r.fill("INBOX", 131+i, 131+i)
		r.look(false)
		r.wait(4 * time.Minute)
	}
	r.seek()
	maps.Copy(before, r.ids())
	if gone := r.deleted(); gone != nil {
		t.Errorf("told as deleted: %q", gone)
	}
	if c, err := r.a.mbox.Counts(t.Context()); err != nil || c.Messages != 136 || c.Placements != 136 {
		t.Errorf("%+v %v", c, err)
	}
	r.p.Turn(func(k *persona.Knobs) { k.Limited, k.UIDValidity = 0, nil })
	r.lifts(before)
}

// TestOutOfViewOfAnotherGeneration: what becomes of such messages when the folder is renamed, they are moved, and the folder is deleted.
func TestOutOfViewOfAnotherGeneration(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "UIDONLY")})
	r.p.Create("Work")
	r.p.Create("Other")
	r.fill("Work", 1, 130)
	r.begin()
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
	r.seek()
	r.p.Renew("Work", 5000, 700)
	r.login()
	r.seek()
	r.hides("Work", 130)

	r.p.Rename("Work", "Job")
	r.login()
	r.seek()
	r.hides("Job", 130)

	r.changes()
	r.bodiesFetched()
	r.p.Move("Job", 700, "Other") // where it was is not shown
	r.seek()
	if got := r.changes(); !slices.Contains(got, "message.updated m1 in Job and Other") {
		t.Errorf("changes %q", got)
	}

	r.p.Delete("Job")
	r.seek()
	if gone, want := r.deleted(), numbered(2, 130); !slices.Equal(gone, want) {
		t.Errorf("%d told as deleted, want %d", len(gone), len(want))
	}
	r.agrees()
	r.isIn(mail.StateLive, "")
}

// TestWritesWhileAFolderIsReadAnew: what is asked for is done with all copies of a message, also one whose folder, numbered anew, was
// not read so far; a copy that is out of view for good is not waited for.
func TestWritesWhileAFolderIsReadAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, persona.Knobs{Caps: persona.Without(persona.All, "UIDONLY")})
	for _, name := range []string{"Work", "Other", "Archive"} {
		r.p.Create(name)
	}
	r.fill("Work", 1, 130)
	r.fill("Other", 1, 3)
	r.begin()
	ids := r.ids()
	r.p.Renew("Work", 5000, 700)
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(c persona.Command) string {
			if c.Name == "UID FETCH" && c.Folder == "Work" && strings.Contains(c.Args, "HEADER") {
				return persona.Cut
			}
			return ""
		}
	})
	if err := r.tryLook(false); err == nil {
		t.Fatal("the folder was read")
	}
	r.login()
	ops := []mail.Operation{
		{Kind: mail.OpUpdate, Messages: []mail.MessageID{ids["m1"]}, Folder: r.folder("Archive").ID},
		{Kind: mail.OpUpdate, Messages: []mail.MessageID{ids["m2"]}, Set: mail.FlagSeen},
	}
	for i, op := range ops {
		if ops[i] = r.ask(op); ops[i].State != mail.OpPending {
			t.Errorf("before its other copy is found: %+v", ops[i])
		}
	}
	r.p.Turn(func(k *persona.Knobs) { k.Answer = nil })
	r.wait(10 * time.Minute)
	r.login()
	r.look(false)
	for _, op := range ops {
		if op = r.serve(op); op.State != mail.OpDone {
			t.Errorf("%+v", op)
		}
	}
	r.look(false)
	r.agrees()
	for _, m := range []struct {
		name string
		in   []string
		seen bool
	}{{"m1", []string{"Archive"}, false}, {"m2", []string{"Other", "Work"}, true}} {
		got, err := r.a.mbox.Message(t.Context(), ids[m.name])
		var in []mail.FolderID
		for _, f := range m.in {
			in = append(in, r.folder(f).ID)
		}
		slices.Sort(got.Folders)
		slices.Sort(in)
		if err != nil || !slices.Equal(got.Folders, in) || (got.Flags&mail.FlagSeen != 0) != m.seen {
			t.Errorf("%s: %v, %v; %v", m.name, got.Folders, got.Flags, err)
		}
	}

	r.p.Turn(func(k *persona.Knobs) { k.Limited = 100 })
	r.seek()
	r.p.Renew("Work", 6000, 700)
	r.login()
	r.seek()
	op := r.ask(mail.Operation{Kind: mail.OpUpdate, Messages: []mail.MessageID{ids["m3"]}, Set: mail.FlagFlagged})
	if op.State != mail.OpDone {
		t.Errorf("with a copy that is not shown: %+v", op)
	}
}

// TestHistoriesOfLimitedFolders has a folder limited and not, numbered anew, changed by other programs, and looks at it break. Nothing that
// the server has is told as deleted, and without a limit all is as it is there, under the ids that it had.
func TestHistoriesOfLimitedFolders(t *testing.T) {
	t.Parallel()
	for i := range max(1, *histories/20) {
		seed := max(*historySeed, 1) + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			limitedHistory(t, seed)
		})
	}
}

func limitedHistory(t *testing.T, seed uint64) {
	kinds := []string{persona.Without(persona.All, "UIDONLY"), persona.Without(persona.All, "QRESYNC", "UIDONLY"), persona.Basic}
	r, rnd := newRig(t, persona.Knobs{Caps: kinds[seed%3]}), rand.New(rand.NewPCG(seed, 11))
	r.a.e.o.Limits.HostLogins, r.a.e.o.Limits.TotalLogins = 1e9, 1e9
	r.a.e.governor = newGovernor(r.a.e.o.Limits, r.now)
	sums, last, validity, fresh := map[[32]byte]string{}, 0, uint32(5000), uint32(5000)
	deliver := func(n int) string {
		for range n {
			last++
			sums[sha256.Sum256(letter(last))] = fmt.Sprint("m", last)
			r.p.Deliver("INBOX", letter(last))
		}
		return fmt.Sprintf("delivered %d, to m%d", n, last)
	}
	var log []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("go test ./internal/syncer -run TestHistoriesOfLimitedFolders -history %d -histories 1\n%s", seed, strings.Join(log, "\n"))
		}
	})
	ids := map[string]mail.MessageID{}
	honest := func() {
		t.Helper()
		there := map[string]bool{}
		for _, m := range r.p.Everything() {
			there[sums[m.SHA256]] = true
		}
		for name, id := range r.ids() {
			if was, known := ids[name]; known && was != id {
				t.Errorf("%s was %s and is %s", name, was, id)
			}
			ids[name] = id
		}
		for _, name := range r.deleted() {
			if there[name] {
				t.Errorf("told as deleted: %s", name)
			}
		}
	}
	deliver(90 + rnd.IntN(130))
	r.begin()
	var cut atomic.Int64 // commands until then
	r.p.Turn(func(k *persona.Knobs) {
		k.Answer = func(persona.Command) string {
			if cut.Add(-1) == 0 {
				return persona.Cut
			}
			return ""
		}
	})
	for range 30 {
		did := ""
		switch rnd.IntN(8) {
		case 0:
			did = deliver(1 + rnd.IntN(3))
		case 1:
			did = deliver(20 + rnd.IntN(40))
		case 2:
			uids := r.p.UIDs("INBOX")
			from, n := rnd.IntN(len(uids)), 1+rnd.IntN(4)
			uids = uids[from:min(len(uids), from+n)]
			r.p.Expunge("INBOX", uids...)
			did = fmt.Sprint("expunged ", uids)
		case 3:
			limit := []int{0, 100, 100, 200}[rnd.IntN(4)]
			r.p.Turn(func(k *persona.Knobs) { k.Limited = limit })
			did = fmt.Sprint("limited to ", limit)
		case 4:
			first := uint32(rnd.IntN(3) * 50)
			if inbox := r.folder("INBOX"); validity > 5000 && inbox.UIDValidity == mail.UIDValidity(validity) && rnd.IntN(2) == 0 {
				validity-- // a number comes back
			} else {
				fresh++
				validity = fresh
			}
			r.p.Renew("INBOX", validity, first)
			did = fmt.Sprintf("renewed %d %d", validity, first)
		case 5:
			if rnd.IntN(2) == 0 {
				r.restart(rnd.IntN(2) == 0)
			}
			r.logout()
			r.wait(time.Duration(rnd.IntN(90)) * time.Minute)
			did = "away"
		default:
			at := rnd.IntN(20) // 0: never
			cut.Store(int64(at))
			did = fmt.Sprint("look, cut at ", at)
			if err := r.tryLogin(); err == nil {
				r.tryLook(rnd.IntN(4) == 0)
			}
			cut.Store(0)
			honest()
		}
		log = append(log, did)
		r.wait(time.Minute)
	}
	r.p.Turn(func(k *persona.Knobs) { k.Limited = 0 })
	for range 2 { // if it was a round number, it is none then
		deliver(1)
		r.login()
		r.seek()
		honest()
	}
	r.agrees()
	r.isIn(mail.StateLive, "")
}

func (r *rig) folder(name string) mail.Folder {
	r.t.Helper()
	folders, err := r.a.mbox.Folders(r.t.Context())
	i := slices.IndexFunc(folders, func(f mail.Folder) bool { return f.Name == name })
	if err != nil || i < 0 {
		r.t.Fatal(name, err)
	}
	return folders[i]
}
