package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/vault"
)

// childJob tells a copy of the test binary that it is the victim: it writes as fast as it can, says what was
// acknowledged, and is killed.
const childJob = "POSTHORN_STORE_TEST_CHILD"

type crashJob struct {
	Key, Dir, DatabaseURL, BlobURL string
	Account                        mail.AccountID
	Reindex                        bool // make the search index anew, again and again
}

func (j crashJob) options() (Options, error) {
	raw, err := hex.DecodeString(j.Key)
	if err != nil {
		return Options{}, err
	}
	keys, err := vault.NewKeyring(raw)
	return Options{Dir: j.Dir, DatabaseURL: j.DatabaseURL, BlobURL: j.BlobURL, Keys: keys}, err
}

// child writes until it is killed: a body, then a row of the mailbox that tells of it, then one of the control store.
func child(job string) int {
	err := func() error {
		var j crashJob
		if err := json.Unmarshal([]byte(job), &j); err != nil {
			return err
		}
		o, err := j.options()
		if err != nil {
			return err
		}
		ctx := context.Background()
		s, err := Open(ctx, o)
		if err != nil {
			return err
		}
		m, err := s.Mailbox(ctx, j.Account)
		if err != nil {
			return err
		}
		if j.Reindex {
			return reindex(ctx, m)
		}
		for {
			refs, err := m.PutBlobs(ctx, []BlobData{{BlobRaw, bytesOf("crash", 5000)}, {BlobRaw, bytesOf("crash", 300<<10)}})
			if err != nil {
				return err
			}
			var n int64
			if err := m.db.write(ctx, func(x *tx) error {
				if err := x.row(ctx, "UPDATE state SET seq=seq+1 WHERE {a}1=1 RETURNING seq").Scan(&n); err != nil {
					return err
				}
				return x.insertMany(ctx, "changes", []string{"seq", "at", "kind", "origin", "object", "data"},
					[][]any{{n, 0, int64(mail.AccountState), 0, "", fmt.Sprintf(`{"why":"%d %d"}`, refs[0].ID, refs[1].ID)}}, "")
			}); err != nil {
				return err
			}
			if err := s.SetSync(ctx, j.Account, mail.SyncStatus{State: mail.StateInitial, Done: n}); err != nil {
				return err
			}
			fmt.Println(n)
		}
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// reindex makes the search index anew until it is killed, and says each step.
func reindex(ctx context.Context, m *Mailbox) error {
	for n := 0; ; {
		err := m.DropIndex(ctx)
		for more := true; more && err == nil; n++ {
			fmt.Println(n)
			more, err = m.Index(ctx)
		}
		for more := true; more && err == nil; n++ {
			fmt.Println(n)
			more, err = m.Merge(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// A reindexing that is killed at any moment leaves a search that finds what it says it has taken in, and nothing else; whoever
// goes on from there makes it whole.
func TestReindexKilled(t *testing.T) {
	exercise(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		raw := vault.NewKey().Derive("reindex")
		job := crashJob{Key: hex.EncodeToString(raw[:]), Dir: p.o.Dir, DatabaseURL: p.o.DatabaseURL, Reindex: true}
		var err error
		if p.o, err = job.options(); err != nil {
			t.Fatal(err)
		}
		const all = 2*indexBatch + 300 // three steps, and one that begins
		s := p.open(t)
		b := addBox(t, s, "a@example.com")
		b.folders("INBOX")
		want := map[mail.MessageID]bool{}
		for from := 0; from < all; from += 500 {
			var batch Batch
			var blobs []BlobData
			for i := from; i < min(all, from+500); i++ {
				l := letter{id: fmt.Sprint("m", i), subject: fmt.Sprint("harbour ", i), from: "Ada <ada@example.com>", to: "bob@example.com", day: i % 20, sec: i, body: fmt.Sprintf("a lantern, number %d", i%7)}
				n, bytes := b.at(ref("INBOX", mail.UID(i+1)), l), l.raw()
				n.Content = &Content{Digest: sha256.Sum256(bytes), Size: int64(len(bytes)), Head: n.Head}
				batch.New, blobs = append(batch.New, n), append(blobs, BlobData{BlobRaw, bytes})
			}
			refs, err := b.PutBlobs(ctx, blobs)
			if err != nil {
				t.Fatal(err)
			}
			for i := range refs {
				batch.New[i].Content.Raw = refs[i]
			}
			for _, id := range b.do(batch).IDs {
				want[id] = true
			}
		}
		job.Account = b.id
		if len(want) != all {
			t.Fatalf("%d messages", len(want))
		}
		shut(t, s)
		incomplete := 0
		rounds := 6
		if testing.Short() {
			rounds = 2
		}
		for round := range rounds {
			kill(t, job, 1+round*3)
			s, err := Open(ctx, p.o)
			if err != nil {
				t.Fatalf("round %d: open after the crash: %v", round, err)
			}
			m, err := s.Mailbox(ctx, job.Account)
			if err != nil {
				t.Fatal(err)
			}
			for _, complete := range []bool{false, true} {
				if complete {
					if err := indexAll(m); err != nil {
						t.Fatalf("round %d: go on: %v", round, err)
					}
				}
				found := findAll(t, m, "harbour lantern")
				p, err := m.SearchProgress(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for id := range found {
					if !want[id] {
						t.Errorf("round %d: found %s, which does not exist", round, id)
					}
				}
				if int64(len(found)) != p.Indexed || p.Total != all || p.Indexed < all != p.Behind {
					t.Errorf("round %d, complete %v: %d found, %+v", round, complete, len(found), p)
				}
				if complete && len(found) != all {
					t.Errorf("round %d: %d found in the whole index", round, len(found))
				} else if len(found) < all {
					incomplete++
				}
				if problems, err := m.Check(ctx); err != nil || len(problems) > 0 {
					t.Errorf("round %d, complete %v: %v, %v", round, complete, problems, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d of %d were killed in the middle", incomplete, rounds)
	})
}

// findAll returns what a search finds on all its pages.
func findAll(t *testing.T, m *Mailbox, text string) map[mail.MessageID]bool {
	t.Helper()
	out := map[mail.MessageID]bool{}
	for q := (MessageQuery{Search: parseQuery(t, text), Limit: 1000}); ; {
		list, next, err := m.Messages(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			out[l.ID] = true
		}
		if q.Before = next; next == 0 {
			return out
		}
	}
}

// A server that is killed at any moment loses nothing that it acknowledged, and leaves nothing half.
func TestKill(t *testing.T) {
	exercisePlaces(t, []string{"sqlite", "postgres", "sqlite+file"}, func(t *testing.T, p *place) {
		ctx := t.Context()
		raw := vault.NewKey().Derive("crash")
		job := crashJob{Key: hex.EncodeToString(raw[:]), Dir: p.o.Dir, DatabaseURL: p.o.DatabaseURL, BlobURL: p.o.BlobURL}
		var err error
		if p.o, err = job.options(); err != nil {
			t.Fatal(err)
		}
		s := p.open(t)
		a, _ := addAccount(t, s, "a@example.com")
		shut(t, s)
		job.Account = a.ID
		var last int64
		for round := range 4 {
			acked := kill(t, job, 3+round*17)
			if acked <= last {
				t.Fatalf("round %d: no progress after %d", round, last)
			}
			s, err := Open(ctx, p.o)
			if err != nil {
				t.Fatalf("round %d: open after the crash: %v", round, err)
			}
			last = checkCrashed(t, s, a.ID, acked)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// kill runs a victim until it has acknowledged some writes, kills it, and returns the last number it said.
func kill(t *testing.T, job crashJob, lines int) int64 {
	t.Helper()
	b, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var stderr bytes.Buffer
	er, ew, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim, err := os.StartProcess(exe, []string{exe}, &os.ProcAttr{Env: append(os.Environ(), childJob+"="+string(b)), Files: []*os.File{nil, w, ew}})
	w.Close()
	ew.Close()
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	sc := bufio.NewScanner(r)
	for n := 0; sc.Scan(); n++ { // to the end: what stands in the pipe was acknowledged too
		if last, err = strconv.ParseInt(sc.Text(), 10, 64); err != nil {
			break // the last line was cut
		}
		if n == lines {
			if err := victim.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	state, err := victim.Wait()
	io.Copy(&stderr, er)
	er.Close()
	if err != nil || state.Exited() {
		t.Fatalf("the victim ended by itself: %v, %v: %s", state, err, stderr.String())
	}
	return last
}

func checkCrashed(t *testing.T, s *Store, id mail.AccountID, acked int64) int64 {
	t.Helper()
	ctx := t.Context()
	problems, accounts, err := s.checkControl(ctx)
	if err != nil || len(problems) > 0 || len(accounts) != 1 {
		t.Fatalf("control store: %v, %d accounts, %v", problems, len(accounts), err)
	}
	m, err := s.Mailbox(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []source{s.control.src, m.db.src, m.db.blobs.src} {
		if found, err := checkFile(ctx, src); err != nil || len(found) > 0 {
			t.Errorf("%v, %v", found, err)
		}
	}
	var seq, rows int64
	var refs []int64
	if err := m.db.read(ctx, func(x *tx) error {
		if err := x.row(ctx, "SELECT seq FROM state WHERE {a}1=1").Scan(&seq); err != nil {
			return err
		}
		list, err := x.query(ctx, "SELECT data FROM changes WHERE {a}1=1 ORDER BY seq")
		if err != nil {
			return err
		}
		defer list.Close()
		for list.Next() {
			var data string
			if err := list.Scan(&data); err != nil {
				return err
			}
			rows++
			var d mail.ChangeData
			if err := json.Unmarshal([]byte(data), &d); err != nil {
				return err
			}
			for _, f := range strings.Fields(d.Reason) {
				n, _ := strconv.ParseInt(f, 10, 64)
				refs = append(refs, n)
			}
		}
		return list.Err()
	}); err != nil {
		t.Fatal(err)
	}
	if seq < acked || rows != seq || int64(len(refs)) != 2*seq {
		t.Errorf("acknowledged %d, seq %d, %d changes, %d bodies", acked, seq, rows, len(refs))
	}
	bodies, _, err := m.db.blobs.readAll(ctx, refs, 1<<30)
	if err != nil || len(bodies) != len(refs) {
		t.Errorf("%d of %d bodies can be read: %v", len(bodies), len(refs), err)
	}
	a, err := s.Account(ctx, "", id)
	if err != nil || a.Sync.Done < acked || a.Sync.Done > seq {
		t.Errorf("the control store says %d, acknowledged %d, seq %d: %v", a.Sync.Done, acked, seq, err)
	}
	return seq
}
