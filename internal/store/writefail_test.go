package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// story is a mailbox that is written to on a disk that fails, and what was acknowledged of it.
type story struct {
	*box
	d     *faultDisk
	uid   mail.UID
	held  map[mail.MessageID][]byte // what was stored with its bytes
	flags map[mail.MessageID]mail.Flags
	sync  int64
}

// steps are the ways in which a mailbox is written to. Each may be tried again after it failed.
func (y *story) steps() []func(ctx context.Context) error {
	y.uid++
	l := letter{id: fmt.Sprint("m", y.uid), subject: "disk", day: int(y.uid % 28), body: string(bytesOf(fmt.Sprint(y.uid), 9000))}
	r := ref("INBOX", y.uid)
	n := y.at(r, l)
	var id mail.MessageID
	apply := func(ctx context.Context, b Batch) (Result, error) {
		b.Term = y.term
		return y.Apply(ctx, b)
	}
	return []func(ctx context.Context) error{
		func(ctx context.Context) error {
			res, err := apply(ctx, Batch{New: []NewMessage{n}, Cursors: []Cursor{{Folder: fid("INBOX"), UIDValidity: 1, UIDNext: y.uid + 1}}})
			if err == nil {
				id = res.IDs[r]
				y.flags[id] = 0
			}
			return err
		},
		func(ctx context.Context) error {
			refs, err := y.PutBlobs(ctx, []BlobData{{BlobRaw, l.raw()}})
			if err != nil {
				return err
			}
			w, err := y.NewBlob(ctx, BlobDisplay)
			if err != nil {
				return err
			}
			_, werr := w.Write([]byte(l.body))
			shown, cerr := w.Commit()
			if err := errors.Join(werr, cerr); err != nil {
				return err
			}
			c := Content{Digest: sha256.Sum256(l.raw()), Raw: refs[0], Size: refs[0].Size, Display: shown, Snippet: "disk", Head: l.head()}
			if _, err = apply(ctx, Batch{Bodies: []Body{{PlacementRef: r, Content: c}}}); err == nil {
				y.held[id] = l.raw()
			}
			return err
		},
		func(ctx context.Context) error {
			_, err := apply(ctx, Batch{Flags: []FlagUpdate{{PlacementRef: r, Flags: mail.FlagSeen}}})
			if err == nil {
				y.flags[id] = mail.FlagSeen
			}
			return err
		},
		func(ctx context.Context) error {
			err := y.s.SetSync(ctx, y.id, mail.SyncStatus{State: mail.StateInitial, Done: int64(y.uid)})
			if err == nil {
				y.sync = int64(y.uid)
			}
			return err
		},
		func(ctx context.Context) error {
			return indexAll(y.Mailbox)
		},
		func(ctx context.Context) error { // with a checkpoint of which SQLite tells nobody
			if err := pragma(ctx, y.db.src, "wal_autocheckpoint=1"); err != nil {
				return err
			}
			_, err := apply(ctx, Batch{Flags: []FlagUpdate{{PlacementRef: r, Flags: mail.FlagSeen | mail.FlagFlagged}}})
			if err == nil {
				y.flags[id] |= mail.FlagFlagged
			}
			return errors.Join(err, pragma(ctx, y.db.src, "wal_autocheckpoint=3000"))
		},
		func(ctx context.Context) error { return checkpoint(ctx, y.s.control.src) },
		func(ctx context.Context) error { return checkpoint(ctx, y.db.src) },
		func(ctx context.Context) error { return checkpoint(ctx, y.db.blobs.src) },
	}
}

// checkpoint brings the log of a file into it, as SQLite does by itself when the log is long.
func checkpoint(ctx context.Context, src source) error {
	return pragma(ctx, src, "wal_checkpoint(TRUNCATE)")
}

func pragma(ctx context.Context, src source, text string) error {
	c, release, err := src.acquire(ctx, true)
	if err != nil {
		return storeError(err)
	}
	_, err = c.ExecContext(ctx, "PRAGMA "+text)
	release(err != nil)
	return storeError(err)
}

// wholeIn looks in a store for everything that was acknowledged.
func (y *story) wholeIn(t *testing.T, when string, s *Store) {
	t.Helper()
	ctx := t.Context()
	m, err := s.Mailbox(ctx, y.id)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for id, flags := range y.flags {
		got, err := m.Message(ctx, id)
		if err != nil || got.Flags&flags != flags {
			t.Errorf("%s: message %s: flags %v, want %v: %v", when, id, got.Flags, flags, err)
		}
	}
	for id, want := range y.held {
		b, err := m.RawBlob(ctx, id)
		if err != nil {
			t.Errorf("%s: bytes of %s: %v", when, id, err)
		} else if !bytes.Equal(readBlob(t, m, b.ID), want) {
			t.Errorf("%s: the bytes of %s differ", when, id)
		}
	}
	if a, err := s.Account(ctx, "", y.id); err != nil || a.Sync.Done < y.sync {
		t.Errorf("%s: the account says %d, acknowledged %d: %v", when, a.Sync.Done, y.sync, err)
	}
	if problems, err := s.Check(ctx); err != nil || len(problems) > 0 {
		t.Errorf("%s: check: %v %v", when, problems, err)
	}
}

// powerCut looks for it in what a power cut would leave.
func (y *story) powerCut(t *testing.T, when string, keys *vault.Keyring) {
	t.Helper()
	dir := t.TempDir()
	y.d.powerCut(t, dir)
	s, err := Open(t.Context(), Options{Dir: dir, Keys: keys})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	y.wholeIn(t, when, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestAWriteFailsOnce fails each write and each sync of a series once. Whoever's write it was is told, what was acknowledged
// before is there, also after a power cut at that moment, and the next attempt succeeds.
func TestAWriteFailsOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault diskFault
	}{
		{"write", diskFault{err: syscall.EIO, times: 1}},
		{"disk full", diskFault{err: syscall.ENOSPC, torn: true, times: 1}},
		{"sync", diskFault{err: syscall.EIO, sync: true, times: 1}},
		{"sync, and the cache is dropped", diskFault{err: syscall.EIO, sync: true, drop: true, times: 1}},
		{"every sync for a while", diskFault{err: syscall.EIO, sync: true, times: 1 << 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, "sqlite")
			if err := os.Mkdir(p.o.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			d := newFaultDisk(t, p.o.Dir)
			y := &story{box: newBox(t, p), d: d, held: map[mail.MessageID][]byte{}, flags: map[mail.MessageID]mail.Flags{}}
			y.folders("INBOX")
			ctx := t.Context()
			told, silent, stride := 0, 0, 1
			if !c.fault.sync { // there are many writes: a few of each series
				stride = 3
			}
			if testing.Short() {
				stride *= 4
			}
			for after, quiet := 0, 0; quiet < 3; after += stride {
				quiet++ // until a whole series is over before the fault
				for i, step := range y.steps() {
					fault := c.fault
					fault.after = after
					d.set(fault)
					err := step(ctx)
					failed := d.heal()
					if failed == 0 {
						if err != nil {
							t.Fatalf("step %d fails without a fault: %v", i, err)
						}
						continue
					}
					quiet = 0
					when := fmt.Sprintf("step %d, call %d", i, after)
					if err == nil {
						silent++
					} else if told++; !mail.IsKind(err, mail.Unavailable) {
						t.Errorf("%s: %v", when, err)
					}
					y.powerCut(t, when+", after a power cut", p.o.Keys)
					y.wholeIn(t, when, y.s)
					if err := step(ctx); err != nil {
						t.Fatalf("%s, once more: %v", when, err)
					}
					if c.fault.sync {
						y.powerCut(t, when+", once more and after a power cut", p.o.Keys)
					}
					if t.Failed() {
						t.FailNow()
					}
				}
			}
			t.Logf("%d failures were told, %d were of no consequence", told, silent)
			if told == 0 {
				t.Error("nothing failed")
			}
			shut(t, y.s)
			again := p.open(t)
			y.wholeIn(t, "in the end", again)
		})
	}
}

// Blobs that are files: an object that cannot be written or synced is not stored, and leaves nothing behind.
func TestAFileFailsOnce(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	p := newPlace(t, "sqlite+file")
	s := p.open(t)
	a, m := addAccount(t, s, "a@example.com")
	ctx := t.Context()
	first, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, []byte("before")}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimPrefix(p.o.BlobURL, "file://"), string(a.ID), "0")
	next := first[0].ID
	for _, device := range []string{"/dev/full", "/dev/null"} { // the one cannot be written, the other not synced
		for _, c := range []struct {
			name  string
			store func() (BlobRef, error)
		}{
			{"at once", func() (BlobRef, error) {
				refs, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, bytesOf("x", 9000)}})
				if err != nil {
					return BlobRef{}, err
				}
				return refs[0], nil
			}},
			{"in pieces", func() (BlobRef, error) {
				w, err := m.NewBlob(ctx, BlobRaw)
				if err != nil {
					return BlobRef{}, err
				}
				_, werr := w.Write(bytesOf("x", 600<<10))
				r, cerr := w.Commit()
				return r, errors.Join(werr, cerr)
			}},
		} {
			next++
			if err := os.Symlink(device, filepath.Join(dir, fmt.Sprint(next, ".new"))); err != nil {
				t.Fatal(err)
			}
			if _, err := c.store(); !mail.IsKind(err, mail.Unavailable) {
				t.Errorf("%s on %s: %v", c.name, device, err)
			}
			r, err := m.OpenBlob(ctx, next)
			if err == nil {
				_, err = r.Read(make([]byte, 10))
			}
			if err == nil {
				t.Errorf("%s on %s: what failed can be read", c.name, device)
			}
			if left, err := filepath.Glob(filepath.Join(dir, fmt.Sprint(next, "*"))); err != nil || len(left) > 0 {
				t.Errorf("%s on %s: it leaves %v, %v", c.name, device, left, err)
			}
			next++
			if ref, err := c.store(); err != nil || ref.ID != next {
				t.Errorf("%s after %s: %v, %v", c.name, device, ref, err)
			}
		}
	}
	if string(readBlob(t, m, first[0].ID)) != "before" {
		t.Error("what was stored is lost")
	}
}

// TestOpenedTwice: a mailbox is opened by one who writes and, again and again, by another one of whom neither knows, as happens when
// many ask for it at once after a crash. What the one writes stays.
func TestOpenedTwice(t *testing.T) {
	exercisePlaces(t, []string{"sqlite"}, func(t *testing.T, p *place) {
		b := newBox(t, p)
		b.folders("INBOX")
		key, err := b.s.accountKey(t.Context(), b.id)
		if err != nil {
			t.Fatal(err)
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := b.s.newMailDB(b.id, key)
				if err := d.read(context.Background(), func(*tx) error { return nil }); err != nil {
					t.Error(err)
					return
				}
				if err := d.retire(context.Background()); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		for i := range 300 {
			b.do(Batch{New: []NewMessage{b.held(ref("INBOX", mail.UID(i+1)), letter{id: fmt.Sprint("m", i), subject: "twice", day: 1, body: "x"}, 0)}})
		}
		close(stop)
		<-stopped
		counts, err := b.Counts(t.Context())
		if err != nil || counts.Messages != 300 {
			t.Errorf("%+v, %v", counts, err)
		}
		if problems, err := b.Check(t.Context()); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}
